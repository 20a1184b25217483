//! The programs of a session's rounds, judged as final programs are, where a run asks for that.
//!
//! They are judged once their session has ended, since only then it is known which of them is the final one: that is
//! judged anyway. What they come to is for the summary alone; no session sees it, and no problem waits for it.

use std::collections::BTreeSet;

use roundhouse_proto::{Digest, JobId, JobKind, Payload, SessionEvent};

use super::Run;
use super::problem::ProblemState;
use crate::job::Job;
use crate::record::{JobOutcome, Subject};
use crate::run::ProblemSpec;
use crate::summary::{RoundOutcome, RoundSummary};

/// A round that has ended, as its event tells of it.
struct Ended<'a> {
    round: u32,
    /// As it is run.
    program: &'a Payload,
    /// What its tests, or a review, came to.
    passed: Option<bool>,
}

impl ProblemState {
    /// The rounds that have ended, in order.
    fn rounds_ended(&self) -> impl Iterator<Item = Ended<'_>> {
        self.events.iter().filter_map(|event| match event {
            SessionEvent::RoundEnd {
                round,
                code,
                program,
                passed,
                ..
            } => Some(Ended {
                round: *round,
                program: program.as_ref().unwrap_or(code),
                passed: *passed,
            }),
            SessionEvent::Said { .. } | SessionEvent::TestRequest { .. } | SessionEvent::Finished(_) => None,
        })
    }

    /// The program that the session ended with.
    fn final_program(&self) -> Option<Digest> {
        match self.generate.outcome()? {
            JobOutcome::Generated(generated) => generated.program.as_ref().map(Payload::digest),
            JobOutcome::Evaluated { .. } | JobOutcome::Error(_) => None,
        }
    }

    /// What a program of this problem was judged with; none if it is not judged.
    fn judged(&self, program: Digest) -> Option<&JobOutcome> {
        if self.final_program() == Some(program) {
            return self.evaluate.as_ref()?.outcome();
        }
        let mut rounds = self.rounds.iter();
        let (_, job) = rounds.find(|((_, digest), _)| *digest == program)?;
        job.outcome()
    }
}

impl Run {
    /// Adds the evaluations that a settled session asks for beside that of its final program: one for each other
    /// program of its rounds. Gives them to be stored.
    pub(crate) fn add_round_evaluations(&mut self, position: u32) -> Vec<Job> {
        let jobs = self.round_evaluations_of(position).unwrap_or_default();
        self.rounds_open += jobs.len();
        if let Some(problem) = self.problem_mut(position) {
            let keyed = jobs.iter().filter_map(|job| match job.id.kind {
                JobKind::EvaluateRound { round, program } => Some(((round, program), job.clone())),
                JobKind::Generate | JobKind::RoundTests { .. } | JobKind::Evaluate => None,
            });
            problem.rounds.extend(keyed);
        }
        jobs
    }

    fn round_evaluations_of(&self, position: u32) -> Option<Vec<Job>> {
        if !self.spec.evaluate_rounds {
            return None;
        }
        let (spec, problem) = self.problem(position)?;
        let cases = spec.tests?;
        let mut known = BTreeSet::from([problem.final_program()?]);
        let ended = problem.rounds_ended();
        let new = ended.filter(|ended| known.insert(ended.program.digest()));
        let job = |ended: Ended<'_>| {
            let kind = JobKind::EvaluateRound {
                round: ended.round,
                program: ended.program.digest(),
            };
            let id = JobId {
                run: self.spec.run,
                problem: position,
                kind,
            };
            let subject = Subject {
                program: ended.program.clone(),
                cases,
                cases_n: spec.cases_n(),
            };
            Job::new(id, Some(subject))
        };
        Some(new.map(job).collect())
    }

    /// What the rounds of a problem came to; empty unless the run has them judged.
    pub(super) fn round_summaries(&self, spec: &ProblemSpec, problem: &ProblemState) -> Vec<RoundSummary> {
        if !self.spec.evaluate_rounds || spec.tests.is_none() {
            return Vec::new();
        }
        let summary = |ended: Ended<'_>| RoundSummary {
            round: ended.round,
            passed_its_tests: ended.passed,
            outcome: match problem.judged(ended.program.digest()) {
                None | Some(JobOutcome::Generated(_)) => RoundOutcome::Unjudged,
                Some(JobOutcome::Error(failure)) => RoundOutcome::Error(failure.clone()),
                Some(JobOutcome::Evaluated { passed, total, .. }) => RoundOutcome::Judged {
                    passed: *passed,
                    total: *total,
                },
            },
        };
        problem.rounds_ended().map(summary).collect()
    }
}
