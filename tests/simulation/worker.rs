//! One simulated worker: what it has in memory. What it does with it is in [`crate::world`].
//!
//! It keeps to the protocol of the real one: an event is sent, and acknowledged, before the next step of its session;
//! a job keeps its slot until what it came to is acknowledged; after a reconnect it states what it holds, offers the
//! room that is left, and says again what was not acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use roundhouse_core::{Event, LinkId};
use roundhouse_proto::link::{EndpointOffer, Hello, JobResult, RunningLease};
use roundhouse_proto::work::Priority;
use roundhouse_proto::{Failure, Isolation, JobId, JobKind, Language, LeaseId, Payload, Role, SessionEvent};

use crate::plan::Member;
use crate::runs::worker_id;

/// Processor cores of each host: fewer than its workers have slots for, now and then fewer than it has workers.
const HOST_CORES: [u32; 2] = [4, 2];
/// Least number of evaluations that a worker is handed beyond those it may run at once, as the core has it.
const AHEAD_MIN: u32 = 2;

/// Where a worker stands with its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It has none.
    Off,
    /// It said hello and waits to be let in.
    Joining(LinkId),
    /// It is let in.
    Up(LinkId),
}

/// How far a job is on its worker.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stage {
    /// A session: its next step can begin, or waits for the report of tests.
    Ready,
    /// A session: a call is in flight.
    Calling(usize),
    /// A session: an event is not acknowledged yet, with the number of its call if it is an answer.
    Saying(SessionEvent, Option<usize>),
    /// An evaluation runs.
    Judging,
    /// What the job came to is not acknowledged yet.
    Reporting(JobResult),
}

/// One job that it holds.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) job: JobId,
    pub(crate) endpoint: Option<String>,
    /// Events of its session that are durable.
    pub(crate) seq: u64,
    pub(crate) stage: Stage,
    /// Reports of rounds' tests that have come.
    pub(crate) reports: BTreeMap<u32, Result<Payload, Failure>>,
}

impl Task {
    /// Its call that is in flight, or whose answer is not acknowledged.
    pub(crate) fn open_call(&self) -> Option<usize> {
        match &self.stage {
            Stage::Calling(serial) => Some(*serial),
            Stage::Saying(_, serial) => *serial,
            Stage::Ready | Stage::Judging | Stage::Reporting(_) => None,
        }
    }

    /// What is to be said again on a new link.
    pub(crate) fn unacknowledged(&self, link: LinkId, lease: LeaseId) -> Option<Event> {
        let job = self.job;
        match &self.stage {
            Stage::Saying(event, _) => Some(Event::SessionWentOn {
                link,
                job,
                lease,
                seq: self.seq + 1,
                event: event.clone(),
            }),
            Stage::Reporting(result) => Some(Event::ResultCame {
                link,
                job,
                lease,
                result: result.clone(),
            }),
            Stage::Ready | Stage::Calling(_) | Stage::Judging => None,
        }
    }
}

/// One worker.
#[derive(Debug)]
pub(crate) struct Worker {
    /// Its number; another process in its place may have another.
    pub(crate) n: usize,
    pub(crate) member: Member,
    pub(crate) phase: Phase,
    pub(crate) tasks: BTreeMap<LeaseId, Task>,
    /// Jobs held beyond the room of a role when the link came up: so many go without offering room again.
    pub(crate) owed: BTreeMap<Role, u32>,
    /// It does nothing at present.
    pub(crate) is_stalled: bool,
    /// It does not come back.
    pub(crate) is_gone: bool,
    /// Endpoints that refuse its key, whether it knows or not.
    pub(crate) refused: BTreeSet<String>,
    /// Endpoints that it asks nothing more.
    pub(crate) benched: BTreeSet<String>,
    pub(crate) pings: u64,
    /// Programs that it may run at once, as it was told on this link.
    pub(crate) share: Option<u32>,
}

impl Worker {
    pub(crate) fn new(n: usize, member: Member) -> Self {
        Self {
            n,
            member,
            phase: Phase::Off,
            tasks: BTreeMap::new(),
            owed: BTreeMap::new(),
            is_stalled: false,
            is_gone: false,
            refused: BTreeSet::new(),
            benched: BTreeSet::new(),
            pings: 0,
            share: None,
        }
    }

    pub(crate) fn hello(&self) -> Box<Hello> {
        let is_evaluating = self.member.slots.contains_key(&Role::Eval);
        let endpoint = |name: &String| EndpointOffer {
            name: name.clone(),
            benched: self
                .benched
                .contains(name)
                .then(|| "401: the key is refused".to_owned()),
        };
        Box::new(Hello {
            protocol_min: 1,
            protocol_max: 1,
            build: "0.1.0".to_owned(),
            worker: worker_id(self.n),
            name: format!("worker {}", self.n),
            slots: self.member.slots.clone(),
            languages: if is_evaluating {
                let interpreters = self.member.interpreters.iter();
                let interpreters = interpreters.map(|name| (Language::Python3, (*name).to_owned()));
                interpreters.collect()
            } else {
                Vec::new()
            },
            isolation: is_evaluating.then_some(Isolation::Full),
            cores: HOST_CORES[self.n % HOST_CORES.len()],
            boot_id: format!("host {}", self.n % HOST_CORES.len()),
            labels: BTreeMap::new(),
            endpoints: if self.member.slots.contains_key(&Role::Gen) {
                self.member.endpoints.iter().map(endpoint).collect()
            } else {
                Vec::new()
            },
            time_limit_ms: None,
        })
    }

    /// The link on which it can say something.
    pub(crate) fn link(&self) -> Option<LinkId> {
        match self.phase {
            Phase::Up(link) => Some(link),
            Phase::Off | Phase::Joining(_) => None,
        }
    }

    pub(crate) fn is_on(&self, link: LinkId) -> bool {
        self.phase == Phase::Up(link) || self.phase == Phase::Joining(link)
    }

    pub(crate) fn held(&self, role: Role) -> u32 {
        let held = self.tasks.values().filter(|task| role_of(&task.job) == role);
        u32::try_from(held.count()).expect("it is small")
    }

    /// Jobs of a role that it is handed at most, but for urgent ones: no more than its share of its host makes use of.
    pub(crate) fn room(&self, role: Role) -> u32 {
        let offered = self.member.room(role);
        match role {
            Role::Gen => offered,
            Role::Eval => {
                let share = self.share.unwrap_or(0);
                offered.min(share + share.div_ceil(2).max(AHEAD_MIN))
            }
        }
    }

    /// Whether it has something to judge programs with.
    pub(crate) fn can_judge(&self) -> bool {
        !self.member.interpreters.is_empty()
    }

    /// Those that are no tests of a round.
    pub(crate) fn held_normal(&self, role: Role) -> u32 {
        let is_normal = |task: &&Task| Priority::of(&task.job) >= Priority::NORMAL;
        let held = self.tasks.values().filter(|task| role_of(&task.job) == role);
        u32::try_from(held.filter(is_normal).count()).expect("it is small")
    }

    pub(crate) fn inventory(&self) -> Vec<RunningLease> {
        let running = |(lease, task): (&LeaseId, &Task)| RunningLease {
            job: task.job,
            lease: *lease,
            last_seq: task.seq,
            running_ms: 0,
        };
        self.tasks.iter().map(running).collect()
    }
}

pub(crate) fn role_of(job: &JobId) -> Role {
    match job.kind {
        JobKind::Generate => Role::Gen,
        JobKind::RoundTests { .. } | JobKind::Evaluate | JobKind::EvaluateRound { .. } => Role::Eval,
    }
}
