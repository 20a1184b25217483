//! What a store would hold after some batches of writes; it refuses writes that no store should ever see.

use std::collections::{BTreeMap, BTreeSet};

use roundhouse_core::record::{
    JobOutcome, JobRecord, PendingFile, RunRecord, SessionRecord, Stored, StoredState, Write,
};
use roundhouse_proto::{JobId, RunId};

#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    epoch: u32,
    runs: BTreeMap<RunId, RunRecord>,
    jobs: BTreeMap<JobId, JobRecord>,
    sessions: BTreeMap<(JobId, u64), SessionRecord>,
    pending: BTreeSet<PendingFile>,
}

impl Disk {
    pub(crate) fn of(batches: &[Vec<Write>]) -> Self {
        let mut disk = Self::default();
        for batch in batches {
            disk.apply(batch);
        }
        disk
    }

    pub(crate) fn apply(&mut self, batch: &[Write]) {
        for write in batch {
            match write.clone() {
                Write::Epoch(epoch) => {
                    assert!(epoch > self.epoch, "epoch {epoch} came after {}", self.epoch);
                    self.epoch = epoch;
                }
                Write::Run(record) => {
                    self.runs.insert(record.run, record);
                }
                Write::Job(record) => self.job(&record),
                Write::Session(record) => {
                    let last = self.sessions.range((record.job, 0)..=(record.job, u64::MAX));
                    let next = last.last().map_or(1, |((_, seq), _)| seq + 1);
                    assert_eq!(record.seq, next, "events of {} are numbered in order", record.job);
                    self.sessions.insert((record.job, record.seq), record);
                }
                Write::Pending(file) => {
                    self.pending.insert(file);
                }
                Write::Written(file) => {
                    self.pending.remove(&file);
                }
            }
        }
    }

    fn job(&mut self, record: &JobRecord) {
        assert!(
            self.runs.contains_key(&record.job.run),
            "{} is in no stored run",
            record.job
        );
        let before = self.jobs.insert(record.job, record.clone());
        if let Some(before) = before
            && let StoredState::Settled(outcome) = &before.state
        {
            let is_retry = matches!(outcome, JobOutcome::Error(_)) && record.state == StoredState::Queued;
            assert!(
                is_retry || before == *record,
                "{before:?} was settled, then {record:?}"
            );
        }
    }

    pub(crate) fn stored(&self) -> Stored {
        Stored {
            epoch: self.epoch,
            runs: self.runs.values().cloned().collect(),
            jobs: self.jobs.values().cloned().collect(),
            sessions: self.sessions.values().cloned().collect(),
            pending: self.pending.iter().copied().collect(),
        }
    }
}
