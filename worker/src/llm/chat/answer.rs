//! An answer, put together from the pieces in which it comes.
//!
//! Servers differ in where they put usage and reasoning; what none of them may do is leave out why the answer ended.

use roundhouse_proto::{FinishReason, Usage};
use serde::Deserialize;
use serde_json::Value;

use super::Fault;
use super::refusal::Refusal;

/// Bytes of an answer, its reasoning included.
pub(super) const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Characters of an unknown reason to end that are repeated.
const REASON_CHARS_MAX: usize = 40;

/// One piece, or the whole of an answer that is not streamed.
#[derive(Debug, Deserialize)]
struct Piece {
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(default)]
    usage: Option<Value>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    #[serde(default)]
    index: Option<u64>,
    #[serde(default)]
    delta: Option<Delta>,
    /// In place of a delta: the answer in one piece, or a piece of it under another name.
    #[serde(default)]
    message: Option<Delta>,
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(default)]
    usage: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<Value>,
    #[serde(default)]
    reasoning_content: Option<Value>,
    #[serde(default)]
    reasoning: Option<Value>,
    #[serde(default)]
    refusal: Option<Value>,
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) reasoning: Option<String>,
    pub(super) usage: Option<Usage>,
    pub(super) finish: FinishReason,
    pub(super) remarks: Vec<String>,
}

/// What has come so far.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    text: String,
    reasoning: String,
    refusal: String,
    usage: Option<Usage>,
    finish: Option<String>,
    /// Whether something of the answer came as a delta.
    has_deltas: bool,
}

impl Delta {
    /// Whether it brings anything of an answer.
    fn brings_something(&self) -> bool {
        let parts = [
            &self.content,
            &self.reasoning_content,
            &self.reasoning,
            &self.refusal,
        ];
        parts.into_iter().flatten().any(|part| match part {
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
        })
    }
}

impl Gathered {
    /// Takes in one piece, JSON.
    ///
    /// # Errors
    /// It cannot be read, it is an error, or the answer grows too long.
    pub(super) fn take(&mut self, json: &str) -> Result<(), Fault> {
        let piece: Piece = serde_json::from_str(json).map_err(|error| Fault::Unreadable {
            // Not what it says: it may repeat a piece of the answer.
            why: format!("no JSON of the expected kind, at byte {}", error.column()),
        })?;
        if let Some(error) = piece.error.filter(|error| !error.is_null()) {
            return Err(Fault::InAnswer(Refusal::of(&error)));
        }
        let is_nothing = piece.choices.is_none() && piece.usage.is_none();
        if is_nothing {
            // An error that some servers send without a name, such as `{"detail": "…"}`.
            let value: Value = serde_json::from_str(json).unwrap_or_default();
            if ["message", "detail"].iter().any(|key| value.get(key).is_some()) {
                return Err(Fault::InAnswer(Refusal::of(&value)));
            }
        }
        if let Some(usage) = piece.usage.as_ref().and_then(usage) {
            self.usage = Some(usage);
        }
        for choice in piece.choices.into_iter().flatten() {
            if choice.index.unwrap_or(0) != 0 {
                continue;
            }
            if let Some(usage) = choice.usage.as_ref().and_then(usage) {
                self.usage = Some(usage);
            }
            if let Some(reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) {
                self.finish = Some(reason);
            }
            let brings = |delta: &Delta| delta.brings_something();
            if let Some(delta) = choice.delta.filter(brings) {
                self.has_deltas = true;
                self.take_delta(&delta);
            } else if let Some(message) = choice.message.filter(brings) {
                // Behind its pieces some servers send the whole once more.
                if self.has_deltas {
                    self.text.clear();
                    self.reasoning.clear();
                    self.refusal.clear();
                }
                self.take_delta(&message);
            }
        }
        if self.text.len() + self.reasoning.len() + self.refusal.len() > ANSWER_BYTES_MAX {
            return Err(Fault::TooLong);
        }
        Ok(())
    }

    fn take_delta(&mut self, delta: &Delta) {
        match &delta.content {
            Some(Value::String(text)) => self.text.push_str(text),
            Some(Value::Array(parts)) => {
                for part in parts {
                    self.take_part(part);
                }
            }
            _ => {}
        }
        // Servers that send both send the same twice.
        let reasoning = [&delta.reasoning_content, &delta.reasoning];
        if let Some(text) = reasoning.into_iter().find_map(|text| text.as_ref()?.as_str()) {
            self.reasoning.push_str(text);
        }
        if let Some(text) = delta.refusal.as_ref().and_then(Value::as_str) {
            self.refusal.push_str(text);
        }
    }

    /// One part of an answer that comes as a list: text, or thoughts, which are a list again.
    fn take_part(&mut self, part: &Value) {
        if let Some(text) = part.get("text").and_then(Value::as_str) {
            self.text.push_str(text);
        }
        let thoughts = part.get("thinking").and_then(Value::as_array);
        for thought in thoughts.into_iter().flatten() {
            if let Some(text) = thought.get("text").and_then(Value::as_str) {
                self.reasoning.push_str(text);
            }
        }
    }

    /// The answer, once the server has said that it is whole.
    ///
    /// # Errors
    /// It never said why the answer ended, or it ended because the server failed.
    pub(super) fn end(self) -> Result<Answer, Fault> {
        let reason = self.finish.ok_or(Fault::NoReason)?;
        let mut remarks = Vec::new();
        let mut finish = match reason.to_ascii_lowercase().as_str() {
            "stop" | "eos" | "eos_token" | "end_turn" | "stop_sequence" => FinishReason::Stop,
            "length" | "max_tokens" | "model_length" => FinishReason::Length,
            "content_filter" | "safety" | "refusal" => FinishReason::ContentFilter,
            // DeepSeek, vLLM and OpenRouter, when they broke off.
            "insufficient_system_resource" | "abort" | "error" => {
                return Err(Fault::BrokenOff {
                    reason: shortened(&reason),
                });
            }
            _ => {
                let reason = shortened(&reason);
                remarks.push(format!("the answer ended with `{reason}`, taken as `stop`"));
                FinishReason::Stop
            }
        };
        let mut text = self.text;
        if !self.refusal.is_empty() {
            finish = FinishReason::ContentFilter;
            if text.is_empty() {
                text = self.refusal;
            }
        }
        let reasoning = Some(self.reasoning).filter(|reasoning| !reasoning.is_empty());
        if text.trim().is_empty() && reasoning.is_some() {
            remarks.push("all of the answer came as reasoning".to_owned());
        }
        Ok(Answer {
            text,
            reasoning,
            usage: self.usage,
            finish,
            remarks,
        })
    }
}

fn shortened(reason: &str) -> String {
    reason
        .chars()
        .filter(|c| !c.is_control())
        .take(REASON_CHARS_MAX)
        .collect()
}

/// Tokens, in the words of any server; none where neither side was counted.
///
/// Where a server counts reasoning apart from the answer, the sum it tells is larger than prompt and answer: then
/// what is beyond the prompt is the answer.
fn usage(value: &Value) -> Option<Usage> {
    let count = |path: &str| value.pointer(path).and_then(Value::as_u64);
    let first = |paths: &[&str]| paths.iter().find_map(|path| count(path));
    let input = first(&["/prompt_tokens", "/input_tokens"]);
    let output = first(&["/completion_tokens", "/output_tokens"]);
    if input.is_none() && output.is_none() {
        return None;
    }
    let input = input.unwrap_or(0);
    let beyond_prompt = count("/total_tokens").map_or(0, |total| total.saturating_sub(input));
    let output = output.unwrap_or(0).max(beyond_prompt);
    let cached = first(&[
        "/prompt_tokens_details/cached_tokens",
        "/input_tokens_details/cached_tokens",
        "/prompt_cache_hit_tokens",
        "/cached_tokens",
    ]);
    let reasoning = first(&[
        "/completion_tokens_details/reasoning_tokens",
        "/output_tokens_details/reasoning_tokens",
        "/reasoning_tokens",
    ]);
    Some(Usage {
        input,
        cached_input: cached.unwrap_or(0).min(input),
        output,
        reasoning: reasoning.unwrap_or(0).min(output),
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use serde_json::json;

    use super::*;

    fn answer(pieces: &[Value]) -> Result<Answer, Fault> {
        let mut gathered = Gathered::default();
        for piece in pieces {
            gathered.take(&piece.to_string())?;
        }
        gathered.end()
    }

    fn delta(delta: &Value) -> Value {
        json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}], "usage": null})
    }

    fn end(reason: &str) -> Value {
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    }

    fn plain(text: &str) -> Answer {
        Answer {
            text: text.to_owned(),
            reasoning: None,
            usage: None,
            finish: FinishReason::Stop,
            remarks: Vec::new(),
        }
    }

    #[test]
    fn pieces_make_a_text_its_reasoning_and_its_usage() {
        let pieces = [
            delta(&json!({"role": "assistant", "content": null, "reasoning_content": "why"})),
            delta(&json!({"reasoning_content": " so", "reasoning": " so"})),
            delta(&json!({"content": "ye"})),
            delta(&json!({"content": "s"})),
            json!({"choices": [{"index": 1, "delta": {"content": "another choice"}, "finish_reason": "length"}]}),
            end("stop"),
            json!({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}),
        ];
        let expected = Answer {
            reasoning: Some("why so".to_owned()),
            usage: Some(Usage {
                input: 7,
                cached_input: 0,
                output: 3,
                reasoning: 0,
            }),
            ..plain("yes")
        };
        assert_eq!(answer(&pieces), Ok(expected));
    }

    #[test]
    fn whole_answer_behind_its_pieces_is_not_taken_twice() {
        let message = json!({"role": "assistant", "content": "yes"});
        let whole = json!({"index": 0, "message": message, "finish_reason": "stop"});
        let with_empty =
            json!({"index": 0, "delta": {"content": ""}, "message": message, "finish_reason": "stop"});
        for last in [whole, with_empty] {
            let pieces = [
                delta(&json!({"content": "ye"})),
                delta(&json!({"content": "s"})),
                json!({"choices": [last]}),
            ];
            assert_eq!(answer(&pieces), Ok(plain("yes")));
        }
        let pieces = [
            json!({"choices": [{"message": {"content": "ye"}}]}),
            json!({"choices": [{"message": {"content": "s"}, "finish_reason": "stop"}]}),
        ];
        assert_eq!(answer(&pieces), Ok(plain("yes")));
    }

    #[test]
    fn pieces_without_an_answer_are_passed_over() {
        let pieces = [
            // Azure, before everything.
            json!({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}),
            delta(&json!({"role": "assistant", "content": "yes", "tool_calls": null})),
            json!({"type": "ping"}),
            json!({"choices": [{"index": 0, "delta": null, "finish_reason": "stop"}],
                   "usage": {"prompt_tokens": 7, "completion_tokens": null, "total_tokens": 10}}),
            // LiteLLM, behind everything.
            json!({"choices": [{"index": 0, "delta": {}}], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}),
        ];
        let usage = Some(Usage {
            input: 7,
            cached_input: 0,
            output: 3,
            reasoning: 0,
        });
        assert_eq!(
            answer(&pieces),
            Ok(Answer {
                usage,
                ..plain("yes")
            })
        );
        assert_eq!(
            answer(&pieces[..4]).unwrap().usage,
            usage,
            "what is not told is what is beyond the prompt"
        );
    }

    #[test]
    fn content_may_come_as_a_list_of_parts() {
        let parts = json!([
            {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
            {"type": "text", "text": "yes"},
        ]);
        let expected = Answer {
            reasoning: Some("hm".to_owned()),
            ..plain("yes")
        };
        assert_eq!(
            answer(&[delta(&json!({"content": parts})), end("stop")]),
            Ok(expected)
        );
    }

    #[test]
    fn usage_is_read_in_every_dialect_and_wherever_it_stands() {
        let read = |usage: Value| {
            let choice = json!({"index": 0, "delta": {}, "finish_reason": "stop", "usage": usage});
            answer(&[json!({"choices": [choice]})]).unwrap().usage
        };
        let tokens = |input, cached_input, output, reasoning| {
            Some(Usage {
                input,
                cached_input,
                output,
                reasoning,
            })
        };
        for (usage, expected) in [
            (
                json!({"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14,
                    "prompt_tokens_details": {"cached_tokens": 4},
                    "completion_tokens_details": {"reasoning_tokens": 2}}),
                tokens(9, 4, 5, 2),
            ),
            (
                json!({"prompt_tokens": 9, "completion_tokens": 5, "prompt_cache_hit_tokens": 4,
                    "prompt_cache_miss_tokens": 5}),
                tokens(9, 4, 5, 0),
            ),
            (
                json!({"input_tokens": 9, "output_tokens": 5, "cached_tokens": 4}),
                tokens(9, 4, 5, 0),
            ),
            // Reasoning counted apart from the answer.
            (
                json!({"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 21,
                    "completion_tokens_details": {"reasoning_tokens": 7}}),
                tokens(9, 0, 12, 7),
            ),
            (
                json!({"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": null,
                    "completion_tokens_details": {"reasoning_tokens": null}}),
                tokens(9, 0, 5, 0),
            ),
            (
                json!({"prompt_tokens": 3, "completion_tokens": 2, "cached_tokens": 100}),
                tokens(3, 3, 2, 0),
            ),
            (json!({"prompt_tokens": null, "total_time": 0.5}), None),
            (json!(null), None),
        ] {
            assert_eq!(read(usage.clone()), expected, "{usage}");
        }
    }

    #[test]
    fn later_usage_replaces_an_earlier_one() {
        let counted = |n: u64| json!({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": n}});
        let usage = answer(&[counted(1), counted(2), end("stop"), counted(3)])
            .unwrap()
            .usage;
        assert_eq!(usage.unwrap().output, 3);
    }

    #[test]
    fn reasons_to_end_are_stop_length_or_filter_and_unknown_ones_are_told() {
        let finish = |reason: &str| {
            let answer = answer(&[delta(&json!({"content": "x"})), end(reason)]).unwrap();
            (answer.finish, answer.remarks)
        };
        assert_eq!(finish("stop"), (FinishReason::Stop, vec![]));
        assert_eq!(finish("length"), (FinishReason::Length, vec![]));
        assert_eq!(finish("content_filter"), (FinishReason::ContentFilter, vec![]));
        assert_eq!(
            finish("tool_calls"),
            (
                FinishReason::Stop,
                vec!["the answer ended with `tool_calls`, taken as `stop`".to_owned()]
            )
        );
    }

    #[test]
    fn answer_that_the_server_broke_off_or_never_ended_is_none() {
        let some = delta(&json!({"content": "x"}));
        assert_eq!(answer(std::slice::from_ref(&some)), Err(Fault::NoReason));
        let reason = "insufficient_system_resource".to_owned();
        assert_eq!(answer(&[some, end(&reason)]), Err(Fault::BrokenOff { reason }));
    }

    #[test]
    fn refusal_is_a_filtered_answer() {
        let expected = Answer {
            finish: FinishReason::ContentFilter,
            ..plain("I can not")
        };
        assert_eq!(
            answer(&[
                delta(&json!({"content": null, "refusal": "I can not"})),
                end("stop")
            ]),
            Ok(expected)
        );
    }

    #[test]
    fn empty_answer_is_an_answer_and_one_of_reasoning_alone_says_so() {
        assert_eq!(
            answer(&[delta(&json!({"content": null})), end("stop")]),
            Ok(plain(""))
        );
        let expected = Answer {
            reasoning: Some("only thoughts".to_owned()),
            remarks: vec!["all of the answer came as reasoning".to_owned()],
            ..plain("")
        };
        assert_eq!(
            answer(&[delta(&json!({"reasoning": "only thoughts"})), end("stop")]),
            Ok(expected)
        );
    }

    #[test]
    fn piece_that_is_an_error_or_no_json_is_a_fault() {
        let fault = |text: &str| Gathered::default().take(text).unwrap_err();
        let refusal = Refusal::of(&json!({"message": "died"}));
        assert_eq!(
            fault(r#"{"error": {"message": "died"}}"#),
            Fault::InAnswer(refusal.clone())
        );
        let nameless = fault(r#"{"object": "error", "message": "died"}"#);
        assert_eq!(nameless, Fault::InAnswer(refusal));
        assert!(matches!(fault(r#"{"choices": [{"#), Fault::Unreadable { .. }));
    }

    #[test]
    fn answer_beyond_the_bound_is_a_fault() {
        let mut gathered = Gathered::default();
        let half = delta(&json!({"content": "x".repeat(ANSWER_BYTES_MAX / 2)})).to_string();
        assert_eq!(gathered.take(&half), Ok(()));
        assert_eq!(gathered.take(&half), Ok(()));
        assert_eq!(
            gathered.take(&delta(&json!({"content": "x"})).to_string()),
            Err(Fault::TooLong)
        );
    }

    #[test]
    fn whole_answer_is_read_like_a_piece() {
        let whole = json!({
            "object": "chat.completion",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}],
        });
        assert_eq!(answer(&[whole]), Ok(plain("yes")));
    }
}
