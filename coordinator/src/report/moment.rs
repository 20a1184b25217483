//! Moments as local text. The offset is stored with the moment, so the text is the same in every zone.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use roundhouse_core::clock::Stamp;

/// `2026-02-09 15:30:45`.
pub fn to_the_second(stamp: Stamp) -> String {
    local(stamp).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// `20260209_153045`, for names of directories.
pub fn for_a_name(stamp: Stamp) -> String {
    local(stamp).strftime("%Y%m%d_%H%M%S").to_string()
}

/// `2026-02-09T15:48:11.705519`; without a fraction on a whole second, as Python's `isoformat` has it.
pub fn iso(stamp: Stamp) -> String {
    let local = local(stamp);
    let second = local.strftime("%Y-%m-%dT%H:%M:%S");
    match local.subsec_nanosecond() / 1_000 {
        0 => second.to_string(),
        microseconds => format!("{second}.{microseconds:06}"),
    }
}

/// The moment so many milliseconds later.
pub(crate) fn later(stamp: Stamp, ms: u64) -> Stamp {
    let us = i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000);
    Stamp {
        unix_us: stamp.unix_us.saturating_add(us),
        ..stamp
    }
}

/// A moment that no calendar has reads as the beginning of 1970, an offset that no place has as UTC.
fn local(stamp: Stamp) -> DateTime {
    let moment = Timestamp::from_microsecond(stamp.unix_us).unwrap_or(Timestamp::UNIX_EPOCH);
    Offset::from_seconds(stamp.offset_s)
        .unwrap_or(Offset::UTC)
        .to_datetime(moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moment_is_printed_with_its_own_offset() {
        // 2026-02-09 07:30:45.000001 UTC.
        let utc = Stamp {
            unix_us: 1_770_622_245_000_001,
            offset_s: 0,
        };
        let shanghai = Stamp {
            offset_s: 8 * 3600,
            ..utc
        };
        assert_eq!(to_the_second(utc), "2026-02-09 07:30:45");
        assert_eq!(to_the_second(shanghai), "2026-02-09 15:30:45");
        assert_eq!(for_a_name(shanghai), "20260209_153045");
        assert_eq!(iso(shanghai), "2026-02-09T15:30:45.000001");
        let whole = Stamp {
            unix_us: 1_770_622_245_000_000,
            ..shanghai
        };
        assert_eq!(iso(whole), "2026-02-09T15:30:45");
        assert_eq!(iso(later(whole, 1_500)), "2026-02-09T15:30:46.500000");
    }

    #[test]
    fn moment_that_no_calendar_has_does_not_panic() {
        let never = Stamp {
            unix_us: i64::MAX,
            offset_s: i32::MAX,
        };
        assert_eq!(iso(never), "1970-01-01T00:00:00");
        assert_eq!(iso(later(never, u64::MAX)), "1970-01-01T00:00:00");
    }
}
