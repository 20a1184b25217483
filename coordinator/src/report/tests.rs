//! The files of a run directory, whole.

#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

mod judging;

use std::sync::Arc;

use roundhouse_core::run::{Lang, ModelAt};
use roundhouse_core::summary::{ProblemOutcome, RunStatus};
use roundhouse_proto::{Failure, FailureClass, Language, Payload, SessionEvent, Speaker, Usage};
use serde_json::{Value, json};

use super::checkpoint::checkpoint;
use super::fixture::{Fixture, said};
use super::readable::report_of_bytes;
use super::session::{round_files, session_files};
use super::summary::collect;
use super::*;

fn setting() -> Setting {
    let run_dir = "baseline_outputs/run_20260209_153045".to_owned();
    Setting {
        run_dir,
        price: Price::default(),
    }
}

fn summary_json(fixture: &Fixture) -> Bytes {
    let setting = setting();
    let collected = collect(&fixture.run, &setting, &fixture.reader()).unwrap();
    collected.to_bytes().unwrap()
}

/// Both ways to REPORT.txt, which must agree.
fn readable(summary: &[u8]) -> String {
    let value: Value = serde_json::from_slice(summary).unwrap();
    let text = report(&value).unwrap();
    assert_eq!(report_of_bytes(summary).unwrap(), text);
    text
}

/// Lines that `grep "Pass@1\|总耗时"` finds.
fn searched(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| line.contains("Pass@1") || line.contains("总耗时"))
        .collect()
}

/// Compares with a file of `golden/`; with `UPDATE_GOLDEN=1` writes it instead.
fn assert_golden(name: &str, found: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/report/golden")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap();
    assert!(wanted == found, "{name} differs; found:\n{found}");
}

#[test]
fn readable_report_of_the_sample_run_is_the_published_one() {
    let mut wanted = "\
================================================================================
CodeContests Baseline 运行报告
================================================================================

运行时间: 2026-02-09 15:30:45
数据集: CodeContests
题目数量: 100

配置信息:
  - 并行模式: 开启
  - 生成进程数: 4
  - 评估进程数: 16

结果统计:
  - Pass@1: 45.00% (45/100)
  - 总耗时: 1045.77 秒
  - 生成耗时: 900.45 秒
  - 评估耗时: 145.32 秒
  - 总 Token: 1,234,567
  - 平均每题 Token: 12346

详细结果:
  ✅ PASS problem_001 (准确率: 100%)
  ❌ FAIL problem_002 (准确率: 50%)
  ✅ PASS problem_003 (准确率: 100%)
"
    .to_owned();
    for position in 4..=100 {
        let line = if position % 2 == 1 && position < 90 {
            format!("  ✅ PASS problem_{position:03} (准确率: 100%)\n")
        } else {
            format!("  ❌ FAIL problem_{position:03} (准确率: 50%)\n")
        };
        wanted.push_str(&line);
    }
    let found = readable(&summary_json(&Fixture::sample()));
    assert_eq!(found, wanted);
    assert_eq!(
        searched(&found),
        ["  - Pass@1: 45.00% (45/100)", "  - 总耗时: 1045.77 秒"]
    );
}

#[test]
fn summary_of_the_sample_run_has_the_published_numbers_in_the_published_order() {
    let bytes = summary_json(&Fixture::sample());
    let head = "\
{
  \"summary\": {
    \"pass_at_1\": 45.0,
    \"passed\": 45,
    \"total\": 100,
    \"time_cost\": {
      \"total\": 1045.77,
      \"generation\": 900.45,
      \"evaluation\": 145.32
    },
    \"token_usage\": {
      \"total\": 1234567,
      \"average_per_problem\": 12345.67,
      \"per_problem_details\": [
        {
          \"instance_id\": \"problem_001\",
          \"tokens_used\": 12345,
";
    let text = std::str::from_utf8(&bytes).unwrap();
    assert_eq!(&text[..head.len()], head);
    let config = "\
    \"config\": {
      \"parallel\": true,
      \"workers\": 4,
      \"eval_workers\": 16
    },
    \"timestamp\": \"2026-02-09T15:48:11.705519\",
    \"schema_version\": 1,
";
    assert!(text.contains(config), "{text}");
}

#[test]
fn files_of_a_mixed_run_are_the_golden_ones() {
    let fixture = Fixture::mixed();
    let setting = setting();
    let collected = collect(&fixture.run, &setting, &fixture.reader()).unwrap();
    let summary = collected.to_bytes().unwrap();
    assert_golden("summary.json", std::str::from_utf8(&summary).unwrap());
    let verdicts = checkpoint(&collected).unwrap();
    assert_golden("eval_checkpoint.json", std::str::from_utf8(&verdicts).unwrap());
    assert_golden("REPORT.txt", &readable(&summary));
}

#[test]
fn readable_report_in_english_is_the_golden_one_and_follows_the_summary_alone() {
    let mut fixture = Fixture::mixed();
    Arc::make_mut(&mut fixture.run.spec).lang = Lang::En;
    fixture.run.problems[3].outcome = ProblemOutcome::Error(Failure {
        class: FailureClass::Model,
        message: "model unreachable: Pass@1\nTotal time".to_owned(),
    });
    let summary = summary_json(&fixture);
    let report = readable(&summary);
    assert_golden("REPORT_en.txt", &report);
    let is_chinese =
        |c: char| ('\u{2e80}'..='\u{9fff}').contains(&c) || ('\u{ff00}'..='\u{ffef}').contains(&c);
    assert!(!report.contains(is_chinese), "{report}");
    let searched = report
        .lines()
        .filter(|line| line.contains("Pass@1") || line.contains("Total time"));
    assert_eq!(
        searched.collect::<Vec<_>>(),
        ["  - Pass@1: 16.67% (1/6)", "  - Total time: 12.34 s"]
    );

    let mut value: Value = serde_json::from_slice(&summary).unwrap();
    value["summary"]["lang"] = json!("xx");
    assert!(matches!(super::report(&value), Err(ReportError::Shape(_))));
    // A program that knew no other language wrote no word for it.
    value["summary"].as_object_mut().unwrap().remove("lang");
    let report = super::report(&value).unwrap();
    assert!(report.contains("\n  - 总耗时: 12.34 秒\n"), "{report}");
}

#[test]
fn status_says_how_the_run_stands_and_why() {
    let mut fixture = Fixture::mixed();
    let reason = |text: &str| text.to_owned();
    for (status, wanted) in [
        (RunStatus::Running, "running"),
        (RunStatus::Complete, "complete"),
        (
            RunStatus::Incomplete {
                reason: reason("2 errors"),
            },
            "incomplete (2 errors)",
        ),
        (
            RunStatus::Incomplete {
                reason: reason("paused: no key works"),
            },
            "incomplete (paused: no key works)",
        ),
        (
            RunStatus::Cancelled {
                reason: reason("as asked"),
            },
            "cancelled (as asked)",
        ),
    ] {
        fixture.run.status = status;
        let summary = summary_json(&fixture);
        let value: Value = serde_json::from_slice(&summary).unwrap();
        assert_eq!(value["summary"]["status"], json!(wanted));
        assert!(readable(&summary).contains(&format!("\n  - 未完成: 1 ({wanted})\n")));
    }
}

#[test]
fn readable_report_has_two_searched_lines_whatever_others_wrote() {
    let mut fixture = Fixture::mixed();
    let spec = Arc::make_mut(&mut fixture.run.spec);
    spec.data_set.name = "Pass@1\n总耗时: 1".to_owned();
    spec.problems[0].name = "Pass@1".to_owned();
    spec.problems[4].name = "总耗时".to_owned();
    spec.problems[5].name = "x\n  - Pass@1".to_owned();
    fixture.run.status = RunStatus::Incomplete {
        reason: "paused: Pass@1 总耗时".to_owned(),
    };
    let text = readable(&summary_json(&fixture));
    assert_eq!(
        searched(&text),
        ["  - Pass@1: 16.67% (1/6)", "  - 总耗时: 12.34 秒"]
    );
}

/// What is said of tokens: the total, calls unaccounted, and the lines of REPORT.txt between times and details.
fn of_tokens(fixture: &Fixture) -> (Value, Value, String) {
    let summary = summary_json(fixture);
    let value: Value = serde_json::from_slice(&summary).unwrap();
    let usage = &value["summary"]["token_usage"];
    assert_eq!(
        usage["total"].is_number(),
        usage["average_per_problem"].is_number(),
        "{usage}"
    );
    let report = readable(&summary);
    let lines = report
        .lines()
        .skip_while(|line| !line.contains("评估耗时"))
        .skip(1);
    let lines: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
    (
        usage["total"].clone(),
        usage["calls_unaccounted"].clone(),
        lines.join("\n"),
    )
}

#[test]
fn tokens_of_an_offline_model_are_not_known_and_no_call_of_it_is_unaccounted() {
    let mut fixture = Fixture::sample();
    let spec = Arc::make_mut(&mut fixture.run.spec);
    spec.model_at = ModelAt::Offline;
    for problem in &mut fixture.run.problems {
        problem.events = vec![said(Speaker::Coder, "reply", None)];
    }
    assert_eq!(
        of_tokens(&fixture),
        (
            json!("N/A"),
            json!(0),
            "  - 总 Token: N/A (未能统计到 token 使用量)".to_owned()
        )
    );
    let value: Value = serde_json::from_slice(&summary_json(&fixture)).unwrap();
    assert_eq!(value["results"][0]["tokens_used"], json!(0));
}

#[test]
fn every_call_of_an_endpoint_that_counts_no_tokens_is_unaccounted() {
    let mut fixture = Fixture::sample();
    for problem in &mut fixture.run.problems {
        problem.events = vec![said(Speaker::Coder, "reply", None)];
    }
    assert_eq!(
        of_tokens(&fixture),
        (
            json!("N/A"),
            json!(100),
            "  - 总 Token: N/A (未能统计到 token 使用量)\n  \
             - 未计入的调用: 100 (可能已计费, 未报告 token 数)"
                .to_owned()
        )
    );
}

#[test]
fn calls_without_a_count_tries_that_broke_and_calls_without_an_answer_are_unaccounted() {
    let mut fixture = Fixture::mixed();
    let tokens = "  - 总 Token: 2,100\n  - 平均每题 Token: 350\n";
    let rest =
        "(可能已计费, 未报告 token 数)\n  - 基础设施错误: 1\n  - 未完成: 1 (incomplete (1 error, 1 open))";
    let wanted = |n: u32| {
        (
            json!(2100),
            json!(n),
            format!("{tokens}  - 未计入的调用: {n} {rest}"),
        )
    };
    assert_eq!(of_tokens(&fixture), wanted(1));

    let mut broke = said(Speaker::Analyst, "plan", Some(Usage::default()));
    if let SessionEvent::Said { unaccounted, .. } = &mut broke {
        *unaccounted = 2;
    }
    fixture.run.problems[1].events.push(broke);
    fixture.run.problems[3].calls_unaccounted = 4;
    assert_eq!(of_tokens(&fixture), wanted(7));
}

#[test]
fn provenance_names_endpoint_models_remarks_and_whether_a_model_was_measured() {
    let mut fixture = Fixture::mixed();
    let value: Value = serde_json::from_slice(&summary_json(&fixture)).unwrap();
    let provenance = &value["summary"]["provenance"];
    assert_eq!(
        [
            &provenance["endpoint"],
            &provenance["offline"],
            &provenance["measured"],
            &provenance["remarks"]
        ],
        [&json!("deepseek"), &json!(false), &json!(true), &json!([])]
    );
    let absent = ["model_for", "remarks_left_out"];
    assert!(absent.iter().all(|key| provenance.get(key).is_none()));
    assert!(value["summary"].get("models").is_none());
    assert!(value["results"][0].get("entry_point").is_none());

    let spec = Arc::make_mut(&mut fixture.run.spec);
    spec.model_at = ModelAt::Offline;
    spec.problems[0].entry_point = Some("solve".to_owned());
    spec.session.model_for = [
        (Speaker::Coder, "large".to_owned()),
        (Speaker::Tester, "never asked".to_owned()),
    ]
    .into();
    fixture.run.endpoint = None;
    remark(&mut fixture.run.problems[0].events[0], &["b", "a"]);
    remark(&mut fixture.run.problems[0].events[1], &["a", "c", "b"]);
    let value: Value = serde_json::from_slice(&summary_json(&fixture)).unwrap();
    let provenance = &value["summary"]["provenance"];
    assert_eq!(
        [
            &provenance["endpoint"],
            &provenance["offline"],
            &provenance["measured"],
            &provenance["remarks"]
        ],
        [&Value::Null, &json!(true), &json!(false), &json!(["b", "a", "c"])]
    );
    assert_eq!(
        provenance["model_for"],
        json!({"coder": "large", "tester": "never asked"})
    );
    assert_eq!(
        value["summary"]["models"],
        json!({"analyst": "deepseek-chat", "coder": "large"})
    );
    assert_eq!(value["results"][0]["entry_point"], json!("solve"));
}

#[test]
fn remarks_beyond_the_most_are_counted() {
    let mut fixture = Fixture::mixed();
    let texts: Vec<String> = (0..107).map(|n| format!("remark {n}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    remark(&mut fixture.run.problems[0].events[0], &texts);
    remark(&mut fixture.run.problems[0].events[1], &texts);
    let value: Value = serde_json::from_slice(&summary_json(&fixture)).unwrap();
    let provenance = &value["summary"]["provenance"];
    assert_eq!(provenance["remarks"], json!(texts[..100]));
    assert_eq!(provenance["remarks_left_out"], json!(7));
}

fn remark(event: &mut SessionEvent, texts: &[&str]) {
    let SessionEvent::Said { remarks, .. } = event else {
        panic!("only what was said has remarks")
    };
    *remarks = texts.iter().map(|text| (*text).to_owned()).collect();
}

#[test]
fn empty_run_divides_by_nothing() {
    let summary = summary_json(&Fixture::empty());
    let value: Value = serde_json::from_slice(&summary).unwrap();
    assert_eq!(value["summary"]["pass_at_1"], json!(0.0));
    assert_eq!(value["results"], json!([]));
    let text = readable(&summary);
    assert!(text.contains("  - Pass@1: 0.00% (0/0)\n  - 总耗时: 0.00 秒\n"));
    assert!(text.ends_with("\n详细结果:\n"));
}

#[test]
fn report_is_made_of_an_old_summary_too_but_not_of_a_newer_one() {
    let mut value = json!({
        "summary": {
            "pass_at_1": 50.0, "passed": 1, "total": 2,
            "time_cost": {"total": 3, "generation": 2.004, "evaluation": 0.996},
            "token_usage": {"total": "N/A", "average_per_problem": "N/A", "per_problem_details": []},
            "config": {"parallel": false, "workers": 1, "eval_workers": 4},
            "timestamp": "2026-02-09T15:48:11.705519",
        },
        "results": [
            {"instance_id": "problem_001", "accuracy": 1.0, "passed": true},
            {"instance_id": "problem_002", "accuracy": 0.999, "passed": false},
        ],
    });
    assert_golden("REPORT_old.txt", &report(&value).unwrap());
    value["summary"]["schema_version"] = json!(SCHEMA_VERSION + 1);
    assert_eq!(
        report(&value).unwrap_err().to_string(),
        "summary.json has schema version 2, but this program knows versions up to 1"
    );
    let bytes = serde_json::to_vec(&value).unwrap();
    assert!(matches!(
        report_of_bytes(&bytes),
        Err(ReportError::Newer { found: 2 })
    ));
    assert!(matches!(report(&json!([])), Err(ReportError::Shape(_))));
}

#[test]
fn missing_blob_is_named_with_its_problem() {
    let mut fixture = Fixture::mixed();
    let tests = fixture.run.spec.problems[1].tests.unwrap();
    fixture.blobs.remove(&tests);
    let setting = setting();
    let err = collect(&fixture.run, &setting, &fixture.reader()).err().unwrap();
    assert_eq!(err.to_string(), "read the test set of `problem_001`");
}

fn session(fixture: &Fixture, place: usize) -> Vec<(String, String)> {
    let name = &fixture.run.spec.problems[place].name;
    let problem = &fixture.run.problems[place];
    let files = session_files(&fixture.run.spec.session, name, problem, &fixture.reader()).unwrap();
    files
        .into_iter()
        .map(|(name, bytes)| (name, text(&bytes)))
        .collect()
}

#[test]
fn session_leaves_its_history_its_transcript_and_the_judged_program() {
    let files = session(&Fixture::mixed(), 0);
    let history = r#"{
  "plan": "先读 \"n\"",
  "Round_0": {
    "code": "print(0)  # 第一轮\n",
    "report": "The compilation output of the preceding code is: …",
    "tests": "tests",
    "test_report": "Test Case 1:\nInput:\n1\n"
  },
  "Round_1": {
    "code": "print(1)\n"
  }
}
"#;
    let transcript = concat!(
        r#"{"speaker":"analyst","round":0,"ask":0,"prompt":"prompt","reply":"","reasoning":null,"finish":"stop","#,
        r#""usage":{"input":1000,"cached_input":200,"output":50,"reasoning":10},"duration_ms":1500}"#,
        "\n",
        r#"{"speaker":"analyst","round":0,"ask":1,"prompt":"prompt","reply":"先读 \"n\"","reasoning":"hm","#,
        r#""finish":"stop","usage":{"input":1000,"cached_input":200,"output":50,"reasoning":10},"#,
        r#""duration_ms":1500}"#,
        "\n",
        r#"{"speaker":"coder","round":0,"ask":0,"prompt":"prompt","reply":"```python\nprint(1)\n```","#,
        r#""reasoning":null,"finish":"stop","usage":null,"duration_ms":1500}"#,
        "\n",
    );
    let wanted = [
        ("session_history.json", history),
        ("transcript.jsonl", transcript),
        ("final_solution.py", "import sys\nprint(1)\n"),
    ];
    assert_eq!(
        files,
        wanted.map(|(name, text)| (name.to_owned(), text.to_owned()))
    );
}

#[test]
fn transcript_names_the_model_where_speakers_have_their_own_and_tries_that_broke() {
    let mut fixture = Fixture::mixed();
    let mut broke = said(Speaker::Coder, "reply", None);
    remark(&mut broke, &["tried again"]);
    if let SessionEvent::Said { unaccounted, .. } = &mut broke {
        *unaccounted = 2;
    }
    fixture.run.problems[0].events = vec![said(Speaker::Analyst, "plan", None), broke];
    let models = [(Speaker::Coder, "large".to_owned())].into();
    Arc::make_mut(&mut fixture.run.spec).session.model_for = models;
    let transcript = session(&fixture, 0).swap_remove(1).1;
    let wanted = concat!(
        r#"{"speaker":"analyst","round":0,"ask":0,"model":"deepseek-chat","prompt":"prompt","reply":"plan","#,
        r#""reasoning":null,"finish":"stop","usage":null,"duration_ms":1500}"#,
        "\n",
        r#"{"speaker":"coder","round":0,"ask":0,"model":"large","prompt":"prompt","reply":"reply","#,
        r#""reasoning":null,"finish":"stop","usage":null,"duration_ms":1500,"remarks":["tried again"],"#,
        r#""unaccounted":2}"#,
        "\n",
    );
    assert_eq!(transcript, wanted);
}

#[test]
fn final_solution_without_a_program_is_comments_that_declare_nothing() {
    let fixture = Fixture::mixed();
    let program = |place: usize| session(&fixture, place).pop().unwrap().1;
    assert_eq!(
        program(2),
        "# Generation failed\n# stop reason: no_code\n# notes of the session:\n\
         # no program: asked again\n# import os\n"
    );
    assert_eq!(
        program(3),
        "# Generation failed\n# failure of the machinery:\n\
         # model unreachable: Pass@1  [31m总耗时\n# # coding: utf-7\n# import os\n"
    );
    assert_eq!(program(5), "# Generation failed\n# the session has not ended\n");
}

#[test]
fn round_has_three_files_as_they_were_said() {
    let fixture = Fixture::mixed();
    let events = &fixture.run.problems[0].events;
    let files = |round| round_files(Language::Python3, "p", events, round, &fixture.reader()).unwrap();
    let named = |name: &str, text: &'static str| (name.to_owned(), Bytes::from_static(text.as_bytes()));
    assert_eq!(
        files(0),
        Some(vec![
            named("code_iteration.py", "print(0)  # 第一轮\n"),
            named(
                "report_iteration.txt",
                "The compilation output of the preceding code is: …"
            ),
            named("tests_raw.txt", "tests"),
        ])
    );
    assert_eq!(
        files(1).unwrap()[1],
        named("report_iteration.txt", "no test ran: the round limit was reached")
    );
    assert_eq!(files(2), None);
}

#[test]
fn texts_of_a_test_are_cut_to_a_hundred_characters() {
    let value: Value = serde_json::from_slice(&summary_json(&Fixture::mixed())).unwrap();
    let test = &value["results"][0]["test_results"][1];
    assert_eq!(test["stdin"], json!("题".repeat(100)));
    let stdout = format!("1\n(7 characters left out){}", "x".repeat(75));
    assert_eq!(test["stdout"], json!(stdout));
    assert_eq!(test["expected"], json!("\u{fffd} 1\n"));
    assert_eq!(test["status"], json!("AC"));
}

#[test]
fn payload_that_is_a_blob_reads_like_one_that_is_not() {
    let fixture = Fixture::mixed();
    let (digest, bytes) = fixture.blobs.iter().next().unwrap();
    let inline = content(&Payload::Inline(bytes.clone()), "p", "x", &fixture.reader()).unwrap();
    let stored = content(&Payload::Blob(*digest), "p", "x", &fixture.reader()).unwrap();
    assert_eq!(inline, stored);
}
