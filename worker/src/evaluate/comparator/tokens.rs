//! Comparison by white-space tokens: as bytes, by CodeContests' rule, or with a tolerance for numbers.
//!
//! CodeContests' rule is that of google-deepmind/code_contests, `execution/tester_sandboxer.cc`, `OutputsMatch`: tokens
//! between any of " \n\t\r\v", letters of ASCII folded, the same text or numbers less than 1e-5 apart. Ours differs
//! from it in two ways, both on purpose:
//! - two integers of any length agree only if they are the same one; theirs compares them as `double`;
//! - a token that is the same text always agrees; theirs refuses `inf`, `nan` and what is too large for a `double` as
//!   soon as any other token of the output is another text.

use super::number::{Expected, Number};
use super::{is_space, step};

/// Numbers nearer than this are the same to CodeContests.
/// Source: google-deepmind/code_contests, `execution/tester_sandboxer.cc`, `ValuesMatch`.
const CODE_CONTESTS_PRECISION: f64 = 1e-5;

/// When two tokens agree.
#[derive(Clone, Copy, Debug)]
pub(super) enum TokenRule {
    /// Byte for byte.
    Bytes,
    /// DeepMind's rule, but two integers compare exactly.
    CodeContests,
    /// Byte for byte, or numbers within one of the tolerances.
    Float { abs: f64, rel: f64 },
}

impl TokenRule {
    fn separates(self, byte: u8) -> bool {
        match self {
            // Theirs splits at " \n\t\r\v": a form feed is part of a token.
            Self::CodeContests => is_space(byte) && byte != 0x0c,
            Self::Bytes | Self::Float { .. } => is_space(byte),
        }
    }

    fn same_byte(self, a: u8, b: u8) -> bool {
        match self {
            Self::CodeContests => a.eq_ignore_ascii_case(&b),
            Self::Bytes | Self::Float { .. } => a == b,
        }
    }

    /// The expected token as a number, where numbers need not be the same text.
    fn number(self, expected: &[u8]) -> Option<Expected<'_>> {
        match self {
            Self::Bytes => None,
            Self::CodeContests | Self::Float { .. } => Expected::read(expected),
        }
    }

    /// Whether two tokens that differ as text agree as numbers.
    fn same_number(self, actual: &Number<'_>, expected: Expected<'_>) -> bool {
        let Some(a) = actual.value() else {
            return false;
        };
        let e = expected.value;
        match self {
            Self::Bytes => false,
            Self::CodeContests => match (actual.is_beside(), expected.integer) {
                (Some(same), Some(_)) => same,
                // The difference of infinities and that of NaN is NaN, which is not below anything.
                (_, _) => (a - e).abs() < CODE_CONTESTS_PRECISION,
            },
            Self::Float { abs, rel } => {
                // An infinite expected number would give an infinite tolerance.
                let finite = a.is_finite() && e.is_finite();
                a == e || finite && ((a - e).abs() <= abs || (a - e).abs() <= rel * e.abs())
            }
        }
    }
}

/// Between tokens, or in the middle of one.
#[derive(Debug)]
enum At<'e> {
    /// No token has begun.
    Gap,
    /// The first `seen` bytes of `expected` have come.
    Same { expected: &'e [u8], seen: usize },
    /// What has come is another text, and may be the same number.
    Other {
        expected: Expected<'e>,
        actual: Number<'e>,
    },
    /// The output cannot agree any more.
    Lost,
}

#[derive(Debug)]
pub(super) struct Tokens<'e> {
    rule: TokenRule,
    /// Expected output after the token that is being compared.
    rest: &'e [u8],
    at: At<'e>,
}

impl<'e> Tokens<'e> {
    pub(super) fn new(rule: TokenRule, expected: &'e [u8]) -> Self {
        Self {
            rule,
            rest: expected,
            at: At::Gap,
        }
    }

    /// Takes the next piece and says whether agreement is lost.
    pub(super) fn feed(&mut self, chunk: &[u8]) -> bool {
        for &byte in chunk {
            if matches!(self.at, At::Lost) {
                break;
            }
            step(1);
            if self.rule.separates(byte) {
                self.end_token();
            } else {
                self.take(byte);
            }
        }
        matches!(self.at, At::Lost)
    }

    pub(super) fn finish(mut self) -> bool {
        self.end_token();
        match self.at {
            At::Gap => self.next_expected().is_none(),
            At::Same { .. } | At::Other { .. } | At::Lost => false,
        }
    }

    /// Bytes that are held beside the value itself.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        match &self.at {
            At::Other { actual, .. } => actual.held_bytes(),
            At::Gap | At::Same { .. } | At::Lost => 0,
        }
    }

    /// Takes one byte of a token.
    fn take(&mut self, byte: u8) {
        if matches!(self.at, At::Gap) {
            self.at = match self.next_expected() {
                Some(expected) => At::Same { expected, seen: 0 },
                None => At::Lost,
            };
        }
        match &mut self.at {
            At::Same { expected, seen }
                if expected.get(*seen).is_some_and(|e| self.rule.same_byte(byte, *e)) =>
            {
                *seen += 1;
            }
            At::Same { expected, seen } => {
                self.at = match other(self.rule, expected, *seen, &[byte]) {
                    Some((expected, actual)) => At::Other { expected, actual },
                    None => At::Lost,
                };
            }
            At::Other { actual, .. } => {
                if !actual.push(byte) {
                    self.at = At::Lost;
                }
            }
            At::Gap | At::Lost => {}
        }
    }

    fn end_token(&mut self) {
        let agrees = match &self.at {
            At::Gap | At::Lost => return,
            At::Same { expected, seen } if *seen == expected.len() => true,
            At::Same { expected, seen } => other(self.rule, expected, *seen, &[])
                .is_some_and(|(expected, actual)| self.rule.same_number(&actual, expected)),
            At::Other { expected, actual } => self.rule.same_number(actual, *expected),
        };
        self.at = if agrees { At::Gap } else { At::Lost };
    }

    fn next_expected(&mut self) -> Option<&'e [u8]> {
        let start = self.rest.iter().position(|byte| !self.rule.separates(*byte));
        let from = &self.rest[start.unwrap_or(self.rest.len())..];
        let end = from
            .iter()
            .position(|byte| self.rule.separates(*byte))
            .unwrap_or(from.len());
        let (token, rest) = from.split_at(end);
        step(self.rest.len() - rest.len());
        self.rest = rest;
        start.map(|_| token)
    }
}

/// The expected token as a number, and one that has read its first `seen` bytes and then `next`; none if that cannot
/// become the same number.
///
/// Read only now, and at most once for a token: as long as two texts are the same, neither is looked at as a number.
fn other<'e>(
    rule: TokenRule,
    expected: &'e [u8],
    seen: usize,
    next: &[u8],
) -> Option<(Expected<'e>, Number<'e>)> {
    let number = rule.number(expected)?;
    let mut actual = Number::new(number.integer.unwrap_or_default());
    (actual.read(&expected[..seen]) && actual.read(next)).then_some((number, actual))
}
