//! Workers that join, say what they hold, leave, fall silent or are lost.
//!
//! Called by [`Coordinator::handle`] with what links say of themselves, and with the time. Only silence past
//! [`super::Timing::silence_ms`] and [`super::Timing::grace_ms`], or an inventory that lacks it, takes a job from a
//! worker that did not give it back; what that makes of the job is in [`super::leases`].

use roundhouse_proto::LeaseId;
use roundhouse_proto::link::{CoordMsg, Hello, RunningLease};

use super::leases::Attempt;
use super::{Coordinator, Timing};
use crate::clock::Now;
use crate::event::LinkId;
use crate::outbox::Outbox;

impl Coordinator {
    pub(super) fn joined(&mut self, now: Now, link: LinkId, hello: Hello, outbox: &mut Outbox) {
        if let Some(before) = self.fleet.join(link, hello, now.monotonic_ms) {
            outbox.close(before);
        }
        let Timing {
            silence_ms: lease_ms,
            ping_ms,
            ..
        } = self.timing;
        outbox.send(
            link,
            CoordMsg::Welcome {
                epoch: self.epoch,
                lease_ms,
                ping_ms,
            },
        );
    }

    /// What a worker does not have it does not work on: those jobs are ready again at once, but for grants that may
    /// still be on their way. What it has, or will have, under a lease that is void it is to forget. A report that a
    /// session waits for may have been lost with the link before, so it is sent again.
    pub(super) fn inventory_taken(
        &mut self,
        now: Now,
        link: LinkId,
        held: &[RunningLease],
        outbox: &mut Outbox,
    ) {
        let Some(worker) = self.fleet.worker_on(link) else {
            return;
        };
        for held in held {
            if self.holder(held.lease) != Some(worker) {
                outbox.send(link, CoordMsg::Forget { lease: held.lease });
            } else if let Some(tests) = self.awaited_tests(held.lease) {
                self.send_test_report(tests, outbox);
            }
        }
        let is_held = |lease: &LeaseId| held.iter().any(|held| held.lease == *lease);
        let missing: Vec<_> = self
            .leases
            .of_worker(worker)
            .into_iter()
            .filter(|lease| !is_held(lease) && !self.may_be_on_its_way(now, link, *lease))
            .collect();
        for lease in missing {
            // Should its grant have been on its way for that long, the worker is not to begin.
            outbox.send(link, CoordMsg::Forget { lease });
            self.take_back(now, lease, &Attempt::Lost("its worker was restarted"), outbox);
        }
    }

    pub(super) fn pinged(&self, link: LinkId, seq: u64, outbox: &mut Outbox) {
        if self.fleet.worker_on(link).is_some() {
            outbox.send(link, CoordMsg::Pong { seq });
        }
    }

    /// A worker that leaves holds nothing, so it never began what it still had.
    pub(super) fn left(&mut self, now: Now, link: LinkId, outbox: &mut Outbox) {
        if let Some(worker) = self.fleet.remove(link) {
            self.take_back_all(now, worker, &Attempt::Left("its worker left"), outbox);
            outbox.close(link);
        }
    }

    /// The jobs of a lost worker wait for it for a while, unless none is granted.
    pub(super) fn link_lost(&mut self, now: Now, link: LinkId, outbox: &mut Outbox) {
        if self.timing.grace_ms > 0 {
            self.fleet.lose(link, now.monotonic_ms);
        } else if let Some(worker) = self.fleet.remove(link) {
            self.take_back_all(now, worker, &Attempt::Lost("its worker was lost"), outbox);
        }
    }

    pub(super) fn ticked(&mut self, now: Now, outbox: &mut Outbox) {
        if !self.tick_is_late(now) {
            self.take_back_from_the_silent(now, outbox);
        }
        self.look_at_stalls(now, outbox);
    }

    /// Whether time passed that this coordinator slept through: what its workers said meanwhile is still to come, so
    /// their silence counts from the next tick on.
    fn tick_is_late(&mut self, now: Now) -> bool {
        let before_ms = std::mem::replace(&mut self.ticked_ms, now.monotonic_ms);
        let is_late = now.monotonic_ms.saturating_sub(before_ms) >= self.timing.silence_ms / 2;
        self.is_late = is_late && !self.is_late;
        self.is_late
    }

    fn take_back_from_the_silent(&mut self, now: Now, outbox: &mut Outbox) {
        let silent = self
            .fleet
            .silent_since(now.monotonic_ms.saturating_sub(self.timing.silence_ms));
        for link in silent {
            outbox.close(link);
            self.link_lost(now, link, outbox);
        }
        let Some(grace_began_ms) = now.monotonic_ms.checked_sub(self.timing.grace_ms) else {
            return;
        };
        for worker in self.fleet.gone(grace_began_ms) {
            self.take_back_all(now, worker, &Attempt::Lost("its worker was lost"), outbox);
        }
    }
}
