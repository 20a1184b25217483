//! A coordinator with workers of their own, as real processes on this host: what a fleet comes to, whoever joins,
//! leaves, dies or has no key.
#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

mod fleet;
mod keys;
mod losses;
mod readme;

use std::fs;
use std::path::{Path, PathBuf};

use roundhouse_tests::fleet::Fleet;
use roundhouse_tests::{Place, Ran, runs};

/// The run directory of the coordinator's only run.
fn run_dir(fleet: &Fleet) -> PathBuf {
    fleet.place.run_dir()
}

/// The key that every model server here takes.
const KEY: (&str, &str) = ("OPENAI_API_KEY", "sk-of-a-test");

/// The only run directory below `under`.
fn only_run(under: &Path) -> PathBuf {
    let names = runs(under);
    assert_eq!(names.len(), 1, "{names:?} in {}", under.display());
    under.join(&names[0])
}

/// Problems of which each asks for the sum of a number and the problem's own; the first program of the data set that
/// is wrong, and one that is right.
fn sums(n: usize) -> String {
    let row = |i: usize| {
        let tests = |range: std::ops::Range<usize>| {
            let input: Vec<String> = range.clone().map(|k| format!("{k}\n")).collect();
            let output: Vec<String> = range.map(|k| format!("{}\n", k + i)).collect();
            serde_json::json!({"input": input, "output": output})
        };
        serde_json::json!({
            "name": format!("sum-{i}"),
            "description": format!("Problem {i}. Read one number and print its sum with {i}."),
            "public_tests": tests(0..1),
            "private_tests": tests(1..3),
            "generated_tests": tests(3..5),
            "solutions": {"language": [3], "solution": [format!("print(int(input()) + {i})\n")]},
            "incorrect_solutions": {"language": [3], "solution": [format!("print(int(input()) - {i})\n")]},
            "time_limit": {"seconds": 2, "nanos": 0},
            "memory_limit_bytes": 0,
        })
    };
    (1..=n).map(|i| format!("{}\n", row(i))).collect()
}

/// Writes [`sums`] to `sums.jsonl` in the place; gives the path.
fn write_sums(place: &Place, n: usize) -> PathBuf {
    let path = place.path().join("sums.jsonl");
    fs::write(&path, sums(n)).unwrap();
    path
}

fn assert_code(ran: &Ran, code: i32) {
    assert_eq!(
        ran.code,
        Some(code),
        "stdout:\n{}\nstderr:\n{}",
        ran.stdout,
        ran.stderr
    );
}

fn text_of(fleet: &Fleet, name: &str) -> String {
    fs::read_to_string(fleet.place.path().join(name)).unwrap_or_default()
}
