//! What clients are doing, so that a coordinator that is to end can wait for those who still want something.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What clients are doing. A clone tells of the same ones.
#[derive(Clone, Debug)]
pub struct Activity(Arc<Mutex<Doing>>);

#[derive(Debug)]
struct Doing {
    requests: usize,
    last_ended: Instant,
}

impl Default for Activity {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Doing {
            requests: 0,
            last_ended: Instant::now(),
        })))
    }
}

impl Activity {
    fn doing(&self) -> MutexGuard<'_, Doing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request that lasts until what is given is dropped.
    pub(super) fn begin(&self) -> Busy {
        self.doing().requests += 1;
        Busy(self.clone())
    }

    /// For how long no request was open; none while one is.
    pub fn idle_for(&self) -> Option<Duration> {
        let doing = self.doing();
        (doing.requests == 0).then(|| doing.last_ended.elapsed())
    }
}

/// An open request.
#[derive(Debug)]
pub(super) struct Busy(Activity);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut doing = self.0.doing();
        doing.requests -= 1;
        doing.last_ended = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activity_is_idle_when_the_last_request_has_ended() {
        let activity = Activity::default();
        assert!(activity.idle_for().is_some());
        let (first, second) = (activity.begin(), activity.begin());
        assert_eq!(activity.idle_for(), None);
        drop(first);
        assert_eq!(activity.idle_for(), None);
        drop(second);
        assert!(activity.idle_for().is_some());
    }
}
