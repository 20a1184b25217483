//! CodeContests' rows as parquet, read column by column.
//!
//! Texts stay slices of the decoded pages, so no test is copied once its page is decompressed; a case keeps its
//! page alive (of an uncompressed file: the file's bytes). Only the columns that are needed are decoded.
//!
//! The decoder is written for files that are well made and may panic on others. Every panic is caught here and
//! becomes [`DatasetError::Damaged`]; nothing it touched is used again. The sizes that a file declares, of its columns
//! and of every page, are checked against the bounds before anything is decoded, and what comes out is counted. Not
//! bounded by them: a page compressed with gzip that holds more than its header says is decompressed whole, in memory,
//! before the decoder compares the two.

mod schema;
mod sizes;
mod values;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use bytes::Bytes;
use parquet::basic::{ConvertedType, LogicalType, Type as PhysicalType};
use parquet::data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader as _, RowGroupReader, SerializedFileReader};
use roundhouse_proto::{Case, Program};

use super::collect::{Collector, Row, Rows, known, language_of_number, time_limit_ms};
use super::container::Origin;
use super::error::{DatasetError, RowError};
use super::quote::{QUOTED_CHARS_MAX, plain};
use super::{Container, Format};
use schema::{Columns, Leaf};
use values::Budget;

const MAGIC: &[u8] = b"PAR1";

/// Magic, length of the metadata, magic.
const BYTES_MIN: usize = 12;

/// Reads the rows of a parquet file.
pub(super) fn read(origin: Origin<'_>, bytes: &Bytes) -> Result<Rows, DatasetError> {
    if bytes.len() < BYTES_MIN || !bytes.ends_with(MAGIC) {
        let what = "a parquet file ends with `PAR1` and this one does not".to_owned();
        return Err(DatasetError::Truncated {
            path: origin.path.to_owned(),
            what,
        });
    }
    catch_panic(|| read_file(origin, bytes)).unwrap_or_else(|| {
        let what = "its pages cannot be decoded".to_owned();
        Err(DatasetError::Damaged {
            path: origin.path.to_owned(),
            what,
        })
    })
}

fn read_file(origin: Origin<'_>, bytes: &Bytes) -> Result<Rows, DatasetError> {
    let unreadable = |why: &str| DatasetError::Damaged {
        path: origin.path.to_owned(),
        what: format!("its metadata cannot be read ({})", plain(why, QUOTED_CHARS_MAX)),
    };
    let damaged = |error: ParquetError| unreadable(&error.to_string());
    sizes::check_schema(bytes).map_err(unreadable)?;
    let rows_max = origin.bounds.rows_max;
    let file = SerializedFileReader::new(bytes.clone()).map_err(damaged)?;
    let metadata = file.metadata();
    let columns = Columns::find(origin, metadata.file_metadata().schema_descr())?;
    let (mut declared, mut paged) = (Budget::new(origin), Budget::new(origin));
    let mut rows_declared: u32 = 0;
    for group in metadata.row_groups() {
        rows_declared = u32::try_from(group.num_rows())
            .ok()
            .and_then(|rows| rows_declared.checked_add(rows))
            .filter(|rows| *rows <= rows_max)
            .ok_or_else(|| DatasetError::TooManyRows {
                path: origin.path.to_owned(),
                rows_max,
            })?;
        for leaf in columns.all() {
            let chunk = group.column(leaf);
            let size = |size: i64| u64::try_from(size).unwrap_or(u64::MAX);
            declared.spend(size(chunk.num_values()), size(chunk.uncompressed_size()))?;
            let (start, length) = chunk.byte_range();
            let range = usize::try_from(start).ok().zip(usize::try_from(length).ok());
            let pages = range
                .and_then(|(start, length)| bytes.get(start..)?.get(..length))
                .ok_or_else(|| unreadable("a column lies outside of the file"))?;
            for page in sizes::pages(pages) {
                paged.spend(0, page.map_err(unreadable)?)?;
            }
        }
    }
    let mut budget = Budget::new(origin);
    let mut collector = Collector::default();
    let mut number = 0;
    for index in 0..file.num_row_groups() {
        let group = file.get_row_group(index).map_err(damaged)?;
        let mut group = Group {
            reader: &*group,
            budget: &mut budget,
            rows_before: number,
        };
        for row in group.read(&columns)? {
            number += 1;
            row.and_then(|row| collector.push(number, row))
                .map_err(|why| DatasetError::Row {
                    path: origin.path.to_owned(),
                    row: number,
                    line: None,
                    why,
                })?;
        }
    }
    if number == 0 {
        return Err(DatasetError::NoRows {
            path: origin.path.to_owned(),
        });
    }
    Ok(Rows {
        format: Format::CodeContests,
        container: Container::Parquet,
        compression: origin.compression,
        rows: number,
        problems: collector.problems,
        warnings: collector.warnings,
    })
}

/// One row group.
struct Group<'a, 'b> {
    reader: &'b dyn RowGroupReader,
    budget: &'b mut Budget<'a>,
    /// Rows of the groups before this one.
    rows_before: u32,
}

impl Group<'_, '_> {
    /// The rows, or an error where a row cannot be used.
    fn read(&mut self, columns: &Columns) -> Result<Vec<Result<Row, RowError>>, DatasetError> {
        let names = self.texts(columns.name)?;
        let descriptions = self.texts(columns.description)?;
        let mut rows: Vec<Result<Row, RowError>> = names
            .zip(descriptions)
            .map(|(name, description)| {
                let source_id = text(name.into_iter().next(), "name")?;
                if source_id.trim().is_empty() {
                    return Err(mistyped(
                        "name",
                        "a text that is not empty",
                        "an empty text".to_owned(),
                    ));
                }
                let statement = text(description.into_iter().next(), "description")?;
                Ok(Row {
                    source_id,
                    statement,
                    ..Row::default()
                })
            })
            .collect();
        for (tier, field, inputs, outputs) in &columns.tests {
            let (input_is_text, output_is_text) = (self.is_text(*inputs), self.is_text(*outputs));
            let inputs = self.texts(*inputs)?;
            let outputs = self.texts(*outputs)?;
            for (row, (inputs, outputs)) in rows.iter_mut().zip(inputs.zip(outputs)) {
                change(row, |row| {
                    same_length(field, ("inputs", inputs.len()), ("outputs", outputs.len()))?;
                    row.cases.reserve(inputs.len());
                    for (index, (input, expected)) in inputs.into_iter().zip(outputs).enumerate() {
                        if input_is_text {
                            check_utf8(&input, || format!("{field}.input[{index}]"))?;
                        }
                        if output_is_text {
                            check_utf8(&expected, || format!("{field}.output[{index}]"))?;
                        }
                        row.cases.push(Case {
                            tier: *tier,
                            input,
                            expected,
                        });
                    }
                    Ok(())
                });
            }
        }
        self.read_limits(columns, &mut rows)?;
        self.read_programs("solutions", columns.solutions, &mut rows, |row| {
            &mut row.solutions
        })?;
        self.read_programs(
            "incorrect_solutions",
            columns.incorrect_solutions,
            &mut rows,
            |row| &mut row.incorrect_solutions,
        )?;
        Ok(rows)
    }

    fn read_limits(
        &mut self,
        columns: &Columns,
        rows: &mut [Result<Row, RowError>],
    ) -> Result<(), DatasetError> {
        let mut numbers = |leaf: Option<Leaf>| match leaf {
            None => Ok(vec![0; rows.len()]),
            Some(leaf) => {
                let rows = self.whole_numbers(leaf)?;
                Ok(rows.map(|row| row.first().copied().unwrap_or(0)).collect())
            }
        };
        let seconds = numbers(columns.seconds)?;
        let nanos = numbers(columns.nanos)?;
        let memory = numbers(columns.memory_limit)?;
        for (row, ((seconds, nanos), memory)) in
            rows.iter_mut().zip(seconds.into_iter().zip(nanos).zip(memory))
        {
            change(row, |row| {
                let time_limit = time_limit_ms(seconds, nanos).ok_or_else(|| {
                    let expected = "seconds of at least 0 and nanoseconds below 1,000,000,000";
                    mistyped("time_limit", expected, format!("{seconds} s and {nanos} ns"))
                })?;
                let memory_limit = u64::try_from(memory).map_err(|_| {
                    let expected = "a whole number of bytes, 0 for not known";
                    mistyped("memory_limit_bytes", expected, memory.to_string())
                })?;
                row.time_limit_ms = known(time_limit);
                row.memory_limit_bytes = known(memory_limit);
                Ok(())
            });
        }
        Ok(())
    }

    fn read_programs(
        &mut self,
        field: &'static str,
        leaves: Option<(Leaf, Leaf)>,
        rows: &mut [Result<Row, RowError>],
        list: impl Fn(&mut Row) -> &mut Vec<Program>,
    ) -> Result<(), DatasetError> {
        let Some((languages, sources)) = leaves else {
            return Ok(());
        };
        let languages = self.whole_numbers(languages)?;
        let sources = self.texts(sources)?;
        for (row, (languages, sources)) in rows.iter_mut().zip(languages.zip(sources)) {
            change(row, |row| {
                same_length(
                    field,
                    ("languages", languages.len()),
                    ("solutions", sources.len()),
                )?;
                for (index, (number, source)) in (0..).zip(languages.into_iter().zip(sources)) {
                    if let Some(language) = language_of_number(number) {
                        let source = utf8(&source, || format!("{field}.solution[{index}]"))?;
                        list(row).push(Program {
                            index,
                            language,
                            source,
                        });
                    }
                }
                Ok(())
            });
        }
        Ok(())
    }

    /// Whether the column says that it is text, so that it has to be UTF-8.
    fn is_text(&self, leaf: Leaf) -> bool {
        let column = self.reader.metadata().column(leaf).column_descr();
        column.converted_type() == ConvertedType::UTF8
            || matches!(column.logical_type_ref(), Some(LogicalType::String))
    }

    fn texts(&mut self, leaf: Leaf) -> Result<impl Iterator<Item = Vec<Bytes>> + use<>, DatasetError> {
        let values = self
            .budget
            .decode::<ByteArrayType>(self.reader, leaf, self.rows_before)?;
        Ok(values
            .into_rows()
            .map(|row| row.into_iter().map(bytes_of).collect()))
    }

    fn whole_numbers(&mut self, leaf: Leaf) -> Result<std::vec::IntoIter<Vec<i64>>, DatasetError> {
        let column = self.reader.metadata().column(leaf);
        let rows: Vec<Vec<i64>> = if column.column_type() == PhysicalType::INT32 {
            let values = self
                .budget
                .decode::<Int32Type>(self.reader, leaf, self.rows_before)?;
            values
                .into_rows()
                .map(|row| row.into_iter().map(i64::from).collect())
                .collect()
        } else {
            self.budget
                .decode::<Int64Type>(self.reader, leaf, self.rows_before)?
                .into_rows()
                .collect()
        };
        Ok(rows.into_iter())
    }
}

/// The array's own buffer, not a copy: it gives no other way to its inside.
fn bytes_of(array: ByteArray) -> Bytes {
    Bytes::from_owner(array)
}

/// Changes a row that is good so far; a failure takes its place.
fn change(row: &mut Result<Row, RowError>, change: impl FnOnce(&mut Row) -> Result<(), RowError>) {
    if let Err(why) = row.as_mut().map_or(Ok(()), change) {
        *row = Err(why);
    }
}

fn same_length(
    field: &str,
    (left_name, left): (&'static str, usize),
    (right_name, right): (&'static str, usize),
) -> Result<(), RowError> {
    if left == right {
        return Ok(());
    }
    Err(RowError::Unequal {
        field: field.to_owned(),
        left_name,
        left,
        right_name,
        right,
    })
}

fn text(value: Option<Bytes>, field: &str) -> Result<String, RowError> {
    let value = value.ok_or_else(|| RowError::Missing {
        field: field.to_owned(),
    })?;
    utf8(&value, || field.to_owned())
}

fn utf8(bytes: &[u8], field: impl FnOnce() -> String) -> Result<String, RowError> {
    check_utf8(bytes, field)?;
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

fn check_utf8(bytes: &[u8], field: impl FnOnce() -> String) -> Result<(), RowError> {
    std::str::from_utf8(bytes)
        .map(|_| ())
        .map_err(|error| RowError::Utf8 {
            field: Some(field()),
            offset: error.valid_up_to() as u64,
            within: "field",
        })
}

fn mistyped(field: &str, expected: &'static str, found: String) -> RowError {
    RowError::Mistyped {
        field: field.to_owned(),
        expected,
        found,
    }
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// What `read` gives, or nothing if it panics; the panic is not printed, since the caller reports it as an error.
pub(super) fn catch_panic<T>(read: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                previous(info);
            }
        }));
    });
    QUIET.set(true);
    let read = catch_unwind(AssertUnwindSafe(read)).ok();
    QUIET.set(false);
    read
}
