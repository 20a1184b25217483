//! Rows that ask for a function: HumanEval's and MBPP's.
//!
//! Each test becomes a case whose input is Python code: it is run after the program, calls the function by its name or
//! as `candidate`, and passes if it ends without an error. Sources:
//! - HumanEval: Chen et al., Evaluating Large Language Models Trained on Code (arXiv 2107.03374): `check(candidate)` of
//!   the row's `test`, hidden. The statement is the row's `prompt`, the beginning of the program.
//! - MBPP: Austin et al., Program Synthesis with Large Language Models (arXiv 2108.07732), and the README of the data
//!   set: the prompt gives the text and says `Your code should pass these tests:`, so all of `test_list` is shown and
//!   its cases are public. `challenge_test_list` is no part of the benchmark's measure and is left aside.

use bytes::Bytes;
use roundhouse_proto::{Case, Language, Program, Tier};
use serde_json::{Map, Value};

use super::{Fields, mistyped};
use crate::dataset::collect::Row;
use crate::dataset::error::RowError;

/// The call that HumanEval's own program makes after a row's `test`.
const CHECK: &str = "check(candidate)";
/// What an entry point has to be.
const NAME: &str = "the name of a Python function";

/// Bytes of all cases of a row of MBPP together. Each has a copy of what is set up before it, so that a small row could
/// come to many times its size.
const CASES_BYTES_MAX: usize = 64 << 20;

/// Reads a row of HumanEval.
pub(super) fn human_eval(fields: Map<String, Value>) -> Result<Row, RowError> {
    let mut fields = Fields(fields);
    let source_id = fields.id(&["task_id"])?;
    let statement = fields.text(&["prompt"])?;
    let entry_point = fields.text(&["entry_point"])?;
    if !is_name(&entry_point) {
        return Err(mistyped("entry_point", NAME, &Value::String(entry_point)));
    }
    let test = fields.text(&["test"])?;
    if !test.contains("def check(") {
        let expected = "code that defines `check(candidate)`";
        return Err(mistyped("test", expected, &Value::String(test)));
    }
    let body = fields.optional_text("canonical_solution")?;
    Ok(Row {
        source_id,
        solutions: program(body.map(|body| format!("{statement}{body}"))),
        statement,
        cases: vec![case(Tier::Private, format!("{}\n\n{CHECK}\n", test.trim_end()))],
        entry_point: Some(entry_point),
        ..Row::default()
    })
}

/// Reads a row of MBPP, of its whole or its sanitized form.
pub(super) fn mbpp(fields: Map<String, Value>) -> Result<Row, RowError> {
    let mut fields = Fields(fields);
    let source_id = fields.id(&["task_id"])?;
    let text = fields.text(&["text", "prompt"])?;
    let code = fields.optional_text("code")?;
    let tests = fields.texts("test_list")?;
    let mut setup = fields.texts("test_imports")?;
    setup.extend(fields.optional_text("test_setup_code")?);
    let setup: String = setup
        .iter()
        .filter(|text| !text.trim().is_empty())
        .map(|text| format!("{}\n", text.trim_end()))
        .collect();
    let entry_point = match tests.first() {
        None => None,
        Some(test) => Some(function_of(test, code.as_deref().unwrap_or("")).ok_or_else(|| {
            let expected = "an assertion that calls a function";
            mistyped("test_list[0]", expected, &Value::String(test.clone()))
        })?),
    };
    let shown: Vec<&str> = tests.iter().map(|test| test.trim()).collect();
    let set_up = setup.len().saturating_mul(shown.len());
    let bytes = shown
        .iter()
        .fold(set_up, |bytes, test| bytes.saturating_add(test.len() + 1));
    if bytes > CASES_BYTES_MAX {
        return Err(RowError::Mistyped {
            field: "test_list".to_owned(),
            expected: "cases of at most 64 MiB together, each with what is set up before it",
            found: format!("{bytes} bytes"),
        });
    }
    let cases = shown
        .iter()
        .map(|test| case(Tier::Public, format!("{setup}{test}\n")));
    Ok(Row {
        source_id,
        statement: format!(
            "{} Your code should pass these tests:\n\n{}\n",
            text.trim(),
            shown.join("\n")
        ),
        cases: cases.collect(),
        solutions: program(code),
        // Without a test nothing is called, and nothing passes either.
        entry_point: entry_point.or(Some("solution".to_owned())),
        ..Row::default()
    })
}

fn case(tier: Tier, code: String) -> Case {
    Case {
        tier,
        input: Bytes::from(code),
        expected: Bytes::new(),
    }
}

fn program(source: Option<String>) -> Vec<Program> {
    let program = source.map(|source| Program {
        index: 0,
        language: Language::Python3,
        source,
    });
    program.into_iter().collect()
}

fn is_name(text: &str) -> bool {
    !text.starts_with(|first: char| first.is_ascii_digit()) && !text.is_empty() && text.chars().all(is_word)
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The function that a test is about: the last one that `code` defines at its top level and that the test calls; where
/// there is none, the first that the test calls and that is neither an attribute nor one of Python's own.
fn function_of(test: &str, code: &str) -> Option<String> {
    const OWN: [&str; 20] = [
        "abs",
        "all",
        "any",
        "assert",
        "bool",
        "dict",
        "float",
        "frozenset",
        "int",
        "isclose",
        "len",
        "list",
        "max",
        "min",
        "not",
        "round",
        "set",
        "sorted",
        "str",
        "tuple",
    ];
    let called = called(test);
    let mut defined = code.lines().filter_map(|line| {
        let rest = line.strip_prefix("def ")?;
        Some(rest.split('(').next().unwrap_or("").trim())
    });
    let known = defined.rfind(|name| called.contains(name));
    let first = || called.iter().find(|name| !OWN.contains(name)).copied();
    known.or_else(first).map(str::to_owned)
}

/// The names that stand before a parenthesis, attributes left out.
fn called(text: &str) -> Vec<&str> {
    let names = text.match_indices('(').filter_map(|(at, _)| {
        let before = text[..at].trim_end();
        let start = before
            .char_indices()
            .rev()
            .take_while(|(_, letter)| is_word(*letter))
            .last()?
            .0;
        let name = &before[start..];
        (is_name(name) && !before[..start].ends_with('.')).then_some(name)
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn function_of_a_test_is_the_one_that_the_program_defines() {
        for (test, code, name) in [
            (
                "assert set(similar((3, 4))) == set((4,))",
                "def similar(a):\n",
                Some("similar"),
            ),
            (
                "assert math.isclose(area(1), 3.1)",
                "def helper(x):\ndef area (r):\n",
                Some("area"),
            ),
            (
                "assert chain([Pair(1, 2)]) == 3",
                "class Pair:\ndef chain(x):\n",
                Some("chain"),
            ),
            ("assert abs(unknown(1)) == 1", "f = lambda x: x", Some("unknown")),
            ("assert sorted([2, 1]) == [1, 2]", "", None),
            ("assert True", "def f():", None),
        ] {
            assert_eq!(function_of(test, code).as_deref(), name, "{test}");
        }
    }
}
