//! Leases: which worker holds which job, and what becomes of a job that is taken back.
//!
//! Begun in [`super::granting`], ended here or, with the job, in [`super::settling`]. The lease id is the only fence:
//! what comes under another one is to be forgotten.

use roundhouse_proto::link::CoordMsg;
use roundhouse_proto::{Failure, FailureClass, JobId, JobKind, LeaseId, RunId, WorkerId};

use super::Coordinator;
use crate::clock::Now;
use crate::event::LinkId;
use crate::job::JobState;
use crate::leases::Lease;
use crate::outbox::{Outbox, Progress};
use crate::record::{JobOutcome, Write};

/// Grants of a job after which the next attempt that settles nothing is its last, whoever was to blame: the bound
/// of jobs that are given back again and again.
const GRANTS_MAX: u32 = 100;

/// How an attempt ended that settled nothing.
pub(super) enum Attempt<'a> {
    /// Its worker was lost and it with it; counts against the job. A session's call that was in flight may be paid all
    /// the same.
    Lost(&'a str),
    /// It failed, and counts against the job. What it leaves unpaid or unaccounted for its worker has said.
    Failed(&'a str),
    /// It was given back: its worker had not begun it, or left it between two calls.
    Returned(&'a str),
    /// Its worker said that it leaves, in the middle of it. Nobody is to blame, but a session's call that was in flight
    /// may be paid all the same.
    Left(&'a str),
}

impl Coordinator {
    pub(super) fn given_back(
        &mut self,
        now: Now,
        link: LinkId,
        lease: LeaseId,
        reason: &str,
        unaccounted: u32,
        outbox: &mut Outbox,
    ) {
        if self.fleet.worker_on(link).is_none() {
            return;
        }
        let Some(id) = self.job_under(link, lease) else {
            outbox.send(link, CoordMsg::Forget { lease });
            return;
        };
        self.count_unaccounted(&id, unaccounted);
        self.take_back(now, lease, &Attempt::Returned(reason), outbox);
    }

    /// Counts calls of a job that may have been paid and brought nothing, as its worker tells them. They are stored
    /// with whatever the job comes to next, in the same event.
    pub(super) fn count_unaccounted(&mut self, id: &JobId, calls_n: u32) {
        if let Some(job) = self.runs.get_mut(&id.run).and_then(|run| run.job_mut(id)) {
            job.calls_unaccounted = job.calls_unaccounted.saturating_add(calls_n);
        }
    }

    pub(super) fn take_back_all(
        &mut self,
        now: Now,
        worker: WorkerId,
        attempt: &Attempt<'_>,
        outbox: &mut Outbox,
    ) {
        for lease in self.leases.of_worker(worker) {
            self.take_back(now, lease, attempt, outbox);
        }
    }

    /// The one way in which a lease ends without its job being settled. A job whose attempts are used up is given up.
    pub(super) fn take_back(&mut self, now: Now, lease: LeaseId, attempt: &Attempt<'_>, outbox: &mut Outbox) {
        let Some(Lease { job: id, .. }) = self.leases.remove(lease) else {
            return;
        };
        let Some(run) = self.runs.get_mut(&id.run) else {
            return;
        };
        let (at_ms, place) = (run.clock_ms(now), run.place(id.problem));
        let attempts_max = run.spec.attempts_max;
        let is_for_nobody = run.is_for_nobody(&id);
        match attempt {
            Attempt::Lost(_) | Attempt::Left(_) => {
                run.count_call_in_flight(&id);
            }
            Attempt::Failed(_) | Attempt::Returned(_) => {}
        }
        let Some(job) = run.job_mut(&id) else { return };
        job.wait_again(now, at_ms);
        let reason = match attempt {
            Attempt::Lost(reason) | Attempt::Failed(reason) => {
                job.failed_attempts += 1;
                reason
            }
            Attempt::Returned(reason) | Attempt::Left(reason) => reason,
        };
        let used_up = [(job.failed_attempts, attempts_max), (job.attempts, GRANTS_MAX)]
            .into_iter()
            .find(|(n, max)| n >= max);
        if let Some((attempts, _)) = used_up {
            let failure = given_up(attempts, reason);
            self.settle(now, id, JobOutcome::Error(failure), outbox);
            return;
        }
        outbox.write(Write::Job(job.record()));
        if !is_for_nobody {
            let (job, reason) = (id.to_string(), (*reason).to_owned());
            outbox.tell(
                id.run,
                Progress::Retried {
                    index: place,
                    job,
                    reason,
                },
            );
        }
        self.sort_jobs_of(id.run, id.problem);
        self.tell_when_drained(id.run, outbox);
    }

    pub(super) fn holder(&self, lease: LeaseId) -> Option<WorkerId> {
        self.leases.get(lease).map(|lease| lease.worker)
    }

    /// The job under a lease that the worker on this link holds.
    pub(super) fn job_under(&self, link: LinkId, lease: LeaseId) -> Option<JobId> {
        let worker = self.fleet.worker_on(link)?;
        let lease = self.leases.get(lease);
        lease
            .filter(|lease| lease.worker == worker)
            .map(|lease| lease.job)
    }

    /// Whether a lease was granted on this link so short a time ago that its worker may not have it yet.
    pub(super) fn may_be_on_its_way(&self, now: Now, link: LinkId, lease: LeaseId) -> bool {
        let job = self
            .leases
            .get(lease)
            .and_then(|Lease { job, .. }| self.runs.get(&job.run)?.job(&job));
        match job.map(|job| &job.state) {
            Some(JobState::Leased {
                link: sent_on,
                since_ms,
                ..
            }) => {
                let age_ms = now.monotonic_ms.saturating_sub(*since_ms);
                *sent_on == link && age_ms < self.timing.silence_ms
            }
            Some(JobState::Held | JobState::Ready | JobState::Settled(_)) | None => false,
        }
    }

    pub(super) fn is_leased(&self, run: RunId, kind_is: impl Fn(&JobKind) -> bool) -> bool {
        let mut of_run = self.leases.of_run(run);
        of_run.any(|(_, lease)| kind_is(&lease.job.kind))
    }
}

/// The failure of a job whose attempts are used up.
fn given_up(attempts: u32, last: &str) -> Failure {
    let message = format!("given up after {attempts} attempts: {last}");
    Failure {
        class: FailureClass::InfraFatal,
        message,
    }
}
