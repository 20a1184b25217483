//! What is posted to an endpoint, and what is left out or renamed because the endpoint asked for it.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::llm::{Ask, Message};

/// A parameter that some endpoints do not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Parameter {
    MaxTokens,
    Temperature,
    TopP,
    StreamOptions,
}

impl Parameter {
    pub(super) const ALL: [Self; 4] = [
        Self::MaxTokens,
        Self::Temperature,
        Self::TopP,
        Self::StreamOptions,
    ];

    /// Its name in a request.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::Temperature => "temperature",
            Self::TopP => "top_p",
            Self::StreamOptions => "stream_options",
        }
    }
}

/// How requests to one model differ from the usual ones, because its endpoint asked for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Adaptation {
    without: BTreeSet<Parameter>,
    /// Most tokens of an answer that it takes.
    tokens_max: Option<u32>,
}

impl Adaptation {
    /// Does without a parameter; false if that is so already.
    pub(super) fn learn(&mut self, parameter: Parameter) -> bool {
        self.without.insert(parameter)
    }

    /// Asks for no more tokens than this; false if that is so already.
    pub(super) fn lower(&mut self, tokens_max: u32) -> bool {
        let is_lower = self.tokens_max.is_none_or(|known| tokens_max < known);
        if is_lower {
            self.tokens_max = Some(tokens_max);
        }
        is_lower
    }

    /// Most tokens that are asked for where `wanted` would be.
    pub(super) fn tokens(&self, wanted: u32) -> u32 {
        self.tokens_max.map_or(wanted, |max| wanted.min(max))
    }

    fn sends(&self, parameter: Parameter) -> bool {
        !self.without.contains(&parameter)
    }

    /// What is unusual about a request for at most `wanted` tokens, for people.
    pub(super) fn remarks(&self, wanted: u32) -> Vec<String> {
        let remark = |parameter: &Parameter| match parameter {
            Parameter::MaxTokens => {
                "`max_tokens` is sent as `max_completion_tokens`: the endpoint asks for it".to_owned()
            }
            Parameter::Temperature | Parameter::TopP | Parameter::StreamOptions => {
                let word = parameter.word();
                format!("`{word}` is left out: the endpoint does not support it")
            }
        };
        let lowered = self.tokens_max.filter(|max| *max < wanted).map(|max| {
            format!(
                "`max_tokens` is lowered from {wanted} to {max}: the endpoint takes no more for this model"
            )
        });
        self.without.iter().map(remark).chain(lowered).collect()
    }
}

/// How the answer is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Piece by piece.
    Stream,
    /// In one piece, for servers that cannot stream.
    Whole,
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: Vec<WireMessage<'a>>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct WireMessage<'a> {
    role: &'static str,
    content: &'a str,
}

impl<'a> From<&'a Message> for WireMessage<'a> {
    fn from(message: &'a Message) -> Self {
        Self {
            role: message.role.word(),
            content: &message.content,
        }
    }
}

/// The body of a request for at most `max_tokens` tokens. The same call under the same adaptation is the same bytes.
pub(super) fn body(ask: &Ask, max_tokens: u32, delivery: Delivery, adaptation: &Adaptation) -> Vec<u8> {
    let sends = |parameter| adaptation.sends(parameter);
    let is_stream = delivery == Delivery::Stream;
    let request = Request {
        model: &ask.model,
        messages: ask.messages.iter().map(WireMessage::from).collect(),
        stream: is_stream,
        stream_options: (is_stream && sends(Parameter::StreamOptions))
            .then_some(StreamOptions { include_usage: true }),
        temperature: sends(Parameter::Temperature).then_some(ask.sampling.temperature),
        top_p: sends(Parameter::TopP).then_some(ask.sampling.top_p),
        max_tokens: sends(Parameter::MaxTokens).then_some(max_tokens),
        max_completion_tokens: (!sends(Parameter::MaxTokens)).then_some(max_tokens),
    };
    serde_json::to_vec(&request).expect("text and numbers are JSON")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use roundhouse_proto::{Sampling, Speaker};
    use serde_json::{Value, json};

    use super::*;

    fn sent(delivery: Delivery, without: &[Parameter]) -> Value {
        let ask = Ask {
            model: "m".to_owned(),
            speaker: Speaker::Coder,
            round: 0,
            ask: 0,
            messages: vec![
                Message::user("a".to_owned()),
                Message::assistant("b".to_owned()),
                Message::user("c".to_owned()),
            ],
            sampling: Sampling::default(),
        };
        let mut adaptation = Adaptation::default();
        for parameter in without {
            assert!(adaptation.learn(*parameter));
            assert!(!adaptation.learn(*parameter));
        }
        serde_json::from_slice(&body(&ask, 4096, delivery, &adaptation)).unwrap()
    }

    fn messages() -> Value {
        json!([
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"},
        ])
    }

    #[test]
    fn request_has_the_messages_the_sampling_and_asks_for_usage() {
        assert_eq!(
            sent(Delivery::Stream, &[]),
            json!({
                "model": "m", "messages": messages(), "stream": true, "stream_options": {"include_usage": true},
                "temperature": 0.0, "top_p": 0.95, "max_tokens": 4096,
            })
        );
        assert_eq!(
            sent(Delivery::Whole, &[]),
            json!({
                "model": "m", "messages": messages(), "stream": false,
                "temperature": 0.0, "top_p": 0.95, "max_tokens": 4096,
            })
        );
    }

    #[test]
    fn adapted_request_lacks_what_the_endpoint_does_not_take() {
        assert_eq!(
            sent(Delivery::Stream, &Parameter::ALL),
            json!({"model": "m", "messages": messages(), "stream": true, "max_completion_tokens": 4096})
        );
        let mut adaptation = Adaptation::default();
        adaptation.learn(Parameter::Temperature);
        adaptation.learn(Parameter::MaxTokens);
        assert_eq!(
            adaptation.remarks(4096),
            [
                "`max_tokens` is sent as `max_completion_tokens`: the endpoint asks for it",
                "`temperature` is left out: the endpoint does not support it",
            ]
        );
    }

    #[test]
    fn endpoint_that_takes_fewer_tokens_is_asked_for_no_more() {
        let mut adaptation = Adaptation::default();
        assert_eq!(adaptation.tokens(8192), 8192);
        assert!(adaptation.lower(4096));
        assert!(!adaptation.lower(4096));
        assert_eq!([adaptation.tokens(8192), adaptation.tokens(1400)], [4096, 1400]);
        assert_eq!(adaptation.remarks(4096), Vec::<String>::new());
        assert_eq!(
            adaptation.remarks(8192),
            ["`max_tokens` is lowered from 8192 to 4096: the endpoint takes no more for this model"]
        );
    }
}
