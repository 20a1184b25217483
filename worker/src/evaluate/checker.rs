//! Cases that a program of the user decides, the checker: what it is given, how it is run, and what its end says.
//!
//! Stands where `comparator` stands for rules. A program's output is kept until the program is gone; then the checker
//! runs in the same cage, in a fresh interpreter, with three files beside it. They are the only way in which an expected
//! output ever enters a cage: the scratch is emptied before they come, and again before anything else runs, so that no
//! judged program sees them. Only a program that nothing else is wrong with is checked.

use std::os::fd::AsFd;

use roundhouse_proto::{Comparator, EvaluateWork, Limits};
use roundhouse_sandbox as sandbox;
use roundhouse_sandbox::{Crossed, Ended, Flow, Run, RunEnd, RunLimits, Start};

use super::runner::{CageFailure, NoRun, SCRATCH_BYTES_MAX, Seat};
use super::verdict::Output;
use crate::language::{Interpreter, MAIN_FILE};

/// CPU time of one check, in milliseconds.
const CPU_MS: u64 = 10_000;
/// Memory of one check.
const MEMORY_BYTES: u64 = 1 << 30;
/// What a check may write; nobody reads more than the end of its standard error.
const OUTPUT_BYTES: u64 = 1 << 20;
/// Processes and threads of one check: libraries of Python start some.
const PROCESSES: u32 = 64;
/// Output of a program that a checker decides about: a quarter of a cage's scratch.
const CHECKED_BYTES_MAX: u64 = SCRATCH_BYTES_MAX / 4;
/// Characters of standard error that are told when a checker fails.
const STDERR_CHARS_MAX: usize = 300;

/// The arguments of a checker, in this order; each names a file in the work directory.
pub(crate) const FILES: [&str; 3] = ["input.txt", "output.txt", "expected.txt"];
/// What runs the checker.
const RUN: &str = include_str!("checker_run.py");

/// The checker said neither right nor wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the checker {ended}: {stderr}")]
pub(crate) struct CheckerFailure {
    ended: String,
    stderr: String,
}

/// A case to be decided.
pub(crate) struct Check<'a> {
    /// What runs the checker.
    pub(crate) interpreter: &'a Interpreter,
    /// The checker's text; none if it is not there.
    pub(crate) checker: Option<&'a [u8]>,
    /// The case's input, the program's output and the expected one: what [`FILES`] hold.
    pub(crate) texts: [&'a [u8]; 3],
}

impl Check<'_> {
    /// Asks the checker. What runs next on the seat is loaded anew.
    ///
    /// # Errors
    /// The cage failed, or the checker did.
    pub(crate) fn ask(&self, seat: &mut Seat) -> Result<Output, NoRun> {
        let Some(checker) = self.checker else {
            return Err(unjudged("the checker's text is not there".to_owned()));
        };
        let empty = sandbox::seal(b"").map_err(CageFailure::from)?;
        let argv = argv(self.interpreter);
        let run = Run {
            start: Start::Execute(&argv),
            stdin: empty.as_fd(),
            limits: limits(),
        };
        let files: Vec<_> = FILES.into_iter().zip(self.texts).collect();
        let end = seat.run_beside(checker, &files, &run, &mut |_| Flow::Continue)?;
        answer(&end).map_err(|failure| unjudged(failure.to_string()))
    }
}

fn unjudged(why: String) -> NoRun {
    NoRun::Unjudged(CageFailure(why))
}

/// Most bytes of output that the work allows. A checker's files lie twice in a cage's scratch, once where no program
/// reaches them, so that an output that is allowed must leave room for the others: a program must not be able to make
/// its own check impossible.
pub(crate) fn output_bytes_max(work: &EvaluateWork) -> u64 {
    let limit = work.limits.output_bytes;
    match work.comparator {
        Comparator::Checker { .. } if work.entry_point.is_none() => limit.min(CHECKED_BYTES_MAX),
        _ => limit,
    }
}

/// Runs [`RUN`], that the checker, and that gets the names of the files.
fn argv(interpreter: &Interpreter) -> Vec<String> {
    let executable = interpreter.run_argv().first().cloned().unwrap_or_default();
    let words = ["-c", RUN, MAIN_FILE].into_iter().chain(FILES);
    std::iter::once(executable)
        .chain(words.map(str::to_owned))
        .collect()
}

fn limits() -> RunLimits {
    RunLimits {
        cpu_ms: CPU_MS,
        wall_ms: Limits::wall_for_cpu_ms(CPU_MS),
        memory_bytes: MEMORY_BYTES,
        output_bytes: OUTPUT_BYTES,
        processes: PROCESSES,
    }
}

/// What the end of a checker says.
fn answer(end: &RunEnd) -> Result<Output, CheckerFailure> {
    let ended = match (end.crossed, end.ended) {
        (None, Ended::Exit(0)) => return Ok(Output::Agrees),
        (None, Ended::Exit(1)) => return Ok(Output::Differs),
        (None, Ended::Exit(status)) => {
            format!("ended with status {status}, expected 0 for right or 1 for wrong")
        }
        (None, Ended::Signal(signal)) => format!("was ended by signal {signal}"),
        (Some(Crossed::Cpu), _) => format!("took more than {CPU_MS} ms of CPU time"),
        (Some(Crossed::Wall), _) => {
            format!("took more than {} ms", Limits::wall_for_cpu_ms(CPU_MS))
        }
        (Some(Crossed::Memory), _) => format!("took more than {MEMORY_BYTES} bytes of memory"),
        (Some(Crossed::Output | Crossed::Stopped), _) => format!("wrote more than {OUTPUT_BYTES} bytes"),
    };
    let stderr = String::from_utf8_lossy(&end.stderr_tail);
    let stderr = stderr.trim_end();
    let start = stderr.char_indices().rev().nth(STDERR_CHARS_MAX - 1);
    let stderr = match &stderr[start.map_or(0, |(at, _)| at)..] {
        "" => "it wrote nothing to standard error".to_owned(),
        text => text.to_owned(),
    };
    Err(CheckerFailure { ended, stderr })
}

#[cfg(test)]
mod tests;
