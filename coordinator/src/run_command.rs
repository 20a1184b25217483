//! `coordinator run`: the whole way on one machine, from a problems file to the report.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, anyhow, bail};
use roundhouse_core::run::RunSpec;
use roundhouse_core::summary::{RunStatus, RunSummary, RunTimes};
use roundhouse_core::{Event, Progress};
use roundhouse_proto::Language;
use roundhouse_worker::language::Interpreter;
use tokio::sync::watch;

use crate::console::progress::tail_note;
use crate::console::{self, Console, Counts, Generated, Mode, Terminal, text};
use crate::dataset::{self, Loaded};
use crate::driver::stamp;
use crate::exit;
use crate::local::LocalWorkers;
use crate::prepare::{Plan, REFERENCE_MODEL, resume_command};
use crate::report::figures::{Figures, Price};
use crate::run_args::RunArgs;
use crate::run_dir::RunDir;
use crate::server::{Server, State};
use crate::store::Health;

/// Name of the state's directory within a run directory.
pub const STATE_DIR: &str = ".state";
/// Name of the copy of summary.json in the working directory.
const RESULTS_FILE: &str = "baseline_results.json";
/// Where the bundled problems come from, for people.
const BUNDLED: &str = "bundled";

/// Runs, or goes on with a run.
///
/// # Errors
/// Whatever keeps it from beginning; what happens to a problem is in the reports.
pub fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    // Asked for before anything is made: without it nothing can be judged.
    let interpreter = Interpreter::resolve(Language::Python3, args.python.as_deref())?;
    tracing::info!(interpreter = interpreter.name(), "programs are run with this");
    drop(interpreter);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let code = match &args.resume {
        Some(run_dir) => runtime.block_on(resume(args, run_dir)),
        None => runtime.block_on(start(args)),
    };
    // A thread that waits for a slow disk must not hold up the end: what counts is durable already.
    runtime.shutdown_background();
    code
}

fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX))
}

/// The model, or the ways on where none is named.
fn model(args: &RunArgs) -> anyhow::Result<&str> {
    match args.model.as_deref() {
        Some(REFERENCE_MODEL) => Ok(REFERENCE_MODEL),
        Some(model) => Err(exit::usage(format!(
            "no model `{model}` can be reached: this release has the offline model only\n\
             hint: `--model {REFERENCE_MODEL}` answers with the data set's own programs, without a key or a network\n\
             hint: models behind an API, with `OPENAI_API_KEY` or `DEEPSEEK_API_KEY` and `--base-url`, come with a \
             later release"
        ))),
        None => Err(exit::usage(format!(
            "no model is named\n\
             hint: `--model {REFERENCE_MODEL}` tries everything out without a key or a network\n\
             hint: models behind an API, with `OPENAI_API_KEY` or `DEEPSEEK_API_KEY` and `--base-url`, come with a \
             later release"
        ))),
    }
}

fn load(args: &RunArgs, model: &str) -> anyhow::Result<(Loaded, String)> {
    match &args.problems {
        Some(path) => Ok((dataset::load(path)?, path.display().to_string())),
        None if model == REFERENCE_MODEL => Ok((crate::bundled::load()?, BUNDLED.to_owned())),
        None => Err(exit::usage(
            "no problems are named\nhint: `--problems FILE`, or `coordinator dataset fetch code_contests --split test` \
             to get some"
                .to_owned(),
        )),
    }
}

async fn start(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let model = model(args)?;
    let cores = cores();
    let mut console = Console::new(std::io::stdout(), &text::ZH);
    console.header();
    console.loading("CodeContests");
    let (loaded, source) = load(args, model)?;
    let problems = dataset::select(&loaded.problems, args.limit, &args.ids, args.filter.as_deref())?;
    crate::notices::loaded(&loaded, model);

    let started = stamp();
    let run_dir = RunDir::create(&args.output_dir, started)?;
    let data_dir = args
        .data_dir
        .clone()
        .unwrap_or_else(|| run_dir.path().join(STATE_DIR));
    let state = State::open(&data_dir)?;
    if args.data_dir.is_some() {
        if !state.stored.runs.is_empty() {
            // Nothing of this run is in the directory yet.
            let _ = std::fs::remove_dir(run_dir.path());
            bail!(
                "`{}` holds the state of another run: name an empty or new directory",
                data_dir.display()
            );
        }
        write_state_link(run_dir.path(), &data_dir)?;
    }
    let prompts = roundhouse_worker::generate::prompts::hashes();
    let plan = Plan {
        args,
        model,
        loaded: &loaded,
        source: &source,
        problems,
        prompts,
        cores,
    };
    let (spec, spec_blob) = plan.store(&state.blobs, started)?;
    drop(loaded);
    let spec = Arc::new(spec);

    console.loaded(spec.problems.len(), &run_dir.shown());
    console
        .copy_to(run_dir.path())
        .with_context(|| format!("write `{}`", console::LOG_FILE))?;
    let first = vec![Event::Submitted {
        spec: Arc::clone(&spec),
        spec_blob,
    }];
    Going {
        args,
        run_dir,
        spec,
        cores,
        console,
    }
    .go(state, first)
    .await
}

async fn resume(args: &RunArgs, path: &Path) -> anyhow::Result<ExitCode> {
    let run_dir = RunDir::open(path)?;
    let data_dir = state_dir_of(path)?;
    let state = State::open(&data_dir)?;
    let specs = state.specs()?;
    let Some(spec) = specs.values().next().cloned() else {
        bail!(
            "`{}` was interrupted before it began: nothing was paid and nothing is lost\n\
             hint: start it again, and remove the directory",
            path.display()
        );
    };
    let record = state.stored.runs.iter().find(|record| record.run == spec.run);
    let is_finished = record.is_some_and(|record| record.finished.is_some());
    let has_errors = state.stored.jobs.iter().any(|job| {
        let is_error = |outcome: &_| matches!(outcome, roundhouse_core::record::JobOutcome::Error(_));
        matches!(&job.state, roundhouse_core::record::StoredState::Settled(outcome) if is_error(outcome))
    });
    if is_finished && !has_errors && state.stored.pending.is_empty() {
        crate::notices::note(&format!("`{}` is complete: nothing to do", path.display()));
        return Ok(exit::NOTHING_TO_DO.into());
    }
    let mut console = Console::new(std::io::stdout(), &text::ZH);
    console.header();
    console.loading(&spec.data_set.name);
    console.loaded(spec.problems.len(), &run_dir.shown());
    console
        .copy_to(run_dir.path())
        .with_context(|| format!("write `{}`", console::LOG_FILE))?;
    let first = vec![Event::RetryRequested { run: spec.run }];
    Going {
        args,
        run_dir,
        spec,
        cores: cores(),
        console,
    }
    .go(state, first)
    .await
}

/// Where the state of a run lies: in the run directory, or where a file there says.
///
/// # Errors
/// There is none.
pub fn state_dir_of(run_dir: &Path) -> anyhow::Result<PathBuf> {
    let place = run_dir.join(STATE_DIR);
    if place.is_dir() {
        return Ok(place);
    }
    match std::fs::read_to_string(&place) {
        Ok(text) if Path::new(text.trim_end()).is_dir() => Ok(PathBuf::from(text.trim_end())),
        Ok(text) => bail!(
            "`{}` says that the state lies in `{}`, which is no directory",
            place.display(),
            text.trim_end()
        ),
        Err(_) => bail!(
            "`{}` is no run directory with a state: expected `{}` in it\nhint: run directories are named \
             `OUTPUT_DIR/run_YYYYmmdd_HHMMSS`",
            run_dir.display(),
            STATE_DIR
        ),
    }
}

fn write_state_link(run_dir: &Path, data_dir: &Path) -> anyhow::Result<()> {
    let place = run_dir.join(STATE_DIR);
    let target = std::path::absolute(data_dir).with_context(|| format!("find `{}`", data_dir.display()))?;
    let text = format!("{}\n", target.display());
    std::fs::write(&place, text).with_context(|| format!("write `{}`", place.display()))
}

/// A run that goes.
struct Going<'a, W: Write> {
    args: &'a RunArgs,
    run_dir: RunDir,
    spec: Arc<RunSpec>,
    cores: u32,
    console: Console<W>,
}

impl<W: Write> Going<'_, W> {
    fn mode(&self) -> Mode {
        if self.spec.parallel {
            Mode::Parallel
        } else {
            Mode::Sequential
        }
    }

    async fn go(mut self, state: State, first: Vec<Event>) -> anyhow::Result<ExitCode> {
        let workers = match self.args.workers {
            Some(workers) if self.spec.parallel => workers,
            _ => self.spec.workers,
        };
        let eval_workers = self.args.eval_workers.unwrap_or(self.spec.eval_workers);
        self.console.config(self.mode(), workers, self.cores);
        self.console.generation_heading(self.mode(), workers);

        let working_dir = std::env::current_dir().context("find the working directory")?;
        let counts = counts_of(&state);
        let run_dir = RunDir::open(self.run_dir.path())?;
        let mut server = Server::start(state, run_dir, &working_dir).await?;
        for event in first {
            server.events.send(event).await;
        }
        let bars = console::Progress::new(
            &Terminal::detect(),
            self.spec.problems.len() as u64,
            counts,
            Instant::now(),
        );
        self.console.share_terminal_with(bars.clone());
        let bundled = self.spec.data_set.path == BUNDLED;
        let local = LocalWorkers {
            socket: server.socket.path.clone(),
            generation_slots: workers,
            evaluation_slots: eval_workers,
            python: self.args.python.clone(),
            unsafe_isolation: self.args.i_know_this_is_unsafe || bundled,
        };
        let (stop, stopped) = watch::channel(false);
        let mut workers_end = tokio::spawn(async move { local.keep(stopped).await });

        let ended = self
            .follow(&mut server, &mut workers_end, counts, &bars, eval_workers)
            .await;
        bars.finish();
        let _ = stop.send(true);
        if !workers_end.is_finished() {
            let _ = workers_end.await;
        }
        server.stop().await;
        match ended {
            End::Done(summary) => self.done(&summary, &working_dir),
            End::Interrupted => {
                crate::notices::note("interrupted: everything finished so far is saved");
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
        mut counts: Counts,
        bars: &console::Progress,
        eval_workers: u32,
    ) -> End {
        let run = self.spec.run;
        let mut interrupts = 0;
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
                signal = interrupted() => {
                    if let Err(error) = signal {
                        tracing::warn!(%error, "Ctrl-C cannot be caught");
                        std::future::pending::<()>().await;
                    }
                    interrupts += 1;
                    if interrupts > 1 {
                        return End::Interrupted;
                    }
                    bars.say("stopping: sessions in flight are finished; Ctrl-C once more stops at once");
                    server.events.send(Event::StopRequested { run }).await;
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
                self.console.generation_done(&times, n);
                self.console.evaluation_heading(eval_workers);
            }
            Progress::Judged { .. } => counts.settled += 1,
            Progress::Retried { index, job, reason } => {
                bars.say(&format!(
                    "note: {job} of {} is tried again: {reason}",
                    name(index)
                ));
            }
            Progress::Waiting { role, jobs } => {
                bars.say(&format!(
                    "warning: {jobs} jobs wait, and no {role} worker is joined"
                ));
            }
            Progress::Drained => return Some(End::Interrupted),
            Progress::Done(summary) => return Some(End::Done(summary)),
        }
        bars.update(*counts, Instant::now());
        None
    }

    fn done(&mut self, summary: &RunSummary, working_dir: &Path) -> anyhow::Result<ExitCode> {
        let n = self.spec.problems.len();
        self.console.evaluation_done(&summary.times, n);
        let figures = Figures::of(summary);
        self.console.results(&figures, &Price::default());
        let _ = working_dir;
        self.console.saved(&self.run_dir.shown(), RESULTS_FILE);
        self.console.finished();
        self.run_dir.touch()?;
        crate::notices::note(&tail_note(&summary.times));
        let below = self.args.fail_under.filter(|least| figures.pass_at_1() < *least);
        match &summary.status {
            RunStatus::Incomplete { reason } => {
                crate::notices::note(&format!("the run is incomplete: {reason}"));
                crate::notices::hint(&format!(
                    "`{}` tries only the errors again",
                    resume_command(self.run_dir.path())
                ));
                Ok(exit::INCOMPLETE.into())
            }
            RunStatus::Running | RunStatus::Complete => Ok(match below {
                Some(least) => {
                    crate::notices::note(&format!("Pass@1 is below {least} %"));
                    exit::FAIL_UNDER.into()
                }
                None => ExitCode::SUCCESS,
            }),
        }
    }
}

enum End {
    Done(Box<RunSummary>),
    Interrupted,
    Broken(anyhow::Error),
}

/// Ctrl-C, or a request to end.
async fn interrupted() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        signal = tokio::signal::ctrl_c() => signal,
        _ = terminate.recv() => Ok(()),
    }
}

/// What a run that goes on has behind it.
fn counts_of(state: &State) -> Counts {
    use roundhouse_core::record::{JobOutcome, StoredState};
    use roundhouse_proto::JobKind;
    let settled = |kind_is: fn(&JobKind) -> bool| {
        let jobs = state.stored.jobs.iter().filter(|job| kind_is(&job.job.kind));
        let is_settled = |state: &StoredState| {
            matches!(
                state,
                StoredState::Settled(JobOutcome::Generated(_) | JobOutcome::Evaluated { .. })
            )
        };
        jobs.filter(|job| is_settled(&job.state)).count() as u64
    };
    Counts {
        generated: settled(|kind| *kind == JobKind::Generate),
        settled: settled(|kind| *kind == JobKind::Evaluate),
    }
}
