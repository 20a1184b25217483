//! Real programs with published verdicts, where `ROUNDHOUSE_SHARED` names them: every mode gives each of them.

use std::path::Path;
use std::sync::Arc;

use roundhouse_proto::{EvaluateWork, Limits, StartMode, TestSet, Verdict};
use serde_json::Value;

use crate::stand::{MODES, evaluation, first_failure, judge_all, pool, tests, work};

/// Programs in progress at a time: the queue is never empty.
const AT_A_TIME: usize = 8;
/// Programs that were busy for longer in one mode are judged in the others only where `ROUNDHOUSE_THOROUGH` is set:
/// what takes so long is theirs, not the start's.
const BUSY_MS_MAX: u64 = 2_000;
/// CPU time of programs that are to be rejected, unless `ROUNDHOUSE_THOROUGH` is set: most of the time of these tests
/// went into those that never end.
const REJECTED_CPU_MS: u64 = 2_000;

fn is_thorough() -> bool {
    std::env::var_os("ROUNDHOUSE_THOROUGH").is_some()
}

fn rows(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// A published program: its problem's tests, its text, whether it is accepted and where it first fails.
struct Published {
    tests: Arc<TestSet>,
    code: String,
    accepted: bool,
    first_failure: Option<u64>,
}

/// Every recorded program of the test split with the hidden tests.
fn code_contests(shared: &Path) -> Vec<Published> {
    let data = shared.join("data/code_contests");
    let problems: Vec<(String, Arc<TestSet>)> = rows(&data.join("test.jsonl"))
        .iter()
        .map(|row| {
            let hidden = &row["generated_tests"];
            let list = |field: &str| hidden[field].as_array().unwrap().iter().map(text);
            let cases: Vec<(&str, &str)> = list("input").zip(list("output")).collect();
            (text(&row["name"]).to_owned(), tests(&cases))
        })
        .collect();
    published(&problems, &rows(&data.join("test_verdicts.jsonl")))
}

fn apps(shared: &Path) -> Vec<Published> {
    let data = shared.join("data/apps");
    let problems: Vec<(String, Arc<TestSet>)> = rows(&data.join("problems.jsonl"))
        .iter()
        .map(|row| {
            let cases: Vec<(&str, &str)> = row["hidden_tests"]
                .as_array()
                .unwrap()
                .iter()
                .map(|case| (text(&case["input"]), text(&case["output"][0])))
                .collect();
            (text(&row["problem_id"]).to_owned(), tests(&cases))
        })
        .collect();
    published(&problems, &rows(&data.join("verdicts.jsonl")))
}

fn published(problems: &[(String, Arc<TestSet>)], verdicts: &[Value]) -> Vec<Published> {
    let of = |row: &Value| {
        let id = text(&row["problem_id"]);
        let (_, tests) = problems.iter().find(|(name, _)| name == id).unwrap();
        Published {
            tests: Arc::clone(tests),
            code: text(&row["code"]).to_owned(),
            accepted: row["accepted"].as_bool().unwrap(),
            first_failure: row["first_failing_hidden_test"].as_u64(),
        }
    };
    verdicts.iter().map(of).collect()
}

/// Judges all in every mode.
async fn assert_reproduced_in_every_mode(test: &str, programs: &[Published]) {
    let [first, others @ ..] = MODES;
    let all: Vec<&Published> = programs.iter().collect();
    let busy_ms = assert_reproduced(&all, first).await;
    let quick: Vec<&Published> = all
        .iter()
        .zip(&busy_ms)
        .filter(|(_, busy)| **busy <= BUSY_MS_MAX)
        .map(|(program, _)| *program)
        .collect();
    let chosen = if is_thorough() { all } else { quick };
    if chosen.len() < programs.len() {
        left_out(test, programs.len() - chosen.len());
    }
    for start in others {
        assert_reproduced(&chosen, start).await;
    }
}

#[expect(clippy::print_stderr, reason = "a test that leaves something out says so")]
fn left_out(test: &str, n: usize) {
    eprintln!(
        "LEFT OUT: {test}: {n} programs that take more than {BUSY_MS_MAX} ms in any mode but `fast`: \
         ROUNDHOUSE_THOROUGH is not set"
    );
}

/// Judges all in a mode; says each whose verdict is another one than the published one. How long each kept a cage busy,
/// in milliseconds.
async fn assert_reproduced(programs: &[&Published], start: StartMode) -> Vec<u64> {
    let pool = pool(2);
    let evaluations = programs.iter().map(|program| {
        let mut work = EvaluateWork {
            stop_on_first_failure: true,
            ..work(&program.tests, start)
        };
        if !program.accepted && !is_thorough() {
            work.limits.cpu_ms = REJECTED_CPU_MS;
            work.limits.wall_ms = Limits::wall_for_cpu_ms(REJECTED_CPU_MS);
        }
        evaluation(&program.code, &program.tests, work)
    });
    let reports = judge_all(&pool, evaluations, AT_A_TIME).await;
    let mut wrong = Vec::new();
    for (place, (program, report)) in programs.iter().zip(&reports).enumerate() {
        // A program that is nothing fails, whatever is expected.
        let failure = first_failure(report);
        let accepted = failure.is_none() && !program.code.trim().is_empty();
        let at = failure.map(|(case, _)| case as u64);
        let is_shortened =
            !is_thorough() && failure.is_some_and(|(_, verdict)| verdict == Verdict::TimeLimit);
        let same_place = program.code.trim().is_empty()
            || is_shortened
            || program.accepted
            || program.first_failure.is_none()
            || program.first_failure == at;
        if accepted != program.accepted || !same_place {
            wrong.push(format!(
                "row {place} is {failure:?}, published: accepted {}, first failure {:?}",
                program.accepted, program.first_failure
            ));
        }
    }
    assert!(wrong.is_empty(), "`{start}`: {}", wrong.join("\n"));
    reports.iter().map(|report| report.busy_ms).collect()
}

#[tokio::test]
async fn published_verdicts_of_code_contests_come_out_in_every_mode() {
    let test = "published_verdicts_of_code_contests_come_out_in_every_mode";
    let Some(shared) = roundhouse_tests::shared(test) else {
        return;
    };
    let programs = code_contests(&shared);
    assert_eq!(programs.len(), 121);
    assert_reproduced_in_every_mode(test, &programs).await;
}

#[tokio::test]
async fn published_verdicts_of_apps_come_out_in_every_mode() {
    let test = "published_verdicts_of_apps_come_out_in_every_mode";
    let Some(shared) = roundhouse_tests::shared(test) else {
        return;
    };
    let programs = apps(&shared);
    assert_eq!(programs.len(), 269);
    assert_reproduced_in_every_mode(test, &programs).await;
}

#[tokio::test]
async fn human_programs_that_the_reference_accepts_are_accepted_in_every_mode() {
    let Some(shared) =
        roundhouse_tests::shared("human_programs_that_the_reference_accepts_are_accepted_in_every_mode")
    else {
        return;
    };
    let data = shared.join("data/code_contests");
    let verdicts = rows(&data.join("train_human_verdicts.jsonl"));
    let is_accepted = |name: &str| {
        let row = verdicts
            .iter()
            .find(|row| text(&row["problem_id"]) == name)
            .unwrap();
        row["reference_verdicts"]["deepmind"] == true
    };
    let programs: Vec<(String, String, Arc<TestSet>)> = rows(&data.join("train_human.jsonl"))
        .iter()
        .filter(|row| is_accepted(text(&row["name"])))
        .map(|row| {
            let list = |field: &str| row["private_tests"][field].as_array().unwrap().iter().map(text);
            let cases: Vec<(&str, &str)> = list("input").zip(list("output")).collect();
            let program = text(&row["solutions"]["solution"][0]).to_owned();
            (text(&row["name"]).to_owned(), program, tests(&cases))
        })
        .collect();
    assert_eq!(programs.len(), 127);
    let pool = pool(2);
    for start in MODES {
        let evaluations = programs
            .iter()
            .map(|(_, program, tests)| evaluation(program, tests, work(tests, start)));
        let reports = judge_all(&pool, evaluations, AT_A_TIME).await;
        let rejected: Vec<_> = programs
            .iter()
            .zip(&reports)
            .filter_map(|((name, ..), report)| Some((name, first_failure(report)?)))
            .collect();
        assert!(rejected.is_empty(), "`{start}`: {rejected:?}");
    }
}
