//! What a run came to, without what may differ between two runs of the same answers.

use std::path::Path;

use serde_json::Value;

use crate::json;

/// What one problem came to.
#[derive(Clone, Debug, PartialEq)]
pub struct CameTo {
    /// Its directory's name.
    pub problem: String,
    /// The program that was judged.
    pub program: String,
    /// The status of every test.
    pub statuses: Vec<String>,
    /// Plan, programs, reports, cases.
    pub session: Value,
    /// Tokens of its calls.
    pub tokens: Value,
}

/// Programs, verdicts, sessions and tokens of a run that is complete.
pub fn came_to(run_dir: &Path) -> Vec<CameTo> {
    let summary = json(&run_dir.join("summary.json"));
    assert_eq!(summary["summary"]["status"], "complete");
    let results = summary["results"].as_array().expect("a list of results");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    results
        .iter()
        .map(|result| {
            let tests = result["test_results"].as_array().expect("a list of tests");
            CameTo {
                problem: text(&result["instance_id"]),
                program: text(&result["code"]),
                statuses: tests.iter().map(|test| text(&test["status"])).collect(),
                session: result["session_history"].clone(),
                tokens: result["tokens_used"].clone(),
            }
        })
        .collect()
}

/// The calls of a run: for each problem, who was asked, in which round, for the how manyth time.
pub fn calls(run_dir: &Path) -> Vec<String> {
    let mut calls = Vec::new();
    for problem in crate::entries(run_dir) {
        let transcript = run_dir.join(&problem).join("transcript.jsonl");
        let Ok(transcript) = std::fs::read_to_string(transcript) else {
            continue;
        };
        for line in transcript.lines() {
            let call: Value = serde_json::from_str(line).expect("a line of JSON");
            calls.push(format!(
                "{problem} {} {} {}",
                call["speaker"], call["round"], call["ask"]
            ));
        }
    }
    calls
}

/// Fails if a call is there twice.
pub fn assert_calls_are_unique(run_dir: &Path) {
    let mut calls = calls(run_dir);
    let n = calls.len();
    calls.sort();
    calls.dedup();
    assert_eq!(calls.len(), n, "a call is there twice");
}
