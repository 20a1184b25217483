//! The reaper: pid 1 of the programs' namespace, and the init's hand inside it.
//!
//! Forked by the init; every program lives in its namespace, the init and the fork servers live outside it, where no
//! program can name them. So one call of the kernel, made by the reaper, ends all programs at one instant and nothing
//! else. It reaps whatever lost its parent and counts what that has used. It executes nothing, holds one socket and no
//! right but that to kill, and ends with the init.
//!
//! The init asks with one byte: [`KILL`] kills, [`END`] kills, reaps, and is answered by whether somebody is left who
//! is another's child. Both are rare: a run that leaves nothing is seen to by a look at the reaper's list of children.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::thread::CapabilitySet;

use crate::channel::{self, can_be_read};
use crate::sys::{self, ProcessId, SharedNumbers, Wait, Waited};

/// Kill every program; no answer.
const KILL: u8 = b'K';
/// Kill every program, reap all of them that are the reaper's; answered by [`NOBODY`] or [`OTHERS`].
const END: u8 = b'E';
/// Nobody is left in the namespace.
const NOBODY: u8 = b'0';
/// Somebody is left who is not the reaper's to reap.
const OTHERS: u8 = b'1';

/// Longest wait for killed programs to end.
const ENDED_WITHIN: Duration = Duration::from_secs(5);

/// The reaper as the init holds it.
pub(super) struct Reaper {
    pub(super) pid: ProcessId,
    socket: OwnedFd,
    used: Used,
    /// The kernel's list of its children; `None` where there is no such list.
    children: Option<OwnedFd>,
}

/// Whether a namespace is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    Nobody,
    /// Children of the init or of a fork server, killed and not yet reaped.
    Others,
}

/// What reaped processes have used since it was last forgotten; written by the reaper, read by the init.
#[derive(Clone, Copy)]
struct Used(SharedNumbers<3>);

impl Used {
    const CPU_US: usize = 0;
    const GREATEST_BYTES: usize = 1;
    /// Not 0 while the reaper is between the end of a child and its count.
    const BUSY: usize = 2;

    fn get(self, which: usize) -> u64 {
        self.0[which].load(Ordering::SeqCst)
    }

    fn set(self, which: usize, value: u64) {
        self.0[which].store(value, Ordering::SeqCst);
    }
}

impl Reaper {
    /// Forks it. The caller's next child is pid 1 of a new namespace. `proc` shows the caller's namespace; without it the
    /// reaper is asked at the end of each run.
    pub(super) fn start(proc: Option<&OwnedFd>) -> io::Result<Self> {
        let used = Used(SharedNumbers::new()?);
        let (ours, theirs) = channel::pair()?;
        let pid = sys::fork_into(|| i32::from(live(&theirs, used).is_err()))?;
        let children = proc.and_then(|proc| {
            let path = format!("{pid}/task/{pid}/children");
            openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
        });
        Ok(Self {
            pid,
            socket: ours,
            used,
            children,
        })
    }

    /// Begins the count of a run. Nothing of the run before may be left.
    pub(super) fn forget(&self) {
        self.used.set(Used::CPU_US, 0);
        self.used.set(Used::GREATEST_BYTES, 0);
    }

    /// CPU time in microseconds and the greatest memory in bytes of what it reaped.
    pub(super) fn reaped(&self) -> (u64, u64) {
        (self.used.get(Used::CPU_US), self.used.get(Used::GREATEST_BYTES))
    }

    /// Kills every program, soon.
    pub(super) fn kill_all(&self) -> io::Result<()> {
        self.ask(KILL)
    }

    /// Sees to it that no program is left, when the first process of the run has been reaped.
    ///
    /// # Errors
    /// When the reaper is gone, and with it its namespace.
    pub(super) fn end_all(&self) -> io::Result<Left> {
        self.check()?;
        if self.has_no_children() {
            return Ok(Left::Nobody);
        }
        self.ask(END)?;
        if !can_be_read(&self.socket, ENDED_WITHIN)? {
            return Err(io::Error::other("a killed program does not end"));
        }
        let mut answer = [0; 1];
        match recv(&self.socket, &mut answer, RecvFlags::DONTWAIT) {
            Ok((1, _)) => {}
            Ok(_) | Err(Errno::CONNRESET) => return Err(gone()),
            Err(error) => return Err(error.into()),
        }
        Ok(match answer[0] {
            NOBODY => Left::Nobody,
            _ => Left::Others,
        })
    }

    /// # Errors
    /// When the reaper has ended. Nothing can be started in its namespace any more.
    pub(super) fn check(&self) -> io::Result<()> {
        match sys::wait_for(self.pid, Wait::NotAtAll)? {
            Waited::NoneEnded => Ok(()),
            Waited::Reaped(_) | Waited::NoChildren => Err(gone()),
        }
    }

    /// Whether nothing is left for sure. Without the run's first process all that is left descends from the reaper,
    /// because no program may make a process that is not its child (`filter::calls`); a list that is empty is so in one instant, and then nobody is there who could change it.
    fn has_no_children(&self) -> bool {
        let Some(children) = &self.children else {
            return false;
        };
        // The list first: one that was taken out of it after this was set is not counted yet.
        matches!(rustix::io::pread(children, &mut [0; 1], 0), Ok(0)) && self.used.get(Used::BUSY) == 0
    }

    fn ask(&self, what: u8) -> io::Result<()> {
        match send(&self.socket, &[what], SendFlags::NOSIGNAL) {
            Ok(_) => Ok(()),
            Err(Errno::PIPE | Errno::CONNRESET) => Err(gone()),
            Err(error) => Err(error.into()),
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the reaper of the programs is gone")
}

/// The reaper's life.
fn live(socket: &OwnedFd, used: Used) -> io::Result<()> {
    sys::close_others(&[socket.as_fd()])?;
    let kept = rustix::thread::capabilities(None)?.permitted & CapabilitySet::KILL;
    sys::set_capabilities(kept.bits())?;
    rustix::process::chdir("/")?;
    let ends = sys::child_ends()?;
    loop {
        let mut events = [
            PollFd::new(socket, PollFlags::IN),
            PollFd::new(&ends, PollFlags::IN),
        ];
        match poll(&mut events, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let [asked, ended] = events.map(|event| !event.revents().is_empty());
        if ended {
            // Which children have ended is asked of the kernel: signals of several ends are one.
            let _ = rustix::io::read(&ends, &mut [0; 128]);
            reap(used, Wait::NotAtAll)?;
        }
        if !asked {
            continue;
        }
        let mut what = [0; 1];
        match recv(socket, &mut what, RecvFlags::empty()) {
            Ok((0, _)) | Err(Errno::CONNRESET) => return Ok(()),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let left = sys::kill_all_others();
        if what[0] == END {
            let left = left && {
                reap(used, Wait::UntilOneEnds)?;
                sys::kill_all_others()
            };
            send(socket, &[if left { OTHERS } else { NOBODY }], SendFlags::NOSIGNAL)?;
        }
    }
}

/// Reaps and counts children: those that have ended, or all, waiting for each.
fn reap(used: Used, wait: Wait) -> io::Result<()> {
    used.set(Used::BUSY, 1);
    while let Waited::Reaped(child) = sys::wait_any(wait)? {
        used.set(Used::CPU_US, used.get(Used::CPU_US) + child.cpu_us);
        let greatest = used.get(Used::GREATEST_BYTES).max(child.memory_bytes);
        used.set(Used::GREATEST_BYTES, greatest);
    }
    used.set(Used::BUSY, 0);
    Ok(())
}
