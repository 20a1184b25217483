//! Text from outside on one harmless line: names, paths and messages on a terminal and in REPORT.txt.

use crate::console::text::SEARCHED;

/// Most characters of a message on one line.
pub(crate) const MESSAGE_CHARS_MAX: usize = 300;

/// Most characters of a name or a path on one line; longer than any path the system takes.
pub(crate) const NAME_CHARS_MAX: usize = 4096;

/// What begins a line with a hint, with the end of the line before.
const HINT_BREAK: &str = "\nhint: ";

/// Most hints below one text.
const HINTS_MAX: usize = 4;

/// The text on one line: characters that steer a terminal or turn the direction of writing become spaces, and
/// what is longer than `chars_max` ends in `…`.
pub(crate) fn one_line(text: &str, chars_max: usize) -> String {
    let mut line = String::with_capacity(text.len().min(chars_max));
    for (place, c) in text.trim().chars().enumerate() {
        if place == chars_max {
            line.push('…');
            break;
        }
        line.push(if is_steering(c) { ' ' } else { c });
    }
    line
}

/// A text with the hints below it, each on a line of its own that is harmless as with [`one_line`]; every other line
/// break becomes a space. Only for texts of a coordinator, which puts nobody else's hints on lines of their own.
pub(crate) fn hinted_lines(text: &str, chars_max: usize) -> String {
    let mut parts = text.trim().split(HINT_BREAK);
    let mut lines = one_line(parts.next().unwrap_or_default(), chars_max);
    for hint in parts.take(HINTS_MAX) {
        lines.push_str(HINT_BREAK);
        lines.push_str(&one_line(hint, chars_max));
    }
    lines
}

/// As [`one_line`], and without the strings that readers of REPORT.txt search for.
pub(crate) fn report_line(text: &str, chars_max: usize) -> String {
    let mut line = one_line(text, chars_max);
    for (searched, harmless) in SEARCHED {
        line = line.replace(searched, harmless);
    }
    line
}

fn is_steering(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{061c}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_keeps_scripts_and_drops_what_steers_a_terminal() {
        assert_eq!(
            one_line("题 1\x1b[2J\r\nb\u{202e}c\u{9b}d\n", 100),
            "题 1 [2J  b c d"
        );
        assert_eq!(one_line("abcdef", 3), "abc…");
        assert_eq!(one_line("abc", 3), "abc");
    }

    #[test]
    fn hints_stay_on_lines_of_their_own_and_nothing_else_does() {
        assert_eq!(
            hinted_lines("no\x1b[2J\nway\nhint: `a\tb`\nhint: c\nd", 100),
            "no [2J way\nhint: `a b`\nhint: c d"
        );
        assert_eq!(hinted_lines("abcdef\nhint: ghijkl", 3), "abc…\nhint: ghi…");
        let many = format!("why{}", "\nhint: x".repeat(10));
        assert_eq!(hinted_lines(&many, 9).lines().count(), 1 + HINTS_MAX);
    }

    #[test]
    fn report_line_holds_no_searched_string() {
        assert_eq!(
            report_line("got Pass@1 and Pass@10 in 总耗时 or Total time", 100),
            "got Pass @1 and Pass @10 in 总 耗时 or Total  time"
        );
    }
}
