//! What a script sees and says: requests, answers, and how an answer is written as a stream.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

/// One request, as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// How many came before it.
    pub number: usize,
    /// Its path.
    pub path: String,
    /// Its headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: Value,
}

impl Request {
    /// The key in its `Authorization` header.
    pub fn key(&self) -> Option<&str> {
        self.headers.get("authorization")?.strip_prefix("Bearer ")
    }

    /// The model that is asked for.
    pub fn model(&self) -> &str {
        self.body["model"].as_str().unwrap_or_default()
    }

    /// Whether a stream is asked for.
    pub fn is_stream(&self) -> bool {
        self.body["stream"] == true
    }

    /// Its messages: who wrote each, and what.
    pub fn messages(&self) -> Vec<(&str, &str)> {
        let messages = self.body["messages"].as_array().into_iter().flatten();
        messages
            .map(|message| {
                let text = |key: &str| message[key].as_str().unwrap_or_default();
                (text("role"), text("content"))
            })
            .collect()
    }

    /// The text of its last message.
    pub fn prompt(&self) -> &str {
        self.messages().last().map_or("", |(_, content)| content)
    }
}

/// Tokens, summed over calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Answers that they belong to.
    pub answers: u64,
    /// Of prompts, cached ones included.
    pub input: u64,
    /// Those of `input` that count as cached.
    pub cached: u64,
    /// Of answers, reasoning included.
    pub output: u64,
    /// Those of `output` that are reasoning.
    pub reasoning: u64,
}

impl Tokens {
    /// Tokens of one answer. Of a prompt: 3, and one for every 4 bytes of its messages; half of them, down to a
    /// multiple of 16, count as cached. Of an answer: 1, and one for every 4 bytes of text and of reasoning.
    pub fn of(request: &Request, reply: &Reply) -> Self {
        let quarter = |bytes: usize| bytes as u64 / 4;
        let prompt = request.messages().iter().map(|(_, content)| content.len()).sum();
        let input = 3 + quarter(prompt);
        let reasoning = quarter(reply.reasoning.as_ref().map_or(0, String::len));
        Self {
            answers: 1,
            input,
            cached: input / 2 / 16 * 16,
            output: 1 + quarter(reply.text.len()) + reasoning,
            reasoning,
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.answers += other.answers;
        self.input += other.input;
        self.cached += other.cached;
        self.output += other.output;
        self.reasoning += other.reasoning;
    }

    pub(super) fn take_away(&mut self, other: Self) {
        self.answers -= other.answers;
        self.input -= other.input;
        self.cached -= other.cached;
        self.output -= other.output;
        self.reasoning -= other.reasoning;
    }

    pub(super) fn usage(self, dialect: Dialect) -> Value {
        let mut usage = json!({
            "prompt_tokens": self.input,
            "completion_tokens": self.output,
            "total_tokens": self.input + self.output,
            "completion_tokens_details": {"reasoning_tokens": self.reasoning},
        });
        match dialect {
            Dialect::OpenAi | Dialect::OnChoice | Dialect::Silent => {
                usage["prompt_tokens_details"] = json!({"cached_tokens": self.cached});
            }
            Dialect::DeepSeek => {
                usage["prompt_cache_hit_tokens"] = json!(self.cached);
                usage["prompt_cache_miss_tokens"] = json!(self.input - self.cached);
            }
        }
        usage
    }
}

/// How the server tells tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// In a last piece without choices, where the request asks for it.
    #[default]
    OpenAi,
    /// As DeepSeek does: in its words.
    DeepSeek,
    /// With the last choice, asked or not.
    OnChoice,
    /// Not at all.
    Silent,
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its text.
    pub text: String,
    /// Its reasoning, sent apart.
    pub reasoning: Option<String>,
    /// Why it ends; without, it never says.
    pub finish: Option<String>,
    /// How tokens are told.
    pub dialect: Dialect,
    /// Characters of one piece of a stream.
    pub piece_chars: usize,
}

impl Reply {
    /// An answer that ends by itself.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            reasoning: None,
            finish: Some("stop".to_owned()),
            dialect: Dialect::OpenAi,
            piece_chars: 16,
        }
    }

    /// The same with reasoning.
    pub fn with_reasoning(self, reasoning: impl Into<String>) -> Self {
        let reasoning = Some(reasoning.into());
        Self { reasoning, ..self }
    }

    /// The same, ending for another reason.
    pub fn with_finish(self, finish: impl Into<String>) -> Self {
        let finish = Some(finish.into());
        Self { finish, ..self }
    }

    /// The same with tokens told in another way.
    pub fn with_dialect(self, dialect: Dialect) -> Self {
        Self { dialect, ..self }
    }
}

/// What the server does with a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It answers.
    Reply(Reply),
    /// It refuses.
    Status {
        /// The status.
        code: u16,
        /// Further headers.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
    /// It begins to answer, and the connection is cut after so many bytes of the body.
    BreakAfter {
        /// What it would have answered.
        reply: Reply,
        /// Bytes that still go out.
        bytes: usize,
    },
    /// It answers in good order, but for the last word of the stream.
    NoDone(Reply),
    /// It answers, and an error stands where the answer should end.
    ErrorInStream {
        /// What it would have answered.
        reply: Reply,
        /// The error.
        error: Value,
    },
    /// It says nothing until the other side gives up.
    Hang,
    /// It sends comments first, then answers.
    Slow {
        /// What it answers.
        reply: Reply,
        /// How many comments.
        comments: usize,
        /// The pause before each.
        pause: Duration,
    },
    /// It sends this body as it is.
    Raw {
        /// Its content type.
        content_type: String,
        /// The body.
        body: Vec<u8>,
    },
}

impl Answer {
    /// An answer with this text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Reply(Reply::text(text))
    }

    /// A refusal with an error in OpenAI's form.
    pub fn refusal(code: u16, error_code: &str, message: &str) -> Self {
        let error = json!({"message": message, "type": "error", "param": null, "code": error_code});
        Self::Status {
            code,
            headers: Vec::new(),
            body: json!({"error": error}).to_string(),
        }
    }

    /// The same with one more header.
    ///
    /// # Panics
    /// It is no refusal.
    pub fn with_header(self, name: &str, value: &str) -> Self {
        let Self::Status {
            code,
            mut headers,
            body,
        } = self
        else {
            panic!("only a refusal has headers of its own");
        };
        headers.push((name.to_owned(), value.to_owned()));
        Self::Status { code, headers, body }
    }
}

/// In what a stream ends.
#[derive(Clone, Copy)]
pub(super) enum End<'a> {
    Nothing,
    Done,
    Error(&'a Value),
}

/// The stream of an answer. One that ends in an error has neither a reason to end nor usage.
pub(super) fn stream(request: &Request, reply: &Reply, end: End<'_>) -> Vec<u8> {
    let mut events = Vec::new();
    let choice = |delta: Value, finish: Value| {
        json!({"object": "chat.completion.chunk", "model": request.model(),
               "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
    };
    events.push(choice(json!({"role": "assistant", "content": ""}), Value::Null));
    for (key, text) in [
        (
            "reasoning_content",
            reply.reasoning.as_deref().unwrap_or_default(),
        ),
        ("content", &reply.text),
    ] {
        let chars: Vec<char> = text.chars().collect();
        for piece in chars.chunks(reply.piece_chars.max(1)) {
            let mut delta = json!({});
            delta[key] = json!(piece.iter().collect::<String>());
            events.push(choice(delta, Value::Null));
        }
    }
    if !matches!(end, End::Error(_)) {
        let usage = Tokens::of(request, reply).usage(reply.dialect);
        let is_asked = request.body["stream_options"]["include_usage"] == true;
        let mut last = choice(json!({}), json!(reply.finish));
        if reply.dialect == Dialect::OnChoice {
            last["choices"][0]["usage"] = usage.clone();
        }
        events.push(last);
        if matches!(reply.dialect, Dialect::OpenAi | Dialect::DeepSeek) && is_asked {
            events.push(json!({"choices": [], "usage": usage}));
        }
    }
    let mut text: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    match end {
        End::Nothing => {}
        End::Done => text.push_str("data: [DONE]\n\n"),
        End::Error(error) => text.push_str(&format!("data: {}\n\n", json!({"error": error}))),
    }
    text.into_bytes()
}
