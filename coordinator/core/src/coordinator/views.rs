//! How things stand, for people who ask. Changes nothing.

use roundhouse_proto::{Role, RunId, WorkerId};

use super::Coordinator;
use crate::clock::Now;
use crate::queue::role_of;
use crate::status::{ProblemView, RunView, Stuck, WorkerView};

impl Coordinator {
    /// The runs, newest first.
    pub fn runs(&self) -> Vec<RunId> {
        let mut runs: Vec<_> = self.runs.values().map(|run| (run.order, run.spec.run)).collect();
        runs.sort_unstable_by(|a, b| b.cmp(a));
        runs.into_iter().map(|(_, run)| run).collect()
    }

    /// How a run stands.
    pub fn run_view(&self, now: Now, run: RunId) -> Option<RunView> {
        self.runs.get(&run).map(|run| run.view(now, self.stuck(run)))
    }

    /// How the problems of a run stand, in its order; empty for a run that is not known.
    pub fn problem_views(&self, run: RunId) -> Vec<ProblemView> {
        self.runs
            .get(&run)
            .map(crate::pipeline::Run::problem_views)
            .unwrap_or_default()
    }

    /// The workers, by name.
    pub fn worker_views(&self, now: Now) -> Vec<WorkerView> {
        self.fleet
            .views(now.monotonic_ms, |worker, role| self.busy(worker, role))
    }

    fn busy(&self, worker: WorkerId, role: Role) -> u32 {
        let held = self.leases_of(worker);
        let jobs = held.iter().filter_map(|lease| self.leases.get(lease));
        u32::try_from(jobs.filter(|job| role_of(job) == role).count()).unwrap_or(u32::MAX)
    }

    /// Why a run cannot move, as things stand.
    fn stuck(&self, _run: &crate::pipeline::Run) -> Vec<Stuck> {
        Vec::new()
    }
}
