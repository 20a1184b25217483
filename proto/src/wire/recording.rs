//! Recorded calls to their encoded form and back.

use super::bounds::CALLS_MAX;
use super::fields::number_of;
use super::{BLOB_VERSION, Fields, WireError, v1};
use crate::recording::{RecordedCall, Recording};

impl From<Recording> for v1::Recording {
    fn from(recording: Recording) -> Self {
        Self {
            version: BLOB_VERSION,
            calls: recording.calls.into_iter().map(Into::into).collect(),
            unanswered: recording.unanswered.map(number_of::<_, v1::StopReason>),
        }
    }
}

impl TryFrom<v1::Recording> for Recording {
    type Error = WireError;
    fn try_from(recording: v1::Recording) -> Result<Self, WireError> {
        let fields = Fields::of("Recording");
        fields.version(recording.version, BLOB_VERSION)?;
        Ok(Self {
            calls: fields.each("calls", recording.calls, CALLS_MAX)?,
            unanswered: recording
                .unanswered
                .map(|reason| fields.choice::<v1::StopReason, _>("unanswered", reason))
                .transpose()?,
        })
    }
}

impl From<RecordedCall> for v1::RecordedCall {
    fn from(call: RecordedCall) -> Self {
        Self {
            speaker: number_of::<_, v1::Speaker>(call.speaker),
            round: call.round.into(),
            ask: call.ask.into(),
            prompt: call.prompt.into(),
            reply: call.reply,
            reasoning: call.reasoning,
            finish: number_of::<_, v1::FinishReason>(call.finish),
            usage: call.usage.map(Into::into),
        }
    }
}

impl TryFrom<v1::RecordedCall> for RecordedCall {
    type Error = WireError;
    fn try_from(call: v1::RecordedCall) -> Result<Self, WireError> {
        let fields = Fields::of("RecordedCall");
        Ok(Self {
            speaker: fields.choice::<v1::Speaker, _>("speaker", call.speaker)?,
            round: fields.number("round", call.round)?,
            ask: fields.number("ask", call.ask)?,
            prompt: fields.digest("prompt", &call.prompt)?,
            reply: fields.text("reply", call.reply)?,
            reasoning: call
                .reasoning
                .map(|text| fields.text("reasoning", text))
                .transpose()?,
            finish: fields.choice::<v1::FinishReason, _>("finish", call.finish)?,
            usage: call.usage.map(Into::into),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, FinishReason, Speaker, StopReason, Usage};

    #[test]
    fn recording_survives_its_encoded_form() {
        let recording = Recording {
            calls: vec![RecordedCall {
                speaker: Speaker::Tester,
                round: 1,
                ask: 1,
                prompt: Digest::of(b"prompt"),
                reply: "中文".to_owned(),
                reasoning: Some(String::new()),
                finish: FinishReason::Length,
                usage: Some(Usage {
                    input: 4,
                    cached_input: 3,
                    output: 2,
                    reasoning: 1,
                }),
            }],
            unanswered: Some(StopReason::ContextLimit),
        };
        assert_eq!(Recording::from_bytes(recording.to_bytes()), Ok(recording));
        assert_eq!(
            Recording::from_bytes(Recording::default().to_bytes()),
            Ok(Recording::default())
        );
    }
}
