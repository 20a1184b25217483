//! Granting: which jobs are ready, which of them may go, and to whom they are handed out.
//!
//! The last step of [`Coordinator::handle`] after every event. A grant rides in the batch of the event that made it
//! possible, and is sent once that is durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use roundhouse_proto::link::{CoordMsg, JobGrant};
use roundhouse_proto::work::Priority;
use roundhouse_proto::{JobId, JobKind, LeaseId, Role, RunId, WorkerId};

use super::Coordinator;
use crate::clock::Now;
use crate::event::LinkId;
use crate::job::JobState;
use crate::outbox::{Outbox, Progress};
use crate::pipeline::Mode;
use crate::queue::role_of;
use crate::record::Write;
use crate::status::Stuck;

impl Coordinator {
    /// Sorts the waiting jobs of a whole run.
    pub(super) fn sort_jobs(&mut self, id: RunId) {
        let Some(run) = self.runs.get(&id) else { return };
        let spec = Arc::clone(&run.spec);
        for problem in &spec.problems {
            self.sort_jobs_of(id, problem.position);
        }
    }

    /// The one way in which a job becomes ready. Waiting jobs of a problem go into the queue, and out of it if they
    /// are to be held by now.
    pub(super) fn sort_jobs_of(&mut self, id: RunId, position: u32) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let order = run.order;
        let Some((_, problem)) = run.problem(position) else {
            return;
        };
        let jobs: Vec<JobId> = problem.jobs().map(|job| job.id).collect();
        for id in jobs {
            let is_held_back = run.holds_back(&id);
            let Some(job) = run.job_mut(&id) else { continue };
            match (&job.state, is_held_back) {
                (JobState::Held, false) => {
                    job.state = JobState::Ready;
                    self.queue.push(order, id);
                }
                (JobState::Ready, true) => {
                    job.state = JobState::Held;
                    self.queue.remove(order, id);
                }
                (JobState::Held, true)
                | (JobState::Ready, false)
                | (JobState::Leased { .. } | JobState::Settled(_), _) => {}
            }
        }
    }

    /// Hands out ready jobs for as long as there is room.
    pub(super) fn dispatch(&mut self, now: Now, outbox: &mut Outbox) {
        let mut grants: BTreeMap<LinkId, Vec<JobGrant>> = BTreeMap::new();
        for role in [Role::Eval, Role::Gen] {
            while let Some(id) = self.queue.first(role, |job| self.may_go(job)) {
                let Some(worker) = self.fleet.take(role, Priority::of(&id)) else {
                    break;
                };
                let Some(link) = self.fleet.link_of(worker) else {
                    break;
                };
                if let Some(grant) = self.grant(now, id, (worker, link), outbox) {
                    grants.entry(link).or_default().push(grant);
                }
            }
        }
        for (link, grants) in grants {
            let leases: Vec<LeaseId> = grants.iter().map(|grant| grant.lease).collect();
            outbox.send(link, CoordMsg::Jobs(grants));
            for tests in leases.into_iter().filter_map(|lease| self.awaited_tests(lease)) {
                self.send_failed_test(tests, outbox);
            }
        }
    }

    fn may_go(&self, job: &JobId) -> bool {
        let Some(run) = self.runs.get(&job.run) else {
            return false;
        };
        let is_generate = |kind: &JobKind| *kind == JobKind::Generate;
        match (job.kind, run.mode) {
            (JobKind::RoundTests { .. }, Mode::Running | Mode::Draining)
            | (JobKind::Evaluate, Mode::Running) => true,
            (JobKind::Generate, Mode::Running) => run.spec.parallel || !self.is_leased(job.run, is_generate),
            (JobKind::Generate | JobKind::Evaluate, Mode::Draining) | (_, Mode::Drained) => false,
        }
    }

    fn grant(
        &mut self,
        now: Now,
        id: JobId,
        (worker, link): (WorkerId, LinkId),
        outbox: &mut Outbox,
    ) -> Option<JobGrant> {
        let role = role_of(&id);
        let (generation, evaluation) = (self.fleet.slots(Role::Gen), self.fleet.slots(Role::Eval));
        let cores = self.fleet.cores();
        let run = self.runs.get_mut(&id.run)?;
        self.queue.remove(run.order, id);
        let work = run.work(&id)?;
        self.lease_seq += 1;
        let lease = LeaseId {
            epoch: self.epoch,
            seq: self.lease_seq,
        };
        let at_ms = run.clock_ms(now);
        let job = run.job_mut(&id)?;
        job.attempts += 1;
        job.at_ms = at_ms;
        job.state = JobState::Leased {
            lease,
            worker,
            link,
            since_ms: now.monotonic_ms,
        };
        let attempt = job.attempts;
        outbox.write(Write::Job(job.record()));
        self.leases.insert(lease, id);

        let before = run.record.clone();
        let record = &mut run.record;
        record.generation_slots = record.generation_slots.max(generation);
        record.evaluation_slots = record.evaluation_slots.max(evaluation);
        record.cores = record.cores.max(cores);
        if role == Role::Gen {
            record.first_grant_ms.get_or_insert(at_ms);
        }
        if *record != before {
            outbox.write(Write::Run(record.clone()));
        }
        if role == Role::Gen && attempt == 1 {
            outbox.tell(
                id.run,
                Progress::GenerationStarted {
                    index: run.place(id.problem),
                },
            );
        }
        Some(JobGrant {
            job: id,
            lease,
            attempt,
            priority: Priority::of(&id),
            work,
        })
    }

    /// Says once, after a while, that jobs wait for a role that no worker plays.
    pub(super) fn tell_what_waits(&mut self, now: Now, outbox: &mut Outbox) {
        for role in [Role::Gen, Role::Eval] {
            let mut waiting: BTreeMap<RunId, usize> = BTreeMap::new();
            if self.fleet.slots(role) == 0 {
                for (first, jobs) in self.queue.lanes(role).filter(|(first, _)| self.may_go(first)) {
                    *waiting.entry(first.run).or_default() += jobs;
                }
            }
            if waiting.is_empty() {
                self.starved.remove(&role);
                continue;
            }
            let since = self.starved.entry(role).or_insert(Some(now.monotonic_ms));
            let Some(started) = *since else { continue };
            if now.monotonic_ms.saturating_sub(started) >= self.timing.waiting_ms {
                *since = None;
                for (run, jobs) in waiting {
                    let jobs = u32::try_from(jobs).unwrap_or(u32::MAX);
                    let _ = jobs;
                    outbox.tell(run, Progress::Stuck(vec![Stuck::NoWorker { role }]));
                }
            }
        }
    }
}
