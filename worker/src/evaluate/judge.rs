//! One program against its test set, case after case, in one cage.
//!
//! Stands between the pool, which says which program is next, and the seat of a cage. Every case runs in a process
//! of its own. Decides what is run again and what is not run at all:
//! - a cage that fails is replaced and the case tried once more; then the case is an internal error;
//! - a time-out that the machine may be to blame for is repeated alone, once per program, and the repeat decides;
//! - a program that does not compile is given so by its first case, and the others are not run;
//! - after `timeouts_max` time-outs the others count as timed out; with `stop_on_first_failure` the others get the
//!   verdict of the case that failed. Either way they are marked as not run.

use std::borrow::Cow;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use roundhouse_proto::{Case, CaseResult, Clip, EvaluateWork, EvaluationReport, TestSet, Verdict};
use roundhouse_sandbox::{Crossed, Ended, Flow, RunEnd, RunLimits, Start};
use tracing::{debug, warn};

use super::checker::{self, Check};
use super::comparator::Agreement;
use super::function;
use super::gate::{Company, Entry, Gate};
use super::inputs::SealedInputs;
use super::reading::{Read, Reading};
use super::runner::{CageFailure, Seat, Ticket};
use super::verdict::{Output, verdict_of};
use crate::language::Interpreter;

/// How often a case is tried in cages that fail.
const CAGE_TRIES: u32 = 2;
/// Cases in a row that the machinery may fail; the rest of the program is then an internal error, not run.
const INTERNAL_ERRORS_MAX: u32 = 3;
/// Characters of standard error that are reported.
const STDERR_CHARS_MAX: usize = 2000;
/// A program that used less than this part of its time on the clock, and had the cages to itself, was waiting and
/// not short of a CPU: a repeat alone would end alike.
const WAITING_CPU_SHARE: u64 = 20;

/// What all cages of a worker share.
#[derive(Debug)]
pub(crate) struct Surroundings {
    /// What programs are run by.
    pub(crate) interpreter: std::sync::Arc<Interpreter>,
    /// Standard inputs.
    pub(crate) inputs: SealedInputs,
    /// Who runs beside whom.
    pub(crate) gate: Gate,
}

/// The evaluation was told to stop; there is no report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopped;

/// One program that is to be judged.
pub(crate) struct Judge<'a> {
    /// How; its `program` is not looked at.
    pub(crate) work: &'a EvaluateWork,
    /// The program's text.
    pub(crate) program: &'a [u8],
    /// What `work.tests` names.
    pub(crate) tests: &'a TestSet,
    /// The text of the checker, where one decides.
    pub(crate) checker: Option<&'a [u8]>,
    /// What all cages share.
    pub(crate) around: &'a Surroundings,
    /// Whether nobody wants the report any more.
    pub(crate) is_stopped: &'a dyn Fn() -> bool,
}

/// What must be remembered from case to case.
#[derive(Default)]
struct Progress {
    /// The verdict of all further cases, which are not run.
    rest: Option<Verdict>,
    compile_checked: bool,
    repeated: bool,
    timeouts: u32,
    internal_errors: u32,
}

/// One run of one case.
struct Ran {
    end: RunEnd,
    output: Output,
    stdout: Clip,
    company: Company,
}

impl Judge<'_> {
    /// Judges the program. `between` is called before every case but the first and may run other programs on the
    /// same seat; its time is not counted.
    pub(crate) fn judge(
        &self,
        seat: &mut Seat,
        between: &mut dyn FnMut(&mut Seat),
    ) -> Result<EvaluationReport, Stopped> {
        let start = Instant::now();
        let mut away = Duration::ZERO;
        let ticket = seat.ticket();
        let mut isolation = seat.isolation();
        let mut progress = Progress::default();
        let mut cases = Vec::with_capacity(self.tests.cases.len());
        for index in 0..self.tests.cases.len() {
            let case = u32::try_from(index).expect("a test set has fewer than 2^32 cases");
            if let Some(verdict) = progress.rest {
                cases.push(not_run(case, verdict));
                continue;
            }
            if index > 0 {
                let left = Instant::now();
                between(seat);
                away += left.elapsed();
            }
            cases.push(self.judge_case(seat, ticket, case, &mut progress)?);
            isolation = isolation.min(seat.isolation());
        }
        Ok(EvaluationReport {
            audit: roundhouse_proto::Audit::default(),
            reused: false,
            cases,
            isolation,
            interpreter: self.around.interpreter.name().to_owned(),
            busy_ms: millis(start.elapsed().saturating_sub(away)),
        })
    }

    fn judge_case(
        &self,
        seat: &mut Seat,
        ticket: Ticket,
        case: u32,
        progress: &mut Progress,
    ) -> Result<CaseResult, Stopped> {
        let result = match self.settle(seat, ticket, case, progress)? {
            Ok(result) => result,
            Err(failure) => {
                warn!(case, %failure, "case could not be run");
                internal_error(case, &failure)
            }
        };
        progress.internal_errors = match result.verdict {
            Verdict::InternalError => progress.internal_errors + 1,
            _ => 0,
        };
        progress.timeouts += u32::from(result.verdict == Verdict::TimeLimit);
        progress.rest = self.verdict_of_the_rest(result.verdict, progress);
        Ok(result)
    }

    /// Runs the case, and again where one run does not settle it.
    fn settle(
        &self,
        seat: &mut Seat,
        ticket: Ticket,
        case: u32,
        progress: &mut Progress,
    ) -> Result<Result<CaseResult, CageFailure>, Stopped> {
        let first = match self.run_in_some_cage(seat, ticket, case, Entry::Shared)? {
            Ok(ran) => self.result(case, ran),
            Err(failure) => return Ok(Err(failure)),
        };
        let (mut result, ran) = first;
        if !std::mem::replace(&mut progress.compile_checked, true)
            && may_not_compile(&ran.end)
            && !self.compiles(seat, ticket)
        {
            result.verdict = Verdict::CompileError;
        }
        if result.verdict == Verdict::TimeLimit && !progress.repeated && self.is_doubtful(&ran) {
            progress.repeated = true;
            debug!(case, "time-out is repeated alone");
            return Ok(self
                .run_in_some_cage(seat, ticket, case, Entry::Alone)?
                .map(|ran| self.result(case, ran).0));
        }
        Ok(Ok(result))
    }

    /// Whether a time-out may be the machine's fault.
    fn is_doubtful(&self, ran: &Ran) -> bool {
        match ran.company {
            Company::Beside => true,
            Company::Alone => {
                let by_wall =
                    ran.end.crossed == Some(Crossed::Wall) && ran.end.cpu_ms < self.work.limits.cpu_ms;
                by_wall && ran.end.cpu_ms.saturating_mul(WAITING_CPU_SHARE) >= ran.end.wall_ms
            }
        }
    }

    fn verdict_of_the_rest(&self, verdict: Verdict, progress: &Progress) -> Option<Verdict> {
        let timeouts_max = self.work.timeouts_max;
        match verdict {
            Verdict::CompileError => Some(verdict),
            // A failure of ours is not the program's first failure.
            Verdict::InternalError => (progress.internal_errors >= INTERNAL_ERRORS_MAX).then_some(verdict),
            Verdict::TimeLimit if timeouts_max > 0 && progress.timeouts >= timeouts_max => Some(verdict),
            Verdict::Accepted => None,
            Verdict::TimeLimit
            | Verdict::MemoryLimit
            | Verdict::OutputLimit
            | Verdict::RuntimeError
            | Verdict::WrongAnswer => self.work.stop_on_first_failure.then_some(verdict),
        }
    }

    /// Runs the case once, in a second cage if the first one fails.
    fn run_in_some_cage(
        &self,
        seat: &mut Seat,
        ticket: Ticket,
        case: u32,
        entry: Entry,
    ) -> Result<Result<Ran, CageFailure>, Stopped> {
        let mut tries = 0;
        loop {
            if (self.is_stopped)() {
                return Err(Stopped);
            }
            tries += 1;
            match self.run(seat, ticket, case, entry) {
                Ok(ran) if (self.is_stopped)() && ran.end.crossed == Some(Crossed::Stopped) => {
                    return Err(Stopped);
                }
                Ok(ran) => return Ok(Ok(ran)),
                Err(failure) if tries < CAGE_TRIES => {
                    warn!(case, %failure, "cage failed and is replaced");
                    seat.clear();
                }
                Err(failure) => {
                    seat.clear();
                    return Ok(Err(failure));
                }
            }
        }
    }

    fn run(&self, seat: &mut Seat, ticket: Ticket, case: u32, entry: Entry) -> Result<Ran, CageFailure> {
        let index = usize::try_from(case).expect("case numbers come from places in a list");
        let test = &self.tests.cases[index];
        let interpreter = &self.around.interpreter;
        let (argv, stdin) = match &self.work.entry_point {
            None => (
                Cow::Borrowed(interpreter.run_argv()),
                self.around.inputs.open((self.work.tests, case), &test.input)?,
            ),
            Some(name) => (
                Cow::Owned(function::argv(interpreter, name)),
                function::stdin(self.program, &test.input)?,
            ),
        };
        let mut reading = Reading::new(self.work, self.program, test);
        let mut stopped_as_wrong = false;
        let pass = self.around.gate.enter(entry);
        let mut end = seat.run(
            (ticket, self.program),
            Start::Execute(&argv),
            stdin.as_fd(),
            run_limits(self.work),
            &mut |chunk| {
                let agreement = reading.feed(chunk);
                stopped_as_wrong = self.work.stop_on_first_failure && agreement == Agreement::Lost;
                if stopped_as_wrong || (self.is_stopped)() {
                    Flow::Stop
                } else {
                    Flow::Continue
                }
            },
        )?;
        let company = pass.company();
        drop(pass);
        let (read, stdout) = reading.finish();
        let output = match read {
            Read::Output(_) if stopped_as_wrong => Output::StoppedAsWrong,
            Read::Output(output) => output,
            Read::Kept(kept) => self.check(seat, test, &mut end, &kept)?,
        };
        Ok(Ran {
            end,
            output,
            stdout,
            company,
        })
    }

    /// What the checker says of a run's output; a run that has another verdict needs no checker. Where the checker fails,
    /// its reason takes the place of what the program wrote to standard error.
    fn check(
        &self,
        seat: &mut Seat,
        case: &Case,
        end: &mut RunEnd,
        output: &[u8],
    ) -> Result<Output, CageFailure> {
        if verdict_of(end, Output::Agrees, self.work) != Verdict::Accepted {
            return Ok(Output::Differs);
        }
        let check = Check {
            interpreter: &self.around.interpreter,
            checker: self.checker,
            texts: [&case.input, output, &case.expected],
        };
        let _pass = self.around.gate.enter(Entry::Shared);
        Ok(check.ask(seat)?.unwrap_or_else(|failure| {
            warn!(%failure, "a checker failed");
            end.stderr_tail = failure.to_string().into_bytes();
            Output::Unjudged
        }))
    }

    /// Whether the program's text compiles; a cage that fails at it says yes, and the next run finds a new cage.
    fn compiles(&self, seat: &mut Seat, ticket: Ticket) -> bool {
        let _pass = self.around.gate.enter(Entry::Shared);
        let argv = self.around.interpreter.compile_argv();
        let end = roundhouse_sandbox::seal(b"")
            .and_then(|empty| roundhouse_sandbox::reopen(empty.as_fd()))
            .map_err(CageFailure::from)
            .and_then(|stdin| {
                let program = (ticket, self.program);
                seat.run(
                    program,
                    Start::Execute(argv),
                    stdin.as_fd(),
                    run_limits(self.work),
                    &mut |_| Flow::Continue,
                )
            });
        match end {
            Ok(end) => end.crossed.is_some() || !matches!(end.ended, Ended::Exit(status) if status != 0),
            Err(failure) => {
                warn!(%failure, "cage failed at the compile check");
                seat.clear();
                true
            }
        }
    }

    fn result(&self, case: u32, mut ran: Ran) -> (CaseResult, Ran) {
        let (exit_code, signal) = match ran.end.ended {
            Ended::Exit(status) => (Some(status), None),
            Ended::Signal(signal) => (None, Some(signal)),
        };
        let result = CaseResult {
            case,
            verdict: verdict_of(&ran.end, ran.output, self.work),
            not_run: false,
            cpu_ms: ran.end.cpu_ms,
            wall_ms: ran.end.wall_ms,
            memory_bytes: ran.end.memory_bytes,
            exit_code,
            signal,
            stdout: std::mem::take(&mut ran.stdout),
            stderr_tail: last_lines(&ran.end.stderr_tail),
        };
        (result, ran)
    }
}

/// Whether a run looks as if the interpreter did not get as far as running the program: it then writes what is
/// wrong without a traceback. A syntax error that the program itself raises comes with one.
fn may_not_compile(end: &RunEnd) -> bool {
    let has_traceback =
        String::from_utf8_lossy(&end.stderr_tail).contains("Traceback (most recent call last)");
    end.ended == Ended::Exit(1) && end.crossed.is_none() && !end.stderr_tail.is_empty() && !has_traceback
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

fn not_run(case: u32, verdict: Verdict) -> CaseResult {
    CaseResult {
        case,
        verdict,
        not_run: true,
        cpu_ms: 0,
        wall_ms: 0,
        memory_bytes: 0,
        exit_code: None,
        signal: None,
        stdout: Clip::default(),
        stderr_tail: String::new(),
    }
}

fn internal_error(case: u32, failure: &CageFailure) -> CaseResult {
    CaseResult {
        not_run: false,
        stderr_tail: format!("not judged: {failure}"),
        ..not_run(case, Verdict::InternalError)
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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
