//! A worker on a host that grants less: rights are taken away first, then a cage is made and words are run in it.
//!
//! It says on standard output how well the cage holds and what the words said, and on standard error why.

use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;

use roundhouse_sandbox::{Cage, Flow, Run, RunLimits, Start, seal};

use crate::worker::{LIMITS, config, limits_of_forks};
use crate::{fork, say};

/// Becomes a user, takes rights away, makes a cage, runs the words in it.
pub(crate) fn under(taken: &str, user: u32, words: &[&str]) {
    become_user(user);
    take_away(taken);
    worker(words);
}

/// The same with fork servers; says what limits their forks have.
pub(crate) fn serve_under(taken: &str, user: u32) {
    become_user(user);
    take_away(taken);
    limits_of_forks();
}

/// Makes a cage and runs the words in it; says how well it holds and what they said.
fn worker(words: &[&str]) {
    let started = Cage::start(&config());
    let mut cage = match started {
        Ok(cage) => cage,
        Err(error) => return say(&format!("{error}")),
    };
    let containment = cage.containment();
    say(&format!("{:?} {:?}", containment.level, containment.grade()));
    eprintln!("{containment}");
    cage.load("probe", &fs::read("/proc/self/exe").unwrap()).unwrap();
    let stdin = seal(b"15").unwrap();
    let words: Vec<String> = ["./probe"]
        .iter()
        .chain(words)
        .map(|word| (*word).to_owned())
        .collect();
    let echo = ["./probe".to_owned(), "echo".to_owned()];
    for argv in [words.as_slice(), &echo] {
        let stdin = roundhouse_sandbox::reopen(stdin.as_fd()).unwrap();
        let run = Run {
            start: Start::Execute(argv),
            stdin: stdin.as_fd(),
            limits: RunLimits {
                cpu_ms: 2_000,
                wall_ms: 10_000,
                ..LIMITS
            },
        };
        let end = cage.run(&run, &mut |piece| {
            io::stdout().write_all(piece).unwrap();
            Flow::Continue
        });
        let end = end.unwrap();
        eprintln!("{end:?}\n{}", String::from_utf8_lossy(&end.stderr_tail));
    }
    say("");
}

fn become_user(user: u32) {
    if user == 0 {
        return;
    }
    // SAFETY: takes plain numbers and an empty list. Without being dumpable `/proc/self` would be root's.
    unsafe {
        assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
        assert_eq!(libc::setresgid(user, user, user), 0);
        assert_eq!(libc::setresuid(user, user, user), 0);
        assert_eq!(libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0), 0);
    }
}

/// Has the kernel refuse calls from here on, as a container engine or a hardened host does.
fn take_away(taken: &str) {
    use libc::*;
    let namespaces = [SYS_unshare, SYS_setns];
    let mounts = [
        SYS_mount,
        SYS_umount2,
        SYS_fsopen,
        SYS_fsmount,
        SYS_open_tree,
        SYS_move_mount,
        SYS_mount_setattr,
        SYS_pivot_root,
    ];
    let landlock = [
        SYS_landlock_create_ruleset,
        SYS_landlock_add_rule,
        SYS_landlock_restrict_self,
    ];
    let refused = |calls: &[c_long]| calls.iter().map(|call| (*call, EPERM)).collect::<Vec<_>>();
    let absent = |calls: &[c_long]| calls.iter().map(|call| (*call, ENOSYS)).collect::<Vec<_>>();
    // Calls and what is answered, and the flags of namespaces that `clone` and `unshare` are refused.
    let (calls, flags) = match taken {
        "nothing" => (Vec::new(), 0),
        "users" => (absent(&[SYS_clone3]), CLONE_NEWUSER),
        "mounts" => (refused(&mounts), 0),
        // What Docker's default profile does to who has not CAP_SYS_ADMIN.
        "docker" => (
            [refused(&namespaces), refused(&mounts), absent(&[SYS_clone3])].concat(),
            0x7e02_0000,
        ),
        "landlock" => (absent(&landlock), 0),
        "seccomp" => (refused(&[SYS_seccomp]), 0),
        "docker-and-landlock" => (
            [refused(&namespaces), refused(&mounts), absent(&landlock)].concat(),
            0,
        ),
        "docker-and-seccomp" => (
            [refused(&namespaces), refused(&mounts), refused(&[SYS_seccomp])].concat(),
            0,
        ),
        other => panic!("unknown rights: {other}"),
    };
    let step = |code: u32, k: u32, jt, jf| sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let load = |at| step(BPF_LD | BPF_W | BPF_ABS, at, 0, 0);
    let error = |errno: i32| step(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | errno as u32, 0, 0);
    let mut program = vec![load(0)];
    for (call, errno) in calls {
        program.extend([step(BPF_JMP | BPF_JEQ | BPF_K, call as u32, 0, 1), error(errno)]);
    }
    program.extend([
        step(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone as u32, 1, 0),
        step(BPF_JMP | BPF_JEQ | BPF_K, SYS_unshare as u32, 0, 3),
        load(16),
        step(BPF_JMP | BPF_JSET | BPF_K, flags as u32, 0, 1),
        error(EPERM),
        step(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0),
    ]);
    let program = sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the instructions.
    unsafe {
        assert_eq!(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(
            syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &raw const program),
            0
        );
    }
}

/// A worker in a user namespace of the test's own in which no further one may be made. `user` 0: everybody exists in
/// it; else this user alone, as its root.
pub(crate) fn within_own_users(user: u32, words: &[&str]) {
    become_user(user);
    let map = match user {
        0 => "0 0 4294967295".to_owned(),
        user => format!("0 {user} 1"),
    };
    let (ready, made) = rustix::pipe::pipe().unwrap();
    let (mapped, done) = rustix::pipe::pipe().unwrap();
    let child = fork();
    if child == 0 {
        // SAFETY: takes plain numbers.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWUSER) }, 0);
        rustix::io::write(&made, b"x").unwrap();
        rustix::io::read(&mapped, &mut [0]).unwrap();
        fs::write("/proc/sys/user/max_user_namespaces", "0").unwrap();
        return worker(words);
    }
    rustix::io::read(&ready, &mut [0]).unwrap();
    for (file, text) in [("setgroups", "deny"), ("uid_map", &map), ("gid_map", &map)] {
        // Whoever maps everybody may also change groups.
        if file != "setgroups" || user != 0 {
            fs::write(format!("/proc/{child}/{file}"), text).unwrap();
        }
    }
    rustix::io::write(&done, b"x").unwrap();
    // SAFETY: a null status is not written.
    unsafe { libc::wait(std::ptr::null_mut()) };
}
