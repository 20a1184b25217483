//! What a run came to, as plain data: everything the reports print is here or in the blobs it names.

use std::sync::Arc;

use roundhouse_proto::{Audit, Failure, GenerationOutcome, Payload, SessionEvent, StopReason};

use crate::clock::Stamp;
use crate::run::RunSpec;

/// How a run stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunStatus {
    /// Jobs are left.
    Running,
    /// Every problem has passed or failed.
    Complete,
    /// It is over, but for the problems that failures of ours left without a verdict.
    Incomplete {
        /// Why, such as `2 errors` or `paused: the endpoint refuses the key`.
        reason: String,
    },
    /// People ended it before every problem was settled.
    Cancelled {
        /// Why.
        reason: String,
    },
}

/// What one problem came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProblemOutcome {
    /// Not settled.
    Open,
    /// Its program was judged.
    Judged {
        /// Cases that passed.
        passed: u32,
        /// Cases in all; 0 for a problem without tests.
        total: u32,
        /// The encoded [`roundhouse_proto::EvaluationReport`]; none for a problem without tests.
        report: Option<Payload>,
    },
    /// The model gave no program: failed.
    NoProgram(StopReason),
    /// A failure of ours: neither passed nor failed.
    Error(Failure),
}

impl ProblemOutcome {
    /// Whether it passed every case, and had one.
    pub fn is_pass(&self) -> bool {
        match self {
            Self::Judged { passed, total, .. } => *total > 0 && passed == total,
            Self::Open | Self::NoProgram(_) | Self::Error(_) => false,
        }
    }
}

/// One problem of a summary; its place is that of the problem in [`RunSpec::problems`].
#[derive(Clone, Debug, PartialEq)]
pub struct ProblemSummary {
    /// What it came to.
    pub outcome: ProblemOutcome,
    /// What its session left behind, in order.
    pub events: Vec<SessionEvent>,
    /// The session's end, once it has one.
    pub generation: Option<GenerationOutcome>,
    /// Grants of its generation job.
    pub attempts: u32,
    /// Calls of its session that may have been paid and whose answers never came, beside those that its events tell of.
    pub calls_unaccounted: u32,
    /// What the programs of its rounds came to, in order; empty unless the run has them judged.
    pub rounds: Vec<RoundSummary>,
}

/// A round whose program is judged as a final one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoundSummary {
    /// Which, from 0.
    pub round: u32,
    /// Whether the program passed the round's own tests, or the tester's review; none if it had neither.
    pub passed_its_tests: Option<bool>,
    /// What it came to.
    pub outcome: RoundOutcome,
}

/// What the program of a round came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoundOutcome {
    /// It is not judged: that is still to come, or its session gave no program in the end.
    Unjudged,
    /// It was judged.
    Judged {
        /// Cases that passed.
        passed: u32,
        /// Cases in all.
        total: u32,
    },
    /// A failure of ours.
    Error(Failure),
}

impl RoundOutcome {
    /// Whether the program passed every case; none if that is not known.
    pub fn is_pass(&self) -> Option<bool> {
        match self {
            Self::Judged { passed, total } => Some(passed == total),
            Self::Unjudged | Self::Error(_) => None,
        }
    }
}

/// Durations of a run on its own clock, which stands still while no coordinator is up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunTimes {
    /// First generation start to last verdict, in milliseconds.
    pub total_ms: u64,
    /// First generation start to last generation end, in milliseconds.
    pub generation_ms: u64,
    /// Sum over the generation slots of the time they were busy, in milliseconds.
    pub generation_busy_ms: u64,
    /// Sum over the evaluation slots of the time they were busy with final programs, in milliseconds.
    pub evaluation_busy_ms: u64,
}

impl RunTimes {
    /// The exposed tail after generation, in milliseconds.
    pub fn evaluation_ms(&self) -> u64 {
        self.total_ms.saturating_sub(self.generation_ms)
    }
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSummary {
    /// What it was asked to do.
    pub spec: Arc<RunSpec>,
    /// The endpoint whose model was asked; none before it was chosen, and for the offline models.
    pub endpoint: Option<String>,
    /// How it stands.
    pub status: RunStatus,
    /// How long it took.
    pub times: RunTimes,
    /// Generation slots that served it, most at once.
    pub generation_slots: u32,
    /// Evaluation slots that served it, most at once.
    pub evaluation_slots: u32,
    /// Processor cores of its workers' hosts.
    pub cores: u32,
    /// When its last job was settled.
    pub finished: Option<Stamp>,
    /// What audits came to, of final programs and of the tests of rounds of sessions that ended.
    pub audit: Audit,
    /// One per problem, in the order of [`RunSpec::problems`].
    pub problems: Vec<ProblemSummary>,
}

impl RunSummary {
    /// Problems that passed.
    pub fn passed(&self) -> usize {
        self.problems
            .iter()
            .filter(|problem| problem.outcome.is_pass())
            .count()
    }
}
