//! A coordinator, its store, its file writer, its links and its workers, all in memory and all from one seed.
//!
//! Messages wait until they are delivered, batches until they are durable, commands until they are carried out, and
//! any of it can be lost on the way. What must hold at every step is in [`promises`] and in [`crate::store`], what must
//! hold at the end in [`books`].

mod books;
mod calm;
mod carry;
mod chaos;
mod promises;
mod work;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use roundhouse_core::record::PendingFile;
use roundhouse_core::run::RunSpec;
use roundhouse_core::summary::RunSummary;
use roundhouse_core::{Command, Coordinator, Event, Files, LinkId, Now, Outbox, Progress};
use roundhouse_proto::RunId;

use crate::ledger::Ledger;
use crate::links::Links;
use crate::plan::Plan;
use crate::runs::{spec_blob, stamp};
use crate::store::{Committer, Disk};
use crate::trace::{self, Trace};
use crate::worker::Worker;
use roundhouse_tests::chance::Chance;

/// One in so many batches is applied twice.
const APPLIED_TWICE_ONE_IN: usize = 31;

/// The world of a plan.
pub(crate) struct World {
    plan: Plan,
    chance: Chance,
    trace: Trace,
    step: u32,
    /// Time of the world, in milliseconds.
    now_ms: u64,
    /// When the coordinator was started, in the world's time, and at which monotonic time of its own.
    started_ms: (u64, u64),
    coordinator: Coordinator,
    committer: Committer,
    disk: Disk,
    links: Links,
    workers: Vec<Worker>,
    /// Workers that there were so far.
    workers_n: usize,
    ledger: Ledger,
    faults_left: u32,
    /// Runs that were asked for at this coordinator.
    asked: BTreeSet<RunId>,
    stopped: BTreeSet<RunId>,
    /// How often people had a run tried again.
    retries: BTreeMap<RunId, u32>,
    /// How often people were told that a problem, by its place, was judged.
    judged: BTreeMap<(RunId, u32), u32>,
    /// Files that the file writer is to write, and those of which it is to say that they are written.
    to_write: VecDeque<Files>,
    written: VecDeque<PendingFile>,
    files: BTreeMap<PendingFile, Files>,
    /// Jobs that workers held and were told to drop.
    dropped_n: u32,
    /// How often people were told that a job goes out again.
    retried_n: u32,
    /// Endpoints that the coordinator knows a worker to offer, by link.
    offers: BTreeMap<LinkId, BTreeSet<String>>,
    /// Workers that run programs and are joined as far as the coordinator has heard.
    seats: BTreeMap<LinkId, Seat>,
}

/// A joined worker on its host.
#[derive(Clone, Debug)]
struct Seat {
    host: String,
    /// Processor cores of the host.
    cores: u32,
    /// Programs that it could run at once if the host were its own.
    most: u32,
    /// Those that it may run at once, as it was told last.
    share: Option<u32>,
}

impl World {
    /// The world of a plan before anything happens in it.
    pub(crate) fn new(plan: Plan, chance: Chance, trace: Trace) -> Self {
        let mut outbox = Outbox::default();
        let disk = Disk::default();
        let now = Now {
            monotonic_ms: 1_000,
            wall: stamp(0),
        };
        let specs = BTreeMap::new();
        let coordinator = Coordinator::start(plan.timing, disk.stored(), &specs, now, &mut outbox);
        let members = plan.members.iter().cloned();
        let workers: Vec<_> = (1..)
            .zip(members)
            .map(|(n, member)| Worker::new(n, member))
            .collect();
        let mut committer = Committer::default();
        committer.take(outbox);
        trace.say(|| format!("{plan:#?}"));
        Self {
            chance,
            trace,
            step: 0,
            now_ms: 0,
            started_ms: (0, 1_000),
            coordinator,
            committer,
            disk,
            links: Links::default(),
            workers_n: workers.len(),
            workers,
            ledger: Ledger::default(),
            faults_left: if plan.faults.is_empty() { 0 } else { plan.faults_n },
            asked: BTreeSet::new(),
            stopped: BTreeSet::new(),
            retries: BTreeMap::new(),
            judged: BTreeMap::new(),
            to_write: VecDeque::new(),
            written: VecDeque::new(),
            files: BTreeMap::new(),
            dropped_n: 0,
            retried_n: 0,
            offers: BTreeMap::new(),
            seats: BTreeMap::new(),
            plan,
        }
    }

    /// Batches that became durable so far.
    pub(crate) fn batches_n(&self) -> usize {
        self.disk.batches_n()
    }

    /// Calls that were paid so far.
    pub(crate) fn calls_n(&self) -> usize {
        self.ledger.calls().len()
    }

    fn say(&self, line: impl FnOnce() -> String) {
        let (step, now_ms) = (self.step, self.now_ms);
        self.trace.say(|| format!("{step:4} {now_ms:7} ms  {}", line()));
    }

    fn now(&self) -> Now {
        let (started_ms, monotonic_ms) = self.started_ms;
        Now {
            monotonic_ms: monotonic_ms + self.now_ms - started_ms,
            wall: stamp(self.now_ms),
        }
    }

    fn specs(&self) -> BTreeMap<RunId, Arc<RunSpec>> {
        let runs = self.plan.runs.iter().map(|run| &run.spec);
        runs.filter(|spec| self.disk.run(spec.run).is_some())
            .map(|spec| (spec.run, Arc::clone(spec)))
            .collect()
    }

    /// What a planned run is asked to do.
    fn spec(&self, run: RunId) -> &RunSpec {
        let mut runs = self.plan.runs.iter().map(|run| &run.spec);
        runs.find(|spec| spec.run == run).expect("it is planned")
    }

    fn summary(&self, run: RunId) -> RunSummary {
        self.coordinator.summary(run).expect("the run was submitted")
    }

    /// The core handles an event; what it leads to waits to become durable.
    fn handle(&mut self, event: Event) {
        self.say(|| format!("◄ {}", trace::event(&event)));
        let mut outbox = Outbox::default();
        self.coordinator.handle(self.now(), event, &mut outbox);
        self.check_offers(&outbox);
        self.check_shares(&outbox);
        self.committer.take(outbox);
    }

    // --- the store

    /// Makes the oldest batch durable. Its commands may be carried out from now on.
    fn store_next(&mut self) {
        let Some(outbox) = self.committer.next() else {
            return;
        };
        for write in &outbox.writes {
            self.say(|| format!("  ▼ {}", trace::write(write)));
        }
        for run in self.disk.reopened_by(&outbox.writes) {
            assert!(self.retries.contains_key(&run), "a cancelled run goes on unasked");
        }
        self.disk.apply(&outbox.writes, &self.ledger);
        if self.disk.batches_n().is_multiple_of(APPLIED_TWICE_ONE_IN) {
            self.disk.assert_applied(&outbox.writes);
        }
        self.check_batch(&outbox);
        self.committer.release_later(outbox.commands);
        if !outbox.writes.is_empty() && self.plan.dies_after == Some(self.disk.batches_n()) {
            self.crash(0);
        }
    }

    /// Carries out the oldest command whose batch is durable.
    fn release_next(&mut self) {
        let Some(command) = self.committer.release() else {
            return;
        };
        self.say(|| format!("    ► {}", trace::command(&command)));
        match command {
            Command::Send { link, msg } => self.links.say_down(link, msg),
            Command::Close { link } => self.links.close_down(link),
            Command::WriteFiles(files) => self.to_write.push_back(*files),
            Command::Tell { run, progress } => self.hear(run, &progress),
        }
    }

    fn write_file(&mut self) {
        if let Some(files) = self.to_write.pop_front() {
            let pending = files.pending();
            self.files.insert(pending, files);
            self.written.push_back(pending);
        }
    }

    fn say_written(&mut self) {
        if let Some(pending) = self.written.pop_front() {
            self.handle(Event::FileWritten(pending));
        }
    }

    fn hear(&mut self, run: RunId, progress: &Progress) {
        match progress {
            Progress::Judged { index } => *self.judged.entry((run, *index)).or_default() += 1,
            Progress::Retried { .. } => self.retried_n += 1,
            Progress::GenerationStarted { .. }
            | Progress::GenerationEnded { .. }
            | Progress::GenerationDone { .. }
            | Progress::AllJudged(_)
            | Progress::Started { .. }
            | Progress::Stuck(_)
            | Progress::Notice(_)
            | Progress::Paused(_)
            | Progress::Drained
            | Progress::Done(_) => {}
        }
    }

    // --- the coordinator's life

    /// The coordinator is killed when so many more batches have become durable: the rest is gone, and with it every
    /// command that was not carried out. It starts again from what is stored.
    fn crash(&mut self, durable_n: usize) {
        for _ in 0..durable_n {
            self.store_next();
        }
        self.say(|| "✝ the coordinator is killed".to_owned());
        if self.committer.is_durable() {
            self.check_memory();
        }
        self.committer = Committer::default();
        self.links.drop_coordinator_ends(&mut self.chance);
        self.offers.clear();
        self.seats.clear();
        self.to_write.clear();
        self.written.clear();
        self.asked.clear();
        self.now_ms += u64::from(self.chance.between(0, 20_000));
        self.started_ms = (self.now_ms, u64::from(self.chance.between(0, 100_000)));
        let mut outbox = Outbox::default();
        self.coordinator = self.started(&mut outbox);
        self.check_start(&outbox);
        self.committer.take(outbox);
    }

    /// A coordinator started from what is stored.
    fn started(&self, outbox: &mut Outbox) -> Coordinator {
        Coordinator::start(
            self.plan.timing,
            self.disk.stored(),
            &self.specs(),
            self.now(),
            outbox,
        )
    }

    // --- what people do

    /// Asks for the runs that are due and of which the coordinator does not know.
    fn submit_due(&mut self, step: u32) {
        let is_due = |run: RunId, after: u32| {
            after <= step && !self.asked.contains(&run) && self.disk.run(run).is_none()
        };
        let due = self.plan.runs.iter();
        let due: Vec<_> = due
            .filter(|run| is_due(run.spec.run, run.after))
            .map(|run| Arc::clone(&run.spec))
            .collect();
        for spec in due {
            self.submit(spec);
        }
    }

    fn submit(&mut self, spec: Arc<RunSpec>) {
        self.asked.insert(spec.run);
        let spec_blob = spec_blob(&spec);
        self.handle(Event::Submitted { spec, spec_blob });
    }

    fn retry(&mut self, run: RunId) {
        *self.retries.entry(run).or_default() += 1;
        self.stopped.remove(&run);
        self.handle(Event::RetryRequested { run });
    }
}
