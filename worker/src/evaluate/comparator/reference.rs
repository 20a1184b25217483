//! The rules once more, written plainly over whole texts: what the streaming ones are tested against.

use std::cmp::Ordering;

use roundhouse_proto::Comparator;

/// Whether the texts agree. Not for checkers, which are no rule.
pub(super) fn agree(comparator: Comparator, expected: &[u8], actual: &[u8]) -> bool {
    match comparator {
        Comparator::Exact => actual == expected,
        Comparator::Lines => lines(actual) == lines(expected),
        Comparator::UnorderedLines => sorted(lines(actual)) == sorted(lines(expected)),
        Comparator::Tokens => tokens(actual, " \n\t\r\x0b\x0c") == tokens(expected, " \n\t\r\x0b\x0c"),
        Comparator::CodeContests => all(
            &tokens(&actual.to_ascii_lowercase(), " \n\t\r\x0b"),
            &tokens(&expected.to_ascii_lowercase(), " \n\t\r\x0b"),
            |a, e| {
                let (a, e) = (a.trim_matches('\x0c'), e.trim_matches('\x0c'));
                match (integer(a), integer(e), a.parse::<f64>(), e.parse::<f64>()) {
                    (Some(a), Some(e), _, _) => a == e,
                    (_, _, Ok(a), Ok(e)) => (a - e).abs() < 1e-5,
                    _ => false,
                }
            },
        ),
        Comparator::Float { abs, rel } => all(
            &tokens(actual, " \n\t\r\x0b\x0c"),
            &tokens(expected, " \n\t\r\x0b\x0c"),
            |a, e| match (a.parse::<f64>(), e.parse::<f64>()) {
                (Ok(a), Ok(e)) if a.is_infinite() || e.is_infinite() => a == e,
                (Ok(a), Ok(e)) => (a - e).abs() <= abs.max(rel * e.abs()),
                _ => false,
            },
        ),
        Comparator::Checker { .. } => unreachable!("a checker is no rule"),
    }
}

fn all(actual: &[String], expected: &[String], agree: impl Fn(&str, &str) -> bool) -> bool {
    actual.len() == expected.len() && actual.iter().zip(expected).all(|(a, e)| a == e || agree(a, e))
}

/// Bytes that are not UTF-8 stay apart, one character each, as if the text were Latin-1.
fn text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn tokens(bytes: &[u8], separators: &str) -> Vec<String> {
    text(bytes)
        .split(|letter| separators.contains(letter))
        .filter(|token| !token.is_empty())
        .map(str::to_owned)
        .collect()
}

/// An integer, as its sign and the text of its digits.
fn integer(token: &str) -> Option<(Ordering, &str)> {
    let digits = token.strip_prefix(['+', '-']).unwrap_or(token);
    if digits.is_empty() || digits.contains(|letter: char| !letter.is_ascii_digit()) {
        return None;
    }
    let sign = match (digits.trim_matches('0').is_empty(), token.starts_with('-')) {
        (true, _) => Ordering::Equal,
        (false, true) => Ordering::Less,
        (false, false) => Ordering::Greater,
    };
    Some((sign, digits.trim_start_matches('0')))
}

/// The lines, of an empty text one empty line.
fn lines(bytes: &[u8]) -> Vec<String> {
    let space = [' ', '\n', '\t', '\r', '\x0b', '\x0c'];
    text(bytes)
        .trim_end_matches(space)
        .split('\n')
        .map(|line| line.trim_end_matches(space).to_owned())
        .collect()
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}
