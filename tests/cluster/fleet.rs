//! Runs over a fleet: the same result as on one machine, wherever and whenever workers join and leave.

use std::fs;
use std::path::Path;

use roundhouse_tests::came_to::{assert_calls_are_unique, came_to};
use roundhouse_tests::fleet::Fleet;
use roundhouse_tests::model_server::ModelServer;
use roundhouse_tests::model_server::sessions::Sessions;
use roundhouse_tests::processes::terminate;
use roundhouse_tests::{Place, entries, json, wait_until};

use super::{KEY, assert_code, only_run, run_dir, text_of, write_sums};

const GEN: [&str; 4] = ["--role", "gen", "--slots", "8"];
const EVAL: [&str; 4] = ["--role", "eval", "--slots", "2"];

#[test]
fn run_over_a_fleet_comes_to_what_a_run_on_one_machine_comes_to() {
    let alone = Place::new();
    let ran = alone.coordinator(&["run", "--model", "reference"]);
    assert_code(&ran, 0);

    let mut fleet = Fleet::start();
    fleet.join(&GEN, &[]);
    fleet.join(&EVAL, &[]);
    let watched = fleet.ask(&["submit", "--model", "reference", "--wait"]);
    assert_code(&watched, 0);
    assert_eq!(came_to(&run_dir(&fleet)), came_to(&alone.run_dir()));
    assert_eq!(
        fs::read(fleet.place.path().join("baseline_results.json")).unwrap(),
        fs::read(run_dir(&fleet).join("summary.json")).unwrap()
    );
    for line in [
        "✅ 加载完成，共 14 个问题",
        "  - 工作进程数: 8",
        "🔍 使用 2 个进程并行评估...",
        "✅ Pass@1: 92.86% (13/14)",
        "🎉 所有任务完成！",
    ] {
        assert!(
            watched.stdout.lines().any(|printed| printed == line),
            "{line:?} is not in\n{}",
            watched.stdout
        );
    }
    let count = |said: &str, what: &str| said.lines().filter(|line| line.contains(what)).count();
    for what in ["开始处理", "生成成功", "生成失败"] {
        assert_eq!(count(&watched.stdout, what), count(&ran.stdout, what), "{what}");
    }
}

#[test]
fn run_says_unasked_what_it_lacks_and_workers_that_join_late_get_its_jobs() {
    let mut fleet = Fleet::start();
    let mut submit = fleet.ask_on("submit", &["submit", "--model", "reference", "--wait"]);
    wait_until("it is said that no generation worker is joined", || {
        let said = text_of(&fleet, "submit.err");
        said.contains("no generation worker is joined") && said.contains("worker join --role gen")
    });
    let status = fleet.ask(&["status", "last"]);
    assert!(
        status.stdout.contains("no generation worker is joined"),
        "{}",
        status.stdout
    );
    wait_until("the coordinator says so itself", || {
        fleet
            .coordinator_said()
            .contains("no generation worker is joined")
    });

    fleet.join(&GEN, &[]);
    wait_until("it is said that no evaluation worker is joined", || {
        let said = text_of(&fleet, "submit.err");
        said.contains("no evaluation worker is joined") && said.contains("worker join --role eval")
    });
    fleet.join(&EVAL, &[]);
    assert!(
        submit.wait().unwrap().success(),
        "{}",
        text_of(&fleet, "submit.err")
    );
    assert_calls_are_unique(&run_dir(&fleet));
}

#[test]
fn worker_that_is_asked_to_leave_finishes_what_it_holds_and_costs_no_attempt() {
    let mut fleet = Fleet::start();
    let first = fleet.join(&GEN, &[]);
    fleet.join(&EVAL, &[]);
    let mut submit = fleet.ask_on("submit", &["submit", "--model", "reference", "--wait"]);
    wait_until("sessions have begun", || {
        text_of(&fleet, "submit.out").contains("开始处理")
    });
    terminate(fleet.worker_pid(first));
    assert!(
        fleet.worker_ended(first).success(),
        "{}",
        fleet.worker_said(first)
    );
    fleet.join(&GEN, &[]);
    assert!(
        submit.wait().unwrap().success(),
        "{}",
        text_of(&fleet, "submit.err")
    );
    let summary = json(&run_dir(&fleet).join("summary.json"));
    for result in summary["results"].as_array().unwrap() {
        // One that was granted as the worker left is given back, which costs nothing but a grant.
        assert_eq!(result["error"], serde_json::Value::Null);
    }
    assert_eq!(summary["summary"]["token_usage"]["calls_unaccounted"], 0);
}

#[test]
fn runs_at_once_lie_in_directories_of_their_own_and_the_same_submission_is_the_same_run() {
    let mut fleet = Fleet::start();
    let submit = |fleet: &Fleet, name: &str| {
        let ran = fleet.ask(&["submit", "--model", "reference", "--limit", "3", "--name", name]);
        assert_code(&ran, 0);
        ran.stdout
    };
    let (a, b) = (submit(&fleet, "a"), submit(&fleet, "b"));
    assert_ne!(a, b);
    assert_eq!(submit(&fleet, "a"), a, "the same again");
    fleet.join(&GEN, &[]);
    fleet.join(&EVAL, &[]);
    for name in ["a", "b"] {
        let watched = fleet.ask(&[
            "submit",
            "--model",
            "reference",
            "--limit",
            "3",
            "--name",
            name,
            "--wait",
        ]);
        assert_code(&watched, 0);
    }
    let outputs = fleet.place.path().join("baseline_outputs");
    assert_eq!(entries(&outputs), ["a", "b"]);
    for name in ["a", "b"] {
        let found = came_to(&only_run(&outputs.join(name)));
        assert_eq!(found.len(), 3);
    }
    let status = fleet.ask(&["status"]);
    assert_eq!(status.stdout.matches("complete").count(), 2, "{}", status.stdout);
}

/// Every file below a directory, but for those whose names begin with a dot.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for name in entries(dir).into_iter().filter(|name| !name.starts_with('.')) {
        let path = dir.join(&name);
        if path.is_dir() {
            let below = files(&path);
            found.extend(
                below
                    .into_iter()
                    .map(|(file, bytes)| (format!("{name}/{file}"), bytes)),
            );
        } else {
            found.push((name, fs::read(&path).unwrap()));
        }
    }
    found
}

#[test]
fn fetched_run_directory_holds_what_the_coordinators_holds() {
    let mut fleet = Fleet::start();
    fleet.join(&["--role", "gen,eval", "--slots", "2"], &[]);
    assert_code(
        &fleet.ask(&["submit", "--model", "reference", "--limit", "4", "--wait"]),
        0,
    );
    let elsewhere = Place::new();
    let fetched = fleet.ask_in(elsewhere.path(), &["fetch", "last"]);
    assert_code(&fetched, 0);
    assert_eq!(files(&elsewhere.run_dir()), files(&run_dir(&fleet)));
    assert_eq!(
        fs::read(elsewhere.path().join("baseline_results.json")).unwrap(),
        fs::read(run_dir(&fleet).join("summary.json")).unwrap()
    );
    let report = fs::read(elsewhere.run_dir().join("REPORT.txt")).unwrap();
    let rebuilt = elsewhere.coordinator(&["report", elsewhere.run_dir().to_str().unwrap()]);
    assert_code(&rebuilt, 0);
    assert_eq!(fs::read(elsewhere.run_dir().join("REPORT.txt")).unwrap(), report);
}

#[test]
fn hundred_problems_with_recorded_answers_lose_none_and_double_none_over_four_workers() {
    let recorded = Place::new();
    let problems = write_sums(&recorded, 100);
    let problems = problems.to_str().unwrap();
    let sessions = Sessions::of_jsonl(Path::new(problems));
    let server = ModelServer::start(move |request| sessions.answer(request));
    let mut command = recorded.command(&roundhouse_tests::coordinator());
    command
        .args(["run", "--problems", problems, "--model", "m", "--workers", "8"])
        .args(["--base-url", &server.url(), "--record", "calls.jsonl"])
        .env(KEY.0, KEY.1);
    assert!(command.output().unwrap().status.success());
    let served = server.served();
    drop(server);

    let mut fleet = Fleet::start();
    for _ in 0..4 {
        fleet.join(&["--role", "gen", "--slots", "4"], &[]);
    }
    fleet.join(&EVAL, &[]);
    let model = format!("recorded:{}", recorded.path().join("calls.jsonl").display());
    let watched = fleet.ask(&["submit", "--problems", problems, "--model", &model, "--wait"]);
    assert_code(&watched, 0);
    assert_eq!(came_to(&run_dir(&fleet)), came_to(&recorded.run_dir()));
    assert_calls_are_unique(&run_dir(&fleet));
    let usage = &json(&run_dir(&fleet).join("summary.json"))["summary"]["token_usage"];
    assert_eq!(usage["calls"], served.answers);
    assert_eq!(usage["total"], served.input + served.output);
}

#[test]
fn coordinator_ends_by_itself_when_every_run_is_done_and_that_is_asked_for() {
    let mut fleet = Fleet::start_with(&["--exit-when-done", "--model", "reference", "--limit", "2"]);
    fleet.join(&["--role", "gen,eval", "--slots", "2"], &[]);
    assert!(fleet.coordinator_ended().success());
    assert_eq!(came_to(&run_dir(&fleet)).len(), 2);
}
