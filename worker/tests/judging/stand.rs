//! A pool of real cages and short words for judging with it.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use roundhouse_proto::work::Priority;
use roundhouse_proto::{
    Case, Comparator, Digest, EvaluateWork, EvaluationReport, Execution, Language, Limits, Payload,
    StartMode, TestSet, Tier, Verdict,
};
use roundhouse_worker::evaluate::{Cancellation, Evaluation, Pool};
use roundhouse_worker::language::Interpreter;

/// Characters that are kept of an output.
const OUTPUT_CHARS: u32 = 2_000;

/// A program that is always right about [`SUM`].
pub(crate) const PLAIN: &str = "n = int(input())\nprint(sum(map(int, input().split())))\n";
/// An input and its answer.
pub(crate) const SUM: (&str, &str) = ("5\n1 2 3 4 5\n", "15\n");

/// A pool with so many cages.
pub(crate) fn pool(cages: usize) -> Pool {
    let interpreter = Interpreter::resolve(Language::Python3, None).unwrap();
    let cages = NonZeroUsize::new(cages).unwrap();
    Pool::start(PathBuf::from(env!("CARGO_BIN_EXE_worker")), interpreter, cages).unwrap()
}

/// Inputs and expected outputs as a set.
pub(crate) fn tests<I: AsRef<str>>(cases: &[(I, I)]) -> Arc<TestSet> {
    let case = |(input, expected): &(I, I)| Case {
        tier: Tier::Private,
        input: Bytes::copy_from_slice(input.as_ref().as_bytes()),
        expected: Bytes::copy_from_slice(expected.as_ref().as_bytes()),
    };
    Arc::new(TestSet {
        cases: cases.iter().map(case).collect(),
    })
}

/// How programs are judged unless a test says otherwise. Nothing is given again: every report is made.
pub(crate) fn work(tests: &TestSet, start: StartMode) -> EvaluateWork {
    EvaluateWork {
        program: Payload::text(""),
        language: Language::Python3,
        tests: Digest::of(&tests.to_bytes()),
        limits: Limits::default(),
        comparator: Comparator::CodeContests,
        ignore_exit_status: false,
        timeouts_max: 3,
        stop_on_first_failure: false,
        output_chars: OUTPUT_CHARS,
        entry_point: None,
        execution: Execution {
            start,
            audit_per_mille: 0,
            reuse: false,
        },
    }
}

pub(crate) fn evaluation(program: &str, tests: &Arc<TestSet>, work: EvaluateWork) -> Evaluation {
    Evaluation {
        work,
        program: Bytes::copy_from_slice(program.as_bytes()),
        tests: Arc::clone(tests),
        checker: None,
        priority: Priority::NORMAL,
        cancellation: Cancellation::default(),
    }
}

/// Judges all, some at a time, and gives the reports in their order.
pub(crate) async fn judge_all(
    pool: &Pool,
    evaluations: impl IntoIterator<Item = Evaluation>,
    at_a_time: usize,
) -> Vec<EvaluationReport> {
    let reports = evaluations
        .into_iter()
        .map(|evaluation| pool.evaluate(evaluation));
    let reports: Vec<_> = futures_util::stream::iter(reports)
        .buffered(at_a_time)
        .collect()
        .await;
    reports.into_iter().map(|report| report.unwrap()).collect()
}

/// The verdicts of a report, as short words.
pub(crate) fn verdicts(report: &EvaluationReport) -> Vec<&'static str> {
    report.cases.iter().map(|case| case.verdict.code()).collect()
}

/// The first case that did not pass, with what it came to.
pub(crate) fn first_failure(report: &EvaluationReport) -> Option<(usize, Verdict)> {
    let failed = |(_, verdict): &(usize, Verdict)| *verdict != Verdict::Accepted;
    report
        .cases
        .iter()
        .map(|case| case.verdict)
        .enumerate()
        .find(failed)
}

pub(crate) const MODES: [StartMode; 3] = [StartMode::Fast, StartMode::Natural, StartMode::Fresh];
