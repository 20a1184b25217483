//! Fenced blocks of Markdown: finding their ends in a reply, and writing them around any text.
//!
//! Used by the extraction of programs and of cases, which must agree on what a fence is.

/// Fewest backticks or tildes of a fence.
const MARKS_MIN: usize = 3;

/// The line that opens a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fence {
    mark: char,
    marks: usize,
    /// White space before it, in characters.
    indent: usize,
    /// The first word after it, in lower case; empty when there is none.
    pub(crate) tag: String,
}

impl Fence {
    /// The fence that `line` opens, if it opens one.
    pub(crate) fn opened_by(line: &str) -> Option<Self> {
        let text = line.trim_start();
        let mark = text.chars().next().filter(|mark| matches!(mark, '`' | '~'))?;
        let info = text.trim_start_matches(mark);
        let marks = text.len() - info.len();
        if marks < MARKS_MIN || info.contains('`') {
            return None;
        }
        Some(Self {
            mark,
            marks,
            indent: line.chars().count() - text.chars().count(),
            tag: info.split_whitespace().next().unwrap_or("").to_lowercase(),
        })
    }

    /// The fence at the end of a line that begins with prose, such as "Here it is: ```python".
    pub(crate) fn opened_at_end_of(line: &str) -> Option<Self> {
        let (prose, info) = line.rsplit_once("```")?;
        let tag = info.trim();
        if prose.contains('`') || tag.is_empty() || !tag.chars().all(char::is_alphanumeric) {
            return None;
        }
        Some(Self {
            mark: '`',
            marks: MARKS_MIN,
            indent: 0,
            tag: tag.to_lowercase(),
        })
    }

    /// Whether `line` ends the block.
    pub(crate) fn is_closed_by(&self, line: &str) -> bool {
        let text = line.trim();
        text.chars().all(|mark| mark == self.mark) && text.len() >= self.marks
    }

    /// A line of the block without the white space that the whole block is indented by.
    pub(crate) fn dedent<'a>(&self, line: &'a str) -> &'a str {
        let blanks = line
            .char_indices()
            .take(self.indent)
            .take_while(|(_, blank)| blank.is_whitespace())
            .last();
        blanks.map_or(line, |(at, blank)| &line[at + blank.len_utf8()..])
    }
}

/// `text` in a block whose fence is longer than any run of backticks inside.
pub(crate) fn block(tag: &str, text: &str) -> String {
    let longest = text
        .split(|mark| mark != '`')
        .map(str::len)
        .max()
        .unwrap_or_default();
    let fence = "`".repeat(MARKS_MIN.max(longest + 1));
    let newline = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    format!("{fence}{tag}\n{text}{newline}{fence}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fence_of_a_written_block_is_longer_than_every_one_inside() {
        assert_eq!(block("", "a"), "```\na\n```");
        assert_eq!(block("python", ""), "```python\n```");
        assert_eq!(block("", "```\nx````y\n"), "`````\n```\nx````y\n`````");
    }

    #[test]
    fn fence_is_closed_by_as_many_marks_of_its_own_kind() {
        let fence = Fence::opened_by("  ````Python title=x").expect("a fence");
        assert_eq!((fence.tag.as_str(), fence.indent), ("python", 2));
        assert!(!fence.is_closed_by("```"));
        assert!(!fence.is_closed_by("~~~~"));
        assert!(!fence.is_closed_by("````x"));
        assert!(!fence.is_closed_by(""));
        assert!(fence.is_closed_by(" ````` "));
        assert_eq!(fence.dedent("   x"), " x");
        assert_eq!(fence.dedent("x"), "x");
    }

    #[test]
    fn inline_code_opens_no_block() {
        assert_eq!(Fence::opened_by("``x``"), None);
        assert_eq!(Fence::opened_by("```x``` is code"), None);
        assert_eq!(Fence::opened_at_end_of("use ```x``` here"), None);
        assert_eq!(
            Fence::opened_at_end_of("Sure: ```python").map(|fence| fence.tag),
            Some("python".to_owned())
        );
    }
}
