//! Why a session cannot begin or go on, and whose failure that is.

use roundhouse_proto::{Failure, FailureClass};

use super::replay::ReplayFault;
use crate::generate::prompts::PromptError;

/// Why a session cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// A session has a first round.
    #[error("setting `max_rounds` is 0: expected at least 1")]
    NoRounds,
    /// A message cannot be written.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// The caller did something else than [`super::Session::step`] said.
    #[error("the session was given {given} while it waits for {awaited}")]
    OutOfTurn {
        /// What came.
        given: &'static str,
        /// What should have come.
        awaited: &'static str,
    },
    /// The report is of another test set.
    #[error("the report on round {round} has {found} cases: expected {expected}")]
    ReportSize {
        /// Round of the session, from 0.
        round: u32,
        /// Cases that were to be run.
        expected: usize,
        /// Cases in the report.
        found: usize,
    },
    /// The machinery failed on every case.
    #[error("no case of round {round} could be judged")]
    NothingJudged {
        /// Round of the session, from 0.
        round: u32,
    },
    /// The stored events are not those of this session.
    #[error("replay event {index} of the session")]
    Replay {
        /// Its place among the stored events, from 0.
        index: usize,
        /// What does not fit.
        #[source]
        fault: ReplayFault,
    },
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        let class = match &error {
            SessionError::ReportSize { .. } | SessionError::NothingJudged { .. } => FailureClass::InfraRetry,
            // Another worker may have the prompts that the events were made with.
            SessionError::Replay { .. } => FailureClass::InfraFatal,
            SessionError::NoRounds | SessionError::Prompt(_) | SessionError::OutOfTurn { .. } => {
                FailureClass::Job
            }
        };
        let mut message = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self { class, message }
    }
}
