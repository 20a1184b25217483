//! Jobs that are ready, by role: urgent ones first, then by run, then in data-set order.

use std::collections::{BTreeMap, BTreeSet};

use roundhouse_proto::work::Priority;
use roundhouse_proto::{JobId, JobKind, Role};

/// The role that does a job.
pub(crate) fn role_of(job: &JobId) -> Role {
    match job.kind {
        JobKind::Generate => Role::Gen,
        JobKind::RoundTests { .. } | JobKind::Evaluate => Role::Eval,
    }
}

/// The jobs of one run with one priority: all of a kind, so if its first may not go, none may.
type Lane = (Priority, u32);

/// Ready jobs. A job is in at most once.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    generate: BTreeMap<Lane, BTreeSet<JobId>>,
    evaluate: BTreeMap<Lane, BTreeSet<JobId>>,
}

impl Queue {
    fn side(&self, role: Role) -> &BTreeMap<Lane, BTreeSet<JobId>> {
        match role {
            Role::Gen => &self.generate,
            Role::Eval => &self.evaluate,
        }
    }

    fn side_mut(&mut self, role: Role) -> &mut BTreeMap<Lane, BTreeSet<JobId>> {
        match role {
            Role::Gen => &mut self.generate,
            Role::Eval => &mut self.evaluate,
        }
    }

    /// `run_order` is the run's place among the runs, oldest first.
    pub(crate) fn push(&mut self, run_order: u32, job: JobId) {
        let lane = (Priority::of(&job), run_order);
        self.side_mut(role_of(&job)).entry(lane).or_default().insert(job);
    }

    pub(crate) fn remove(&mut self, run_order: u32, job: JobId) {
        let lane = (Priority::of(&job), run_order);
        let side = self.side_mut(role_of(&job));
        if let Some(jobs) = side.get_mut(&lane) {
            jobs.remove(&job);
            if jobs.is_empty() {
                side.remove(&lane);
            }
        }
    }

    /// The first job of a role that `may_go` lets through.
    pub(crate) fn first(&self, role: Role, may_go: impl Fn(&JobId) -> bool) -> Option<JobId> {
        self.lanes(role).map(|(job, _)| job).find(may_go)
    }

    /// The first job of every lane of a role, and how many jobs the lane has.
    pub(crate) fn lanes(&self, role: Role) -> impl Iterator<Item = (JobId, usize)> {
        self.side(role)
            .values()
            .filter_map(|jobs| Some((*jobs.first()?, jobs.len())))
    }
}
