//! A cage's control group: what bounds the processes of a run together, where the host lets this user make one.
//!
//! Made by the warden before it gives up its rights; entered by every program before it is executed, and so by all
//! that it forks; removed by the warden when the init has ended. Limits of a process (`RLIMIT_*`) bound one process
//! each; only the group bounds the memory of several together, and memory that no process has mapped.
//!
//! The init stays outside. When memory is used up the kernel kills one process of the group after the other until
//! enough is free, and files in memory are free only when their last holder is gone: an init that asks for memory in
//! that moment would be the next to die.
//!
//! ```text
//! <the worker's own group>/roundhouse-<user>/cage-<pid of the warden>
//! ```
//!
//! In version two the first part is the group above the worker's, unless the worker is at the top: a group that has
//! processes cannot have bounded groups below it. `<user>` is whom the warden becomes, for it has to remove the group
//! afterwards; the directory is closed to all others. A group is in use as long as its maker holds a lock on it. The
//! lock goes with the process, however it ends, so that whoever makes the next group knows which ones to remove.

mod controls;
mod place;

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, RawDir, SeekFrom, fchown, flock, mkdirat, open, openat, seek,
    unlinkat,
};
use rustix::io::Errno;

pub(super) use controls::{Bounds, Controls};
use place::{Controller, Place, Version};

use super::{Refusal, Step, privileges};
use crate::sys::{self, Identity, ProcessId};

/// First part of the name of the directory that cages of one user share.
const SHARED: &str = "roundhouse";
/// First part of a group's name.
const CAGE: &str = "cage";
/// Groups and the directory they share: for their owner alone.
const CLOSED: Mode = Mode::from_raw_mode(0o700);
/// Tries for what another cage's start or end gets in the way of, with a pause between two.
const TRIES_MAX: u32 = 500;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(1);
/// Groups that may have the warden's process id in their name: other cages, seen from other pid namespaces.
const NAMESAKES_MAX: u32 = 64;
/// Processes of an abandoned group that are ended at once; what is left of more is found by the next start.
const ABANDONED_BYTES_MAX: usize = 64 << 10;

/// A cage's groups as the warden holds them: one in each hierarchy that has a controller.
pub(super) struct Cgroup {
    seats: Vec<Seat>,
    controls: Controls,
    refusals: Vec<String>,
}

/// What the init has of its cage's group.
pub(super) struct Grip {
    /// Absent where nothing is bounded.
    pub(super) controls: Option<Controls>,
    /// Why something is not.
    pub(super) refusals: Vec<String>,
}

/// One group.
struct Seat {
    base: OwnedFd,
    shared_name: String,
    shared: OwnedFd,
    name: String,
    /// The group itself, locked.
    group: OwnedFd,
}

impl Cgroup {
    /// Makes the groups. `remover` is whom this process becomes, and who must be able to remove them; `None` when it
    /// stays who it is.
    ///
    /// What cannot be made is a reason, no error: a cage works without.
    pub(super) fn make(remover: Option<Identity>) -> Self {
        let (places, refusals) = match places() {
            Ok(found) => found,
            Err(refusal) => (Vec::new(), vec![refusal.text()]),
        };
        let mut cgroup = Self {
            seats: Vec::new(),
            controls: Controls::default(),
            refusals,
        };
        for place in places {
            if let Err(refusal) = cgroup.take(&place, remover) {
                cgroup.refusals.push(refusal.text());
            }
        }
        cgroup
    }

    fn take(&mut self, place: &Place, remover: Option<Identity>) -> Result<(), Refusal> {
        let words = words(&place.controllers);
        let seat = Seat::take(place, remover).step(&format!("make a control group for {words}"))?;
        self.seats.push(seat);
        let Some(seat) = self.seats.last() else {
            return Ok(());
        };
        self.controls
            .open_door(&seat.group)
            .step(&format!("open the control group for {words}"))?;
        for controller in &place.controllers {
            self.controls
                .open(*controller, place.version, &seat.group)
                .step(&format!(
                    "open the control group's files for `{}`",
                    controller.word()
                ))?;
        }
        Ok(())
    }

    /// What the init needs to bound programs.
    pub(super) fn grip(&mut self) -> Grip {
        let controls = std::mem::take(&mut self.controls);
        Grip {
            controls: (!self.seats.is_empty()).then_some(controls),
            refusals: std::mem::take(&mut self.refusals),
        }
    }

    /// Closes what only the warden needs: nothing in the init leads to the groups' directories, and the lock on them
    /// is the warden's alone.
    pub(super) fn let_go(&mut self) {
        self.seats.clear();
    }

    /// Removes the groups, and what they share with those of other cages when this was the last.
    pub(super) fn remove(self) {
        for seat in self.seats {
            // The last process may be in the group for a moment after it has been reaped.
            for _ in 0..TRIES_MAX {
                match unlinkat(&seat.shared, &seat.name, AtFlags::REMOVEDIR) {
                    Err(Errno::BUSY) => pause(),
                    Ok(()) | Err(_) => break,
                }
            }
            let _ = unlinkat(&seat.base, &seat.shared_name, AtFlags::REMOVEDIR);
        }
    }
}

/// Removes the directories that cages of this worker shared, when no cage is left: a warden that gave up root cannot.
pub(crate) fn remove_shared() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (places, _) = places().unwrap_or_default();
    for base in places.iter().flat_map(bases) {
        for remover in [privileges::HOST_INIT, privileges::HOST_PROGRAM] {
            // One with a group in it stays.
            let _ = std::fs::remove_dir(base.join(shared_name(Some(remover))));
        }
    }
}

fn places() -> Result<(Vec<Place>, Vec<String>), Refusal> {
    let text = |path: &str| std::fs::read_to_string(path).step(&format!("read `{path}`"));
    Ok(place::find(
        &text("/proc/self/cgroup")?,
        &text("/proc/self/mountinfo")?,
    ))
}

/// Where groups may be made, the better one first.
fn bases(place: &Place) -> Vec<&Path> {
    let above = match place.version {
        Version::One => None,
        Version::Two => place.own.parent().filter(|above| above.starts_with(&place.mount)),
    };
    [Some(place.own.as_path()), above].into_iter().flatten().collect()
}

fn words(controllers: &[Controller]) -> String {
    let words: Vec<_> = controllers.iter().map(|controller| controller.word()).collect();
    words.join(" and ")
}

fn shared_name(remover: Option<Identity>) -> String {
    let user = remover.map_or_else(|| rustix::process::geteuid().as_raw(), |remover| remover.user);
    format!("{SHARED}-{user}")
}

impl Seat {
    fn take(place: &Place, remover: Option<Identity>) -> io::Result<Self> {
        let (base, below) = open_base(place)?;
        let shared_name = shared_name(remover);
        let mut trouble = io::Error::from(io::ErrorKind::TimedOut);
        for _ in 0..TRIES_MAX {
            let Some(shared) = share(base.as_fd(), &shared_name)? else {
                pause();
                continue;
            };
            let made = prepare(&shared, place, below, remover).and_then(|()| {
                sweep(&shared);
                make_group(&shared)
            });
            match made {
                Ok((name, group)) => {
                    flock(&shared, FlockOperation::Unlock)?;
                    return Ok(Self {
                        base,
                        shared_name,
                        shared,
                        name,
                        group,
                    });
                }
                // The last cage of before may take the shared directory away after it was opened here.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => {
                    trouble = error;
                }
                Err(error) => {
                    let _ = unlinkat(&base, &shared_name, AtFlags::REMOVEDIR);
                    return Err(error);
                }
            }
        }
        Err(trouble)
    }
}

/// How a group's children come to be bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Distribution {
    /// They are.
    Given,
    /// Each level says so for the next.
    ByLevel,
}

/// Opens the directory below which groups are made.
fn open_base(place: &Place) -> io::Result<(OwnedFd, Distribution)> {
    if place.version == Version::One {
        return Ok((open_directory(&place.own)?, Distribution::Given));
    }
    let offered = std::fs::read_to_string(place.own.join("cgroup.controllers"))?;
    let missing: Vec<_> = place
        .controllers
        .iter()
        .copied()
        .filter(|controller| !has(&offered, *controller))
        .collect();
    if !missing.is_empty() {
        let words = words(&missing);
        return Err(io::Error::other(format!(
            "{words}: not offered in the worker's group"
        )));
    }
    let mut refused = Vec::new();
    for base in bases(place) {
        let base_fd = open_directory(base)?;
        let distributed = std::fs::read_to_string(base.join("cgroup.subtree_control"))?;
        let all = place
            .controllers
            .iter()
            .all(|controller| has(&distributed, *controller));
        // What is above the worker's group is somebody else's: it is used as it is.
        let ready = match (all, base == place.own) {
            (true, _) => Ok(()),
            (false, true) => distribute(&base_fd, &place.controllers),
            (false, false) => Err(io::Error::other("not distributed above the worker's group")),
        };
        // A process may go from one group to another only where this is open to it.
        let ready = ready.and_then(|()| {
            let may = |name, access| rustix::fs::accessat(&base_fd, name, access, AtFlags::EACCESS);
            may(".", rustix::fs::Access::WRITE_OK)?;
            Ok(may("cgroup.procs", rustix::fs::Access::WRITE_OK)?)
        });
        match ready {
            Ok(()) => return Ok((base_fd, Distribution::ByLevel)),
            Err(error) => refused.push(format!("`{}`: {error}", base.display())),
        }
    }
    Err(io::Error::other(refused.join(", ")))
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(open(path, flags, Mode::empty())?)
}

fn has(list: &str, controller: Controller) -> bool {
    list.split_ascii_whitespace()
        .any(|word| word == controller.word())
}

#[expect(
    clippy::disallowed_methods,
    reason = "nothing tells when a group is empty or a lock is free; the tries are bounded"
)]
fn pause() {
    std::thread::sleep(PAUSE);
}

/// Lets the groups below this one be bounded.
fn distribute(directory: &OwnedFd, controllers: &[Controller]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat(directory, "cgroup.subtree_control", flags, Mode::empty())?;
    let words: Vec<_> = controllers
        .iter()
        .map(|controller| format!("+{}", controller.word()))
        .collect();
    rustix::io::write(file, words.join(" ").as_bytes())?;
    Ok(())
}

/// Makes or finds the shared directory and locks it; `None` while another cage is being made.
fn share(base: BorrowedFd<'_>, name: &str) -> io::Result<Option<OwnedFd>> {
    match mkdirat(base, name, CLOSED) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let shared = match openat(base, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        other => other?,
    };
    match flock(&shared, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(shared)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes the shared directory the remover's and lets groups in it be bounded.
fn prepare(
    shared: &OwnedFd,
    place: &Place,
    below: Distribution,
    remover: Option<Identity>,
) -> io::Result<()> {
    if let Some(Identity { user, group }) = remover {
        let (user, group) = (rustix::fs::Uid::from_raw(user), rustix::fs::Gid::from_raw(group));
        fchown(shared, Some(user), Some(group))?;
    }
    match below {
        Distribution::Given => Ok(()),
        Distribution::ByLevel => distribute(shared, &place.controllers),
    }
}

/// Makes a group and locks it.
fn make_group(shared: &OwnedFd) -> io::Result<(String, OwnedFd)> {
    let pid = std::process::id();
    for namesake in 0..NAMESAKES_MAX {
        let name = match namesake {
            0 => format!("{CAGE}-{pid}"),
            more => format!("{CAGE}-{pid}-{more}"),
        };
        match mkdirat(shared, &name, CLOSED) {
            Ok(()) => {}
            Err(Errno::EXIST) => continue,
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let group = openat(shared, &name, flags, Mode::empty())?;
        flock(&group, FlockOperation::NonBlockingLockExclusive)?;
        return Ok((name, group));
    }
    Err(Errno::EXIST.into())
}

/// Removes the groups that nobody holds a lock on, and ends what is still in them.
///
/// The caller has locked the shared directory, so that no group is there that its maker has not locked yet.
fn sweep(shared: &OwnedFd) {
    if seek(shared, SeekFrom::Start(0)).is_err() {
        return;
    }
    let mut tries = TRIES_MAX;
    let mut buffer = [MaybeUninit::uninit(); 8192];
    let mut entries = RawDir::new(shared, &mut buffer);
    while let Some(Ok(entry)) = entries.next() {
        let name = entry.file_name();
        if !name.to_bytes().starts_with(CAGE.as_bytes()) {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(group) = openat(shared, name, flags, Mode::empty()) else {
            continue;
        };
        if flock(&group, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        while let Err(Errno::BUSY) = unlinkat(shared, name, AtFlags::REMOVEDIR) {
            if tries == 0 {
                return;
            }
            tries -= 1;
            end_abandoned(&group);
            pause();
        }
    }
}

/// Kills what an abandoned group has: programs of a cage without a pid namespace outlive it when it is killed.
fn end_abandoned(group: &OwnedFd) {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let Ok(processes) = openat(group, "cgroup.procs", flags, Mode::empty()) else {
        return;
    };
    let mut text = vec![0; ABANDONED_BYTES_MAX];
    let length = rustix::io::read(&processes, &mut text[..]).unwrap_or(0);
    pids(&text[..length]).into_iter().for_each(sys::kill);
}

/// The process ids of a list, without a last line that was cut. Zero stands for one that cannot be named from here.
fn pids(list: &[u8]) -> Vec<ProcessId> {
    let whole = list.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    String::from_utf8_lossy(&list[..whole])
        .lines()
        .filter_map(|line| line.parse().ok().filter(|pid| *pid > 0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(version: Version, mount: &str, own: &str) -> Place {
        Place {
            version,
            controllers: Controller::ALL.to_vec(),
            mount: mount.into(),
            own: own.into(),
        }
    }

    #[test]
    fn groups_are_made_in_the_workers_own_and_in_version_two_also_beside_it_but_never_outside_the_mount() {
        let told = |version, own: &str| -> Vec<String> {
            bases(&place(version, "/cg", own))
                .into_iter()
                .map(|base| base.display().to_string())
                .collect()
        };
        assert_eq!(told(Version::One, "/cg/a/b"), ["/cg/a/b"]);
        assert_eq!(told(Version::Two, "/cg/a/b"), ["/cg/a/b", "/cg/a"]);
        assert_eq!(told(Version::Two, "/cg/a"), ["/cg/a", "/cg"]);
        assert_eq!(told(Version::Two, "/cg"), ["/cg"]);
    }

    #[test]
    fn only_whole_and_real_process_ids_are_ended() {
        assert_eq!(pids(b"12\n0\n-1\n77\nx\n345\n3"), [12, 77, 345]);
        assert_eq!(pids(b"12"), Vec::<ProcessId>::new());
    }

    #[test]
    fn a_controller_is_a_whole_word_of_the_list() {
        assert!(has("cpuset cpu memory pids\n", Controller::Memory));
        assert!(!has("memory_recursiveprot\n", Controller::Memory));
        assert!(!has("", Controller::Processes));
    }
}
