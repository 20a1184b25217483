//! Jobs that are ready, by role: by priority, then by run, then in data-set order.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use roundhouse_proto::work::Priority;
use roundhouse_proto::{JobId, JobKind, Role};

/// The role that does a job.
pub(crate) fn role_of(job: &JobId) -> Role {
    match job.kind {
        JobKind::Generate => Role::Gen,
        JobKind::RoundTests { .. } | JobKind::Evaluate | JobKind::EvaluateRound { .. } => Role::Eval,
    }
}

/// The jobs of one run with one priority: all of a kind, so if its first may not go, none may.
pub(crate) type Lane = (Priority, u32);

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

    /// The lane of a role that comes after this one; its first lane after none. So all can be gone through while jobs
    /// are taken out.
    pub(crate) fn lane_after(&self, role: Role, lane: Option<Lane>) -> Option<Lane> {
        let after = lane.map_or(Bound::Unbounded, Bound::Excluded);
        let mut lanes = self.side(role).range((after, Bound::Unbounded));
        lanes.next().map(|(lane, _)| *lane)
    }

    /// The first job of a lane.
    pub(crate) fn first(&self, role: Role, lane: Lane) -> Option<JobId> {
        self.side(role).get(&lane)?.first().copied()
    }

    /// The first job of each lane that a run has.
    pub(crate) fn firsts_of(&self, role: Role, run_order: u32) -> impl Iterator<Item = JobId> {
        let lanes = Priority::ALL.map(|priority| (priority, run_order));
        lanes.into_iter().filter_map(move |lane| self.first(role, lane))
    }

    /// How many jobs of a run are ready.
    pub(crate) fn len_of(&self, run_order: u32) -> usize {
        let lanes = Priority::ALL.map(|priority| (priority, run_order));
        let sides = [&self.generate, &self.evaluate];
        let jobs = sides
            .into_iter()
            .flat_map(|side| lanes.iter().filter_map(|lane| side.get(lane)));
        jobs.map(BTreeSet::len).sum()
    }
}
