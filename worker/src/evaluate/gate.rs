//! Who runs beside whom: every run of a program passes this gate, and one that must be alone waits until it is.
//!
//! Shared by all cages of a worker. Waits here are bounded by the wall limits of the runs that are inside. Of other
//! workers on the same host it knows only that there are some: they have cores of their own, which is as much as "alone"
//! can mean then, but share caches and memory, so that no run passes for one without company.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Counts runs and keeps them out while one is to be alone.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Runs that are inside.
    inside: usize,
    /// Runs that ever went in, so that a run can see whether another one joined it.
    entered: u64,
    /// Runs that are alone or wait to be.
    alone: usize,
    host: Host,
    /// How often that changed.
    changes: u64,
}

/// Who uses the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Host {
    /// No worker but this one, as far as it knows.
    #[default]
    Own,
    /// Other workers too.
    Shared,
}

/// How a run goes through the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Beside others.
    Shared,
    /// With nobody else inside.
    Alone,
}

/// Whether another run was inside at any moment of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Company {
    /// No other run of this worker, and no other worker on its host.
    Alone,
    /// At least one, or nobody knows.
    Beside,
}

/// A run that is inside; dropping it lets the run out.
#[derive(Debug)]
pub(crate) struct Pass<'g> {
    gate: &'g Gate,
    entry: Entry,
    entered: u64,
    changes: u64,
    company: Company,
}

impl Gate {
    /// Lets a run in, after those before it where it must wait.
    pub(crate) fn enter(&self, entry: Entry) -> Pass<'_> {
        let mut state = self.state();
        match entry {
            Entry::Shared => {
                while state.alone > 0 {
                    state = self.wait(state);
                }
            }
            Entry::Alone => {
                state.alone += 1;
                while state.inside > 0 {
                    state = self.wait(state);
                }
            }
        }
        let company = if state.inside > 0 {
            Company::Beside
        } else {
            Company::Alone
        };
        state.inside += 1;
        state.entered += 1;
        Pass {
            gate: self,
            entry,
            entered: state.entered,
            changes: state.changes,
            company,
        }
    }

    /// Says who uses the machine from now on. A run that is inside has had others beside it, before or after.
    pub(crate) fn set_host(&self, host: Host) {
        let mut state = self.state();
        if state.host != host {
            state.host = host;
            state.changes += 1;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Counters stay true when a holder panics: each is changed by one statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'g>(&self, state: MutexGuard<'g, State>) -> MutexGuard<'g, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// Who was inside since this run came in.
    pub(crate) fn company(&self) -> Company {
        let state = self.gate.state();
        let has_been_own = state.host == Host::Own && state.changes == self.changes;
        if state.entered == self.entered && has_been_own {
            self.company
        } else {
            Company::Beside
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        state.inside -= 1;
        if self.entry == Entry::Alone {
            state.alone -= 1;
        }
        self.gate.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn company_is_seen_by_the_run_that_was_there_and_by_the_one_that_joins() {
        let gate = Gate::default();
        let first = gate.enter(Entry::Shared);
        assert_eq!(first.company(), Company::Alone);
        let second = gate.enter(Entry::Shared);
        assert_eq!(
            (first.company(), second.company()),
            (Company::Beside, Company::Beside)
        );
        drop(second);
        assert_eq!(first.company(), Company::Beside);
        drop(first);
        assert_eq!(gate.enter(Entry::Shared).company(), Company::Alone);
    }

    #[test]
    fn nobody_is_known_to_be_alone_on_a_host_with_other_workers() {
        let gate = Gate::default();
        let run = gate.enter(Entry::Shared);
        gate.set_host(Host::Own);
        assert_eq!(run.company(), Company::Alone);
        gate.set_host(Host::Shared);
        assert_eq!(run.company(), Company::Beside);
        // They were there, though they are gone when it ends.
        gate.set_host(Host::Own);
        assert_eq!(run.company(), Company::Beside);
        drop(run);
        assert_eq!(gate.enter(Entry::Shared).company(), Company::Alone);
    }

    #[test]
    fn a_run_that_is_alone_never_meets_another() {
        let gate = Gate::default();
        let inside = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (gate, inside) = (&gate, &inside);
                scope.spawn(move || {
                    for turn in 0..200 {
                        let alone = (thread + turn) % 3 == 0;
                        let pass = gate.enter(if alone { Entry::Alone } else { Entry::Shared });
                        let others = inside.fetch_add(1, Ordering::SeqCst);
                        std::thread::yield_now();
                        if alone {
                            assert_eq!((others, pass.company()), (0, Company::Alone));
                            assert_eq!(inside.load(Ordering::SeqCst), 1);
                        }
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(gate.enter(Entry::Alone).company(), Company::Alone);
    }
}
