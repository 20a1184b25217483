//! A cluster of real processes on this host: one coordinator, workers that come and go.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use crate::processes::kill_9;
use crate::{Place, Ran, coordinator, wait_until, worker};

/// A coordinator with its workers; all are killed when it is dropped.
pub struct Fleet {
    /// Where everything of it lies.
    pub place: Place,
    /// Where the coordinator listens, `http://127.0.0.1:PORT`.
    pub url: String,
    coordinator: Option<Process>,
    coordinators_n: usize,
    workers: Vec<Process>,
}

/// A process whose standard error goes to a file.
struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    fn start(mut command: Command, log: PathBuf) -> Self {
        let file = File::create(&log).expect("a new log file");
        let out = file.try_clone().expect("a second handle of a file");
        let child = command
            .stdout(out)
            .stderr(file)
            .spawn()
            .expect("a program that was built starts");
        Self { child, log }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn kill(mut self) {
        kill_9(self.child.id());
        let _ = self.child.wait();
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for process in self.workers.drain(..).chain(self.coordinator.take()) {
            process.kill();
        }
    }
}

impl Fleet {
    /// A coordinator on a free port, with no worker.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// As above, with more flags.
    pub fn start_with(flags: &[&str]) -> Self {
        let mut fleet = Self {
            place: Place::new(),
            url: String::new(),
            coordinator: None,
            coordinators_n: 0,
            workers: Vec::new(),
        };
        fleet.start_coordinator("127.0.0.1:0", flags);
        fleet
    }

    fn start_coordinator(&mut self, address: &str, flags: &[&str]) {
        self.coordinators_n += 1;
        let log = self
            .place
            .path()
            .join(format!("coordinator-{}.log", self.coordinators_n));
        let mut command = self.place.command(&coordinator());
        command.args(["start", "--listen", address]).args(flags);
        let process = Process::start(command, log);
        wait_until("the coordinator listens", || {
            process.said().contains("listens on http://")
        });
        let said = process.said();
        let url = said
            .split_whitespace()
            .find(|word| word.starts_with("http://"))
            .expect("it was waited for");
        self.url = url.to_owned();
        self.coordinator = Some(process);
    }

    /// `kill -9` of the coordinator.
    pub fn kill_coordinator(&mut self) {
        self.coordinator.take().expect("it runs").kill();
    }

    /// Starts the coordinator again on the same port and the same directories.
    pub fn restart_coordinator(&mut self) {
        let address = self.url.trim_start_matches("http://").to_owned();
        self.start_coordinator(&address, &[]);
    }

    /// Waits until the coordinator ends by itself.
    pub fn coordinator_ended(&mut self) -> ExitStatus {
        let mut process = self.coordinator.take().expect("it runs");
        let mut status = None;
        wait_until("the coordinator has ended", || {
            status = process.child.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        status.expect("it was waited for")
    }

    /// What the coordinator has printed since its last start.
    pub fn coordinator_said(&self) -> String {
        self.coordinator.as_ref().map(Process::said).unwrap_or_default()
    }

    /// Adds a worker with these flags of `worker join` and these variables of the environment; gives its place among
    /// the workers.
    pub fn join(&mut self, flags: &[&str], environment: &[(&str, &str)]) -> usize {
        let n = self.workers.len();
        let log = self.place.path().join(format!("worker-{n}.log"));
        let mut command = self.place.command(&worker());
        command
            .args(["join", "--coordinator", &self.url])
            .args(flags)
            .envs(environment.iter().copied());
        self.workers.push(Process::start(command, log));
        n
    }

    /// What a worker has printed.
    pub fn worker_said(&self, n: usize) -> String {
        self.workers[n].said()
    }

    /// The process id of a worker.
    pub fn worker_pid(&self, n: usize) -> u32 {
        self.workers[n].child.id()
    }

    /// `kill -9` of a worker; the others keep their places.
    pub fn kill_worker(&mut self, n: usize) {
        kill_9(self.workers[n].child.id());
        let _ = self.workers[n].child.wait();
    }

    /// Waits until a worker has ended by itself.
    pub fn worker_ended(&mut self, n: usize) -> ExitStatus {
        let child = &mut self.workers[n].child;
        let mut status = None;
        wait_until("the worker has ended", || {
            status = child.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        status.expect("it was waited for")
    }

    /// Runs a command of the coordinator program against this coordinator, to its end.
    pub fn ask(&self, args: &[&str]) -> Ran {
        self.ask_in(self.place.path(), args)
    }

    /// As above, in another working directory.
    pub fn ask_in(&self, dir: &Path, args: &[&str]) -> Ran {
        let mut command = self.place.command(&coordinator());
        command
            .current_dir(dir)
            .args(args)
            .args(["--coordinator", &self.url]);
        Ran::of(command.output().expect("a program that was built starts"))
    }

    /// Starts a command of the coordinator program against this coordinator; its output goes to `NAME.out` and
    /// `NAME.err` in the place.
    pub fn ask_on(&self, name: &str, args: &[&str]) -> Child {
        let file =
            |kind: &str| File::create(self.place.path().join(format!("{name}.{kind}"))).expect("a new file");
        self.place
            .command(&coordinator())
            .args(args)
            .args(["--coordinator", &self.url])
            .stdout(file("out"))
            .stderr(file("err"))
            .spawn()
            .expect("a program that was built starts")
    }
}
