//! Small files of every kind, spoilt by chance: each is read as problems within the bounds, or is an error that names it.

use roundhouse_tests::chance::Chance;
use roundhouse_tests::fuzz::{fuzz, spoil};

use super::*;

/// Inputs that are played unless more are asked for.
const CASES: u64 = 6_000;
/// Where the error must say that the file is.
const FILE: &str = "some/file";
/// What a file may come to, far above what the samples do.
const BOUNDS: Bounds = Bounds {
    file_bytes_max: 1 << 20,
    decoded_bytes_max: 1 << 16,
    line_bytes_max: 1 << 14,
    rows_max: 20,
    values_max: 1_000,
};
/// How many times the bytes of a row its texts may have in all: a test of MBPP is shown and run.
const COPIES_MAX: usize = 4;

const ALL_TEST_CASES: &str =
    r#"{"problem_id":"p","description":"d","all_test_cases":{"inputs":["1","2"],"outputs":["3\n","4"]}}"#;
const ALL_TEST_CASES_IN_A_TEXT: &str =
    r#"{"problem_id":7,"description":"d","all_test_cases":"{\"inputs\":[\"3\"],\"outputs\":[\"4\"]}"}"#;
const APPS: &str = r#"{"problem_id":0,"question":"q","solutions":"[\"print(1)\"]","input_output":"{\"inputs\":[\"1\",[\"2\",\"3\"]],\"outputs\":[\"4\",[\"5\"]]}"}"#;
const APPS_TIERS: &str = r#"{"problem_id":"A/1","description":"d","hidden_tests":[{"input":"1","output":["2\n"]}],"public_tests":[{"input":"3","output":"4"}]}"#;
const APPS_FUNCTION: &str = r#"{"problem_id":1,"question":"f","input_output":"{\"fn_name\":\"f\",\"inputs\":[[1]],\"outputs\":[2]}"}"#;
const MBPP: &str = r#"{"text":"Add one.","code":"def f(x):\r\n  return x + 1","task_id":2,"test_setup_code":"root = 1","test_imports":["import math"],"test_list":["assert f(root) == 2","assert f(2) == 3 "]}"#;

/// Pieces of JSON that readers treat in a way of their own.
const WORDS: [&[u8]; 26] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"\\u0000",
    b"\\ud800",
    b"null",
    b"true",
    b"1e999",
    b"-1",
    b"\n",
    b"18446744073709551616",
    b"[[[[[[[[",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"\"input\":",
    b"\"outputs\":[",
    b"\"fn_name\":",
    b"\"problem_id\":\"p\",",
    b"\"time_limit\":{\"seconds\":9223372036854775807,",
    b"\"memory_limit_bytes\":",
    b"(",
    b"def ",
];

/// Pieces of the numbers and lengths in parquet's metadata and pages.
const NUMBERS: [&[u8]; 14] = [
    b"PAR1",
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xfe, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0x20],
    &[0x80, 0x80, 0x80, 0x80, 0x02],
    &[0x80, 0x80, 0x40],
    &[0xff, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0x7f],
    &[0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f],
    &[0x18, 0x80, 0x80, 0x80, 0x80, 0x40],
    &[0xfc, 0xff, 0xff, 0xff, 0x07],
    &[0x00],
    &[0x15],
];

/// Rows of one format, one a line.
fn rows() -> Vec<Vec<u8>> {
    let formats: [&[&str]; 6] = [
        &[CODE_CONTESTS],
        &[ALL_TEST_CASES, ALL_TEST_CASES_IN_A_TEXT],
        &[APPS, APPS_FUNCTION],
        &[APPS_TIERS],
        &[functions::HUMAN_EVAL],
        &[MBPP],
    ];
    let lines = formats.map(|rows| rows.join("\n").into_bytes());
    let arrays = formats.map(|rows| format!("[{}]", rows.join(",\n")).into_bytes());
    [lines, arrays].concat()
}

/// Reads what is in memory; where that goes well, what it says of itself is right.
fn play(bytes: Vec<u8>) -> bool {
    let read = container::read(Path::new(FILE), &bytes.into(), BOUNDS);
    match read {
        Ok(read) => {
            assert!(read.rows <= BOUNDS.rows_max && read.problems.len() <= read.rows as usize);
            let of_cases = |problem: &Problem| -> usize {
                let cases = problem.tests.cases.iter();
                cases.map(|case| case.input.len() + case.expected.len()).sum()
            };
            let of_programs =
                |programs: &[Program]| -> usize { programs.iter().map(|program| program.source.len()).sum() };
            let bytes: usize = read
                .problems
                .iter()
                .map(|problem| {
                    problem.statement.len()
                        + of_cases(problem)
                        + of_programs(&problem.solutions)
                        + of_programs(&problem.incorrect_solutions)
                })
                .sum();
            assert!(
                bytes <= COPIES_MAX * BOUNDS.decoded_bytes_max as usize,
                "{bytes} bytes of text"
            );
            true
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(&format!("`{FILE}`")), "{text}");
            assert!(!text.contains('\n') && text.len() < 4_000, "{text}");
            false
        }
    }
}

fn compressed(chance: &mut Chance, bytes: Vec<u8>) -> Vec<u8> {
    match chance.below(3) {
        0 => gzip(&bytes),
        1 => zstd(&bytes),
        _ => bytes,
    }
}

/// Of so many files some must be read, and some refused: else half of the facts is not looked at.
fn was_mixed(cases: u64, read: u64) {
    assert!(
        cases < 500 || (cases / 50..cases - cases / 10).contains(&read),
        "{read} of {cases} were read"
    );
}

#[test]
fn spoilt_json_file_is_read_within_bounds_or_is_an_error_that_names_it() {
    let rows = rows();
    let mut read = 0;
    let cases = fuzz("json files", CASES, |chance| {
        let mut bytes = chance.pick(&rows).unwrap();
        // What is around the rows is spoilt too, or the rows alone.
        if chance.one_in(4) {
            bytes = compressed(chance, bytes);
            spoil(chance, &mut bytes, &WORDS);
        } else {
            spoil(chance, &mut bytes, &WORDS);
            bytes = compressed(chance, bytes);
        }
        read += u64::from(play(bytes));
    });
    was_mixed(cases, read);
}

#[test]
fn spoilt_parquet_file_is_read_within_bounds_or_is_an_error_that_names_it() {
    let files = parquet_file::small_files();
    let mut read = 0;
    let cases = fuzz("parquet files", CASES, |chance| {
        let mut bytes = chance.pick(&files).unwrap();
        let footer = bytes.len() - 4;
        match chance.below(4) {
            // Nothing that the reader looks at first.
            0..=2 => {
                for _ in 0..=chance.below(3) {
                    let at = 4 + chance.below(footer - 8);
                    let number = NUMBERS[chance.below(NUMBERS.len())];
                    match chance.below(3) {
                        0 => bytes[at] ^= 1 << chance.below(8),
                        1 => bytes[at] = chance.number().to_le_bytes()[0],
                        _ => {
                            let end = (at + number.len()).min(footer - 4);
                            bytes[at..end].copy_from_slice(&number[..end - at]);
                        }
                    }
                }
            }
            _ => spoil(chance, &mut bytes, &NUMBERS),
        }
        if chance.one_in(16) {
            bytes = compressed(chance, bytes);
        }
        read += u64::from(play(bytes));
    });
    was_mixed(cases, read);
}
