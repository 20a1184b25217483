//! What one would do without a judge: start a process, give it the input, read what it writes.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs `/bin/true`; std starts so plain a process by vfork and exec.
pub(crate) fn run_true() {
    assert!(Command::new("/bin/true").status().unwrap().success());
}

/// A program in a directory of its own, with an input beside it.
pub(crate) struct Bare {
    directory: tempfile::TempDir,
    interpreter: PathBuf,
}

/// How a bare run ended.
pub(crate) struct Ended {
    pub(crate) stdout: Vec<u8>,
    /// None if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) timed_out: bool,
}

impl Bare {
    pub(crate) fn new(interpreter: &Path, program: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("main.py"), program).unwrap();
        Self {
            directory,
            interpreter: interpreter.to_owned(),
        }
    }

    /// Runs the program once by a fresh interpreter, at most so long.
    pub(crate) fn run(&self, input: &str, at_most: Duration) -> Ended {
        let stdin = self.directory.path().join("input");
        std::fs::write(&stdin, input).unwrap();
        let mut child = Command::new(&self.interpreter)
            .arg("main.py")
            .current_dir(self.directory.path())
            .env_clear()
            .env("LANG", "C.UTF-8")
            .env("PYTHONHASHSEED", "0")
            .stdin(File::open(&stdin).unwrap())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            output.read_to_end(&mut bytes).map(|_| bytes)
        });
        let begun = Instant::now();
        let mut timed_out = false;
        // Waiting for the end of its output first costs nothing; a program that writes nothing and goes on is ended.
        while !reader.is_finished() {
            if begun.elapsed() > at_most {
                timed_out = true;
                child.kill().unwrap();
                break;
            }
            std::thread::park_timeout(Duration::from_micros(200));
        }
        let status = child.wait().unwrap();
        Ended {
            stdout: reader.join().unwrap().unwrap(),
            code: status.code(),
            timed_out,
        }
    }

    /// Runs the program once, as cheaply as a process can be started and waited for.
    pub(crate) fn run_simply(&self, stdin: &Path) {
        let output = Command::new(&self.interpreter)
            .arg("main.py")
            .current_dir(self.directory.path())
            .env_clear()
            .env("LANG", "C.UTF-8")
            .env("PYTHONHASHSEED", "0")
            .stdin(File::open(stdin).unwrap())
            .stdout(Stdio::piped())
            .output()
            .unwrap();
        assert!(output.status.success());
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}
