//! The files of a cage's group: its bounds are written and what the kernel did is read through them.
//!
//! Opened by the warden while it has its rights and kept by the init: the kernel asks for rights when a control file is
//! opened, not when it is written. So the init sets bounds and reads counters although no path inside the cage leads to
//! a control group.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use super::place::{Controller, Version};
use crate::message::{Ending, Limit};
use crate::run::RunLimits;

/// Memory of a group beyond a program's: what of the cage's own lives beside programs, such as fork servers.
const ROOM_BYTES: u64 = 64 << 20;
/// Processes of a group beyond a program's.
const ROOM_PROCESSES: u64 = 16;
/// How much more memory and swap together may be than memory, in version one. Swap is not for programs, but at equal
/// bounds newer kernels find the sum crossed first and then count no failure.
const SWAP_SLACK_BYTES: u64 = 2 << 20;
/// The greatest number that the kernel takes for processes; more is no bound.
const PROCESSES_MAX: u64 = 4_194_304;
/// Longest file of counters that is read.
const COUNTERS_BYTES_MAX: usize = 1024;

/// What the processes of a group may use together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    memory_bytes: u64,
    processes: u64,
}

impl Bounds {
    /// The bounds during a run. Its files in memory are charged to the group as well; their size has a bound of its
    /// own, which is room here, and so they take nothing from the program's memory.
    pub(crate) fn of_run(limits: &RunLimits, scratch_bytes: u64) -> Self {
        Self {
            memory_bytes: limits
                .memory_bytes
                .saturating_add(scratch_bytes)
                .saturating_add(ROOM_BYTES),
            processes: u64::from(limits.processes) + ROOM_PROCESSES,
        }
    }

    /// The bounds before any run.
    pub(crate) fn without_program(scratch_bytes: u64) -> Self {
        Self {
            memory_bytes: scratch_bytes.saturating_add(ROOM_BYTES),
            processes: ROOM_PROCESSES,
        }
    }
}

/// What the kernel has counted since a group was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counters {
    /// Processes killed for memory, for whatever bound.
    kills: u64,
    /// Times that memory was refused at the group's own bound.
    refusals: u64,
}

/// For what processes of a run were killed by the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Killed {
    /// They had reached their group's bound.
    AtBound,
    /// They had not: somebody above had no more memory, the host or what the worker runs in.
    ByHost,
}

impl Counters {
    /// What has happened since `before`.
    fn killed_since(self, before: Self) -> Option<Killed> {
        let at_bound = self.refusals > before.refusals;
        (self.kills > before.kills).then_some(if at_bound { Killed::AtBound } else { Killed::ByHost })
    }
}

/// One cage's control files, in whatever hierarchies they are.
#[derive(Debug, Default)]
pub(crate) struct Controls {
    memory: Option<MemoryFiles>,
    processes: Option<OwnedFd>,
    /// Whoever writes a zero here is in the group.
    doors: Vec<OwnedFd>,
    now: Option<Bounds>,
    run: RunStart,
}

/// What the end of a run is held against.
#[derive(Debug, Default)]
struct RunStart {
    counted: Counters,
    /// What a program and its files in memory may have together.
    most_bytes: u64,
}

#[derive(Debug)]
struct MemoryFiles {
    version: Version,
    bound: OwnedFd,
    /// Absent where swap is not accounted for.
    swap: Option<OwnedFd>,
    /// `memory.oom_control` or `memory.events`.
    kills: OwnedFd,
    /// `memory.failcnt`; in version two the file of the kills says this as well.
    refusals: Option<OwnedFd>,
}

impl Controls {
    /// Opens the files of `controller` in `group`.
    pub(super) fn open(
        &mut self,
        controller: Controller,
        version: Version,
        group: &OwnedFd,
    ) -> io::Result<()> {
        let file = |name: &str, access: OFlags| {
            openat(group, name, access | OFlags::CLOEXEC, Mode::empty())
                .map_err(|error| io::Error::new(io::Error::from(error).kind(), format!("`{name}`: {error}")))
        };
        let written = |name: &str| file(name, OFlags::WRONLY);
        let read = |name: &str| file(name, OFlags::RDONLY);
        let if_there = |opened: io::Result<OwnedFd>| match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        };
        match (controller, version) {
            (Controller::Processes, Version::One | Version::Two) => {
                self.processes = Some(written("pids.max")?)
            }
            (Controller::Memory, Version::One) => {
                self.memory = Some(MemoryFiles {
                    version,
                    bound: written("memory.limit_in_bytes")?,
                    swap: if_there(written("memory.memsw.limit_in_bytes"))?,
                    kills: read("memory.oom_control")?,
                    refusals: Some(read("memory.failcnt")?),
                });
            }
            (Controller::Memory, Version::Two) => {
                self.memory = Some(MemoryFiles {
                    version,
                    bound: written("memory.max")?,
                    swap: if_there(written("memory.swap.max"))?,
                    kills: read("memory.events")?,
                    refusals: None,
                });
            }
        }
        // A kernel without such counters would leave kills unseen.
        self.counters().map(|_| ())
    }

    /// Opens the list of processes of `group`.
    pub(super) fn open_door(&mut self, group: &OwnedFd) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        self.doors
            .push(openat(group, "cgroup.procs", flags, Mode::empty())?);
        Ok(())
    }

    /// Where a program has to write a zero before it is executed.
    pub(crate) fn doors(&self) -> &[OwnedFd] {
        &self.doors
    }

    /// Whether every controller is there.
    pub(crate) fn are_complete(&self) -> bool {
        self.memory.is_some() && self.processes.is_some()
    }

    /// Sets the bounds, where they are others than now.
    ///
    /// The group may hold more than a lower bound allows, in what is not a program's and cannot be given back; then
    /// version one keeps the bound before, which is no error: it bounds as well.
    ///
    /// # Errors
    /// When the kernel refuses for any other reason.
    pub(crate) fn set(&mut self, next: Bounds) -> io::Result<()> {
        if self.now == Some(next) {
            return Ok(());
        }
        let memory_bytes = match &self.memory {
            Some(memory) => memory.set(self.now.map(|now| now.memory_bytes), next.memory_bytes)?,
            None => next.memory_bytes,
        };
        if let Some(processes) = &self.processes {
            rustix::io::pwrite(processes, processes_text(next.processes).as_bytes(), 0)?;
        }
        self.now = Some(Bounds { memory_bytes, ..next });
        Ok(())
    }

    /// Sets the bounds of a run. What is killed from here on is the run's.
    ///
    /// # Errors
    /// As [`Self::set`], and when the counters cannot be read.
    pub(crate) fn begin(&mut self, limits: &RunLimits, scratch_bytes: u64) -> io::Result<()> {
        self.set(Bounds::of_run(limits, scratch_bytes))?;
        self.run = RunStart {
            counted: self.counters()?,
            most_bytes: limits.memory_bytes.saturating_add(scratch_bytes),
        };
        Ok(())
    }

    /// Whether the kernel has killed anything of the run for memory.
    pub(crate) fn have_killed(&self) -> bool {
        let counted = self.run.counted;
        self.counters()
            .is_ok_and(|now| now.killed_since(counted).is_some())
    }

    /// The ending of the run with what the kernel did to it.
    ///
    /// # Errors
    /// When processes were killed and it was not for what the run used: that says nothing about the program.
    pub(crate) fn told(&self, ending: Ending) -> io::Result<Ending> {
        match self.counters()?.killed_since(self.run.counted) {
            None => Ok(ending),
            // The rest of the group has less than its room, so that it was the program that had this.
            Some(Killed::AtBound) => Ok(Ending {
                limit: Some(Limit::Memory),
                memory_bytes: ending.memory_bytes.max(self.run.most_bytes),
                ..ending
            }),
            Some(Killed::ByHost) => Err(io::Error::other(
                "the host, or what the worker runs in, ran out of memory before the program reached its limit",
            )),
        }
    }

    /// What the kernel has counted until now; nothing where memory has no group.
    fn counters(&self) -> io::Result<Counters> {
        let Some(memory) = &self.memory else {
            return Ok(Counters::default());
        };
        let mut buffer = [0; COUNTERS_BYTES_MAX];
        let kills = text(&memory.kills, &mut buffer)?;
        let missing = || io::Error::other("the kernel does not count what it kills for memory");
        let (kills, refusals) = (value(kills, "oom_kill").ok_or_else(missing)?, value(kills, "oom"));
        let refusals = match &memory.refusals {
            None => refusals,
            Some(file) => text(file, &mut buffer)?.trim_end().parse().ok(),
        };
        Ok(Counters {
            kills,
            refusals: refusals.ok_or_else(missing)?,
        })
    }
}

impl MemoryFiles {
    /// Sets the bound; the one that holds afterwards.
    fn set(&self, now: Option<u64>, next: u64) -> io::Result<u64> {
        for (setting, text) in memory_settings(self.version, now, next) {
            let file = match setting {
                Setting::Memory => Some(&self.bound),
                Setting::Swap => self.swap.as_ref(),
            };
            match (file.map(|file| rustix::io::pwrite(file, text.as_bytes(), 0)), now) {
                (None | Some(Ok(_)), _) => {}
                (Some(Err(Errno::BUSY)), Some(now)) => return Ok(now),
                (Some(Err(error)), _) => return Err(error.into()),
            }
        }
        Ok(next)
    }
}

/// A file that bounds memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    Memory,
    /// Memory and swap together in version one, swap alone in version two.
    Swap,
}

/// What to write where, in order: version one never lets memory be more than memory and swap.
fn memory_settings(version: Version, now: Option<u64>, next: u64) -> [(Setting, String); 2] {
    let memory = (Setting::Memory, next.to_string());
    match version {
        Version::Two => [(Setting::Swap, "0".to_owned()), memory],
        Version::One => {
            let both = (Setting::Swap, next.saturating_add(SWAP_SLACK_BYTES).to_string());
            // A group begins without bounds.
            if now.is_some_and(|now| next > now) {
                [both, memory]
            } else {
                [memory, both]
            }
        }
    }
}

fn processes_text(processes: u64) -> String {
    if processes > PROCESSES_MAX {
        "max".to_owned()
    } else {
        processes.to_string()
    }
}

fn text<'a>(file: &OwnedFd, buffer: &'a mut [u8]) -> io::Result<&'a str> {
    let length = rustix::io::pread(file, &mut *buffer, 0)?;
    std::str::from_utf8(&buffer[..length]).map_err(io::Error::other)
}

/// The number in the line of `key`.
fn value(text: &str, key: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(word, _)| *word == key)?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use std::fs;
    use std::path::Path;

    use super::*;

    fn bounds(memory_bytes: u64, processes: u64) -> Bounds {
        Bounds {
            memory_bytes,
            processes,
        }
    }

    /// A directory of plain files in place of a group.
    fn stand_in(files: &[(&str, &str)]) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(home.path().join(name), text).unwrap();
        }
        home
    }

    fn open(home: &Path, version: Version) -> io::Result<Controls> {
        let group = rustix::fs::open(home, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let mut controls = Controls::default();
        for controller in Controller::ALL {
            controls.open(controller, version, &group)?;
        }
        Ok(controls)
    }

    #[test]
    fn a_groups_bound_is_the_programs_limit_and_room_for_what_is_not_the_programs() {
        let limits = RunLimits {
            cpu_ms: 1,
            wall_ms: 1,
            memory_bytes: 256 << 20,
            output_bytes: 1,
            processes: 32,
        };
        assert_eq!(Bounds::of_run(&limits, 64 << 20), bounds(384 << 20, 48));
        let without = RunLimits {
            memory_bytes: u64::MAX,
            processes: u32::MAX,
            ..limits
        };
        let most = u64::from(u32::MAX) + ROOM_PROCESSES;
        assert_eq!(Bounds::of_run(&without, 1), bounds(u64::MAX, most));
        assert_eq!(processes_text(most), "max");
        assert_eq!(processes_text(48), "48");
    }

    #[test]
    fn memory_is_never_set_above_memory_and_swap() {
        let order = |now, next| memory_settings(Version::One, now, next).map(|(setting, _)| setting);
        assert_eq!(order(None, 9), [Setting::Memory, Setting::Swap]);
        assert_eq!(order(Some(9), 8), [Setting::Memory, Setting::Swap]);
        assert_eq!(order(Some(8), 9), [Setting::Swap, Setting::Memory]);
    }

    #[test]
    fn bounds_of_version_two_are_written_to_its_files_and_written_again_only_when_they_change() {
        let home = stand_in(&[
            ("memory.max", ""),
            ("memory.swap.max", ""),
            ("memory.events", "oom 0\noom_kill 0\n"),
            ("pids.max", ""),
        ]);
        let said = || {
            ["memory.max", "memory.swap.max", "pids.max"]
                .map(|name| fs::read_to_string(home.path().join(name)).unwrap())
        };
        let mut controls = open(home.path(), Version::Two).unwrap();
        assert!(controls.are_complete());
        controls.set(bounds(1000, 20)).unwrap();
        assert_eq!(said(), ["1000", "0", "20"]);
        fs::write(home.path().join("memory.max"), "").unwrap();
        controls.set(bounds(1000, 20)).unwrap();
        assert_eq!(said()[0], "");
        controls.set(bounds(2000, 20)).unwrap();
        assert_eq!(said()[0], "2000");
    }

    #[test]
    fn a_group_without_swap_accounting_is_bounded_as_well() {
        let home = stand_in(&[
            ("memory.limit_in_bytes", ""),
            ("memory.oom_control", "oom_kill 0\n"),
            ("memory.failcnt", "0\n"),
            ("pids.max", ""),
        ]);
        let mut controls = open(home.path(), Version::One).unwrap();
        controls.set(bounds(1000, 20)).unwrap();
        let bound = fs::read_to_string(home.path().join("memory.limit_in_bytes")).unwrap();
        assert_eq!(bound, "1000");
    }

    #[test]
    fn a_file_that_is_missing_is_named() {
        let home = stand_in(&[("memory.max", "")]);
        let error = open(home.path(), Version::Two).unwrap_err();
        assert!(error.to_string().starts_with("`memory.events`: "), "{error}");
    }

    #[test]
    fn the_kernels_counters_are_read_in_both_versions() {
        let counted = Counters {
            kills: 2,
            refusals: 36,
        };
        let one = stand_in(&[
            ("memory.limit_in_bytes", ""),
            (
                "memory.oom_control",
                "oom_kill_disable 0\nunder_oom 1\noom_kill 2\n",
            ),
            ("memory.failcnt", "36\n"),
            ("pids.max", ""),
        ]);
        let two = stand_in(&[
            ("memory.max", ""),
            (
                "memory.events",
                "low 0\nhigh 0\nmax 5\noom 36\noom_kill 2\noom_group_kill 0\n",
            ),
            ("pids.max", ""),
        ]);
        for (home, version) in [(one, Version::One), (two, Version::Two)] {
            let controls = open(home.path(), version).unwrap();
            assert_eq!(controls.counters().unwrap(), counted);
        }
    }

    #[test]
    fn a_kernel_that_does_not_count_kills_is_an_error() {
        let home = stand_in(&[
            ("memory.limit_in_bytes", ""),
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n"),
            ("memory.failcnt", "0\n"),
            ("pids.max", ""),
        ]);
        assert!(open(home.path(), Version::One).is_err());
    }

    #[test]
    fn a_kill_without_a_refusal_at_the_bound_is_the_hosts() {
        let counters = |kills, refusals| Counters { kills, refusals };
        let before = counters(1, 7);
        assert_eq!(counters(1, 9).killed_since(before), None);
        assert_eq!(counters(2, 9).killed_since(before), Some(Killed::AtBound));
        assert_eq!(counters(2, 7).killed_since(before), Some(Killed::ByHost));
    }
}
