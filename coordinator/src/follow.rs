//! A run at a coordinator, watched to its end: prints the same blocks as `coordinator run`.
//!
//! [`Follower`] decides what is printed and knows nothing of the network; [`to_the_end`] listens, comes back after a
//! loss, and looks by itself now and then, so that nothing hangs on one stream. A watcher that comes back is told
//! again what it knows: every line is printed once all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::{Duration, Instant};

use bytes::Bytes;
use roundhouse_core::summary::RunTimes;
use roundhouse_proto::RunId;
use roundhouse_proto::wire::v1;
use tonic::Streaming;

use crate::client::find::brief;
use crate::client::seen::{SeenRun, SeenState, SeenStep, SeenUpdate};
use crate::client::{Client, ClientError, PAUSE_MAX, bytes_of};
use crate::console::{Console, Counts, Generated, Mode, Progress};
use crate::fetch_command::{FetchError, fetch_summary};
use crate::report::read_back::ReadBack;
use crate::run_dir::RESULTS_FILE;

/// How often the run is looked at beside what the stream tells: a warning is to be seen within ten seconds.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long one such look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(4);
/// How long the reports of a run at rest are waited for.
const REPORTS_MAX: Duration = Duration::from_secs(120);
/// The shortest pause before a lost coordinator is tried again.
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// How long a run cannot move before that is said: after a restart of the coordinator its workers come back one by one.
/// Shorter than the time between two looks, so that the second one says it.
const STUCK_FOR: Duration = Duration::from_secs(3);
/// Most different lines for people that are remembered, so that each is said once.
const SAID_MAX: usize = 4_096;

/// Prints a watched run.
pub struct Follower<W: Write> {
    console: Console<W>,
    /// Names of the problems, in the run's order.
    names: Vec<String>,
    mode: Mode,
    /// The newest state.
    run: SeenRun,
    config_told: bool,
    generation_told: bool,
    /// Problems whose line was printed, from 1.
    started: BTreeSet<u32>,
    generated: BTreeSet<u32>,
    judged: BTreeSet<u32>,
    said: BTreeSet<String>,
    /// Why the run cannot move: since when that is seen without a break, and whether it was said.
    stuck: BTreeMap<String, (Instant, Told)>,
    reports_written: bool,
}

/// Whether people were told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    No,
    Yes,
}

impl<W: Write> Follower<W> {
    /// A run of which nothing but its head was printed.
    pub fn new(console: Console<W>, names: Vec<String>, mode: Mode, run: SeenRun) -> Self {
        Self {
            console,
            names,
            mode,
            run,
            config_told: false,
            generation_told: false,
            started: BTreeSet::new(),
            generated: BTreeSet::new(),
            judged: BTreeSet::new(),
            said: BTreeSet::new(),
            stuck: BTreeMap::new(),
            reports_written: false,
        }
    }

    /// The run as it was last seen.
    pub fn run(&self) -> &SeenRun {
        &self.run
    }

    /// How far it is.
    pub fn counts(&self) -> Counts {
        Counts {
            generated: self.run.generated_n.max(self.generated.len() as u64),
            settled: self.run.settled_n().max(self.judged.len() as u64),
        }
    }

    /// Whether nothing more comes: it is at rest, and its reports are written.
    pub fn is_over(&self) -> bool {
        self.reports_written && self.run.state.is_at_rest()
    }

    /// Takes in what is told now; gives the lines that people have not seen yet, for standard error.
    pub fn take_in(&mut self, update: SeenUpdate, now: Instant) -> Vec<String> {
        match update {
            SeenUpdate::Status(run) => self.see(*run, now),
            SeenUpdate::Problem { index, step } => {
                self.step(index, &step);
                Vec::new()
            }
            SeenUpdate::Notice(notice) => self.say_once(&notice),
            SeenUpdate::GenerationDone(generation_ms) => {
                self.generation_done(&RunTimes {
                    generation_ms,
                    ..RunTimes::default()
                });
                Vec::new()
            }
            SeenUpdate::ReportsWritten => {
                self.reports_written = true;
                Vec::new()
            }
        }
    }

    fn see(&mut self, run: SeenRun, now: Instant) -> Vec<String> {
        self.run = run;
        if self.run.generation_slots > 0 {
            self.config();
        }
        if !self.run.state.is_at_rest() {
            // What was written was about an earlier rest.
            self.reports_written = false;
        }
        self.stalls(now)
    }

    /// What is new about why the run cannot move.
    fn stalls(&mut self, now: Instant) -> Vec<String> {
        let mut lines = Vec::new();
        let run = &self.run;
        let is_told = |told: Told| told == Told::Yes;
        let was_told = self.stuck.values().any(|(_, told)| is_told(*told));
        self.stuck.retain(|why, _| run.warnings.contains(why));
        if was_told && self.stuck.is_empty() && run.state == SeenState::Active {
            lines.push("note: the run moves again".to_owned());
        }
        for why in &run.warnings {
            let (since, told) = self.stuck.entry(why.clone()).or_insert((now, Told::No));
            let has_lasted = now.saturating_duration_since(*since) >= STUCK_FOR;
            // Of a run at rest nothing more is heard.
            if !is_told(*told) && (has_lasted || run.state.is_at_rest()) {
                *told = Told::Yes;
                lines.push(format!("warning: the run cannot move: {why}"));
            }
        }
        lines
    }

    fn say_once(&mut self, notice: &str) -> Vec<String> {
        if self.said.len() < SAID_MAX && self.said.insert(notice.to_owned()) {
            return vec![format!("note: {notice}")];
        }
        Vec::new()
    }

    /// The settings, once the slots are known.
    fn config(&mut self) {
        if !std::mem::replace(&mut self.config_told, true) {
            let slots = self.run.generation_slots;
            self.console.config(self.mode, slots, self.run.cores);
            self.console.generation_heading(self.mode, slots);
        }
    }

    fn step(&mut self, index: u32, step: &SeenStep) {
        let place = index as usize;
        let Some(name) = place.checked_sub(1).and_then(|n| self.names.get(n)).cloned() else {
            return;
        };
        self.config();
        let n = self.names.len();
        // Whatever happened to it, it was started before.
        if self.started.insert(index) {
            self.console.problem_started(place, n, &name);
        }
        let generated = match step {
            SeenStep::Started => return,
            SeenStep::Judged => {
                self.judged.insert(index);
                return;
            }
            SeenStep::Generated => Generated::Program,
            SeenStep::NoProgram => Generated::Nothing,
            SeenStep::NotGenerated(message) => Generated::Error(message),
        };
        if self.generated.insert(index) {
            self.console.problem_generated(place, n, &name, generated);
        }
    }

    fn generation_done(&mut self, times: &RunTimes) {
        if std::mem::replace(&mut self.generation_told, true) {
            return;
        }
        self.config();
        self.console.generation_done(times, self.names.len());
        self.console.evaluation_heading(self.run.evaluation_slots);
    }

    /// Prints what the run came to, and where everything is.
    pub fn finish(&mut self, summary: &ReadBack) {
        self.generation_done(&summary.times);
        self.console.evaluation_done(&summary.times, self.names.len());
        self.console.results(&summary.figures, &summary.price);
        self.console.saved(&self.run.dir, RESULTS_FILE);
        match self.run.state {
            SeenState::Active | SeenState::Complete | SeenState::Incomplete => self.console.finished(),
            // Not everything is done.
            SeenState::Paused | SeenState::Cancelled => {}
        }
    }
}

/// Why a run could not be followed to its end. It goes on all the same.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The coordinator refuses.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Its summary cannot be had.
    #[error("fetch the summary")]
    Summary(#[from] FetchError),
}

/// Follows a run until it is at rest and its reports are written, however often the coordinator is lost on the way;
/// gives the bytes of its summary.json.
///
/// # Errors
/// The coordinator refuses, or has no reports for too long.
pub async fn to_the_end<W: Write>(
    client: &Client,
    run: RunId,
    follower: &mut Follower<W>,
    bars: &Progress,
) -> Result<Bytes, FollowError> {
    let mut watcher = Watcher {
        client,
        run,
        follower,
        bars,
        is_lost: false,
        at_rest_since: None,
    };
    while !watcher.is_done() {
        let stream = watcher.open().await?;
        watcher.listen(stream).await?;
        if !watcher.is_done() {
            // Whoever ends every stream at once is not asked in a busy loop.
            tokio::time::sleep(PAUSE_MIN).await;
        }
    }
    loop {
        match fetch_summary(client, run).await {
            Err(FetchError::Client(error)) if error.is_transient() => watcher.lost(&error).await,
            fetched => return Ok(fetched?),
        }
    }
}

struct Watcher<'a, W: Write> {
    client: &'a Client,
    run: RunId,
    follower: &'a mut Follower<W>,
    bars: &'a Progress,
    /// The coordinator is out of reach, which was said.
    is_lost: bool,
    at_rest_since: Option<Instant>,
}

impl<W: Write> Watcher<'_, W> {
    fn is_done(&self) -> bool {
        let waited = self.at_rest_since.map(|since| since.elapsed());
        self.follower.is_over() || waited.is_some_and(|waited| waited >= REPORTS_MAX)
    }

    fn take_in(&mut self, update: SeenUpdate) {
        for line in self.follower.take_in(update, Instant::now()) {
            self.bars.say(&line);
        }
        if self.follower.run.state.is_at_rest() {
            self.at_rest_since.get_or_insert_with(Instant::now);
        } else {
            self.at_rest_since = None;
        }
        self.bars.update(self.follower.counts(), Instant::now());
    }

    /// A stream, for as long as it takes.
    async fn open(&mut self) -> Result<Streaming<v1::RunUpdate>, FollowError> {
        let mut pause = PAUSE_MIN;
        loop {
            let mut control = self.client.control();
            let request = v1::WatchRunRequest {
                run: bytes_of(self.run),
            };
            match self.client.ask_once(control.watch_run(request)).await {
                Ok(stream) => {
                    if std::mem::take(&mut self.is_lost) {
                        self.bars.say("note: the coordinator answers again");
                    }
                    // It is told again.
                    self.follower.reports_written = false;
                    return Ok(stream);
                }
                Err(error) if error.is_transient() => self.say_lost(&error),
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn say_lost(&mut self, error: &ClientError) {
        if std::mem::replace(&mut self.is_lost, true) {
            return;
        }
        self.bars.say(&match error {
            ClientError::NotNow { message } => format!("note: {message}"),
            ClientError::OutOfReach { .. }
            | ClientError::Refused { .. }
            | ClientError::Unknown { .. }
            | ClientError::Answer(_) => format!(
                "note: no coordinator answers at {} at the moment; this goes on once it does",
                self.client.address()
            ),
        });
    }

    async fn lost(&mut self, error: &ClientError) {
        self.say_lost(error);
        tokio::time::sleep(PAUSE_MAX).await;
    }

    /// Takes in what a stream tells until it ends or nothing more is to come.
    async fn listen(&mut self, mut stream: Streaming<v1::RunUpdate>) -> Result<(), FollowError> {
        let mut look = tokio::time::interval_at(tokio::time::Instant::now() + LOOK_EVERY, LOOK_EVERY);
        loop {
            tokio::select! {
                told = stream.message() => match told {
                    Ok(Some(update)) => {
                        let update = SeenUpdate::try_from(update).map_err(ClientError::from)?;
                        self.take_in(update);
                    }
                    Ok(None) => {
                        // It has ended as it does behind the last state, or the coordinator ends.
                        self.look().await;
                        return Ok(());
                    }
                    Err(status) => {
                        let error = self.client.error(&status);
                        if error.is_transient() {
                            return Ok(());
                        }
                        return Err(error.into());
                    }
                },
                _ = look.tick() => {
                    self.look().await;
                    self.bars.update(self.follower.counts(), Instant::now());
                }
            }
            if self.is_done() {
                return Ok(());
            }
        }
    }

    /// Asks for the state. Whatever goes wrong is the stream's to tell.
    async fn look(&mut self) {
        let mut control = self.client.control();
        let asked = self.client.ask_once(control.get_run(v1::GetRunRequest {
            run: bytes_of(self.run),
        }));
        if let Ok(Ok(status)) = tokio::time::timeout(LOOK_TIMEOUT, asked).await
            && let Ok(run) = SeenRun::try_from(status)
        {
            self.take_in(SeenUpdate::Status(Box::new(run)));
        }
    }
}

/// What the same command does when it is given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// It watches the same run.
    TheSame,
    /// It starts another one.
    Another,
}

/// What is said when the one who watches leaves.
pub fn leave(client: &Client, run: RunId, again: Again) {
    let run = brief(run);
    crate::notices::note(&format!("run {run} goes on without you"));
    let again = match again {
        Again::TheSame => "; the same `coordinator submit … --wait` watches it again",
        Again::Another => "",
    };
    crate::notices::hint(&format!(
        "`{}` shows how far it is{again}",
        client.command(&format!("status {run}"))
    ));
    crate::notices::hint(&format!("`{}` ends it", client.command(&format!("cancel {run}"))));
}

#[cfg(test)]
mod tests;
