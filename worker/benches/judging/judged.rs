//! Pools and evaluations of a bench.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use roundhouse_proto::work::Priority;
use roundhouse_proto::{
    Case, Comparator, Digest, EvaluateWork, EvaluationReport, Execution, Language, Limits, Payload,
    StartMode, TestSet, Tier,
};
use roundhouse_worker::evaluate::{Cancellation, Evaluation, Pool};
use roundhouse_worker::language::Interpreter;

/// The interpreter that `ROUNDHOUSE_PYTHON` names, or `python3`. One whose packages bring `.pth` files starts more slowly
/// than in a cage, which shows none of them: for fair ratios take one without.
pub(crate) fn interpreter() -> Interpreter {
    let wanted = std::env::var_os("ROUNDHOUSE_PYTHON").map(PathBuf::from);
    Interpreter::resolve(Language::Python3, wanted.as_deref()).unwrap()
}

pub(crate) fn pool(cages: usize) -> Pool {
    pool_of(interpreter(), cages)
}

pub(crate) fn pool_of(interpreter: Interpreter, cages: usize) -> Pool {
    let entry = PathBuf::from(env!("CARGO_BIN_EXE_worker"));
    Pool::start(entry, interpreter, NonZeroUsize::new(cages).unwrap()).unwrap()
}

/// The same case many times.
pub(crate) fn same(input: &str, expected: &str, times: usize) -> Arc<TestSet> {
    set((0..times).map(|_| (input, expected)))
}

pub(crate) fn set<'a>(cases: impl Iterator<Item = (&'a str, &'a str)>) -> Arc<TestSet> {
    let case = |(input, expected): (&str, &str)| Case {
        tier: Tier::Private,
        input: Bytes::copy_from_slice(input.as_bytes()),
        expected: Bytes::copy_from_slice(expected.as_bytes()),
    };
    Arc::new(TestSet {
        cases: cases.map(case).collect(),
    })
}

pub(crate) fn evaluation(program: &str, tests: &Arc<TestSet>, start: StartMode) -> Evaluation {
    Evaluation {
        work: EvaluateWork {
            program: Payload::text(""),
            language: Language::Python3,
            tests: Digest::of(&tests.to_bytes()),
            limits: Limits::default(),
            comparator: Comparator::CodeContests,
            ignore_exit_status: false,
            timeouts_max: 3,
            stop_on_first_failure: false,
            output_chars: 2_000,
            entry_point: None,
            execution: Execution {
                start,
                audit_per_mille: 0,
                reuse: false,
            },
        },
        program: Bytes::copy_from_slice(program.as_bytes()),
        tests: Arc::clone(tests),
        checker: None,
        priority: Priority::NORMAL,
        cancellation: Cancellation::default(),
    }
}

/// Judges all, eight at a time; the reports in their order.
pub(crate) async fn judge_all(
    pool: &Pool,
    evaluations: impl IntoIterator<Item = Evaluation>,
) -> Vec<EvaluationReport> {
    let reports = evaluations
        .into_iter()
        .map(|evaluation| pool.evaluate(evaluation));
    let reports: Vec<_> = futures_util::stream::iter(reports).buffered(8).collect().await;
    reports.into_iter().map(|report| report.unwrap()).collect()
}

/// Judges one program all of whose cases must pass.
pub(crate) async fn judge(pool: &Pool, evaluation: Evaluation) -> EvaluationReport {
    let report = judge_all(pool, [evaluation]).await.remove(0);
    assert_eq!(
        report.passed() as usize,
        report.cases.len(),
        "{:?}",
        report.cases[0]
    );
    report
}
