//! `coordinator fetch RUN`: brings a run directory from a coordinator to this machine.
//!
//! What arrives is checked by [`incoming`] and lies under a hidden name until it is whole; [`place`] then gives it its
//! name, or puts it into the directory that an earlier fetch of the same run has made.

pub mod incoming;
pub mod place;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use bytes::{Bytes, BytesMut};
use clap::Args;
use roundhouse_proto::RunId;
use roundhouse_proto::wire::v1;

use crate::client::find::{brief, find};
use crate::client::seen::SeenRun;
use crate::client::table::print;
use crate::client::{Client, ClientError, CoordinatorArgs, PAUSE_MAX, block_on, bytes_of};
use crate::recording;
use crate::report::summary::SUMMARY_FILE;
use crate::run_dir::{RESULTS_FILE, name, write_results};
use incoming::{Incoming, IncomingError};
use place::Placed;

/// Tries of a transfer that breaks off.
const TRIES_MAX: u32 = 5;
/// The longest summary that is taken in.
const SUMMARY_BYTES_MAX: u64 = 1 << 30;

/// Which run is fetched, and where to.
#[derive(Debug, Args)]
pub struct FetchArgs {
    /// The run: its id or the beginning of it, its directory, or `last`
    #[arg(value_name = "RUN")]
    pub run: String,
    /// Where the run directory is put, under the name that it has at the coordinator
    #[arg(
        long,
        value_name = "DIR",
        env = "ROUNDHOUSE_OUTPUT_DIR",
        default_value = "baseline_outputs"
    )]
    pub output_dir: PathBuf,
    /// Keep every answer of the model in this file; `--model recorded:FILE` plays them back
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Refuse more than this in all
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 30)]
    pub bytes_max: u64,
    /// The coordinator.
    #[command(flatten)]
    pub at: CoordinatorArgs,
}

/// Why a transfer ended early.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The coordinator refuses, or is out of reach.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// What it sent cannot be taken in.
    #[error(transparent)]
    Incoming(#[from] IncomingError),
}

impl FetchError {
    fn is_transient(&self) -> bool {
        match self {
            Self::Client(error) => error.is_transient(),
            Self::Incoming(error) => error.is_transient(),
        }
    }
}

/// Fetches, and puts the summary into the working directory.
///
/// # Errors
/// The coordinator does not answer, no such run is known, what it sends is refused, or a file cannot be written.
pub fn run(args: &FetchArgs) -> anyhow::Result<ExitCode> {
    block_on(async {
        if let Some(file) = &args.record {
            recording::check(file)?;
        }
        let client = Client::new(&args.at.coordinator);
        let run = find(&client, &args.run).await?;
        let working_dir = std::env::current_dir().context("find the working directory")?;
        let run_dir = fetch_into(&client, &run, &args.output_dir, args.bytes_max, &working_dir).await?;
        if let Some(file) = &args.record {
            crate::notices::recorded(recording::write(&run_dir, file)?, file);
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn fetch_into(
    client: &Client,
    run: &SeenRun,
    output_dir: &Path,
    bytes_max: u64,
    working_dir: &Path,
) -> anyhow::Result<PathBuf> {
    let incoming = fetch_all(client, run.run, output_dir, bytes_max).await?;
    if incoming.files() == 0 {
        bail!("run {} has no files yet", brief(run.run));
    }
    let summary = match std::fs::read(incoming.path().join(SUMMARY_FILE)) {
        Ok(bytes) => Some(Bytes::from(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).context("read the summary that was fetched"),
    };
    let (files, bytes) = (incoming.files(), incoming.bytes());
    let (path, placed) = place::place(&incoming, output_dir, &dir_name(run), run.run)?;
    print(&format!("{}\n", path.display()))?;
    crate::notices::note(&match placed {
        Placed::New => format!("{files} files, {bytes} bytes"),
        Placed::Updated => {
            format!("{files} files, {bytes} bytes; it was fetched before and is up to date now")
        }
        Placed::Own => "this is the coordinator's own directory of the run: nothing was fetched".to_owned(),
    });
    match summary {
        Some(summary) => {
            write_results(working_dir, &summary)?;
            crate::notices::note(&format!("its summary is in `{RESULTS_FILE}`"));
        }
        None => crate::notices::note("it has no summary yet"),
    }
    if !run.state.is_at_rest() {
        crate::notices::note("the run still goes on: fetch it again when it has ended");
    }
    Ok(path)
}

/// The name of its directory; one from its id if that is no name.
fn dir_name(run: &SeenRun) -> String {
    let name = run.dir_name();
    match name::check(name) {
        Ok(()) => name.to_owned(),
        Err(_) => format!("run_{}", brief(run.run)),
    }
}

/// Everything of a run, under a hidden name.
async fn fetch_all(
    client: &Client,
    run: RunId,
    output_dir: &Path,
    bytes_max: u64,
) -> Result<Incoming, FetchError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let mut incoming = Incoming::begin(output_dir, bytes_max)?;
        match receive(client, run, "", |chunk| incoming.take_in(&chunk)).await {
            Ok(()) => {
                incoming.finish()?;
                return Ok(incoming);
            }
            Err(error) if error.is_transient() && tries < TRIES_MAX => {
                tokio::time::sleep(PAUSE_MAX).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// The bytes of a run's summary.json.
///
/// # Errors
/// There is none, it is too long, or the coordinator does not answer.
pub async fn fetch_summary(client: &Client, run: RunId) -> Result<Bytes, FetchError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let mut whole = BytesMut::new();
        let mut total = None;
        let received = receive(client, run, SUMMARY_FILE, |chunk| {
            let is_next = chunk.path == SUMMARY_FILE
                && chunk.offset == whole.len() as u64
                && *total.get_or_insert(chunk.total_bytes) == chunk.total_bytes;
            if !is_next {
                return Err(IncomingError::OutOfPlace {
                    path: chunk.path.escape_debug().to_string(),
                });
            }
            if chunk.total_bytes > SUMMARY_BYTES_MAX {
                return Err(IncomingError::TooMuch {
                    bytes_max: SUMMARY_BYTES_MAX,
                });
            }
            whole.extend_from_slice(&chunk.data);
            Ok(())
        })
        .await;
        let received = received.and_then(|()| match total {
            Some(total) if total == whole.len() as u64 => Ok(()),
            Some(_) => Err(IncomingError::Cut.into()),
            None => Err(IncomingError::Missing { path: SUMMARY_FILE }.into()),
        });
        match received {
            Ok(()) => return Ok(whole.freeze()),
            Err(error) if error.is_transient() && tries < TRIES_MAX => {
                tokio::time::sleep(PAUSE_MAX).await;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn receive(
    client: &Client,
    run: RunId,
    under: &str,
    mut take: impl FnMut(v1::FileChunk) -> Result<(), IncomingError>,
) -> Result<(), FetchError> {
    let mut chunks = client
        .ask(|| {
            let mut control = client.control();
            let request = v1::FetchRequest {
                run: bytes_of(run),
                under: under.to_owned(),
            };
            async move { control.fetch(request).await }
        })
        .await?;
    while let Some(chunk) = chunks.message().await.map_err(|status| client.error(&status))? {
        take(chunk)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
