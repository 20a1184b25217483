//! What the init sets before any program runs: whose the scratch is, and what its namespaces do not offer.
//!
//! Called by `serve` while there are rights to.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, openat};

use super::{privileges, tree};

/// The scratch's directories belong to the init, so that a program cannot remove what it did not make.
pub(super) fn give_to_init(directories: &tree::ScratchDirectories) -> io::Result<()> {
    let (user, group) = (
        rustix::fs::Uid::from_raw(privileges::HOST_INIT.user),
        rustix::fs::Gid::from_raw(privileges::HOST_INIT.group),
    );
    for directory in [
        &directories.root,
        &directories.work,
        &directories.temporary,
        &directories.kept,
    ] {
        rustix::fs::fchown(directory, Some(user), Some(group))?;
    }
    Ok(())
}

/// Segments outlive processes and no limit of a process counts them.
pub(super) fn forbid_system_v_ipc(proc: Option<&OwnedFd>) -> io::Result<()> {
    let proc = proc.ok_or(io::ErrorKind::NotFound)?;
    write_setting(proc, "sys/kernel/shmmni", "0")?;
    write_setting(proc, "sys/kernel/msgmni", "0")?;
    write_setting(proc, "sys/kernel/sem", "0 0 0 0")
}

/// A user namespace would give a program capabilities over further namespaces.
pub(super) fn forbid_nested_namespaces(proc: Option<&OwnedFd>) -> io::Result<()> {
    write_setting(
        proc.ok_or(io::ErrorKind::NotFound)?,
        "sys/user/max_user_namespaces",
        "0",
    )
}

fn write_setting(proc: &OwnedFd, path: &str, text: &str) -> io::Result<()> {
    let file = openat(proc, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file, text.as_bytes())?;
    Ok(())
}
