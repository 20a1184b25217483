//! Files that could not be written yet, run by run: the others go on meanwhile.
//!
//! The caller says what time it is and does the writing; this decides when a run is tried again, and which run is
//! given up when too much waits.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use roundhouse_core::Files;
use roundhouse_proto::RunId;

/// How long to wait before a file that could not be written is tried again; doubled with every try.
pub(super) const RETRY_PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause, so that a disk with room again is soon noticed and the log is not flooded.
pub(super) const RETRY_PAUSE_MAX: Duration = Duration::from_secs(15);
/// Most files that wait to be written again, those of all runs together.
pub(super) const WAITING_MAX: usize = 4_096;

/// Files that could not be written yet.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    runs: BTreeMap<RunId, Waiting>,
    /// How many files wait.
    waiting: usize,
    /// Runs whose files are not written any more by this process.
    given_up: BTreeSet<RunId>,
}

#[derive(Debug)]
struct Waiting {
    /// In the order in which they were wanted.
    files: VecDeque<Box<Files>>,
    again_at: Instant,
    pause: Duration,
}

impl Backlog {
    /// Whether files of this run wait, so that further ones have to.
    pub(super) fn has(&self, run: RunId) -> bool {
        self.runs.contains_key(&run)
    }

    pub(super) fn is_given_up(&self, run: RunId) -> bool {
        self.given_up.contains(&run)
    }

    /// Whether no more may wait.
    pub(super) fn is_full(&self) -> bool {
        self.waiting >= WAITING_MAX
    }

    /// Lets a file wait behind those of its run.
    pub(super) fn push(&mut self, run: RunId, files: Box<Files>, now: Instant) {
        self.waiting += 1;
        let waiting = self.runs.entry(run).or_insert_with(|| Waiting {
            files: VecDeque::new(),
            again_at: now + RETRY_PAUSE_MIN,
            pause: RETRY_PAUSE_MIN,
        });
        waiting.files.push_back(files);
    }

    /// When the next run is to be tried again; none if nothing waits.
    pub(super) fn next_try(&self) -> Option<Instant> {
        self.runs.values().map(|waiting| waiting.again_at).min()
    }

    /// Takes the first file of a run that is to be tried again by now; say then whether it was [`Self::written`] or
    /// [`Self::failed`].
    pub(super) fn due(&mut self, now: Instant) -> Option<(RunId, Box<Files>)> {
        let (run, waiting) = self
            .runs
            .iter_mut()
            .find(|(_, waiting)| waiting.again_at <= now)?;
        let files = waiting.files.pop_front()?;
        self.waiting -= 1;
        Some((*run, files))
    }

    /// The file that was taken is written: the next one may be tried at once.
    pub(super) fn written(&mut self, run: RunId) {
        if let Some(waiting) = self.runs.get_mut(&run) {
            waiting.pause = RETRY_PAUSE_MIN;
            if waiting.files.is_empty() {
                self.runs.remove(&run);
            }
        }
    }

    /// The file that was taken could not be written again.
    pub(super) fn failed(&mut self, run: RunId, files: Box<Files>, now: Instant) {
        if let Some(waiting) = self.runs.get_mut(&run) {
            self.waiting += 1;
            waiting.files.push_front(files);
            waiting.pause = (waiting.pause * 2).min(RETRY_PAUSE_MAX);
            waiting.again_at = now + waiting.pause;
        }
    }

    /// Gives up the run of which most waits, so that the others need not wait for it.
    pub(super) fn give_up_the_longest(&mut self) -> Option<RunId> {
        let (run, _) = self.runs.iter().max_by_key(|(_, waiting)| waiting.files.len())?;
        let run = *run;
        let waiting = self.runs.remove(&run)?;
        self.waiting -= waiting.files.len();
        self.given_up.insert(run);
        Some(run)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use std::sync::Arc;

    use super::*;
    use crate::report::fixture::Fixture;

    fn files() -> Box<Files> {
        let spec = Arc::clone(&Fixture::empty().run.spec);
        Box::new(Files::Statements { spec })
    }

    fn run(n: u128) -> RunId {
        RunId(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn run_is_tried_again_after_pauses_that_grow_to_a_bound_and_shrink_after_a_success() {
        let start = Instant::now();
        let mut backlog = Backlog::default();
        backlog.push(run(1), files(), start);
        backlog.push(run(1), files(), start);
        assert!(backlog.has(run(1)) && !backlog.has(run(2)));
        assert!(backlog.due(start).is_none());
        let mut now = start;
        let mut pauses = Vec::new();
        for _ in 0..6 {
            let next = backlog.next_try().unwrap();
            pauses.push(next.duration_since(now).as_secs());
            now = next;
            let (of, files) = backlog.due(now).unwrap();
            assert_eq!(of, run(1));
            backlog.failed(of, files, now);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 15, 15]);
        now = backlog.next_try().unwrap();
        for _ in 0..2 {
            assert!(backlog.due(now).is_some(), "the next one may be tried at once");
            backlog.written(run(1));
        }
        assert!(backlog.next_try().is_none() && !backlog.has(run(1)));
    }

    #[test]
    fn run_of_which_most_waits_is_given_up_when_too_much_waits() {
        let start = Instant::now();
        let mut backlog = Backlog::default();
        backlog.push(run(2), files(), start);
        let files = files();
        for _ in 1..WAITING_MAX {
            assert!(!backlog.is_full());
            backlog.push(run(1), files.clone(), start);
        }
        assert!(backlog.is_full());
        assert_eq!(backlog.give_up_the_longest(), Some(run(1)));
        assert!(backlog.is_given_up(run(1)) && !backlog.is_given_up(run(2)));
        assert!(backlog.has(run(2)) && !backlog.has(run(1)) && !backlog.is_full());
    }
}
