//! eval_checkpoint.json: the verdicts alone, in the shape that old readers know.

use bytes::Bytes;
use serde::Serialize;

use super::summary::Collected;
use super::{ReportError, json};

/// Name of the file.
pub const CHECKPOINT_FILE: &str = "eval_checkpoint.json";

#[derive(Serialize)]
struct Checkpoint<'a> {
    eval_results: Vec<Entry<'a>>,
    eval_time: f64,
    eval_workers: u32,
    timestamp: &'a str,
}

#[derive(Serialize)]
struct Entry<'a> {
    instance_id: &'a str,
    accuracy: f64,
    passed: bool,
    test_count: u32,
    passed_tests: u32,
    test_statuses: Vec<&'static str>,
    // Not in old files: whether it passed, failed, is an error of ours or open.
    outcome: &'static str,
}

/// The bytes of eval_checkpoint.json. Every problem of the run is in it: one that was not judged has no passed case.
///
/// # Errors
/// A value cannot be written as JSON.
pub fn checkpoint(collected: &Collected<'_>) -> Result<Bytes, ReportError> {
    let head = &collected.head;
    let eval_results = collected
        .results
        .iter()
        .map(|result| Entry {
            instance_id: result.instance_id,
            accuracy: result.accuracy,
            passed: result.passed,
            test_count: result.test_count,
            passed_tests: result.passed_tests,
            test_statuses: result.test_results.iter().map(|test| test.status).collect(),
            outcome: result.outcome,
        })
        .collect();
    let checkpoint = Checkpoint {
        eval_results,
        eval_time: head.time_cost.evaluation,
        eval_workers: head.config.eval_workers,
        timestamp: &head.timestamp,
    };
    json(CHECKPOINT_FILE, &checkpoint)
}
