//! One task of a data set, as every loader gives it.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Where a case comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Shown in the statement.
    Public,
    /// Hidden, from the site.
    Private,
    /// Hidden, made by mutating others.
    Generated,
}

impl Tier {
    /// All tiers, in the order in which cases are numbered.
    pub const ALL: [Self; 3] = [Self::Public, Self::Private, Self::Generated];

    /// The word used in flags and files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Generated => "generated",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One test: what goes in and what should come out. Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Where it comes from.
    pub tier: Tier,
    /// Standard input.
    pub input: Bytes,
    /// Expected standard output.
    pub expected: Bytes,
}

/// Cases in the order public, private, generated; a case's number is its place here, from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestSet {
    /// The cases.
    pub cases: Vec<Case>,
}

/// A programming language that programs are judged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// Python 3.
    Python3,
}

impl Language {
    /// The word used in flags and files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Python3 => "python3",
        }
    }

    /// The ending of its files, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Python3 => "py",
        }
    }
}

/// A text that names no language.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no language is called `{0}`: expected `python3`")]
pub struct UnknownLanguage(pub String);

impl FromStr for Language {
    type Err = UnknownLanguage;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "python3" => Ok(Self::Python3),
            _ => Err(UnknownLanguage(text.to_owned())),
        }
    }
}

/// A program that comes with the data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its place in the row's own list, from 0, programs in other languages counted.
    pub index: u32,
    /// What it is written in.
    pub language: Language,
    /// Its text.
    pub source: String,
}

/// One task of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// 1-based position in the unfiltered data set.
    pub position: u32,
    /// The data set's own id or name.
    pub source_id: String,
    /// The statement, as it is.
    pub statement: String,
    /// Every case of every tier.
    pub tests: TestSet,
    /// The original time limit, where it is known.
    pub time_limit_ms: Option<u64>,
    /// The original memory limit, where it is known.
    pub memory_limit_bytes: Option<u64>,
    /// Programs that are right, those in a [`Language`] we judge.
    pub solutions: Vec<Program>,
    /// Programs that are wrong, those in a [`Language`] we judge.
    pub incorrect_solutions: Vec<Program>,
    /// The function that is asked for; its cases are as in [`crate::EvaluateWork::entry_point`]. None for a program
    /// from standard input to standard output.
    pub entry_point: Option<String>,
}

impl Problem {
    /// The name of its directory: `problem_001`; longer from 1,000 on.
    pub fn name(&self) -> String {
        problem_name(self.position)
    }
}

/// The name of the directory of the problem at a 1-based position: `problem_001`.
pub fn problem_name(position: u32) -> String {
    format!("problem_{position:03}")
}

/// What the offline model `reference` answers with; a blob of its own, so that no other model's worker has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReferenceMaterial {
    /// The data set's first accepted program, else its first wrong one, else nothing.
    pub program: Option<String>,
    /// The public examples, else the three shortest hidden cases.
    pub cases: Vec<Case>,
}
