//! What a run has come to: the files of its directory, its times, its summary.
//!
//! A function of the run's state, so that whatever a crash interrupted is made again from the records.

use std::sync::Arc;

use roundhouse_proto::{Audit, SessionEvent};

use super::Run;
use super::problem::ProblemState;
use crate::clock::Now;
use crate::job::Job;
use crate::outbox::Files;
use crate::record::{JobOutcome, PendingFile};
use crate::run::ProblemSpec;
use crate::status::{ProblemView, RunState, RunView, Stuck};
use crate::summary::{ProblemOutcome, ProblemSummary, RunStatus, RunSummary, RunTimes};

impl Run {
    /// Files that a record names as pending; none if the record names what the run does not have.
    pub(crate) fn files(&self, pending: PendingFile) -> Option<Files> {
        let spec = || Arc::clone(&self.spec);
        match pending {
            PendingFile::Statements { .. } => Some(Files::Statements { spec: spec() }),
            PendingFile::Round { problem, round, .. } => {
                self.problem(problem)?
                    .1
                    .events
                    .iter()
                    .find_map(|event| match event {
                        SessionEvent::RoundEnd {
                            round: ended,
                            code,
                            report,
                            tests_raw,
                            ..
                        } if *ended == round => Some(Files::Round {
                            spec: spec(),
                            problem,
                            round,
                            code: code.clone(),
                            report: report.clone(),
                            tests_raw: tests_raw.clone(),
                        }),
                        _ => None,
                    })
            }
            PendingFile::Session { problem, .. } => {
                let state = self.problem(problem)?.1;
                let outcome = match state.generate.outcome()? {
                    JobOutcome::Generated(outcome) => Ok(outcome.clone()),
                    JobOutcome::Error(failure) => Err(failure.clone()),
                    JobOutcome::Evaluated { .. } => return None,
                };
                Some(Files::Session {
                    spec: spec(),
                    problem,
                    events: state.events.clone(),
                    outcome,
                })
            }
            PendingFile::Reports { .. } => Some(Files::Reports {
                summary: self.summary(),
            }),
        }
    }

    fn times(&self) -> RunTimes {
        let start = self.record.first_grant_ms.unwrap_or(0);
        let last = |jobs: &mut dyn Iterator<Item = &Job>| {
            jobs.filter(|job| job.is_settled())
                .map(|job| job.at_ms.saturating_sub(start))
                .max()
                .unwrap_or(0)
        };
        let generation_ms = last(&mut self.problems.iter().map(|problem| &problem.generate));
        let evaluations = || {
            self.problems
                .iter()
                .filter_map(|problem| problem.evaluate.as_ref())
        };
        let verdict_ms = last(&mut evaluations());
        RunTimes {
            total_ms: generation_ms.max(verdict_ms),
            generation_ms,
            generation_busy_ms: self.problems.iter().map(|problem| problem.generate.busy_ms).sum(),
            evaluation_busy_ms: evaluations().map(|job| job.busy_ms).sum(),
        }
    }

    pub(crate) fn generation_ms(&self) -> u64 {
        self.times().generation_ms
    }

    /// How the run stands, in figures; `jobs_ready_n`, `jobs_leased_n` and `stuck` are known elsewhere.
    pub(crate) fn view(
        &self,
        now: Now,
        (jobs_ready_n, jobs_leased_n): (u32, u32),
        stuck: Vec<Stuck>,
    ) -> RunView {
        let mut view = RunView {
            spec: Arc::clone(&self.spec),
            state: RunState::Active,
            stuck,
            passed_n: 0,
            failed_n: 0,
            errors_n: 0,
            generated_n: 0,
            jobs_ready_n,
            jobs_leased_n,
            usage: self.calls.usage,
            calls_n: self.calls.answers_n,
            calls_unaccounted_n: self.calls_unaccounted_n(),
            active_ms: self.clock_ms(now),
            generation_ms: self.generation_is_over().then(|| self.generation_ms()),
            endpoint: self.record.endpoint.clone(),
            generation_slots: self.record.generation_slots,
            evaluation_slots: self.record.evaluation_slots,
            cores: self.record.cores,
            reports_written: self.reports_written,
        };
        for (spec, problem) in self.spec.problems.iter().zip(&self.problems) {
            match problem.outcome(spec) {
                ProblemOutcome::Open => {}
                ProblemOutcome::Error(_) => view.errors_n += 1,
                outcome if outcome.is_pass() => view.passed_n += 1,
                ProblemOutcome::Judged { .. } | ProblemOutcome::NoProgram(_) => view.failed_n += 1,
            }
            view.generated_n += u32::from(problem.generate.is_settled());
        }
        view.state = self.state(view.errors_n);
        view
    }

    fn state(&self, errors_n: u32) -> RunState {
        if let Some(reason) = &self.record.cancelled {
            let reason = reason.clone();
            RunState::Cancelled { reason }
        } else if self.record.finished.is_some() {
            match errors_reason(errors_n) {
                None => RunState::Complete,
                Some(reason) => RunState::Incomplete { reason },
            }
        } else if let Some(reason) = &self.paused {
            let reason = reason.clone();
            RunState::Paused { reason }
        } else {
            RunState::Active
        }
    }

    /// Calls that may have been paid and whose tokens are not known; none for a run that pays for no call.
    fn calls_unaccounted_n(&self) -> u32 {
        if !self.pays_for_calls() {
            return 0;
        }
        let sessions = self.problems.iter().map(|problem| &problem.generate);
        let lost = sessions.map(|session| session.calls_unaccounted);
        lost.fold(
            self.calls.uncounted_n.saturating_add(self.calls.broken_n),
            u32::saturating_add,
        )
    }

    /// How its problems stand, in its order.
    pub(crate) fn problem_views(&self) -> Vec<ProblemView> {
        let view = |(spec, problem): (&ProblemSpec, &ProblemState)| ProblemView {
            is_started: problem.generate.attempts > 0,
            generated: match problem.generate.outcome() {
                Some(JobOutcome::Generated(outcome)) => Some(Ok(outcome.program.is_some())),
                Some(JobOutcome::Error(failure)) => Some(Err(failure.clone())),
                Some(JobOutcome::Evaluated { .. }) | None => None,
            },
            is_settled: problem.is_settled(spec),
        };
        self.spec.problems.iter().zip(&self.problems).map(view).collect()
    }

    pub(crate) fn summary(&self) -> RunSummary {
        let problems: Vec<_> = self
            .spec
            .problems
            .iter()
            .zip(&self.problems)
            .map(|(spec, problem)| ProblemSummary {
                outcome: problem.outcome(spec),
                events: problem.events.clone(),
                generation: match problem.generate.outcome() {
                    Some(JobOutcome::Generated(outcome)) => Some(outcome.clone()),
                    Some(JobOutcome::Evaluated { .. } | JobOutcome::Error(_)) | None => None,
                },
                attempts: problem.generate.attempts,
                calls_unaccounted: problem.generate.calls_unaccounted,
                rounds: self.round_summaries(spec, problem),
            })
            .collect();
        RunSummary {
            spec: Arc::clone(&self.spec),
            endpoint: self.record.endpoint.clone(),
            status: self.status(&problems),
            times: self.times(),
            generation_slots: self.record.generation_slots,
            evaluation_slots: self.record.evaluation_slots,
            cores: self.record.cores,
            finished: self.record.finished,
            audit: self.audit(),
            problems,
        }
    }

    /// What the audits of its evaluations came to together. Tests of a session that was given up are left out: they may
    /// end after the reports on the run are written.
    fn audit(&self) -> Audit {
        let with_session = |problem: &&ProblemState| match problem.generate.outcome() {
            Some(JobOutcome::Generated(_)) => true,
            Some(JobOutcome::Evaluated { .. } | JobOutcome::Error(_)) | None => false,
        };
        let jobs = self
            .problems
            .iter()
            .filter(with_session)
            .flat_map(ProblemState::jobs);
        let audits = jobs.filter_map(|job| match job.outcome() {
            Some(JobOutcome::Evaluated { audit, .. }) => Some(audit),
            Some(JobOutcome::Generated(_) | JobOutcome::Error(_)) | None => None,
        });
        audits.fold(Audit::default(), |sum, audit| Audit {
            audited: sum.audited.saturating_add(audit.audited),
            mismatched: sum.mismatched.saturating_add(audit.mismatched),
        })
    }

    fn status(&self, problems: &[ProblemSummary]) -> RunStatus {
        if let Some(reason) = &self.record.cancelled {
            let reason = reason.clone();
            return RunStatus::Cancelled { reason };
        }
        let count = |is: fn(&ProblemOutcome) -> bool| problems.iter().filter(|p| is(&p.outcome)).count();
        if count(|outcome| *outcome == ProblemOutcome::Open) == 0 && self.rounds_open == 0 {
            let errors = count(|outcome| matches!(outcome, ProblemOutcome::Error(_)));
            return match errors_reason(u32::try_from(errors).unwrap_or(u32::MAX)) {
                None => RunStatus::Complete,
                Some(reason) => RunStatus::Incomplete { reason },
            };
        }
        match &self.paused {
            Some(reason) => RunStatus::Incomplete {
                reason: format!("paused: {reason}"),
            },
            None => RunStatus::Running,
        }
    }
}

/// Why a run is incomplete whose problems are all settled; none if it is not.
fn errors_reason(errors_n: u32) -> Option<String> {
    match errors_n {
        0 => None,
        1 => Some("1 error".to_owned()),
        n => Some(format!("{n} errors")),
    }
}
