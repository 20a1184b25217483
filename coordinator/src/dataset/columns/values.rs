//! One column of a row group: its values, by row.

use parquet::column::reader::{ColumnReaderImpl, get_typed_column_reader};
use parquet::data_type::{AsBytes as _, DataType};
use parquet::errors::ParquetError;
use parquet::file::reader::RowGroupReader;

use super::super::container::Origin;
use super::super::error::{DatasetError, RowError};
use super::schema::Leaf;

/// Rows whose values are decoded at once, between two looks at the bounds.
const ROWS_AT_ONCE: usize = 256;

/// The values of one column, by row.
pub(super) struct Values<T> {
    all: Vec<T>,
    /// For each row where its values end in `all`.
    ends: Vec<usize>,
}

impl<T> Values<T> {
    /// For each row its values: of a list all, of a single value none (null) or one.
    pub(super) fn into_rows(self) -> impl Iterator<Item = Vec<T>> {
        let mut all = self.all.into_iter();
        let mut start = 0;
        self.ends.into_iter().map(move |end| {
            let count = end - start;
            start = end;
            all.by_ref().take(count).collect()
        })
    }
}

/// What was decoded so far, against the bounds.
pub(super) struct Budget<'a> {
    origin: Origin<'a>,
    bytes: u64,
    values: u64,
}

impl<'a> Budget<'a> {
    pub(super) fn new(origin: Origin<'a>) -> Self {
        Self {
            origin,
            bytes: 0,
            values: 0,
        }
    }

    pub(super) fn spend(&mut self, values: u64, bytes: u64) -> Result<(), DatasetError> {
        self.values = self.values.saturating_add(values);
        self.bytes = self.bytes.saturating_add(bytes);
        let bounds = self.origin.bounds;
        if self.values > bounds.values_max || self.bytes > bounds.decoded_bytes_max {
            return Err(DatasetError::Inflated {
                path: self.origin.path.to_owned(),
                bytes_max: bounds.decoded_bytes_max,
            });
        }
        Ok(())
    }

    /// Decodes the column `leaf` of `group`, whose first row comes after `rows_before` others.
    ///
    /// # Panics
    /// If the column has another type than `T`, and wherever the decoder panics on damaged pages; the caller
    /// catches it.
    pub(super) fn decode<T: DataType>(
        &mut self,
        group: &dyn RowGroupReader,
        leaf: Leaf,
        rows_before: u32,
    ) -> Result<Values<T::T>, DatasetError> {
        let origin = self.origin;
        let column = group.metadata().column(leaf).column_descr_ptr();
        let damaged = |why: String| damaged_column(origin, &column.path().string(), &why);
        let failed = |error: ParquetError| damaged(error.to_string());
        let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
        let mut reader: ColumnReaderImpl<T> =
            get_typed_column_reader(group.get_column_reader(leaf).map_err(failed)?);
        let (full, in_list) = (column.max_def_level(), column.max_rep_level() > 0);
        let (mut levels, mut repeats) = (Vec::new(), Vec::new());
        let mut values = Values {
            all: Vec::new(),
            ends: Vec::new(),
        };
        loop {
            levels.clear();
            repeats.clear();
            let start = values.all.len();
            let (_, decoded, count) = reader
                .read_records(
                    ROWS_AT_ONCE,
                    (full > 0).then_some(&mut levels),
                    in_list.then_some(&mut repeats),
                    &mut values.all,
                )
                .map_err(failed)?;
            if count == 0 {
                break;
            }
            let bytes = values.all[start..]
                .iter()
                .map(|value| value.as_bytes().len() as u64)
                .sum();
            self.spend(decoded as u64, bytes)?;
            let mut end = start;
            for place in 0..count {
                if !in_list || repeats[place] == 0 {
                    if values.ends.len() == rows {
                        return Err(damaged(format!("it has more than the {rows} rows of its group")));
                    }
                    values.ends.push(end);
                }
                let level = if full > 0 { levels[place] } else { full };
                if level == full {
                    end += 1;
                    let last = values.ends.last_mut();
                    *last.ok_or_else(|| damaged("it starts in the middle of a row".to_owned()))? = end;
                } else if in_list && level >= column.repeated_ancestor_def_level() {
                    let row = rows_before + u32::try_from(values.ends.len()).unwrap_or(u32::MAX);
                    let why = RowError::Mistyped {
                        field: column.path().string(),
                        expected: "a list without gaps",
                        found: "null in it".to_owned(),
                    };
                    return Err(DatasetError::Row {
                        path: origin.path.to_owned(),
                        row,
                        line: None,
                        why,
                    });
                }
            }
        }
        if values.ends.len() != rows {
            return Err(damaged(format!(
                "it has {} rows and its group {rows}",
                values.ends.len()
            )));
        }
        Ok(values)
    }
}

fn damaged_column(origin: Origin<'_>, column: &str, why: &str) -> DatasetError {
    DatasetError::Damaged {
        path: origin.path.to_owned(),
        what: format!(
            "column {} cannot be decoded ({})",
            super::super::quote::quoted(column),
            super::super::quote::plain(why, super::super::quote::QUOTED_CHARS_MAX)
        ),
    }
}
