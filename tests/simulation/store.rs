//! What is durable, and the gate through which commands leave. It refuses writes that no store should ever see.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use roundhouse_core::record::{
    JobOutcome, JobRecord, PendingFile, RunRecord, SessionRecord, Stored, StoredState, Write,
};
use roundhouse_core::{Command, Outbox};
use roundhouse_proto::link::JobResult;
use roundhouse_proto::{JobId, JobKind, LeaseId, RunId, SessionEvent};

use crate::ledger::Ledger;

/// Batches that wait to become durable, and commands of durable ones that wait to be carried out.
#[derive(Debug, Default)]
pub(crate) struct Committer {
    waiting: VecDeque<Outbox>,
    durable: VecDeque<Command>,
}

impl Committer {
    pub(crate) fn take(&mut self, outbox: Outbox) {
        if outbox != Outbox::default() {
            self.waiting.push_back(outbox);
        }
    }

    /// The batch that becomes durable next; its commands are to be handed to [`Self::release_later`].
    pub(crate) fn next(&mut self) -> Option<Outbox> {
        self.waiting.pop_front()
    }

    pub(crate) fn release_later(&mut self, commands: Vec<Command>) {
        self.durable.extend(commands);
    }

    pub(crate) fn release(&mut self) -> Option<Command> {
        self.durable.pop_front()
    }

    /// Files are still to be written on behalf of a durable batch.
    pub(crate) fn is_asking_for(&self, pending: PendingFile) -> bool {
        let is_it =
            |command: &Command| matches!(command, Command::WriteFiles(files) if files.pending() == pending);
        self.durable.iter().any(is_it)
    }

    /// Every batch is durable.
    pub(crate) fn is_durable(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Commands of durable batches are still to be carried out.
    pub(crate) fn is_releasing(&self) -> bool {
        !self.durable.is_empty()
    }

    pub(crate) fn waiting_n(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.durable.is_empty()
    }
}

/// What is durable.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Disk {
    epoch: u32,
    runs: BTreeMap<RunId, RunRecord>,
    jobs: BTreeMap<JobId, JobRecord>,
    sessions: BTreeMap<JobId, Vec<SessionRecord>>,
    pending: BTreeSet<PendingFile>,
    /// Runs whose cancellation is durable since an earlier batch, so that somebody may have been told of it.
    cancelled: BTreeSet<RunId>,
    /// Batches that were applied.
    batches_n: usize,
}

impl Disk {
    /// Applies a batch, each write of which must be one that may follow on what is there.
    pub(crate) fn apply(&mut self, batch: &[Write], ledger: &Ledger) {
        if batch.is_empty() {
            return;
        }
        let reopened: Vec<RunId> = self.reopened_by(batch).collect();
        self.cancelled.retain(|run| !reopened.contains(run));
        for write in batch {
            match write {
                Write::Epoch(epoch) => {
                    assert!(*epoch > self.epoch, "epoch {epoch} came after {}", self.epoch);
                }
                Write::Job(record) => self.check_job(record, ledger),
                Write::Session(record) => self.check_session(record, ledger),
                Write::Run(record) => self.check_run(record),
                Write::Pending(_) | Write::Written(_) => {}
            }
            self.put(write);
        }
        self.batches_n += 1;
        let cancelled = self.runs.values().filter(|run| run.cancelled.is_some());
        self.cancelled.extend(cancelled.map(|run| run.run));
    }

    /// Cancelled runs that a batch opens again.
    pub(crate) fn reopened_by(&self, batch: &[Write]) -> impl Iterator<Item = RunId> {
        batch.iter().filter_map(|write| match write {
            Write::Run(record) if record.cancelled.is_none() && self.is_cancelled(record.run) => {
                Some(record.run)
            }
            Write::Epoch(_)
            | Write::Run(_)
            | Write::Job(_)
            | Write::Session(_)
            | Write::Pending(_)
            | Write::Written(_) => None,
        })
    }

    /// Applies a batch once more, as is done after a store that failed was opened again: it must change nothing.
    pub(crate) fn assert_applied(&self, batch: &[Write]) {
        let mut again = self.clone();
        for write in batch {
            again.put(write);
        }
        assert_eq!(again, *self, "a batch that is applied twice is not the same");
    }

    fn put(&mut self, write: &Write) {
        match write.clone() {
            Write::Epoch(epoch) => self.epoch = epoch,
            Write::Run(record) => drop(self.runs.insert(record.run, record)),
            Write::Job(record) => drop(self.jobs.insert(record.job, record)),
            Write::Session(record) => {
                let events = self.sessions.entry(record.job).or_default();
                events.retain(|event| event.seq != record.seq);
                events.push(record);
                events.sort_by_key(|event| event.seq);
            }
            Write::Pending(file) => drop(self.pending.insert(file)),
            Write::Written(file) => drop(self.pending.remove(&file)),
        }
    }

    /// What a run chose it stays with.
    fn check_run(&self, record: &RunRecord) {
        let Some(before) = self.runs.get(&record.run) else {
            return;
        };
        for (before, after) in [
            (&before.endpoint, &record.endpoint),
            (&before.interpreter, &record.interpreter),
        ] {
            assert!(
                before.is_none() || before == after,
                "{before:?} was chosen, then {after:?}"
            );
        }
    }

    /// A job's way: queued, leased, and back, until it is settled; then nothing more, unless a failure of ours is
    /// tried again. What settles it was said under the lease that it has at that moment.
    fn check_job(&self, record: &JobRecord, ledger: &Ledger) {
        let JobRecord { job, state, .. } = record;
        assert!(self.runs.contains_key(&job.run), "{job} is in no stored run");
        let before = self.jobs.get(job);
        if before == Some(record) {
            return;
        }
        let attempts = before.map_or(0, |before| before.attempts);
        let is_new_attempt = matches!(state, StoredState::Leased { .. });
        assert_eq!(
            record.attempts,
            attempts + u32::from(is_new_attempt),
            "{before:?} became {record:?}: grants are counted wrong"
        );
        match (before.map(|before| &before.state), state) {
            (Some(StoredState::Settled(JobOutcome::Error(_))), StoredState::Queued) => {
                assert!(
                    !self.is_cancelled(job.run),
                    "{job} of a cancelled run is tried again"
                );
            }
            (Some(StoredState::Settled(_)), _) => {
                panic!("{job} was settled, then changed: {before:?} became {record:?}");
            }
            (_, StoredState::Queued) => {}
            (before, StoredState::Leased { lease, .. }) => {
                assert!(
                    !self.is_cancelled(job.run),
                    "{job} of a cancelled run is handed out"
                );
                assert_eq!(lease.epoch, self.epoch, "{job} has a lease of another epoch");
                if let Some(StoredState::Leased { lease: old, .. }) = before {
                    assert!(old.epoch < lease.epoch, "{job} has two leases: {old} and {lease}");
                }
            }
            (_, StoredState::Settled(outcome)) => {
                assert!(
                    !self.is_cancelled(job.run),
                    "{job} was settled after its run was cancelled: {outcome:?}"
                );
                self.check_outcome(job, outcome, ledger);
            }
        }
    }

    fn check_outcome(&self, job: &JobId, outcome: &JobOutcome, ledger: &Ledger) {
        match outcome {
            JobOutcome::Error(_) => {}
            JobOutcome::Generated(generated) => {
                assert_eq!(job.kind, JobKind::Generate);
                let lease = self.lease_of(job);
                let last = self.events(job).last();
                let finished = SessionEvent::Finished(generated.clone());
                assert!(
                    lease.is_some() && last.is_some_and(|last| last.event == finished),
                    "{job} was settled by no last event: it has lease {lease:?} and ended with {last:?}"
                );
            }
            JobOutcome::Evaluated {
                report,
                passed,
                total,
                audit,
            } => {
                let lease = self.lease_of(job);
                let came = lease.and_then(|lease| ledger.result(lease));
                let is_that = matches!(came, Some(JobResult::Evaluated { report: r, passed: p, total: t, internal_error: None, audit: a, .. })
                    if (r, p, t, a) == (report, passed, total, audit));
                assert!(
                    is_that,
                    "{job} under {lease:?} was settled by {report:?}; its holder sent {came:?}"
                );
            }
        }
    }

    fn check_session(&self, record: &SessionRecord, ledger: &Ledger) {
        let SessionRecord { job, seq, event, .. } = record;
        let events = self.events(job);
        let next = events.last().map_or(1, |last| last.seq + 1);
        assert_eq!(
            *seq, next,
            "the events of {job} are not numbered in order: {event:?}"
        );
        assert!(
            !self.is_cancelled(job.run),
            "{job} of a cancelled run goes on: {event:?}"
        );
        let lease = self.lease_of(job).expect("a session that goes on has a lease");
        assert_eq!(
            ledger.said(lease, *seq),
            Some(event),
            "event {seq} of {job} was not said under its lease {lease}"
        );
    }

    /// The lease under which a job is held since this start of the coordinator.
    pub(crate) fn lease_of(&self, job: &JobId) -> Option<LeaseId> {
        match self.jobs.get(job)?.state {
            StoredState::Leased { lease, .. } => Some(lease).filter(|lease| lease.epoch == self.epoch),
            StoredState::Queued | StoredState::Settled(_) => None,
        }
    }

    pub(crate) fn stored(&self) -> Stored {
        Stored {
            epoch: self.epoch,
            runs: self.runs.values().cloned().collect(),
            jobs: self.jobs.values().cloned().collect(),
            sessions: self.sessions.values().flatten().cloned().collect(),
            pending: self.pending.iter().copied().collect(),
        }
    }

    pub(crate) fn batches_n(&self) -> usize {
        self.batches_n
    }

    pub(crate) fn job(&self, job: &JobId) -> Option<&JobRecord> {
        self.jobs.get(job)
    }

    pub(crate) fn jobs(&self) -> impl Iterator<Item = &JobRecord> {
        self.jobs.values()
    }

    pub(crate) fn outcome(&self, job: &JobId) -> Option<&JobOutcome> {
        self.jobs.get(job)?.state.outcome()
    }

    pub(crate) fn run(&self, run: RunId) -> Option<&RunRecord> {
        self.runs.get(&run)
    }

    pub(crate) fn events(&self, job: &JobId) -> &[SessionRecord] {
        self.sessions.get(job).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn is_cancelled(&self, run: RunId) -> bool {
        self.cancelled.contains(&run)
    }

    /// Whether a run has come to its end.
    pub(crate) fn is_ended(&self, run: RunId) -> bool {
        let is_ended = |run: &RunRecord| run.finished.is_some() || run.cancelled.is_some();
        self.runs.get(&run).is_some_and(is_ended)
    }

    pub(crate) fn pending(&self) -> &BTreeSet<PendingFile> {
        &self.pending
    }
}
