//! What is stored: the writes that make an event's effects durable, and what they add up to after a restart.
//!
//! One event gives one batch. A record is small (its big parts are blobs) and says all there is to say of its key,
//! so applying a batch twice changes nothing.

use roundhouse_proto::{
    Audit, Digest, Failure, GenerationOutcome, JobId, LeaseId, Payload, RunId, SessionEvent, WorkerId,
};
use serde::{Deserialize, Serialize};

use crate::clock::Stamp;

/// A run as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its id.
    pub run: RunId,
    /// Address of the blob that holds the [`crate::run::RunSpec`] as JSON.
    pub spec: Digest,
    /// On the run's clock, when the first session was handed out, in milliseconds.
    pub first_grant_ms: Option<u64>,
    /// Most generation slots at once.
    pub generation_slots: u32,
    /// Most evaluation slots at once.
    pub evaluation_slots: u32,
    /// Processor cores of its workers' hosts.
    pub cores: u32,
    /// When its last job was settled.
    pub finished: Option<Stamp>,
    /// Why people ended it before every problem was settled; none again once it is tried again.
    #[serde(default)]
    pub cancelled: Option<String>,
    /// The endpoint whose model is asked, once it is chosen.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Implementation and minor version of the interpreter that judges all its programs, such as `CPython 3.11`, once
    /// it is chosen; none for a run that takes any. What was stored before there was a choice has none yet.
    #[serde(default)]
    pub interpreter: Option<String>,
}

/// How a stored job stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredState {
    /// It waits for a worker.
    Queued,
    /// It was handed out.
    Leased {
        /// Under which lease.
        lease: LeaseId,
        /// To whom.
        worker: WorkerId,
    },
    /// Nothing changes any more.
    Settled(JobOutcome),
}

impl StoredState {
    /// What the job came to, if it is settled.
    pub fn outcome(&self) -> Option<&JobOutcome> {
        match self {
            Self::Settled(outcome) => Some(outcome),
            Self::Queued | Self::Leased { .. } => None,
        }
    }
}

/// What a job came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobOutcome {
    /// A session ended.
    Generated(GenerationOutcome),
    /// A program was judged.
    Evaluated {
        /// The encoded [`roundhouse_proto::EvaluationReport`].
        report: Payload,
        /// Cases that passed.
        passed: u32,
        /// Cases in all.
        total: u32,
        /// What running cases once more by a fresh interpreter came to.
        #[serde(default)]
        audit: Audit,
    },
    /// A failure of ours.
    Error(Failure),
}

/// A job as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Its id.
    pub job: JobId,
    /// How often it was handed out.
    pub attempts: u32,
    /// Those of `attempts` that ended with the loss of their worker or a failure of the machinery.
    pub failed_attempts: u32,
    /// What is judged; only for jobs that judge.
    pub subject: Option<Subject>,
    /// How long slots were busy with it, in milliseconds.
    pub busy_ms: u64,
    /// On the run's clock, when it was settled or last changed, in milliseconds.
    pub at_ms: u64,
    /// Calls to a model that may have been paid and whose answers never came. Those that a worker says broke before its
    /// session failed; and one for each lease of a session that waited for a call when it ended unasked: its worker
    /// was lost or restarted, the coordinator was restarted, or the run was cancelled. None for a session that was
    /// given back, since its worker has no call in flight then, and none for an offline model.
    #[serde(default)]
    pub calls_unaccounted: u32,
    /// How it stands.
    pub state: StoredState,
}

/// The program and the cases of a job that judges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    /// The program.
    pub program: Payload,
    /// Address of the encoded test set.
    pub cases: Digest,
    /// How many cases there are.
    pub cases_n: u32,
}

/// A session's event as it is stored, under the next number of its job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// The generation job.
    pub job: JobId,
    /// Its number, from 1.
    pub seq: u64,
    /// On the run's clock, in milliseconds.
    pub at_ms: u64,
    /// What happened.
    pub event: SessionEvent,
}

/// Files of the run directory that are still to be written. Written again after a crash; the content is a
/// function of the other records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PendingFile {
    /// The statements of all problems.
    Statements {
        /// The run.
        run: RunId,
    },
    /// The directory of one round.
    Round {
        /// The run.
        run: RunId,
        /// Position of the problem.
        problem: u32,
        /// The round, from 0.
        round: u32,
    },
    /// What a problem's session came to: history, transcript, final program.
    Session {
        /// The run.
        run: RunId,
        /// Position of the problem.
        problem: u32,
    },
    /// The reports of the whole run.
    Reports {
        /// The run.
        run: RunId,
    },
}

impl PendingFile {
    /// The run whose directory it is in.
    pub fn run(&self) -> RunId {
        match *self {
            Self::Statements { run }
            | Self::Round { run, .. }
            | Self::Session { run, .. }
            | Self::Reports { run } => run,
        }
    }
}

/// One change of the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Write {
    /// The coordinator was started once more.
    Epoch(u32),
    /// Puts a run in place of what was there.
    Run(RunRecord),
    /// Puts a job in place of what was there.
    Job(JobRecord),
    /// Adds a session's event.
    Session(SessionRecord),
    /// Files are to be written.
    Pending(PendingFile),
    /// Files are written.
    Written(PendingFile),
}

impl Write {
    /// The run it concerns; none if it concerns the coordinator itself.
    pub fn run(&self) -> Option<RunId> {
        match self {
            Self::Epoch(_) => None,
            Self::Run(record) => Some(record.run),
            Self::Job(record) => Some(record.job.run),
            Self::Session(record) => Some(record.job.run),
            Self::Pending(file) | Self::Written(file) => Some(file.run()),
        }
    }
}

/// What a store holds at a start, in the order of its keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stored {
    /// The last epoch; 0 for a new store.
    pub epoch: u32,
    /// The runs.
    pub runs: Vec<RunRecord>,
    /// The jobs.
    pub jobs: Vec<JobRecord>,
    /// The sessions' events, by job and number.
    pub sessions: Vec<SessionRecord>,
    /// Files still to be written.
    pub pending: Vec<PendingFile>,
}
