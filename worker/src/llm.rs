//! The seam to a model: one question, one answer.
//!
//! Called by [`crate::generate::hold`](mod@crate::generate::hold). Whatever can be tried again at once (a lost
//! connection, a rate limit) is tried again behind this seam; what comes through it is final for this call.

use std::future::Future;

use roundhouse_proto::{Failure, FinishReason, Sampling, Speaker, Usage};

pub mod chat;
pub mod endpoint;
pub mod key;
pub mod models;
pub mod recorded;
pub mod reference;
pub mod retry;

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageRole {
    /// The session.
    User,
    /// The model.
    Assistant,
}

impl MessageRole {
    /// The word that chat interfaces use.
    pub fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One message of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who wrote it.
    pub role: MessageRole,
    /// Its text; never empty.
    pub content: String,
}

impl Message {
    /// A message of the session.
    pub fn user(content: String) -> Self {
        Self {
            role: MessageRole::User,
            content,
        }
    }

    /// A message of the model.
    pub fn assistant(content: String) -> Self {
        Self {
            role: MessageRole::Assistant,
            content,
        }
    }
}

/// One call to a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// Name of the model.
    pub model: String,
    /// In which role it is asked.
    pub speaker: Speaker,
    /// In which round, from 0.
    pub round: u32,
    /// 0 for the first asking of this turn, 1 for asking again.
    pub ask: u32,
    /// User and assistant in turn, the user first and last.
    pub messages: Vec<Message>,
    /// How it is asked.
    pub sampling: Sampling,
}

impl Ask {
    /// The message that is new in this call.
    pub fn prompt(&self) -> &str {
        self.messages
            .last()
            .map_or("", |message| message.content.as_str())
    }
}

/// What a model answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The answer; reasoning in `<think>` tags may still be in it.
    pub text: String,
    /// Reasoning that the server sent apart from the answer.
    pub reasoning: Option<String>,
    /// Tokens, where the server counted them.
    pub usage: Option<Usage>,
    /// Why the answer ended.
    pub finish: FinishReason,
    /// What was unusual about the call, such as a parameter that the endpoint does not support and that was left out.
    pub remarks: Vec<String>,
    /// Tries of this call that may have been paid and broke before they told their tokens.
    pub unaccounted: u32,
}

/// Why a call brought no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The model's own limit; the session ends with what it has.
    #[error("the prompt does not fit the model's context: {message}")]
    ContextLimit {
        /// What the server said.
        message: String,
        /// Tries before that may have been paid and brought nothing.
        unaccounted: u32,
    },
    /// No further call is paid for; the session ends with what it has.
    #[error("the budget is reached")]
    BudgetReached,
    /// The endpoint refuses the key: the session goes on where another key works, at no cost of an attempt.
    #[error("the endpoint refuses the key: {reason}")]
    KeyRefused {
        /// What the server said.
        reason: String,
        /// Tries that may have been paid and brought nothing.
        unaccounted: u32,
    },
    /// A failure of ours; the session goes on in another attempt, if the failure is transient.
    #[error("{failure}")]
    Failed {
        /// What happened.
        failure: Failure,
        /// Tries that may have been paid and brought nothing.
        unaccounted: u32,
    },
}

impl AskError {
    /// Whether another attempt may end otherwise.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::ContextLimit { .. } | Self::BudgetReached => false,
            Self::KeyRefused { .. } => true,
            Self::Failed { failure, .. } => failure.is_transient(),
        }
    }
}

/// Something that answers.
pub trait Model: Sync {
    /// Asks once and waits for the whole answer.
    ///
    /// # Errors
    /// When there is no answer after every retry that this model's settings allow.
    ///
    /// # Cancel safety
    /// Dropping the future gives the call up; it may still be paid.
    fn ask(&self, ask: &Ask) -> impl Future<Output = Result<Reply, AskError>> + Send;
}
