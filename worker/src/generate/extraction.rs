//! Takes the program out of a coder's reply.
//!
//! What a program is, is decided by fences and by the look of a line, never by running or parsing it.

use roundhouse_proto::{FinishReason, Language};

use crate::generate::fence::Fence;
use crate::generate::python;

const THINK: &str = "<think>";
const THINK_END: &str = "</think>";

/// A reply, its reasoning apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The reply without reasoning; empty when the reasoning never ended.
    pub text: String,
    /// What stood in `<think>` tags.
    pub reasoning: Option<String>,
}

/// Splits `<think>…</think>` off a reply. Reasoning that never ends leaves no answer.
///
/// A tag counts at the beginning of a line only, so that a program may hold one in a string. Some servers leave
/// out the first opening tag: what stands before a lone closing one is reasoning too.
pub fn without_thinking(reply: &str) -> Answer {
    let mut text = String::new();
    let mut reasoning = Vec::new();
    let mut rest = reply;
    if let Some(end) = tag_at_line_start(rest, THINK_END)
        && tag_at_line_start(rest, THINK).is_none_or(|start| end < start)
    {
        reasoning.push(rest[..end].trim());
        rest = &rest[end + THINK_END.len()..];
    }
    while let Some(start) = tag_at_line_start(rest, THINK) {
        let inside = &rest[start + THINK.len()..];
        let Some(end) = inside.find(THINK_END) else {
            reasoning.push(inside.trim());
            text.clear();
            rest = "";
            break;
        };
        text.push_str(&rest[..start]);
        reasoning.push(inside[..end].trim());
        rest = &inside[end + THINK_END.len()..];
    }
    if reasoning.is_empty() {
        return Answer {
            text: reply.to_owned(),
            reasoning: None,
        };
    }
    text.push_str(rest);
    Answer {
        text: text.trim().to_owned(),
        reasoning: Some(reasoning.join("\n\n")),
    }
}

fn tag_at_line_start(text: &str, tag: &str) -> Option<usize> {
    text.match_indices(tag).map(|(at, _)| at).find(|at| {
        let line = text[..*at].rsplit('\n').next().unwrap_or("");
        line.trim().is_empty()
    })
}

/// The program in a reply, ending in one newline: the last complete block tagged with the language, else the last
/// complete untagged one, else, in a reply without any fence that was not cut off, everything from the first line
/// that starts a statement.
pub fn program(reply: &str, language: Language, finish: FinishReason) -> Option<String> {
    let answer = without_thinking(reply).text.replace("\r\n", "\n");
    let blocks = Blocks::of(&answer, language);
    let code = match (blocks.tagged, blocks.untagged) {
        (Some(code), _) | (None, Some(code)) => Some(code),
        (None, None) if blocks.any_fence || finish == FinishReason::Length => None,
        (None, None) => unfenced(&answer),
    }?;
    Some(format!("{}\n", code.trim_start_matches('\n').trim_end()))
}

fn is_tag_of(tag: &str, language: Language) -> bool {
    match language {
        Language::Python3 => matches!(tag, "python" | "python3" | "py" | "py3"),
    }
}

/// The last complete blocks of a reply that are not blank.
#[derive(Default)]
struct Blocks {
    tagged: Option<String>,
    untagged: Option<String>,
    any_fence: bool,
}

impl Blocks {
    fn of(answer: &str, language: Language) -> Self {
        let mut blocks = Self::default();
        let mut open: Option<(Fence, String)> = None;
        for line in answer.split('\n') {
            match &mut open {
                None => {
                    let fence = Fence::opened_by(line).or_else(|| {
                        Fence::opened_at_end_of(line).filter(|fence| is_tag_of(&fence.tag, language))
                    });
                    blocks.any_fence |= fence.is_some();
                    open = fence.map(|fence| (fence, String::new()));
                }
                Some((fence, code)) if fence.is_closed_by(line) => {
                    let code = std::mem::take(code);
                    let place = match fence.tag.as_str() {
                        "" => Some(&mut blocks.untagged),
                        tag if is_tag_of(tag, language) => Some(&mut blocks.tagged),
                        _ => None,
                    };
                    if let Some(place) = place
                        && !code.trim().is_empty()
                    {
                        *place = Some(code);
                    }
                    open = None;
                }
                Some((fence, code)) => {
                    code.push_str(fence.dedent(line));
                    code.push('\n');
                }
            }
        }
        blocks
    }
}

fn unfenced(answer: &str) -> Option<String> {
    let lines: Vec<&str> = answer.split('\n').collect();
    let first = (0..lines.len()).find(|at| python::starts_statement(&lines[*at..]))?;
    let comments = lines[..first]
        .iter()
        .rev()
        .take_while(|line| line.starts_with('#'))
        .count();
    Some(lines[first - comments..].join("\n"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use super::*;

    fn python(reply: &str) -> Option<String> {
        program(reply, Language::Python3, FinishReason::Stop)
    }

    #[test]
    fn last_complete_block_of_the_language_is_the_program() {
        let reply = "First:\n```python\na = 1\n```\nBetter:\n```Py\n\nb = 2\n\n```\nRun:\n```\nx\n```\n\
                     ```cpp\nint c;\n```\n```python\nd = 4";
        assert_eq!(python(reply), Some("b = 2\n".to_owned()));
    }

    #[test]
    fn untagged_block_is_second_choice_and_other_languages_are_none() {
        assert_eq!(
            python("```\na = 1\n```\n```json\n{}\n```"),
            Some("a = 1\n".to_owned())
        );
        assert_eq!(python("```cpp\nint a;\n```"), None);
        assert_eq!(python("```python\n\n```"), None);
    }

    #[test]
    fn block_in_a_list_loses_its_indent_and_windows_line_ends() {
        let reply = "1. Here:\r\n   ```python\r\n   for i in a:\r\n       print(i)\r\n   ```\r\n";
        assert_eq!(python(reply), Some("for i in a:\n    print(i)\n".to_owned()));
    }

    #[test]
    fn longer_fence_keeps_a_shorter_one_inside() {
        assert_eq!(
            python("````python\ns = '''\n```\n'''\n````"),
            Some("s = '''\n```\n'''\n".to_owned())
        );
    }

    #[test]
    fn unfenced_script_without_any_def_is_code() {
        assert_eq!(
            python("Sure, here it is.\n\n# read\nn = int(input())\nprint(n)\n"),
            Some("# read\nn = int(input())\nprint(n)\n".to_owned())
        );
    }

    #[test]
    fn prose_errors_and_nothing_are_no_code() {
        for reply in [
            "",
            "  \n",
            "Request timed out.",
            "I cannot help with that: it is (too) hard.",
        ] {
            assert_eq!(python(reply), None, "{reply}");
        }
    }

    #[test]
    fn reply_that_was_cut_off_counts_only_with_a_complete_block() {
        let cut = |reply| program(reply, Language::Python3, FinishReason::Length);
        assert_eq!(cut("n = int(input())\nprint("), None);
        assert_eq!(cut("```python\nprint("), None);
        assert_eq!(
            cut("```python\nprint(1)\n```\nThis prog"),
            Some("print(1)\n".to_owned())
        );
    }

    #[test]
    fn thinking_is_no_answer() {
        let reply = "<think>\n```python\nwrong\n```\n</think>\n```python\nright\n```";
        assert_eq!(python(reply), Some("right\n".to_owned()));
        assert_eq!(
            python("maybe\n</think>\n```python\nright\n```"),
            Some("right\n".to_owned())
        );
        assert_eq!(python("```python\nx = 1\n```\n<think>but then"), None);
        assert_eq!(
            python("```python\ns = '<think>'\n```"),
            Some("s = '<think>'\n".to_owned())
        );
        assert_eq!(
            without_thinking("<think>\na\n</think>\n\n{}\n"),
            Answer {
                text: "{}".to_owned(),
                reasoning: Some("a".to_owned())
            }
        );
    }

    /// Recorded replies whose published program begins with a line that only names the language, so that it does
    /// not run; what is taken here begins after it.
    const NAMES_THE_LANGUAGE: [usize; 3] = [139, 142, 143];

    #[test]
    fn extraction_agrees_with_recorded_replies() {
        let Ok(shared) = std::env::var("ROUNDHOUSE_SHARED") else {
            eprint_left_out("ROUNDHOUSE_SHARED is not set: extraction is not compared with recorded replies");
            return;
        };
        let path = format!("{shared}/data/code_contests/test_llm_replies.jsonl");
        let rows: Vec<serde_json::Value> = std::fs::read_to_string(path)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let differing: Vec<usize> = (0..rows.len())
            .filter(|row| {
                let found = python(rows[*row]["reply"].as_str().unwrap()).unwrap_or_default();
                found.trim() != rows[*row]["published_code"].as_str().unwrap().trim()
            })
            .collect();
        assert_eq!(differing, NAMES_THE_LANGUAGE);
        for row in differing {
            let found = python(rows[row]["reply"].as_str().unwrap()).unwrap();
            let published = rows[row]["published_code"].as_str().unwrap().trim();
            assert_eq!(
                Some(found.trim()),
                published.split_once('\n').map(|(_, code)| code.trim())
            );
        }
        assert!((rows.len() - NAMES_THE_LANGUAGE.len()) * 100 >= rows.len() * 98);
    }

    #[expect(clippy::print_stderr, reason = "a test that is left out says so")]
    fn eprint_left_out(why: &str) {
        eprintln!("LEFT OUT: {why}");
    }
}
