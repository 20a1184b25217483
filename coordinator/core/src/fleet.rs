//! The workers: who is joined on which link, how much room each offers, when each was last heard.

use std::collections::BTreeMap;

use roundhouse_proto::link::Hello;
use roundhouse_proto::work::Priority;
use roundhouse_proto::{Role, WorkerId};

use crate::event::LinkId;
use crate::status::WorkerView;

/// Urgent jobs that a worker is sent beyond the room it offers: a session waits for each, and they go between two
/// cases of what runs there.
const URGENT_OVERDRAW: i64 = 16;

/// A joined worker.
#[derive(Debug)]
struct Worker {
    link: LinkId,
    hello: Hello,
    joined_ms: u64,
    heard_ms: u64,
    credits: BTreeMap<Role, i64>,
}

/// The joined workers.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    workers: BTreeMap<WorkerId, Worker>,
    by_link: BTreeMap<LinkId, WorkerId>,
}

impl Fleet {
    /// Lets a worker in; the link it had before, if any, is given back to be closed.
    pub(crate) fn join(&mut self, link: LinkId, hello: Hello, now_ms: u64) -> Option<LinkId> {
        let id = hello.worker;
        let worker = Worker {
            link,
            hello,
            joined_ms: now_ms,
            heard_ms: now_ms,
            credits: BTreeMap::new(),
        };
        let before = self.workers.insert(id, worker).map(|worker| worker.link);
        if let Some(before) = before {
            self.by_link.remove(&before);
        }
        self.by_link.insert(link, id);
        before
    }

    /// The one way in which a worker goes.
    pub(crate) fn remove(&mut self, link: LinkId) -> Option<WorkerId> {
        let id = self.by_link.remove(&link)?;
        self.workers.remove(&id);
        Some(id)
    }

    pub(crate) fn worker_on(&self, link: LinkId) -> Option<WorkerId> {
        self.by_link.get(&link).copied()
    }

    pub(crate) fn link_of(&self, worker: WorkerId) -> Option<LinkId> {
        self.workers.get(&worker).map(|worker| worker.link)
    }

    pub(crate) fn heard(&mut self, link: LinkId, now_ms: u64) {
        if let Some(worker) = self.by_link.get(&link).and_then(|id| self.workers.get_mut(id)) {
            worker.heard_ms = now_ms;
        }
    }

    pub(crate) fn offer(&mut self, link: LinkId, role: Role, n: u32) {
        let Some(worker) = self.by_link.get(&link).and_then(|id| self.workers.get_mut(id)) else {
            return;
        };
        let slots = worker.hello.slots.get(&role).copied().unwrap_or(0);
        if slots > 0 {
            *worker.credits.entry(role).or_default() += i64::from(n);
        }
    }

    /// The worker on this link asks an endpoint nothing more.
    pub(crate) fn bench(&mut self, link: LinkId, endpoint: &str, reason: String) {
        let worker = self.by_link.get(&link).and_then(|id| self.workers.get_mut(id));
        let offers = worker.map(|worker| &mut worker.hello.endpoints);
        if let Some(offer) = offers.and_then(|offers| offers.iter_mut().find(|offer| offer.name == endpoint))
        {
            offer.benched = Some(reason);
        }
    }

    /// Takes room for one job from the worker that offers most.
    pub(crate) fn take(&mut self, role: Role, priority: Priority) -> Option<WorkerId> {
        let least = if priority == Priority::URGENT {
            -URGENT_OVERDRAW
        } else {
            0
        };
        let (credits, id) = self
            .workers
            .iter()
            .filter_map(|(id, worker)| worker.credits.get(&role).map(|credits| (*credits, *id)))
            .max_by_key(|(credits, id)| (*credits, std::cmp::Reverse(*id)))?;
        if credits <= least {
            return None;
        }
        if let Some(credits) = self
            .workers
            .get_mut(&id)
            .and_then(|worker| worker.credits.get_mut(&role))
        {
            *credits -= 1;
        }
        Some(id)
    }

    pub(crate) fn slots(&self, role: Role) -> u32 {
        self.workers
            .values()
            .filter_map(|worker| worker.hello.slots.get(&role))
            .sum()
    }

    /// Cores of the workers' hosts; workers of one boot share them.
    pub(crate) fn cores(&self) -> u32 {
        let hosts: BTreeMap<&str, u32> = self
            .workers
            .values()
            .map(|worker| (worker.hello.boot_id.as_str(), worker.hello.cores))
            .collect();
        hosts.values().sum()
    }

    /// How the joined workers stand, by name; `busy` says how many jobs of a role a worker holds.
    pub(crate) fn views(&self, now_ms: u64, busy: impl Fn(WorkerId, Role) -> u32) -> Vec<WorkerView> {
        let view = |(id, worker): (&WorkerId, &Worker)| WorkerView {
            worker: *id,
            name: worker.hello.name.clone(),
            build: worker.hello.build.clone(),
            roles: worker
                .hello
                .slots
                .iter()
                .map(|(role, slots)| (*role, *slots, busy(*id, *role)))
                .collect(),
            languages: worker.hello.languages.clone(),
            isolation: worker.hello.isolation,
            cores: worker.hello.cores,
            endpoints: worker.hello.endpoints.clone(),
            silent_ms: now_ms.saturating_sub(worker.heard_ms),
            joined_ms: now_ms.saturating_sub(worker.joined_ms),
            is_lost: false,
        };
        let mut views: Vec<_> = self.workers.iter().map(view).collect();
        views.sort_by(|a, b| (&a.name, a.worker).cmp(&(&b.name, b.worker)));
        views
    }

    /// Links of workers not heard since `since_ms`.
    pub(crate) fn silent_since(&self, since_ms: u64) -> Vec<LinkId> {
        self.workers
            .values()
            .filter(|worker| worker.heard_ms < since_ms)
            .map(|worker| worker.link)
            .collect()
    }
}
