//! Those who watch a run from elsewhere: each has a bounded queue of news, fed in the order in which it is released.
//!
//! Fed by the committer's thread ([`crate::driver::Outlets`]), emptied by the streams of [`crate::rpc`]. It never
//! waits: a watcher that does not keep up is cut off, comes back, and is told anew how things stand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roundhouse_core::Progress;
use roundhouse_proto::{Failure, RunId};
use tokio::sync::mpsc;

/// News that wait for one watcher; one that falls further behind is cut off.
pub const NEWS_MAX: usize = 4_096;

/// What a watcher is told. `index` is the problem's 1-based place in the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A session was handed out for the first time.
    Started {
        /// Which problem.
        index: u32,
    },
    /// A session ended: whether with a program, or why it could not be held.
    Generated {
        /// Which problem.
        index: u32,
        /// How.
        program: Result<bool, Failure>,
    },
    /// A problem is settled.
    Judged {
        /// Which problem.
        index: u32,
    },
    /// A job waits for another attempt.
    Retried {
        /// Which problem.
        index: u32,
        /// The job.
        job: String,
        /// Why.
        reason: String,
    },
    /// Every session has ended; how long that took, in milliseconds.
    GenerationDone {
        /// On the run's clock.
        generation_ms: u64,
    },
    /// Something that people should know once.
    Notice(String),
    /// The run as a whole stands otherwise than before.
    Changed,
    /// It is paused, and its reports are written as far as it came.
    Paused,
    /// It has ended, and its reports are written.
    Done,
}

impl News {
    fn of(progress: &Progress) -> Self {
        match progress {
            Progress::GenerationStarted { index } => Self::Started { index: *index },
            Progress::GenerationEnded { index, program } => Self::Generated {
                index: *index,
                program: program.clone(),
            },
            Progress::Judged { index } => Self::Judged { index: *index },
            Progress::Retried { index, job, reason } => Self::Retried {
                index: *index,
                job: job.clone(),
                reason: reason.clone(),
            },
            Progress::GenerationDone { generation_ms } => Self::GenerationDone {
                generation_ms: *generation_ms,
            },
            Progress::AllJudged(summary) => Self::Notice(crate::notices::only_rounds_left(summary)),
            Progress::Notice(notice) => Self::Notice(notice.clone()),
            Progress::Started { .. } | Progress::Stuck(_) => Self::Changed,
            Progress::Drained => {
                Self::Notice("nothing is in flight any more: the run waits to be resumed".to_owned())
            }
            Progress::Paused(_) => Self::Paused,
            Progress::Done(_) => Self::Done,
        }
    }
}

/// Those who watch. A clone is another handle on the same ones.
#[derive(Clone, Debug, Default)]
pub struct Watchers {
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    is_closed: bool,
    by_run: BTreeMap<RunId, Vec<mpsc::Sender<News>>>,
}

impl Watchers {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches a run from now on. The news end when the watcher falls behind, or when the coordinator stops.
    pub fn watch(&self, run: RunId) -> mpsc::Receiver<News> {
        let (sender, receiver) = mpsc::channel(NEWS_MAX);
        let mut table = self.table();
        if !table.is_closed {
            let of_run = table.by_run.entry(run).or_default();
            // Those of a run that has nothing more to tell would stay for ever.
            of_run.retain(|watcher| !watcher.is_closed());
            of_run.push(sender);
        }
        receiver
    }

    /// Tells everybody who watches the run.
    pub fn tell(&self, run: RunId, progress: &Progress) {
        let mut table = self.table();
        let Some(of_run) = table.by_run.get_mut(&run) else {
            return;
        };
        let news = News::of(progress);
        of_run.retain(|watcher| watcher.try_send(news.clone()).is_ok());
        if of_run.is_empty() {
            table.by_run.remove(&run);
        }
    }

    /// Ends all news, of those who come later too, so that the server can end.
    pub fn close_all(&self) {
        let mut table = self.table();
        table.is_closed = true;
        table.by_run.clear();
    }

    /// Whether the coordinator stops.
    pub fn is_closed(&self) -> bool {
        self.table().is_closed
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const RUN: RunId = RunId(Uuid::from_u128(1));
    const OTHER: RunId = RunId(Uuid::from_u128(2));

    fn all(news: &mut mpsc::Receiver<News>) -> Vec<News> {
        std::iter::from_fn(|| news.try_recv().ok()).collect()
    }

    #[test]
    fn watcher_is_told_of_its_run_only_and_in_order() {
        let watchers = Watchers::default();
        let mut mine = watchers.watch(RUN);
        let mut other = watchers.watch(OTHER);
        watchers.tell(RUN, &Progress::GenerationStarted { index: 1 });
        watchers.tell(OTHER, &Progress::Notice("hello".to_owned()));
        watchers.tell(RUN, &Progress::Stuck(Vec::new()));
        watchers.tell(RUN, &Progress::Judged { index: 1 });
        assert_eq!(
            all(&mut mine),
            [
                News::Started { index: 1 },
                News::Changed,
                News::Judged { index: 1 }
            ]
        );
        assert_eq!(all(&mut other), [News::Notice("hello".to_owned())]);
    }

    #[test]
    fn watcher_that_falls_behind_is_cut_off_and_the_others_are_told_all() {
        let watchers = Watchers::default();
        let mut slow = watchers.watch(RUN);
        let mut quick = watchers.watch(RUN);
        let mut seen = 0;
        for index in 0..=u32::try_from(NEWS_MAX).unwrap_or(u32::MAX) {
            watchers.tell(RUN, &Progress::Judged { index });
            seen += all(&mut quick).len();
        }
        assert_eq!(seen, NEWS_MAX + 1);
        assert_eq!(all(&mut slow).len(), NEWS_MAX);
        assert!(slow.is_closed() && !quick.is_closed());
        assert!(!watchers.is_closed());
    }

    #[test]
    fn news_end_when_the_coordinator_stops_for_those_who_come_later_too() {
        let watchers = Watchers::default();
        let before = watchers.watch(RUN);
        watchers.close_all();
        let after = watchers.watch(RUN);
        assert!(before.is_closed() && after.is_closed() && watchers.is_closed());
    }
}
