//! What travels on the links, and what both ends make of it.

use roundhouse_core::{Event, LinkId};
use roundhouse_proto::link::{CoordMsg, Hello, JobGrant};
use roundhouse_proto::{LeaseId, Role, Work};

use super::{Seat, World};
use crate::ledger::Fate;
use crate::links::Down;
use crate::trace;
use crate::worker::{Phase, Stage, Task, role_of};

/// Tests of rounds that a worker may be handed beyond the room it offered.
pub(super) const OVERDRAW: u32 = 16;

impl World {
    // --- up

    /// The oldest message of a link reaches the coordinator, perhaps more than once.
    pub(super) fn deliver_up(&mut self, id: LinkId, copies: usize) {
        let Some(event) = self.links.next_up(id) else {
            return;
        };
        match &event {
            Event::Joined { link, hello } => {
                let is_asked = hello.endpoints.iter().filter(|offer| offer.benched.is_none());
                let names = is_asked.map(|offer| offer.name.clone()).collect();
                self.offers.insert(*link, names);
                self.take_seat(*link, hello);
            }
            Event::Benched { link, endpoint, .. } => {
                if let Some(names) = self.offers.get_mut(link) {
                    names.remove(endpoint);
                }
            }
            // The edge closes what ended.
            Event::LinkLost { link } | Event::Left { link } => {
                self.links.close_down(*link);
                self.seats.remove(link);
            }
            Event::Submitted { .. }
            | Event::RetryRequested { .. }
            | Event::CancelRequested { .. }
            | Event::StopRequested { .. }
            | Event::InventoryTaken { .. }
            | Event::CreditOffered { .. }
            | Event::Pinged { .. }
            | Event::SessionWentOn { .. }
            | Event::ResultCame { .. }
            | Event::GivenBack { .. }
            | Event::FileWritten(_)
            | Event::Ticked => {}
        }
        let is_repeatable = matches!(event, Event::SessionWentOn { .. } | Event::ResultCame { .. });
        for _ in 0..if is_repeatable { copies } else { 1 } {
            self.handle(event.clone());
        }
    }

    /// A worker that runs programs joins, as the coordinator hears of it.
    fn take_seat(&mut self, link: LinkId, hello: &Hello) {
        if let Some(slots) = hello.slots.get(&Role::Eval) {
            let seat = Seat {
                host: hello.boot_id.clone(),
                cores: hello.cores,
                most: hello.cores.min(*slots),
                share: None,
            };
            self.seats.insert(link, seat);
        }
    }

    /// A worker says something, if its link is up.
    pub(super) fn say_up(&mut self, i: usize, event: impl FnOnce(LinkId) -> Event) {
        if let Some(link) = self.workers[i].link() {
            self.links.say_up(link, event(link));
        }
    }

    pub(super) fn join(&mut self, i: usize) {
        let link = self.links.open(i);
        self.workers[i].phase = Phase::Joining(link);
        self.workers[i].share = None;
        let hello = self.workers[i].hello();
        self.links.say_up(link, Event::Joined { link, hello });
    }

    /// It is let in: it states what it holds, offers the room that is left, says again what was not acknowledged.
    fn come_up(&mut self, i: usize, link: LinkId) {
        let worker = &mut self.workers[i];
        worker.phase = Phase::Up(link);
        let held = worker.inventory();
        self.links.say_up(link, Event::InventoryTaken { link, held });
        for role in [Role::Gen, Role::Eval] {
            let worker = &mut self.workers[i];
            let (room, held) = (worker.member.room(role), worker.held(role));
            worker.owed.insert(role, held.saturating_sub(room));
            let n = room.saturating_sub(held);
            if n > 0 {
                self.links.say_up(link, Event::CreditOffered { link, role, n });
            }
        }
        let tasks = self.workers[i].tasks.iter();
        let again: Vec<_> = tasks
            .filter_map(|(lease, task)| task.unacknowledged(link, *lease))
            .collect();
        for event in again {
            self.links.say_up(link, event);
        }
    }

    pub(super) fn ping(&mut self, i: usize) {
        self.workers[i].pings += 1;
        let seq = self.workers[i].pings;
        self.say_up(i, |link| Event::Pinged { link, seq });
    }

    /// It states what it holds, unasked.
    pub(super) fn take_inventory(&mut self, i: usize) {
        let held = self.workers[i].inventory();
        self.say_up(i, |link| Event::InventoryTaken { link, held });
    }

    // --- down

    /// The oldest message of a link reaches its worker, unless that does nothing at present.
    pub(super) fn deliver_down(&mut self, id: LinkId) {
        let Some(i) = self.links.worker(id).filter(|i| !self.workers[*i].is_stalled) else {
            return;
        };
        let Some(down) = self.links.next_down(id) else {
            return;
        };
        if !self.workers[i].is_on(id) {
            return;
        }
        let msg = match down {
            Down::Said(msg) => msg,
            Down::Ended => {
                self.say(|| format!("worker {}: link {id} has ended", self.workers[i].n));
                self.workers[i].phase = Phase::Off;
                self.links.close_up(id);
                return;
            }
        };
        self.say(|| format!("worker {} hears {}", self.workers[i].n, trace::message(&msg)));
        match msg {
            CoordMsg::Welcome { .. } => self.come_up(i, id),
            CoordMsg::Jobs(grants) => {
                for grant in &grants {
                    self.take(i, grant);
                }
            }
            CoordMsg::Ack { lease, seq: 0 } => self.result_acknowledged(i, lease),
            CoordMsg::Ack { lease, seq } => self.event_acknowledged(i, lease, seq),
            CoordMsg::TestReport { lease, round, report } => {
                if let Some(task) = self.workers[i].tasks.get_mut(&lease) {
                    task.reports.insert(round, report);
                }
            }
            CoordMsg::Forget { lease } | CoordMsg::Cancel { lease, .. } => {
                // Of a job that just ended it may still have said that it holds it.
                self.dropped_n += u32::from(self.workers[i].tasks.contains_key(&lease));
                self.let_go(i, lease);
            }
            CoordMsg::Cages { n } => self.workers[i].share = Some(n),
            CoordMsg::Pong { .. } => {}
            other @ (CoordMsg::Reject { .. }
            | CoordMsg::Adopt { .. }
            | CoordMsg::Share { .. }
            | CoordMsg::Drain { .. }
            | CoordMsg::Restarting { .. }) => {
                panic!("the coordinator said {other:?}, which no worker of this world understands")
            }
        }
    }

    fn take(&mut self, i: usize, grant: &JobGrant) {
        let JobGrant { job, lease, work, .. } = grant;
        let role = role_of(job);
        assert_eq!(work.role(), role);
        let worker = &mut self.workers[i];
        assert!(
            role == Role::Gen || worker.share.is_some(),
            "{job} was handed out to a worker that does not know its share"
        );
        assert!(
            worker.tasks.values().all(|task| task.job != *job),
            "{job} was handed out to a worker that holds it"
        );
        let (seq, stage, endpoint, reports) = match work {
            Work::Generate(work) => {
                let reports = work.reports.iter();
                let reports = reports.map(|(round, _, report)| (*round, Ok(report.clone())));
                let seq = work.resume.len() as u64;
                (seq, Stage::Ready, work.endpoint.clone(), reports.collect())
            }
            Work::Evaluate(_) => (0, Stage::Judging, None, [].into()),
        };
        let task = Task {
            job: *job,
            endpoint,
            seq,
            stage,
            reports,
        };
        worker.tasks.insert(*lease, task);
        let room = worker.member.room(role);
        assert!(
            worker.held_normal(role) <= room,
            "worker {} holds {} jobs of role {role} and offered room for {room}",
            worker.n,
            worker.held_normal(role),
        );
        assert!(
            worker.held(role) <= room + OVERDRAW,
            "worker {} holds {} jobs of role {role}, urgent ones included: {room} and {OVERDRAW} are the bound",
            worker.n,
            worker.held(role),
        );
    }

    fn result_acknowledged(&mut self, i: usize, lease: LeaseId) {
        let task = self.workers[i].tasks.get(&lease);
        if let Some(Task {
            job,
            stage: Stage::Reporting(_),
            ..
        }) = task
        {
            self.ledger.result_acknowledged(*job, lease);
            self.let_go(i, lease);
        }
    }

    fn event_acknowledged(&mut self, i: usize, lease: LeaseId, seq: u64) {
        let Some(task) = self.workers[i].tasks.get_mut(&lease) else {
            return;
        };
        let Stage::Saying(event, serial) = &task.stage else {
            return;
        };
        if seq <= task.seq {
            return;
        }
        let (job, event, serial) = (task.job, event.clone(), *serial);
        task.seq += 1;
        task.stage = Stage::Ready;
        self.ledger.event_acknowledged(job, task.seq, &event);
        if let Some(serial) = serial {
            self.ledger.set_fate(serial, Fate::Acknowledged);
        }
        if matches!(event, roundhouse_proto::SessionEvent::Finished(_)) {
            self.let_go(i, lease);
        }
    }

    /// Goes without a job, whatever it came to, and offers its room again.
    pub(super) fn let_go(&mut self, i: usize, lease: LeaseId) {
        let worker = &mut self.workers[i];
        let Some(task) = worker.tasks.remove(&lease) else {
            return;
        };
        if let Some(serial) = task.open_call() {
            self.ledger.set_fate(serial, Fate::Lost);
        }
        let role = role_of(&task.job);
        let owed = worker.owed.entry(role).or_default();
        if *owed > 0 {
            *owed -= 1;
        } else {
            self.say_up(i, |link| Event::CreditOffered { link, role, n: 1 });
        }
    }

    /// It has nothing in memory any more; `fate` is that of its open calls.
    pub(super) fn forget_all(&mut self, i: usize, fate: Fate) {
        let worker = &mut self.workers[i];
        worker.owed.clear();
        worker.phase = Phase::Off;
        worker.is_stalled = false;
        let open: Vec<usize> = worker.tasks.values().filter_map(Task::open_call).collect();
        worker.tasks.clear();
        for serial in open {
            self.ledger.set_fate(serial, fate);
        }
    }
}
