//! Cancelling: a run that people end before every problem is settled.
//!
//! Called by [`Coordinator::handle`]. What is settled stays as it is; the rest stays open and is not handed out, until
//! the run is tried again.

use roundhouse_proto::link::CoordMsg;
use roundhouse_proto::{JobId, LeaseId, RunId};

use super::Coordinator;
use crate::clock::Now;
use crate::job::Job;
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
        let of_run = self.leases.extract_if(.., |_, job| job.run == id);
        let leased: Vec<(LeaseId, JobId)> = of_run.collect();
        for (lease, job) in leased {
            self.cancel_lease(now, lease, &job, reason, outbox);
        }
        self.sort_jobs(id);
        self.write_files(PendingFile::Reports { run: id }, outbox);
    }

    /// The worker is to stop; what it sends all the same is to be forgotten. A call that a session has in flight is
    /// broken off, and may be paid.
    fn cancel_lease(&mut self, now: Now, lease: LeaseId, id: &JobId, reason: &str, outbox: &mut Outbox) {
        let Some(run) = self.runs.get_mut(&id.run) else {
            return;
        };
        let holder = run.job(id).and_then(Job::holder);
        let link = holder.and_then(|(_, worker)| self.fleet.link_of(worker));
        run.count_call_in_flight(id);
        let at_ms = run.clock_ms(now);
        if let Some(job) = run.job_mut(id) {
            job.wait_again(now, at_ms);
            outbox.write(Write::Job(job.record()));
        }
        if let Some(link) = link {
            let reason = reason.to_owned();
            outbox.send(link, CoordMsg::Cancel { lease, reason });
        }
    }
}
