//! The inside of a cage: the warden, the init that it forks, and the init's helpers.
//!
//! Entered by [`enter_if_cage`] in the worker's re-executed binary. The warden makes the namespaces, does what the
//! init has no rights for (`errands`), gives up its own and then only waits; the init (`serve`) does the rest, with a `reaper` inside
//! the programs' pid namespace and, where there are fork servers (`server`, `roster`), a `nursery` outside it.

mod backstops;
mod cgroup;
mod errands;
mod nursery;
mod own_proc;
mod privileges;
mod processes;
mod reaper;
mod roster;
mod scratch;
mod serve;
mod server;
mod settings;
mod tree;
mod victims;
mod walls;
mod watch;

pub(crate) use cgroup::remove_shared;
pub(crate) use privileges::is_root;
pub(crate) use scratch::is_plain;
pub(crate) use server::ANSWER_WITHIN as SERVER_ANSWERS_WITHIN;
pub(crate) use tree::is_own;

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, chdir, getppid, pidfd_open, setsid, umask};
use rustix::thread::{CpuSet, sched_setaffinity};

use cgroup::Cgroup;

use crate::channel::{self, Channel};
use crate::message::{Attempt, Reply, Request, Setup};
use crate::sys;

/// First argument of a process that is to become a cage.
pub(crate) const CAGE_ARGUMENT: &str = "__cage";

/// Becomes a cage's warden when this process was started as one; returns at once otherwise.
///
/// The first call of `main`, before any thread, runtime or open file exists: a cage forks and must have one thread.
/// When the first argument is `__cage` it never returns.
pub fn enter_if_cage() {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|argument| argument == CAGE_ARGUMENT)
    {
        let status = match warden() {
            Ok(()) => 0,
            Err(_) => 1,
        };
        sys::exit_now(status);
    }
}

/// A step that the host refused, and why.
#[derive(Debug)]
pub(crate) struct Refusal {
    step: String,
    error: io::Error,
}

impl Refusal {
    pub(crate) fn of(step: impl Into<String>, error: impl Into<io::Error>) -> Self {
        Self {
            step: step.into(),
            error: error.into(),
        }
    }

    pub(crate) fn text(&self) -> String {
        format!("{}: {}", self.step, self.error)
    }
}

/// Names the step of a result.
pub(crate) trait Step<T> {
    fn step(self, name: &str) -> Result<T, Refusal>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, name: &str) -> Result<T, Refusal> {
        self.map_err(|error| Refusal::of(name, error))
    }
}

/// The whole life of the warden.
fn warden() -> io::Result<()> {
    // Asked once and kept: before Linux 6.4 the answer is read from `/proc`, which is not there inside.
    let _ = rustix::param::page_size();
    // Standard input is the socket, output and error are `/dev/null`; nothing else of the worker comes further.
    sys::close_from(3)?;
    let mut channel = Channel::new(sys::take_standard_input()?);
    let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    (0..3).try_for_each(|number| sys::put_at(null.as_fd(), number))?;
    drop(null);

    let worker = getppid().ok_or(io::ErrorKind::NotFound)?;
    // Not PR_SET_PDEATHSIG: that follows the worker's thread, and a cage may outlive the thread that made it.
    let worker_end = pidfd_open(worker, PidfdFlags::empty())?;
    if getppid() != Some(worker) {
        return Ok(());
    }
    sys::reset_signals();
    // A session of its own: Ctrl-C in the worker's terminal is for the worker.
    setsid()?;
    chdir("/")?;
    // What the init makes for programs must be open to them, whatever the worker was started with.
    umask(Mode::from_raw_mode(0o022));

    let (setup, texts) = match channel.receive()? {
        Some(mut received) => match Request::decode(received.bytes) {
            Ok(Request::Setup(setup)) => (setup, received.files.pop()),
            Ok(_) | Err(_) => return Err(io::ErrorKind::InvalidData.into()),
        },
        None => return Ok(()),
    };
    if let Some(cpu) = setup.cpu {
        let mut only = CpuSet::new();
        only.set(cpu.min(CpuSet::MAX_CPU - 1));
        // A processor that is gone or not ours is no reason to run nothing.
        let _ = sched_setaffinity(None, &only);
    }
    let mut cgroup = Cgroup::make(privileges::warden_to_be(setup.attempt));
    let end = match setup.attempt {
        Attempt::Limits => {
            serve::without_namespaces(channel, &setup, cgroup.grip());
            Ok(())
        }
        Attempt::Privileged | Attempt::Unprivileged | Attempt::WithoutUsers => {
            within_namespaces(channel, &setup, texts, &worker_end, &mut cgroup)
        }
    };
    cgroup.remove();
    end
}

/// Forks the init as pid 1 of a new namespace and waits until it or the worker ends; then both have.
fn within_namespaces(
    channel: Channel,
    setup: &Setup,
    texts: Option<OwnedFd>,
    worker_end: &OwnedFd,
    cgroup: &mut Cgroup,
) -> io::Result<()> {
    let refuse = |channel: &Channel, refusal: &Refusal| {
        let reason = refusal.text().into_bytes();
        let message = Reply::Refused { reason }.encode().map_err(io::Error::other)?;
        channel.send(&message, &[])
    };
    if let Err(refusal) = privileges::prepare(setup.attempt) {
        return refuse(&channel, &refusal);
    }
    let (ours, theirs) = channel::pair()?;
    let proc = open(
        "/proc",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    );
    let proc = match proc.step("open `/proc`") {
        Ok(proc) => proc,
        Err(refusal) => return refuse(&channel, &refusal),
    };
    let program = privileges::program_of(setup.attempt);
    // The init alone holds the socket from here on, so that its death is the socket's end. Of the pair between warden
    // and init each keeps its own end only: a read there ends when the other has died.
    let mut channel = Some(channel);
    let mut ours = Some(ours);
    let mut texts = texts;
    let mut theirs = Some(theirs);
    let init = sys::fork_into(|| {
        drop(ours.take());
        let Some(mut channel) = channel.take() else {
            return 1;
        };
        let grip = cgroup.grip();
        cgroup.let_go();
        match serve::within_namespaces(&mut channel, setup, texts.take(), (program, theirs.take()), grip) {
            Ok(()) => 0,
            Err(refusal) => i32::from(refuse(&channel, &refusal).is_err()) + 1,
        }
    })?;
    drop((channel, theirs, texts));
    let Some(ours) = ours else { return Ok(()) };
    let init_end = pidfd_open(
        Pid::from_raw(init).ok_or(io::ErrorKind::NotFound)?,
        PidfdFlags::empty(),
    )?;

    errands::run(ours, &proc, init, setup.attempt)?;
    drop(proc);
    privileges::give_up_as_warden(setup.attempt)?;

    loop {
        let mut ends = [
            PollFd::new(worker_end, PollFlags::IN),
            PollFd::new(&init_end, PollFlags::IN),
        ];
        match poll(&mut ends, None) {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // The kernel ends every process of the namespace before the init can be reaped.
    sys::kill(init);
    sys::wait_any(sys::Wait::UntilOneEnds)?;
    Ok(())
}
