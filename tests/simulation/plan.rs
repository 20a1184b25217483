//! What a seed draws before a world begins: its times, its runs, its workers, and what may go wrong.
//!
//! Each world leaves out some kinds of faults altogether: what two of them do together shows best without the rest.

use std::collections::BTreeMap;
use std::sync::Arc;

use roundhouse_core::Timing;
use roundhouse_core::run::{ModelAt, RunSpec};
use roundhouse_proto::{Role, RunId};

use crate::runs::Asked;
use crate::script::{KINDS, Script};
use roundhouse_tests::chance::Chance;

/// How likely each kind of thing is to happen next, least and most: batches become durable, commands are carried out,
/// a message goes up, goes down, a job goes on, a file is written, somebody sees after a worker, an inventory, a ping,
/// time passes. Each world draws its own paces: in one the disk is slow, in another the network.
pub(crate) const PACES: [(u32, u32); 10] = [
    (4, 40),
    (4, 40),
    (4, 40),
    (4, 40),
    (4, 40),
    (2, 20),
    (2, 20),
    (0, 2),
    (1, 4),
    (1, 4),
];

/// Interpreters that the workers of a world judge programs with. The first two are the same for a run.
pub(crate) const INTERPRETERS: [&str; 3] = ["CPython 3.11.7", "CPython 3.11.9", "CPython 3.12.1"];

/// Something that goes wrong, or that people do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A link breaks; some of what is on its way still arrives.
    LinkBreaks,
    /// A worker is killed and may start again under its id.
    WorkerDies,
    /// A worker is killed, and another comes in its place.
    WorkerIsReplaced,
    /// A worker does nothing until it wakes, as if nothing had happened.
    WorkerStalls,
    /// Nothing happens on the links of some workers for longer than leases last.
    LongSilence,
    /// A worker says goodbye, whatever it holds.
    WorkerLeaves,
    /// The coordinator is killed; the last batches are not durable.
    CoordinatorDies,
    /// The coordinator sleeps through some time.
    CoordinatorSleeps,
    /// A worker gives back a job that it has not begun.
    GivenBack,
    /// A call breaks, so that the session cannot go on here.
    CallBreaks,
    /// The machinery fails at an evaluation.
    EvaluationBreaks,
    /// People have what failed tried again.
    Retried,
    /// People ask for a run once more.
    SubmittedAgain,
    /// People stop a run; later they have it go on.
    Stopped,
    /// People end a run.
    Cancelled,
    /// An endpoint refuses a worker's key from now on.
    KeyRefused,
}

impl Fault {
    const ALL: [Self; 16] = [
        Self::LinkBreaks,
        Self::WorkerDies,
        Self::WorkerIsReplaced,
        Self::WorkerStalls,
        Self::LongSilence,
        Self::WorkerLeaves,
        Self::CoordinatorDies,
        Self::CoordinatorSleeps,
        Self::GivenBack,
        Self::CallBreaks,
        Self::EvaluationBreaks,
        Self::Retried,
        Self::SubmittedAgain,
        Self::Stopped,
        Self::Cancelled,
        Self::KeyRefused,
    ];
}

/// A worker that is to join.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) slots: BTreeMap<Role, u32>,
    /// Evaluations beyond its slots that it offers room for.
    pub(crate) prefetch: u32,
    pub(crate) endpoints: Vec<String>,
    /// What it judges programs with; nothing for some, which then judge none.
    pub(crate) interpreters: Vec<&'static str>,
    /// It joins after so many steps at the earliest.
    pub(crate) joins_after: u32,
}

impl Member {
    /// One that does everything and joins at once.
    pub(crate) fn of_all_work(slots: u32, prefetch: u32, endpoints: &[String]) -> Self {
        Self {
            slots: [(Role::Gen, slots), (Role::Eval, slots)].into(),
            prefetch,
            endpoints: endpoints.to_vec(),
            interpreters: INTERPRETERS.to_vec(),
            joins_after: 0,
        }
    }

    /// Jobs of a role that it has room for.
    pub(crate) fn room(&self, role: Role) -> u32 {
        match (self.slots.get(&role), role) {
            (None, _) => 0,
            (Some(slots), Role::Gen) => *slots,
            (Some(slots), Role::Eval) => slots + self.prefetch,
        }
    }
}

/// A run that is to be asked for.
#[derive(Clone, Debug)]
pub(crate) struct Ordered {
    pub(crate) spec: Arc<RunSpec>,
    /// It is asked for after so many steps at the earliest.
    pub(crate) after: u32,
}

/// A world before it begins.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) timing: Timing,
    pub(crate) runs: Vec<Ordered>,
    pub(crate) scripts: BTreeMap<(RunId, u32), Script>,
    pub(crate) members: Vec<Member>,
    pub(crate) endpoints: Vec<String>,
    /// The kinds of faults; none: nothing goes wrong, things only take their time.
    pub(crate) faults: Vec<Fault>,
    /// How many faults there are.
    pub(crate) faults_n: u32,
    /// One step in so many is a fault.
    pub(crate) fault_one_in: usize,
    pub(crate) steps: u32,
    /// How likely each kind of thing is, in the order of [`PACES`].
    pub(crate) paces: [u32; PACES.len()],
    /// The coordinator is killed as soon as so many batches are durable.
    pub(crate) dies_after: Option<usize>,
}

impl Plan {
    /// The plan of a seed, and the chance that is left for what happens in it.
    pub(crate) fn of(seed: u64) -> (Self, Chance) {
        let mut chance = Chance::new(seed);
        let is_gentle = chance.one_in(8);
        let mut faults = Vec::new();
        if !is_gentle {
            faults.extend(Fault::ALL);
            faults.retain(|_| chance.one_in(2));
        }
        let endpoints: Vec<String> = ["alpha", "beta"][..chance.between(1, 2) as usize]
            .iter()
            .map(|name| (*name).to_owned())
            .collect();
        let mut plan = Self {
            timing: Timing {
                silence_ms: 6_000,
                ping_ms: 2_000,
                grace_ms: if chance.one_in(2) { 0 } else { 3_000 },
                waiting_ms: 5_000,
            },
            runs: Vec::new(),
            scripts: BTreeMap::new(),
            members: Vec::new(),
            endpoints,
            faults,
            faults_n: chance.between(3, 60),
            fault_one_in: chance.between(8, 60) as usize,
            steps: chance.between(200, 1_800),
            paces: PACES.map(|(least, most)| chance.between(least, most)),
            dies_after: None,
        };
        for n in 1..=chance.between(1, 3) as usize {
            plan.draw_run(n, &mut chance);
        }
        if !chance.one_in(6) {
            plan.draw_member(&[Role::Gen, Role::Eval], 0, &mut chance);
        }
        for _ in 0..chance.between(1, 3) {
            let roles = [&[Role::Gen][..], &[Role::Eval], &[Role::Gen, Role::Eval]];
            let roles = chance.pick(&roles).expect("there are some");
            let joins_after = if chance.one_in(2) {
                0
            } else {
                chance.between(0, 200)
            };
            plan.draw_member(roles, joins_after, &mut chance);
        }
        (plan, chance)
    }

    /// No runs, no workers, and nothing in their way.
    fn empty() -> Self {
        Self {
            timing: Timing::default(),
            runs: Vec::new(),
            scripts: BTreeMap::new(),
            members: Vec::new(),
            endpoints: Vec::new(),
            faults: Vec::new(),
            faults_n: 0,
            fault_one_in: 1,
            steps: 0,
            paces: [1; PACES.len()],
            dies_after: None,
        }
    }

    /// One run with every kind of problem, three workers, and nothing in its way.
    pub(crate) fn undisturbed(parallel: bool, staged: bool) -> Self {
        let mut plan = Self::empty();
        let asked = Asked {
            n: 1,
            problems: KINDS,
            untested: vec![3],
            parallel,
            staged,
            attempts_max: u32::MAX,
            model_at: ModelAt::Offline,
            mixed_versions: false,
            evaluate_rounds: true,
        };
        plan.order(&asked, 0, |problem| problem - 1);
        plan.members = vec![Member::of_all_work(2, 2, &[]); 3];
        plan
    }

    /// A run with many sessions at once, all of which have their programs run, and a last worker alone to run them.
    pub(crate) fn crowded() -> Self {
        let mut plan = Self::empty();
        let asked = Asked {
            n: 1,
            problems: 40,
            untested: Vec::new(),
            parallel: true,
            staged: false,
            attempts_max: u32::MAX,
            model_at: ModelAt::Offline,
            mixed_versions: false,
            evaluate_rounds: false,
        };
        plan.order(&asked, 0, |_| 4);
        let member = |role, slots| Member {
            slots: [(role, slots)].into(),
            ..Member::of_all_work(0, 1, &[])
        };
        plan.members = vec![member(Role::Gen, 40), member(Role::Eval, 2)];
        plan
    }

    pub(crate) fn is_gentle(&self) -> bool {
        self.faults.is_empty() && self.dies_after.is_none()
    }

    /// Adds a run; `kind` says of each problem, from 1, how it goes.
    pub(crate) fn order(&mut self, asked: &Asked, after: u32, mut kind: impl FnMut(u32) -> u32) {
        let spec = asked.spec();
        for problem in &spec.problems {
            let position = problem.position;
            let script = Script::of(position, kind(position));
            self.scripts.insert((spec.run, position), script);
        }
        self.runs.push(Ordered { spec, after });
    }

    fn draw_run(&mut self, n: usize, chance: &mut Chance) {
        let problems = chance.between(1, 6);
        let model_at = if chance.one_in(2) {
            ModelAt::Offline
        } else {
            let is_named = self.endpoints.len() > 1 || chance.one_in(2);
            ModelAt::Endpoint {
                name: chance.pick(&self.endpoints).filter(|_| is_named),
            }
        };
        let asked = Asked {
            n,
            problems,
            untested: (1..=problems).filter(|_| chance.one_in(6)).collect(),
            parallel: !chance.one_in(3),
            staged: chance.one_in(3),
            attempts_max: chance.pick(&[2, 3, u32::MAX, u32::MAX]).expect("there are some"),
            model_at,
            mixed_versions: chance.one_in(3),
            evaluate_rounds: chance.one_in(2),
        };
        let after = if n == 1 { 0 } else { chance.between(0, 300) };
        self.order(&asked, after, |_| chance.between(0, KINDS - 1));
    }

    fn draw_member(&mut self, roles: &[Role], joins_after: u32, chance: &mut Chance) {
        let endpoints = self.endpoints.iter().filter(|_| !chance.one_in(4)).cloned();
        let endpoints = endpoints.collect();
        self.members.push(Member {
            slots: roles.iter().map(|role| (*role, chance.between(1, 3))).collect(),
            prefetch: chance.between(0, 2),
            endpoints,
            interpreters: INTERPRETERS.into_iter().filter(|_| !chance.one_in(3)).collect(),
            joins_after,
        });
    }
}
