//! The pool of cages, with fakes in place of the cages.
#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use std::sync::mpsc::Receiver;
use std::time::Duration;

use std::sync::Barrier;
use std::sync::atomic::AtomicUsize;

use roundhouse_proto::{Audit, Execution, Verdict};
use roundhouse_sandbox::Crossed;
use tokio::time::timeout;

use super::*;
use crate::evaluate::fake::{Answer, FakeCages, broken, echo_cases, failed, killed, not_served, work, wrote};

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(30);

fn pool(cages: &FakeCages, count: usize) -> Pool {
    let interpreter = Arc::new(Interpreter::pretended());
    let source: Arc<dyn CageSource> = Arc::new(cages.clone());
    Pool::start_with(
        &source,
        interpreter,
        |_, asked| asked,
        NonZeroUsize::new(count).unwrap(),
    )
    .unwrap()
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
    while pool.shared.board().len() < 3 {
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
    while pool.shared.board().len() < 2 {
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

/// Work that may be given again, started fast, with every case audited.
fn reusable(program: &'static str, inputs: &[&str]) -> Evaluation {
    let mut evaluation = evaluation(program, inputs, Priority::NORMAL);
    evaluation.work.execution = Execution {
        start: StartMode::Fast,
        audit_per_mille: 1000,
        reuse: true,
    };
    evaluation
}

#[tokio::test]
async fn equal_program_is_judged_once_and_its_report_given_again_unless_that_is_not_wanted() {
    let cages = FakeCages::new(|asked| wrote(asked.input));
    let pool = pool(&cages, 1);
    let first = pool.evaluate(reusable("p", &["1", "2"])).await.unwrap();
    assert_eq!((first.reused, first.audit.audited), (false, 2));
    let runs = cages.log().len();
    let again = pool.evaluate(reusable("p", &["1", "2"])).await.unwrap();
    let expected = EvaluationReport {
        reused: true,
        busy_ms: 0,
        audit: Audit::default(),
        ..first
    };
    assert_eq!((again, cages.log().len()), (expected, runs));
    let mut unwanted = reusable("p", &["1", "2"]);
    unwanted.work.execution.reuse = false;
    let judged = pool.evaluate(unwanted).await.unwrap();
    assert_eq!((judged.reused, judged.audit.audited), (false, 2));
    assert_eq!(cages.log().len(), runs + 4);
    let other = pool.evaluate(reusable("q", &["1", "2"])).await.unwrap();
    assert!(!other.reused);
}

#[tokio::test]
async fn report_with_an_error_of_ours_or_a_doubtful_time_out_is_not_given_again() {
    let cages = FakeCages::new(|asked| match asked.input {
        "bad" => broken(),
        "hurried" => killed(Crossed::Wall, 900, 6000),
        input => wrote(input),
    });
    let pool = pool(&cages, 1);
    for (inputs, is_given_again) in [
        (["1", "2", "3"], true),
        (["1", "bad", "3"], false),
        // The first one is repeated alone, which decides; the next one is not.
        (["1", "hurried", "3"], true),
        (["1", "hurried", "hurried"], false),
    ] {
        for is_again in [false, true] {
            let report = pool.evaluate(reusable("p", &inputs)).await.unwrap();
            assert_eq!(report.reused, is_again && is_given_again, "{inputs:?}");
        }
    }
}

#[tokio::test]
async fn a_test_set_without_cases_gives_an_empty_report_at_once() {
    let cages = FakeCages::new(|_| broken());
    let report = pool(&cages, 1)
        .evaluate(evaluation("p", &[], Priority::NORMAL))
        .await
        .unwrap();
    assert_eq!((report.cases, report.isolation), (Vec::new(), Isolation::Partial));
}

#[tokio::test]
async fn cases_of_one_program_run_on_all_idle_cages_at_once() {
    let meeting = Barrier::new(3);
    let cages = FakeCages::new(move |asked| {
        if asked.input.starts_with("together") {
            meeting.wait();
        }
        wrote(asked.input)
    });
    let pool = pool(&cages, 3);
    let inputs = ["first", "together 1", "together 2", "together 3", "last"];
    let judged = timeout(
        PATIENCE,
        pool.evaluate(evaluation("p", &inputs, Priority::NORMAL)),
    )
    .await;
    let report = judged.unwrap().unwrap();
    let cases: Vec<(u32, &str)> = report
        .cases
        .iter()
        .map(|case| (case.case, case.stdout.head.as_str()))
        .collect();
    assert_eq!(
        cases,
        [
            (0, inputs[0]),
            (1, inputs[1]),
            (2, inputs[2]),
            (3, inputs[3]),
            (4, inputs[4])
        ]
    );
}

/// Ends every run in a way that hangs on its input and start alone; time-outs that come of crowding are left to the
/// course's own tests.
fn by_input(input: &str, start: StartMode) -> Answer {
    match (input.split(' ').next().unwrap_or_default(), start) {
        ("wrong", _) => wrote("x"),
        ("crash", _) => failed("Traceback (most recent call last):\nValueError\n"),
        ("late", _) => killed(Crossed::Cpu, 1001, 1001),
        ("hidden", StartMode::Fast) => failed("Traceback (most recent call last):\nKeyError\n"),
        ("natural", StartMode::Fast) | ("fresh", StartMode::Fast | StartMode::Natural) => not_served(),
        ("bad", _) => broken(),
        _ => wrote(input),
    }
}

#[tokio::test]
async fn report_is_the_same_with_one_cage_and_with_many() {
    let sets = [
        vec!["a", "b", "c", "d", "e", "f", "g"],
        vec![
            "a", "wrong", "c", "crash", "e", "late", "g", "late 2", "h", "late 3", "i",
        ],
        vec!["natural", "b", "fresh", "d", "hidden", "f"],
        vec!["a", "hidden", "c", "hidden 2", "e"],
        vec!["a", "bad", "c", "bad 2", "bad 3", "bad 4", "e", "f"],
        vec!["bad", "late", "late 2", "c", "late 3", "d"],
    ];
    let mut of_one: Vec<EvaluationReport> = Vec::new();
    for count in [1, 2, 5] {
        let cages = FakeCages::new(|asked| by_input(asked.input, asked.start));
        let pool = pool(&cages, count);
        let mut reports = Vec::new();
        for (inputs, stop) in sets.iter().flat_map(|set| [(set, false), (set, true)]) {
            let mut evaluation = reusable("p", inputs);
            evaluation.work.execution.reuse = false;
            evaluation.work.execution.audit_per_mille = 200;
            evaluation.work.stop_on_first_failure = stop;
            let mut report = timeout(PATIENCE, pool.evaluate(evaluation))
                .await
                .unwrap()
                .unwrap();
            report.busy_ms = 0;
            reports.push(report);
        }
        if count == 1 {
            of_one = reports;
        } else {
            assert_eq!(reports, of_one, "{count} cages");
        }
    }
}

#[tokio::test]
async fn no_more_cages_run_than_the_share_says_and_all_of_them_again_when_it_is_over() {
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, greatest) = (Arc::clone(&inside), Arc::clone(&most));
    let meeting = Barrier::new(3);
    let cages = FakeCages::new(move |asked| {
        greatest.fetch_max(counted.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        if asked.input == "together" {
            meeting.wait();
        }
        std::thread::yield_now();
        counted.fetch_sub(1, Ordering::SeqCst);
        wrote(asked.input)
    });
    let pool = pool(&cages, 3);
    let judge_many = async |input: &'static str, count: usize| {
        let jobs: Vec<_> = (0..count)
            .map(|_| tokio::spawn(pool.evaluate(evaluation("p", &[input], Priority::NORMAL))))
            .collect();
        for job in jobs {
            assert_eq!(
                verdicts(timeout(PATIENCE, job).await.unwrap().unwrap()),
                [Verdict::Accepted]
            );
        }
    };
    for (share, expected) in [(0, 1), (1, 1), (2, 2)] {
        pool.set_cages(share);
        most.store(0, Ordering::SeqCst);
        judge_many("1", 60).await;
        assert!(most.load(Ordering::SeqCst) <= expected, "share {share}");
    }
    pool.set_cages(99);
    judge_many("together", 3).await;
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn pool_keeps_to_the_share_that_is_said_from_the_first_on() {
    let cages = FakeCages::new(|asked| wrote(asked.input));
    let pool = Arc::new(pool(&cages, 4));
    let said = watch::Sender::new(Some(3));
    let keeping = tokio::spawn({
        let (pool, share) = (Arc::clone(&pool), said.subscribe());
        async move { pool.keep_to(share).await }
    });
    let comes_to = async |share: usize| {
        let there = async {
            while pool.shared.board().share() != share {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, there).await.unwrap();
    };
    comes_to(3).await;
    said.send_replace(Some(u32::MAX));
    comes_to(4).await;
    said.send_replace(Some(0));
    comes_to(1).await;
    said.send_replace(None);
    comes_to(4).await;
    drop(said);
    timeout(PATIENCE, keeping).await.unwrap().unwrap();
}

#[tokio::test]
async fn cages_are_pinned_while_there_is_one_for_each_cpu_and_all_may_run() {
    let cpus = usable_cpus();
    if cpus.len() < 2 {
        #[expect(clippy::print_stderr, reason = "a test that is left out says so")]
        {
            eprintln!(
                "LEFT OUT: cages_are_pinned_while_there_is_one_for_each_cpu_and_all_may_run: there is one CPU"
            );
        }
        return;
    }
    let cages = FakeCages::new(|asked| wrote(asked.input));
    let pool = pool(&cages, cpus.len());
    let mut pins = cages.pins();
    pins.sort_unstable();
    assert_eq!(pins, cpus.iter().copied().map(Some).collect::<Vec<_>>());
    pool.set_cages(1);
    pool.evaluate(evaluation("p", &["1"], Priority::NORMAL))
        .await
        .unwrap();
    assert_eq!(cages.pins().last(), Some(&None));
    let fewer = FakeCages::new(|asked| wrote(asked.input));
    let _pool = self::pool(&fewer, cpus.len() - 1);
    assert!(fewer.pins().iter().all(Option::is_none));
}

#[tokio::test]
async fn time_out_on_a_host_with_other_workers_is_repeated_though_it_ran_alone_here() {
    let cages = FakeCages::new(|_| killed(Crossed::Cpu, 1001, 1001));
    let pool = pool(&cages, 2);
    for (share, runs) in [(2, 1), (1, 2)] {
        pool.set_cages(share);
        let before = cages.log().iter().filter(|line| *line == "run 1").count();
        let report = pool.evaluate(evaluation("p", &["1"], Priority::NORMAL)).await;
        assert_eq!(verdicts(report), [Verdict::TimeLimit]);
        let after = cages.log().iter().filter(|line| *line == "run 1").count();
        assert_eq!(after - before, runs, "share {share}");
    }
}

#[tokio::test]
async fn cancelled_program_that_is_spread_over_cages_lets_all_of_them_go() {
    let meeting = Arc::new(Barrier::new(3));
    let met = Arc::clone(&meeting);
    let cages = FakeCages::new(move |asked| {
        if asked.program == "spread" && asked.input != "first" {
            met.wait();
            met.wait();
        }
        wrote(asked.input)
    });
    let pool = pool(&cages, 2);
    let spread = evaluation("spread", &["first", "2", "3", "4", "5"], Priority::NORMAL);
    let cancellation = spread.cancellation.clone();
    let spread = tokio::spawn(pool.evaluate(spread));
    tokio::task::spawn_blocking(move || {
        meeting.wait();
        cancellation.cancel();
        meeting.wait();
    })
    .await
    .unwrap();
    let failure = timeout(PATIENCE, spread).await.unwrap().unwrap().unwrap_err();
    assert_eq!(failure.class, FailureClass::Cancelled);
    let next = pool.evaluate(evaluation("next", &["1", "2"], Priority::NORMAL));
    assert_eq!(
        verdicts(timeout(PATIENCE, next).await.unwrap()),
        [Verdict::Accepted, Verdict::Accepted]
    );
    assert_eq!(pool.shared.board().len(), 0);
}
