//! Whether a call is tried again, and when.
//!
//! A decision: it waits for nothing and rolls no dice. Called by [`crate::llm::chat`] after every try that brought no
//! answer.

use std::time::{Duration, SystemTime};

/// How often and how long one call is tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retries {
    /// Tries of a call whose troubles may pass, the first included; refusals for want of room not counted.
    pub tries_max: u32,
    /// Tries that may be refused for want of room (429, 529) before the call is given up.
    pub throttled_max: u32,
    /// All waiting between tries of a call, together.
    pub waited_max: Duration,
    /// How long after its beginning a call may still be tried again.
    pub call_max: Duration,
    /// Longest wait after the first try; doubled with every further one.
    pub wait_first: Duration,
    /// Longest wait that is not asked for by the server.
    pub wait_max: Duration,
    /// Longest wait that a server may ask for. The call is given up when it asks for more: to come earlier would be
    /// refused again.
    pub asked_max: Duration,
}

impl Retries {
    /// What calls are given: a server may be away for some minutes, and short of room for an hour.
    pub const DEFAULT: Self = Self {
        tries_max: 12,
        throttled_max: 60,
        waited_max: Duration::from_secs(60 * 60),
        call_max: Duration::from_secs(3 * 60 * 60),
        wait_first: Duration::from_secs(1),
        wait_max: Duration::from_secs(2 * 60),
        asked_max: Duration::from_secs(30 * 60),
    };
}

/// What kind of trouble ended a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The server has no room now.
    Throttled,
    /// It may pass: a connection that broke, a server that failed.
    Passing,
    /// It would be the same again.
    Lasting,
}

/// The tries of one call so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    /// All of them.
    pub n: u32,
    /// Those that were refused for want of room.
    pub throttled: u32,
    /// Time waited between them.
    pub waited: Duration,
}

/// What follows a try that brought no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another try after this wait.
    TryAfter(Duration),
    /// None, because another would end alike.
    Hopeless,
    /// None: there were enough.
    Enough,
    /// None: the server asks to wait longer than is waited.
    AsksTooLong(Duration),
}

/// Share of a wait that a server asked for, by which at most it is stretched, so that not all callers return at once.
const STRETCH: f64 = 0.1;
/// Shortest stretch: of waits of a second or less too.
const STRETCH_LEAST: Duration = Duration::from_millis(250);

impl Tries {
    /// Counts a try that has just ended in this trouble and decides what follows it. `elapsed` is the time since the
    /// call began; `asked` is the wait the server asked for; `roll` is a random number in 0.0..1.0.
    pub fn next(
        &mut self,
        retries: &Retries,
        trouble: Trouble,
        asked: Option<Duration>,
        elapsed: Duration,
        roll: f64,
    ) -> Next {
        self.n += 1;
        let is_enough = match trouble {
            Trouble::Lasting => return Next::Hopeless,
            Trouble::Throttled => {
                self.throttled += 1;
                self.throttled >= retries.throttled_max
            }
            Trouble::Passing => self.n - self.throttled >= retries.tries_max,
        };
        if is_enough {
            return Next::Enough;
        }
        let wait = match asked {
            Some(asked) if asked > retries.asked_max => return Next::AsksTooLong(asked),
            Some(asked) => asked + asked.mul_f64(STRETCH).max(STRETCH_LEAST).mul_f64(roll),
            // Full jitter: anything between nothing and the bound, which spreads callers best.
            None => {
                let doubled = 2u32.saturating_pow(self.n - 1);
                let bound = retries.wait_first.saturating_mul(doubled).min(retries.wait_max);
                bound.mul_f64(roll)
            }
        };
        if self.waited + wait > retries.waited_max || elapsed + wait > retries.call_max {
            return Next::Enough;
        }
        self.waited += wait;
        Next::TryAfter(wait)
    }
}

/// The wait that a server asks for, from the values of its headers `retry-after-ms` and `retry-after`, which holds
/// seconds or a date.
pub fn asked_wait(
    milliseconds: Option<&str>,
    retry_after: Option<&str>,
    now: SystemTime,
) -> Option<Duration> {
    let number = |text: &str| {
        let number: f64 = text.trim().parse().ok()?;
        (number.is_finite() && number >= 0.0).then_some(number)
    };
    let precise = milliseconds
        .and_then(number)
        .and_then(|ms| Duration::try_from_secs_f64(ms / 1_000.0).ok());
    precise.or_else(|| {
        let text = retry_after?.trim();
        match number(text) {
            Some(seconds) => Duration::try_from_secs_f64(seconds).ok(),
            // A date that has passed asks for no wait.
            None => {
                let date = httpdate::parse_http_date(text).ok()?;
                Some(date.duration_since(now).unwrap_or_default())
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn waits(trouble: Trouble, asked: Option<Duration>, roll: f64) -> (Vec<Duration>, Next) {
        let mut tries = Tries::default();
        let mut waits = Vec::new();
        loop {
            match tries.next(&Retries::DEFAULT, trouble, asked, Duration::ZERO, roll) {
                Next::TryAfter(wait) => waits.push(wait),
                next => return (waits, next),
            }
        }
    }

    #[test]
    fn waits_double_up_to_a_bound_and_are_shortened_by_chance() {
        let (full, next) = waits(Trouble::Passing, None, 1.0);
        let seconds = [1, 2, 4, 8, 16, 32, 64, 120, 120, 120, 120];
        assert_eq!(full, seconds.map(Duration::from_secs));
        assert_eq!(next, Next::Enough);
        assert_eq!(waits(Trouble::Passing, None, 0.5).0[3], Duration::from_secs(4));
        assert_eq!(waits(Trouble::Passing, None, 0.0).0, [Duration::ZERO; 11]);
    }

    #[test]
    fn what_would_be_the_same_again_is_not_tried_again() {
        assert_eq!(
            waits(Trouble::Lasting, Some(SECOND), 0.5),
            (vec![], Next::Hopeless)
        );
    }

    #[test]
    fn server_without_room_is_asked_more_often_than_one_that_fails() {
        let (asked, next) = waits(Trouble::Throttled, Some(SECOND), 0.0);
        assert_eq!((asked, next), (vec![SECOND; 59], Next::Enough));
    }

    #[test]
    fn nobody_returns_earlier_than_asked_nor_all_at_once() {
        let minute = 60 * SECOND;
        assert_eq!(waits(Trouble::Throttled, Some(minute), 0.0).0[0], minute);
        assert_eq!(waits(Trouble::Throttled, Some(minute), 1.0).0[0], 66 * SECOND);
        assert_eq!(
            waits(Trouble::Throttled, Some(Duration::ZERO), 1.0).0[0],
            STRETCH_LEAST
        );
    }

    #[test]
    fn all_waiting_together_has_a_bound() {
        let (asked, next) = waits(Trouble::Throttled, Some(25 * 60 * SECOND), 0.0);
        assert_eq!((asked.len(), next), (2, Next::Enough));
    }

    #[test]
    fn server_that_asks_for_too_long_a_wait_is_given_up_at_once() {
        let day = 24 * 60 * 60 * SECOND;
        assert_eq!(
            waits(Trouble::Throttled, Some(day), 0.0),
            (vec![], Next::AsksTooLong(day))
        );
    }

    #[test]
    fn call_that_began_too_long_ago_is_not_tried_again() {
        let mut tries = Tries::default();
        let elapsed = Retries::DEFAULT.call_max;
        let next = tries.next(&Retries::DEFAULT, Trouble::Passing, None, elapsed, 1.0);
        assert_eq!(next, Next::Enough);
        assert_eq!(tries.n, 1);
    }

    #[test]
    fn asked_wait_is_read_in_every_form() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let asked = |ms, after| asked_wait(ms, after, now);
        assert_eq!(asked(None, Some("7")), Some(7 * SECOND));
        assert_eq!(asked(None, Some(" 1.5 ")), Some(Duration::from_millis(1_500)));
        assert_eq!(asked(Some("250"), Some("7")), Some(Duration::from_millis(250)));
        assert_eq!(asked(Some("soon"), Some("7")), Some(7 * SECOND));
        assert_eq!(
            asked(None, Some("Sun, 06 Nov 1994 08:50:37 GMT")),
            Some(60 * SECOND)
        );
        assert_eq!(
            asked(None, Some("Sun, 06 Nov 1994 08:00:00 GMT")),
            Some(Duration::ZERO)
        );
        for text in ["", "soon", "-1", "NaN", "1e400"] {
            assert_eq!(asked(None, Some(text)), None, "{text:?}");
        }
        assert_eq!(asked(None, None), None);
    }
}
