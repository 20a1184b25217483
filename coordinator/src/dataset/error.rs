//! Why a data set could not be read, and what to do about it.
//!
//! The text of an error says where (file, row, line) and its source says why (field, what was expected, what
//! was found). [`DatasetError::hint`] says what to do next; whoever prints the error puts it on a line of its own.

use std::io;
use std::path::{Path, PathBuf};

use super::quote::{plain, quoted};

/// The formats that are known, as one sentence for errors.
const KNOWN_FORMATS: &str = "known are CodeContests rows (`name`, `description`, `public_tests`, \
     `private_tests`, `generated_tests`; parquet or JSON), rows with `problem_id`, `description` and \
     `all_test_cases`, APPS rows (`problem_id`, `question`, `input_output`, or `public_tests` and `hidden_tests`), and \
     as JSON HumanEval rows (`task_id`, `prompt`, `entry_point`, `test`) and MBPP rows (`task_id`, `text`, `test_list`)";

/// A data set could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// Nothing has this name.
    #[error("there is no file `{}`", shown(path))]
    NotFound {
        /// As it was given.
        path: PathBuf,
    },
    /// It is a directory.
    #[error("`{}` is a directory, not a data set", shown(path))]
    Directory {
        /// As it was given.
        path: PathBuf,
        /// Files in it that look like data sets, at most three.
        inside: Vec<String>,
    },
    /// The operating system did not let it be read.
    #[error("read `{}`", shown(path))]
    Read {
        /// As it was given.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No byte, or only white space.
    #[error("`{}` is empty", shown(path))]
    Empty {
        /// As it was given.
        path: PathBuf,
    },
    /// A data set of a known format without any row.
    #[error("`{}` has no rows", shown(path))]
    NoRows {
        /// As it was given.
        path: PathBuf,
    },
    /// More bytes than a data set may have.
    #[error("`{}` is larger than {bytes_max} bytes", shown(path))]
    FileTooLarge {
        /// As it was given.
        path: PathBuf,
        /// The bound.
        bytes_max: u64,
    },
    /// More bytes once decompressed than a data set may have.
    #[error(
        "`{}` unpacks to more than {bytes_max} bytes: it is damaged, or made to exhaust memory",
        shown(path)
    )]
    Inflated {
        /// As it was given.
        path: PathBuf,
        /// The bound.
        bytes_max: u64,
    },
    /// More rows than a data set may have.
    #[error("`{}` has more than {rows_max} rows", shown(path))]
    TooManyRows {
        /// As it was given.
        path: PathBuf,
        /// The bound.
        rows_max: u32,
    },
    /// Something else than a data set.
    #[error("`{}` is not a data set: it is {found}", shown(path))]
    Foreign {
        /// As it was given.
        path: PathBuf,
        /// What it seems to be, with its article.
        found: String,
    },
    /// Rows or columns of a schema that is not known.
    #[error(
        "`{}` has rows of an unknown schema, with the fields {}; {KNOWN_FORMATS}",
        shown(path),
        listed(fields)
    )]
    UnknownSchema {
        /// As it was given.
        path: PathBuf,
        /// The fields of its first row, or its columns.
        fields: Vec<String>,
    },
    /// Tasks that ask for a function, in a form that is not read.
    #[error(
        "`{}` holds function tasks of {of} in a form that is not supported: those of HumanEval and MBPP are read as \
         JSON or JSON Lines",
        shown(path)
    )]
    FunctionTasks {
        /// As it was given.
        path: PathBuf,
        /// The data set.
        of: &'static str,
    },
    /// The end of the file is missing.
    #[error("`{}` is truncated: {what}", shown(path))]
    Truncated {
        /// As it was given.
        path: PathBuf,
        /// What is missing.
        what: String,
    },
    /// Its bytes are not what its own headers say.
    #[error("`{}` is damaged: {what}", shown(path))]
    Damaged {
        /// As it was given.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// A parquet column of a known name has another type.
    #[error(
        "`{}`, column {}: expected {expected}, found {found}",
        shown(path),
        quoted(column)
    )]
    Column {
        /// As it was given.
        path: PathBuf,
        /// Its path in the schema, with dots.
        column: String,
        /// What was expected.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// One row cannot be used.
    #[error("read problems from `{}`, row {row}{}", shown(path), in_line(*line))]
    Row {
        /// As it was given.
        path: PathBuf,
        /// Its number, from 1.
        row: u32,
        /// Its line, from 1, where every row has a line of its own.
        line: Option<u64>,
        /// What is wrong with it.
        #[source]
        why: RowError,
    },
}

/// What is wrong with one row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowError {
    /// Not UTF-8.
    #[error("{}byte {offset} of the {within} is not UTF-8", in_field(field.as_deref()))]
    Utf8 {
        /// The field, where it is known.
        field: Option<String>,
        /// Of the first wrong byte, from 0.
        offset: u64,
        /// What the offset counts in: `line`, `field` or `file`.
        within: &'static str,
    },
    /// Not JSON.
    #[error("not JSON at {position}: {reason}")]
    Json {
        /// Line (in a file of one JSON value) and column, from 1.
        position: String,
        /// In the parser's words.
        reason: String,
    },
    /// The row breaks off.
    #[error("the row breaks off at {position}")]
    Cut {
        /// Line (in a file of one JSON value) and column, from 1.
        position: String,
        /// Whether more lines follow.
        more_follows: MoreFollows,
    },
    /// A line longer than a row may be.
    #[error("the line is longer than {bytes_max} bytes")]
    TooLong {
        /// The bound.
        bytes_max: u64,
    },
    /// Not a JSON object.
    #[error("expected an object with named fields, found {found}")]
    NotObject {
        /// What it is.
        found: &'static str,
    },
    /// A field is missing.
    #[error("field {} is missing", quoted(field))]
    Missing {
        /// Its path, with dots.
        field: String,
    },
    /// A field has another type or an impossible value.
    #[error("field {}: expected {expected}, found {found}", quoted(field))]
    Mistyped {
        /// Its path, with dots and places from 0.
        field: String,
        /// What was expected.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// A field that holds JSON as a text does not.
    #[error(
        "field {} does not hold JSON, at line {line}, column {column} of its text: {reason}",
        quoted(field)
    )]
    InnerJson {
        /// Its name.
        field: String,
        /// From 1, within the field's text.
        line: usize,
        /// From 1, within that line.
        column: usize,
        /// In the parser's words.
        reason: String,
    },
    /// Two lists that belong together differ in length.
    #[error("field {}: {left} {left_name} but {right} {right_name}", quoted(field))]
    Unequal {
        /// The field that holds both.
        field: String,
        /// Name of the first list.
        left_name: &'static str,
        /// Its length.
        left: usize,
        /// Name of the second list.
        right_name: &'static str,
        /// Its length.
        right: usize,
    },
    /// Another row has the same id.
    #[error("its id {} is that of row {first_row} too", quoted(id))]
    DuplicateId {
        /// The id.
        id: String,
        /// The row that had it first, from 1.
        first_row: u32,
    },
}

/// Whether something follows a row that breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoreFollows {
    /// It is the end of the file.
    No,
    /// More lines follow.
    Yes,
}

impl DatasetError {
    /// What the user can do next, one sentence without a full stop.
    pub fn hint(&self) -> Option<String> {
        let fetch = "get a data set with `coordinator dataset fetch code_contests --split test`";
        match self {
            Self::NotFound { .. } | Self::Empty { .. } | Self::NoRows { .. } => {
                Some(format!("check the name, or {fetch}"))
            }
            Self::Directory { inside, .. } if inside.is_empty() => Some(format!("name a file, or {fetch}")),
            Self::Directory { inside, .. } => Some(format!("name one of its files: {}", listed(inside))),
            Self::Truncated { .. } | Self::Damaged { .. } | Self::Inflated { .. } => {
                Some("copy or download the file again and compare its size and checksum".to_owned())
            }
            Self::Foreign { found, .. } if found.contains("git-lfs") => {
                Some(format!("run `git lfs pull` where it came from, or {fetch}"))
            }
            Self::Foreign { .. } => Some(format!("name a parquet, JSON or JSON Lines file, or {fetch}")),
            Self::FileTooLarge { .. } | Self::TooManyRows { .. } => {
                Some("split the file into smaller ones".to_owned())
            }
            Self::Row { why, .. } => why.hint(),
            Self::Read { .. }
            | Self::UnknownSchema { .. }
            | Self::FunctionTasks { .. }
            | Self::Column { .. } => None,
        }
    }

    /// A directory of this path, with the files in it that look like data sets.
    pub(super) fn directory(path: &Path) -> Self {
        const ENTRIES_MAX: usize = 1_000;
        const ENDINGS: [&str; 7] = [
            ".parquet",
            ".jsonl",
            ".json",
            ".ndjson",
            ".gz",
            ".zst",
            ".jsonlines",
        ];
        let mut inside: Vec<String> = std::fs::read_dir(path)
            .into_iter()
            .flatten()
            .take(ENTRIES_MAX)
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| ENDINGS.iter().any(|ending| name.ends_with(ending)))
            .collect();
        inside.sort();
        inside.truncate(3);
        Self::Directory {
            path: path.to_owned(),
            inside,
        }
    }
}

impl RowError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Cut {
                more_follows: MoreFollows::No,
                ..
            } => Some("the end of the file is missing: copy or download it again".to_owned()),
            Self::Cut {
                more_follows: MoreFollows::Yes,
                ..
            } => Some(
                "JSON Lines has one whole row in each line: write every row on one line, for instance with \
                 `jq -c`"
                    .to_owned(),
            ),
            Self::DuplicateId { .. } => {
                Some("remove one of the two rows, or give it an id of its own".to_owned())
            }
            Self::Unequal { .. } => {
                Some("every input needs one output: correct the row or remove it".to_owned())
            }
            Self::Utf8 { .. } => Some("convert the file to UTF-8, for instance with `iconv`".to_owned()),
            Self::Json { .. }
            | Self::TooLong { .. }
            | Self::NotObject { .. }
            | Self::Missing { .. }
            | Self::Mistyped { .. }
            | Self::InnerJson { .. } => None,
        }
    }
}

fn shown(path: &Path) -> String {
    const PATH_CHARS_MAX: usize = 400;
    plain(&path.to_string_lossy(), PATH_CHARS_MAX)
}

fn in_line(line: Option<u64>) -> String {
    line.map(|line| format!(" (line {line})")).unwrap_or_default()
}

fn in_field(field: Option<&str>) -> String {
    field
        .map(|field| format!("field {}: ", quoted(field)))
        .unwrap_or_default()
}

fn listed(names: &[String]) -> String {
    const NAMES_MAX: usize = 24;
    if names.is_empty() {
        return "(none)".to_owned();
    }
    let mut text = names
        .iter()
        .take(NAMES_MAX)
        .map(|name| quoted(name))
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > NAMES_MAX {
        text.push_str(", …");
    }
    text
}
