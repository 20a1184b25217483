//! All recorded programs with their real tests, against a pool of fresh processes at equal verdicts.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use roundhouse_proto::{EvaluateWork, StartMode, Verdict};
use serde_json::Value;

use crate::bare::Bare;
use crate::judged::{evaluation, interpreter, judge_all, pool, set};

/// Time of one test.
const TIME_MAX: Duration = Duration::from_secs(10);
/// Cages, and processes at a time.
const AT_A_TIME: usize = 2;

struct Recorded {
    code: String,
    cases: Vec<(String, String)>,
}

fn rows(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn recorded(shared: &Path) -> Vec<Recorded> {
    let contests = shared.join("data/code_contests");
    let apps = shared.join("data/apps");
    let mut problems: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for row in rows(&contests.join("test.jsonl")) {
        let list = |field: &str| row["generated_tests"][field].as_array().unwrap().iter().map(text);
        problems.push((text(&row["name"]), list("input").zip(list("output")).collect()));
    }
    for row in rows(&apps.join("problems.jsonl")) {
        let case = |case: &Value| (text(&case["input"]), text(&case["output"][0]));
        let cases = row["hidden_tests"].as_array().unwrap().iter().map(case);
        problems.push((text(&row["problem_id"]), cases.collect()));
    }
    let verdicts = [contests.join("test_verdicts.jsonl"), apps.join("verdicts.jsonl")];
    let rows = verdicts.iter().flat_map(|path| rows(path));
    rows.filter(|row| !text(&row["code"]).trim().is_empty())
        .map(|row| {
            let id = text(&row["problem_id"]);
            let (_, cases) = problems.iter().find(|(name, _)| *name == id).unwrap();
            Recorded {
                code: text(&row["code"]),
                cases: cases.clone(),
            }
        })
        .collect()
}

/// The rule of the published verdicts, in few words: tokens without case, numbers within 1e-5, whole numbers exactly.
fn agree(actual: &[u8], expected: &str) -> bool {
    let actual = String::from_utf8_lossy(actual).to_lowercase();
    let expected = expected.to_lowercase();
    let (a, e): (Vec<&str>, Vec<&str>) = (
        actual.split_whitespace().collect(),
        expected.split_whitespace().collect(),
    );
    a.len() == e.len()
        && a.iter().zip(&e).all(|(a, e)| {
            a == e
                || match (
                    a.parse::<i128>(),
                    e.parse::<i128>(),
                    a.parse::<f64>(),
                    e.parse::<f64>(),
                ) {
                    (Ok(a), Ok(e), ..) => a == e,
                    (_, _, Ok(a), Ok(e)) => (a - e).abs() < 1e-5,
                    _ => false,
                }
        })
}

/// Whether a program passes, and how many tests it took to know: a process of its own for each test.
fn judge_barely(interpreter: &Path, program: &Recorded) -> (bool, usize) {
    let bare = Bare::new(interpreter, &program.code);
    for (place, (input, expected)) in program.cases.iter().enumerate() {
        let ended = bare.run(input, TIME_MAX);
        if ended.timed_out || ended.code != Some(0) || !agree(&ended.stdout, expected) {
            return (false, place + 1);
        }
    }
    (true, program.cases.len())
}

pub(crate) async fn all() {
    let Some(shared) = roundhouse_tests::shared("recorded programs") else {
        return;
    };
    let programs = recorded(&shared);
    let sets: Vec<_> = programs
        .iter()
        .map(|program| {
            set(program
                .cases
                .iter()
                .map(|(input, output)| (input.as_str(), output.as_str())))
        })
        .collect();
    let interpreter = interpreter();
    let next = AtomicUsize::new(0);
    let bare = Mutex::new(vec![(false, 0); programs.len()]);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(program) = programs.get(at) else { break };
                    let outcome = judge_barely(interpreter.executable(), program);
                    bare.lock().unwrap()[at] = outcome;
                }
            });
        }
    });
    let bare_s = begun.elapsed().as_secs_f64();
    let pool = pool(AT_A_TIME);
    let begun = Instant::now();
    let evaluations = programs.iter().zip(&sets).map(|(program, tests)| {
        let mut evaluation = evaluation(&program.code, tests, StartMode::Fast);
        evaluation.work = EvaluateWork {
            stop_on_first_failure: true,
            ..evaluation.work
        };
        evaluation
    });
    let reports = judge_all(&pool, evaluations).await;
    let judged_s = begun.elapsed().as_secs_f64();
    let bare = bare.into_inner().unwrap();
    let run = |report: &roundhouse_proto::EvaluationReport| {
        report.cases.iter().filter(|case| !case.not_run).count()
    };
    let differing = reports
        .iter()
        .zip(&bare)
        .enumerate()
        .filter(|(_, (report, (accepted, _)))| {
            report.cases.iter().all(|case| case.verdict == Verdict::Accepted) != *accepted
        });
    let differing: Vec<usize> = differing.map(|(place, _)| place).collect();
    println!("recorded programs ({}), up to the first failure", programs.len());
    println!(
        "  fresh processes, {AT_A_TIME} at a time: {} tests in {bare_s:.1} s",
        { bare.iter().map(|(_, tests)| tests).sum::<usize>() }
    );
    println!(
        "  judged in {AT_A_TIME} cages: {} tests in {judged_s:.1} s, isolation `{}`",
        reports.iter().map(run).sum::<usize>(),
        pool.isolation()
    );
    println!(
        "  {:.2} x as fast (goal >= 4); verdicts that differ: {differing:?}",
        bare_s / judged_s
    );
}
