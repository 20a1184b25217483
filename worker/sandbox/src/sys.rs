//! System calls that no safe wrapper covers: the only `unsafe` of the project.
//!
//! Used by the warden and the init, which have one thread each from their first instruction to their last
//! ([`crate::enter_if_cage`] is the first call of `main`); so forking them and going on in Rust is sound. Nothing here
//! is called by the worker, which has many threads.

mod landlock;

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use libc::{c_char, c_int, c_ulong};

pub(crate) use landlock::{LandlockScope, landlock_allow, landlock_ruleset, landlock_version};

use crate::filter::Filter;

/// A process id as the caller's namespace sees it.
pub(crate) type ProcessId = libc::pid_t;

/// Ends this process at once, without destructors: the end of the warden and of the init.
pub(crate) fn exit_now(status: c_int) -> ! {
    // SAFETY: `_exit` takes any status and does not return.
    unsafe { libc::_exit(status) }
}

/// Runs `child` in a new process, which ends with the status that `child` returns.
pub(crate) fn fork_into(child: impl FnOnce() -> c_int) -> io::Result<ProcessId> {
    // SAFETY: the calling process has one thread, so the child's copy of the memory is whole and no lock is held.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let run = std::panic::AssertUnwindSafe(child);
            exit_now(std::panic::catch_unwind(run).unwrap_or(101))
        }
        pid => Ok(pid),
    }
}

/// Sets every signal to its default and unblocks all: what an executed program inherits.
pub(crate) fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL is a valid disposition; numbers that cannot be set are refused without effect.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: an all-zero set is a valid place for `sigemptyset`, and the mask is only read.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

/// Closes every file from `first` on.
pub(crate) fn close_from(first: c_int) -> io::Result<()> {
    close_between(first, c_int::MAX)
}

/// Closes every file above 2 but those in `kept`.
///
/// For a forked process that never returns to its parent's code: whatever owned the other files there is not used and
/// not dropped any more.
pub(crate) fn close_others(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut kept: Vec<_> = kept.iter().map(AsRawFd::as_raw_fd).collect();
    kept.sort_unstable();
    let mut from = 3;
    for number in kept {
        if from < number {
            close_between(from, number - 1)?;
        }
        from = from.max(number + 1);
    }
    close_from(from)
}

fn close_between(first: c_int, last: c_int) -> io::Result<()> {
    // SAFETY: no owner of such a file is used after this in this process; the call takes plain numbers.
    check(unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first as libc::c_uint,
            last as libc::c_uint,
            0u32,
        )
    })
}

/// Takes standard input as an owned file, once, at the start of a process.
pub(crate) fn take_standard_input() -> io::Result<OwnedFd> {
    // SAFETY: file 0 is open (the caller was started with it) and is only borrowed for the copy.
    let input = unsafe { BorrowedFd::borrow_raw(0) };
    Ok(rustix::io::fcntl_dupfd_cloexec(input, 3)?)
}

/// Makes `fd` the file number `number`, which stays open on execution.
pub(crate) fn put_at(fd: BorrowedFd<'_>, number: c_int) -> io::Result<()> {
    // SAFETY: takes plain numbers; 0, 1 and 2 have no owner in the warden and the init.
    check(unsafe { libc::dup2(fd.as_raw_fd(), number) }.into())
}

/// Adds attributes (`MOUNT_ATTR_*`) to a mount, and to those below it when `recursive` says so.
pub(crate) fn add_mount_attributes(mount: BorrowedFd<'_>, attributes: u64, below: Below) -> io::Result<()> {
    #[repr(C)]
    struct MountAttributes {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    let wanted = MountAttributes {
        set: attributes,
        clear: 0,
        propagation: 0,
        user_namespace: 0,
    };
    let flags = match below {
        Below::Included => libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
        Below::Excluded => libc::AT_EMPTY_PATH,
    };
    // SAFETY: the path is an empty C string, the structure has the layout of `struct mount_attr` and its size is given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const wanted,
            size_of::<MountAttributes>(),
        )
    })
}

/// Whether the mounts below one are meant too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Below {
    Included,
    Excluded,
}

/// Leaves the namespaces named by `flags` (`CLONE_NEW*`) for new ones.
pub(crate) fn unshare(flags: c_int) -> io::Result<()> {
    // SAFETY: namespaces only, no CLONE_FILES or CLONE_VM; takes plain numbers.
    check(unsafe { libc::unshare(flags) }.into())
}

/// Empties the effective, permitted and inheritable capabilities of this process.
pub(crate) fn drop_capabilities() -> io::Result<()> {
    set_capabilities(0)
}

/// Makes `kept`, a set of bits, the effective and permitted capabilities of this process, and none inheritable.
pub(crate) fn set_capabilities(kept: u64) -> io::Result<()> {
    let header = CapabilityHeader {
        version: 0x2008_0522,
        pid: 0,
    };
    let (low, high) = (kept as u32, (kept >> 32) as u32);
    let sets = [[low, low, 0], [high, high, 0]];
    // SAFETY: version 3 of the call reads one header and two triples.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) })
}

/// What a program is shut in by besides namespaces and limits; each where the host has it.
#[derive(Clone, Copy)]
pub(crate) struct Walls<'a> {
    /// Landlock's.
    pub(crate) ruleset: Option<BorrowedFd<'a>>,
    pub(crate) filter: Option<&'a Filter>,
}

/// Shuts this process in, for good. It must have `no_new_privs`.
pub(crate) fn put_up(walls: Walls<'_>) -> Result<(), (StartStep, c_int)> {
    if let Some(ruleset) = walls.ruleset {
        // SAFETY: takes plain numbers.
        let done = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0u32) };
        if done != 0 {
            return Err((StartStep::Landlock, errno()));
        }
    }
    if let Some(filter) = walls.filter {
        let program = filter.program();
        let program = libc::sock_fprog {
            len: program.len() as libc::c_ushort,
            filter: program.as_ptr().cast_mut(),
        };
        // SAFETY: the kernel copies the instructions and writes nothing.
        let done = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                0u32,
                &raw const program,
            )
        };
        if done != 0 {
            return Err((StartStep::Filter, errno()));
        }
    }
    Ok(())
}

/// Whether this process may make a socket: the system-call filter refuses it everywhere.
pub(crate) fn can_make_a_socket() -> bool {
    // SAFETY: takes plain numbers; the file, if any, ends with this process.
    unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0) >= 0 }
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: c_int,
}

/// CPU time that all threads of a process have used, in microseconds; `None` when there is no such process.
pub(crate) fn cpu_of_process_us(pid: ProcessId) -> Option<u64> {
    // The encoding of a process's CPU clock: clock_getcpuclockid(3) without its extra call.
    let clock: libc::clockid_t = (!pid << 3) | 2;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place; a clock that is not there is refused.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    (result == 0).then(|| time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000)
}

/// A child that has ended and been reaped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reaped {
    pub(crate) pid: ProcessId,
    pub(crate) status: c_int,
    /// Its own and of all children that it waited for, in microseconds.
    pub(crate) cpu_us: u64,
    /// The greatest resident size of it or one of those children, in bytes.
    pub(crate) memory_bytes: u64,
}

/// What waiting for a child came to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Waited {
    Reaped(Reaped),
    /// There are children, none has ended.
    NoneEnded,
    NoChildren,
}

/// Reaps any child, waiting for one to end or not.
pub(crate) fn wait_any(wait: Wait) -> io::Result<Waited> {
    wait_for(-1, wait)
}

/// Reaps the child `pid`, waiting for its end or not; -1 is any child.
pub(crate) fn wait_for(pid: ProcessId, wait: Wait) -> io::Result<Waited> {
    let options = match wait {
        Wait::UntilOneEnds => 0,
        Wait::NotAtAll => libc::WNOHANG,
    } | libc::__WALL;
    loop {
        let mut status = 0;
        // SAFETY: all-zero is a valid `rusage`.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both places are valid for writing.
        let pid = unsafe { libc::wait4(pid, &raw mut status, options, &raw mut usage) };
        if pid > 0 {
            let microseconds = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
            return Ok(Waited::Reaped(Reaped {
                pid,
                status,
                cpu_us: microseconds(usage.ru_utime) + microseconds(usage.ru_stime),
                memory_bytes: (usage.ru_maxrss as u64) << 10,
            }));
        }
        if pid == 0 {
            return Ok(Waited::NoneEnded);
        }
        match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ECHILD) => return Ok(Waited::NoChildren),
            error if error.kind() == io::ErrorKind::Interrupted => {}
            error => return Err(error),
        }
    }
}

/// Whether to wait for an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    UntilOneEnds,
    NotAtAll,
}

/// Sends SIGKILL.
pub(crate) fn kill(pid: ProcessId) {
    // SAFETY: takes plain numbers; that the process is gone already is no error here.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

/// Sends SIGKILL to every process of this pid namespace but its pid 1 and the caller, at one instant: nobody can fork
/// past it. Whether there was any, ended but not yet reaped ones among them.
pub(crate) fn kill_all_others() -> bool {
    // SAFETY: takes plain numbers.
    unsafe { libc::kill(-1, libc::SIGKILL) == 0 }
}

/// A file that can be read when a child of this process has ended; the signal itself is held back from now on.
pub(crate) fn child_ends() -> io::Result<OwnedFd> {
    // SAFETY: an all-zero set is a valid place; `signalfd` gives a new file that nobody else owns.
    unsafe {
        let mut ends: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut ends);
        libc::sigaddset(&raw mut ends, libc::SIGCHLD);
        check(libc::sigprocmask(libc::SIG_BLOCK, &raw const ends, ptr::null_mut()).into())?;
        let file = libc::signalfd(-1, &raw const ends, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        check(file.into())?;
        Ok(OwnedFd::from_raw_fd(file))
    }
}

/// Numbers that several processes share: each fork of the one that made them sees the same.
#[derive(Clone, Copy)]
pub(crate) struct SharedNumbers<const N: usize>(&'static [AtomicU64; N]);

impl<const N: usize> SharedNumbers<N> {
    /// New ones, all 0.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: a new anonymous mapping; it is page aligned, zeroed and never unmapped, so it lives as `'static`.
        let page = unsafe {
            libc::mmap(
                ptr::null_mut(),
                size_of::<[AtomicU64; N]>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if page == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: see above; all access is atomic.
        Ok(Self(unsafe { &*page.cast::<[AtomicU64; N]>() }))
    }
}

impl<const N: usize> std::ops::Deref for SharedNumbers<N> {
    type Target = [AtomicU64; N];

    fn deref(&self) -> &Self::Target {
        self.0
    }
}

/// A number that a forked child shares until it executes a program: where the child says why it could not.
#[derive(Clone, Copy)]
pub(crate) struct StartReport {
    shared: SharedNumbers<1>,
}

/// A step between fork and execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum StartStep {
    Session = 1,
    Files = 2,
    Limits = 3,
    Identity = 4,
    Capabilities = 5,
    Execute = 6,
    Namespace = 7,
    Landlock = 8,
    Filter = 9,
    Group = 10,
}

impl StartStep {
    /// The words for a step's number.
    pub(crate) fn words(number: u8) -> &'static str {
        match number {
            1 => "start a session",
            2 => "put its files in place",
            3 => "set its limits",
            4 => "change the user",
            5 => "drop capabilities",
            6 => "execute it",
            7 => "enter the programs' namespace",
            8 => "shut it in with Landlock",
            9 => "filter its system calls",
            10 => "put it into its control group",
            _ => "start it",
        }
    }
}

impl StartReport {
    pub(crate) fn new() -> io::Result<Self> {
        let shared = SharedNumbers::new()?;
        Ok(Self { shared })
    }

    /// Step and errno of a child that could not start its program, taken out.
    pub(crate) fn take(&self) -> Option<(u8, i32)> {
        match self.shared[0].swap(0, Ordering::SeqCst) {
            0 => None,
            word => Some(((word >> 32) as u8, word as u32 as i32)),
        }
    }

    fn put(&self, step: StartStep, errno: c_int) {
        self.shared[0].store(
            u64::from(step as u8) << 32 | u64::from(errno as u32),
            Ordering::SeqCst,
        );
    }
}

/// Strings in the form that `execve` takes: pointers, ended by a null pointer.
pub(crate) struct StringList {
    _strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl StringList {
    /// Variables, as `name=value`.
    pub(crate) fn of_variables<'a>(
        variables: impl Iterator<Item = &'a (Vec<u8>, Vec<u8>)>,
    ) -> io::Result<Self> {
        let strings = variables.map(|(name, value)| CString::new([name.as_slice(), b"=", value].concat()));
        Ok(Self::new(strings.collect::<Result<_, _>>()?))
    }

    pub(crate) fn new(strings: Vec<CString>) -> Self {
        let mut pointers: Vec<_> = strings.iter().map(|string| string.as_ptr()).collect();
        pointers.push(ptr::null());
        Self {
            _strings: strings,
            pointers,
        }
    }
}

/// User and group to become, in the caller's user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) user: libc::uid_t,
    pub(crate) group: libc::gid_t,
}

/// One resource limit: which, soft, hard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResourceLimit {
    pub(crate) resource: libc::__rlimit_resource_t,
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

impl ResourceLimit {
    /// Sets it for another process, at most what that has: only the system's root may give more.
    pub(crate) fn set_for(self, pid: ProcessId) -> io::Result<()> {
        let wanted = libc::rlimit {
            rlim_cur: self.soft,
            rlim_max: self.hard,
        };
        // SAFETY: `wanted` is only read.
        check(unsafe { libc::prlimit(pid, self.resource, &raw const wanted, ptr::null_mut()) }.into())
    }

    /// Sets it for this process, as far as its hard limit allows.
    pub(crate) fn set(self) -> Result<(), c_int> {
        let mut now = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: `now` is a valid place.
        if unsafe { libc::getrlimit(self.resource, &raw mut now) } != 0 {
            return Err(errno());
        }
        let wanted = libc::rlimit {
            rlim_cur: self.soft.min(now.rlim_max),
            rlim_max: self.hard.min(now.rlim_max),
        };
        // SAFETY: `wanted` is only read.
        match unsafe { libc::setrlimit(self.resource, &raw const wanted) } {
            0 => Ok(()),
            _ => Err(errno()),
        }
    }
}

/// Sets the soft limit of another process, at most to its hard one.
pub(crate) fn set_soft_limit(
    pid: ProcessId,
    resource: libc::__rlimit_resource_t,
    soft: u64,
) -> io::Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid place.
    check(unsafe { libc::prlimit(pid, resource, ptr::null(), &raw mut limit) }.into())?;
    limit.rlim_cur = soft.min(limit.rlim_max);
    // SAFETY: `limit` is only read.
    check(unsafe { libc::prlimit(pid, resource, &raw const limit, ptr::null_mut()) }.into())
}

/// Everything a program is started with. Made before the fork: the child only makes system calls.
pub(crate) struct Execution<'a> {
    pub(crate) program: &'a CStr,
    pub(crate) arguments: &'a StringList,
    pub(crate) environment: &'a StringList,
    /// Standard input, output and error; numbers above 2.
    pub(crate) files: [BorrowedFd<'a>; 3],
    /// What makes it a fork server.
    pub(crate) service: Option<Service<'a>>,
    pub(crate) limits: &'a [ResourceLimit],
    /// The lists of processes of the control groups to enter.
    pub(crate) groups: &'a [OwnedFd],
    pub(crate) identity: Option<Identity>,
    pub(crate) walls: Walls<'a>,
    pub(crate) report: &'a StartReport,
}

/// What a fork server has beyond a program.
pub(crate) struct Service<'a> {
    /// Becomes its file 3.
    pub(crate) socket: BorrowedFd<'a>,
    /// The pid namespace of its children.
    pub(crate) children: BorrowedFd<'a>,
}

/// Whose child a new process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parent {
    Caller,
    /// The caller's own parent, which so can wait for it.
    OfCaller,
}

/// Starts a program in a new process and session, without rights, with nothing open but its own files.
///
/// Whether it could be executed is known when it has ended: then [`StartReport::take`] says.
pub(crate) fn execute(execution: &Execution<'_>, parent: Parent) -> io::Result<ProcessId> {
    execution.report.take();
    let pid = match parent {
        // SAFETY: the calling process has one thread; the child makes system calls only, on memory prepared before.
        Parent::Caller => unsafe { libc::fork() },
        Parent::OfCaller => {
            let flags = (libc::CLONE_PARENT | libc::SIGCHLD) as c_ulong;
            let none: c_ulong = 0;
            // SAFETY: as above; without a stack of its own and any other place this is a plain fork.
            unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) as ProcessId }
        }
    };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let (step, errno) = become_program(execution);
            execution.report.put(step, errno);
            exit_now(127)
        }
        pid => Ok(pid),
    }
}

/// Returns only when a step failed.
fn become_program(execution: &Execution<'_>) -> (StartStep, c_int) {
    for group in execution.groups {
        // Zero is whoever writes.
        if let Err(error) = rustix::io::write(group, b"0") {
            return (StartStep::Group, error.raw_os_error());
        }
    }
    // SAFETY: takes nothing.
    if unsafe { libc::setsid() } == -1 {
        return (StartStep::Session, errno());
    }
    if let Some(service) = &execution.service {
        // SAFETY: takes plain numbers. While there are rights to.
        if unsafe { libc::setns(service.children.as_raw_fd(), libc::CLONE_NEWPID) } == -1 {
            return (StartStep::Namespace, errno());
        }
    }
    for (number, file) in (0..).zip(&execution.files) {
        // SAFETY: takes plain numbers; this process has no owner of 0, 1 and 2.
        if unsafe { libc::dup2(file.as_raw_fd(), number) } == -1 {
            return (StartStep::Files, errno());
        }
    }
    for limit in execution.limits {
        if let Err(errno) = limit.set() {
            return (StartStep::Limits, errno);
        }
    }
    if let Some(identity) = execution.identity {
        let Identity { user, group } = identity;
        // SAFETY: both take plain numbers.
        if unsafe { libc::setresgid(group, group, group) != 0 || libc::setresuid(user, user, user) != 0 } {
            return (StartStep::Identity, errno());
        }
    }
    if let Err(error) = drop_capabilities() {
        return (StartStep::Capabilities, error.raw_os_error().unwrap_or(0));
    }
    // SAFETY: takes plain numbers. The init's death ends a program also where no pid namespace does.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as c_ulong, 0, 0, 0) } != 0 {
        return (StartStep::Capabilities, errno());
    }
    // Last, for what comes before them is what they refuse; the ruleset is one of the files that are closed then.
    if let Err(failed) = put_up(execution.walls) {
        return failed;
    }
    let first_unused = match &execution.service {
        None => 3,
        Some(service) => {
            let socket = service.socket.as_raw_fd();
            // What was number 3 until now is in its place or not needed any more; a socket that is number 3 already
            // only has to stay open.
            let placed = match socket {
                // SAFETY: takes plain numbers.
                3 => unsafe { libc::fcntl(3, libc::F_SETFD, 0) },
                // SAFETY: as above.
                _ => unsafe { libc::dup2(socket, 3) },
            };
            if placed == -1 {
                return (StartStep::Files, errno());
            }
            4
        }
    };
    if close_from(first_unused).is_err() {
        return (StartStep::Files, errno());
    }
    // SAFETY: the path is a C string and both lists end with a null pointer; they outlive the call.
    unsafe {
        libc::execve(
            execution.program.as_ptr(),
            execution.arguments.pointers.as_ptr(),
            execution.environment.pointers.as_ptr(),
        )
    };
    (StartStep::Execute, errno())
}

fn errno() -> c_int {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn check(result: libc::c_long) -> io::Result<()> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
