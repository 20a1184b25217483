//! `coordinator report RUN_DIR`: writes the reports of a run again. From its state, byte for byte as they were;
//! where only summary.json is left, REPORT.txt from it.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use roundhouse_core::summary::ProblemOutcome;
use roundhouse_core::{Coordinator, Outbox, Timing};
use roundhouse_proto::{Digest, SessionEvent};

use crate::driver::Clock;
use crate::report::figures::Price;
use crate::report::readable::report_of_bytes;
use crate::report::summary::SUMMARY_FILE;
use crate::run_dir::RunDir;
use crate::server::State;
use crate::state_dir::state_dir_of;

/// Writes the reports and prints REPORT.txt.
///
/// # Errors
/// There is neither a state nor a summary, or one of them cannot be read.
pub fn run(path: &Path) -> anyhow::Result<ExitCode> {
    let run_dir = RunDir::open(path)?;
    let summary_file = path.join(SUMMARY_FILE);
    let summary = match state_dir_of(path) {
        Ok(data_dir) => from_state(&run_dir, &data_dir)?,
        Err(_) if summary_file.exists() => {
            let summary =
                std::fs::read(&summary_file).with_context(|| format!("read `{}`", summary_file.display()))?;
            run_dir.remove_leftovers()?;
            run_dir.write_report(&summary)?;
            summary
        }
        Err(error) => return Err(error),
    };
    let report = report_of_bytes(&summary)?;
    match std::io::stdout().write_all(report.as_bytes()) {
        // A reader that went away, such as `head`, has what it wanted.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("write to standard output")
        }
        Ok(()) | Err(_) => Ok(ExitCode::SUCCESS),
    }
}

fn from_state(run_dir: &RunDir, data_dir: &Path) -> anyhow::Result<Vec<u8>> {
    let state = State::open(data_dir)?;
    run_dir.remove_leftovers()?;
    let specs = state.specs()?;
    let Some(run) = specs.keys().next().copied() else {
        bail!("`{}` holds no run", data_dir.display())
    };
    let State { blobs, stored, .. } = state;
    // Nothing of this start is stored: it only looks.
    let mut outbox = Outbox::default();
    let core = Coordinator::start(
        Timing::default(),
        stored,
        &specs,
        Clock::start().now(),
        &mut outbox,
    );
    let Some(summary) = core.summary(run) else {
        bail!("`{}` holds no run", data_dir.display())
    };
    let read = |digest: &Digest| blobs.read(digest).map_err(std::io::Error::other);
    let settings = &summary.spec.session;
    run_dir.write_statements(&summary.spec, &read)?;
    for (problem, came_to) in summary.spec.problems.iter().zip(&summary.problems) {
        for event in &came_to.events {
            if let SessionEvent::RoundEnd { round, .. } = event {
                run_dir.write_round(settings.language, problem, &came_to.events, *round, &read)?;
            }
        }
        if came_to.outcome != ProblemOutcome::Open {
            run_dir.write_session(settings, problem, came_to, &read)?;
        }
    }
    Ok(run_dir
        .write_reports(&summary, Price::default(), &read, None)?
        .to_vec())
}
