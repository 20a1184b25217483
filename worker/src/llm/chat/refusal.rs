//! What a server says when it refuses a request, and what that means for the call.
//!
//! Wordings were taken from what the servers of OpenAI, DeepSeek, vLLM, llama.cpp, Mistral, Google (its compatible
//! interface) and FastAPI's validation answer.

use serde_json::Value;

use super::request::Parameter;

/// Characters of a server's message that are kept.
const MESSAGE_CHARS_MAX: usize = 300;

/// What a server said instead of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The status of the answer, or the one that an error in the middle of a stream names.
    status: Option<u16>,
    /// Its codes and types.
    words: Vec<String>,
    /// The parameter that it blames.
    parameter: Option<String>,
    /// Parameters that a validation does not permit.
    not_permitted: Vec<String>,
    message: String,
}

/// What a refusal means for the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The key opens nothing, or nothing is left on its account.
    KeyRefused,
    /// The prompt is too long for the model.
    ContextLimit,
    /// The endpoint does not take this parameter.
    Unsupported(Parameter),
    /// The model or the address is wrong.
    NotFound,
    /// There is no room now.
    Throttled,
    /// The server failed; it may work later.
    Passing,
    /// It would be refused again.
    Lasting,
}

/// Codes that say that an account has nothing left, whatever the status.
const NOTHING_LEFT: [&str; 4] = [
    "insufficient_quota",
    "billing_hard_limit_reached",
    "billing_not_active",
    "insufficient_balance",
];
/// Codes that say that a key is wrong, whatever the status.
const KEY_WRONG: [&str; 3] = ["invalid_api_key", "authentication_error", "permission_error"];
/// Codes of a prompt that is too long.
const CONTEXT_WORDS: [&str; 3] = [
    "context_length_exceeded",
    "exceed_context_size_error",
    "context_window_exceeded",
];
/// Parts of messages about a prompt that is too long, in lower case.
const CONTEXT_TEXTS: [&str; 10] = [
    "maximum context length",
    "context length exceeded",
    "exceeds the context length",
    "exceeds the available context size",
    "context window",
    "maximum model length",
    "prompt is too long",
    "input is too long",
    "reduce the length of the messages",
    "max_new_tokens` must be <=",
];
/// Codes of a parameter that is not taken.
const PARAMETER_WORDS: [&str; 4] = [
    "unsupported_parameter",
    "unsupported_value",
    "unknown_parameter",
    "extra_forbidden",
];
/// Parts of messages about a parameter that is not taken, in lower case.
const PARAMETER_TEXTS: [&str; 13] = [
    "unsupported",
    "not supported",
    "isn't supported",
    "does not support",
    "doesn't support",
    "unrecognized",
    "unknown",
    "unexpected",
    "not permitted",
    "not allowed",
    "extra_forbidden",
    "deprecated",
    "cannot both be",
];
/// Codes of a server without room, in the middle of a stream.
const THROTTLED_WORDS: [&str; 4] = [
    "rate_limit_exceeded",
    "rate_limit_error",
    "overloaded_error",
    "too_many_requests",
];

impl Refusal {
    /// From the body of an answer with an error status.
    pub(super) fn read(status: u16, body: &[u8]) -> Self {
        match serde_json::from_slice::<Value>(body) {
            Ok(value) => {
                let mut refusal = Self::of(&value);
                refusal.status = Some(status);
                refusal
            }
            Err(_) => Self {
                status: Some(status),
                message: page_title(&String::from_utf8_lossy(body)),
                ..Self::default()
            },
        }
    }

    /// From an error object, in the middle of a stream or the only thing in a body.
    pub(super) fn of(value: &Value) -> Self {
        let mut refusal = Self::default();
        refusal.take(value, 0);
        refusal
    }

    /// Takes in one level of an error, and those inside it.
    fn take(&mut self, value: &Value, depth: usize) {
        const DEPTH_MAX: usize = 6;
        const ITEMS_MAX: usize = 8;
        if depth > DEPTH_MAX {
            return;
        }
        match value {
            Value::String(text) => self.say(text),
            Value::Array(items) => {
                for item in items.iter().take(ITEMS_MAX) {
                    self.take(item, depth + 1);
                }
            }
            Value::Object(object) => {
                for word in ["code", "type", "status"] {
                    match object.get(word) {
                        Some(Value::String(text)) => {
                            if let Ok(status) = text.parse() {
                                self.status = Some(status);
                            }
                            self.words.push(text.to_ascii_lowercase());
                        }
                        Some(Value::Number(number)) => {
                            self.status = number.as_u64().and_then(|n| u16::try_from(n).ok());
                        }
                        _ => {}
                    }
                }
                if let Some(Value::String(parameter)) = object.get("param") {
                    self.parameter = Some(parameter.clone());
                }
                // A validation's list: where, and what. Its `input` is what was sent, and stays out.
                if let (Some(Value::Array(place)), Some(Value::String(text))) =
                    (object.get("loc"), object.get("msg"))
                {
                    let place: Vec<&str> = place.iter().filter_map(Value::as_str).collect();
                    let last = place.last().copied().unwrap_or_default();
                    if object.get("type").and_then(Value::as_str) == Some("extra_forbidden") {
                        self.not_permitted.push(last.to_owned());
                    }
                    self.say(&format!("`{}`: {text}", place.join(".")));
                }
                for inner in ["error", "message", "detail", "errors"] {
                    if let Some(inner) = object.get(inner) {
                        self.take(inner, depth + 1);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn say(&mut self, text: &str) {
        if text.trim().is_empty() || self.message.contains(text) {
            return;
        }
        if !self.message.is_empty() {
            self.message.push_str("; ");
        }
        self.message.push_str(text);
    }

    /// What it means for the call.
    pub(super) fn meaning(&self) -> Meaning {
        let message = self.message.to_ascii_lowercase();
        let has_word = |words: &[&str]| self.words.iter().any(|word| words.contains(&word.as_str()));
        let says = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
        if has_word(&NOTHING_LEFT) || has_word(&KEY_WRONG) {
            return Meaning::KeyRefused;
        }
        if has_word(&CONTEXT_WORDS) {
            return Meaning::ContextLimit;
        }
        match self.status {
            Some(401..=403) => Meaning::KeyRefused,
            Some(404) => Meaning::NotFound,
            Some(429 | 529) => Meaning::Throttled,
            Some(408 | 425 | 500 | 502..=504 | 520..=524) => Meaning::Passing,
            Some(400 | 413 | 422) if says(&CONTEXT_TEXTS) => Meaning::ContextLimit,
            Some(400) if says(&["api key not valid"]) => Meaning::KeyRefused,
            Some(400 | 422) => self.unsupported().map_or(Meaning::Lasting, Meaning::Unsupported),
            Some(_) => Meaning::Lasting,
            None if says(&CONTEXT_TEXTS) => Meaning::ContextLimit,
            None if has_word(&THROTTLED_WORDS) => Meaning::Throttled,
            None if has_word(&["invalid_request_error"]) => Meaning::Lasting,
            // Somewhere behind the server something failed.
            None => Meaning::Passing,
        }
    }

    /// The parameter that the endpoint does not take.
    fn unsupported(&self) -> Option<Parameter> {
        let named = |name: &str| {
            Parameter::ALL
                .into_iter()
                .find(|parameter| parameter.word() == name)
        };
        if let Some(parameter) = self.not_permitted.iter().find_map(|name| named(name)) {
            return Some(parameter);
        }
        let message = self.message.to_ascii_lowercase();
        let is_about_one = self
            .words
            .iter()
            .any(|word| PARAMETER_WORDS.contains(&word.as_str()))
            || PARAMETER_TEXTS.iter().any(|text| message.contains(text));
        if !is_about_one {
            return None;
        }
        // Two that do not go together: without the lesser one the other is taken.
        if message.contains("cannot both be") && find_word(&message, Parameter::TopP.word()).is_some() {
            return Some(Parameter::TopP);
        }
        if let Some(parameter) = self.parameter.as_deref() {
            return named(parameter);
        }
        let mut mentioned: Vec<(usize, Parameter)> = Parameter::ALL
            .into_iter()
            .filter_map(|parameter| Some((find_word(&message, parameter.word())?, parameter)))
            .collect();
        mentioned.sort();
        mentioned.first().map(|(_, parameter)| *parameter)
    }

    /// What the server said, after its status, on one short line; `conceal` takes out what nobody is to read.
    pub(super) fn text(&self, conceal: &dyn Fn(&str) -> String) -> String {
        let message = tidy(&conceal(&self.message));
        let status = self.status.and_then(|status| {
            let status = reqwest::StatusCode::from_u16(status).ok()?;
            Some(match status.canonical_reason() {
                Some(reason) => format!("{} {reason}", status.as_u16()),
                None => status.as_u16().to_string(),
            })
        });
        match (status, message.is_empty()) {
            (Some(status), true) => status,
            (Some(status), false) => format!("{status}: {message}"),
            (None, true) => "the server said nothing about it".to_owned(),
            (None, false) => message,
        }
    }
}

/// Where a word stands alone in a text.
fn find_word(text: &str, word: &str) -> Option<usize> {
    let is_inside = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(word)
        .map(|(at, _)| at)
        .find(|at| !text[..*at].ends_with(is_inside) && !text[at + word.len()..].starts_with(is_inside))
}

/// The title of a page, which says more than its markup; another text as it is.
fn page_title(text: &str) -> String {
    if !text.trim_start().starts_with('<') {
        return text.to_owned();
    }
    let title = text
        .split_once("<title>")
        .and_then(|(_, rest)| Some(rest.split_once("</title>")?.0));
    title.map_or_else(|| "a page instead of an answer".to_owned(), str::to_owned)
}

/// One line without control characters, cut to a bound.
pub(super) fn tidy(text: &str) -> String {
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    let line = words.join(" ");
    match line.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(status: u16, body: &str) -> Meaning {
        Refusal::read(status, body.as_bytes()).meaning()
    }

    #[test]
    fn statuses_alone_say_whose_fault_it_is_and_whether_it_passes() {
        for (statuses, expected) in [
            (&[401, 402, 403][..], Meaning::KeyRefused),
            (&[404], Meaning::NotFound),
            (&[429, 529], Meaning::Throttled),
            (&[408, 425, 500, 502, 503, 504, 520, 524], Meaning::Passing),
            (&[301, 308, 400, 405, 409, 410, 422, 501, 505], Meaning::Lasting),
        ] {
            for status in statuses {
                assert_eq!(meaning(*status, ""), expected, "{status}");
            }
        }
    }

    #[test]
    fn account_with_nothing_left_is_a_refused_key_although_it_comes_as_a_rate_limit() {
        let body = r#"{"error": {"message": "You exceeded your current quota", "type": "insufficient_quota",
                       "param": null, "code": "insufficient_quota"}}"#;
        assert_eq!(meaning(429, body), Meaning::KeyRefused);
        let body = r#"{"error": {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}}"#;
        assert_eq!(meaning(429, body), Meaning::Throttled);
        let body = r#"[{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.",
                       "status": "INVALID_ARGUMENT"}}]"#;
        assert_eq!(meaning(400, body), Meaning::KeyRefused);
    }

    #[test]
    fn prompt_beyond_the_context_is_told_in_every_servers_words() {
        for body in [
            // OpenAI.
            r#"{"error": {"message": "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.", "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"}}"#,
            r#"{"error": {"message": "Your input exceeds the context window of this model.", "type": "invalid_request_error", "param": "input", "code": "invalid_value"}}"#,
            // DeepSeek.
            r#"{"error": {"message": "This model's maximum context length is 65536 tokens. However, you requested 70000 tokens (65904 in the messages, 4096 in the completion). Please reduce the length of the messages or completion.", "type": "invalid_request_error", "param": null, "code": "invalid_request_error"}}"#,
            // vLLM, before and after it nested its errors.
            r#"{"object": "error", "message": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens", "type": "BadRequestError", "param": null, "code": 400}"#,
            r#"{"error": {"message": "'max_tokens' or 'max_completion_tokens' is too large: 4096. This model's maximum context length is 4096 tokens and your request has 500 input tokens", "type": "BadRequestError", "param": null, "code": 400}}"#,
            r#"{"error": {"message": "The decoder prompt (length 5000) is longer than the maximum model length of 4096.", "type": "BadRequestError", "code": 400}}"#,
            // llama.cpp.
            r#"{"error": {"code": 400, "message": "the request exceeds the available context size. try increasing the context size or enable context shift", "type": "exceed_context_size_error", "n_prompt_tokens": 5000, "n_ctx": 4096}}"#,
            r#"{"error": {"code": 400, "message": "request (5000 tokens) exceeds the available context size (4096 tokens)", "type": "invalid_request_error"}}"#,
        ] {
            assert_eq!(meaning(400, body), Meaning::ContextLimit, "{body}");
        }
    }

    #[test]
    fn parameter_that_is_not_taken_is_found_in_every_servers_words() {
        for (status, body, expected) in [
            // OpenAI.
            (
                400,
                r#"{"error": {"message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", "type": "invalid_request_error", "param": "max_tokens", "code": "unsupported_parameter"}}"#,
                Parameter::MaxTokens,
            ),
            (
                400,
                r#"{"error": {"message": "Unsupported value: 'temperature' does not support 0.0 with this model. Only the default (1) value is supported.", "type": "invalid_request_error", "param": "temperature", "code": "unsupported_value"}}"#,
                Parameter::Temperature,
            ),
            (
                400,
                r#"{"error": {"message": "Unsupported parameter: 'top_p' is not supported with this model.", "type": "invalid_request_error", "param": "top_p", "code": "unsupported_parameter"}}"#,
                Parameter::TopP,
            ),
            (
                400,
                r#"{"error": {"message": "Unrecognized request argument supplied: stream_options", "type": "invalid_request_error", "param": null, "code": null}}"#,
                Parameter::StreamOptions,
            ),
            // vLLM, with what validated the request written into the message.
            (
                400,
                r#"{"object": "error", "message": "[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options'), 'msg': 'Extra inputs are not permitted', 'input': {'include_usage': True}}]", "type": "BadRequestError", "param": null, "code": 400}"#,
                Parameter::StreamOptions,
            ),
            // FastAPI and Mistral.
            (
                422,
                r#"{"detail": [{"type": "extra_forbidden", "loc": ["body", "top_p"], "msg": "Extra inputs are not permitted", "input": 0.95}]}"#,
                Parameter::TopP,
            ),
            (
                422,
                r#"{"object": "error", "message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted", "input": {}}]}, "type": "invalid_request_error"}"#,
                Parameter::StreamOptions,
            ),
            // DeepSeek and llama.cpp.
            (
                400,
                r#"{"error": {"message": "deepseek-reasoner does not support the parameter `temperature`", "type": "invalid_request_error", "param": null, "code": "invalid_request_error"}}"#,
                Parameter::Temperature,
            ),
            (
                400,
                r#"{"error": {"code": 400, "message": "Unsupported param: top_p", "type": "invalid_request_error"}}"#,
                Parameter::TopP,
            ),
            // Two that do not go together.
            (
                400,
                r#"{"error": {"message": "`temperature` and `top_p` cannot both be specified for this model. Please use only one."}}"#,
                Parameter::TopP,
            ),
        ] {
            assert_eq!(meaning(status, body), Meaning::Unsupported(expected), "{body}");
        }
    }

    #[test]
    fn other_complaints_about_a_request_are_not_taken_for_an_unsupported_parameter() {
        for body in [
            r#"{"error": {"message": "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", "type": "invalid_request_error"}}"#,
            r#"{"error": {"message": "max_tokens is too large: 100000. This model supports at most 16384 completion tokens", "param": "max_tokens", "code": "invalid_value"}}"#,
            r#"{"error": {"message": "Unsupported parameter: 'logprobs'", "param": "logprobs", "code": "unsupported_parameter"}}"#,
            r#"{"error": {"message": "max_completion_tokens is not supported"}}"#,
        ] {
            assert_eq!(meaning(400, body), Meaning::Lasting, "{body}");
        }
    }

    #[test]
    fn error_in_a_stream_says_by_its_code_what_it_means() {
        let meaning = |value| Refusal::of(&value).meaning();
        use serde_json::json;
        for (value, expected) in [
            (json!({"message": "busy", "code": 429}), Meaning::Throttled),
            (
                json!({"message": "busy", "code": "rate_limit_exceeded"}),
                Meaning::Throttled,
            ),
            (json!({"message": "who?", "code": "401"}), Meaning::KeyRefused),
            (
                json!({"message": "no", "type": "invalid_request_error"}),
                Meaning::Lasting,
            ),
            (json!({"message": "prompt is too long"}), Meaning::ContextLimit),
            (
                json!({"message": "the engine died", "type": "server_error"}),
                Meaning::Passing,
            ),
            (json!("the engine died"), Meaning::Passing),
            (json!({}), Meaning::Passing),
        ] {
            assert_eq!(meaning(value.clone()), expected, "{value}");
        }
    }

    #[test]
    fn text_is_one_short_line_without_what_was_sent() {
        let text = |status, body: &str| {
            Refusal::read(status, body.as_bytes()).text(&|text| text.replace("sk-1", "***"))
        };
        assert_eq!(text(401, "bad key sk-1"), "401 Unauthorized: bad key ***");
        assert_eq!(text(503, ""), "503 Service Unavailable");
        assert_eq!(text(529, "over\n loaded\u{1b}[31m"), "529: over loaded [31m");
        assert_eq!(
            text(502, "<html><head><title>502 Bad Gateway</title></head></html>"),
            "502 Bad Gateway: 502 Bad Gateway"
        );
        assert_eq!(
            text(
                422,
                r#"{"detail": [{"loc": ["body", "messages"], "msg": "too short", "type": "x", "input": "secret"}]}"#
            ),
            "422 Unprocessable Entity: `body.messages`: too short"
        );
        assert_eq!(
            text(400, r#"{"error": "no such thing"}"#),
            "400 Bad Request: no such thing"
        );
        let long = text(500, &"é".repeat(1_000));
        assert_eq!(
            long.chars().count(),
            "500 Internal Server Error: ".len() + MESSAGE_CHARS_MAX + 1
        );
    }
}
