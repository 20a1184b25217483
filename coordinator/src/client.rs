//! A coordinator as people's commands see it: asks it, and tries again while it is out of reach.
//!
//! Decides nothing about runs. What comes back is checked and made harmless by [`seen`] before anyone prints it.

pub mod find;
pub mod seen;
pub mod table;
pub mod upload;

#[cfg(test)]
pub(crate) mod fake;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use roundhouse_proto::address::DEFAULT_ADDRESS;
use roundhouse_proto::wire::v1::blobs_client::BlobsClient;
use roundhouse_proto::wire::v1::control_client::ControlClient;
use roundhouse_proto::wire::{WireError, v1};
use roundhouse_proto::{CoordinatorAddress, RunId};
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use crate::report::line::hinted_lines;
use seen::{SeenRun, SeenWorker};

/// How long a coordinator that never answered is tried: it may just be starting.
const FIRST_CONTACT: Duration = Duration::from_secs(2);
/// How long one that has answered before is tried: it may be restarting.
const RESTART_MAX: Duration = Duration::from_secs(60);
/// How long it may take to answer one question, or to take the next piece of a long one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// The shortest pause between two tries; doubled with every try.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause between two tries.
pub const PAUSE_MAX: Duration = Duration::from_secs(3);
/// Most runs of one answer.
pub const RUNS_MAX: u64 = 1_024;
/// Characters of what it says, and of each of its hints.
const ANSWER_CHARS_MAX: usize = 1_000;
/// Bytes of an answer: room for as many runs with all their warnings as anyone would read.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Which coordinator is asked.
#[derive(Clone, Debug, Args)]
pub struct CoordinatorArgs {
    /// Where the coordinator is: `http://HOST:PORT` or `unix:PATH`
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "ROUNDHOUSE_COORDINATOR",
        default_value = DEFAULT_ADDRESS
    )]
    pub coordinator: CoordinatorAddress,
}

/// Why a coordinator did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers there.
    #[error(
        "no coordinator answers at {address}\n\
         hint: `coordinator start` starts one on this machine; `--coordinator ADDRESS` or `ROUNDHOUSE_COORDINATOR` names \
         another"
    )]
    OutOfReach {
        /// Where.
        address: String,
    },
    /// It answers, and cannot do it at the moment.
    #[error("{message}")]
    NotNow {
        /// Its own words, harmless.
        message: String,
    },
    /// It is of a release that does not know the question.
    #[error(
        "the coordinator at {address} does not know what it was asked\nhint: use the same release of both"
    )]
    Unknown {
        /// Where.
        address: String,
    },
    /// It refuses.
    #[error("{message}")]
    Refused {
        /// How.
        code: Code,
        /// Its own words, harmless.
        message: String,
    },
    /// Its answer makes no sense.
    #[error("read the coordinator's answer")]
    Answer(#[from] WireError),
}

/// A coordinator that commands ask. It is connected to when it is first asked, and again after a loss.
#[derive(Debug)]
pub struct Client {
    address: CoordinatorAddress,
    control: Channel,
    /// A connection of its own, so that blobs hold nothing up.
    blobs: Channel,
    /// Whether it has answered.
    reached: AtomicBool,
}

impl Client {
    /// A client of the coordinator at an address. For use within a runtime.
    pub fn new(address: &CoordinatorAddress) -> Self {
        Self {
            address: address.clone(),
            control: address.channel(),
            blobs: address.channel(),
            reached: AtomicBool::new(false),
        }
    }

    /// A command for people to ask the same coordinator: `words`, and the address unless it is the default one.
    pub fn command(&self, words: &str) -> String {
        let address = self.address.to_string();
        if address == DEFAULT_ADDRESS {
            format!("coordinator {words}")
        } else {
            format!("coordinator {words} --coordinator {address}")
        }
    }

    /// Where it is, for people.
    pub fn address(&self) -> &CoordinatorAddress {
        &self.address
    }

    /// The service `Control`, for one request.
    pub fn control(&self) -> ControlClient<Channel> {
        ControlClient::new(self.control.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// The service `Blobs`, for one request.
    pub fn blobs(&self) -> BlobsClient<Channel> {
        BlobsClient::new(self.blobs.clone())
    }

    /// Asks until there is an answer, for as long as a start or a restart may take.
    ///
    /// # Errors
    /// It refuses, or cannot be reached in that time.
    pub async fn ask<T, Asked>(&self, asking: impl FnMut() -> Asked) -> Result<T, ClientError>
    where
        Asked: Future<Output = Result<Response<T>, Status>>,
    {
        self.ask_moving(&Moving::default(), asking).await
    }

    /// As [`Self::ask`], for a question that is long on its way: it takes as long as it takes, as long as it moves.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn ask_moving<T, Asked>(
        &self,
        moving: &Moving,
        mut asking: impl FnMut() -> Asked,
    ) -> Result<T, ClientError>
    where
        Asked: Future<Output = Result<Response<T>, Status>>,
    {
        let mut pause = PAUSE_MIN;
        // From the first failure on: what was long on its way before has used up nothing.
        let mut failing_since = None;
        loop {
            let error = match self.ask_once_moving(moving, ANSWER_TIMEOUT, asking()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let failing_since = *failing_since.get_or_insert_with(Instant::now);
            let patience = if self.reached.load(Ordering::Relaxed) {
                RESTART_MAX
            } else {
                FIRST_CONTACT
            };
            if !error.is_transient() || failing_since.elapsed() + pause > patience {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Asks once.
    ///
    /// # Errors
    /// It refuses or cannot be reached.
    pub async fn ask_once<T>(
        &self,
        asked: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, ClientError> {
        self.ask_once_moving(&Moving::default(), ANSWER_TIMEOUT, asked)
            .await
    }

    async fn ask_once_moving<T>(
        &self,
        moving: &Moving,
        standstill_max: Duration,
        asked: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, ClientError> {
        let mut asked = std::pin::pin!(asked);
        loop {
            let before = moving.pieces();
            match tokio::time::timeout(standstill_max, &mut asked).await {
                Ok(Ok(answer)) => {
                    self.reached.store(true, Ordering::Relaxed);
                    return Ok(answer.into_inner());
                }
                Ok(Err(status)) => {
                    let error = self.error(&status);
                    if !matches!(error, ClientError::OutOfReach { .. }) {
                        self.reached.store(true, Ordering::Relaxed);
                    }
                    return Err(error);
                }
                Err(_) if moving.pieces() != before => {}
                Err(_) => {
                    return Err(ClientError::OutOfReach {
                        address: self.address.to_string(),
                    });
                }
            }
        }
    }

    /// What a status means.
    pub fn error(&self, status: &Status) -> ClientError {
        let address = self.address.to_string();
        tracing::debug!(%status, "the coordinator did not do what it was asked");
        // A status that a transport made has its cause with it; one that the coordinator sent has none.
        let came_from_here = std::error::Error::source(status).is_some();
        let harmless = || hinted_lines(status.message(), ANSWER_CHARS_MAX);
        match status.code() {
            _ if came_from_here => ClientError::OutOfReach { address },
            // Whoever stands between may say so without a word.
            Code::Unavailable if status.message().is_empty() => ClientError::OutOfReach { address },
            Code::Unavailable | Code::ResourceExhausted | Code::Aborted => {
                ClientError::NotNow { message: harmless() }
            }
            Code::Unimplemented => ClientError::Unknown { address },
            code => ClientError::Refused {
                code,
                message: harmless(),
            },
        }
    }

    /// The runs it knows, newest first, and whether there are older ones.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn runs(&self) -> Result<(Vec<SeenRun>, bool), ClientError> {
        let request = v1::ListRunsRequest { limit: RUNS_MAX };
        let reply = self
            .ask(|| {
                let mut control = self.control();
                async move { control.list_runs(request).await }
            })
            .await?;
        let runs: Result<Vec<SeenRun>, WireError> = reply.runs.into_iter().map(TryInto::try_into).collect();
        Ok((runs?, reply.more))
    }

    /// How a run is doing; none if it is not known.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn run(&self, run: RunId) -> Result<Option<SeenRun>, ClientError> {
        let answer = self
            .ask(|| {
                let mut control = self.control();
                async move { control.get_run(v1::GetRunRequest { run: bytes_of(run) }).await }
            })
            .await;
        match answer {
            Ok(status) => Ok(Some(status.try_into()?)),
            Err(ClientError::Refused {
                code: Code::NotFound, ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The workers, by name.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn workers(&self) -> Result<Vec<SeenWorker>, ClientError> {
        let reply = self
            .ask(|| {
                let mut control = self.control();
                async move { control.list_workers(v1::ListWorkersRequest {}).await }
            })
            .await?;
        let workers: Result<Vec<SeenWorker>, WireError> =
            reply.workers.into_iter().map(TryInto::try_into).collect();
        Ok(workers?)
    }
}

/// How many pieces of a long question have left. A clone counts the same ones.
#[derive(Clone, Debug, Default)]
pub struct Moving(Arc<AtomicU64>);

impl Moving {
    /// One more has left.
    pub fn piece_left(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn pieces(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl ClientError {
    /// Whether asking again can help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::OutOfReach { .. } | Self::NotNow { .. } => true,
            Self::Refused { .. } | Self::Unknown { .. } | Self::Answer(_) => false,
        }
    }
}

/// The bytes that name a run.
pub fn bytes_of(run: RunId) -> Bytes {
    Bytes::copy_from_slice(run.0.as_bytes())
}

/// Does what waits for the network.
///
/// # Errors
/// There is no runtime to be had, or whatever it comes to.
pub fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let done = runtime.block_on(work);
    // What still runs is for nobody.
    runtime.shutdown_background();
    done
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use super::*;

    fn client() -> Client {
        Client::new(&"unix:/nonexistent/s".parse().unwrap())
    }

    #[tokio::test]
    async fn coordinator_that_answers_and_cannot_do_it_now_is_not_said_to_be_away() {
        let client = client();
        let failing = Status::unavailable("the state cannot be stored\x1b[2J\nhint: look at its messages");
        let error = client.error(&failing);
        assert!(error.is_transient());
        assert_eq!(
            error.to_string(),
            "the state cannot be stored [2J\nhint: look at its messages"
        );
        let refused = client.error(&Status::not_found("no run\nhint: `coordinator status`"));
        assert!(!refused.is_transient());
        assert_eq!(refused.to_string(), "no run\nhint: `coordinator status`");
        let asked = client.control().list_workers(v1::ListWorkersRequest {}).await;
        let error = client.error(&asked.unwrap_err());
        assert!(matches!(error, ClientError::OutOfReach { .. }), "{error}");
    }

    #[tokio::test]
    async fn question_that_moves_may_take_long_and_one_that_does_not_may_not() {
        const STANDSTILL_MAX: Duration = Duration::from_millis(20);
        let client = client();
        let moving = Moving::default();
        let slow = async {
            for _ in 0..10 {
                tokio::time::sleep(STANDSTILL_MAX / 2).await;
                moving.piece_left();
            }
            Ok(Response::new(()))
        };
        client
            .ask_once_moving(&moving, STANDSTILL_MAX, slow)
            .await
            .unwrap();
        let stuck = std::future::pending::<Result<Response<()>, Status>>();
        let asked = client.ask_once_moving(&moving, STANDSTILL_MAX, stuck).await;
        let error = asked.unwrap_err();
        assert!(matches!(error, ClientError::OutOfReach { .. }), "{error}");
    }
}
