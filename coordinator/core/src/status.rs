//! How runs and workers stand at this moment, for people who ask. Plain data; nothing here is stored.

use std::fmt;
use std::sync::Arc;

use roundhouse_proto::link::EndpointOffer;
use roundhouse_proto::{Failure, Isolation, Language, Role, RunId, Usage, WorkerId};

use crate::run::RunSpec;

/// Why a run cannot move.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stuck {
    /// No worker of this role is joined.
    NoWorker {
        /// The role.
        role: Role,
    },
    /// Generation workers are joined, and none offers the endpoint.
    NoEndpoint {
        /// Its name; none if the run takes any and there is none at all.
        name: Option<String>,
    },
    /// The run names no endpoint, and there are several to choose from.
    ManyEndpoints {
        /// Their names, sorted.
        names: Vec<String>,
    },
    /// Every worker that offers the endpoint was refused there.
    NoKey {
        /// Name of the endpoint.
        endpoint: String,
        /// What the endpoint said last.
        reason: String,
    },
    /// Evaluation workers are joined, and none judges programs of the run's language.
    NoInterpreter {
        /// The language.
        language: Language,
    },
    /// The run's programs are judged by one minor version of an interpreter, and the joined workers have only others.
    OtherInterpreters {
        /// The one that judged the first, such as `CPython 3.11`.
        bound: String,
        /// Those of the workers, sorted.
        offered: Vec<String>,
    },
}

impl Stuck {
    /// Whether a person must do something about a key before the run goes on; such a run counts as paused.
    pub fn is_pause(&self) -> bool {
        match self {
            Self::NoKey { .. } => true,
            Self::NoWorker { .. }
            | Self::NoEndpoint { .. }
            | Self::ManyEndpoints { .. }
            | Self::NoInterpreter { .. }
            | Self::OtherInterpreters { .. } => false,
        }
    }
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWorker { role: Role::Gen } => f.write_str("no generation worker is joined"),
            Self::NoWorker { role: Role::Eval } => f.write_str("no evaluation worker is joined"),
            Self::NoEndpoint { name: Some(name) } => {
                write!(f, "no generation worker offers the endpoint `{name}`")
            }
            Self::NoEndpoint { name: None } => f.write_str("no generation worker has a key or an endpoint"),
            Self::ManyEndpoints { names } => write!(
                f,
                "the run names no endpoint, and the workers offer several: {}",
                names.join(", ")
            ),
            Self::NoKey { endpoint, reason } => {
                write!(
                    f,
                    "the endpoint `{endpoint}` refuses every worker's key: {reason}"
                )
            }
            Self::NoInterpreter { language } => {
                write!(f, "no evaluation worker judges programs in {}", language.word())
            }
            Self::OtherInterpreters { bound, offered } => write!(
                f,
                "its programs are judged by {bound}, and the evaluation workers have only {}; a run with \
                 `--mixed-versions` takes any",
                offered.join(", ")
            ),
        }
    }
}

/// How a run stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunState {
    /// Jobs are queued or at work.
    Active,
    /// No key works.
    Paused {
        /// Why.
        reason: String,
    },
    /// Every problem has passed or failed.
    Complete,
    /// Every problem is settled, some by failures of ours.
    Incomplete {
        /// Why, such as `2 errors`.
        reason: String,
    },
    /// People ended it.
    Cancelled {
        /// Why.
        reason: String,
    },
}

/// How a run stands, in figures.
#[derive(Clone, Debug, PartialEq)]
pub struct RunView {
    /// What it was asked to do.
    pub spec: Arc<RunSpec>,
    /// How it stands.
    pub state: RunState,
    /// Why it cannot move; empty while it can, and once it has ended.
    pub stuck: Vec<Stuck>,
    /// Problems whose program passed every case.
    pub passed_n: u32,
    /// Problems whose program failed, or that have none.
    pub failed_n: u32,
    /// Problems that ended by a failure of ours.
    pub errors_n: u32,
    /// Problems whose session is settled.
    pub generated_n: u32,
    /// Jobs that wait for a worker.
    pub jobs_ready_n: u32,
    /// Jobs that a worker holds.
    pub jobs_leased_n: u32,
    /// Tokens of all calls whose answers count.
    pub usage: Usage,
    /// Calls whose answers count.
    pub calls_n: u32,
    /// Calls that may have been paid and whose tokens are not known, answered or not; 0 for the offline models.
    pub calls_unaccounted_n: u32,
    /// Time on the run's clock, in milliseconds; it stands while the run is paused and once it is over.
    pub active_ms: u64,
    /// First generation start to last generation end, in milliseconds; none while sessions are open.
    pub generation_ms: Option<u64>,
    /// The endpoint whose model is asked, once it is chosen.
    pub endpoint: Option<String>,
    /// Most generation slots that served it at once.
    pub generation_slots: u32,
    /// Most evaluation slots that served it at once.
    pub evaluation_slots: u32,
    /// Processor cores of its workers' hosts.
    pub cores: u32,
    /// Whether its reports are written, as far as it came; `false` while it goes on.
    pub reports_written: bool,
}

impl RunView {
    /// Which run.
    pub fn run(&self) -> RunId {
        self.spec.run
    }
}

/// How far a problem of a run is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProblemView {
    /// Its session was handed out.
    pub is_started: bool,
    /// Its session ended: whether with a program, or why it could not be held.
    pub generated: Option<Result<bool, Failure>>,
    /// It is settled.
    pub is_settled: bool,
}

/// How a worker stands.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerView {
    /// Which.
    pub worker: WorkerId,
    /// Name for people.
    pub name: String,
    /// Its version.
    pub build: String,
    /// Its room by role: jobs at a time, and jobs it holds.
    pub roles: Vec<(Role, u32, u32)>,
    /// Languages it can judge, with their versions.
    pub languages: Vec<(Language, String)>,
    /// How well it shuts programs in; none for a worker that runs none.
    pub isolation: Option<Isolation>,
    /// Processor cores of its host.
    pub cores: u32,
    /// Endpoints whose models it can reach.
    pub endpoints: Vec<EndpointOffer>,
    /// Time since it was last heard of, in milliseconds.
    pub silent_ms: u64,
    /// Time since it joined, in milliseconds.
    pub joined_ms: u64,
    /// Its link was lost; its jobs wait for it for a while.
    pub is_lost: bool,
}
