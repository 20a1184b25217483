//! The file writer: one thread that writes what the core wants in the run directories, then says so.
//!
//! A file that cannot be written is tried again for as long as the process runs: what it is made of is stored, so
//! nothing is lost meanwhile. Only its own run waits for it. When 4,096 files wait, the run of which most do is left to
//! the next start, which writes all that is noted as pending; where there is no other run, everything waits instead.

mod backlog;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use roundhouse_core::summary::{ProblemOutcome, ProblemSummary};
use roundhouse_core::{Event, Files};
use roundhouse_proto::{Digest, RunId, SessionEvent};
use tokio::sync::mpsc;

use self::backlog::{Backlog, RETRY_PAUSE_MIN};
use crate::blobs::Blobs;
use crate::registry::Registry;
use crate::report::figures::Price;
use crate::run_dir::{RunDir, RunDirError};

/// Most run directories kept open.
const DIRS_OPEN_MAX: usize = 64;

/// Starts the thread. It ends when nobody can want files any more, or nobody is left to be told. The summaries of runs
/// are copied into `working_dir`, if there is one.
///
/// # Errors
/// The system gives no thread.
pub fn start(
    registry: Arc<Registry>,
    blobs: Blobs,
    working_dir: Option<PathBuf>,
    wanted: Receiver<Box<Files>>,
    written: mpsc::Sender<Event>,
) -> io::Result<()> {
    let mut writer = Writer {
        registry,
        blobs,
        working_dir,
        written,
        dirs: BTreeMap::new(),
        cleared: BTreeSet::new(),
        backlog: Backlog::default(),
    };
    std::thread::Builder::new()
        .name("file-writer".to_owned())
        .spawn(move || {
            // What waits at the end is noted as pending.
            while writer.step(&wanted).is_ok() {}
        })?;
    Ok(())
}

/// Nobody wants files any more, or nobody is left to be told.
struct Ended;

struct Writer {
    registry: Arc<Registry>,
    blobs: Blobs,
    working_dir: Option<PathBuf>,
    written: mpsc::Sender<Event>,
    dirs: BTreeMap<RunId, RunDir>,
    /// Runs whose directories were cleared of what a crash left half written.
    cleared: BTreeSet<RunId>,
    backlog: Backlog,
}

impl Writer {
    /// Waits for the next file, or until one that waits is to be tried again, and writes it.
    fn step(&mut self, wanted: &Receiver<Box<Files>>) -> Result<(), Ended> {
        if self.backlog.is_full() && !self.registry.has_one() {
            self.give_up_one();
        }
        let now = Instant::now();
        if let Some((run, files)) = self.backlog.due(now) {
            match self.write(run, &files) {
                Ok(()) => {
                    self.backlog.written(run);
                    return self.say_written(Event::FileWritten(files.pending()));
                }
                Err(error) => {
                    tell(&error);
                    self.backlog.failed(run, files, Instant::now());
                }
            }
        }
        let files = match self.backlog.next_try() {
            None => wanted.recv().map_err(|_| Ended)?,
            Some(_) if self.written.is_closed() => return Err(Ended),
            Some(at) => {
                // Also soon enough to notice that nobody is left, or that another run has come.
                let pause = at.saturating_duration_since(now).min(RETRY_PAUSE_MIN);
                if self.backlog.is_full() {
                    std::thread::park_timeout(pause);
                    return Ok(());
                }
                match wanted.recv_timeout(pause) {
                    Ok(files) => files,
                    Err(RecvTimeoutError::Timeout) => return Ok(()),
                    Err(RecvTimeoutError::Disconnected) => return Err(Ended),
                }
            }
        };
        self.take(files)
    }

    fn take(&mut self, files: Box<Files>) -> Result<(), Ended> {
        let pending = files.pending();
        let run = pending.run();
        if self.backlog.is_given_up(run) {
            return Ok(());
        }
        if self.backlog.has(run) {
            self.backlog.push(run, files, Instant::now());
            return Ok(());
        }
        match self.write(run, &files) {
            Ok(()) => self.say_written(Event::FileWritten(pending)),
            Err(error) => {
                tell(&error);
                self.backlog.push(run, files, Instant::now());
                Ok(())
            }
        }
    }

    fn say_written(&self, event: Event) -> Result<(), Ended> {
        self.written.blocking_send(event).map_err(|_| Ended)
    }

    fn give_up_one(&mut self) {
        let Some(run) = self.backlog.give_up_the_longest() else {
            return;
        };
        self.dirs.remove(&run);
        let dir = self.registry.dir_of(run).unwrap_or_default();
        tracing::error!(
            %run, dir = %dir.display(),
            "the run directory cannot be written: what it lacks is written by the next start of the coordinator"
        );
    }

    fn write(&mut self, run: RunId, files: &Files) -> Result<(), RunDirError> {
        self.open(run)?;
        let dir = self.dirs.get(&run).expect("it was opened in the line above");
        let written = write(dir, files, &self.blobs, self.working_dir.as_deref());
        if written.is_err() {
            // It may have been removed or replaced: the next try looks anew.
            self.dirs.remove(&run);
        }
        written
    }

    /// Opens the run's directory; one that somebody removed is made again.
    fn open(&mut self, run: RunId) -> Result<(), RunDirError> {
        if self.dirs.contains_key(&run) {
            return Ok(());
        }
        let path = self.registry.dir_of(run).ok_or_else(|| RunDirError::Open {
            path: PathBuf::from(run.to_string()),
            source: io::ErrorKind::NotFound.into(),
        })?;
        let dir = match RunDir::open(&path) {
            Err(RunDirError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                std::fs::create_dir_all(&path).map_err(|source| RunDirError::Make {
                    path: path.clone(),
                    source,
                })?;
                tracing::warn!(%run, dir = %path.display(), "the run directory was gone and is made again");
                RunDir::open(&path)?
            }
            opened => opened?,
        };
        if self.cleared.insert(run)
            && let Err(error) = dir.remove_leftovers()
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "half-written files stay behind"
            );
        }
        if self.dirs.len() >= DIRS_OPEN_MAX {
            self.dirs.clear();
        }
        self.dirs.insert(run, dir);
        Ok(())
    }
}

fn tell(error: &RunDirError) {
    tracing::error!(
        error = error as &dyn std::error::Error,
        "a file of the run directory cannot be written and is tried again"
    );
}

fn write(
    run_dir: &RunDir,
    files: &Files,
    blobs: &Blobs,
    working_dir: Option<&Path>,
) -> Result<(), RunDirError> {
    let blobs = |digest: &Digest| blobs.read(digest).map_err(io::Error::other);
    match files {
        Files::Statements { spec } => run_dir.write_statements(spec, &blobs),
        Files::Round {
            spec,
            problem,
            round,
            code,
            report,
            tests_raw,
        } => {
            let Some(problem) = spec.problems.iter().find(|p| p.position == *problem) else {
                return Ok(());
            };
            let ended = SessionEvent::RoundEnd {
                round: *round,
                code: code.clone(),
                report: report.clone(),
                tests_raw: tests_raw.clone(),
                tests_used: None,
                program: None,
                passed: None,
            };
            run_dir.write_round(spec.session.language, problem, &[ended], *round, &blobs)
        }
        Files::Session {
            spec,
            problem,
            events,
            outcome,
        } => {
            let Some(problem) = spec.problems.iter().find(|p| p.position == *problem) else {
                return Ok(());
            };
            let summary = ProblemSummary {
                outcome: match outcome {
                    Ok(_) => ProblemOutcome::Open,
                    Err(failure) => ProblemOutcome::Error(failure.clone()),
                },
                events: events.clone(),
                generation: outcome.clone().ok(),
                attempts: 0,
                calls_unaccounted: 0,
                rounds: Vec::new(),
            };
            run_dir.write_session(&spec.session, problem, &summary, &blobs)
        }
        Files::Reports { summary } => run_dir
            .write_reports(summary, Price::default(), &blobs, working_dir)
            .map(drop),
    }
}

#[cfg(test)]
mod tests;
