//! A run against a server that somebody else wrote, with a real model behind it. Left out unless `ROUNDHOUSE_REAL_MODEL`
//! is its base address; CONTRIBUTING.md says how to have one on this machine.
#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]
#![expect(
    clippy::print_stderr,
    reason = "what was left out is said where whoever runs the tests sees it"
)]

use std::fs;

use roundhouse_tests::came_to::calls;
use roundhouse_tests::{Place, coordinator, json};
use serde_json::Value;

#[test]
fn easy_problems_go_through_all_roles_with_a_real_model() {
    let Ok(url) = std::env::var("ROUNDHOUSE_REAL_MODEL") else {
        eprintln!("LEFT OUT: a run with a real model: ROUNDHOUSE_REAL_MODEL names no server");
        return;
    };
    let model = std::env::var("ROUNDHOUSE_REAL_MODEL_NAME").unwrap_or_else(|_| "any".to_owned());
    let key = std::env::var("ROUNDHOUSE_REAL_MODEL_KEY");
    let place = Place::new();
    let rows = [
        (
            "echo",
            "Read one line and print it as it is.",
            "hello\n",
            "hello\n",
        ),
        (
            "sum",
            "Read two integers from one line and print their sum.",
            "2 3\n",
            "5\n",
        ),
        (
            "double",
            "Read one integer and print twice its value.",
            "4\n",
            "8\n",
        ),
    ];
    let lines: String = rows
        .iter()
        .map(|(id, statement, input, output)| {
            let tests = serde_json::json!({"inputs": [input], "outputs": [output]});
            let row = serde_json::json!({
                "problem_id": id, "description": statement, "all_test_cases": tests,
            });
            format!("{row}\n")
        })
        .collect();
    fs::write(place.path().join("easy.jsonl"), lines).unwrap();
    let mut command = place.command(&coordinator());
    command
        .args([
            "run",
            "--problems",
            "easy.jsonl",
            "--base-url",
            &url,
            "--model",
            &model,
        ])
        .args(["--max-tokens", "256", "--workers", "1", "--record", "calls.jsonl"]);
    if let Ok(key) = key {
        command.env("OPENAI_API_KEY", key);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // Whether the model is good enough to pass is its own affair.
    assert_eq!(output.status.code(), Some(0), "{said}");

    let run_dir = place.run_dir();
    let summary = json(&run_dir.join("summary.json"));
    assert_eq!(summary["summary"]["errors"], 0);
    let (mut input, mut output_tokens, mut transcripts) = (0, 0, 0);
    for (n, _) in rows.iter().enumerate() {
        let transcript = run_dir.join(format!("problem_{:03}/transcript.jsonl", n + 1));
        for line in fs::read_to_string(transcript).unwrap().lines() {
            let call: Value = serde_json::from_str(line).unwrap();
            assert!(call["prompt"].as_str().unwrap().len() > 100, "{call}");
            assert!(call["usage"]["input"].as_u64().unwrap() > 0, "{call}");
            input += call["usage"]["input"].as_u64().unwrap();
            output_tokens += call["usage"]["output"].as_u64().unwrap();
            transcripts += 1;
        }
    }
    let usage = &summary["summary"]["token_usage"];
    assert_eq!(
        (&usage["input"], &usage["output"], &usage["calls"]),
        (
            &Value::from(input),
            &Value::from(output_tokens),
            &Value::from(transcripts)
        )
    );
    for speaker in ["analyst", "coder"] {
        let spoke = calls(&run_dir)
            .iter()
            .filter(|call| call.contains(speaker))
            .count();
        assert!(spoke >= rows.len(), "{speaker} spoke {spoke} times");
    }
}
