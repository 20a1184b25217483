//! What happens to the coordinator. Events are in the past; each is handled whole before the next.

use std::fmt;
use std::sync::Arc;

use roundhouse_proto::link::{Hello, JobResult, RunningLease};
use roundhouse_proto::{Digest, JobId, LeaseId, Role, RunId, SessionEvent};

use crate::record::PendingFile;
use crate::run::RunSpec;

/// One connection of a worker; a worker that comes back has a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Somebody asked for a run. A run that is known already is the same run.
    Submitted {
        /// What is asked.
        spec: Arc<RunSpec>,
        /// Address of the blob that holds it.
        spec_blob: Digest,
    },
    /// The problems of a run that failures of ours left without a verdict are to be tried again. A run that was
    /// asked to stop goes on, and one that was cancelled is opened again.
    RetryRequested {
        /// Which.
        run: RunId,
    },
    /// A run is to end now: what is settled stays, the rest is not done. A run that is over stays as it is.
    CancelRequested {
        /// Which.
        run: RunId,
        /// Why, for people.
        reason: String,
    },
    /// A run is to take nothing new and stop when what is in flight has ended.
    StopRequested {
        /// Which.
        run: RunId,
    },
    /// A worker joined; its protocol version has been agreed.
    Joined {
        /// On which link.
        link: LinkId,
        /// Who it is.
        hello: Box<Hello>,
    },
    /// A worker said what it works on and what it has not had acknowledged.
    InventoryTaken {
        /// On which link.
        link: LinkId,
        /// Leases it works on, and leases with results in its spool.
        held: Vec<RunningLease>,
    },
    /// A worker has room.
    CreditOffered {
        /// On which link.
        link: LinkId,
        /// For which role.
        role: Role,
        /// For how many more jobs.
        n: u32,
    },
    /// A worker is alive.
    Pinged {
        /// On which link.
        link: LinkId,
        /// The ping's number.
        seq: u64,
    },
    /// A session went on.
    SessionWentOn {
        /// On which link.
        link: LinkId,
        /// Which job.
        job: JobId,
        /// Under which lease.
        lease: LeaseId,
        /// Number of the event within the job, from 1.
        seq: u64,
        /// What happened.
        event: SessionEvent,
    },
    /// A job came to something.
    ResultCame {
        /// On which link.
        link: LinkId,
        /// Which job.
        job: JobId,
        /// Under which lease.
        lease: LeaseId,
        /// What it came to.
        result: JobResult,
    },
    /// A worker asks an endpoint nothing more: it refuses the worker's key.
    Benched {
        /// On which link.
        link: LinkId,
        /// The endpoint's name.
        endpoint: String,
        /// What it said.
        reason: String,
    },
    /// A worker gave a job back.
    GivenBack {
        /// On which link.
        link: LinkId,
        /// Under which lease.
        lease: LeaseId,
        /// Why.
        reason: String,
        /// Calls to a model that may have been paid and brought nothing.
        unaccounted: u32,
    },
    /// A worker left for good. What it still holds goes back.
    Left {
        /// On which link.
        link: LinkId,
    },
    /// A link ended without a goodbye.
    LinkLost {
        /// Which.
        link: LinkId,
    },
    /// Files of the run directory are written.
    FileWritten(PendingFile),
    /// Time has passed.
    Ticked,
}

impl Event {
    /// The link of the worker that said this; whatever a worker says shows that it is alive.
    pub(crate) fn speaker(&self) -> Option<LinkId> {
        match self {
            Self::Joined { link, .. }
            | Self::InventoryTaken { link, .. }
            | Self::CreditOffered { link, .. }
            | Self::Pinged { link, .. }
            | Self::SessionWentOn { link, .. }
            | Self::ResultCame { link, .. }
            | Self::Benched { link, .. }
            | Self::GivenBack { link, .. } => Some(*link),
            Self::Submitted { .. }
            | Self::RetryRequested { .. }
            | Self::CancelRequested { .. }
            | Self::StopRequested { .. }
            | Self::Left { .. }
            | Self::LinkLost { .. }
            | Self::FileWritten(_)
            | Self::Ticked => None,
        }
    }
}
