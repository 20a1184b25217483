//! The worker's slots: each holds one job from its grant to the acknowledgement of what it came to.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use roundhouse_proto::link::{JobGrant, JobResult, WorkerMsg};
use roundhouse_proto::work::Priority;
use roundhouse_proto::{
    Comparator, Digest, EvaluateWork, EvaluationReport, Failure, FailureClass, GenerateWork, JobId, LeaseId,
    Payload, PromptSet, Recording, ReferenceMaterial, SessionEvent, TestSet, Verdict, Work,
};
use tokio::sync::{Semaphore, mpsc};

use crate::blob_client::BlobClient;
use crate::evaluate::pool::{Evaluation, Pool};
use crate::evaluate::{Cancellation, NOT_JUDGED};
use crate::generate::prompts::Prompts;
use crate::generate::{HoldError, Session, SessionError, SessionPort, Task, blobs_needed, hold};
use crate::link::{Link, Void};
use crate::llm::chat::ChatModel;
use crate::llm::models::Models;
use crate::llm::recorded::Recorded;
use crate::llm::reference::Reference;
use crate::log::say;
use crate::test_sets::TestSets;

/// Longest message of a failure.
const MESSAGE_CHARS_MAX: usize = 500;
/// Programs beyond those that run whose test sets are in memory, so that a cage never waits for one. The tests of a
/// round come on top: there are at most as many as sessions.
const LOADED_AHEAD: usize = 2;
/// Bytes from which on a blob is decoded on a thread that may block.
const DECODED_HERE_MAX: usize = 64 << 10;

/// What the jobs of a worker share.
pub struct Slots {
    link: Arc<Link>,
    blobs: BlobClient,
    prompts: Arc<Prompts>,
    pool: Option<Pool>,
    models: Models,
    /// Room for the test sets of evaluations.
    loaded: Semaphore,
    test_sets: TestSets,
}

/// Why a job ends without a result.
enum Stopped {
    /// The lease is void: nobody wants it any more.
    Void,
    /// The job is to be given back: it can go on elsewhere from its last stored event.
    GivenBack {
        /// Why.
        reason: String,
        /// Calls that may have been paid and brought nothing.
        unaccounted: u32,
    },
    /// A failure of ours, to be told, with the calls that may have been paid and brought nothing.
    Failed(Failure, u32),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure, 0)
    }
}

impl From<Void> for Stopped {
    fn from(Void: Void) -> Self {
        Self::Void
    }
}

/// What a session asks.
enum Asked {
    /// The offline model that answers with the data set's own programs.
    Reference(Reference),
    /// The offline model that answers with what a model once answered.
    Recorded(Recorded),
    /// The models of an endpoint.
    Chat(Arc<ChatModel>),
}

impl Slots {
    /// Slots of a worker; no `pool` for one that runs no program.
    pub fn new(
        link: Arc<Link>,
        blobs: BlobClient,
        prompts: Arc<Prompts>,
        pool: Option<Pool>,
        models: Models,
    ) -> Self {
        let loaded = pool.as_ref().map_or(0, Pool::cages) + LOADED_AHEAD;
        Self {
            link,
            blobs,
            prompts,
            pool,
            models,
            loaded: Semaphore::new(loaded),
            test_sets: TestSets::default(),
        }
    }

    /// Takes up grants until there can be no more. Their number is bounded by the room that was offered.
    pub async fn serve(self: Arc<Self>, mut grants: mpsc::Receiver<JobGrant>) {
        while let Some(grant) = grants.recv().await {
            let slots = Arc::clone(&self);
            tokio::spawn(async move {
                let (job, lease) = (grant.job, grant.lease);
                let working = Arc::clone(&slots);
                // A task of its own: a job that panicked must neither keep its slot nor be waited for.
                let worked = tokio::spawn(async move { working.work(grant).await }).await;
                if worked.is_err_and(|error| error.is_panic()) {
                    let failure = Failure {
                        class: FailureClass::InfraRetry,
                        message: "the worker panicked".to_owned(),
                    };
                    let _ = slots.deliver_result(job, lease, failed(failure, 0)).await;
                }
                slots.link.let_go(lease).await;
            });
        }
    }

    /// Keeps to this worker's share of its host's cores, as the coordinator says it.
    pub async fn keep_to_share(self: Arc<Self>) {
        if let Some(pool) = &self.pool {
            pool.keep_to(self.link.share()).await;
        }
    }

    async fn work(&self, grant: JobGrant) {
        if !self.link.takes(&grant) {
            let reason = "the worker leaves and takes nothing new".to_owned();
            self.link.give_back(grant.lease, reason, 0).await;
            return;
        }
        let JobGrant {
            job,
            lease,
            attempt,
            priority,
            work,
        } = grant;
        tracing::debug!(%job, %lease, attempt, "a job is taken up");
        let done = async {
            match work {
                Work::Generate(work) => self.generate(job, lease, work).await,
                Work::Evaluate(work) => {
                    let result = self.evaluate(work, priority).await?;
                    self.deliver_result(job, lease, result).await
                }
            }
        };
        // Whatever it waits for: a void lease ends it. To drop it loses nothing that was acknowledged.
        let done = tokio::select! {
            biased;
            done = done => done,
            () = self.link.voided(lease) => Err(Stopped::Void),
        };
        match done {
            Ok(()) => tracing::debug!(%job, %lease, "a job is done"),
            Err(Stopped::Void) => tracing::info!(%job, %lease, "a job is dropped: its lease is void"),
            Err(Stopped::GivenBack { reason, unaccounted }) => {
                tracing::info!(%job, %lease, reason, "a job is given back");
                self.link.give_back(lease, reason, unaccounted).await;
            }
            Err(Stopped::Failed(mut failure, unaccounted)) => {
                tracing::warn!(%job, %lease, error = %failure, "a job failed");
                failure.message = failure.message.chars().take(MESSAGE_CHARS_MAX).collect();
                let _ = self
                    .deliver_result(job, lease, failed(failure, unaccounted))
                    .await;
            }
        }
    }

    async fn deliver_result(&self, job: JobId, lease: LeaseId, result: JobResult) -> Result<(), Stopped> {
        let msg = WorkerMsg::Result { job, lease, result };
        Ok(self.link.deliver(lease, msg, |news| news.result_acked).await?)
    }

    /// Holds a session, from its beginning or from where an earlier attempt stopped.
    async fn generate(&self, job: JobId, lease: LeaseId, work: GenerateWork) -> Result<(), Stopped> {
        let statement = self.blobs.load_text(&Payload::Blob(work.statement)).await?;
        let public_cases = match work.public_cases {
            Some(digest) => decode("TestSet", self.blobs.fetch(digest).await?, TestSet::from_bytes).await?,
            None => TestSet::default(),
        };
        let model = self.model(&work).await?;
        let mut texts = Vec::new();
        for digest in blobs_needed(&work.resume) {
            texts.push((digest, self.blobs.fetch(digest).await?));
        }
        let mut reports = Vec::new();
        for (round, program, report) in &work.reports {
            let report = self.blobs.load(report).await?;
            reports.push((
                *round,
                *program,
                decode("EvaluationReport", report, EvaluationReport::from_bytes).await?,
            ));
        }
        let task = Task {
            statement,
            time_limit_ms: work.time_limit_ms,
            memory_limit_bytes: work.memory_limit_bytes,
            public_cases,
            settings: work.settings,
            entry_point: work.entry_point,
            encode: TestSet::to_bytes,
        };
        let text_of = |digest: Digest| {
            texts
                .iter()
                .find(|(known, _)| *known == digest)
                .map(|(_, text)| text.clone())
        };
        let prompts = match work.prompts {
            Some(digest) => Arc::new(self.replaced_prompts(digest).await?),
            None => Arc::clone(&self.prompts),
        };
        let session =
            Session::resume(task, prompts, &work.resume, text_of, &reports).map_err(|error| Failure {
                class: FailureClass::Job,
                message: format!("resume the session: {error}"),
            })?;
        let stored_n = work.resume.len() as u64;
        let mut port = LinkPort {
            slots: self,
            job,
            lease,
            seq: stored_n,
            is_void: false,
        };
        let held = match &model {
            Asked::Reference(model) => hold(session, model, &mut port).await,
            Asked::Recorded(model) => hold(session, model, &mut port).await,
            Asked::Chat(model) => hold(session, &**model, &mut port).await,
        };
        match held {
            Ok(()) => Ok(()),
            Err(_) if port.is_void => Err(Stopped::Void),
            Err(HoldError::KeyRefused { reason, unaccounted }) => {
                if let Asked::Chat(model) = &model {
                    self.bench(model, &reason).await;
                }
                Err(Stopped::GivenBack { reason, unaccounted })
            }
            Err(HoldError::Failed { failure, unaccounted }) => Err(Stopped::Failed(failure, unaccounted)),
        }
    }

    /// The model that a session asks.
    async fn model(&self, work: &GenerateWork) -> Result<Asked, Stopped> {
        if let Some(recording) = work.recording {
            let recording = self.blobs.fetch(recording).await?;
            let recording = decode("Recording", recording, Recording::from_bytes).await?;
            return Ok(Asked::Recorded(Recorded::new(recording)));
        }
        if let Some(reference) = work.reference {
            let reference = self.blobs.fetch(reference).await?;
            let material = decode("ReferenceMaterial", reference, ReferenceMaterial::from_bytes).await?;
            return Ok(Asked::Reference(Reference::new(material, work.settings.tester)));
        }
        let Some(endpoint) = &work.endpoint else {
            let message = format!("this worker cannot reach the model `{}`", work.settings.model);
            let class = FailureClass::Model;
            return Err(Failure { class, message }.into());
        };
        let reason = match self.models.of(endpoint) {
            None => format!("this worker has no endpoint called `{endpoint}`"),
            Some(model) => match model.benched() {
                None => return Ok(Asked::Chat(Arc::clone(model))),
                Some(reason) => reason,
            },
        };
        Err(Stopped::GivenBack {
            reason,
            unaccounted: 0,
        })
    }

    /// Asks an endpoint nothing more. Its other sessions are given back when they reach their next call; that this was
    /// said before is seen to here: they learn of it only after it was.
    async fn bench(&self, model: &ChatModel, reason: &str) {
        if model.benched().is_none() {
            self.link.bench(model.name(), reason).await;
            let is_first = model.bench(reason);
            if is_first {
                let name = model.name();
                say(&format!(
                    "warning: endpoint `{name}` refuses the key and is asked nothing more: {reason}"
                ));
            }
        }
    }

    /// The built-in prompts with those of a run in their places.
    async fn replaced_prompts(&self, set: Digest) -> Result<Prompts, Failure> {
        let set = decode("PromptSet", self.blobs.fetch(set).await?, PromptSet::from_bytes).await?;
        Prompts::new(&set.templates).map_err(|error| SessionError::from(error).into())
    }

    async fn evaluate(&self, work: EvaluateWork, priority: Priority) -> Result<JobResult, Stopped> {
        let Some(pool) = &self.pool else {
            let message = "this worker runs no programs".to_owned();
            return Err(Failure {
                class: FailureClass::InfraFatal,
                message,
            }
            .into());
        };
        // In the order in which they came. The semaphore is never closed.
        let _room = match priority {
            Priority::URGENT => None,
            _ => self.loaded.acquire().await.ok(),
        };
        let program = self.blobs.load(&work.program).await?;
        let load = async {
            let tests = self.blobs.fetch_past_cache(work.tests).await?;
            decode("TestSet", tests, TestSet::from_bytes).await
        };
        let tests = self.test_sets.find(work.tests, load).await?;
        let checker = match work.comparator {
            Comparator::Checker { program } => Some(self.blobs.fetch(program).await?),
            _ => None,
        };
        let total = u32::try_from(tests.cases.len()).unwrap_or(u32::MAX);
        let evaluation = Evaluation {
            work,
            program,
            tests,
            checker,
            priority,
            cancellation: Cancellation::default(),
        };
        let report = pool.evaluate(evaluation).await?;
        let unjudged = report
            .cases
            .iter()
            .find(|case| case.verdict == Verdict::InternalError);
        let internal_error = unjudged.map(|case| {
            let why = case
                .stderr_tail
                .strip_prefix(NOT_JUDGED)
                .unwrap_or(&case.stderr_tail);
            let why: String = why.chars().take(MESSAGE_CHARS_MAX).collect();
            format!("case {} could not be judged: {why}", case.case)
        });
        let (passed, busy_ms, audit) = (report.passed(), report.busy_ms, report.audit);
        let report = Payload::Blob(self.store_report(&report).await?);
        Ok(JobResult::Evaluated {
            report,
            passed,
            total,
            busy_ms,
            internal_error,
            audit,
        })
    }

    async fn store_report(&self, report: &EvaluationReport) -> Result<Digest, Failure> {
        self.blobs.store(report.to_bytes()).await
    }
}

fn failed(failure: Failure, unaccounted: u32) -> JobResult {
    JobResult::Failed { failure, unaccounted }
}

/// Decodes a blob; a long one on a thread that may block, so that no ping waits for it.
async fn decode<T, E>(
    what: &'static str,
    bytes: Bytes,
    from_bytes: impl FnOnce(Bytes) -> Result<T, E> + Send + 'static,
) -> Result<T, Failure>
where
    T: Send + 'static,
    E: std::fmt::Display + Send + 'static,
{
    let failed = |class, error: &dyn std::fmt::Display| Failure {
        class,
        message: format!("decode a {what}: {error}"),
    };
    let decoded = if bytes.len() <= DECODED_HERE_MAX {
        from_bytes(bytes)
    } else {
        tokio::task::spawn_blocking(move || from_bytes(bytes))
            .await
            .map_err(|error| failed(FailureClass::InfraRetry, &error))?
    };
    decoded.map_err(|error| failed(FailureClass::Job, &error))
}

/// A session's way to the coordinator.
struct LinkPort<'a> {
    slots: &'a Slots,
    job: JobId,
    lease: LeaseId,
    /// Number of the last event that is stored.
    seq: u64,
    is_void: bool,
}

impl LinkPort<'_> {
    fn void(&mut self) -> Failure {
        self.is_void = true;
        Failure {
            class: FailureClass::Cancelled,
            message: "the lease is void".to_owned(),
        }
    }
}

impl SessionPort for LinkPort<'_> {
    fn store_blob(&mut self, bytes: Bytes) -> impl Future<Output = Result<Digest, Failure>> + Send {
        self.slots.blobs.store(bytes)
    }

    async fn store(&mut self, mut event: SessionEvent) -> Result<(), Failure> {
        for payload in event.payloads_mut() {
            if let Payload::Inline(bytes) = payload
                && bytes.len() > roundhouse_proto::wire::WIRE_INLINE_MAX
            {
                *payload = Payload::Blob(self.slots.blobs.store(bytes.clone()).await?);
            }
        }
        let seq = self.seq + 1;
        let msg = WorkerMsg::Session {
            job: self.job,
            lease: self.lease,
            seq,
            event,
        };
        match self
            .slots
            .link
            .deliver(self.lease, msg, |news| news.acked_seq >= seq)
            .await
        {
            Ok(()) => {
                self.seq = seq;
                Ok(())
            }
            Err(Void) => Err(self.void()),
        }
    }

    async fn tests(
        &mut self,
        round: u32,
        _program: Digest,
        _cases: &TestSet,
    ) -> Result<EvaluationReport, Failure> {
        let Some(mut news) = self.slots.link.news(self.lease) else {
            return Err(self.void());
        };
        let report = match news
            .wait_for(|news| news.is_void || news.reports.contains_key(&round))
            .await
        {
            Ok(news) if !news.is_void => news.reports.get(&round).cloned(),
            _ => None,
        };
        let Some(report) = report else {
            return Err(self.void());
        };
        let report = self.slots.blobs.load(&report?).await?;
        decode("EvaluationReport", report, EvaluationReport::from_bytes).await
    }
}
