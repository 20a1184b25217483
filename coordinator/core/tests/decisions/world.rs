//! A coordinator, its store, its links and its workers, all in memory: messages wait until they are delivered, writes
//! until they are durable, and any of it can be lost on the way.
//!
//! Every session and every evaluation comes to the same, whoever works on it and however often; so a run's outcomes
//! do not depend on what happens between.

mod chance;
mod script;
mod worker;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use roundhouse_core::record::{PendingFile, StoredState, Write};
use roundhouse_core::run::RunSpec;
use roundhouse_core::summary::{ProblemOutcome, RunSummary};
use roundhouse_core::{Command, Coordinator, Event, Files, LinkId, Outbox, Progress, Timing};
use roundhouse_proto::link::CoordMsg;
use roundhouse_proto::{FailureClass, JobKind, Role};

use self::script::{BUSY_MS, Script, script};
use self::worker::{Unacknowledged, Worker, role_of, to_event};
pub(crate) use self::{chance::Chance, script::world_spec};
use crate::disk::Disk;
use crate::spec::*;

/// Slots of every worker for each role.
pub(crate) const SLOTS: u32 = 2;
/// Steps in which a run must come to its end once nothing disturbs it any more.
const CALM_STEPS_MAX: u32 = 20_000;
#[derive(Debug, Default)]
struct Link {
    up: VecDeque<Event>,
    down: VecDeque<CoordMsg>,
}

pub(crate) struct World {
    spec: Arc<RunSpec>,
    scripts: BTreeMap<u32, Script>,
    timing: Timing,
    coordinator: Coordinator,
    disk: Disk,
    /// Batches that are durable.
    pub(crate) batches: Vec<Vec<Write>>,
    uncommitted: VecDeque<Outbox>,
    now_ms: u64,
    links: BTreeMap<LinkId, Link>,
    workers: Vec<Worker>,
    links_n: u64,
    to_write: VecDeque<Files>,
    pub(crate) files: BTreeMap<PendingFile, Files>,
    done_n: u32,
    retries: u32,
}

impl World {
    /// A coordinator started from what a store holds, the run submitted, and workers that are about to join.
    pub(crate) fn new(spec: &Arc<RunSpec>, disk: Disk, timing: Timing) -> Self {
        let mut outbox = Outbox::default();
        let now_ms = 1_000;
        let specs = BTreeMap::from([(spec.run, Arc::clone(spec))]);
        let coordinator = Coordinator::start(timing, disk.stored(), &specs, at(now_ms), &mut outbox);
        let worker = |n| Worker {
            n,
            link: None,
            tasks: BTreeMap::new(),
            spool: Vec::new(),
            offered: BTreeMap::new(),
        };
        let mut world = Self {
            spec: Arc::clone(spec),
            scripts: spec
                .problems
                .iter()
                .map(|p| (p.position, script(p.position)))
                .collect(),
            timing,
            coordinator,
            disk,
            batches: Vec::new(),
            uncommitted: VecDeque::from([outbox]),
            now_ms,
            links: BTreeMap::new(),
            workers: (1..=3).map(worker).collect(),
            links_n: 0,
            to_write: VecDeque::new(),
            files: BTreeMap::new(),
            done_n: 0,
            retries: 0,
        };
        world.handle(submitted(spec));
        world
    }

    pub(crate) fn summary(&self) -> RunSummary {
        self.coordinator
            .summary(self.spec.run)
            .expect("the run was submitted")
    }

    fn handle(&mut self, event: Event) {
        let mut outbox = Outbox::default();
        self.coordinator.handle(at(self.now_ms), event, &mut outbox);
        self.uncommitted.push_back(outbox);
    }

    /// Makes the oldest batch durable and carries out what waited for it.
    fn commit(&mut self) {
        let Some(outbox) = self.uncommitted.pop_front() else {
            return;
        };
        if !outbox.writes.is_empty() {
            self.disk.apply(&outbox.writes);
            self.batches.push(outbox.writes);
            self.check_modes();
        }
        for command in outbox.commands {
            match command {
                Command::Send { link, msg } => {
                    if let Some(link) = self.links.get_mut(&link) {
                        link.down.push_back(msg);
                    }
                }
                Command::Close { link } => self.cut(link, 0),
                Command::WriteFiles(files) => {
                    assert!(
                        self.disk.is_pending(files.pending()),
                        "{:?} was not pending",
                        files.pending()
                    );
                    self.to_write.push_back(*files);
                }
                Command::Tell { progress, .. } => {
                    if let Progress::Done(summary) = progress {
                        assert!(summary.finished.is_some(), "a run is done before its end");
                        self.done_n += 1;
                    }
                }
            }
        }
    }

    /// What sequential and staged runs promise.
    fn check_modes(&self) {
        let epoch = self.coordinator.epoch();
        let is_leased =
            |state: &StoredState| matches!(state, StoredState::Leased { lease, .. } if lease.epoch == epoch);
        let leased = |kind: JobKind| {
            let jobs = self.disk.jobs();
            jobs.filter(|job| job.job.kind == kind && is_leased(&job.state))
                .count()
        };
        let sessions_settled = self
            .disk
            .jobs()
            .filter(|job| job.job.kind == JobKind::Generate && matches!(job.state, StoredState::Settled(_)));
        if !self.spec.parallel {
            assert!(leased(JobKind::Generate) <= 1, "more than one session is held");
        }
        if self.spec.staged && self.retries == 0 && sessions_settled.count() < self.spec.problems.len() {
            assert_eq!(
                leased(JobKind::Evaluate),
                0,
                "an evaluation came before the last session's end"
            );
        }
    }

    // --- links

    /// Ends a link: what is on its way down is lost, of what is on its way up the first `up_n` messages arrive.
    fn cut(&mut self, id: LinkId, up_n: usize) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.up.truncate(up_n);
        link.up.push_back(Event::LinkLost { link: id });
        link.down.clear();
        for worker in &mut self.workers {
            if worker.link == Some(id) {
                worker.link = None;
            }
        }
    }

    /// The worker joins on a new link: it says who it is, what it has, sends its spool again, and offers its room.
    fn join(&mut self, i: usize) {
        self.links_n += 1;
        let link = LinkId(self.links_n);
        self.links.insert(link, Link::default());
        let worker = &mut self.workers[i];
        worker.link = Some(link);
        worker.offered.clear();
        let hello = hello(worker.n, SLOTS, SLOTS);
        let (held, spool) = (worker.inventory(), worker.spool.clone());
        self.say(i, |link| Event::Joined { link, hello });
        self.say(i, |link| Event::InventoryTaken { link, held });
        for (lease, job, message) in spool {
            self.say(i, |link| to_event(link, lease, job, message));
        }
        self.offer(i);
    }

    fn say(&mut self, i: usize, event: impl FnOnce(LinkId) -> Event) {
        let Some(id) = self.workers[i].link else { return };
        if let Some(link) = self.links.get_mut(&id) {
            link.up.push_back(event(id));
        }
    }

    /// Offers what room there is that was not offered.
    fn offer(&mut self, i: usize) {
        for role in [Role::Gen, Role::Eval] {
            let worker = &mut self.workers[i];
            let held = i64::try_from(worker.held(role).len()).expect("it is small");
            let offered = worker.offered.entry(role).or_default();
            let room = i64::from(SLOTS) - held - *offered;
            if worker.link.is_some() && room > 0 {
                *offered += room;
                let n = u32::try_from(room).expect("it is small");
                self.say(i, |link| Event::CreditOffered { link, role, n });
            }
        }
    }

    fn deliver_up(&mut self, id: LinkId, copies: usize) {
        let Some(event) = self.links.get_mut(&id).and_then(|link| link.up.pop_front()) else {
            return;
        };
        if let Event::LinkLost { link } = event {
            self.links.remove(&link);
        }
        let is_repeatable = matches!(event, Event::SessionWentOn { .. } | Event::ResultCame { .. });
        for _ in 0..if is_repeatable { copies } else { 1 } {
            self.handle(event.clone());
        }
    }

    fn deliver_down(&mut self, id: LinkId, gives_back: bool) {
        let Some(msg) = self.links.get_mut(&id).and_then(|link| link.down.pop_front()) else {
            return;
        };
        let Some(i) = self.workers.iter().position(|worker| worker.link == Some(id)) else {
            return;
        };
        match msg {
            CoordMsg::Jobs(grants) => {
                for grant in grants {
                    if gives_back {
                        *self.workers[i].offered.entry(role_of(&grant.job)).or_default() -= 1;
                        let reason = "no room".to_owned();
                        let lease = grant.lease;
                        let unaccounted = 0;
                        self.say(i, |link| Event::GivenBack {
                            link,
                            lease,
                            reason,
                            unaccounted,
                        });
                    } else {
                        self.take(i, &grant);
                    }
                }
                self.offer(i);
            }
            CoordMsg::Ack { lease, seq } => {
                self.workers[i].spool.retain(|(of, _, message)| {
                    let is_durable = match message {
                        Unacknowledged::Session(n, _) => *n <= seq,
                        Unacknowledged::Result(_) => seq == 0,
                    };
                    *of != lease || !is_durable
                });
            }
            CoordMsg::TestReport { lease, round, report } => {
                if let Some(task) = self.workers[i].tasks.get_mut(&lease) {
                    assert_eq!(report, Ok(round_report(task.job.problem, round)));
                    task.reports.push(round);
                }
            }
            CoordMsg::Forget { lease } => {
                let worker = &mut self.workers[i];
                worker.tasks.remove(&lease);
                worker.spool.retain(|(of, ..)| *of != lease);
                self.offer(i);
            }
            CoordMsg::Welcome { .. } | CoordMsg::Pong { .. } => {}
            other => panic!("the coordinator said {other:?}"),
        }
    }

    fn tick(&mut self, ms: u64) {
        self.now_ms += ms;
        self.handle(Event::Ticked);
    }

    fn ping(&mut self, i: usize) {
        let seq = self.now_ms;
        self.say(i, |link| Event::Pinged { link, seq });
    }

    fn write_file(&mut self) {
        if let Some(files) = self.to_write.pop_front() {
            let pending = files.pending();
            self.files.insert(pending, files);
            self.handle(Event::FileWritten(pending));
        }
    }

    /// The coordinator is killed and started again; writes that were not durable are gone, and with them every
    /// command that waited for them.
    fn crash(&mut self) {
        self.uncommitted.clear();
        self.links.clear();
        self.to_write.clear();
        for worker in &mut self.workers {
            worker.link = None;
        }
        self.now_ms = 1_000 + self.now_ms % 7_777;
        let mut outbox = Outbox::default();
        let specs = BTreeMap::from([(self.spec.run, Arc::clone(&self.spec))]);
        let now = at(self.now_ms);
        self.coordinator = Coordinator::start(self.timing, self.disk.stored(), &specs, now, &mut outbox);
        self.uncommitted.push_back(outbox);
        self.handle(submitted(&self.spec));
    }

    // --- steps

    /// One thing happens, chance says which; while `faults` are left, something may go wrong.
    pub(crate) fn step(&mut self, chance: &mut Chance, faults: &mut u32) {
        let i = chance.below(self.workers.len());
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        let link = chance.pick(&links);
        if *faults > 0 && chance.one_in(12) {
            *faults -= 1;
            return self.go_wrong(i, link, chance);
        }
        match chance.below(16) {
            0..=3 => self.commit(),
            4..=6 => {
                let copies = if chance.one_in(10) { 2 } else { 1 };
                if let Some(link) = link {
                    self.deliver_up(link, copies);
                }
            }
            7..=9 => {
                let gives_back = *faults > 0 && chance.one_in(20);
                if let Some(link) = link {
                    self.deliver_down(link, gives_back);
                }
            }
            10..=11 => {
                if let Some((i, lease)) = chance.pick(&self.workable()) {
                    let fails = *faults > 0 && chance.one_in(20);
                    let failure = failed(FailureClass::InfraRetry, "the disk is full");
                    self.work(i, lease, fails.then_some(failure));
                }
            }
            12 if self.workers[i].link.is_none() => self.join(i),
            12 | 13 => self.ping(i),
            14 => self.write_file(),
            _ => {
                if chance.one_in(4) {
                    let held = self.workers[i].inventory();
                    self.say(i, |link| Event::InventoryTaken { link, held });
                } else {
                    let ms = chance.below(1_500);
                    self.tick(u64::try_from(ms).expect("it is small"));
                }
            }
        }
    }

    fn go_wrong(&mut self, i: usize, link: Option<LinkId>, chance: &mut Chance) {
        let up_n = chance.below(4);
        match chance.below(10) {
            0..=2 => {
                if let Some(link) = link {
                    self.cut(link, up_n);
                }
            }
            3..=4 => {
                // The worker dies and with it all it had.
                if let Some(link) = self.workers[i].link {
                    self.cut(link, up_n);
                }
                self.workers[i].tasks.clear();
                self.workers[i].spool.clear();
            }
            5 => {
                let is_free = self.workers[i].tasks.is_empty() && self.workers[i].spool.is_empty();
                if is_free && let Some(link) = self.workers[i].link {
                    self.say(i, |link| Event::Left { link });
                    self.cut(link, usize::MAX);
                }
            }
            6 => self.crash(),
            7 => {
                self.retries += 1;
                self.handle(Event::RetryRequested { run: self.spec.run });
            }
            8 => self.handle(submitted(&self.spec)),
            _ => self.tick(9_000),
        }
    }

    /// Whether all is settled, written and told.
    fn is_over(&self) -> bool {
        let is_quiet = |link: &Link| link.up.is_empty() && link.down.is_empty();
        self.disk.is_finished()
            && self.uncommitted.is_empty()
            && self.links.values().all(is_quiet)
            && self.workers.iter().all(|worker| worker.spool.is_empty())
    }

    /// Nothing goes wrong any more: the run comes to its end.
    pub(crate) fn calm_down(&mut self) {
        for _ in 0..CALM_STEPS_MAX {
            if self.is_over() {
                return;
            }
            let is_up = |link: &Link| !link.up.is_empty();
            let up = self.links.iter().find(|(_, link)| is_up(link)).map(|(id, _)| *id);
            let is_down = |link: &Link| !link.down.is_empty();
            let down = self
                .links
                .iter()
                .find(|(_, link)| is_down(link))
                .map(|(id, _)| *id);
            if !self.uncommitted.is_empty() {
                self.commit();
            } else if let Some(link) = up {
                self.deliver_up(link, 1);
            } else if let Some(link) = down {
                self.deliver_down(link, false);
            } else if let Some(i) = self.workers.iter().position(|worker| worker.link.is_none()) {
                self.join(i);
            } else if let Some((i, lease)) = self.workable().first().copied() {
                self.now_ms += 3;
                self.work(i, lease, None);
            } else if !self.to_write.is_empty() {
                self.write_file();
            } else {
                (0..self.workers.len()).for_each(|i| self.ping(i));
                self.tick(500);
            }
        }
        panic!("the run hangs: {:#?}", self.disk.stored().jobs);
    }

    /// Asserts that the run came to the same as an undisturbed one.
    pub(crate) fn assert_like(&self, undisturbed: &World) {
        let outcomes = |summary: &RunSummary| -> Vec<_> {
            let problems = summary.problems.iter();
            problems
                .map(|problem| {
                    (
                        problem.outcome.clone(),
                        problem.events.clone(),
                        problem.generation.clone(),
                    )
                })
                .collect()
        };
        let (one, other) = (self.summary(), undisturbed.summary());
        assert_eq!(outcomes(&one), outcomes(&other));
        assert_eq!(one.status, other.status);
        assert!(one.times.generation_ms <= one.times.total_ms);
        let judged = |problem: &&_| matches!(problem, ProblemOutcome::Judged { total: 1.., .. });
        let judged_n = one
            .problems
            .iter()
            .map(|problem| &problem.outcome)
            .filter(judged)
            .count();
        assert_eq!(one.times.evaluation_busy_ms, BUSY_MS * judged_n as u64);

        let contents = |world: &World| -> BTreeMap<PendingFile, Option<Files>> {
            let files = world.files.iter();
            files
                .map(|(pending, files)| match files {
                    // It holds times.
                    Files::Reports { .. } => (*pending, None),
                    other => (*pending, Some(other.clone())),
                })
                .collect()
        };
        assert_eq!(contents(self), contents(undisturbed));
        let Some(Files::Reports { summary }) = self.files.get(&PendingFile::Reports { run: self.spec.run })
        else {
            panic!("the reports were not written");
        };
        assert_eq!(outcomes(summary), outcomes(&other));
    }

    pub(crate) fn done_n(&self) -> u32 {
        self.done_n
    }
}
