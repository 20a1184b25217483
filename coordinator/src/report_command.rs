//! `coordinator report RUN_DIR`: writes the reports of a run again. From its state, byte for byte as they were;
//! where that cannot be opened, REPORT.txt from summary.json.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use roundhouse_core::summary::ProblemOutcome;
use roundhouse_core::{Coordinator, Outbox, Timing};
use roundhouse_proto::{Digest, SessionEvent};

use crate::driver::Clock;
use crate::report::figures::Price;
use crate::report::readable::{REPORT_FILE, report_of_bytes};
use crate::report::summary::SUMMARY_FILE;
use crate::run_dir::RunDir;
use crate::server::State;
use crate::state_dir::{STATE_DIR, state_dir_of};
use crate::store::StoreError;

/// Writes the reports and prints REPORT.txt.
///
/// # Errors
/// There is neither a state that can be opened nor a summary, or what was found cannot be read.
pub fn run(path: &Path) -> anyhow::Result<ExitCode> {
    let report = report_of_bytes(&rebuild(path)?)?;
    match std::io::stdout().write_all(report.as_bytes()) {
        // A reader that went away, such as `head`, has what it wanted.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("write to standard output")
        }
        Ok(()) | Err(_) => Ok(ExitCode::SUCCESS),
    }
}

/// Writes what can be made again; gives the bytes of summary.json.
fn rebuild(path: &Path) -> anyhow::Result<Vec<u8>> {
    let run_dir = RunDir::open(path)?;
    match open_state(path) {
        Ok(state) => from_state(&run_dir, state),
        Err(closed) => from_summary(&run_dir, closed),
    }
}

/// Why the reports cannot be made from the state.
#[derive(Debug)]
enum Closed {
    /// There is none, as in a directory that was copied from a coordinator.
    Absent,
    /// A process has it: the run goes on.
    InUse(anyhow::Error),
    /// It cannot be found or read.
    Unreadable(anyhow::Error),
}

fn open_state(path: &Path) -> Result<State, Closed> {
    if !path.join(STATE_DIR).exists() {
        return Err(Closed::Absent);
    }
    let state = state_dir_of(path).and_then(|data_dir| State::open(&data_dir));
    let state = state.map_err(|error| match error.downcast_ref::<StoreError>() {
        Some(StoreError::InUse { .. }) => Closed::InUse(error),
        Some(_) | None => Closed::Unreadable(error),
    })?;
    if state.stored.runs.is_empty() {
        let error = anyhow!("`{}` holds no run", state.data_dir.display());
        return Err(Closed::Unreadable(error));
    }
    Ok(state)
}

/// Writes REPORT.txt from what summary.json says; gives its bytes.
fn from_summary(run_dir: &RunDir, closed: Closed) -> anyhow::Result<Vec<u8>> {
    let file = run_dir.path().join(SUMMARY_FILE);
    let summary = match std::fs::read(&file) {
        Ok(summary) => summary,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(without_summary(run_dir.path(), closed));
        }
        Err(error) => return Err(error).with_context(|| format!("read `{}`", file.display())),
    };
    match closed {
        Closed::Absent => run_dir.remove_leftovers()?,
        // What looks like a leftover may be what that process is about to write.
        Closed::InUse(error) => crate::notices::note(&format!(
            "{error:#}: the run goes on; {REPORT_FILE} is made from the {SUMMARY_FILE} of before"
        )),
        Closed::Unreadable(error) => crate::notices::warning(&format!(
            "{error:#}; {REPORT_FILE} is made from {SUMMARY_FILE}, the other files are left as they are"
        )),
    }
    run_dir.write_report(&summary)?;
    Ok(summary)
}

/// What is said where there is nothing to make a report from.
fn without_summary(run_dir: &Path, closed: Closed) -> anyhow::Error {
    let shown = run_dir.display();
    match closed {
        Closed::Absent => anyhow!(
            "`{shown}` has no report to be made: expected `{STATE_DIR}` or `{SUMMARY_FILE}` in it\n\
             hint: a run that a coordinator on another machine holds has `{SUMMARY_FILE}` once it is over; the \
             directories of `coordinator run` are named `OUTPUT_DIR/run_YYYYmmdd_HHMMSS`"
        ),
        Closed::InUse(error) => anyhow!(
            "{error:#}: the run goes on, and there is no `{SUMMARY_FILE}` in `{shown}` yet\n\
             hint: its reports are written when it ends"
        ),
        Closed::Unreadable(error) => error,
    }
}

fn from_state(run_dir: &RunDir, state: State) -> anyhow::Result<Vec<u8>> {
    run_dir.remove_leftovers()?;
    let specs = state.specs()?;
    let State {
        data_dir,
        blobs,
        stored,
        ..
    } = state;
    let Some(run) = specs.keys().next().copied() else {
        bail!("`{}` holds no run", data_dir.display())
    };
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use std::fs;

    use super::*;
    use crate::report::fixture::Fixture;

    /// A run directory with the summary of the mixed run, a file that another process is writing, and no state.
    fn finished(place: &Path) -> String {
        let fixture = Fixture::mixed();
        let run_dir = RunDir::open(place).unwrap();
        run_dir
            .write_reports(&fixture.run, Price::default(), &fixture.reader(), None)
            .unwrap();
        let report = fs::read_to_string(place.join(REPORT_FILE)).unwrap();
        fs::remove_file(place.join(REPORT_FILE)).unwrap();
        fs::write(half_written(place), "half").unwrap();
        report
    }

    fn half_written(place: &Path) -> std::path::PathBuf {
        place.join(".roundhouse-1-0.tmp")
    }

    /// Makes them again; gives REPORT.txt as it stands then, and whether the half-written file does.
    fn rebuilt(place: &Path) -> (String, bool) {
        let summary = rebuild(place).unwrap();
        assert_eq!(summary, fs::read(place.join(SUMMARY_FILE)).unwrap());
        let report = fs::read_to_string(place.join(REPORT_FILE)).unwrap();
        (report, half_written(place).exists())
    }

    #[test]
    fn report_of_a_directory_without_a_state_is_made_from_its_summary() {
        let temp = tempfile::tempdir().unwrap();
        let report = finished(temp.path());
        assert_eq!(rebuilt(temp.path()), (report, false));
    }

    #[test]
    fn state_in_use_is_left_to_its_process_and_the_summary_of_before_is_reported() {
        let temp = tempfile::tempdir().unwrap();
        let _held = State::open(&temp.path().join(STATE_DIR)).unwrap();
        fs::write(half_written(temp.path()), "half").unwrap();
        let error = rebuild(temp.path()).unwrap_err().to_string();
        let (shown, state) = (temp.path().display(), temp.path().join(STATE_DIR));
        assert_eq!(
            error,
            format!(
                "another coordinator uses `{}`: the run goes on, and there is no `summary.json` in `{shown}` yet\n\
                 hint: its reports are written when it ends",
                state.display()
            )
        );
        assert!(half_written(temp.path()).exists());

        let report = finished(temp.path());
        assert_eq!(rebuilt(temp.path()), (report, true));
    }

    #[test]
    fn state_that_cannot_be_read_or_holds_no_run_gives_way_to_the_summary() {
        type Break = fn(&Path);
        let breaks: [(&str, Break); 3] = [
            ("which is no directory", |state| {
                fs::write(state, "/nowhere").unwrap();
            }),
            ("is damaged", |state| {
                fs::create_dir_all(state.join("db")).unwrap();
                fs::write(state.join("db/conf"), "no database").unwrap();
            }),
            ("holds no run", |state| drop(State::open(state).unwrap())),
        ];
        for (why, make) in breaks {
            let temp = tempfile::tempdir().unwrap();
            make(&temp.path().join(STATE_DIR));
            let error = rebuild(temp.path()).unwrap_err().to_string();
            assert!(error.contains(why), "{why}: {error}");
            let report = finished(temp.path());
            assert_eq!(rebuilt(temp.path()), (report, true), "{why}");
        }
    }

    #[test]
    fn directory_with_neither_state_nor_summary_is_refused_with_what_was_expected() {
        let temp = tempfile::tempdir().unwrap();
        let error = rebuild(temp.path()).unwrap_err().to_string();
        assert!(
            error.contains("expected `.state` or `summary.json` in it\nhint: "),
            "{error}"
        );
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0, "nothing was made");
    }
}
