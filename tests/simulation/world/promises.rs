//! What must hold while a world goes on. What must hold of single writes is in [`crate::store`], of what a worker is
//! handed in [`super::carry`], at the end in [`super::books`].

use std::collections::{BTreeMap, BTreeSet};

use roundhouse_core::record::{JobOutcome, PendingFile, StoredState, Write};
use roundhouse_core::run::ModelAt;
use roundhouse_core::summary::{ProblemOutcome, ProblemSummary, RunStatus};
use roundhouse_core::{Command, LinkId, Outbox, Progress};
use roundhouse_proto::link::{CoordMsg, JobGrant, JobResult};
use roundhouse_proto::{Failure, JobId, JobKind, LeaseId, Payload, RunId, SessionEvent, Work};

use super::{Seat, World};
use crate::ledger::CallKey;
use crate::runs::worker_id;

impl World {
    /// What is said once a batch is durable must be true of what is stored by then.
    pub(super) fn check_batch(&mut self, outbox: &Outbox) {
        for command in &outbox.commands {
            match command {
                Command::Send { link, msg } => self.check_message(*link, msg),
                Command::Close { .. } => {}
                Command::WriteFiles(files) => {
                    let pending = files.pending();
                    assert!(
                        self.disk.pending().contains(&pending),
                        "{pending:?} is written and was not pending"
                    );
                }
                Command::Tell { run, progress } => self.check_told(*run, progress),
            }
        }
        if !outbox.writes.is_empty() {
            self.check_modes();
            self.check_written(&outbox.writes);
        }
    }

    /// A file that is asked for once more stays pending until it is written once more.
    fn check_written(&self, batch: &[Write]) {
        for write in batch {
            let Write::Written(pending) = write else { continue };
            let is_to_come = self.committer.is_asking_for(*pending)
                || self.to_write.iter().any(|files| files.pending() == *pending);
            assert!(
                !is_to_come,
                "{pending:?} is pending no more, and is still to be written"
            );
        }
    }

    fn check_message(&mut self, link: LinkId, msg: &CoordMsg) {
        match msg {
            CoordMsg::Jobs(grants) => {
                for grant in grants {
                    self.ledger.was_granted(grant.lease, grant.job);
                    self.check_grant(link, grant);
                }
            }
            CoordMsg::Ack { lease, seq: 0 } => self.check_result_is_stored(*lease),
            CoordMsg::Ack { lease, seq } => self.check_event_is_stored(*lease, *seq),
            CoordMsg::TestReport { lease, round, report } => self.check_report(*lease, *round, report),
            CoordMsg::Forget { lease } | CoordMsg::Cancel { lease, .. } => {
                let job = self.ledger.job_of(*lease);
                let current = job.and_then(|job| self.disk.lease_of(&job));
                assert_ne!(
                    current,
                    Some(*lease),
                    "{job:?} is to be dropped under the lease that it has"
                );
            }
            CoordMsg::Welcome { .. }
            | CoordMsg::Reject { .. }
            | CoordMsg::Adopt { .. }
            | CoordMsg::Share { .. }
            | CoordMsg::Drain { .. }
            | CoordMsg::Restarting { .. }
            | CoordMsg::Pong { .. }
            | CoordMsg::Cages { .. } => {}
        }
    }

    /// A grant has all that was stored of its job, and its job is leased to whom it goes.
    fn check_grant(&self, link: LinkId, grant: &JobGrant) {
        let JobGrant { job, lease, .. } = grant;
        let record = self.disk.job(job).expect("a job that is handed out is stored");
        let worker = match self.links.worker(link) {
            Some(i) => worker_id(self.workers[i].n),
            // The link is over: whoever was on it will not hear of it.
            None => match record.state {
                StoredState::Leased { worker, .. } => worker,
                StoredState::Queued | StoredState::Settled(_) => panic!("{job} is handed out and not leased"),
            },
        };
        let leased = StoredState::Leased {
            lease: *lease,
            worker,
        };
        assert_eq!(
            (&record.state, record.attempts),
            (&leased, grant.attempt),
            "{job} is handed out otherwise than it is stored"
        );
        match &grant.work {
            Work::Generate(work) => {
                let stored = self.disk.events(job).iter().map(|record| &record.event);
                assert!(
                    stored.eq(&work.resume),
                    "{job} does not go on from what is stored: {:?}",
                    work.resume
                );
                self.script(job).assert_begins(job.problem, &work.resume);
                let mut reports = work.reports.clone();
                reports.sort_by_key(|(round, program, _)| (*round, *program));
                assert_eq!(reports, self.stored_reports(job), "{job} lacks reports");
                let run = self.disk.run(job.run).expect("its run is stored");
                assert_eq!(
                    work.endpoint, run.endpoint,
                    "{job} goes to another endpoint than its run"
                );
            }
            Work::Evaluate(work) => {
                let subject = record.subject.as_ref().expect("it judges a program");
                assert_eq!((&work.program, work.tests), (&subject.program, subject.cases));
                self.check_interpreter(link, job);
            }
        }
    }

    /// All programs of a run are judged by one minor version of an interpreter, unless it takes any.
    fn check_interpreter(&self, link: LinkId, job: &JobId) {
        let Some(worker) = self.links.worker(link).map(|i| &self.workers[i]) else {
            return;
        };
        let chosen = self.disk.run(job.run).and_then(|run| run.interpreter.as_deref());
        let takes_any = self.spec(job.run).evaluation.mixed_versions;
        let interpreters = &worker.member.interpreters;
        let is_right = match chosen {
            None => takes_any && !interpreters.is_empty(),
            Some(minor) => !takes_any && interpreters.iter().any(|name| name.starts_with(minor)),
        };
        assert!(
            is_right,
            "{job} of a run that is judged by {chosen:?} goes to a worker with {interpreters:?}"
        );
    }

    /// The reports of tests that a session's rounds had.
    fn stored_reports(&self, session: &JobId) -> Vec<(u32, roundhouse_proto::Digest, Payload)> {
        let of_session = self
            .disk
            .jobs()
            .filter(|record| (record.job.run, record.job.problem) == (session.run, session.problem));
        let report = |job: JobId, state: &StoredState| match (job.kind, state.outcome()?) {
            (JobKind::RoundTests { round, program }, JobOutcome::Evaluated { report, .. }) => {
                Some((round, program, report.clone()))
            }
            (
                JobKind::RoundTests { .. }
                | JobKind::Generate
                | JobKind::Evaluate
                | JobKind::EvaluateRound { .. },
                _,
            ) => None,
        };
        of_session
            .filter_map(|record| report(record.job, &record.state))
            .collect()
    }

    fn check_result_is_stored(&self, lease: LeaseId) {
        let job = self
            .ledger
            .job_of(lease)
            .expect("a lease that is answered was granted");
        let came = self
            .ledger
            .result(lease)
            .expect("a result that is acknowledged was sent");
        let stored = self.disk.job(&job).map(|record| &record.state);
        let is_stored = match came {
            JobResult::Evaluated {
                internal_error: None,
                report,
                passed,
                total,
                audit,
                ..
            } => {
                let outcome = JobOutcome::Evaluated {
                    audit: *audit,
                    report: report.clone(),
                    passed: *passed,
                    total: *total,
                };
                stored == Some(&StoredState::Settled(outcome))
            }
            JobResult::Failed { failure, .. } if !failure.is_transient() => {
                stored == Some(&StoredState::Settled(JobOutcome::Error(failure.clone())))
            }
            JobResult::Evaluated { .. } | JobResult::Failed { .. } => self.disk.lease_of(&job) != Some(lease),
        };
        assert!(
            is_stored,
            "the result {came:?} of {job} is acknowledged and not stored: {stored:?}"
        );
    }

    fn check_event_is_stored(&self, lease: LeaseId, seq: u64) {
        let job = self
            .ledger
            .job_of(lease)
            .expect("a lease that is answered was granted");
        let stored = self.disk.events(&job).iter().find(|record| record.seq == seq);
        let said = self.ledger.said(lease, seq);
        assert!(
            stored.is_some_and(|stored| said.is_none_or(|said| *said == stored.event)),
            "event {seq} of {job} is acknowledged and not stored: {stored:?}, said {said:?}"
        );
    }

    fn check_report(&self, lease: LeaseId, round: u32, report: &Result<Payload, Failure>) {
        let session = self
            .ledger
            .job_of(lease)
            .expect("a session that waits was granted");
        let tests = crate::script::tests_job(&session, round);
        let stored = match self.disk.outcome(&tests) {
            Some(JobOutcome::Evaluated { report, .. }) => Some(Ok(report.clone())),
            Some(JobOutcome::Error(failure)) => Some(Err(failure.clone())),
            Some(JobOutcome::Generated(_)) | None => None,
        };
        assert_eq!(
            Some(report),
            stored.as_ref(),
            "{session} is sent a report that is not stored"
        );
    }

    fn check_told(&self, run: RunId, progress: &Progress) {
        let is_at_work = || {
            let mut jobs = self.disk.jobs();
            jobs.any(|record| record.job.run == run && self.disk.lease_of(&record.job).is_some())
        };
        match progress {
            Progress::Drained | Progress::Paused(_) => {
                assert!(
                    !is_at_work(),
                    "a run is {progress:?} while jobs of it are at work"
                );
            }
            Progress::Done(summary) => {
                assert!(
                    self.disk.is_ended(run),
                    "a run is done before its end: {summary:?}"
                );
            }
            Progress::AllJudged(summary) => {
                let is_open = |problem: &ProblemSummary| problem.outcome == ProblemOutcome::Open;
                assert!(
                    summary.spec.evaluate_rounds && !summary.problems.iter().any(is_open),
                    "a run has only rounds left, and does not: {summary:?}"
                );
            }
            Progress::GenerationStarted { .. }
            | Progress::GenerationEnded { .. }
            | Progress::GenerationDone { .. }
            | Progress::Judged { .. }
            | Progress::Retried { .. }
            | Progress::Started { .. }
            | Progress::Stuck(_)
            | Progress::Notice(_) => {}
        }
    }

    /// What sequential and staged runs promise.
    fn check_modes(&self) {
        for ordered in &self.plan.runs {
            let spec = &ordered.spec;
            let held_n = |kind_is: fn(&JobKind) -> bool| {
                let jobs = self.disk.jobs().map(|record| record.job);
                let jobs = jobs.filter(|job| job.run == spec.run && kind_is(&job.kind));
                jobs.filter(|job| self.disk.lease_of(job).is_some()).count()
            };
            if !spec.parallel {
                assert!(
                    held_n(|kind| *kind == JobKind::Generate) <= 1,
                    "a sequential run holds several sessions"
                );
            }
            if spec.staged && !self.retries.contains_key(&spec.run) {
                let is_settled = |position: u32| {
                    let kind = JobKind::Generate;
                    let (run, problem) = (spec.run, position);
                    self.disk.outcome(&JobId { run, problem, kind }).is_some()
                };
                let is_over = spec.problems.iter().all(|problem| is_settled(problem.position));
                let is_final =
                    |kind: &JobKind| matches!(kind, JobKind::Evaluate | JobKind::EvaluateRound { .. });
                assert!(
                    is_over || held_n(is_final) == 0,
                    "an evaluation of a staged run came before the end of its sessions"
                );
            }
        }
    }

    /// A session goes only where its endpoint is offered and not refused, as far as the coordinator has heard.
    pub(super) fn check_offers(&self, outbox: &Outbox) {
        for command in &outbox.commands {
            let Command::Send {
                link,
                msg: CoordMsg::Jobs(grants),
            } = command
            else {
                continue;
            };
            for grant in grants {
                let Work::Generate(work) = &grant.work else {
                    continue;
                };
                let run = self.plan.runs.iter().find(|run| run.spec.run == grant.job.run);
                let model_at = run.map(|run| &run.spec.model_at);
                let is_asked_there = match (model_at, &work.endpoint) {
                    (Some(ModelAt::Offline), None) => continue,
                    (Some(ModelAt::Endpoint { name: Some(named) }), Some(endpoint)) => named == endpoint,
                    (Some(ModelAt::Endpoint { name: None }), Some(_)) => true,
                    (Some(ModelAt::Offline), Some(_))
                    | (Some(ModelAt::Endpoint { .. }), None)
                    | (None, _) => false,
                };
                let offers = self.offers.get(link);
                let is_offered = work
                    .endpoint
                    .as_ref()
                    .is_some_and(|endpoint| offers.is_some_and(|names| names.contains(endpoint)));
                assert!(
                    is_asked_there && is_offered,
                    "{} of a run at {model_at:?} goes to {:?} on link {link}, which offers {offers:?}",
                    grant.job,
                    work.endpoint
                );
            }
        }
    }

    /// Whatever happens, the joined workers of a host have its cores divided among them at once: all of them know their
    /// shares, which are no more than the cores, or 1 each, and as even as what each can use allows.
    pub(super) fn check_shares(&mut self, outbox: &Outbox) {
        for command in &outbox.commands {
            match command {
                Command::Send {
                    link,
                    msg: CoordMsg::Cages { n },
                } => {
                    let seat = self.seats.get_mut(link);
                    let seat = seat.unwrap_or_else(|| panic!("a share of {n} is said on link {link}"));
                    assert_ne!(seat.share, Some(*n), "a share is said twice on link {link}");
                    seat.share = Some(*n);
                }
                Command::Close { link } => drop(self.seats.remove(link)),
                Command::Send { .. } | Command::WriteFiles(_) | Command::Tell { .. } => {}
            }
        }
        let hosts: BTreeSet<&str> = self.seats.values().map(|seat| seat.host.as_str()).collect();
        for host in hosts {
            let seats: Vec<&Seat> = self.seats.values().filter(|seat| seat.host == host).collect();
            let shares: Vec<u32> = seats.iter().map(|seat| seat.share.unwrap_or(0)).collect();
            let (sum, cores) = (shares.iter().sum::<u32>(), seats[0].cores);
            let workers_n = u32::try_from(seats.len()).expect("there are few");
            let is_within = sum <= cores.max(workers_n);
            let is_known = shares.iter().all(|share| *share > 0);
            let has_enough = |share: u32, seat: &Seat| share == seat.most;
            let are_full = || {
                seats
                    .iter()
                    .zip(&shares)
                    .all(|(seat, share)| has_enough(*share, seat))
            };
            let is_used = sum >= cores || are_full();
            let is_even = seats.iter().zip(&shares).all(|(seat, share)| {
                has_enough(*share, seat) || shares.iter().all(|other| *other <= share + 1)
            });
            assert!(
                is_known && is_within && is_used && is_even,
                "the {cores} cores of {host} are divided wrongly: {seats:?}"
            );
        }
    }

    /// When nothing is on its way any more and nobody is waited for, each worker has heard its share, and together they
    /// run no more programs than their host has cores for.
    pub(super) fn check_shares_heard(&self) {
        let mut heard: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        let mut seated_n = 0;
        for worker in &self.workers {
            let Some(seat) = worker.link().and_then(|link| self.seats.get(&link)) else {
                continue;
            };
            seated_n += 1;
            assert_eq!(
                worker.share, seat.share,
                "worker {} has not heard its share",
                worker.n
            );
            heard.entry(&seat.host).or_default().extend(worker.share);
        }
        assert_eq!(seated_n, self.seats.len(), "a worker that is gone has a share");
        for (host, shares) in heard {
            let mut seats = self.seats.values().filter(|seat| seat.host == host);
            let cores = seats.next().map_or(0, |seat| seat.cores);
            let most = cores.max(u32::try_from(shares.len()).expect("there are few"));
            assert!(
                shares.iter().sum::<u32>() <= most,
                "{host} runs {shares:?} programs at once"
            );
        }
    }

    /// A call whose answer is stored is not paid again under the lease that the session has.
    pub(super) fn check_call(&self, lease: LeaseId, key: CallKey) {
        if self.disk.lease_of(&key.session) != Some(lease) {
            // The lease is void, and its holder has not heard of it yet.
            return;
        }
        let is_that = |event: &SessionEvent| {
            matches!(event, SessionEvent::Said { speaker, round, ask, .. }
                if (*speaker, *round, *ask) == (key.speaker, key.round, key.ask))
        };
        let stored = self.disk.events(&key.session);
        assert!(
            !stored.iter().any(|record| is_that(&record.event)),
            "{key:?} is paid again, and its answer is stored"
        );
    }

    /// What the coordinator has in memory is what it would have after a restart, when all is durable; but that a
    /// restart counts the calls that may be in flight, and has yet to find that a run cannot move.
    pub(super) fn check_memory(&self) {
        let restarted = self.started(&mut Outbox::default());
        for ordered in &self.plan.runs {
            let run = ordered.spec.run;
            let (Some(live), Some(mut stored)) = (self.coordinator.summary(run), restarted.summary(run))
            else {
                assert_eq!(self.coordinator.summary(run), restarted.summary(run));
                continue;
            };
            let problems = ordered.spec.problems.iter().zip(&live.problems);
            for ((problem, live), stored) in problems.zip(&mut stored.problems) {
                let kind = JobKind::Generate;
                let problem = problem.position;
                let record = self.disk.job(&JobId { run, problem, kind });
                let is_held = record.is_some_and(|record| matches!(record.state, StoredState::Leased { .. }));
                if is_held && stored.calls_unaccounted == live.calls_unaccounted + 1 {
                    stored.calls_unaccounted = live.calls_unaccounted;
                }
            }
            if matches!(&live.status, RunStatus::Incomplete { reason } if reason.starts_with("paused")) {
                stored.status = live.status.clone();
            }
            for ((problem, live), stored) in ordered
                .spec
                .problems
                .iter()
                .zip(&live.problems)
                .zip(&stored.problems)
            {
                let position = problem.position;
                assert_eq!(stored, live, "a restart changes problem {position} of run {run}");
            }
            assert_eq!(
                stored.status, live.status,
                "a restart changes how run {run} stands"
            );
            assert_eq!(
                stored.times, live.times,
                "a restart changes the times of run {run}"
            );
            assert!(stored == live, "a restart changes run {run}");
        }
    }

    /// A start is a function of the store, and asks for every file that is pending and exists.
    pub(super) fn check_start(&self, outbox: &Outbox) {
        let mut again = Outbox::default();
        let twin = self.started(&mut again);
        assert_eq!(*outbox, again, "two starts on one store differ");
        for ordered in &self.plan.runs {
            let run = ordered.spec.run;
            assert_eq!(twin.summary(run), self.coordinator.summary(run));
        }
        for write in &outbox.writes {
            let Write::Written(pending) = write else { continue };
            let may_be_gone = match *pending {
                PendingFile::Statements { .. } | PendingFile::Round { .. } => false,
                PendingFile::Session { run, problem } => {
                    let kind = JobKind::Generate;
                    self.disk.outcome(&JobId { run, problem, kind }).is_none()
                }
                PendingFile::Reports { run } => !self.disk.is_ended(run),
            };
            assert!(may_be_gone, "{pending:?} was pending and is not written");
        }
        for pending in self.disk.pending() {
            let asks_for = |command: &Command| matches!(command, Command::WriteFiles(files) if files.pending() == *pending);
            assert!(
                outbox.writes.contains(&Write::Written(*pending)) || outbox.commands.iter().any(asks_for),
                "{pending:?} stays pending after a restart"
            );
        }
    }
}
