//! What must hold once everything is over: what was acknowledged is there, each call is counted once and paid no oftener
//! than it had to be, every problem came to what its script says, every file is written.

use std::collections::{BTreeMap, BTreeSet};

use roundhouse_core::Files;
use roundhouse_core::record::{JobOutcome, PendingFile};
use roundhouse_core::run::{ModelAt, RunSpec};
use roundhouse_core::summary::{ProblemOutcome, RoundOutcome, RunStatus, RunSummary};
use roundhouse_proto::link::JobResult;
use roundhouse_proto::{Digest, JobId, JobKind, Payload, RunId, SessionEvent, Usage};

use super::World;
use crate::ledger::{CallKey, Fate};
use crate::script::{Beat, Script, round_program, round_verdict};

/// Grants after which a job is given up whatever its run allows, as the core has it.
const GRANTS_MAX: u32 = 100;

impl World {
    /// Asserts that the books are right.
    pub(super) fn check_end(&self) {
        self.check_memory();
        self.check_calls();
        for (job, seq, event) in self.ledger.acknowledged_events() {
            let stored = self.disk.events(&job).iter().find(|record| record.seq == seq);
            assert_eq!(
                stored.map(|stored| &stored.event),
                Some(event),
                "event {seq} of {job} was acknowledged and is lost"
            );
        }
        for (job, result) in self.ledger.acknowledged_results() {
            if let JobResult::Evaluated {
                report,
                passed,
                total,
                internal_error: None,
                audit,
                ..
            } = result
            {
                let (report, passed, total) = (report.clone(), *passed, *total);
                let acknowledged = JobOutcome::Evaluated {
                    audit: *audit,
                    report,
                    passed,
                    total,
                };
                assert_eq!(
                    self.disk.outcome(&job),
                    Some(&acknowledged),
                    "the result of {job} was acknowledged and is lost"
                );
            }
        }
        for ((run, index), told) in &self.judged {
            let told_max = 1 + self.retries.get(run).copied().unwrap_or(0);
            assert!(
                *told <= told_max,
                "problem {index} was judged {told} times, with {told_max} tries"
            );
        }
        for ordered in &self.plan.runs {
            let summary = self.summary(ordered.spec.run);
            self.check_problems(&summary);
            self.check_times(&summary);
            self.check_rounds(&summary);
            self.check_files(&summary);
            self.check_view(&summary);
        }
        if self.plan.is_gentle() {
            self.check_undisturbed();
        }
    }

    /// Where nothing went wrong nothing was done twice.
    fn check_undisturbed(&self) {
        assert_eq!(
            (self.dropped_n, self.retried_n),
            (0, 0),
            "jobs were taken back for nothing"
        );
        for record in self.disk.jobs() {
            assert_eq!(
                (record.attempts, record.failed_attempts),
                (1, 0),
                "{} was handed out more than once for nothing",
                record.job
            );
        }
        let calls = self.ledger.calls();
        assert!(
            calls.iter().all(|call| call.fate == Fate::Acknowledged),
            "a call was lost for nothing"
        );
    }

    /// Each call is counted once, and none is paid again but for those that were in flight, or not acknowledged, when
    /// their lease was lost.
    fn check_calls(&self) {
        let mut kept: BTreeMap<CallKey, u32> = BTreeMap::new();
        for (serial, call) in (1..).zip(self.ledger.calls()) {
            assert_ne!(
                call.fate,
                Fate::Open,
                "call {serial} is open, and everything is over"
            );
            *kept.entry(call.key).or_default() += u32::from(!call.fate.is_lost());
        }
        for (key, kept) in kept {
            assert!(
                kept <= 1,
                "{key:?} was paid {kept} times without being lost in between"
            );
        }
        let mut counted: BTreeSet<u64> = BTreeSet::new();
        for ordered in &self.plan.runs {
            let summary = self.summary(ordered.spec.run);
            for (problem, summary) in ordered.spec.problems.iter().zip(&summary.problems) {
                let session = session(ordered.spec.run, problem.position);
                for event in &summary.events {
                    let SessionEvent::Said {
                        speaker,
                        round,
                        ask,
                        usage,
                        ..
                    } = event
                    else {
                        continue;
                    };
                    let (speaker, round, ask) = (*speaker, *round, *ask);
                    let serial = usage.unwrap_or_default().input;
                    let paid = self.ledger.call(serial).map(|call| call.key);
                    let key = CallKey {
                        session,
                        speaker,
                        round,
                        ask,
                    };
                    assert_eq!(paid, Some(key), "call {serial} is another one's");
                    assert!(counted.insert(serial), "call {serial} is counted twice");
                }
            }
        }
        let mut lost: BTreeMap<JobId, u32> = BTreeMap::new();
        for (serial, call) in (1..).zip(self.ledger.calls()) {
            if counted.contains(&serial) {
                continue;
            }
            assert!(
                call.fate.is_lost(),
                "call {serial}, {:?}, was acknowledged and is not counted",
                call.key
            );
            *lost.entry(call.key.session).or_default() += 1;
        }
        self.check_lost(&lost);
    }

    /// Calls that were paid for nothing are told of. More may be: the coordinator cannot know what was in flight.
    fn check_lost(&self, lost: &BTreeMap<JobId, u32>) {
        for ordered in &self.plan.runs {
            let is_paid = match ordered.spec.model_at {
                ModelAt::Offline => false,
                ModelAt::Endpoint { .. } => true,
            };
            let summary = self.summary(ordered.spec.run);
            for (problem, summary) in ordered.spec.problems.iter().zip(&summary.problems) {
                let session = session(ordered.spec.run, problem.position);
                let lost = lost.get(&session).copied().unwrap_or(0);
                let told = summary.calls_unaccounted;
                assert!(
                    !is_paid || lost <= told,
                    "{lost} calls of {session} were paid for nothing, and {told} are told of"
                );
            }
        }
    }

    /// Every problem came to what its script says, or was given up after as many attempts as its run allows.
    fn check_problems(&self, summary: &RunSummary) {
        let spec = &summary.spec;
        assert_eq!(summary.problems.len(), spec.problems.len());
        let is_cancelled = self.disk.is_cancelled(spec.run);
        let mut errors = 0;
        for (problem, found) in spec.problems.iter().zip(&summary.problems) {
            let session = session(spec.run, problem.position);
            let script = self.script(&session);
            script.assert_begins(problem.position, &found.events);
            let stored = self.disk.events(&session).iter().map(|record| &record.event);
            assert!(stored.eq(&found.events), "{session} differs from what is stored");
            errors += usize::from(matches!(found.outcome, ProblemOutcome::Error(_)));
            if found.outcome == ProblemOutcome::Open {
                assert!(is_cancelled, "{session} is open, and everything is over");
                continue;
            }
            let is_scripted = is_scripted(script, problem.tests.is_some(), &found.outcome);
            assert!(
                is_scripted || self.was_given_up(spec, &session, &found.outcome),
                "{session} came to {:?}",
                found.outcome
            );
        }
        let is_right = match (&summary.status, errors) {
            (RunStatus::Cancelled { .. }, _) => is_cancelled,
            (RunStatus::Complete, 0) => !is_cancelled,
            (RunStatus::Incomplete { .. }, 1..) => !is_cancelled,
            (RunStatus::Running | RunStatus::Complete | RunStatus::Incomplete { .. }, _) => false,
        };
        assert!(is_right, "a run with {errors} errors is {:?}", summary.status);
    }

    fn was_given_up(&self, spec: &RunSpec, session: &JobId, outcome: &ProblemOutcome) -> bool {
        let ProblemOutcome::Error(failure) = outcome else {
            return false;
        };
        let mut jobs = self.disk.jobs();
        let is_used_up = jobs.any(|record| {
            (record.job.run, record.job.problem) == (session.run, session.problem)
                && (record.failed_attempts >= spec.attempts_max || record.attempts >= GRANTS_MAX)
        });
        is_used_up && failure.message.starts_with("given up after")
    }

    fn check_times(&self, summary: &RunSummary) {
        assert!(summary.times.generation_ms <= summary.times.total_ms);
        let busy_ms = |(job, result): (JobId, &JobResult)| match result {
            JobResult::Evaluated {
                report,
                passed,
                total,
                busy_ms,
                internal_error: None,
                audit,
            } => {
                let (report, passed, total) = (report.clone(), *passed, *total);
                let is_final = (job.run, job.kind) == (summary.spec.run, JobKind::Evaluate);
                let counts = self.disk.outcome(&job)
                    == Some(&JobOutcome::Evaluated {
                        audit: *audit,
                        report,
                        passed,
                        total,
                    });
                if is_final && counts { *busy_ms } else { 0 }
            }
            JobResult::Evaluated { .. } | JobResult::Failed { .. } => 0,
        };
        let expected: u64 = self.ledger.results().map(busy_ms).sum();
        assert_eq!(
            summary.times.evaluation_busy_ms, expected,
            "the time of evaluations is counted wrong"
        );
    }

    /// Where a run has them judged, each program of a problem's rounds was judged once, the final one as such, and
    /// everything that failed there is told of there only.
    fn check_rounds(&self, summary: &RunSummary) {
        let spec = &summary.spec;
        for (problem, found) in spec.problems.iter().zip(&summary.problems) {
            let session = session(spec.run, problem.position);
            let ended: Vec<u32> = found.events.iter().filter_map(round_ended).collect();
            let generated = found.generation.as_ref();
            let last = generated.and_then(|generated| generated.program.as_ref());
            let is_asked = spec.evaluate_rounds && problem.tests.is_some();
            let mut judged_in: BTreeMap<Digest, u32> = BTreeMap::new();
            for round in ended.iter().filter(|_| is_asked && last.is_some()) {
                let program = round_program(problem.position, *round).digest();
                if Some(program) != last.map(Payload::digest) {
                    judged_in.entry(program).or_insert(*round);
                }
            }
            let job = |(program, round): (&Digest, &u32)| JobId {
                kind: JobKind::EvaluateRound {
                    round: *round,
                    program: *program,
                },
                ..session
            };
            let expected: BTreeSet<JobId> = judged_in.iter().map(job).collect();
            let stored = self.disk.jobs().map(|record| record.job);
            let is_it = |job: &JobId| {
                (job.run, job.problem) == (session.run, session.problem)
                    && matches!(job.kind, JobKind::EvaluateRound { .. })
            };
            assert_eq!(
                stored.filter(is_it).collect::<BTreeSet<_>>(),
                expected,
                "the rounds of {session} are judged wrongly"
            );
            let told: Vec<u32> = found.rounds.iter().map(|round| round.round).collect();
            assert_eq!(told, if is_asked { ended } else { Vec::new() });
            for round in &found.rounds {
                let program = round_program(problem.position, round.round).digest();
                let job = match judged_in.get_key_value(&program) {
                    Some(judged) => job(judged),
                    None => JobId {
                        kind: JobKind::Evaluate,
                        ..session
                    },
                };
                match (last.and_then(|_| self.disk.outcome(&job)), &round.outcome) {
                    (None, RoundOutcome::Unjudged) => {
                        assert!(
                            last.is_none() || self.disk.is_cancelled(spec.run),
                            "{job} was never judged"
                        );
                    }
                    (stored, told) => self.check_round(&job, stored, told),
                }
            }
        }
    }

    /// What is told of a round is what its program was judged to, which is what its script says, unless it was given up.
    fn check_round(&self, job: &JobId, stored: Option<&JobOutcome>, told: &RoundOutcome) {
        let script = self.script(job);
        let is_right = match (told, stored) {
            (
                RoundOutcome::Judged { passed, total },
                Some(JobOutcome::Evaluated {
                    passed: p, total: t, ..
                }),
            ) => {
                let is_scripted = match job.kind {
                    JobKind::EvaluateRound { round, .. } => {
                        script.rounds_fail.is_none() && *passed == round_verdict(job.problem, round)
                    }
                    _ => true,
                };
                (passed, total) == (p, t) && is_scripted
            }
            (RoundOutcome::Error(told), Some(JobOutcome::Error(stored))) => {
                let is_scripted = match job.kind {
                    JobKind::EvaluateRound { .. } => script.rounds_fail.as_ref() == Some(told),
                    _ => script.verdict.as_ref().is_err_and(|unjudged| unjudged == told),
                };
                told == stored && (is_scripted || told.message.starts_with("given up after"))
            }
            (RoundOutcome::Unjudged | RoundOutcome::Judged { .. } | RoundOutcome::Error(_), _) => false,
        };
        assert!(is_right, "{job} came to {stored:?}, and its round to {told:?}");
    }

    /// Every file of a run is written as the run ended.
    fn check_files(&self, summary: &RunSummary) {
        let run = summary.spec.run;
        let mut expected = BTreeSet::from([PendingFile::Statements { run }, PendingFile::Reports { run }]);
        for (problem, found) in summary.spec.problems.iter().zip(&summary.problems) {
            let problem = problem.position;
            for event in &found.events {
                if let SessionEvent::RoundEnd { round, .. } = *event {
                    expected.insert(PendingFile::Round { run, problem, round });
                }
            }
            if self.disk.outcome(&session(run, problem)).is_some() {
                expected.insert(PendingFile::Session { run, problem });
            }
        }
        let mut written: BTreeSet<_> = self.files.keys().copied().collect();
        written.retain(|file| file.run() == run);
        if self.disk.is_cancelled(run) && self.retries.contains_key(&run) {
            // A session that was tried again, and then cancelled, leaves the files of its failure behind.
            let is_of_session = |file: &PendingFile| matches!(file, PendingFile::Session { .. });
            written.retain(|file| expected.contains(file) || !is_of_session(file));
        }
        assert_eq!(
            written, expected,
            "the files of a run are not those of its records"
        );
        for file in expected {
            self.check_file(summary, &self.files[&file]);
        }
    }

    fn check_file(&self, summary: &RunSummary, file: &Files) {
        let of = |position: u32| {
            let mut problems = summary.spec.problems.iter().zip(&summary.problems);
            let found = problems.find(|(problem, _)| problem.position == position);
            found.expect("a file belongs to a problem").1
        };
        match file {
            Files::Statements { spec } => assert_eq!(*spec, summary.spec),
            Files::Round {
                problem,
                round,
                code,
                report,
                tests_raw,
                ..
            } => {
                let is_that = |event: &SessionEvent| {
                    matches!(event, SessionEvent::RoundEnd { round: r, code: c, report: p, tests_raw: t, .. }
                        if (r, c, p, t) == (round, code, report, tests_raw))
                };
                assert!(
                    of(*problem).events.iter().any(is_that),
                    "{file:?} is not what was said"
                );
            }
            Files::Session {
                problem,
                events,
                outcome,
                ..
            } => {
                let stored = self.disk.outcome(&session(summary.spec.run, *problem));
                let is_that = match (outcome, stored) {
                    (Ok(written), Some(JobOutcome::Generated(stored))) => written == stored,
                    (Err(written), Some(JobOutcome::Error(stored))) => written == stored,
                    (_, Some(_) | None) => false,
                };
                assert!(
                    is_that && *events == of(*problem).events,
                    "{file:?} is not how the session ended: {stored:?}"
                );
            }
            Files::Reports { summary: written } => {
                assert_eq!(written, summary, "the reports are not the last");
            }
        }
    }

    /// The figures that people are shown.
    fn check_view(&self, summary: &RunSummary) {
        let run = summary.spec.run;
        let view = self
            .coordinator
            .run_view(self.now(), run)
            .expect("it was submitted");
        let mut usage = Usage::default();
        let mut calls_n = 0;
        for event in summary.problems.iter().flat_map(|problem| &problem.events) {
            if let SessionEvent::Said {
                usage: Some(said), ..
            } = event
            {
                calls_n += 1;
                usage.input += said.input;
                usage.cached_input += said.cached_input;
                usage.output += said.output;
                usage.reasoning += said.reasoning;
            }
        }
        assert_eq!(
            (view.usage, view.calls_n),
            (usage, calls_n),
            "tokens are counted wrong"
        );
        assert_eq!((view.jobs_ready_n, view.jobs_leased_n), (0, 0));
        assert!(view.reports_written && view.stuck.is_empty());
        if self.plan.is_gentle() {
            assert_eq!(view.calls_unaccounted_n, 0, "no call was lost");
        }
    }
}

/// The round that ended, if one did.
fn round_ended(event: &SessionEvent) -> Option<u32> {
    match event {
        SessionEvent::RoundEnd { round, .. } => Some(*round),
        SessionEvent::Said { .. } | SessionEvent::TestRequest { .. } | SessionEvent::Finished(_) => None,
    }
}

fn session(run: RunId, problem: u32) -> JobId {
    let kind = JobKind::Generate;
    JobId { run, problem, kind }
}

/// Whether a problem came to what its script says.
fn is_scripted(script: &Script, is_tested: bool, outcome: &ProblemOutcome) -> bool {
    let (has_tests, last) = (
        script.beats.iter().any(|beat| matches!(beat, Beat::Tests { .. })),
        script.beats.last().expect("a session has an end"),
    );
    if has_tests && let Some(failure) = &script.tests_fail {
        return *outcome == ProblemOutcome::Error(failure.clone());
    }
    let generated = match last {
        Beat::Finish(generated) => generated,
        Beat::Fail(failure) => return *outcome == ProblemOutcome::Error(failure.clone()),
        Beat::Call { .. } | Beat::Tests { .. } | Beat::RoundEnd { .. } => return false,
    };
    if generated.program.is_none() {
        return *outcome == ProblemOutcome::NoProgram(generated.stop_reason);
    }
    match (outcome, &script.verdict) {
        (ProblemOutcome::Judged { total: 0, .. }, _) => !is_tested,
        (ProblemOutcome::Judged { passed, .. }, Ok(verdict)) => is_tested && passed == verdict,
        (ProblemOutcome::Error(failure), Err(unjudged)) => is_tested && failure == unjudged,
        (
            ProblemOutcome::Judged { .. }
            | ProblemOutcome::Error(_)
            | ProblemOutcome::NoProgram(_)
            | ProblemOutcome::Open,
            _,
        ) => false,
    }
}
