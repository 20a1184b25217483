//! What the coder is told of a round's tests: the text of `report_iteration.txt`, byte for byte.
//!
//! Cases that the machinery could not judge are never shown.

use roundhouse_proto::{Case, CaseResult, Clip, Tier, Verdict};

use crate::generate::asserts;
use crate::generate::review::{Opinion, Review};

const PREFIX: &str = "The compilation output of the preceding code is: ";
const PASSED: &str = "Code Test Passed.";
/// What a report begins with where nothing was run.
const REVIEWED: &str = "No test ran: the tester read the program and says ";
/// What a case expects that is a piece of code and names no value.
const NO_ERROR: &str = "(no error)";
/// How a case is marked whose expected output the tester wrote.
const OPINION: &str = "\n  Expected by: the tester, whose opinion this is";

/// Most failing cases that are shown.
const FAILURES_MAX: usize = 5;
/// Longest field, in characters, what is said of the characters left out included.
const FIELD_CHARS_MAX: usize = 1_000;
/// Characters of a field that is too long kept at its beginning.
const HEAD_CHARS: usize = 480;
/// Characters of a field that is too long kept at its end.
const TAIL_CHARS: usize = 440;
/// Last lines of standard error that are shown.
const STDERR_LINES_MAX: usize = 10;
/// Longest report, in characters.
const REPORT_CHARS_MAX: usize = 8_000;
/// Most characters of a tester's findings.
const FINDINGS_CHARS_MAX: usize = 7_800;
/// Characters of findings that are too long kept at their beginning.
const FINDINGS_HEAD_CHARS: usize = 3_900;

/// What a round's tests came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoundReport {
    /// Whether every case that was judged passed.
    pub passed: bool,
    /// Whether cases failed, and the tester wrote all of those that did.
    pub is_disputable: bool,
    /// What the coder is told.
    pub text: String,
}

/// Whether the coder is told which cases the tester wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marks {
    /// All cases have one author.
    None,
    /// A failing case of the tester's own is marked as its opinion.
    Opinions,
}

/// What the cases are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Inputs of a program and its expected outputs.
    Program,
    /// Pieces of code that call a function: the output is the value on the left of an assertion that failed.
    Function,
}

/// Tells a round's tests. None when the machinery judged no case at all, which is a failure of ours.
///
/// The results are those of `cases`, in the same order.
pub fn tell(cases: &[Case], results: &[CaseResult], marks: Marks, subject: Subject) -> Option<RoundReport> {
    let is_judged = |result: &CaseResult| result.verdict != Verdict::InternalError;
    if !results.iter().any(is_judged) {
        return None;
    }
    let failing: Vec<(usize, &Case, &CaseResult)> = (1..)
        .zip(cases.iter().zip(results))
        .filter(|(_, (_, result))| !matches!(result.verdict, Verdict::Accepted | Verdict::InternalError))
        .map(|(number, (case, result))| (number, case, result))
        .collect();
    if failing.is_empty() {
        return Some(RoundReport {
            passed: true,
            is_disputable: false,
            text: format!("{PREFIX}{PASSED}"),
        });
    }
    let is_disputable = failing.iter().all(|(_, case, _)| case.tier == Tier::Generated);
    let mut text = PREFIX.to_owned();
    let mut chars = text.chars().count();
    let mut shown = 0;
    let mut compile_error_is_shown = false;
    for (number, case, result) in failing {
        let is_repeated =
            result.not_run || (compile_error_is_shown && result.verdict == Verdict::CompileError);
        if shown == FAILURES_MAX || (shown > 0 && is_repeated) {
            continue;
        }
        let block = block((number, case, result), marks, subject);
        let separator = if shown == 0 { "" } else { "\n\n" };
        let added = separator.len() + block.chars().count();
        if chars + added > REPORT_CHARS_MAX {
            continue;
        }
        text.push_str(separator);
        text.push_str(&block);
        chars += added;
        shown += 1;
        compile_error_is_shown |= result.verdict == Verdict::CompileError;
    }
    Some(RoundReport {
        passed: false,
        is_disputable,
        text,
    })
}

/// Tells what a tester found that read the program of a round; nothing was run.
pub fn tell_review(review: &Review) -> String {
    let verdict = match review.opinion {
        Some(Opinion::Pass) => "PASS",
        Some(Opinion::Fail) => "FAIL",
        None => "neither PASS nor FAIL, which counts as FAIL",
    };
    let text = format!("{REVIEWED}{verdict}");
    if review.findings.is_empty() {
        return text;
    }
    let chars = review.findings.chars().count();
    let findings = if chars <= FINDINGS_CHARS_MAX {
        review.findings.clone()
    } else {
        let tail = FINDINGS_CHARS_MAX - FINDINGS_HEAD_CHARS;
        format!(
            "{}\n({} characters left out)\n{}",
            first(&review.findings, FINDINGS_HEAD_CHARS),
            chars - FINDINGS_CHARS_MAX,
            last(&review.findings, tail)
        )
    };
    format!("{text}\n\n{findings}")
}

fn block((number, case, result): (usize, &Case, &CaseResult), marks: Marks, subject: Subject) -> String {
    let input = String::from_utf8_lossy(&case.input);
    let expected = match subject {
        Subject::Program => field(&whole(&String::from_utf8_lossy(&case.expected))),
        Subject::Function => match asserts::expected(&input) {
            Some(expected) => field(&whole(&expected)),
            None => NO_ERROR.to_owned(),
        },
    };
    let input = field(&whole(&input));
    let actual = field(&result.stdout);
    let error = match error(result) {
        Some(error) => format!("\n  Error: {error}"),
        None => String::new(),
    };
    let mark = match marks {
        Marks::Opinions if case.tier == Tier::Generated => OPINION,
        Marks::Opinions | Marks::None => "",
    };
    format!(
        "Test Case {number} Failed:\n  Status: {}{mark}\n  Input:\n{input}\n  Expected:\n{expected}\n  \
         Actual Output:\n{actual}{error}",
        result.verdict.code()
    )
}

/// The last lines of standard error; without any, how the program ended, where the status does not say it.
fn error(result: &CaseResult) -> Option<String> {
    let stderr = result.stderr_tail.trim_end();
    if !stderr.is_empty() {
        let lines: Vec<&str> = stderr.lines().collect();
        let last = lines[lines.len().saturating_sub(STDERR_LINES_MAX)..].join("\n");
        return Some(field(&whole(&last)));
    }
    if result.verdict != Verdict::RuntimeError {
        return None;
    }
    match (result.signal, result.exit_code) {
        (Some(signal), _) => Some(format!("ended by signal {signal}")),
        // Only the end of a case is a good one where a function is asked for.
        (None, Some(0)) => Some("the program ended before the test did, with exit status 0".to_owned()),
        (None, Some(code)) => Some(format!("exit status {code}")),
        (None, None) => None,
    }
}

fn whole(text: &str) -> Clip {
    Clip {
        head: text.to_owned(),
        left_out: 0,
        tail: String::new(),
    }
}

/// A value without its final newline, at most [`FIELD_CHARS_MAX`] characters: its beginning and its end.
fn field(value: &Clip) -> String {
    if value.left_out == 0 {
        let text = format!("{}{}", value.head, value.tail);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let chars = text.chars().count();
        return match chars {
            0 => "(empty)".to_owned(),
            _ if chars <= FIELD_CHARS_MAX => text.to_owned(),
            _ => shortened(text, text, (chars - HEAD_CHARS - TAIL_CHARS) as u64),
        };
    }
    let tail = value.tail.strip_suffix('\n').unwrap_or(&value.tail);
    let more = |text: &str, kept: usize| text.chars().count().saturating_sub(kept) as u64;
    let left_out = value
        .left_out
        .saturating_add(more(&value.head, HEAD_CHARS))
        .saturating_add(more(tail, TAIL_CHARS));
    shortened(&value.head, tail, left_out)
}

fn shortened(head: &str, tail: &str, left_out: u64) -> String {
    format!(
        "{}\n({left_out} characters left out)\n{}",
        first(head, HEAD_CHARS),
        last(tail, TAIL_CHARS)
    )
}

fn first(text: &str, chars: usize) -> &str {
    text.char_indices().nth(chars).map_or(text, |(at, _)| &text[..at])
}

fn last(text: &str, chars: usize) -> &str {
    let skipped = text.chars().count().saturating_sub(chars);
    text.char_indices().nth(skipped).map_or("", |(at, _)| &text[at..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn case(input: &str, expected: &str) -> Case {
        Case {
            tier: Tier::Generated,
            input: Bytes::copy_from_slice(input.as_bytes()),
            expected: Bytes::copy_from_slice(expected.as_bytes()),
        }
    }

    fn result(verdict: Verdict, stdout: &str, stderr: &str) -> CaseResult {
        CaseResult {
            case: 0,
            verdict,
            not_run: false,
            cpu_ms: 1,
            wall_ms: 1,
            memory_bytes: 1,
            exit_code: (verdict != Verdict::TimeLimit).then_some(i32::from(verdict == Verdict::RuntimeError)),
            signal: None,
            stdout: whole(stdout),
            stderr_tail: stderr.to_owned(),
        }
    }

    fn told(cases: &[Case], results: &[CaseResult]) -> String {
        let told = tell(cases, results, Marks::None, Subject::Program).expect("something was judged");
        assert!(!told.passed);
        told.text
    }

    #[test]
    fn passed_round_is_told_in_one_line() {
        let results = vec![
            result(Verdict::Accepted, "6\n", ""),
            result(Verdict::InternalError, "", "cage lost"),
        ];
        assert_eq!(
            tell(
                &[case("5\n", "6\n"), case("6\n", "7\n")],
                &results,
                Marks::None,
                Subject::Program
            ),
            Some(RoundReport {
                passed: true,
                is_disputable: false,
                text: "The compilation output of the preceding code is: Code Test Passed.".to_owned()
            })
        );
    }

    #[test]
    fn failing_cases_are_told_in_blocks() {
        let cases = [
            case("1\n", "2\n"),
            case("5\n6\n", "7\n"),
            case("8\n", "9\n"),
            case("0\n", "0\n"),
        ];
        let results = vec![
            result(Verdict::Accepted, "2\n", ""),
            result(Verdict::WrongAnswer, " 8\n9\n", ""),
            result(Verdict::InternalError, "", "cage lost"),
            result(
                Verdict::RuntimeError,
                "",
                "Traceback:\nZeroDivisionError: division by zero\n",
            ),
        ];
        assert_eq!(
            told(&cases, &results),
            "The compilation output of the preceding code is: Test Case 2 Failed:\n  Status: WA\n  Input:\n5\n6\n  \
             Expected:\n7\n  Actual Output:\n 8\n9\n\nTest Case 4 Failed:\n  Status: RE\n  Input:\n0\n  \
             Expected:\n0\n  Actual Output:\n(empty)\n  Error: Traceback:\nZeroDivisionError: division by zero"
        );
    }

    #[test]
    fn failing_cases_of_a_function_are_told_with_both_values_or_the_error() {
        let code = |code: &str| case(code, "");
        let cases = [
            code("assert candidate(2) == [3, 4], 'one'\n"),
            code("import math\nassert math.isclose(candidate(2), 3)\n"),
            code("assert candidate(0) == 1\n"),
        ];
        let trace =
            "Traceback (most recent call last):\n  File \"case\", line 1, in <module>\nAssertionError\n";
        let mut silent = result(Verdict::RuntimeError, "", "");
        silent.exit_code = Some(0);
        let results = [
            result(Verdict::WrongAnswer, "[3]", ""),
            result(Verdict::WrongAnswer, "", trace),
            silent,
        ];
        let told = tell(&cases, &results, Marks::None, Subject::Function).expect("something was judged");
        assert_eq!(
            told.text,
            "The compilation output of the preceding code is: Test Case 1 Failed:\n  Status: WA\n  Input:\n\
             assert candidate(2) == [3, 4], 'one'\n  Expected:\n[3, 4]\n  Actual Output:\n[3]\n\n\
             Test Case 2 Failed:\n  Status: WA\n  Input:\nimport math\nassert math.isclose(candidate(2), 3)\n  \
             Expected:\n(no error)\n  Actual Output:\n(empty)\n  Error: Traceback (most recent call last):\n  \
             File \"case\", line 1, in <module>\nAssertionError\n\n\
             Test Case 3 Failed:\n  Status: RE\n  Input:\nassert candidate(0) == 1\n  Expected:\n1\n  \
             Actual Output:\n(empty)\n  Error: the program ended before the test did, with exit status 0"
        );
    }

    #[test]
    fn nothing_is_told_when_nothing_was_judged() {
        let results = vec![result(Verdict::InternalError, "", "")];
        assert_eq!(
            tell(&[case("1", "1")], &results, Marks::None, Subject::Program),
            None
        );
        assert_eq!(tell(&[], &[], Marks::None, Subject::Program), None);
    }

    #[test]
    fn long_fields_keep_head_and_tail() {
        let long = format!("{}{}", "a".repeat(700), "é".repeat(700));
        let expected = format!(
            "{}\n(480 characters left out)\n{}",
            "a".repeat(480),
            "é".repeat(440)
        );
        assert_eq!(field(&whole(&long)), expected);
        let clip = Clip {
            head: "a".repeat(600),
            left_out: u64::MAX - 1_000,
            tail: "b".repeat(20),
        };
        let shown = field(&clip);
        assert!(
            shown.contains("(18446744073709550735 characters left out)"),
            "{shown}"
        );
        assert!(shown.chars().count() <= FIELD_CHARS_MAX);
        assert_eq!(field(&whole(&"x".repeat(1_000))), "x".repeat(1_000));
    }

    #[test]
    fn report_shows_at_most_five_cases_and_eight_thousand_characters() {
        let cases = vec![case(&"1".repeat(3_000), &"2".repeat(3_000)); 9];
        let long = told(
            &cases,
            &vec![result(Verdict::WrongAnswer, &"3".repeat(3_000), &"4".repeat(3_000)); 9],
        );
        assert_eq!(long.matches("Failed:").count(), 2, "more would not fit");
        assert!(long.chars().count() <= REPORT_CHARS_MAX);
        let short = told(
            &vec![case("1", "2"); 9],
            &vec![result(Verdict::WrongAnswer, "3", ""); 9],
        );
        assert_eq!(short.matches("Failed:").count(), 5);
    }

    #[test]
    fn compile_error_is_told_once_and_cases_that_did_not_run_are_not() {
        let cases = vec![case("1", "2"); 3];
        let text = told(
            &cases,
            &vec![result(Verdict::CompileError, "", "SyntaxError: invalid syntax"); 3],
        );
        assert_eq!(text.matches("Failed:").count(), 1);
        let mut results = vec![result(Verdict::TimeLimit, "", ""); 3];
        results[1].not_run = true;
        results[2].not_run = true;
        assert!(
            told(&cases, &results)
                .ends_with("Status: TLE\n  Input:\n1\n  Expected:\n2\n  Actual Output:\n(empty)")
        );
    }

    #[test]
    fn silent_crash_is_told_by_its_status_and_long_errors_by_their_last_lines() {
        let mut crash = result(Verdict::RuntimeError, "", "");
        assert_eq!(error(&crash), Some("exit status 1".to_owned()));
        crash.signal = Some(11);
        assert_eq!(error(&crash), Some("ended by signal 11".to_owned()));
        crash.stderr_tail = (0..30).map(|n| format!("{n}\n")).collect();
        assert_eq!(
            error(&crash),
            Some("20\n21\n22\n23\n24\n25\n26\n27\n28\n29".to_owned())
        );
    }

    #[test]
    fn cases_of_the_testers_own_are_marked_where_it_is_asked_and_disputable_alone() {
        let public = Case {
            tier: Tier::Public,
            ..case("1", "2")
        };
        let cases = [public, case("5", "7")];
        let (right, wrong) = (
            result(Verdict::Accepted, "2", ""),
            result(Verdict::WrongAnswer, "6", ""),
        );
        let failing = |mark: &str| {
            format!(
                "{PREFIX}Test Case 2 Failed:\n  Status: WA{mark}\n  Input:\n5\n  Expected:\n7\n  Actual Output:\n6"
            )
        };
        for (marks, mark) in [(Marks::None, ""), (Marks::Opinions, OPINION)] {
            let told = RoundReport {
                passed: false,
                is_disputable: true,
                text: failing(mark),
            };
            assert_eq!(
                tell(&cases, &[right.clone(), wrong.clone()], marks, Subject::Program),
                Some(told)
            );
        }
        let told =
            tell(&cases, &[wrong.clone(), wrong], Marks::Opinions, Subject::Program).expect("it was judged");
        assert!(!told.is_disputable, "a public example fails too");
        assert_eq!(told.text.matches(OPINION).count(), 1);
    }

    #[test]
    fn review_is_told_with_its_verdict_and_bounded_findings() {
        let tell = |opinion, findings: &str| {
            tell_review(&Review {
                opinion,
                findings: findings.to_owned(),
            })
        };
        assert_eq!(
            tell(Some(Opinion::Fail), "On 0 it prints 0."),
            "No test ran: the tester read the program and says FAIL\n\nOn 0 it prints 0."
        );
        assert_eq!(
            tell(Some(Opinion::Pass), ""),
            "No test ran: the tester read the program and says PASS"
        );
        assert_eq!(
            tell(None, ""),
            "No test ran: the tester read the program and says neither PASS nor FAIL, which counts as FAIL"
        );
        let long = tell(None, &"ä".repeat(100_000));
        assert!(long.contains("\n(92200 characters left out)\n"), "{long}");
        assert!(long.chars().count() <= REPORT_CHARS_MAX);
    }
}
