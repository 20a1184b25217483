//! Evaluation: programs in, reports out.
//!
//! Stands between the link, which hands out work and fetches blobs, and the cage, which runs one program at a time.
//! On the way of one program: [`Pool`] looks for its report in `cache` and else puts it on the `board` → its `course`
//! says which run is next → `judge` makes that run: `inputs` gives it its standard input, the cage runs it, `comparator`
//! and `clip` read its output as it comes → `verdict` → the `course` takes it up in order, `audit` compares.
//! For a case of a function task `function` stands in the places of `inputs` and `comparator`. Where a program of the
//! user is to decide, `checker` stands in the place of `comparator`.
//! No judged program sees an expected output: it is in a cage only while a checker runs there. A function's case is seen,
//! since it is run. Nothing here talks to the coordinator or to a disk.

mod audit;
mod board;
mod cache;
mod checker;
mod clip;
mod comparator;
mod course;
#[cfg(test)]
mod fake;
mod function;
mod gate;
mod inputs;
mod judge;
pub mod pool;
mod reading;
mod runner;
mod step;
mod verdict;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) use course::NOT_JUDGED;
pub use pool::{Evaluation, Pool, PoolError, cages_for};

/// Says to an evaluation that nobody wants its report any more. Cloning shares the flag.
#[derive(Clone, Debug, Default)]
pub struct Cancellation(Arc<AtomicBool>);

impl Cancellation {
    /// Ends the evaluation: the case that runs is stopped when it next writes, and no other one is begun.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
