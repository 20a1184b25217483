//! Runs: submitted, tried again, asked to stop, their files written.
//!
//! Called by [`Coordinator::handle`] with what people ask for and what the run directory has. What a run came to is
//! in [`super::settling`].

use std::sync::Arc;

use roundhouse_proto::{Digest, RunId};

use super::Coordinator;
use crate::clock::Now;
use crate::outbox::{Outbox, Progress};
use crate::pipeline::{Mode, Run};
use crate::record::{PendingFile, RunRecord, Write};
use crate::run::RunSpec;

impl Coordinator {
    pub(super) fn submitted(&mut self, now: Now, spec: Arc<RunSpec>, spec_blob: Digest, outbox: &mut Outbox) {
        let id = spec.run;
        if self.runs.contains_key(&id) {
            return;
        }
        let record = RunRecord {
            run: id,
            spec: spec_blob,
            first_grant_ms: None,
            generation_slots: 0,
            evaluation_slots: 0,
            cores: 0,
            finished: None,
            cancelled: None,
            endpoint: None,
        };
        let order = u32::try_from(self.runs.len()).unwrap_or(u32::MAX);
        outbox.write(Write::Run(record.clone()));
        let run = Run::new(spec, record, order, now);
        if let Some(files) = run.files(PendingFile::Statements { run: id }) {
            outbox.write_files(files);
        }
        self.runs.insert(id, run);
        self.sort_jobs(id);
        self.after_settling(id, now, outbox);
    }

    pub(super) fn retry_requested(&mut self, now: Now, id: RunId, outbox: &mut Outbox) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.mode = Mode::Running;
        let reopened = run.reopen_errors(now);
        if reopened.is_empty() {
            return;
        }
        for job in reopened.iter().filter_map(|id| run.job(id)) {
            outbox.write(Write::Job(job.record()));
        }
        run.generation_over_told = run.generation_is_over();
        outbox.write(Write::Run(run.record.clone()));
        self.sort_jobs(id);
        self.after_settling(id, now, outbox);
    }

    pub(super) fn cancel_requested(&mut self, _now: Now, _id: RunId, _reason: &str, _outbox: &mut Outbox) {}

    pub(super) fn stop_requested(&mut self, id: RunId, outbox: &mut Outbox) {
        if let Some(run) = self.runs.get_mut(&id)
            && run.mode == Mode::Running
        {
            run.mode = Mode::Draining;
        }
        self.tell_when_drained(id, outbox);
    }

    pub(super) fn file_written(&mut self, pending: PendingFile, outbox: &mut Outbox) {
        outbox.write(Write::Written(pending));
        if let PendingFile::Reports { run } = pending
            && let Some(run) = self.runs.get(&run)
            && run.record.finished.is_some()
        {
            outbox.tell(run.spec.run, Progress::Done(Box::new(run.summary())));
        }
    }
}
