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
    /// The prompt is too long for the model, or leaves less room for an answer than was asked for.
    ContextLimit,
    /// The model gives no answer of so many tokens.
    TooManyTokens,
    /// The provider's filter stopped the prompt: nothing of ours failed, and nothing is wrong with the key.
    Filtered,
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
/// Codes of a prompt that a provider's filter stopped: Azure, OpenAI, Alibaba.
const FILTERED_WORDS: [&str; 3] = [
    "content_filter",
    "content_policy_violation",
    "data_inspection_failed",
];
/// Parts of messages about such a prompt, in lower case: DeepSeek, Azure, OpenRouter.
const FILTERED_TEXTS: [&str; 3] = [
    "content exists risk",
    "content management policy",
    "your input was flagged",
];
/// Parts of messages about more tokens of an answer than a model gives, in lower case: OpenAI, DeepSeek, Groq,
/// Alibaba, Anthropic.
const TOKENS_TEXTS: [&str; 5] = [
    "is too large",
    "valid range of",
    "must be less than or equal to",
    "range of max_tokens",
    "maximum allowed number of output tokens",
];
/// Fewest tokens of an answer that are worth asking for.
const TOKENS_LEAST: u32 = 256;
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
        if has_word(&FILTERED_WORDS) || says(&FILTERED_TEXTS) {
            return Meaning::Filtered;
        }
        match self.status {
            Some(401..=403) => Meaning::KeyRefused,
            Some(404) => Meaning::NotFound,
            Some(429 | 529) => Meaning::Throttled,
            Some(408 | 425 | 500 | 502..=504 | 520..=524) => Meaning::Passing,
            Some(400 | 413 | 422) if says(&CONTEXT_TEXTS) => Meaning::ContextLimit,
            Some(400) if says(&["api key not valid"]) => Meaning::KeyRefused,
            Some(400 | 422) if is_about_tokens(&message) && says(&TOKENS_TEXTS) => Meaning::TooManyTokens,
            Some(400 | 422) => self.unsupported().map_or(Meaning::Lasting, Meaning::Unsupported),
            Some(_) => Meaning::Lasting,
            None if says(&CONTEXT_TEXTS) => Meaning::ContextLimit,
            None if has_word(&THROTTLED_WORDS) => Meaning::Throttled,
            None if has_word(&["invalid_request_error"]) => Meaning::Lasting,
            // Somewhere behind the server something failed.
            None => Meaning::Passing,
        }
    }

    /// The most tokens that are worth asking for next, where a request for `sent` met [`Meaning::ContextLimit`] or
    /// [`Meaning::TooManyTokens`]; none where it is not their number that is wrong.
    pub(super) fn tokens_below(&self, sent: u32) -> Option<u32> {
        let message = self.message.to_ascii_lowercase();
        let next = match self.meaning() {
            Meaning::TooManyTokens => numbers(&message)
                .into_iter()
                .map(|(_, number)| number)
                .filter(|number| *number < u64::from(sent))
                .max(),
            // Servers that count the prompt alone do not speak of the answer.
            Meaning::ContextLimit if is_about_tokens(&message) => {
                let context = message.find("maximum context length").and_then(|at| {
                    let after = numbers(&message).into_iter().find(|(end, _)| *end > at);
                    Some(after?.1)
                });
                let prompt = numbers(&message)
                    .into_iter()
                    .find(|(end, _)| is_of_prompt(&message[*end..]));
                match (context, prompt) {
                    // vLLM stops to count where it sees that it is too much: "at least 1 input tokens".
                    (Some(context), Some((_, prompt))) if !message.contains("at least") => {
                        Some(context.saturating_sub(prompt))
                    }
                    _ => Some(u64::from(sent / 2)),
                }
            }
            Meaning::ContextLimit
            | Meaning::KeyRefused
            | Meaning::Filtered
            | Meaning::Unsupported(_)
            | Meaning::NotFound
            | Meaning::Throttled
            | Meaning::Passing
            | Meaning::Lasting => None,
        };
        let next = u32::try_from(next?).ok()?;
        (TOKENS_LEAST..sent).contains(&next).then_some(next)
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

/// Whether a message is about the tokens of an answer.
fn is_about_tokens(message: &str) -> bool {
    let words = ["completion", "max_tokens", "output tokens"];
    words.iter().any(|word| message.contains(word))
}

/// Whether what follows a number says that it counts the prompt: OpenAI, DeepSeek, vLLM, SGLang.
fn is_of_prompt(after: &str) -> bool {
    let kinds = [
        " in the messages",
        " tokens in the messages",
        " in your prompt",
        " input tokens",
        " tokens from the input messages",
    ];
    kinds.iter().any(|kind| after.starts_with(kind))
}

/// The numbers in a text, each with where it ends.
fn numbers(text: &str) -> Vec<(usize, u64)> {
    let mut numbers = Vec::new();
    let mut begin = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match begin {
            None if c.is_ascii_digit() => begin = Some(at),
            Some(from) if !c.is_ascii_digit() => {
                begin = None;
                numbers.extend(text[from..at].parse().ok().map(|number| (at, number)));
            }
            None | Some(_) => {}
        }
    }
    numbers
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
            r#"{"error": {"message": "Unsupported parameter: 'logprobs'", "param": "logprobs", "code": "unsupported_parameter"}}"#,
            r#"{"error": {"message": "max_completion_tokens is not supported"}}"#,
        ] {
            assert_eq!(meaning(400, body), Meaning::Lasting, "{body}");
        }
    }

    #[test]
    fn refusal_of_so_many_tokens_says_how_many_are_taken() {
        let below = |body: &str, sent| Refusal::read(400, body.as_bytes()).tokens_below(sent);
        for (body, sent, expected) in [
            // OpenAI, DeepSeek, Groq, Alibaba, Anthropic.
            (
                r#"{"error": {"message": "max_tokens is too large: 100000. This model supports at most 16384 completion tokens, whereas you provided 100000.", "param": "max_tokens", "code": "invalid_value"}}"#,
                100_000,
                Some(16_384),
            ),
            (
                r#"{"error": {"message": "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", "type": "invalid_request_error"}}"#,
                16_384,
                Some(8_192),
            ),
            (
                r#"{"error": {"message": "`max_tokens` must be less than or equal to `4096`, the maximum value for `max_tokens` is less than the `context_window` for this model"}}"#,
                8_192,
                Some(4_096),
            ),
            (
                r#"{"error": {"message": "Range of max_tokens should be [1, 2000]", "code": "invalid_parameter_error"}}"#,
                4_096,
                Some(2_000),
            ),
            (
                r#"{"error": {"message": "max_tokens: 8192 > 4096, which is the maximum allowed number of output tokens for m"}}"#,
                8_192,
                Some(4_096),
            ),
            // A small context: vLLM of three ages, SGLang, DeepSeek.
            (
                r#"{"object": "error", "message": "This model's maximum context length is 4096 tokens. However, you requested 4500 tokens (404 in the messages, 4096 in the completion). Please reduce the length of the messages or completion.", "code": 400}"#,
                4_096,
                Some(3_692),
            ),
            (
                r#"{"error": {"message": "'max_tokens' or 'max_completion_tokens' is too large: 4096. This model's maximum context length is 4096 tokens and your request has 500 input tokens (4096 > 4096 - 500).", "code": 400}}"#,
                4_096,
                Some(3_596),
            ),
            (
                r#"{"error": {"message": "This model's maximum context length is 4096 tokens. However, you requested 4096 output tokens and your prompt contains at least 1 input tokens, for a total of at least 4097 tokens.", "code": 400}}"#,
                4_096,
                Some(2_048),
            ),
            (
                r#"{"object": "error", "message": "Requested token count exceeds the model's maximum context length of 4096 tokens. You requested a total of 4500 tokens: 404 tokens from the input messages and 4096 tokens for the completion."}"#,
                4_096,
                Some(3_692),
            ),
            (
                r#"{"error": {"message": "This model's maximum context length is 65536 tokens. However, you requested 70000 tokens (65904 in the messages, 4096 in the completion)."}}"#,
                4_096,
                None,
            ),
            // The prompt alone is too long.
            (
                r#"{"error": {"message": "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.", "code": "context_length_exceeded"}}"#,
                4_096,
                None,
            ),
            (
                r#"{"error": {"message": "the request exceeds the available context size", "type": "exceed_context_size_error", "n_ctx": 4096}}"#,
                4_096,
                None,
            ),
            (
                r#"{"error": {"message": "max_tokens is no number"}}"#,
                4_096,
                None,
            ),
        ] {
            assert_eq!(below(body, sent), expected, "{body}");
        }
    }

    #[test]
    fn prompt_that_a_filter_stopped_is_told_from_a_refused_key() {
        for (status, body) in [
            (
                400,
                r#"{"error": {"message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.", "type": null, "param": "prompt", "code": "content_filter", "status": 400}}"#,
            ),
            (
                400,
                r#"{"error": {"message": "Content Exists Risk", "type": "invalid_request_error", "param": null, "code": "invalid_request_error"}}"#,
            ),
            (
                403,
                r#"{"error": {"code": 403, "message": "m requires moderation on P. Your input was flagged for \"violence\"."}}"#,
            ),
        ] {
            assert_eq!(meaning(status, body), Meaning::Filtered, "{body}");
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
