//! What a model once answered, to be answered again without a network.

use crate::digest::Digest;
use crate::session::{FinishReason, Speaker, StopReason, Usage};

/// The recorded calls of one problem's session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// In the order in which they were made.
    pub calls: Vec<RecordedCall>,
    /// Why the session ended where its next call has no answer: [`StopReason::ContextLimit`] or
    /// [`StopReason::Budget`]. None for a session that ended with an answer.
    pub unanswered: Option<StopReason>,
}

/// A call with its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedCall {
    /// In which role the model was asked.
    pub speaker: Speaker,
    /// In which round, from 0.
    pub round: u32,
    /// 0 for the first asking of this turn, 1 for asking again.
    pub ask: u32,
    /// Address of the user message that was new in the call.
    pub prompt: Digest,
    /// The answer.
    pub reply: String,
    /// Reasoning that the server sent apart from the answer.
    pub reasoning: Option<String>,
    /// Why the answer ended.
    pub finish: FinishReason,
    /// Tokens, where the server counted them.
    pub usage: Option<Usage>,
}
