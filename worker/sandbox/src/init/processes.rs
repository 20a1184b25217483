//! The census: which processes a program has, what they have used, and their end.
//!
//! Read from the init's own `/proc`, which programs never see: it shows all that the warden started, and all that is
//! neither the cage's own nor a fork server is the program's. Without one, only the first process is watched while it
//! runs; its children count when they have ended.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::poll;
use rustix::fs::{Mode, OFlags, RawDir, SeekFrom, openat, seek};

use super::reaper::{Left, Reaper};
use crate::channel::timespec;
use crate::sys::{self, ProcessId, Reaped, Wait, Waited};

/// Clock ticks of `/proc/<pid>/stat`, in microseconds: the kernel's fixed USER_HZ of 100.
const TICK_US: u64 = 10_000;
/// Longest `/proc/<pid>/stat` or `smaps_rollup` that is read.
const STAT_BYTES_MAX: usize = 2048;
/// Most processes looked at in one census; a program has far fewer by its limit.
const PROCESSES_MAX: usize = 65_536;
/// Longest wait for killed processes that nobody could be asked about.
const REAPED_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks for them.
const REAP_EVERY: Duration = Duration::from_millis(1);

/// Whose processes are the program's.
pub(super) enum Scope {
    /// All of the reaper's pid namespace. The init sees more: these are the cage's own.
    Namespace { reaper: Reaper, own: Vec<ProcessId> },
    /// The descendants of this process, which is their subreaper.
    Descendants,
}

/// Counts and kills a program's processes.
pub(super) struct Census {
    pub(super) proc: Option<OwnedFd>,
    pub(super) scope: Scope,
}

/// What a program's living processes have used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) pids: Vec<ProcessId>,
    /// Of all of them and of the children they waited for.
    pub(super) cpu_us: u64,
    /// Resident size of the greatest.
    pub(super) greatest_bytes: u64,
    /// Sum of resident sizes; pages that several share count several times.
    pub(super) sum_bytes: u64,
}

/// One line of `/proc/<pid>/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: ProcessId,
    waited_us: u64,
    threads: u64,
    resident_pages: u64,
}

impl Census {
    /// Counts the program whose first process is `main`.
    pub(super) fn count(&self, main: ProcessId) -> Count {
        let mut count = Count::default();
        if self.proc.is_none() {
            count.pids.push(main);
            count.cpu_us = sys::cpu_of_process_us(main).unwrap_or(0);
            return count;
        }
        let page = rustix::param::page_size() as u64;
        for (pid, stat) in self.ours() {
            let resident = stat.resident_pages * page;
            count.pids.push(pid);
            count.cpu_us += sys::cpu_of_process_us(pid).unwrap_or(0) + stat.waited_us;
            count.greatest_bytes = count.greatest_bytes.max(resident);
            count.sum_bytes += resident;
        }
        count
    }

    /// Memory of `pids` with shared pages counted once in all, in bytes. Slow: it walks their page tables.
    pub(super) fn proportional_bytes(&self, pids: &[ProcessId]) -> u64 {
        pids.iter()
            .filter_map(|pid| proportional_kib(&self.read(&format!("{pid}/smaps_rollup"))?))
            .map(|kib| kib << 10)
            .sum()
    }

    /// Threads of all processes on this system with the user id `user`: what its process limit counts against
    /// where there is no user namespace.
    pub(super) fn threads_of_user(&self, user: u32) -> u64 {
        let owned = |pid: ProcessId| {
            let proc = self.proc.as_ref()?;
            rustix::fs::statat(proc, pid.to_string(), rustix::fs::AtFlags::empty())
                .ok()
                .filter(|stat| stat.st_uid == user)
        };
        self.all(&[])
            .into_iter()
            .filter(|(pid, _)| owned(*pid).is_some())
            .map(|(_, stat)| stat.threads)
            .sum()
    }

    /// Says which processes that the init sees are the cage's own; itself and the reaper are known.
    pub(super) fn set_own(&mut self, processes: impl Iterator<Item = ProcessId>) {
        match &mut self.scope {
            Scope::Namespace { reaper, own } => {
                own.clear();
                own.extend([std::process::id() as ProcessId, reaper.pid]);
                own.extend(processes);
            }
            Scope::Descendants => {}
        }
    }

    /// # Errors
    /// When no process of a program can be made any more.
    pub(super) fn check(&self) -> io::Result<()> {
        match &self.scope {
            Scope::Namespace { reaper, .. } => reaper.check(),
            Scope::Descendants => Ok(()),
        }
    }

    /// Begins a run: what was reaped before does not count.
    pub(super) fn begin(&self) {
        match &self.scope {
            Scope::Namespace { reaper, .. } => reaper.forget(),
            Scope::Descendants => {}
        }
    }

    /// CPU time in microseconds and the greatest memory in bytes of what others than the init have reaped.
    pub(super) fn reaped_elsewhere(&self) -> (u64, u64) {
        match &self.scope {
            Scope::Namespace { reaper, .. } => reaper.reaped(),
            Scope::Descendants => (0, 0),
        }
    }

    /// Sees to it that the program has no process any more, whatever it forks meanwhile. Its first one has been
    /// reaped, or is a child of this process. What is reaped here goes through `reaped`.
    pub(super) fn end_all(&self, mut reaped: impl FnMut(Reaped)) -> io::Result<()> {
        match &self.scope {
            Scope::Namespace { reaper, own } => {
                let until = Instant::now() + REAPED_WITHIN;
                while reaper.end_all()? == Left::Others {
                    // A fork server was lost and left its child to this process.
                    while let Waited::Reaped(child) = sys::wait_any(Wait::NotAtAll)? {
                        if !own.contains(&child.pid) {
                            reaped(child);
                        }
                    }
                    if Instant::now() > until {
                        return Err(io::Error::other("a killed program does not end"));
                    }
                    // Nothing tells of the end of a child whose number is not known.
                    poll(&mut [], Some(&timespec(REAP_EVERY)))?;
                }
                Ok(())
            }
            Scope::Descendants => loop {
                self.kill_all()?;
                match sys::wait_any(Wait::UntilOneEnds)? {
                    Waited::Reaped(child) => reaped(child),
                    Waited::NoneEnded => {}
                    Waited::NoChildren => return Ok(()),
                }
            },
        }
    }

    /// Kills every process of the program that is there now.
    pub(super) fn kill_all(&self) -> io::Result<()> {
        match &self.scope {
            // One call of the kernel under its lock: nobody can fork past it.
            Scope::Namespace { reaper, .. } => reaper.kill_all(),
            Scope::Descendants => {
                self.ours().into_iter().for_each(|(pid, _)| sys::kill(pid));
                Ok(())
            }
        }
    }

    fn ours(&self) -> Vec<(ProcessId, Stat)> {
        match &self.scope {
            Scope::Namespace { own, .. } => self.all(own),
            Scope::Descendants => descendants(&self.all(&[]), std::process::id() as ProcessId),
        }
    }

    /// Every process that is seen but those in `but`.
    fn all(&self, but: &[ProcessId]) -> Vec<(ProcessId, Stat)> {
        let mut all = Vec::new();
        let Some(proc) = &self.proc else { return all };
        if seek(proc, SeekFrom::Start(0)).is_err() {
            return all;
        }
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut entries = RawDir::new(proc, &mut buffer);
        while let Some(Ok(entry)) = entries.next() {
            let Some(pid) = entry.file_name().to_str().ok().and_then(|name| name.parse().ok()) else {
                continue;
            };
            if but.contains(&pid) {
                continue;
            }
            if let Some(stat) = self
                .read(&format!("{pid}/stat"))
                .and_then(|line| Stat::parse(&line))
            {
                all.push((pid, stat));
            }
            if all.len() == PROCESSES_MAX {
                break;
            }
        }
        all
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        let file = openat(
            self.proc.as_ref()?,
            path,
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .ok()?;
        let mut text = vec![0; STAT_BYTES_MAX];
        let length = rustix::io::read(&file, &mut text[..]).ok()?;
        text.truncate(length);
        Some(text)
    }
}

impl Stat {
    /// Reads the line of proc(5); the command in brackets may hold anything, so it is skipped from the right.
    fn parse(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(&line[line.iter().rposition(|byte| *byte == b')')? + 1..]).ok()?;
        // The first field here is number 3 of the manual page.
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at - 3)?.parse::<u64>().ok();
        Some(Self {
            parent: number(4)?.try_into().ok()?,
            waited_us: (number(16)? + number(17)?) * TICK_US,
            threads: number(20)?,
            resident_pages: number(24)?,
        })
    }
}

/// The value of the `Pss:` line.
fn proportional_kib(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Everything below `root`, by following parents down from it.
fn descendants(all: &[(ProcessId, Stat)], root: ProcessId) -> Vec<(ProcessId, Stat)> {
    let mut found: Vec<(ProcessId, Stat)> = Vec::new();
    let mut from = vec![root];
    while let Some(parent) = from.pop() {
        for (pid, stat) in all.iter().filter(|(_, stat)| stat.parent == parent) {
            found.push((*pid, *stat));
            from.push(*pid);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(parent: ProcessId) -> Stat {
        Stat {
            parent,
            waited_us: 0,
            threads: 1,
            resident_pages: 1,
        }
    }

    #[test]
    fn a_command_with_brackets_and_spaces_does_not_shift_the_fields() {
        let line =
            b"7 (a) R 9 (b) S 3 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 2 0 100 4096 55 18446744073709551615";
        assert_eq!(
            Stat::parse(line),
            Some(Stat {
                parent: 3,
                waited_us: 150_000,
                threads: 2,
                resident_pages: 55,
            })
        );
        assert_eq!(Stat::parse(b"7 (a) R 9"), None);
        assert_eq!(Stat::parse(b""), None);
    }

    #[test]
    fn descendants_are_found_at_any_depth_and_strangers_are_not() {
        let all = [(2, stat(1)), (3, stat(2)), (4, stat(3)), (5, stat(1))];
        let mut pids: Vec<_> = descendants(&all, 2).into_iter().map(|(pid, _)| pid).collect();
        pids.sort_unstable();
        assert_eq!(pids, vec![3, 4]);
    }

    #[test]
    fn the_proportional_size_is_the_pss_line() {
        let text = b"55d0-7ffe ---p 0 00:00 0 [rollup]\nRss: 900 kB\nPss:      345 kB\nPss_Dirty: 1 kB\n";
        assert_eq!(proportional_kib(text), Some(345));
    }
}
