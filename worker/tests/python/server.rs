//! A fork server as a plain process, and the side of the protocol that is a cage's init.

use std::io::{IoSlice, Read, pipe};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use roundhouse_proto::StartMode;
use roundhouse_sandbox::{Holds, Start, reopen, seal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    recv, sendmsg, socketpair,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::stand::{Outcome, PATIENCE, Stand, drained, ended, stdin};

/// More than any answer has.
const ANSWER_BYTES_MAX: usize = 4096;

/// Puts standard input at 3, the file named first at 0, and executes the rest.
const BEHIND_FILE_3: &str = "exec 3<&0 0<\"$1\" && shift && exec \"$@\"";

/// A running server.
pub(crate) struct Server {
    process: Child,
    socket: OwnedFd,
    holds: Holds,
    /// Its standard input, which it opens by its place in this process.
    _nothing: OwnedFd,
}

/// One run of a server.
pub(crate) struct Forked {
    pub(crate) pid: Pid,
    pub(crate) outcome: Outcome,
    pub(crate) cpu_us: u64,
    pub(crate) memory_bytes: u64,
}

impl Server {
    /// Starts the server that forks for `mode`; it need not be ready.
    pub(crate) fn start(stand: &Stand, mode: StartMode) -> Self {
        let Start::Fork(place) = stand.interpreter.start(mode) else {
            panic!("no server for `{}`", mode.word());
        };
        let server = &stand.interpreter.servers()[place];
        let (socket, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let nothing = reopen(seal(b"").unwrap().as_fd()).unwrap();
        let variables = [stand.interpreter.environment(), &server.environment].concat();
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", BEHIND_FILE_3, "sh"])
            .arg(format!("/proc/{}/fd/{}", std::process::id(), nothing.as_raw_fd()))
            .args(["/usr/bin/env", "-i"])
            .args(
                variables
                    .iter()
                    .map(|(name, value)| format!("{name}={}", stand.with_directory(value))),
            )
            .args(server.argv.iter().map(|argument| stand.with_directory(argument)))
            .current_dir(stand.work())
            .stdin(theirs);
        let process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            process,
            socket,
            holds: server.holds,
            _nothing: nothing,
        }
    }

    /// Has it take up the loaded program; its reason if it will not serve it.
    pub(crate) fn prepare(&mut self) -> Result<(), String> {
        if self.holds == Holds::Program {
            self.send(b"P", &[]);
        }
        let answer = self.answer();
        match answer.split_first() {
            Some((b'p', [])) => Ok(()),
            Some((b'n', reason)) => Err(String::from_utf8(reason.to_vec()).unwrap()),
            _ => panic!("it answered {answer:?}"),
        }
    }

    /// Runs the loaded program once.
    pub(crate) fn run(&mut self, input: &[u8]) -> Forked {
        let (stdout, output) = pipe().unwrap();
        let (stderr, errors) = pipe().unwrap();
        let stdin = stdin(input);
        self.send(b"R", &[stdin.as_fd(), output.as_fd(), errors.as_fd()]);
        drop((output, errors));
        let (stdout, stderr) = (drained(stdout), drained(stderr));
        let forked = self.answer();
        let (b's', number) = forked.split_first().unwrap() else {
            panic!("it answered {forked:?}");
        };
        let pid = Pid::from_raw(i32::from_le_bytes(number.try_into().unwrap())).unwrap();
        let (Ok(stdout), Ok(stderr)) = (stdout.recv_timeout(PATIENCE), stderr.recv_timeout(PATIENCE)) else {
            let _ = kill_process(pid, Signal::KILL);
            panic!("it runs on and on");
        };
        let end = self.answer();
        let (b'e', numbers) = end.split_first().unwrap() else {
            panic!("it answered {end:?}");
        };
        assert_eq!(numbers.len(), 20);
        let status = i32::from_le_bytes(numbers[..4].try_into().unwrap());
        let ended = ended(ExitStatus::from_raw(status));
        Forked {
            pid,
            outcome: Outcome {
                stdout,
                stderr,
                ended,
            },
            cpu_us: u64::from_le_bytes(numbers[4..12].try_into().unwrap()),
            memory_bytes: u64::from_le_bytes(numbers[12..].try_into().unwrap()),
        }
    }

    /// Ends the conversation; how the server ended.
    pub(crate) fn end(self) -> ExitStatus {
        let Self {
            mut process, socket, ..
        } = self;
        // Its outputs stay open until it has ended: nobody reads them, and it writes nothing.
        drop(socket);
        process.wait().unwrap()
    }

    fn send(&self, bytes: &[u8], files: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(files)));
        }
        sendmsg(
            &self.socket,
            &[IoSlice::new(bytes)],
            &mut control,
            SendFlags::NOSIGNAL,
        )
        .unwrap();
    }

    /// The next message.
    fn answer(&mut self) -> Vec<u8> {
        assert!(self.can_be_read(PATIENCE), "no answer");
        let mut bytes = vec![0; ANSWER_BYTES_MAX];
        let (length, _) = recv(&self.socket, &mut bytes[..], RecvFlags::empty()).unwrap();
        if length == 0 {
            let mut said = String::new();
            self.process
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut said)
                .unwrap();
            panic!("the server has ended: {said}");
        }
        bytes.truncate(length);
        bytes
    }

    fn can_be_read(&self, within: Duration) -> bool {
        let time = Timespec {
            tv_sec: within.as_secs().try_into().unwrap(),
            tv_nsec: 0,
        };
        let mut ends = [PollFd::new(&self.socket, PollFlags::IN)];
        poll(&mut ends, Some(&time)).unwrap() == 1
    }
}
