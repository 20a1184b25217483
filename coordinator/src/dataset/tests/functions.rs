//! Rows that ask for a function.

use super::*;

pub(super) const HUMAN_EVAL: &str = r#"{"task_id":"HumanEval/0","prompt":"def f(x):\n    \"\"\" Adds one. \"\"\"\n","entry_point":"f","canonical_solution":"    return x + 1\n","test":"\n\nMETADATA = {}\n\n\ndef check(candidate):\n    assert candidate(1) == 2\n\n"}"#;

#[test]
fn human_eval_row_asks_for_a_function_with_one_hidden_case() {
    let loaded = loaded(HUMAN_EVAL.as_bytes()).unwrap();
    let statement = "def f(x):\n    \"\"\" Adds one. \"\"\"\n";
    let check =
        "\n\nMETADATA = {}\n\n\ndef check(candidate):\n    assert candidate(1) == 2\n\ncheck(candidate)\n";
    assert_eq!(
        loaded.problems,
        vec![Problem {
            solutions: vec![program(0, &format!("{statement}    return x + 1\n"))],
            entry_point: Some("f".to_owned()),
            ..problem(1, "HumanEval/0", statement, vec![case(Tier::Private, check, "")])
        }]
    );
    assert_eq!(loaded.warnings, vec![]);
    let format = loaded.info.format;
    assert_eq!(
        (format, format.title(), format.word()),
        (Format::HumanEval, "HumanEval", "humaneval")
    );
}

#[test]
fn mbpp_row_shows_its_tests_and_every_one_is_a_public_case_with_the_code_before_it() {
    let rows = concat!(
        r#"{"text":"Write a function to add one.","code":"def help(x):\r\n  return x\r\ndef add_one(x):\r\n  return help(x) + 1","task_id":2,"test_setup_code":"root = 1","test_list":["assert add_one(root) == 2","assert add_one(2) == 3 "],"challenge_test_list":["assert add_one(9) == 10"]}"#,
        "\n",
        r#"{"source_file":"f.ipynb","task_id":3,"prompt":"Write a function to get pi.","code":"def pi():\n  return 3","test_imports":["import math",""],"test_list":["assert math.isclose(pi(), 3)"]}"#,
        "\n",
        r#"{"text":"Nothing.","code":"x","task_id":4,"test_list":[]}"#,
    );
    let loaded = loaded(rows.as_bytes()).unwrap();
    let two = "Write a function to add one. Your code should pass these tests:\n\nassert add_one(root) == 2\n\
               assert add_one(2) == 3\n";
    let three =
        "Write a function to get pi. Your code should pass these tests:\n\nassert math.isclose(pi(), 3)\n";
    let of = |name: &str, source: &str, problem| Problem {
        solutions: vec![program(0, source)],
        entry_point: Some(name.to_owned()),
        ..problem
    };
    assert_eq!(
        loaded.problems,
        vec![
            of(
                "add_one",
                "def help(x):\r\n  return x\r\ndef add_one(x):\r\n  return help(x) + 1",
                problem(
                    1,
                    "2",
                    two,
                    vec![
                        case(Tier::Public, "root = 1\nassert add_one(root) == 2\n", ""),
                        case(Tier::Public, "root = 1\nassert add_one(2) == 3\n", ""),
                    ]
                )
            ),
            of(
                "pi",
                "def pi():\n  return 3",
                problem(
                    2,
                    "3",
                    three,
                    vec![case(
                        Tier::Public,
                        "import math\nassert math.isclose(pi(), 3)\n",
                        ""
                    )]
                )
            ),
            of(
                "solution",
                "x",
                problem(
                    3,
                    "4",
                    "Nothing. Your code should pass these tests:\n\n\n",
                    vec![]
                )
            ),
        ]
    );
    let no_tests = Warning::NoTests {
        row: 3,
        source_id: "4".to_owned(),
    };
    assert_eq!(loaded.warnings, vec![no_tests]);
    assert_eq!(loaded.info.format.title(), "MBPP");
}

#[test]
fn function_row_that_cannot_be_used_is_named_with_its_field() {
    for (row, expected) in [
        (
            r#"{"task_id":"a","prompt":"p","test":"def check(candidate):"}"#,
            "field `entry_point` is missing",
        ),
        (
            r#"{"task_id":"a","prompt":"p","test":"def check(candidate):","entry_point":"f(x)"}"#,
            "field `entry_point`: expected the name of a Python function, found a text",
        ),
        (
            r#"{"task_id":"a","prompt":"p","test":"assert f(1)","entry_point":"f"}"#,
            "field `test`: expected code that defines `check(candidate)`, found a text",
        ),
        (
            r#"{"task_id":"a","text":"p","test_list":"assert f(1)"}"#,
            "field `test_list`: expected a list of texts, found a text",
        ),
        (
            r#"{"task_id":"a","text":"p","test_list":[1]}"#,
            "field `test_list[0]`: expected a text, found a number",
        ),
        (
            r#"{"task_id":"a","text":"p","test_list":["assert True"]}"#,
            "field `test_list[0]`: expected an assertion that calls a function, found a text",
        ),
        (r#"{"task_id":"a","test_list":[]}"#, "field `text` is missing"),
    ] {
        let error = format!("read problems from `FILE`, row 1 (line 1): {expected}");
        assert_eq!(failure(row.as_bytes()), error, "{row}");
    }
}

#[test]
fn mbpp_row_whose_cases_would_take_many_times_its_own_size_is_refused() {
    let row = |tests: usize| {
        let setup = "#".repeat(100_000);
        let tests = vec!["assert f(1)"; tests];
        serde_json::json!({"task_id": 1, "text": "t", "test_setup_code": setup, "test_list": tests})
            .to_string()
    };
    assert_eq!(
        loaded(row(600).as_bytes()).unwrap().problems[0].tests.cases.len(),
        600
    );
    assert_eq!(
        failure(row(700).as_bytes()),
        "read problems from `FILE`, row 1 (line 1): field `test_list`: expected cases of at most 64 MiB together, each with \
         what is set up before it, found 70009100 bytes"
    );
}
