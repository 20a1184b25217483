//! The offline model `recorded`: answers with what a model once answered in the same turn of the same problem's
//! session. It measures no model.
//!
//! Answers are found by speaker, round and ask, never by the prompt: a prompt that changed is a remark on the call,
//! and the recorded answer stands.

use roundhouse_proto::{Digest, Failure, FailureClass, RecordedCall, Recording, StopReason};

use crate::llm::{Ask, AskError, Model, Reply};

/// What is said of a call whose prompt is another than the recorded one.
pub const OTHER_PROMPT: &str = "the prompt is not the recorded one";

/// The recorded answers of one problem's session.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    recording: Recording,
}

impl Recorded {
    /// The model that answers with this recording.
    pub fn new(recording: Recording) -> Self {
        Self { recording }
    }

    /// A turn is asked at most once under each of its numbers, so a session that is resumed finds its place again.
    fn call(&self, ask: &Ask) -> Option<&RecordedCall> {
        let turn = (ask.speaker, ask.round, ask.ask);
        let mut calls = self.recording.calls.iter();
        calls.find(|call| (call.speaker, call.round, call.ask) == turn)
    }
}

impl Model for Recorded {
    async fn ask(&self, ask: &Ask) -> Result<Reply, AskError> {
        let Some(call) = self.call(ask) else {
            return Err(match self.recording.unanswered {
                Some(StopReason::ContextLimit) => AskError::ContextLimit {
                    message: "so it is recorded".to_owned(),
                    unaccounted: 0,
                },
                Some(StopReason::Budget) => AskError::BudgetReached,
                Some(_) | None => AskError::Failed {
                    failure: nothing_recorded(ask),
                    unaccounted: 0,
                },
            });
        };
        let is_same = Digest::of(ask.prompt().as_bytes()) == call.prompt;
        Ok(Reply {
            text: call.reply.clone(),
            reasoning: call.reasoning.clone(),
            usage: call.usage,
            finish: call.finish,
            remarks: if is_same {
                Vec::new()
            } else {
                vec![OTHER_PROMPT.to_owned()]
            },
            unaccounted: 0,
        })
    }
}

fn nothing_recorded(ask: &Ask) -> Failure {
    let again = if ask.ask > 0 { ", asked again" } else { "" };
    Failure {
        class: FailureClass::Job,
        message: format!(
            "nothing is recorded for {}, round {}{again}",
            ask.speaker, ask.round
        ),
    }
}

#[cfg(test)]
mod tests {
    use roundhouse_proto::{FinishReason, Sampling, Speaker, Usage};

    use super::*;
    use crate::llm::Message;

    const USAGE: Usage = Usage {
        input: 7,
        cached_input: 2,
        output: 5,
        reasoning: 1,
    };

    fn ask(speaker: Speaker, round: u32, ask: u32) -> Ask {
        Ask {
            model: "recorded:m".to_owned(),
            speaker,
            round,
            ask,
            messages: vec![Message::user("the prompt".to_owned())],
            sampling: Sampling::default(),
        }
    }

    fn call(speaker: Speaker, round: u32, ask: u32, prompt: &str) -> RecordedCall {
        RecordedCall {
            speaker,
            round,
            ask,
            prompt: Digest::of(prompt.as_bytes()),
            reply: format!("{speaker} {round} {ask}"),
            reasoning: Some("thought".to_owned()),
            finish: FinishReason::Length,
            usage: Some(USAGE),
        }
    }

    fn reply(text: &str, remarks: &[&str]) -> Reply {
        Reply {
            text: text.to_owned(),
            reasoning: Some("thought".to_owned()),
            usage: Some(USAGE),
            finish: FinishReason::Length,
            remarks: remarks.iter().map(|remark| (*remark).to_owned()).collect(),
            unaccounted: 0,
        }
    }

    fn recorded(unanswered: Option<StopReason>) -> Recorded {
        Recorded::new(Recording {
            calls: vec![
                call(Speaker::Coder, 0, 0, "the prompt"),
                call(Speaker::Coder, 0, 1, "the prompt"),
                call(Speaker::Coder, 1, 0, "another prompt"),
            ],
            unanswered,
        })
    }

    #[tokio::test]
    async fn recorded_model_answers_each_turn_with_its_own_call_and_remarks_on_another_prompt() {
        let model = recorded(None);
        let answers = [
            model.ask(&ask(Speaker::Coder, 1, 0)).await,
            model.ask(&ask(Speaker::Coder, 0, 1)).await,
            model.ask(&ask(Speaker::Coder, 0, 0)).await,
            model.ask(&ask(Speaker::Coder, 0, 0)).await,
        ];
        assert_eq!(
            answers,
            [
                Ok(reply("coder 1 0", &["the prompt is not the recorded one"])),
                Ok(reply("coder 0 1", &[])),
                Ok(reply("coder 0 0", &[])),
                Ok(reply("coder 0 0", &[])),
            ]
        );
    }

    #[tokio::test]
    async fn turn_that_was_not_recorded_is_a_failure_of_the_job() {
        for (speaker, round, again, message) in [
            (Speaker::Tester, 0, 0, "nothing is recorded for tester, round 0"),
            (
                Speaker::Coder,
                1,
                1,
                "nothing is recorded for coder, round 1, asked again",
            ),
        ] {
            let failure = Failure {
                class: FailureClass::Job,
                message: message.to_owned(),
            };
            assert_eq!(
                recorded(None).ask(&ask(speaker, round, again)).await,
                Err(AskError::Failed {
                    failure,
                    unaccounted: 0
                })
            );
        }
    }

    #[tokio::test]
    async fn call_that_the_recorded_session_went_without_ends_this_one_likewise() {
        let asked = ask(Speaker::Tester, 1, 0);
        let context = recorded(Some(StopReason::ContextLimit)).ask(&asked).await;
        assert!(
            matches!(context, Err(AskError::ContextLimit { .. })),
            "{context:?}"
        );
        let budget = recorded(Some(StopReason::Budget)).ask(&asked).await;
        assert_eq!(budget, Err(AskError::BudgetReached));
    }
}
