//! Who a cage's processes are, and how they give up what they have.
//!
//! Two ways lead to the same place. *Privileged* (host root): file tree and namespaces are made as host root and stay
//! owned by the host, so that nobody inside has rights over them; then a user namespace is entered in which only
//! [`INIT`] and [`PROGRAM`] exist, mapped to two host ids that are not root. *Unprivileged*: a user namespace is
//! entered first, in which the caller is root over its own namespaces; then a second one, in which it is [`PROGRAM`].
//! Host user id 0 is never mapped.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};
use rustix::process::{
    DumpableBehavior, Signal, getegid, geteuid, set_dumpable_behavior, set_parent_process_death_signal,
};
use rustix::thread::{
    CapabilitySet, Gid, Uid, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use super::{Refusal, Step};
use crate::message::Attempt;
use crate::sys::{self, Identity, ProcessId};

/// The program, inside.
pub(super) const PROGRAM: Identity = Identity {
    user: 1000,
    group: 1000,
};
/// The init, inside, where it can have an id of its own.
pub(super) const INIT: Identity = Identity {
    user: 999,
    group: 999,
};
/// The program on a host where we are root: nobody.
pub(super) const HOST_PROGRAM: Identity = Identity {
    user: 65534,
    group: 65534,
};
/// Init and warden on a host where we are root: an id that owns nothing.
pub(super) const HOST_INIT: Identity = Identity {
    user: 65533,
    group: 65533,
};

/// The warden's part before it forks: from here on its next child is pid 1 of a new namespace.
pub(super) fn prepare(attempt: Attempt) -> Result<(), Refusal> {
    if attempt == Attempt::Unprivileged {
        if geteuid().is_root() {
            // Root without the right to make namespaces: go on as an ordinary user, never as a mapped root.
            become_identity(HOST_PROGRAM).step("change the user")?;
            set_dumpable_behavior(DumpableBehavior::Dumpable).step("open `/proc/self`")?;
        }
        let (user, group) = (geteuid().as_raw(), getegid().as_raw());
        sys::unshare(libc::CLONE_NEWUSER).step("make a user namespace")?;
        write_file("/proc/self/setgroups", "deny").step("write `setgroups`")?;
        write_file("/proc/self/uid_map", &format!("0 {user} 1")).step("write `uid_map`")?;
        write_file("/proc/self/gid_map", &format!("0 {group} 1")).step("write `gid_map`")?;
    }
    sys::unshare(libc::CLONE_NEWPID).step("make a pid namespace")
}

/// The warden's part when the init has entered its last user namespace. `proc` is the host's `/proc`.
pub(super) fn write_maps(proc: &OwnedFd, init: ProcessId, attempt: Attempt) -> io::Result<()> {
    let write = |name: &str, text: &str| -> io::Result<()> {
        let path = format!("{init}/{name}");
        let file = openat(proc, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::write(file, text.as_bytes())?;
        Ok(())
    };
    let (users, groups) = match attempt {
        Attempt::Privileged => (
            format!(
                "{} {} 1\n{} {} 1",
                INIT.user, HOST_INIT.user, PROGRAM.user, HOST_PROGRAM.user
            ),
            format!(
                "{} {} 1\n{} {} 1",
                INIT.group, HOST_INIT.group, PROGRAM.group, HOST_PROGRAM.group
            ),
        ),
        Attempt::Unprivileged | Attempt::Limits => {
            (format!("{} 0 1", PROGRAM.user), format!("{} 0 1", PROGRAM.group))
        }
    };
    write("setgroups", "deny")?;
    write("uid_map", &users)?;
    write("gid_map", &groups)
}

/// Whom the warden becomes, where it does not stay who it is.
pub(super) fn warden_to_be(attempt: Attempt) -> Option<Identity> {
    match attempt {
        _ if !geteuid().is_root() => None,
        Attempt::Privileged => Some(HOST_INIT),
        Attempt::Unprivileged => Some(HOST_PROGRAM),
        Attempt::Limits => None,
    }
}

/// The warden's last change: nothing but waiting and killing its child is left to do.
pub(super) fn give_up_as_warden(attempt: Attempt) -> io::Result<()> {
    if attempt == Attempt::Privileged {
        become_identity(HOST_INIT)?;
    }
    sys::drop_capabilities()?;
    set_no_new_privs(true)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// The init's change of user, as soon as its maps are written. It keeps its capabilities inside: over the program's
/// processes and files, and over nothing of the host's.
pub(super) fn become_init(attempt: Attempt) -> io::Result<()> {
    if attempt == Attempt::Privileged {
        let (user, group) = (Uid::from_raw(INIT.user), Gid::from_raw(INIT.group));
        rustix::thread::set_keep_capabilities(true)?;
        set_thread_res_gid(group, group, group)?;
        set_thread_res_uid(user, user, user)?;
    }
    Ok(())
}

/// What every program inherits from the init, and what keeps the init from being read.
pub(super) fn seal_init() -> io::Result<()> {
    for bit in 0..64 {
        // Numbers past the last capability are refused; so is all of it where we have no right to drop, and then an
        // execution under `no_new_privs` gains nothing either.
        let _ = remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit));
    }
    clear_ambient_capability_set()?;
    set_no_new_privs(true)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}

fn become_identity(identity: Identity) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(identity.user), Gid::from_raw(identity.group));
    set_thread_groups(&[])?;
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(user, user, user)?;
    Ok(())
}

fn write_file(path: &str, text: &str) -> io::Result<()> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file.as_fd(), text.as_bytes())?;
    Ok(())
}
