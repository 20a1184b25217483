//! One run as the worker sees it: what it asks for, what it reads, how it ended.
//!
//! Standard output goes to the caller in pieces as it comes and is counted here; of standard error only the tail is
//! kept. Memory stays flat whatever a program writes: one buffer, two pipes.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, fchmod};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use serde::Serialize;

use crate::cage::{CageError, Followed, lossy, nonsense, receive};
use crate::channel::{Channel, timespec};
use crate::init::SERVER_ANSWERS_WITHIN;
use crate::message::{Ending, Limit, Reply, Request};

/// Bytes read at once.
const PIECE_BYTES: usize = 64 << 10;
/// Size asked for the pipe of standard output; the system may give less. Standard error is seldom much.
const PIPE_BYTES: usize = 256 << 10;
/// Mode of the pipes: whoever runs the program may open them as `/dev/stdout`, to write.
const PIPE_MODE: u32 = 0o622;
/// Bytes of standard error that are kept, the last ones.
const STDERR_TAIL_BYTES: usize = 8 << 10;
/// Time for the init to end a run after the wall limit, before the cage is given up.
const ANSWER_AFTER_WALL: Duration = Duration::from_secs(5);

/// Longest wall limit that is kept, in milliseconds (30 days): times are added to the clock.
const WALL_MS_MAX: u64 = 30 * 24 * 3600 * 1000;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// How its process comes into being.
    pub start: Start<'a>,
    /// Standard input.
    pub stdin: BorrowedFd<'a>,
    /// What it may use.
    pub limits: RunLimits,
}

/// How the process of a run comes into being.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start<'a> {
    /// A program is executed. These are it and its arguments: a path as seen inside, absolute or from the work
    /// directory; `PATH` is not searched.
    Execute(&'a [String]),
    /// The fork server with this place in [`crate::CageConfig::servers`] forks.
    Fork(usize),
}

/// What one run may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLimits {
    /// CPU time of all its processes, in milliseconds.
    pub cpu_ms: u64,
    /// Time on the clock, in milliseconds.
    pub wall_ms: u64,
    /// Resident memory, in bytes; also how far the stack may grow.
    pub memory_bytes: u64,
    /// Standard output, and standard error by itself, in bytes.
    pub output_bytes: u64,
    /// Processes and threads at once.
    pub processes: u32,
}

impl RunLimits {
    /// The wall limit as a time.
    pub(crate) fn wall(&self) -> Duration {
        Duration::from_millis(self.wall_ms.min(WALL_MS_MAX))
    }
}

/// What the reader of the output wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// More.
    Continue,
    /// Enough seen: kill the program.
    Stop,
}

/// How a run ended and what it used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunEnd {
    /// How its first process ended.
    pub ended: Ended,
    /// Why it was killed, or which limit it had crossed when it ended by itself.
    pub crossed: Option<Crossed>,
    /// CPU time of all its processes, in milliseconds, rounded down.
    pub cpu_ms: u64,
    /// Time from its start to the end of its first process, in milliseconds, rounded down.
    pub wall_ms: u64,
    /// Greatest resident memory: of one process, or of all when their sum was over the limit; in bytes.
    pub memory_bytes: u64,
    /// The last bytes of standard error, at most 8 KiB.
    pub stderr_tail: Vec<u8>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// With this exit status, 0 to 255.
    Exit(i32),
    /// By this signal.
    Signal(i32),
}

/// What a run went over. When several hold, the first in this order is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Crossed {
    /// The memory limit.
    Memory,
    /// The CPU limit.
    Cpu,
    /// The wall limit.
    Wall,
    /// The output limit, on standard output or standard error.
    Output,
    /// No limit: the reader had seen enough.
    Stopped,
}

/// The reading side of one cage, reused for every run.
#[derive(Default)]
pub(crate) struct Output {
    buffer: Vec<u8>,
}

/// Our ends of a run's pipes.
pub(crate) struct Ends {
    stdout: OwnedFd,
    stderr: OwnedFd,
}

impl Output {
    /// New pipes for one run: our ends, and the program's standard output and error.
    pub(crate) fn pipes(&self) -> io::Result<(Ends, [OwnedFd; 2])> {
        let (stdout, output) = pipe()?;
        // A user's pipes are bounded in sum; a small pipe works as well.
        let _ = fcntl_setpipe_size(&stdout, PIPE_BYTES);
        let (stderr, errors) = pipe()?;
        for end in [&output, &errors] {
            // They belong to the worker's user. A host that refuses this loses the names only.
            let _ = fchmod(end, Mode::from_raw_mode(PIPE_MODE));
        }
        Ok((Ends { stdout, stderr }, [output, errors]))
    }

    /// Reads until the init says how the run ended, and then what is left in the pipes.
    pub(crate) fn follow(
        &mut self,
        channel: &mut Channel,
        ends: Ends,
        seq: u64,
        run: &Run<'_>,
        stdout: &mut dyn FnMut(&[u8]) -> Flow,
    ) -> Result<Followed, CageError> {
        let limits = &run.limits;
        let doing = "run a program";
        let system = |source| CageError::System { doing, source };
        self.buffer.resize(PIECE_BYTES, 0);
        let mut reading = Reading {
            stdout: Some(ends.stdout),
            stderr: Some(ends.stderr),
            stdout_bytes: 0,
            stderr_bytes: 0,
            tail: Vec::new(),
            output_bytes: limits.output_bytes,
            crossed: None,
            reader: stdout,
        };
        let within = limits.wall() + ANSWER_AFTER_WALL + run.start.takes_at_most();
        let until = Instant::now() + within;
        let mut told = false;
        let reply = loop {
            if reading.crossed.is_some() && !told {
                told = true;
                let kill = Request::Kill { seq }.encode();
                let kill = kill.map_err(|source| CageError::Message { doing, source })?;
                // A cage that is gone is noticed below.
                let _ = channel.send(&kill, &[]);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let waited_ms = within.as_millis().try_into().unwrap_or(u64::MAX);
                return Err(CageError::Silent { doing, waited_ms });
            }
            match reading.poll(channel.fd(), left).map_err(system)? {
                true => break receive(channel, doing)?,
                false => reading.read(&mut self.buffer, Reads::One).map_err(system)?,
            }
        };
        // Every process is gone: what is in the pipes is all there will be.
        reading.read(&mut self.buffer, Reads::All).map_err(system)?;
        match reply {
            Reply::Ended(ending) if ending.seq == seq => Ok(Followed::Ended(reading.end(&ending))),
            Reply::NotStarted { seq: of, step, errno } if of == seq => {
                Ok(Followed::NotStarted { step, errno })
            }
            Reply::NotServed { seq: of, reason } if of == seq => Ok(Followed::NotServed {
                reason: lossy(&reason),
            }),
            other => Err(nonsense(doing, &other)),
        }
    }
}

impl Start<'_> {
    /// Time that may pass before the clock of a run starts.
    fn takes_at_most(self) -> Duration {
        match self {
            Self::Execute(_) => Duration::ZERO,
            // The one that serves, a spare and a new one may each have to start or read the program; then one forks.
            Self::Fork(_) => 4 * SERVER_ANSWERS_WITHIN,
        }
    }
}

/// One run's reading in progress.
struct Reading<'a> {
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    stdout_bytes: u64,
    stderr_bytes: u64,
    tail: Vec<u8>,
    output_bytes: u64,
    crossed: Option<Crossed>,
    reader: &'a mut dyn FnMut(&[u8]) -> Flow,
}

/// How far to read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reads {
    /// One piece of each pipe, so that the other pipe and the init are heard in between.
    One,
    /// What is there; a pipe's size bounds it, for nobody writes any more.
    All,
}

impl Reading<'_> {
    /// Waits for output or for the init; whether the init has spoken and no pipe has anything.
    fn poll(&self, socket: BorrowedFd<'_>, time: Duration) -> io::Result<bool> {
        let mut ends = vec![PollFd::new(&socket, PollFlags::IN)];
        let pipes = [&self.stdout, &self.stderr].into_iter().flatten();
        ends.extend(pipes.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        match poll(&mut ends, Some(&timespec(time))) {
            Ok(_) | Err(Errno::INTR) => Ok(!ends[0].revents().is_empty()),
            Err(error) => Err(error.into()),
        }
    }

    fn read(&mut self, buffer: &mut [u8], reads: Reads) -> io::Result<()> {
        // Twice the size asked for is more than any pipe holds; a writer that is somehow left cannot keep us here.
        let pieces = match reads {
            Reads::One => 1,
            Reads::All => 2 * PIPE_BYTES / PIECE_BYTES * 16,
        };
        for _ in 0..pieces {
            let out = take(&mut self.stdout, buffer)?;
            if let Some(length) = out {
                self.heard(&buffer[..length]);
            }
            let errors = take(&mut self.stderr, buffer)?;
            if let Some(length) = errors {
                self.complained(&buffer[..length]);
            }
            if out.is_none() && errors.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn heard(&mut self, piece: &[u8]) {
        self.stdout_bytes += piece.len() as u64;
        if self.crossed.is_some() {
            return;
        }
        if self.stdout_bytes > self.output_bytes {
            self.crossed = Some(Crossed::Output);
        } else if (self.reader)(piece) == Flow::Stop {
            self.crossed = Some(Crossed::Stopped);
        }
    }

    fn complained(&mut self, piece: &[u8]) {
        self.stderr_bytes += piece.len() as u64;
        keep_tail(&mut self.tail, piece);
        if self.stderr_bytes > self.output_bytes && self.crossed.is_none() {
            self.crossed = Some(Crossed::Output);
        }
    }

    fn end(self, ending: &Ending) -> RunEnd {
        let limit = ending.limit.map(|limit| match limit {
            Limit::Memory => Crossed::Memory,
            Limit::Cpu => Crossed::Cpu,
            Limit::Wall => Crossed::Wall,
        });
        RunEnd {
            ended: ending.ended,
            crossed: limit.or(self.crossed),
            cpu_ms: ending.cpu_us / 1000,
            wall_ms: ending.wall_us / 1000,
            memory_bytes: ending.memory_bytes,
            stderr_tail: self.tail,
        }
    }
}

/// Reads one piece; `None` when nothing is there now. A pipe at its end is closed.
fn take(pipe: &mut Option<OwnedFd>, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    let Some(end) = pipe else { return Ok(None) };
    match rustix::io::read(end, buffer) {
        Ok(0) => {
            *pipe = None;
            Ok(None)
        }
        Ok(length) => Ok(Some(length)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A pipe whose reading end does not block; the writing end, another open file, does.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&read, true)?;
    Ok((read, write))
}

fn keep_tail(tail: &mut Vec<u8>, piece: &[u8]) {
    let piece = &piece[piece.len().saturating_sub(STDERR_TAIL_BYTES)..];
    let over = (tail.len() + piece.len()).saturating_sub(STDERR_TAIL_BYTES);
    tail.drain(..over);
    tail.extend_from_slice(piece);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_the_last_bytes_however_they_come() {
        let text: Vec<u8> = (0..30_000u32).map(|at| (at % 251) as u8).collect();
        for size in [1, 7, 4096, 8192, 20_000] {
            let mut tail = Vec::new();
            text.chunks(size).for_each(|piece| keep_tail(&mut tail, piece));
            assert_eq!(tail, text[text.len() - STDERR_TAIL_BYTES..]);
        }
    }

    #[test]
    fn memory_goes_before_time_and_time_before_output() {
        let mut all = [
            Crossed::Stopped,
            Crossed::Output,
            Crossed::Wall,
            Crossed::Cpu,
            Crossed::Memory,
        ];
        all.sort();
        assert_eq!(
            all,
            [
                Crossed::Memory,
                Crossed::Cpu,
                Crossed::Wall,
                Crossed::Output,
                Crossed::Stopped
            ]
        );
    }
}
