//! One run of one case of one program, in the seat of a cage.
//!
//! Stands between the course, which says which run is next and what comes of it, and the cage. Every run is a process
//! of its own; a cage that fails is replaced and the run tried once more. Decides nothing about other cases.

use std::borrow::Cow;
use std::os::fd::AsFd;

use roundhouse_proto::{Case, CaseResult, Clip, EvaluateWork, StartMode, TestSet, Verdict};
use roundhouse_sandbox::{Crossed, Ended, Flow, Run, RunEnd, RunLimits, Start};
use tracing::warn;

use super::audit::Printer;
use super::checker::{self, Check};
use super::comparator::Agreement;
use super::function;
use super::gate::{Company, Entry, Gate};
use super::inputs::SealedInputs;
use super::reading::{Read, Reading};
use super::runner::{CageFailure, NoRun, Seat, Text};
use super::step::{Doubt, Outcome, Purpose, Ran, Step};
use super::verdict::{Output, verdict_of};
use crate::language::Interpreter;
use crate::language::{FAST_SERVER, NATURAL_SERVER};

/// How often a case is tried in cages that fail.
const CAGE_TRIES: u32 = 2;
/// Characters of standard error that are reported.
const STDERR_CHARS_MAX: usize = 2000;

/// What all cages of a worker share.
#[derive(Debug)]
pub(crate) struct Surroundings {
    /// What programs are run by.
    pub(crate) interpreter: std::sync::Arc<Interpreter>,
    /// The fastest start of those no faster than the one asked for that a program, by its text, does not notice.
    pub(crate) start_of: fn(&[u8], StartMode) -> StartMode,
    /// Standard inputs.
    pub(crate) inputs: SealedInputs,
    /// Who runs beside whom.
    pub(crate) gate: Gate,
}

impl Surroundings {
    /// How the processes of a program start. Those of function tasks are all fresh: their driver is no server.
    pub(crate) fn start_of(&self, work: &EvaluateWork, program: &[u8]) -> StartMode {
        match work.entry_point {
            Some(_) => StartMode::Fresh,
            None => (self.start_of)(program, work.execution.start),
        }
    }
}

/// The evaluation was told to stop; there is no report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopped;

/// One program that is being judged.
pub(crate) struct Judge<'a> {
    /// How; its `program` is not looked at.
    pub(crate) work: &'a EvaluateWork,
    /// The program's text.
    pub(crate) program: Text<'a>,
    /// What `work.tests` names.
    pub(crate) tests: &'a TestSet,
    /// The text of the checker, where one decides.
    pub(crate) checker: Option<&'a [u8]>,
    /// What all cages share.
    pub(crate) around: &'a Surroundings,
    /// Whether nobody wants the outcome any more.
    pub(crate) is_stopped: &'a dyn Fn() -> bool,
}

impl Judge<'_> {
    /// Makes the run, in a second cage if the first one fails.
    pub(crate) fn run(&self, seat: &mut Seat, step: Step) -> Result<Outcome, Stopped> {
        let case = step.case;
        let mut tries = 0;
        loop {
            if (self.is_stopped)() {
                return Err(Stopped);
            }
            tries += 1;
            let ran = match step.purpose {
                Purpose::Compile => self.compile(seat, step),
                Purpose::Judge
                | Purpose::Compare
                | Purpose::AskAgain
                | Purpose::CompareAgain
                | Purpose::Repeat => self.try_case(seat, step),
            };
            match ran {
                Ok(ran) if (self.is_stopped)() && ran.crossed == Some(Crossed::Stopped) => {
                    return Err(Stopped);
                }
                Ok(ran) => return Ok(Outcome::Ran(Box::new(ran))),
                Err(NoRun::NotServed(reason)) => return Ok(Outcome::NotServed(reason)),
                Err(NoRun::Unjudged(failure)) => return Ok(Outcome::Failed(failure)),
                Err(NoRun::Failed(failure)) => {
                    seat.clear();
                    if tries == CAGE_TRIES {
                        return Ok(Outcome::Failed(failure));
                    }
                    warn!(case, %failure, "a cage failed and is replaced");
                }
            }
        }
    }

    fn try_case(&self, seat: &mut Seat, step: Step) -> Result<Ran, NoRun> {
        let index = usize::try_from(step.case).expect("case numbers come from places in a list");
        let test = &self.tests.cases[index];
        let interpreter = &self.around.interpreter;
        let (argv, stdin) = match &self.work.entry_point {
            None => (
                Cow::Borrowed(interpreter.run_argv()),
                self.around.inputs.open((self.work.tests, step.case), &test.input),
            ),
            Some(name) => (
                Cow::Owned(function::argv(interpreter, name)),
                function::stdin(self.program.bytes, &test.input),
            ),
        };
        let stdin = stdin.map_err(CageFailure::from)?;
        let mut reading = Reading::new(self.work, self.program.bytes, test);
        let mut printer = step.is_compared().then(Printer::default);
        let mut stopped_as_wrong = false;
        let run = Run {
            start: match step.start {
                StartMode::Fast => Start::Fork(FAST_SERVER),
                StartMode::Natural => Start::Fork(NATURAL_SERVER),
                StartMode::Fresh => Start::Execute(&argv),
            },
            stdin: stdin.as_fd(),
            limits: run_limits(self.work),
        };
        let pass = self.around.gate.enter(step.entry);
        let end = seat.run(self.program, &run, &mut |chunk| {
            if let Some(printer) = &mut printer {
                printer.feed(chunk);
            }
            let agreement = reading.feed(chunk);
            stopped_as_wrong = self.work.stop_on_first_failure && agreement == Agreement::Lost;
            if stopped_as_wrong || (self.is_stopped)() {
                Flow::Stop
            } else {
                Flow::Continue
            }
        })?;
        let company = pass.company();
        drop(pass);
        let (read, stdout) = reading.finish();
        let output = match read {
            Read::Output(_) if stopped_as_wrong => Output::StoppedAsWrong,
            Read::Output(output) => output,
            Read::Kept(kept) => self.check(seat, test, &end, &kept)?,
        };
        let is_whole = end.crossed.is_none() && !stopped_as_wrong;
        Ok(Ran {
            crossed: end.crossed,
            print: printer.filter(|_| is_whole).map(Printer::finish),
            doubt: self.doubt(&end, company, step.entry),
            looks_uncompiled: looks_uncompiled(&end),
            result: self.result(step.case, &end, output, stdout),
        })
    }

    /// What the checker says of a run's output; a run that has another verdict needs no checker.
    fn check(&self, seat: &mut Seat, case: &Case, end: &RunEnd, output: &[u8]) -> Result<Output, NoRun> {
        if verdict_of(end, Output::Agrees, self.work) != Verdict::Accepted {
            return Ok(Output::Differs);
        }
        let check = Check {
            interpreter: &self.around.interpreter,
            checker: self.checker,
            texts: [&case.input, output, &case.expected],
        };
        // Beside others even if the run was alone: its own limits are wide.
        let _pass = self.around.gate.enter(Entry::Shared);
        check.ask(seat)
    }

    /// Sees whether the program's text compiles.
    fn compile(&self, seat: &mut Seat, step: Step) -> Result<Ran, NoRun> {
        let stdin = roundhouse_sandbox::seal(b"")
            .and_then(|empty| roundhouse_sandbox::reopen(empty.as_fd()))
            .map_err(CageFailure::from)?;
        let run = Run {
            start: Start::Execute(self.around.interpreter.compile_argv()),
            stdin: stdin.as_fd(),
            limits: run_limits(self.work),
        };
        let _pass = self.around.gate.enter(step.entry);
        let end = seat.run(self.program, &run, &mut |_| Flow::Continue)?;
        Ok(Ran {
            crossed: end.crossed,
            print: None,
            doubt: Doubt::None,
            looks_uncompiled: false,
            result: self.result(step.case, &end, Output::Agrees, Clip::default()),
        })
    }

    /// Who may be to blame if the run timed out or was killed for no limit.
    fn doubt(&self, end: &RunEnd, company: Company, entry: Entry) -> Doubt {
        let is_doubtful = match (entry, company) {
            // It is what decides.
            (Entry::Alone, _) => false,
            (Entry::Shared, Company::Beside) => true,
            // However little it used: it may have slept, and the host may have had no time for it.
            (Entry::Shared, Company::Alone) => {
                let by_wall = end.crossed == Some(Crossed::Wall) && end.cpu_ms < self.work.limits.cpu_ms;
                by_wall || (end.crossed.is_none() && matches!(end.ended, Ended::Signal(_)))
            }
        };
        if is_doubtful { Doubt::Machine } else { Doubt::None }
    }

    fn result(&self, case: u32, end: &RunEnd, output: Output, stdout: Clip) -> CaseResult {
        let (exit_code, signal) = match end.ended {
            Ended::Exit(status) => (Some(status), None),
            Ended::Signal(signal) => (None, Some(signal)),
        };
        CaseResult {
            case,
            verdict: verdict_of(end, output, self.work),
            not_run: false,
            cpu_ms: end.cpu_ms,
            wall_ms: end.wall_ms,
            memory_bytes: end.memory_bytes,
            exit_code,
            signal,
            stdout,
            stderr_tail: last_lines(&end.stderr_tail),
        }
    }
}

/// Whether a run looks as if the interpreter did not get as far as running the program: it then writes what is
/// wrong without a traceback. A syntax error that the program itself raises comes with one.
fn looks_uncompiled(end: &RunEnd) -> bool {
    let has_traceback =
        || String::from_utf8_lossy(&end.stderr_tail).contains("Traceback (most recent call last)");
    end.ended == Ended::Exit(1) && end.crossed.is_none() && !end.stderr_tail.is_empty() && !has_traceback()
}

fn run_limits(work: &EvaluateWork) -> RunLimits {
    let limits = work.limits;
    RunLimits {
        cpu_ms: limits.cpu_ms,
        wall_ms: limits.wall_ms,
        memory_bytes: limits.memory_bytes,
        output_bytes: checker::output_bytes_max(work),
        processes: limits.processes,
    }
}

/// The last whole lines that fit in [`STDERR_CHARS_MAX`]; of a longer last line, its end.
fn last_lines(stderr_tail: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr_tail);
    let Some((start, _)) = text.char_indices().rev().nth(STDERR_CHARS_MAX) else {
        return text.into_owned();
    };
    let cut = &text[start..];
    let line = cut.find('\n').map(|end| end + 1).filter(|end| *end < cut.len());
    // One character more than fits was taken, to see whether a line begins right behind it.
    let first = cut.chars().next().map_or(0, char::len_utf8);
    cut[line.unwrap_or(first)..].to_owned()
}

#[cfg(test)]
mod tests;
