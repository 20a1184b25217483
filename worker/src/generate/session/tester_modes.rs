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

#[test]
fn public_examples_that_choose_the_final_program_are_run_and_not_told() {
    let script = script("final_public");
    let public = script.task().public_cases.cases;
    let chosen = held(&script);
    let cases: Vec<usize> = chosen.tests.iter().map(|tests| tests.cases.cases.len()).collect();
    assert_eq!(cases, [3, 4, 1]);
    assert!(
        chosen
            .tests
            .iter()
            .all(|tests| tests.cases.cases.starts_with(&public))
    );
    let reports: Vec<String> = chosen.rounds().into_iter().map(|round| round.1).collect();
    assert!(reports[0].contains("Test Case 2 Failed:"), "{}", reports[0]);
    assert!(
        !reports[1].contains("Test Case 1 Failed:"),
        "its failing public example is not told"
    );
    assert_eq!(reports[2], "No test ran: the round limit was reached.");

    let mut last = script;
    last.final_choice = FinalChoice::Last;
    last.reports = vec![vec![None, Some("5\n")], vec![None, Some("5\n"), None], vec![]];
    let last = held(&last);
    assert_eq!(last.asks, chosen.asks, "no model sees the choice");
    assert_eq!(last.program(), Some("print(0)\n".to_owned()));
}

#[test]
fn latest_program_wins_among_those_that_pass_as_many_public_examples() {
    let script = Script::new(
        3,
        &[
            Said(PLAN, STOP),
            Said(RIGHT, STOP),
            Said("Input: 5\nOutput: 7\n", STOP),
            Said(WRONG, STOP),
            Said("Input: 5\nOutput: 7\n", STOP),
            Said(RIGHT_TOO, STOP),
        ],
        &[&[None, Some("6\n")], &[Some("1\n"), Some("5\n")], &[None]],
    );
    let held = held(&script.with_final(FinalChoice::Public));
    let expected = "def main():\n    print(1 + int(input()))\nmain()\n";
    assert_eq!(held.program(), Some(expected.to_owned()));
}

#[test]
fn single_program_needs_no_public_examples_to_be_the_final_one() {
    let one = Script::new(1, &[Said(PLAN, STOP), Said(RIGHT, STOP)], &[]);
    let one = held(&one.with_final(FinalChoice::Public));
    assert_eq!(one.tests, []);
    let unchanged = Script::new(
        3,
        &[
            Said(PLAN, STOP),
            Said(RIGHT, STOP),
            Said("Input: 5\nOutput: 7\n", STOP),
            Said(RIGHT, STOP),
        ],
        &[&[None, Some("6\n")]],
    );
    let unchanged = held(&unchanged.with_final(FinalChoice::Public));
    assert_eq!(
        unchanged.tests.len(),
        1,
        "what the same program passes is known already"
    );
    assert_eq!(unchanged.outcome().stop_reason, StopReason::Unchanged);
}

#[test]
fn end_of_every_round_says_what_is_run_of_it_and_whether_it_passed() {
    let patched = "def main():\n    print(int(input()) + 1)\nmain()\n".to_owned();
    let wrong = "def main():\n    print(int(input()))\nmain()\n".to_owned();
    let repaired = Script::new(
        3,
        &[
            Said(PLAN, STOP),
            Said(WRONG, STOP),
            Said("Input: 5\nOutput: 6\n", STOP),
            Said(RIGHT, STOP),
            Said(NEXT_CASE, STOP),
        ],
        &[&[Some("5\n")], &[None, None]],
    );
    assert_eq!(
        held(&repaired).ends(),
        [(wrong.clone(), Some(false)), (patched.clone(), Some(true))]
    );

    let reviewed = [
        Said(PLAN, STOP),
        Said(WRONG, STOP),
        Said("It prints n.\nFAIL", STOP),
        Said(RIGHT, STOP),
    ];
    let last = Script::new(2, &reviewed, &[]).with_tester(TesterMode::Review);
    assert_eq!(
        held(&last).ends(),
        [(wrong.clone(), Some(false)), (patched.clone(), None)],
        "the last round is not tested"
    );
    let passed = [&reviewed[..], &[Said("PASS", STOP)]].concat();
    let passed = Script::new(3, &passed, &[]).with_tester(TesterMode::Review);
    assert_eq!(
        held(&passed).ends(),
        [(wrong, Some(false)), (patched, Some(true))]
    );
}
