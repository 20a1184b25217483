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
use std::sync::atomic::{AtomicBool, Ordering};
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

use crate::report::line::{MESSAGE_CHARS_MAX, one_line};
use seen::{SeenRun, SeenWorker};

/// How long a coordinator that never answered is tried: it may just be starting.
const FIRST_CONTACT: Duration = Duration::from_secs(2);
/// How long one that has answered before is tried: it may be restarting.
const RESTART_MAX: Duration = Duration::from_secs(60);
/// How long it may take to answer one question.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// The shortest pause between two tries; doubled with every try.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause between two tries.
pub const PAUSE_MAX: Duration = Duration::from_secs(3);
/// Most runs of one answer.
pub const RUNS_MAX: u64 = 1_024;
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
    pub async fn ask<T, Asked>(&self, mut asking: impl FnMut() -> Asked) -> Result<T, ClientError>
    where
        Asked: Future<Output = Result<Response<T>, Status>>,
    {
        let begun = Instant::now();
        let mut pause = PAUSE_MIN;
        loop {
            let error = match self.ask_once(asking()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let patience = if self.reached.load(Ordering::Relaxed) {
                RESTART_MAX
            } else {
                FIRST_CONTACT
            };
            if !error.is_transient() || begun.elapsed() + pause > patience {
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
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, asked)
            .await
            .unwrap_or_else(|_| Err(Status::unavailable("it takes too long")));
        match answer {
            Ok(answer) => {
                self.reached.store(true, Ordering::Relaxed);
                Ok(answer.into_inner())
            }
            Err(status) => Err(self.error(&status)),
        }
    }

    /// What a status means.
    pub fn error(&self, status: &Status) -> ClientError {
        let address = self.address.to_string();
        tracing::debug!(%status, "the coordinator did not do what it was asked");
        // A status that a transport made has its cause with it; one that the coordinator sent has none.
        let came_from_here = std::error::Error::source(status).is_some();
        match status.code() {
            Code::Unavailable => ClientError::OutOfReach { address },
            _ if came_from_here => ClientError::OutOfReach { address },
            Code::Unimplemented => ClientError::Unknown { address },
            code => ClientError::Refused {
                code,
                message: one_line(status.message(), MESSAGE_CHARS_MAX),
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

impl ClientError {
    /// Whether asking again can help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::OutOfReach { .. } => true,
            Self::Refused { code, .. } => matches!(code, Code::ResourceExhausted | Code::Aborted),
            Self::Unknown { .. } | Self::Answer(_) => false,
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
