//! What every session and every evaluation of the world's run comes to, whoever works on it.

use std::sync::Arc;

use roundhouse_core::run::RunSpec;
use roundhouse_proto::link::JobResult;
use roundhouse_proto::{FailureClass, JobId, JobKind, SessionEvent};

use crate::spec::*;

/// How long a slot is busy with an evaluation that counts, in milliseconds.
pub(super) const BUSY_MS: u64 = 11;

/// A run with every way in which a problem can end.
pub(crate) fn world_spec(parallel: bool, staged: bool) -> Arc<RunSpec> {
    spec(6, |spec| {
        (spec.parallel, spec.staged) = (parallel, staged);
        spec.attempts_max = u32::MAX;
        let problem = &mut spec.problems[2];
        (problem.tests, problem.tiers) = (None, Vec::new());
    })
}

/// What a session leaves behind, and the failure that ends it if it does not finish.
pub(super) type Script = (Vec<SessionEvent>, Option<JobResult>);

pub(super) fn script(problem: u32) -> Script {
    let round = |round| {
        [
            said(problem, round),
            test_request(problem, round),
            round_end(problem, round),
        ]
    };
    let finished = SessionEvent::Finished(with_program(problem));
    match problem {
        1 => ([&round(0)[..], &round(1), &[finished]].concat(), None),
        2 => (vec![said(2, 0), SessionEvent::Finished(without_program())], None),
        3 => (vec![said(3, 0), finished], None),
        4 => (
            round(0)[..2].to_vec(),
            Some(failed(FailureClass::Model, "the model is gone")),
        ),
        5 => ([&round(0)[..], &[finished]].concat(), None),
        _ => (vec![finished], None),
    }
}

pub(super) fn verdict(job: &JobId) -> JobResult {
    match (job.kind, job.problem) {
        (JobKind::RoundTests { round, .. }, problem) => evaluated(round_report(problem, round), 2),
        (_, 6) => failed(FailureClass::Job, "the tests cannot be read"),
        (_, 5) => evaluated(final_report(5), 1),
        (_, problem) => evaluated(final_report(problem), CASES),
    }
}
