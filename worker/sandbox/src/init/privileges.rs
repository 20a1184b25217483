//! Who a cage's processes are, and how they give up what they have.
//!
//! Three ways lead to nearly the same place. *Privileged* (host root): file tree and namespaces are made as host root
//! and stay owned by the host, so that nobody inside has rights over them; then a user namespace is entered in which
//! only [`INIT`] and [`PROGRAM`] exist, mapped to two host ids that are not root. *Unprivileged*: a user namespace is
//! entered first, in which the caller is root over its own namespaces; then a second one, in which it is [`PROGRAM`].
//! *Without users* (host root where no user namespace may be made): as privileged, but init and program are those host
//! ids themselves, and the init keeps a few capabilities. Without any namespaces root does the same. Host user id 0 is
//! never mapped, and no program has it.

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

/// First host id of programs that have no user namespace; one id for each cage, by its warden's process id. Above
/// what systems give to containers and below what does not fit into a signed number.
const OWN_FIRST: u32 = 0x7000_0000;
/// The same where only the usual 65,536 ids exist; nobody else's by custom. A warden's process id may be greater than
/// their number: then two cages can share one, which Landlock still keeps apart.
const OWN_FIRST_OF_FEW: u32 = 20_000;
const OWN_OF_FEW: u32 = 40_000;

/// What an init without a user namespace keeps, as far as it had it: to empty a scratch whatever its modes are, to end
/// its programs and to become them, to read what memory they share, and to move between its own namespaces.
const KEPT: [CapabilitySet; 7] = [
    CapabilitySet::DAC_OVERRIDE,
    CapabilitySet::FOWNER,
    CapabilitySet::KILL,
    CapabilitySet::SETGID,
    CapabilitySet::SETUID,
    CapabilitySet::SYS_PTRACE,
    CapabilitySet::SYS_ADMIN,
];

/// Whom a program is on the host, where we are root. To be asked in the warden, whose process id is its own.
pub(super) fn program_of(attempt: Attempt) -> Identity {
    match attempt {
        Attempt::Privileged | Attempt::Unprivileged => HOST_PROGRAM,
        Attempt::WithoutUsers | Attempt::Limits => {
            let warden = std::process::id();
            let own = [
                OWN_FIRST.saturating_add(warden),
                OWN_FIRST_OF_FEW + warden % OWN_OF_FEW,
            ];
            let exists = |id: &u32| {
                ["/proc/self/uid_map", "/proc/self/gid_map"]
                    .iter()
                    .all(|map| std::fs::read_to_string(map).is_ok_and(|map| is_mapped(&map, *id)))
            };
            let id = own.into_iter().find(exists);
            id.map_or(HOST_PROGRAM, |id| Identity { user: id, group: id })
        }
    }
}

/// Whether programs of this process must be somebody else's. Root of a user namespace in which nobody else exists is no
/// more than the user who made it; who cannot tell takes it for root.
pub(crate) fn is_root() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    geteuid().is_root() && !is_one_users(&map)
}

/// Whether a map names one user alone, and another one outside than root.
fn is_one_users(map: &str) -> bool {
    let numbers: Vec<_> = map.split_ascii_whitespace().collect();
    matches!(numbers.as_slice(), [_, outside, "1"] if *outside != "0")
}

/// Whether a user or group id exists, by the text of a map.
fn is_mapped(map: &str, id: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u64>);
        match (numbers.next(), numbers.nth(1)) {
            (Some(Ok(first)), Some(Ok(count))) => (first..first.saturating_add(count)).contains(&id.into()),
            _ => false,
        }
    })
}

/// The warden's part before it forks: from here on its next child is pid 1 of a new namespace.
pub(super) fn prepare(attempt: Attempt) -> Result<(), Refusal> {
    if attempt == Attempt::Unprivileged {
        if is_root() {
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
        Attempt::Unprivileged | Attempt::WithoutUsers | Attempt::Limits => {
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
        _ if !is_root() => None,
        Attempt::Privileged | Attempt::WithoutUsers | Attempt::Limits => Some(HOST_INIT),
        Attempt::Unprivileged => Some(HOST_PROGRAM),
    }
}

/// The warden's last change: nothing but waiting and killing its child is left to do.
pub(super) fn give_up_as_warden(attempt: Attempt) -> io::Result<()> {
    match attempt {
        Attempt::Privileged | Attempt::WithoutUsers => become_identity(HOST_INIT)?,
        Attempt::Unprivileged | Attempt::Limits => {}
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

/// The same for an init without a user namespace: host root becomes [`HOST_INIT`] with few capabilities.
pub(super) fn become_init_of_host() -> io::Result<()> {
    let kept: CapabilitySet = KEPT.into_iter().collect();
    let had = rustix::thread::capabilities(None)?.permitted;
    empty_bounding_set();
    rustix::thread::set_keep_capabilities(true)?;
    become_identity(HOST_INIT)?;
    sys::set_capabilities((had & kept).bits())
}

/// What no program can get back, whatever it executes.
pub(super) fn empty_bounding_set() {
    for bit in 0..64 {
        // Numbers past the last capability are refused; so is all of it where we have no right to drop, and then an
        // execution under `no_new_privs` gains nothing either.
        let _ = remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit));
    }
}

/// What every program inherits from the init, and what keeps the init from being read.
pub(super) fn seal_init() -> io::Result<()> {
    empty_bounding_set();
    clear_ambient_capability_set()?;
    set_no_new_privs(true)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}

/// Calls `limit`, which sets limits of a program's process. Where that is refused it is called again with the program's
/// real ids: the kernel lets root without `CAP_SYS_RESOURCE` limit no other user. Nobody can signal the init meanwhile,
/// for no program can name it.
///
/// # Errors
/// When the ids cannot be changed, or not back.
pub(super) fn set_limits(program: Option<Identity>, limit: impl Fn() -> io::Result<()>) -> io::Result<()> {
    let refused = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    let (Some(program), true) = (program, limit().is_err_and(|error| refused(&error))) else {
        // A process that has ended needs no limit.
        return Ok(());
    };
    let (user, group) = (geteuid(), getegid());
    set_thread_res_gid(Gid::from_raw(program.group), group, group)?;
    set_thread_res_uid(Uid::from_raw(program.user), user, user)?;
    let _ = limit();
    set_thread_res_gid(group, group, group)?;
    Ok(set_thread_res_uid(user, user, user)?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_exists_where_a_line_of_the_map_has_it() {
        let whole = "         0          0 4294967295\n";
        let few = "0 100000 65536\n70000 300000 10\n";
        assert!(is_mapped(whole, OWN_FIRST));
        assert!(is_mapped(few, 65_535) && is_mapped(few, 70_009));
        assert!(!is_mapped(few, 65_536) && !is_mapped(few, 70_010) && !is_mapped(few, OWN_FIRST));
        assert!(!is_mapped("", 0));
    }

    #[test]
    fn root_of_a_namespace_with_nobody_else_is_the_user_outside() {
        assert!(is_one_users("         0       1000          1\n"));
        for roots in ["0 0 4294967295\n", "0 0 1\n", "0 1000 1\n1 100000 65536\n", ""] {
            assert!(!is_one_users(roots), "{roots}");
        }
    }
}
