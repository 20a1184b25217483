//! Takes assertions out of a tester's reply to a function task, and writes cases in the form that it reads.
//!
//! A case is one `assert` statement that calls the function, by its name or as `candidate`, with literal values. What
//! stands around it is dropped and counted, and so is one that needs a name which nothing gives: run, it would fail
//! whatever the program does. That it is valid Python beyond that is found out when it is run.

use std::collections::HashSet;

use bytes::Bytes;
use roundhouse_proto::{Case, FinishReason, Tier};

use crate::generate::cases::{CASE_BYTES_MAX, CASES_MAX, Gathered};
use crate::generate::fence::{self, Fence};
use crate::generate::patch;
use crate::generate::python::{self, Attributes};
use crate::generate::signature::Signature;

/// Most assertions that are taken from one reply.
pub const ASSERTIONS_MAX: usize = 5;
/// The name by which every case may call the function.
pub const CANDIDATE: &str = "candidate";

/// Names that every program has: keywords of expressions, and builtins that an assertion may need.
const KNOWN: &[&str] = &[
    "ArithmeticError",
    "AttributeError",
    "Exception",
    "False",
    "IndexError",
    "KeyError",
    "None",
    "NotImplemented",
    "OverflowError",
    "RecursionError",
    "RuntimeError",
    "StopIteration",
    "True",
    "TypeError",
    "ValueError",
    "ZeroDivisionError",
    "abs",
    "all",
    "and",
    "any",
    "ascii",
    "assert",
    "bin",
    "bool",
    "bytearray",
    "bytes",
    "callable",
    "chr",
    "complex",
    "dict",
    "dir",
    "divmod",
    "else",
    "enumerate",
    "eval",
    "exec",
    "filter",
    "float",
    "for",
    "format",
    "frozenset",
    "getattr",
    "globals",
    "hasattr",
    "hash",
    "hex",
    "id",
    "if",
    "in",
    "int",
    "is",
    "isinstance",
    "issubclass",
    "iter",
    "lambda",
    "len",
    "list",
    "map",
    "max",
    "min",
    "next",
    "not",
    "object",
    "oct",
    "or",
    "ord",
    "pow",
    "range",
    "repr",
    "reversed",
    "round",
    "set",
    "slice",
    "sorted",
    "str",
    "sum",
    "tuple",
    "zip",
];
/// What a list in a reply puts before an item.
const BULLETS: [char; 4] = ['-', '*', '+', '`'];

/// The function that is asked for, as far as its assertions need it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Function<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// What else its statement gives.
    pub(crate) signature: &'a Signature,
}

/// Reads the assertions in a tester's reply that are to run after the `earlier` cases, of which it wrote those of the
/// tier `generated`.
///
/// Of a reply that was cut off, an assertion that reaches its end does not count.
pub(crate) fn gather(
    reply: &str,
    finish: FinishReason,
    earlier: &[Case],
    function: Function<'_>,
) -> Gathered {
    let reply = reply.replace("\r\n", "\n");
    let Read { statements, others } = read(&reply, finish);
    let written = earlier.iter().filter(|case| case.tier == Tier::Generated).count();
    let same = |text: &str| named(text.trim(), function.name);
    let mut known: HashSet<String> = earlier
        .iter()
        .map(|case| same(&String::from_utf8_lossy(&case.input)))
        .collect();
    let mut gathered = Gathered::default();
    let dropped = &mut gathered.dropped;
    dropped.no_assertion = others;
    for Statement { text, is_whole } in statements {
        let input = match is_closed(&text, function) {
            true => format!("{text}\n"),
            false => format!("{}\n", patch::with_imports(&text).program),
        };
        if !is_whole {
            dropped.incomplete += 1;
        } else if has_placeholder(&text) {
            dropped.placeholder += 1;
        } else if input.len() > CASE_BYTES_MAX {
            dropped.too_long += 1;
        } else if !calls(&text, function.name) || !is_closed(&input, function) {
            dropped.unknown_name += 1;
        } else if !known.insert(same(&input)) {
            dropped.repeated += 1;
        } else if gathered.new.len() >= ASSERTIONS_MAX || written + gathered.new.len() >= CASES_MAX {
            dropped.too_many += 1;
        } else {
            gathered.new.push(Case {
                tier: Tier::Generated,
                input: Bytes::from(input),
                expected: Bytes::new(),
            });
        }
    }
    gathered
}

/// Writes cases as a tester's reply that is read back as these cases; code that is not one assertion stands in one that
/// executes it.
pub fn render(cases: &[Case]) -> String {
    let lines: String = cases
        .iter()
        .map(|case| {
            let code = String::from_utf8_lossy(&case.input);
            let read = read(&code, FinishReason::Stop);
            let is_assertion = code.trim_start().starts_with("assert")
                && matches!(&read.statements[..], [Statement { is_whole: true, .. }]);
            if is_assertion {
                format!("{}\n", code.trim())
            } else {
                let names = format!("{{**globals(), \"{CANDIDATE}\": {CANDIDATE}}}");
                format!("assert exec({}, {names}) is None\n", quoted(&code))
            }
        })
        .collect();
    fence::block("python", &lines)
}

/// The cases as they are run, one after the other.
pub(crate) fn listed(cases: &[Case]) -> String {
    let texts: Vec<_> = cases
        .iter()
        .map(|case| String::from_utf8_lossy(&case.input))
        .collect();
    texts.concat()
}

/// What a case that is one assertion `… == …` expects: its right side.
pub(crate) fn expected(case: &str) -> Option<String> {
    const OPERATORS: [&str; 4] = ["and", "or", "not", "if"];
    let case = python::without_comments(case);
    let case = case.trim_end();
    let start = case.rfind("\nassert ").map_or(0, |at| at + 1);
    let text = case[start..].strip_prefix("assert ")?;
    let shown = python::without_text(text);
    let is_joined = |word: &str| python::uses_of(&shown, word, Attributes::Counted) > 0;
    if OPERATORS.iter().any(|word| is_joined(word)) {
        return None;
    }
    let places: Vec<(usize, char)> = text.char_indices().map(|(at, _)| at).zip(shown.chars()).collect();
    let mut depth = 0;
    let mut equals = None;
    let mut end = text.len();
    for (place, (at, letter)) in places.iter().enumerate() {
        match letter {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            '=' if depth == 0
                && equals.is_none()
                && places.get(place + 1).is_some_and(|next| next.1 == '=') =>
            {
                equals = Some(at + 2);
            }
            // The assertion's own message.
            ',' if depth == 0 => {
                end = *at;
                break;
            }
            _ => {}
        }
    }
    let value = text.get(equals?..end)?.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// What a reply holds.
#[derive(Default)]
struct Read {
    statements: Vec<Statement>,
    /// Lines of code that belong to no assertion.
    others: u32,
}

/// One assertion, perhaps over several lines.
struct Statement {
    text: String,
    /// All its brackets are closed.
    is_whole: bool,
}

fn read(reply: &str, finish: FinishReason) -> Read {
    let fenced = code_blocks(reply);
    let mut read = if fenced.iter().any(|block| block.lines().any(begins)) {
        let mut read = Read::default();
        for block in &fenced {
            read.code(block);
        }
        read
    } else {
        let mut read = Read::default();
        let lines: Vec<&str> = reply.lines().map(undressed).collect();
        read.code(&lines.join("\n"));
        // Prose is no code.
        read.others = 0;
        read
    };
    if finish == FinishReason::Length
        && let Some(last) = read.statements.last_mut()
        && reply.trim_end_matches(['`', ' ']).ends_with(&last.text)
    {
        last.is_whole = false;
    }
    read
}

impl Read {
    fn code(&mut self, code: &str) {
        let mut open: Option<String> = None;
        for line in code.lines() {
            let line = line.trim_end();
            if let Some(mut text) = open.take() {
                if begins(line) {
                    self.statements.push(Statement {
                        text,
                        is_whole: false,
                    });
                } else {
                    text.push('\n');
                    text.push_str(line);
                    open = self.end_if_closed(text);
                    continue;
                }
            }
            if begins(line) {
                open = self.end_if_closed(line.trim_start().to_owned());
            } else {
                let line = line.trim();
                self.others += u32::from(!line.is_empty() && !line.starts_with('#'));
            }
        }
        if let Some(text) = open {
            self.statements.push(Statement {
                text,
                is_whole: false,
            });
        }
    }

    fn end_if_closed(&mut self, text: String) -> Option<String> {
        let shown = python::without_text(&text);
        let count = |brackets: [char; 3]| shown.matches(brackets).count();
        let (opened, closed) = (count(['(', '[', '{']), count([')', ']', '}']));
        if opened > closed || text.ends_with('\\') {
            return Some(text);
        }
        let is_whole = opened == closed;
        self.statements.push(Statement { text, is_whole });
        None
    }
}

fn begins(line: &str) -> bool {
    let rest = line.trim_start().strip_prefix("assert");
    rest.is_some_and(|rest| rest.starts_with([' ', '(']))
}

/// A line of prose without what makes it an item of a list or inline code.
fn undressed(line: &str) -> &str {
    let line = line.trim();
    let numbered = line.trim_start_matches(|digit: char| digit.is_ascii_digit());
    let item = match numbered.strip_prefix(['.', ')', ':']) {
        Some(rest) if numbered.len() < line.len() => rest,
        Some(_) | None => line,
    };
    let bare = item.trim_start_matches(|mark: char| BULLETS.contains(&mark) || mark.is_whitespace());
    if begins(bare) {
        bare.trim_end_matches(['`', ' '])
    } else {
        line
    }
}

/// The blocks of a reply that may hold Python, the last one also where it is not closed.
fn code_blocks(reply: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<(Fence, String)> = None;
    for line in reply.lines() {
        match &mut open {
            None => open = Fence::opened_by(line).map(|fence| (fence, String::new())),
            Some((fence, _)) if fence.is_closed_by(line) => blocks.extend(open.take()),
            Some((fence, code)) => {
                code.push_str(fence.dedent(line));
                code.push('\n');
            }
        }
    }
    blocks.extend(open);
    let is_python = |tag: &str| matches!(tag, "" | "python" | "python3" | "py" | "py3");
    blocks
        .into_iter()
        .filter(|(fence, _)| is_python(&fence.tag))
        .map(|(_, code)| code)
        .collect()
}

/// Whether values were left out.
fn has_placeholder(text: &str) -> bool {
    let shown = python::without_text(text);
    shown.contains("...") || shown.contains('…')
}

fn calls(text: &str, name: &str) -> bool {
    let shown = python::without_text(text);
    [name, CANDIDATE]
        .iter()
        .any(|name| python::uses_of(&shown, name, Attributes::Ignored) > 0)
}

/// Whether every name is one that the program has whatever it does, or that the assertion binds itself.
fn is_closed(text: &str, function: Function<'_>) -> bool {
    let bound = bound_names(text);
    let imported: Vec<&str> = text
        .lines()
        .filter(|line| python::is_import_statement(line))
        .flat_map(python::names_imported)
        .collect();
    let code = text.lines().filter(|line| !python::is_import_statement(line));
    let code: Vec<&str> = code.collect();
    python::names_used(&code.join("\n")).into_iter().all(|name| {
        KNOWN.contains(&name.as_str())
            || name == CANDIDATE
            || name == function.name
            || imported.contains(&name.as_str())
            || bound.contains(&name)
            || function.signature.names().any(|given| given == name)
    })
}

/// Names that loops and functions within an expression bind.
fn bound_names(text: &str) -> Vec<String> {
    let shown = python::without_text(text);
    let between = |begin: &str, end: &str| -> Vec<String> {
        let mut names = Vec::new();
        for (at, _) in shown.match_indices(begin) {
            let rest = &shown[at + begin.len()..];
            let inside = rest.find(end).map_or("", |end| &rest[..end]);
            names.extend(python::names_used(inside));
        }
        names
    };
    [between("for ", " in "), between("lambda ", ":")].concat()
}

/// `text` with the function under one name.
fn named(text: &str, function: &str) -> String {
    python::with_name(text, function, CANDIDATE)
}

/// A Python literal of a text.
fn quoted(text: &str) -> String {
    let mut literal = String::from("\"");
    for letter in text.chars() {
        match letter {
            '\\' => literal.push_str("\\\\"),
            '"' => literal.push_str("\\\""),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\0' => literal.push_str("\\x00"),
            other => literal.push(other),
        }
    }
    literal.push('"');
    literal
}

#[cfg(test)]
#[path = "asserts/tests.rs"]
mod tests;
