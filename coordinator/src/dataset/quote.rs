//! Text from a data set, made fit for a terminal: in errors, warnings and tables.
//!
//! Ids and field names come from files that anybody may have written, so control characters and those that
//! turn the direction of writing are shown as escapes, and long texts are cut. The data itself stays as it is.

use std::fmt::Write as _;

/// Characters of one quoted text; what is longer is cut and ends in `…`.
pub const QUOTED_CHARS_MAX: usize = 80;

/// `text` on one line without anything that could move a cursor or hide what stands beside it, cut to
/// `chars_max` characters.
pub fn plain(text: &str, chars_max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(chars_max.saturating_mul(4)));
    for (count, character) in text.chars().enumerate() {
        if count == chars_max {
            out.push('…');
            break;
        }
        if is_unsafe(character) {
            // Writing to a String cannot fail.
            let _ = write!(out, "{}", character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

/// [`plain`] of [`QUOTED_CHARS_MAX`] characters between backticks.
pub(crate) fn quoted(text: &str) -> String {
    format!("`{}`", plain(text, QUOTED_CHARS_MAX))
}

/// Control characters, and Unicode's marks that reorder or hide text (bidirectional controls, zero-width
/// characters, line separators, tags).
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_holds_no_control_character_and_keeps_every_other_one() {
        assert_eq!(plain("A. Café 中文?", 80), "A. Café 中文?");
        assert_eq!(
            plain("a\u{1b}[2J\nb\u{202e}c\u{7}", 80),
            "a\\u{1b}[2J\\nb\\u{202e}c\\u{7}"
        );
    }

    #[test]
    fn long_text_is_cut_at_the_bound() {
        assert_eq!(plain("abcd", 4), "abcd");
        assert_eq!(plain("abcde", 4), "abcd…");
        assert_eq!(quoted("x"), "`x`");
    }
}
