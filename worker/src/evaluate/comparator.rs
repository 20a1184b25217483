//! Whether an output agrees with the expected one, decided while the output streams by.
//!
//! Stands between a cage's standard output and the verdict. Time is linear in the output and the expected one; memory
//! is constant: the expected output is borrowed, and of the actual one at most the digits of one number are kept. Knows
//! nothing of limits, exit states or verdicts, nor of checkers, which are programs (see [`checker`](super::checker)).

mod lines;
mod number;
#[cfg(test)]
mod reference;
mod tokens;
mod unordered;

use roundhouse_proto::Comparator;

use lines::Lines;
use tokens::{TokenRule, Tokens};
use unordered::Unordered;

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
    Unordered(Box<Unordered>),
    Exact { rest: &'e [u8], lost: bool },
}

impl<'e> Comparison<'e> {
    /// Starts with nothing of the output seen; none where it is not a rule that decides but a checker.
    pub(crate) fn new(comparator: Comparator, expected: &'e [u8]) -> Option<Self> {
        let tokens = |rule| Rule::Tokens(Tokens::new(rule, expected));
        let rule = match comparator {
            Comparator::CodeContests => tokens(TokenRule::CodeContests),
            Comparator::Tokens => tokens(TokenRule::Bytes),
            Comparator::Float { abs, rel } => tokens(TokenRule::Float { abs, rel }),
            Comparator::Lines => Rule::Lines(Lines::new(expected)),
            Comparator::UnorderedLines => Rule::Unordered(Box::new(Unordered::new(expected))),
            Comparator::Exact => Rule::Exact {
                rest: expected,
                lost: false,
            },
            Comparator::Checker { .. } => return None,
        };
        Some(Self { rule })
    }

    /// Takes the next piece of the output, cut anywhere.
    pub(crate) fn feed(&mut self, chunk: &[u8]) -> Agreement {
        let lost = match &mut self.rule {
            Rule::Tokens(tokens) => tokens.feed(chunk),
            Rule::Lines(lines) => lines.feed(chunk),
            Rule::Unordered(lines) => lines.feed(chunk),
            Rule::Exact { rest, lost } => {
                step(chunk.len());
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

    /// Bytes of the output that are held beside the value itself.
    #[cfg(test)]
    fn held_bytes(&self) -> usize {
        match &self.rule {
            Rule::Tokens(tokens) => tokens.held_bytes(),
            Rule::Lines(_) | Rule::Exact { .. } => 0,
            Rule::Unordered(_) => size_of::<Unordered>(),
        }
    }

    /// Whether the whole output, now at its end, agrees.
    pub(crate) fn finish(self) -> bool {
        match self.rule {
            Rule::Tokens(tokens) => tokens.finish(),
            Rule::Lines(lines) => lines.finish(),
            Rule::Unordered(lines) => lines.finish(),
            Rule::Exact { rest, lost } => !lost && rest.is_empty(),
        }
    }
}

/// Counts the bytes that are looked at, so that tests can see that their number is linear; elsewhere it does nothing.
#[cfg(test)]
fn step(bytes: usize) {
    tests::STEPS.with(|steps| steps.set(steps.get() + bytes));
}

/// See above.
#[cfg(not(test))]
fn step(_bytes: usize) {}

/// White space as C and Python know it in ASCII.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

#[cfg(test)]
mod tests;
