//! What sets the methods apart, with scripted answers.

use roundhouse_proto::Method;

use super::scripted::*;
use super::*;

pub(super) fn scripts() -> Vec<(&'static str, Script)> {
    let wrong = Some("5\n");
    vec![
        (
            "direct",
            Script::new(4, &[Said(RIGHT, STOP)], &[]).with_method(Method::Direct),
        ),
        (
            "direct_asked_again",
            Script::new(4, &[Said("", STOP), Said(RIGHT, STOP)], &[]).with_method(Method::Direct),
        ),
        (
            "analyst_coder",
            Script::new(4, &[Said(PLAN, STOP), Said(RIGHT, STOP)], &[]).with_method(Method::AnalystCoder),
        ),
        (
            "coder_tester",
            Script::new(
                3,
                &[
                    Said(WRONG, STOP),
                    Said(TWO_CASES, STOP),
                    Said(RIGHT, STOP),
                    Said(NEXT_CASE, STOP),
                ],
                &[&[wrong, Some("0\n")], &[None, None, None]],
            )
            .with_method(Method::CoderTester),
        ),
        (
            "coder_tester_review",
            Script::new(2, &[Said(RIGHT, STOP), Said("VERDICT: PASS", STOP)], &[])
                .with_method(Method::CoderTester)
                .with_tester(TesterMode::Review),
        ),
    ]
}

fn speakers(held: &Held) -> Vec<(Speaker, u32)> {
    held.asks.iter().map(|ask| (ask.speaker, ask.round)).collect()
}

#[test]
fn every_method_asks_its_own_roles() {
    use Speaker::{Analyst, Coder, Tester};
    let asked = |name: &str| speakers(&held(&script(name)));
    assert_eq!(asked("direct"), [(Coder, 0)]);
    assert_eq!(asked("direct_asked_again"), [(Coder, 0), (Coder, 0)]);
    assert_eq!(asked("analyst_coder"), [(Analyst, 0), (Coder, 0)]);
    assert_eq!(
        asked("coder_tester"),
        [(Coder, 0), (Tester, 0), (Coder, 1), (Tester, 1)]
    );
    assert_eq!(
        asked("repair"),
        [(Analyst, 0), (Coder, 0), (Tester, 0), (Coder, 1), (Tester, 1)]
    );
}

#[test]
fn method_without_a_tester_ends_with_its_first_program_and_says_why_no_test_ran() {
    for (name, report) in [
        ("direct", "No test ran: the method `direct` has no tester."),
        (
            "analyst_coder",
            "No test ran: the method `analyst-coder` has no tester.",
        ),
    ] {
        for tester in TesterMode::ALL {
            let script = script(name).with_tester(tester).with_final(FinalChoice::Public);
            let held = held(&script);
            assert_eq!(held.rounds(), [(0, report.to_owned(), String::new())]);
            assert_eq!(held.tests, [], "{name}, {}", tester.word());
            assert_eq!(held.outcome().stop_reason, StopReason::RoundLimit);
            let right = "def main():\n    print(int(input()) + 1)\nmain()\n";
            assert_eq!(held.program().as_deref(), Some(right));
        }
    }
}

#[test]
fn no_role_hears_of_one_that_the_method_does_not_have() {
    for (name, absent) in [
        ("direct", &["analyst", "tester", "team", "coder"][..]),
        ("analyst_coder", &["tester"]),
        ("coder_tester", &["analyst", "plan"]),
    ] {
        let sent = written(&held(&script(name))).to_lowercase();
        let sent: Vec<&str> = sent.lines().filter(|line| !line.starts_with("==== ")).collect();
        for word in absent {
            let found = sent.iter().find(|line| line.contains(word));
            assert_eq!(found, None, "{name} tells of `{word}`");
        }
    }
}

#[test]
fn every_speaker_asks_its_own_model() {
    let script = script("repair");
    let mut task = script.task();
    task.settings.model_for = [
        (Speaker::Tester, "small".to_owned()),
        (Speaker::Analyst, "large".to_owned()),
    ]
    .into();
    let session = Session::begin(task, prompts()).expect("it has rounds");
    let held = go_on(session, &script, 0);
    let models: Vec<&str> = held.asks.iter().map(|ask| ask.model.as_str()).collect();
    assert_eq!(models, ["large", "scripted", "small", "scripted", "small"]);
}
