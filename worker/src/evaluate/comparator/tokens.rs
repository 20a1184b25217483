//! Comparison by white-space tokens: as bytes, by CodeContests' rule, or with a tolerance for numbers.

use super::{NUMBER_BYTES_MAX, is_space, number};

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

    /// Whether a token that is not the text `expected` can still agree with it.
    fn has_other_forms(self, expected: &[u8]) -> bool {
        match self {
            Self::Bytes => false,
            Self::CodeContests | Self::Float { .. } => {
                expected.len() <= NUMBER_BYTES_MAX && number::parse(expected).is_some()
            }
        }
    }

    /// Whether two tokens that differ as text agree as numbers.
    fn same_number(self, actual: &[u8], expected: &[u8]) -> bool {
        let numbers = || Some((number::parse(actual)?, number::parse(expected)?));
        match self {
            Self::Bytes => false,
            Self::CodeContests => number::same_integer(actual, expected).unwrap_or_else(|| {
                // The difference of infinities and that of NaN is NaN, which is not below anything.
                numbers().is_some_and(|(a, e)| (a - e).abs() < CODE_CONTESTS_PRECISION)
            }),
            Self::Float { abs, rel } => numbers().is_some_and(|(a, e)| {
                // An infinite expected number would give an infinite tolerance.
                let finite = a.is_finite() && e.is_finite();
                a == e || finite && ((a - e).abs() <= abs || (a - e).abs() <= rel * e.abs())
            }),
        }
    }
}

/// Between tokens, or in the middle of one.
#[derive(Debug)]
enum At<'e> {
    /// No token has begun.
    Gap,
    /// `seen` bytes of a token have come; `same` if they begin `expected`.
    Token {
        expected: &'e [u8],
        seen: usize,
        same: bool,
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
    /// The token that has begun, up to [`NUMBER_BYTES_MAX`] bytes of it.
    begun: Vec<u8>,
}

impl<'e> Tokens<'e> {
    pub(super) fn new(rule: TokenRule, expected: &'e [u8]) -> Self {
        Self {
            rule,
            rest: expected,
            at: At::Gap,
            begun: Vec::new(),
        }
    }

    /// Takes the next piece and says whether agreement is lost.
    pub(super) fn feed(&mut self, chunk: &[u8]) -> bool {
        for &byte in chunk {
            if matches!(self.at, At::Lost) {
                break;
            }
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
            At::Token { .. } | At::Lost => false,
        }
    }

    /// Takes one byte of a token.
    fn take(&mut self, byte: u8) {
        if matches!(self.at, At::Gap) {
            self.begun.clear();
            self.at = match self.next_expected() {
                Some(expected) => At::Token {
                    expected,
                    seen: 0,
                    same: true,
                },
                None => At::Lost,
            };
        }
        let At::Token { expected, seen, same } = &mut self.at else {
            return;
        };
        let still_same = *same && expected.get(*seen).is_some_and(|e| self.rule.same_byte(byte, *e));
        let parted = *same && !still_same;
        *same = still_same;
        *seen += 1;
        let keeps_number = *seen <= NUMBER_BYTES_MAX;
        if !still_same && (!keeps_number || parted && !self.rule.has_other_forms(expected)) {
            self.at = At::Lost;
        } else if keeps_number {
            self.begun.push(byte);
        }
    }

    fn end_token(&mut self) {
        if let At::Token { expected, seen, same } = self.at {
            let agrees = same && seen == expected.len()
                || seen <= NUMBER_BYTES_MAX
                    && self.rule.has_other_forms(expected)
                    && self.rule.same_number(&self.begun, expected);
            self.at = if agrees { At::Gap } else { At::Lost };
        }
    }

    fn next_expected(&mut self) -> Option<&'e [u8]> {
        let start = self.rest.iter().position(|byte| !self.rule.separates(*byte))?;
        let from = &self.rest[start..];
        let end = from
            .iter()
            .position(|byte| self.rule.separates(*byte))
            .unwrap_or(from.len());
        let (token, rest) = from.split_at(end);
        self.rest = rest;
        Some(token)
    }
}
