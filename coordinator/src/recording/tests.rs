//! What a recording says of a run directory.

#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use std::sync::Arc;

use roundhouse_core::summary::ProblemOutcome;

use super::*;
use crate::report::Price;
use crate::report::fixture::{Fixture, STARTED};
use crate::run_dir::{RunDir, RunDirError};

const HEAD: &str = concat!(
    r#"{"roundhouse_recording":1,"run_id":"00000000-0000-0000-0000-000000000007","model":"deepseek-chat","#,
    r#""data_set":{"name":"CodeContests","sha256":"#,
    r#""d3cbf22ab7b3ee4b2e6bafad3a1a6d8f3ee0dc7b0b9e4cfa30b3b0f9d6b1bd55"},"#,
    r#""settings":{"method":"self-collaboration","max_rounds":2,"tester":"cases","final_program":"last","#,
    r#""sampling":{"temperature":0.0,"top_p":0.95,"max_tokens":4096},"patch":true,"comparator":"code-contests"}}"#,
);

/// A run whose second session ended with a prompt that did not fit, and whose last one has not ended.
fn fixture() -> Fixture {
    let mut fixture = Fixture::mixed();
    let session = &mut Arc::make_mut(&mut fixture.run.spec).session;
    session.model = "recorded:deepseek-chat".to_owned();
    let generation = &mut fixture.run.problems[1].generation;
    generation.as_mut().unwrap().stop_reason = StopReason::ContextLimit;
    fixture
}

/// Its directory, as it is when the run is over.
fn run_dir(fixture: &Fixture, output: &Path) -> PathBuf {
    let (run_dir, ()) = RunDir::create::<(), RunDirError>(output, STARTED, |_| Ok(())).unwrap();
    let (run, blobs) = (&fixture.run, fixture.reader());
    for (problem, came_to) in run.spec.problems.iter().zip(&run.problems) {
        if came_to.outcome != ProblemOutcome::Open {
            run_dir
                .write_session(&run.spec.session, problem, came_to, &blobs)
                .unwrap();
        }
    }
    run_dir
        .write_reports(run, Price::default(), &blobs, None)
        .unwrap();
    run_dir.path().to_owned()
}

#[test]
fn recording_holds_every_call_in_order_and_says_where_a_session_had_no_answer() {
    let temp = tempfile::tempdir().unwrap();
    let run_dir = run_dir(&fixture(), temp.path());
    let file = temp.path().join("calls.jsonl");
    let written = write(&run_dir, &file).unwrap();
    assert_eq!(
        written,
        Written {
            calls: 3,
            sessions: 5,
            open: 1
        }
    );
    let usage = r#"{"input":1000,"cached_input":200,"output":50,"reasoning":10}"#;
    let prompt = Digest::of(b"prompt");
    let call = |speaker, ask, model, reply, reasoning, usage| {
        format!(
            r#"{{"source_id":"1575_1. Sorting?","position":1,"speaker":"{speaker}","round":0,"ask":{ask},"#
        ) + &format!(r#""model":"{model}","prompt":"{prompt}","reply":{reply},"reasoning":{reasoning},"#)
            + &format!(r#""finish":"stop","usage":{usage},"duration_ms":1500}}"#)
    };
    let sha256 = Digest::of(b"the file").to_string();
    let at = HEAD.find("d3cbf22a").unwrap();
    let expected = [
        format!("{}{sha256}{}", &HEAD[..at], &HEAD[at + sha256.len()..]),
        call("analyst", 0, "deepseek-chat", r#""""#, "null", usage),
        call("analyst", 1, "deepseek-chat", r#""先读 \"n\"""#, r#""hm""#, usage),
        call(
            "coder",
            0,
            "deepseek-chat",
            r#""```python\nprint(1)\n```""#,
            "null",
            "null",
        ),
        r#"{"source_id":"1575_2. Sorting?","position":2,"unanswered":"context_limit"}"#.to_owned(),
    ];
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    let names: Vec<_> = fs::read_dir(temp.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(
        names.len(),
        2,
        "only the run and the recording are left: {names:?}"
    );
}

#[test]
fn recording_of_a_run_of_this_process_is_that_of_its_directory() {
    let temp = tempfile::tempdir().unwrap();
    let fixture = fixture();
    let run_dir = run_dir(&fixture, temp.path());
    let of_file = Plan::of_summary_file(&run_dir).unwrap();
    assert_eq!(Plan::of_run(&fixture.run.spec, Some(&fixture.run)), of_file);
    // What is known of a run that was interrupted.
    let interrupted = Plan::of_run(&fixture.run.spec, None);
    assert_eq!((interrupted.head, interrupted.sessions.len()), (of_file.head, 6));
}

#[test]
fn speaker_with_a_model_of_its_own_is_recorded_with_it() {
    let temp = tempfile::tempdir().unwrap();
    let mut fixture = fixture();
    let run_dir = run_dir(&fixture, temp.path());
    let file = run_dir.join(SUMMARY_FILE);
    let own = r#""model_for": {"coder": "recorded:big"}, "sampling""#;
    let text = fs::read_to_string(&file).unwrap().replace(r#""sampling""#, own);
    let of_file = Plan::of_summary(&file, text.as_bytes()).unwrap();
    let session = &mut Arc::make_mut(&mut fixture.run.spec).session;
    session.model_for = [(Speaker::Coder, "recorded:big".to_owned())].into();
    let of_run = Plan::of_run(&fixture.run.spec, Some(&fixture.run));
    assert_eq!(of_run, of_file);

    let file = temp.path().join("calls.jsonl");
    of_run.write(&run_dir, &file).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let lines = |word: &str| text.lines().filter(|line| line.contains(word)).count();
    assert_eq!(lines(r#""model_for":{"coder":"big"}"#), 1);
    assert_eq!(lines(r#""speaker":"coder","round":0,"ask":0,"model":"big""#), 1);
    assert_eq!(lines(r#""model":"deepseek-chat","prompt""#), 2);
}

#[test]
fn place_for_a_recording_is_checked_without_touching_it() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("calls.jsonl");
    check(&file).unwrap();
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    fs::write(&file, "kept").unwrap();
    check(&file).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
    let refused = check(&temp.path().join("none/calls.jsonl")).unwrap_err();
    assert!(matches!(refused, RecordingError::Write { .. }), "{refused}");
    let refused = check(temp.path()).unwrap_err();
    assert!(matches!(refused, RecordingError::NoFile { .. }), "{refused}");
}

#[test]
fn summary_that_leads_elsewhere_or_is_newer_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let run_dir = run_dir(&fixture(), temp.path());
    let file = run_dir.join(SUMMARY_FILE);
    let text = fs::read_to_string(&file).unwrap();
    let spoilt = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        Plan::of_summary(Path::new("s"), text.replace(from, to).as_bytes())
            .unwrap_err()
            .to_string()
    };
    let outside = spoilt(r#""name": "problem_001""#, r#""name": "../x""#);
    assert_eq!(
        outside,
        "`s` names a problem `../x`, which is no name of a directory"
    );
    let newer = spoilt(r#""schema_version": 1"#, r#""schema_version": 2"#);
    assert_eq!(
        newer,
        "`s` has schema version 2, but this program knows versions up to 1"
    );
}

#[test]
fn damaged_transcript_leaves_the_recording_as_it_was() {
    let temp = tempfile::tempdir().unwrap();
    let run_dir = run_dir(&fixture(), temp.path());
    let file = temp.path().join("calls.jsonl");
    fs::write(&file, "kept").unwrap();
    fs::write(run_dir.join("problem_003").join(TRANSCRIPT_FILE), "\n").unwrap();
    let error = write(&run_dir, &file).unwrap_err().to_string();
    assert!(
        error.ends_with("problem_003/transcript.jsonl`, line 1"),
        "{error}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
}
