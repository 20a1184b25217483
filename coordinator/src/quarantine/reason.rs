//! Why accepted programs fail: told from the statement's words, the verdicts and what the programs left behind.
//!
//! Pure functions of texts. What they find is a judgement for people who decide what to do about a problem; whether a
//! problem is in quarantine at all is decided by the verdicts alone.

use std::collections::{BTreeMap, BTreeSet};

use roundhouse_core::run::QuarantineReason;
use roundhouse_proto::{CaseResult, Clip, TestSet, Verdict};

use crate::dataset::quote::plain;

/// Characters of a program's own words in a sentence.
const SAID_CHARS_MAX: usize = 160;
/// The signal of a program whose stack has no room left.
const SIGSEGV: i32 = 11;

/// Words of statements that ask for a program that talks with another one.
const INTERACTIVE: &[&str] = &[
    "interactive problem",
    "interactive task",
    "problem is interactive",
    "task is interactive",
    "flush the output",
    "flush output",
    "flush your output",
    "fflush",
    "stdout.flush",
];

/// Words of statements that accept more than one output.
const SEVERAL: &[&str] = &[
    "print any",
    "output any",
    "find any",
    "report any",
    "return any",
    "display any",
    "any of them",
    "any one of them",
    "any such",
    "any valid",
    "any correct",
    "any suitable",
    "any appropriate",
    "any optimal",
    "any possible answer",
    "any possible solution",
    "any answer",
    "any solution",
    "any order",
    "arbitrary order",
    "print an arbitrary",
    "output an arbitrary",
    "print one of",
    "output one of",
    "if there are multiple",
    "if there are several",
    "if there are many",
    "if there is more than one",
    "multiple answers",
    "multiple solutions",
    "multiple optimal",
    "multiple possible",
    "multiple correct",
    "multiple ways",
    "several answers",
    "several solutions",
    "several optimal",
    "several possible",
    "several correct",
    "several suitable",
    "several ways",
    "many answers",
    "many solutions",
    "many possible",
    "more than one answer",
    "more than one solution",
    "more than one possible",
    "more than one correct",
    "more than one way",
    "not unique",
];

/// First words by which an output says that there is no answer.
const NO_ANSWER: &[&str] = &["no", "impossible", "-1", "none"];

/// Last words of a program that cannot read its input as it expects it.
const MISREAD: &[&str] = &[
    "values to unpack",
    "invalid literal for int()",
    "could not convert string to float",
    "EOFError",
    "StopIteration",
];

/// Words of a program or of its end that name what surrounds it, with what they mean.
const SURROUNDINGS: &[(&str, &str)] = &[
    ("RecursionError", "it recurses deeper than the interpreter allows"),
    ("ModuleNotFoundError", "it needs a module that is not there"),
    ("ImportError", "it needs a module that is not there"),
    (
        "int_max_str_digits",
        "it converts integers of more digits than the interpreter does",
    ),
    (
        "for integer string conversion",
        "it converts integers of more digits than the interpreter does",
    ),
    ("FileNotFoundError", "it reads or writes a file that is not there"),
    ("PermissionError", "it opens a file that it may not open"),
    (
        "UnsupportedOperation",
        "it takes its input for another kind of file",
    ),
    ("not seekable", "it takes its input for another kind of file"),
    ("Illegal seek", "it takes its input for another kind of file"),
    ("cannot mmap", "it takes its input for another kind of file"),
    (
        "AttributeError: module '",
        "it uses what this version of the interpreter does not have",
    ),
];

/// What programs write that take standard input for a file of a known length.
const STDIN_AS_FILE: &[&str] = &["fstat(0).st_size", "/dev/stdin", "mmap.mmap(0", "getsize(0)"];

/// An accepted program that fails, and at which case.
#[derive(Clone, Copy, Debug)]
pub struct Failing<'a> {
    /// The program's text.
    pub source: &'a str,
    /// What the first failing case came to.
    pub case: &'a CaseResult,
    /// What it should have come to.
    pub expected: &'a [u8],
}

/// Why programs fail, in a word and in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The word.
    pub kind: QuarantineReason,
    /// The sentence.
    pub text: String,
}

impl Reason {
    fn new(kind: QuarantineReason, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { kind, text }
    }
}

/// Why the accepted programs of a problem fail; where they fail for different reasons, what most of them fail for.
pub fn reason_of(statement: &str, tests: &TestSet, failing: &[Failing<'_>]) -> Reason {
    let words = in_one_line(statement);
    if let Some(phrase) = INTERACTIVE.iter().find(|phrase| words.contains(**phrase)) {
        return Reason::new(
            QuarantineReason::Interactive,
            format!(
                "The program is to talk with another one (`{phrase}`), and there is nobody to answer it."
            ),
        );
    }
    let seen = Seen {
        several: SEVERAL.iter().find(|phrase| words.contains(**phrase)).copied(),
        contradiction: Contradiction::of(tests),
        others_agree: agree_on_another_output(failing),
    };
    let mut reasons: BTreeMap<QuarantineReason, (usize, String)> = BTreeMap::new();
    for program in failing {
        let Reason { kind, text } = seen.reason(program);
        reasons.entry(kind).or_insert((0, text)).0 += 1;
    }
    // The last of those that are equally frequent is taken, so from the least telling to the most.
    let most = reasons.into_iter().rev().max_by_key(|(_, (n, _))| *n);
    most.map_or_else(
        || Reason::new(QuarantineReason::Unknown, "No program fails."),
        |(kind, (_, text))| Reason { kind, text },
    )
}

/// Two cases with one input and different outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Contradiction {
    one: usize,
    other: usize,
    /// Whether their outputs have as many values on each line.
    of_one_form: bool,
}

impl Contradiction {
    /// The first two such cases.
    fn of(tests: &TestSet) -> Option<Self> {
        let mut known: BTreeMap<&[u8], usize> = BTreeMap::new();
        for (other, case) in tests.cases.iter().enumerate() {
            let one = *known.entry(&case.input).or_insert(other);
            if one == other {
                continue;
            }
            let output = |place: usize| {
                let case = tests.cases.get(place)?;
                Some(String::from_utf8_lossy(&case.expected))
            };
            let (expected, expected_other) = (output(one)?, output(other)?);
            if in_one_line(&expected) != in_one_line(&expected_other) {
                return Some(Self {
                    one,
                    other,
                    of_one_form: has_same_form(&expected, &expected_other),
                });
            }
        }
        None
    }

    fn reason(self) -> Reason {
        let Self {
            one,
            other,
            of_one_form,
        } = self;
        if of_one_form {
            let text = format!(
                "Cases {one} and {other} have the same input and outputs that differ in their values only."
            );
            return Reason::new(QuarantineReason::SeveralRightAnswers, text);
        }
        let text = format!("Cases {one} and {other} have the same input and different outputs.");
        Reason::new(QuarantineReason::WrongData, text)
    }
}

/// What is seen of a problem before its programs are looked at one by one.
struct Seen {
    /// The statement's words for several right answers.
    several: Option<&'static str>,
    /// Two cases with one input and different outputs.
    contradiction: Option<Contradiction>,
    /// Whether several programs give one output, and it is another than the expected one.
    others_agree: bool,
}

impl Seen {
    fn reason(&self, program: &Failing<'_>) -> Reason {
        match program.case.verdict {
            Verdict::WrongAnswer => self.of_wrong_answer(program),
            Verdict::RuntimeError => of_runtime_error(program),
            Verdict::CompileError => Reason::new(
                QuarantineReason::Environment,
                "The program does not compile with this version of the interpreter.",
            ),
            Verdict::TimeLimit => Reason::new(
                QuarantineReason::Limit,
                "The program needs more time than it has here.",
            ),
            Verdict::MemoryLimit => Reason::new(
                QuarantineReason::Limit,
                "The program needs more memory than it has here.",
            ),
            Verdict::OutputLimit => Reason::new(
                QuarantineReason::Limit,
                "The program writes more than it may here.",
            ),
            Verdict::Accepted | Verdict::InternalError => {
                Reason::new(QuarantineReason::Unknown, "The program was not judged.")
            }
        }
    }

    fn of_wrong_answer(&self, program: &Failing<'_>) -> Reason {
        let Some(found) = whole(&program.case.stdout) else {
            return self.by_words().unwrap_or_else(|| {
                Reason::new(
                    QuarantineReason::Unknown,
                    "The output differs from the expected one, and is too long to compare their forms.",
                )
            });
        };
        let expected = String::from_utf8_lossy(program.expected);
        let is_answered = has_answer(&found) == has_answer(&expected);
        if let Some(reason) = self.by_words().filter(|_| is_answered) {
            return reason;
        }
        if let Some(contradiction) = &self.contradiction {
            return contradiction.reason();
        }
        if has_same_lines(&found, &expected) {
            return Reason::new(
                QuarantineReason::SeveralRightAnswers,
                "The output has the expected lines in another order, which `--comparator unordered-lines` accepts.",
            );
        }
        if self.others_agree {
            return Reason::new(
                QuarantineReason::WrongData,
                "Accepted programs agree with each other on an output that is not the expected one.",
            );
        }
        if is_answered && has_same_form(&found, &expected) {
            return Reason::new(
                QuarantineReason::SeveralRightAnswers,
                "The output has the form of the expected one, as many values on each line, and other values.",
            );
        }
        Reason::new(
            QuarantineReason::Unknown,
            "The output differs from the expected one, and nothing shows why.",
        )
    }

    fn by_words(&self) -> Option<Reason> {
        let phrase = self.several?;
        Some(Reason::new(
            QuarantineReason::SeveralRightAnswers,
            format!(
                "The statement accepts several answers (`{phrase}`), and the output is another one than expected."
            ),
        ))
    }
}

fn of_runtime_error(program: &Failing<'_>) -> Reason {
    let Failing { source, case, .. } = program;
    let said = case.stderr_tail.as_str();
    let last = plain(
        said.lines()
            .rfind(|line| !line.trim().is_empty())
            .unwrap_or_default()
            .trim(),
        SAID_CHARS_MAX,
    );
    if said.contains("MemoryError") {
        return Reason::new(
            QuarantineReason::Limit,
            "The program needs more memory than it has here.",
        );
    }
    if let Some((_, meaning)) = SURROUNDINGS.iter().find(|(words, _)| said.contains(*words)) {
        let text = format!("The program fails here because {meaning}: `{last}`.");
        return Reason::new(QuarantineReason::Environment, text);
    }
    if case.signal == Some(SIGSEGV) {
        return Reason::new(
            QuarantineReason::Environment,
            "The program ends by signal 11, as one does whose stack has no room left.",
        );
    }
    if STDIN_AS_FILE.iter().any(|words| source.contains(words)) {
        let text = format!("The program takes its input for another kind of file: `{last}`.");
        return Reason::new(QuarantineReason::Environment, text);
    }
    if MISREAD.iter().any(|words| said.contains(words)) {
        let text = format!("The program cannot read the input, so they do not belong together: `{last}`.");
        return Reason::new(QuarantineReason::WrongData, text);
    }
    let how = match (case.signal, case.exit_code) {
        (Some(signal), _) => format!("by signal {signal}"),
        (None, Some(code)) => format!("with exit status {code}"),
        (None, None) => "early".to_owned(),
    };
    let text = match last.is_empty() {
        true => format!("The program ends {how} and does not say why."),
        false => format!("The program ends {how}: `{last}`."),
    };
    Reason::new(QuarantineReason::Unknown, text)
}

/// A text in small letters with single spaces, so that a phrase is found over the end of a line.
fn in_one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").to_lowercase()
}

/// The output, if all of it was kept.
fn whole(clip: &Clip) -> Option<String> {
    (clip.left_out == 0).then(|| format!("{}{}", clip.head, clip.tail))
}

/// Whether an output gives an answer, and does not say that there is none.
fn has_answer(output: &str) -> bool {
    let first = output.split_whitespace().next().unwrap_or_default();
    !NO_ANSWER.iter().any(|word| first.eq_ignore_ascii_case(word))
}

/// Lines with something on them, without the white space around.
fn lines(output: &str) -> impl Iterator<Item = &str> {
    output.lines().map(str::trim).filter(|line| !line.is_empty())
}

fn has_same_lines(one: &str, other: &str) -> bool {
    let sorted = |output| {
        let mut lines: Vec<&str> = lines(output).collect();
        lines.sort_unstable();
        lines
    };
    sorted(one) == sorted(other)
}

/// Whether two outputs have as many values on each line, and more than one in all: a single number that is another is
/// no other form of the same answer.
fn has_same_form(one: &str, other: &str) -> bool {
    let form = |output| -> Vec<usize> {
        lines(output)
            .map(|line| line.split_whitespace().count())
            .collect()
    };
    let form_of_one = form(one);
    form_of_one.iter().sum::<usize>() > 1 && form_of_one == form(other)
}

/// Whether two programs or more all give one output at one case, which is not the expected one.
fn agree_on_another_output(failing: &[Failing<'_>]) -> bool {
    let outputs: Option<BTreeSet<(u32, String)>> = failing
        .iter()
        .map(|program| match program.case.verdict {
            Verdict::WrongAnswer => {
                let output = whole(&program.case.stdout)?;
                Some((program.case.case, in_one_line(&output)))
            }
            _ => None,
        })
        .collect();
    failing.len() > 1 && outputs.is_some_and(|outputs| outputs.len() == 1)
}

#[cfg(test)]
mod tests {
    use QuarantineReason::{Environment, Interactive, Limit, SeveralRightAnswers, Unknown, WrongData};
    use bytes::Bytes;
    use roundhouse_proto::{Case, Tier};

    use super::*;

    fn result(verdict: Verdict, stdout: &str, stderr: &str) -> CaseResult {
        CaseResult {
            case: 0,
            verdict,
            not_run: false,
            cpu_ms: 1,
            wall_ms: 1,
            memory_bytes: 1,
            exit_code: Some(1),
            signal: None,
            stdout: Clip {
                head: stdout.to_owned(),
                left_out: 0,
                tail: String::new(),
            },
            stderr_tail: stderr.to_owned(),
        }
    }

    fn tests_of(cases: &[(&str, &str)]) -> TestSet {
        let case = |(input, expected): &(&str, &str)| Case {
            tier: Tier::Private,
            input: Bytes::copy_from_slice(input.as_bytes()),
            expected: Bytes::copy_from_slice(expected.as_bytes()),
        };
        TestSet {
            cases: cases.iter().map(case).collect(),
        }
    }

    /// Why one program fails.
    fn one(statement: &str, source: &str, case: &CaseResult, expected: &str) -> Reason {
        let program = Failing {
            source,
            case,
            expected: expected.as_bytes(),
        };
        reason_of(statement, &tests_of(&[("1", expected)]), &[program])
    }

    fn wrong_answer(statement: &str, found: &str, expected: &str) -> QuarantineReason {
        one(statement, "", &result(Verdict::WrongAnswer, found, ""), expected).kind
    }

    fn runtime_error(source: &str, stderr: &str) -> QuarantineReason {
        one(
            "Print any.",
            source,
            &result(Verdict::RuntimeError, "", stderr),
            "1",
        )
        .kind
    }

    #[test]
    fn statement_that_accepts_several_answers_is_found_by_its_words_also_over_the_end_of_a_line() {
        for statement in [
            "If there are multiple answers, print\n  any of them.",
            "You may output ANY  valid sequence.",
            "Print the edges in arbitrary\norder.",
            "If there is more than one such set, print one of them.",
        ] {
            assert_eq!(
                wrong_answer(statement, "3", "2"),
                SeveralRightAnswers,
                "{statement}"
            );
        }
        let cut = CaseResult {
            stdout: Clip {
                left_out: 1,
                ..Clip::default()
            },
            ..result(Verdict::WrongAnswer, "", "")
        };
        assert_eq!(one("print any", "", &cut, "1").kind, SeveralRightAnswers);
        assert_eq!(one("print it", "", &cut, "1").kind, Unknown);
    }

    #[test]
    fn output_that_denies_an_answer_where_one_is_expected_is_no_other_right_answer() {
        let statement = "Print any such tree, or NO.";
        assert_eq!(wrong_answer(statement, "NO", "YES\n1 2"), Unknown);
        assert_eq!(wrong_answer(statement, "-1 1", "3 4"), Unknown);
        assert_eq!(
            wrong_answer(statement, "YES\n2 1", "YES\n1 2"),
            SeveralRightAnswers
        );
        assert_eq!(wrong_answer("Print it.", "no\nno", "yes\nyes"), Unknown);
    }

    #[test]
    fn output_of_the_same_lines_or_the_same_form_is_another_right_answer_and_another_number_is_not() {
        let statement = "Print the points.";
        assert_eq!(
            wrong_answer(statement, "2\n1 -1\n0 1\n", "2\n0 1\n1 -1"),
            SeveralRightAnswers
        );
        assert_eq!(wrong_answer(statement, "2\n1 2", "2\n3 4"), SeveralRightAnswers);
        assert_eq!(wrong_answer(statement, "2\n1 2", "2\n3 4 5"), Unknown);
        assert_eq!(wrong_answer(statement, "7", "8"), Unknown);
    }

    #[test]
    fn cases_that_contradict_each_other_and_programs_that_agree_are_wrong_data() {
        let case = result(Verdict::WrongAnswer, "5 6", "");
        let program = Failing {
            source: "",
            case: &case,
            expected: b"7 8",
        };
        let contradicting = tests_of(&[("1", "7 8"), ("2", "7  8"), ("1", "5 6 7")]);
        let reason = reason_of("Print it.", &contradicting, &[program]);
        assert_eq!(reason.kind, WrongData);
        assert!(reason.text.contains("Cases 0 and 2"), "{}", reason.text);
        // Where only the values differ, the file has two right answers of its own.
        let two_answers = tests_of(&[("1", "7 8"), ("1", "5 6")]);
        let reason = reason_of("Print it.", &two_answers, &[program, program]);
        assert_eq!(reason.kind, SeveralRightAnswers);
        let two_numbers = tests_of(&[("1", "7"), ("1", "8")]);
        assert_eq!(reason_of("Print it.", &two_numbers, &[program]).kind, WrongData);

        let tests = tests_of(&[("1", "7 8"), ("1", "7\n8")]);
        assert_eq!(
            reason_of("Print it.", &tests, &[program]).kind,
            SeveralRightAnswers
        );
        assert_eq!(
            reason_of("Print it.", &tests, &[program, program]).kind,
            WrongData
        );
        let other = result(Verdict::WrongAnswer, "6 5", "");
        let other = Failing {
            case: &other,
            ..program
        };
        assert_eq!(
            reason_of("Print it.", &tests, &[program, other]).kind,
            SeveralRightAnswers
        );
    }

    #[test]
    fn interactive_statement_decides_whatever_the_verdict_is() {
        for verdict in [Verdict::WrongAnswer, Verdict::RuntimeError, Verdict::TimeLimit] {
            for statement in [
                "This is an interactive problem.",
                "do not forget to\nflush the output",
            ] {
                let reason = one(statement, "", &result(verdict, "", ""), "1");
                assert_eq!(reason.kind, Interactive, "{verdict} {statement}");
            }
        }
        // A hand of cards.
        assert_eq!(wrong_answer("A flush beats a pair.", "1", "2"), Unknown);
    }

    #[test]
    fn crossed_limit_is_a_limit() {
        for verdict in [Verdict::TimeLimit, Verdict::MemoryLimit, Verdict::OutputLimit] {
            assert_eq!(one("Print any.", "", &result(verdict, "", ""), "1").kind, Limit);
        }
        assert_eq!(runtime_error("", "MemoryError"), Limit);
    }

    #[test]
    fn program_that_needs_other_surroundings_is_told_by_its_last_words() {
        for stderr in [
            "RecursionError: maximum recursion depth exceeded",
            "ModuleNotFoundError: No module named 'numpy'",
            "ValueError: Exceeds the limit (4300 digits) for integer string conversion: value has 9000 digits; use \
             sys.set_int_max_str_digits() to increase the limit",
            "FileNotFoundError: [Errno 2] No such file or directory: 'input.txt'",
            "AttributeError: module 'fractions' has no attribute 'gcd'",
            "io.UnsupportedOperation: underlying stream is not seekable",
        ] {
            assert_eq!(runtime_error("", stderr), Environment, "{stderr}");
        }
        let misread = "ValueError: invalid literal for int() with base 10: b''";
        assert_eq!(
            runtime_error("data = os.read(0, os.fstat(0).st_size)", misread),
            Environment
        );
        let crash = CaseResult {
            signal: Some(SIGSEGV),
            exit_code: None,
            ..result(Verdict::RuntimeError, "", "")
        };
        assert_eq!(one("", "", &crash, "1").kind, Environment);
        assert_eq!(
            one("", "", &result(Verdict::CompileError, "", ""), "1").kind,
            Environment
        );
    }

    #[test]
    fn program_that_cannot_read_its_input_does_not_belong_to_it() {
        for stderr in [
            "Traceback\nValueError: not enough values to unpack (expected 2, got 1)\n",
            "ValueError: invalid literal for int() with base 10: '2 2'",
            "EOFError: EOF when reading a line",
        ] {
            assert_eq!(runtime_error("", stderr), WrongData, "{stderr}");
        }
        let last = "ZeroDivisionError: division by zero\u{1b}[2J";
        let reason = one("", "", &result(Verdict::RuntimeError, "", last), "1");
        let text = "The program ends with exit status 1: `ZeroDivisionError: division by zero\\u{1b}[2J`.";
        assert_eq!(reason, Reason::new(Unknown, text));
    }

    #[test]
    fn most_frequent_reason_stands_for_the_problem_and_a_telling_one_before_none() {
        let (slow, wrong) = (
            result(Verdict::TimeLimit, "", ""),
            result(Verdict::WrongAnswer, "1", ""),
        );
        let of = |case| Failing {
            source: "",
            case,
            expected: b"2",
        };
        let tests = TestSet::default();
        let reason = |failing: &[Failing<'_>]| reason_of("Print it.", &tests, failing).kind;
        assert_eq!(reason(&[of(&wrong), of(&slow)]), Limit);
        let other = result(Verdict::WrongAnswer, "3", "");
        assert_eq!(reason(&[of(&wrong), of(&slow), of(&other)]), Unknown);
    }
}
