//! A fleet that loses processes to `kill -9`: the same programs, verdicts and tokens, and no answer paid twice but
//! those that were on their way.

use std::fs;
use std::path::PathBuf;

use roundhouse_tests::came_to::{CameTo, assert_calls_are_unique, came_to};
use roundhouse_tests::fleet::Fleet;
use roundhouse_tests::model_server::sessions::answering_sessions;
use roundhouse_tests::model_server::{Answer, ModelServer, Tokens};
use roundhouse_tests::{json, wait_until};

use super::{KEY, assert_code, run_dir, text_of};

const SUBMIT: [&str; 4] = ["submit", "--model", "m", "--wait"];

/// The bundled problems, which are taken by themselves with the offline model only.
fn bundled() -> String {
    let path: PathBuf = roundhouse_tests::workspace().join("coordinator/bundled/problems.jsonl");
    path.to_str().unwrap().to_owned()
}

fn join(fleet: &mut Fleet, server: &ModelServer) -> (usize, usize) {
    let endpoint = format!("openai={}", server.url());
    let generation = fleet.join(
        &["--role", "gen", "--slots", "4", "--endpoint", &endpoint],
        &[KEY],
    );
    let evaluation = fleet.join(&["--role", "eval", "--slots", "2"], &[]);
    (generation, evaluation)
}

fn usage(fleet: &Fleet) -> serde_json::Value {
    json(&run_dir(fleet).join("summary.json"))["summary"]["token_usage"].clone()
}

fn undisturbed() -> (Vec<CameTo>, Tokens) {
    let server = ModelServer::start(answering_sessions());
    let mut fleet = Fleet::start();
    join(&mut fleet, &server);
    let problems = bundled();
    let ran = fleet.ask(&[&SUBMIT[..], &["--problems", &problems]].concat());
    assert_code(&ran, 0);
    let (usage, served) = (usage(&fleet), server.served());
    assert_eq!(server.calls_n() as u64, served.answers);
    assert_eq!(usage["calls"], served.answers);
    assert_eq!(usage["input"], served.input);
    assert_eq!(usage["cached_input"], served.cached);
    assert_eq!(usage["output"], served.output);
    assert_eq!(usage["reasoning"], served.reasoning);
    assert_eq!(usage["total"], served.input + served.output);
    assert_eq!(usage["calls_unaccounted"], 0);
    (came_to(&run_dir(&fleet)), served)
}

#[derive(Clone, Copy, Debug)]
enum Victim {
    Coordinator,
    Generation,
    Evaluation,
}

#[test]
fn tokens_are_those_that_the_server_served_and_killed_processes_change_nothing_but_calls_on_their_way() {
    let (expected, served_once) = undisturbed();
    for victim in [Victim::Coordinator, Victim::Generation, Victim::Evaluation] {
        let server = ModelServer::start(answering_sessions());
        let mut fleet = Fleet::start();
        let (generation, evaluation) = join(&mut fleet, &server);
        let problems = bundled();
        let mut submit = fleet.ask_on("submit", &[&SUBMIT[..], &["--problems", &problems]].concat());
        wait_until("a third of the calls are served", || {
            server.served().answers >= served_once.answers / 3
        });
        match victim {
            Victim::Coordinator => {
                fleet.kill_coordinator();
                fleet.restart_coordinator();
            }
            Victim::Generation => {
                fleet.kill_worker(generation);
                join(&mut fleet, &server);
            }
            Victim::Evaluation => {
                fleet.kill_worker(evaluation);
                join(&mut fleet, &server);
            }
        }
        let status = submit.wait().unwrap();
        assert!(status.success(), "{victim:?}: {}", text_of(&fleet, "submit.err"));
        assert_eq!(came_to(&run_dir(&fleet)), expected, "{victim:?}");
        assert_calls_are_unique(&run_dir(&fleet));

        let (usage, served) = (usage(&fleet), server.served());
        assert_eq!(
            usage["total"],
            served_once.input + served_once.output,
            "{victim:?}"
        );
        let unaccounted = usage["calls_unaccounted"].as_u64().unwrap();
        let paid_again = served.answers - served_once.answers;
        assert!(
            paid_again <= unaccounted && unaccounted <= 4,
            "{victim:?}: {paid_again} calls were answered twice, {unaccounted} are said to be unaccounted for"
        );
    }
}

#[test]
fn broken_streams_and_rate_limits_are_waited_out_and_change_no_result() {
    let (expected, served_once) = undisturbed();
    let answer = answering_sessions();
    let server = ModelServer::start(move |request| match (answer(request), request.number % 16) {
        (_, 1) => Answer::refusal(429, "rate_limit_exceeded", "slow down").with_header("retry-after-ms", "5"),
        (_, 2) => Answer::refusal(503, "overloaded", "later").with_header("retry-after-ms", "5"),
        (Answer::Reply(reply), 3) => Answer::BreakAfter { reply, bytes: 150 },
        (Answer::Reply(reply), 4) => Answer::NoDone(reply),
        (answer, _) => answer,
    });
    let mut fleet = Fleet::start();
    join(&mut fleet, &server);
    let problems = bundled();
    let ran = fleet.ask(&[&SUBMIT[..], &["--problems", &problems]].concat());
    assert_code(&ran, 0);
    assert_eq!(came_to(&run_dir(&fleet)), expected);
    let (usage, broken) = (usage(&fleet), server.broken());
    assert_eq!(usage["total"], served_once.input + served_once.output);
    assert_eq!(usage["calls_unaccounted"], broken.answers);
    let report = fs::read_to_string(run_dir(&fleet).join("REPORT.txt")).unwrap();
    assert!(
        report.contains(&format!("未计入的调用: {}", broken.answers)),
        "{report}"
    );
}
