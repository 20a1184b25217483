//! Takes test cases out of a tester's reply, and writes cases in the form that it reads.
//!
//! The prompt asks for one form; models answer in many, so headings are read tolerantly. What cannot be used is
//! dropped and counted, never guessed at.

use std::collections::HashSet;
use std::fmt;

use bytes::Bytes;
use roundhouse_proto::{Case, FinishReason, Tier};

use crate::generate::fence::{self, Fence};

/// Most cases that a tester writes in a session; those of earlier rounds come first.
pub const CASES_MAX: usize = 20;
/// Longest input or expected output of a case, in bytes.
pub const CASE_BYTES_MAX: usize = 64 * 1024;

/// Cases that were not taken, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// No input, no expected output, or cut off.
    pub incomplete: u32,
    /// `...` where values should be.
    pub placeholder: u32,
    /// Over [`CASE_BYTES_MAX`].
    pub too_long: u32,
    /// The input of an earlier case.
    pub repeated: u32,
    /// Over [`CASES_MAX`], or of a function task over [`crate::generate::asserts::ASSERTIONS_MAX`] in one reply.
    pub too_many: u32,
    /// Of a function task: calls the function not, or needs a name that nothing gives.
    pub unknown_name: u32,
    /// Of a function task: lines of code that belong to no assertion.
    pub no_assertion: u32,
}

impl Dropped {
    /// How many there are.
    pub fn total(self) -> u32 {
        self.incomplete
            + self.placeholder
            + self.too_long
            + self.repeated
            + self.too_many
            + self.unknown_name
            + self.no_assertion
    }
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reasons = [
            (self.incomplete, "incomplete"),
            (self.placeholder, "with a placeholder"),
            (self.too_long, "too long"),
            (self.repeated, "repeated"),
            (self.too_many, "too many"),
            (self.unknown_name, "without the function or with an unknown name"),
            (self.no_assertion, "no assertion"),
        ];
        let told: Vec<String> = reasons
            .iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, reason)| format!("{n} {reason}"))
            .collect();
        f.write_str(&told.join(", "))
    }
}

/// What a reply gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gathered {
    /// Cases with inputs that no earlier case has.
    pub new: Vec<Case>,
    /// What was not taken.
    pub dropped: Dropped,
}

impl Gathered {
    /// Whether the reply did its work: a repeated case is one that is run already.
    pub fn is_usable(&self) -> bool {
        !self.new.is_empty() || self.dropped.repeated > 0
    }
}

/// Reads the cases in a tester's reply that are to run after the `earlier` ones, of which it wrote those of the tier
/// `generated`.
///
/// The last case of a reply that was cut off counts only if its output is a complete block.
pub fn gather(reply: &str, finish: FinishReason, earlier: &[Case]) -> Gathered {
    let mut drafts = read(reply, Fences::Blocks);
    if drafts.iter().all(|draft| draft.output.is_none()) {
        drafts = read(reply, Fences::Ignored);
    }
    if finish == FinishReason::Length
        && let Some(last) = drafts.last_mut()
        && last.output.as_ref().is_some_and(|output| !output.fenced)
    {
        last.output = None;
    }
    let written = earlier.iter().filter(|case| case.tier == Tier::Generated).count();
    let mut inputs: HashSet<Vec<u8>> = earlier.iter().map(|case| trimmed(&case.input)).collect();
    let mut gathered = Gathered::default();
    for draft in drafts {
        let dropped = &mut gathered.dropped;
        let (Some(input), Some(output)) = (
            draft.input.and_then(Value::text),
            draft
                .output
                .and_then(Value::text)
                .filter(|text| !text.trim().is_empty()),
        ) else {
            dropped.incomplete += 1;
            continue;
        };
        if input.len() > CASE_BYTES_MAX || output.len() > CASE_BYTES_MAX {
            dropped.too_long += 1;
        } else if has_placeholder(&input) || has_placeholder(&output) {
            dropped.placeholder += 1;
        } else if !inputs.insert(trimmed(input.as_bytes())) {
            dropped.repeated += 1;
        } else if written + gathered.new.len() >= CASES_MAX {
            dropped.too_many += 1;
        } else {
            gathered.new.push(Case {
                tier: Tier::Generated,
                input: Bytes::from(input),
                expected: Bytes::from(output),
            });
        }
    }
    gathered
}

/// Writes cases so that [`gather`] reads them back, final newlines added; `first` is the number of the first one.
pub fn render(cases: &[Case], first: usize) -> String {
    let blocks: Vec<String> = (first..)
        .zip(cases)
        .map(|(number, case)| {
            let input = fence::block("", &String::from_utf8_lossy(&case.input));
            let expected = fence::block("", &String::from_utf8_lossy(&case.expected));
            format!("### Test {number}\nInput:\n{input}\nExpected Output:\n{expected}\n")
        })
        .collect();
    blocks.join("\n")
}

fn trimmed(input: &[u8]) -> Vec<u8> {
    input.trim_ascii_end().to_vec()
}

/// What fences mean to the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fences {
    /// A block is the value of its heading.
    Blocks,
    /// The end of a value, nothing else: for replies that stand in one block as a whole.
    Ignored,
}

#[derive(Default)]
struct Draft {
    input: Option<Value>,
    output: Option<Value>,
}

#[derive(Default)]
struct Value {
    lines: Vec<String>,
    fenced: bool,
    open: bool,
}

impl Value {
    fn begin(inline: &str) -> Self {
        Self {
            lines: unquoted(inline).map(|text| vec![text]).unwrap_or_default(),
            ..Self::default()
        }
    }

    /// The value with its final newline; none if its block never ended.
    fn text(self) -> Option<String> {
        let lines = if self.fenced {
            &self.lines[..]
        } else {
            let is_text = |line: &String| !line.trim().is_empty();
            let first = self.lines.iter().position(is_text).unwrap_or(0);
            let end = self.lines.iter().rposition(is_text).map_or(0, |last| last + 1);
            &self.lines[first..end]
        };
        let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        (!self.open).then_some(text)
    }
}

/// A value that stands on the line of its heading; `5\n3` in backticks is two lines.
fn unquoted(inline: &str) -> Option<String> {
    let inline = inline.trim();
    let inside = |mark| {
        inline
            .strip_prefix(mark)
            .and_then(|rest| rest.strip_suffix(mark))
            .filter(|inside| !inside.contains(mark))
    };
    if let Some(code) = inside('`') {
        return Some(code.replace("\\n", "\n"));
    }
    if let Some(text) = inside('"').filter(|text| text.contains("\\n")) {
        return Some(text.replace("\\n", "\n"));
    }
    (!inline.is_empty()).then(|| inline.to_owned())
}

fn read(reply: &str, fences: Fences) -> Vec<Draft> {
    let mut drafts = Vec::new();
    let mut draft = Draft::default();
    let mut place = Place::Outside;
    let mut open: Option<Fence> = None;
    for line in reply.split('\n') {
        if let Some(fence) = &open {
            let value = draft.value_at(place);
            if fence.is_closed_by(line) {
                open = None;
                if let Some(value) = value {
                    value.open = false;
                }
                place = Place::Outside;
            } else if let Some(value) = value {
                value.lines.push(fence.dedent(line).to_owned());
            }
            continue;
        }
        if let Some(fence) = Fence::opened_by(line) {
            if fences == Fences::Ignored {
                place = Place::Outside;
                continue;
            }
            open = Some(fence);
            if let Some(value) = draft.value_at(place) {
                *value = Value {
                    lines: Vec::new(),
                    fenced: true,
                    open: true,
                };
            }
            continue;
        }
        match Heading::of(line) {
            Some(Heading::Case) => {
                drafts.push(std::mem::take(&mut draft));
                place = Place::Outside;
            }
            Some(Heading::Input(inline)) => {
                if draft.input.is_some() || draft.output.is_some() {
                    drafts.push(std::mem::take(&mut draft));
                }
                draft.input = Some(Value::begin(&inline));
                place = Place::Input;
            }
            Some(Heading::Output(inline)) if draft.output.is_none() => {
                draft.output = Some(Value::begin(&inline));
                place = Place::Output;
            }
            Some(Heading::Output(_) | Heading::Other) => place = Place::Outside,
            None => {
                if let Some(value) = draft.value_at(place) {
                    value.lines.push(line.trim_end_matches('\r').to_owned());
                }
            }
        }
    }
    drafts.push(draft);
    drafts.retain(|draft| draft.input.is_some() || draft.output.is_some());
    drafts
}

/// Which value of a case the reader is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Outside,
    Input,
    Output,
}

impl Draft {
    fn value_at(&mut self, place: Place) -> Option<&mut Value> {
        match place {
            Place::Outside => None,
            Place::Input => self.input.as_mut(),
            Place::Output => self.output.as_mut(),
        }
    }
}

/// A line that says what follows it, with the text that follows on the same line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Heading {
    Case,
    Input(String),
    Output(String),
    Other,
}

const INPUTS: [&str; 8] = [
    "input",
    "sample input",
    "example input",
    "test input",
    "test case input",
    "standard input",
    "input data",
    "stdin",
];
const OUTPUTS: [&str; 13] = [
    "output",
    "expected output",
    "sample output",
    "example output",
    "test output",
    "test case output",
    "correct output",
    "standard output",
    "expected",
    "expected result",
    "expected answer",
    "expected stdout",
    "stdout",
];
const CASES: [&str; 9] = [
    "test",
    "test case",
    "testcase",
    "case",
    "example",
    "sample",
    "sample test",
    "sample case",
    "example test",
];
const OTHERS: [&str; 11] = [
    "explanation",
    "note",
    "notes",
    "reason",
    "reasoning",
    "rationale",
    "why",
    "purpose",
    "description",
    "comment",
    "justification",
];

impl Heading {
    fn of(line: &str) -> Option<Self> {
        let line = line.trim();
        if line == "---" {
            return Some(Self::Other);
        }
        let core = line.trim_start_matches(['#', '*', '_', '>', '-', ' ']);
        let numbered = core.trim_start_matches(|digit: char| digit.is_ascii_digit());
        let core = match numbered.strip_prefix(['.', ')']) {
            Some(rest) if numbered.len() < core.len() => rest.trim_start_matches(['*', '_', ' ']),
            _ => core,
        };
        let is_marked = core.len() < line.len();
        let (title, inline) = match core.split_once(':') {
            Some((title, inline)) => (title, Some(inline.trim_start_matches(['*', '_']).trim())),
            None => (core, None),
        };
        let words = words_of(title);
        let name = words.without_numbers.as_str();
        let is_heading = inline.is_some() || is_marked || core.starts_with(char::is_uppercase);
        let inline = inline.unwrap_or("").to_owned();
        if is_heading && INPUTS.contains(&name) {
            return Some(Self::Input(inline));
        }
        if is_heading && OUTPUTS.contains(&name) {
            return Some(Self::Output(inline));
        }
        if (is_marked || core.contains(':')) && OTHERS.contains(&name) {
            return Some(Self::Other);
        }
        let is_case = is_heading
            && words
                .before_number
                .as_deref()
                .is_some_and(|name| CASES.contains(&name));
        let is_plain_case = (is_marked || core.contains(':')) && CASES.contains(&name);
        (is_case || is_plain_case).then_some(Self::Case)
    }
}

struct Words {
    /// All words but numbers, in lower case, with single spaces.
    without_numbers: String,
    /// The words before the first number, if there is a number.
    before_number: Option<String>,
}

fn words_of(title: &str) -> Words {
    let title = title.split('(').next().unwrap_or("").to_lowercase();
    let mut words = Vec::new();
    let mut before_number = None;
    for word in title.split(|letter: char| letter.is_whitespace() || matches!(letter, '*' | '_' | '`')) {
        let bare = word.trim_matches(['#', '.', ',', '-', '–', '—']);
        if bare.is_empty() {
            continue;
        }
        if bare.chars().all(|digit| digit.is_ascii_digit()) {
            before_number.get_or_insert_with(|| words.join(" "));
        } else {
            words.push(bare.to_owned());
        }
    }
    Words {
        without_numbers: words.join(" "),
        before_number,
    }
}

/// Whether `...` stands for values that were not written out.
///
/// Grids and strings of dots are values too: a row of dots counts as one when another row is as long.
fn has_placeholder(value: &str) -> bool {
    const DOTS: &str = "...";
    if value.contains('…') {
        return true;
    }
    let lines: Vec<&str> = value.lines().map(str::trim).collect();
    lines.iter().enumerate().any(|(at, line)| {
        if !line.contains(DOTS) {
            return false;
        }
        let is_row_of_a_grid = !line.contains(' ')
            && lines
                .iter()
                .enumerate()
                .any(|(other, row)| other != at && row.len() == line.len() && row.contains('.'));
        if is_row_of_a_grid {
            return false;
        }
        line.split_whitespace().any(|token| {
            let is_between_values = token.starts_with(char::is_alphanumeric)
                && token.ends_with(char::is_alphanumeric)
                && token.matches(DOTS).count() == 1
                && !token.contains("....");
            token == DOTS || is_between_values
        })
    })
}

#[cfg(test)]
#[path = "cases/tests.rs"]
mod tests;
