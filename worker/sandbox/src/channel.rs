//! Sockets between the worker, a cage's init and its helpers: one datagram per message, files beside it.
//!
//! Both ends use it. It moves bytes and files; what they mean is `message`, between init and nursery `init::nursery`,
//! between init and fork server `init::server`.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use crate::message::MESSAGE_BYTES_MAX;

/// Most files beside one message: standard input, output and error.
pub(crate) const FILES_MAX: usize = 3;

/// One end.
pub(crate) struct Channel {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

/// One datagram, as it came.
pub(crate) struct Received<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) files: Vec<OwnedFd>,
}

/// A pair of connected sockets, closed on execution.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Sends one message; a peer that is gone is an error, never a signal.
pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let bytes = [IoSlice::new(bytes)];
    loop {
        match sendmsg(socket, &bytes, &mut control, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            // What was not read when the peer ended; the same to a writer.
            Err(Errno::CONNRESET) => return Err(io::ErrorKind::BrokenPipe.into()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until `fd` can be read; false when the time is over first.
pub(crate) fn can_be_read(fd: impl AsFd, within: Duration) -> io::Result<bool> {
    let until = Instant::now() + within;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timespec(left))) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Time as `poll` takes it.
pub(crate) fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}

impl Channel {
    /// An end that takes messages of [`MESSAGE_BYTES_MAX`].
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self::with_room(socket, MESSAGE_BYTES_MAX)
    }

    /// An end that takes messages of `bytes_max`.
    pub(crate) fn with_room(socket: OwnedFd, bytes_max: usize) -> Self {
        Self {
            socket,
            buffer: vec![0; bytes_max],
        }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends one message; a peer that is gone is an error, never a signal.
    pub(crate) fn send(&self, bytes: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
        send(self.fd(), bytes, files)
    }

    /// Receives one message, waiting for it; `None` when the peer is gone.
    pub(crate) fn receive(&mut self) -> io::Result<Option<Received<'_>>> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut bytes = [IoSliceMut::new(&mut self.buffer)];
            match recvmsg(&self.socket, &mut bytes, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Ok(received) => break received,
                Err(Errno::INTR) => {}
                Err(Errno::CONNRESET) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        };
        let mut files = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                files.extend(rights);
            }
        }
        if received
            .flags
            .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a message was cut by the system",
            ));
        }
        if received.bytes == 0 {
            return Ok(None);
        }
        Ok(Some(Received {
            bytes: &self.buffer[..received.bytes],
            files,
        }))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use std::fs::File;
    use std::io::Read;

    use super::*;

    #[test]
    fn a_message_arrives_whole_with_its_files() {
        let (one, other) = pair().unwrap();
        let (one, mut other) = (Channel::new(one), Channel::new(other));
        let file = crate::seal(b"inside").unwrap();
        one.send(&[7; 70_000], &[file.as_fd()]).unwrap();
        let received = other.receive().unwrap().unwrap();
        assert_eq!((received.bytes, received.files.len()), (&[7; 70_000][..], 1));
        let mut text = String::new();
        let again = crate::reopen(received.files[0].as_fd()).unwrap();
        File::from(again).read_to_string(&mut text).unwrap();
        assert_eq!(text, "inside");
    }

    #[test]
    fn a_peer_that_is_gone_reads_as_none_and_writes_as_an_error() {
        let (one, other) = pair().unwrap();
        drop(other);
        let mut one = Channel::new(one);
        assert!(one.receive().unwrap().is_none());
        assert_eq!(one.send(b"x", &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
