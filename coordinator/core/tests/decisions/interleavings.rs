//! Workers that die, repeat themselves and come back, links that break, a coordinator that is killed: in thousands of
//! orders, all of which end alike.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use roundhouse_core::Timing;
use roundhouse_core::run::RunSpec;

use crate::disk::Disk;
use crate::world::{Chance, World, world_spec};

/// The first seed; set it to the one that a failure names to begin with that world.
const FIRST_SEED: u64 = 1;
const SEEDS: u64 = 1_500;
/// Things that go wrong in one world.
const FAULTS: u32 = 30;
const STEPS: u32 = 500;

/// One world: some steps of chaos, then calm.
fn play(seed: u64, spec: &Arc<RunSpec>) -> World {
    let mut chance = Chance(seed);
    let grace_ms = if chance.one_in(2) { 0 } else { 3_000 };
    let timing = Timing {
        grace_ms,
        silence_ms: 6_000,
        ..Timing::default()
    };
    let mut world = World::new(spec, Disk::default(), timing);
    let mut faults = FAULTS;
    for _ in 0..STEPS {
        world.step(&mut chance, &mut faults);
    }
    world.calm_down();
    world
}

#[test]
fn every_interleaving_ends_alike() {
    let modes = [(true, false), (true, true), (false, false)];
    let undisturbed = modes.map(|(parallel, staged)| {
        let spec = world_spec(parallel, staged);
        let mut world = World::new(&spec, Disk::default(), Timing::default());
        world.calm_down();
        (spec, world)
    });
    for seed in FIRST_SEED..FIRST_SEED + SEEDS {
        let mode = usize::try_from(seed).expect("seeds are small") % modes.len();
        let (spec, undisturbed) = &undisturbed[mode];
        let played = catch_unwind(AssertUnwindSafe(|| play(seed, spec).assert_like(undisturbed)));
        if let Err(cause) = played {
            panic_with_seed(seed, cause);
        }
    }
}

#[expect(clippy::print_stderr, reason = "whoever looks into it needs the seed")]
fn panic_with_seed(seed: u64, cause: Box<dyn std::any::Any + Send>) {
    eprintln!("the world of seed {seed} went wrong");
    resume_unwind(cause);
}
