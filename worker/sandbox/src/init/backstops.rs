//! The kernel's own limits of a process: backstops for what `watch` does, and what it cannot do.
//!
//! Worked out by `serve` for each run; set by the child before it executes a program, or on a fork server's fork.

use crate::run::RunLimits;
use crate::sys::ResourceLimit;

/// Address space beyond the memory limit: the interpreter's and libraries' mappings, which are mostly not resident.
const ADDRESS_SLACK_BYTES: u64 = 1 << 30;
/// Room for the arguments and the first frames, whatever the memory limit.
const STACK_BYTES_MIN: u64 = 1 << 20;
/// CPU seconds between the soft and the hard backstop, and between the limit and the soft one.
const CPU_BACKSTOP_S: u64 = 1;
/// Open files of one program.
const FILES_MAX: u64 = 256;
/// Files that the init itself may hold open.
const INIT_FILES_MAX: u64 = 1024;

/// What keeps the kernel from writing down the memory of who crashed. It writes none that does not fit a page; but where
/// it hands them to a program of the host, which is then started as the host's root, it asks for this very number and
/// takes 0 for no reason not to.
const NO_CORE_BYTES: u64 = 1;

/// Whether somebody looks at what memory a program's processes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    Watched,
    Unwatched,
}

/// All limits of a program. `processes` is how many its user may have, `file_bytes` the longest file.
pub(super) fn of_program(
    limits: &RunLimits,
    processes: u64,
    file_bytes: u64,
    memory: Memory,
) -> Vec<ResourceLimit> {
    // The main stack may grow to the memory limit. It is also the address space of each new thread's stack, so that
    // the limit on addresses must leave room for all of them: what is resident is what counts, and `watch` counts
    // that. Where nobody watches, addresses are the only bound and threads get less room.
    let stack = limits.memory_bytes.max(STACK_BYTES_MIN);
    let stacks = match memory {
        Memory::Watched => u64::from(limits.processes.max(1)),
        Memory::Unwatched => 1,
    };
    let addresses = limits
        .memory_bytes
        .saturating_add(ADDRESS_SLACK_BYTES)
        .saturating_add(stack.saturating_mul(stacks));
    vec![
        cpu(limits),
        fixed(libc::RLIMIT_AS, addresses),
        fixed(libc::RLIMIT_STACK, stack),
        self::processes(processes),
        fixed(libc::RLIMIT_FSIZE, file_bytes),
        fixed(libc::RLIMIT_NOFILE, FILES_MAX),
        fixed(libc::RLIMIT_MEMLOCK, 0),
    ]
}

/// The limits of the init, which its children inherit.
pub(super) fn of_init() -> [ResourceLimit; 3] {
    [
        fixed(libc::RLIMIT_CORE, NO_CORE_BYTES),
        fixed(libc::RLIMIT_MSGQUEUE, 0),
        fixed(libc::RLIMIT_NOFILE, INIT_FILES_MAX),
    ]
}

/// The limits of a fork server that is to have forks with `limits`: CPU time is each fork's, and of the processes that
/// are not the program's there may be `more` by the time it forks.
pub(super) fn of_server(limits: &[ResourceLimit], more: u64) -> Vec<ResourceLimit> {
    let own = limits.iter().filter(|limit| limit.resource != libc::RLIMIT_CPU);
    own.map(|limit| match limit.resource {
        libc::RLIMIT_NPROC => processes(limit.hard.saturating_add(more)),
        _ => *limit,
    })
    .collect()
}

/// The limits that a fork does not have from its server.
pub(super) fn of_fork(limits: &RunLimits, processes: u64) -> [ResourceLimit; 2] {
    [cpu(limits), self::processes(processes)]
}

fn cpu(limits: &RunLimits) -> ResourceLimit {
    let cpu_s = limits.cpu_ms.div_ceil(1000).saturating_add(CPU_BACKSTOP_S);
    ResourceLimit {
        resource: libc::RLIMIT_CPU,
        soft: cpu_s,
        hard: cpu_s.saturating_add(CPU_BACKSTOP_S),
    }
}

fn processes(count: u64) -> ResourceLimit {
    fixed(libc::RLIMIT_NPROC, count)
}

fn fixed(resource: libc::__rlimit_resource_t, value: u64) -> ResourceLimit {
    ResourceLimit {
        resource,
        soft: value,
        hard: value,
    }
}
