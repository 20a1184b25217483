//! The leases: what each is for, who holds it, and how many evaluations each worker holds.
//!
//! The one place that counts them, so that room is never given twice. What a lease means for its job is decided in
//! [`crate::Coordinator`].

use std::collections::BTreeMap;

use roundhouse_proto::{JobId, LeaseId, Role, RunId, WorkerId};

use crate::queue::role_of;

/// A job in the hands of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) job: JobId,
    pub(crate) worker: WorkerId,
}

/// Every lease that is not over.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    leases: BTreeMap<LeaseId, Lease>,
    /// Evaluations in the hands of each worker; none for those that hold none.
    evaluations: BTreeMap<WorkerId, u32>,
}

impl Leases {
    pub(crate) fn insert(&mut self, id: LeaseId, lease: Lease) {
        self.leases.insert(id, lease);
        if role_of(&lease.job) == Role::Eval {
            *self.evaluations.entry(lease.worker).or_default() += 1;
        }
    }

    pub(crate) fn remove(&mut self, id: LeaseId) -> Option<Lease> {
        let lease = self.leases.remove(&id)?;
        if role_of(&lease.job) == Role::Eval
            && let Some(n) = self.evaluations.get_mut(&lease.worker)
        {
            *n -= 1;
            if *n == 0 {
                self.evaluations.remove(&lease.worker);
            }
        }
        Some(lease)
    }

    pub(crate) fn get(&self, id: LeaseId) -> Option<Lease> {
        self.leases.get(&id).copied()
    }

    /// Whatever is in somebody's hands.
    pub(crate) fn all(&self) -> impl Iterator<Item = (LeaseId, Lease)> {
        self.leases.iter().map(|(id, lease)| (*id, *lease))
    }

    /// Those of one run.
    pub(crate) fn of_run(&self, run: RunId) -> impl Iterator<Item = (LeaseId, Lease)> {
        self.all().filter(move |(_, lease)| lease.job.run == run)
    }

    /// Those of one worker.
    pub(crate) fn of_worker(&self, worker: WorkerId) -> Vec<LeaseId> {
        let of_worker = self.all().filter(|(_, lease)| lease.worker == worker);
        of_worker.map(|(id, _)| id).collect()
    }

    /// How many evaluations a worker holds.
    pub(crate) fn evaluations_of(&self, worker: WorkerId) -> u32 {
        self.evaluations.get(&worker).copied().unwrap_or(0)
    }
}
