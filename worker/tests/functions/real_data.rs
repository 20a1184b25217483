//! HumanEval's programs and recorded sessions, where a directory of them is named by `ROUNDHOUSE_SHARED`.

use futures_util::StreamExt;
use roundhouse_proto::FinishReason;
use roundhouse_worker::generate::extraction::program;
use roundhouse_worker::generate::patch::patch_function;
use roundhouse_worker::generate::signature::Signature;
use serde_json::Value;

use super::*;

fn rows(name: &str) -> Option<Vec<Value>> {
    let Ok(shared) = std::env::var("ROUNDHOUSE_SHARED") else {
        left_out(&format!("ROUNDHOUSE_SHARED is not set: {name} is not judged"));
        return None;
    };
    let text = std::fs::read_to_string(format!("{shared}/data/humaneval/{name}")).unwrap();
    Some(
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    )
}

#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
fn left_out(why: &str) {
    eprintln!("LEFT OUT: {why}");
}

/// Which rows' programs pass, by their places.
async fn passing(rows: &[Value], program: impl Fn(&Value) -> String) -> Vec<usize> {
    let pool = pool();
    let reports = rows.iter().map(|row| {
        let text = |field: &str| row[field].as_str().unwrap();
        let code = format!("{}\n\ncheck(candidate)\n", text("test").trim_end());
        pool.evaluate(evaluation(&program(row), text("entry_point"), &[&code]))
    });
    let reports: Vec<_> = futures_util::stream::iter(reports).buffered(4).collect().await;
    let passes = reports.into_iter().enumerate().filter_map(|(place, report)| {
        let result = &report.unwrap().cases[0];
        assert_ne!(result.verdict, Verdict::InternalError, "{}", result.stderr_tail);
        (result.verdict == Verdict::Accepted).then_some(place)
    });
    passes.collect()
}

fn joined(fields: &'static [&'static str]) -> impl Fn(&Value) -> String {
    move |row| fields.iter().map(|field| row[*field].as_str().unwrap()).collect()
}

#[tokio::test]
async fn every_canonical_solution_of_human_eval_passes() {
    let Some(rows) = rows("HumanEval.jsonl") else {
        return;
    };
    let passing = passing(&rows, joined(&["prompt", "canonical_solution"])).await;
    assert_eq!(passing, (0..164).collect::<Vec<_>>());
    // And none does without its body.
    let empty = self::passing(&rows, |row| {
        format!("{}    pass\n", row["prompt"].as_str().unwrap())
    })
    .await;
    assert_eq!(empty, Vec::<usize>::new());
}

#[tokio::test]
async fn reply_of_nothing_but_a_body_is_made_whole_by_the_statement() {
    let Some(rows) = rows("HumanEval.jsonl") else {
        return;
    };
    let whole = |row: &Value| {
        let text = |field: &str| row[field].as_str().unwrap();
        let reply = format!("```python\n{}```", text("canonical_solution"));
        let body = program(&reply, Language::Python3, FinishReason::Stop).unwrap();
        let signature = Signature::of(text("prompt"), text("entry_point"));
        let patched = patch_function(&body, text("entry_point"), &signature);
        assert_eq!(patched.added[0], format!("def {}", text("entry_point")));
        patched.program
    };
    assert_eq!(passing(&rows, whole).await.len(), 164);
}

#[tokio::test]
async fn recorded_programs_pass_as_often_as_published() {
    for (name, published) in [("sessions_doubao.jsonl", 128), ("sessions_gpt35.jsonl", 124)] {
        let Some(rows) = rows(name) else { return };
        assert_eq!(rows.len(), 164);
        // A session's own `prompt` is what stands before the function: imports and other functions.
        let passing = passing(&rows, joined(&["prompt", "completion"])).await;
        assert_eq!(passing.len(), published, "{name}");
    }
}
