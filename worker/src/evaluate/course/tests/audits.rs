//! What fresh runs beside forked ones say, and what follows.

use super::*;

#[test]
fn first_failure_of_a_forked_start_is_confirmed_by_a_fresh_one_and_later_ones_are_not() {
    for (comes, word) in [(Wrong, "WA"), (Crash, "RE"), (Late, "TLE")] {
        check(
            rules(),
            &[
                Scripted::always(Right),
                Scripted::always(comes),
                Scripted::always(comes),
            ],
            (
                &format!("AC {word} {word}"),
                audit(1, 0),
                Hold::Firm,
                "0 fast, 1 fast, 1 fresh Compare, 2 fast",
            ),
        );
    }
}

#[test]
fn failure_that_a_fresh_start_does_not_repeat_is_a_mismatch_and_the_rest_is_run_fresh() {
    check(
        rules(),
        &[Scripted::split(Crash, Right), Scripted::split(Crash, Right)],
        (
            "AC AC",
            audit(1, 1),
            Hold::Doubtful,
            "0 fast, 0 fresh Compare, 0 fast AskAgain, 0 fresh CompareAgain, 1 fresh",
        ),
    );
}

#[test]
fn program_whose_fresh_runs_differ_too_is_no_mismatch_and_the_confirmation_stands() {
    let script = Scripted {
        fresh: Right,
        fresh_again: Wrong,
        ..Scripted::always(Crash)
    };
    check(
        rules(),
        &[script, Scripted::always(Right)],
        (
            "AC AC",
            audit(1, 0),
            Hold::Doubtful,
            "0 fast, 0 fresh Compare, 0 fast AskAgain, 0 fresh CompareAgain, 1 fast",
        ),
    );
}

#[test]
fn audited_case_is_compared_by_its_whole_output_though_both_are_accepted() {
    check(
        auditing(),
        &[
            Scripted::always(Right),
            Scripted::split(RightOtherwise, Right),
            Scripted::always(Right),
        ],
        (
            "AC AC AC",
            audit(2, 1),
            Hold::Doubtful,
            "0 fast, 0 fresh Compare, 1 fast, 1 fresh Compare, 1 fast AskAgain, 1 fresh CompareAgain, 2 fresh",
        ),
    );
}

#[test]
fn output_of_chance_that_two_fresh_runs_share_is_no_mismatch() {
    let script = Scripted {
        again: RightOtherwise,
        ..Scripted::split(Wrong, Right)
    };
    let runs = "0 fast, 0 fresh Compare, 0 fast AskAgain";
    check(rules(), &[script], ("AC", audit(1, 0), Hold::Doubtful, runs));
}

#[test]
fn audited_output_that_differs_from_run_to_run_leaves_the_first_result() {
    let script = Scripted {
        fresh: Wrong,
        fresh_again: RightOtherwise,
        ..Scripted::always(Right)
    };
    let runs = "0 fast, 0 fresh Compare, 0 fast AskAgain, 0 fresh CompareAgain";
    check(auditing(), &[script], ("AC", audit(1, 0), Hold::Doubtful, runs));
}

#[test]
fn time_out_of_the_forked_start_counts_as_a_mismatch_only_when_it_comes_again() {
    let once = Scripted {
        again: Right,
        ..Scripted::split(Late, Right)
    };
    check(
        rules(),
        &[once],
        (
            "AC",
            audit(1, 0),
            Hold::Doubtful,
            "0 fast, 0 fresh Compare, 0 fast AskAgain",
        ),
    );
    check(
        rules(),
        &[Scripted::split(Late, Right), Scripted::split(Late, Right)],
        (
            "AC AC",
            audit(1, 1),
            Hold::Doubtful,
            "0 fast, 0 fresh Compare, 0 fast AskAgain, 0 fresh CompareAgain, 1 fresh",
        ),
    );
}

#[test]
fn confirmation_of_a_doubtful_time_out_is_its_repeat_as_well() {
    check(
        rules(),
        &[Scripted::always(Hurried), Scripted::always(Right)],
        (
            "TLE AC",
            audit(1, 0),
            Hold::Doubtful,
            "0 fast, 0 fresh Compare alone, 1 fast",
        ),
    );
    let (verdicts, steps) = follow(
        rules(),
        StartMode::Fresh,
        &[Scripted {
            alone: Right,
            ..Scripted::always(Hurried)
        }; 2],
    );
    assert_eq!(words(&verdicts), "AC TLE");
    assert_eq!(run_words(&steps), "0 fresh, 0 fresh Repeat alone, 1 fresh");
    assert_eq!(verdicts.hold, Hold::Doubtful);
}

#[test]
fn time_out_that_was_repeated_alone_is_firm() {
    let script = Scripted {
        alone: Late,
        ..Scripted::always(Hurried)
    };
    let (verdicts, _) = follow(rules(), StartMode::Fresh, &[script, Scripted::always(Right)]);
    assert_eq!((words(&verdicts).as_str(), verdicts.hold), ("TLE AC", Hold::Firm));
}

#[test]
fn failure_that_cannot_be_confirmed_or_repeated_is_ours_and_the_next_one_is_confirmed() {
    let (crash, unconfirmed) = (Scripted::always(Crash), Scripted::split(Crash, Failed));
    check(
        rules(),
        &[unconfirmed, crash, crash],
        (
            "IE RE RE",
            audit(1, 0),
            Hold::Doubtful,
            "0 fast, 0 fresh Compare, 1 fast, 1 fresh Compare, 2 fast",
        ),
    );
    let unrepeated = Scripted::split(Hurried, Failed);
    check(
        rules(),
        &[unrepeated],
        ("IE", audit(0, 0), Hold::Doubtful, "0 fast, 0 fresh Compare alone"),
    );
}

#[test]
fn audit_that_cannot_be_made_changes_nothing() {
    let unaudited = Scripted::split(Right, Failed);
    check(
        auditing(),
        &[unaudited],
        ("AC", audit(0, 0), Hold::Firm, "0 fast, 0 fresh Compare"),
    );
}
