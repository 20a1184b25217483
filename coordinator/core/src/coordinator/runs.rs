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
            interpreter: None,
        };
        let order = u32::try_from(self.runs.len()).unwrap_or(u32::MAX);
        outbox.write(Write::Run(record.clone()));
        let run = Run::new(spec, record, order, now);
        self.runs.insert(id, run);
        self.write_files(PendingFile::Statements { run: id }, outbox);
        self.sort_jobs(id);
        self.after_settling(id, now, outbox);
    }

    pub(super) fn retry_requested(&mut self, now: Now, id: RunId, outbox: &mut Outbox) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.mode = Mode::Running;
        let (reopened, is_changed) = run.reopen(now);
        if !is_changed {
            return;
        }
        for job in reopened.iter().filter_map(|id| run.job(id)) {
            outbox.write(Write::Job(job.record()));
        }
        run.generation_over_told = run.generation_is_over();
        run.judged_told = false;
        outbox.write(Write::Run(run.record.clone()));
        self.sort_jobs(id);
        self.after_settling(id, now, outbox);
    }

    pub(super) fn stop_requested(&mut self, id: RunId, outbox: &mut Outbox) {
        if let Some(run) = self.runs.get_mut(&id)
            && run.mode == Mode::Running
        {
            run.mode = Mode::Draining;
        }
        self.tell_when_drained(id, outbox);
    }

    /// Asks for files of a run's directory as things stand. They are asked for again when things changed before they
    /// were written, and stay pending until the last asking is answered.
    pub(super) fn write_files(&mut self, pending: PendingFile, outbox: &mut Outbox) {
        if let Some(files) = self.runs.get(&pending.run()).and_then(|run| run.files(pending)) {
            *self.asked.entry(pending).or_default() += 1;
            outbox.write_files(files);
        }
    }

    pub(super) fn file_written(&mut self, pending: PendingFile, outbox: &mut Outbox) {
        if let Some(asked_n) = self.asked.remove(&pending)
            && asked_n > 1
        {
            self.asked.insert(pending, asked_n - 1);
            return;
        }
        outbox.write(Write::Written(pending));
        if let PendingFile::Reports { run } = pending {
            self.reports_written(run, outbox);
        }
    }

    fn reports_written(&mut self, id: RunId, outbox: &mut Outbox) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        if run.is_over() {
            run.reports_written = true;
            outbox.tell(id, Progress::Done(Box::new(run.summary())));
        } else if run.paused.is_some() {
            run.reports_written = true;
            outbox.tell(id, Progress::Paused(Box::new(run.summary())));
        }
    }
}
