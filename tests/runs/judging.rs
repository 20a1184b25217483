//! Runs with settings of the judge: limits of problems, problems that cannot be judged.

use serde_json::{Value, json};

use super::*;

/// A row of which the data set's own program is this, with one case.
fn row(name: &str, statement: &str, program: &str, output: &str, more: &Value) -> String {
    let mut row = json!({
        "name": name, "description": statement,
        "public_tests": {"input": ["1\n"], "output": [output]},
        "solutions": {"language": [3], "solution": [program]},
    });
    let fields = row.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    row.to_string() + "\n"
}

/// Runs `problems.jsonl` with the offline model and these flags.
fn run(place: &Place, flags: &str) -> (String, Value, String) {
    let words = "run --model reference --problems problems.jsonl --no-patch";
    let args: Vec<&str> = words.split(' ').chain(flags.split_whitespace()).collect();
    let ran = place.coordinator(&args);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let run_dir = place.run_dir();
    let report = fs::read_to_string(run_dir.join("REPORT.txt")).unwrap();
    (ran.stdout, json(&run_dir.join("summary.json")), report)
}

#[test]
fn verify_asks_a_checker_and_says_why_one_that_fails_judged_nothing() {
    let place = Place::new();
    let rows = [
        row("other", "Print any.", "print(2)", "1", &json!({})),
        row("odd", "Print any.", "print(3)", "1", &json!({})),
    ];
    fs::write(place.path().join("problems.jsonl"), rows.concat()).unwrap();
    let checker = "import sys\nassert open('expected.txt').read() == '1'\n\
                   n = int(open(sys.argv[2]).read())\nsys.exit(n % 2)\n";
    fs::write(place.path().join("even.py"), checker).unwrap();
    fs::write(place.path().join("broken.py"), "raise ValueError('no idea')\n").unwrap();
    let verify = |checker: &str| {
        let rule = format!("checker:{checker}");
        place.coordinator(&[
            "dataset",
            "verify",
            "--problems",
            "problems.jsonl",
            "--comparator",
            &rule,
        ])
    };
    let told = "odd: program 0 (correct): WA on case 0\n\
                2 problems: 1 of 2 correct programs accepted, 0 of 0 incorrect programs rejected\n";
    let verified = verify("even.py");
    assert_eq!(
        (verified.stdout.as_str(), verified.code),
        (told, Some(3)),
        "{}",
        verified.stderr
    );

    let failed = verify("broken.py");
    assert_eq!(failed.code, Some(3), "{}", failed.stderr);
    let begin = "other: program 0 (correct): IE on case 0, not judged: the checker ended with status 2";
    assert!(failed.stdout.starts_with(begin), "{}", failed.stdout);
    assert_eq!(grep(&failed.stdout, &["no idea", "0 of 2 correct"]), 3);
}

#[test]
fn problem_whose_own_program_is_refused_is_found_and_leaves_the_judgeable_ones_but_not_the_denominator() {
    let place = Place::new();
    let none = json!({});
    let rows = [
        row("one", "Print it.", "print(input())", "1", &none),
        row("many", "Print any of\nthem.", "print(2)", "1", &none),
        row("wrong", "Print it.", "import no_such_module", "1", &none),
        row("two", "Print it.", "print(input())", "1", &none),
    ];
    fs::write(place.path().join("problems.jsonl"), rows.concat()).unwrap();
    let verify = ["dataset", "verify", "--problems", "problems.jsonl"];
    let plain = place.coordinator(&verify);
    let verified = place.coordinator(&[&verify[..], &["--write-quarantine", "q.json"]].concat());
    assert_eq!(
        (plain.code, verified.code),
        (Some(3), Some(3)),
        "{}",
        verified.stderr
    );
    assert_eq!(plain.stdout, verified.stdout);
    let told = "note: 2 of 4 problems cannot be judged: 1 several-right-answers, 1 environment\n";
    assert!(verified.stderr.contains(told), "{}", verified.stderr);
    let quarantine = json(&place.path().join("q.json"));
    let of_problems = quarantine["problems"].as_array().unwrap();
    let (position, kind) = (
        |entry: &Value| entry["position"].clone(),
        |entry: &Value| entry["kind"].clone(),
    );
    assert_eq!(of_problems.iter().map(position).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(
        of_problems.iter().map(kind).collect::<Vec<_>>(),
        ["several-right-answers", "environment"]
    );
    assert_eq!(
        of_problems[0]["evidence"],
        json!([{"program": 0, "verdict": "WA", "case": 0}])
    );

    let (console, summary, report) = run(&place, "--quarantine q.json");
    let line = "  - 可判题目通过率: 100.0% (2/2)\n";
    assert!(
        console.contains(&format!("✅ Pass@1: 50.00% (2/4)\n{line}")),
        "{console}"
    );
    assert!(
        report.contains(&format!("  - Pass@1: 50.00% (2/4)\n{line}")),
        "{report}"
    );
    assert_eq!(grep(&report, &["Pass@1", "总耗时"]), 2);
    assert_eq!(
        summary["summary"]["judgeable"],
        json!({"total": 2, "passed": 2, "rate": 100.0})
    );
    let reasons: Vec<Value> = (0..4)
        .map(|i| summary["results"][i]["quarantined"].clone())
        .collect();
    assert_eq!(
        reasons,
        [
            Value::Null,
            json!("several-right-answers"),
            json!("environment"),
            Value::Null
        ]
    );
    let run_dir = place.run_dir();
    fs::remove_file(run_dir.join("REPORT.txt")).unwrap();
    let rebuilt = place.coordinator(&["report", run_dir.to_str().unwrap()]);
    assert_eq!(rebuilt.code, Some(0), "{}", rebuilt.stderr);
    assert_eq!(fs::read_to_string(run_dir.join("REPORT.txt")).unwrap(), report);
}

#[test]
fn problem_is_judged_by_its_own_limits_where_that_is_asked_for_and_by_the_run_s_elsewhere() {
    let place = Place::new();
    let program = "import time\nwhile time.process_time() < 1.5: pass\nx = bytearray(400 << 20)\nprint(1)";
    let rows = [
        ("none", json!({})),
        (
            "enough",
            json!({"time_limit": {"seconds": 5, "nanos": 0}, "memory_limit_bytes": 1_u64 << 30}),
        ),
        (
            "slow",
            json!({"time_limit": {"seconds": 0, "nanos": 200_000_000}}),
        ),
        ("big", json!({"memory_limit_bytes": 1 << 20})),
    ];
    let rows = rows.map(|(name, more)| row(name, "Print it.", program, "1", &more));
    fs::write(place.path().join("problems.jsonl"), rows.concat()).unwrap();
    let flags = "--time-limit problem*2 --memory-limit problem --zygote fresh --no-cache";
    let (_, summary, _) = run(&place, flags);
    let results = summary["results"].as_array().unwrap();
    let passed: Vec<&Value> = results.iter().map(|result| &result["passed"]).collect();
    assert_eq!(passed, [true, true, false, false]);
    assert_eq!(results[2]["test_results"][0]["status"], "TLE");
    let limits = |i: usize| {
        let limits = &results[i]["limits"];
        ["cpu_ms", "memory_bytes", "time_from", "memory_from"].map(|key| limits[key].clone())
    };
    assert_eq!(
        limits(0),
        [json!(10_000), json!(1 << 30), json!("run"), json!("run")]
    );
    assert_eq!(
        limits(1),
        [json!(10_000), json!(1 << 30), json!("problem"), json!("problem")]
    );
    assert_eq!(
        limits(2),
        [json!(400), json!(1 << 30), json!("problem"), json!("run")]
    );
    assert_eq!(
        limits(3),
        [json!(10_000), json!(256 << 20), json!("run"), json!("floor")]
    );
    let provenance = &summary["summary"]["provenance"];
    assert_eq!(
        ["time_limit", "memory_limit", "zygote"].map(|key| &provenance[key]),
        ["problem*2", "problem", "fresh"]
    );
    assert_eq!(provenance["cache"], false);
}
