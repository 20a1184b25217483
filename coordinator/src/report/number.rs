//! How numbers are printed: seconds, shares, thousands. No unit and no word around them; those are in the texts.

/// Centiseconds as seconds with two decimals: `900.45`.
pub(crate) fn seconds(centiseconds: u64) -> String {
    format!("{}.{:02}", centiseconds / 100, centiseconds % 100)
}

/// Centiseconds as a number of seconds.
pub(crate) fn seconds_value(centiseconds: u64) -> f64 {
    centiseconds as f64 / 100.0
}

/// Seconds over `n` problems with two decimals; `0.00` for none.
pub(crate) fn seconds_per(centiseconds: u64, n: usize) -> String {
    format!("{:.2}", ratio(seconds_value(centiseconds), n as f64))
}

/// A part of a whole in percent; 0 when the whole is.
pub(crate) fn percent(part: f64, whole: f64) -> f64 {
    ratio(part * 100.0, whole)
}

/// A quotient that is 0 when the divisor is.
pub(crate) fn ratio(dividend: f64, divisor: f64) -> f64 {
    if divisor == 0.0 { 0.0 } else { dividend / divisor }
}

/// Groups of three digits: `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// The share of cases that passed in whole percent, without the sign. Less than all of them is never `100`.
pub(crate) fn accuracy(share: f64, passed: Passed) -> String {
    let shown = format!("{:.0}", share.clamp(0.0, 1.0) * 100.0);
    match passed {
        Passed::Yes => shown,
        Passed::No if shown == "100" => "99".to_owned(),
        Passed::No => shown,
    }
}

/// Whether a problem passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// Every case.
    Yes,
    /// Not every case.
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_two_decimals_and_never_divide_by_zero() {
        assert_eq!(
            [0, 5, 90_045, 104_577].map(seconds),
            ["0.00", "0.05", "900.45", "1045.77"]
        );
        assert_eq!(seconds_per(90_045, 100), "9.00");
        assert_eq!(seconds_per(90_045, 0), "0.00");
    }

    #[test]
    fn thousands_are_grouped_from_the_right() {
        assert_eq!(
            [0, 7, 999, 1_000, 12_345, 1_234_567, u64::MAX].map(thousands),
            [
                "0",
                "7",
                "999",
                "1,000",
                "12,345",
                "1,234,567",
                "18,446,744,073,709,551,615"
            ]
        );
    }

    #[test]
    fn accuracy_of_a_failed_problem_never_reads_100() {
        assert_eq!(accuracy(199.0 / 200.0, Passed::No), "99");
        assert_eq!(accuracy(999.0 / 1000.0, Passed::No), "99");
        assert_eq!(accuracy(1.0, Passed::No), "99");
        assert_eq!(accuracy(1.0, Passed::Yes), "100");
        assert_eq!(accuracy(0.5, Passed::No), "50");
        assert_eq!(
            accuracy(0.125, Passed::No),
            "12",
            "half to even, as Python rounds"
        );
    }
}
