//! The workers: who is joined on which link, how much room each offers, which endpoints it reaches, when each was last
//! heard; and those whose link was lost, for as long as their jobs wait for them.

use std::collections::{BTreeMap, BTreeSet};

use roundhouse_proto::link::Hello;
use roundhouse_proto::work::Priority;
use roundhouse_proto::{Role, WorkerId};

use crate::event::LinkId;
use crate::status::WorkerView;

/// Urgent jobs that a worker is sent beyond the room it offers: a session waits for each, and they go between two
/// cases of what runs there.
const URGENT_OVERDRAW: i64 = 16;

/// A worker.
#[derive(Debug)]
struct Worker {
    link: LinkId,
    hello: Hello,
    joined_ms: u64,
    heard_ms: u64,
    credits: BTreeMap<Role, i64>,
    /// For each endpoint that it asks nothing more: its place among all refusals the fleet told of.
    benched: BTreeMap<String, u64>,
}

impl Worker {
    fn slots(&self, role: Role) -> u32 {
        self.hello.slots.get(&role).copied().unwrap_or(0)
    }

    fn can_do(&self, needs: Needs<'_>) -> bool {
        match needs {
            Needs::Nothing => true,
            Needs::Endpoint(name) => {
                let mut offers = self.hello.endpoints.iter();
                offers.any(|offer| offer.name == name && offer.benched.is_none())
            }
        }
    }

    /// The last refusal it told of, with its place among all: by this endpoint, or by any.
    fn last_refusal(&self, endpoint: Option<&str>) -> Option<(u64, Refusal<'_>)> {
        let offers = self.hello.endpoints.iter();
        let refused = offers
            .filter(|offer| endpoint.is_none_or(|name| name == offer.name))
            .filter_map(|offer| {
                let refusal = Refusal {
                    endpoint: &offer.name,
                    reason: offer.benched.as_deref()?,
                };
                Some((*self.benched.get(&offer.name)?, refusal))
            });
        refused.max_by_key(|(n, _)| *n)
    }

    fn view(&self, now_ms: u64, is_lost: bool, busy: impl Fn(Role) -> u32) -> WorkerView {
        let slots = self.hello.slots.iter();
        WorkerView {
            worker: self.hello.worker,
            name: self.hello.name.clone(),
            build: self.hello.build.clone(),
            roles: slots.map(|(role, slots)| (*role, *slots, busy(*role))).collect(),
            languages: self.hello.languages.clone(),
            isolation: self.hello.isolation,
            cores: self.hello.cores,
            endpoints: self.hello.endpoints.clone(),
            silent_ms: now_ms.saturating_sub(self.heard_ms),
            joined_ms: now_ms.saturating_sub(self.joined_ms),
            is_lost,
        }
    }
}

/// A worker whose link was lost.
#[derive(Debug)]
struct Lost {
    worker: Worker,
    since_ms: u64,
}

/// What a job needs of a worker beside room for its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs<'a> {
    /// Any worker will do.
    Nothing,
    /// It must reach this endpoint, with a key that was not refused.
    Endpoint(&'a str),
}

/// What the joined workers have together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) generation_slots: u32,
    pub(crate) evaluation_slots: u32,
    /// Cores of the workers' hosts; workers of one boot share them.
    pub(crate) cores: u32,
    /// Endpoints that some generation worker reaches with a key that was not refused.
    pub(crate) open_endpoints: BTreeSet<String>,
}

impl Capacity {
    pub(crate) fn slots(&self, role: Role) -> u32 {
        match role {
            Role::Gen => self.generation_slots,
            Role::Eval => self.evaluation_slots,
        }
    }
}

/// An endpoint that refused the key of every worker that offers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal<'a> {
    pub(crate) endpoint: &'a str,
    /// What it said last.
    pub(crate) reason: &'a str,
}

/// The workers.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    /// The joined ones.
    workers: BTreeMap<WorkerId, Worker>,
    by_link: BTreeMap<LinkId, WorkerId>,
    lost: BTreeMap<WorkerId, Lost>,
    /// What the joined ones have together; counted when one comes, goes or is refused, and read with every grant.
    capacity: Capacity,
    /// Refusals told of so far.
    refusals_n: u64,
}

impl Fleet {
    /// Lets a worker in; the link it had before, if any, is given back to be closed. Which endpoints it reaches it
    /// states anew.
    pub(crate) fn join(&mut self, link: LinkId, hello: Hello, now_ms: u64) -> Option<LinkId> {
        let id = hello.worker;
        self.lost.remove(&id);
        let mut benched = BTreeMap::new();
        for offer in hello.endpoints.iter().filter(|offer| offer.benched.is_some()) {
            self.refusals_n += 1;
            benched.insert(offer.name.clone(), self.refusals_n);
        }
        let worker = Worker {
            link,
            hello,
            joined_ms: now_ms,
            heard_ms: now_ms,
            credits: BTreeMap::new(),
            benched,
        };
        let before = self.workers.insert(id, worker).map(|worker| worker.link);
        if let Some(before) = before {
            self.by_link.remove(&before);
        }
        self.by_link.insert(link, id);
        self.count();
        before
    }

    /// The worker on this link goes for good.
    pub(crate) fn remove(&mut self, link: LinkId) -> Option<WorkerId> {
        self.take_out(link).map(|(id, _)| id)
    }

    /// The link of a worker was lost; what it said of itself is kept until it returns or is [`Fleet::gone`].
    pub(crate) fn lose(&mut self, link: LinkId, now_ms: u64) {
        if let Some((id, worker)) = self.take_out(link) {
            let since_ms = now_ms;
            self.lost.insert(id, Lost { worker, since_ms });
        }
    }

    /// Forgets the workers that were lost at `since_ms` or before, and says which.
    pub(crate) fn gone(&mut self, since_ms: u64) -> Vec<WorkerId> {
        let gone = self.lost.extract_if(.., |_, lost| lost.since_ms <= since_ms);
        gone.map(|(id, _)| id).collect()
    }

    /// The one way in which a joined worker goes.
    fn take_out(&mut self, link: LinkId) -> Option<(WorkerId, Worker)> {
        let id = self.by_link.remove(&link)?;
        let worker = self.workers.remove(&id)?;
        self.count();
        Some((id, worker))
    }

    pub(crate) fn worker_on(&self, link: LinkId) -> Option<WorkerId> {
        self.by_link.get(&link).copied()
    }

    pub(crate) fn link_of(&self, worker: WorkerId) -> Option<LinkId> {
        self.workers.get(&worker).map(|worker| worker.link)
    }

    fn on_link_mut(&mut self, link: LinkId) -> Option<&mut Worker> {
        self.by_link.get(&link).and_then(|id| self.workers.get_mut(id))
    }

    pub(crate) fn heard(&mut self, link: LinkId, now_ms: u64) {
        if let Some(worker) = self.on_link_mut(link) {
            worker.heard_ms = now_ms;
        }
    }

    pub(crate) fn offer(&mut self, link: LinkId, role: Role, n: u32) {
        if let Some(worker) = self.on_link_mut(link)
            && worker.slots(role) > 0
        {
            *worker.credits.entry(role).or_default() += i64::from(n);
        }
    }

    /// The worker on this link asks an endpoint nothing more.
    pub(crate) fn bench(&mut self, link: LinkId, endpoint: &str, reason: String) {
        let n = self.refusals_n + 1;
        let Some(worker) = self.on_link_mut(link) else {
            return;
        };
        let mut offers = worker.hello.endpoints.iter_mut();
        let Some(offer) = offers.find(|offer| offer.name == endpoint) else {
            return;
        };
        offer.benched = Some(reason);
        worker.benched.insert(endpoint.to_owned(), n);
        self.refusals_n = n;
        self.count();
    }

    /// The worker that offers most room of those that can do it; none if none has any.
    pub(crate) fn find(&self, role: Role, priority: Priority, needs: Needs<'_>) -> Option<WorkerId> {
        let least = if priority == Priority::URGENT {
            -URGENT_OVERDRAW
        } else {
            0
        };
        let room = |(id, worker): (&WorkerId, &Worker)| Some((*worker.credits.get(&role)?, *id));
        let (credits, id) = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.can_do(needs))
            .filter_map(room)
            .max_by_key(|(credits, id)| (*credits, std::cmp::Reverse(*id)))?;
        (credits > least).then_some(id)
    }

    /// Takes room for one job from a worker.
    pub(crate) fn take(&mut self, worker: WorkerId, role: Role) {
        let worker = self.workers.get_mut(&worker);
        if let Some(credits) = worker.and_then(|worker| worker.credits.get_mut(&role)) {
            *credits -= 1;
        }
    }

    /// What the joined workers have together.
    pub(crate) fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    fn count(&mut self) {
        let slots = |role| self.workers.values().map(|worker| worker.slots(role)).sum();
        let hosts: BTreeMap<&str, u32> = self
            .workers
            .values()
            .map(|worker| (worker.hello.boot_id.as_str(), worker.hello.cores))
            .collect();
        let offers = self
            .generation_workers()
            .flat_map(|worker| &worker.hello.endpoints);
        let open = offers.filter(|offer| offer.benched.is_none());
        self.capacity = Capacity {
            generation_slots: slots(Role::Gen),
            evaluation_slots: slots(Role::Eval),
            cores: hosts.values().sum(),
            open_endpoints: open.map(|offer| offer.name.clone()).collect(),
        };
    }

    fn generation_workers(&self) -> impl Iterator<Item = &Worker> {
        self.workers.values().filter(|worker| worker.slots(Role::Gen) > 0)
    }

    /// The last refusal that the joined generation workers told of: by this endpoint, or by any.
    pub(crate) fn last_refusal(&self, endpoint: Option<&str>) -> Option<Refusal<'_>> {
        let refusals = self
            .generation_workers()
            .filter_map(|worker| worker.last_refusal(endpoint));
        refusals.max_by_key(|(n, _)| *n).map(|(_, refusal)| refusal)
    }

    /// How the workers stand, by name, those that are lost included; `busy` says how many jobs of a role one holds.
    pub(crate) fn views(&self, now_ms: u64, busy: impl Fn(WorkerId, Role) -> u32) -> Vec<WorkerView> {
        let joined = self.workers.values().map(|worker| (worker, false));
        let lost = self.lost.values().map(|lost| (&lost.worker, true));
        let view = |(worker, is_lost): (&Worker, bool)| {
            worker.view(now_ms, is_lost, |role| busy(worker.hello.worker, role))
        };
        let mut views: Vec<_> = joined.chain(lost).map(view).collect();
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
