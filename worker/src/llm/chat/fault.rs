//! How one try of a call can fail, and what follows from that: whether it may pass, and whether it may be paid.

use std::time::Duration;

use super::answer::ANSWER_BYTES_MAX;
use super::refusal::{Meaning, Refusal, tidy};
use crate::llm::retry::Trouble;

/// Why one try brought no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The server refused the request.
    Refused {
        refusal: Refusal,
        /// The wait that it asks for.
        asked: Option<Duration>,
    },
    /// There was no connection over which the request could be sent.
    Unreachable { why: String },
    /// The server shows a certificate that nobody here trusts.
    Untrusted { why: String },
    /// The connection broke after the request may have been sent and before an answer began.
    Lost { why: String },
    /// The connection broke in the middle of the answer.
    Broken { why: String },
    /// The stream ended without its last word.
    Truncated,
    /// A piece of the answer cannot be read.
    Unreadable { why: String },
    /// An error in place of the rest of the answer.
    InAnswer(Refusal),
    /// The server ended the answer because it failed.
    BrokenOff { reason: String },
    /// The answer does not say why it ended.
    NoReason,
    /// Not one byte, or not one more, for so long.
    Silent { after: Duration },
    /// Signs of life for so long, but nothing of the answer.
    NoProgress { after: Duration },
    /// The answer did not end in this time.
    Endless { after: Duration },
    /// The answer, or one line of it, is longer than is taken.
    TooLong,
}

impl Fault {
    /// What a server's words mean, where it said any.
    pub(super) fn meaning(&self) -> Option<Meaning> {
        match self {
            Self::Refused { refusal, .. } | Self::InAnswer(refusal) => Some(refusal.meaning()),
            Self::Unreachable { .. }
            | Self::Untrusted { .. }
            | Self::Lost { .. }
            | Self::Broken { .. }
            | Self::Truncated
            | Self::Unreadable { .. }
            | Self::BrokenOff { .. }
            | Self::NoReason
            | Self::Silent { .. }
            | Self::NoProgress { .. }
            | Self::Endless { .. }
            | Self::TooLong => None,
        }
    }

    /// The most tokens that are worth asking for next, where a request for `sent` was for too many.
    pub(super) fn tokens_below(&self, sent: u32) -> Option<u32> {
        match self {
            Self::Refused { refusal, .. } | Self::InAnswer(refusal) => refusal.tokens_below(sent),
            Self::Unreachable { .. }
            | Self::Untrusted { .. }
            | Self::Lost { .. }
            | Self::Broken { .. }
            | Self::Truncated
            | Self::Unreadable { .. }
            | Self::BrokenOff { .. }
            | Self::NoReason
            | Self::Silent { .. }
            | Self::NoProgress { .. }
            | Self::Endless { .. }
            | Self::TooLong => None,
        }
    }

    /// Whether it may pass.
    pub(super) fn trouble(&self) -> Trouble {
        match self {
            Self::Refused { refusal, .. } | Self::InAnswer(refusal) => match refusal.meaning() {
                Meaning::Throttled => Trouble::Throttled,
                Meaning::Passing => Trouble::Passing,
                Meaning::KeyRefused
                | Meaning::ContextLimit
                | Meaning::TooManyTokens
                | Meaning::Filtered
                | Meaning::Unsupported(_)
                | Meaning::NotFound
                | Meaning::Lasting => Trouble::Lasting,
            },
            Self::Unreachable { .. }
            | Self::Lost { .. }
            | Self::Broken { .. }
            | Self::Truncated
            | Self::Unreadable { .. }
            | Self::BrokenOff { .. }
            | Self::NoReason
            | Self::Silent { .. }
            | Self::NoProgress { .. }
            | Self::Endless { .. } => Trouble::Passing,
            // Another endless answer would be paid like the first.
            Self::Untrusted { .. } | Self::TooLong => Trouble::Lasting,
        }
    }

    /// Whether the server may have worked on the request, so that it may be paid although nothing counts its tokens.
    /// That is so from the moment the request may have been sent, until a refusal says otherwise. A try that told its
    /// tokens before it broke counts as well: they belong to no reply, and a call has one usage, that of its reply.
    pub(super) fn may_be_paid(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::Unreachable { .. } | Self::Untrusted { .. } => false,
            Self::Lost { .. }
            | Self::Broken { .. }
            | Self::Truncated
            | Self::Unreadable { .. }
            | Self::InAnswer(_)
            | Self::BrokenOff { .. }
            | Self::NoReason
            | Self::Silent { .. }
            | Self::NoProgress { .. }
            | Self::Endless { .. }
            | Self::TooLong => true,
        }
    }

    /// The wait that the server asks for.
    pub(super) fn asked(&self) -> Option<Duration> {
        match self {
            Self::Refused { asked, .. } => *asked,
            Self::Unreachable { .. }
            | Self::Untrusted { .. }
            | Self::Lost { .. }
            | Self::Broken { .. }
            | Self::Truncated
            | Self::Unreadable { .. }
            | Self::InAnswer(_)
            | Self::BrokenOff { .. }
            | Self::NoReason
            | Self::Silent { .. }
            | Self::NoProgress { .. }
            | Self::Endless { .. }
            | Self::TooLong => None,
        }
    }

    /// What happened, on one short line. `conceal` takes out of a server's words what nobody is to read.
    pub(super) fn text(&self, conceal: &dyn Fn(&str) -> String) -> String {
        let why = |text: &str| tidy(&conceal(text));
        match self {
            Self::Refused { refusal, .. } => refusal.text(conceal),
            Self::Unreachable { why: text } => format!("it cannot be reached: {}", why(text)),
            Self::Untrusted { why: text } => format!(
                "its certificate is not trusted: {}; `SSL_CERT_FILE` names a file of certificates to trust",
                why(text)
            ),
            Self::Lost { why: text } => {
                format!("the connection broke before the answer began: {}", why(text))
            }
            Self::Broken { why: text } => format!("the answer broke off: {}", why(text)),
            Self::Truncated => "the stream ended without `[DONE]`".to_owned(),
            Self::Unreadable { why: text } => format!("the answer cannot be read: {}", why(text)),
            Self::InAnswer(refusal) => {
                format!("an error in the middle of the answer: {}", refusal.text(conceal))
            }
            Self::BrokenOff { reason } => format!("the server broke the answer off (`{reason}`)"),
            Self::NoReason => "the answer ended without a `finish_reason`".to_owned(),
            Self::Silent { after } => format!("nothing came for {} s", after.as_secs_f64()),
            Self::NoProgress { after } => {
                format!("nothing but signs of life came for {} s", after.as_secs_f64())
            }
            Self::Endless { after } => format!("the answer did not end within {} s", after.as_secs_f64()),
            Self::TooLong => {
                format!(
                    "the answer is longer than {ANSWER_BYTES_MAX} bytes, or one of its pieces is longer than is taken"
                )
            }
        }
    }
}
