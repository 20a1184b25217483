//! The workers of the world: what they have, and how they go on with it.

use std::collections::BTreeMap;

use roundhouse_core::{Event, LinkId};
use roundhouse_proto::link::{JobGrant, JobResult, RunningLease};
use roundhouse_proto::work::Priority;
use roundhouse_proto::{JobId, JobKind, LeaseId, Role, SessionEvent, Work};

use super::script::verdict;
use super::{SLOTS, World};
use crate::spec::*;

/// Urgent jobs that a worker may have beyond its slots.
const OVERDRAW: usize = 16;

#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) job: JobId,
    /// Events of its session so far.
    pub(super) events: usize,
    /// Rounds whose report has come.
    pub(super) reports: Vec<u32>,
}

#[derive(Clone, Debug)]
pub(super) enum Unacknowledged {
    Session(u64, SessionEvent),
    Result(JobResult),
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) n: u8,
    pub(super) link: Option<LinkId>,
    pub(super) tasks: BTreeMap<LeaseId, Task>,
    pub(super) spool: Vec<(LeaseId, JobId, Unacknowledged)>,
    pub(super) offered: BTreeMap<Role, i64>,
}

impl Worker {
    pub(super) fn held(&self, role: Role) -> Vec<&Task> {
        self.tasks
            .values()
            .filter(|task| role_of(&task.job) == role)
            .collect()
    }

    pub(super) fn inventory(&self) -> Vec<RunningLease> {
        let tasks = self.tasks.iter().map(|(lease, task)| (task.job, *lease));
        let spool = self.spool.iter().map(|(lease, job, _)| (*job, *lease));
        let held: BTreeMap<LeaseId, JobId> = tasks.chain(spool).map(|(job, lease)| (lease, job)).collect();
        held.into_iter().map(|(lease, job)| running(job, lease)).collect()
    }
}

pub(super) fn role_of(job: &JobId) -> Role {
    match job.kind {
        JobKind::Generate => Role::Gen,
        JobKind::RoundTests { .. } | JobKind::Evaluate => Role::Eval,
    }
}

impl World {
    pub(super) fn take(&mut self, i: usize, grant: &JobGrant) {
        let JobGrant { job, lease, work, .. } = grant;
        let role = role_of(job);
        let worker = &mut self.workers[i];
        assert!(
            worker.tasks.values().all(|task| task.job != *job),
            "{job} was handed out to a worker that works on it"
        );
        *worker.offered.entry(role).or_default() -= 1;
        let mut task = Task {
            job: *job,
            events: 0,
            reports: Vec::new(),
        };
        if let Work::Generate(work) = work {
            let (events, _) = &self.scripts[&job.problem];
            assert_eq!(Some(work.resume.as_slice()), events.get(..work.resume.len()));
            task.events = work.resume.len();
            for (round, program_digest, report) in &work.reports {
                let expected = (
                    program(job.problem, *round).digest(),
                    round_report(job.problem, *round),
                );
                assert_eq!((*program_digest, report), (expected.0, &expected.1));
                task.reports.push(*round);
            }
        }
        worker.tasks.insert(*lease, task);
        let held = worker.held(role);
        let is_normal = |task: &&&Task| Priority::of(&task.job) == Priority::NORMAL;
        let slots = SLOTS as usize;
        assert!(
            held.iter().filter(is_normal).count() <= slots,
            "{role} slots are over-committed"
        );
        assert!(held.len() <= slots + OVERDRAW, "urgent jobs have no bound");
    }

    /// Leases whose work can go on.
    pub(super) fn workable(&self) -> Vec<(usize, LeaseId)> {
        let all = self.workers.iter().enumerate();
        all.flat_map(|(i, worker)| worker.tasks.iter().map(move |(lease, task)| (i, *lease, task)))
            .filter(|(_, _, task)| {
                let (events, _) = &self.scripts[&task.job.problem];
                let last = task.events.checked_sub(1).and_then(|last| events.get(last));
                match (task.job.kind, last) {
                    (JobKind::Generate, Some(SessionEvent::TestRequest { round, .. })) => {
                        task.reports.contains(round)
                    }
                    _ => true,
                }
            })
            .map(|(i, lease, _)| (i, lease))
            .collect()
    }

    /// A worker goes on with one of its tasks; `fails` is what an evaluation comes to instead.
    pub(super) fn work(&mut self, i: usize, lease: LeaseId, fails: Option<JobResult>) {
        let worker = &mut self.workers[i];
        let Some(task) = worker.tasks.get_mut(&lease) else {
            return;
        };
        let job = task.job;
        let (message, is_over) = if job.kind == JobKind::Generate {
            let (events, end) = &self.scripts[&job.problem];
            match (events.get(task.events), end) {
                (Some(event), _) => {
                    task.events += 1;
                    let is_over = matches!(event, SessionEvent::Finished(_));
                    let seq = u64::try_from(task.events).expect("it is small");
                    (Unacknowledged::Session(seq, event.clone()), is_over)
                }
                (None, Some(failure)) => (Unacknowledged::Result(failure.clone()), true),
                (None, None) => panic!("the session of {job} was handed out after its end"),
            }
        } else {
            (
                Unacknowledged::Result(fails.unwrap_or_else(|| verdict(&job))),
                true,
            )
        };
        if is_over {
            worker.tasks.remove(&lease);
        }
        worker.spool.push((lease, job, message.clone()));
        self.say(i, |link| to_event(link, lease, job, message));
        self.offer(i);
    }
}

pub(super) fn to_event(link: LinkId, lease: LeaseId, job: JobId, message: Unacknowledged) -> Event {
    match message {
        Unacknowledged::Session(seq, event) => Event::SessionWentOn {
            link,
            job,
            lease,
            seq,
            event,
        },
        Unacknowledged::Result(result) => Event::ResultCame {
            link,
            job,
            lease,
            result,
        },
    }
}
