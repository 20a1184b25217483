//! The rules once more, written plainly over whole texts: what the streaming ones are tested against.

use roundhouse_proto::Comparator;

pub(super) fn agree(comparator: Comparator, expected: &[u8], actual: &[u8]) -> bool {
    match comparator {
        Comparator::Exact => actual == expected,
        Comparator::Lines | Comparator::UnorderedLines | Comparator::Checker { .. } => {
            lines(actual) == lines(expected)
        }
        Comparator::Tokens => tokens(actual, " \n\t\r\x0b\x0c") == tokens(expected, " \n\t\r\x0b\x0c"),
        Comparator::CodeContests => all(
            &tokens(&actual.to_ascii_lowercase(), " \n\t\r\x0b"),
            &tokens(&expected.to_ascii_lowercase(), " \n\t\r\x0b"),
            |a, e| {
                if let (Ok(a), Ok(e)) = (a.parse::<i128>(), e.parse::<i128>()) {
                    return a == e;
                }
                match (a.parse::<f64>(), e.parse::<f64>()) {
                    (Ok(a), Ok(e)) => (a - e).abs() < 1e-5,
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
    }
}

fn all(actual: &[String], expected: &[String], agree: impl Fn(&str, &str) -> bool) -> bool {
    actual.len() == expected.len() && actual.iter().zip(expected).all(|(a, e)| a == e || agree(a, e))
}

fn tokens(text: &[u8], separators: &str) -> Vec<String> {
    String::from_utf8_lossy(text)
        .split(|letter| separators.contains(letter))
        .filter(|token| !token.is_empty())
        .map(str::to_owned)
        .collect()
}

fn lines(text: &[u8]) -> Vec<String> {
    let space = [' ', '\n', '\t', '\r', '\x0b', '\x0c'];
    let text = String::from_utf8_lossy(text);
    text.trim_end_matches(space)
        .split('\n')
        .map(|line| line.trim_end_matches(space).to_owned())
        .collect()
}
