//! Rows on their way to problems: what every format has in common once a row is read.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use roundhouse_proto::{Case, Language, Problem, Program, TestSet};

use super::error::RowError;
use super::{Compression, Container, Format, Warning};

/// CodeContests' number of Python 3 in `solutions.language`.
const LANGUAGE_PYTHON3: i64 = 3;

/// What was read of a file.
pub(super) struct Rows {
    pub(super) format: Format,
    pub(super) container: Container,
    pub(super) compression: Compression,
    pub(super) rows: u32,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Warning>,
}

/// One row, of any format.
#[derive(Default)]
pub(super) struct Row {
    pub(super) source_id: String,
    pub(super) statement: String,
    /// In the order of the tiers.
    pub(super) cases: Vec<Case>,
    pub(super) time_limit_ms: Option<u64>,
    pub(super) memory_limit_bytes: Option<u64>,
    pub(super) solutions: Vec<Program>,
    pub(super) incorrect_solutions: Vec<Program>,
    /// The function that is asked for.
    pub(super) entry_point: Option<String>,
    /// Its tests call a function in a form that is not read.
    pub(super) is_function_task: bool,
}

/// Takes row after row and numbers them.
#[derive(Default)]
pub(super) struct Collector {
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Warning>,
    row_of_id: HashMap<String, u32>,
}

impl Collector {
    /// Takes the row of this number, from 1.
    pub(super) fn push(&mut self, number: u32, row: Row) -> Result<(), RowError> {
        match self.row_of_id.entry(row.source_id.clone()) {
            Entry::Occupied(first) => {
                return Err(RowError::DuplicateId {
                    id: row.source_id,
                    first_row: *first.get(),
                });
            }
            Entry::Vacant(free) => free.insert(number),
        };
        if row.is_function_task {
            self.warnings.push(Warning::FunctionTask {
                row: number,
                source_id: row.source_id,
            });
            return Ok(());
        }
        if row.cases.is_empty() {
            self.warnings.push(Warning::NoTests {
                row: number,
                source_id: row.source_id.clone(),
            });
        }
        if row.statement.trim().is_empty() {
            self.warnings.push(Warning::EmptyStatement {
                row: number,
                source_id: row.source_id.clone(),
            });
        }
        self.problems.push(Problem {
            position: number,
            source_id: row.source_id,
            statement: row.statement,
            tests: TestSet { cases: row.cases },
            time_limit_ms: row.time_limit_ms,
            memory_limit_bytes: row.memory_limit_bytes,
            solutions: row.solutions,
            incorrect_solutions: row.incorrect_solutions,
            entry_point: row.entry_point,
        });
        Ok(())
    }
}

/// Whether CodeContests' number of a language is one that we judge.
pub(super) fn language_of_number(number: i64) -> Option<Language> {
    (number == LANGUAGE_PYTHON3).then_some(Language::Python3)
}

/// A limit where 0 means that it is not known.
pub(super) fn known(limit: u64) -> Option<u64> {
    (limit != 0).then_some(limit)
}

/// Seconds and nanoseconds as whole milliseconds, rounded up so that a limit never shrinks; `None` if negative,
/// too large, or with a nanosecond part of a second or more.
pub(super) fn time_limit_ms(seconds: i64, nanos: i64) -> Option<u64> {
    let nanos = u64::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    u64::try_from(seconds)
        .ok()?
        .checked_mul(1_000)?
        .checked_add(nanos.div_ceil(1_000_000))
}
