//! What is handed out, and how it can fail.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::comparator::Comparator;
use crate::digest::{Digest, Payload};
use crate::ids::JobId;
use crate::limits::Limits;
use crate::problem::Language;
use crate::session::{SessionEvent, SessionSettings};

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Talks to a model.
    Gen,
    /// Runs programs.
    Eval,
}

impl Role {
    /// The word used in flags and files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Gen => "gen",
            Self::Eval => "eval",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A text that names no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no role is called `{0}`: expected `gen` or `eval`")]
pub struct UnknownRole(pub String);

impl FromStr for Role {
    type Err = UnknownRole;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "gen" => Ok(Self::Gen),
            "eval" => Ok(Self::Eval),
            _ => Err(UnknownRole(text.to_owned())),
        }
    }
}

/// A session to hold, from its beginning or from where a lost attempt stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateWork {
    /// Address of the statement, UTF-8 text.
    pub statement: Digest,
    /// Address of the public examples, an encoded [`crate::TestSet`]; for a tester that runs them.
    pub public_cases: Option<Digest>,
    /// Address of the encoded [`crate::ReferenceMaterial`]; only for the offline model `reference`.
    pub reference: Option<Digest>,
    /// Address of the encoded [`crate::Recording`]; only for the offline model `recorded`.
    pub recording: Option<Digest>,
    /// Name of the endpoint whose model is asked; none for the offline models.
    pub endpoint: Option<String>,
    /// The function that is asked for; none for a program from standard input to standard output.
    pub entry_point: Option<String>,
    /// Limits of the statement, for the prompt: time in milliseconds, memory in bytes.
    pub time_limit_ms: Option<u64>,
    /// As above.
    pub memory_limit_bytes: Option<u64>,
    /// How the session is held.
    pub settings: SessionSettings,
    /// What earlier attempts left behind, in order.
    pub resume: Vec<SessionEvent>,
    /// Reports of round tests that earlier attempts left behind: (round, program, encoded report).
    pub reports: Vec<(u32, Digest, Payload)>,
    /// Address of the encoded [`PromptSet`]; none where all templates are the built-in ones.
    pub prompts: Option<Digest>,
}

/// Templates of prompts that replace built-in ones; a blob of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PromptSet {
    /// Their texts by name, such as `coder`.
    pub templates: BTreeMap<String, String>,
}

/// How the process of a test comes into being. The order is from the fastest to the one with the fewest tricks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartMode {
    /// Forked from an interpreter that has compiled the program; one that would notice is started naturally.
    #[default]
    Fast,
    /// Forked from an interpreter that has read nothing of the program, which it then reads and runs as always.
    Natural,
    /// An interpreter of its own.
    Fresh,
}

impl StartMode {
    /// The word used in flags and files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Natural => "natural",
            Self::Fresh => "fresh",
        }
    }
}

impl fmt::Display for StartMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A text that names no start mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no start mode is called `{0}`: expected `fast`, `natural` or `fresh`")]
pub struct UnknownStartMode(pub String);

impl FromStr for StartMode {
    type Err = UnknownStartMode;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "fast" => Ok(Self::Fast),
            "natural" => Ok(Self::Natural),
            "fresh" => Ok(Self::Fresh),
            _ => Err(UnknownStartMode(text.to_owned())),
        }
    }
}

/// How the processes of a program come into being, and when none is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Execution {
    /// How they are started.
    pub start: StartMode,
    /// Of 1000 cases, how many are run once more by a fresh interpreter and compared; 0 to 1000.
    pub audit_per_mille: u32,
    /// Whether the report of an equal program under equal conditions may be given again.
    pub reuse: bool,
}

impl Default for Execution {
    fn default() -> Self {
        Self {
            start: StartMode::Fast,
            audit_per_mille: 10,
            reuse: true,
        }
    }
}

/// A program to run against a test set.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluateWork {
    /// The program's text.
    pub program: Payload,
    /// What it is written in.
    pub language: Language,
    /// Address of the encoded [`crate::TestSet`].
    pub tests: Digest,
    /// What each test may use.
    pub limits: Limits,
    /// By which rule outputs agree.
    pub comparator: Comparator,
    /// Whether an exit status other than 0 is no failure.
    pub ignore_exit_status: bool,
    /// After how many cases that timed out the rest count as timed out, not run; 0 runs all.
    pub timeouts_max: u32,
    /// Whether cases after the first failing one are left out.
    pub stop_on_first_failure: bool,
    /// Characters kept of an output, at its head and at its tail together.
    pub output_chars: u32,
    /// The function that the cases call by the name `candidate`: the input of each is a piece of the program's
    /// language that is run after the program, and passes if it ends without an error. None for a program from standard
    /// input to standard output.
    pub entry_point: Option<String>,
    /// How its processes come into being, and when none is needed.
    pub execution: Execution,
}

/// What is handed out.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, made when a job is granted and taken apart by whoever does it"
)]
pub enum Work {
    /// Hold a session.
    Generate(GenerateWork),
    /// Judge a program.
    Evaluate(EvaluateWork),
}

impl Work {
    /// Which role does it.
    pub fn role(&self) -> Role {
        match self {
            Self::Generate(_) => Role::Gen,
            Self::Evaluate(_) => Role::Eval,
        }
    }
}

/// Which of two jobs of a role goes first; the smaller one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority(pub u8);

impl Priority {
    /// Tests of a round: a session waits for them.
    pub const URGENT: Self = Self(0);
    /// Sessions and final evaluations.
    pub const NORMAL: Self = Self(100);
    /// Evaluations of rounds: nothing waits for them but the end of their run.
    pub const LOWEST: Self = Self(200);

    /// Those that jobs have, the first one first.
    pub const ALL: [Self; 3] = [Self::URGENT, Self::NORMAL, Self::LOWEST];

    /// The priority of a job.
    pub fn of(job: &JobId) -> Self {
        match job.kind {
            crate::ids::JobKind::RoundTests { .. } => Self::URGENT,
            crate::ids::JobKind::Generate | crate::ids::JobKind::Evaluate => Self::NORMAL,
            crate::ids::JobKind::EvaluateRound { .. } => Self::LOWEST,
        }
    }
}

/// Whose failure it is and whether another try can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The model could not be reached or would not answer.
    Model,
    /// The job itself cannot be done, wherever it is tried.
    Job,
    /// The machinery failed; another try may help.
    InfraRetry,
    /// The machinery failed; this worker cannot do it.
    InfraFatal,
    /// It was told to stop.
    Cancelled,
}

/// A failure of ours. Never a verdict on a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Whose failure it is.
    pub class: FailureClass,
    /// What happened, lower case, no full stop.
    pub message: String,
}

impl Failure {
    /// Whether another attempt may end otherwise.
    pub fn is_transient(&self) -> bool {
        match self.class {
            FailureClass::InfraRetry | FailureClass::InfraFatal | FailureClass::Cancelled => true,
            FailureClass::Model | FailureClass::Job => false,
        }
    }
}
