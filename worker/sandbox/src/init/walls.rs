//! The two walls that a program carries itself: Landlock's rules and the system-call filter.
//!
//! Made once by the init when the tree stands, tried on a child that executes nothing, and put up by every child
//! right before it executes a program ([`sys::put_up`]). Where there are namespaces they are the second wall; where
//! there are none, Landlock is what keeps the host's files from programs.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use super::Refusal;
use super::own_proc;
use super::tree::{DEVICES, WORK};
use crate::containment::{Layer, Layers};
use crate::filter::Filter;
use crate::sys::{self, LandlockScope, Wait, Waited};

// Rights of Landlock on files, by the version that brought them.
const EXECUTE: u64 = 1 << 0;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const MAKE_CHAR_DEVICE: u64 = 1 << 6;
const MAKE_BLOCK_DEVICE: u64 = 1 << 11;
const OF_VERSION_1: u64 = (1 << 13) - 1;
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;
const DEVICE_CONTROL: u64 = 1 << 15;
/// What a file that is no directory can be given.
const ON_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | DEVICE_CONTROL;

/// To bind and to connect over TCP.
const TCP: u64 = 0b11;
/// Abstract sockets and processes outside.
const OUTSIDE: u64 = 0b11;
/// The version that keeps signals inside.
const VERSION_OF_SCOPES: u32 = 6;

/// What a program needs to read and execute.
const READ: u64 = EXECUTE | READ_FILE | READ_DIR;
const USE_DEVICE: u64 = READ_FILE | WRITE_FILE | TRUNCATE | DEVICE_CONTROL;
/// Everything in a directory, but no devices.
const WRITE: u64 = (OF_VERSION_1 | REFER | TRUNCATE) & !(MAKE_CHAR_DEVICE | MAKE_BLOCK_DEVICE);

/// The walls of one cage's programs.
#[derive(Debug, Default)]
pub(super) struct Walls {
    ruleset: Option<OwnedFd>,
    filter: Option<Filter>,
}

/// What a program may reach by name.
#[derive(Debug)]
pub(super) struct Reach {
    /// To list, with all that is below.
    list: Vec<PathBuf>,
    /// To read and execute; what is missing is skipped.
    read: Vec<PathBuf>,
    /// To write.
    write: Vec<PathBuf>,
    /// Whether signals to processes outside must be kept in by Landlock, since nothing else does.
    signals: Signals,
}

/// What keeps a program's signals inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signals {
    /// A pid namespace, or a user of the program's own.
    HeldAnyway,
    /// Landlock or nothing.
    HeldByLandlock,
}

impl Reach {
    /// In a tree of its own: everything in it may be read but the files of `/proc`.
    ///
    /// # Errors
    /// When the root cannot be listed.
    pub(super) fn of_tree() -> io::Result<Self> {
        let mut read = Vec::new();
        for entry in std::fs::read_dir("/")? {
            let path = entry?.path();
            if path != Path::new(own_proc::PLACE) {
                read.push(path);
            }
        }
        Ok(Self {
            list: vec!["/".into()],
            read,
            write: vec![WORK.into(), "/tmp".into()],
            signals: Signals::HeldAnyway,
        })
    }

    /// On the host: the runtime and what else is to be read, and the scratch.
    pub(super) fn of_host(read: Vec<PathBuf>, write: Vec<PathBuf>, signals: Signals) -> Self {
        Self {
            list: Vec::new(),
            read,
            write,
            signals,
        }
    }
}

impl Walls {
    /// Makes both, tries them on a child, and notes which hold and why the others do not.
    ///
    /// Landlock that the kernel does not have is no refusal: the worker asks for its version by itself.
    pub(super) fn raise(reach: &Reach, layers: &mut Layers, refusals: &mut Vec<String>) -> Self {
        let mut walls = Self::default();
        match ruleset(reach).and_then(|ruleset| {
            let of_landlock = sys::Walls {
                ruleset: ruleset.as_ref().map(AsFd::as_fd),
                filter: None,
            };
            try_on_child(of_landlock)?;
            Ok(ruleset)
        }) {
            Ok(Some(ruleset)) => {
                walls.ruleset = Some(ruleset);
                layers.add(Layer::Landlock);
            }
            Ok(None) => {}
            Err(error) => refusals.push(Refusal::of(Layer::Landlock.words(), error).text()),
        }
        let filter =
            Filter::new().ok_or_else(|| io::Error::other("the calls of this machine are not listed"));
        match filter.and_then(|filter| {
            let of_filter = sys::Walls {
                ruleset: None,
                filter: Some(&filter),
            };
            try_on_child(of_filter)?;
            Ok(filter)
        }) {
            Ok(filter) => {
                walls.filter = Some(filter);
                layers.add(Layer::SystemCallFilter);
            }
            Err(error) => refusals.push(Refusal::of(Layer::SystemCallFilter.words(), error).text()),
        }
        walls
    }

    /// For a child that is about to execute a program.
    pub(super) fn as_sys(&self) -> sys::Walls<'_> {
        sys::Walls {
            ruleset: self.ruleset.as_ref().map(AsFd::as_fd),
            filter: self.filter.as_ref(),
        }
    }
}

/// Landlock's rules; `None` where the kernel has no Landlock.
fn ruleset(reach: &Reach) -> io::Result<Option<OwnedFd>> {
    let version = match sys::landlock_version() {
        Ok(version) => version,
        Err(error) if is_absence(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    if reach.signals == Signals::HeldByLandlock && version < VERSION_OF_SCOPES {
        return Err(io::Error::other(format!(
            "version {version} lets signals through to every process of this user, version {VERSION_OF_SCOPES} does not"
        )));
    }
    let scope = scope(version);
    let ruleset = sys::landlock_ruleset(&scope)?;
    let allow = |path: &Path, rights: u64| -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let opened = match openat(CWD, path, flags, Mode::empty()) {
            Ok(opened) => opened,
            // What cannot be reached by this user cannot be reached by its programs.
            Err(Errno::NOENT | Errno::ACCESS) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let rights = rights & scope.files & on_kind_of(opened.as_fd())?;
        sys::landlock_allow(ruleset.as_fd(), opened.as_fd(), rights)
    };
    reach.list.iter().try_for_each(|path| allow(path, READ_DIR))?;
    reach.read.iter().try_for_each(|path| allow(path, READ))?;
    reach.write.iter().try_for_each(|path| allow(path, WRITE))?;
    DEVICES
        .iter()
        .try_for_each(|name| allow(&Path::new("/dev").join(name), USE_DEVICE))?;
    Ok(Some(ruleset))
}

/// What a kernel of this version can decide about.
fn scope(version: u32) -> LandlockScope {
    let since = |first: u32, bits: u64| if version >= first { bits } else { 0 };
    LandlockScope {
        files: OF_VERSION_1 | since(2, REFER) | since(3, TRUNCATE) | since(5, DEVICE_CONTROL),
        network: since(4, TCP),
        scoped: since(VERSION_OF_SCOPES, OUTSIDE),
    }
}

fn on_kind_of(path: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(match FileType::from_raw_mode(fstat(path)?.st_mode) {
        FileType::Directory => u64::MAX,
        _ => ON_FILES,
    })
}

/// Whether a kernel without Landlock, or one in which it is switched off, answers so.
pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EOPNOTSUPP))
}

/// Puts walls up around a child that then ends; an error where they cannot be put up or do not hold.
fn try_on_child(walls: sys::Walls<'_>) -> io::Result<()> {
    const DOES_NOT_HOLD: i32 = 255;
    sys::fork_into(|| match sys::put_up(walls) {
        Err((_, errno)) => errno.clamp(1, DOES_NOT_HOLD - 1),
        Ok(()) if walls.filter.is_some() && sys::can_make_a_socket() => DOES_NOT_HOLD,
        Ok(()) => 0,
    })?;
    // The only child there is.
    match sys::wait_any(Wait::UntilOneEnds)? {
        Waited::Reaped(child) if libc::WIFEXITED(child.status) => match libc::WEXITSTATUS(child.status) {
            0 => Ok(()),
            DOES_NOT_HOLD => Err(io::Error::other("it was accepted and refuses nothing")),
            errno => Err(io::Error::from_raw_os_error(errno)),
        },
        other => Err(io::Error::other(format!("the child that tried it: {other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_kernels_are_asked_for_what_they_have() {
        let bits = |version| {
            let LandlockScope {
                files,
                network,
                scoped,
            } = scope(version);
            (files.count_ones(), network, scoped)
        };
        assert_eq!(bits(1), (13, 0, 0));
        assert_eq!(bits(3), (15, 0, 0));
        assert_eq!(bits(4), (15, 0b11, 0));
        assert_eq!(bits(7), (16, 0b11, 0b11));
    }

    #[test]
    fn nobody_may_make_devices_and_only_the_scratch_is_written() {
        assert_eq!(WRITE & (MAKE_CHAR_DEVICE | MAKE_BLOCK_DEVICE), 0);
        assert_eq!(READ & WRITE_FILE, 0);
    }
}
