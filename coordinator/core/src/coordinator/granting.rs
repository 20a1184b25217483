//! Granting: which jobs are ready, which of them may go, and to whom they are handed out.
//!
//! The last step of [`Coordinator::handle`] after every event. A grant rides in the batch of the event that made it
//! possible, and is sent once that is durable. Older runs go first; a run whose sessions no worker can hold keeps
//! nobody else waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use roundhouse_proto::link::{CoordMsg, JobGrant};
use roundhouse_proto::work::Priority;
use roundhouse_proto::{JobId, JobKind, LeaseId, Role, RunId, WorkerId};

use super::Coordinator;
use crate::clock::Now;
use crate::event::LinkId;
use crate::fleet::Needs;
use crate::job::JobState;
use crate::leases::Lease;
use crate::outbox::{Outbox, Progress};
use crate::pipeline::{Choice, Mode, Run};
use crate::queue::{Lane, role_of};
use crate::record::Write;
use crate::run::ModelAt;
use crate::{endpoint, interpreter};

impl Coordinator {
    /// Sorts the waiting jobs of a whole run.
    pub(super) fn sort_jobs(&mut self, id: RunId) {
        let Some(run) = self.runs.get(&id) else { return };
        let spec = Arc::clone(&run.spec);
        for problem in &spec.problems {
            self.sort_jobs_of(id, problem.position);
        }
    }

    /// The one way in which a job becomes ready. Waiting jobs of a problem go into the queue, and out of it if they
    /// are to be held by now.
    pub(super) fn sort_jobs_of(&mut self, id: RunId, position: u32) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let order = run.order;
        let Some((_, problem)) = run.problem(position) else {
            return;
        };
        let jobs: Vec<JobId> = problem.jobs().map(|job| job.id).collect();
        for id in jobs {
            let is_held_back = run.holds_back(&id);
            let Some(job) = run.job_mut(&id) else { continue };
            match (&job.state, is_held_back) {
                (JobState::Held, false) => {
                    job.state = JobState::Ready;
                    self.queue.push(order, id);
                }
                (JobState::Ready, true) => {
                    job.state = JobState::Held;
                    self.queue.remove(order, id);
                }
                (JobState::Held, true)
                | (JobState::Ready, false)
                | (JobState::Leased { .. } | JobState::Settled(_), _) => {}
            }
        }
    }

    /// Hands out ready jobs for as long as there is room.
    pub(super) fn dispatch(&mut self, now: Now, outbox: &mut Outbox) {
        let mut grants = Grants::new();
        for role in [Role::Eval, Role::Gen] {
            let mut full = BTreeSet::new();
            // Mostly every slot is busy: then no lane is looked at.
            let has_room = |lane: &Lane| self.find(role, lane.0, Needs::Nothing).is_some();
            let mut next = self.queue.lane_after(role, None).filter(has_room);
            while let Some(lane) = next {
                next = match self.hand_out(now, role, lane, &mut full, &mut grants, outbox) {
                    Room::Left => self.queue.lane_after(role, Some(lane)),
                    Room::None => None,
                };
            }
        }
        for (link, grants) in grants {
            let leases: Vec<LeaseId> = grants.iter().map(|grant| grant.lease).collect();
            outbox.send(link, CoordMsg::Jobs(grants));
            for tests in leases.into_iter().filter_map(|lease| self.awaited_tests(lease)) {
                self.send_failed_test(tests, outbox);
            }
        }
    }

    /// Hands out the jobs of one lane for as long as there is room for them. `full` has what jobs need whose workers are
    /// known to have none, in the words of [`Needs::word`].
    fn hand_out(
        &mut self,
        now: Now,
        role: Role,
        lane: Lane,
        full: &mut BTreeSet<String>,
        grants: &mut Grants,
        outbox: &mut Outbox,
    ) -> Room {
        while let Some(id) = self.queue.first(role, lane).filter(|id| self.may_go(id)) {
            let Some(needs) = self.needs(&id) else { break };
            if full.contains(needs.word()) {
                break;
            }
            let found = self.find(role, Priority::of(&id), needs);
            let Some((worker, link)) = found.and_then(|worker| Some((worker, self.fleet.link_of(worker)?)))
            else {
                if needs == Needs::Nothing {
                    return Room::None;
                }
                full.insert(needs.word().to_owned());
                break;
            };
            let choice = self.choice(&id, needs, worker);
            self.fleet.take(worker, role);
            if let Some(grant) = self.grant(now, id, choice, (worker, link), outbox) {
                grants.entry(link).or_default().push(grant);
            }
        }
        Room::Left
    }

    /// The worker that a job of this kind goes to; none while nobody who can do it has room.
    fn find(&self, role: Role, priority: Priority, needs: Needs<'_>) -> Option<WorkerId> {
        let evaluations_of = |worker| self.leases.evaluations_of(worker);
        self.fleet.find(role, priority, needs, evaluations_of)
    }

    pub(super) fn may_go(&self, job: &JobId) -> bool {
        let Some(run) = self.runs.get(&job.run) else {
            return false;
        };
        let is_generate = |kind: &JobKind| *kind == JobKind::Generate;
        match (job.kind, run.mode) {
            (JobKind::RoundTests { .. }, Mode::Running | Mode::Draining)
            | (JobKind::Evaluate | JobKind::EvaluateRound { .. }, Mode::Running) => true,
            (JobKind::Generate, Mode::Running) => run.spec.parallel || !self.is_leased(job.run, is_generate),
            (JobKind::Generate | JobKind::Evaluate | JobKind::EvaluateRound { .. }, Mode::Draining)
            | (_, Mode::Drained) => false,
        }
    }

    /// What a job needs of a worker beside room; none while that is not known.
    fn needs(&self, job: &JobId) -> Option<Needs<'_>> {
        match job.kind {
            JobKind::Generate => self.needs_of_sessions(self.runs.get(&job.run)?),
            JobKind::RoundTests { .. } | JobKind::Evaluate | JobKind::EvaluateRound { .. } => {
                Some(needs_of_programs(self.runs.get(&job.run)?))
            }
        }
    }

    /// What a run stays with once a job that needs this was handed to a worker.
    fn choice(&self, job: &JobId, needs: Needs<'_>, worker: WorkerId) -> Option<Choice> {
        match needs {
            Needs::Nothing => None,
            Needs::Endpoint(name) => Some(Choice::Endpoint(name.to_owned())),
            Needs::Language(language) => {
                let run = self.runs.get(&job.run)?;
                let is_bound = !run.spec.evaluation.mixed_versions;
                let name = self.fleet.interpreter_of(worker, language)?;
                is_bound.then(|| Choice::Interpreter(interpreter::minor(name).to_owned()))
            }
            Needs::Interpreter { minor, .. } => Some(Choice::Interpreter(minor.to_owned())),
        }
    }

    /// What a run's sessions need of a worker beside room; none while no endpoint can be chosen. An endpoint that was
    /// chosen once is kept: answers of two must not be mixed in one run.
    pub(super) fn needs_of_sessions<'a>(&'a self, run: &'a Run) -> Option<Needs<'a>> {
        let ModelAt::Endpoint { name } = &run.spec.model_at else {
            return Some(Needs::Nothing);
        };
        let named = run.record.endpoint.as_ref().or(name.as_ref());
        let open = &self.fleet.capacity().open_endpoints;
        let chosen = || endpoint::choose(&run.spec.session.model, open);
        named.map(String::as_str).or_else(chosen).map(Needs::Endpoint)
    }

    fn grant(
        &mut self,
        now: Now,
        id: JobId,
        choice: Option<Choice>,
        (worker, link): (WorkerId, LinkId),
        outbox: &mut Outbox,
    ) -> Option<JobGrant> {
        let run = self.runs.get_mut(&id.run)?;
        self.queue.remove(run.order, id);
        run.resume(now);
        let capacity = self.fleet.capacity();
        let at_ms = run.clock_ms(now);
        let is_record_changed = run.note_grant(role_of(&id), at_ms, choice, capacity);
        let work = run.work(&id)?;
        self.lease_seq += 1;
        let lease = LeaseId {
            epoch: self.epoch,
            seq: self.lease_seq,
        };
        let job = run.job_mut(&id)?;
        job.attempts += 1;
        job.at_ms = at_ms;
        job.state = JobState::Leased {
            lease,
            worker,
            link,
            since_ms: now.monotonic_ms,
        };
        let attempt = job.attempts;
        outbox.write(Write::Job(job.record()));
        self.leases.insert(lease, Lease { job: id, worker });
        if is_record_changed {
            outbox.write(Write::Run(run.record.clone()));
        }
        if !std::mem::replace(&mut run.start_told, true) {
            let started = Progress::Started {
                generation_slots: capacity.generation_slots,
                evaluation_slots: capacity.evaluation_slots,
                cores: capacity.cores,
            };
            outbox.tell(id.run, started);
        }
        if id.kind == JobKind::Generate && attempt == 1 {
            let index = run.place(id.problem);
            outbox.tell(id.run, Progress::GenerationStarted { index });
        }
        Some(JobGrant {
            job: id,
            lease,
            attempt,
            priority: Priority::of(&id),
            work,
        })
    }
}

/// What judging a program of a run needs of a worker beside room: the interpreter that judged the first, in its minor
/// version, so that no verdict depends on who gives it.
pub(super) fn needs_of_programs(run: &Run) -> Needs<'_> {
    let language = run.spec.session.language;
    match &run.record.interpreter {
        Some(minor) if !run.spec.evaluation.mixed_versions => Needs::Interpreter { language, minor },
        Some(_) | None => Needs::Language(language),
    }
}

/// What is handed out after one event, by the link it goes over.
type Grants = BTreeMap<LinkId, Vec<JobGrant>>;

/// Whether lanes that come later may find room that one did not find.
enum Room {
    Left,
    None,
}
