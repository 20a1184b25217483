//! A run's own clock: it goes only while a coordinator is up and something of the run can come.

/// Time of a run, in milliseconds. It stands still while no coordinator is up, once the run is over, and while it is
/// paused, so that a run taken up the next morning is not a night longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunClock {
    /// What it showed when it was last started or stopped.
    base_ms: u64,
    /// When it was last started, on the monotonic clock; none while it stands.
    since_ms: Option<u64>,
}

impl RunClock {
    /// A clock that goes from 0.
    pub(super) fn started(now_ms: u64) -> Self {
        Self {
            base_ms: 0,
            since_ms: Some(now_ms),
        }
    }

    pub(super) fn at_ms(&self, now_ms: u64) -> u64 {
        let going_ms = self
            .since_ms
            .map_or(0, |since_ms| now_ms.saturating_sub(since_ms));
        self.base_ms + going_ms
    }

    /// It had come as far as this before the coordinator was started.
    pub(super) fn came_to(&mut self, at_ms: u64) {
        self.base_ms = self.base_ms.max(at_ms);
    }

    pub(super) fn stop(&mut self, now_ms: u64) {
        self.base_ms = self.at_ms(now_ms);
        self.since_ms = None;
    }

    /// Goes on; a clock that goes already is left alone.
    pub(super) fn start(&mut self, now_ms: u64) {
        self.since_ms.get_or_insert(now_ms);
    }
}
