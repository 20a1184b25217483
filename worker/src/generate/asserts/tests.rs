//! What is read from replies with assertions.
#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use super::*;
use crate::generate::cases::Dropped;

const STATEMENT: &str =
    "import math\n\n\ndef helper(x):\n    return x\n\n\ndef wanted(x):\n    \"\"\" Wanted. \"\"\"\n";

fn gathered_after(reply: &str, finish: FinishReason, earlier: &[Case]) -> (Vec<String>, Dropped, Vec<Case>) {
    let signature = Signature::of(STATEMENT, "wanted");
    let function = Function {
        name: "wanted",
        signature: &signature,
    };
    let Gathered { new, dropped } = gather(reply, finish, earlier, function);
    let text = |case: &Case| String::from_utf8(case.input.to_vec()).unwrap();
    (new.iter().map(text).collect(), dropped, new)
}

fn gathered(reply: &str) -> (Vec<String>, Dropped) {
    let (texts, dropped, _) = gathered_after(reply, FinishReason::Stop, &[]);
    (texts, dropped)
}

fn none() -> Dropped {
    Dropped::default()
}

#[test]
fn form_that_the_prompt_asks_for_is_read() {
    let reply = "```python\nassert candidate(1) == 2\nassert candidate([]) == []\n```";
    let expected = ["assert candidate(1) == 2\n", "assert candidate([]) == []\n"];
    assert_eq!(gathered(reply), (expected.map(str::to_owned).to_vec(), none()));
}

#[test]
fn prose_lists_and_inline_code_are_read_without_a_block() {
    let reply = "Here are the tests:\n1. `assert wanted(1) == 2`\n- assert wanted(2) == 3\nassert that it works\nDone.";
    let (texts, dropped) = gathered(reply);
    assert_eq!(texts, ["assert wanted(1) == 2\n", "assert wanted(2) == 3\n"]);
    assert_eq!(
        dropped,
        Dropped {
            unknown_name: 1,
            ..none()
        }
    );
}

#[test]
fn other_lines_of_a_block_are_dropped_and_counted_and_assertions_within_functions_are_kept() {
    let reply = "Tests:\n```python\nimport pytest\n# both\n\ndef test_it():\n    assert wanted(1) == 2\n    \
                 x = wanted(3)\n    assert x == 4\n```\nassert wanted(9) == 9";
    let dropped = Dropped {
        no_assertion: 3,
        unknown_name: 1,
        ..none()
    };
    assert_eq!(
        gathered(reply),
        (vec!["assert wanted(1) == 2\n".to_owned()], dropped)
    );
    assert_eq!(
        dropped.to_string(),
        "1 without the function or with an unknown name, 3 no assertion"
    );
}

#[test]
fn assertion_over_several_lines_is_one_and_an_open_one_is_none() {
    let reply = "```\nassert candidate(\n    [1,\n     2],\n) == ')'\nassert candidate(1\nassert candidate(2) == 1)\n```";
    let (texts, dropped) = gathered(reply);
    assert_eq!(texts, ["assert candidate(\n    [1,\n     2],\n) == ')'\n"]);
    assert_eq!(
        dropped,
        Dropped {
            incomplete: 2,
            ..none()
        }
    );
}

#[test]
fn names_that_nothing_gives_are_told_from_those_that_something_does() {
    for known in [
        "assert candidate(1, key=len) == sorted([x for x, y in zip([1], [2])])",
        "assert list(map(lambda a: a + 1, candidate('x'))) == [b'x', r\"y\"]",
        "assert helper(candidate(2)) == math.floor(2.5)",
        "assert abs(candidate(2) - 1e-6) < 0x1F and not wanted(3)",
    ] {
        assert_eq!(gathered(known), (vec![format!("{known}\n")], none()), "{known}");
    }
    for unknown in [
        "assert candidate(n) == 1",
        "assert result == candidate(1)",
        "assert np.allclose(candidate(1), 2)",
        "assert True",
        "assert 'candidate(1)' == 'x'",
    ] {
        let dropped = Dropped {
            unknown_name: 1,
            ..none()
        };
        assert_eq!(gathered(unknown), (Vec::new(), dropped), "{unknown}");
    }
    let (texts, _) = gathered("assert candidate(1) < sys.maxsize");
    assert_eq!(texts, ["import sys\nassert candidate(1) < sys.maxsize\n"]);
}

#[test]
fn placeholders_repetitions_and_too_many_are_dropped() {
    let reply =
        "assert candidate([1, ..., 9]) == 1\nassert candidate(\"...\") == 1\nassert wanted(\"...\") == 1\n";
    let dropped = Dropped {
        placeholder: 1,
        repeated: 1,
        ..none()
    };
    assert_eq!(
        gathered(reply),
        (vec!["assert candidate(\"...\") == 1\n".to_owned()], dropped)
    );
    let many = |from: usize| -> String {
        (from..from + 7)
            .map(|n| format!("assert candidate({n}) == 0\n"))
            .collect()
    };
    let mut cases = Vec::new();
    for round in 0..5 {
        let (_, dropped, new) = gathered_after(&many(round * 10), FinishReason::Stop, &cases);
        let taken = if round < 4 { 5 } else { 0 };
        assert_eq!(
            (new.len(), dropped.too_many),
            (taken, 7 - u32::try_from(taken).unwrap())
        );
        cases.extend(new);
    }
    assert_eq!(cases.len(), CASES_MAX);
    let long = format!("assert candidate('{}') == 1", "x".repeat(CASE_BYTES_MAX));
    assert_eq!(
        gathered(&long).1,
        Dropped {
            too_long: 1,
            ..none()
        }
    );
}

#[test]
fn assertion_at_the_end_of_a_reply_that_was_cut_off_counts_only_in_a_closed_block() {
    let cut = |reply: &str| gathered_after(reply, FinishReason::Length, &[]).0;
    assert_eq!(
        cut("```python\nassert candidate(1) == 1\nassert candidate(2) == 14"),
        ["assert candidate(1) == 1\n"]
    );
    assert_eq!(
        cut("```python\nassert candidate(2) == 14\n```"),
        ["assert candidate(2) == 14\n"]
    );
}

#[test]
fn rendered_cases_are_read_back_and_other_code_is_executed_by_an_assertion() {
    let case = |code: &str| Case {
        tier: Tier::Private,
        input: Bytes::copy_from_slice(code.as_bytes()),
        expected: Bytes::new(),
    };
    let check = "def check(candidate):\n    assert candidate(\"\\\\\") == 'ä'\n\ncheck(candidate)\n";
    let reply = render(&[case("assert wanted(1) == 2\n"), case(check)]);
    let expected = [
        "assert wanted(1) == 2\n",
        "assert exec(\"def check(candidate):\\n    assert candidate(\\\"\\\\\\\\\\\") == 'ä'\\n\\n\
         check(candidate)\\n\", {**globals(), \"candidate\": candidate}) is None\n",
    ];
    assert_eq!(gathered(&reply), (expected.map(str::to_owned).to_vec(), none()));
}

#[test]
fn expected_value_is_the_right_side_of_one_comparison() {
    for (case, value) in [
        ("assert candidate(1) == 2\n", Some("2")),
        (
            "assert candidate({'a': 1 == 1}) == [1, (2, 3)]  # why\n",
            Some("[1, (2, 3)]"),
        ),
        ("assert candidate('==') == ',', \"message\"\n", Some("','")),
        (
            "root = Node(1)\nassert f(root) == (\n    1\n)\n",
            Some("(\n    1\n)"),
        ),
        ("assert candidate(1) == 2 or candidate(1) == 3\n", None),
        ("assert candidate(1)\n", None),
        ("assert abs(candidate(1) - 2) <= 1\n", None),
        ("def check(candidate):\n    assert candidate(1) == 2\n", None),
    ] {
        assert_eq!(expected(case).as_deref(), value, "{case}");
    }
}

/// Names that Python itself gives, for a person who wonders whether one is missing.
#[test]
fn known_names_are_sorted_and_single() {
    assert!(KNOWN.is_sorted_by(|left, right| left < right));
}
