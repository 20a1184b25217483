//! What the answers of the three roles change: one function for each kind of answer.
//!
//! Called by [`Session`] with an answer whose event is made; decides who speaks next, or what is run.

use roundhouse_proto::{FinishReason, Speaker, StopReason, TestSet, TesterMode};

use super::{Asking, Next, Session, State};
use crate::generate::asserts::{self, Function};
use crate::generate::cases::{self, Gathered};
use crate::generate::extraction;
use crate::generate::method::{self, Testing};
use crate::generate::report_text;
use crate::generate::review::{self, Opinion};

impl Session {
    pub(super) fn take_plan(&mut self, text: &str, finish: FinishReason, asking: &Asking) {
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

    pub(super) fn take_program(&mut self, round: u32, text: &str, finish: FinishReason, asking: &Asking) {
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
            if let Some(passed) = round
                .checked_sub(1)
                .and_then(|last| self.public_passed.get(&last))
            {
                self.public_passed.insert(round, *passed);
            }
            self.stop(Speaker::Tester, round, StopReason::Unchanged, "");
        } else if method::shape(self.task.settings.method).testing == Testing::Never {
            let report = method::untested(self.task.settings.method);
            self.end_round(round, &report, "", None, None);
            self.after_round(round, Next::Stop(StopReason::RoundLimit));
        } else if round + 1 >= self.task.settings.max_rounds {
            self.stop(Speaker::Tester, round, StopReason::RoundLimit, "");
        } else {
            self.test(round);
        }
    }

    /// Begins the tests of a round, whatever they are.
    fn test(&mut self, round: u32) {
        match self.task.settings.tester {
            TesterMode::PublicAndCases if self.tester_is_done => self.run_tests(round, self.all_cases(), ""),
            TesterMode::Cases | TesterMode::PublicAndCases | TesterMode::Review => {
                self.turn(Speaker::Tester, round);
            }
            TesterMode::Public if self.task.public_cases.cases.is_empty() => {
                self.note(Speaker::Tester, round, "the problem has no public examples");
                self.stop(Speaker::Tester, round, StopReason::NoCases, "");
            }
            TesterMode::Public => self.run_tests(round, self.task.public_cases.clone(), ""),
        }
    }

    pub(super) fn take_cases(&mut self, round: u32, text: &str, finish: FinishReason, asking: &Asking) {
        if finish == FinishReason::ContentFilter {
            self.note(Speaker::Tester, round, "refused or filtered");
            self.stop(Speaker::Tester, round, StopReason::Refused, text);
            return;
        }
        let gathered = match &self.task.entry_point {
            Some(name) => {
                let signature = &self.signature;
                asserts::gather(text, finish, &self.cases, Function { name, signature })
            }
            None => cases::gather(text, finish, &self.cases),
        };
        if !gathered.is_usable() {
            if matches!(asking, Asking::First) {
                self.ask_again(Speaker::Tester, round, text, finish, "no usable case");
            } else {
                self.note(Speaker::Tester, round, "no usable case again");
                self.go_on_without_cases(round, text);
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
        self.run_tests(round, self.all_cases(), text);
    }

    /// The tester has no case to give: public examples can do without it.
    fn go_on_without_cases(&mut self, round: u32, tests_raw: &str) {
        match self.task.settings.tester {
            TesterMode::PublicAndCases if !self.cases.is_empty() => {
                self.tester_is_done = true;
                self.run_tests(round, self.all_cases(), tests_raw);
            }
            TesterMode::PublicAndCases | TesterMode::Cases | TesterMode::Public | TesterMode::Review => {
                self.stop(Speaker::Tester, round, StopReason::NoCases, tests_raw);
            }
        }
    }

    fn all_cases(&self) -> TestSet {
        TestSet {
            cases: self.cases.clone(),
        }
    }

    pub(super) fn take_review(&mut self, round: u32, text: &str, finish: FinishReason, asking: &Asking) {
        if finish == FinishReason::ContentFilter {
            self.note(Speaker::Tester, round, "refused or filtered");
            self.stop(Speaker::Tester, round, StopReason::Refused, text);
            return;
        }
        let review = review::read(text);
        if review.opinion.is_none() {
            if matches!(asking, Asking::First) {
                self.ask_again(Speaker::Tester, round, text, finish, "neither PASS nor FAIL");
                return;
            }
            self.note(
                Speaker::Tester,
                round,
                "neither PASS nor FAIL again, taken as FAIL",
            );
        }
        // A message must not be empty.
        let said = if text.trim().is_empty() {
            "VERDICT: FAIL"
        } else {
            text
        };
        self.story.tester_replies.push(said.to_owned());
        let report = report_text::tell_review(&review);
        let passed = review.opinion == Some(Opinion::Pass);
        self.end_round(round, &report, text, None, Some(passed));
        let next = if passed {
            Next::Stop(StopReason::Passed)
        } else {
            self.story.reports.push(report);
            Next::Coder(round + 1)
        };
        self.after_round(round, next);
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
}
