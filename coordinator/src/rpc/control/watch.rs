//! Watching a run: how it stands, then whatever changes, without a gap in between.
//!
//! The watcher is entered at the moment at which the first state is told, so the news that follow are exactly those
//! that are not in it. The stream ends after the run's end, or, with a status that asks to come back, when the watcher
//! falls behind or the coordinator stops.

use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use roundhouse_core::run::RunSpec;
use roundhouse_core::status::{ProblemView, RunView};
use roundhouse_proto::RunId;
use roundhouse_proto::wire::v1;
use roundhouse_proto::wire::v1::problem_update::Step;
use roundhouse_proto::wire::v1::run_update::What;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::status::{cut, is_over, of_run};
use super::{ANSWER_TIMEOUT, ControlService, failing, look, stopping, unknown};
use crate::watchers::News;

/// Updates that are on their way to one watcher, beside its news.
const UPDATES_MAX: usize = 64;
/// How long a watcher may take to take an update.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

type Updates = mpsc::Sender<Result<v1::RunUpdate, Status>>;

/// Why nothing more is told to a watcher.
enum End {
    /// There is nothing more to tell, or nobody to tell it to.
    Quiet,
    /// It is to come back.
    Told(Status),
}

pub(super) async fn watch(
    control: ControlService,
    run: RunId,
) -> Result<impl Stream<Item = Result<v1::RunUpdate, Status>> + Send, Status> {
    let stream = control.stream()?;
    let busy = control.0.activity.begin();
    let watchers = control.0.watchers.clone();
    let seen = control.0.events.look_then(
        move |core, now| {
            core.run_view(now, run)
                .map(|view| (view, core.problem_views(run)))
        },
        move |seen| seen.map(|(view, problems)| (view, problems, watchers.watch(run))),
    );
    let (view, problems, news) = match tokio::time::timeout(ANSWER_TIMEOUT, seen).await {
        Ok(Some(Some(seen))) => seen,
        Ok(Some(None)) => return Err(unknown(run)),
        Ok(None) => return Err(stopping()),
        Err(_) => return Err(failing()),
    };
    let (updates, outgoing) = mpsc::channel(UPDATES_MAX);
    let telling = Telling {
        control,
        run,
        spec: Arc::clone(&view.spec),
        updates: updates.clone(),
    };
    // A task of its own, so that the news are taken as they come.
    tokio::spawn(async move {
        let _held = (stream, busy);
        if let Err(End::Told(status)) = telling.tell(&view, problems, news).await {
            let _ = tokio::time::timeout(SEND_TIMEOUT, updates.send(Err(status))).await;
        }
    });
    Ok(ReceiverStream::new(outgoing))
}

struct Telling {
    control: ControlService,
    run: RunId,
    spec: Arc<RunSpec>,
    updates: Updates,
}

impl Telling {
    async fn tell(
        &self,
        view: &RunView,
        problems: Vec<ProblemView>,
        mut news: mpsc::Receiver<News>,
    ) -> Result<(), End> {
        self.status(view).await?;
        for (index, problem) in (1..).zip(problems) {
            self.problem(index, problem).await?;
        }
        if let Some(generation_ms) = view.generation_ms {
            self.send(What::GenerationDoneMs(generation_ms)).await?;
        }
        if view.reports_written {
            self.send(What::ReportsWritten(true)).await?;
            if is_over(&view.state) {
                return Ok(());
            }
        }
        loop {
            tokio::select! {
                told = news.recv() => match told {
                    Some(news) => self.news(news).await?,
                    None => break,
                },
                // Of a run that cannot move there may be no news to notice it by.
                () = self.updates.closed() => return Err(End::Quiet),
            }
        }
        Err(End::Told(if self.control.0.watchers.is_closed() {
            stopping()
        } else {
            Status::unavailable(
                "this watcher fell too far behind\nhint: watch the run again: nothing is lost",
            )
        }))
    }

    /// A problem as it stands.
    async fn problem(&self, index: u64, problem: ProblemView) -> Result<(), End> {
        if problem.is_started {
            self.step(index, Step::Started(true)).await?;
        }
        match problem.generated {
            Some(Ok(program)) => self.step(index, Step::Generated(program)).await?,
            Some(Err(failure)) => self.step(index, Step::NotGenerated(failure.into())).await?,
            None => {}
        }
        if problem.is_settled {
            self.step(index, Step::Judged(true)).await?;
        }
        Ok(())
    }

    async fn news(&self, news: News) -> Result<(), End> {
        match news {
            News::Started { index } => self.step(index.into(), Step::Started(true)).await,
            News::Generated {
                index,
                program: Ok(program),
            } => self.step(index.into(), Step::Generated(program)).await,
            News::Generated {
                index,
                program: Err(failure),
            } => self.step(index.into(), Step::NotGenerated(failure.into())).await,
            News::Judged { index } => self.step(index.into(), Step::Judged(true)).await,
            News::Retried { index, job, reason } => {
                let place = (index as usize).checked_sub(1);
                let problem = place.and_then(|place| self.spec.problems.get(place));
                let name = problem.map_or("", |problem| problem.name.as_str());
                let notice = format!("{job} of {name} is tried again: {reason}");
                self.send(What::Notice(cut(notice))).await
            }
            News::GenerationDone { generation_ms } => {
                // What is said next names the slots that evaluate, which may have joined meanwhile.
                self.fresh_status().await?;
                self.send(What::GenerationDoneMs(generation_ms)).await
            }
            News::Notice(notice) => self.send(What::Notice(cut(notice))).await,
            News::Changed => self.fresh_status().await.map(drop),
            News::Paused | News::Done => {
                let view = self.fresh_status().await?;
                if !view.reports_written {
                    // It went on since: other reports will be those that count.
                    return Ok(());
                }
                self.send(What::ReportsWritten(true)).await?;
                if is_over(&view.state) {
                    return Err(End::Quiet);
                }
                Ok(())
            }
        }
    }

    /// How the run stands by now.
    async fn fresh_status(&self) -> Result<RunView, End> {
        let run = self.run;
        let view = look(&self.control.0.events, move |core, now| core.run_view(now, run)).await;
        let view = view.map_err(End::Told)?.ok_or_else(|| End::Told(unknown(run)))?;
        self.status(&view).await?;
        Ok(view)
    }

    async fn status(&self, view: &RunView) -> Result<(), End> {
        let dir = self.control.shown_dir(self.run);
        self.send(What::Status(of_run(view, &dir, &self.control.0.url)))
            .await
    }

    async fn step(&self, index: u64, step: Step) -> Result<(), End> {
        let step = Some(step);
        self.send(What::Problem(v1::ProblemUpdate { index, step })).await
    }

    async fn send(&self, what: What) -> Result<(), End> {
        let update = v1::RunUpdate { what: Some(what) };
        match tokio::time::timeout(SEND_TIMEOUT, self.updates.send(Ok(update))).await {
            Ok(Ok(())) => Ok(()),
            // It went away, or it is there and reads nothing: either way it hears no more.
            Ok(Err(_)) | Err(_) => Err(End::Quiet),
        }
    }
}
