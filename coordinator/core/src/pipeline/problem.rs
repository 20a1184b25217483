//! One problem of a run: its session, the tests of its rounds, its evaluations, and what they add up to.

use std::collections::BTreeMap;

use roundhouse_proto::{Digest, JobId, JobKind, RunId, SessionEvent};

use crate::job::Job;
use crate::record::JobOutcome;
use crate::run::ProblemSpec;
use crate::summary::ProblemOutcome;

/// One problem: its session, the tests of its rounds, its evaluations.
#[derive(Debug)]
pub(crate) struct ProblemState {
    pub(crate) generate: Job,
    pub(crate) events: Vec<SessionEvent>,
    pub(crate) tests: BTreeMap<(u32, Digest), Job>,
    pub(crate) evaluate: Option<Job>,
    /// The evaluations of rounds whose programs are not the final one.
    pub(crate) rounds: BTreeMap<(u32, Digest), Job>,
    /// The run counts it as settled.
    pub(super) counted: bool,
}

impl ProblemState {
    pub(super) fn new(run: RunId, position: u32) -> Self {
        let id = JobId {
            run,
            problem: position,
            kind: JobKind::Generate,
        };
        let generate = Job::new(id, None);
        Self {
            generate,
            events: Vec::new(),
            tests: BTreeMap::new(),
            evaluate: None,
            rounds: BTreeMap::new(),
            counted: false,
        }
    }

    pub(crate) fn jobs(&self) -> impl Iterator<Item = &Job> {
        std::iter::once(&self.generate)
            .chain(self.tests.values())
            .chain(&self.evaluate)
            .chain(self.rounds.values())
    }

    pub(super) fn is_settled(&self, spec: &ProblemSpec) -> bool {
        self.outcome(spec) != ProblemOutcome::Open
    }

    pub(super) fn outcome(&self, spec: &ProblemSpec) -> ProblemOutcome {
        let outcome = match self.generate.outcome() {
            None => return ProblemOutcome::Open,
            Some(JobOutcome::Error(failure)) => return ProblemOutcome::Error(failure.clone()),
            Some(JobOutcome::Evaluated { .. }) => return ProblemOutcome::Open,
            Some(JobOutcome::Generated(outcome)) => outcome,
        };
        if outcome.program.is_none() {
            return ProblemOutcome::NoProgram(outcome.stop_reason);
        }
        if spec.tests.is_none() {
            return ProblemOutcome::Judged {
                passed: 0,
                total: 0,
                report: None,
            };
        }
        match self.evaluate.as_ref().and_then(Job::outcome) {
            None | Some(JobOutcome::Generated(_)) => ProblemOutcome::Open,
            Some(JobOutcome::Error(failure)) => ProblemOutcome::Error(failure.clone()),
            Some(JobOutcome::Evaluated {
                report,
                passed,
                total,
                ..
            }) => ProblemOutcome::Judged {
                passed: *passed,
                total: *total,
                report: Some(report.clone()),
            },
        }
    }
}
