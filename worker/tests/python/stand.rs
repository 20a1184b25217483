//! Where the programs of these tests run: an interpreter, a directory to work in, and the servers' files.

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use roundhouse_proto::Language;
use roundhouse_sandbox::{Ended, reopen, seal};
use roundhouse_worker::language::Interpreter;
use rustix::process::{Pid, Signal, kill_process_group};

/// No program here takes a part of it, on a machine that is free.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The directory of the servers' files, as the servers' own arguments have it.
const SERVER_DIRECTORY: &str = "/z";

/// How a program ended and what it wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) ended: Ended,
}

/// An interpreter and its directories.
pub(crate) struct Stand {
    pub(crate) interpreter: Interpreter,
    files: tempfile::TempDir,
    work: tempfile::TempDir,
}

impl Stand {
    /// One for `python`, or else for the interpreter of these tests.
    pub(crate) fn of(python: Option<&Path>) -> Self {
        let interpreter = interpreter(python);
        let files = tempfile::tempdir().unwrap();
        for (name, text) in interpreter.server_files() {
            fs::write(files.path().join(name), text).unwrap();
        }
        let work = tempfile::tempdir().unwrap();
        Self {
            interpreter,
            files,
            work,
        }
    }

    /// The directory that programs run in.
    pub(crate) fn work(&self) -> &Path {
        self.work.path()
    }

    /// Leaves nothing there but the program.
    pub(crate) fn load(&self, program: &[u8]) {
        for entry in fs::read_dir(self.work()).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                fs::remove_dir_all(entry.path()).unwrap();
            } else {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        fs::write(self.work().join("main.py"), program).unwrap();
    }

    /// An argument or a variable of a server with the directory that its files really have.
    pub(crate) fn with_directory(&self, text: &str) -> String {
        match text.strip_prefix(SERVER_DIRECTORY) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                format!("{}{rest}", self.files.path().display())
            }
            _ => text.to_owned(),
        }
    }

    /// The minor version of Python 3.
    pub(crate) fn minor(&self) -> u32 {
        let version = self.interpreter.name().rsplit_once(' ').unwrap().1;
        version.split('.').nth(1).unwrap().parse().unwrap()
    }

    /// Whether programs can import numpy.
    pub(crate) fn has_numpy(&self) -> bool {
        let mut question = Command::new(self.interpreter.executable());
        let answer = question
            .args(["-c", "import numpy"])
            .stderr(Stdio::null())
            .status();
        answer.unwrap().success()
    }

    /// Runs the loaded program by the interpreter itself, in a session of its own.
    pub(crate) fn run_plainly(&self, input: &[u8]) -> Outcome {
        let mut command = Command::new("/usr/bin/setsid");
        command.arg(self.interpreter.executable()).arg("main.py");
        command
            .env_clear()
            .envs(self.interpreter.environment().iter().cloned());
        let command = command.current_dir(self.work()).stdin(stdin(input));
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
        let stdout = drained(child.stdout.take().unwrap());
        let stderr = drained(child.stderr.take().unwrap());
        let outcome = (stdout.recv_timeout(PATIENCE), stderr.recv_timeout(PATIENCE));
        let (Ok(stdout), Ok(stderr)) = outcome else {
            let _ = kill_process_group(pid, Signal::KILL);
            panic!("it runs on and on");
        };
        let ended = ended(child.wait().unwrap());
        Outcome {
            stdout,
            stderr,
            ended,
        }
    }
}

/// The interpreter `python`, or else the one of these tests.
pub(crate) fn interpreter(python: Option<&Path>) -> Interpreter {
    let chosen = std::env::var_os("ROUNDHOUSE_TEST_PYTHON").map(PathBuf::from);
    Interpreter::resolve(Language::Python3, python.or(chosen.as_deref())).unwrap()
}

/// A standard input as the cages make it.
pub(crate) fn stdin(input: &[u8]) -> OwnedFd {
    reopen(seal(input).unwrap().as_fd()).unwrap()
}

/// Everything that comes out of a pipe, once nobody has it open for writing.
pub(crate) fn drained(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = sync_channel(1);
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        // Who has run out of patience does not listen.
        let _ = sender.send(bytes);
    });
    receiver
}

/// The end that a status of `wait` means.
pub(crate) fn ended(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(status), _) => Ended::Exit(status),
        (None, Some(signal)) => Ended::Signal(signal),
        (None, None) => panic!("it has not ended: {status}"),
    }
}
