//! Keys that an endpoint refuses, and parameters that it does not know.

use roundhouse_tests::came_to::came_to;
use roundhouse_tests::fleet::Fleet;
use roundhouse_tests::model_server::ModelServer;
use roundhouse_tests::model_server::sessions::Sessions;
use roundhouse_tests::model_server::{Answer, Request};
use roundhouse_tests::{json, wait_until};

use super::{KEY, assert_code, run_dir, text_of, write_sums};

/// Answers who has the key, and refuses everybody else.
fn with_key(sessions: Sessions) -> impl Fn(&Request) -> Answer + Send + Sync + 'static {
    move |request| match request.key() {
        Some(key) if key == KEY.1 => sessions.answer(request),
        _ => Answer::refusal(401, "invalid_api_key", "Incorrect API key provided"),
    }
}

fn sums(fleet: &Fleet, n: usize) -> (String, Sessions) {
    let path = write_sums(&fleet.place, n);
    let sessions = Sessions::of_jsonl(&path);
    (path.to_str().unwrap().to_owned(), sessions)
}

fn gen_flags(server: &ModelServer) -> [String; 6] {
    let endpoint = format!("openai={}", server.url());
    ["--role", "gen", "--slots", "2", "--endpoint", &endpoint].map(str::to_owned)
}

fn join_gen(fleet: &mut Fleet, server: &ModelServer, key: &str) -> usize {
    let flags = gen_flags(server);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    fleet.join(&flags, &[(KEY.0, key)])
}

#[test]
fn worker_whose_key_is_refused_is_benched_and_another_one_does_its_jobs() {
    let mut fleet = Fleet::start();
    let (problems, sessions) = sums(&fleet, 6);
    let server = ModelServer::start(with_key(sessions));
    let refused = join_gen(&mut fleet, &server, "sk-wrong");
    fleet.join(&["--role", "eval", "--slots", "2"], &[]);
    let mut submit = fleet.ask_on(
        "submit",
        &["submit", "--problems", &problems, "--model", "m", "--wait"],
    );
    wait_until("the worker is benched", || {
        fleet.worker_said(refused).contains("refuses the key")
    });
    join_gen(&mut fleet, &server, KEY.1);
    assert!(
        submit.wait().unwrap().success(),
        "{}",
        text_of(&fleet, "submit.err")
    );
    assert_eq!(came_to(&run_dir(&fleet)).len(), 6);
    let summary = json(&run_dir(&fleet).join("summary.json"));
    assert_eq!(summary["summary"]["errors"], 0);
    let workers = fleet.ask(&["workers"]);
    assert!(workers.stdout.contains("401"), "{}", workers.stdout);
    assert!(!workers.stdout.contains("sk-"), "{}", workers.stdout);
}

#[test]
fn run_for_which_no_key_works_pauses_and_goes_on_when_one_joins() {
    let mut fleet = Fleet::start();
    let (problems, sessions) = sums(&fleet, 4);
    let server = ModelServer::start(with_key(sessions));
    join_gen(&mut fleet, &server, "sk-wrong");
    fleet.join(&["--role", "eval", "--slots", "2"], &[]);
    let flags = ["submit", "--problems", &problems, "--model", "m", "--wait"];
    let paused = fleet.ask(&flags);
    assert_code(&paused, 3);
    assert!(paused.stderr.contains("paused"), "{}", paused.stderr);
    assert!(
        paused.stderr.contains("worker join --role gen"),
        "{}",
        paused.stderr
    );
    let summary = json(&run_dir(&fleet).join("summary.json"));
    let status = summary["summary"]["status"].as_str().unwrap();
    assert!(status.starts_with("incomplete (paused: "), "{status}");

    join_gen(&mut fleet, &server, KEY.1);
    wait_until("the run goes on by itself", || {
        !fleet.ask(&["status", "last"]).stdout.contains("paused")
    });
    let finished = fleet.ask(&flags);
    assert_code(&finished, 0);
    assert_eq!(came_to(&run_dir(&fleet)).len(), 4);
}

#[test]
fn parameters_that_an_endpoint_does_not_know_are_learnt_and_recorded() {
    let mut fleet = Fleet::start();
    let (problems, sessions) = sums(&fleet, 3);
    let server = ModelServer::start(move |request| {
        let unknown = |name: &str, way: &str| {
            let message = format!("Unsupported parameter: '{name}' is not supported with this model.{way}");
            Answer::refusal(400, "unsupported_parameter", &message)
        };
        if request.body.get("max_tokens").is_some() {
            unknown("max_tokens", " Use 'max_completion_tokens' instead.")
        } else if request.body.get("temperature").is_some() {
            unknown("temperature", "")
        } else {
            sessions.answer(request)
        }
    });
    join_gen(&mut fleet, &server, KEY.1);
    fleet.join(&["--role", "eval", "--slots", "2"], &[]);
    let ran = fleet.ask(&["submit", "--problems", &problems, "--model", "m", "--wait"]);
    assert_code(&ran, 0);
    let summary = json(&run_dir(&fleet).join("summary.json"));
    let remarks = summary["summary"]["provenance"]["remarks"].to_string();
    assert!(remarks.contains("max_completion_tokens"), "{remarks}");
    assert!(remarks.contains("`temperature` is left out"), "{remarks}");
    assert_eq!(summary["summary"]["provenance"]["endpoint"], "openai");
    let told = ran.stderr.matches("`temperature` is left out").count();
    assert_eq!(told, 1, "{}", ran.stderr);
}
