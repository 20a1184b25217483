//! The rules: what agrees, that cuts make no difference, and that time is linear and memory constant.
#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

mod fuzz;
mod work;

use std::cell::Cell;

use super::*;

thread_local! {
    /// Bytes that were looked at.
    pub(super) static STEPS: Cell<usize> = const { Cell::new(0) };
}

fn agrees(comparator: Comparator, expected: &[u8], actual: &[u8]) -> bool {
    let mut comparison = Comparison::new(comparator, expected).unwrap();
    comparison.feed(actual);
    comparison.finish()
}

fn table(comparator: &str, rows: &[(&str, &str, bool)]) {
    let comparator = comparator.parse().unwrap();
    for (expected, actual, agree) in rows {
        assert_eq!(
            agrees(comparator, expected.as_bytes(), actual.as_bytes()),
            *agree,
            "{comparator}: expected {expected:?}, actual {actual:?}"
        );
    }
}

#[test]
fn code_contests_folds_case_and_takes_numbers_within_1e_5() {
    table(
        "code-contests",
        &[
            ("YES\nno", "yes No\n", true),
            ("ä", "Ä", false),
            ("0.5", ".50000999", true),
            ("0", "0.00001", false),
            ("1e3", "1000", true),
            ("5", "5.0", true),
            ("1 2", "1 2 3", false),
            ("1 2", "1", false),
            ("", " \r\n\t\x0b", true),
            ("a b", "a\x0cb", false),
            ("a", "1", false),
        ],
    );
}

#[test]
fn two_integers_compare_exactly_under_code_contests() {
    let huge = "1".repeat(400);
    table(
        "code-contests",
        &[
            ("10000000000000001", "10000000000000002", false),
            ("10000000000000001", "10000000000000001.0", true),
            (&huge, &format!("{huge}1"), false),
            (&huge, &format!("+00{huge}"), true),
            ("7", "007", true),
            ("0", "-0", true),
            ("7", "-7", false),
        ],
    );
}

#[test]
fn infinity_and_nan_agree_only_with_the_same_text_under_code_contests() {
    table(
        "code-contests",
        &[
            ("nan", "NaN", true),
            ("nan", "-nan", false),
            ("inf", "INF", true),
            ("inf", "infinity", false),
            ("inf", "1e999", false),
            ("1e999", "2e999", false),
            ("inf", "1", false),
            ("nan", "1", false),
        ],
    );
}

#[test]
fn float_takes_either_tolerance_and_no_infinity() {
    table(
        "float:abs=1e-3,rel=1e-2",
        &[
            ("0", "0.001", true),
            ("0", "0.0011", false),
            ("1000", "1010", true),
            ("1000", "1010.1", false),
            ("-1000", "-990", true),
            ("inf", "1", false),
            ("1", "inf", false),
            ("inf", "Infinity", true),
            ("inf", "-inf", false),
            ("nan", "nan", true),
            ("nan", "NAN", false),
            ("Yes", "yes", false),
        ],
    );
    table(
        "float:abs=0,rel=0",
        &[("1", "1.0", true), ("1", "1.0000001", false)],
    );
}

#[test]
fn lines_drop_white_space_at_the_end_of_lines_and_empty_lines_at_the_end() {
    table(
        "lines",
        &[
            ("a\nb\n", "a  \r\nb\t\n\n \n", true),
            ("a\nb", "a\n\nb", false),
            ("a\n\nb", "a\n \nb", true),
            ("a b", "a  b", false),
            ("a b", " a b", false),
            ("a\tb", "a b", false),
            ("", "\n\n", true),
            ("a", "", false),
            ("a", "a\nb", false),
            ("a\nb", "a", false),
        ],
    );
}

#[test]
fn exact_is_byte_for_byte() {
    table(
        "exact",
        &[
            ("a\n", "a\n", true),
            ("a\n", "a", false),
            ("a", "a\n", false),
            ("", "", true),
        ],
    );
}

#[test]
fn a_lost_comparison_is_known_before_the_output_ends() {
    for (comparator, expected, chunk) in [
        ("exact", "ab", "aa"),
        ("unordered-lines", "ab", "abc"),
        ("lines", "ab\n", "ab c"),
        ("tokens", "ab", "ac"),
        ("code-contests", "ab", "ac"),
        ("code-contests", "1", "1 2"),
        ("float", "1", "2 "),
    ] {
        let mut comparison = Comparison::new(comparator.parse().unwrap(), expected.as_bytes()).unwrap();
        assert_eq!(comparison.feed(chunk.as_bytes()), Agreement::Lost, "{comparator}");
        assert_eq!(comparison.feed(b""), Agreement::Lost, "{comparator}");
        assert!(!comparison.finish(), "{comparator}");
    }
}

#[test]
fn token_is_a_number_only_in_plain_decimal_notation_of_ascii() {
    table(
        "code-contests",
        &[
            ("1000", "+1e3", true),
            ("1000", "1.E+3", true),
            ("-0.5", "-.5", true),
            ("0", "-.0e-7", true),
            ("16", "0x10", false),
            ("1000", "1_000", false),
            ("1000", "1,000", false),
            ("12", "\u{ff11}\u{ff12}", false),
            ("12", "1\x002", false),
            ("12", "12\0", false),
            ("1", "+-1", false),
            ("1", "--1", false),
            ("0", ".", false),
            ("0", "+", false),
            ("0", "e0", false),
            ("1", "1e", false),
            ("1", "1e+", false),
            ("1", "1.0.0", false),
            ("1", "1f", false),
            ("nan", "nan(1)", false),
            ("infi", "inf", false),
            // As theirs, which drops white space around a number, and a form feed ends no token.
            ("1", "1\x0c", true),
            ("\x0c1", "1.0", true),
            ("1", "1\x0c1", false),
            ("", "\x0c", false),
        ],
    );
    table(
        "float",
        &[
            ("1000", "+1e3", true),
            ("16", "0x10", false),
            ("1", "1\x0c", true),
            ("1", "1\x0c1", false),
            ("1", "Infinity", false),
        ],
    );
}

#[test]
fn numbers_of_any_length_are_read_to_their_last_digit() {
    let digits = "7".repeat(100_000);
    let zeros = "0".repeat(100_000);
    for (expected, actual, agree) in [
        (digits.clone(), format!("+{zeros}{digits}"), true),
        (format!("{digits}1"), format!("{digits}2"), false),
        (digits.clone(), format!("{digits}.0"), false),
        (digits.clone(), format!("-{digits}"), false),
        ("7".to_owned(), format!("{zeros}7"), true),
        ("0".to_owned(), format!("-{zeros}"), true),
        ("0.777777778".to_owned(), format!("0.{digits}"), true),
        (format!("0.{digits}1"), format!("0.{digits}2"), true),
        ("0".to_owned(), format!("0.{zeros}1"), true),
        ("1.5".to_owned(), format!("0.{zeros}15e100001"), true),
        ("1.5".to_owned(), format!("15{zeros}e-100001"), true),
        ("1.6".to_owned(), format!("15{zeros}e-100001"), false),
        ("1".to_owned(), format!("1e-{digits}"), false),
        ("0.000001".to_owned(), format!("1e-{digits}"), true),
    ] {
        let agrees = agrees(Comparator::CodeContests, expected.as_bytes(), actual.as_bytes());
        assert_eq!(
            agrees,
            agree,
            "expected {:.20}… of {} bytes, actual {:.20}… of {}",
            expected,
            expected.len(),
            actual,
            actual.len()
        );
    }
}

#[test]
fn number_that_is_cut_short_by_its_many_digits_is_the_nearest_one_all_the_same() {
    // The middle of two neighbours, and a hair above it: only the last digit tells which of them is nearer.
    let middle = format!("9007199254740993.{}", "0".repeat(5_000));
    let above = format!("{middle}1");
    table(
        "float:abs=0.5,rel=0",
        &[
            ("9007199254740992.0", &middle, true),
            ("9007199254740994.0", &middle, false),
            ("9007199254740992.0", &above, false),
            ("9007199254740994.0", &above, true),
        ],
    );
}

#[test]
fn unordered_lines_are_the_same_lines_each_as_often() {
    table(
        "unordered-lines",
        &[
            ("a\nb\nc\n", "c\na \r\nb\t", true),
            ("a\na\nb", "b\na\na", true),
            ("a\na\nb", "a\nb\nb", false),
            ("a\na", "b\nb", false),
            ("a\na", "", false),
            ("a", "a\na", false),
            ("ab\ncd", "cb\nad", false),
            ("ab\nc", "a\nbc", false),
            ("a b", "b a", false),
            ("a b", "a  b", false),
            (" a", "a", false),
            ("A", "a", false),
            ("1", "1.0", false),
            ("", "\n \r\n", true),
            ("", "a", false),
            ("a", "\n", false),
            ("a\n\nb", "\nb\na", true),
            ("a\n\nb", "b\na\n\n", false),
            ("a\n\n\nb", "a\n\nb\n\n", false),
            ("a\0b\nc", "c\na\0b", true),
        ],
    );
}

#[test]
fn unordered_lines_are_lost_at_a_line_or_a_byte_too_many() {
    for chunk in ["a\nb\nc", "a\n\nb", "abcd"] {
        let mut comparison = Comparison::new(Comparator::UnorderedLines, b"ab\nc").unwrap();
        assert_eq!(comparison.feed(b"a"), Agreement::Possible);
        assert_eq!(
            comparison.feed(&chunk.as_bytes()[1..]),
            Agreement::Lost,
            "{chunk:?}"
        );
        assert!(!comparison.finish());
    }
    let mut comparison = Comparison::new(Comparator::UnorderedLines, b"ab\nc").unwrap();
    assert_eq!(comparison.feed(b"c\nab \n\n\n  "), Agreement::Possible);
    assert!(comparison.finish());
}

#[test]
fn checker_is_no_rule() {
    let program = roundhouse_proto::Digest::of(b"");
    assert!(Comparison::new(Comparator::Checker { program }, b"").is_none());
}
