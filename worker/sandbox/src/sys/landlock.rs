//! The system calls of Landlock, which libc does not wrap.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use libc::c_int;

use super::check;

/// The version of Landlock that the kernel has; an error where it has none.
pub(crate) fn landlock_version() -> io::Result<u32> {
    const ASK_FOR_VERSION: u32 = 1;
    let nothing = ptr::null::<LandlockScope>();
    // SAFETY: with this flag the call reads nothing.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            nothing,
            0usize,
            ASK_FOR_VERSION,
        )
    };
    check(version)?;
    Ok(version as u32)
}

/// What a Landlock ruleset decides about: sets of bits. Kernels that know fewer fields take the others as zeros.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct LandlockScope {
    pub(crate) files: u64,
    pub(crate) network: u64,
    /// What cannot be reached outside.
    pub(crate) scoped: u64,
}

/// A new ruleset that allows nothing of what it decides about.
pub(crate) fn landlock_ruleset(scope: &LandlockScope) -> io::Result<OwnedFd> {
    let size = size_of::<LandlockScope>();
    // SAFETY: the structure has the layout of `struct landlock_ruleset_attr` and its size is given.
    let ruleset = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            ptr::from_ref(scope),
            size,
            0u32,
        )
    };
    check(ruleset)?;
    // SAFETY: a new file that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(ruleset as c_int) })
}

/// Lets a ruleset allow `rights` on a file, or on a directory and everything below it.
pub(crate) fn landlock_allow(ruleset: BorrowedFd<'_>, path: BorrowedFd<'_>, rights: u64) -> io::Result<()> {
    #[repr(C, packed)]
    struct PathRule {
        rights: u64,
        path: c_int,
    }
    const PATH_RULE: c_int = 1;
    let rule = PathRule {
        rights,
        path: path.as_raw_fd(),
    };
    // SAFETY: the structure has the packed layout of `struct landlock_path_beneath_attr`.
    check(unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            PATH_RULE,
            &raw const rule,
            0u32,
        )
    })
}
