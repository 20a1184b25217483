//! For how long a run could not move, and what people were told of it.

use crate::status::Stuck;

/// Why a run cannot move, since when, and what people know of that.
#[derive(Debug, Default)]
pub(crate) struct Stall {
    /// The reasons as last seen; empty while it can move.
    reasons: Vec<Stuck>,
    /// Since when they are these, on the monotonic clock, in milliseconds.
    since_ms: u64,
    /// The reasons that people were told; empty if they know of none.
    told: Vec<Stuck>,
}

impl Stall {
    /// Takes note of the reasons that hold now. Gives what people are to be told: reasons that have lasted for
    /// `waiting_ms`, from then on every change of them, and, empty, that there are none any more.
    pub(crate) fn note(&mut self, reasons: &[Stuck], now_ms: u64, waiting_ms: u64) -> Option<Vec<Stuck>> {
        if self.reasons != reasons {
            self.reasons = reasons.to_vec();
            self.since_ms = now_ms;
        }
        let is_due = !self.told.is_empty() || (!reasons.is_empty() && self.has_lasted(now_ms, waiting_ms));
        if !is_due || self.told == reasons {
            return None;
        }
        self.told = reasons.to_vec();
        Some(self.told.clone())
    }

    /// Whether the reasons that were last noted have been the same for `waiting_ms`.
    pub(crate) fn has_lasted(&self, now_ms: u64, waiting_ms: u64) -> bool {
        now_ms.saturating_sub(self.since_ms) >= waiting_ms
    }
}
