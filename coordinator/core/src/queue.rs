//! Jobs that are ready, by role: urgent ones first, then by run, then in data-set order.

use std::collections::BTreeSet;

use roundhouse_proto::work::Priority;
use roundhouse_proto::{JobId, JobKind, Role};

/// The role that does a job.
pub(crate) fn role_of(job: &JobId) -> Role {
    match job.kind {
        JobKind::Generate => Role::Gen,
        JobKind::RoundTests { .. } | JobKind::Evaluate => Role::Eval,
    }
}

type Place = (Priority, u32, u32, JobId);

/// Ready jobs. A job is in at most once.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    generate: BTreeSet<Place>,
    evaluate: BTreeSet<Place>,
}

impl Queue {
    fn side(&self, role: Role) -> &BTreeSet<Place> {
        match role {
            Role::Gen => &self.generate,
            Role::Eval => &self.evaluate,
        }
    }

    /// `run_order` is the run's place among the runs, oldest first.
    pub(crate) fn push(&mut self, run_order: u32, job: JobId) {
        let place = (Priority::of(&job), run_order, job.problem, job);
        match role_of(&job) {
            Role::Gen => self.generate.insert(place),
            Role::Eval => self.evaluate.insert(place),
        };
    }

    pub(crate) fn remove(&mut self, run_order: u32, job: JobId) {
        let place = (Priority::of(&job), run_order, job.problem, job);
        match role_of(&job) {
            Role::Gen => self.generate.remove(&place),
            Role::Eval => self.evaluate.remove(&place),
        };
    }

    /// The first job of a role that `may_go` lets through.
    pub(crate) fn first(&self, role: Role, may_go: impl Fn(&JobId) -> bool) -> Option<JobId> {
        self.side(role).iter().map(|(.., job)| *job).find(may_go)
    }

    pub(crate) fn len(&self, role: Role) -> usize {
        self.side(role).len()
    }
}
