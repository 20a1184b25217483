//! What is read from messy replies.
#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use proptest::prelude::*;

use super::*;

fn case(input: &str, expected: &str) -> Case {
    Case {
        tier: Tier::Generated,
        input: Bytes::copy_from_slice(input.as_bytes()),
        expected: Bytes::copy_from_slice(expected.as_bytes()),
    }
}

fn gathered(reply: &str) -> Gathered {
    gather(reply, FinishReason::Stop, &[])
}

fn all(reply: &str) -> Vec<Case> {
    let gathered = gathered(reply);
    assert_eq!(gathered.dropped, Dropped::default(), "{reply}");
    gathered.new
}

#[test]
fn form_that_the_prompt_asks_for_is_read() {
    let reply = "### Test 1\nInput:\n```\n1\n\n2\n```\nExpected Output:\n```\nYES\n```\n\n\
                 ### Test 2\nInput:\n```\n3\n```\nExpected Output:\n```\nNO\n```\n";
    assert_eq!(all(reply), [case("1\n\n2\n", "YES\n"), case("3\n", "NO\n")]);
}

#[test]
fn headings_of_every_dress_are_read() {
    for reply in [
        "Test 1\nInput\n5\nOutput\n6\n",
        "**Test Case 1: smallest**\n**Input:**\n```text\n5\n```\n**Expected Output:**\n```text\n6\n```",
        "Sample Input 1:\n5\n\nSample Output 1:\n6\n",
        "1. Input: `5`\n   Output: `6`\n",
        "- **Input**: 5\n- **Expected**: 6\n",
        "## Test #1 (boundary)\n#### Test 1 Input\n```\n5\n```\nwhich is small\n#### Test 1 Output\n```\n6\n```\nbecause",
        "Test 1 - smallest\nInput:\n5\nExpected Output:\n6\nExplanation: five and one\nNothing more\n",
        "```\nTest 1\nInput:\n5\nExpected Output:\n6\n```\n",
        "```text\nInput:\n5\n\nExpected output:\n6\n```\nThat is all.\n",
        "TEST CASE 1:\nstdin:\n~~~\n5\n~~~\nstdout:\n~~~\n6\n~~~\n",
        "Input:\r\n5\r\nExpected Output:\r\n6\r\n",
        "Input: the smallest one\n  ```\n  5\n  ```\nExpected Output:\n  ```\n  6\n  ```\n",
    ] {
        assert_eq!(all(reply), [case("5\n", "6\n")], "{reply}");
    }
}

#[test]
fn several_lines_may_be_quoted_on_one() {
    assert_eq!(
        all("Input: `2\\n1 2`\nOutput: \"3\\n4\"\n"),
        [case("2\n1 2\n", "3\n4\n")]
    );
}

#[test]
fn unfenced_values_end_at_the_next_heading_or_rule() {
    let reply = "Test 1\nInput:\n2\n\n1 2\n\nOutput:\n3\n\n---\nTest 2\nInput:\ninput\n-5\nOutput:\ncase 3\n";
    assert_eq!(
        all(reply),
        [case("2\n\n1 2\n", "3\n"), case("input\n-5\n", "case 3\n")]
    );
}

#[test]
fn unusable_cases_are_dropped_and_counted() {
    let long = "1 ".repeat(CASE_BYTES_MAX);
    let reply = format!(
        "Test 1\nInput: 1\nTest 2\nInput: 1 2 ... 9\nOutput: 3\nTest 3\nInput:\n{long}\nOutput: 4\n\
         Test 4\nInput: 5\nOutput: 5\nTest 5\nInput: 5\nOutput: 6\nTest 6\nInput: 7\nOutput:\n\n\
         Test 7\nInput: 8\nOutput:\n```\n8"
    );
    let expected = Gathered {
        new: vec![case("5\n", "5\n")],
        dropped: Dropped {
            incomplete: 3,
            placeholder: 1,
            too_long: 1,
            repeated: 1,
            too_many: 0,
            ..Dropped::default()
        },
    };
    assert_eq!(gathered(&reply), expected);
    assert_eq!(expected.dropped.total(), 6);
    assert_eq!(
        expected.dropped.to_string(),
        "3 incomplete, 1 with a placeholder, 1 too long, 1 repeated"
    );
}

#[test]
fn cases_of_earlier_rounds_are_not_taken_again_and_fill_the_room() {
    let earlier: Vec<Case> = (0..CASES_MAX - 1)
        .map(|n| case(&format!("{n}\n"), "x\n"))
        .collect();
    let reply = "Input: 3\nOutput: y\nInput: 50\nOutput: y\nInput: 51\nOutput: y\n";
    let found = gather(reply, FinishReason::Stop, &earlier);
    assert_eq!(found.new, [case("50\n", "y\n")]);
    assert_eq!((found.dropped.repeated, found.dropped.too_many), (1, 1));
    assert!(gather("Input: 3\nOutput: y\n", FinishReason::Stop, &earlier).is_usable());
}

#[test]
fn last_case_of_a_cut_reply_needs_a_complete_block() {
    let cut = |reply| gather(reply, FinishReason::Length, &[]).new;
    assert_eq!(
        cut("Input: 1\nOutput: 2\nInput: 3\nOutput: 4"),
        [case("1\n", "2\n")]
    );
    assert_eq!(
        cut("Input:\n```\n1\n```\nOutput:\n```\n2\n```\n"),
        [case("1\n", "2\n")]
    );
}

#[test]
fn nothing_usable_is_found_in_prose_and_programs() {
    for reply in [
        "",
        "I cannot write cases.",
        "```python\nprint('Input:')\n```",
        "Input:\nOutput:\n",
    ] {
        assert!(!gathered(reply).is_usable(), "{reply}");
    }
}

#[test]
fn dots_of_grids_are_values_and_dots_for_values_are_not() {
    for value in [
        "3 3\n...\n.#.\n...\n",
        "....\n",
        ".L.R...LR..L..\n",
        "1.5 2.25\n",
        "2 3\n...\n...\n",
    ] {
        assert!(!has_placeholder(value), "{value}");
    }
    for value in [
        "1 2 ... 100\n",
        "1\n2\n...\n100\n",
        "1 2 … 9\n",
        "aaa...aaa\n",
        "1,2,...,9\n",
    ] {
        assert!(has_placeholder(value), "{value}");
    }
}

#[test]
fn cases_full_of_headings_and_fences_read_back() {
    let cases = [
        case("Input:\n```\nTest 3\n", "Expected Output:\n````\nx\n"),
        case("", "### Test 1\n\n\n"),
        case("\n\n1", " 2 \r\n"),
    ];
    let text = render(&cases, 4);
    assert!(text.starts_with("### Test 4\nInput:\n````\nInput:\n"), "{text}");
    assert_eq!(
        all(&text),
        [cases[0].clone(), cases[1].clone(), case("\n\n1\n", " 2 \r\n")]
    );
}

#[test]
fn cases_of_real_problems_read_back() {
    let Ok(shared) = std::env::var("ROUNDHOUSE_SHARED") else {
        left_out("ROUNDHOUSE_SHARED is not set: real cases are not written and read back");
        return;
    };
    let mut read = 0;
    for file in ["test.jsonl", "train_human.jsonl"] {
        let rows = std::fs::read_to_string(format!("{shared}/data/code_contests/{file}")).unwrap();
        for row in rows.lines() {
            let row: serde_json::Value = serde_json::from_str(row).unwrap();
            let texts = |key: &str| -> Vec<String> {
                let texts = row["public_tests"][key].as_array().unwrap();
                texts
                    .iter()
                    .map(|text| text.as_str().unwrap().to_owned())
                    .collect()
            };
            let cases: Vec<Case> = texts("input")
                .iter()
                .zip(texts("output"))
                .map(|(input, output)| case(&with_newline(input), &with_newline(&output)))
                .collect();
            let found = gathered(&render(&cases, 1));
            assert_eq!(
                (found.new, found.dropped),
                (cases, Dropped::default()),
                "{}",
                row["name"]
            );
            read += 1;
        }
    }
    assert!(read > 100, "{read} problems");
}

fn with_newline(text: &str) -> String {
    if text.ends_with('\n') {
        text.to_owned()
    } else {
        format!("{text}\n")
    }
}

#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
fn left_out(why: &str) {
    eprintln!("LEFT OUT: {why}");
}

proptest! {
    #[test]
    fn written_cases_read_back(values in prop::collection::vec(("[-`~ a#:\\nI1]{0,40}", "[`~ a#:\\nI1]{0,40}x"), 1..5)) {
        let cases: Vec<Case> = values
            .iter()
            .enumerate()
            .map(|(n, (input, expected))| case(&format!("{n}\n{input}\n"), &format!("{expected}\n")))
            .collect();
        prop_assert_eq!(all(&render(&cases, 1)), cases);
    }

    #[test]
    fn any_reply_is_read_without_a_panic(reply in "([`#*:. \\n]|Input|Output|Test 1|5|…){0,60}") {
        let _ = gathered(&reply);
    }
}
