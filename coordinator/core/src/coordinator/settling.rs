//! Settling: what a job came to, and what follows for its session, its problem and its run.
//!
//! Called by [`Coordinator::handle`] with results, and wherever a job comes to its end. A settled job changes no more,
//! unless its run is tried again; a failure that another attempt may mend settles nothing and goes to
//! [`super::leases`].

use roundhouse_proto::link::{CoordMsg, JobResult};
use roundhouse_proto::{Failure, FailureClass, JobId, JobKind, LeaseId, RunId};

use super::Coordinator;
use super::leases::Attempt;
use crate::clock::Now;
use crate::event::LinkId;
use crate::job::Job;
use crate::outbox::{Outbox, Progress};
use crate::pipeline::Mode;
use crate::record::{JobOutcome, PendingFile, Write};

impl Coordinator {
    pub(super) fn result_came(
        &mut self,
        now: Now,
        link: LinkId,
        id: JobId,
        lease: LeaseId,
        result: JobResult,
        outbox: &mut Outbox,
    ) {
        if self.fleet.worker_on(link).is_none() {
            return;
        }
        if self.job_under(link, lease) != Some(id) {
            outbox.send(link, CoordMsg::Forget { lease });
            return;
        }
        outbox.send(link, CoordMsg::Ack { lease, seq: 0 });
        if let JobResult::Failed { unaccounted, .. } = result {
            self.count_unaccounted(&id, unaccounted);
        }
        match result {
            JobResult::Evaluated {
                internal_error: Some(error),
                ..
            } => {
                self.take_back(now, lease, &Attempt::Failed(&error), outbox);
            }
            JobResult::Failed { failure, .. } if failure.is_transient() => {
                self.take_back(now, lease, &Attempt::Failed(&failure.message), outbox);
            }
            JobResult::Failed { failure, .. } => self.settle(now, id, JobOutcome::Error(failure), outbox),
            JobResult::Evaluated { .. } if id.kind == JobKind::Generate => {
                let message = "the worker sent a report where a program was asked for".to_owned();
                let failure = Failure {
                    class: FailureClass::Job,
                    message,
                };
                self.settle(now, id, JobOutcome::Error(failure), outbox);
            }
            JobResult::Evaluated {
                report,
                passed,
                total,
                busy_ms,
                internal_error: None,
                audit,
            } => {
                if let Some(job) = self.runs.get_mut(&id.run).and_then(|run| run.job_mut(&id)) {
                    job.busy_ms += busy_ms;
                }
                self.settle(
                    now,
                    id,
                    JobOutcome::Evaluated {
                        report,
                        passed,
                        total,
                        audit,
                    },
                    outbox,
                );
            }
        }
    }

    /// The one way in which a job is settled.
    pub(super) fn settle(&mut self, now: Now, id: JobId, outcome: JobOutcome, outbox: &mut Outbox) {
        let Some(run) = self.runs.get_mut(&id.run) else {
            return;
        };
        let (order, place) = (run.order, run.place(id.problem));
        let lease = run.job(&id).and_then(Job::holder).map(|(lease, _)| lease);
        if id.kind == JobKind::Generate
            && let Some(job) = run.job_mut(&id)
        {
            job.add_busy(now.monotonic_ms);
        }
        if !run.settle(&id, outcome, now) {
            return;
        }
        if let Some(lease) = lease {
            self.leases.remove(lease);
        }
        self.queue.remove(order, id);
        if let Some(job) = run.job(&id) {
            outbox.write(Write::Job(job.record()));
        }
        match id.kind {
            JobKind::RoundTests { .. } => self.send_test_report(id, outbox),
            JobKind::Evaluate | JobKind::EvaluateRound { .. } => {}
            JobKind::Generate => self.session_settled(id, place, outbox),
        }
        if self
            .runs
            .get_mut(&id.run)
            .is_some_and(|run| run.count_settled(id.problem))
        {
            outbox.tell(id.run, Progress::Judged { index: place });
        }
        self.after_settling(id.run, now, outbox);
    }

    fn session_settled(&mut self, id: JobId, place: u32, outbox: &mut Outbox) {
        let Some(run) = self.runs.get(&id.run) else { return };
        let program = match run.job(&id).and_then(Job::outcome) {
            Some(JobOutcome::Generated(outcome)) => Ok(outcome.program.is_some()),
            Some(JobOutcome::Error(failure)) => Err(failure.clone()),
            Some(JobOutcome::Evaluated { .. }) | None => return,
        };
        outbox.tell(
            id.run,
            Progress::GenerationEnded {
                index: place,
                program,
            },
        );
        let pending = PendingFile::Session {
            run: id.run,
            problem: id.problem,
        };
        self.write_files(pending, outbox);
        let Some(run) = self.runs.get_mut(&id.run) else {
            return;
        };
        if let Some(job) = run.evaluation_of(id.problem) {
            outbox.write(Write::Job(job.record()));
            if let Some(problem) = run.problem_mut(id.problem) {
                problem.evaluate = Some(job);
            }
        }
        for job in run.add_round_evaluations(id.problem) {
            outbox.write(Write::Job(job.record()));
        }
        // Besides, tests of its rounds that still wait are for nobody.
        self.sort_jobs_of(id.run, id.problem);
    }

    /// What follows once something is settled: the end of generation, the end of the run.
    pub(super) fn after_settling(&mut self, id: RunId, now: Now, outbox: &mut Outbox) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        if run.generation_is_over() && !run.generation_over_told {
            run.generation_over_told = true;
            outbox.tell(
                id,
                Progress::GenerationDone {
                    generation_ms: run.generation_ms(),
                },
            );
            self.sort_jobs(id);
        }
        let Some(run) = self.runs.get_mut(&id) else { return };
        if run.has_only_rounds_left() && !run.is_over() && !std::mem::replace(&mut run.judged_told, true) {
            let summary = Box::new(run.summary());
            outbox.tell(id, Progress::AllJudged(summary));
        }
        if run.is_settled() && !run.is_over() {
            run.finish(now);
            outbox.write(Write::Run(run.record.clone()));
            self.write_files(PendingFile::Reports { run: id }, outbox);
        }
        self.tell_when_drained(id, outbox);
    }

    pub(super) fn tell_when_drained(&mut self, id: RunId, outbox: &mut Outbox) {
        let is_idle = !self.is_leased(id, |_| true);
        let Some(run) = self.runs.get_mut(&id) else { return };
        if run.mode == Mode::Draining && is_idle && !run.is_over() {
            run.mode = Mode::Drained;
            outbox.tell(id, Progress::Drained);
        }
    }
}
