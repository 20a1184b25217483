//! One thing after another, as chance has it, some of which go wrong.

use std::collections::BTreeSet;

use roundhouse_core::{Event, LinkId};
use roundhouse_proto::{JobKind, RunId};

use super::World;
use super::work::Mishap;
use crate::ledger::Fate;
use crate::plan::{Fault, Member, PACES};
use crate::worker::{Phase, Stage, Worker};

/// Longest time that passes at once where nothing goes wrong, in milliseconds: no lease ends by it.
const GENTLE_MS: u32 = 20;
/// As above, where things may go wrong.
const TICK_MS: u32 = 300;
/// One step in so many compares what is in memory with what a restart would give.
const CHECKED_ONE_IN: usize = 100;
/// Workers that there are at most, so that those in the place of others come to an end.
const WORKERS_MAX: usize = 9;

/// What happens where nothing goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Batches become durable.
    Store,
    /// Commands of durable batches are carried out.
    Release,
    /// A message reaches the coordinator.
    Up,
    /// A message reaches a worker.
    Down,
    /// A worker goes on with a job.
    Work,
    /// Files are written.
    Write,
    /// Somebody sees after a worker or a run.
    Attend,
    /// A worker states what it holds, unasked.
    Inventory,
    /// A worker says that it is alive.
    Ping,
    /// Time passes.
    Time,
}

impl Kind {
    const ALL: [Self; PACES.len()] = [
        Self::Store,
        Self::Release,
        Self::Up,
        Self::Down,
        Self::Work,
        Self::Write,
        Self::Attend,
        Self::Inventory,
        Self::Ping,
        Self::Time,
    ];
}

impl World {
    /// The part of a world in which things may go wrong.
    pub(crate) fn run_wild(&mut self) {
        for step in 0..self.plan.steps {
            self.step = step;
            self.submit_due(step);
            if self.faults_left > 0 && self.chance.one_in(self.plan.fault_one_in) {
                self.faults_left -= 1;
                let faults = self.plan.faults.clone();
                if let Some(fault) = self.chance.pick(&faults) {
                    self.say(|| format!("✗ {fault:?}"));
                    self.go_wrong(fault);
                }
            } else {
                self.go_right();
            }
            if self.committer.is_durable() && self.chance.one_in(CHECKED_ONE_IN) {
                self.check_memory();
            }
        }
    }

    /// One of the things that can happen happens; the paces of this world say which kind is likelier.
    fn go_right(&mut self) {
        let mut can_happen = Vec::new();
        let mut weights = 0;
        for (pace, kind) in self.plan.paces.iter().zip(Kind::ALL) {
            if self.can_happen(kind) {
                weights += pace;
                can_happen.push((weights, kind));
            }
        }
        let drawn = self.chance.between(1, weights);
        let kind = can_happen.iter().find(|(up_to, _)| drawn <= *up_to);
        let (_, kind) = *kind.expect("time can always pass");
        self.happen(kind);
    }

    fn can_happen(&self, kind: Kind) -> bool {
        match kind {
            Kind::Store => !self.committer.is_durable(),
            Kind::Release => self.committer.is_releasing(),
            Kind::Up => self.links.with_up().is_some(),
            Kind::Down => !self.links_that_are_read().is_empty(),
            Kind::Work => !self.workable().is_empty(),
            Kind::Write => !self.to_write.is_empty() || !self.written.is_empty(),
            Kind::Attend => !self.stopped.is_empty() || !self.in_need().is_empty(),
            Kind::Inventory | Kind::Ping | Kind::Time => true,
        }
    }

    fn links_that_are_read(&self) -> Vec<LinkId> {
        let is_read = |link: &LinkId| {
            let worker = self.links.worker(*link);
            self.links.has_down(*link) && worker.is_some_and(|i| !self.workers[i].is_stalled)
        };
        self.links.ids().into_iter().filter(is_read).collect()
    }

    fn happen(&mut self, kind: Kind) {
        let i = self.chance.below(self.workers.len());
        match kind {
            Kind::Store => (0..self.chance.between(1, 3)).for_each(|_| self.store_next()),
            Kind::Release => (0..self.chance.between(1, 4)).for_each(|_| self.release_next()),
            Kind::Up => {
                let mut links = self.links.ids();
                links.retain(|link| self.links.has_up(*link));
                let link = self.chance.pick(&links);
                let copies = if self.chance.one_in(12) && !self.plan.is_gentle() {
                    2
                } else {
                    1
                };
                link.into_iter().for_each(|link| self.deliver_up(link, copies));
            }
            Kind::Down => {
                let links = self.links_that_are_read();
                let link = self.chance.pick(&links);
                link.into_iter().for_each(|link| self.deliver_down(link));
            }
            Kind::Work => {
                let workable = self.workable();
                if let Some((i, lease)) = self.chance.pick(&workable) {
                    self.go_on(i, lease, Mishap::Nothing);
                }
            }
            Kind::Write if self.chance.one_in(2) => self.write_file(),
            Kind::Write => self.say_written(),
            Kind::Attend => self.attend(),
            Kind::Inventory => {
                if !self.workers[i].is_stalled {
                    self.take_inventory(i);
                }
            }
            Kind::Ping => {
                if !self.workers[i].is_stalled {
                    self.ping(i);
                }
            }
            Kind::Time => self.pass_time(if self.plan.is_gentle() { GENTLE_MS } else { TICK_MS }),
        }
    }

    /// Workers that are to join or to wake up.
    fn in_need(&self) -> Vec<usize> {
        let is_in_need = |i: &usize| {
            let worker = &self.workers[*i];
            let is_to_join =
                worker.phase == Phase::Off && !worker.is_gone && worker.member.joins_after <= self.step;
            worker.is_stalled || is_to_join
        };
        (0..self.workers.len()).filter(is_in_need).collect()
    }

    /// A worker joins, or wakes up; or people let a run go on that they had stopped.
    fn attend(&mut self) {
        let in_need = self.in_need();
        match self.chance.pick(&in_need) {
            Some(i) if self.workers[i].is_stalled => self.workers[i].is_stalled = self.chance.one_in(2),
            Some(i) => self.join(i),
            None => {}
        }
        if self.chance.one_in(8)
            && let Some(run) = self.stopped.first().copied()
        {
            self.retry(run);
        }
    }

    fn pass_time(&mut self, ms_max: u32) {
        self.now_ms += u64::from(self.chance.between(0, ms_max));
        self.handle(Event::Ticked);
    }

    fn go_wrong(&mut self, fault: Fault) {
        let i = self.chance.below(self.workers.len());
        match fault {
            Fault::LinkBreaks => {
                let links = self.links.ids();
                if let Some(link) = self.chance.pick(&links) {
                    self.links.cut(link, &mut self.chance);
                }
            }
            Fault::WorkerDies => {
                self.kill(i);
                if self.chance.one_in(2) {
                    // It was given another key.
                    self.workers[i].refused.clear();
                    self.workers[i].benched.clear();
                }
            }
            Fault::WorkerIsReplaced => self.replace(i),
            Fault::WorkerStalls => self.workers[i].is_stalled = true,
            Fault::LongSilence => self.fall_silent(),
            Fault::WorkerLeaves => {
                if let Some(link) = self.workers[i].link() {
                    self.links.say_goodbye(link);
                    self.forget_all(i, Fate::Lost);
                    self.workers[i].is_gone = self.chance.one_in(2);
                }
            }
            Fault::CoordinatorDies => {
                let waiting_n = self.committer.waiting_n();
                let durable_n = self.chance.below(waiting_n + 1);
                self.crash(durable_n);
            }
            Fault::CoordinatorSleeps => {
                self.now_ms += 9_000;
                self.handle(Event::Ticked);
            }
            Fault::GivenBack => self.return_one(),
            Fault::CallBreaks => self.break_one(&[Mishap::CallBreaks]),
            Fault::EvaluationBreaks => self.break_one(&[Mishap::EvaluationBreaks, Mishap::CaseBreaks]),
            Fault::Retried => {
                if let Some(run) = self.pick_run() {
                    self.retry(run);
                }
            }
            Fault::SubmittedAgain => {
                let run = self.chance.below(self.plan.runs.len());
                let spec = self.plan.runs[run].spec.clone();
                self.submit(spec);
            }
            Fault::Stopped => {
                if let Some(run) = self.pick_run() {
                    self.stopped.insert(run);
                    self.handle(Event::StopRequested { run });
                }
            }
            Fault::Cancelled => {
                if let Some(run) = self.pick_run() {
                    let reason = "not wanted any more".to_owned();
                    self.handle(Event::CancelRequested { run, reason });
                }
            }
            Fault::KeyRefused => {
                let endpoints = self.workers[i].member.endpoints.clone();
                self.workers[i].refused.extend(self.chance.pick(&endpoints));
            }
        }
    }

    fn pick_run(&mut self) -> Option<RunId> {
        let asked: Vec<RunId> = self.asked.iter().copied().collect();
        self.chance.pick(&asked)
    }

    /// A worker dies, and with it all it had in memory.
    fn kill(&mut self, i: usize) {
        match self.workers[i].phase {
            Phase::Joining(link) | Phase::Up(link) => self.links.drop_worker_end(link, &mut self.chance),
            Phase::Off => {}
        }
        self.forget_all(i, Fate::Lost);
    }

    /// Another worker comes in the place of one that dies.
    fn replace(&mut self, i: usize) {
        self.kill(i);
        self.workers[i].is_gone = true;
        if self.workers.len() < WORKERS_MAX {
            let member = self.workers[i].member.clone();
            self.add_worker(member);
        }
    }

    pub(super) fn add_worker(&mut self, member: Member) {
        self.workers_n += 1;
        self.workers.push(Worker::new(self.workers_n, member));
    }

    /// Time passes until leases and their grace are over; some workers say nothing meanwhile.
    fn fall_silent(&mut self) {
        let silent: BTreeSet<usize> = (0..self.workers.len())
            .filter(|_| self.chance.one_in(2))
            .collect();
        let until_ms = self.now_ms + self.plan.timing.silence_ms + self.plan.timing.grace_ms + 2_000;
        while self.now_ms < until_ms {
            for i in 0..self.workers.len() {
                if !silent.contains(&i) && !self.workers[i].is_stalled {
                    self.ping(i);
                }
            }
            for link in self.links.ids() {
                let is_silent = |worker: usize| silent.contains(&worker);
                if self.links.worker(link).is_none_or(is_silent) {
                    continue;
                }
                while self.links.worker(link).is_some() && self.links.has_up(link) {
                    self.deliver_up(link, 1);
                }
            }
            self.now_ms += 1_000;
            self.handle(Event::Ticked);
        }
    }

    /// A worker gives back what it has not begun, or leaves it where its last stored event is.
    fn return_one(&mut self) {
        let mut held = Vec::new();
        for (i, worker) in self.workers.iter().enumerate() {
            let is_begun = |stage: &Stage| !matches!(stage, Stage::Ready | Stage::Judging);
            if worker.link().is_some() && !worker.is_stalled {
                let tasks = worker.tasks.iter().filter(|(_, task)| !is_begun(&task.stage));
                held.extend(tasks.map(|(lease, _)| (i, *lease)));
            }
        }
        if let Some((i, lease)) = self.chance.pick(&held) {
            self.give_back(i, lease, "no room".to_owned());
        }
    }

    /// A job that is being worked on comes to nothing.
    fn break_one(&mut self, mishaps: &[Mishap]) {
        let mishap = self.chance.pick(mishaps).unwrap_or(Mishap::Nothing);
        let mut workable = self.workable();
        workable.retain(|(i, lease)| {
            let task = &self.workers[*i].tasks[lease];
            match mishap {
                Mishap::CallBreaks => matches!(task.stage, Stage::Calling(_)),
                Mishap::EvaluationBreaks | Mishap::CaseBreaks => task.job.kind != JobKind::Generate,
                Mishap::Nothing => false,
            }
        });
        if let Some((i, lease)) = self.chance.pick(&workable) {
            self.go_on(i, lease, mishap);
        }
    }
}
