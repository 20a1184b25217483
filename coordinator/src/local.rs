//! The workers of `coordinator run`: child processes that are this same program, joined over the Unix socket. The
//! only place that knows the worker crate.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use roundhouse_proto::Role;
use roundhouse_worker::isolation::EXIT_REFUSED;
pub use roundhouse_worker::isolation::IsolationFlags;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::endpoints::{Streams, WorkerFlags};

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
    /// What was agreed to where programs cannot be shut in well.
    pub isolation: IsolationFlags,
    /// What the generation worker is told of endpoints; none: it asks none, and gets no key either.
    pub endpoints: Option<WorkerFlags>,
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

impl LocalWorkerError {
    /// The exit code that goes with it, where it has one of its own.
    pub fn exit_code(&self) -> Option<u8> {
        match self {
            Self::Refused { .. } => Some(EXIT_REFUSED),
            Self::Start { .. } | Self::KeepsEnding { .. } => None,
        }
    }
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
                    if status.code() == Some(i32::from(EXIT_REFUSED)) {
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
        let variables = std::env::vars_os().map(|(name, _)| name);
        self.command(role, std::env::current_exe()?, variables).spawn()
    }

    /// The command of a worker; `variables` are the names of those that it would inherit.
    fn command(&self, role: Role, program: PathBuf, variables: impl Iterator<Item = OsString>) -> Command {
        let slots = match role {
            Role::Gen => self.generation_slots,
            Role::Eval => self.evaluation_slots,
        };
        let mut command = Command::new(program);
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
        let agreed = [
            ("--allow-weak-isolation", self.isolation.allow_weak_isolation),
            ("--i-know-this-is-unsafe", self.isolation.i_know_this_is_unsafe),
            ("--programs-are-ours", self.isolation.programs_are_ours),
        ];
        command.args(agreed.iter().filter(|(_, given)| *given).map(|(flag, _)| flag));
        match (role, &self.endpoints) {
            (Role::Gen, Some(flags)) => {
                for at in &flags.endpoints {
                    command.arg("--endpoint").arg(format!("{}={}", at.name, at.url));
                }
                for file in &flags.key_files {
                    command.arg("--api-key-file").arg(file);
                }
                match flags.streams {
                    Streams::Asked => {}
                    Streams::Never => {
                        command.arg("--no-stream");
                    }
                }
            }
            // Whoever runs programs, or asks no model, has no key that could get out.
            (Role::Gen, None) | (Role::Eval, _) => {
                for name in variables.filter(|name| is_about_endpoints(name)) {
                    command.env_remove(name);
                }
            }
        }
        command
    }
}

/// Whether a variable may hold a key, or the address that belongs to one.
fn is_about_endpoints(name: &OsStr) -> bool {
    const ENDINGS: [&str; 3] = ["_API_KEY", "_TOKEN", "_BASE_URL"];
    let name = name.to_string_lossy();
    ENDINGS.iter().any(|ending| name.ends_with(ending))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoints::NamedUrl;

    #[test]
    fn what_was_agreed_to_is_told_to_the_workers() {
        let workers = |isolation| LocalWorkers {
            socket: "s".into(),
            generation_slots: 1,
            evaluation_slots: 1,
            python: None,
            isolation,
            endpoints: None,
        };
        let told = |isolation| {
            let command = workers(isolation).command(Role::Eval, "coordinator".into(), std::iter::empty());
            let args = command.as_std().get_args().skip(11);
            args.map(|arg| arg.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(told(IsolationFlags::default()), Vec::<String>::new());
        let all = IsolationFlags {
            allow_weak_isolation: true,
            i_know_this_is_unsafe: true,
            programs_are_ours: true,
        };
        assert_eq!(
            told(all),
            [
                "--allow-weak-isolation",
                "--i-know-this-is-unsafe",
                "--programs-are-ours"
            ]
        );
    }

    /// The arguments behind the usual ones, and the variables that are taken away.
    fn told(role: Role, endpoints: Option<WorkerFlags>) -> (Vec<String>, Vec<String>) {
        let workers = LocalWorkers {
            socket: "s".into(),
            generation_slots: 3,
            evaluation_slots: 5,
            python: None,
            isolation: IsolationFlags::default(),
            endpoints,
        };
        let variables = ["PATH", "OPENAI_API_KEY", "OPENAI_BASE_URL", "HF_TOKEN"].map(OsString::from);
        let command = workers.command(role, "coordinator".into(), variables.into_iter());
        let text = |text: &OsStr| text.to_string_lossy().into_owned();
        let args: Vec<String> = command.as_std().get_args().map(text).collect();
        let usual = format!("worker join --with-parent --role {role} --slots");
        assert_eq!(args[..6].join(" "), usual);
        let removed = command.as_std().get_envs();
        let removed = removed
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| text(name));
        (args[11..].to_vec(), removed.collect())
    }

    #[test]
    fn only_the_worker_that_asks_a_model_is_told_of_endpoints_and_keeps_the_keys() {
        let keys = ["HF_TOKEN", "OPENAI_API_KEY", "OPENAI_BASE_URL"].map(str::to_owned);
        let at = NamedUrl {
            name: "a".to_owned(),
            url: "http://h/v1".to_owned(),
        };
        let flags = WorkerFlags {
            endpoints: vec![at],
            key_files: vec!["a=k".to_owned()],
            streams: Streams::Never,
        };
        let args = [
            "--endpoint",
            "a=http://h/v1",
            "--api-key-file",
            "a=k",
            "--no-stream",
        ]
        .map(str::to_owned);
        assert_eq!(told(Role::Gen, Some(flags.clone())), (args.to_vec(), Vec::new()));
        assert_eq!(told(Role::Eval, Some(flags)), (Vec::new(), keys.to_vec()));
        assert_eq!(told(Role::Gen, None), (Vec::new(), keys.to_vec()));
    }
}
