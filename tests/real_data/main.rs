//! Real problems with published verdicts, where `ROUNDHOUSE_SHARED` names them.
#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use roundhouse_tests::{Place, json, shared};

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
