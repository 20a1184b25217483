//! What a run has come to: the files of its directory, its times, its summary.
//!
//! A function of the run's state, so that whatever a crash interrupted is made again from the records.

use std::sync::Arc;

use roundhouse_proto::{SessionEvent, Usage};

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
            PendingFile::Reports { .. } => {
                self.record.finished?;
                Some(Files::Reports {
                    summary: self.summary(),
                })
            }
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

    /// How the run stands, in figures.
    pub(crate) fn view(&self, now: Now, stuck: Vec<Stuck>) -> RunView {
        let mut view = RunView {
            spec: Arc::clone(&self.spec),
            state: RunState::Active,
            stuck,
            passed_n: 0,
            failed_n: 0,
            errors_n: 0,
            generated_n: 0,
            jobs_ready_n: 0,
            jobs_leased_n: 0,
            usage: Usage::default(),
            calls_n: 0,
            calls_unaccounted_n: 0,
            active_ms: self.clock_ms(now),
            generation_ms: self.generation_is_over().then(|| self.generation_ms()),
            endpoint: self.record.endpoint.clone(),
            generation_slots: self.record.generation_slots,
            evaluation_slots: self.record.evaluation_slots,
            cores: self.record.cores,
            reports_written: false,
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
        view
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
            })
            .collect();
        let count = |is: fn(&ProblemOutcome) -> bool| problems.iter().filter(|p| is(&p.outcome)).count();
        let open = count(|outcome| *outcome == ProblemOutcome::Open);
        let errors = count(|outcome| matches!(outcome, ProblemOutcome::Error(_)));
        let status = match (open, errors) {
            (0, 0) => RunStatus::Complete,
            (0, 1) => RunStatus::Incomplete {
                reason: "1 error".to_owned(),
            },
            (0, n) => RunStatus::Incomplete {
                reason: format!("{n} errors"),
            },
            _ => RunStatus::Running,
        };
        RunSummary {
            spec: Arc::clone(&self.spec),
            endpoint: self.record.endpoint.clone(),
            status,
            times: self.times(),
            generation_slots: self.record.generation_slots,
            evaluation_slots: self.record.evaluation_slots,
            cores: self.record.cores,
            finished: self.record.finished,
            problems,
        }
    }
}
