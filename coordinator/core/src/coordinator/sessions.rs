//! Sessions: the events they leave behind, the tests they ask for, the reports they wait for.
//!
//! Called by [`Coordinator::handle`] with what generation workers send while a session goes on. An event counts only
//! under the lease that holds the session, and only as the next one; it is stored before it is acknowledged. A
//! session's end is settled in [`super::settling`].

use roundhouse_proto::link::CoordMsg;
use roundhouse_proto::{JobId, JobKind, LeaseId, SessionEvent};

use super::Coordinator;
use crate::clock::Now;
use crate::event::LinkId;
use crate::job::Job;
use crate::outbox::{Outbox, Progress};
use crate::record::{JobOutcome, PendingFile, SessionRecord, Subject, Write};

impl Coordinator {
    #[expect(
        clippy::too_many_arguments,
        reason = "the fields of one event and where its effects go"
    )]
    pub(super) fn session_went_on(
        &mut self,
        now: Now,
        link: LinkId,
        id: JobId,
        lease: LeaseId,
        seq: u64,
        event: SessionEvent,
        outbox: &mut Outbox,
    ) {
        if self.fleet.worker_on(link).is_none() {
            return;
        }
        if self.job_under(link, lease) != Some(id) || id.kind != JobKind::Generate {
            outbox.send(link, CoordMsg::Forget { lease });
            return;
        }
        let Some(run) = self.runs.get_mut(&id.run) else {
            return;
        };
        let at_ms = run.clock_ms(now);
        let Some((_, problem)) = run.problem(id.problem) else {
            return;
        };
        let stored_n = problem.events.len() as u64;
        if seq <= stored_n {
            outbox.send(link, CoordMsg::Ack { lease, seq: stored_n });
            return;
        }
        if seq > stored_n + 1 {
            // The stream is ordered, so a gap is a defect of the worker; a new link starts from what is stored.
            outbox.close(link);
            return;
        }
        let new_remarks = run.add_event(id.problem, event.clone());
        outbox.write(Write::Session(SessionRecord {
            job: id,
            seq,
            at_ms,
            event: event.clone(),
        }));
        outbox.send(link, CoordMsg::Ack { lease, seq });
        for remark in new_remarks {
            outbox.tell(id.run, Progress::Notice(remark));
        }
        match event {
            SessionEvent::Said { .. } => {}
            SessionEvent::TestRequest {
                round,
                program,
                cases,
                cases_n,
            } => {
                self.test_requested(
                    id,
                    round,
                    Subject {
                        program,
                        cases,
                        cases_n,
                    },
                    outbox,
                );
            }
            SessionEvent::RoundEnd { round, .. } => {
                let pending = PendingFile::Round {
                    run: id.run,
                    problem: id.problem,
                    round,
                };
                self.write_files(pending, outbox);
            }
            SessionEvent::Finished(outcome) => {
                self.count_unaccounted(&id, outcome.unaccounted);
                self.settle(now, id, JobOutcome::Generated(outcome), outbox);
            }
        }
    }

    /// The same program in the same round is the same job: a report that is there is sent at once.
    fn test_requested(&mut self, session: JobId, round: u32, subject: Subject, outbox: &mut Outbox) {
        let program = subject.program.digest();
        let kind = JobKind::RoundTests { round, program };
        let id = JobId { kind, ..session };
        let Some(run) = self.runs.get_mut(&id.run) else {
            return;
        };
        let Some(problem) = run.problem_mut(id.problem) else {
            return;
        };
        problem.tests.entry((round, program)).or_insert_with(|| {
            let job = Job::new(id, Some(subject));
            outbox.write(Write::Job(job.record()));
            job
        });
        self.sort_jobs_of(id.run, id.problem);
        self.send_test_report(id, outbox);
    }

    /// The tests whose report the session under a lease waits for.
    pub(super) fn awaited_tests(&self, lease: LeaseId) -> Option<JobId> {
        let session = self.leases.get(lease)?.job;
        if session.kind != JobKind::Generate {
            return None;
        }
        self.runs.get(&session.run)?.awaited_tests(&session)
    }

    /// Sends the report of a round's tests, if there is one, to the worker that holds the session.
    pub(super) fn send_test_report(&self, id: JobId, outbox: &mut Outbox) {
        let JobKind::RoundTests { round, .. } = id.kind else {
            return;
        };
        let Some(run) = self.runs.get(&id.run) else { return };
        let session = JobId {
            kind: JobKind::Generate,
            ..id
        };
        let holder = run.job(&session).and_then(Job::holder);
        let Some((lease, worker)) = holder else { return };
        let report = match run.job(&id).and_then(Job::outcome) {
            Some(JobOutcome::Evaluated { report, .. }) => Ok(report.clone()),
            Some(JobOutcome::Error(failure)) => Err(failure.clone()),
            Some(JobOutcome::Generated(_)) | None => return,
        };
        if let Some(link) = self.fleet.link_of(worker) {
            outbox.send(link, CoordMsg::TestReport { lease, round, report });
        }
    }

    /// A session that goes on has the reports it asked for in its work, but not why there is none.
    pub(super) fn send_failed_test(&self, tests: JobId, outbox: &mut Outbox) {
        let job = self.runs.get(&tests.run).and_then(|run| run.job(&tests));
        if let Some(JobOutcome::Error(_)) = job.and_then(Job::outcome) {
            self.send_test_report(tests, outbox);
        }
    }
}
