//! Holds a session: carries out what [`Session`] decides, with a model and with the coordinator.
//!
//! The only place of a session that waits and that reads a clock. An event is durable before the step that
//! follows from it starts, so a call that was answered is never paid again.

use std::future::Future;

use bytes::Bytes;
use roundhouse_proto::{Digest, EvaluationReport, Failure, FailureClass, SessionEvent, TestSet};
use tokio::time::Instant;

use crate::generate::session::{Cause, RoundTests, Session, SessionError, Step};
use crate::llm::{AskError, Model};

/// The coordinator, as a session sees it.
pub trait SessionPort: Send {
    /// Stores a blob; returns its address when it is durable.
    ///
    /// # Errors
    /// When it cannot be stored.
    fn store_blob(&mut self, bytes: Bytes) -> impl Future<Output = Result<Digest, Failure>> + Send;

    /// Stores an event; returns when it is durable.
    ///
    /// # Errors
    /// When it cannot be stored, or the lease is lost.
    fn store(&mut self, event: SessionEvent) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Waits for the report on a round's tests, whose `TestRequest` is stored already.
    ///
    /// # Errors
    /// When no report comes.
    fn tests(
        &mut self,
        round: u32,
        program: Digest,
        cases: &TestSet,
    ) -> impl Future<Output = Result<EvaluationReport, Failure>> + Send;
}

/// Why a session stops before its end; it can be resumed from the events that were stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoldError {
    /// The endpoint refuses the key.
    #[error("the endpoint refuses the key: {reason}")]
    KeyRefused {
        /// What the server said.
        reason: String,
        /// Calls that may have been paid and brought nothing.
        unaccounted: u32,
    },
    /// A failure of ours.
    #[error("{failure}")]
    Failed {
        /// What happened.
        failure: Failure,
        /// Calls that may have been paid and brought nothing.
        unaccounted: u32,
    },
}

impl From<Failure> for HoldError {
    fn from(failure: Failure) -> Self {
        Self::Failed {
            failure,
            unaccounted: 0,
        }
    }
}

impl From<SessionError> for HoldError {
    fn from(error: SessionError) -> Self {
        Failure::from(error).into()
    }
}

/// Holds `session` to its end. What it came to is in the last event that was stored.
///
/// # Errors
/// When the machinery failed; the session can be resumed from the events that were stored.
///
/// # Cancel safety
/// Dropping the future loses a call in flight and nothing that was stored.
pub async fn hold<M: Model, P: SessionPort>(
    mut session: Session,
    model: &M,
    port: &mut P,
) -> Result<(), HoldError> {
    loop {
        let step = session.step()?;
        store_events(&mut session, &step, port).await?;
        match step {
            Step::Ask(ask) => {
                let asked = Instant::now();
                match model.ask(&ask).await {
                    Ok(reply) => {
                        let duration_ms = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
                        session.answer(reply, duration_ms)?;
                    }
                    Err(AskError::ContextLimit { message, unaccounted }) => {
                        tracing::debug!(speaker = %ask.speaker, round = ask.round, message, "prompt too long");
                        session.give_up(Cause::ContextLimit, unaccounted)?;
                    }
                    Err(AskError::BudgetReached) => session.give_up(Cause::Budget, 0)?,
                    Err(AskError::KeyRefused { reason, unaccounted }) => {
                        return Err(HoldError::KeyRefused { reason, unaccounted });
                    }
                    Err(AskError::Failed { failure, unaccounted }) => {
                        return Err(HoldError::Failed { failure, unaccounted });
                    }
                }
            }
            Step::RunTests(RoundTests {
                round,
                program,
                cases,
            }) => {
                let report = port.tests(round, Digest::of(program.as_bytes()), &cases).await?;
                session.tested(&report)?;
            }
            Step::Finished => return Ok(()),
        }
    }
}

async fn store_events<P: SessionPort>(
    session: &mut Session,
    step: &Step,
    port: &mut P,
) -> Result<(), Failure> {
    while let Some(event) = session.take_unstored() {
        if let (SessionEvent::TestRequest { cases: address, .. }, Step::RunTests(tests)) = (&event, step) {
            let stored = port.store_blob(session.encode(&tests.cases)).await?;
            if stored != *address {
                return Err(Failure {
                    class: FailureClass::InfraRetry,
                    message: format!("the cases were stored as {stored}: expected {address}"),
                });
            }
        }
        port.store(event).await?;
    }
    Ok(())
}
