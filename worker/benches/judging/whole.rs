//! A whole run: coordinator, link, store, worker, cages, reports.

use std::fmt::Write as _;

use roundhouse_tests::{Place, json};

const PROBLEMS: usize = 200;
const CASES: usize = 50;

/// Many tiny tests through `coordinator run`, all that a run does included.
pub(crate) fn run() {
    let place = Place::new();
    let mut problems = String::new();
    for problem in 0..PROBLEMS {
        let list = |text: &dyn Fn(usize) -> String| {
            serde_json::Value::from((0..CASES).map(text).collect::<Vec<_>>())
        };
        let row = serde_json::json!({
            "name": format!("{problem}_A. Sum"),
            "description": "Read n and n numbers; print their sum.",
            "public_tests": {"input": ["1\n1\n"], "output": ["1\n"]},
            "private_tests": {"input": [], "output": []},
            "generated_tests": {
                "input": list(&|case| format!("2\n{problem} {case}\n")),
                "output": list(&|case| format!("{}\n", problem + case)),
            },
            "solutions": {"language": [3], "solution": [format!(
                "n = int(input())\nprint(sum(map(int, input().split())))\n# {problem}\n"
            )]},
            "incorrect_solutions": {"language": [], "solution": []},
        });
        writeln!(problems, "{row}").unwrap();
    }
    std::fs::write(place.path().join("problems.jsonl"), problems).unwrap();
    // Built here and not in the time that is measured.
    roundhouse_tests::coordinator();
    let begun = std::time::Instant::now();
    let ran = place.coordinator(&[
        "run",
        "--problems",
        "problems.jsonl",
        "--model",
        "reference",
        "--tests",
        "generated",
        "--workers",
        "4",
    ]);
    let took = begun.elapsed().as_secs_f64();
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let summary = json(&place.run_dir().join("summary.json"));
    assert_eq!(summary["summary"]["passed"], PROBLEMS);
    println!("a whole run of {PROBLEMS} problems with {CASES} tiny tests each");
    println!(
        "  {took:.2} s from start to end: {:.0} tests/s (goal >= 500)",
        (PROBLEMS * CASES) as f64 / took
    );
}
