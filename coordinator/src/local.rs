//! The workers of `coordinator run`: child processes that are this same program, joined over the Unix socket. The
//! only place that knows the worker crate.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use roundhouse_proto::Role;
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// Early deaths of one worker in a row after which the run stops instead of starting it again. Jobs that kill their
/// worker are given up after a few attempts by the core, so they do not go on for ever either.
const DEATHS_MAX: u32 = 10;
/// A worker that lived for so long died of something else than its start.
const EARLY: Duration = Duration::from_secs(10);
/// How long a worker may take to end by itself before it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// How the workers are started.
#[derive(Clone, Debug)]
pub struct LocalWorkers {
    /// The coordinator's socket.
    pub socket: PathBuf,
    /// Generation slots.
    pub generation_slots: u32,
    /// Evaluation slots.
    pub evaluation_slots: u32,
    /// The Python 3 that programs are run with.
    pub python: Option<PathBuf>,
    /// Whether programs run where nothing but resources is bounded.
    pub unsafe_isolation: bool,
}

/// A worker that cannot be kept alive.
#[derive(Debug, thiserror::Error)]
pub enum LocalWorkerError {
    /// The program could not be started.
    #[error("failed to start the {role} worker")]
    Start {
        /// Its role.
        role: Role,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It ended again and again.
    #[error(
        "the {role} worker ended {DEATHS_MAX} times in a row soon after its start, the last time with {status}"
    )]
    KeepsEnding {
        /// Its role.
        role: Role,
        /// How it ended last.
        status: ExitStatus,
    },
    /// It said that it cannot work here; its own message is on stderr.
    #[error("the {role} worker cannot work on this machine: see its message above")]
    Refused {
        /// Its role.
        role: Role,
    },
}

impl LocalWorkers {
    /// Keeps one worker of each role alive until `stop` becomes true, then lets them end.
    ///
    /// # Errors
    /// A worker cannot be started, refuses, or ends again and again.
    pub async fn keep(&self, stop: watch::Receiver<bool>) -> Result<(), LocalWorkerError> {
        let generate = self.keep_one(Role::Gen, stop.clone());
        let evaluate = self.keep_one(Role::Eval, stop);
        tokio::try_join!(generate, evaluate).map(|_| ())
    }

    async fn keep_one(&self, role: Role, mut stop: watch::Receiver<bool>) -> Result<(), LocalWorkerError> {
        let mut deaths = 0;
        loop {
            let started = Instant::now();
            let mut child = self
                .start(role)
                .map_err(|source| LocalWorkerError::Start { role, source })?;
            // Held open: the worker ends when it closes, also when this process is killed.
            let parent_pipe = child.stdin.take();
            tokio::select! {
                status = child.wait() => {
                    let status = status.map_err(|source| LocalWorkerError::Start { role, source })?;
                    if status.code() == Some(i32::from(roundhouse_worker::join::EXIT_REFUSED)) {
                        return Err(LocalWorkerError::Refused { role });
                    }
                    deaths = if started.elapsed() < EARLY { deaths + 1 } else { 1 };
                    tracing::warn!(%role, %status, deaths, "a worker ended and is started again");
                    if deaths == DEATHS_MAX {
                        return Err(LocalWorkerError::KeepsEnding { role, status });
                    }
                    let pause = Duration::from_millis(100 << deaths.min(5));
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = requested(&mut stop) => return Ok(()),
                    }
                }
                () = requested(&mut stop) => {
                    drop(parent_pipe);
                    end(&mut child).await;
                    return Ok(());
                }
            }
        }
    }

    fn start(&self, role: Role) -> std::io::Result<Child> {
        let slots = match role {
            Role::Gen => self.generation_slots,
            Role::Eval => self.evaluation_slots,
        };
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["worker", "join", "--with-parent", "--role", role.word(), "--slots", &slots.to_string()])
            .arg("--coordinator")
            .arg(format!("unix:{}", self.socket.display()))
            .args(["--name", &format!("local-{role}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // A group of their own: Ctrl-C is for the coordinator, which lets them finish.
            .process_group(0)
            .kill_on_drop(true);
        if let Some(python) = &self.python {
            command.arg("--python").arg(python);
        }
        if self.unsafe_isolation {
            command.arg("--i-know-this-is-unsafe");
        }
        command.spawn()
    }
}

/// Comes when the workers are to end, also when nobody can say so any more.
async fn requested(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn end(child: &mut Child) {
    if tokio::time::timeout(END_TIMEOUT, child.wait()).await.is_err() {
        // It had its time.
        let _ = child.kill().await;
    }
}
