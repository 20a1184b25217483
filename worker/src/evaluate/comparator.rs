//! Whether an output agrees with the expected one, decided while the output streams by.
//!
//! Stands between a cage's standard output and the verdict. Time is linear in the output; memory is constant:
//! the expected output is borrowed, and of the actual one at most [`NUMBER_BYTES_MAX`] bytes are kept, those of
//! the token that has just begun. Knows nothing of limits, exit states or verdicts.

mod lines;
mod number;
#[cfg(test)]
mod reference;
mod tokens;

use roundhouse_proto::Comparator;

use lines::Lines;
use tokens::{TokenRule, Tokens};

/// Longest token that is read as a number; longer ones agree only as text.
const NUMBER_BYTES_MAX: usize = 4096;

/// What can still come of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agreement {
    /// The right rest makes the whole output agree.
    Possible,
    /// Whatever follows, the output does not agree.
    Lost,
}

/// One actual output against one expected output.
#[derive(Debug)]
pub(crate) struct Comparison<'e> {
    rule: Rule<'e>,
}

#[derive(Debug)]
enum Rule<'e> {
    Tokens(Tokens<'e>),
    Lines(Lines<'e>),
    Exact { rest: &'e [u8], lost: bool },
}

impl<'e> Comparison<'e> {
    /// Starts with nothing of the output seen.
    pub(crate) fn new(comparator: Comparator, expected: &'e [u8]) -> Self {
        let rule = match comparator {
            Comparator::CodeContests => Rule::Tokens(Tokens::new(TokenRule::CodeContests, expected)),
            Comparator::Tokens => Rule::Tokens(Tokens::new(TokenRule::Bytes, expected)),
            Comparator::Float { abs, rel } => {
                Rule::Tokens(Tokens::new(TokenRule::Float { abs, rel }, expected))
            }
            Comparator::Lines | Comparator::UnorderedLines | Comparator::Checker { .. } => {
                Rule::Lines(Lines::new(expected))
            }
            Comparator::Exact => Rule::Exact {
                rest: expected,
                lost: false,
            },
        };
        Self { rule }
    }

    /// Takes the next piece of the output, cut anywhere.
    pub(crate) fn feed(&mut self, chunk: &[u8]) -> Agreement {
        let lost = match &mut self.rule {
            Rule::Tokens(tokens) => tokens.feed(chunk),
            Rule::Lines(lines) => lines.feed(chunk),
            Rule::Exact { rest, lost } => {
                match rest.strip_prefix(chunk) {
                    Some(after) if !*lost => *rest = after,
                    Some(_) | None => *lost = true,
                }
                *lost
            }
        };
        if lost {
            Agreement::Lost
        } else {
            Agreement::Possible
        }
    }

    /// Whether the whole output, now at its end, agrees.
    pub(crate) fn finish(self) -> bool {
        match self.rule {
            Rule::Tokens(tokens) => tokens.finish(),
            Rule::Lines(lines) => lines.finish(),
            Rule::Exact { rest, lost } => !lost && rest.is_empty(),
        }
    }
}

/// White space as C and Python know it in ASCII.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use proptest::prelude::*;

    use super::reference;
    use super::*;

    fn agrees(comparator: Comparator, expected: &[u8], actual: &[u8]) -> bool {
        let mut comparison = Comparison::new(comparator, expected);
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
            ("lines", "ab\n", "ab c"),
            ("tokens", "ab", "ac"),
            ("code-contests", "ab", "ac"),
            ("code-contests", "1", "1 2"),
            ("float", "1", "2 "),
        ] {
            let mut comparison = Comparison::new(comparator.parse().unwrap(), expected.as_bytes());
            assert_eq!(comparison.feed(chunk.as_bytes()), Agreement::Lost, "{comparator}");
            assert_eq!(comparison.feed(b""), Agreement::Lost, "{comparator}");
            assert!(!comparison.finish(), "{comparator}");
        }
    }

    #[test]
    fn a_token_without_end_is_lost_at_the_longest_number() {
        let mut comparison = Comparison::new(Comparator::CodeContests, b"15");
        assert_eq!(comparison.feed(&[b'1'; NUMBER_BYTES_MAX]), Agreement::Possible);
        assert_eq!(comparison.feed(b"1"), Agreement::Lost);
    }

    /// Texts of few letters, so that agreement is common.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop::sample::select(vec![
            "a",
            "A",
            "b",
            "1",
            "2",
            "0",
            "+",
            "-",
            ".",
            "e",
            "1.00001",
            "1.0000001",
            "10000001",
            "inf",
            "nan",
            " ",
            "  ",
            "\n",
            "\n",
            "\r\n",
            "\t",
            "\x0b",
            "\x0c",
            "\u{e9}",
            "00",
            "1e2",
        ]);
        prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat().into_bytes())
    }

    /// A text, and another one that is nearly it.
    fn pair() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        let noise = prop::sample::select(vec!["", " ", "\n", "\r", "0", "a", "\x0c", "\n\n"]);
        (text(), text(), noise, any::<prop::sample::Index>(), 0..4_u8).prop_map(
            |(first, other, noise, at, kind)| {
                let mut second = first.clone();
                match kind {
                    0 => second = other,
                    1 => second.make_ascii_uppercase(),
                    _ => {
                        let at = at.index(second.len() + 1);
                        second.splice(at..at, noise.bytes());
                    }
                }
                (first, second)
            },
        )
    }

    fn comparator() -> impl Strategy<Value = Comparator> {
        prop::sample::select(vec![
            Comparator::CodeContests,
            Comparator::Tokens,
            Comparator::Lines,
            Comparator::Exact,
            Comparator::Float { abs: 1e-6, rel: 1e-6 },
            Comparator::Float { abs: 0.0, rel: 0.5 },
        ])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn streaming_agrees_with_the_plain_reference_however_the_output_is_cut(
            comparator in comparator(),
            (expected, actual) in pair(),
            cuts in prop::collection::vec(0..5_usize, 0..12),
        ) {
            let mut comparison = Comparison::new(comparator, &expected);
            let mut rest = actual.as_slice();
            let mut lost = false;
            for cut in cuts {
                let (chunk, after) = rest.split_at(cut.min(rest.len()));
                lost |= comparison.feed(chunk) == Agreement::Lost;
                rest = after;
            }
            lost |= comparison.feed(rest) == Agreement::Lost;
            let agree = comparison.finish();
            prop_assert_eq!(agree, reference::agree(comparator, &expected, &actual));
            prop_assert!(!(agree && lost), "agreement was given up too early");
        }

        #[test]
        fn every_text_agrees_with_itself(comparator in comparator(), text in text()) {
            prop_assert!(agrees(comparator, &text, &text));
        }
    }
}
