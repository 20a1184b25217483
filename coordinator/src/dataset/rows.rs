//! One JSON row: which format it has and what its fields say.
//!
//! Every accessor names the field it could not use, with its path. Strings are moved out of the row.

mod functions;

use bytes::Bytes;
use roundhouse_proto::{Case, Language, Program, Tier};
use serde_json::{Map, Value};

use super::Format;
use super::collect::{Row, known, language_of_number, time_limit_ms};
use super::error::RowError;
use super::json::reason;

/// Tells the format from the names of the first row's fields; none if it is not known.
pub(super) fn recognise(has: impl Fn(&str) -> bool) -> Option<Format> {
    if has("all_test_cases") {
        Some(Format::AllTestCases)
    } else if has("input_output") || has("hidden_tests") {
        Some(Format::Apps)
    } else if has("public_tests") || has("private_tests") || has("generated_tests") {
        Some(Format::CodeContests)
    } else if has("test_list") {
        Some(Format::Mbpp)
    } else if has("prompt") && (has("entry_point") || has("test")) {
        Some(Format::HumanEval)
    } else {
        None
    }
}

/// Where the tests of each tier are, in the order of the tiers.
const TESTS: [(&str, Tier); 6] = [
    ("public_tests", Tier::Public),
    ("private_tests", Tier::Private),
    ("hidden_tests", Tier::Private),
    ("all_test_cases", Tier::Private),
    ("input_output", Tier::Private),
    ("generated_tests", Tier::Generated),
];

/// Reads one row of the format.
pub(super) fn read(format: Format, fields: Map<String, Value>) -> Result<Row, RowError> {
    let (ids, statements, tests): (&[&str], &[&str], &str) = match format {
        Format::CodeContests => (&["name", "problem_id"], &["description"], "public_tests"),
        Format::AllTestCases => (
            &["problem_id", "name"],
            &["description", "question"],
            "all_test_cases",
        ),
        Format::Apps => (
            &["problem_id", "id", "name"],
            &["question", "description"],
            "input_output",
        ),
        Format::HumanEval => return functions::human_eval(fields),
        Format::Mbpp => return functions::mbpp(fields),
    };
    let mut fields = Fields(fields);
    let mut row = Row {
        source_id: fields.id(ids)?,
        statement: fields.text(statements)?,
        ..Row::default()
    };
    if !TESTS.iter().any(|(field, _)| fields.0.contains_key(*field)) {
        return Err(RowError::Missing {
            field: tests.to_owned(),
        });
    }
    for (field, tier) in TESTS {
        if let Some(value) = fields.take(field) {
            row.is_function_task |= read_tests(value, field, tier, &mut row.cases)?;
        }
    }
    row.time_limit_ms = fields.time_limit()?;
    row.memory_limit_bytes = fields.memory_limit()?;
    row.solutions = fields.programs("solutions")?;
    row.incorrect_solutions = fields.programs("incorrect_solutions")?;
    Ok(row)
}

/// The fields of a row that are not taken yet.
struct Fields(Map<String, Value>);

impl Fields {
    /// The field unless it is missing or null.
    fn take(&mut self, field: &str) -> Option<Value> {
        self.0
            .get_mut(field)
            .map(Value::take)
            .filter(|value| !value.is_null())
    }

    fn take_first<'n>(&mut self, names: &[&'n str]) -> Result<(&'n str, Value), RowError> {
        names
            .iter()
            .find_map(|name| self.take(name).map(|value| (*name, value)))
            .ok_or_else(|| RowError::Missing {
                field: names[0].to_owned(),
            })
    }

    fn id(&mut self, names: &[&str]) -> Result<String, RowError> {
        const EXPECTED: &str = "a text that is not empty, or a whole number";
        match self.take_first(names)? {
            (_, Value::String(id)) if !id.trim().is_empty() => Ok(id),
            (_, Value::Number(id)) if id.is_i64() || id.is_u64() => Ok(id.to_string()),
            (field, other) => Err(mistyped(field, EXPECTED, &other)),
        }
    }

    fn text(&mut self, names: &[&str]) -> Result<String, RowError> {
        match self.take_first(names)? {
            (_, Value::String(text)) => Ok(text),
            (field, other) => Err(mistyped(field, "a text", &other)),
        }
    }

    /// The text, unless it is missing or null.
    fn optional_text(&mut self, name: &str) -> Result<Option<String>, RowError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(mistyped(name, "a text", &other)),
        }
    }

    /// The list of texts; empty if it is missing or null.
    fn texts(&mut self, name: &str) -> Result<Vec<String>, RowError> {
        let items = match self.take(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(mistyped(name, "a list of texts", &other)),
        };
        let texts = items.into_iter().enumerate().map(|(index, item)| match item {
            Value::String(text) => Ok(text),
            other => Err(mistyped(&format!("{name}[{index}]"), "a text", &other)),
        });
        texts.collect()
    }

    fn time_limit(&mut self) -> Result<Option<u64>, RowError> {
        const EXPECTED: &str = "an object with whole `seconds` and `nanos`, or null";
        let Some(value) = self.take("time_limit") else {
            return Ok(None);
        };
        let part = |name: &str| match value.get(name) {
            None | Some(Value::Null) => Some(0),
            Some(part) => part.as_i64(),
        };
        if !value.is_object() {
            return Err(mistyped("time_limit", EXPECTED, &value));
        }
        part("seconds")
            .zip(part("nanos"))
            .and_then(|(seconds, nanos)| time_limit_ms(seconds, nanos))
            .map(known)
            .ok_or_else(|| RowError::Mistyped {
                field: "time_limit".to_owned(),
                expected: EXPECTED,
                found: super::quote::plain(&value.to_string(), super::quote::QUOTED_CHARS_MAX),
            })
    }

    fn memory_limit(&mut self) -> Result<Option<u64>, RowError> {
        const FIELD: &str = "memory_limit_bytes";
        match self.take(FIELD) {
            None => Ok(None),
            Some(value) => match value.as_u64() {
                Some(bytes) => Ok(known(bytes)),
                None => Err(mistyped(
                    FIELD,
                    "a whole number of bytes, 0 for not known",
                    &value,
                )),
            },
        }
    }

    /// CodeContests' two lists, a list of objects of the same fields, or a list of texts in Python; each also as
    /// JSON in a text, as APPS has it.
    fn programs(&mut self, field: &'static str) -> Result<Vec<Program>, RowError> {
        match self
            .take(field)
            .map(|value| unwrap_text(value, field))
            .transpose()?
        {
            None | Some(None) => Ok(Vec::new()),
            Some(Some(Value::Object(mut lists))) => {
                let (_, languages) = take_list(&mut lists, field, &["language"])?;
                let (_, sources) = take_list(&mut lists, field, &["solution"])?;
                if languages.len() != sources.len() {
                    return Err(RowError::Unequal {
                        field: field.to_owned(),
                        left_name: "languages",
                        left: languages.len(),
                        right_name: "solutions",
                        right: sources.len(),
                    });
                }
                let pairs = languages.into_iter().zip(sources).enumerate();
                select_programs(pairs.map(|(index, (language, source))| {
                    let language = language_of(&language, || format!("{field}.language[{index}]"))?;
                    Ok((language, source, format!("{field}.solution[{index}]")))
                }))
            }
            Some(Some(Value::Array(items))) => {
                select_programs(items.into_iter().enumerate().map(|(index, item)| match item {
                    Value::Object(mut object) => {
                        let language = object.get("language").unwrap_or(&Value::Null);
                        let language = language_of(language, || format!("{field}[{index}].language"))?;
                        let source = object.get_mut("solution").map(Value::take).unwrap_or_default();
                        Ok((language, source, format!("{field}[{index}].solution")))
                    }
                    source => Ok((Some(Language::Python3), source, format!("{field}[{index}]"))),
                }))
            }
            Some(Some(other)) => Err(mistyped(
                field,
                "an object with the lists `language` and `solution`",
                &other,
            )),
        }
    }
}

/// Keeps the programs in a language that we judge; the index counts all.
fn select_programs(
    programs: impl Iterator<Item = Result<(Option<Language>, Value, String), RowError>>,
) -> Result<Vec<Program>, RowError> {
    let mut selected = Vec::new();
    for (index, program) in (0..).zip(programs) {
        let (Some(language), source, field) = program? else {
            continue;
        };
        match source {
            Value::String(source) => selected.push(Program {
                index,
                language,
                source,
            }),
            other => return Err(mistyped(&field, "a program as a text", &other)),
        }
    }
    Ok(selected)
}

/// The language, if it is one that we judge: by CodeContests' number or by its word.
fn language_of(value: &Value, field: impl FnOnce() -> String) -> Result<Option<Language>, RowError> {
    match value {
        Value::String(word) => Ok(word.to_ascii_lowercase().parse().ok()),
        other => match other.as_i64() {
            Some(number) => Ok(language_of_number(number)),
            None => Err(mistyped(
                &field(),
                "CodeContests' number of a language, or its name",
                other,
            )),
        },
    }
}

/// Appends the cases of a field; says whether they are for a function rather than a program.
fn read_tests(value: Value, field: &str, tier: Tier, cases: &mut Vec<Case>) -> Result<bool, RowError> {
    match unwrap_text(value, field)? {
        None => Ok(false),
        Some(Value::Object(mut lists)) => {
            if lists.get("fn_name").is_some_and(|name| !name.is_null()) {
                return Ok(true);
            }
            let (input_name, inputs) = take_list(&mut lists, field, &["input", "inputs"])?;
            let (output_name, outputs) = take_list(&mut lists, field, &["output", "outputs"])?;
            if inputs.len() != outputs.len() {
                return Err(RowError::Unequal {
                    field: field.to_owned(),
                    left_name: "inputs",
                    left: inputs.len(),
                    right_name: "outputs",
                    right: outputs.len(),
                });
            }
            cases.reserve(inputs.len());
            for (index, (input, output)) in inputs.into_iter().zip(outputs).enumerate() {
                let input = case_text(input, || format!("{field}.{input_name}[{index}]"))?;
                let expected = case_text(output, || format!("{field}.{output_name}[{index}]"))?;
                cases.push(Case {
                    tier,
                    input,
                    expected,
                });
            }
            Ok(false)
        }
        Some(Value::Array(items)) => {
            cases.reserve(items.len());
            for (index, item) in items.into_iter().enumerate() {
                let Value::Object(mut case) = item else {
                    return Err(mistyped(
                        &format!("{field}[{index}]"),
                        "an object with `input` and `output`",
                        &item,
                    ));
                };
                if case.get("fn_name").is_some_and(|name| !name.is_null()) {
                    return Ok(true);
                }
                let mut part = |name: &str| {
                    let field = || format!("{field}[{index}].{name}");
                    let value = case.get_mut(name).map(Value::take);
                    case_text(value.ok_or_else(|| RowError::Missing { field: field() })?, field)
                };
                let input = part("input")?;
                let expected = part("output")?;
                cases.push(Case {
                    tier,
                    input,
                    expected,
                });
            }
            Ok(false)
        }
        Some(other) => Err(mistyped(
            field,
            "an object with lists of inputs and outputs, or a list of objects with `input` and `output`",
            &other,
        )),
    }
}

/// The bytes of one input or output. A list of texts is a list of lines, as in APPS; nothing is added at the end.
fn case_text(value: Value, field: impl Fn() -> String) -> Result<Bytes, RowError> {
    match value {
        Value::String(text) => Ok(Bytes::from(text)),
        Value::Array(mut lines) if lines.len() == 1 && lines[0].is_string() => {
            case_text(lines.remove(0), field)
        }
        Value::Array(lines) => {
            let mut text = String::new();
            for (index, line) in lines.iter().enumerate() {
                let Value::String(line) = line else {
                    return Err(mistyped(&format!("{}[{index}]", field()), "a text", line));
                };
                if index > 0 {
                    text.push('\n');
                }
                text.push_str(line);
            }
            Ok(Bytes::from(text))
        }
        other => Err(mistyped(&field(), "a text, or a list of lines", &other)),
    }
}

/// What a field holds, parsed if it is JSON in a text; an empty text holds nothing.
fn unwrap_text(value: Value, field: &str) -> Result<Option<Value>, RowError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text.trim().is_empty() => Ok(None),
        Value::String(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| RowError::InnerJson {
                field: field.to_owned(),
                line: error.line(),
                column: error.column(),
                reason: reason(&error),
            }),
        other => Ok(Some(other)),
    }
}

/// The list under the first of `names` that is there, and that name.
fn take_list<'n>(
    lists: &mut Map<String, Value>,
    field: &str,
    names: &[&'n str],
) -> Result<(&'n str, Vec<Value>), RowError> {
    for name in names {
        match lists.get_mut(*name).map(Value::take) {
            None => {}
            Some(Value::Array(items)) => return Ok((name, items)),
            Some(other) => return Err(mistyped(&format!("{field}.{name}"), "a list", &other)),
        }
    }
    Err(RowError::Missing {
        field: format!("{field}.{}", names[0]),
    })
}

fn mistyped(field: &str, expected: &'static str, found: &Value) -> RowError {
    RowError::Mistyped {
        field: field.to_owned(),
        expected,
        found: kind(found).to_owned(),
    }
}

/// What a JSON value is, with its article.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(text) if text.trim().is_empty() => "an empty text",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
