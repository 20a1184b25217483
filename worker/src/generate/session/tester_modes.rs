//! What each mode of the tester runs and what the coder is told then, with scripted answers.

use super::scripted::*;
use super::*;

#[test]
fn public_examples_run_without_asking_the_tester() {
    let mut script = Script::new(
        3,
        &[Said(PLAN, STOP), Said(WRONG, STOP), Said(RIGHT, STOP)],
        &[&[Some("1")], &[None]],
    );
    script.tester = TesterMode::Public;
    let held = held(&script);
    assert_eq!(held.outcome().stop_reason, StopReason::Passed);
    assert_eq!(held.tests[0].cases, script.task().public_cases);
    assert!(held.asks.iter().all(|ask| ask.speaker != Speaker::Tester));
}

#[test]
fn public_examples_run_before_the_testers_cases_and_win_over_them() {
    let script = script("public_and_cases");
    let held = held(&script);
    let inputs = |tests: &RoundTests| -> Vec<String> {
        let cases = tests.cases.cases.iter();
        cases
            .map(|case| String::from_utf8_lossy(&case.input).into_owned())
            .collect()
    };
    let expected: [&[&str]; 3] = [
        &["1\n", "5\n", "0\n"],
        &["1\n", "5\n", "0\n", "-1\n"],
        &["1\n", "5\n", "0\n", "-1\n"],
    ];
    assert_eq!(held.tests.iter().map(inputs).collect::<Vec<_>>(), expected);
    assert_eq!(
        held.rounds()[2].2,
        "",
        "the tester has had its repair and is not asked again"
    );

    let mut disputed = Script::new(
        2,
        &[
            Said(PLAN, STOP),
            Said(RIGHT, STOP),
            Said("Input: 1\nOutput: 3\n", STOP),
        ],
        &[&[None]],
    );
    disputed.tester = TesterMode::PublicAndCases;
    let held = super::scripted::held(&disputed);
    assert_eq!(held.tests[0].cases, disputed.task().public_cases);
    assert_eq!(held.outcome().stop_reason, StopReason::Passed);
    assert_eq!(
        held.outcome().notes,
        ["tester, round 0: cases dropped: 1 (1 repeated)"]
    );
}

#[test]
fn public_example_that_fails_again_earns_another_repair() {
    let script = Script::new(
        4,
        &[
            Said(PLAN, STOP),
            Said(WRONG, STOP),
            Said("Input: 5\nOutput: 7\n", STOP),
            Said(RIGHT, STOP),
            Said(RIGHT_TOO, STOP),
        ],
        &[&[None, Some("6\n")], &[Some("1\n"), None], &[None, None]],
    );
    let held = held(&script.with_tester(TesterMode::PublicAndCases));
    assert_eq!(held.outcome().stop_reason, StopReason::Passed);
    assert_eq!(held.tests.len(), 3);
}

#[test]
fn review_runs_nothing_and_is_the_report_of_its_round() {
    let review = held(&script("review"));
    assert_eq!(review.tests, []);
    let said = "No test ran: the tester read the program and says ";
    assert_eq!(
        review.rounds(),
        [
            (
                0,
                format!("{said}FAIL\n\nOn 0 it prints 0, and 1 is right."),
                "On 0 it prints 0, and 1 is right.\n\nVERDICT: FAIL".to_owned()
            ),
            (
                1,
                format!("{said}PASS\n\nNo mistake."),
                "No mistake.\n\n**VERDICT: PASS**\n".to_owned()
            ),
        ]
    );
    let message = &review.asks[4].messages[2].content;
    assert!(
        message.contains(&review.rounds()[0].1),
        "the coder sees the report as it is stored"
    );
    assert_eq!(
        held(&script("review_without_verdict")).outcome().notes,
        [
            "tester, round 0: neither PASS nor FAIL, asked again",
            "tester, round 0: neither PASS nor FAIL again, taken as FAIL",
            "tester, round 1: cut off, asked again with twice the tokens",
            "tester, round 1: neither PASS nor FAIL again, taken as FAIL",
        ]
    );
}
