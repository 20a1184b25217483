//! The workers: who is joined on which link, how much room each offers, which endpoints it reaches, when each was last
//! heard; and those whose link was lost, for as long as their jobs wait for them.

mod shares;

use std::collections::{BTreeMap, BTreeSet};

use roundhouse_proto::link::Hello;
use roundhouse_proto::work::Priority;
use roundhouse_proto::{Language, Role, WorkerId};

use crate::event::LinkId;
use crate::interpreter;
use crate::status::WorkerView;

/// Urgent jobs that a worker is sent beyond the room it offers: a session waits for each, and they go between two
/// cases of what runs there.
const URGENT_OVERDRAW: i64 = 16;

/// Least number of evaluations that a worker is sent beyond those it may run at once.
const AHEAD_MIN: u32 = 2;

/// Evaluations that a worker is sent beyond those it may run at once, so that none of its cages waits for the next one:
/// half as many again. More would only wait there while cages elsewhere are idle.
fn ahead(share: u32) -> u32 {
    share.div_ceil(2).max(AHEAD_MIN)
}

/// A worker.
#[derive(Debug)]
struct Worker {
    link: LinkId,
    hello: Hello,
    joined_ms: u64,
    heard_ms: u64,
    credits: BTreeMap<Role, i64>,
    /// Programs it may run at once: its share of its host; 0 for one that runs none.
    share: u32,
    /// What it was told of that on this link; 0 for nothing.
    share_said: u32,
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
            Needs::Language(language) => self.interpreters(language).next().is_some(),
            Needs::Interpreter { language, minor } => {
                let mut interpreters = self.interpreters(language);
                interpreters.any(|name| interpreter::minor(name) == minor)
            }
        }
    }

    /// The interpreters that it has for a language.
    fn interpreters(&self, language: Language) -> impl Iterator<Item = &str> {
        let languages = self.hello.languages.iter();
        let of_language = languages.filter(move |(of, _)| *of == language);
        of_language.map(|(_, name)| name.as_str())
    }

    /// Programs it could run at once if its host were its own; none if it runs none.
    fn programs_most(&self) -> Option<u32> {
        let slots = self.slots(Role::Eval);
        (slots > 0).then(|| slots.min(self.hello.cores))
    }

    /// How willingly it takes one more job of a role, while it holds so many evaluations; none if it has no room for
    /// one. Sessions go to where most room is offered; programs to where most cages are idle, whose cases these then
    /// share.
    fn bid(&self, role: Role, priority: Priority, evaluations: u32) -> Option<i64> {
        let credits = *self.credits.get(&role)?;
        if priority == Priority::URGENT {
            return (credits > -URGENT_OVERDRAW).then(|| self.idle_cages(evaluations));
        }
        match role {
            Role::Gen => (credits > 0).then_some(credits),
            Role::Eval => {
                let idle = self.idle_cages(evaluations);
                // What nobody waits for goes to idle cages only: it is to keep no room from what comes next.
                let ahead = if priority > Priority::NORMAL {
                    0
                } else {
                    i64::from(ahead(self.share))
                };
                (credits > 0 && idle + ahead > 0).then_some(idle)
            }
        }
    }

    /// Cages without a program, while it holds so many evaluations; below 0 if programs wait.
    fn idle_cages(&self, evaluations: u32) -> i64 {
        i64::from(self.share) - i64::from(evaluations)
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

/// What the workers of one boot have of their host.
#[derive(Debug, Default)]
struct Host {
    cores: u32,
    /// Programs that each of those that run any could run at once if the host were its own.
    programs_most: BTreeMap<WorkerId, u32>,
}

/// What a job needs of a worker beside room for its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs<'a> {
    /// Any worker will do.
    Nothing,
    /// It must reach this endpoint, with a key that was not refused.
    Endpoint(&'a str),
    /// It must judge programs in this language.
    Language(Language),
    /// It must judge them by an interpreter of this implementation and minor version.
    Interpreter { language: Language, minor: &'a str },
}

impl<'a> Needs<'a> {
    /// What tells jobs of one role that need this from those that need something else.
    pub(crate) fn word(self) -> &'a str {
        match self {
            Self::Nothing => "",
            Self::Endpoint(name) => name,
            Self::Language(language) => language.word(),
            Self::Interpreter { minor, .. } => minor,
        }
    }
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
    /// Interpreters of the evaluation workers: implementation and minor version of each.
    pub(crate) interpreters: BTreeSet<(Language, String)>,
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
    /// Some worker may have another share than it was told.
    has_unsaid: bool,
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
            share: 0,
            share_said: 0,
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

    /// The worker that takes a job most willingly of those that can do it; none if none has room. `evaluations_of` says
    /// how many evaluations a worker holds.
    pub(crate) fn find(
        &self,
        role: Role,
        priority: Priority,
        needs: Needs<'_>,
        evaluations_of: impl Fn(WorkerId) -> u32,
    ) -> Option<WorkerId> {
        let able = self.workers.iter().filter(|(_, worker)| worker.can_do(needs));
        let bids = able.filter_map(|(id, worker)| {
            let bid = worker.bid(role, priority, evaluations_of(*id))?;
            Some((bid, std::cmp::Reverse(*id)))
        });
        bids.max().map(|(_, std::cmp::Reverse(id))| id)
    }

    /// An interpreter that a worker has for a language.
    pub(crate) fn interpreter_of(&self, worker: WorkerId, language: Language) -> Option<&str> {
        self.workers.get(&worker)?.interpreters(language).next()
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
        let mut hosts: BTreeMap<&str, Host> = BTreeMap::new();
        for (id, worker) in &self.workers {
            let host = hosts.entry(&worker.hello.boot_id).or_default();
            // One that may use some of the cores only sees fewer.
            host.cores = worker.hello.cores.max(host.cores);
            host.programs_most
                .extend(worker.programs_most().map(|most| (*id, most)));
        }
        let cores = hosts.values().map(|host| host.cores).sum();
        let shares = hosts.values();
        let shares = shares.flat_map(|host| shares::divide(host.cores, &host.programs_most));
        let shares: BTreeMap<WorkerId, u32> = shares.collect();
        let offers = self
            .generation_workers()
            .flat_map(|worker| &worker.hello.endpoints);
        let open = offers.filter(|offer| offer.benched.is_none());
        let judging = self
            .workers
            .values()
            .filter(|worker| worker.slots(Role::Eval) > 0);
        let interpreters = judging.flat_map(|worker| &worker.hello.languages);
        let interpreters =
            interpreters.map(|(language, name)| (*language, interpreter::minor(name).to_owned()));
        self.capacity = Capacity {
            generation_slots: slots(Role::Gen),
            evaluation_slots: slots(Role::Eval),
            cores,
            open_endpoints: open.map(|offer| offer.name.clone()).collect(),
            interpreters: interpreters.collect(),
        };
        for (id, worker) in &mut self.workers {
            worker.share = shares.get(id).copied().unwrap_or(0);
        }
        self.has_unsaid = true;
    }

    /// The workers whose share of their host is not what they were told, by link; from now on they were. Those that
    /// get less come first.
    pub(crate) fn take_unsaid(&mut self) -> Vec<(LinkId, u32)> {
        if !std::mem::take(&mut self.has_unsaid) {
            return Vec::new();
        }
        let unsaid = self.workers.values_mut();
        let mut unsaid: Vec<_> = unsaid
            .filter(|worker| worker.share != worker.share_said)
            .collect();
        unsaid.sort_by_key(|worker| worker.share > worker.share_said);
        let say = |worker: &mut Worker| {
            worker.share_said = worker.share;
            (worker.link, worker.share)
        };
        unsaid.into_iter().map(say).collect()
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
