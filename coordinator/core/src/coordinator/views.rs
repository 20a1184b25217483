//! How things stand, for people who ask. Changes nothing.

use std::collections::BTreeMap;

use roundhouse_proto::{Role, RunId, WorkerId};

use super::Coordinator;
use crate::clock::Now;
use crate::pipeline::Run;
use crate::queue::role_of;
use crate::status::{ProblemView, RunView, WorkerView};

impl Coordinator {
    /// The runs, newest first.
    pub fn runs(&self) -> Vec<RunId> {
        let mut runs: Vec<_> = self.runs.values().map(|run| (run.order, run.spec.run)).collect();
        runs.sort_unstable_by(|a, b| b.cmp(a));
        runs.into_iter().map(|(_, run)| run).collect()
    }

    /// How a run stands.
    pub fn run_view(&self, now: Now, run: RunId) -> Option<RunView> {
        let run = self.runs.get(&run)?;
        let leased = self.leases.of_run(run.spec.run);
        let ready_n = u32::try_from(self.queue.len_of(run.order)).unwrap_or(u32::MAX);
        let leased_n = u32::try_from(leased.count()).unwrap_or(u32::MAX);
        Some(run.view(now, (ready_n, leased_n), self.stuck(run)))
    }

    /// Whether nothing of a run is to come unless somebody asks for it; also of one that is not known.
    pub fn is_over(&self, run: RunId) -> bool {
        self.runs.get(&run).is_none_or(Run::is_over)
    }

    /// How the problems of a run stand, in its order; empty for a run that is not known.
    pub fn problem_views(&self, run: RunId) -> Vec<ProblemView> {
        self.runs.get(&run).map(Run::problem_views).unwrap_or_default()
    }

    /// The workers, by name; those whose link was lost as well, while their jobs wait for them.
    pub fn worker_views(&self, now: Now) -> Vec<WorkerView> {
        let mut busy: BTreeMap<(WorkerId, Role), u32> = BTreeMap::new();
        for (_, lease) in self.leases.all() {
            *busy.entry((lease.worker, role_of(&lease.job))).or_default() += 1;
        }
        self.fleet.views(now.monotonic_ms, |worker, role| {
            busy.get(&(worker, role)).copied().unwrap_or(0)
        })
    }
}
