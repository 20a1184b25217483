//! What workers do with the jobs they hold: calls, session events, evaluations.

use roundhouse_core::Event;
use roundhouse_proto::link::JobResult;
use roundhouse_proto::{Audit, Failure, FailureClass, JobId, JobKind, LeaseId, SessionEvent, Usage};

use super::World;
use crate::ledger::{CallKey, Fate};
use crate::runs::CASES;
use crate::script::{Beat, Script, busy_ms, failure, report, round_verdict};
use crate::worker::{Stage, Task};

/// What goes wrong while a job is worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mishap {
    Nothing,
    CallBreaks,
    EvaluationBreaks,
    /// The evaluation ends, and a case of it could not be judged.
    CaseBreaks,
}

impl World {
    pub(super) fn script(&self, job: &JobId) -> &Script {
        let script = self.plan.scripts.get(&(job.run, job.problem));
        script.expect("a job belongs to a problem of a planned run")
    }

    /// Jobs that can go on, with the places of their workers.
    pub(super) fn workable(&self) -> Vec<(usize, LeaseId)> {
        let mut workable = Vec::new();
        for (i, worker) in self.workers.iter().enumerate() {
            if worker.is_stalled {
                continue;
            }
            let leases = worker.tasks.iter();
            let leases = leases.filter(|(_, task)| self.can_go_on(task));
            workable.extend(leases.map(|(lease, _)| (i, *lease)));
        }
        workable
    }

    fn can_go_on(&self, task: &Task) -> bool {
        match task.stage {
            Stage::Calling(_) | Stage::Judging => true,
            Stage::Saying(..) | Stage::Reporting(_) => false,
            Stage::Ready => {
                let at = usize::try_from(task.seq).expect("sessions are short");
                let awaited = self.script(&task.job).awaits(at);
                awaited.is_none_or(|round| task.reports.contains_key(&round))
            }
        }
    }

    /// A worker goes on with one of its jobs.
    pub(super) fn go_on(&mut self, i: usize, lease: LeaseId, mishap: Mishap) {
        let Some(task) = self.workers[i].tasks.get(&lease).cloned() else {
            return;
        };
        match &task.stage {
            Stage::Ready => self.next_beat(i, lease, &task),
            Stage::Calling(serial) if mishap == Mishap::CallBreaks => {
                self.ledger.set_fate(*serial, Fate::Lost);
                let failure = failure(FailureClass::InfraRetry, "the call broke");
                self.report(i, lease, failed(failure, 1));
            }
            Stage::Calling(serial) => {
                let serial = *serial;
                let at = usize::try_from(task.seq).expect("sessions are short");
                let beat = &self.script(&task.job).beats[at];
                let event = beat.event(task.job.problem, usage(serial));
                self.say_event(i, lease, &event.expect("a call has an answer"), Some(serial));
            }
            Stage::Judging => {
                let result = self.verdict(&task.job, lease, mishap);
                self.report(i, lease, result);
            }
            Stage::Saying(..) | Stage::Reporting(_) => {}
        }
    }

    fn next_beat(&mut self, i: usize, lease: LeaseId, task: &Task) {
        let at = usize::try_from(task.seq).expect("sessions are short");
        let script = self.script(&task.job);
        if let Some(round) = script.awaits(at) {
            match task.reports.get(&round) {
                None => return,
                Some(Ok(_)) => {}
                Some(Err(failure)) => {
                    let failure = failure.clone();
                    return self.report(i, lease, failed(failure, 0));
                }
            }
        }
        let beat = script.beats.get(at).cloned();
        match beat.expect("a session that is over is not handed out") {
            Beat::Call { speaker, round, ask } => {
                let key = CallKey {
                    session: task.job,
                    speaker,
                    round,
                    ask,
                };
                self.call(i, lease, task, key);
            }
            Beat::Fail(failure) => self.report(i, lease, failed(failure, 0)),
            beat @ (Beat::Tests { .. } | Beat::RoundEnd { .. } | Beat::Finish(_)) => {
                let event = beat.event(task.job.problem, Usage::default());
                self.say_event(i, lease, &event.expect("only a failure leaves nothing"), None);
            }
        }
    }

    /// The model is asked, unless the endpoint refuses the key: then the endpoint is benched, the job given back.
    fn call(&mut self, i: usize, lease: LeaseId, task: &Task, key: CallKey) {
        if let Some(endpoint) = &task.endpoint
            && self.workers[i].refused.contains(endpoint)
        {
            if self.workers[i].link().is_none() {
                return;
            }
            let reason = "401: the key is refused".to_owned();
            if self.workers[i].benched.insert(endpoint.clone()) {
                let endpoint = endpoint.clone();
                let reason = reason.clone();
                self.say_up(i, |link| Event::Benched {
                    link,
                    endpoint,
                    reason,
                });
            }
            return self.give_back(i, lease, reason);
        }
        self.check_call(lease, key);
        let serial = self.ledger.pay(key);
        self.say(|| format!("worker {} pays call {serial}: {key:?}", self.workers[i].n));
        if let Some(task) = self.workers[i].tasks.get_mut(&lease) {
            task.stage = Stage::Calling(serial);
        }
    }

    fn say_event(&mut self, i: usize, lease: LeaseId, event: &SessionEvent, serial: Option<usize>) {
        let Some(task) = self.workers[i].tasks.get_mut(&lease) else {
            return;
        };
        task.stage = Stage::Saying(event.clone(), serial);
        let seq = task.seq + 1;
        self.ledger.was_said(lease, seq, event);
        self.say_unacknowledged(i, lease);
    }

    fn report(&mut self, i: usize, lease: LeaseId, result: JobResult) {
        self.ledger.came_to(lease, &result);
        if let Some(task) = self.workers[i].tasks.get_mut(&lease) {
            task.stage = Stage::Reporting(result);
        }
        self.say_unacknowledged(i, lease);
    }

    /// Says once more what is not acknowledged of a job.
    pub(super) fn say_unacknowledged(&mut self, i: usize, lease: LeaseId) {
        let Some(link) = self.workers[i].link() else {
            return;
        };
        let task = self.workers[i].tasks.get(&lease);
        if let Some(event) = task.and_then(|task| task.unacknowledged(link, lease)) {
            self.links.say_up(link, event);
        }
    }

    pub(super) fn give_back(&mut self, i: usize, lease: LeaseId, reason: String) {
        self.say_up(i, |link| Event::GivenBack {
            link,
            lease,
            reason,
            unaccounted: 0,
        });
        self.let_go(i, lease);
    }

    fn verdict(&self, job: &JobId, lease: LeaseId, mishap: Mishap) -> JobResult {
        let script = self.script(job);
        let (passed, total) = match (job.kind, &script.tests_fail, &script.verdict) {
            (JobKind::RoundTests { .. }, Some(failure), _) | (JobKind::Evaluate, _, Err(failure)) => {
                return failed(failure.clone(), 0);
            }
            (JobKind::EvaluateRound { round, .. }, ..) => match &script.rounds_fail {
                Some(failure) => return failed(failure.clone(), 0),
                None => (round_verdict(job.problem, round), CASES),
            },
            (JobKind::RoundTests { .. }, None, _) => (2, CASES),
            (JobKind::Evaluate, _, Ok(passed)) => (*passed, CASES),
            (JobKind::Generate, ..) => panic!("{job} is not judged"),
        };
        if mishap == Mishap::EvaluationBreaks {
            return failed(failure(FailureClass::InfraRetry, "the disk is full"), 0);
        }
        let case_broke = mishap == Mishap::CaseBreaks;
        JobResult::Evaluated {
            audit: Audit {
                audited: passed,
                mismatched: 0,
            },
            report: report(job, lease),
            passed,
            total,
            busy_ms: busy_ms(lease),
            internal_error: case_broke.then(|| "case 1 could not be judged".to_owned()),
        }
    }
}

/// What a call costs; its number tells it from every other.
pub(super) fn usage(serial: usize) -> Usage {
    let serial = u64::try_from(serial).expect("it is small");
    Usage {
        input: serial,
        cached_input: serial / 2,
        output: 100 + serial % 7,
        reasoning: serial % 3,
    }
}

fn failed(failure: Failure, unaccounted: u32) -> JobResult {
    JobResult::Failed { failure, unaccounted }
}
