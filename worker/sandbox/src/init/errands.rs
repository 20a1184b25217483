//! What the warden does for the init while the cage is made, with rights that the init has given up by then.
//!
//! The init asks over a socket and waits for each answer: its id maps are written, and `/proc` is put into the programs'
//! tree (`own_proc`). When it closes its end the warden gives up its rights too. No program runs before that.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{own_proc, privileges};
use crate::channel::Channel;
use crate::message::Attempt;
use crate::sys::{self, ProcessId};

/// Write the id maps of who asks.
const MAPS: u8 = b'm';
/// Put a `/proc` of the first namespace beside the message into the tree of the second.
const PROC: u8 = b'p';
/// Longest message: what is asked for, or an errno.
const BYTES_MAX: usize = 4;
/// Most messages: each thing is asked for once.
const ASKED_MAX: u32 = 2;

/// The init's end.
pub(super) struct Errands(Channel);

impl Errands {
    pub(super) fn asked_over(socket: OwnedFd) -> Self {
        Self(Channel::with_room(socket, BYTES_MAX))
    }

    /// Has the warden write this process's id maps.
    pub(super) fn write_maps(&mut self) -> io::Result<()> {
        self.ask(MAPS, &[])
    }

    /// Has the warden give the programs a `/proc` of their pid namespace. `tree` is the mount namespace of the cage.
    pub(super) fn mount_proc(&mut self, programs: BorrowedFd<'_>, tree: BorrowedFd<'_>) -> io::Result<()> {
        self.ask(PROC, &[programs, tree])
    }

    /// A warden that has died is no refusal of the host, and there is nobody to serve: this process ends.
    fn ask(&mut self, what: u8, files: &[BorrowedFd<'_>]) -> io::Result<()> {
        let received = self.0.send(&[what], files).and_then(|()| self.0.receive());
        let errno = match &received {
            Ok(Some(answer)) => answer.bytes.first_chunk(),
            Ok(None) | Err(_) => None,
        };
        match errno.map(|errno| i32::from_le_bytes(*errno)) {
            None => sys::exit_now(1),
            Some(0) => Ok(()),
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

/// The warden's end: answers until the init `init` asks nothing more. `proc` is the host's `/proc`.
pub(super) fn run(socket: OwnedFd, proc: &OwnedFd, init: ProcessId, attempt: Attempt) -> io::Result<()> {
    let mut channel = Channel::with_room(socket, BYTES_MAX);
    for _ in 0..ASKED_MAX {
        let Some(asked) = channel.receive()? else { break };
        let done = match (asked.bytes, asked.files.as_slice()) {
            (&[MAPS], []) => privileges::write_maps(proc, init, attempt),
            (&[PROC], [programs, tree]) => own_proc::mount(programs.as_fd(), tree.as_fd(), attempt),
            (_, _) => Err(io::ErrorKind::InvalidData.into()),
        };
        let errno = match done {
            Ok(()) => 0,
            Err(error) => error.raw_os_error().unwrap_or(libc::EINVAL),
        };
        channel.send(&errno.to_le_bytes(), &[])?;
    }
    Ok(())
}
