//! Facts about loading, each from a small file written by the test.

#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]
#![expect(
    clippy::print_stderr,
    reason = "a test says what it left out, its seed and its times"
)]

mod functions;
mod fuzz;
mod parquet_file;
mod real_data;
mod speed;

use std::error::Error as _;
use std::io::Write as _;
use std::path::PathBuf;

use bytes::Bytes;
use roundhouse_proto::{Case, Language, Program, TestSet, Tier};

use super::*;

/// A file of these bytes in a directory that goes away with the value.
struct Written {
    directory: tempfile::TempDir,
}

impl Written {
    fn new(bytes: &[u8]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("p"), bytes).unwrap();
        Self { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("p")
    }
}

fn loaded(bytes: &[u8]) -> Result<Loaded, DatasetError> {
    load(&Written::new(bytes).path())
}

/// The error's text and its source's, with the file called `FILE`.
fn failure(bytes: &[u8]) -> String {
    failure_within(bytes, Bounds::DEFAULT)
}

fn failure_within(bytes: &[u8], bounds: Bounds) -> String {
    let file = Written::new(bytes);
    let error = load_within(&file.path(), bounds).unwrap_err();
    let text = match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    text.replace(&file.path().display().to_string(), "FILE")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

fn case(tier: Tier, input: &str, expected: &str) -> Case {
    Case {
        tier,
        input: Bytes::from(input.to_owned()),
        expected: Bytes::from(expected.to_owned()),
    }
}

fn program(index: u32, source: &str) -> Program {
    Program {
        index,
        language: Language::Python3,
        source: source.to_owned(),
    }
}

fn problem(position: u32, source_id: &str, statement: &str, cases: Vec<Case>) -> Problem {
    Problem {
        position,
        source_id: source_id.to_owned(),
        statement: statement.to_owned(),
        tests: TestSet { cases },
        time_limit_ms: None,
        memory_limit_bytes: None,
        solutions: Vec::new(),
        incorrect_solutions: Vec::new(),
        entry_point: None,
    }
}

const CODE_CONTESTS: &str = r#"{"name":"1_A. Añadir","description":"Add.","public_tests":{"input":["1 2\n"],"output":["3\n"]},"private_tests":{"input":[],"output":[]},"generated_tests":{"input":["5 6","\n"],"output":["11",""]},"source":2,"solutions":{"language":[2,3,4,3],"solution":["int main(){}","print(3)","class A{}","print(4)"]},"incorrect_solutions":{"language":[1,3],"solution":["print 1","print(0)"]},"cf_tags":["math"],"time_limit":{"seconds":2,"nanos":500000000},"memory_limit_bytes":256000000}"#;

fn code_contests() -> Problem {
    Problem {
        time_limit_ms: Some(2_500),
        memory_limit_bytes: Some(256_000_000),
        solutions: vec![program(1, "print(3)"), program(3, "print(4)")],
        incorrect_solutions: vec![program(1, "print(0)")],
        ..problem(
            1,
            "1_A. Añadir",
            "Add.",
            vec![
                case(Tier::Public, "1 2\n", "3\n"),
                case(Tier::Generated, "5 6", "11"),
                case(Tier::Generated, "\n", ""),
            ],
        )
    }
}

#[test]
fn code_contests_row_keeps_every_byte_and_only_python3_programs_with_their_places() {
    let bytes = format!("{CODE_CONTESTS}\n").into_bytes();
    assert_eq!(
        loaded(&bytes).unwrap(),
        Loaded {
            problems: vec![code_contests()],
            warnings: vec![],
            info: Info {
                format: Format::CodeContests,
                container: Container::JsonLines,
                compression: Compression::None,
                sha256: Digest::of(&bytes),
                bytes: bytes.len() as u64,
                rows: 1,
            },
        }
    );
}

#[test]
fn compressed_rows_are_the_same_rows_and_the_checksum_is_of_the_file() {
    let two_members = [
        gzip(&CODE_CONTESTS.as_bytes()[..90]),
        gzip(&CODE_CONTESTS.as_bytes()[90..]),
    ]
    .concat();
    for (file, compression) in [
        (gzip(CODE_CONTESTS.as_bytes()), Compression::Gzip),
        (two_members, Compression::Gzip),
        (zstd(CODE_CONTESTS.as_bytes()), Compression::Zstd),
        (gzip(format!("[{CODE_CONTESTS}]").as_bytes()), Compression::Gzip),
    ] {
        let loaded = loaded(&file).unwrap();
        assert_eq!(loaded.problems, vec![code_contests()]);
        assert_eq!(loaded.info.compression, compression);
        assert_eq!(loaded.info.sha256, Digest::of(&file));
    }
}

#[test]
fn tests_as_lists_of_objects_and_a_null_time_limit_are_read_too() {
    let row = r#"{"name":"a","description":"d","public_tests":[{"input":"1","output":"2"}],"private_tests":null,"time_limit":null,"memory_limit_bytes":0,"solutions":[{"language":"PYTHON3","solution":"x"},{"language":"CPP","solution":"y"}]}"#;
    assert_eq!(
        loaded(row.as_bytes()).unwrap().problems,
        vec![Problem {
            solutions: vec![program(0, "x")],
            ..problem(1, "a", "d", vec![case(Tier::Public, "1", "2")])
        }]
    );
}

#[test]
fn all_test_cases_are_private_whether_an_object_or_json_in_a_text() {
    let rows = concat!(
        "\u{feff}",
        r#"{"problem_id":"p1","description":"d","all_test_cases":{"inputs":["1"],"outputs":["2\n"]}}"#,
        "\r\n\r\n",
        r#"{"problem_id":17,"description":"e","all_test_cases":"{\"inputs\":[\"3\"],\"outputs\":[\"4\"]}"}"#,
    );
    let loaded = loaded(rows.as_bytes()).unwrap();
    assert_eq!(
        loaded.problems,
        vec![
            problem(1, "p1", "d", vec![case(Tier::Private, "1", "2\n")]),
            problem(2, "17", "e", vec![case(Tier::Private, "3", "4")]),
        ]
    );
    assert_eq!((loaded.info.format, loaded.info.rows), (Format::AllTestCases, 2));
}

#[test]
fn apps_rows_are_read_from_a_text_and_function_tasks_are_left_out_with_their_number() {
    let rows = [
        r#"{"problem_id":0,"question":"q","solutions":"[\"print(1)\"]","input_output":"{\"inputs\":[\"1\",[\"2\",\"3\"]],\"outputs\":[\"4\",[\"5\"]]}"}"#,
        r#"{"problem_id":1,"question":"f","input_output":"{\"fn_name\":\"f\",\"inputs\":[[1]],\"outputs\":[2]}"}"#,
        r#"{"problem_id":2,"question":" ","solutions":"","input_output":""}"#,
    ];
    let loaded = loaded(format!("[{}]", rows.join(",\n")).as_bytes()).unwrap();
    assert_eq!(
        loaded.problems,
        vec![
            Problem {
                solutions: vec![program(0, "print(1)")],
                ..problem(
                    1,
                    "0",
                    "q",
                    vec![case(Tier::Private, "1", "4"), case(Tier::Private, "2\n3", "5")]
                )
            },
            problem(3, "2", " ", vec![]),
        ]
    );
    assert_eq!(
        loaded.warnings,
        vec![
            Warning::FunctionTask {
                row: 2,
                source_id: "1".to_owned()
            },
            Warning::NoTests {
                row: 3,
                source_id: "2".to_owned()
            },
            Warning::EmptyStatement {
                row: 3,
                source_id: "2".to_owned()
            },
        ]
    );
    assert_eq!(
        loaded
            .warnings
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        [
            "row 2 (`1`) is left out: function tasks of APPS are not supported",
            "row 3 (`2`) has no tests: it counts as FAIL with 0 %",
            "row 3 (`2`) has an empty statement",
        ]
    );
    assert_eq!(
        (loaded.info.container, loaded.info.rows),
        (Container::JsonArray, 3)
    );
}

#[test]
fn apps_rows_with_two_lists_of_tests_have_a_public_and_a_private_tier() {
    let row = r#"{"problem_id":"APPS/1","description":"d","hidden_tests":[{"input":"1","output":["2\n"]}],"public_tests":[{"input":"3","output":"4"}]}"#;
    assert_eq!(
        loaded(row.as_bytes()).unwrap().problems,
        vec![problem(
            1,
            "APPS/1",
            "d",
            vec![case(Tier::Public, "3", "4"), case(Tier::Private, "1", "2\n"),]
        )]
    );
}

#[test]
fn a_file_that_is_not_there_or_is_a_directory_is_named_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("b.parquet"), "").unwrap();
    std::fs::write(directory.path().join("notes.txt"), "").unwrap();
    let missing = load(&directory.path().join("x")).unwrap_err();
    assert_eq!(
        missing.to_string(),
        format!("there is no file `{}/x`", directory.path().display())
    );
    assert_eq!(
        missing.hint().unwrap(),
        "check the name, or get a data set with `coordinator dataset fetch code_contests --split test`"
    );
    let error = load(directory.path()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("`{}` is a directory, not a data set", directory.path().display())
    );
    assert_eq!(error.hint().unwrap(), "name one of its files: `b.parquet`");
}

#[test]
fn a_file_of_something_else_is_called_by_its_name() {
    let cases: &[(&[u8], &str)] = &[
        (b"", "`FILE` is empty"),
        (b" \n\n", "`FILE` is empty"),
        (b"[]", "`FILE` has no rows"),
        (
            b"\n<!DOCTYPE html><p>404",
            "`FILE` is not a data set: it is an HTML or XML page, perhaps the error page of a failed download",
        ),
        (
            b"\x89PNG\r\n\x1a\n",
            "`FILE` is not a data set: it is a PNG image",
        ),
        (
            b"PK\x03\x04zzzz",
            "`FILE` is not a data set: it is a zip archive: unpack it first",
        ),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "`FILE` is not a data set: it is a git-lfs pointer: the data itself was not downloaded",
        ),
        (
            b"name,tests\x1b[2J\n",
            "`FILE` is not a data set: it is text that starts with `name,tests\\u{1b}[2J\\n`",
        ),
        (
            b"\x00\x01\xff",
            "`FILE` is not a data set: it is binary data that starts with [00, 01, ff]",
        ),
        (
            br#"{"b":1,"a\u001b":2}"#,
            "`FILE` has rows of an unknown schema, with the fields `a\\u{1b}`, `b`; known are CodeContests rows \
             (`name`, `description`, `public_tests`, `private_tests`, `generated_tests`; parquet or JSON), rows with \
             `problem_id`, `description` and `all_test_cases`, APPS rows (`problem_id`, `question`, \
             `input_output`, or `public_tests` and `hidden_tests`), and as JSON HumanEval rows (`task_id`, `prompt`, \
             `entry_point`, `test`) and MBPP rows (`task_id`, `text`, `test_list`)",
        ),
        (
            br#"{"problem_id":1,"question":"f","input_output":{"fn_name":"f","inputs":[],"outputs":[]}}"#,
            "`FILE` holds function tasks of APPS in a form that is not supported: those of HumanEval and MBPP are read \
             as JSON or JSON Lines",
        ),
    ];
    for (bytes, expected) in cases {
        assert_eq!(&failure(bytes), expected);
    }
}

#[test]
fn a_row_that_cannot_be_used_is_named_with_its_row_its_line_and_its_field() {
    let good = r#"{"problem_id":"a","description":"d","all_test_cases":{"inputs":[],"outputs":[]}}"#;
    let row = |tests: &str| format!(r#"{{"problem_id":"b","description":"d","all_test_cases":{tests}}}"#);
    for (second, expected) in [
        (good.to_owned(), "its id `a` is that of row 1 too"),
        (
            "[1]".to_owned(),
            "expected an object with named fields, found a list",
        ),
        (
            "{\"problem_id\": nope}".to_owned(),
            "not JSON at column 17: expected ident",
        ),
        (
            "{\"problem_id\": \"b\"".to_owned(),
            "the row breaks off at column 18",
        ),
        (
            r#"{"problem_id":"b"}"#.to_owned(),
            "field `description` is missing",
        ),
        (
            r#"{"problem_id":" ","description":"d"}"#.to_owned(),
            "field `problem_id`: expected a text that is not empty, or a whole number, found an empty text",
        ),
        (
            r#"{"problem_id":"b","description":["d"]}"#.to_owned(),
            "field `description`: expected a text, found a list",
        ),
        (
            r#"{"problem_id":"b","description":"d"}"#.to_owned(),
            "field `all_test_cases` is missing",
        ),
        (
            row("7"),
            "field `all_test_cases`: expected an object with lists of inputs and outputs, or a list of objects with `input` and `output`, found a number",
        ),
        (
            row(r#"{"inputs":["1"]}"#),
            "field `all_test_cases.output` is missing",
        ),
        (
            row(r#"{"inputs":["1"],"outputs":"1"}"#),
            "field `all_test_cases.outputs`: expected a list, found a text",
        ),
        (
            row(r#"{"inputs":["1","2"],"outputs":["1"]}"#),
            "field `all_test_cases`: 2 inputs but 1 outputs",
        ),
        (
            row(r#"{"inputs":["1",2],"outputs":["1","2"]}"#),
            "field `all_test_cases.inputs[1]`: expected a text, or a list of lines, found a number",
        ),
        (
            row(r#"[{"input":"1"}]"#),
            "field `all_test_cases[0].output` is missing",
        ),
        (
            row(r#"[["1","2"]]"#),
            "field `all_test_cases[0]`: expected an object with `input` and `output`, found a list",
        ),
        (
            row(r#""{\n\"inputs\": oops""#),
            "field `all_test_cases` does not hold JSON, at line 2, column 11 of its text: expected value",
        ),
        (
            row(r#"{"inputs":[],"outputs":[]},"time_limit":{"seconds":-1}"#),
            "field `time_limit`: expected an object with whole `seconds` and `nanos`, or null, found {\"seconds\":-1}",
        ),
        (
            row(r#"{"inputs":[],"outputs":[]},"memory_limit_bytes":0.5"#),
            "field `memory_limit_bytes`: expected a whole number of bytes, 0 for not known, found a number",
        ),
        (
            row(r#"{"inputs":[],"outputs":[]},"solutions":{"language":[3],"solution":[]}"#),
            "field `solutions`: 1 languages but 0 solutions",
        ),
        (
            row(r#"{"inputs":[],"outputs":[]},"solutions":{"language":[2,3],"solution":["x",3]}"#),
            "field `solutions.solution[1]`: expected a program as a text, found a number",
        ),
    ] {
        let file = format!("{good}\n\n{second}\n");
        assert_eq!(
            failure(file.as_bytes()),
            format!("read problems from `FILE`, row 2 (line 3): {expected}")
        );
    }
}

#[test]
fn a_row_of_another_format_than_the_first_is_an_error() {
    let rows = r#"{"name":"a","description":"d","public_tests":[]}
{"name":"b","description":"d","tests":[]}"#;
    assert_eq!(
        failure(rows.as_bytes()),
        "read problems from `FILE`, row 2 (line 2): field `public_tests` is missing"
    );
}

#[test]
fn bytes_that_are_not_utf8_are_named_with_field_and_offset() {
    let mut line = br#"{"problem_id":"a","description":"#.to_vec();
    line.extend(b"\"x\xffy\",\"all_test_cases\":[]}");
    assert_eq!(
        failure(&line),
        "read problems from `FILE`, row 1 (line 1): field `description`: byte 34 of the line is not UTF-8"
    );
    let array = [b"[".as_slice(), &line, b"]"].concat();
    assert_eq!(
        failure(&array),
        "read problems from `FILE`, row 1: byte 35 of the file is not UTF-8"
    );
}

#[test]
fn a_cut_last_line_and_a_row_over_several_lines_are_told_apart() {
    let cut = &CODE_CONTESTS.as_bytes()[..100];
    let file = Written::new(cut);
    let error = load(&file.path()).unwrap_err();
    assert_eq!(
        error.source().unwrap().to_string(),
        "the row breaks off at column 100"
    );
    assert!(
        error
            .hint()
            .unwrap()
            .starts_with("the end of the file is missing")
    );
    let file = Written::new(b"{\n  \"name\": \"a\"\n}\n");
    assert!(
        load(&file.path())
            .unwrap_err()
            .hint()
            .unwrap()
            .contains("one whole row in each line")
    );
    assert_eq!(
        failure(format!("[{CODE_CONTESTS},\n{{\"name\":").as_bytes()),
        "read problems from `FILE`, row 2: the row breaks off at line 2, column 8"
    );
    assert_eq!(
        failure(format!("[{CODE_CONTESTS}] x").as_bytes()),
        format!(
            "read problems from `FILE`, row 2: not JSON at line 1, column {}: trailing characters",
            CODE_CONTESTS.chars().count() + 5
        )
    );
}

#[test]
fn truncated_and_damaged_streams_are_told_apart() {
    let long: String = (0..2_000)
        .map(|i| format!("{}\n", CODE_CONTESTS.replace("1_A", &format!("{i}_A"))))
        .collect();
    for (name, packed) in [("gzip", gzip(long.as_bytes())), ("zstd", zstd(long.as_bytes()))] {
        for length in [packed.len() - 1, packed.len() / 2] {
            assert_eq!(
                failure(&packed[..length]),
                format!("`FILE` is truncated: its {name} stream has no end"),
                "{length} of {} bytes",
                packed.len()
            );
        }
        let mut damaged = packed.clone();
        damaged[1_000..1_100].fill(0xa5);
        let text = failure(&damaged);
        assert!(
            text.starts_with(&format!("`FILE` is damaged: its {name} stream cannot be decoded")),
            "{text}"
        );
    }
    assert_eq!(
        failure(&[0x1f, 0x8b]),
        "`FILE` is truncated: its gzip stream has no end"
    );
}

#[test]
fn every_bound_ends_the_reading_with_an_error_that_names_it() {
    let bounds = Bounds {
        file_bytes_max: 4_000,
        decoded_bytes_max: 3_000,
        line_bytes_max: 2_000,
        rows_max: 2,
        values_max: 9,
    };
    assert_eq!(
        failure_within(&[b' '; 4_001], bounds),
        "`FILE` is larger than 4000 bytes"
    );
    let spaces = vec![b' '; 100_000];
    for packed in [gzip(&spaces), zstd(&spaces)] {
        assert_eq!(
            failure_within(&packed, bounds),
            "`FILE` unpacks to more than 3000 bytes: it is damaged, or made to exhaust memory"
        );
    }
    let long = [b"{".as_slice(), &[b' '; 2_500]].concat();
    assert_eq!(
        failure_within(&long, bounds),
        "read problems from `FILE`, row 1 (line 1): the line is longer than 2000 bytes"
    );
    let rows: String = (0..3)
        .map(|i| format!("{{\"name\":\"{i}\",\"description\":\"d\",\"public_tests\":[]}}\n"))
        .collect();
    assert_eq!(
        failure_within(rows.as_bytes(), bounds),
        "`FILE` has more than 2 rows"
    );
}

#[test]
fn deep_nesting_is_an_error_and_not_a_crash() {
    let deep = format!("{{\"name\":{}", "[".repeat(100_000));
    assert_eq!(
        failure(deep.as_bytes()),
        "read problems from `FILE`, row 1 (line 1): not JSON at column 135: recursion limit exceeded"
    );
}
