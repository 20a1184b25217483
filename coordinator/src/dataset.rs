//! Data sets: from a problems file to [`Problem`]s.
//!
//! The start of the data's path: every command that takes `--problems` calls [`load`] and then [`select`]. The
//! format is recognised by content, never by name. Nothing is repaired silently: a row that cannot be used is an
//! error that names it, a row that can but will disappoint is a [`Warning`].
//!
//! Inputs and expected outputs are kept byte for byte: no final newline is added or taken away. The whole file is
//! held in memory while it is read; the cases of one row or page share one buffer. Nothing here knows how a
//! problem is judged, and nothing here runs a program.

mod collect;
mod columns;
mod container;
mod error;
mod json;
pub mod quote;
mod rows;
mod selection;

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use bytes::Bytes;
use roundhouse_proto::{Digest, Problem};

pub use error::{DatasetError, MoreFollows, RowError};
pub use selection::{SelectionError, select};

/// A data set in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// In file order. Positions are row numbers; a row that was left out with a warning leaves its number unused.
    pub problems: Vec<Problem>,
    /// What is odd, in row order.
    pub warnings: Vec<Warning>,
    /// What the file is.
    pub info: Info,
}

/// What a problems file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// What a row looks like.
    pub format: Format,
    /// What the rows are kept in.
    pub container: Container,
    /// What is around that.
    pub compression: Compression,
    /// Of the file's bytes as they are on disk.
    pub sha256: Digest,
    /// The file's size.
    pub bytes: u64,
    /// Rows, also those that were left out.
    pub rows: u32,
}

/// What a row looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// CodeContests: `name`, `description`, three tiers of tests, programs in several languages.
    CodeContests,
    /// `problem_id`, `description`, `all_test_cases` with `inputs` and `outputs`; every case is private.
    AllTestCases,
    /// APPS: `input_output` as JSON in a text, or `public_tests` and `hidden_tests`.
    Apps,
    /// HumanEval: `prompt`, `entry_point`, `test`; every row asks for a function.
    HumanEval,
    /// MBPP: `text` or `prompt`, `test_list`; every row asks for a function.
    Mbpp,
}

/// What rows are kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// Apache Parquet.
    Parquet,
    /// One JSON object in each line.
    JsonLines,
    /// One JSON array of objects.
    JsonArray,
}

/// What is around the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Nothing; parquet may be compressed inside.
    None,
    /// gzip, one or more members.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Format {
    /// The name of the data set for people. Rows with `all_test_cases` are CodeContests problems in another form.
    pub fn title(self) -> &'static str {
        match self {
            Self::CodeContests | Self::AllTestCases => "CodeContests",
            Self::Apps => "APPS",
            Self::HumanEval => "HumanEval",
            Self::Mbpp => "MBPP",
        }
    }

    /// The word used in files.
    pub fn word(self) -> &'static str {
        match self {
            Self::CodeContests => "code_contests",
            Self::AllTestCases => "all_test_cases",
            Self::Apps => "apps",
            Self::HumanEval => "humaneval",
            Self::Mbpp => "mbpp",
        }
    }
}

impl Container {
    /// The word used in files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::JsonLines => "jsonl",
            Self::JsonArray => "json",
        }
    }
}

impl Compression {
    /// The word used in files.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// Something odd that does not stop a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// A problem without a test: it is kept and can only fail.
    NoTests {
        /// From 1.
        row: u32,
        /// Its own id.
        source_id: String,
    },
    /// A problem whose statement is empty or white space.
    EmptyStatement {
        /// From 1.
        row: u32,
        /// Its own id.
        source_id: String,
    },
    /// A row of APPS that asks for a function; it is left out, since its tests are no code that calls one.
    FunctionTask {
        /// From 1.
        row: u32,
        /// Its own id.
        source_id: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTests { row, source_id } => write!(
                f,
                "row {row} ({}) has no tests: it counts as FAIL with 0 %",
                quote::quoted(source_id)
            ),
            Self::EmptyStatement { row, source_id } => {
                write!(
                    f,
                    "row {row} ({}) has an empty statement",
                    quote::quoted(source_id)
                )
            }
            Self::FunctionTask { row, source_id } => write!(
                f,
                "row {row} ({}) is left out: function tasks of APPS are not supported",
                quote::quoted(source_id)
            ),
        }
    }
}

/// What a data set may cost at most.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    file_bytes_max: u64,
    decoded_bytes_max: u64,
    line_bytes_max: u64,
    rows_max: u32,
    /// Texts in all lists of all rows.
    values_max: u64,
}

impl Bounds {
    /// Far above every public data set: the largest shard of CodeContests' training split has some 200 MB.
    const DEFAULT: Self = Self {
        file_bytes_max: 4 << 30,
        decoded_bytes_max: 8 << 30,
        line_bytes_max: 1 << 30,
        rows_max: 1_000_000,
        values_max: 100_000_000,
    };
}

/// Reads the data set in the file at `path`.
///
/// # Errors
/// Names the file, the row and what was expected; [`DatasetError::hint`] says what to do next.
pub fn load(path: &Path) -> Result<Loaded, DatasetError> {
    load_within(path, Bounds::DEFAULT)
}

/// Reads a data set that is in memory; `name` stands where errors name the file.
///
/// # Errors
/// As [`load`].
pub fn load_bytes(name: &str, file: &Bytes) -> Result<Loaded, DatasetError> {
    decode(Path::new(name), file, Bounds::DEFAULT)
}

fn load_within(path: &Path, bounds: Bounds) -> Result<Loaded, DatasetError> {
    decode(path, &read(path, bounds.file_bytes_max)?, bounds)
}

fn decode(path: &Path, file: &Bytes, bounds: Bounds) -> Result<Loaded, DatasetError> {
    // The checksum takes about as long as the reading, so the two run beside each other.
    let (sha256, read) = std::thread::scope(|scope| {
        let sha256 = scope.spawn(|| Digest::of(file));
        let read = container::read(path, file, bounds);
        (
            sha256.join().expect("a checksum of bytes in memory cannot panic"),
            read,
        )
    });
    let read = read?;
    if read.problems.is_empty() {
        return Err(match read.warnings.first() {
            Some(_) => DatasetError::FunctionTasks {
                path: path.to_owned(),
                of: "APPS",
            },
            None => DatasetError::NoRows {
                path: path.to_owned(),
            },
        });
    }
    Ok(Loaded {
        info: Info {
            format: read.format,
            container: read.container,
            compression: read.compression,
            sha256,
            bytes: file.len() as u64,
            rows: read.rows,
        },
        problems: read.problems,
        warnings: read.warnings,
    })
}

/// The whole file; a pipe works as well.
fn read(path: &Path, bytes_max: u64) -> Result<Bytes, DatasetError> {
    let failed = |source| DatasetError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => DatasetError::NotFound {
            path: path.to_owned(),
        },
        _ => failed(source),
    })?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(DatasetError::directory(path));
    }
    let too_large = || DatasetError::FileTooLarge {
        path: path.to_owned(),
        bytes_max,
    };
    if metadata.len() > bytes_max {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let room = usize::try_from(metadata.len()).unwrap_or(0);
    bytes
        .try_reserve_exact(room)
        .map_err(|error| failed(io::Error::new(io::ErrorKind::OutOfMemory, error)))?;
    file.take(bytes_max.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        return Err(too_large());
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests;
