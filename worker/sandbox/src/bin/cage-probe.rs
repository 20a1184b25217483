//! The tests' own program: a cage's entry, a well-behaved or hostile program inside, a fork server, and workers that
//! hold a cage.
//!
//! Built for `tests/cage` only; the worker does not know it. What it does is its first argument; what it finds it says
//! on standard output, one word or line, and the test compares.

#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

#[path = "cage-probe/poorer_host.rs"]
mod poorer_host;
#[path = "cage-probe/server.rs"]
mod server;
#[path = "cage-probe/worker.rs"]
mod worker;

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use poorer_host::{serve_under, under, within_own_users};
use roundhouse_sandbox::enter_if_cage;

/// Longest wait for a connection that must not come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

fn main() {
    enter_if_cage();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve", holds] => server::serve(holds),
        ["hold"] => worker::hold(),
        ["hold-without-namespaces"] => worker::hold_without_namespaces(),
        ["fill-in-cage", mebibytes] => worker::fill_in_cage(mebibytes),
        ["many", count] => worker::many(count.parse().unwrap()),
        ["many-forks", count] => worker::many_forks(count.parse().unwrap()),
        ["serve-as-any-user"] => worker::serve_as_any_user(),
        ["measure", count, runtime @ ..] => worker::measure(count.parse().unwrap(), runtime),
        words => perform(words),
    }
}

/// What a program does, in a process of its own.
fn perform(words: &[&str]) {
    match words {
        ["nothing"] => {}
        ["echo"] => {
            io::copy(&mut io::stdin(), &mut io::stdout()).unwrap();
        }
        ["exit", status] => {
            say("left");
            // SAFETY: takes any status.
            unsafe { libc::_exit(status.parse().unwrap()) }
        }
        ["abort"] => std::process::abort(),
        ["spin"] => loop {
            std::hint::spin_loop();
        },
        ["sleep"] => wait_for_ever(),
        ["stop"] => signal(0, libc::SIGSTOP),
        ["flood"] => flood(io::stdout()),
        ["flood-errors"] => flood(io::stderr()),
        ["write-much", mebibytes] => {
            for _ in 0..mebibytes.parse::<u32>().unwrap() {
                io::stdout().write_all(&vec![b'x'; 1 << 20]).unwrap();
            }
        }
        ["bomb"] => loop {
            fork();
        },
        ["daemon"] => {
            if fork() == 0 {
                wait_for_ever();
            }
            say("done");
        }
        ["sibling"] => {
            let flags = (libc::CLONE_PARENT | libc::SIGCHLD) as libc::c_ulong;
            // SAFETY: without a stack of its own and any other place this is a plain fork; one thread.
            if unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } == 0 {
                wait_for_ever();
            }
            say("done");
        }
        ["fork-once"] => {
            let child = fork();
            if child != 0 {
                say(&(child > 0).to_string());
            }
        }
        ["daemon-and-wait"] => {
            fork();
            wait_for_ever();
        }
        ["children-spin", count] => {
            for _ in 0..count.parse::<u32>().unwrap() {
                if fork() == 0 {
                    loop {
                        std::hint::spin_loop();
                    }
                }
            }
            wait_for_ever();
        }
        ["children-fill", count, mebibytes] => {
            for _ in 0..count.parse::<u32>().unwrap() {
                if fork() == 0 {
                    fill(mebibytes.parse().unwrap());
                    wait_for_ever();
                }
            }
            wait_for_ever();
        }
        ["fill-scratch"] => {
            let mut file = fs::File::create("filling").unwrap();
            let piece = [1; 1 << 20];
            let error = (0..1 << 20).find_map(|_| file.write_all(&piece).err());
            say(&format!("{:?}", error.map(|error| error.kind())));
        }
        ["fill", mebibytes] => {
            fill(mebibytes.parse().unwrap());
            say("filled");
        }
        ["connect", address] => {
            let address: SocketAddr = address.parse().unwrap();
            say(match TcpStream::connect_timeout(&address, CONNECT_WITHIN) {
                Ok(_) => "connected",
                Err(_) => "unreachable",
            });
        }
        ["see", paths @ ..] => {
            let seen: Vec<_> = paths
                .iter()
                .filter(|path| fs::symlink_metadata(path).is_ok())
                .collect();
            say(&format!("{seen:?}"));
        }
        ["write", paths @ ..] => {
            let written: Vec<_> = paths
                .iter()
                .filter(|path| fs::write(PathBuf::from(path).join("written"), "x").is_ok())
                .collect();
            say(&format!("{written:?}"));
        }
        ["write-over", path] => {
            let kind = fs::OpenOptions::new()
                .write(true)
                .open(path)
                .map_err(|error| error.kind());
            say(&format!("{kind:?}"));
        }
        ["spoil"] => {
            // What a program can do to its directory where it is its owner, in the order that does most.
            let _ = fs::remove_file("probe");
            let _ = fs::rename("probe", "/tmp/probe");
            let _ = fs::create_dir_all("a/b/c");
            let _ = fs::write("a/b/c/file", "x");
            let _ = fs::write("/tmp/file", "x");
            let _ = fs::set_permissions("a", std::os::unix::fs::PermissionsExt::from_mode(0o000));
            let _ = fs::set_permissions("/tmp", std::os::unix::fs::PermissionsExt::from_mode(0o000));
            let _ = fs::set_permissions(".", std::os::unix::fs::PermissionsExt::from_mode(0o000));
            say("spoilt");
        }
        ["spoil-input"] => {
            // SAFETY: takes plain numbers.
            unsafe {
                libc::ftruncate(0, 0);
                libc::pwrite(0, c"9".as_ptr().cast(), 1, 0);
                libc::lseek(0, 3, libc::SEEK_SET);
            }
            say("tried");
        }
        ["rights"] => rights(),
        ["unshare"] => {
            for (name, flags) in [
                ("user", libc::CLONE_NEWUSER),
                ("mount", libc::CLONE_NEWNS),
                ("net", libc::CLONE_NEWNET),
            ] {
                // SAFETY: takes plain numbers.
                if unsafe { libc::unshare(flags) } == 0 {
                    say(name);
                }
            }
            say("end");
        }
        ["shared-memory"] => {
            // SAFETY: takes plain numbers.
            let id = unsafe { libc::shmget(libc::IPC_PRIVATE, 4096, libc::IPC_CREAT | 0o600) };
            say(if id == -1 { "refused" } else { "made" });
        }
        ["kill-all"] => {
            for pid in [-1].into_iter().chain(1..50) {
                // SAFETY: takes plain numbers.
                if pid != unsafe { libc::getpid() } {
                    signal(pid, libc::SIGKILL);
                }
            }
            say("alive");
        }
        ["squeeze-init"] => {
            let one = libc::rlimit {
                rlim_cur: 1,
                rlim_max: 1,
            };
            // SAFETY: the limit is only read.
            let done = unsafe { libc::prlimit(1, libc::RLIMIT_NOFILE, &raw const one, std::ptr::null_mut()) };
            say(if done == 0 { "squeezed" } else { "refused" });
        }
        ["open-files"] => {
            // SAFETY: takes plain numbers.
            let open: Vec<_> = (0..256)
                .filter(|fd| unsafe { libc::fcntl(*fd, libc::F_GETFD) } != -1)
                .collect();
            say(&format!("{open:?}"));
        }
        ["where"] => say(&format!(
            "{:?}",
            std::env::current_dir().map_err(|error| error.kind())
        )),
        ["environment"] => {
            let names: Vec<_> = std::env::vars_os().map(|(name, _)| name).collect();
            say(&format!("{names:?}"));
        }
        ["signals"] => {
            // SAFETY: an all-zero action and set are valid places, and both are only written.
            let (pipe, blocked) = unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                let mut mask: libc::sigset_t = std::mem::zeroed();
                libc::sigaction(libc::SIGINT, std::ptr::null(), &raw mut action);
                libc::sigprocmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut mask);
                let blocked = (1..64)
                    .filter(|signal| libc::sigismember(&raw const mask, *signal) == 1)
                    .count();
                (action.sa_sigaction == libc::SIG_DFL, blocked)
            };
            say(&format!("default {pipe}, blocked {blocked}"));
        }
        ["count"] => {
            static RUNS: AtomicU32 = AtomicU32::new(0);
            say(&(RUNS.fetch_add(1, Ordering::SeqCst) + 1).to_string());
        }
        ["self"] => {
            // SAFETY: takes nothing or plain numbers.
            let (pid, session, parent) = unsafe { (libc::getpid(), libc::getsid(0), libc::getppid()) };
            let leads = session == pid;
            say(&format!(
                "pid above 1 {}, leads its session {leads}, parent {parent}",
                pid > 1
            ));
        }
        ["limits"] => {
            let soft = |resource| {
                let mut limit = libc::rlimit {
                    rlim_cur: 0,
                    rlim_max: 0,
                };
                // SAFETY: the place is valid for writing.
                assert_eq!(unsafe { libc::getrlimit(resource, &raw mut limit) }, 0);
                limit.rlim_cur
            };
            // The init sets it for a fork as soon as it hears of it.
            while soft(libc::RLIMIT_CPU) == libc::RLIM_INFINITY {
                std::thread::yield_now();
            }
            say(&format!(
                "stack {} MiB, cpu {} s, core {}",
                soft(libc::RLIMIT_STACK) >> 20,
                soft(libc::RLIMIT_CPU),
                soft(libc::RLIMIT_CORE),
            ));
        }
        ["pid"] => say(&std::process::id().to_string()),
        ["trace-all"] => {
            let traced: Vec<i32> = (1..50)
                .filter(|pid| {
                    let none = std::ptr::null_mut::<libc::c_void>();
                    // SAFETY: attaches to another process; takes plain numbers.
                    unsafe { libc::ptrace(libc::PTRACE_SEIZE, *pid, none, none) == 0 }
                })
                .collect();
            say(&format!("{traced:?}"));
        }
        ["reopen"] => reopen(),
        ["spoil-named-input"] => {
            for truncated in [false, true] {
                let mut options = fs::OpenOptions::new();
                if let Ok(mut input) = options.write(true).truncate(truncated).open("/dev/stdin") {
                    let _ = (input.write(b"9"), input.set_len(0), input.set_len(9));
                }
            }
            say("tried");
        }
        ["links", paths @ ..] => {
            let ends: Vec<_> = paths.iter().map(|path| fs::read_link(path).unwrap()).collect();
            say(&format!("{ends:?}"));
        }
        ["list", path] => {
            let mut names: Vec<_> = fs::read_dir(path)
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            names.sort();
            say(&format!("{names:?}"));
        }
        ["read", path] => say(&fs::read_to_string(path).unwrap()),
        ["orphans-spin", milliseconds] => {
            // One after the other, each gone before the next: only who reaped them knows what they used.
            loop {
                orphan(|| spin_for(Duration::from_millis(milliseconds.parse().unwrap())));
            }
        }
        ["calls"] => calls(),
        ["open", paths @ ..] => {
            let opened: Vec<_> = paths.iter().filter(|path| fs::File::open(path).is_ok()).collect();
            say(&format!("{opened:?}"));
        }
        ["talk"] => talk(),
        ["devices"] => devices(),
        ["under", taken, user, words @ ..] => under(taken, user.parse().unwrap(), words),
        ["serve-under", taken, user] => serve_under(taken, user.parse().unwrap()),
        ["within-own-users", user, words @ ..] => within_own_users(user.parse().unwrap(), words),
        other => panic!("unknown words: {other:?}"),
    }
}

fn say(text: &str) {
    let mut out = io::stdout();
    writeln!(out, "{text}").unwrap();
    out.flush().unwrap();
}

/// Opens its standard files by their names; says what stands in the first, over the second.
fn reopen() {
    let named = |name: &str| fs::read_to_string(name).map_err(|error| error.kind());
    let inputs = ["/dev/stdin", "/proc/self/fd/0", "/dev/fd/0"].map(named);
    let write = |name: &str, text: String| fs::write(name, text).map_err(|error| error.kind());
    let errors = write("/dev/stderr", "heard".to_owned());
    let said = write("/dev/stdout", format!("{inputs:?} {errors:?}\n"));
    if said.is_err() {
        say(&format!("{said:?}"));
    }
}

fn fork() -> i32 {
    // SAFETY: this program has one thread.
    unsafe { libc::fork() }
}

/// Runs `work` in a process whose parent is gone, and waits for its end.
fn orphan(work: impl FnOnce()) {
    let (mut end, held) = io::pipe().unwrap();
    let child = fork();
    if child == 0 {
        if fork() == 0 {
            work();
        }
        // SAFETY: takes any status.
        unsafe { libc::_exit(0) }
    }
    drop(held);
    // SAFETY: takes plain numbers and no place.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    // The last that holds the pipe is the orphan.
    end.read_to_end(&mut Vec::new()).unwrap();
}

fn spin_for(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

/// Runs whose answers are the same in every cage.
fn words_of_a_run() -> [&'static str; 5] {
    ["self", "count", "open-files", "kill-all", "daemon"]
}

fn signal(pid: i32, signal: i32) {
    // SAFETY: takes plain numbers.
    unsafe { libc::kill(pid, signal) };
}

fn wait_for_ever() -> ! {
    loop {
        // SAFETY: takes nothing.
        unsafe { libc::pause() };
    }
}

fn flood(mut to: impl Write) {
    let piece = [b'x'; 65_536];
    while to.write_all(&piece).is_ok() {}
}

fn fill(mebibytes: usize) {
    let mut block = vec![0u8; mebibytes << 20];
    for at in (0..block.len()).step_by(4096) {
        block[at] = 1;
    }
    std::hint::black_box(&block);
    std::mem::forget(block);
}

/// Says who the program is and what it may do, from system calls only: no file of `/proc` opens.
fn rights() {
    // SAFETY: takes plain numbers and nothing.
    let (user, group, pid, no_new_privileges) = unsafe {
        (
            libc::getuid(),
            libc::getgid(),
            libc::getpid(),
            libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0),
        )
    };
    let header: [u32; 2] = [0x2008_0522, 0];
    let mut sets = [[u32::MAX; 3]; 2];
    // SAFETY: version 3 of the call writes two triples.
    unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()) };
    // SAFETY: takes plain numbers.
    let bounding = (0..64).filter(|bit| unsafe { libc::prctl(libc::PR_CAPBSET_READ, *bit, 0, 0, 0) } == 1);
    say(&format!(
        "user {user}, group {group}, pid above 1 {}, no_new_privs {no_new_privileges}, capabilities {}, bounding {}",
        pid > 1,
        sets.iter().flatten().map(|set| u64::from(*set)).sum::<u64>(),
        bounding.count()
    ));
}

/// Says how the kernel answers calls that an ordinary program without a filter is granted, or refused otherwise.
fn calls() {
    let answer = |name: &str, result: libc::c_long| {
        let error = match result {
            -1 => match io::Error::last_os_error().raw_os_error() {
                Some(libc::EPERM) => "EPERM".to_owned(),
                Some(libc::ENOSYS) => "ENOSYS".to_owned(),
                Some(libc::EINVAL) => "EINVAL".to_owned(),
                other => format!("{other:?}"),
            },
            _ => "done".to_owned(),
        };
        say(&format!("{name} {error}"));
    };
    let mut pair = [0; 2];
    let mut room = [0u8; 256];
    let at = room.as_mut_ptr();
    // SAFETY: numbers, C strings, and places that are large enough for what is written there.
    unsafe {
        for (name, family) in [
            ("unix", libc::AF_UNIX),
            ("inet", libc::AF_INET),
            ("netlink", libc::AF_NETLINK),
            ("vsock", libc::AF_VSOCK),
            ("alg", libc::AF_ALG),
        ] {
            answer(name, libc::socket(family, libc::SOCK_DGRAM, 0).into());
        }
        let datagrams = libc::socketpair(libc::AF_UNIX, libc::SOCK_DGRAM, 0, pair.as_mut_ptr());
        answer("datagram pair", datagrams.into());
        answer("memfd", libc::syscall(libc::SYS_memfd_create, c"x".as_ptr(), 0));
        answer("clone3", libc::syscall(libc::SYS_clone3, at, 0));
        answer("personality", libc::personality(0x0040_0000).into());
        answer("keyring", libc::syscall(libc::SYS_keyctl, 0, -3, 0));
        answer("userfaultfd", libc::syscall(libc::SYS_userfaultfd, 1));
        answer("io_uring", libc::syscall(libc::SYS_io_uring_setup, 1, at));
        answer("ptrace", libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0));
        let pid = libc::getpid();
        answer("kcmp", libc::syscall(libc::SYS_kcmp, pid, pid, 0, 0, 1));
        answer("affinity", libc::sched_setaffinity(0, 128, at.cast()).into());
        answer(
            "subreaper",
            libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0).into(),
        );
        answer("sync", libc::syscall(libc::SYS_sync));
        answer("unshare", libc::unshare(libc::CLONE_NEWUSER).into());
        answer("pipe", libc::mkfifo(c"pipe".as_ptr(), 0o600).into());
        let threads = std::thread::spawn(|| 1).join().unwrap();
        answer("thread", threads);
    }
}

/// Passes a file over a socket to a child, as fork servers and pools of processes do.
fn talk() {
    use rustix::net::{
        AddressFamily, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
        SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
    };
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    if fork() == 0 {
        let mut space = [std::mem::MaybeUninit::uninit(); 256];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = [0; 8];
        let mut pieces = [io::IoSliceMut::new(&mut bytes)];
        recvmsg(&theirs, &mut pieces, &mut control, RecvFlags::empty()).unwrap();
        for message in control.drain() {
            if let rustix::net::RecvAncillaryMessage::ScmRights(files) = message {
                files.for_each(|file| {
                    rustix::io::write(file, b"passed\n").unwrap();
                });
            }
        }
        return;
    }
    let mut space = [std::mem::MaybeUninit::uninit(); 256];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let output = io::stdout();
    let files = [output.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
    sendmsg(&ours, &[io::IoSlice::new(b"x")], &mut control, SendFlags::empty()).unwrap();
    // SAFETY: a null status is not written.
    unsafe { libc::wait(std::ptr::null_mut()) };
}

/// Says which kinds of files can be made, and whether the devices there are can be used.
fn devices() {
    for (name, kind) in [
        ("block", libc::S_IFBLK),
        ("character", libc::S_IFCHR),
        ("fifo", libc::S_IFIFO),
    ] {
        let path = std::ffi::CString::new(name).unwrap();
        // SAFETY: the path is a C string; device 1, 3 is `/dev/null`.
        if unsafe { libc::mknod(path.as_ptr(), kind | 0o600, libc::makedev(1, 3)) } == 0 {
            say(name);
        }
    }
    fs::write("/dev/null", "x").unwrap();
    let mut byte = [1];
    fs::File::open("/dev/zero")
        .unwrap()
        .read_exact(&mut byte)
        .unwrap();
    say(&format!("zero {}", byte[0]));
}
