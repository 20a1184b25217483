//! The state machine: one event in, writes and commands out.

use std::collections::BTreeMap;
use std::sync::Arc;

use roundhouse_proto::link::{CoordMsg, Hello, JobGrant, JobResult, RunningLease};
use roundhouse_proto::work::Priority;
use roundhouse_proto::{
    Digest, Failure, FailureClass, JobId, JobKind, LeaseId, Role, RunId, SessionEvent, WorkerId,
};

use crate::clock::Now;
use crate::event::{Event, LinkId};
use crate::fleet::Fleet;
use crate::job::{Job, JobState};
use crate::outbox::{Command, Outbox, Progress};
use crate::pipeline::{Mode, Run, given_up};
use crate::queue::{Queue, role_of};
use crate::record::{JobOutcome, PendingFile, RunRecord, SessionRecord, Stored, Subject, Write};
use crate::run::RunSpec;

/// Grants of a job after which the next attempt that settles nothing is its last, whoever was to blame: the bound
/// of jobs that are given back again and again.
const GRANTS_MAX: u32 = 100;

/// How an attempt ended that settled nothing.
enum Attempt<'a> {
    /// It failed, and counts against the job.
    Failed(&'a str),
    /// It was given back.
    Returned(&'a str),
}

/// Times of the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Silence after which a link counts as lost, in milliseconds.
    pub silence_ms: u64,
    /// How often workers ping, in milliseconds.
    pub ping_ms: u64,
    /// How long a lost worker may take to come back before its jobs go to others, in milliseconds.
    pub grace_ms: u64,
    /// How long jobs wait without a capable worker before people are told, in milliseconds.
    pub waiting_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            silence_ms: 10_000,
            ping_ms: 2_000,
            grace_ms: 30_000,
            waiting_ms: 60_000,
        }
    }
}

/// The decisions of the coordinator. See [`Coordinator::handle`].
#[derive(Debug)]
pub struct Coordinator {
    timing: Timing,
    epoch: u32,
    lease_seq: u64,
    runs: BTreeMap<RunId, Run>,
    queue: Queue,
    fleet: Fleet,
    leases: BTreeMap<LeaseId, JobId>,
    /// Workers whose link was lost, and since when; their jobs wait for them for a while.
    lost: BTreeMap<WorkerId, u64>,
    /// Since when jobs of a role wait without any worker of it; `None` in it once people were told.
    starved: BTreeMap<Role, Option<u64>>,
    /// When time last passed.
    ticked_ms: u64,
    /// The last tick came late.
    is_late: bool,
}

impl Coordinator {
    /// Takes up what a store holds. `specs` has the specification of every stored run; a run without one is left
    /// alone. The outbox starts the new epoch and writes again the files that were pending.
    pub fn start(
        timing: Timing,
        stored: Stored,
        specs: &BTreeMap<RunId, Arc<RunSpec>>,
        now: Now,
        outbox: &mut Outbox,
    ) -> Self {
        let epoch = stored.epoch + 1;
        outbox.write(Write::Epoch(epoch));
        let mut known: Vec<_> = stored
            .runs
            .into_iter()
            .filter_map(|record| Some((specs.get(&record.run)?, record)))
            .collect();
        known.sort_by_key(|(spec, record)| (spec.started.unix_us, record.run));
        let mut runs = BTreeMap::new();
        for (order, (spec, record)) in (0..).zip(known) {
            runs.insert(record.run, Run::new(Arc::clone(spec), record, order, now));
        }
        for record in stored.jobs {
            if let Some(run) = runs.get_mut(&record.job.run) {
                run.restore_job(record);
            }
        }
        for record in stored.sessions {
            if let Some(run) = runs.get_mut(&record.job.run) {
                run.restore_session(record);
            }
        }
        let mut coordinator = Self {
            timing,
            epoch,
            lease_seq: 0,
            runs,
            queue: Queue::default(),
            fleet: Fleet::default(),
            leases: BTreeMap::new(),
            lost: BTreeMap::new(),
            starved: BTreeMap::new(),
            ticked_ms: now.monotonic_ms,
            is_late: false,
        };
        for pending in stored.pending {
            let run = match pending {
                PendingFile::Statements { run }
                | PendingFile::Round { run, .. }
                | PendingFile::Session { run, .. }
                | PendingFile::Reports { run } => run,
            };
            let Some(run) = coordinator.runs.get(&run) else {
                continue;
            };
            match run.files(pending) {
                Some(files) => outbox.commands.push(Command::WriteFiles(Box::new(files))),
                None => outbox.write(Write::Written(pending)),
            }
        }
        let ids: Vec<RunId> = coordinator.runs.keys().copied().collect();
        for run in ids {
            if let Some(run) = coordinator.runs.get_mut(&run) {
                run.count_open();
                run.generation_over_told = run.record.finished.is_some();
            }
            coordinator.queue_open_jobs(run);
            coordinator.after_settling(run, now, outbox);
        }
        coordinator
    }

    /// Start of the coordinator, from 1.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// What a run has come to so far.
    pub fn summary(&self, run: RunId) -> Option<crate::summary::RunSummary> {
        self.runs.get(&run).map(Run::summary)
    }

    /// Handles one event. What it leads to is put into the outbox: the writes are one batch, the commands may be
    /// carried out once that batch is durable. The state is changed at once, so the next event can be handled
    /// before that.
    pub fn handle(&mut self, now: Now, event: Event, outbox: &mut Outbox) {
        match event {
            Event::Submitted { spec, spec_blob } => self.submitted(now, spec, spec_blob, outbox),
            Event::RetryRequested { run } => self.retry_requested(now, run, outbox),
            Event::StopRequested { run } => self.stop_requested(run, outbox),
            Event::Joined { link, hello } => self.joined(now, link, *hello, outbox),
            Event::InventoryTaken { link, held } => self.inventory_taken(now, link, &held, outbox),
            Event::CreditOffered { link, role, n } => self.fleet.offer(link, role, n),
            Event::Pinged { link, seq } => {
                self.fleet.heard(link, now.monotonic_ms);
                if self.fleet.worker_on(link).is_some() {
                    outbox.send(link, CoordMsg::Pong { seq });
                }
            }
            Event::SessionWentOn {
                link,
                job,
                lease,
                seq,
                event,
            } => {
                self.session_went_on(now, link, job, lease, seq, event, outbox);
            }
            Event::ResultCame {
                link,
                job,
                lease,
                result,
            } => {
                self.result_came(now, link, job, lease, result, outbox);
            }
            Event::GivenBack { link, lease, reason } => self.given_back(now, link, lease, &reason, outbox),
            Event::Left { link } => {
                if let Some(worker) = self.fleet.remove(link) {
                    // It holds nothing, so it never began what it still had.
                    self.take_back_all(now, worker, &Attempt::Returned("its worker left"), outbox);
                    outbox.commands.push(Command::Close { link });
                }
            }
            Event::LinkLost { link } => self.link_lost(now, link, outbox),
            Event::FileWritten(pending) => self.file_written(pending, outbox),
            Event::Ticked => self.ticked(now, outbox),
        }
        self.dispatch(now, outbox);
    }

    fn submitted(&mut self, now: Now, spec: Arc<RunSpec>, spec_blob: Digest, outbox: &mut Outbox) {
        let id = spec.run;
        if self.runs.contains_key(&id) {
            return;
        }
        let record = RunRecord {
            run: id,
            spec: spec_blob,
            first_grant_ms: None,
            generation_slots: 0,
            evaluation_slots: 0,
            cores: 0,
            finished: None,
            stopped: None,
        };
        let order = u32::try_from(self.runs.len()).unwrap_or(u32::MAX);
        outbox.write(Write::Run(record.clone()));
        let run = Run::new(spec, record, order, now);
        if let Some(files) = run.files(PendingFile::Statements { run: id }) {
            outbox.write_files(files);
        }
        self.runs.insert(id, run);
        self.queue_open_jobs(id);
        self.after_settling(id, now, outbox);
    }

    fn retry_requested(&mut self, now: Now, id: RunId, outbox: &mut Outbox) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let reopened = run.reopen_errors(now);
        if reopened.is_empty() {
            return;
        }
        for job in reopened.iter().filter_map(|id| run.job(id)) {
            outbox.write(Write::Job(job.record()));
        }
        run.generation_over_told = run.generation_is_over();
        outbox.write(Write::Run(run.record.clone()));
        self.queue_open_jobs(id);
        self.after_settling(id, now, outbox);
    }

    fn stop_requested(&mut self, id: RunId, outbox: &mut Outbox) {
        if let Some(run) = self.runs.get_mut(&id)
            && run.mode == Mode::Running
        {
            run.mode = Mode::Draining;
        }
        self.tell_when_drained(id, outbox);
    }

    fn joined(&mut self, now: Now, link: LinkId, hello: Hello, outbox: &mut Outbox) {
        self.lost.remove(&hello.worker);
        if let Some(before) = self.fleet.join(link, hello, now.monotonic_ms) {
            outbox.commands.push(Command::Close { link: before });
        }
        let Timing {
            silence_ms: lease_ms,
            ping_ms,
            ..
        } = self.timing;
        outbox.send(
            link,
            CoordMsg::Welcome {
                epoch: self.epoch,
                lease_ms,
                ping_ms,
            },
        );
    }

    /// What a worker does not have it does not work on: those jobs are ready again at once, but for grants that may
    /// still be on their way. What it has, or will have, under a lease that is void it is to forget. A report that a session waits
    /// for may have been lost with the link before, so it is sent again.
    fn inventory_taken(&mut self, now: Now, link: LinkId, held: &[RunningLease], outbox: &mut Outbox) {
        let Some(worker) = self.fleet.worker_on(link) else {
            return;
        };
        for held in held {
            if self.holder(held.lease) != Some(worker) {
                outbox.send(link, CoordMsg::Forget { lease: held.lease });
            } else if let Some(tests) = self.awaited_tests(held.lease) {
                self.send_test_report(tests, outbox);
            }
        }
        let is_held = |lease: &LeaseId| held.iter().any(|held| held.lease == *lease);
        let missing: Vec<_> = self
            .leases_of(worker)
            .into_iter()
            .filter(|lease| !is_held(lease) && !self.may_be_on_its_way(now, link, *lease))
            .collect();
        for lease in missing {
            // Should its grant have been on its way for that long, the worker is not to begin.
            outbox.send(link, CoordMsg::Forget { lease });
            self.take_back(now, lease, &Attempt::Failed("its worker was restarted"), outbox);
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the fields of one event and where its effects go"
    )]
    fn session_went_on(
        &mut self,
        now: Now,
        link: LinkId,
        id: JobId,
        lease: LeaseId,
        seq: u64,
        event: SessionEvent,
        outbox: &mut Outbox,
    ) {
        if self.fleet.worker_on(link).is_none() {
            return;
        }
        if self.job_under(link, lease) != Some(id) || id.kind != JobKind::Generate {
            outbox.send(link, CoordMsg::Forget { lease });
            return;
        }
        let Some(run) = self.runs.get_mut(&id.run) else {
            return;
        };
        let at_ms = run.clock_ms(now);
        let Some(problem) = run.problem_mut(id.problem) else {
            return;
        };
        let stored_n = problem.events.len() as u64;
        if seq <= stored_n {
            outbox.send(link, CoordMsg::Ack { lease, seq: stored_n });
            return;
        }
        if seq > stored_n + 1 {
            // The stream is ordered, so a gap is a defect of the worker; a new link starts from what is stored.
            outbox.commands.push(Command::Close { link });
            return;
        }
        problem.events.push(event.clone());
        outbox.write(Write::Session(SessionRecord {
            job: id,
            seq,
            at_ms,
            event: event.clone(),
        }));
        outbox.send(link, CoordMsg::Ack { lease, seq });
        match event {
            SessionEvent::Said { .. } => {}
            SessionEvent::TestRequest {
                round,
                program,
                cases,
                cases_n,
            } => {
                self.test_requested(
                    id,
                    round,
                    Subject {
                        program,
                        cases,
                        cases_n,
                    },
                    outbox,
                );
            }
            SessionEvent::RoundEnd { round, .. } => {
                let pending = PendingFile::Round {
                    run: id.run,
                    problem: id.problem,
                    round,
                };
                if let Some(files) = self.runs.get(&id.run).and_then(|run| run.files(pending)) {
                    outbox.write_files(files);
                }
            }
            SessionEvent::Finished(outcome) => {
                self.settle(now, id, JobOutcome::Generated(outcome), outbox);
            }
        }
    }

    /// The same program in the same round is the same job: a report that is there is sent at once.
    fn test_requested(&mut self, session: JobId, round: u32, subject: Subject, outbox: &mut Outbox) {
        let program = subject.program.digest();
        let kind = JobKind::RoundTests { round, program };
        let id = JobId { kind, ..session };
        let Some(run) = self.runs.get_mut(&id.run) else {
            return;
        };
        let order = run.order;
        let Some(problem) = run.problem_mut(id.problem) else {
            return;
        };
        problem.tests.entry((round, program)).or_insert_with(|| {
            let mut job = Job::new(id, Some(subject));
            job.state = JobState::Ready;
            outbox.write(Write::Job(job.record()));
            self.queue.push(order, id);
            job
        });
        self.send_test_report(id, outbox);
    }

    /// Sends the report of a round's tests, if there is one, to the worker that holds the session.
    fn send_test_report(&self, id: JobId, outbox: &mut Outbox) {
        let JobKind::RoundTests { round, .. } = id.kind else {
            return;
        };
        let Some(run) = self.runs.get(&id.run) else { return };
        let session = JobId {
            kind: JobKind::Generate,
            ..id
        };
        let holder = run.job(&session).and_then(Job::holder);
        let Some((lease, worker)) = holder else { return };
        let report = match run.job(&id).and_then(Job::outcome) {
            Some(JobOutcome::Evaluated { report, .. }) => Ok(report.clone()),
            Some(JobOutcome::Error(failure)) => Err(failure.clone()),
            Some(JobOutcome::Generated(_)) | None => return,
        };
        if let Some(link) = self.fleet.link_of(worker) {
            outbox.send(link, CoordMsg::TestReport { lease, round, report });
        }
    }

    fn result_came(
        &mut self,
        now: Now,
        link: LinkId,
        id: JobId,
        lease: LeaseId,
        result: JobResult,
        outbox: &mut Outbox,
    ) {
        if self.fleet.worker_on(link).is_none() {
            return;
        }
        if self.job_under(link, lease) != Some(id) {
            outbox.send(link, CoordMsg::Forget { lease });
            return;
        }
        outbox.send(link, CoordMsg::Ack { lease, seq: 0 });
        match result {
            JobResult::Evaluated {
                internal_error: Some(error),
                ..
            } => {
                self.take_back(now, lease, &Attempt::Failed(&error), outbox);
            }
            JobResult::Failed(failure) if failure.is_transient() => {
                self.take_back(now, lease, &Attempt::Failed(&failure.message), outbox);
            }
            JobResult::Failed(failure) => self.settle(now, id, JobOutcome::Error(failure), outbox),
            JobResult::Evaluated { .. } if id.kind == JobKind::Generate => {
                let message = "the worker sent a report where a program was asked for".to_owned();
                let failure = Failure {
                    class: FailureClass::Job,
                    message,
                };
                self.settle(now, id, JobOutcome::Error(failure), outbox);
            }
            JobResult::Evaluated {
                report,
                passed,
                total,
                busy_ms,
                internal_error: None,
            } => {
                if let Some(job) = self.runs.get_mut(&id.run).and_then(|run| run.job_mut(&id)) {
                    job.busy_ms += busy_ms;
                }
                self.settle(
                    now,
                    id,
                    JobOutcome::Evaluated {
                        report,
                        passed,
                        total,
                    },
                    outbox,
                );
            }
        }
    }

    fn given_back(&mut self, now: Now, link: LinkId, lease: LeaseId, reason: &str, outbox: &mut Outbox) {
        if self.fleet.worker_on(link).is_none() {
            return;
        }
        if self.job_under(link, lease).is_none() {
            outbox.send(link, CoordMsg::Forget { lease });
            return;
        }
        self.take_back(now, lease, &Attempt::Returned(reason), outbox);
    }

    /// The jobs of a lost worker wait for it for a while, unless none is granted.
    fn link_lost(&mut self, now: Now, link: LinkId, outbox: &mut Outbox) {
        let Some(worker) = self.fleet.remove(link) else {
            return;
        };
        if self.timing.grace_ms == 0 {
            self.take_back_all(now, worker, &Attempt::Failed("its worker was lost"), outbox);
        } else {
            self.lost.insert(worker, now.monotonic_ms);
        }
    }

    fn file_written(&mut self, pending: PendingFile, outbox: &mut Outbox) {
        outbox.write(Write::Written(pending));
        if let PendingFile::Reports { run } = pending
            && let Some(run) = self.runs.get(&run)
            && run.record.finished.is_some()
        {
            outbox.tell(run.spec.run, Progress::Done(Box::new(run.summary())));
        }
    }

    fn ticked(&mut self, now: Now, outbox: &mut Outbox) {
        if !self.tick_is_late(now) {
            self.take_back_from_the_silent(now, outbox);
        }
        self.tell_what_waits(now, outbox);
    }

    /// Whether time passed that this coordinator slept through: what its workers said meanwhile is still to come, so
    /// their silence counts from the next tick on.
    fn tick_is_late(&mut self, now: Now) -> bool {
        let before_ms = std::mem::replace(&mut self.ticked_ms, now.monotonic_ms);
        let is_late = now.monotonic_ms.saturating_sub(before_ms) >= self.timing.silence_ms / 2;
        self.is_late = is_late && !self.is_late;
        self.is_late
    }

    fn take_back_from_the_silent(&mut self, now: Now, outbox: &mut Outbox) {
        let silent = self
            .fleet
            .silent_since(now.monotonic_ms.saturating_sub(self.timing.silence_ms));
        for link in silent {
            outbox.commands.push(Command::Close { link });
            self.link_lost(now, link, outbox);
        }
        let grace_ms = self.timing.grace_ms;
        let is_over = |since: &u64| now.monotonic_ms.saturating_sub(*since) >= grace_ms;
        let gone: Vec<_> = self
            .lost
            .iter()
            .filter(|(_, since)| is_over(since))
            .map(|(id, _)| *id)
            .collect();
        for worker in gone {
            self.lost.remove(&worker);
            self.take_back_all(now, worker, &Attempt::Failed("its worker was lost"), outbox);
        }
    }

    /// Says once, after a while, that jobs wait for a role that no worker plays.
    fn tell_what_waits(&mut self, now: Now, outbox: &mut Outbox) {
        for role in [Role::Gen, Role::Eval] {
            let mut waiting: BTreeMap<RunId, usize> = BTreeMap::new();
            if self.fleet.slots(role) == 0 {
                for (first, jobs) in self.queue.lanes(role).filter(|(first, _)| self.may_go(first)) {
                    *waiting.entry(first.run).or_default() += jobs;
                }
            }
            if waiting.is_empty() {
                self.starved.remove(&role);
                continue;
            }
            let since = self.starved.entry(role).or_insert(Some(now.monotonic_ms));
            let Some(started) = *since else { continue };
            if now.monotonic_ms.saturating_sub(started) >= self.timing.waiting_ms {
                *since = None;
                for (run, jobs) in waiting {
                    let jobs = u32::try_from(jobs).unwrap_or(u32::MAX);
                    outbox.tell(run, Progress::Waiting { role, jobs });
                }
            }
        }
    }

    // --- leases

    fn holder(&self, lease: LeaseId) -> Option<WorkerId> {
        let id = self.leases.get(&lease)?;
        self.runs
            .get(&id.run)?
            .job(id)?
            .holder()
            .map(|(_, worker)| worker)
    }

    /// The job under a lease that the worker on this link holds.
    fn job_under(&self, link: LinkId, lease: LeaseId) -> Option<JobId> {
        let worker = self.fleet.worker_on(link)?;
        (self.holder(lease) == Some(worker))
            .then(|| self.leases.get(&lease).copied())
            .flatten()
    }

    fn leases_of(&self, worker: WorkerId) -> Vec<LeaseId> {
        self.leases
            .keys()
            .copied()
            .filter(|lease| self.holder(*lease) == Some(worker))
            .collect()
    }

    /// Whether a lease was granted on this link so short a time ago that its worker may not have it yet.
    fn may_be_on_its_way(&self, now: Now, link: LinkId, lease: LeaseId) -> bool {
        let job = self
            .leases
            .get(&lease)
            .and_then(|id| self.runs.get(&id.run)?.job(id));
        match job.map(|job| &job.state) {
            Some(JobState::Leased {
                link: sent_on,
                since_ms,
                ..
            }) => {
                let age_ms = now.monotonic_ms.saturating_sub(*since_ms);
                *sent_on == link && age_ms < self.timing.silence_ms
            }
            Some(JobState::Held | JobState::Ready | JobState::Settled(_)) | None => false,
        }
    }

    /// The tests whose report the session under a lease waits for.
    fn awaited_tests(&self, lease: LeaseId) -> Option<JobId> {
        let session = self
            .leases
            .get(&lease)
            .filter(|id| id.kind == JobKind::Generate)?;
        self.runs.get(&session.run)?.awaited_tests(session)
    }

    fn is_leased(&self, run: RunId, kind_is: impl Fn(&JobKind) -> bool) -> bool {
        self.leases.values().any(|id| id.run == run && kind_is(&id.kind))
    }

    fn take_back_all(&mut self, now: Now, worker: WorkerId, attempt: &Attempt<'_>, outbox: &mut Outbox) {
        for lease in self.leases_of(worker) {
            self.take_back(now, lease, attempt, outbox);
        }
    }

    /// The one way in which a lease ends without its job being settled. A job whose attempts are used up is given up.
    fn take_back(&mut self, now: Now, lease: LeaseId, attempt: &Attempt<'_>, outbox: &mut Outbox) {
        let Some(id) = self.leases.remove(&lease) else {
            return;
        };
        let Some(run) = self.runs.get_mut(&id.run) else {
            return;
        };
        let (order, at_ms, place) = (run.order, run.clock_ms(now), run.place(id.problem));
        let attempts_max = run.spec.attempts_max;
        let is_for_nobody = run.is_for_nobody(&id);
        let Some(job) = run.job_mut(&id) else { return };
        if id.kind == JobKind::Generate {
            job.add_busy(now.monotonic_ms);
        }
        job.at_ms = at_ms;
        job.state = JobState::Ready;
        let reason = match attempt {
            Attempt::Failed(reason) => {
                job.failed_attempts += 1;
                reason
            }
            Attempt::Returned(reason) => reason,
        };
        let used_up = [(job.failed_attempts, attempts_max), (job.attempts, GRANTS_MAX)]
            .into_iter()
            .find(|(n, max)| n >= max);
        if let Some((attempts, _)) = used_up {
            let failure = given_up(attempts, reason);
            self.settle(now, id, JobOutcome::Error(failure), outbox);
            return;
        }
        outbox.write(Write::Job(job.record()));
        if is_for_nobody {
            job.state = JobState::Held;
        } else {
            let (job, reason) = (id.to_string(), (*reason).to_owned());
            outbox.tell(
                id.run,
                Progress::Retried {
                    index: place,
                    job,
                    reason,
                },
            );
            self.queue.push(order, id);
        }
        self.tell_when_drained(id.run, outbox);
    }

    // --- the pipeline

    fn queue_open_jobs(&mut self, id: RunId) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let holds_evaluation = run.spec.staged && !run.generation_is_over();
        let mut ready = Vec::new();
        for problem in &mut run.problems {
            let session_is_over = problem.generate.is_settled();
            let jobs = std::iter::once(&mut problem.generate)
                .chain(problem.tests.values_mut())
                .chain(&mut problem.evaluate);
            for job in jobs {
                let waits = match job.id.kind {
                    JobKind::Generate => false,
                    JobKind::RoundTests { .. } => session_is_over,
                    JobKind::Evaluate => holds_evaluation,
                };
                if job.state == JobState::Held && !waits {
                    job.state = JobState::Ready;
                    ready.push(job.id);
                }
            }
        }
        for job in ready {
            self.queue.push(run.order, job);
        }
    }

    /// The one way in which a job is settled.
    fn settle(&mut self, now: Now, id: JobId, outcome: JobOutcome, outbox: &mut Outbox) {
        let Some(run) = self.runs.get_mut(&id.run) else {
            return;
        };
        let (order, place) = (run.order, run.place(id.problem));
        let lease = run.job(&id).and_then(Job::holder).map(|(lease, _)| lease);
        if id.kind == JobKind::Generate
            && let Some(job) = run.job_mut(&id)
        {
            job.add_busy(now.monotonic_ms);
        }
        if !run.settle(&id, outcome, now) {
            return;
        }
        if let Some(lease) = lease {
            self.leases.remove(&lease);
        }
        self.queue.remove(order, id);
        if let Some(job) = run.job(&id) {
            outbox.write(Write::Job(job.record()));
        }
        match id.kind {
            JobKind::RoundTests { .. } => self.send_test_report(id, outbox),
            JobKind::Evaluate => {}
            JobKind::Generate => self.session_settled(id, place, outbox),
        }
        if self
            .runs
            .get_mut(&id.run)
            .is_some_and(|run| run.count_settled(id.problem))
        {
            outbox.tell(id.run, Progress::Judged { index: place });
        }
        self.after_settling(id.run, now, outbox);
    }

    fn session_settled(&mut self, id: JobId, place: u32, outbox: &mut Outbox) {
        let Some(run) = self.runs.get_mut(&id.run) else {
            return;
        };
        let program = match run.job(&id).and_then(Job::outcome) {
            Some(JobOutcome::Generated(outcome)) => Ok(outcome.program.is_some()),
            Some(JobOutcome::Error(failure)) => Err(failure.clone()),
            Some(JobOutcome::Evaluated { .. }) | None => return,
        };
        outbox.tell(
            id.run,
            Progress::GenerationEnded {
                index: place,
                program,
            },
        );
        if let Some(files) = run.files(PendingFile::Session {
            run: id.run,
            problem: id.problem,
        }) {
            outbox.write_files(files);
        }
        // Tests of its rounds that still wait are for nobody.
        let order = run.order;
        let tests = run
            .problem_mut(id.problem)
            .into_iter()
            .flat_map(|problem| problem.tests.values_mut());
        for job in tests.filter(|job| job.state == JobState::Ready) {
            job.state = JobState::Held;
            self.queue.remove(order, job.id);
        }
        if let Some(job) = run.evaluation_of(id.problem) {
            outbox.write(Write::Job(job.record()));
            if let Some(problem) = run.problem_mut(id.problem) {
                problem.evaluate = Some(job);
            }
            self.queue_open_jobs(id.run);
        }
    }

    /// What follows once something is settled: the end of generation, the end of the run.
    fn after_settling(&mut self, id: RunId, now: Now, outbox: &mut Outbox) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        if run.generation_is_over() && !run.generation_over_told {
            run.generation_over_told = true;
            outbox.tell(
                id,
                Progress::GenerationDone {
                    generation_ms: run.generation_ms(),
                },
            );
            self.queue_open_jobs(id);
        }
        let Some(run) = self.runs.get_mut(&id) else { return };
        if run.is_settled() && run.record.finished.is_none() {
            run.record.finished = Some(now.wall);
            outbox.write(Write::Run(run.record.clone()));
            if let Some(files) = run.files(PendingFile::Reports { run: id }) {
                outbox.write_files(files);
            }
        }
        self.tell_when_drained(id, outbox);
    }

    fn tell_when_drained(&mut self, id: RunId, outbox: &mut Outbox) {
        let is_idle = !self.is_leased(id, |_| true);
        let Some(run) = self.runs.get_mut(&id) else { return };
        if run.mode == Mode::Draining && is_idle && run.record.finished.is_none() {
            run.mode = Mode::Drained;
            outbox.tell(id, Progress::Drained);
        }
    }

    // --- handing out

    /// Hands out ready jobs for as long as there is room.
    fn dispatch(&mut self, now: Now, outbox: &mut Outbox) {
        let mut grants: BTreeMap<LinkId, Vec<JobGrant>> = BTreeMap::new();
        for role in [Role::Eval, Role::Gen] {
            while let Some(id) = self.queue.first(role, |job| self.may_go(job)) {
                let Some(worker) = self.fleet.take(role, Priority::of(&id)) else {
                    break;
                };
                let Some(link) = self.fleet.link_of(worker) else {
                    break;
                };
                if let Some(grant) = self.grant(now, id, (worker, link), outbox) {
                    grants.entry(link).or_default().push(grant);
                }
            }
        }
        for (link, grants) in grants {
            let leases: Vec<LeaseId> = grants.iter().map(|grant| grant.lease).collect();
            outbox.send(link, CoordMsg::Jobs(grants));
            for tests in leases.into_iter().filter_map(|lease| self.awaited_tests(lease)) {
                self.send_failed_test(tests, outbox);
            }
        }
    }

    /// A session that goes on has the reports it asked for in its work, but not why there is none.
    fn send_failed_test(&self, tests: JobId, outbox: &mut Outbox) {
        let job = self.runs.get(&tests.run).and_then(|run| run.job(&tests));
        if let Some(JobOutcome::Error(_)) = job.and_then(Job::outcome) {
            self.send_test_report(tests, outbox);
        }
    }

    fn may_go(&self, job: &JobId) -> bool {
        let Some(run) = self.runs.get(&job.run) else {
            return false;
        };
        let is_generate = |kind: &JobKind| *kind == JobKind::Generate;
        match (job.kind, run.mode) {
            (JobKind::RoundTests { .. }, Mode::Running | Mode::Draining)
            | (JobKind::Evaluate, Mode::Running) => true,
            (JobKind::Generate, Mode::Running) => run.spec.parallel || !self.is_leased(job.run, is_generate),
            (JobKind::Generate | JobKind::Evaluate, Mode::Draining) | (_, Mode::Drained) => false,
        }
    }

    fn grant(
        &mut self,
        now: Now,
        id: JobId,
        (worker, link): (WorkerId, LinkId),
        outbox: &mut Outbox,
    ) -> Option<JobGrant> {
        let role = role_of(&id);
        let (generation, evaluation) = (self.fleet.slots(Role::Gen), self.fleet.slots(Role::Eval));
        let cores = self.fleet.cores();
        let run = self.runs.get_mut(&id.run)?;
        self.queue.remove(run.order, id);
        let work = run.work(&id)?;
        self.lease_seq += 1;
        let lease = LeaseId {
            epoch: self.epoch,
            seq: self.lease_seq,
        };
        let at_ms = run.clock_ms(now);
        let job = run.job_mut(&id)?;
        job.attempts += 1;
        job.at_ms = at_ms;
        job.state = JobState::Leased {
            lease,
            worker,
            link,
            since_ms: now.monotonic_ms,
        };
        let attempt = job.attempts;
        outbox.write(Write::Job(job.record()));
        self.leases.insert(lease, id);

        let before = run.record.clone();
        let record = &mut run.record;
        record.generation_slots = record.generation_slots.max(generation);
        record.evaluation_slots = record.evaluation_slots.max(evaluation);
        record.cores = record.cores.max(cores);
        if role == Role::Gen {
            record.first_grant_ms.get_or_insert(at_ms);
        }
        if *record != before {
            outbox.write(Write::Run(record.clone()));
        }
        if role == Role::Gen && attempt == 1 {
            outbox.tell(
                id.run,
                Progress::GenerationStarted {
                    index: run.place(id.problem),
                },
            );
        }
        Some(JobGrant {
            job: id,
            lease,
            attempt,
            priority: Priority::of(&id),
            work,
        })
    }
}
