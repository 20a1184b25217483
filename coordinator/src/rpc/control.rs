//! What people's commands ask: runs are taken in, listed, watched, cancelled, tried again, their files sent.
//!
//! It decides nothing: what changes something becomes an event, and what is told is looked up in the core and leaves
//! through the committer, so nothing is told that is not durable. Who may ask is decided by who can connect.

mod activity;
mod fetch;
mod spec;
mod status;
mod submission;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use roundhouse_core::status::RunState;
use roundhouse_core::{Coordinator, Event, Now};
use roundhouse_proto::RunId;
use roundhouse_proto::wire::{Fields, REASON_MAX_BYTES, v1};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Request, Response, Status};

use super::{Outgoing, REASON_CHARS_MAX, refuse};
use crate::driver::Events;
use crate::registry::Registry;
use crate::server::Url;
use crate::watchers::Watchers;

pub use self::activity::Activity;
pub use self::status::warning;
pub use self::submission::{RUN_DIR_PREFIX, Submissions};

/// How long an answer may take; longer only while the store fails.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a fetch waits for the reports of a run at rest.
const REPORTS_WAIT_MAX: Duration = Duration::from_secs(10);
/// How often it looks whether they are written.
const REPORTS_LOOK_EVERY: Duration = Duration::from_millis(100);
/// Streams of watchers and of files that are open at a time, together.
const STREAMS_MAX: usize = 256;
/// Runs of one list.
const RUNS_MAX: u64 = 1_024;

/// Answers people's commands.
#[derive(Clone)]
pub struct ControlService(Arc<Inner>);

struct Inner {
    events: Events,
    registry: Arc<Registry>,
    watchers: Watchers,
    url: Url,
    submissions: Option<Submissions>,
    streams: Arc<Semaphore>,
    activity: Activity,
}

impl ControlService {
    /// The service of a coordinator that is reached at `url`; without `submissions` it takes no run in.
    pub fn new(
        events: Events,
        registry: Arc<Registry>,
        watchers: Watchers,
        url: Url,
        submissions: Option<Submissions>,
    ) -> Self {
        Self(Arc::new(Inner {
            events,
            registry,
            watchers,
            url,
            submissions,
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            activity: Activity::default(),
        }))
    }

    /// What clients are doing.
    pub fn activity(&self) -> Activity {
        self.0.activity.clone()
    }

    async fn status(&self, run: RunId) -> Result<v1::RunStatus, Status> {
        let view = look(&self.0.events, move |core, now| core.run_view(now, run)).await?;
        let view = view.ok_or_else(|| unknown(run))?;
        Ok(status::of_run(&view, &self.shown_dir(run), &self.0.url))
    }

    /// Waits until the files of a run at rest are written: it is at rest a moment earlier, or for long where its
    /// directory cannot be written.
    async fn wait_for_reports(&self, run: RunId) -> Result<(), Status> {
        let begun = tokio::time::Instant::now();
        loop {
            // A registry of one knows no other run from it; the core does.
            let view = look(&self.0.events, move |core, now| core.run_view(now, run)).await?;
            let view = view.ok_or_else(|| unknown(run))?;
            let is_written = view.reports_written || view.state == RunState::Active;
            if is_written || begun.elapsed() >= REPORTS_WAIT_MAX {
                return Ok(());
            }
            tokio::time::sleep(REPORTS_LOOK_EVERY).await;
        }
    }

    /// Which problems of a run, by place, nothing more is done for as things stand.
    async fn closed(&self, run: RunId) -> Result<Vec<bool>, Status> {
        let seen = look(&self.0.events, move |core, now| {
            let is_over = status::is_over(&core.run_view(now, run)?.state);
            let problems = core.problem_views(run);
            let closed = problems.iter().map(|problem| is_over || problem.is_settled);
            Some(closed.collect())
        });
        seen.await?.ok_or_else(|| unknown(run))
    }

    fn dir(&self, run: RunId) -> Option<PathBuf> {
        self.0.registry.dir_of(run)
    }

    fn shown_dir(&self, run: RunId) -> String {
        let dir = self.dir(run);
        dir.as_deref()
            .map(Path::display)
            .map(|dir| dir.to_string())
            .unwrap_or_default()
    }

    /// Room for one more stream.
    fn stream(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.0.streams).try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!(
                "{STREAMS_MAX} clients watch or fetch already\nhint: try again later"
            ))
        })
    }
}

/// What is seen of the core, once it is durable.
async fn look<T: Send + 'static>(
    events: &Events,
    look: impl FnOnce(&Coordinator, Now) -> T + Send + 'static,
) -> Result<T, Status> {
    match tokio::time::timeout(ANSWER_TIMEOUT, events.look(look)).await {
        Ok(Some(seen)) => Ok(seen),
        Ok(None) => Err(stopping()),
        Err(_) => Err(failing()),
    }
}

/// Lets the core know; what is looked up after it is seen with it.
async fn tell(events: &Events, event: Event) -> Result<(), Status> {
    match tokio::time::timeout(ANSWER_TIMEOUT, events.send(event)).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(stopping()),
        Err(_) => Err(failing()),
    }
}

fn stopping() -> Status {
    Status::unavailable("the coordinator is stopping\nhint: its runs go on when it is started again")
}

fn failing() -> Status {
    Status::unavailable(
        "the coordinator cannot store its state at the moment, so it tells nothing\nhint: its own messages say why; \
         try again when that is mended",
    )
}

fn unknown(run: RunId) -> Status {
    Status::not_found(format!(
        "no run {run} is known here\nhint: `coordinator status` lists those that are"
    ))
}

fn run_of(fields: Fields, run: &bytes::Bytes) -> Result<RunId, Status> {
    fields.uuid("run", run).map(RunId).map_err(|error| refuse(&error))
}

#[tonic::async_trait]
impl v1::control_server::Control for ControlService {
    type WatchRunStream = Outgoing<v1::RunUpdate>;
    type FetchStream = Outgoing<v1::FileChunk>;

    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitReply>, Status> {
        let _busy = self.0.activity.begin();
        let Some(submissions) = &self.0.submissions else {
            return Err(Status::failed_precondition(
                "this coordinator belongs to one `coordinator run` and takes no other run in\nhint: `coordinator \
                 start` starts one that does",
            ));
        };
        submissions.submit(request.into_inner()).await.map(Response::new)
    }

    async fn list_runs(
        &self,
        request: Request<v1::ListRunsRequest>,
    ) -> Result<Response<v1::ListRunsReply>, Status> {
        let _busy = self.0.activity.begin();
        let limit = request.into_inner().limit;
        if !(1..=RUNS_MAX).contains(&limit) {
            let expected = format!("1 to {RUNS_MAX}");
            let error = Fields::of("ListRunsRequest").refuse("limit", expected, limit);
            return Err(refuse(&error));
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let (views, more) = look(&self.0.events, move |core, now| {
            let runs = core.runs();
            let listed = runs.iter().take(limit);
            let views: Vec<_> = listed.filter_map(|run| core.run_view(now, *run)).collect();
            (views, runs.len() > limit)
        })
        .await?;
        let status = |view| status::of_run(view, &self.shown_dir(view.run()), &self.0.url);
        let runs = views.iter().map(status).collect();
        Ok(Response::new(v1::ListRunsReply { runs, more }))
    }

    async fn get_run(&self, request: Request<v1::GetRunRequest>) -> Result<Response<v1::RunStatus>, Status> {
        let _busy = self.0.activity.begin();
        let run = run_of(Fields::of("GetRunRequest"), &request.into_inner().run)?;
        self.status(run).await.map(Response::new)
    }

    async fn watch_run(
        &self,
        request: Request<v1::WatchRunRequest>,
    ) -> Result<Response<Self::WatchRunStream>, Status> {
        let run = run_of(Fields::of("WatchRunRequest"), &request.into_inner().run)?;
        let updates = watch::watch(self.clone(), run).await?;
        Ok(Response::new(Box::pin(updates)))
    }

    async fn cancel(&self, request: Request<v1::CancelRequest>) -> Result<Response<v1::RunStatus>, Status> {
        let _busy = self.0.activity.begin();
        let fields = Fields::of("CancelRequest");
        let v1::CancelRequest { run, reason } = request.into_inner();
        let run = run_of(fields, &run)?;
        let reason_bytes = reason.len();
        fields
            .bounded("reason", reason_bytes, REASON_MAX_BYTES, "bytes")
            .map_err(|error| refuse(&error))?;
        self.status(run).await?;
        let reason = crate::report::line::one_line(&reason, REASON_CHARS_MAX);
        tell(&self.0.events, Event::CancelRequested { run, reason }).await?;
        self.status(run).await.map(Response::new)
    }

    async fn retry(&self, request: Request<v1::RetryRequest>) -> Result<Response<v1::RetryReply>, Status> {
        let _busy = self.0.activity.begin();
        let run = run_of(Fields::of("RetryRequest"), &request.into_inner().run)?;
        let before = self.closed(run).await?;
        tell(&self.0.events, Event::RetryRequested { run }).await?;
        let after = self.closed(run).await?;
        let is_open_again = |(before, after): &(&bool, &bool)| **before && !**after;
        let problems_n = before.iter().zip(&after).filter(is_open_again).count() as u64;
        Ok(Response::new(v1::RetryReply { problems_n }))
    }

    async fn list_workers(
        &self,
        _: Request<v1::ListWorkersRequest>,
    ) -> Result<Response<v1::ListWorkersReply>, Status> {
        let _busy = self.0.activity.begin();
        let views = look(&self.0.events, Coordinator::worker_views).await?;
        let workers = views.into_iter().map(status::of_worker).collect();
        Ok(Response::new(v1::ListWorkersReply { workers }))
    }

    async fn fetch(&self, request: Request<v1::FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let v1::FetchRequest { run, under } = request.into_inner();
        let run = run_of(Fields::of("FetchRequest"), &run)?;
        self.wait_for_reports(run).await?;
        let dir = self.dir(run).ok_or_else(|| unknown(run))?;
        let held = (self.stream()?, self.0.activity.begin());
        let files = fetch::files(dir, under, held).await?;
        Ok(Response::new(Box::pin(files)))
    }
}

#[cfg(test)]
mod tests;
