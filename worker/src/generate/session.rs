//! One session as a state machine: what is asked next, and what an answer changes.
//!
//! [`mod@crate::generate::hold`] carries out what this decides. No IO, no clock, no randomness: the same answers
//! give the same events, so that a session is taken up again by replaying its events.
//!
//! ```text
//!   analyst ──► coder, round 0 ──► tester, round 0 ──► tests ──► coder, round 1 ──► …
//!                                                        │
//!                     (a stop in any state) ──► finished ◄┘ passed
//! ```
//! The picture is that of `self-collaboration`; other methods leave out the analyst, or end after round 0.
//! What a tester's turn and the tests are depends on [`TesterMode`]. Where the public examples choose the final
//! program, they are the first cases of every test; a round that ends without a test is followed by one of its own.
//!
//! Invariants: an event is given out before the step that follows from it; every round that has a program ends in
//! exactly one `RoundEnd`; a turn is asked at most twice.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use roundhouse_proto::{
    Case, CaseResult, Digest, EvaluationReport, FinalChoice, FinishReason, GenerationOutcome, Payload,
    SessionEvent, SessionSettings, Speaker, StopReason, TestSet, TesterMode, Verdict,
};

use crate::generate::asserts;
use crate::generate::cases;
use crate::generate::extraction;
use crate::generate::messages::{self, Story};
use crate::generate::method;
use crate::generate::patch::{self, Patched};
use crate::generate::prompts::Prompts;
use crate::generate::report_text::{self, Marks, Subject};
use crate::generate::signature::Signature;
use crate::llm::{Ask, Reply};

mod error;
#[cfg(test)]
mod functions;
#[cfg(test)]
mod methods;
mod replay;
#[cfg(test)]
mod scripted;
#[cfg(test)]
mod tester_modes;
#[cfg(test)]
mod tests;
mod turns;

pub use error::SessionError;
pub use replay::{ReplayFault, blobs_needed};

/// By how much the most tokens of an answer grow when it was cut off.
const TOKENS_GROWTH: u32 = 2;

/// What a session works on.
#[derive(Clone, Debug)]
pub struct Task {
    /// The statement, as it is.
    pub statement: String,
    /// The statement's time limit, for the prompt.
    pub time_limit_ms: Option<u64>,
    /// The statement's memory limit, for the prompt.
    pub memory_limit_bytes: Option<u64>,
    /// The public examples; not read where only the tester's cases are run and the last program is judged.
    pub public_cases: TestSet,
    /// How the session is held.
    pub settings: SessionSettings,
    /// The function that is asked for; none for a program from standard input to standard output.
    pub entry_point: Option<String>,
    /// The wire form of a test set, whose hash is its address.
    pub encode: fn(&TestSet) -> Bytes,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The model is to be asked; then [`Session::answer`].
    Ask(Ask),
    /// A program is to be run; then [`Session::tested`].
    RunTests(RoundTests),
    /// Nothing.
    Finished,
}

/// The tests of a round.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundTests {
    /// Round of the session, from 0.
    pub round: u32,
    /// The program as it is run, patches included.
    pub program: String,
    /// All cases so far, public examples first, then those of earlier rounds.
    pub cases: TestSet,
}

/// Why a call brings no answer although nothing of ours failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The prompt does not fit the model's context.
    ContextLimit,
    /// The budget is reached.
    Budget,
}

impl Cause {
    const ALL: [Self; 2] = [Self::ContextLimit, Self::Budget];

    fn stop_reason(self) -> StopReason {
        match self {
            Self::ContextLimit => StopReason::ContextLimit,
            Self::Budget => StopReason::Budget,
        }
    }
}

/// How a turn is asked.
#[derive(Clone, Debug)]
enum Asking {
    /// For the first time.
    First,
    /// The same again with more tokens, because the answer was cut off.
    Longer,
    /// Again, with what was wrong with this reply.
    Again { reply: String },
}

#[derive(Clone, Debug)]
enum State {
    Asking {
        speaker: Speaker,
        round: u32,
        asking: Asking,
    },
    Testing {
        tests: RoundTests,
        purpose: Purpose,
    },
    Finished,
}

/// What a report on tests is for.
#[derive(Clone, Debug)]
enum Purpose {
    /// It ends the round, and the coder is told. The first `untold` cases only serve the choice of the final program.
    Round { untold: usize, tests_raw: String },
    /// It serves the choice of the final program; the round has ended, and this follows.
    Choice(Next),
}

/// What follows the end of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The coder, in this round.
    Coder(u32),
    /// The end.
    Stop(StopReason),
}

impl State {
    fn awaited(&self) -> &'static str {
        match self {
            Self::Asking { .. } => "an answer",
            Self::Testing { .. } => "a report",
            Self::Finished => "nothing",
        }
    }
}

/// One session.
#[derive(Clone, Debug)]
pub struct Session {
    task: Arc<Task>,
    prompts: Arc<Prompts>,
    story: Story,
    /// What the statement gives of a function task's program; empty for other tasks.
    signature: Signature,
    /// Every case so far, in the order of their numbers.
    cases: Vec<Case>,
    /// The tester is not asked any more: it has no case to give, or none that would earn a repair.
    tester_is_done: bool,
    /// Cases of the tester's own have earned a repair where they are its opinion only.
    opinion_is_heard: bool,
    /// How many public examples the program of a round passes; empty where the final program is the last one.
    public_passed: BTreeMap<u32, usize>,
    notes: Vec<String>,
    /// Tries of the call that ended the session which may have been paid.
    unaccounted: u32,
    state: State,
    unstored: VecDeque<SessionEvent>,
}

impl Session {
    /// A session from its beginning.
    ///
    /// # Errors
    /// When the settings allow no round.
    pub fn begin(task: Task, prompts: Arc<Prompts>) -> Result<Self, SessionError> {
        if task.settings.max_rounds == 0 {
            return Err(SessionError::NoRounds);
        }
        let first = method::shape(task.settings.method).first;
        let cases = match task.settings.tester {
            TesterMode::PublicAndCases => task.public_cases.cases.clone(),
            TesterMode::Cases | TesterMode::Public | TesterMode::Review => Vec::new(),
        };
        let entry_point = task.entry_point.as_deref();
        let signature = entry_point.map(|name| Signature::of(&task.statement, name));
        Ok(Self {
            signature: signature.unwrap_or_default(),
            task: Arc::new(task),
            prompts,
            story: Story::default(),
            cases,
            tester_is_done: false,
            opinion_is_heard: false,
            public_passed: BTreeMap::new(),
            notes: Vec::new(),
            unaccounted: 0,
            state: State::Asking {
                speaker: first,
                round: 0,
                asking: Asking::First,
            },
            unstored: VecDeque::new(),
        })
    }

    /// The first event that is not stored yet; all are to be stored before the next step is carried out.
    pub fn take_unstored(&mut self) -> Option<SessionEvent> {
        self.unstored.pop_front()
    }

    /// The wire form of the cases of a step.
    pub(crate) fn encode(&self, cases: &TestSet) -> Bytes {
        (self.task.encode)(cases)
    }

    /// What is to be done once every event is stored. The same until it was done.
    ///
    /// # Errors
    /// When a message cannot be written.
    pub fn step(&self) -> Result<Step, SessionError> {
        match &self.state {
            State::Asking {
                speaker,
                round,
                asking,
            } => self.ask(*speaker, *round, asking).map(Step::Ask),
            State::Testing { tests, purpose: _ } => Ok(Step::RunTests(tests.clone())),
            State::Finished => Ok(Step::Finished),
        }
    }

    fn ask(&self, speaker: Speaker, round: u32, asking: &Asking) -> Result<Ask, SessionError> {
        let mut messages = messages::of_turn(speaker, &self.task, &self.prompts, &self.story)?;
        let mut sampling = self.task.settings.sampling;
        let ask = match asking {
            Asking::First => 0,
            Asking::Longer => {
                sampling.max_tokens = sampling.max_tokens.saturating_mul(TOKENS_GROWTH);
                1
            }
            Asking::Again { reply } => {
                messages = messages::of_asking_again(messages, reply, speaker, &self.task, &self.prompts)?;
                1
            }
        };
        Ok(Ask {
            model: self.task.settings.model_of(speaker).to_owned(),
            speaker,
            round,
            ask,
            messages,
            sampling,
        })
    }

    /// The model's answer to the step's question, and how long it took.
    ///
    /// # Errors
    /// When the step asks nothing.
    pub fn answer(&mut self, reply: Reply, duration_ms: u64) -> Result<(), SessionError> {
        let Step::Ask(ask) = self.step()? else {
            return Err(self.out_of_turn("an answer"));
        };
        let answer = extraction::without_thinking(&reply.text);
        let reasoning = reply.reasoning.or(answer.reasoning);
        self.unstored.push_back(SessionEvent::Said {
            speaker: ask.speaker,
            round: ask.round,
            ask: ask.ask,
            prompt: Payload::text(ask.prompt()),
            reply: Payload::text(&answer.text),
            reasoning: reasoning.as_deref().map(Payload::text),
            finish: reply.finish,
            usage: reply.usage,
            duration_ms,
            remarks: reply.remarks,
            unaccounted: reply.unaccounted,
        });
        self.take_reply(&answer.text, reply.finish)
    }

    /// The step's question has no answer, for a reason that ends the session with what it has; `unaccounted` of its
    /// tries may have been paid all the same.
    ///
    /// # Errors
    /// When the step asks nothing.
    pub fn give_up(&mut self, cause: Cause, unaccounted: u32) -> Result<(), SessionError> {
        match &self.state {
            State::Asking { speaker, round, .. } => {
                let (speaker, round) = (*speaker, *round);
                self.unaccounted = unaccounted;
                self.notes.push(match cause {
                    Cause::ContextLimit => {
                        format!("{speaker}, round {round}: the prompt did not fit the context")
                    }
                    Cause::Budget => format!("{speaker}, round {round}: not asked, the budget was reached"),
                });
                self.stop(speaker, round, cause.stop_reason(), "");
                Ok(())
            }
            State::Testing { .. } | State::Finished => Err(self.out_of_turn("no answer")),
        }
    }

    /// The report on the step's tests.
    ///
    /// # Errors
    /// When the step runs no tests, or the report is not of its cases, or the machinery failed on all of them.
    pub fn tested(&mut self, report: &EvaluationReport) -> Result<(), SessionError> {
        let State::Testing { tests, purpose } = self.state.clone() else {
            return Err(self.out_of_turn("a report"));
        };
        let round = tests.round;
        let cases = &tests.cases.cases;
        if cases.len() != report.cases.len() {
            return Err(SessionError::ReportSize {
                round,
                expected: cases.len(),
                found: report.cases.len(),
            });
        }
        let told_from = match &purpose {
            Purpose::Round { untold, .. } => *untold,
            Purpose::Choice(_) => 0,
        };
        let (cases, results) = (&cases[told_from..], &report.cases[told_from..]);
        let marks = match self.task.settings.tester {
            TesterMode::PublicAndCases => Marks::Opinions,
            TesterMode::Cases | TesterMode::Public | TesterMode::Review => Marks::None,
        };
        let subject = match &self.task.entry_point {
            Some(_) => Subject::Function,
            None => Subject::Program,
        };
        let told =
            report_text::tell(cases, results, marks, subject).ok_or(SessionError::NothingJudged { round })?;
        let is_lost = |case: &&CaseResult| case.verdict == Verdict::InternalError;
        let lost = report.cases.iter().filter(is_lost).count();
        if lost > 0 {
            self.notes.push(format!(
                "tests, round {round}: cases that could not be judged: {lost}"
            ));
        }
        if self.final_is_chosen() {
            self.public_passed.insert(round, self.public_passed_in(report));
        }
        let tests_raw = match purpose {
            Purpose::Round { tests_raw, .. } => tests_raw,
            Purpose::Choice(next) => {
                self.go_on(next);
                return Ok(());
            }
        };
        let tests_used = match subject {
            Subject::Function => asserts::listed(cases),
            Subject::Program => cases::render(cases, 1),
        };
        let tests_used = Some(Payload::text(&tests_used));
        self.end_round(round, &told.text, &tests_raw, tests_used, Some(told.passed));
        let is_opinion = marks == Marks::Opinions && told.is_disputable;
        if told.passed {
            self.finish(StopReason::Passed);
        } else if is_opinion && self.opinion_is_heard {
            self.finish(StopReason::Disputed);
        } else {
            if is_opinion {
                self.opinion_is_heard = true;
                self.tester_is_done = true;
            }
            self.story.reports.push(told.text);
            self.turn(Speaker::Coder, round + 1);
        }
        Ok(())
    }

    /// Goes on after an answer whose event is already made.
    fn take_reply(&mut self, text: &str, finish: FinishReason) -> Result<(), SessionError> {
        let State::Asking {
            speaker,
            round,
            asking,
        } = &self.state
        else {
            return Err(self.out_of_turn("an answer"));
        };
        let (speaker, round, asking) = (*speaker, *round, asking.clone());
        match speaker {
            Speaker::Analyst => self.take_plan(text, finish, &asking),
            Speaker::Coder => self.take_program(round, text, finish, &asking),
            Speaker::Tester if self.task.settings.tester == TesterMode::Review => {
                self.take_review(round, text, finish, &asking);
            }
            Speaker::Tester => self.take_cases(round, text, finish, &asking),
        }
        Ok(())
    }

    fn turn(&mut self, speaker: Speaker, round: u32) {
        self.state = State::Asking {
            speaker,
            round,
            asking: Asking::First,
        };
    }

    /// Runs the program of a round against cases that the coder is told of.
    fn run_tests(&mut self, round: u32, cases: TestSet, tests_raw: &str) {
        let mode = self.task.settings.tester;
        let (untold, cases) = if self.final_is_chosen() && mode == TesterMode::Cases {
            let public = &self.task.public_cases.cases;
            (public.len(), [&public[..], &cases.cases].concat())
        } else {
            (0, cases.cases)
        };
        let purpose = Purpose::Round {
            untold,
            tests_raw: tests_raw.to_owned(),
        };
        self.request_tests(round, TestSet { cases }, purpose);
    }

    fn request_tests(&mut self, round: u32, cases: TestSet, purpose: Purpose) {
        let patched = self.story.programs.last().map(|program| self.patched(program));
        let program = patched.map_or_else(String::new, |patched| patched.program);
        self.unstored.push_back(SessionEvent::TestRequest {
            round,
            program: Payload::text(&program),
            cases: Digest::of(&self.encode(&cases)),
            cases_n: u32::try_from(cases.cases.len()).unwrap_or(u32::MAX),
        });
        self.state = State::Testing {
            tests: RoundTests {
                round,
                program,
                cases,
            },
            purpose,
        };
    }

    /// Ends the session before `speaker` has done its work in `round`; where the round has a program, it ends too.
    fn stop(&mut self, speaker: Speaker, round: u32, reason: StopReason, tests_raw: &str) {
        if speaker == Speaker::Tester {
            self.end_round(round, untested(reason), tests_raw, None, None);
            self.after_round(round, Next::Stop(reason));
        } else {
            self.finish(reason);
        }
    }

    /// Goes on after a round that has ended without a run of the public examples, which is made up for where the
    /// final program depends on it. It comes after the round's end, which tells why there was no other test.
    fn after_round(&mut self, round: u32, next: Next) {
        let is_known = self.public_passed.contains_key(&round);
        let has_rival = self.story.programs.len() > 1 || matches!(next, Next::Coder(_));
        if self.final_is_chosen() && !is_known && has_rival {
            self.request_tests(round, self.task.public_cases.clone(), Purpose::Choice(next));
        } else {
            self.go_on(next);
        }
    }

    fn go_on(&mut self, next: Next) {
        match next {
            Next::Coder(round) => self.turn(Speaker::Coder, round),
            Next::Stop(reason) => self.finish(reason),
        }
    }

    /// Whether the public examples decide which program is the final one.
    fn final_is_chosen(&self) -> bool {
        self.task.settings.final_choice == FinalChoice::Public && !self.task.public_cases.cases.is_empty()
    }

    /// How many public examples passed; where the final program is chosen, they are the first cases of every report.
    fn public_passed_in(&self, report: &EvaluationReport) -> usize {
        let public = report.cases.iter().take(self.task.public_cases.cases.len());
        public.filter(|case| case.verdict == Verdict::Accepted).count()
    }

    /// The program that is judged, as the coder wrote it.
    fn final_program(&self) -> Option<&String> {
        let best = self
            .public_passed
            .iter()
            .max_by_key(|(round, passed)| (**passed, **round));
        match best {
            Some((round, _)) => self.story.programs.get(*round as usize),
            None => self.story.programs.last(),
        }
    }

    /// `passed` is what its tests, or a review, came to; none where there was neither.
    fn end_round(
        &mut self,
        round: u32,
        report: &str,
        tests_raw: &str,
        tests_used: Option<Payload>,
        passed: Option<bool>,
    ) {
        let code = self.story.programs.last().map_or("", String::as_str);
        let patched = self.patched(code).program;
        let program = (patched != code).then(|| Payload::text(&patched));
        self.unstored.push_back(SessionEvent::RoundEnd {
            round,
            code: Payload::text(code),
            report: Payload::text(report),
            tests_raw: Payload::text(tests_raw),
            tests_used,
            program,
            passed,
        });
    }

    fn finish(&mut self, stop_reason: StopReason) {
        let patched = self.final_program().map(|program| self.patched(program));
        let (program, patched) = match patched {
            Some(Patched { program, added }) => (Some(Payload::text(&program)), added),
            None => (None, Vec::new()),
        };
        let notes = std::mem::take(&mut self.notes);
        self.unstored.push_back(SessionEvent::Finished(GenerationOutcome {
            program,
            stop_reason,
            patched,
            notes,
            unaccounted: self.unaccounted,
        }));
        self.state = State::Finished;
    }

    /// A program as it is run.
    fn patched(&self, program: &str) -> Patched {
        match &self.task.entry_point {
            _ if !self.task.settings.patch => Patched {
                program: program.to_owned(),
                added: Vec::new(),
            },
            Some(name) => patch::patch_function(program, name, &self.signature),
            None => patch::patch(program),
        }
    }

    fn note(&mut self, speaker: Speaker, round: u32, what: &str) {
        self.notes.push(format!("{speaker}, round {round}: {what}"));
    }

    fn out_of_turn(&self, given: &'static str) -> SessionError {
        SessionError::OutOfTurn {
            given,
            awaited: self.state.awaited(),
        }
    }
}

/// What stands in the place of a round's report when no test ran.
fn untested(reason: StopReason) -> &'static str {
    match reason {
        StopReason::RoundLimit => "No test ran: the round limit was reached.",
        StopReason::Unchanged => "No test ran: the program is the one of the round before.",
        StopReason::NoCases => "No test ran: there was no usable case.",
        StopReason::Refused => "No test ran: the tester refused, or its answer was filtered.",
        StopReason::Budget => "No test ran: the budget was reached.",
        StopReason::ContextLimit => "No test ran: the tester's prompt did not fit the model's context.",
        StopReason::Passed | StopReason::NoCode | StopReason::Truncated | StopReason::Disputed => {
            "No test ran."
        }
    }
}
