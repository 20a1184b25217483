//! Whole runs of the real programs on the bundled problems: what the user sees and finds.
#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

mod judging;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use roundhouse_tests::{Place, entries, json, mask};

/// Lines of a text in which one of the words stands, as `grep` gives them.
fn grep(text: &str, words: &[&str]) -> usize {
    text.lines()
        .filter(|line| words.iter().any(|word| line.contains(word)))
        .count()
}

/// Compares with a file beside this one; `UPDATE_GOLDEN=1` writes it.
fn golden(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("runs").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, found).unwrap();
    }
    assert_eq!(
        found,
        fs::read_to_string(&path).unwrap(),
        "it differs from {}",
        path.display()
    );
}

#[test]
fn bundled_problems_run_without_key_or_network_and_all_but_one_pass() {
    let place = Place::new();
    let ran = place.coordinator(&["run", "--model", "reference", "--sequential"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let run_dir = place.run_dir();

    golden("console.txt", &mask::run(&ran.stdout));
    assert_eq!(
        fs::read_to_string(run_dir.join("console.log")).unwrap(),
        ran.stdout
    );

    let report = fs::read_to_string(run_dir.join("REPORT.txt")).unwrap();
    golden("report.txt", &mask::run(&report));
    assert_eq!(grep(&report, &["Pass@1", "总耗时"]), 2);

    assert_eq!(place.entries(), ["baseline_outputs", "baseline_results.json"]);
    let copy = fs::read(place.path().join("baseline_results.json")).unwrap();
    assert_eq!(copy, fs::read(run_dir.join("summary.json")).unwrap());
    let problem = run_dir.join("problem_001");
    assert_eq!(
        entries(&problem),
        [
            "final_solution.py",
            "problem_statement.txt",
            "round_0",
            "round_1",
            "session_history.json",
            "transcript.jsonl"
        ]
    );
    for round in ["round_0", "round_1"] {
        let files = ["code_iteration.py", "report_iteration.txt", "tests_raw.txt"];
        assert_eq!(entries(&problem.join(round)), files);
    }
    assert_eq!(
        fs::metadata(run_dir.join(".state")).unwrap().permissions().mode() & 0o777,
        0o700
    );

    let summary = &json(&run_dir.join("summary.json"))["summary"];
    assert_eq!(
        (summary["passed"].as_u64(), summary["total"].as_u64()),
        (Some(13), Some(14))
    );
    assert_eq!(summary["status"], "complete");
    assert_eq!(summary["provenance"]["data_set"]["path"], "bundled");
    assert!(ran.stderr.contains("`reference` is no model"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("评估耗时 is the tail after generation"),
        "{}",
        ran.stderr
    );
}

#[test]
fn rounds_are_judged_beside_the_run_and_change_nothing_of_what_it_comes_to() {
    let summary_of = |flags: &[&str]| {
        let place = Place::new();
        let args = [&["run", "--model", "reference", "--limit", "6"], flags].concat();
        let ran = place.coordinator(&args);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert_eq!(grep(&ran.stdout, &["Pass@1"]), 1, "{}", ran.stdout);
        json(&place.run_dir().join("summary.json"))
    };
    let without = summary_of(&[]);
    let with = summary_of(&["--evaluate-rounds"]);
    assert_eq!(with["summary"]["pass_at_1"], without["summary"]["pass_at_1"]);
    let keys = ["pass_by_round", "tester", "round_errors"];
    assert!(keys.iter().all(|key| without["summary"][key].is_null()));

    // The first program of a session is deliberately wrong, and its tests see that.
    let last = &with["summary"]["pass_at_1"];
    assert_eq!(with["summary"]["pass_by_round"], serde_json::json!([0.0, last]));
    let tester = serde_json::json!({"agreed": 6, "false_alarms": 0, "missed": 0});
    assert_eq!(with["summary"]["tester"], tester);
    assert_eq!(with["summary"]["round_errors"], 0);
    let rounds = &with["results"][0]["round_results"];
    assert_eq!(
        (&rounds[0]["passed"], &rounds[0]["tester"]),
        (&false.into(), &false.into())
    );
    assert_eq!(rounds[1]["passed"], with["results"][0]["passed"]);
    for (with, without) in with["results"]
        .as_array()
        .unwrap()
        .iter()
        .zip(without["results"].as_array().unwrap())
    {
        for key in ["code", "passed", "passed_tests", "rounds"] {
            assert_eq!(with[key], without[key]);
        }
    }
}

#[test]
fn parallel_sequential_and_staged_runs_come_to_the_same_programs_and_verdicts() {
    let came_to = |flags: &[&str]| {
        let place = Place::new();
        let args = [&["run", "--model", "reference", "--limit", "6"], flags].concat();
        let ran = place.coordinator(&args);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let summary = json(&place.run_dir().join("summary.json"));
        let results = summary["results"].as_array().unwrap().iter();
        results
            .map(|result| {
                let statuses: Vec<String> = result["test_results"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|test| test["status"].as_str().unwrap().to_owned())
                    .collect();
                (
                    result["instance_id"].clone(),
                    result["code"].clone(),
                    result["passed"].clone(),
                    statuses,
                )
            })
            .collect::<Vec<_>>()
    };
    let sequential = came_to(&["--sequential"]);
    assert_eq!(sequential.len(), 6);
    assert_eq!(came_to(&["--workers", "4"]), sequential);
    assert_eq!(
        came_to(&["--workers", "3", "--staged", "--eval-workers", "2"]),
        sequential
    );
}

#[test]
fn chosen_problems_keep_their_numbers() {
    let place = Place::new();
    let ran = place.coordinator(&[
        "run",
        "--model",
        "reference",
        "--ids",
        "problem_003,7",
        "--output-dir",
        "a/b",
    ]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let run_dir = place
        .path()
        .join("a/b")
        .join(&entries(&place.path().join("a/b"))[0]);
    let problems: Vec<String> = entries(&run_dir)
        .into_iter()
        .filter(|name| name.starts_with("problem_"))
        .collect();
    assert_eq!(problems, ["problem_003", "problem_007"]);
    assert!(
        ran.stdout.contains("[1/2] 开始处理: problem_003\n"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("✅ 输出目录: a/b/run_"), "{}", ran.stdout);
}

#[test]
fn directories_named_after_the_source_are_safe_and_the_reports_follow_them() {
    let place = Place::new();
    let flags = ["--ids", "2,10", "--problem-names", "source"];
    let ran = place.coordinator(&[&["run", "--model", "reference"], &flags[..]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let run_dir = place.run_dir();
    let directories: Vec<String> = entries(&run_dir)
        .into_iter()
        .filter(|name| !name.starts_with('.') && run_dir.join(name).is_dir())
        .collect();
    assert_eq!(directories, ["Locker_Codes_1_3", "Who_s_Next"]);
    assert!(
        ran.stdout.contains("[1/2] 开始处理: Who_s_Next\n"),
        "{}",
        ran.stdout
    );
    let summary = json(&run_dir.join("summary.json"));
    let result = &summary["results"][0];
    assert_eq!(result["instance_id"], "Who_s_Next");
    assert_eq!(result["source_id"], "Who's Next?");
    assert!(result["problem_dir"].as_str().unwrap().ends_with("/Who_s_Next"));
    let file = run_dir.join("Locker_Codes_1_3/final_solution.py");
    let before = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let rebuilt = place.coordinator(&["report", run_dir.to_str().unwrap()]);
    assert_eq!(rebuilt.code, Some(0), "{}", rebuilt.stderr);
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn one_round_runs_no_test_and_the_deliberately_wrong_program_fails() {
    let place = Place::new();
    let ran = place.coordinator(&["run", "--model", "reference", "--limit", "1", "--max-rounds", "1"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let run_dir = place.run_dir();
    assert_eq!(
        entries(&run_dir.join("problem_001"))
            .iter()
            .filter(|name| name.starts_with("round_"))
            .count(),
        1
    );
    let report = fs::read_to_string(run_dir.join("problem_001/round_0/report_iteration.txt")).unwrap();
    assert_eq!(report.lines().count(), 1);
    assert!(report.contains("round limit"), "{report}");
    let summary = json(&run_dir.join("summary.json"));
    assert_eq!(summary["results"][0]["passed"], false);
    assert_eq!(summary["results"][0]["test_results"][0]["status"], "WA");
}

#[test]
fn every_tester_comes_to_a_repair_and_its_own_report() {
    for (tester, begins, cases) in [
        (
            "public",
            "The compilation output of the preceding code is: Test Case 1 Failed:",
            1,
        ),
        (
            "public+cases",
            "The compilation output of the preceding code is: Test Case 1 Failed:",
            1,
        ),
        (
            "review",
            "No test ran: the tester read the program and says FAIL\n\n",
            0,
        ),
    ] {
        let place = Place::new();
        let args = ["run", "--model", "reference", "--limit", "1", "--tester", tester];
        let ran = place.coordinator(&[&args[..], &["--max-rounds", "3"]].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let run_dir = place.run_dir();
        let read = |file: &str| fs::read_to_string(run_dir.join("problem_001").join(file)).unwrap();
        let report = read("round_0/report_iteration.txt");
        assert!(report.starts_with(begins), "{tester}: {report}");
        assert_eq!(read("round_0/tests_raw.txt").is_empty(), tester == "public");
        let history = json(&run_dir.join("problem_001/session_history.json"));
        let used = history["Round_0"]["test_report"].as_str().unwrap();
        assert_eq!(used.matches("### Test").count(), cases, "{tester}");
        let summary = json(&run_dir.join("summary.json"));
        assert_eq!(summary["summary"]["passed"], 1, "{tester}");
        assert_eq!(summary["summary"]["provenance"]["tester"], tester);
        assert!(!run_dir.join("problem_001/round_2").exists(), "{tester}");
    }
}

#[test]
fn final_program_is_the_one_that_passes_most_public_examples() {
    let place = Place::new();
    let flags = ["--final", "public", "--tester", "review", "--limit", "1"];
    let ran = place.coordinator(&[&["run", "--model", "reference"], &flags[..]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let summary = json(&place.run_dir().join("summary.json"));
    assert_eq!(summary["summary"]["provenance"]["final_program"], "public");
    assert_eq!(summary["summary"]["passed"], 1);
}

#[test]
fn exported_and_changed_prompts_reach_the_sessions_and_their_hashes_are_kept() {
    let place = Place::new();
    let exported = place.coordinator(&["prompts", "export", "mine"]);
    assert_eq!(
        (exported.code, exported.stdout.as_str()),
        (Some(0), ""),
        "{}",
        exported.stderr
    );
    let shown = place.coordinator(&["prompts", "show", "analyst"]);
    assert_eq!(
        shown.stdout,
        fs::read_to_string(place.path().join("mine/analyst.j2")).unwrap()
    );
    let names = place.coordinator(&["prompts", "show"]).stdout;
    assert_eq!(names.lines().count(), entries(&place.path().join("mine")).len());

    let provenance_of = |flags: &[&str]| {
        let place_of_run = Place::new();
        let args = [&["run", "--model", "reference", "--limit", "1"], flags].concat();
        let ran = place_of_run.coordinator(&args);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let run_dir = place_of_run.run_dir();
        let transcript = fs::read_to_string(run_dir.join("problem_001/transcript.jsonl")).unwrap();
        let summary = json(&run_dir.join("summary.json"));
        (summary["summary"]["provenance"]["prompts"].clone(), transcript)
    };
    let dir = place.path().join("mine");
    let (built_in, _) = provenance_of(&[]);
    assert_eq!(provenance_of(&["--prompts", dir.to_str().unwrap()]).0, built_in);
    fs::write(dir.join("analyst.j2"), "Plan it in verse.\n").unwrap();
    let (changed, transcript) = provenance_of(&["--prompts", dir.to_str().unwrap()]);
    assert!(transcript.contains("\\n\\nPlan it in verse.\""), "{transcript}");
    assert_ne!(changed["analyst"], built_in["analyst"]);
    assert_eq!(changed["coder"], built_in["coder"]);
}

#[test]
fn only_the_chosen_tiers_are_judged() {
    let place = Place::new();
    let args = [
        "run",
        "--model",
        "reference",
        "--limit",
        "2",
        "--tests",
        "private,public",
        "--comparator",
        "lines",
    ];
    let ran = place.coordinator(&args);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let summary = json(&place.run_dir().join("summary.json"));
    let tiers = summary["summary"]["tiers"].as_object().unwrap();
    assert_eq!(tiers.keys().collect::<Vec<_>>(), ["private", "public"]);
    assert_eq!(summary["summary"]["provenance"]["comparator"], "lines");
    let tests = summary["results"][0]["test_results"].as_array().unwrap().len();
    assert_eq!(tests, 6, "problem 1 has one public and five private tests");
}

#[test]
fn fail_under_sets_the_exit_code_and_a_complete_run_leaves_nothing_to_resume() {
    let place = Place::new();
    let ran = place.coordinator(&["run", "--model", "reference", "--ids", "14", "--fail-under", "50"]);
    assert_eq!(ran.code, Some(100), "{}", ran.stderr);
    let run_dir = place.run_dir();
    let again = place.coordinator(&["run", "--resume", run_dir.to_str().unwrap()]);
    assert_eq!((again.code, again.stdout.as_str()), (Some(4), ""));
}

#[test]
fn reports_are_rebuilt_byte_for_byte_from_the_state_and_from_the_summary() {
    let place = Place::new();
    let ran = place.coordinator(&["run", "--model", "reference", "--limit", "2"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let run_dir = place.run_dir();
    let files = [
        "REPORT.txt",
        "summary.json",
        "eval_checkpoint.json",
        "problem_001/session_history.json",
        "problem_002/final_solution.py",
        "problem_002/round_0/report_iteration.txt",
    ];
    let read = || files.map(|file| fs::read_to_string(run_dir.join(file)).unwrap());
    let before = read();
    for file in files {
        fs::remove_file(run_dir.join(file)).unwrap();
    }
    let rebuilt = place.coordinator(&["report", run_dir.to_str().unwrap()]);
    assert_eq!(rebuilt.code, Some(0), "{}", rebuilt.stderr);
    // The program was told another form of the same path, which the files hold.
    let relative = run_dir.strip_prefix(place.path()).unwrap().to_str().unwrap();
    let again = place.coordinator(&["report", relative]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert_eq!(read(), before);

    fs::remove_dir_all(run_dir.join(".state")).unwrap();
    fs::remove_file(run_dir.join("REPORT.txt")).unwrap();
    let from_summary = place.coordinator(&["report", relative]);
    assert_eq!(from_summary.code, Some(0), "{}", from_summary.stderr);
    assert_eq!(fs::read_to_string(run_dir.join("REPORT.txt")).unwrap(), before[0]);
    assert_eq!(from_summary.stdout, before[0]);
}

#[test]
fn a_path_too_long_for_a_socket_is_no_obstacle() {
    let place = Place::new();
    let deep = format!("{}/{}", "a".repeat(90), "b".repeat(90));
    let ran = place.coordinator(&[
        "run",
        "--model",
        "reference",
        "--limit",
        "1",
        "--output-dir",
        &deep,
    ]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

/// What a run came to: each problem's program and the verdicts on it, and the tokens.
fn came_to(run_dir: &Path) -> (Vec<serde_json::Value>, serde_json::Value) {
    let mut summary = json(&run_dir.join("summary.json"));
    let mut results = summary["results"].take();
    for result in results.as_array_mut().unwrap() {
        let result = result.as_object_mut().unwrap();
        result.retain(|key, _| key != "problem_dir");
        for test in result["test_results"].as_array_mut().unwrap() {
            test.as_object_mut().unwrap().remove("time_cost");
        }
    }
    let results = results.as_array().unwrap().clone();
    (results, summary["summary"]["token_usage"].take())
}

/// The lines of a recording, without what differs from run to run.
fn calls(file: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(file).unwrap();
    text.lines()
        .map(|line| {
            let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
            let fields = line.as_object_mut().unwrap();
            fields.retain(|key, _| key != "run_id" && key != "duration_ms");
            line
        })
        .collect()
}

#[test]
fn recorded_run_comes_to_the_same_programs_verdicts_and_tokens_without_its_model() {
    let place = Place::new();
    let run = |output: &str, flags: &[&str]| {
        let args = [&["run", "--ids", "1,2,14", "--output-dir", output], flags].concat();
        let ran = place.coordinator(&args);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let output = place.path().join(output);
        (ran.stderr, output.join(&entries(&output)[0]))
    };
    let flags = [
        "--model",
        "reference",
        "--tester",
        "public+cases",
        "--record",
        "calls.jsonl",
    ];
    let (stderr, reference) = run("reference", &flags);
    assert!(
        stderr.contains("calls of 3 sessions are recorded in `calls.jsonl`\n"),
        "{stderr}"
    );

    // The offline model counts no tokens: as many as the answer has bytes, and some for the prompt.
    let mut total = 0;
    let counted: String = fs::read_to_string(place.path().join("calls.jsonl"))
        .unwrap()
        .lines()
        .map(|line| {
            let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
            if let Some(reply) = line["reply"].as_str() {
                let output = reply.len();
                total += 100 + output;
                line["usage"] = serde_json::json!({
                    "input": 100, "cached_input": 7, "output": output, "reasoning": 0,
                });
            }
            format!("{line}\n")
        })
        .collect();
    fs::write(place.path().join("counted.jsonl"), counted).unwrap();

    // Neither problems nor settings are named: those of the recording hold.
    let flags = ["--model", "recorded:counted.jsonl", "--record", "again.jsonl"];
    let (stderr, first) = run("first", &flags);
    let loud = "warning: `recorded:` is no model: it repeats what `reference` answered in run ";
    assert_eq!(grep(&stderr, &[loud]), 1, "{stderr}");
    assert_eq!(
        grep(&stderr, &["warning: "]),
        grep(&stderr, &[loud, "isolation is"]),
        "{stderr}"
    );
    let without_tokens = |results: Vec<serde_json::Value>| -> Vec<serde_json::Value> {
        let strip = |mut result: serde_json::Value| {
            result.as_object_mut().unwrap().remove("tokens_used");
            result
        };
        results.into_iter().map(strip).collect()
    };
    let (results, tokens) = came_to(&first);
    assert_eq!(results.len(), 3);
    assert_eq!(
        without_tokens(results.clone()),
        without_tokens(came_to(&reference).0)
    );
    assert_eq!(tokens["total"], total);
    let summary = &json(&first.join("summary.json"))["summary"];
    assert_eq!(summary["model"], "recorded:reference");
    assert_eq!(summary["provenance"]["tester"], "public+cases");
    let transcript = fs::read_to_string(first.join("problem_001/transcript.jsonl")).unwrap();
    assert!(
        !transcript.contains("remarks"),
        "a prompt is not the recorded one: {transcript}"
    );

    // What was played back is a recording like the first, and its runs differ in their times alone.
    assert_eq!(
        calls(&place.path().join("again.jsonl")),
        calls(&place.path().join("counted.jsonl"))
    );
    let (_, second) = run("second", &["--model", "recorded:again.jsonl"]);
    assert_eq!(came_to(&second), (results, tokens));
    let report = |run_dir: &Path| mask::run(&fs::read_to_string(run_dir.join("REPORT.txt")).unwrap());
    assert_eq!(report(&second), report(&first));

    let dir = second.to_str().unwrap();
    let late = place.coordinator(&["run", "--resume", dir, "--record", "late.jsonl"]);
    assert_eq!(
        (late.code, late.stdout.as_str()),
        (Some(0), ""),
        "{}",
        late.stderr
    );
    assert_eq!(
        calls(&place.path().join("late.jsonl")),
        calls(&place.path().join("counted.jsonl"))
    );
}

#[test]
fn problem_that_nothing_is_recorded_for_is_an_error_and_no_verdict() {
    let place = Place::new();
    let flags = ["--model", "reference", "--limit", "2", "--record", "calls.jsonl"];
    let ran = place.coordinator(&[&["run", "--output-dir", "first"], &flags[..]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let file = place.path().join("calls.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    let is_dropped =
        |line: &str| line.contains("\"position\":2,") || line.contains("\"speaker\":\"coder\",\"round\":1,");
    let kept = text.lines().filter(|line| !is_dropped(line));
    let kept: String = kept.map(|line| format!("{line}\n")).collect();
    assert_ne!(kept, text);
    fs::write(&file, kept).unwrap();
    let ran = place.coordinator(&["run", "--model", "recorded:calls.jsonl", "--limit", "2"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    let warning = "warning: nothing is recorded for 1 of 2 problems, the first of them `problem_002`: they end as \
                   errors\n";
    assert!(ran.stderr.contains(warning), "{}", ran.stderr);
    let summary = json(&place.run_dir().join("summary.json"));
    let of = |i: usize, key: &str| summary["results"][i][key].clone();
    assert_eq!(
        (of(0, "outcome"), of(1, "outcome")),
        ("error".into(), "error".into())
    );
    assert_eq!(
        of(0, "error")["message"],
        "nothing is recorded for coder, round 1"
    );
    assert_eq!(
        of(1, "error")["message"],
        "nothing is recorded for analyst, round 0"
    );
}

#[test]
fn worker_judges_a_file_in_order() {
    let place = Place::new();
    let case = |id: &str, source: &str| {
        serde_json::json!({
            "id": id, "language": "python3", "source": source, "input": "5\n", "expected": "5\n",
            "limits": {"cpu_ms": 1000, "wall_ms": 3000, "output_bytes": 1_000_000},
        })
        .to_string()
            + "\n"
    };
    let cases = [
        case("right", "print(input())"),
        case("wrong", "print(6)"),
        case("raises", "print(input())\nraise ValueError('no')"),
        case("loops", "while True: pass"),
        case("floods", "while True: print('x' * 1000)"),
        case("does not compile", "print("),
        case("right again", "print(input())"),
    ];
    fs::write(place.path().join("cases.jsonl"), cases.concat()).unwrap();
    let ran = place.worker(&["judge", "--cases", "cases.jsonl"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let lines: Vec<serde_json::Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let verdicts: Vec<&str> = lines
        .iter()
        .map(|line| line["verdict"].as_str().unwrap())
        .collect();
    assert_eq!(verdicts, ["AC", "WA", "RE", "TLE", "OLE", "CE", "AC"]);
    assert_eq!(lines[2]["exit_code"], 1);
    assert!(
        lines[2]["stderr_tail"]
            .as_str()
            .unwrap()
            .ends_with("ValueError: no\n")
    );
    let keys: Vec<&String> = lines[0].as_object().unwrap().keys().collect();
    assert_eq!(keys.len(), 10, "{keys:?}");
}

#[test]
fn runs_are_compared_with_the_first_one() {
    let place = Place::new();
    let summary = |name: &str, generation: f64, evaluation: f64| {
        let summary = serde_json::json!({"summary": {
            "passed": 45, "total": 100,
            "time_cost": {"total": generation + evaluation, "generation": generation, "evaluation": evaluation},
        }, "results": []});
        fs::write(place.path().join(name), summary.to_string()).unwrap();
    };
    summary("one.json", 3600.0, 300.0);
    summary("four.json", 900.0, 150.0);
    let ran = place.coordinator(&["compare", "one.json", "four.json"]);
    let expected = "\
one.json (45/100)
⏱️  生成耗时: 3600 秒 (~60 分钟)
⏱️  评估耗时: 300 秒 (~5 分钟)
⏱️  总耗时: 3900 秒 (~65 分钟)

four.json (45/100)
⏱️  生成耗时: 900 秒 (~15 分钟) ⚡ 4x 加速
⏱️  评估耗时: 150 秒 (~2.5 分钟) ⚡ 2x 加速
⏱️  总耗时: 1050 秒 (~17.5 分钟) ⚡ 3.7x 加速
";
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), expected),
        "{}",
        ran.stderr
    );
}
