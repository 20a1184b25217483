//! The state machine: one event in, writes and commands out.
//!
//! Here are the state, its start, and the one way in for events; what each event does stands with its noun.

mod cancelling;
mod granting;
mod leases;
mod runs;
mod sessions;
mod settling;
mod stalls;
mod views;
mod workers;

use std::collections::BTreeMap;
use std::sync::Arc;

use roundhouse_proto::link::CoordMsg;
use roundhouse_proto::{JobKind, RunId};

use crate::clock::Now;
use crate::event::Event;
use crate::fleet::Fleet;
use crate::leases::Leases;
use crate::outbox::{Command, Outbox};
use crate::pipeline::Run;
use crate::queue::Queue;
use crate::record::{PendingFile, Stored, StoredState, Write};
use crate::run::RunSpec;
use crate::summary::RunSummary;

/// Times of the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Silence after which a link counts as lost, in milliseconds.
    pub silence_ms: u64,
    /// How often workers ping, in milliseconds.
    pub ping_ms: u64,
    /// How long a lost worker may take to come back before its jobs go to others, in milliseconds.
    pub grace_ms: u64,
    /// How long a run cannot move before people are told, in milliseconds.
    pub waiting_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            silence_ms: 10_000,
            ping_ms: 2_000,
            grace_ms: 30_000,
            waiting_ms: 5_000,
        }
    }
}

/// The decisions of the coordinator. See [`Coordinator::handle`].
#[derive(Debug)]
pub struct Coordinator {
    timing: Timing,
    epoch: u32,
    lease_seq: u64,
    runs: BTreeMap<RunId, Run>,
    queue: Queue,
    fleet: Fleet,
    leases: Leases,
    /// Files that were asked for and are not written yet, with how often: each asking is answered.
    asked: BTreeMap<PendingFile, u32>,
    /// When time last passed.
    ticked_ms: u64,
    /// The last tick came late.
    is_late: bool,
}

impl Coordinator {
    /// Takes up what a store holds. `specs` has the specification of every stored run; a run without one is left
    /// alone. The outbox starts the new epoch, writes again the files that were pending, and counts the calls that
    /// were in flight when the last coordinator ended: their sessions are stored as waiting again, so that the next
    /// start counts none of them once more.
    pub fn start(
        timing: Timing,
        stored: Stored,
        specs: &BTreeMap<RunId, Arc<RunSpec>>,
        now: Now,
        outbox: &mut Outbox,
    ) -> Self {
        let epoch = stored.epoch + 1;
        outbox.write(Write::Epoch(epoch));
        let mut known: Vec<_> = stored
            .runs
            .into_iter()
            .filter_map(|record| Some((specs.get(&record.run)?, record)))
            .collect();
        known.sort_by_key(|(spec, record)| (spec.started.unix_us, record.run));
        let mut runs = BTreeMap::new();
        for (order, (spec, record)) in (0..).zip(known) {
            runs.insert(record.run, Run::new(Arc::clone(spec), record, order, now));
        }
        let mut held = Vec::new();
        for record in stored.jobs {
            if matches!(record.state, StoredState::Leased { .. }) && record.job.kind == JobKind::Generate {
                held.push(record.job);
            }
            if let Some(run) = runs.get_mut(&record.job.run) {
                run.restore_job(record);
            }
        }
        for record in stored.sessions {
            if let Some(run) = runs.get_mut(&record.job.run) {
                run.restore_session(record);
            }
        }
        let mut coordinator = Self {
            timing,
            epoch,
            lease_seq: 0,
            runs,
            queue: Queue::default(),
            fleet: Fleet::default(),
            leases: Leases::default(),
            asked: BTreeMap::new(),
            ticked_ms: now.monotonic_ms,
            is_late: false,
        };
        for session in held {
            let Some(run) = coordinator.runs.get_mut(&session.run) else {
                continue;
            };
            run.count_call_in_flight(&session);
            // Also where no call is in flight: the next start must not find the lease and, tests having come meanwhile,
            // count a call that was never made.
            if let Some(job) = run.job(&session) {
                outbox.write(Write::Job(job.record()));
            }
        }
        for pending in stored.pending {
            let Some(run) = coordinator.runs.get(&pending.run()) else {
                continue;
            };
            match run.files(pending) {
                Some(files) => {
                    coordinator.asked.insert(pending, 1);
                    outbox.commands.push(Command::WriteFiles(Box::new(files)));
                }
                None => outbox.write(Write::Written(pending)),
            }
        }
        let ids: Vec<RunId> = coordinator.runs.keys().copied().collect();
        for run in ids {
            if let Some(run) = coordinator.runs.get_mut(&run) {
                run.count_open();
                run.generation_over_told = run.is_over();
                run.judged_told = run.is_over();
                let reports = PendingFile::Reports { run: run.spec.run };
                run.reports_written = run.is_over() && !coordinator.asked.contains_key(&reports);
            }
            coordinator.sort_jobs(run);
            coordinator.after_settling(run, now, outbox);
        }
        coordinator
    }

    /// Start of the coordinator, from 1.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// What a run has come to so far.
    pub fn summary(&self, run: RunId) -> Option<RunSummary> {
        self.runs.get(&run).map(Run::summary)
    }

    /// Handles one event. What it leads to is put into the outbox: the writes are one batch, the commands may be
    /// carried out once that batch is durable. The state is changed at once, so the next event can be handled
    /// before that.
    pub fn handle(&mut self, now: Now, event: Event, outbox: &mut Outbox) {
        if let Some(link) = event.speaker() {
            self.fleet.heard(link, now.monotonic_ms);
        }
        match event {
            Event::Submitted { spec, spec_blob } => self.submitted(now, spec, spec_blob, outbox),
            Event::RetryRequested { run } => self.retry_requested(now, run, outbox),
            Event::CancelRequested { run, reason } => self.cancel_requested(now, run, &reason, outbox),
            Event::StopRequested { run } => self.stop_requested(run, outbox),
            Event::Joined { link, hello } => self.joined(now, link, *hello, outbox),
            Event::InventoryTaken { link, held } => self.inventory_taken(now, link, &held, outbox),
            Event::CreditOffered { link, role, n } => self.fleet.offer(link, role, n),
            Event::Pinged { link, seq } => self.pinged(link, seq, outbox),
            Event::SessionWentOn {
                link,
                job,
                lease,
                seq,
                event,
            } => {
                self.session_went_on(now, link, job, lease, seq, event, outbox);
            }
            Event::ResultCame {
                link,
                job,
                lease,
                result,
            } => {
                self.result_came(now, link, job, lease, result, outbox);
            }
            Event::Benched {
                link,
                endpoint,
                reason,
            } => self.fleet.bench(link, &endpoint, reason),
            Event::GivenBack {
                link,
                lease,
                reason,
                unaccounted,
            } => self.given_back(now, link, lease, &reason, unaccounted, outbox),
            Event::Left { link } => self.left(now, link, outbox),
            Event::LinkLost { link } => self.link_lost(now, link, outbox),
            Event::FileWritten(pending) => self.file_written(pending, outbox),
            Event::Ticked => self.ticked(now, outbox),
        }
        self.say_shares(outbox);
        self.dispatch(now, outbox);
    }

    /// Tells workers their shares of their hosts, where these are not what they were told on the links they have.
    fn say_shares(&mut self, outbox: &mut Outbox) {
        for (link, n) in self.fleet.take_unsaid() {
            outbox.send(link, CoordMsg::Cages { n });
        }
    }
}
