//! One job in memory: how it stands, and what may happen to it.

use roundhouse_proto::{JobId, JobKind, LeaseId, WorkerId};

use crate::clock::Now;
use crate::event::LinkId;
use crate::record::{JobOutcome, JobRecord, StoredState, Subject};

/// How a job stands.
///
/// ```text
/// Held ◄─► Ready ──► Leased ──► Settled
///  ▲ ▲                 │           │
///  │ └─────────────────┘           │ worker lost, given back, cancelled, or failed for our reasons
///  └───────────────────────────────┘ tried again
/// ```
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum JobState {
    /// It waits for something else, such as the end of every session; tests of a round wait for ever once their
    /// session is settled, and all jobs once their run is cancelled, unless that is tried again.
    Held,
    /// It waits for a worker.
    Ready,
    /// A worker has it.
    Leased {
        lease: LeaseId,
        worker: WorkerId,
        /// On which link the grant was sent.
        link: LinkId,
        since_ms: u64,
    },
    /// Nothing changes any more.
    Settled(JobOutcome),
}

/// One job.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Job {
    pub(crate) id: JobId,
    pub(crate) attempts: u32,
    pub(crate) failed_attempts: u32,
    pub(crate) subject: Option<Subject>,
    pub(crate) busy_ms: u64,
    /// On the run's clock, of the last change.
    pub(crate) at_ms: u64,
    /// Calls that may have been paid and whose answers never came.
    pub(crate) calls_unaccounted: u32,
    pub(crate) state: JobState,
}

impl Job {
    pub(crate) fn new(id: JobId, subject: Option<Subject>) -> Self {
        Self {
            id,
            attempts: 0,
            failed_attempts: 0,
            subject,
            busy_ms: 0,
            at_ms: 0,
            calls_unaccounted: 0,
            state: JobState::Held,
        }
    }

    /// What a restart makes of a stored job: a lease of an earlier epoch is void.
    pub(crate) fn from_record(record: JobRecord) -> Self {
        let state = match record.state {
            StoredState::Queued | StoredState::Leased { .. } => JobState::Held,
            StoredState::Settled(outcome) => JobState::Settled(outcome),
        };
        Self {
            id: record.job,
            attempts: record.attempts,
            failed_attempts: record.failed_attempts,
            subject: record.subject,
            busy_ms: record.busy_ms,
            at_ms: record.at_ms,
            calls_unaccounted: record.calls_unaccounted,
            state,
        }
    }

    pub(crate) fn record(&self) -> JobRecord {
        let state = match &self.state {
            JobState::Held | JobState::Ready => StoredState::Queued,
            JobState::Leased { lease, worker, .. } => StoredState::Leased {
                lease: *lease,
                worker: *worker,
            },
            JobState::Settled(outcome) => StoredState::Settled(outcome.clone()),
        };
        JobRecord {
            job: self.id,
            attempts: self.attempts,
            failed_attempts: self.failed_attempts,
            subject: self.subject.clone(),
            busy_ms: self.busy_ms,
            at_ms: self.at_ms,
            calls_unaccounted: self.calls_unaccounted,
            state,
        }
    }

    pub(crate) fn outcome(&self) -> Option<&JobOutcome> {
        match &self.state {
            JobState::Settled(outcome) => Some(outcome),
            JobState::Held | JobState::Ready | JobState::Leased { .. } => None,
        }
    }

    pub(crate) fn holder(&self) -> Option<(LeaseId, WorkerId)> {
        match self.state {
            JobState::Leased { lease, worker, .. } => Some((lease, worker)),
            JobState::Held | JobState::Ready | JobState::Settled(_) => None,
        }
    }

    pub(crate) fn is_settled(&self) -> bool {
        matches!(self.state, JobState::Settled(_))
    }

    /// Opens a job again that a failure of ours had settled; `false` if it was not.
    pub(crate) fn reopen_error(&mut self) -> bool {
        let is_error = matches!(self.outcome(), Some(JobOutcome::Error(_)));
        if is_error {
            self.state = JobState::Held;
            self.failed_attempts = 0;
        }
        is_error
    }

    /// The end of a lease that settled nothing; `at_ms` is on the run's clock.
    pub(crate) fn wait_again(&mut self, now: Now, at_ms: u64) {
        if self.id.kind == JobKind::Generate {
            self.add_busy(now.monotonic_ms);
        }
        self.at_ms = at_ms;
        self.state = JobState::Held;
    }

    /// Adds the time since the grant to what slots were busy with.
    pub(crate) fn add_busy(&mut self, now_ms: u64) {
        if let JobState::Leased { since_ms, .. } = self.state {
            self.busy_ms += now_ms.saturating_sub(since_ms);
        }
    }
}
