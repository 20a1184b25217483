//! Cancelling: a run that people end before every problem is settled.
//!
//! Called by [`Coordinator::handle`]. What is settled stays as it is; the rest stays open and is not handed out, until
//! the run is tried again.

use roundhouse_proto::link::CoordMsg;
use roundhouse_proto::{LeaseId, RunId};

use super::Coordinator;
use crate::clock::Now;
use crate::leases::Lease;
use crate::outbox::Outbox;
use crate::record::{PendingFile, Write};

impl Coordinator {
    /// A run that is over already is left alone.
    pub(super) fn cancel_requested(&mut self, now: Now, id: RunId, reason: &str, outbox: &mut Outbox) {
        let Some(run) = self.runs.get_mut(&id).filter(|run| !run.is_over()) else {
            return;
        };
        run.cancel(reason, now);
        outbox.write(Write::Run(run.record.clone()));
        let leased: Vec<(LeaseId, Lease)> = self.leases.of_run(id).collect();
        for (id, lease) in leased {
            self.leases.remove(id);
            self.cancel_lease(now, id, lease, reason, outbox);
        }
        self.sort_jobs(id);
        self.write_files(PendingFile::Reports { run: id }, outbox);
    }

    /// The worker is to stop; what it sends all the same is to be forgotten. A call that a session has in flight is
    /// broken off, and may be paid.
    fn cancel_lease(&mut self, now: Now, id: LeaseId, lease: Lease, reason: &str, outbox: &mut Outbox) {
        let Lease { job, worker } = lease;
        let Some(run) = self.runs.get_mut(&job.run) else {
            return;
        };
        run.count_call_in_flight(&job);
        let at_ms = run.clock_ms(now);
        if let Some(job) = run.job_mut(&job) {
            job.wait_again(now, at_ms);
            outbox.write(Write::Job(job.record()));
        }
        if let Some(link) = self.fleet.link_of(worker) {
            let (lease, reason) = (id, reason.to_owned());
            outbox.send(link, CoordMsg::Cancel { lease, reason });
        }
    }
}
