//! Which system calls a program may make: groups of calls, each with its rule and the reason for it.
//!
//! Read once by [`super::Filter::new`]. A call that is in no group does not exist for a program (`ENOSYS`), so that a
//! newer C library falls back to an older call instead of failing; a call that no program here has a use for needs no
//! entry. `Refuse` (`EPERM`) is for calls that exist everywhere, where "no such call" would be taken for a broken
//! system, and for those that must be refused whatever else changes.

use std::ffi::c_long;

use libc::*;

/// What a program is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// The call is made.
    Allow,
    /// `EPERM`.
    Refuse,
    /// `ENOSYS`.
    Unknown,
    /// The call is made when every check holds; else this error is answered.
    When(&'static [Check], i32),
    /// The process is killed with SIGSYS.
    Kill,
}

/// One argument of a call, of which the kernel reads no more than the low 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Check {
    /// Which argument, from 0.
    pub(super) argument: u32,
    /// The bits that are looked at.
    pub(super) mask: u32,
    /// What they may be.
    pub(super) wanted: &'static [u32],
}

/// Calls with the same rule for the same reason.
pub(super) struct Group {
    pub(super) rule: Rule,
    pub(super) calls: &'static [c_long],
}

/// All bits of an argument.
const WHOLE: u32 = u32::MAX;

const fn check(argument: u32, mask: u32, wanted: &'static [u32]) -> Check {
    Check {
        argument,
        mask,
        wanted,
    }
}

/// Flags of `clone` that make namespaces. `CLONE_NEWTIME` has no bit of its own there.
const NEW_NAMESPACES: u32 = (CLONE_NEWNS
    | CLONE_NEWCGROUP
    | CLONE_NEWUTS
    | CLONE_NEWIPC
    | CLONE_NEWUSER
    | CLONE_NEWPID
    | CLONE_NEWNET) as u32;

/// What `clone` may not be asked for. A sibling of the program would be a child of the init or of a fork server: nobody
/// would look for it there when the program has ended, and it would live on beside the next one.
const NO_CHILD: u32 = NEW_NAMESPACES | CLONE_PARENT as u32;

/// A device's kind of file has one of these two and no bit besides; what is no device has another.
const KINDS_BUT_DEVICES: &[u32] = &[0, S_IFREG, S_IFIFO, S_IFSOCK, S_IFDIR, S_IFLNK];

// Numbers that the crate `libc` does not have for every machine; from 424 on they are the same on all.
const FCHMODAT2: c_long = 452;
const FUTEX_WAKE: c_long = 454;
const FUTEX_WAIT: c_long = 455;
const FUTEX_REQUEUE: c_long = 456;
const OPEN_TREE_ATTR: c_long = 467;

// Operations of `prctl`, likewise.
const SVE_GET_VL: u32 = 51;
const GET_SPECULATION_CTRL: u32 = 52;
const PAC_RESET_KEYS: u32 = 54;
const GET_TAGGED_ADDR_CTRL: u32 = 56;

/// All groups of every machine.
#[rustfmt::skip] // One call a line would be too long to read.
pub(super) const GROUPS: &[Group] = &[
    // Files that are open. What they may be was decided when they were opened.
    Group {
        rule: Rule::Allow,
        calls: &[
            SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_pwrite64, SYS_preadv, SYS_pwritev,
            SYS_preadv2, SYS_pwritev2, SYS_lseek, SYS_close, SYS_close_range, SYS_dup, SYS_dup3, SYS_pipe2,
            SYS_fcntl, SYS_flock, SYS_fstat, SYS_fstatfs, SYS_getdents64, SYS_ftruncate, SYS_fallocate,
            SYS_fadvise64, SYS_readahead, SYS_fsync, SYS_fdatasync, SYS_sendfile, SYS_splice, SYS_tee,
            SYS_copy_file_range,
        ],
    },
    // Files by their name: the tree, its mounts and Landlock say which; users and modes say what with them.
    Group {
        rule: Rule::Allow,
        calls: &[
            SYS_openat, SYS_openat2, SYS_newfstatat, SYS_statx, SYS_statfs, SYS_faccessat, SYS_faccessat2,
            SYS_readlinkat, SYS_getcwd, SYS_chdir, SYS_fchdir, SYS_mkdirat, SYS_unlinkat, SYS_renameat2,
            SYS_linkat, SYS_symlinkat, SYS_fchmod, SYS_fchmodat, FCHMODAT2, SYS_fchown, SYS_fchownat,
            SYS_truncate, SYS_utimensat, SYS_umask, SYS_getxattr, SYS_lgetxattr, SYS_fgetxattr, SYS_listxattr,
            SYS_llistxattr, SYS_flistxattr,
        ],
    },
    // Pipes and plain files may be made, devices not.
    Group {
        rule: Rule::When(&[check(2, S_IFMT, KINDS_BUT_DEVICES)], EPERM),
        calls: &[SYS_mknodat],
    },
    // Memory: bounded by the memory limit, which counts what is mapped.
    Group {
        rule: Rule::Allow,
        calls: &[
            SYS_brk, SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise, SYS_msync, SYS_mincore,
            SYS_mlock, SYS_mlock2, SYS_mlockall, SYS_munlock, SYS_munlockall, SYS_pkey_alloc, SYS_pkey_free,
            SYS_pkey_mprotect, SYS_membarrier, SYS_mseal, SYS_get_mempolicy,
        ],
    },
    // Memory in files without a name is counted by nobody while it is not mapped, unless there is a control group. A
    // verdict must not hang on whether there is one, so they are refused everywhere: whoever wants such a file falls
    // back to one in `/tmp` or `/dev/shm`, which the scratch bounds.
    Group {
        rule: Rule::Unknown,
        calls: &[SYS_memfd_create, SYS_memfd_secret],
    },
    // Processes and threads of the program's own, bounded by the limit on processes.
    Group {
        rule: Rule::Allow,
        calls: &[
            SYS_execve, SYS_execveat, SYS_exit, SYS_exit_group, SYS_wait4, SYS_waitid, SYS_getpid,
            SYS_gettid, SYS_getppid, SYS_getpgid, SYS_setpgid, SYS_getsid, SYS_setsid, SYS_set_tid_address,
            SYS_set_robust_list, SYS_get_robust_list, SYS_rseq, SYS_futex, SYS_futex_waitv, FUTEX_WAKE,
            FUTEX_WAIT, FUTEX_REQUEUE, SYS_restart_syscall, SYS_sched_yield, SYS_pidfd_open,
        ],
    },
    // Children only, and none in namespaces of its own, over which it would have every capability. The flags of
    // `clone3` are in memory, where a filter cannot read them: every C library falls back to `clone` when it does not
    // exist.
    Group {
        rule: Rule::When(&[check(0, NO_CHILD, &[0])], EPERM),
        calls: &[SYS_clone],
    },
    Group {
        rule: Rule::Unknown,
        calls: &[SYS_clone3],
    },
    // Signals: the pid namespace, or else Landlock and the user, say to whom.
    Group {
        rule: Rule::Allow,
        calls: &[
            SYS_kill, SYS_tkill, SYS_tgkill, SYS_pidfd_send_signal, SYS_rt_sigaction, SYS_rt_sigprocmask,
            SYS_rt_sigreturn, SYS_rt_sigpending, SYS_rt_sigtimedwait, SYS_rt_sigsuspend, SYS_rt_sigqueueinfo,
            SYS_rt_tgsigqueueinfo, SYS_sigaltstack, SYS_signalfd4,
        ],
    },
    // Time, without setting it.
    Group {
        rule: Rule::Allow,
        calls: &[
            SYS_clock_gettime, SYS_clock_getres, SYS_clock_nanosleep, SYS_nanosleep, SYS_gettimeofday,
            SYS_times, SYS_getitimer, SYS_setitimer, SYS_timer_create, SYS_timer_settime, SYS_timer_gettime,
            SYS_timer_getoverrun, SYS_timer_delete, SYS_timerfd_create, SYS_timerfd_settime,
            SYS_timerfd_gettime,
        ],
    },
    // Waiting for several files at once.
    Group {
        rule: Rule::Allow,
        calls: &[
            SYS_ppoll, SYS_pselect6, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_epoll_pwait2,
            SYS_eventfd2,
        ],
    },
    // Who and where one is. Changing the user is allowed and does nothing for who has no capability.
    Group {
        rule: Rule::Allow,
        calls: &[
            SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getresuid, SYS_getresgid, SYS_getgroups,
            SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setresuid, SYS_setresgid, SYS_setfsuid,
            SYS_setfsgid, SYS_setgroups, SYS_capget, SYS_capset, SYS_uname, SYS_sysinfo, SYS_getcpu,
            SYS_getrandom, SYS_getrusage,
        ],
    },
    // How one is scheduled may be read. Another processor would be another cage's.
    Group {
        rule: Rule::Allow,
        calls: &[
            SYS_sched_getaffinity, SYS_sched_getattr, SYS_sched_getparam, SYS_sched_getscheduler,
            SYS_sched_get_priority_max, SYS_sched_get_priority_min, SYS_sched_rr_get_interval,
            SYS_getpriority, SYS_ioprio_get,
        ],
    },
    Group {
        rule: Rule::Refuse,
        calls: &[
            SYS_sched_setaffinity, SYS_sched_setattr, SYS_sched_setparam, SYS_sched_setscheduler,
            SYS_ioprio_set,
        ],
    },
    // A program may be nicer itself, and lower its own limits; not those of others of the same user.
    Group {
        rule: Rule::When(&[check(0, WHOLE, &[PRIO_PROCESS]), check(1, WHOLE, &[0])], EPERM),
        calls: &[SYS_setpriority],
    },
    Group {
        rule: Rule::When(&[check(0, WHOLE, &[0])], EPERM),
        calls: &[SYS_prlimit64],
    },
    // Two connected sockets, as event loops and pools of processes make them. Not datagrams: such a socket could be
    // sent from to any name, and to the host where there is no network namespace.
    Group {
        rule: Rule::When(
            &[
                check(0, WHOLE, &[AF_UNIX as u32]),
                check(1, 0xf, &[SOCK_STREAM as u32, SOCK_SEQPACKET as u32]),
            ],
            EPERM,
        ),
        calls: &[SYS_socketpair],
    },
    Group {
        rule: Rule::Allow,
        calls: &[
            SYS_sendto, SYS_sendmsg, SYS_sendmmsg, SYS_recvfrom, SYS_recvmsg, SYS_recvmmsg, SYS_shutdown,
            SYS_getsockname, SYS_getpeername, SYS_getsockopt,
        ],
    },
    // No other socket, of whatever family: network namespaces do not hold vsock and the kernel's cryptography, and
    // Landlock holds no family but two. `setsockopt` would load filters of its own into the kernel. Not even a named
    // Unix socket inside namespaces, which pools of processes ask for where they do not fork: the runtime's directories
    // are the host's, and that they are read-only keeps nobody from connecting to a server's socket that lies there.
    Group {
        rule: Rule::Refuse,
        calls: &[
            SYS_socket, SYS_connect, SYS_bind, SYS_listen, SYS_accept, SYS_accept4, SYS_setsockopt,
        ],
    },
    // What every program asks of a file of unknown kind, and nothing that a driver or a file system answers.
    Group {
        rule: Rule::When(
            &[check(
                1,
                WHOLE,
                &[
                    TCGETS as u32, TCGETS2 as u32, TIOCGWINSZ as u32, TIOCGPGRP as u32, FIONREAD as u32,
                    FIONBIO as u32, FIOASYNC as u32, FIOCLEX as u32, FIONCLEX as u32, FICLONE as u32,
                    FICLONERANGE as u32,
                ],
            )],
            ENOTTY,
        ),
        calls: &[SYS_ioctl],
    },
    // Names of threads and what one may ask about oneself; others do not exist, as in an older kernel. Not: becoming
    // the parent of orphans, ambient capabilities, who may trace, the layout of memory, another filter.
    Group {
        rule: Rule::When(
            &[check(
                0,
                WHOLE,
                &[
                    PR_SET_NAME as u32, PR_GET_NAME as u32, PR_SET_PDEATHSIG as u32, PR_GET_PDEATHSIG as u32,
                    PR_GET_DUMPABLE as u32, PR_SET_DUMPABLE as u32, PR_SET_NO_NEW_PRIVS as u32,
                    PR_GET_NO_NEW_PRIVS as u32, PR_GET_SECCOMP as u32, PR_CAPBSET_READ as u32,
                    PR_GET_KEEPCAPS as u32, PR_GET_SECUREBITS as u32, PR_GET_TIMERSLACK as u32,
                    PR_SET_TIMERSLACK as u32, PR_GET_THP_DISABLE as u32, PR_SET_THP_DISABLE as u32,
                    PR_SET_VMA as u32, GET_SPECULATION_CTRL, GET_TAGGED_ADDR_CTRL, PAC_RESET_KEYS, SVE_GET_VL,
                ],
            )],
            EINVAL,
        ),
        calls: &[SYS_prctl],
    },
    // The usual personality, and asking for it; another would take away random addresses or the zero page's guard.
    Group {
        rule: Rule::When(&[check(0, WHOLE, &[0, u32::MAX])], EPERM),
        calls: &[SYS_personality],
    },
    // The tree and the namespaces, old interface and new.
    Group {
        rule: Rule::Refuse,
        calls: &[
            SYS_mount, SYS_umount2, SYS_mount_setattr, SYS_move_mount, SYS_open_tree, OPEN_TREE_ATTR,
            SYS_fsopen, SYS_fsconfig, SYS_fsmount, SYS_fspick, SYS_pivot_root, SYS_chroot, SYS_unshare,
            SYS_setns, SYS_quotactl, SYS_quotactl_fd, SYS_swapon, SYS_swapoff,
        ],
    },
    // Files by a handle, past the tree; watching the files of others; attributes that no limit counts; and writing
    // out the host's disks.
    Group {
        rule: Rule::Refuse,
        calls: &[
            SYS_name_to_handle_at, SYS_open_by_handle_at, SYS_fanotify_init, SYS_fanotify_mark, SYS_setxattr,
            SYS_lsetxattr, SYS_fsetxattr, SYS_removexattr, SYS_lremovexattr, SYS_fremovexattr, SYS_sync,
            SYS_syncfs,
        ],
    },
    // Other processes: their memory, files, registers.
    Group {
        rule: Rule::Refuse,
        calls: &[
            SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_process_madvise,
            SYS_process_mrelease, SYS_pidfd_getfd, SYS_kcmp, SYS_migrate_pages, SYS_move_pages,
        ],
    },
    // Interfaces in which the holes of the kernel were found, and which no program that reads and prints has a use
    // for: programs in the kernel, its counters, its keys, faults and transfers handled elsewhere.
    Group {
        rule: Rule::Refuse,
        calls: &[
            SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_io_uring_setup, SYS_io_uring_enter,
            SYS_io_uring_register, SYS_io_setup, SYS_io_submit, SYS_add_key, SYS_request_key, SYS_keyctl,
            SYS_lookup_dcookie, SYS_vmsplice, SYS_mbind, SYS_set_mempolicy, SYS_seccomp,
        ],
    },
    // Segments, semaphores and queues that outlive their process and are counted by nobody.
    Group {
        rule: Rule::Refuse,
        calls: &[
            SYS_shmget, SYS_shmat, SYS_shmdt, SYS_shmctl, SYS_semget, SYS_semop, SYS_semctl, SYS_semtimedop,
            SYS_msgget, SYS_msgsnd, SYS_msgrcv, SYS_msgctl, SYS_mq_open, SYS_mq_unlink, SYS_mq_timedsend,
            SYS_mq_timedreceive, SYS_mq_notify, SYS_mq_getsetattr,
        ],
    },
    // The host itself.
    Group {
        rule: Rule::Refuse,
        calls: &[
            SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_kexec_load, SYS_kexec_file_load,
            SYS_reboot, SYS_acct, SYS_syslog, SYS_settimeofday, SYS_clock_settime, SYS_clock_adjtime,
            SYS_adjtimex, SYS_sethostname, SYS_setdomainname, SYS_vhangup,
        ],
    },
];

/// Calls that only this machine has: the older forms of the above, each with the rule of the newer one.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
pub(super) const OLDER: &[Group] = &[
    Group {
        rule: Rule::Allow,
        calls: &[
            SYS_open, SYS_creat, SYS_stat, SYS_lstat, SYS_access, SYS_readlink, SYS_mkdir, SYS_rmdir,
            SYS_unlink, SYS_rename, SYS_renameat, SYS_link, SYS_symlink, SYS_chmod, SYS_chown, SYS_lchown,
            SYS_utime, SYS_utimes, SYS_futimesat, SYS_getdents, SYS_dup2, SYS_pipe, SYS_sync_file_range,
            SYS_fork, SYS_vfork, SYS_getpgrp, SYS_pause, SYS_alarm, SYS_time, SYS_signalfd, SYS_select,
            SYS_poll, SYS_epoll_create, SYS_epoll_wait, SYS_eventfd, SYS_getrlimit, SYS_setrlimit,
            SYS_arch_prctl,
        ],
    },
    Group {
        rule: Rule::When(&[check(1, S_IFMT, KINDS_BUT_DEVICES)], EPERM),
        calls: &[SYS_mknod],
    },
    // Ports of the machine, and segments that hide code from the kernel.
    Group {
        rule: Rule::Refuse,
        calls: &[SYS_iopl, SYS_ioperm, SYS_modify_ldt],
    },
];

#[cfg(not(target_arch = "x86_64"))]
pub(super) const OLDER: &[Group] = &[];
