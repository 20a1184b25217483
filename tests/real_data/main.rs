//! Real problems with published verdicts, where `ROUNDHOUSE_SHARED` names them.
#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use std::collections::BTreeSet;
use std::fs;

use roundhouse_tests::{Place, json, shared};
use serde_json::Value;

#[test]
fn real_problems_with_an_accepted_program_pass_and_the_others_fail() {
    let Some(shared) = shared("real_problems_with_an_accepted_program_pass_and_the_others_fail") else {
        return;
    };
    let problems = shared.join("data/code_contests/test.parquet");
    let place = Place::new();
    let ran = place.coordinator(&[
        "run",
        "--problems",
        problems.to_str().unwrap(),
        "--model",
        "reference",
        "--workers",
        "4",
    ]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let summary = json(&place.run_dir().join("summary.json"));
    let passed: Vec<u64> = summary["results"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|result| result["passed"] == true)
        .map(|result| result["position"].as_u64().unwrap())
        .collect();
    assert_eq!(passed, [1, 3, 4, 6, 8, 10, 12, 14, 16]);
    assert_eq!(summary["summary"]["total"], 16);
    assert_eq!(summary["summary"]["errors"], 0);
}

#[test]
fn published_verdicts_are_reproduced() {
    let Some(shared) = shared("published_verdicts_are_reproduced") else {
        return;
    };
    let problems = shared.join("data/code_contests/test.parquet");
    let place = Place::new();
    let ran = place.coordinator(&[
        "dataset",
        "verify",
        "--problems",
        problems.to_str().unwrap(),
        "--json",
    ]);
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
    let verified: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(verified["problems"], 16);
    assert_eq!(verified["correct"]["total"], verified["correct"]["accepted"]);
    assert_eq!(verified["incorrect"]["total"], verified["incorrect"]["rejected"]);
    assert_eq!(verified["programs"].as_array().unwrap().len() as u64, {
        verified["correct"]["total"].as_u64().unwrap() + verified["incorrect"]["total"].as_u64().unwrap()
    });
}

/// The lines of a file of JSON Lines, each with its value.
fn rows(text: &str) -> impl Iterator<Item = (&str, Value)> {
    text.lines()
        .map(|line| (line, serde_json::from_str(line).unwrap()))
}

#[test]
fn real_problems_whose_own_program_is_refused_have_a_reason() {
    let Some(shared) = shared("real_problems_whose_own_program_is_refused_have_a_reason") else {
        return;
    };
    let read = |name: &str| fs::read_to_string(shared.join("data/code_contests").join(name)).unwrap();
    let verdicts = read("train_human_verdicts.jsonl");
    // Programs that are too slow say nothing more, and take long.
    let refused: BTreeSet<String> = rows(&verdicts)
        .filter(|(_, verdict)| verdict["reference_verdicts"]["deepmind"] == false)
        .filter(|(_, verdict)| verdict["first_fail"][1] != "TLE")
        .map(|(_, verdict)| verdict["problem_id"].as_str().unwrap().to_owned())
        .collect();
    let problems = read("train_human.jsonl");
    let problems: String = rows(&problems)
        .filter(|(_, row)| refused.contains(row["name"].as_str().unwrap()))
        .map(|(line, _)| format!("{line}\n"))
        .collect();
    let place = Place::new();
    fs::write(place.path().join("refused.jsonl"), problems).unwrap();
    let ran = place.coordinator(&[
        "dataset",
        "verify",
        "--problems",
        "refused.jsonl",
        "--write-quarantine",
        "q.json",
    ]);
    assert_eq!(ran.code, Some(3), "{}\n{}", ran.stdout, ran.stderr);
    let quarantine = json(&place.path().join("q.json"));
    let quarantined = quarantine["problems"].as_array().unwrap();
    // One reads its input by its length, as a file, which it is here.
    assert!(
        quarantined.len() + 1 >= refused.len(),
        "{} of {}",
        quarantined.len(),
        refused.len()
    );
    let unknown = quarantined.iter().filter(|problem| problem["kind"] == "unknown");
    assert_eq!(unknown.count(), 0, "{}", ran.stderr);
}
