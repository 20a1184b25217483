//! The pool of cages, with fakes in place of the cages.
#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use std::sync::mpsc::Receiver;
use std::time::Duration;

use roundhouse_proto::Verdict;
use tokio::time::timeout;

use super::*;
use crate::evaluate::fake::{FakeCages, echo_cases, work, wrote};

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(30);

fn pool(cages: &FakeCages, count: usize) -> Pool {
    let interpreter = Arc::new(Interpreter::pretended());
    let source: Arc<dyn CageSource> = Arc::new(cages.clone());
    Pool::start_with(&source, interpreter, NonZeroUsize::new(count).unwrap()).unwrap()
}

fn evaluation(program: &'static str, inputs: &[&str], priority: Priority) -> Evaluation {
    Evaluation {
        work: roundhouse_proto::EvaluateWork {
            tests: roundhouse_proto::Digest::of(inputs.concat().as_bytes()),
            ..work()
        },
        program: Bytes::from_static(program.as_bytes()),
        tests: Arc::new(echo_cases(inputs)),
        checker: None,
        priority,
        cancellation: Cancellation::default(),
    }
}

fn verdicts(outcome: Result<EvaluationReport, Failure>) -> Vec<Verdict> {
    outcome.unwrap().cases.iter().map(|case| case.verdict).collect()
}

/// Cages whose runs of the input `wait` say that they are there and wait for a word.
fn waiting_cages() -> (FakeCages, Receiver<()>, SyncSender<()>) {
    let (there, is_there) = sync_channel(1);
    let (go_on, word) = sync_channel::<()>(1);
    let word = Mutex::new(word);
    let cages = FakeCages::new(move |asked| {
        if asked.input == "wait" {
            there.send(()).unwrap();
            word.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
        wrote(asked.input)
    });
    (cages, is_there, go_on)
}

#[tokio::test]
async fn programs_are_judged_and_the_pool_says_what_judges_them() {
    let cages = FakeCages::new(|asked| wrote(asked.input));
    let pool = pool(&cages, 2);
    let jobs: Vec<_> = (0..20)
        .map(|_| tokio::spawn(pool.evaluate(evaluation("p", &["1", "2"], Priority::NORMAL))))
        .collect();
    for job in jobs {
        assert_eq!(
            verdicts(job.await.unwrap()),
            [Verdict::Accepted, Verdict::Accepted]
        );
    }
    assert_eq!(
        (pool.cages(), pool.isolation(), pool.interpreter().name()),
        (2, Isolation::Partial, "CPython 3.0.0")
    );
}

#[tokio::test]
async fn an_urgent_program_goes_between_two_cases_of_a_running_one_and_before_those_that_wait() {
    let (cages, is_there, go_on) = waiting_cages();
    let pool = pool(&cages, 1);
    let first = tokio::spawn(pool.evaluate(evaluation("first", &["wait", "2"], Priority::NORMAL)));
    tokio::task::spawn_blocking(move || is_there.recv_timeout(PATIENCE).unwrap())
        .await
        .unwrap();
    let second = tokio::spawn(pool.evaluate(evaluation("second", &["3"], Priority::NORMAL)));
    let urgent = tokio::spawn(pool.evaluate(evaluation("urgent", &["4"], Priority::URGENT)));
    while pool.shared.queue().waiting.len() < 2 {
        tokio::task::yield_now().await;
    }
    go_on.send(()).unwrap();
    for job in [first, second, urgent] {
        timeout(PATIENCE, job).await.unwrap().unwrap().unwrap();
    }
    assert_eq!(
        cages.log(),
        [
            "start",
            "load first",
            "run wait",
            "load urgent",
            "run 4",
            "load first",
            "run 2",
            "load second",
            "run 3"
        ]
    );
}

#[tokio::test]
async fn a_cancelled_program_gives_no_report_and_one_nobody_waits_for_is_not_run() {
    let (cages, is_there, go_on) = waiting_cages();
    let pool = pool(&cages, 1);
    let cancelled = evaluation("first", &["wait", "2"], Priority::NORMAL);
    let cancellation = cancelled.cancellation.clone();
    let cancelled = tokio::spawn(pool.evaluate(cancelled));
    tokio::task::spawn_blocking(move || is_there.recv_timeout(PATIENCE).unwrap())
        .await
        .unwrap();
    let dropped = tokio::spawn(pool.evaluate(evaluation("dropped", &["3"], Priority::NORMAL)));
    while pool.shared.queue().waiting.is_empty() {
        tokio::task::yield_now().await;
    }
    dropped.abort();
    assert!(dropped.await.unwrap_err().is_cancelled());
    cancellation.cancel();
    go_on.send(()).unwrap();
    let failure = timeout(PATIENCE, cancelled).await.unwrap().unwrap().unwrap_err();
    assert_eq!(failure.class, FailureClass::Cancelled);
    let last = pool.evaluate(evaluation("last", &["4"], Priority::NORMAL));
    assert_eq!(
        verdicts(timeout(PATIENCE, last).await.unwrap()),
        [Verdict::Accepted]
    );
    assert_eq!(
        cages.log(),
        ["start", "load first", "run wait", "load last", "run 4"]
    );
}

#[tokio::test]
async fn a_panic_while_judging_is_a_failure_of_ours_and_the_cage_is_replaced() {
    let cages = FakeCages::new(|asked| match asked.program {
        "bad" => panic!("told to"),
        _ => wrote(asked.input),
    });
    let pool = pool(&cages, 1);
    let bad = pool.evaluate(evaluation("bad", &["1"], Priority::NORMAL));
    let failure = timeout(PATIENCE, bad).await.unwrap().unwrap_err();
    assert_eq!(failure.class, FailureClass::InfraRetry);
    let good = pool.evaluate(evaluation("good", &["1"], Priority::NORMAL));
    assert_eq!(
        verdicts(timeout(PATIENCE, good).await.unwrap()),
        [Verdict::Accepted]
    );
    assert_eq!(
        cages.log(),
        ["start", "load bad", "run 1", "start", "load good", "run 1"]
    );
}

#[tokio::test]
async fn a_pool_that_goes_away_answers_those_that_wait() {
    let (cages, is_there, go_on) = waiting_cages();
    let pool = pool(&cages, 1);
    let running = tokio::spawn(pool.evaluate(evaluation("first", &["wait"], Priority::NORMAL)));
    tokio::task::spawn_blocking(move || is_there.recv_timeout(PATIENCE).unwrap())
        .await
        .unwrap();
    let waiting = pool.evaluate(evaluation("second", &["2"], Priority::NORMAL));
    drop(pool);
    assert_eq!(
        timeout(PATIENCE, waiting).await.unwrap().unwrap_err().class,
        FailureClass::Cancelled
    );
    go_on.send(()).unwrap();
    assert!(timeout(PATIENCE, running).await.unwrap().unwrap().is_err());
}
