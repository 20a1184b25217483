//! Takes a session up again: replays what was stored and goes on after it.
//!
//! Each stored event is held against what this session would have done; the first one that does not fit ends the
//! replay, because whatever came after it would be a different session.

use std::fmt;

use bytes::Bytes;
use roundhouse_proto::{Digest, EvaluationReport, Payload, SessionEvent, Speaker};

use super::{Cause, Prompts, Session, SessionError, State, Step, Task};
use std::sync::Arc;

/// What of a stored event does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayFault {
    /// It is of another kind or of another turn.
    #[error("{found} was stored where {expected} would follow")]
    OtherEvent {
        /// What was stored.
        found: String,
        /// What this session would have stored.
        expected: String,
    },
    /// The message of this turn has other bytes.
    #[error("the prompt stored with {0} is not the one that this worker's templates give")]
    OtherPrompt(String),
    /// It is of the same turn, and says something else.
    #[error("{0} was stored with other contents than follow from the events before it")]
    OtherContents(String),
    /// The lookup does not have a text.
    #[error("the text of {0} is missing")]
    NoText(String),
    /// The text is not a text.
    #[error("the text of {0} is not UTF-8")]
    NotText(String),
    /// The report on a round's tests is missing.
    #[error("the report on the tests of round {round} is missing")]
    NoReport {
        /// Round of the session, from 0.
        round: u32,
    },
}

/// The addresses of the texts that a replay of `events` reads.
pub fn blobs_needed(events: &[SessionEvent]) -> Vec<Digest> {
    events
        .iter()
        .filter_map(|event| match event {
            SessionEvent::Said {
                reply: Payload::Blob(digest),
                ..
            } => Some(*digest),
            SessionEvent::Said { .. }
            | SessionEvent::TestRequest { .. }
            | SessionEvent::RoundEnd { .. }
            | SessionEvent::Finished(_) => None,
        })
        .collect()
}

impl Session {
    /// A session that goes on after `events`, which an earlier attempt stored, and sends what that attempt would
    /// have sent. `blob` gives the texts named by [`blobs_needed`]; `reports` are those of the rounds' tests, by
    /// round and program.
    ///
    /// # Errors
    /// When the settings allow no session, or an event is not one of this session.
    pub fn resume(
        task: Task,
        prompts: Arc<Prompts>,
        events: &[SessionEvent],
        blob: impl Fn(Digest) -> Option<Bytes>,
        reports: &[(u32, Digest, EvaluationReport)],
    ) -> Result<Self, SessionError> {
        let mut session = Self::begin(task, prompts)?;
        for (index, event) in events.iter().enumerate() {
            session
                .replay(event, &blob, reports)?
                .map_err(|fault| SessionError::Replay { index, fault })?;
        }
        if session.unstored.is_empty() {
            session.replay_report(reports)?;
        }
        Ok(session)
    }

    fn replay(
        &mut self,
        event: &SessionEvent,
        blob: &impl Fn(Digest) -> Option<Bytes>,
        reports: &[(u32, Digest, EvaluationReport)],
    ) -> Result<Result<(), ReplayFault>, SessionError> {
        if self.unstored.is_empty()
            && let State::Testing { tests, purpose: _ } = &self.state
        {
            let round = tests.round;
            if !self.replay_report(reports)? {
                return Ok(Err(ReplayFault::NoReport { round }));
            }
        }
        if self.unstored.is_empty()
            && let State::Asking { .. } = &self.state
        {
            if let SessionEvent::Said { .. } = event {
                return self.replay_said(event, blob);
            }
            self.replay_giving_up(event)?;
        }
        let Some(expected) = self.unstored.front() else {
            return Ok(Err(self.other_event(event, &self.awaited_event()?)));
        };
        if Name::of(expected) != Name::of(event) {
            return Ok(Err(self.other_event(event, &Name::of(expected).to_string())));
        }
        if !says_the_same(expected, event) {
            return Ok(Err(ReplayFault::OtherContents(Name::of(event).to_string())));
        }
        self.unstored.pop_front();
        Ok(Ok(()))
    }

    fn replay_said(
        &mut self,
        event: &SessionEvent,
        blob: &impl Fn(Digest) -> Option<Bytes>,
    ) -> Result<Result<(), ReplayFault>, SessionError> {
        let (
            Step::Ask(ask),
            SessionEvent::Said {
                prompt,
                reply,
                finish,
                ..
            },
        ) = (self.step()?, event)
        else {
            return Ok(Err(self.other_event(event, &self.awaited_event()?)));
        };
        let expected = Name::Said {
            speaker: ask.speaker,
            round: ask.round,
            ask: ask.ask,
        };
        let name = Name::of(event);
        if name != expected {
            return Ok(Err(self.other_event(event, &expected.to_string())));
        }
        if prompt.digest() != Digest::of(ask.prompt().as_bytes()) {
            return Ok(Err(ReplayFault::OtherPrompt(name.to_string())));
        }
        let bytes = match reply {
            Payload::Inline(bytes) => Some(bytes.clone()),
            Payload::Blob(digest) => blob(*digest),
        };
        let Some(bytes) = bytes else {
            return Ok(Err(ReplayFault::NoText(name.to_string())));
        };
        let Ok(text) = std::str::from_utf8(&bytes) else {
            return Ok(Err(ReplayFault::NotText(name.to_string())));
        };
        self.take_reply(text, *finish)?;
        Ok(Ok(()))
    }

    /// Gives the question up as the earlier attempt did, if `event` tells that it did.
    fn replay_giving_up(&mut self, event: &SessionEvent) -> Result<(), SessionError> {
        for cause in Cause::ALL {
            let mut trial = self.clone();
            trial.give_up(cause, 0)?;
            if trial
                .unstored
                .front()
                .is_some_and(|expected| says_the_same(expected, event))
            {
                *self = trial;
                break;
            }
        }
        Ok(())
    }

    /// Goes on with the stored report on the tests that are awaited; whether there is one that judged a case.
    fn replay_report(&mut self, reports: &[(u32, Digest, EvaluationReport)]) -> Result<bool, SessionError> {
        let State::Testing { tests, purpose: _ } = &self.state else {
            return Ok(false);
        };
        let program = Digest::of(tests.program.as_bytes());
        let stored = reports
            .iter()
            .find(|(round, digest, _)| (*round, *digest) == (tests.round, program));
        let Some((_, _, report)) = stored else {
            return Ok(false);
        };
        match self.tested(report) {
            Ok(()) => Ok(true),
            Err(SessionError::NothingJudged { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn other_event(&self, event: &SessionEvent, expected: &str) -> ReplayFault {
        ReplayFault::OtherEvent {
            found: Name::of(event).to_string(),
            expected: expected.to_owned(),
        }
    }

    fn awaited_event(&self) -> Result<String, SessionError> {
        Ok(match self.step()? {
            Step::Ask(ask) => Name::Said {
                speaker: ask.speaker,
                round: ask.round,
                ask: ask.ask,
            }
            .to_string(),
            Step::RunTests(tests) => Name::RoundEnd { round: tests.round }.to_string(),
            Step::Finished => "nothing".to_owned(),
        })
    }
}

/// Which event of a session it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Said { speaker: Speaker, round: u32, ask: u32 },
    TestRequest { round: u32 },
    RoundEnd { round: u32 },
    Finished,
}

impl Name {
    fn of(event: &SessionEvent) -> Self {
        match event {
            SessionEvent::Said {
                speaker, round, ask, ..
            } => Self::Said {
                speaker: *speaker,
                round: *round,
                ask: *ask,
            },
            SessionEvent::TestRequest { round, .. } => Self::TestRequest { round: *round },
            SessionEvent::RoundEnd { round, .. } => Self::RoundEnd { round: *round },
            SessionEvent::Finished(_) => Self::Finished,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Said { speaker, round, ask } => {
                write!(f, "the {speaker}'s reply in round {round}, asking {ask}")
            }
            Self::TestRequest { round } => write!(f, "the test request of round {round}"),
            Self::RoundEnd { round } => write!(f, "the end of round {round}"),
            Self::Finished => f.write_str("the end of the session"),
        }
    }
}

/// Whether what follows from two events is the same. Texts for people only are not compared, nor whether a text is
/// inline or a blob.
fn says_the_same(expected: &SessionEvent, stored: &SessionEvent) -> bool {
    match (expected, stored) {
        (
            SessionEvent::TestRequest {
                round,
                program,
                cases,
                ..
            },
            SessionEvent::TestRequest {
                round: stored_round,
                program: stored_program,
                cases: stored_cases,
                ..
            },
        ) => round == stored_round && program.digest() == stored_program.digest() && cases == stored_cases,
        (
            SessionEvent::RoundEnd {
                round, code, report, ..
            },
            SessionEvent::RoundEnd {
                round: stored_round,
                code: stored_code,
                report: stored_report,
                ..
            },
        ) => {
            round == stored_round
                && code.digest() == stored_code.digest()
                && report.digest() == stored_report.digest()
        }
        (SessionEvent::Finished(outcome), SessionEvent::Finished(stored)) => {
            outcome.stop_reason == stored.stop_reason
                && outcome.program.as_ref().map(Payload::digest)
                    == stored.program.as_ref().map(Payload::digest)
        }
        _ => false,
    }
}
