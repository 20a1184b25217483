//! One line of a file of programs, read field by field so that an error can name the field.

use std::path::PathBuf;

use roundhouse_proto::{Comparator, Language, Limits};
use serde_json::{Map, Value};

/// A program with its only case.
#[derive(Debug, PartialEq)]
pub(super) struct Line {
    /// A text or a number, given back as it is.
    pub(super) id: Value,
    pub(super) language: Language,
    pub(super) source: String,
    pub(super) input: String,
    pub(super) expected: String,
    pub(super) limits: Limits,
    pub(super) rule: Rule,
    /// The function that `input` calls, which is code then.
    pub(super) entry_point: Option<String>,
}

/// What decides about an output.
#[derive(Debug, PartialEq)]
pub(super) enum Rule {
    Comparator(Comparator),
    /// The checker in this file.
    Checker(PathBuf),
}

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LineError {
    #[error("not JSON: {0}")]
    Json(String),
    #[error("expected an object, not {0}")]
    NoObject(&'static str),
    #[error("field `{field}` is missing: expected {expected}")]
    Missing {
        field: &'static str,
        expected: &'static str,
    },
    #[error("field `{field}` is {found}: expected {expected}")]
    Wrong {
        field: String,
        found: &'static str,
        expected: &'static str,
    },
    #[error("field `{field}`: {message}")]
    Word { field: &'static str, message: String },
    #[error("field `{field}` is not known: expected {expected}")]
    Unknown { field: String, expected: &'static str },
}

const FIELDS: &str =
    "`id`, `language`, `source`, `input`, `expected`, `limits`, `comparator` or `entry_point`";
const LIMIT_FIELDS: &str = "`cpu_ms`, `wall_ms`, `memory_bytes`, `output_bytes` or `processes`";
const ID: &str = "a string or a number";
const COUNT: &str = "a whole number above 0";

impl Line {
    pub(super) fn parse(text: &[u8]) -> Result<Self, LineError> {
        let value = serde_json::from_slice(text).map_err(|error| LineError::Json(error.to_string()))?;
        let Value::Object(mut fields) = value else {
            return Err(LineError::NoObject(kind(&value)));
        };
        let id = match fields.remove("id") {
            Some(id @ (Value::String(_) | Value::Number(_))) => id,
            Some(other) => return Err(wrong("id", &other, ID)),
            None => return Err(missing("id", ID)),
        };
        let language = text_field(&mut fields, "language", "`python3`")?;
        let line = Self {
            id,
            language: word("language", &language)?,
            source: text_field(&mut fields, "source", "the program's text")?,
            input: text_field(&mut fields, "input", "the standard input, a string")?,
            expected: text_field(&mut fields, "expected", "the expected output, a string")?,
            limits: limits(fields.remove("limits"))?,
            rule: match fields.remove("comparator") {
                None | Some(Value::Null) => Rule::Comparator(Comparator::CodeContests),
                Some(Value::String(text)) => match text.strip_prefix("checker:") {
                    Some(file) if !file.is_empty() => Rule::Checker(PathBuf::from(file)),
                    Some(_) | None => Rule::Comparator(word("comparator", &text)?),
                },
                Some(other) => return Err(wrong("comparator", &other, "a string")),
            },
            entry_point: match fields.remove("entry_point") {
                None | Some(Value::Null) => None,
                Some(Value::String(name)) => Some(name),
                Some(other) => return Err(wrong("entry_point", &other, "a function's name, a string")),
            },
        };
        nothing_left(&fields, "", FIELDS)?;
        Ok(line)
    }
}

fn limits(value: Option<Value>) -> Result<Limits, LineError> {
    let mut fields = match value {
        None | Some(Value::Null) => return Ok(Limits::default()),
        Some(Value::Object(fields)) => fields,
        Some(other) => return Err(wrong("limits", &other, "an object")),
    };
    let mut limits = Limits::default();
    if let Some(cpu_ms) = count(&mut fields, "cpu_ms")? {
        limits.cpu_ms = cpu_ms;
        limits.wall_ms = Limits::wall_for_cpu_ms(cpu_ms);
    }
    limits.wall_ms = count(&mut fields, "wall_ms")?.unwrap_or(limits.wall_ms);
    limits.memory_bytes = count(&mut fields, "memory_bytes")?.unwrap_or(limits.memory_bytes);
    limits.output_bytes = count(&mut fields, "output_bytes")?.unwrap_or(limits.output_bytes);
    if let Some(processes) = count(&mut fields, "processes")? {
        limits.processes = u32::try_from(processes).unwrap_or(u32::MAX);
    }
    nothing_left(&fields, "limits.", LIMIT_FIELDS)?;
    Ok(limits)
}

fn count(fields: &mut Map<String, Value>, name: &str) -> Result<Option<u64>, LineError> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64() {
            Some(count) if count > 0 => Ok(Some(count)),
            Some(_) | None => Err(wrong(&format!("limits.{name}"), &value, COUNT)),
        },
    }
}

fn text_field(
    fields: &mut Map<String, Value>,
    field: &'static str,
    expected: &'static str,
) -> Result<String, LineError> {
    match fields.remove(field) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(wrong(field, &other, expected)),
        None => Err(missing(field, expected)),
    }
}

fn word<T: std::str::FromStr<Err: ToString>>(field: &'static str, text: &str) -> Result<T, LineError> {
    text.parse().map_err(|error: T::Err| LineError::Word {
        field,
        message: error.to_string(),
    })
}

fn nothing_left(fields: &Map<String, Value>, prefix: &str, expected: &'static str) -> Result<(), LineError> {
    match fields.keys().next() {
        None => Ok(()),
        Some(field) => Err(LineError::Unknown {
            field: format!("{prefix}{field}"),
            expected,
        }),
    }
}

fn missing(field: &'static str, expected: &'static str) -> LineError {
    LineError::Missing { field, expected }
}

fn wrong(field: &str, found: &Value, expected: &'static str) -> LineError {
    LineError::Wrong {
        field: field.to_owned(),
        found: kind(found),
        expected,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.as_u64() == Some(0) => "0",
        Value::Number(number) if number.as_u64().is_some() => "a number",
        Value::Number(_) => "a number with a sign or a fraction",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(value: &Value) -> Result<Line, String> {
        Line::parse(value.to_string().as_bytes()).map_err(|error| error.to_string())
    }

    fn plain() -> Value {
        json!({"id": "a", "language": "python3", "source": "s", "input": "i", "expected": "e"})
    }

    fn with(field: &str, value: Value) -> Value {
        let mut line = plain();
        line[field] = value;
        line
    }

    #[test]
    fn limits_and_comparator_have_defaults_and_the_wall_limit_follows_the_cpu_limit() {
        let line = Line {
            id: json!("a"),
            language: Language::Python3,
            source: "s".to_owned(),
            input: "i".to_owned(),
            expected: "e".to_owned(),
            limits: Limits::default(),
            rule: Rule::Comparator(Comparator::CodeContests),
            entry_point: None,
        };
        assert_eq!(parse(&plain()).as_ref(), Ok(&line));
        let checked = parse(&with("comparator", json!("checker:dir/c.py"))).map(|line| line.rule);
        assert_eq!(checked, Ok(Rule::Checker(PathBuf::from("dir/c.py"))));
        let function = parse(&with("entry_point", json!("f"))).map(|line| line.entry_point);
        assert_eq!(function, Ok(Some("f".to_owned())));
        let limits = Limits {
            cpu_ms: 1000,
            wall_ms: 6000,
            processes: 3,
            ..Limits::default()
        };
        let given = with("limits", json!({"cpu_ms": 1000, "processes": 3}));
        assert_eq!(parse(&given).map(|line| line.limits), Ok(limits));
        let given = with("limits", json!({"cpu_ms": 1000, "wall_ms": 1500, "processes": 3}));
        assert_eq!(
            parse(&given).map(|line| line.limits),
            Ok(Limits {
                wall_ms: 1500,
                ..limits
            })
        );
    }

    #[test]
    fn a_number_is_an_id_and_comes_back_as_it_is() {
        for id in [json!(7), json!(-1.5), json!("7")] {
            assert_eq!(parse(&with("id", id.clone())).map(|line| line.id), Ok(id));
        }
    }

    #[test]
    fn every_wrong_field_is_named_with_what_was_expected() {
        let mut no_source = plain();
        no_source.as_object_mut().map(|fields| fields.remove("source"));
        for (line, message) in [
            (json!([]), "expected an object, not a list"),
            (
                no_source,
                "field `source` is missing: expected the program's text",
            ),
            (
                with("id", json!(null)),
                "field `id` is null: expected a string or a number",
            ),
            (
                with("input", json!(5)),
                "field `input` is a number: expected the standard input, a string",
            ),
            (
                with("language", json!("cobol")),
                "field `language`: no language is called `cobol`: expected `python3`",
            ),
            (
                with("comparator", json!("x")),
                "field `comparator`: no comparator is called `x`: expected `code-contests`, `tokens`, `lines`, \
                 `exact`, `float`, `float:abs=1e-6,rel=1e-6`, `unordered-lines` or `checker:FILE`",
            ),
            (
                with("limits", json!({"cpu_ms": 0})),
                "field `limits.cpu_ms` is 0: expected a whole number above 0",
            ),
            (
                with("limits", json!({"cpu_ms": 1.5})),
                "field `limits.cpu_ms` is a number with a sign or a fraction: expected a whole number above 0",
            ),
            (
                with("limits", json!({"cpu": 1})),
                "field `limits.cpu` is not known: expected `cpu_ms`, `wall_ms`, `memory_bytes`, `output_bytes` or `processes`",
            ),
            (
                with("comparater", json!("exact")),
                "field `comparater` is not known: expected `id`, `language`, `source`, `input`, `expected`, `limits`, `comparator` or `entry_point`",
            ),
            (
                with("entry_point", json!(1)),
                "field `entry_point` is a number: expected a function's name, a string",
            ),
        ] {
            assert_eq!(parse(&line), Err(message.to_owned()));
        }
        assert!(Line::parse(b"{").is_err_and(|error| error.to_string().starts_with("not JSON: ")));
    }
}
