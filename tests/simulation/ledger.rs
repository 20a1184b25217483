//! What the workers of a world did and were told: which calls were paid, what was said under which lease, what was
//! acknowledged. It knows the truth, whatever the coordinator believes.

use std::collections::BTreeMap;

use roundhouse_proto::link::JobResult;
use roundhouse_proto::{JobId, LeaseId, SessionEvent, Speaker};

/// One call of a session, however often it is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CallKey {
    pub(crate) session: JobId,
    pub(crate) speaker: Speaker,
    pub(crate) round: u32,
    pub(crate) ask: u32,
}

/// What became of a call that was paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is in flight, or its answer is not acknowledged yet.
    Open,
    /// Its worker saw the answer acknowledged.
    Acknowledged,
    /// Before that its worker lost the lease or its life or left, or the call broke.
    Lost,
}

impl Fate {
    /// Whether the call may be paid once more.
    pub(crate) fn is_lost(self) -> bool {
        match self {
            Self::Open | Self::Acknowledged => false,
            Self::Lost => true,
        }
    }
}

/// A call that was paid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) key: CallKey,
    pub(crate) fate: Fate,
}

/// The books of a world.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    calls: Vec<Call>,
    said: BTreeMap<(LeaseId, u64), SessionEvent>,
    results: BTreeMap<LeaseId, JobResult>,
    grants: BTreeMap<LeaseId, JobId>,
    acknowledged_events: BTreeMap<(JobId, u64), SessionEvent>,
    acknowledged_results: BTreeMap<LeaseId, JobId>,
}

impl Ledger {
    /// Pays a call; its number, from 1.
    pub(crate) fn pay(&mut self, key: CallKey) -> usize {
        let fate = Fate::Open;
        self.calls.push(Call { key, fate });
        self.calls.len()
    }

    pub(crate) fn set_fate(&mut self, serial: usize, fate: Fate) {
        let call = self.calls.get_mut(serial - 1).expect("a worker paid it");
        assert_eq!(
            call.fate,
            Fate::Open,
            "call {serial} ended twice: a defect of this world"
        );
        call.fate = fate;
    }

    /// The calls in the order in which they were paid; the first is number 1.
    pub(crate) fn calls(&self) -> &[Call] {
        &self.calls
    }

    pub(crate) fn call(&self, serial: u64) -> Option<&Call> {
        let at = usize::try_from(serial).ok()?.checked_sub(1)?;
        self.calls.get(at)
    }

    pub(crate) fn was_granted(&mut self, lease: LeaseId, job: JobId) {
        let before = self.grants.insert(lease, job);
        assert_eq!(before, None, "lease {lease} was granted twice");
    }

    /// The job of a lease, once its grant is durable.
    pub(crate) fn job_of(&self, lease: LeaseId) -> Option<JobId> {
        self.grants.get(&lease).copied()
    }

    pub(crate) fn was_said(&mut self, lease: LeaseId, seq: u64, event: &SessionEvent) {
        self.said.insert((lease, seq), event.clone());
    }

    pub(crate) fn said(&self, lease: LeaseId, seq: u64) -> Option<&SessionEvent> {
        self.said.get(&(lease, seq))
    }

    pub(crate) fn came_to(&mut self, lease: LeaseId, result: &JobResult) {
        self.results.insert(lease, result.clone());
    }

    pub(crate) fn result(&self, lease: LeaseId) -> Option<&JobResult> {
        self.results.get(&lease)
    }

    /// All results that workers sent, by lease, with their jobs.
    pub(crate) fn results(&self) -> impl Iterator<Item = (JobId, &JobResult)> {
        let results = self.results.iter();
        results.filter_map(|(lease, result)| Some((self.job_of(*lease)?, result)))
    }

    /// A worker saw an event of a session acknowledged.
    pub(crate) fn event_acknowledged(&mut self, job: JobId, seq: u64, event: &SessionEvent) {
        let before = self.acknowledged_events.insert((job, seq), event.clone());
        assert!(
            before.is_none_or(|before| before == *event),
            "two different events {seq} of {job} were acknowledged"
        );
    }

    /// A worker saw its result acknowledged.
    pub(crate) fn result_acknowledged(&mut self, job: JobId, lease: LeaseId) {
        self.acknowledged_results.insert(lease, job);
    }

    pub(crate) fn acknowledged_events(&self) -> impl Iterator<Item = (JobId, u64, &SessionEvent)> {
        let events = self.acknowledged_events.iter();
        events.map(|((job, seq), event)| (*job, *seq, event))
    }

    /// The results that workers saw acknowledged, by job.
    pub(crate) fn acknowledged_results(&self) -> impl Iterator<Item = (JobId, &JobResult)> {
        let leases = self.acknowledged_results.iter();
        leases.filter_map(|(lease, job)| Some((*job, self.results.get(lease)?)))
    }
}
