//! What worker and coordinator say to each other on the link, in domain words.
//!
//! The link is one ordered stream each way. A worker states what is (inventory, spool), the coordinator answers
//! what should be. A stream that ends is never a goodbye: a worker that leaves says so.

use std::collections::BTreeMap;

use crate::comparator::Comparator;
use crate::digest::{Digest, Payload};
use crate::evaluation::{Audit, Isolation};
use crate::ids::{JobId, LeaseId, WorkerId};
use crate::problem::Language;
use crate::session::SessionEvent;
use crate::work::{Failure, Priority, Role, Work};

/// The wire version this build speaks.
pub const PROTOCOL_VERSION: u32 = 3;
/// The oldest wire version this build understands.
pub const PROTOCOL_VERSION_MIN: u32 = 3;

/// Who joins and what it can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Oldest wire version it understands.
    pub protocol_min: u32,
    /// Newest wire version it understands.
    pub protocol_max: u32,
    /// Its version, for people.
    pub build: String,
    /// Stable over restarts.
    pub worker: WorkerId,
    /// Name for people, such as the host's.
    pub name: String,
    /// How many jobs at a time, by role.
    pub slots: BTreeMap<Role, u32>,
    /// Languages it can judge, with the interpreter's or compiler's version.
    pub languages: Vec<(Language, String)>,
    /// How well it shuts programs in; none for a worker that runs none.
    pub isolation: Option<Isolation>,
    /// Processor cores of its host.
    pub cores: u32,
    /// Id of the host's boot: workers that share it share the cores.
    pub boot_id: String,
    /// Free words, for choosing workers.
    pub labels: BTreeMap<String, String>,
    /// Endpoints whose models it can reach.
    pub endpoints: Vec<EndpointOffer>,
    /// Time after which it ends, in milliseconds; it takes no job that would not fit.
    pub time_limit_ms: Option<u64>,
}

/// An endpoint whose models a worker can reach. No address and no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointOffer {
    /// Its name.
    pub name: String,
    /// Why the worker asks it nothing more, such as a refused key; none while it does.
    pub benched: Option<String>,
}

/// A lease that a worker works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunningLease {
    /// The job.
    pub job: JobId,
    /// The lease under which it was handed out.
    pub lease: LeaseId,
    /// Highest sequence number of its session events so far; 0 for none.
    pub last_seq: u64,
    /// How long it has been at it, in milliseconds.
    pub running_ms: u64,
}

/// A job on its way to a worker.
#[derive(Clone, Debug, PartialEq)]
pub struct JobGrant {
    /// The job.
    pub job: JobId,
    /// The lease under which results count.
    pub lease: LeaseId,
    /// Which grant of the job this is, from 1.
    pub attempt: u32,
    /// What goes first in the worker's queue.
    pub priority: Priority,
    /// What is to be done.
    pub work: Work,
}

/// What a job of an evaluation worker, or a session that could not go on, came to.
#[derive(Clone, Debug, PartialEq)]
pub enum JobResult {
    /// An encoded [`crate::EvaluationReport`].
    Evaluated {
        /// The report.
        report: Payload,
        /// Cases that passed.
        passed: u32,
        /// Cases in all.
        total: u32,
        /// How long a slot was busy, in milliseconds.
        busy_ms: u64,
        /// Whether the machinery failed on a case, so that the program was not judged.
        internal_error: Option<String>,
        /// What running cases once more by a fresh interpreter came to.
        audit: Audit,
    },
    /// A failure of ours.
    Failed {
        /// What happened.
        failure: Failure,
        /// Calls to a model that may have been paid and brought nothing.
        unaccounted: u32,
    },
}

/// What a worker says.
#[derive(Clone, Debug, PartialEq)]
pub enum WorkerMsg {
    /// First on every link.
    Hello(Hello),
    /// Second on every link, and again from time to time: what it works on, what it has not had acknowledged.
    Inventory {
        /// Leases it works on.
        running: Vec<RunningLease>,
        /// Leases with results in its spool.
        spooled: Vec<RunningLease>,
    },
    /// It has room for so many more jobs.
    Credit {
        /// Of which role.
        role: Role,
        /// How many more.
        n: u32,
    },
    /// It is alive.
    Ping {
        /// Counts up.
        seq: u64,
    },
    /// A job left the worker's queue and runs.
    Started {
        /// Which.
        lease: LeaseId,
    },
    /// A session's event, numbered from 1 within its job (not within the attempt).
    Session {
        /// The job.
        job: JobId,
        /// The lease.
        lease: LeaseId,
        /// Its number.
        seq: u64,
        /// What happened.
        event: SessionEvent,
    },
    /// What a job came to.
    Result {
        /// The job.
        job: JobId,
        /// The lease.
        lease: LeaseId,
        /// What it came to.
        result: JobResult,
    },
    /// It asks this endpoint nothing more: the endpoint refuses its key. Said before the jobs that need the endpoint
    /// are given back.
    Benched {
        /// Name of the endpoint.
        endpoint: String,
        /// What the endpoint said.
        reason: String,
    },
    /// It gives a job back: it has not begun it, or leaves it where its last stored event is.
    Nack {
        /// The lease.
        lease: LeaseId,
        /// Why.
        reason: String,
        /// Calls to a model that may have been paid and brought nothing.
        unaccounted: u32,
    },
    /// It leaves and holds nothing any more.
    Goodbye {
        /// Why.
        reason: String,
    },
}

/// What a coordinator says.
#[derive(Clone, Debug, PartialEq)]
pub enum CoordMsg {
    /// The worker is let in.
    Welcome {
        /// Start of the coordinator.
        epoch: u32,
        /// Silence after which leases end, in milliseconds.
        lease_ms: u64,
        /// How often to ping, in milliseconds.
        ping_ms: u64,
    },
    /// The worker is not let in.
    Reject {
        /// Why, and what to do.
        reason: String,
        /// Oldest wire version that would do.
        protocol_min: u32,
        /// Newest wire version that would do.
        protocol_max: u32,
    },
    /// Jobs to do.
    Jobs(Vec<JobGrant>),
    /// Durable: a session's events up to `seq`, or (seq 0) the result under this lease.
    Ack {
        /// Under which lease it came.
        lease: LeaseId,
        /// Last event that is durable; 0 for a result.
        seq: u64,
    },
    /// The report of a round's tests.
    TestReport {
        /// The session's lease.
        lease: LeaseId,
        /// Round of the session.
        round: u32,
        /// An encoded [`crate::EvaluationReport`], or why there is none.
        report: Result<Payload, Failure>,
    },
    /// Stop working on this.
    Cancel {
        /// Under which lease.
        lease: LeaseId,
        /// Why.
        reason: String,
    },
    /// Go on with this job under a new lease.
    Adopt {
        /// The lease it ran under.
        old: LeaseId,
        /// The lease it runs under from now on.
        new: LeaseId,
    },
    /// Drop this job and what the spool holds of it.
    Forget {
        /// Under which lease.
        lease: LeaseId,
    },
    /// Room at an endpoint: how many calls may be in flight, and for how long this holds.
    Share {
        /// The endpoint.
        endpoint: String,
        /// Calls at once.
        limit: u32,
        /// How long this holds, in milliseconds.
        valid_ms: u64,
    },
    /// Take nothing new; end when done if `last`.
    Drain {
        /// Whether the worker is to end.
        last: bool,
    },
    /// The coordinator goes away for a while.
    Restarting {
        /// When to come back, in milliseconds.
        retry_after_ms: u64,
    },
    /// Answer to a ping.
    Pong {
        /// The ping's number.
        seq: u64,
    },
    /// How many programs this worker may run at once: its share of a host whose cores other workers use as well.
    Cages {
        /// How many, from 1.
        n: u32,
    },
}

/// The addresses a message names that must be fetched before the work can start.
pub fn blobs_of(work: &Work) -> Vec<Digest> {
    let payload = |payload: &Payload| match payload {
        Payload::Inline(_) => None,
        Payload::Blob(digest) => Some(*digest),
    };
    match work {
        Work::Generate(work) => {
            let fixed = [
                Some(work.statement),
                work.public_cases,
                work.reference,
                work.recording,
            ];
            fixed.into_iter().flatten().collect()
        }
        Work::Evaluate(work) => {
            let checker = match work.comparator {
                Comparator::Checker { program } => Some(program),
                _ => None,
            };
            payload(&work.program)
                .into_iter()
                .chain([work.tests])
                .chain(checker)
                .collect()
        }
    }
}
