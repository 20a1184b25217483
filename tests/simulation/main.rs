//! The decisions of the coordinator in simulated worlds: workers that crash, stall, come back, send late, twice or
//! never, links that break, a coordinator that is killed at any write and starts again from what is stored.
//!
//! A seed gives a world, the same one each time; nothing here reads a clock or waits. `ROUNDHOUSE_SEED=n` plays one
//! world and shows what happened in it if it goes wrong; `ROUNDHOUSE_SEEDS=n` says how many are played.

mod ledger;
mod links;
mod plan;
mod runs;
mod script;
mod store;
mod trace;
mod worker;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::plan::Plan;
use crate::trace::Trace;
use crate::world::World;
use roundhouse_tests::chance::Chance;

/// Worlds that are played unless `ROUNDHOUSE_SEEDS` says otherwise.
const SEEDS: u64 = 600;
/// Seed of the first of them.
const FIRST_SEED: u64 = 1;

/// The world of a seed, from its beginning to its end.
fn play(seed: u64, trace: Trace) -> World {
    let (plan, chance) = Plan::of(seed);
    let mut world = World::new(plan, chance, trace);
    world.run_wild();
    world.come_to_an_end();
    world
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("`{name}` is a number, not `{text}`")))
}

#[expect(clippy::print_stderr, reason = "whoever looks into it needs the seed")]
fn play_and_tell(seed: u64, trace: &Trace) {
    let played = catch_unwind(AssertUnwindSafe(|| drop(play(seed, trace.clone()))));
    if let Err(cause) = played {
        eprintln!("{}", trace.text());
        eprintln!("the world of seed {seed} went wrong");
        eprintln!(
            "hint: `ROUNDHOUSE_SEED={seed} cargo test -p roundhouse-tests --test simulation` shows what happened"
        );
        resume_unwind(cause);
    }
}

#[test]
fn every_interleaving_keeps_what_was_promised() {
    if let Some(seed) = number("ROUNDHOUSE_SEED") {
        return play_and_tell(seed, &Trace::kept());
    }
    let seeds = number("ROUNDHOUSE_SEEDS").unwrap_or(SEEDS);
    for seed in FIRST_SEED..FIRST_SEED + seeds {
        play_and_tell(seed, &Trace::default());
    }
}

#[test]
fn seed_plays_the_same_world_each_time() {
    for seed in FIRST_SEED..FIRST_SEED + 5 {
        let traces = [Trace::kept(), Trace::kept()];
        let worlds = traces.clone().map(|trace| play(seed, trace));
        let [one, other] = worlds.map(|world| (world.batches_n(), world.calls_n()));
        assert_eq!(one, other);
        assert!(
            traces[0].text() == traces[1].text(),
            "seed {seed} plays two worlds"
        );
    }
}

/// A run with every kind of problem, with nothing in its way but a coordinator that is killed once.
fn undisturbed(parallel: bool, staged: bool, dies_after: Option<usize>) -> World {
    let mut plan = Plan::undisturbed(parallel, staged);
    plan.dies_after = dies_after;
    let mut world = World::new(plan, Chance::new(FIRST_SEED), Trace::default());
    world.come_to_an_end();
    world
}

#[test]
fn run_comes_to_its_end_after_a_restart_at_any_write() {
    for (parallel, staged) in [(true, false), (true, true), (false, false), (false, true)] {
        let batches_n = undisturbed(parallel, staged, None).batches_n();
        assert!(batches_n >= 100, "there are only {batches_n} batches");
        for n in 1..=batches_n {
            undisturbed(parallel, staged, Some(n));
        }
    }
}

#[test]
fn tests_of_rounds_overdraw_a_worker_by_their_bound_and_no_more() {
    let plan = Plan::crowded();
    let eval_worker = plan.members.len() - 1;
    let mut world = World::new(plan, Chance::new(FIRST_SEED), Trace::default());
    world.hold_sessions_only();
    world.assert_overdrawn(eval_worker);
    world.come_to_an_end();
}
