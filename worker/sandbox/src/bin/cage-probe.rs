//! The tests' own program: a cage's entry, a well-behaved or hostile program inside, and a worker that holds a cage.
//!
//! Built for `tests/cage` only; the worker does not know it. What it does is its first argument; what it finds it says
//! on standard output, one word or line, and the test compares.

#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use roundhouse_sandbox::{Cage, CageConfig, Flow, Level, Run, RunLimits, Start, enter_if_cage, seal};

/// Longest wait for a connection that must not come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

fn main() {
    enter_if_cage();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
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
        ["bomb"] => loop {
            fork();
        },
        ["daemon"] => {
            if fork() == 0 {
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
        ["children-keep", count, mebibytes] => {
            for _ in 0..count.parse::<u32>().unwrap() {
                if fork() == 0 {
                    keep_in_files(mebibytes.parse().unwrap());
                    wait_for_ever();
                }
            }
            wait_for_ever();
        }
        ["keep", mebibytes] => {
            keep_in_files(mebibytes.parse().unwrap());
            say("kept");
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
        ["hold"] => hold(cage()),
        ["hold-without-namespaces"] => hold(load(Cage::start_at(&config(), Level::Limits).unwrap())),
        ["fill-in-cage", mebibytes] => fill_in_cage(mebibytes),
        ["many", count] => many(count.parse().unwrap()),
        other => panic!("unknown words: {other:?}"),
    }
}

fn say(text: &str) {
    let mut out = io::stdout();
    writeln!(out, "{text}").unwrap();
    out.flush().unwrap();
}

fn fork() -> i32 {
    // SAFETY: this program has one thread.
    unsafe { libc::fork() }
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

/// Holds memory that is in no process: files without a name, which are not mapped, each below the bound on one file.
fn keep_in_files(mebibytes: usize) {
    let piece = [1u8; 1 << 20];
    let mut file = -1;
    for at in 0..mebibytes {
        if at % 16 == 0 {
            // SAFETY: the name is a C string.
            file = unsafe { libc::memfd_create(c"kept".as_ptr(), 0) };
        }
        // SAFETY: the bytes are there.
        let written = unsafe { libc::write(file, piece.as_ptr().cast(), piece.len()) };
        assert_eq!(usize::try_from(written), Ok(piece.len()));
    }
}

/// Says who the program is and what it may do, from system calls only: there is no `/proc`.
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

fn config() -> CageConfig {
    CageConfig {
        entry: "/proc/self/exe".into(),
        runtime: ["/lib", "/lib64", "/usr/lib"].map(PathBuf::from).to_vec(),
        environment: Vec::new(),
        scratch_bytes: 256 << 20,
        scratch_inodes: 1024,
        cpu: None,
        servers: Vec::new(),
        server_files: Vec::new(),
    }
}

const LIMITS: RunLimits = RunLimits {
    cpu_ms: 60_000,
    wall_ms: 60_000,
    memory_bytes: 256 << 20,
    output_bytes: 1 << 20,
    processes: 8,
};

fn cage() -> Cage {
    load(Cage::start(&config()).unwrap())
}

fn load(mut cage: Cage) -> Cage {
    cage.load("probe", &fs::read("/proc/self/exe").unwrap()).unwrap();
    cage
}

/// A worker that says its cage's pid and then waits for a program that never ends.
fn hold(mut cage: Cage) {
    let pid = cage.pid();
    let stdin = seal(b"").unwrap();
    let argv = ["./probe".to_owned(), "daemon-and-wait".to_owned()];
    let run = Run {
        start: Start::Execute(&argv),
        stdin: stdin.as_fd(),
        limits: LIMITS,
    };
    say(&pid.to_string());
    cage.run(&run, &mut |_| Flow::Continue).unwrap();
}

/// A worker whose program wants memory that it may have; says how that went.
fn fill_in_cage(mebibytes: &str) {
    let mut cage = cage();
    let stdin = seal(b"").unwrap();
    let argv = ["./probe", "fill", mebibytes].map(str::to_owned);
    let run = Run {
        start: Start::Execute(&argv),
        stdin: stdin.as_fd(),
        limits: RunLimits {
            memory_bytes: 1 << 30,
            ..LIMITS
        },
    };
    match cage.run(&run, &mut |_| Flow::Continue) {
        Ok(end) => say(&format!("{:?}, {:?}", end.ended, end.crossed)),
        Err(error) => say(&error.to_string()),
    }
}

/// A worker that runs many programs one after the other and says what is left of them.
fn many(count: u32) {
    let mut cage = cage();
    let stdin = seal(b"").unwrap();
    let argv = ["./probe".to_owned(), "daemon".to_owned()];
    let run = Run {
        start: Start::Execute(&argv),
        stdin: stdin.as_fd(),
        limits: LIMITS,
    };
    cage.run(&run, &mut |_| Flow::Continue).unwrap();
    let files = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = files();
    for _ in 0..count {
        let end = cage.run(&run, &mut |_| Flow::Continue).unwrap();
        assert_eq!(end.crossed, None);
    }
    let below = |pid: u32| -> Vec<u32> {
        let mut text = String::new();
        let path = format!("/proc/{pid}/task/{pid}/children");
        fs::File::open(path).unwrap().read_to_string(&mut text).unwrap();
        text.split_ascii_whitespace()
            .map(|pid| pid.parse().unwrap())
            .collect()
    };
    let inits = below(cage.pid());
    let programs: usize = inits.iter().map(|init| below(*init).len()).sum();
    say(&format!(
        "files {}, inits {}, programs {programs}",
        files() - before,
        inits.len()
    ));
}
