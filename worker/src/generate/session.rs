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
//! Invariants: an event is given out before the step that follows from it; every round that has a program ends in
//! exactly one `RoundEnd`; a turn is asked at most twice.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use roundhouse_proto::{
    Case, CaseResult, Digest, EvaluationReport, FinishReason, GenerationOutcome, Payload, SessionEvent,
    SessionSettings, Speaker, StopReason, TestSet, TesterMode, Verdict,
};

use crate::generate::cases::{self, Gathered};
use crate::generate::extraction;
use crate::generate::messages::{self, Story};
use crate::generate::patch::{Patched, patch};
use crate::generate::prompts::Prompts;
use crate::generate::report_text;
use crate::llm::{Ask, Reply};

mod error;
mod replay;
#[cfg(test)]
mod scripted;
#[cfg(test)]
mod tests;

pub use error::SessionError;
pub use replay::{ReplayFault, blobs_needed};

/// The method that this is.
pub const METHOD: &str = "self-collaboration";

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
    /// The public examples; only read by [`TesterMode::Public`].
    pub public_cases: TestSet,
    /// How the session is held.
    pub settings: SessionSettings,
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
    /// All cases so far, those of earlier rounds first.
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
        tests_raw: String,
    },
    Finished,
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
    /// Every case so far, in the order of their numbers.
    cases: Vec<Case>,
    notes: Vec<String>,
    state: State,
    unstored: VecDeque<SessionEvent>,
}

impl Session {
    /// A session from its beginning.
    ///
    /// # Errors
    /// When the settings name another method or allow no round.
    pub fn begin(task: Task, prompts: Arc<Prompts>) -> Result<Self, SessionError> {
        if task.settings.method != METHOD {
            return Err(SessionError::UnknownMethod(task.settings.method));
        }
        if task.settings.max_rounds == 0 {
            return Err(SessionError::NoRounds);
        }
        Ok(Self {
            task: Arc::new(task),
            prompts,
            story: Story::default(),
            cases: Vec::new(),
            notes: Vec::new(),
            state: State::Asking {
                speaker: Speaker::Analyst,
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
            State::Testing { tests, tests_raw: _ } => Ok(Step::RunTests(tests.clone())),
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
        });
        self.take_reply(&answer.text, reply.finish)
    }

    /// The step's question has no answer, for a reason that ends the session with what it has.
    ///
    /// # Errors
    /// When the step asks nothing.
    pub fn give_up(&mut self, cause: Cause) -> Result<(), SessionError> {
        match &self.state {
            State::Asking { speaker, round, .. } => {
                let (speaker, round) = (*speaker, *round);
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
        let State::Testing { tests, tests_raw } = &self.state else {
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
        let told = report_text::tell(cases, report).ok_or(SessionError::NothingJudged { round })?;
        let tests_used = Some(Payload::text(&cases::render(cases, 1)));
        let tests_raw = tests_raw.clone();
        let is_lost = |case: &&CaseResult| case.verdict == Verdict::InternalError;
        let lost = report.cases.iter().filter(is_lost).count();
        if lost > 0 {
            self.notes.push(format!(
                "tests, round {round}: cases that could not be judged: {lost}"
            ));
        }
        self.end_round(round, &told.text, &tests_raw, tests_used);
        if told.passed {
            self.finish(StopReason::Passed);
        } else {
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
            Speaker::Tester => self.take_cases(round, text, finish, &asking),
        }
        Ok(())
    }

    fn take_plan(&mut self, text: &str, finish: FinishReason, asking: &Asking) {
        let is_empty = text.trim().is_empty();
        let refused = finish == FinishReason::ContentFilter;
        if !refused && (is_empty || finish == FinishReason::Length) && matches!(asking, Asking::First) {
            self.ask_again(Speaker::Analyst, 0, text, finish, "empty plan");
            return;
        }
        if refused {
            self.note(Speaker::Analyst, 0, "refused or filtered, went on without a plan");
        } else if is_empty {
            self.note(Speaker::Analyst, 0, "empty plan, went on without");
        } else {
            if finish == FinishReason::Length {
                self.note(Speaker::Analyst, 0, "plan was cut off, taken as it is");
            }
            self.story.plan = Some(text.to_owned());
        }
        self.turn(Speaker::Coder, 0);
    }

    fn take_program(&mut self, round: u32, text: &str, finish: FinishReason, asking: &Asking) {
        if finish == FinishReason::ContentFilter {
            self.note(Speaker::Coder, round, "refused or filtered");
            self.finish(StopReason::Refused);
            return;
        }
        let Some(program) = extraction::program(text, self.task.settings.language, finish) else {
            match asking {
                Asking::First => self.ask_again(Speaker::Coder, round, text, finish, "no program"),
                Asking::Longer if finish == FinishReason::Length => {
                    self.note(Speaker::Coder, round, "cut off again");
                    self.finish(StopReason::Truncated);
                }
                Asking::Longer | Asking::Again { .. } => {
                    self.note(Speaker::Coder, round, "no program again");
                    self.finish(StopReason::NoCode);
                }
            }
            return;
        };
        let is_unchanged = self.story.programs.last() == Some(&program);
        self.story.programs.push(program);
        if is_unchanged {
            self.stop(Speaker::Tester, round, StopReason::Unchanged, "");
        } else if round + 1 >= self.task.settings.max_rounds {
            self.stop(Speaker::Tester, round, StopReason::RoundLimit, "");
        } else {
            match self.task.settings.tester {
                TesterMode::Cases => self.turn(Speaker::Tester, round),
                TesterMode::Public if self.task.public_cases.cases.is_empty() => {
                    self.note(Speaker::Tester, round, "the problem has no public examples");
                    self.stop(Speaker::Tester, round, StopReason::NoCases, "");
                }
                TesterMode::Public => self.run_tests(round, self.task.public_cases.clone(), ""),
            }
        }
    }

    fn take_cases(&mut self, round: u32, text: &str, finish: FinishReason, asking: &Asking) {
        if finish == FinishReason::ContentFilter {
            self.note(Speaker::Tester, round, "refused or filtered");
            self.stop(Speaker::Tester, round, StopReason::Refused, text);
            return;
        }
        let gathered = cases::gather(text, finish, &self.cases);
        if !gathered.is_usable() {
            if matches!(asking, Asking::First) {
                self.ask_again(Speaker::Tester, round, text, finish, "no usable case");
            } else {
                self.note(Speaker::Tester, round, "no usable case again");
                self.stop(Speaker::Tester, round, StopReason::NoCases, text);
            }
            return;
        }
        let Gathered { new, dropped } = gathered;
        if dropped.total() > 0 {
            let n = dropped.total();
            self.note(Speaker::Tester, round, &format!("cases dropped: {n} ({dropped})"));
        }
        self.cases.extend(new);
        self.story.tester_replies.push(text.to_owned());
        let cases = TestSet {
            cases: self.cases.clone(),
        };
        self.run_tests(round, cases, text);
    }

    fn turn(&mut self, speaker: Speaker, round: u32) {
        self.state = State::Asking {
            speaker,
            round,
            asking: Asking::First,
        };
    }

    fn ask_again(&mut self, speaker: Speaker, round: u32, reply: &str, finish: FinishReason, fault: &str) {
        let asking = match finish {
            FinishReason::Length => {
                self.note(speaker, round, "cut off, asked again with twice the tokens");
                Asking::Longer
            }
            FinishReason::Stop | FinishReason::ContentFilter => {
                self.note(speaker, round, &format!("{fault}, asked again"));
                Asking::Again {
                    reply: reply.to_owned(),
                }
            }
        };
        self.state = State::Asking {
            speaker,
            round,
            asking,
        };
    }

    fn run_tests(&mut self, round: u32, cases: TestSet, tests_raw: &str) {
        let program = self.patched().map_or_else(String::new, |patched| patched.program);
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
            tests_raw: tests_raw.to_owned(),
        };
    }

    /// Ends the session before `speaker` has done its work in `round`; where the round has a program, it ends too.
    fn stop(&mut self, speaker: Speaker, round: u32, reason: StopReason, tests_raw: &str) {
        if speaker == Speaker::Tester {
            self.end_round(round, untested(reason), tests_raw, None);
        }
        self.finish(reason);
    }

    fn end_round(&mut self, round: u32, report: &str, tests_raw: &str, tests_used: Option<Payload>) {
        let code = self.story.programs.last().map_or("", String::as_str);
        self.unstored.push_back(SessionEvent::RoundEnd {
            round,
            code: Payload::text(code),
            report: Payload::text(report),
            tests_raw: Payload::text(tests_raw),
            tests_used,
        });
    }

    fn finish(&mut self, stop_reason: StopReason) {
        let (program, patched) = match self.patched() {
            Some(Patched { program, added }) => (Some(Payload::text(&program)), added),
            None => (None, Vec::new()),
        };
        let notes = std::mem::take(&mut self.notes);
        self.unstored.push_back(SessionEvent::Finished(GenerationOutcome {
            program,
            stop_reason,
            patched,
            notes,
        }));
        self.state = State::Finished;
    }

    /// The last program as it is run.
    fn patched(&self) -> Option<Patched> {
        let program = self.story.programs.last()?;
        Some(if self.task.settings.patch {
            patch(program)
        } else {
            Patched {
                program: program.clone(),
                added: Vec::new(),
            }
        })
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
        StopReason::Passed | StopReason::NoCode | StopReason::Truncated => "No test ran.",
    }
}
