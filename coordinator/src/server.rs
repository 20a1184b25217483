//! A coordinator that is up: store, blobs, core, driver, and its services on a Unix socket or a TCP port.
//!
//! `run` and `run --resume` start one each for their one run; `start` starts one for all that are submitted to it.

mod socket;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use roundhouse_core::record::Stored;
use roundhouse_core::run::RunSpec;
use roundhouse_core::{Coordinator, Event, Outbox, Progress, Timing};
use roundhouse_proto::RunId;
use roundhouse_proto::link::CoordMsg;
use roundhouse_proto::wire::v1::blobs_server::BlobsServer;
use roundhouse_proto::wire::v1::control_server::ControlServer;
use roundhouse_proto::wire::v1::link_server::LinkServer;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::server::TcpIncoming;

pub use self::socket::Socket;
use crate::blobs::Blobs;
use crate::driver::{Clock, Driver, DriverChannels, Events, Links, Outlets};
use crate::registry::Registry;
use crate::rpc::{Activity, BlobService, ControlService, LinkService, Submissions};
use crate::run_dir::RunDir;
use crate::store::{Committer, Health, SledStore, Store};
use crate::watchers::Watchers;

/// Messages for people that wait to be printed; a slow terminal slows the run.
const PROGRESS_MAX: usize = 1_024;
/// Files that wait to be written.
const FILES_MAX: usize = 256;
/// How long open links and watchers may take to end when the server stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the driver may take to end: longer than the committer's patience with a store that fails.
const DRIVER_END_TIMEOUT: Duration = Duration::from_secs(3);
/// When workers are told to come back, in milliseconds.
const RETRY_AFTER_MS: u64 = 1_000;
/// How often a silent connection from another host is asked whether it lives, and how long it may take to answer.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// The state of a coordinator that is open in this process: nobody else has it.
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

/// Where a coordinator is reached, as workers and clients name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url(String);

impl Url {
    /// That of a TCP port; `host` stands for an address that means every one of this host.
    pub fn of_port(address: SocketAddr, host: &str) -> Self {
        if address.ip().is_unspecified() {
            Self(format!("http://{host}:{}", address.port()))
        } else {
            Self(format!("http://{address}"))
        }
    }

    fn of_socket(socket: &Socket) -> Self {
        Self(format!("unix:{}", socket.path.display()))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a coordinator listens.
enum Door {
    Socket(tokio::net::UnixListener),
    Port(TcpListener),
}

/// How a coordinator for all that is submitted to it is set up.
pub struct Setting {
    /// Where it listens.
    pub listener: TcpListener,
    /// How workers and clients name that.
    pub url: Url,
    /// Where run directories are made; absolute.
    pub output_dir: PathBuf,
}

/// A coordinator that is up.
pub struct Server {
    /// Where events go.
    pub events: Events,
    /// What people are told.
    pub progress: mpsc::Receiver<(RunId, Progress)>,
    /// How the store does.
    pub health: watch::Receiver<Health>,
    /// Which runs there are and where they are written.
    pub registry: Arc<Registry>,
    /// What clients are doing.
    pub activity: Activity,
    /// Takes runs in; none where there is one run that is known already.
    pub submissions: Option<Submissions>,
    socket: Option<Socket>,
    links: Links,
    watchers: Watchers,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    /// Stops the driver when it is dropped.
    stop_driver: oneshot::Sender<Infallible>,
    driving: JoinHandle<bool>,
}

/// All that differs between a coordinator of one run and one of many.
struct Plan {
    door: Door,
    url: Url,
    socket: Option<Socket>,
    timing: Timing,
    registry: Registry,
    /// Where the copy of a run's summary goes.
    working_dir: Option<PathBuf>,
    /// Where runs that are submitted are written; none if none are taken in.
    output_dir: Option<PathBuf>,
}

impl Server {
    /// Brings a coordinator up on the state of one run; gives the socket's path too. Files go to `run_dir`, the
    /// summary's copy to `working_dir`.
    ///
    /// # Errors
    /// The socket or a thread cannot be made.
    pub async fn start(
        state: State,
        run_dir: &RunDir,
        working_dir: &Path,
    ) -> anyhow::Result<(Self, PathBuf)> {
        let socket = Socket::make(&state.data_dir)?;
        let path = socket.path.clone();
        let plan = Plan {
            door: Door::Socket(socket.listen()?),
            url: Url::of_socket(&socket),
            socket: Some(socket),
            // Workers of `run` end with it: what a lost one held is handed out again at once.
            timing: Timing {
                grace_ms: 0,
                ..Timing::default()
            },
            registry: Registry::of_one(run_dir.path().to_owned()),
            working_dir: Some(working_dir.to_owned()),
            output_dir: None,
        };
        Ok((Self::bring_up(state, plan).await?, path))
    }

    /// Brings a coordinator up that takes runs in, on the state of all that it took in before: those that are open go
    /// on.
    ///
    /// # Errors
    /// A run of the state has no directory, what a run was asked to do cannot be read, or a thread cannot be made.
    pub async fn start_for_many(state: State, setting: Setting) -> anyhow::Result<Self> {
        let registry = Registry::open(&state.data_dir)?;
        let is_unknown = |run: &RunId| registry.find(*run).is_none();
        if let Some(run) = state.stored.runs.iter().map(|record| record.run).find(is_unknown) {
            bail!(
                "`{}` holds the state of `coordinator run` (run {run})\nhint: `coordinator run --resume RUN_DIR` goes \
                 on with it; name another directory with `--data-dir`",
                state.data_dir.display()
            );
        }
        let is_stored = |run: RunId| state.stored.runs.iter().any(|record| record.run == run);
        // They were taken in and killed before their first record.
        let mut unstored = Vec::new();
        for entry in registry.entries() {
            if !is_stored(entry.run) {
                let read = state.blobs.read(&entry.spec);
                let text = read.context("read what a run was asked to do")?;
                let spec: RunSpec =
                    serde_json::from_slice(&text).context("read what a run was asked to do")?;
                unstored.push(Event::Submitted {
                    spec: Arc::new(spec),
                    spec_blob: entry.spec,
                });
            }
        }
        let plan = Plan {
            door: Door::Port(setting.listener),
            url: setting.url,
            socket: None,
            timing: Timing::default(),
            registry,
            working_dir: None,
            output_dir: Some(setting.output_dir),
        };
        let server = Self::bring_up(state, plan).await?;
        let events = server.events.clone();
        // The driver may have no room before what it has to tell is read.
        tokio::spawn(async move {
            for event in unstored {
                events.send(event).await;
            }
        });
        Ok(server)
    }

    async fn bring_up(state: State, plan: Plan) -> anyhow::Result<Self> {
        let specs = state.specs()?;
        let State {
            data_dir,
            blobs,
            stored,
            store,
        } = state;
        let registry = Arc::new(plan.registry);
        let channels = DriverChannels::new();
        let (progress_in, progress) = mpsc::channel(PROGRESS_MAX);
        let links = Links::default();
        let watchers = Watchers::default();
        let (files, waiting) = std::sync::mpsc::sync_channel(FILES_MAX);
        crate::file_writer::start(
            Arc::clone(&registry),
            blobs.clone(),
            plan.working_dir,
            waiting,
            channels.written(),
        )
        .context("start the file writer")?;
        let outlets = Outlets {
            links: links.clone(),
            files,
            progress: progress_in,
            watchers: watchers.clone(),
        };
        let reopen_dir = data_dir.clone();
        let committer = Committer::start(
            store,
            move || SledStore::open(&reopen_dir),
            move |releases| outlets.release(releases),
        )
        .context("start the committer")?;

        let health = committer.health();
        let clock = Clock::start();
        let mut first = Outbox::default();
        let core = Coordinator::start(plan.timing, stored, &specs, clock.now(), &mut first);
        let (driver, events) = Driver::new(core, first, clock, committer, channels).await;
        let (stop_driver, driver_stopped) = oneshot::channel();
        let driving = tokio::spawn(driver.run(driver_stopped));

        let submissions = plan
            .output_dir
            .map(|output_dir| Submissions::new(output_dir, events.clone(), blobs.clone(), registry.clone()));
        let control = ControlService::new(
            events.clone(),
            Arc::clone(&registry),
            watchers.clone(),
            plan.url,
            submissions.clone(),
        );
        let activity = control.activity();
        let link = LinkService {
            events: events.clone(),
            links: links.clone(),
            blobs: blobs.clone(),
        };
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(serve(plan.door, link, BlobService::new(blobs), control, stopped));
        Ok(Self {
            events,
            progress,
            health,
            registry,
            activity,
            submissions,
            socket: plan.socket,
            links,
            watchers,
            stop,
            serving,
            stop_driver,
            driving,
        })
    }

    /// Ends links, watchers and server, then makes durable what was handed over. Bounded, also when a worker or a
    /// client hangs or the store fails; false if not all of it could be stored.
    pub async fn stop(self) -> bool {
        let Self {
            events,
            mut progress,
            health: _,
            registry: _,
            activity: _,
            submissions,
            links,
            watchers,
            stop,
            mut serving,
            stop_driver,
            mut driving,
            socket,
        } = self;
        let _ = stop.send(true);
        let retry_after_ms = RETRY_AFTER_MS;
        links.say_to_all(&CoordMsg::Restarting { retry_after_ms });
        links.close_all();
        watchers.close_all();
        // Nobody reads any more, and nobody must wait for that.
        let drained = async {
            while progress.recv().await.is_some() {}
            std::future::pending::<()>().await;
        };
        let ending = async {
            if tokio::time::timeout(SHUTDOWN_TIMEOUT, &mut serving)
                .await
                .is_err()
            {
                serving.abort();
                let _ = serving.await;
            }
            drop((events, submissions, stop_driver));
            let ended = tokio::time::timeout(DRIVER_END_TIMEOUT, &mut driving).await;
            matches!(ended, Ok(Ok(true)))
        };
        let is_stored = tokio::select! {
            is_stored = ending => is_stored,
            () = drained => false,
        };
        drop(socket);
        is_stored
    }
}

/// Serves until `stopped` is true and every stream has ended.
async fn serve(
    door: Door,
    link: LinkService,
    blobs: BlobService,
    control: ControlService,
    mut stopped: watch::Receiver<bool>,
) {
    let until = async move {
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    let mut server = tonic::transport::Server::builder();
    if let Door::Port(_) = &door {
        // None on a Unix socket: the kernel tells when a worker is gone, and the core notices one that says nothing.
        // One that is merely late must not cost an attempt.
        server = server
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE));
    }
    let router = server
        .add_service(LinkServer::new(link))
        .add_service(BlobsServer::new(blobs))
        .add_service(ControlServer::new(control));
    let served = match door {
        Door::Socket(listener) => {
            let incoming = UnixListenerStream::new(listener);
            router.serve_with_incoming_shutdown(incoming, until).await
        }
        Door::Port(listener) => {
            // Without it small messages wait for the acknowledgement of those before, 40 ms each time.
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            router.serve_with_incoming_shutdown(incoming, until).await
        }
    };
    if let Err(error) = served {
        tracing::error!(%error, "the server ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_names_the_host_where_the_address_means_every_one() {
        for (address, url) in [
            ("127.0.0.1:7717", "http://127.0.0.1:7717"),
            ("[::1]:7717", "http://[::1]:7717"),
            ("0.0.0.0:80", "http://tower:80"),
            ("[::]:80", "http://tower:80"),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(Url::of_port(address, "tower").to_string(), url);
        }
    }
}
