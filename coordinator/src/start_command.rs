//! `coordinator start`: a coordinator for all that is submitted to it, until it is told to stop.
//!
//! Says on standard error what a person wants to know without asking: where it listens, who joins and leaves, which
//! runs come, cannot move, and end. Decides nothing about jobs; whatever is open goes on at the next start with the
//! same data directory.

mod address;
mod fleet;
mod overview;
mod own_run;
mod screen;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use clap::Args;
use roundhouse_core::Progress;
use roundhouse_core::status::Stuck;
use roundhouse_core::summary::{RunStatus, RunSummary};
use roundhouse_proto::RunId;
use tokio::sync::mpsc;

use self::fleet::Fleet;
use self::overview::{At, Over, Overview};
pub(crate) use self::own_run::is_described;
use self::own_run::{OwnRun, Submitting};
use self::screen::Screen;
use crate::driver::Events;
use crate::exit;
use crate::interrupts::{Interrupts, Stop};
use crate::report::figures::Figures;
use crate::report::line::{MESSAGE_CHARS_MAX, NAME_CHARS_MAX, one_line};
use crate::rpc::warning;
use crate::run_args::SpecArgs;
use crate::server::{Server, Setting, State, Url};
use crate::store::{Health, StoreError};

/// How often workers and runs are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Least time between two lines that say how far a run is.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// How long clients must have been quiet before a coordinator ends that is done: they may fetch what they waited for.
const QUIET: Duration = Duration::from_secs(2);
/// How long clients that are never quiet are waited for.
const QUIET_WAIT_MAX: Duration = Duration::from_secs(60);
/// How long the last look at the runs may take when the coordinator stops.
const LAST_LOOK_TIMEOUT: Duration = Duration::from_millis(500);

/// Take runs in, hand their jobs to the workers that join, write their results
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Workers join with `worker join --role gen --slots 8` and `worker join --role eval --slots 8`, runs come with \
`coordinator submit`. A run that is described here as there, as with `--problems FILE --model MODEL`, is submitted at \
once; the same command again goes on with it.

Exit codes: 0 done · 1 error · 2 usage · 3 done, but some problems have no verdict (--exit-when-done) · \
130 interrupted while runs are open (they go on at the next start)")]
pub struct StartArgs {
    /// Where workers and clients connect; port 0 takes a free one, which is printed
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "ROUNDHOUSE_LISTEN",
        default_value = "127.0.0.1:7717"
    )]
    pub listen: String,
    /// Where the state of all runs is kept
    #[arg(
        long,
        value_name = "DIR",
        env = "ROUNDHOUSE_DATA_DIR",
        default_value = "roundhouse_data"
    )]
    pub data_dir: PathBuf,
    /// Where run directories are made
    #[arg(
        long,
        value_name = "DIR",
        env = "ROUNDHOUSE_OUTPUT_DIR",
        default_value = "baseline_outputs"
    )]
    pub output_dir: PathBuf,
    /// Let other hosts connect, without encryption and without asking who they are
    #[arg(long)]
    pub insecure: bool,
    /// End once there was a run and every run is over
    #[arg(long)]
    pub exit_when_done: bool,
    /// A run to submit at once; none unless the command line describes one.
    #[command(flatten)]
    pub spec: SpecArgs,
    /// The endpoint of the generation workers that this run asks [default: the one that they offer]
    #[arg(long, value_name = "NAME")]
    pub endpoint: Option<String>,
    /// Whether the command line describes a run.
    #[arg(skip)]
    pub describes_run: bool,
}

/// Serves until it is told to stop.
///
/// # Errors
/// It cannot listen, its data directory is in use or cannot be read or written, or the store fails for good.
pub fn run(args: &StartArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let code = runtime.block_on(start(args));
    // A thread that waits for a slow disk must not hold up the end: what counts is durable already.
    runtime.shutdown_background();
    code
}

async fn start(args: &StartArgs) -> anyhow::Result<ExitCode> {
    let mut interrupts = Interrupts::listen().context("listen for signals")?;
    let own_run = OwnRun::of(args)?;
    let output_dir = output_dir(&args.output_dir)?;
    let (listener, bound) = address::listen(&args.listen, args.insecure).await?;
    let state = open(&args.data_dir)?;
    let blobs = state.blobs.clone();
    std::fs::create_dir_all(&output_dir).map_err(|error| {
        anyhow!(
            "failed to make the directory `{}`: {error}\nhint: name another one with `--output-dir`",
            output_dir.display()
        )
    })?;
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let url = Url::of_port(bound, &host);
    let setting = Setting {
        listener,
        url: url.clone(),
        output_dir: output_dir.clone(),
    };
    let server = Server::start_for_many(state, setting).await?;

    let screen = Screen::start().context("start the thread that prints")?;
    let data_dir = std::path::absolute(&args.data_dir).unwrap_or_else(|_| args.data_dir.clone());
    for line in banner(&url, &data_dir, &output_dir) {
        screen.say(line);
    }
    if !bound.ip().to_canonical().is_loopback() {
        screen.say(
            "warning: nothing is encrypted and nobody is asked who they are: everybody who can reach the port can \
             have programs run, spend what the workers' keys pay for, and read all results"
                .to_owned(),
        );
    }
    let own_run_id = own_run.as_ref().map(OwnRun::id);
    let submitting = match (own_run, server.submissions.clone()) {
        (Some(own_run), Some(submissions)) => Some(own_run.submit(submissions, &server, blobs, &url)),
        (Some(_), None) | (None, _) => None,
    };
    let mut serving = Serving::new(server, url, output_dir, screen.clone(), args.exit_when_done);
    serving.own_run = own_run_id;
    let (end, server) = serving.serve(&mut interrupts, submitting).await;
    let code = finish(end, server, &mut interrupts, &screen, &data_dir).await;
    screen.finish();
    code
}

/// Where run directories are made, whatever the next start's working directory is.
fn output_dir(given: &Path) -> anyhow::Result<PathBuf> {
    let dir = std::path::absolute(given).with_context(|| format!("find `{}`", given.display()))?;
    if dir.to_str().is_none() {
        // It is stored and sent as text.
        return Err(exit::usage(format!(
            "the output directory `{}` has a name that is no UTF-8\nhint: name another one with `--output-dir`",
            dir.display()
        )));
    }
    Ok(dir)
}

fn open(data_dir: &Path) -> anyhow::Result<State> {
    State::open(data_dir).map_err(|error| {
        let hint = match error.downcast_ref::<StoreError>() {
            Some(StoreError::InUse { .. }) => {
                "`coordinator status` says how that one is doing; another one needs a `--data-dir` of its own"
            }
            Some(StoreError::Io { .. }) => "name another directory with `--data-dir`",
            Some(
                StoreError::Newer { .. }
                | StoreError::Damaged { .. }
                | StoreError::Behind { .. }
                | StoreError::WentBack { .. }
                | StoreError::TooLarge { .. }
                | StoreError::Encode { .. }
                | StoreError::Database { .. }
                | StoreError::Closed,
            )
            | None => return error,
        };
        anyhow!("{error:#}\nhint: {hint}")
    })
}

fn banner(url: &Url, data_dir: &Path, output_dir: &Path) -> [String; 7] {
    [
        format!("coordinator {} listens on {url}", env!("CARGO_PKG_VERSION")),
        format!("  data: {}", data_dir.display()),
        format!("  output: {}", output_dir.display()),
        "workers join and runs are submitted with".to_owned(),
        format!("  worker join --role gen --slots 8 --coordinator {url}"),
        format!("  worker join --role eval --slots 8 --coordinator {url}"),
        format!("  coordinator submit --problems FILE --model MODEL --coordinator {url}"),
    ]
}

/// Why the coordinator ends.
enum End {
    /// Every run is over.
    Done {
        /// Every problem of every run has a verdict.
        is_complete: bool,
    },
    Stopped(Stop),
    Broken(anyhow::Error),
}

/// Stops the server and says what becomes of the runs.
async fn finish(
    end: End,
    server: Server,
    interrupts: &mut Interrupts,
    screen: &Screen,
    data_dir: &Path,
) -> anyhow::Result<ExitCode> {
    let last_look = server
        .events
        .look(|core, now| Overview::of(core, now, &Over::new()));
    let last = tokio::time::timeout(LAST_LOOK_TIMEOUT, last_look).await;
    let open_n = last.ok().flatten().map(|seen| seen.open_n());
    let is_stored = tokio::select! {
        is_stored = server.stop() => is_stored,
        // Whatever is not stored by now was never acknowledged, and is done again.
        _ = interrupts.next() => false,
    };
    if !is_stored {
        screen.say("warning: what could not be stored in time is done again".to_owned());
    }
    let go_on = || {
        let open = match open_n {
            Some(1) => "the open run goes on".to_owned(),
            Some(n) => format!("{n} open runs go on"),
            None => "open runs go on".to_owned(),
        };
        format!(
            "stopped: {open} at the next start\nhint: `coordinator start --data-dir {}`",
            data_dir.display()
        )
    };
    Ok(match end {
        End::Done { is_complete: true } => ExitCode::SUCCESS,
        End::Done { is_complete: false } => exit::INCOMPLETE.into(),
        End::Stopped(_) if open_n == Some(0) => {
            screen.say("stopped: no run is open".to_owned());
            ExitCode::SUCCESS
        }
        End::Stopped(stop) => {
            screen.say(go_on());
            match stop {
                Stop::Interrupt => exit::INTERRUPTED.into(),
                Stop::Terminate => ExitCode::SUCCESS,
            }
        }
        End::Broken(error) => {
            screen.say(go_on());
            return Err(error);
        }
    })
}

/// A coordinator that serves.
struct Serving {
    server: Server,
    url: Url,
    output_dir: PathBuf,
    screen: Screen,
    exit_when_done: bool,
    /// The run that the flags describe.
    own_run: Option<RunId>,
    fleet: Fleet,
    /// Also read by the task that looks.
    over: Arc<Mutex<Over>>,
    /// Runs that people were told of.
    told: BTreeSet<RunId>,
    /// When a run is that is seen now.
    at: At,
    /// What was said last of how far a run is, and when.
    progress: BTreeMap<RunId, (Instant, String)>,
    /// Jobs of a run that are tried again since that was said, and one of them.
    retried: BTreeMap<RunId, (u32, String)>,
    /// Since when every run is over.
    done_since: Option<Instant>,
}

impl Serving {
    fn new(server: Server, url: Url, output_dir: PathBuf, screen: Screen, exit_when_done: bool) -> Self {
        Self {
            server,
            url,
            output_dir,
            screen,
            exit_when_done,
            own_run: None,
            fleet: Fleet::default(),
            over: Arc::default(),
            told: BTreeSet::new(),
            at: At::Start,
            progress: BTreeMap::new(),
            retried: BTreeMap::new(),
            done_since: None,
        }
    }

    async fn serve(
        mut self,
        interrupts: &mut Interrupts,
        mut submitting: Option<Submitting>,
    ) -> (End, Server) {
        let mut overviews = look_around(self.server.events.clone(), Arc::clone(&self.over));
        let end = loop {
            tokio::select! {
                told = self.server.progress.recv() => match told {
                    Some((run, progress)) => self.tell(run, progress),
                    None => break End::Broken(anyhow!("the coordinator stopped unexpectedly")),
                },
                Some(seen) = overviews.recv() => {
                    if let Some(end) = self.seen(&seen, Instant::now()) {
                        break end;
                    }
                }
                submitted = ended(&mut submitting) => match submitted {
                    Ok(told) => told.into_iter().for_each(|line| self.screen.say(line)),
                    Err(error) => break End::Broken(error),
                },
                Ok(()) = self.server.health.changed() => {
                    let health = self.server.health.borrow_and_update().clone();
                    match health {
                        Health::Well => self.screen.say("note: the state can be stored again".to_owned()),
                        Health::Failing { message, is_transient: true } => self.screen.say(format!(
                            "warning: the state cannot be stored: {message}; nothing is lost, and it is tried again"
                        )),
                        Health::Failing { message, is_transient: false } => {
                            break End::Broken(anyhow!("the state cannot be stored: {message}"));
                        }
                    }
                }
                stop = interrupts.next() => {
                    self.screen.say("stopping".to_owned());
                    break End::Stopped(stop);
                }
            }
        };
        (end, self.server)
    }

    /// The run as people are told of it: its directory, as seen from where run directories are made.
    fn name(&self, run: RunId) -> String {
        let Some(dir) = self.server.registry.dir_of(run) else {
            return run.to_string();
        };
        let name = dir.strip_prefix(&self.output_dir).unwrap_or(&dir);
        one_line(&name.display().to_string(), NAME_CHARS_MAX)
    }

    /// Notes that a run is over and whether it is complete, or (none) that it is not over.
    fn mark(&self, run: RunId, over: Option<bool>) {
        let mut runs = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        match over {
            Some(is_complete) => runs.insert(run, is_complete),
            None => runs.remove(&run),
        };
    }

    fn tell(&mut self, run: RunId, progress: Progress) {
        let name = self.name(run);
        let over = if let Progress::Done(summary) = &progress {
            Some(summary.status == RunStatus::Complete)
        } else {
            None
        };
        self.mark(run, over);
        match progress {
            Progress::GenerationStarted { .. }
            | Progress::GenerationEnded { .. }
            | Progress::GenerationDone { .. }
            | Progress::Judged { .. }
            | Progress::Started { .. }
            | Progress::Drained => {}
            Progress::Retried { job, reason, .. } => {
                let (n, one) = self.retried.entry(run).or_default();
                *n += 1;
                *one = one_line(&format!("{job}: {reason}"), MESSAGE_CHARS_MAX);
            }
            Progress::Stuck(reasons) if reasons.is_empty() => {
                self.screen.say(format!("run {name} moves again"));
            }
            Progress::Stuck(reasons) => self.stuck(&name, &reasons),
            Progress::AllJudged(summary) => {
                let notice = crate::notices::only_rounds_left(&summary);
                self.screen.say(format!("note: run {name}: {notice}"));
            }
            Progress::Notice(notice) => {
                let notice = one_line(&notice, MESSAGE_CHARS_MAX);
                self.screen.say(format!("note: run {name}: {notice}"));
            }
            Progress::Paused(summary) => {
                let why = why(&summary.status).unwrap_or_default();
                self.screen.say(format!(
                    "warning: run {name} is paused: {why}; its reports are written as far as it came, and it goes on \
                     by itself once that is mended"
                ));
            }
            Progress::Done(summary) => {
                self.progress.remove(&run);
                self.retried.remove(&run);
                self.done(run, &name, &summary);
            }
        }
    }

    fn stuck(&self, name: &str, reasons: &[Stuck]) {
        for reason in reasons {
            self.screen.say(format!(
                "warning: run {name} cannot move: {}",
                warning(reason, &self.url)
            ));
        }
    }

    fn done(&self, run: RunId, name: &str, summary: &RunSummary) {
        let figures = Figures::of(summary);
        let outcome = format!(
            "Pass@1 {:.2}% ({}/{})",
            figures.pass_at_1(),
            figures.passed,
            figures.total
        );
        let dir = self.server.registry.dir_of(run).unwrap_or_default();
        let dir = one_line(&dir.display().to_string(), NAME_CHARS_MAX);
        match why(&summary.status) {
            None => self
                .screen
                .say(format!("run {name} is done: {outcome}, in {dir}")),
            Some(why) => {
                self.screen.say(format!(
                    "run {name} is over, but incomplete: {why}: {outcome}, in {dir}"
                ));
                self.screen.say(format!(
                    "hint: `coordinator retry {run} --coordinator {}` tries again what has no verdict",
                    self.url
                ));
            }
        }
    }

    /// Says what is new since the last look; the end, if there is nothing more to do.
    fn seen(&mut self, seen: &Overview, now: Instant) -> Option<End> {
        for line in self.fleet.changes(&seen.workers) {
            self.screen.say(line);
        }
        for run in &seen.runs {
            let name = self.name(run.run);
            if self.told.insert(run.run) {
                if !run.is_over {
                    self.screen
                        .say(format!("run {name} {}", run.introduction(self.at)));
                }
                self.progress.insert(run.run, (now, run.progress()));
            }
            if run.is_over && run.is_written {
                self.mark(run.run, Some(run.is_complete));
                continue;
            }
            let is_due = |(at, said): &(Instant, String)| {
                now.duration_since(*at) >= PROGRESS_EVERY && *said != run.progress()
            };
            if self.progress.get(&run.run).is_none_or(is_due) {
                self.screen.say(format!("run {name}: {}", run.progress()));
                self.progress.insert(run.run, (now, run.progress()));
            }
            if let Some((n, one)) = self.retried.remove(&run.run) {
                self.screen.say(match n {
                    1 => format!("note: run {name}: a job is tried again: {one}"),
                    n => format!("note: run {name}: {n} jobs are tried again, such as {one}"),
                });
            }
        }
        self.at = At::Work;
        // What was seen before the run of the flags came says nothing of it.
        let has_own = self.own_run.is_none_or(|run| seen.known.contains(&run));
        if !self.exit_when_done || !has_own || !seen.is_done() {
            self.done_since = None;
            return None;
        }
        let waited = now.duration_since(*self.done_since.get_or_insert(now));
        let is_quiet = self.server.activity.idle_for().is_some_and(|idle| idle >= QUIET);
        (is_quiet || waited >= QUIET_WAIT_MAX).then_some(End::Done {
            is_complete: seen.is_complete,
        })
    }
}

/// Why a run came to less than everything; none if it did not.
fn why(status: &RunStatus) -> Option<String> {
    match status {
        RunStatus::Running | RunStatus::Complete => None,
        RunStatus::Incomplete { reason } => Some(one_line(reason, MESSAGE_CHARS_MAX)),
        RunStatus::Cancelled { reason } => Some(one_line(&format!("cancelled: {reason}"), MESSAGE_CHARS_MAX)),
    }
}

/// Looks at workers and runs from time to time. A task of its own: whoever reads what people are told must not wait
/// for an answer that comes after it.
fn look_around(events: Events, over: Arc<Mutex<Over>>) -> mpsc::Receiver<Overview> {
    let (overviews, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let over = over.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let Some(seen) = events.look(move |core, now| Overview::of(core, now, &over)).await else {
                return;
            };
            if overviews.send(seen).await.is_err() {
                return;
            }
        }
    });
    receiver
}

/// What submitting came to, once; never comes where nothing is submitted.
async fn ended(submitting: &mut Option<Submitting>) -> anyhow::Result<Option<String>> {
    let Some(task) = submitting else {
        return std::future::pending().await;
    };
    let ended = task.await;
    *submitting = None;
    ended.context("submit the run")?
}
