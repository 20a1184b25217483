//! Rows as JSON: one object in each line, or one array of objects.
//!
//! A row is parsed into a [`Value`] whose strings are then moved, not copied, into cases. Which format the rows
//! have is decided by the first one; see [`rows`](super::rows).

use std::fmt;
use std::io::{BufRead as _, Read as _};

use serde::de::{DeserializeSeed, Error as _, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::collect::{Collector, Rows};
use super::container::{Origin, Source};
use super::error::{DatasetError, MoreFollows, RowError};
use super::rows;
use super::{Container, Format};

/// Reads one row from each line; empty lines are passed over.
pub(super) fn read_lines(origin: Origin<'_>, mut source: Source<'_>) -> Result<Rows, DatasetError> {
    let mut reader = RowReader::new(origin);
    let mut line = Vec::new();
    let mut number = 0;
    let bytes_max = origin.bounds.line_bytes_max;
    loop {
        line.clear();
        let read = (&mut source)
            .take(bytes_max.saturating_add(1))
            .read_until(b'\n', &mut line)
            .map_err(|error| origin.decode_error(&error))?;
        if read == 0 {
            return reader.finish(Container::JsonLines);
        }
        number += 1;
        if line.trim_ascii().is_empty() {
            continue;
        }
        reader.start_row()?;
        let row = if line.len() as u64 > bytes_max {
            Err(RowError::TooLong { bytes_max })
        } else {
            parse_line(line.trim_ascii_end())
        };
        let row = match row {
            Err(RowError::Cut { position, .. }) => {
                let more_follows = match source.fill_buf() {
                    Ok([]) => MoreFollows::No,
                    Ok(_) => MoreFollows::Yes,
                    Err(error) => return Err(origin.decode_error(&error)),
                };
                Err(RowError::Cut {
                    position,
                    more_follows,
                })
            }
            row => row,
        };
        reader.take(row, Some(number))?;
    }
}

/// Reads the elements of one array.
pub(super) fn read_array(origin: Origin<'_>, bytes: &[u8]) -> Result<Rows, DatasetError> {
    let mut reader = RowReader::new(origin);
    let mut failure = None;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let parsed = Elements {
        reader: &mut reader,
        failure: &mut failure,
    }
    .deserialize(&mut deserializer)
    .and_then(|()| deserializer.end());
    if let Some(failure) = failure {
        return Err(failure);
    }
    if let Err(error) = parsed {
        // The row that could not be parsed is the one after those that could.
        reader.start_row()?;
        let position = format!("line {}, column {}", error.line(), error.column());
        let why = match std::str::from_utf8(bytes) {
            Err(wrong) => RowError::Utf8 {
                field: None,
                offset: wrong.valid_up_to() as u64,
                within: "file",
            },
            Ok(_) if error.is_eof() => RowError::Cut {
                position,
                more_follows: MoreFollows::No,
            },
            Ok(_) => RowError::Json {
                position,
                reason: reason(&error),
            },
        };
        return Err(reader.row_error(why, None));
    }
    reader.finish(Container::JsonArray)
}

/// Rows in the order of the file.
struct RowReader<'a> {
    origin: Origin<'a>,
    format: Option<Format>,
    rows: u32,
    collector: Collector,
}

impl<'a> RowReader<'a> {
    fn new(origin: Origin<'a>) -> Self {
        Self {
            origin,
            format: None,
            rows: 0,
            collector: Collector::default(),
        }
    }

    fn start_row(&mut self) -> Result<(), DatasetError> {
        let rows_max = self.origin.bounds.rows_max;
        if self.rows == rows_max {
            return Err(DatasetError::TooManyRows {
                path: self.origin.path.to_owned(),
                rows_max,
            });
        }
        self.rows += 1;
        Ok(())
    }

    fn take(&mut self, row: Result<Value, RowError>, line: Option<u64>) -> Result<(), DatasetError> {
        let row = row
            .and_then(|value| match value {
                Value::Object(fields) => Ok(fields),
                other => Err(RowError::NotObject {
                    found: rows::kind(&other),
                }),
            })
            .map_err(|why| self.row_error(why, line))?;
        let format = match self.format {
            Some(format) => format,
            None => *self.format.insert(self.recognise(&row)?),
        };
        rows::read(format, row)
            .and_then(|row| self.collector.push(self.rows, row))
            .map_err(|why| self.row_error(why, line))
    }

    fn recognise(&self, row: &Map<String, Value>) -> Result<Format, DatasetError> {
        rows::recognise(|field| row.contains_key(field)).ok_or_else(|| DatasetError::UnknownSchema {
            path: self.origin.path.to_owned(),
            fields: row.keys().cloned().collect(),
        })
    }

    fn row_error(&self, why: RowError, line: Option<u64>) -> DatasetError {
        DatasetError::Row {
            path: self.origin.path.to_owned(),
            row: self.rows,
            line,
            why,
        }
    }

    fn finish(self, container: Container) -> Result<Rows, DatasetError> {
        let format = self.format.ok_or_else(|| DatasetError::NoRows {
            path: self.origin.path.to_owned(),
        })?;
        Ok(Rows {
            format,
            container,
            compression: self.origin.compression,
            rows: self.rows,
            problems: self.collector.problems,
            warnings: self.collector.warnings,
        })
    }
}

fn parse_line(line: &[u8]) -> Result<Value, RowError> {
    let text = std::str::from_utf8(line).map_err(|error| RowError::Utf8 {
        field: damaged_field(line),
        offset: error.valid_up_to() as u64,
        within: "line",
    })?;
    serde_json::from_str(text).map_err(|error| {
        let position = format!("column {}", error.column());
        if error.is_eof() {
            RowError::Cut {
                position,
                more_follows: MoreFollows::No,
            }
        } else {
            RowError::Json {
                position,
                reason: reason(&error),
            }
        }
    })
}

/// The first field of a row with a byte that is not UTF-8, where the row is an object otherwise.
fn damaged_field(line: &[u8]) -> Option<String> {
    let Ok(Value::Object(fields)) = serde_json::from_str(&String::from_utf8_lossy(line)) else {
        return None;
    };
    fields
        .into_iter()
        .find(|(_, value)| holds_replacement(value))
        .map(|(field, _)| field)
}

fn holds_replacement(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(char::REPLACEMENT_CHARACTER),
        Value::Array(items) => items.iter().any(holds_replacement),
        Value::Object(fields) => fields.values().any(holds_replacement),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A parser's reason without the place, which is told apart from it.
pub(super) fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// The elements of an array, each taken as soon as it is parsed.
struct Elements<'r, 'a> {
    reader: &'r mut RowReader<'a>,
    failure: &'r mut Option<DatasetError>,
}

impl<'de> DeserializeSeed<'de> for Elements<'_, '_> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Elements<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(row) = elements.next_element::<Value>()? {
            let taken = self
                .reader
                .start_row()
                .and_then(|()| self.reader.take(Ok(row), None));
            if let Err(failure) = taken {
                *self.failure = Some(failure);
                return Err(A::Error::custom("a row cannot be used"));
            }
        }
        Ok(())
    }
}
