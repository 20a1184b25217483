//! What a program came to, on one case or on all of them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a program came to. A failure of ours is [`Verdict::InternalError`] and never the program's fault.
///
/// The order is that of judging: when several hold, the greatest wins
/// (internal error > compile error > memory > time > output > runtime error > wrong answer > accepted).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// The output agrees with the expected one.
    #[serde(rename = "AC")]
    Accepted,
    /// The output differs.
    #[serde(rename = "WA")]
    WrongAnswer,
    /// It ended by a signal or with an exit status other than 0.
    #[serde(rename = "RE")]
    RuntimeError,
    /// It wrote more than it may.
    #[serde(rename = "OLE")]
    OutputLimit,
    /// It used more CPU time, or took longer, than it may.
    #[serde(rename = "TLE")]
    TimeLimit,
    /// It used more memory than it may.
    #[serde(rename = "MLE")]
    MemoryLimit,
    /// It does not compile.
    #[serde(rename = "CE")]
    CompileError,
    /// The machinery failed; the program was not judged.
    #[serde(rename = "IE")]
    InternalError,
}

impl Verdict {
    /// The short form that reports and summary.json use.
    pub fn code(self) -> &'static str {
        match self {
            Self::Accepted => "AC",
            Self::WrongAnswer => "WA",
            Self::RuntimeError => "RE",
            Self::OutputLimit => "OLE",
            Self::TimeLimit => "TLE",
            Self::MemoryLimit => "MLE",
            Self::CompileError => "CE",
            Self::InternalError => "IE",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
