//! A fork server: a program that stays and forks, each fork being one run; and the words it speaks with the init.
//!
//! The init holds one of these per server (`roster` says which and how many). What follows is the whole of what a
//! server must know; it may be written in any language.
//!
//! # How a server is started
//! It is executed once with the arguments and the environment of its [`crate::ForkServer`] (the environment of the
//! cage's programs and its own additions), as the programs' user, as leader of a session of its own, in the work
//! directory `/w`. Its standard input is an empty file, read-only. Its standard output and error are one pipe, which
//! the init reads only to say why a server failed: a server that writes more than the pipe holds waits for ever. File
//! 3 is the socket to the init; nothing else is open. Its resource limits are those of the runs it will serve, but for
//! CPU time and the number of processes, which the init sets for each fork. It stands outside the programs' pid
//! namespace and its children are born inside: it cannot start threads, and no program can name it.
//!
//! # The socket
//! A Unix socket of type SEQPACKET. One datagram is one word: a byte that says which, and what belongs to it. Numbers
//! are little-endian, without padding.
//!
//! | who | bytes | files | meaning |
//! |---|---|---|---|
//! | init | `P` | | prepare: the loaded program lies in the work directory. Said once, before the first `R`, and only to a server that [`crate::Holds::Program`] |
//! | init | `R` | 3, by `SCM_RIGHTS`: standard input, output, error | run once: fork |
//! | server | `p` | | ready. Holding nothing: after its start. Holding the program: after `P` |
//! | server | `n`, UTF-8 text | | it cannot serve this program, and why; instead of `p` or `s`. It then ends |
//! | server | `s`, i32 pid | | it has forked; the pid as `fork` returned it |
//! | server | `e`, i32 status, u64 cpu_us, u64 maxrss_bytes | | that child has ended: status and usage (user and system time together) as `wait4` told them |
//! | server | `f`, i32 errno | | it could not fork; instead of `s` and `e` |
//!
//! The order for one run is `R`, then `s`, then `e`; the next `R` comes after `e`. The end of the socket is the end of
//! the server: it exits. Any other word, or one out of order, costs the server its life, and so does silence:
//! [`ANSWER_WITHIN`] is all the time from the start, `P` or `R` to the answer (not to `e`, which may take as long as
//! the run).
//!
//! # What a server does between `R` and `e`
//! The parent forks, says `s`, closes its copies of the three files, waits for this child alone, says `e`. The child,
//! before anything of the program runs in it: closes file 3 and every other file that is the server's; calls `setsid`
//! (signals to the server's group would reach the server); puts the three files at 0, 1 and 2 and closes them where
//! they came. Then it is the program. What it leaves behind (children, files) is none of the server's business.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::privileges;
use super::watch::{Lost, Wish, hear};
use crate::channel::{self, Channel, can_be_read, timespec};
use crate::run::RunLimits;
use crate::sys::{self, Identity, ProcessId, StartReport, Wait, Waited};

/// Longest wait for a server to get ready, to read the program, or to fork. Somebody waits for the run meanwhile, and
/// another way to start it is at hand.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Longest wait for a killed server to end.
const ENDED_WITHIN: Duration = Duration::from_secs(2);
/// Longest reason that a server may give.
const REASON_BYTES_MAX: usize = 1024;
/// The tail of its output that explains a server's failure.
const TAIL_BYTES_MAX: usize = 1024;

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    Ready,
    Refuses(String),
    Forked(ProcessId),
    Ended {
        status: i32,
        cpu_us: u64,
        memory_bytes: u64,
    },
    NoFork(i32),
}

/// Why a run was not served.
pub(super) enum Fault {
    /// The server's fault, in words; another start of the program may go well.
    Unserved(String),
    Lost(Lost),
}

/// The limits that a server cannot change for its forks: its stack is laid out when it is executed, and a limit once
/// lowered stays so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    memory_bytes: u64,
    processes: u32,
}

/// One living server.
pub(super) struct Server {
    pub(super) pid: ProcessId,
    pub(super) shape: Shape,
    /// Whether it may be told to run.
    pub(super) ready: bool,
    /// How many processes its user may have, itself included, as was last set.
    bound: u64,
    socket: OwnedFd,
    end: OwnedFd,
    output: OwnedFd,
    report: StartReport,
    buried: Cell<bool>,
}

/// What there is to hear.
pub(super) enum Heard {
    Word(Word),
    Nothing,
    /// The end, or something that means nothing.
    Nonsense(&'static str),
}

impl Shape {
    pub(super) fn of(limits: &RunLimits) -> Self {
        Self {
            memory_bytes: limits.memory_bytes,
            processes: limits.processes,
        }
    }
}

impl Word {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        match (kind, rest.len()) {
            (b'p', 0) => Some(Self::Ready),
            (b'n', _) => Some(Self::Refuses(String::from_utf8_lossy(rest).into_owned())),
            (b's', 4) => {
                let pid = ProcessId::from_le_bytes(*rest.first_chunk()?);
                (pid > 1).then_some(Self::Forked(pid))
            }
            (b'e', 20) => {
                let status = i32::from_le_bytes(*rest.first_chunk()?);
                let usage = rest.get(4..)?;
                (libc::WIFEXITED(status) || libc::WIFSIGNALED(status)).then_some(Self::Ended {
                    status,
                    cpu_us: u64::from_le_bytes(*usage.first_chunk()?),
                    memory_bytes: u64::from_le_bytes(*usage.last_chunk()?),
                })
            }
            (b'f', 4) => Some(Self::NoFork(i32::from_le_bytes(*rest.first_chunk()?))),
            _ => None,
        }
    }
}

impl Server {
    /// Takes over a server just executed; `report` is where its start may have failed.
    pub(super) fn new(
        pid: ProcessId,
        shape: Shape,
        socket: OwnedFd,
        output: OwnedFd,
        report: StartReport,
    ) -> io::Result<Self> {
        let end = pidfd_open(
            Pid::from_raw(pid).ok_or(io::ErrorKind::NotFound)?,
            PidfdFlags::empty(),
        )?;
        Ok(Self {
            pid,
            shape,
            ready: false,
            bound: 0,
            socket,
            end,
            output,
            report,
            buried: Cell::new(false),
        })
    }

    /// Tells it to read the program.
    pub(super) fn prepare(&self) -> io::Result<()> {
        channel::send(self.socket.as_fd(), b"P", &[])
    }

    /// Tells it to run once, with a fork that may not make its user have more processes than `bound`. Its own hard
    /// limit has room for what may become of the cage's own processes; its fork's is set when that is known.
    pub(super) fn run(
        &mut self,
        files: &[BorrowedFd<'_>; 3],
        bound: u64,
        identity: Option<Identity>,
    ) -> io::Result<()> {
        if self.bound != bound {
            // One that is gone is noticed by what is sent.
            privileges::set_limits(identity, || {
                sys::set_soft_limit(self.pid, libc::RLIMIT_NPROC, bound)
            })?;
            self.bound = bound;
        }
        channel::send(self.socket.as_fd(), b"R", files)
    }

    /// Its socket and its end, to wait for.
    pub(super) fn events(&self) -> [PollFd<'_>; 2] {
        [
            PollFd::new(&self.socket, PollFlags::IN),
            PollFd::new(&self.end, PollFlags::IN),
        ]
    }

    /// Takes a word that is there.
    pub(super) fn hear(&self) -> io::Result<Heard> {
        let mut bytes = [0; 1 + REASON_BYTES_MAX];
        match recv(&self.socket, &mut bytes, RecvFlags::DONTWAIT) {
            Ok((0, _)) | Err(Errno::CONNRESET) => Ok(Heard::Nonsense("")),
            Ok((length, _)) => Ok(match Word::parse(&bytes[..length]) {
                Some(word) => Heard::Word(word),
                None => Heard::Nonsense("it said something that means nothing"),
            }),
            Err(Errno::AGAIN | Errno::INTR) => Ok(Heard::Nothing),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for its next word, and buries a server that gives none. The worker of the run `seq` may change its wish
    /// meanwhile: what was forked writes before the server says so.
    pub(super) fn answer(
        &self,
        until: Instant,
        channel: &mut Channel,
        seq: u64,
        wish: &mut Wish,
    ) -> Result<Word, Fault> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let [spoke, ended, worker_spoke] = {
                let [socket, end] = self.events();
                let worker = channel.fd();
                let mut events = [socket, end, PollFd::new(&worker, PollFlags::IN)];
                match poll(&mut events, Some(&timespec(left))) {
                    Ok(0) => {
                        let waited_ms = ANSWER_WITHIN.as_millis();
                        let why = format!("it gave no answer within {waited_ms} ms");
                        return Err(Fault::Unserved(self.bury(&why)));
                    }
                    Ok(_) => {}
                    Err(Errno::INTR) => continue,
                    Err(error) => return Err(Fault::Lost(Lost::Failed(error.into()))),
                }
                events.map(|event| !event.revents().is_empty())
            };
            if worker_spoke {
                hear(channel, seq, wish).map_err(Fault::Lost)?;
            }
            if !spoke && !ended {
                continue;
            }
            match self.hear().map_err(|error| Fault::Lost(Lost::Failed(error)))? {
                Heard::Word(word) => return Ok(word),
                Heard::Nothing if ended => return Err(Fault::Unserved(self.bury(""))),
                Heard::Nothing => {}
                Heard::Nonsense(why) => return Err(Fault::Unserved(self.bury(why))),
            }
        }
    }

    /// Kills it, to be reaped when there is time.
    pub(super) fn kill(&self) {
        // One that has ended already needs none.
        let _ = pidfd_send_signal(&self.end, Signal::KILL);
    }

    /// Whether it was killed and reaped.
    pub(super) fn is_buried(&self) -> bool {
        self.buried.get()
    }

    /// Kills and reaps it, if that is still to do; its wait status.
    ///
    /// # Errors
    /// When it does not end.
    pub(super) fn end(&self) -> io::Result<Option<i32>> {
        if self.buried.replace(true) {
            return Ok(None);
        }
        self.kill();
        if !can_be_read(&self.end, ENDED_WITHIN)? {
            return Err(io::Error::other("a killed fork server does not end"));
        }
        Ok(match sys::wait_for(self.pid, Wait::NotAtAll)? {
            Waited::Reaped(child) => Some(child.status),
            Waited::NoneEnded | Waited::NoChildren => None,
        })
    }

    /// Ends it and says why in words: `why`, or else how it ended, and the last it wrote.
    pub(super) fn bury(&self, why: &str) -> String {
        let mut reason = why.to_owned();
        let ended = self.end().ok().flatten();
        if let (Some(status), true) = (ended, why.is_empty()) {
            reason = match self.report.take() {
                Some((step, errno)) => format!(
                    "could not {}: {}",
                    sys::StartStep::words(step),
                    io::Error::from_raw_os_error(errno)
                ),
                None if libc::WIFSIGNALED(status) => format!("signal {} ended it", libc::WTERMSIG(status)),
                None => format!("it ended with status {}", libc::WEXITSTATUS(status)),
            };
        }
        let tail = self.tail();
        if !tail.is_empty() {
            reason.push_str(": ");
            reason.push_str(&tail);
        }
        reason
    }

    /// The last that it wrote. Nobody writes any more, and a pipe's size bounds what there is.
    fn tail(&self) -> String {
        let mut all = Vec::new();
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = rustix::io::read(&self.output, &mut piece) {
            all.extend_from_slice(&piece[..length]);
        }
        let tail = &all[all.len().saturating_sub(TAIL_BYTES_MAX)..];
        String::from_utf8_lossy(tail).trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_the_protocol_has_them() {
        let mut ended = vec![b'e'];
        ended.extend(0x0300_i32.to_le_bytes());
        ended.extend(1_500_000_u64.to_le_bytes());
        ended.extend((9_u64 << 20).to_le_bytes());
        let words = [
            (b"p".to_vec(), Word::Ready),
            ("nsyntax é".into(), Word::Refuses("syntax é".to_owned())),
            (b"s\x39\x05\0\0".to_vec(), Word::Forked(1337)),
            (
                ended,
                Word::Ended {
                    status: 0x300,
                    cpu_us: 1_500_000,
                    memory_bytes: 9 << 20,
                },
            ),
            (b"f\x0b\0\0\0".to_vec(), Word::NoFork(libc::EAGAIN)),
        ];
        for (bytes, word) in words {
            assert_eq!(Word::parse(&bytes), Some(word));
        }
    }

    #[test]
    fn what_is_no_word_is_none() {
        let stopped = [&b"e\x7f\x13\0\0"[..], &[0; 16]].concat();
        for bytes in [
            &b""[..],
            b"x",
            b"pp",
            b"s",
            b"s\x01\0\0\0",
            b"s\xff\xff\xff\xff",
            b"s\x02\0\0\0\0",
            b"e\0\0\0\0",
            &stopped,
            b"f",
        ] {
            assert_eq!(Word::parse(bytes), None, "{bytes:?}");
        }
    }
}
