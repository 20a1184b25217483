//! Watching one run: CPU time, memory and the clock of all its processes, and its end.
//!
//! Called by `serve` with a program just started: executed by the init, or forked by a server. The end of a run is the
//! end of its first process; whatever else is left is killed and reaped before the answer goes out. Output is counted
//! by the worker, which sends `Kill`.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::cgroup::Controls;
use super::processes::{Census, Scope};
use super::server::{Heard, Server, Word};
use crate::channel::{Channel, timespec};
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

/// Longest wait for a fork server to say how a killed program ended; below what the worker gives the init.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// A run in progress.
pub(super) struct Watch<'a> {
    pub(super) census: &'a Census,
    pub(super) main: Main<'a>,
    pub(super) seq: u64,
    pub(super) limits: RunLimits,
    pub(super) started: Instant,
    /// What the worker wanted by the time the watch begins.
    pub(super) wish: Wish,
    /// Processors that the program may use at once.
    pub(super) processors: u32,
    /// What bounds all processes together, where the host has it.
    pub(super) controls: Option<&'a Controls>,
}

/// The first process of a run, and who tells of its end.
pub(super) enum Main<'a> {
    /// A child of this process; the file can be read when it has ended.
    Child { pid: ProcessId, end: &'a OwnedFd },
    /// A fork of this server, which reaps it and says so.
    Forked { pid: ProcessId, server: &'a Server },
}

/// What a run came to.
pub(super) enum Finish {
    Ended(Ending),
    /// The server was lost before it said how its child ended; why, in words.
    Unserved(String),
}

/// Why no ending can be told.
pub(super) enum Lost {
    /// The worker closed its end.
    WorkerGone,
    /// The worker said something that has no place here.
    Nonsense(String),
    Failed(io::Error),
}

/// What the worker wants of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Run,
    /// It has seen enough.
    End,
}

/// Takes one message of the worker during the run `seq`, which may change what it wants.
pub(super) fn hear(channel: &mut Channel, seq: u64, wish: &mut Wish) -> Result<(), Lost> {
    match channel.receive().map_err(Lost::Failed)? {
        None => Err(Lost::WorkerGone),
        Some(received) => match Request::decode(received.bytes) {
            Ok(Request::Kill { seq: of }) => {
                // An order to end an earlier run came too late.
                if of == seq {
                    *wish = Wish::End;
                }
                Ok(())
            }
            Ok(other) => Err(Lost::Nonsense(format!("`{other:?}` came during a run"))),
            Err(error) => Err(Lost::Nonsense(error.to_string())),
        },
    }
}

/// What there is to take.
struct Ready {
    worker: bool,
    /// The end of the first process, or a word of its server.
    main: bool,
    /// The end of the server.
    server: bool,
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
    killed_at: Option<Instant>,
    summed_at: Option<Instant>,
}

impl Watch<'_> {
    /// Waits for the end of the run and of all its processes.
    pub(super) fn until_end(&self, channel: &mut Channel) -> Result<Finish, Lost> {
        let mut seen = Seen::default();
        let lost = self.until_main_ends(&mut seen, channel)?;
        // A server before its child: that becomes this process's own, and is ended and reaped with the rest.
        let unserved = match (lost, &self.main) {
            (Some(why), Main::Forked { server, .. }) => Some(server.bury(why)),
            _ => None,
        };
        self.census
            .end_all(|child| seen.add(self.pid(), child, self.started))
            .map_err(Lost::Failed)?;
        let (cpu_us, memory_bytes) = self.census.reaped_elsewhere();
        seen.reaped_cpu_us += cpu_us;
        seen.memory_bytes = seen.memory_bytes.max(memory_bytes);
        let ending = self.ending(&seen);
        Ok(match unserved {
            // A run that was killed, or that ate so much that its server went with it, has ended all the same.
            Some(reason) if seen.killed_at.is_none() && ending.limit.is_none() => Finish::Unserved(reason),
            _ => Finish::Ended(ending),
        })
    }

    /// Watches until the first process has ended and been reaped, or its server was lost: why, if it did not just end.
    fn until_main_ends(&self, seen: &mut Seen, channel: &mut Channel) -> Result<Option<&'static str>, Lost> {
        let every = match self.census.scope {
            Scope::Namespace { .. } => LOOK_EVERY,
            Scope::Descendants => LOOK_EVERY_ON_HOST,
        };
        let mut look_at = self.started + self.pause_before_limit(0, every);
        let mut wish = self.wish;
        loop {
            let now = Instant::now();
            if seen.killed_at.is_none() {
                if now >= look_at {
                    self.look(seen, now);
                    look_at = now + self.pause_before_limit(seen.looked_cpu_us, every);
                }
                if seen.limit.is_none() && self.elapsed(now) >= self.limits.wall() {
                    seen.limit = Some(Limit::Wall);
                }
                if seen.limit.is_some() || wish == Wish::End {
                    seen.killed_at = Some(now);
                    self.census.kill_all().map_err(Lost::Failed)?;
                }
            }
            let pause = if seen.killed_at.is_some() {
                every
            } else {
                look_at.min(self.started + self.limits.wall()) - now
            };
            let ready = self.wait(channel.fd(), pause.max(LOOK_AT_LEAST))?;
            if ready.worker {
                hear(channel, self.seq, &mut wish)?;
            }
            if let Some(lost) = self.reap(seen, &ready).map_err(Lost::Failed)? {
                return Ok(Some(lost));
            }
            if seen.main.is_some() {
                return Ok(None);
            }
            let overdue = seen.killed_at.is_some_and(|at| at.elapsed() > TOLD_WITHIN);
            if overdue && matches!(self.main, Main::Forked { .. }) {
                return Ok(Some("it did not say that its child had ended"));
            }
        }
    }

    fn pid(&self) -> ProcessId {
        match self.main {
            Main::Child { pid, .. } | Main::Forked { pid, .. } => pid,
        }
    }

    /// Waits for an end, a message or the time.
    fn wait(&self, worker: BorrowedFd<'_>, time: Duration) -> Result<Ready, Lost> {
        let told = |fds: &mut [PollFd<'_>]| match poll(fds, Some(&timespec(time))) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(Lost::Failed(error.into())),
        };
        let is = |event: &PollFd<'_>| !event.revents().is_empty();
        let worker = PollFd::new(&worker, PollFlags::IN);
        match &self.main {
            Main::Child { end, .. } => {
                let mut events = [worker, PollFd::new(end, PollFlags::IN)];
                told(&mut events)?;
                Ok(Ready {
                    worker: is(&events[0]),
                    main: is(&events[1]),
                    server: false,
                })
            }
            Main::Forked { server, .. } => {
                let [socket, end] = server.events();
                let mut events = [worker, socket, end];
                told(&mut events)?;
                Ok(Ready {
                    worker: is(&events[0]),
                    main: is(&events[1]),
                    server: is(&events[2]),
                })
            }
        }
    }

    /// Takes what has ended; why the server is lost, if it is.
    fn reap(&self, seen: &mut Seen, ready: &Ready) -> io::Result<Option<&'static str>> {
        match &self.main {
            Main::Child { pid, .. } => {
                let which = match self.census.scope {
                    Scope::Namespace { .. } if !ready.main => return Ok(None),
                    Scope::Namespace { .. } => *pid,
                    // Here this process is also the one that lost processes come to.
                    Scope::Descendants => -1,
                };
                while let Waited::Reaped(child) = sys::wait_for(which, Wait::NotAtAll)? {
                    seen.add(*pid, child, self.started);
                }
                Ok(None)
            }
            Main::Forked { pid, server } => {
                if !ready.main && !ready.server {
                    return Ok(None);
                }
                match server.hear()? {
                    Heard::Word(Word::Ended {
                        status,
                        cpu_us,
                        memory_bytes,
                    }) => {
                        let pid = *pid;
                        let child = Reaped {
                            pid,
                            status,
                            cpu_us,
                            memory_bytes,
                        };
                        seen.add(pid, child, self.started);
                        Ok(None)
                    }
                    Heard::Word(_) => Ok(Some("it spoke out of turn during a run")),
                    Heard::Nothing if ready.server => Ok(Some("")),
                    Heard::Nothing => Ok(None),
                    Heard::Nonsense(why) => Ok(Some(why)),
                }
            }
        }
    }

    fn look(&self, seen: &mut Seen, now: Instant) {
        // First: what is reaped in between is missed this time, where it would else count twice.
        let (cpu_us, memory_bytes) = self.census.reaped_elsewhere();
        let count = self.census.count(self.pid());
        let total_us = seen.reaped_cpu_us + cpu_us + count.cpu_us;
        seen.looked_cpu_us = seen.looked_cpu_us.max(total_us);
        seen.memory_bytes = seen.memory_bytes.max(count.greatest_bytes).max(memory_bytes);
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
        // Of a child that its server did not tell of only this is known: it was killed here.
        let (status, wall) = seen.main.unwrap_or((libc::SIGKILL, self.started.elapsed()));
        let cpu_us = seen.reaped_cpu_us.max(seen.looked_cpu_us);
        let killed = self.controls.is_some_and(Controls::have_killed);
        let limit = if killed || seen.memory_bytes > self.limits.memory_bytes {
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
