//! What an evaluation worker reports of one program.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::verdict::Verdict;

/// How well the host lets programs be shut in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Resource limits only.
    None,
    /// Some layers are missing.
    Partial,
    /// All layers but a cgroup: the memory of several processes together is not bounded.
    FullNocg,
    /// Namespaces, system-call filter, file rules, cgroup.
    Full,
}

impl Isolation {
    /// The word used in flags and files.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Partial => "partial",
            Self::FullNocg => "full-nocg",
            Self::Full => "full",
        }
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A text of which only the beginning and the end were kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clip {
    /// The beginning; all of it when nothing was left out.
    pub head: String,
    /// Characters left out between head and tail; bytes that are not UTF-8 count as one character each.
    pub left_out: u64,
    /// The end; empty when nothing was left out.
    pub tail: String,
}

/// What one case came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseResult {
    /// Place in the test set, from 0.
    pub case: u32,
    /// What it came to.
    pub verdict: Verdict,
    /// True if the case was not run, because enough others had timed out or failed before it.
    pub not_run: bool,
    /// CPU time of all its processes, in milliseconds.
    pub cpu_ms: u64,
    /// Time on the clock, in milliseconds.
    pub wall_ms: u64,
    /// Most memory used at once, in bytes.
    pub memory_bytes: u64,
    /// Exit status, unless a signal ended it.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Standard output.
    pub stdout: Clip,
    /// The last lines of standard error.
    pub stderr_tail: String,
}

/// What running cases once more by a fresh interpreter came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Cases that were run once more.
    pub audited: u32,
    /// Those of them that came to something else: the faster start was at fault, and the fresh result stands.
    pub mismatched: u32,
}

/// What one program came to on one test set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvaluationReport {
    /// One result per case, in the order of the test set.
    pub cases: Vec<CaseResult>,
    /// How the programs were shut in.
    pub isolation: Isolation,
    /// Name and full version of the interpreter, such as `CPython 3.11.7`.
    pub interpreter: String,
    /// How long a slot was busy with it, in milliseconds.
    pub busy_ms: u64,
    /// What running cases once more by a fresh interpreter came to.
    pub audit: Audit,
    /// Whether it was made for an equal program before and given again.
    pub reused: bool,
}

impl EvaluationReport {
    /// Cases that passed.
    pub fn passed(&self) -> u32 {
        self.cases
            .iter()
            .map(|case| u32::from(case.verdict == Verdict::Accepted))
            .sum()
    }
}
