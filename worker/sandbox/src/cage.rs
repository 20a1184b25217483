//! A cage as the worker holds it: started once, loaded per program, run per test.
//!
//! Spawns the warden, speaks with the init (`message`), reads what programs write (`run`). It decides nothing about
//! right and wrong, and everything here blocks: one plain thread per cage.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::channel::{self, Channel, can_be_read};
use crate::containment::{Containment, Layers, Level};
use crate::init::{CAGE_ARGUMENT, is_own, is_plain, is_root, remove_shared};
use crate::memfd;
use crate::message::{Attempt, MessageError, Origin, Reply, Request, ServerPlan, Setup};
use crate::run::{Flow, Output, Run, RunEnd, Start};
use crate::sys::{self, StartStep};

/// Longest wait for a cage to be made, or for a program's file to be put in place.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Longest wait for a cage to end before it is killed.
const END_WITHIN: Duration = Duration::from_secs(2);
/// Ways to make a cage, the best first. Root without the right to make namespaces may have it as an ordinary user; so
/// that one comes before root's namespaces without users.
const LADDER: [Attempt; 4] = [
    Attempt::Privileged,
    Attempt::Unprivileged,
    Attempt::WithoutUsers,
    Attempt::Limits,
];

/// How to make a cage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CageConfig {
    /// The program that calls [`crate::enter_if_cage`] first; usually `/proc/self/exe`.
    pub entry: PathBuf,
    /// Files and directories that programs see, read-only, at the same absolute path: the interpreter's prefix, shared
    /// libraries. Missing ones are skipped. None may lie in `/tmp`, `/w`, `/z`, `/dev` or `/proc`.
    pub runtime: Vec<PathBuf>,
    /// The only environment that programs see.
    pub environment: Vec<(String, String)>,
    /// Size of the scratch (the work directory `/w` and `/tmp`), and of the largest file, in bytes.
    pub scratch_bytes: u64,
    /// Files and directories in the scratch.
    pub scratch_inodes: u64,
    /// The processor that programs are pinned to; `None` for any.
    pub cpu: Option<usize>,
    /// Programs that stay and fork, each fork being one run. They need namespaces: without, nothing is served.
    pub servers: Vec<ForkServer>,
    /// Files that fork servers are made of, by plain name; programs see them too, read-only, in the directory `/z`.
    pub server_files: Vec<(String, Vec<u8>)>,
}

/// A program that stays and forks: it is executed once, and every fork of it is one run. It is started when a run first
/// asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForkServer {
    /// It and its arguments; it starts in the work directory `/w`.
    pub argv: Vec<String>,
    /// Its environment in addition to [`CageConfig::environment`].
    pub environment: Vec<(String, String)>,
    /// What it has read when it forks.
    pub holds: Holds,
}

/// What a fork server has read when it forks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Nothing of the program: it serves whatever is loaded.
    Nothing,
    /// The loaded program: the next one gets a server of its own.
    Program,
}

/// Why a cage could not do what it was asked. Never a program's fault.
#[derive(Debug, thiserror::Error)]
pub enum CageError {
    /// The entry could not be started.
    #[error("start the cage's entry `{entry}`", entry = .entry.display())]
    Spawn {
        /// The entry.
        entry: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A runtime path cannot be shown to programs.
    #[error("the runtime path `{path}` must be absolute and outside `/tmp`, `/w`, `/z`, `/dev` and `/proc`", path = .path.display())]
    Runtime {
        /// Which.
        path: PathBuf,
    },
    /// A fork server's file cannot be shown to programs.
    #[error("the server file `{name}` must have a plain name of its own, at most 128 bytes long")]
    ServerFile {
        /// Its name.
        name: String,
    },
    /// The host refused steps of every way to make a cage.
    #[error("the host refused a cage: {reason}")]
    Refused {
        /// Which steps and why.
        reason: String,
    },
    /// The cage ended by itself.
    #[error("the cage ended while it was to {doing}")]
    Died {
        /// What it was doing.
        doing: &'static str,
    },
    /// The cage gave no answer in time.
    #[error("the cage gave no answer within {waited_ms} ms while it was to {doing}")]
    Silent {
        /// What it was doing.
        doing: &'static str,
        /// How long was waited, in milliseconds.
        waited_ms: u64,
    },
    /// The cage said something that has no meaning here.
    #[error("the cage answered nonsense while it was to {doing}: {answer}")]
    Nonsense {
        /// What it was doing.
        doing: &'static str,
        /// What came.
        answer: String,
    },
    /// The cage gave up by itself.
    #[error("the cage gave up: {reason}")]
    Broken {
        /// Why, in its own words.
        reason: String,
    },
    /// The program's file could not be put into the work directory.
    #[error("put the file `{name}` into the cage: {reason}")]
    Load {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// The program could not be executed at all.
    #[error("run `{program}`: could not {step}")]
    NotStarted {
        /// The first argument.
        program: String,
        /// Which step failed.
        step: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The fork server cannot run this program; another start of it can.
    #[error("the fork server cannot run this program: {reason}")]
    NotServed {
        /// Why, in its own words.
        reason: String,
    },
    /// Something to be sent does not fit a message.
    #[error("tell the cage to {doing}")]
    Message {
        /// What it was to do.
        doing: &'static str,
        /// Why not.
        #[source]
        source: MessageError,
    },
    /// A system call of the worker failed.
    #[error("could not {doing}")]
    System {
        /// What it was to do.
        doing: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl CageError {
    /// Whether the same cage goes on working; a cage that is lost answers every further call with an error.
    pub fn leaves_the_cage_usable(&self) -> bool {
        match self {
            Self::Load { .. } | Self::NotStarted { .. } | Self::NotServed { .. } | Self::Message { .. } => {
                true
            }
            Self::Spawn { .. }
            | Self::Runtime { .. }
            | Self::ServerFile { .. }
            | Self::Refused { .. }
            | Self::Died { .. }
            | Self::Silent { .. }
            | Self::Nonsense { .. }
            | Self::Broken { .. }
            | Self::System { .. } => false,
        }
    }
}

/// One long-lived container, in which every test is a fresh process.
///
/// Dropping it kills and reaps everything in it. When the worker dies, so does the cage.
pub struct Cage {
    channel: Channel,
    warden: Child,
    warden_end: OwnedFd,
    containment: Containment,
    output: Output,
    runs: u64,
    lost: bool,
}

impl Cage {
    /// Makes a cage, as tight as the host allows: with namespaces, or else with what holds without them. What it came
    /// to is [`Cage::containment`].
    ///
    /// # Errors
    /// When a runtime path cannot be shown, the entry cannot be started or the host refuses even limits.
    pub fn start(config: &CageConfig) -> Result<Self, CageError> {
        // A mistake in the settings must not end in a weaker cage.
        let mut parents = BTreeMap::new();
        for path in &config.runtime {
            if !path.is_absolute()
                || is_own(path)
                || real(path, &mut parents).is_some_and(|real| is_own(&real))
            {
                return Err(CageError::Runtime { path: path.clone() });
            }
        }
        for (at, (name, _)) in config.server_files.iter().enumerate() {
            let taken = config.server_files[..at].iter().any(|(other, _)| other == name);
            if taken || !is_plain(name.as_bytes()) {
                return Err(CageError::ServerFile { name: name.clone() });
            }
        }
        let mut refused = Vec::new();
        for attempt in LADDER {
            let is_roots = matches!(attempt, Attempt::Privileged | Attempt::WithoutUsers);
            if is_roots && !is_root() {
                continue;
            }
            match Self::attempt(config, attempt, &refused) {
                // Two ways often fail at the same step.
                Err(CageError::Refused { reason }) if refused.contains(&reason) => {}
                Err(CageError::Refused { reason }) => refused.push(reason),
                other => return other,
            }
        }
        let reason = refused.join("; ");
        Err(CageError::Refused { reason })
    }

    /// Makes a cage of this level only: what [`Cage::start`] falls back to can so be tried by itself.
    ///
    /// # Errors
    /// As [`Cage::start`], and when the host refuses this level.
    pub fn start_at(config: &CageConfig, level: Level) -> Result<Self, CageError> {
        match level {
            Level::Limits => Self::attempt(config, Attempt::Limits, &[]),
            Level::Namespaces => match Self::start(config)? {
                cage if cage.containment.level == Level::Namespaces => Ok(cage),
                cage => Err(CageError::Refused {
                    reason: cage.containment.reason.clone().unwrap_or_default(),
                }),
            },
        }
    }

    /// What holds the programs of this cage.
    pub fn containment(&self) -> &Containment {
        &self.containment
    }

    /// The warden's process id on the host.
    pub fn pid(&self) -> u32 {
        self.warden.id()
    }

    /// Empties the scratch and puts a program's file into the work directory, where programs start. They can read and
    /// execute it; whatever one of them does to it is undone before the next run.
    ///
    /// # Errors
    /// [`CageError::Load`] when the name is no plain file name or the scratch is too small; others lose the cage.
    pub fn load(&mut self, name: &str, text: &[u8]) -> Result<(), CageError> {
        let request = Request::Load {
            name: name.as_bytes().to_vec(),
        };
        self.put(&request, name, text, "load a program")
    }

    /// Puts one more file beside the loaded program, until the next is loaded. The same rules hold for it.
    ///
    /// A fork server that holds the program has read what was there when it got ready: files are added before the
    /// first run.
    ///
    /// # Errors
    /// [`CageError::Load`] when no program is loaded, the name is no plain file name or taken, 16 files lie there
    /// already, or the scratch is too small; others lose the cage.
    pub fn add(&mut self, name: &str, text: &[u8]) -> Result<(), CageError> {
        let request = Request::Add {
            name: name.as_bytes().to_vec(),
        };
        self.put(&request, name, text, "take a file")
    }

    fn put(
        &mut self,
        request: &Request,
        name: &str,
        text: &[u8],
        doing: &'static str,
    ) -> Result<(), CageError> {
        self.check_alive(doing)?;
        let text = memfd::seal(text).map_err(|source| CageError::System { doing, source })?;
        self.say(request, &[text.as_fd()], doing)?;
        let reply = self.answer(doing, ANSWER_WITHIN);
        match self.keep(reply)? {
            Reply::Loaded => Ok(()),
            Reply::LoadFailed { reason } => Err(CageError::Load {
                name: name.to_owned(),
                reason: lossy(&reason),
            }),
            other => self.keep(Err(nonsense(doing, &other))),
        }
    }

    /// Runs a program once, to the end of its first process, and gives its standard output to `stdout` as it comes.
    ///
    /// Nothing of it is left afterwards: neither a process nor a file.
    ///
    /// # Errors
    /// [`CageError::NotStarted`] when it could not be executed, [`CageError::NotServed`] when a fork server could not
    /// run it; others lose the cage. What a program does is an end, never an error.
    pub fn run(&mut self, run: &Run<'_>, stdout: &mut dyn FnMut(&[u8]) -> Flow) -> Result<RunEnd, CageError> {
        let doing = "run a program";
        self.check_alive(doing)?;
        self.runs += 1;
        let seq = self.runs;
        let request = Request::Run {
            seq,
            limits: run.limits,
            origin: match run.start {
                Start::Execute(argv) => Origin::Execute(texts(argv)),
                Start::Fork(server) => Origin::Fork(u32::try_from(server).unwrap_or(u32::MAX)),
            },
        };
        let pipes = self
            .output
            .pipes()
            .map_err(|source| CageError::System { doing, source });
        let (ours, [output, errors]) = self.keep(pipes)?;
        self.say(&request, &[run.stdin, output.as_fd(), errors.as_fd()], doing)?;
        drop((output, errors));
        let reply = self.output.follow(&mut self.channel, ours, seq, run, stdout);
        match self.keep(reply)? {
            Followed::Ended(end) => Ok(end),
            Followed::NotStarted { step, errno } => Err(CageError::NotStarted {
                program: match run.start {
                    Start::Execute(argv) => argv.first().cloned().unwrap_or_default(),
                    Start::Fork(_) => String::new(),
                },
                step: StartStep::words(step),
                source: io::Error::from_raw_os_error(errno),
            }),
            Followed::NotServed { reason } => Err(CageError::NotServed { reason }),
        }
    }

    fn attempt(config: &CageConfig, attempt: Attempt, refused: &[String]) -> Result<Self, CageError> {
        let doing = "make itself";
        let system = |source| CageError::System { doing, source };
        let (ours, theirs) = channel::pair().map_err(system)?;
        // The socket goes as standard input: nothing needs to run between fork and execution in a threaded worker, and
        // nothing of the worker's is inherited on purpose.
        let warden = Command::new(&config.entry)
            .arg(CAGE_ARGUMENT)
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|source| CageError::Spawn {
                entry: config.entry.clone(),
                source,
            })?;
        let mut cage = Self {
            channel: Channel::new(ours),
            warden_end: end_of(&warden).map_err(system)?,
            warden,
            containment: Containment {
                level: Level::Limits,
                layers: Layers::default(),
                reason: None,
                landlock_version: 0,
            },
            output: Output::default(),
            runs: 0,
            lost: false,
        };
        let setup = Request::Setup(Setup {
            attempt,
            cpu: config.cpu,
            scratch_bytes: config.scratch_bytes,
            scratch_inodes: config.scratch_inodes,
            runtime: config
                .runtime
                .iter()
                .map(|path| path.as_os_str().as_bytes().to_vec())
                .collect(),
            environment: variables(&config.environment),
            servers: config
                .servers
                .iter()
                .map(|server| ServerPlan {
                    argv: texts(&server.argv),
                    environment: variables(&server.environment),
                    holds: server.holds,
                })
                .collect(),
            server_files: config
                .server_files
                .iter()
                .map(|(name, text)| (name.as_bytes().to_vec(), text.len() as u64))
                .collect(),
        });
        let texts: Vec<&[u8]> = config
            .server_files
            .iter()
            .map(|(_, text)| text.as_slice())
            .collect();
        match texts.as_slice() {
            [] => cage.say(&setup, &[], doing)?,
            texts => {
                let texts = memfd::seal(&texts.concat()).map_err(system)?;
                cage.say(&setup, &[texts.as_fd()], doing)?;
            }
        }
        match cage.answer(doing, ANSWER_WITHIN)? {
            Reply::Ready { layers, refusals } => {
                let mut refused = refused.to_vec();
                if !refusals.is_empty() {
                    refused.push(lossy(&refusals));
                }
                cage.containment = Containment {
                    level: match attempt {
                        Attempt::Privileged | Attempt::Unprivileged | Attempt::WithoutUsers => {
                            Level::Namespaces
                        }
                        Attempt::Limits => Level::Limits,
                    },
                    layers: Layers::from_bits(layers),
                    reason: (!refused.is_empty()).then(|| refused.join("; ")),
                    landlock_version: sys::landlock_version().unwrap_or(0),
                };
                Ok(cage)
            }
            Reply::Refused { reason } => Err(CageError::Refused {
                reason: lossy(&reason),
            }),
            other => Err(nonsense(doing, &other)),
        }
    }

    fn check_alive(&self, doing: &'static str) -> Result<(), CageError> {
        if self.lost {
            Err(CageError::Died { doing })
        } else {
            Ok(())
        }
    }

    /// Remembers that the cage is lost when `result` says so.
    fn keep<T>(&mut self, result: Result<T, CageError>) -> Result<T, CageError> {
        if let Err(error) = &result {
            self.lost |= !error.leaves_the_cage_usable();
        }
        result
    }

    fn say(
        &mut self,
        request: &Request,
        files: &[BorrowedFd<'_>],
        doing: &'static str,
    ) -> Result<(), CageError> {
        let bytes = request
            .encode()
            .map_err(|source| CageError::Message { doing, source })?;
        let sent = self
            .channel
            .send(&bytes, files)
            .map_err(|error| match error.kind() {
                io::ErrorKind::BrokenPipe => CageError::Died { doing },
                _ => CageError::System { doing, source: error },
            });
        self.keep(sent)
    }

    fn answer(&mut self, doing: &'static str, within: Duration) -> Result<Reply, CageError> {
        let system = |source| CageError::System { doing, source };
        if !can_be_read(self.channel.fd(), within).map_err(system)? {
            let waited_ms = within.as_millis().try_into().unwrap_or(u64::MAX);
            return Err(CageError::Silent { doing, waited_ms });
        }
        receive(&mut self.channel, doing)
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        // The end of the socket ends the init, with it every process, and with the init the warden, which reaps it.
        let _ = rustix::net::shutdown(self.channel.fd(), rustix::net::Shutdown::Both);
        if !matches!(can_be_read(&self.warden_end, END_WITHIN), Ok(true)) {
            // The kernel kills the init with its parent.
            let _ = self.warden.kill();
        }
        let _ = self.warden.wait();
        remove_shared();
    }
}

impl std::fmt::Debug for Cage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cage")
            .field("pid", &self.pid())
            .field("containment", &self.containment)
            .field("runs", &self.runs)
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}

/// What following a run came to.
pub(crate) enum Followed {
    Ended(RunEnd),
    NotStarted { step: u8, errno: i32 },
    NotServed { reason: String },
}

/// Takes one reply that is there.
pub(crate) fn receive(channel: &mut Channel, doing: &'static str) -> Result<Reply, CageError> {
    let received = channel
        .receive()
        .map_err(|source| CageError::System { doing, source })?;
    let received = received.ok_or(CageError::Died { doing })?;
    match Reply::decode(received.bytes) {
        Ok(Reply::Broken { reason }) => Err(CageError::Broken {
            reason: lossy(&reason),
        }),
        Ok(reply) => Ok(reply),
        Err(error) => Err(CageError::Nonsense {
            doing,
            answer: error.to_string(),
        }),
    }
}

/// The error for a reply that has no place.
pub(crate) fn nonsense(doing: &'static str, reply: &Reply) -> CageError {
    CageError::Nonsense {
        doing,
        answer: format!("{reply:?}"),
    }
}

fn end_of(child: &Child) -> io::Result<OwnedFd> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    Ok(pidfd_open(
        pid.ok_or(io::ErrorKind::NotFound)?,
        PidfdFlags::empty(),
    )?)
}

/// The real path of `path`; `None` where it does not exist. `parents` keeps those of directories that were asked for: an
/// interpreter's modules are hundreds of paths in one.
fn real(path: &Path, parents: &mut BTreeMap<PathBuf, Option<PathBuf>>) -> Option<PathBuf> {
    match (path.parent(), path.file_name(), path.symlink_metadata()) {
        (Some(parent), Some(name), Ok(metadata)) if !metadata.is_symlink() => {
            let known = parents.get(parent).cloned();
            let real = known.unwrap_or_else(|| {
                let real = parent.canonicalize().ok();
                parents.insert(parent.to_owned(), real.clone());
                real
            });
            Some(real?.join(name))
        }
        (_, _, Ok(_)) => path.canonicalize().ok(),
        (_, _, Err(_)) => None,
    }
}

fn texts(texts: &[String]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn variables(variables: &[(String, String)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let bytes = |text: &String| text.as_bytes().to_vec();
    variables
        .iter()
        .map(|(name, value)| (bytes(name), bytes(value)))
        .collect()
}

pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
