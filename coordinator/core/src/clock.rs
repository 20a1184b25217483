//! Time as an argument: the caller says what time it is.

use serde::{Deserialize, Serialize};

/// The time at which an event is handled. Leases use only `monotonic_ms`, records only `wall`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since some moment before this coordinator's start; never goes back.
    pub monotonic_ms: u64,
    /// The time on the clock.
    pub wall: Stamp,
}

/// A moment on the clock together with the local offset that held then, so that a report rebuilt in another zone
/// prints the same text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Microseconds since 1970-01-01 00:00 UTC.
    pub unix_us: i64,
    /// Seconds to add to UTC for the local time.
    pub offset_s: i32,
}
