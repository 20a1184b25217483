//! `/proc` as programs have it: theirs, to open `/dev/stdin` and the like by name, and nothing else.
//!
//! It shows the programs' pid namespace, of that only processes which the reader may trace (not the reaper), and no file
//! about the system. It is read-only, and Landlock lets no file of it be opened, for some of them name the host's
//! paths: what opens are the links of `/proc/self/fd`, whose ends lie elsewhere. Where there is no Landlock, there is no
//! `/proc` for programs.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen, move_mount,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::message::Attempt;
use crate::sys::{self, Wait, Waited};

/// Where it is.
pub(super) const PLACE: &str = "/proc";
/// Names below `/dev` that lead into it, as everywhere.
pub(super) const LINKS: [(&str, &str); 4] = [
    ("dev/fd", "/proc/self/fd"),
    ("dev/stdin", "/proc/self/fd/0"),
    ("dev/stdout", "/proc/self/fd/1"),
    ("dev/stderr", "/proc/self/fd/2"),
];

/// Mounts it into the mount namespace `tree`, for the pid namespace `programs`. Asked of the warden, who has rights over
/// both; a child of its own goes there.
///
/// # Errors
/// When the kernel refuses it: where parts of the host's own `/proc` are covered it lets no other be mounted.
pub(super) fn mount(programs: BorrowedFd<'_>, tree: BorrowedFd<'_>, attempt: Attempt) -> io::Result<()> {
    let child = sys::fork_into(|| match mount_here(programs, tree, attempt) {
        Ok(()) => 0,
        Err(error) => error.raw_os_error().unwrap_or(libc::EINVAL),
    })?;
    // An errno fits an exit status.
    match sys::wait_for(child, Wait::UntilOneEnds)? {
        Waited::Reaped(child) if libc::WIFEXITED(child.status) => match libc::WEXITSTATUS(child.status) {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        },
        other => Err(io::Error::other(format!("the child that mounts it: {other:?}"))),
    }
}

fn mount_here(programs: BorrowedFd<'_>, tree: BorrowedFd<'_>, attempt: Attempt) -> io::Result<()> {
    if attempt == Attempt::Unprivileged {
        // The host's mount namespace is not this user's to mount in. In its own copy the host's `/proc` is to be seen,
        // which the kernel asks for.
        sys::unshare(libc::CLONE_NEWNS)?;
    }
    // The namespace of children is the one that a new `/proc` shows.
    move_into_link_name_space(programs, Some(LinkNameSpaceType::ProcessID))?;
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "subset", "pid")?;
    fsconfig_set_string(&context, "hidepid", "ptraceable")?;
    fsconfig_create(&context)?;
    let flags = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)?;
    move_into_link_name_space(tree, Some(LinkNameSpaceType::Mount))?;
    move_mount(&mount, "", CWD, PLACE, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    Ok(())
}
