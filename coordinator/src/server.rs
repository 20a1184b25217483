//! A coordinator that is up: store, blobs, core, driver, services on a Unix socket. `run` and `run --resume` start
//! one each; it ends with them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use roundhouse_core::record::Stored;
use roundhouse_core::run::RunSpec;
use roundhouse_core::{Coordinator, Outbox, Progress, Timing};
use roundhouse_proto::RunId;
use roundhouse_proto::wire::v1::blobs_server::BlobsServer;
use roundhouse_proto::wire::v1::link_server::LinkServer;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;

use crate::blobs::Blobs;
use crate::driver::{Clock, Driver, DriverChannels, Events, Links, Outlets};
use crate::rpc::{BlobService, LinkService};
use crate::run_dir::RunDir;
use crate::store::{Committer, Health, SledStore, Store};

/// Messages for people that wait to be printed; a slow terminal slows the run.
const PROGRESS_MAX: usize = 1_024;
/// Files that wait to be written.
const FILES_MAX: usize = 256;
/// How long open links may take to end when the server stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the driver may take to end: longer than the committer's patience with a store that fails.
const DRIVER_END_TIMEOUT: Duration = Duration::from_secs(4);
/// The longest path that a Unix socket may have, with room for the final zero.
const SOCKET_PATH_MAX: usize = 107;

/// The state of a run that is open in this process: nobody else has it.
pub struct State {
    /// Where it lies.
    pub data_dir: PathBuf,
    /// Its large values.
    pub blobs: Blobs,
    /// Its records as they were when it was opened.
    pub stored: Stored,
    store: SledStore,
}

impl State {
    /// Opens the state in a directory, or makes it.
    ///
    /// # Errors
    /// It is in use, newer than this program, or cannot be read or written.
    pub fn open(data_dir: &Path) -> anyhow::Result<Self> {
        let mut store = SledStore::open(data_dir)?;
        let stored = store.load()?;
        let blobs =
            Blobs::open(data_dir).with_context(|| format!("open the blobs in `{}`", data_dir.display()))?;
        Ok(Self {
            data_dir: data_dir.to_owned(),
            blobs,
            stored,
            store,
        })
    }

    /// What the stored runs were asked to do.
    ///
    /// # Errors
    /// A specification is missing or damaged.
    pub fn specs(&self) -> anyhow::Result<BTreeMap<RunId, Arc<RunSpec>>> {
        let mut specs = BTreeMap::new();
        for record in &self.stored.runs {
            let text = self
                .blobs
                .read(&record.spec)
                .context("read what the run was asked to do")?;
            let spec: RunSpec = serde_json::from_slice(&text).context("read what the run was asked to do")?;
            specs.insert(record.run, Arc::new(spec));
        }
        Ok(specs)
    }
}

/// A coordinator that is up.
pub struct Server {
    /// Where events go.
    pub events: Events,
    /// What people are told.
    pub progress: mpsc::Receiver<(RunId, Progress)>,
    /// How the store does.
    pub health: watch::Receiver<Health>,
    /// The socket that workers join over.
    pub socket: Socket,
    links: Links,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    /// Stops the driver when it is dropped.
    stop_driver: oneshot::Sender<Infallible>,
    driving: JoinHandle<bool>,
}

impl Server {
    /// Brings a coordinator up on a state. Files go to `run_dir`, the summary's copy to `working_dir`.
    ///
    /// # Errors
    /// The socket or a thread cannot be made.
    pub async fn start(state: State, run_dir: Arc<RunDir>, working_dir: &Path) -> anyhow::Result<Self> {
        let specs = state.specs()?;
        let State {
            data_dir,
            blobs,
            stored,
            store,
        } = state;
        let socket = Socket::make(&data_dir)?;
        let listener = UnixListener::bind(&socket.path)
            .with_context(|| format!("listen on `{}`", socket.path.display()))?;
        // A data directory that was there before may let others in.
        std::fs::set_permissions(&socket.path, std::fs::Permissions::from_mode(0o600))
            .with_context(|| format!("close `{}` to others", socket.path.display()))?;

        let channels = DriverChannels::new();
        let (progress_in, progress) = mpsc::channel(PROGRESS_MAX);
        let links = Links::default();
        let (files, waiting) = std::sync::mpsc::sync_channel(FILES_MAX);
        crate::file_writer::start(
            run_dir,
            blobs.clone(),
            working_dir.to_owned(),
            waiting,
            channels.written(),
        )
        .context("start the file writer")?;
        let outlets = Outlets {
            links: links.clone(),
            files,
            progress: progress_in,
        };
        let reopen_dir = data_dir.clone();
        let committer = Committer::start(
            store,
            move || SledStore::open(&reopen_dir),
            move |commands| outlets.release(commands),
        )
        .context("start the committer")?;

        let health = committer.health();
        let clock = Clock::start();
        let mut first = Outbox::default();
        // Workers of `run` end with it: what a lost one held is handed out again at once.
        let timing = Timing {
            grace_ms: 0,
            ..Timing::default()
        };
        let core = Coordinator::start(timing, stored, &specs, clock.now(), &mut first);
        let (driver, events) = Driver::new(core, first, clock, committer, channels).await;
        let (stop_driver, driver_stopped) = oneshot::channel();
        let driving = tokio::spawn(driver.run(driver_stopped));

        let (stop, mut stopped) = watch::channel(false);
        let link = LinkService {
            events: events.clone(),
            links: links.clone(),
            blobs: blobs.clone(),
        };
        let serving = tokio::spawn(async move {
            // No keepalive on a Unix socket: the kernel tells when a worker is gone, and the core notices one that says
            // nothing. One that is merely late must not cost an attempt.
            let served = tonic::transport::Server::builder()
                .add_service(LinkServer::new(link))
                .add_service(BlobsServer::new(BlobService::new(blobs)))
                .serve_with_incoming_shutdown(UnixListenerStream::new(listener), async move {
                    let _ = stopped.wait_for(|stopped| *stopped).await;
                })
                .await;
            if let Err(error) = served {
                tracing::error!(%error, "the server ended");
            }
        });
        Ok(Self {
            events,
            progress,
            health,
            socket,
            links,
            stop,
            serving,
            stop_driver,
            driving,
        })
    }

    /// Ends links and server, then makes durable what was handed over. Bounded, also when a worker hangs or the store
    /// fails; false if not all of it could be stored.
    pub async fn stop(self) -> bool {
        let Self {
            events,
            mut progress,
            health: _,
            links,
            stop,
            mut serving,
            stop_driver,
            mut driving,
            socket,
        } = self;
        let _ = stop.send(true);
        links.close_all();
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, &mut serving)
            .await
            .is_err()
        {
            serving.abort();
            let _ = serving.await;
        }
        drop((events, stop_driver));
        // Nobody reads any more, and nobody must wait for that.
        let drained = async {
            while progress.recv().await.is_some() {}
            std::future::pending::<()>().await;
        };
        let is_stored = tokio::select! {
            ended = tokio::time::timeout(DRIVER_END_TIMEOUT, &mut driving) => matches!(ended, Ok(Ok(true))),
            () = drained => false,
        };
        drop(socket);
        is_stored
    }
}

/// A Unix socket's path, removed when dropped.
#[derive(Debug)]
pub struct Socket {
    /// Where it is.
    pub path: PathBuf,
    /// A directory that was made only for it.
    own_dir: Option<PathBuf>,
}

impl Socket {
    /// In the data directory, or, where that path is too long for a socket or no text, in a new directory of its own among the
    /// temporary files that only this user may enter.
    fn make(data_dir: &Path) -> anyhow::Result<Self> {
        let path = data_dir.join("coordinator.sock");
        // The path is also an argument of the workers, as text.
        if path.as_os_str().len() <= SOCKET_PATH_MAX && path.to_str().is_some() {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("remove the old socket `{}`", path.display()));
                }
                Ok(()) | Err(_) => return Ok(Self { path, own_dir: None }),
            }
        }
        let own_dir = std::env::temp_dir().join(format!("roundhouse-{}", uuid::Uuid::new_v4()));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&own_dir)
            .with_context(|| format!("make `{}` for the socket", own_dir.display()))?;
        std::fs::set_permissions(&own_dir, std::fs::Permissions::from_mode(0o700))
            .with_context(|| format!("close `{}` to others", own_dir.display()))?;
        Ok(Self {
            path: own_dir.join("s"),
            own_dir: Some(own_dir),
        })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // What stays behind after a crash in the data directory is removed by the next start.
        let _ = std::fs::remove_file(&self.path);
        if let Some(dir) = &self.own_dir {
            let _ = std::fs::remove_dir(dir);
        }
    }
}
