//! Whole sessions with scripted answers: what is sent, byte for byte, and what is left behind.
//!
//! The expected messages are in `golden/`; `ROUNDHOUSE_BLESS=1` writes them anew, for a person to read the change.
#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use std::collections::BTreeMap;
use std::path::Path;

use roundhouse_proto::{Failure, FailureClass, ReferenceMaterial, Verdict};

use super::scripted::*;
use super::*;
use crate::generate::hold::{HoldError, SessionPort, hold};
use crate::llm::reference::Reference;
use crate::llm::{AskError, MessageRole, Model};

#[test]
fn messages_of_every_scripted_session_are_the_golden_ones() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/generate/golden");
    for (name, script) in scripts() {
        let path = golden.join(format!("{name}.txt"));
        let written = written(&held(&script));
        if std::env::var_os("ROUNDHOUSE_BLESS").is_some() {
            std::fs::write(&path, &written).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == expected,
            "messages of {name} differ from {}:\n{written}",
            path.display()
        );
    }
}

#[test]
fn session_resumed_after_any_event_sends_what_an_undisturbed_one_sends() {
    for (name, script) in scripts() {
        let whole = held(&script);
        let reports: Vec<(u32, Digest, EvaluationReport)> = whole
            .tests
            .iter()
            .map(|tests| {
                (
                    tests.round,
                    Digest::of(tests.program.as_bytes()),
                    script.report(tests),
                )
            })
            .collect();
        for stored in 0..=whole.events.len() {
            let events = &whole.events[..stored];
            let is_said = |event: &&SessionEvent| matches!(event, SessionEvent::Said { .. });
            let said = events.iter().filter(is_said).count();
            // Giving up leaves no event of its own, only what follows from it.
            let gave_up = matches!(script.answers.get(said), Some(Scripted::None(_)))
                && !matches!(events.last(), Some(SessionEvent::Said { .. }));
            let given = said + usize::from(gave_up);
            let is_told = |event: &&SessionEvent| matches!(event, SessionEvent::RoundEnd { .. });
            let told = events.iter().filter(is_told).count().min(reports.len());
            // The report of the last round may have come before the worker was lost, or not.
            for reports in [&reports[..told], &reports[..]] {
                let blobs: BTreeMap<Digest, Bytes> = blobs_of(events);
                let stored_events: Vec<SessionEvent> = events.iter().map(as_blobs).collect();
                assert_eq!(blobs_needed(&stored_events).len(), said);
                let session = Session::resume(
                    script.task(),
                    prompts(),
                    &stored_events,
                    |digest| blobs.get(&digest).cloned(),
                    reports,
                )
                .unwrap_or_else(|error| panic!("{name} after {stored} events: {error:?}"));
                let rest = go_on(session, &script, given);
                assert_eq!(rest.asks, whole.asks[given..], "{name} after {stored} events");
                assert_eq!(
                    rest.events,
                    whole.events[stored..],
                    "{name} after {stored} events"
                );
            }
        }
    }
}

/// The event with its answer as a blob, as a long one is stored.
fn as_blobs(event: &SessionEvent) -> SessionEvent {
    let mut event = event.clone();
    if let SessionEvent::Said { prompt, reply, .. } = &mut event {
        *prompt = Payload::Blob(prompt.digest());
        *reply = Payload::Blob(reply.digest());
    }
    event
}

fn blobs_of(events: &[SessionEvent]) -> BTreeMap<Digest, Bytes> {
    let reply = |event: &SessionEvent| match event {
        SessionEvent::Said {
            reply: Payload::Inline(bytes),
            ..
        } => Some((Digest::of(bytes), bytes.clone())),
        _ => None,
    };
    events.iter().filter_map(reply).collect()
}

#[test]
fn every_first_message_begins_with_the_same_bytes_and_roles_alternate() {
    for (name, script) in scripts() {
        let held = held(&script);
        let first = &held.asks[0].messages[0].content;
        let shared = first.find("Your part:").unwrap_or_else(|| {
            let is_alone = held.asks.iter().all(|ask| ask.speaker == Speaker::Coder);
            assert!(is_alone, "{name}: only who is alone has no part");
            first.len()
        });
        for ask in &held.asks {
            assert!(ask.messages[0].content.starts_with(&first[..shared]), "{name}");
            let statements: usize = ask
                .messages
                .iter()
                .map(|message| message.content.matches(script.statement()).count())
                .sum();
            assert_eq!(statements, 1, "{name}");
            for (place, message) in ask.messages.iter().enumerate() {
                let expected = if place % 2 == 0 {
                    MessageRole::User
                } else {
                    MessageRole::Assistant
                };
                assert_eq!(message.role, expected, "{name}");
                assert!(!message.content.trim().is_empty(), "{name}");
            }
            assert_eq!(ask.messages.len() % 2, 1, "{name}");
        }
    }
}

#[test]
fn every_session_stops_for_its_reason_with_its_program() {
    let right = Some("def main():\n    print(int(input()) + 1)\nmain()\n".to_owned());
    let right_too = Some("def main():\n    print(1 + int(input()))\nmain()\n".to_owned());
    let wrong = Some("def main():\n    print(int(input()))\nmain()\n".to_owned());
    let expected = [
        ("pass_at_once", StopReason::Passed, &right),
        ("repair", StopReason::Passed, &right),
        ("tester_wrong_then_unchanged", StopReason::Unchanged, &right),
        ("no_code_then_asked_again", StopReason::RoundLimit, &right),
        ("no_cases", StopReason::NoCases, &right),
        ("truncated", StopReason::Truncated, &right),
        ("context_limit", StopReason::ContextLimit, &right),
        ("public_and_cases", StopReason::Disputed, &right_too),
        ("public_without_cases", StopReason::Passed, &right),
        ("review", StopReason::Passed, &right),
        ("review_without_verdict", StopReason::RoundLimit, &right_too),
        ("final_public", StopReason::RoundLimit, &right),
        ("final_public_of_a_review", StopReason::Budget, &right),
    ];
    for (name, reason, program) in expected {
        let held = held(&script(name));
        assert_eq!(
            (held.outcome().stop_reason, &held.program()),
            (reason, program),
            "{name}"
        );
        assert_eq!(held.outcome().patched, ["main()"], "{name}");
    }
    let mut session = script("no_code_then_asked_again");
    session.answers.truncate(5);
    session.answers.extend([Said("", STOP), Said("nothing", STOP)]);
    let held = held(&session);
    assert_eq!(
        (held.outcome().stop_reason, held.program()),
        (StopReason::NoCode, wrong)
    );
}

#[test]
fn rounds_end_with_their_reports() {
    let told = "The compilation output of the preceding code is: ";
    let repair = held(&script("repair"));
    assert_eq!(
        repair.rounds(),
        [
            (
                0,
                format!(
                    "{told}Test Case 1 Failed:\n  Status: WA\n  Input:\n5\n  Expected:\n6\n  Actual Output:\n5\n\n\
                     Test Case 2 Failed:\n  Status: WA\n  Input:\n0\n  Expected:\n1\n  Actual Output:\n0"
                ),
                TWO_CASES.trim_end().to_owned() + "\n"
            ),
            (1, format!("{told}Code Test Passed."), NEXT_CASE.to_owned()),
        ]
    );
    assert_eq!(repair.tests[1].cases.cases.len(), 3, "earlier cases run again");
    let message = &repair.asks[3].messages[2].content;
    assert!(
        message.contains(&repair.rounds()[0].1),
        "the coder sees the report as it is stored"
    );
    assert_eq!(
        held(&script("no_code_then_asked_again")).rounds()[1].1,
        "No test ran: the round limit was reached."
    );
    assert_eq!(
        held(&script("tester_wrong_then_unchanged")).rounds()[1].1,
        "No test ran: the program is the one of the round before."
    );
}

#[test]
fn broken_rules_are_noted() {
    assert_eq!(
        held(&script("no_code_then_asked_again")).outcome().notes,
        [
            "analyst, round 0: empty plan, asked again",
            "coder, round 0: no program, asked again",
            "coder, round 1: no program, asked again",
        ]
    );
    assert_eq!(
        held(&script("no_cases")).outcome().notes,
        [
            "tester, round 0: no usable case, asked again",
            "tester, round 0: no usable case again",
        ]
    );
}

#[test]
fn one_round_runs_nothing() {
    let held = held(&Script::new(1, &[Said(PLAN, STOP), Said(RIGHT, STOP)], &[]));
    assert_eq!(held.tests, []);
    assert_eq!(held.outcome().stop_reason, StopReason::RoundLimit);
    assert_eq!(held.rounds().len(), 1);
}

#[test]
fn refusal_ends_the_session_with_what_it_has() {
    let filter = FinishReason::ContentFilter;
    let first = held(&Script::new(
        2,
        &[Said("", filter), Said("I will not.", filter)],
        &[],
    ));
    assert_eq!(
        (first.outcome().stop_reason, first.program()),
        (StopReason::Refused, None)
    );
    assert_eq!(first.rounds(), []);
    let tester = held(&Script::new(
        2,
        &[Said(PLAN, STOP), Said(RIGHT, STOP), Said("", filter)],
        &[],
    ));
    assert_eq!(tester.outcome().stop_reason, StopReason::Refused);
    assert_eq!(tester.rounds().len(), 1);
}

#[test]
fn reasoning_is_kept_apart_and_never_sent_again() {
    let cases = "<think>\nlet me see\n</think>\nInput: 5\nOutput: 6\n";
    let script = Script::new(
        3,
        &[
            Said(PLAN, STOP),
            Said(WRONG, STOP),
            Said(cases, STOP),
            Said(RIGHT, STOP),
            Said(NEXT_CASE, STOP),
        ],
        &[&[Some("5")], &[None, None]],
    );
    let held = held(&script);
    assert!(!written(&held).contains("let me see"));
    let reasoning = held.events.iter().find_map(|event| match event {
        SessionEvent::Said { reasoning, .. } => reasoning.as_ref().map(text),
        _ => None,
    });
    assert_eq!(reasoning, Some("let me see".to_owned()));
}

#[test]
fn events_of_another_session_are_refused_by_number() {
    let script = script("repair");
    let whole = held(&script);
    let resume = |events: &[SessionEvent], script: &Script| {
        let error = Session::resume(script.task(), prompts(), events, |_| None, &[]).unwrap_err();
        Failure::from(error).message
    };
    let mut swapped = whole.events[..2].to_vec();
    swapped.swap(0, 1);
    assert_eq!(
        resume(&swapped, &script),
        "replay event 0 of the session: the coder's reply in round 0, asking 0 was stored where \
         the analyst's reply in round 0, asking 0 would follow"
    );
    let mut other_prompt = whole.events[..2].to_vec();
    if let SessionEvent::Said { prompt, .. } = &mut other_prompt[1] {
        *prompt = Payload::text("other");
    }
    assert_eq!(
        resume(&other_prompt, &script),
        "replay event 1 of the session: the prompt stored with the coder's reply in round 0, asking 0 \
         is not the one that this worker's templates give"
    );
    assert_eq!(
        resume(&[as_blobs(&whole.events[0])], &script),
        "replay event 0 of the session: the text of the analyst's reply in round 0, asking 0 is missing"
    );
    assert_eq!(
        resume(&whole.events[..5], &script),
        "replay event 4 of the session: the report on the tests of round 0 is missing"
    );
    let mut other_program = whole.events[..4].to_vec();
    if let SessionEvent::TestRequest { program, .. } = &mut other_program[3] {
        *program = Payload::text("other");
    }
    assert_eq!(
        resume(&other_program, &script),
        "replay event 3 of the session: the test request of round 0 was stored with other contents \
         than follow from the events before it"
    );
    let mut too_long = held(&Script::new(1, &[Said(PLAN, STOP), Said(RIGHT, STOP)], &[])).events;
    too_long.push(whole.events[0].clone());
    assert_eq!(
        resume(&too_long, &Script::new(1, &[], &[])),
        "replay event 4 of the session: the analyst's reply in round 0, asking 0 was stored where nothing would follow"
    );
}

#[test]
fn settings_without_a_session_are_refused() {
    let mut task = script("repair").task();
    task.settings.max_rounds = 0;
    assert!(matches!(
        Session::begin(task, prompts()),
        Err(SessionError::NoRounds)
    ));
}

/// A coordinator that runs the known programs by hand.
#[derive(Default)]
struct FakePort {
    events: Vec<SessionEvent>,
    blobs: Vec<Digest>,
    judged: Vec<(u32, Verdict)>,
    broken: bool,
}

impl SessionPort for FakePort {
    async fn store_blob(&mut self, bytes: Bytes) -> Result<Digest, Failure> {
        self.blobs.push(Digest::of(&bytes));
        Ok(Digest::of(&bytes))
    }

    async fn store(&mut self, event: SessionEvent) -> Result<(), Failure> {
        if let SessionEvent::TestRequest { cases, .. } = &event {
            assert_eq!(self.blobs.last(), Some(cases), "the cases are durable first");
        }
        self.events.push(event);
        Ok(())
    }

    async fn tests(
        &mut self,
        round: u32,
        program: Digest,
        cases: &TestSet,
    ) -> Result<EvaluationReport, Failure> {
        let requested = self.events.last();
        assert!(
            matches!(requested, Some(SessionEvent::TestRequest { program: stored, .. })
            if stored.digest() == program)
        );
        let is_wrong = program == Digest::of(b"print(\"deliberately wrong\")\n");
        let wrong = vec![is_wrong.then_some("deliberately wrong\n"); cases.cases.len()];
        let mut report = report(&wrong);
        if self.broken {
            report
                .cases
                .iter_mut()
                .for_each(|case| case.verdict = Verdict::InternalError);
        }
        self.judged.push((round, report.cases[0].verdict));
        Ok(report)
    }
}

fn reference() -> Reference {
    reference_tester(TesterMode::Cases)
}

fn reference_tester(tester: TesterMode) -> Reference {
    let material = ReferenceMaterial {
        program: Some("print(int(input()) + 1)\n".to_owned()),
        cases: vec![case("1\n", "2\n"), case("Input:\n```\n", "### Test 1\n")],
    };
    Reference::new(material, tester)
}

fn reference_session(max_rounds: u32) -> Session {
    Session::begin(Script::new(max_rounds, &[], &[]).task(), prompts()).unwrap()
}

fn outcome(port: &FakePort) -> (StopReason, Option<String>) {
    match port.events.last() {
        Some(SessionEvent::Finished(outcome)) => (outcome.stop_reason, outcome.program.as_ref().map(text)),
        other => panic!("the session ended with {other:?}"),
    }
}

#[tokio::test]
async fn reference_model_fails_round_0_and_passes_round_1() {
    let mut port = FakePort::default();
    hold(reference_session(3), &reference(), &mut port).await.unwrap();
    assert_eq!(port.judged, [(0, Verdict::WrongAnswer), (1, Verdict::Accepted)]);
    let right = Some("print(int(input()) + 1)\n".to_owned());
    assert_eq!(outcome(&port), (StopReason::Passed, right.clone()));
    let mut port = FakePort::default();
    hold(reference_session(2), &reference(), &mut port).await.unwrap();
    assert_eq!(outcome(&port), (StopReason::RoundLimit, right));
    assert!(
        port.events
            .iter()
            .all(|event| !matches!(event, SessionEvent::Said { usage: Some(_), .. }))
    );
}

#[tokio::test]
async fn reference_model_as_a_reviewer_fails_round_0_and_passes_round_1() {
    let mut port = FakePort::default();
    let task = Script::new(3, &[], &[]).with_tester(TesterMode::Review).task();
    let session = Session::begin(task, prompts()).unwrap();
    hold(session, &reference_tester(TesterMode::Review), &mut port)
        .await
        .unwrap();
    assert_eq!(port.judged, []);
    let right = Some("print(int(input()) + 1)\n".to_owned());
    assert_eq!(outcome(&port), (StopReason::Passed, right));
}

#[tokio::test]
async fn reference_model_without_a_program_leaves_the_wrong_one() {
    let mut port = FakePort::default();
    let material = ReferenceMaterial {
        program: None,
        cases: vec![case("1\n", "2\n")],
    };
    let model = Reference::new(material, TesterMode::Cases);
    hold(reference_session(3), &model, &mut port).await.unwrap();
    let wrong = Some("print(\"deliberately wrong\")\n".to_owned());
    assert_eq!(outcome(&port), (StopReason::NoCode, wrong));
}

#[tokio::test]
async fn tests_that_no_machine_could_judge_are_a_failure_of_ours() {
    let mut port = FakePort {
        broken: true,
        ..FakePort::default()
    };
    let failure = hold(reference_session(3), &reference(), &mut port)
        .await
        .unwrap_err();
    assert_eq!(
        failure,
        Failure {
            class: FailureClass::InfraRetry,
            message: "no case of round 0 could be judged".to_owned()
        }
        .into()
    );
}

#[test]
fn held_session_may_move_between_threads() {
    fn moves<T: Send>(_: T) {}
    let (model, mut port) = (reference(), FakePort::default());
    moves(hold(reference_session(2), &model, &mut port));
}

#[test]
fn cases_that_could_not_be_judged_are_noted_and_not_told() {
    let mut session = Session::begin(script("repair").task(), prompts()).unwrap();
    for text in [PLAN, RIGHT, TWO_CASES] {
        let reply = Reply {
            text: text.to_owned(),
            reasoning: None,
            usage: None,
            finish: STOP,
            remarks: Vec::new(),
            unaccounted: 0,
        };
        session.answer(reply, 1).unwrap();
    }
    let mut report = report(&[None, Some("7")]);
    report.cases[1].verdict = Verdict::InternalError;
    session.tested(&report).unwrap();
    let last = std::iter::from_fn(|| session.take_unstored()).last();
    let Some(SessionEvent::Finished(outcome)) = last else {
        panic!("the session ended with {last:?}");
    };
    assert_eq!(outcome.stop_reason, StopReason::Passed);
    assert_eq!(
        outcome.notes,
        ["tests, round 0: cases that could not be judged: 1"]
    );
}

/// A model that answers nothing.
struct Mute(AskError);

impl Model for Mute {
    async fn ask(&self, _: &Ask) -> Result<Reply, AskError> {
        Err(self.0.clone())
    }
}

#[tokio::test]
async fn budget_and_context_end_a_session_and_a_failure_breaks_it_off() {
    for (error, reason, unaccounted) in [
        (AskError::BudgetReached, StopReason::Budget, 0),
        (
            AskError::ContextLimit {
                message: "too long".to_owned(),
                unaccounted: 3,
            },
            StopReason::ContextLimit,
            3,
        ),
    ] {
        let mut port = FakePort::default();
        hold(reference_session(2), &Mute(error), &mut port).await.unwrap();
        assert_eq!(outcome(&port), (reason, None));
        let Some(SessionEvent::Finished(finished)) = port.events.last() else {
            panic!("the session did not end");
        };
        assert_eq!(finished.unaccounted, unaccounted);
    }
    let failure = Failure {
        class: FailureClass::Model,
        message: "connection refused".to_owned(),
    };
    let mut port = FakePort::default();
    let model = Mute(AskError::Failed {
        failure: failure.clone(),
        unaccounted: 2,
    });
    let broken_off = HoldError::Failed {
        failure,
        unaccounted: 2,
    };
    assert_eq!(
        hold(reference_session(2), &model, &mut port).await,
        Err(broken_off)
    );
    assert_eq!(port.events, []);
}
