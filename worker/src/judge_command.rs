//! `worker judge`: judges the programs of a file, without a coordinator.
//!
//! Reads all lines before it runs anything, judges them in order in one cage, and writes one line for each.

mod lines;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use roundhouse_proto::work::Priority;
use roundhouse_proto::{
    Case, CaseResult, Comparator, Digest, EvaluateWork, Execution, Isolation, Language, Payload, StartMode,
    TestSet, Tier, Verdict,
};
use serde::Serialize;

use crate::evaluate::{Cancellation, Evaluation, Pool};
use crate::isolation::{self, Admission, EXIT_REFUSED, Host, IsolationFlags};
use crate::language::Interpreter;
use crate::log::say;
use lines::{Line, LineError, Rule};

/// Bytes of a file of programs.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// Bytes of a checker.
const CHECKER_BYTES_MAX: u64 = 1 << 20;
/// Characters of an output that are collected; `stdout_head` shows the first half.
const OUTPUT_CHARS: u32 = 4000;
/// What a cage's init is entered from; stays right when the file on the disk is replaced.
const THIS_EXECUTABLE: &str = "/proc/self/exe";
/// Finished, but some programs could not be judged for reasons of ours.
const EXIT_INCOMPLETE: u8 = 3;

/// Flags of `worker judge`.
#[derive(Clone, Debug, clap::Args)]
pub struct JudgeArgs {
    /// File of programs, one JSON object a line: id, language, source, input, expected, limits (optional),
    /// comparator (optional; `checker:FILE` for a Python program that decides), entry_point (optional: a function that input, Python code then, calls); `-` reads
    /// standard input
    #[arg(long, value_name = "FILE")]
    cases: PathBuf,
    /// Python interpreter that runs the programs [default: `python3` on PATH]
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// How programs are started: `fast` forks an interpreter that has compiled the program, `natural` one that has
    /// read nothing of it, `fresh` starts one for every case; a program that would notice is started more slowly
    #[arg(long, value_name = "fast|natural|fresh", default_value_t = StartMode::Fast)]
    zygote: StartMode,
    /// How well programs must be shut in.
    #[command(flatten)]
    isolation: IsolationFlags,
}

/// Why nothing was judged.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("read programs from `{file}`")]
    Read {
        file: String,
        #[source]
        source: io::Error,
    },
    #[error("read programs from `{file}`: expected at most {FILE_BYTES_MAX} bytes")]
    TooLong { file: String },
    #[error("read the checker `{file}`")]
    Checker {
        file: String,
        #[source]
        source: io::Error,
    },
    #[error("read the checker `{file}`: expected at most {CHECKER_BYTES_MAX} bytes")]
    CheckerTooLong { file: String },
    #[error("read programs from `{file}`, line {line}: {wrong}")]
    Line {
        file: String,
        line: usize,
        wrong: LineError,
    },
}

/// What is written for each program.
#[derive(Debug, Serialize)]
struct Judged<'a> {
    id: &'a serde_json::Value,
    verdict: Verdict,
    cpu_ms: u64,
    wall_ms: u64,
    memory_bytes: u64,
    exit_code: Option<i32>,
    signal: Option<i32>,
    stdout_head: &'a str,
    stderr_tail: &'a str,
    isolation: Isolation,
}

/// Judges the programs of a file and writes one JSON line for each to standard output, flushed. Ends with 0, with 3 if
/// some could not be judged for reasons of ours, or with 78 if this host does not shut programs in well enough.
///
/// # Errors
/// The file cannot be read or one of its lines is wrong (nothing is judged then), there is no interpreter or no
/// cage, or standard output is closed.
pub fn run(args: &JudgeArgs) -> anyhow::Result<ExitCode> {
    let lines = read(&args.cases)?;
    let interpreter = Interpreter::resolve(Language::Python3, args.python.as_deref())?;
    let pool = Pool::start(PathBuf::from(THIS_EXECUTABLE), interpreter, NonZeroUsize::MIN)?;
    match isolation::admit(pool.found(), args.isolation.agreed(), &Host::look()) {
        Admission::Granted(None) => {}
        Admission::Granted(Some(warning)) => say(&warning),
        Admission::Refused(why) => {
            say(&why);
            return Ok(EXIT_REFUSED.into());
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .context("start the runtime")?;
    let mut code = ExitCode::SUCCESS;
    for (line, checker) in lines {
        let (id, evaluation) = evaluation(line, checker, args.zygote);
        let report = runtime.block_on(pool.evaluate(evaluation))?;
        let [result] = report.cases.as_slice() else {
            anyhow::bail!("one case was judged, but the report has {}", report.cases.len());
        };
        if result.verdict == Verdict::InternalError {
            code = ExitCode::from(EXIT_INCOMPLETE);
        }
        write(&judged(&id, result, report.isolation)).context("write to standard output")?;
    }
    Ok(code)
}

/// The lines of the file, each with its checker if it names one.
fn read(path: &Path) -> Result<Vec<(Line, Option<Bytes>)>, FileError> {
    let mut bytes = Vec::new();
    let is_stdin = path == Path::new("-");
    let file = if is_stdin {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    };
    let open = || -> io::Result<Box<dyn Read>> {
        Ok(if is_stdin {
            Box::new(io::stdin().lock())
        } else {
            Box::new(File::open(path)?)
        })
    };
    open()
        .and_then(|source| source.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|source| FileError::Read {
            file: file.clone(),
            source,
        })?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(FileError::TooLong { file });
    }
    let mut checkers = HashMap::new();
    let with_checker = |line: Line| {
        let checker = match &line.rule {
            Rule::Comparator(_) => None,
            Rule::Checker(path) => Some(checker(path, &mut checkers)?),
        };
        Ok((line, checker))
    };
    parse(&bytes, &file)?.into_iter().map(with_checker).collect()
}

/// The text of a checker, read once however many lines name it.
fn checker(path: &Path, known: &mut HashMap<PathBuf, Bytes>) -> Result<Bytes, FileError> {
    if let Some(text) = known.get(path) {
        return Ok(text.clone());
    }
    let file = || path.display().to_string();
    let mut text = Vec::new();
    File::open(path)
        .and_then(|source| source.take(CHECKER_BYTES_MAX + 1).read_to_end(&mut text))
        .map_err(|source| FileError::Checker { file: file(), source })?;
    if text.len() as u64 > CHECKER_BYTES_MAX {
        return Err(FileError::CheckerTooLong { file: file() });
    }
    let text = Bytes::from(text);
    known.insert(path.to_owned(), text.clone());
    Ok(text)
}

fn parse(bytes: &[u8], file: &str) -> Result<Vec<Line>, FileError> {
    let numbered = bytes.split(|byte| *byte == b'\n').zip(1..);
    numbered
        .filter(|(text, _)| !text.iter().all(u8::is_ascii_whitespace))
        .map(|(text, line)| {
            Line::parse(text).map_err(|wrong| FileError::Line {
                file: file.to_owned(),
                line,
                wrong,
            })
        })
        .collect()
}

fn evaluation(line: Line, checker: Option<Bytes>, start: StartMode) -> (serde_json::Value, Evaluation) {
    // Equal inputs share one sealed file.
    let tests = Digest::of(line.input.as_bytes());
    let case = Case {
        tier: Tier::Private,
        input: Bytes::from(line.input),
        expected: Bytes::from(line.expected),
    };
    let evaluation = Evaluation {
        work: EvaluateWork {
            execution: Execution {
                start,
                // Each line is judged for itself, with times of its own.
                reuse: false,
                ..Execution::default()
            },
            program: Payload::Inline(Bytes::new()),
            language: line.language,
            tests,
            limits: line.limits,
            comparator: match line.rule {
                Rule::Comparator(comparator) => comparator,
                Rule::Checker(_) => Comparator::Checker {
                    program: Digest::of(checker.as_deref().unwrap_or_default()),
                },
            },
            ignore_exit_status: false,
            timeouts_max: 0,
            stop_on_first_failure: false,
            output_chars: OUTPUT_CHARS,
            entry_point: line.entry_point,
        },
        program: Bytes::from(line.source),
        tests: Arc::new(TestSet { cases: vec![case] }),
        checker,
        priority: Priority::NORMAL,
        cancellation: Cancellation::default(),
    };
    (line.id, evaluation)
}

fn judged<'a>(id: &'a serde_json::Value, result: &'a CaseResult, isolation: Isolation) -> Judged<'a> {
    let half = OUTPUT_CHARS as usize / 2;
    let stdout = result.stdout.head.as_str();
    let end = stdout.char_indices().nth(half).map_or(stdout.len(), |(at, _)| at);
    Judged {
        id,
        verdict: result.verdict,
        cpu_ms: result.cpu_ms,
        wall_ms: result.wall_ms,
        memory_bytes: result.memory_bytes,
        exit_code: result.exit_code,
        signal: result.signal,
        stdout_head: &stdout[..end],
        stderr_tail: &result.stderr_tail,
        isolation,
    }
}

fn write(judged: &Judged<'_>) -> io::Result<()> {
    let mut text = serde_json::to_vec(judged)?;
    text.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&text)?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use roundhouse_proto::Clip;

    use super::*;

    #[test]
    fn a_bad_line_is_named_and_empty_ones_are_counted() {
        let good = r#"{"id": 1, "language": "python3", "source": "", "input": "", "expected": ""}"#;
        assert_eq!(
            parse(format!("\n{good}\n\n{good}\r\n").as_bytes(), "f")
                .unwrap()
                .len(),
            2
        );
        let error = parse(format!("{good}\n\n{{\"id\": 1}}\n").as_bytes(), "f.jsonl").unwrap_err();
        assert_eq!(
            error.to_string(),
            "read programs from `f.jsonl`, line 3: field `language` is missing: expected `python3`"
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = read(Path::new("/nowhere/f.jsonl")).unwrap_err();
        assert_eq!(error.to_string(), "read programs from `/nowhere/f.jsonl`");
    }

    #[test]
    fn checker_is_read_with_its_lines_and_one_that_is_not_there_or_too_long_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let line = |checker: &str| {
            let comparator = format!("checker:{}", path(checker).display());
            let line = serde_json::json!({
                "id": 1, "language": "python3", "source": "", "input": "", "expected": "", "comparator": comparator
            });
            format!("{line}\n")
        };
        std::fs::write(path("c.py"), "exit(0)").unwrap();
        std::fs::write(path("lines"), line("c.py").repeat(2)).unwrap();
        let lines = read(&path("lines")).unwrap();
        let text = Some(Bytes::from_static(b"exit(0)"));
        assert_eq!(lines.len(), 2);
        for (line, checker) in lines {
            let (_, evaluation) = evaluation(line, checker, StartMode::Fresh);
            let program = Digest::of(b"exit(0)");
            assert_eq!(evaluation.work.comparator, Comparator::Checker { program });
            assert_eq!(evaluation.checker, text);
        }
        std::fs::write(path("long.py"), vec![b' '; CHECKER_BYTES_MAX as usize + 1]).unwrap();
        for (checker, error) in [
            ("missing.py", ""),
            ("long.py", ": expected at most 1048576 bytes"),
        ] {
            std::fs::write(path("lines"), line(checker)).unwrap();
            let expected = format!("read the checker `{}`{error}", path(checker).display());
            assert_eq!(read(&path("lines")).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn a_result_is_one_line_of_json_with_every_key() {
        let result = CaseResult {
            case: 0,
            verdict: Verdict::RuntimeError,
            not_run: false,
            cpu_ms: 1,
            wall_ms: 2,
            memory_bytes: 3,
            exit_code: None,
            signal: Some(11),
            stdout: Clip {
                head: "é".repeat(3000),
                ..Clip::default()
            },
            stderr_tail: "a\nb".to_owned(),
        };
        let id = serde_json::json!("x");
        let text = serde_json::to_string(&judged(&id, &result, Isolation::FullNocg)).unwrap();
        assert_eq!(
            text,
            format!(
                r#"{{"id":"x","verdict":"RE","cpu_ms":1,"wall_ms":2,"memory_bytes":3,"exit_code":null,"signal":11,"stdout_head":"{}","stderr_tail":"a\nb","isolation":"full-nocg"}}"#,
                "é".repeat(2000)
            )
        );
    }
}
