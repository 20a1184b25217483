//! Watching one run: CPU time, memory and the clock of all its processes, and its end.
//!
//! Called by `serve` with a program just started. The end of a run is the end of its first process; whatever else is
//! left is killed and reaped before the answer goes out. Output is counted by the worker, which sends `Kill`.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::cgroup::Controls;
use super::processes::{Census, Scope};
use crate::channel::Channel;
use crate::message::{Ending, Limit, Request};
use crate::run::{Ended, RunLimits};
use crate::sys::{self, ProcessId, Reaped, Wait, Waited};

/// Between two looks at a program in a namespace of its own.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Between two looks where every process of the host must be read.
const LOOK_EVERY_ON_HOST: Duration = Duration::from_millis(100);
/// The shortest time between two looks, near the CPU limit.
const LOOK_AT_LEAST: Duration = Duration::from_millis(2);
/// Between two sums with shared pages counted once.
const SUM_EVERY: Duration = Duration::from_millis(100);

/// A run in progress.
pub(super) struct Watch<'a> {
    pub(super) census: &'a Census,
    pub(super) main: ProcessId,
    pub(super) main_end: &'a OwnedFd,
    pub(super) seq: u64,
    pub(super) limits: RunLimits,
    pub(super) started: Instant,
    /// Processors that the program may use at once.
    pub(super) processors: u32,
    /// What bounds all processes together, where the host has it.
    pub(super) controls: Option<&'a Controls>,
}

/// Why no ending can be told.
pub(super) enum Lost {
    /// The worker closed its end.
    WorkerGone,
    /// The worker said something that has no place here.
    Nonsense(String),
    Failed(io::Error),
}

/// What has been seen of a run.
#[derive(Default)]
struct Seen {
    main: Option<(i32, Duration)>,
    reaped_cpu_us: u64,
    /// The greatest total at any look: children whose parent ignores their end are in no other sum.
    looked_cpu_us: u64,
    memory_bytes: u64,
    limit: Option<Limit>,
    killed: bool,
    summed_at: Option<Instant>,
}

impl Watch<'_> {
    /// Waits for the end of the run and of all its processes.
    pub(super) fn until_end(&self, channel: &mut Channel) -> Result<Ending, Lost> {
        let mut seen = Seen::default();
        let every = match self.census.scope {
            Scope::Namespace => LOOK_EVERY,
            Scope::Descendants => LOOK_EVERY_ON_HOST,
        };
        let mut look_at = self.started + self.pause_before_limit(0, every);
        loop {
            self.reap(&mut seen).map_err(Lost::Failed)?;
            if seen.main.is_some() {
                break;
            }
            let now = Instant::now();
            if !seen.killed {
                if now >= look_at {
                    self.look(&mut seen, now);
                    look_at = now + self.pause_before_limit(seen.looked_cpu_us, every);
                }
                if seen.limit.is_none() && self.elapsed(now) >= self.limits.wall() {
                    seen.limit = Some(Limit::Wall);
                }
                if seen.limit.is_some() {
                    self.census.kill_all();
                    seen.killed = true;
                }
            }
            let until = if seen.killed {
                every
            } else {
                look_at.min(self.started + self.limits.wall()) - now
            };
            if self.wait(channel, until.max(LOOK_AT_LEAST))? {
                self.census.kill_all();
                seen.killed = true;
            }
        }
        self.census
            .end_all(|child| seen.add(self.main, child, self.started))
            .map_err(Lost::Failed)?;
        Ok(self.ending(&seen))
    }

    /// Waits for an end, a message or the time; whether the worker asked for the end of this run.
    fn wait(&self, channel: &mut Channel, time: Duration) -> Result<bool, Lost> {
        let time = Timespec {
            tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        };
        let worker_spoke = {
            let socket = channel.fd();
            let mut ends = [
                PollFd::new(self.main_end, PollFlags::IN),
                PollFd::new(&socket, PollFlags::IN),
            ];
            match poll(&mut ends, Some(&time)) {
                Ok(_) | Err(Errno::INTR) => !ends[1].revents().is_empty(),
                Err(error) => return Err(Lost::Failed(error.into())),
            }
        };
        if !worker_spoke {
            return Ok(false);
        }
        match channel.receive().map_err(Lost::Failed)? {
            None => Err(Lost::WorkerGone),
            Some(received) => match Request::decode(received.bytes) {
                // An order to end an earlier run came too late.
                Ok(Request::Kill { seq }) => Ok(seq == self.seq),
                Ok(other) => Err(Lost::Nonsense(format!("`{other:?}` came during a run"))),
                Err(error) => Err(Lost::Nonsense(error.to_string())),
            },
        }
    }

    fn reap(&self, seen: &mut Seen) -> io::Result<()> {
        while let Waited::Reaped(child) = sys::wait_any(Wait::NotAtAll)? {
            seen.add(self.main, child, self.started);
        }
        Ok(())
    }

    fn look(&self, seen: &mut Seen, now: Instant) {
        let count = self.census.count(self.main);
        seen.looked_cpu_us = seen.looked_cpu_us.max(seen.reaped_cpu_us + count.cpu_us);
        seen.memory_bytes = seen.memory_bytes.max(count.greatest_bytes);
        let sum_is_due = seen.summed_at.is_none_or(|at| now - at >= SUM_EVERY);
        if count.pids.len() > 1 && count.sum_bytes > self.limits.memory_bytes && sum_is_due {
            seen.summed_at = Some(now);
            seen.memory_bytes = seen.memory_bytes.max(self.census.proportional_bytes(&count.pids));
        }
        let killed = self.controls.is_some_and(Controls::have_killed);
        if killed || seen.memory_bytes > self.limits.memory_bytes {
            seen.limit = Some(Limit::Memory);
        } else if seen.looked_cpu_us >= self.cpu_us() {
            seen.limit = Some(Limit::Cpu);
        }
    }

    /// Time until the CPU limit can be reached, at most `every`.
    fn pause_before_limit(&self, used_us: u64, every: Duration) -> Duration {
        let left = self.cpu_us().saturating_sub(used_us) / u64::from(self.processors.max(1));
        Duration::from_micros(left).clamp(LOOK_AT_LEAST, every)
    }

    fn ending(&self, seen: &Seen) -> Ending {
        let (status, wall) = seen.main.unwrap_or((0, self.started.elapsed()));
        let cpu_us = seen.reaped_cpu_us.max(seen.looked_cpu_us);
        let limit = if seen.memory_bytes > self.limits.memory_bytes {
            Some(Limit::Memory)
        } else if cpu_us > self.cpu_us() {
            Some(Limit::Cpu)
        } else {
            seen.limit
        };
        Ending {
            seq: self.seq,
            ended: if libc::WIFSIGNALED(status) {
                Ended::Signal(libc::WTERMSIG(status))
            } else {
                Ended::Exit(libc::WEXITSTATUS(status))
            },
            limit,
            cpu_us,
            wall_us: wall.as_micros().try_into().unwrap_or(u64::MAX),
            memory_bytes: seen.memory_bytes,
        }
    }

    fn cpu_us(&self) -> u64 {
        self.limits.cpu_ms.saturating_mul(1000)
    }

    fn elapsed(&self, now: Instant) -> Duration {
        now - self.started
    }
}

impl Seen {
    fn add(&mut self, main: ProcessId, child: Reaped, started: Instant) {
        self.reaped_cpu_us += child.cpu_us;
        self.memory_bytes = self.memory_bytes.max(child.memory_bytes);
        if child.pid == main {
            self.main = Some((child.status, started.elapsed()));
        }
    }
}
