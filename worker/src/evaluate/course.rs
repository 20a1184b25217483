//! One program's way through its test set: which run is next, and what came of the runs that were made.
//!
//! Stands between the board, which says who works on which program, and the runs in the cages. Plain: no clock, no
//! thread, no cage. Runs may be made ahead on several cages, but they are taken up in the order of the cases, and each
//! decision hangs on the cases before it alone: so the report is the same whatever the number of cages. What was run
//! ahead for nothing is dropped. Decides what is run again and what is not run at all:
//! - until the first case has been run, nothing is run beside it: most programs that cannot be run show it there;
//! - a forked start that does not serve the program gives way to the next slower one, for the rest of the program;
//! - a program that does not compile is given so by its first case, and the others are not run;
//! - the first case that fails by a forked start is run once more by a fresh interpreter, and so is a share of all
//!   cases; where the two differ, and it is not the program that differs from run to run, the fresh result stands and
//!   the rest of the program is run fresh;
//! - a time-out that the machine may be to blame for is repeated alone, once per program, and the repeat decides. One
//!   that ran beside cases of its own program is no result at all: the case is run again by itself, and so is the rest;
//! - a case whose process was killed for no limit, as a host short of memory does it, is repeated alone too, until a
//!   repeat shows that the program does this to itself;
//! - after `timeouts_max` time-outs the others count as timed out; with `stop_on_first_failure` the others get the
//!   verdict of the case that failed. Either way they are marked as not run.

use std::collections::BTreeMap;

use roundhouse_proto::{Audit, CaseResult, Clip, StartMode, Verdict};
use tracing::{debug, warn};

use super::audit::{Sample, agree};
use super::gate::Entry;
use super::runner::CageFailure;
use super::step::{Doubt, Outcome, Purpose, Ran, Step};

/// Cases in a row that the machinery may fail; the rest of the program is then an internal error, not run.
const INTERNAL_ERRORS_MAX: u32 = 3;
/// How far runs are made ahead of the first case without a result; what is not taken up yet is kept.
const AHEAD_MAX: u32 = 64;
/// What stands before the reason in the standard error of a case that could not be judged.
pub(crate) const NOT_JUDGED: &str = "not judged: ";

/// What the decisions of one program hang on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// After how many time-outs the rest count as timed out; 0 for no end.
    pub(crate) timeouts_max: u32,
    /// Whether cases after the first failing one are left out.
    pub(crate) stop_on_first_failure: bool,
    /// Which cases are run once more by a fresh interpreter.
    pub(crate) sample: Sample,
}

/// What a program came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdicts {
    /// One result per case, in order.
    pub(crate) cases: Vec<CaseResult>,
    /// What the fresh interpreters said.
    pub(crate) audit: Audit,
    /// Whether the same would come of it again.
    pub(crate) hold: Hold,
}

/// Whether a report can be given again for an equal program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Nothing in it hangs on the load of the host.
    Firm,
    /// There is an internal error, a time-out beside others that was not repeated, a kill that may be the host's, a
    /// forked start that was found wrong, or an output that differs from run to run.
    Doubtful,
}

/// The way of one program.
#[derive(Debug)]
pub(crate) struct Course {
    rules: Rules,
    total: u32,
    settled: Vec<CaseResult>,
    /// How far the first case without a result is.
    stage: Stage,
    /// How processes start from that case on.
    start: StartMode,
    spread: Spread,
    /// First runs that wait until the cases before them are settled; all by `start`.
    ahead: BTreeMap<u32, Outcome>,
    /// One at most of each case.
    running: Vec<Running>,
    compile_checked: bool,
    confirmed: bool,
    /// Whether a time-out was repeated.
    repeated: bool,
    /// Whether it was killed alone too.
    kills_itself: bool,
    timeouts: u32,
    internal_errors: u32,
    audit: Audit,
    hold: Hold,
}

#[derive(Debug)]
struct Running {
    step: Step,
    /// Whether another run of this program was under way at any moment of it.
    has_met: bool,
}

/// Whether several cases may run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spread {
    /// Not before the first case has been run.
    NotYet,
    Open,
    /// Not since a time-out: those that follow must not be blamed on the cases beside them.
    Closed,
}

/// How far the first case without a result is. Each arrow is a run that ended; those to the right may be left out.
///
/// ```text
/// Judging ─► Compiling ─► Comparing ─► AskingAgain ─► ComparingAgain ─► Repeating ─► settled
/// ```
#[derive(Debug)]
enum Stage {
    /// Its first run is not there yet.
    Judging,
    /// It may not compile.
    Compiling(Box<Ran>),
    /// A fresh run is to confirm or audit a forked one.
    Comparing(Compared),
    /// The fresh run, the second one here, came to something else.
    AskingAgain(Compared, Box<Ran>),
    /// As above, and the forked start said again what it had said.
    ComparingAgain(Compared, Box<Ran>),
    /// It timed out or was killed, perhaps not by its own fault; it is repeated by this start.
    Repeating(StartMode),
}

/// A run by a forked start that a fresh one is compared with.
#[derive(Debug)]
struct Compared {
    forked: Box<Ran>,
    entry: Entry,
    why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// It is the program's first failure: what the fresh run says stands.
    Confirm,
    /// The case is in the sample: what the forked run said stands unless it is found wrong.
    Audit,
}

impl Course {
    /// Before the first of `total` cases; processes start by `start` until that turns out not to do.
    pub(crate) fn new(rules: Rules, total: u32, start: StartMode) -> Self {
        Self {
            rules,
            total,
            settled: Vec::with_capacity(place(total)),
            stage: Stage::Judging,
            start,
            spread: Spread::NotYet,
            ahead: BTreeMap::new(),
            running: Vec::new(),
            compile_checked: false,
            confirmed: false,
            repeated: false,
            kills_itself: false,
            timeouts: 0,
            internal_errors: 0,
            audit: Audit::default(),
            hold: Hold::Firm,
        }
    }

    /// Whether every case has its result.
    pub(crate) fn is_over(&self) -> bool {
        self.settled.len() == place(self.total)
    }

    /// Whether a run of it is under way.
    pub(crate) fn is_attended(&self) -> bool {
        !self.running.is_empty()
    }

    /// The run that is to be begun next; none if it must wait for one that is under way, or all is over. There is
    /// always one while nothing is under way and it is not over.
    pub(crate) fn peek(&self) -> Option<Step> {
        if self.is_over() {
            return None;
        }
        let head = self.head();
        let (purpose, start, entry) = match &self.stage {
            Stage::Judging => return self.peek_first(head),
            Stage::Compiling(_) => (Purpose::Compile, StartMode::Fresh, Entry::Shared),
            Stage::Comparing(compared) => (Purpose::Compare, StartMode::Fresh, compared.entry),
            Stage::AskingAgain(compared, _) => (Purpose::AskAgain, self.start, compared.entry),
            Stage::ComparingAgain(compared, _) => (Purpose::CompareAgain, StartMode::Fresh, compared.entry),
            Stage::Repeating(start) => (Purpose::Repeat, *start, Entry::Alone),
        };
        let step = Step {
            case: head,
            purpose,
            start,
            entry,
        };
        // Nothing of this program beside it: what it comes to must not hang on the number of cages.
        self.running.is_empty().then_some(step)
    }

    fn peek_first(&self, head: u32) -> Option<Step> {
        let to = match self.spread {
            Spread::Open => self.total.min(head.saturating_add(AHEAD_MAX)),
            Spread::NotYet | Spread::Closed if self.running.is_empty() => head + 1,
            Spread::NotYet | Spread::Closed => head,
        };
        let is_begun = |case: u32| {
            self.ahead.contains_key(&case) || self.running.iter().any(|running| running.step.case == case)
        };
        let case = (head..to).find(|case| !is_begun(*case))?;
        Some(Step {
            case,
            purpose: Purpose::Judge,
            start: self.start,
            entry: Entry::Shared,
        })
    }

    /// A run that [`Self::peek`] gave is under way.
    pub(crate) fn begin(&mut self, step: Step) {
        let has_met = !self.running.is_empty();
        for running in &mut self.running {
            running.has_met = true;
        }
        self.running.push(Running { step, has_met });
    }

    /// A run that was begun is over.
    pub(crate) fn end(&mut self, step: Step, outcome: Outcome) {
        let Some(at) = self.running.iter().position(|running| running.step == step) else {
            return;
        };
        let has_met = self.running.swap_remove(at).has_met;
        if self.is_over() {
            return;
        }
        if step.purpose == Purpose::Judge {
            if has_met && outcome.is_timed_out() {
                self.spread = Spread::Closed;
                return;
            }
            if step.start != self.start {
                return;
            }
            self.ahead.insert(step.case, outcome);
        } else {
            self.go_on(outcome);
        }
        while matches!(self.stage, Stage::Judging)
            && !self.is_over()
            && let Some(outcome) = self.ahead.remove(&self.head())
        {
            self.take_up(outcome);
        }
    }

    /// What the program came to, once it is over.
    pub(crate) fn into_verdicts(self) -> Verdicts {
        Verdicts {
            cases: self.settled,
            audit: self.audit,
            hold: self.hold,
        }
    }

    /// The first case without a result.
    fn head(&self) -> u32 {
        u32::try_from(self.settled.len()).expect("there are no more results than cases")
    }

    /// Takes up the first run of the head.
    fn take_up(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::NotServed(reason) => {
                // A fresh start is served by nobody; who says so all the same is broken.
                if self.start == StartMode::Fresh {
                    self.fail(&CageFailure(reason));
                } else {
                    self.fall_back(&reason);
                }
            }
            Outcome::Failed(failure) => self.fail(&failure),
            Outcome::Ran(ran) => {
                let is_checked = std::mem::replace(&mut self.compile_checked, true);
                if !is_checked && ran.looks_uncompiled {
                    self.stage = Stage::Compiling(ran);
                } else {
                    self.weigh(ran);
                }
            }
        }
    }

    /// Takes up a further run of the head.
    fn go_on(&mut self, outcome: Outcome) {
        match std::mem::replace(&mut self.stage, Stage::Judging) {
            // A further run is begun only in the stages below, and ends in the stage it was begun in.
            Stage::Judging => {}
            Stage::Compiling(mut ran) => {
                if outcome.is_refusal() {
                    ran.result.verdict = Verdict::CompileError;
                    self.settle(ran.result);
                } else {
                    self.weigh(ran);
                }
            }
            Stage::Comparing(compared) => self.compare(compared, outcome),
            Stage::AskingAgain(compared, fresh) => match outcome {
                Outcome::Ran(again) if agree(&again, &compared.forked) => {
                    self.stage = Stage::ComparingAgain(compared, fresh);
                }
                // The load of the machine or chance made the difference, or nobody can say.
                Outcome::Ran(_) | Outcome::Failed(_) => self.differ_by_nature(compared, fresh),
                Outcome::NotServed(reason) => {
                    self.fall_back(&reason);
                    self.differ_by_nature(compared, fresh);
                }
            },
            Stage::ComparingAgain(compared, fresh) => match outcome {
                Outcome::Ran(again) if agree(&again, &fresh) => self.mismatch(&compared, fresh),
                Outcome::Ran(_) | Outcome::NotServed(_) | Outcome::Failed(_) => {
                    self.differ_by_nature(compared, fresh);
                }
            },
            Stage::Repeating(start) => match outcome {
                Outcome::Ran(ran) => self.settle_by(*ran),
                Outcome::NotServed(reason) if start == self.start && start != StartMode::Fresh => {
                    self.fall_back(&reason);
                    self.stage = Stage::Repeating(self.start);
                }
                Outcome::NotServed(reason) => self.fail(&CageFailure(reason)),
                Outcome::Failed(failure) => self.fail(&failure),
            },
        }
    }

    /// A run of the head by `self.start`, of a program that compiles.
    fn weigh(&mut self, ran: Box<Ran>) {
        let is_forked = self.start != StartMode::Fresh;
        let is_doubtful = self.is_to_be_repeated(&ran);
        if is_forked && ran.result.verdict != Verdict::Accepted && !self.confirmed {
            self.confirmed = true;
            // One run serves as confirmation and as repeat.
            let entry = if is_doubtful { Entry::Alone } else { Entry::Shared };
            self.repeated |= is_doubtful && ran.is_timed_out();
            let why = Why::Confirm;
            self.stage = Stage::Comparing(Compared {
                forked: ran,
                entry,
                why,
            });
        } else if is_forked && !is_doubtful && self.rules.sample.takes(self.head()) {
            self.stage = Stage::Comparing(Compared {
                forked: ran,
                entry: Entry::Shared,
                why: Why::Audit,
            });
        } else {
            self.finish(ran, self.start);
        }
    }

    fn compare(&mut self, compared: Compared, outcome: Outcome) {
        let fresh = match outcome {
            Outcome::Ran(fresh) => fresh,
            Outcome::NotServed(reason) => return self.not_compared(compared, &CageFailure(reason)),
            Outcome::Failed(failure) => return self.not_compared(compared, &failure),
        };
        self.audit.audited += 1;
        if agree(&compared.forked, &fresh) {
            let (stands, start) = compared.stands(fresh, self.start);
            self.finish(stands, start);
        } else {
            // First whether the forked start says so again: what comes by load or by chance seldom does.
            self.stage = Stage::AskingAgain(compared, fresh);
        }
    }

    /// No fresh interpreter could be had.
    fn not_compared(&mut self, compared: Compared, failure: &CageFailure) {
        match compared.why {
            // That a forked process failed says nothing yet. Another case may show whether the program does.
            Why::Confirm => {
                self.confirmed = false;
                self.fail(failure);
            }
            Why::Audit => {
                warn!(case = self.head(), %failure, "a case could not be audited");
                self.finish(compared.forked, self.start);
            }
        }
    }

    /// It is not the forked start that makes the difference.
    fn differ_by_nature(&mut self, compared: Compared, fresh: Box<Ran>) {
        debug!(case = self.head(), "a program differs from run to run");
        self.hold = Hold::Doubtful;
        let (stands, start) = compared.stands(fresh, self.start);
        self.finish(stands, start);
    }

    /// The forked start is at fault.
    fn mismatch(&mut self, compared: &Compared, fresh: Box<Ran>) {
        self.audit.mismatched += 1;
        self.hold = Hold::Doubtful;
        warn!(
            program = %self.rules.sample.program,
            tests = %self.rules.sample.tests,
            case = self.head(),
            start = %self.start,
            forked = %compared.forked.in_words(),
            fresh = %fresh.in_words(),
            "a fresh interpreter says otherwise than a forked one; the rest of the program is run fresh"
        );
        self.change_start(StartMode::Fresh);
        self.finish(fresh, StartMode::Fresh);
    }

    /// Settles the head by a run that was made by `start`, unless it is to be repeated.
    fn finish(&mut self, ran: Box<Ran>, start: StartMode) {
        if self.is_to_be_repeated(&ran) {
            self.repeated |= ran.is_timed_out();
            debug!(case = self.head(), verdict = %ran.result.verdict, "a case is repeated alone");
            self.stage = Stage::Repeating(start);
            return;
        }
        self.settle_by(*ran);
    }

    /// Settles the head by a run that stands.
    fn settle_by(&mut self, ran: Ran) {
        self.kills_itself |= ran.is_killed() && ran.doubt == Doubt::None;
        if ran.is_killed() || (ran.is_timed_out() && ran.doubt == Doubt::Machine) {
            self.hold = Hold::Doubtful;
        }
        self.settle(ran.result);
    }

    fn is_to_be_repeated(&self, ran: &Ran) -> bool {
        ran.doubt == Doubt::Machine
            && ((ran.is_timed_out() && !self.repeated) || (ran.is_killed() && !self.kills_itself))
    }

    fn fail(&mut self, failure: &CageFailure) {
        let case = self.head();
        warn!(case, %failure, "a case could not be run");
        self.hold = Hold::Doubtful;
        self.settle(internal_error(case, failure));
    }
}

impl Course {
    fn fall_back(&mut self, reason: &str) {
        let slower = slower(self.start);
        debug!(
            program = %self.rules.sample.program,
            from = %self.start,
            to = %slower,
            reason,
            "a program is not served by this start"
        );
        self.change_start(slower);
    }

    /// What was run ahead by another start is run again.
    fn change_start(&mut self, start: StartMode) {
        self.start = start;
        self.ahead.clear();
    }

    fn settle(&mut self, result: CaseResult) {
        let verdict = result.verdict;
        self.internal_errors = match verdict {
            Verdict::InternalError => self.internal_errors + 1,
            _ => 0,
        };
        self.timeouts += u32::from(verdict == Verdict::TimeLimit);
        self.spread = match (self.spread, verdict) {
            (_, Verdict::TimeLimit) | (Spread::Closed, _) => Spread::Closed,
            (Spread::NotYet, Verdict::InternalError) => Spread::NotYet,
            (Spread::NotYet | Spread::Open, _) => Spread::Open,
        };
        self.settled.push(result);
        if let Some(verdict) = self.verdict_of_the_rest(verdict) {
            let rest = self.head()..self.total;
            self.settled.extend(rest.map(|case| not_run(case, verdict)));
            self.ahead.clear();
        }
    }

    fn verdict_of_the_rest(&self, verdict: Verdict) -> Option<Verdict> {
        let timeouts_max = self.rules.timeouts_max;
        match verdict {
            Verdict::CompileError => Some(verdict),
            // A failure of ours is not the program's first failure.
            Verdict::InternalError => (self.internal_errors >= INTERNAL_ERRORS_MAX).then_some(verdict),
            Verdict::TimeLimit if timeouts_max > 0 && self.timeouts >= timeouts_max => Some(verdict),
            Verdict::Accepted => None,
            Verdict::TimeLimit
            | Verdict::MemoryLimit
            | Verdict::OutputLimit
            | Verdict::RuntimeError
            | Verdict::WrongAnswer => self.rules.stop_on_first_failure.then_some(verdict),
        }
    }
}

impl Compared {
    /// The run that stands where the forked start is not at fault, and how it was started.
    fn stands(self, fresh: Box<Ran>, forked_by: StartMode) -> (Box<Ran>, StartMode) {
        match self.why {
            Why::Confirm => (fresh, StartMode::Fresh),
            Why::Audit => (self.forked, forked_by),
        }
    }
}

fn slower(start: StartMode) -> StartMode {
    match start {
        StartMode::Fast => StartMode::Natural,
        StartMode::Natural | StartMode::Fresh => StartMode::Fresh,
    }
}

/// The result of a case that was not run.
pub(crate) fn not_run(case: u32, verdict: Verdict) -> CaseResult {
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
        stderr_tail: format!("{NOT_JUDGED}{failure}"),
        ..not_run(case, Verdict::InternalError)
    }
}

fn place(case: u32) -> usize {
    usize::try_from(case).expect("a case's number fits in a size")
}

#[cfg(test)]
mod tests;
