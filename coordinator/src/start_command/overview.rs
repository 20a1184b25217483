//! How workers and runs stand at one moment, as far as the lines of `coordinator start` say it.

use std::collections::BTreeMap;

use roundhouse_core::status::{RunState, RunView, WorkerView};
use roundhouse_core::{Coordinator, Now};
use roundhouse_proto::RunId;

use crate::report::line::{MESSAGE_CHARS_MAX, one_line};

/// Runs that were over and written, so that they need not be looked at again and again while they are: whether every
/// problem of each had a verdict.
pub(super) type Over = BTreeMap<RunId, bool>;

/// When a run is seen first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// When the coordinator has just been started.
    Start,
    /// Later.
    Work,
}

/// How workers and runs stand.
#[derive(Debug)]
pub(super) struct Overview {
    pub(super) workers: Vec<WorkerView>,
    /// Those that are not known to be over, oldest first.
    pub(super) runs: Vec<RunLine>,
    /// Whether every problem of every run has a verdict.
    pub(super) is_complete: bool,
    /// All that there are, newest first.
    pub(super) known: Vec<RunId>,
}

/// How a run stands.
#[derive(Debug)]
pub(super) struct RunLine {
    pub(super) run: RunId,
    /// Nothing is to come unless somebody asks for it.
    pub(super) is_over: bool,
    /// Its reports are written, as far as it came.
    pub(super) is_written: bool,
    /// Every problem has a verdict.
    pub(super) is_complete: bool,
    is_paused: bool,
    problems_n: usize,
    generated_n: u32,
    settled_n: u32,
    model: String,
}

impl Overview {
    /// Looks at everything but the runs that are known to be over.
    pub(super) fn of(core: &Coordinator, now: Now, over: &Over) -> Self {
        let mut overview = Self {
            workers: core.worker_views(now),
            runs: Vec::new(),
            is_complete: true,
            known: core.runs(),
        };
        for run in overview.known.clone().into_iter().rev() {
            // It may have been tried again since.
            if let Some(is_complete) = over.get(&run)
                && core.is_over(run)
            {
                overview.is_complete &= is_complete;
                continue;
            }
            if let Some(view) = core.run_view(now, run) {
                let line = RunLine::of(&view);
                overview.is_complete &= line.is_complete;
                overview.runs.push(line);
            }
        }
        overview
    }

    /// How many runs are not over.
    pub(super) fn open_n(&self) -> usize {
        self.runs.iter().filter(|run| !run.is_over).count()
    }

    /// Whether there was a run, and all are over, or wait for a person, and written.
    pub(super) fn is_done(&self) -> bool {
        let ends = |run: &RunLine| (run.is_over || run.is_paused) && run.is_written;
        !self.known.is_empty() && self.runs.iter().all(ends)
    }
}

impl RunLine {
    fn of(view: &RunView) -> Self {
        let (is_over, is_paused) = match &view.state {
            RunState::Active => (false, false),
            RunState::Paused { .. } => (false, true),
            RunState::Complete | RunState::Incomplete { .. } | RunState::Cancelled { .. } => (true, false),
        };
        Self {
            run: view.run(),
            is_over,
            is_written: view.reports_written,
            is_complete: view.state == RunState::Complete,
            is_paused,
            problems_n: view.spec.problems.len(),
            generated_n: view.generated_n,
            settled_n: view.passed_n + view.failed_n + view.errors_n,
            model: one_line(&view.spec.session.model, MESSAGE_CHARS_MAX),
        }
    }

    /// What is said when it is seen first: `submitted: 10 problems, model deepseek-chat`, or, if it was there when the
    /// coordinator started, how far it is.
    pub(super) fn introduction(&self, at: At) -> String {
        let (n, model) = (self.problems_n, &self.model);
        let problems = if n == 1 { "problem" } else { "problems" };
        match at {
            At::Start => format!("goes on: {}", self.progress()),
            At::Work => format!("submitted: {n} {problems}, model {model}"),
        }
    }

    /// `generation 14/100, evaluation 10/100`.
    pub(super) fn progress(&self) -> String {
        format!(
            "generation {}/{n}, evaluation {}/{n}",
            self.generated_n,
            self.settled_n,
            n = self.problems_n
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use roundhouse_core::record::Stored;
    use roundhouse_core::{Event, Outbox, Timing};
    use roundhouse_proto::Digest;
    use uuid::Uuid;

    use super::*;
    use crate::report::fixture::{Fixture, STARTED};

    fn run(is_over: bool, is_paused: bool, is_written: bool) -> RunLine {
        RunLine {
            run: RunId(Uuid::from_u128(1)),
            is_over,
            is_written,
            is_complete: is_over,
            is_paused,
            problems_n: 3,
            generated_n: 2,
            settled_n: 1,
            model: "m".to_owned(),
        }
    }

    fn is_done(has_runs: bool, runs: Vec<RunLine>) -> bool {
        let overview = Overview {
            workers: Vec::new(),
            runs,
            is_complete: true,
            known: vec![RunId(Uuid::from_u128(1)); usize::from(has_runs)],
        };
        overview.is_done()
    }

    #[test]
    fn all_is_done_when_there_was_a_run_and_each_is_over_or_paused_and_written() {
        assert!(!is_done(false, Vec::new()), "none came yet");
        assert!(is_done(true, Vec::new()), "all are known to be over");
        assert!(is_done(
            true,
            vec![run(true, false, true), run(false, true, true)]
        ));
        assert!(!is_done(true, vec![run(true, false, false)]));
        assert!(!is_done(
            true,
            vec![run(true, false, true), run(false, false, false)]
        ));
    }

    #[test]
    fn run_that_is_tried_again_after_it_was_over_is_looked_at_again() {
        let now = Now {
            monotonic_ms: 0,
            wall: STARTED,
        };
        let timing = Timing::default();
        let (stored, mut outbox) = (Stored::default(), Outbox::default());
        let mut core = Coordinator::start(timing, stored, &BTreeMap::new(), now, &mut outbox);
        let spec = Arc::clone(&Fixture::sample().run.spec);
        let run = spec.run;
        let spec_blob = Digest::of(b"spec");
        let reason = "why".to_owned();
        let mut after = |event| {
            core.handle(now, event, &mut outbox);
            Overview::of(&core, now, &Over::from([(run, false)]))
        };
        after(Event::Submitted { spec, spec_blob });
        let cancelled = after(Event::CancelRequested { run, reason });
        assert!(cancelled.is_done() && !cancelled.is_complete && cancelled.runs.is_empty());
        let again = after(Event::RetryRequested { run });
        assert!(!again.is_done());
        assert_eq!(again.open_n(), 1);
    }

    #[test]
    fn run_is_introduced_by_what_it_is_or_by_how_far_it_came() {
        let line = run(false, false, false);
        let went_on = line.introduction(At::Start);
        assert_eq!(went_on, "goes on: generation 2/3, evaluation 1/3");
        assert_eq!(line.introduction(At::Work), "submitted: 3 problems, model m");
    }
}
