//! Sessions for function tasks, with scripted answers.

use roundhouse_proto::Method;

use super::scripted::*;
use super::*;

const STATEMENT: &str = "from typing import List\n\n\ndef helper(x: int) -> int:\n    return x + 1\n\n\n\
                         def add_one(xs: List[int]) -> List[int]:\n    \"\"\" Adds one to each of xs.\n    \
                         >>> add_one([1])\n    [2]\n    \"\"\"\n";
const WRONG_FUNCTION: &str = "```python\ndef add_one(xs: List[int]) -> List[int]:\n    return xs\n```";
const RIGHT_FUNCTION: &str =
    "```python\ndef add_one(xs: List[int]) -> List[int]:\n    return [helper(x) for x in xs]\n```";
const ASSERTIONS: &str = "```python\nassert candidate([1, 2]) == [2, 3]\nassert add_one([]) == []\n```";
const NEXT_ASSERTION: &str = "```python\nassert candidate([-1]) == [0]\nassert candidate([]) == []\n```";

pub(super) fn scripts() -> Vec<(&'static str, Script)> {
    let scripts = vec![
        (
            "function_repair",
            Script::new(
                3,
                &[
                    Said(PLAN, STOP),
                    Said(WRONG_FUNCTION, STOP),
                    Said(ASSERTIONS, STOP),
                    Said(RIGHT_FUNCTION, STOP),
                    Said(NEXT_ASSERTION, STOP),
                ],
                &[&[Some("[1, 2]"), None], &[None, None, None]],
            ),
        ),
        (
            "function_no_cases",
            Script::new(
                2,
                &[
                    Said(PLAN, STOP),
                    Said(RIGHT_FUNCTION, STOP),
                    Said("It looks right.", STOP),
                    Said("```python\nassert result == [1]\n```", STOP),
                ],
                &[],
            ),
        ),
        (
            "function_review",
            Script::new(
                3,
                &[
                    Said(PLAN, STOP),
                    Said(WRONG_FUNCTION, STOP),
                    Said("It returns xs.\n\nVERDICT: FAIL", STOP),
                    Said(RIGHT_FUNCTION, STOP),
                    Said("VERDICT: PASS", STOP),
                ],
                &[],
            )
            .with_tester(TesterMode::Review),
        ),
        (
            "function_direct",
            Script::new(1, &[Said(RIGHT_FUNCTION, STOP)], &[]).with_method(Method::Direct),
        ),
    ];
    let with_function = |(name, script): (_, Script)| (name, script.with_function("add_one", STATEMENT));
    scripts.into_iter().map(with_function).collect()
}

const PREAMBLE: &str = "from typing import List\n\n\ndef helper(x: int) -> int:\n    return x + 1\n\n\n";

#[test]
fn function_is_tested_by_assertions_and_gets_what_its_statement_gives() {
    let held = held(&script("function_repair"));
    assert_eq!(held.outcome().stop_reason, StopReason::Passed);
    let right = "def add_one(xs: List[int]) -> List[int]:\n    return [helper(x) for x in xs]\n";
    assert_eq!(held.program(), Some(format!("{PREAMBLE}{right}")));
    assert_eq!(held.outcome().patched, ["from typing import List", "def helper"]);
    assert_eq!(
        held.outcome().notes,
        ["tester, round 1: cases dropped: 1 (1 repeated)"]
    );
    let code = |case: &Case| (text(&Payload::Inline(case.input.clone())), case.expected.len());
    let run: Vec<Vec<(String, usize)>> = held
        .tests
        .iter()
        .map(|tests| tests.cases.cases.iter().map(code).collect())
        .collect();
    let first = [
        ("assert candidate([1, 2]) == [2, 3]\n".to_owned(), 0),
        ("assert add_one([]) == []\n".to_owned(), 0),
    ];
    let next = [("assert candidate([-1]) == [0]\n".to_owned(), 0)];
    assert_eq!(run, [first.to_vec(), [&first[..], &next].concat()]);
    let told = "The compilation output of the preceding code is: Test Case 1 Failed:\n  Status: WA\n  Input:\n\
                assert candidate([1, 2]) == [2, 3]\n  Expected:\n[2, 3]\n  Actual Output:\n[1, 2]";
    assert_eq!(held.rounds()[0], (0, told.to_owned(), ASSERTIONS.to_owned()));
    let used = held.events.iter().find_map(|event| match event {
        SessionEvent::RoundEnd { tests_used, .. } => tests_used.as_ref().map(text),
        _ => None,
    });
    let listed = "assert candidate([1, 2]) == [2, 3]\nassert add_one([]) == []\n";
    assert_eq!(used.as_deref(), Some(listed));
}

#[test]
fn function_without_patches_is_judged_as_it_was_written() {
    let script = script("function_direct");
    let mut task = script.task();
    task.settings.patch = false;
    let session = Session::begin(task, prompts()).expect("it has rounds");
    let held = go_on(session, &script, 0);
    let right = "def add_one(xs: List[int]) -> List[int]:\n    return [helper(x) for x in xs]\n";
    assert_eq!(held.program().as_deref(), Some(right));
    assert_eq!(held.outcome().patched, Vec::<String>::new());
}

#[test]
fn function_without_public_examples_stops_where_only_these_are_run() {
    let script = Script::new(3, &[Said(PLAN, STOP), Said(RIGHT_FUNCTION, STOP)], &[])
        .with_function("add_one", STATEMENT)
        .with_tester(TesterMode::Public)
        .with_final(FinalChoice::Public);
    let held = held(&script);
    assert_eq!(held.outcome().stop_reason, StopReason::NoCases);
    assert_eq!(
        held.outcome().notes,
        ["tester, round 0: the problem has no public examples"]
    );
}

#[test]
fn nothing_that_is_sent_for_a_function_tells_of_standard_input_or_output() {
    for (name, script) in scripts() {
        let sent = written(&held(&script));
        for word in ["standard input", "standard output", "prints", "is printed"] {
            assert!(!sent.contains(word), "{name} tells of `{word}`:\n{sent}");
        }
    }
}
