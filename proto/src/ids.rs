//! Names of things: runs, jobs, workers, leases. Each is a type of its own, so that none is taken for another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::digest::Digest;

/// One execution over a data set. Made by the client, so that a repeated submit is the same run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub Uuid);

/// A worker, stable over reconnects and restarts of its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkerId(pub Uuid);

macro_rules! uuid_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                Uuid::from_str(s).map(Self)
            }
        }
    };
}
uuid_text!(RunId);
uuid_text!(WorkerId);

/// What a job does for its problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// The whole generation session of one problem.
    Generate,
    /// The tests of one round; the same program in the same round is the same job.
    RoundTests {
        /// Round of the session, from 0.
        round: u32,
        /// The program that was tested.
        program: Digest,
    },
    /// The final evaluation.
    Evaluate,
    /// A round's program, judged as a final one is; a program that several rounds have is judged for the first of them.
    EvaluateRound {
        /// Round of the session, from 0.
        round: u32,
        /// The program.
        program: Digest,
    },
}

/// One problem × one role: what is queued, leased and settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId {
    /// The run it belongs to.
    pub run: RunId,
    /// The problem's 1-based position in the unfiltered data set.
    pub problem: u32,
    /// What the job does.
    pub kind: JobKind,
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            JobKind::Generate => write!(f, "generate:{:03}", self.problem),
            JobKind::RoundTests { round, .. } => write!(f, "tests:{:03}:{round}", self.problem),
            JobKind::Evaluate => write!(f, "evaluate:{:03}", self.problem),
            JobKind::EvaluateRound { round, .. } => write!(f, "evaluate:{:03}:{round}", self.problem),
        }
    }
}

/// The only fence: a result counts if it comes under the lease id that the job has now.
///
/// `epoch` rises with every start of the coordinator, `seq` with every grant within one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseId {
    /// Start of the coordinator, from 1.
    pub epoch: u32,
    /// Grant within the epoch, from 1.
    pub seq: u64,
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.seq)
    }
}
