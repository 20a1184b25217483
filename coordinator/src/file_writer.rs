//! The file writer: one thread that writes what the core wants in the run directory, then says so.
//!
//! A file that cannot be written is tried again for as long as the process runs: what it is made of is stored, so
//! nothing is lost meanwhile.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use roundhouse_core::summary::{ProblemOutcome, ProblemSummary};
use roundhouse_core::{Event, Files};
use roundhouse_proto::{Digest, SessionEvent};
use tokio::sync::mpsc;

use crate::blobs::Blobs;
use crate::report::figures::Price;
use crate::run_dir::{RunDir, RunDirError};

/// How long to wait before a file that could not be written is tried again; doubled with every try.
const RETRY_PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause, so that a disk with room again is soon noticed and the log is not flooded.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(15);

/// Starts the thread. It ends when nobody can want files any more, or nobody is left to be told.
///
/// # Errors
/// The system gives no thread.
pub fn start(
    run_dir: Arc<RunDir>,
    blobs: Blobs,
    working_dir: PathBuf,
    wanted: Receiver<Box<Files>>,
    written: mpsc::Sender<Event>,
) -> io::Result<()> {
    let writer = Writer {
        run_dir,
        blobs,
        working_dir,
    };
    std::thread::Builder::new()
        .name("file-writer".to_owned())
        .spawn(move || {
            for files in wanted {
                let mut pause = RETRY_PAUSE_MIN;
                while let Err(error) = writer.write(&files) {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "a file of the run directory cannot be written and is tried again"
                    );
                    if written.is_closed() {
                        return;
                    }
                    std::thread::park_timeout(pause);
                    pause = (pause * 2).min(RETRY_PAUSE_MAX);
                }
                if written
                    .blocking_send(Event::FileWritten(files.pending()))
                    .is_err()
                {
                    return;
                }
            }
        })?;
    Ok(())
}

struct Writer {
    run_dir: Arc<RunDir>,
    blobs: Blobs,
    working_dir: PathBuf,
}

impl Writer {
    fn write(&self, files: &Files) -> Result<(), RunDirError> {
        let blobs = |digest: &Digest| self.blobs.read(digest).map_err(io::Error::other);
        match files {
            Files::Statements { spec } => self.run_dir.write_statements(spec, &blobs),
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
                };
                self.run_dir
                    .write_round(spec.session.language, problem, &[ended], *round, &blobs)
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
                };
                self.run_dir
                    .write_session(&spec.session, problem, &summary, &blobs)
            }
            Files::Reports { summary } => {
                let working_dir = Some(self.working_dir.as_path());
                self.run_dir
                    .write_reports(summary, Price::default(), &blobs, working_dir)
                    .map(drop)
            }
        }
    }
}
