//! A run in the foreground: brings the coordinator and its workers up, prints what happens, and ends with the exit
//! code that goes with how it ended.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, anyhow};
use roundhouse_core::record::JobOutcome;
use roundhouse_core::run::{ModelAt, RunSpec};
use roundhouse_core::summary::{RunStatus, RunSummary, RunTimes};
use roundhouse_core::{Event, Progress};
use roundhouse_proto::JobKind;
use tokio::sync::watch;

use crate::bundled::BUNDLED;
use crate::console::progress::tail_note;
use crate::console::{self, Console, Counts, Generated, Mode, Terminal};
use crate::endpoints::WorkerFlags;
use crate::exit;
use crate::interrupts::Interrupts;
use crate::local::{IsolationFlags, LocalWorkers};
use crate::prepare::{REFERENCE_MODEL, resume_command};
use crate::recording::{self, RecordingError};
use crate::report::figures::{Figures, Price};
use crate::report::line::{MESSAGE_CHARS_MAX, one_line};
use crate::run_args::RunArgs;
use crate::run_dir::{RESULTS_FILE, RunDir};
use crate::server::{Server, State};
use crate::store::Health;

/// How the reason begins for which a paused run is incomplete.
const PAUSED_PREFIX: &str = "paused: ";

/// A run in the foreground.
pub struct Foreground<'a, W: Write> {
    args: &'a RunArgs,
    run_dir: Arc<RunDir>,
    spec: Arc<RunSpec>,
    cores: u32,
    console: Console<W>,
    endpoints: Option<WorkerFlags>,
    /// The end of generation was printed.
    generation_told: bool,
    /// What the run came to was printed.
    results_told: bool,
}

impl<'a, W: Write> Foreground<'a, W> {
    /// A run that has not begun to be followed; `endpoints` is what its generation worker is told of them, none where
    /// it asks none.
    pub fn new(
        args: &'a RunArgs,
        run_dir: RunDir,
        spec: Arc<RunSpec>,
        cores: u32,
        console: Console<W>,
        endpoints: Option<WorkerFlags>,
    ) -> Self {
        Self {
            args,
            run_dir: Arc::new(run_dir),
            spec,
            cores,
            console,
            endpoints,
            generation_told: false,
            results_told: false,
        }
    }

    fn mode(&self) -> Mode {
        if self.spec.parallel {
            Mode::Parallel
        } else {
            Mode::Sequential
        }
    }

    /// Follows the run to its end. `first` is what sets it going.
    ///
    /// # Errors
    /// It cannot go on; what was finished is stored.
    pub async fn follow_to_the_end(mut self, state: State, first: Event) -> anyhow::Result<ExitCode> {
        let workers = match self.args.workers {
            Some(workers) if self.spec.parallel => workers,
            _ => self.spec.workers,
        };
        let eval_workers = self.args.eval_workers.unwrap_or(self.spec.eval_workers);
        self.console.config(self.mode(), workers, self.cores);
        self.console.generation_heading(self.mode(), workers);

        let working_dir = std::env::current_dir().context("find the working directory")?;
        let counts = counts_of(&state);
        let (mut server, socket) = Server::start(state, &self.run_dir, &working_dir).await?;
        server.events.send(first).await;
        let bars = console::Progress::new(
            &Terminal::detect(),
            self.spec.problems.len() as u64,
            counts,
            Instant::now(),
        );
        self.console.share_terminal_with(bars.clone());
        // Programs that nobody wrote but us.
        let is_ours = self.spec.data_set.path == BUNDLED && self.spec.session.model == REFERENCE_MODEL;
        let local = LocalWorkers {
            socket,
            generation_slots: workers,
            evaluation_slots: eval_workers,
            python: self.args.python.clone(),
            isolation: IsolationFlags {
                allow_weak_isolation: self.args.allow_weak_isolation,
                i_know_this_is_unsafe: self.args.i_know_this_is_unsafe,
                programs_are_ours: is_ours,
            },
            endpoints: self.endpoints.take(),
        };
        let (stop, stopped) = watch::channel(false);
        let mut workers_end = tokio::spawn(async move { local.keep(stopped).await });

        let mut interrupts = Interrupts::listen().context("listen for Ctrl-C")?;
        let ended = self
            .follow(
                &mut server,
                &mut workers_end,
                &mut interrupts,
                counts,
                &bars,
                eval_workers,
            )
            .await;
        bars.finish();
        let _ = stop.send(true);
        let wind_down = async {
            if !workers_end.is_finished() {
                let _ = workers_end.await;
            }
            server.stop().await
        };
        let is_stored = tokio::select! {
            is_stored = wind_down => is_stored,
            // Whatever is not stored by now was never acknowledged, and is done again.
            _ = interrupts.next() => false,
        };
        match ended {
            End::Done(summary) => {
                let code = self.done(&summary, eval_workers)?;
                self.record(Some(&summary))?;
                Ok(code)
            }
            End::Paused(summary) => {
                self.paused(&summary);
                self.record(Some(&summary))?;
                Ok(exit::INCOMPLETE.into())
            }
            End::Interrupted => {
                if let Err(error) = self.record(None) {
                    crate::notices::warning(&format!("{:#}", anyhow::Error::from(error)));
                }
                crate::notices::note(if is_stored {
                    "interrupted: everything finished so far is saved"
                } else {
                    "interrupted: what could not be saved in time is done again"
                });
                crate::notices::hint(&format!("`{}` goes on", resume_command(self.run_dir.path())));
                Ok(exit::INTERRUPTED.into())
            }
            End::Broken(error) => {
                crate::notices::hint(&format!("`{}` goes on", resume_command(self.run_dir.path())));
                Err(error)
            }
        }
    }

    /// Prints what happens until the run is over.
    async fn follow(
        &mut self,
        server: &mut Server,
        workers_end: &mut tokio::task::JoinHandle<Result<(), crate::local::LocalWorkerError>>,
        interrupts: &mut Interrupts,
        mut counts: Counts,
        bars: &console::Progress,
        eval_workers: u32,
    ) -> End {
        let run = self.spec.run;
        let mut is_stopping = false;
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(500));
        loop {
            tokio::select! {
                told = server.progress.recv() => {
                    let Some((of, progress)) = told else {
                        return End::Broken(anyhow!("the coordinator stopped unexpectedly"));
                    };
                    if of == run && let Some(end) = self.tell(progress, &mut counts, bars, eval_workers) {
                        return end;
                    }
                }
                _ = tick.tick() => bars.update(counts, Instant::now()),
                Ok(()) = server.health.changed() => {
                    let health = server.health.borrow_and_update().clone();
                    match health {
                        Health::Well => bars.say("note: the state can be stored again"),
                        Health::Failing { message, is_transient: true } => bars.say(&format!(
                            "warning: the state cannot be stored: {message}; nothing is lost, and it is tried again"
                        )),
                        Health::Failing { message, is_transient: false } => {
                            return End::Broken(anyhow!("the state cannot be stored: {message}"));
                        }
                    }
                }
                ended = &mut *workers_end => {
                    return End::Broken(match ended {
                        Ok(Err(error)) => error.into(),
                        Ok(Ok(())) => anyhow!("the workers ended"),
                        Err(error) => error.into(),
                    });
                }
                _ = interrupts.next() => {
                    if std::mem::replace(&mut is_stopping, true) {
                        return End::Interrupted;
                    }
                    bars.say("stopping: sessions in flight are finished; Ctrl-C once more stops at once");
                    // The driver may have no room while this loop does not read what it has to tell.
                    let events = server.events.clone();
                    tokio::spawn(async move { events.send(Event::StopRequested { run }).await });
                }
            }
        }
    }

    fn tell(
        &mut self,
        progress: Progress,
        counts: &mut Counts,
        bars: &console::Progress,
        eval_workers: u32,
    ) -> Option<End> {
        let n = self.spec.problems.len();
        let name = |index: u32| {
            let problem = (index as usize)
                .checked_sub(1)
                .and_then(|i| self.spec.problems.get(i));
            problem.map_or("", |problem| problem.name.as_str())
        };
        match progress {
            Progress::GenerationStarted { index } => {
                self.console.problem_started(index as usize, n, name(index));
            }
            Progress::GenerationEnded { index, program } => {
                counts.generated += 1;
                let generated = match &program {
                    Ok(true) => Generated::Program,
                    Ok(false) => Generated::Nothing,
                    Err(failure) => Generated::Error(&failure.message),
                };
                self.console
                    .problem_generated(index as usize, n, name(index), generated);
            }
            Progress::GenerationDone { generation_ms } => {
                let times = RunTimes {
                    generation_ms,
                    ..RunTimes::default()
                };
                self.generation_done(&times, eval_workers);
            }
            Progress::Judged { .. } => counts.settled += 1,
            Progress::AllJudged(summary) => {
                self.results(&summary, eval_workers);
                bars.say("note: programs of rounds are still judged");
            }
            Progress::Retried { index, job, reason } => {
                let reason = one_line(&reason, MESSAGE_CHARS_MAX);
                bars.say(&format!(
                    "note: {job} of {} is tried again: {reason}",
                    name(index)
                ));
            }
            Progress::Stuck(reasons) if reasons.is_empty() => bars.say("note: the run moves again"),
            Progress::Stuck(reasons) => {
                for reason in reasons {
                    // It has what endpoints and workers say.
                    let why = one_line(&reason.to_string(), MESSAGE_CHARS_MAX);
                    bars.say(&format!("warning: the run cannot move: {why}"));
                    let resume = resume_command(self.run_dir.path());
                    bars.say(&format!("hint: {}", crate::notices::stuck_hint(&reason, &resume)));
                }
            }
            Progress::Notice(notice) => {
                bars.say(&format!("note: {}", one_line(&notice, MESSAGE_CHARS_MAX)));
            }
            Progress::Started { .. } => {}
            Progress::Paused(summary) => return Some(End::Paused(summary)),
            Progress::Drained => return Some(End::Interrupted),
            Progress::Done(summary) => return Some(End::Done(summary)),
        }
        bars.update(*counts, Instant::now());
        None
    }

    fn generation_done(&mut self, times: &RunTimes, eval_workers: u32) {
        self.generation_told = true;
        self.console.generation_done(times, self.spec.problems.len());
        self.console.evaluation_heading(eval_workers);
    }

    /// Keeps the model's answers, where that was asked for.
    fn record(&self, summary: Option<&RunSummary>) -> Result<(), RecordingError> {
        if let Some(file) = &self.args.record {
            let plan = recording::Plan::of_run(&self.spec, summary);
            crate::notices::recorded(plan.write(self.run_dir.path(), file)?, file);
        }
        Ok(())
    }

    /// No key works any more: what there is was reported, and the rest waits.
    fn paused(&mut self, summary: &RunSummary) {
        self.console.results(&Figures::of(summary), &Price::default());
        self.console.saved(&self.run_dir.shown(), RESULTS_FILE);
        let reason = match &summary.status {
            RunStatus::Incomplete { reason } | RunStatus::Cancelled { reason } => {
                reason.strip_prefix(PAUSED_PREFIX).unwrap_or(reason)
            }
            RunStatus::Running | RunStatus::Complete => "no key works",
        };
        crate::notices::audited(summary.audit);
        let reason = one_line(reason, MESSAGE_CHARS_MAX);
        crate::notices::note(&format!("the run is paused: {reason}"));
        let resume = resume_command(self.run_dir.path());
        let endpoint = summary.endpoint.as_deref().or(match &self.spec.model_at {
            ModelAt::Endpoint { name } => name.as_deref(),
            ModelAt::Offline => None,
        });
        crate::notices::hint(&crate::notices::key_hint(endpoint, &resume));
    }

    /// Prints what the run came to, once every problem is settled.
    fn results(&mut self, summary: &RunSummary, eval_workers: u32) {
        if std::mem::replace(&mut self.results_told, true) {
            return;
        }
        if !self.generation_told {
            self.generation_done(&summary.times, eval_workers);
        }
        self.console
            .evaluation_done(&summary.times, self.spec.problems.len());
        self.console.results(&Figures::of(summary), &Price::default());
    }

    fn done(&mut self, summary: &RunSummary, eval_workers: u32) -> anyhow::Result<ExitCode> {
        self.results(summary, eval_workers);
        let figures = Figures::of(summary);
        self.console.saved(&self.run_dir.shown(), RESULTS_FILE);
        match &summary.status {
            RunStatus::Running | RunStatus::Complete | RunStatus::Incomplete { .. } => {
                self.console.finished();
            }
            // Not everything is done.
            RunStatus::Cancelled { .. } => {}
        }
        self.run_dir.touch()?;
        crate::notices::note(&tail_note(self.spec.lang, &summary.times));
        crate::notices::audited(summary.audit);
        let below = self.args.fail_under.filter(|least| figures.pass_at_1() < *least);
        if let Some((note, hint)) = way_on(&summary.status, &resume_command(self.run_dir.path())) {
            crate::notices::note(&note);
            crate::notices::hint(&hint);
            return Ok(exit::INCOMPLETE.into());
        }
        Ok(match below {
            Some(least) => {
                crate::notices::note(&format!("Pass@1 is below {least} %"));
                exit::FAIL_UNDER.into()
            }
            None => ExitCode::SUCCESS,
        })
    }
}

/// What is said of a run that came to less than everything, and how to go on with it; none if it did not.
fn way_on(status: &RunStatus, resume: &str) -> Option<(String, String)> {
    let said = |how: &str, reason: &str| format!("the run is {how}: {}", one_line(reason, MESSAGE_CHARS_MAX));
    match status {
        RunStatus::Running | RunStatus::Complete => None,
        RunStatus::Incomplete { reason } => Some((
            said("incomplete", reason),
            format!("`{resume}` tries only the errors again"),
        )),
        RunStatus::Cancelled { reason } => Some((
            said("cancelled", reason),
            format!("`{resume}` goes on with what is not settled"),
        )),
    }
}

enum End {
    Done(Box<RunSummary>),
    Paused(Box<RunSummary>),
    Interrupted,
    Broken(anyhow::Error),
}

/// What a run that goes on has behind it.
fn counts_of(state: &State) -> Counts {
    let settled = |kind_is: fn(&JobKind) -> bool| {
        let jobs = state.stored.jobs.iter().filter(|job| kind_is(&job.job.kind));
        let outcomes = jobs.filter_map(|job| job.state.outcome());
        outcomes
            .filter(|outcome| !matches!(outcome, JobOutcome::Error(_)))
            .count() as u64
    };
    Counts {
        generated: settled(|kind| *kind == JobKind::Generate),
        settled: settled(|kind| *kind == JobKind::Evaluate),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use clap::Parser;
    use roundhouse_core::status::Stuck;

    use super::*;
    use crate::console::text::Texts;
    use crate::report::fixture::{Fixture, STARTED};
    use crate::run_dir::RunDirError;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        run: RunArgs,
    }

    #[test]
    fn run_that_came_to_less_is_told_of_harmlessly_with_the_command_that_goes_on() {
        let resume = "coordinator run --resume d";
        let reason = "2 errors\x1b[2J\nreally".to_owned();
        let of = |status| way_on(&status, resume).unwrap();
        let note = "the run is incomplete: 2 errors [2J really".to_owned();
        let hint = format!("`{resume}` tries only the errors again");
        let incomplete = RunStatus::Incomplete {
            reason: reason.clone(),
        };
        assert_eq!(of(incomplete), (note, hint));
        let note = "the run is cancelled: 2 errors [2J really".to_owned();
        let hint = format!("`{resume}` goes on with what is not settled");
        assert_eq!(of(RunStatus::Cancelled { reason }), (note, hint));
        assert_eq!(way_on(&RunStatus::Complete, resume), None);
    }

    #[test]
    fn paused_run_ends_with_what_it_came_to_and_does_not_say_that_all_is_done() {
        let temp = tempfile::tempdir().unwrap();
        let args = Line::try_parse_from(["run"]).unwrap().run;
        let Fixture { mut run, .. } = Fixture::mixed();
        run.status = RunStatus::Incomplete {
            reason: "paused: the endpoint refuses the key".to_owned(),
        };
        let (run_dir, ()) = RunDir::create::<(), RunDirError>(temp.path(), STARTED, |_| Ok(())).unwrap();
        let mut out = Vec::new();
        let console = Console::new(&mut out, Texts::of(run.spec.lang));
        let spec = Arc::clone(&run.spec);
        let mut foreground = Foreground::new(&args, run_dir, spec, 2, console, None);
        let bars = console::Progress::hidden();
        let mut counts = Counts::default();

        let stuck = Progress::Stuck(vec![Stuck::NoEndpoint { name: None }]);
        for goes_on in [
            stuck,
            Progress::Stuck(Vec::new()),
            Progress::Notice("a".to_owned()),
        ] {
            assert!(foreground.tell(goes_on, &mut counts, &bars, 4).is_none());
        }
        let paused = Progress::Paused(Box::new(run.clone()));
        let end = foreground.tell(paused, &mut counts, &bars, 4);
        assert!(matches!(end, Some(End::Paused(summary)) if *summary == run));
        foreground.paused(&run);
        drop(foreground);
        let out = String::from_utf8(out).unwrap();
        let has = |words: &str| out.contains(words);
        assert!(has("Pass@1: 16.67% (1/6)") && has("REPORT.txt"), "{out}");
        assert!(!has("🎉") && !has("代码生成完成"), "{out}");
    }
}
