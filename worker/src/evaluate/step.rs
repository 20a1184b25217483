//! One run: what it is made for, and what it came to.
//!
//! Goes from a program's course to whoever makes the run, and back with its outcome.

use roundhouse_proto::{CaseResult, StartMode, Verdict};
use roundhouse_sandbox::Crossed;

use super::audit::Print;
use super::gate::Entry;
use super::runner::CageFailure;

/// The signal by which a host that is short of memory ends processes.
const SIGKILL: i32 = 9;

/// One run that is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Of which case.
    pub(crate) case: u32,
    /// What for.
    pub(crate) purpose: Purpose,
    /// How its process comes into being.
    pub(crate) start: StartMode,
    /// Whether others may run beside it.
    pub(crate) entry: Entry,
}

/// What a run is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    /// To judge the case.
    Judge,
    /// To see whether the program compiles: it is compiled and not run.
    Compile,
    /// To see whether a fresh interpreter says the same.
    Compare,
    /// To see whether a forked start says again what it said.
    AskAgain,
    /// To see whether a second fresh interpreter says the same as the first one.
    CompareAgain,
    /// To see whether the program times out, or is killed, alone too.
    Repeat,
}

impl Step {
    /// Whether its standard output may be compared with that of another run.
    pub(crate) fn is_compared(&self) -> bool {
        match self.purpose {
            Purpose::Judge => self.start != StartMode::Fresh,
            Purpose::Compare | Purpose::AskAgain | Purpose::CompareAgain => true,
            Purpose::Compile | Purpose::Repeat => false,
        }
    }
}

/// What a step came to.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// The program ran.
    Ran(Box<Ran>),
    /// The fork server cannot run it.
    NotServed(String),
    /// The machinery failed, in a second cage too.
    Failed(CageFailure),
}

/// One run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    /// What the case came to by it.
    pub(crate) result: CaseResult,
    /// Why it was killed, or which limit it had crossed when it ended by itself.
    pub(crate) crossed: Option<Crossed>,
    /// Its whole standard output; none if it was cut short, or is not to be compared.
    pub(crate) print: Option<Print>,
    /// Who may be to blame for a time-out or a kill; never the machine where it ran alone to be repeated.
    pub(crate) doubt: Doubt,
    /// Whether it looks as if the interpreter did not get as far as running the program.
    pub(crate) looks_uncompiled: bool,
}

/// Who may be to blame for a time-out or a kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// The program.
    None,
    /// Perhaps the machine.
    Machine,
}

impl Outcome {
    /// Whether the program ran and timed out.
    pub(crate) fn is_timed_out(&self) -> bool {
        matches!(self, Self::Ran(ran) if ran.is_timed_out())
    }

    /// Whether a compile check found that the program does not compile; one that fails finds nothing.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Ran(ran)
            if ran.crossed.is_none() && ran.result.exit_code.is_some_and(|status| status != 0))
    }
}

impl Ran {
    /// Whether it timed out.
    pub(crate) fn is_timed_out(&self) -> bool {
        self.result.verdict == Verdict::TimeLimit
    }

    /// Whether it was killed, and not by us for a limit: by the program itself, or by a host short of memory.
    pub(crate) fn is_killed(&self) -> bool {
        self.result.verdict == Verdict::RuntimeError && self.result.signal == Some(SIGKILL)
    }

    /// For the log.
    pub(crate) fn in_words(&self) -> String {
        let CaseResult {
            verdict,
            exit_code,
            signal,
            ..
        } = &self.result;
        let end = match (exit_code, signal) {
            (Some(status), _) => format!("exit status {status}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "no end".to_owned(),
        };
        match self.print {
            Some(print) => format!("{verdict}, {end}, stdout {print}"),
            None => format!("{verdict}, {end}"),
        }
    }
}
