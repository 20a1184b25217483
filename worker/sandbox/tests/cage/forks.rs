//! Runs that a fork server forks: what is fresh in them, what they cannot reach, how they end, and what becomes of the
//! server.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use roundhouse_sandbox::{Cage, CageError, Crossed, Ended, Level, RunLimits};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::life::{below, ends_in_time, pids_below};
use crate::stand::{Forking, LIMITS, MISSING, NOTHING, PROBE, PROGRAM, forking, serving};

/// Longest wait for something that the cage does by itself.
const HAPPENS_WITHIN: Duration = Duration::from_secs(10);
/// An ordinary user of most hosts.
const NOBODY: u32 = 65534;

/// The processes of a cage, without the warden.
fn processes(cage: &Cage) -> Vec<u32> {
    let mut pids = pids_below(cage.pid());
    pids.sort_unstable();
    pids
}

/// The processes of a cage when there are `count` of them.
fn processes_when(cage: &Cage, count: usize) -> Vec<u32> {
    let end = Instant::now() + HAPPENS_WITHIN;
    loop {
        let pids = processes(cage);
        if pids.len() == count {
            return pids;
        }
        assert!(
            Instant::now() < end,
            "{} processes instead of {count}",
            pids.len()
        );
        std::thread::yield_now();
    }
}

/// Init, nursery and reaper.
const HELPERS: usize = 3;

#[test]
fn a_forked_run_is_a_process_of_its_own_with_its_own_files() {
    let Some(mut stand) = forking("a_forked_run_is_a_process_of_its_own_with_its_own_files") else {
        return;
    };
    for server in [NOTHING, PROGRAM] {
        assert_eq!(
            stand.say(server, "self"),
            "pid above 1 true, leads its session true, parent 0"
        );
        assert_eq!(stand.say(server, "open-files"), "[0, 1, 2]");
        assert_eq!(stand.say(server, "where"), r#"Ok("/w")"#);
        assert_eq!(stand.say(server, "environment"), r#"["LANG", "SERVED"]"#);
        assert_eq!(stand.say(server, "signals"), "default true, blocked 0");
        assert!(
            stand
                .say(server, "rights")
                .ends_with("no_new_privs 1, capabilities 0, bounding 0")
        );
        stand.load("echo");
        for text in ["5\n1 2 3\n".repeat(20_000), String::new(), "15".to_owned()] {
            let (end, said) = stand.fork(server, text.as_bytes(), LIMITS).unwrap();
            assert_eq!((end.ended, end.crossed), (Ended::Exit(0), None));
            assert!(said == text, "{} bytes of {}", said.len(), text.len());
        }
    }
}

#[test]
fn nothing_of_a_forked_run_reaches_the_next() {
    let Some(mut stand) = forking("nothing_of_a_forked_run_reaches_the_next") else {
        return;
    };
    for server in [NOTHING, PROGRAM] {
        stand.load("count");
        for _ in 0..3 {
            assert_eq!(stand.fork(server, b"", LIMITS).unwrap().1, "1\n");
        }
        stand.load("spoil");
        for _ in 0..3 {
            assert_eq!(stand.fork(server, b"", LIMITS).unwrap().1, "spoilt\n");
        }
        assert_eq!(stand.say(server, "list /w"), r#"["words"]"#);
        assert_eq!(stand.say(server, "list /tmp"), "[]");
    }
}

#[test]
fn the_end_of_a_forked_program_is_told() {
    let Some(mut stand) = forking("the_end_of_a_forked_program_is_told") else {
        return;
    };
    for server in [NOTHING, PROGRAM] {
        for status in [0, 3, 255] {
            let (end, said) = stand.run(server, &format!("exit {status}"), LIMITS);
            let found = (end.ended, end.crossed, said.as_str());
            assert_eq!(found, (Ended::Exit(status), None, "left\n"));
        }
        let (end, _) = stand.run(server, "abort", LIMITS);
        assert_eq!((end.ended, end.crossed), (Ended::Signal(libc::SIGABRT), None));
        let (end, _) = stand.run(server, "no-such-word", LIMITS);
        let tail = String::from_utf8(end.stderr_tail).unwrap();
        assert!(tail.contains("unknown words: [\"no-such-word\"]"), "{tail}");
    }
}

#[test]
fn a_forked_program_cannot_reach_its_server() {
    let Some(mut stand) = forking("a_forked_program_cannot_reach_its_server") else {
        return;
    };
    stand.say(NOTHING, "echo");
    let servers = processes_when(&stand.cage, HELPERS + 1);
    assert_eq!(stand.say(NOTHING, "kill-all"), "alive");
    assert_eq!(stand.say(NOTHING, "trace-all"), "[]");
    let short = RunLimits {
        wall_ms: 300,
        ..LIMITS
    };
    // A signal to its own group.
    let (end, _) = stand.run(NOTHING, "stop", short);
    assert_eq!(end.crossed, Some(Crossed::Wall));
    assert_eq!(stand.say(NOTHING, "count"), "1");
    assert_eq!(processes(&stand.cage), servers);
}

#[test]
fn limits_hold_for_forked_programs() {
    let Some(mut stand) = forking("limits_hold_for_forked_programs") else {
        return;
    };
    let cpu = RunLimits {
        cpu_ms: 300,
        ..LIMITS
    };
    let wall = RunLimits {
        wall_ms: 300,
        ..LIMITS
    };
    let memory = RunLimits {
        memory_bytes: 64 << 20,
        ..LIMITS
    };
    for server in [NOTHING, PROGRAM] {
        for (words, limits, crossed) in [
            ("spin", cpu, Crossed::Cpu),
            ("children-spin 4", cpu, Crossed::Cpu),
            ("orphans-spin 20", cpu, Crossed::Cpu),
            ("sleep", wall, Crossed::Wall),
            ("fill 80", memory, Crossed::Memory),
            ("children-fill 4 30", memory, Crossed::Memory),
            ("flood", LIMITS, Crossed::Output),
            ("flood-errors", LIMITS, Crossed::Output),
        ] {
            let (end, _) = stand.run(server, words, limits);
            assert_eq!(end.crossed, Some(crossed), "{words}");
            assert!(end.wall_ms < 5_000, "{words}: {} ms", end.wall_ms);
        }
        let (end, said) = stand.run(server, "fill 40", memory);
        assert_eq!((end.crossed, said.as_str()), (None, "filled\n"));
        assert!(
            (40 << 20..64 << 20).contains(&end.memory_bytes),
            "{}",
            end.memory_bytes
        );
        for (processes, expected) in [(1, "false"), (2, "true")] {
            let limits = RunLimits { processes, ..LIMITS };
            let (_, said) = stand.run(server, "fork-once", limits);
            assert_eq!(said.trim_end(), expected, "{processes} processes");
        }
    }
    assert!(stand.still_works());
}

#[test]
fn a_program_that_wrote_too_much_before_its_server_spoke_is_killed() {
    let Some(mut stand) = forking("a_program_that_wrote_too_much_before_its_server_spoke_is_killed") else {
        return;
    };
    let (end, _) = stand.run(PROGRAM, "!says-late write-much 4", LIMITS);
    assert_eq!(
        (end.ended, end.crossed),
        (Ended::Signal(libc::SIGKILL), Some(Crossed::Output))
    );
    assert!(stand.still_works());
}

#[test]
fn no_process_of_a_forked_run_is_left_at_its_end() {
    let Some(mut stand) = forking("no_process_of_a_forked_run_is_left_at_its_end") else {
        return;
    };
    stand.say(NOTHING, "echo");
    let servers = processes_when(&stand.cage, HELPERS + 1);
    let short = RunLimits {
        cpu_ms: 500,
        wall_ms: 1_000,
        ..LIMITS
    };
    let (end, _) = stand.run(NOTHING, "bomb", short);
    assert!(
        matches!(end.crossed, Some(Crossed::Cpu | Crossed::Wall)),
        "{end:?}"
    );
    assert_eq!(processes(&stand.cage), servers);
    for words in ["daemon", "sibling"] {
        let (end, said) = stand.run(NOTHING, words, LIMITS);
        assert_eq!((end.ended, said.as_str()), (Ended::Exit(0), "done\n"));
        assert_eq!(processes(&stand.cage), servers, "{words}");
    }
}

#[test]
fn a_server_that_fails_leaves_a_cage_that_works() {
    let Some(mut stand) = forking("a_server_that_fails_leaves_a_cage_that_works") else {
        return;
    };
    for (words, reason) in [
        ("!refuse", "not this one"),
        ("!refuse-late", "not this one either"),
        ("!die", "it ended with status 3: failed before it was ready"),
        ("!nonsense", "it said something that means nothing"),
        (
            "!fork-fails",
            "it could not fork: Resource temporarily unavailable (os error 11)",
        ),
        (
            "!die-unheard",
            "it ended with status 3: failed before it said that it had forked",
        ),
        ("!die-in-run sleep", "it ended with status 3: failed in a run"),
        (
            "!die-in-run daemon-and-wait",
            "it ended with status 3: failed in a run",
        ),
    ] {
        assert_eq!(stand.unserved(PROGRAM, words), reason, "{words}");
        assert!(stand.still_works(), "{words}");
    }
    assert_eq!(
        stand.unserved(MISSING, "echo"),
        "could not execute it: No such file or directory (os error 2)"
    );
    assert_eq!(stand.unserved(17, "echo"), "there is no fork server 17");
    assert!(stand.still_works());
}

#[test]
fn a_server_that_stays_silent_is_given_up() {
    let Some(mut stand) = forking("a_server_that_stays_silent_is_given_up") else {
        return;
    };
    assert_eq!(
        stand.unserved(PROGRAM, "!silent"),
        "it gave no answer within 5000 ms"
    );
    assert!(stand.still_works());
}

#[test]
fn a_limit_that_was_crossed_is_told_though_the_server_was_lost() {
    let Some(mut stand) = forking("a_limit_that_was_crossed_is_told_though_the_server_was_lost") else {
        return;
    };
    let short = RunLimits {
        wall_ms: 300,
        ..LIMITS
    };
    for words in ["!die-at-end sleep", "!silent-at-end sleep"] {
        let (end, _) = stand.run(PROGRAM, words, short);
        let found = (end.ended, end.crossed);
        assert_eq!(
            found,
            (Ended::Signal(libc::SIGKILL), Some(Crossed::Wall)),
            "{words}"
        );
        assert!(stand.still_works(), "{words}");
    }
}

#[test]
fn a_server_that_was_killed_between_runs_is_replaced() {
    let Some(mut stand) = forking("a_server_that_was_killed_between_runs_is_replaced") else {
        return;
    };
    let helpers = processes_when(&stand.cage, HELPERS);
    for server in [NOTHING, PROGRAM] {
        stand.say(server, "echo");
        for pid in processes(&stand.cage) {
            if helpers.contains(&pid) {
                continue;
            }
            let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            let process = pidfd_open(pid, PidfdFlags::empty()).unwrap();
            pidfd_send_signal(&process, Signal::KILL).unwrap();
            assert!(ends_in_time(&process));
        }
        assert_eq!(stand.fork(server, b"15", LIMITS).unwrap().1, "15");
    }
}

#[test]
fn a_load_ends_the_programs_server_and_no_other() {
    let Some(mut stand) = forking("a_load_ends_the_programs_server_and_no_other") else {
        return;
    };
    let helpers = processes_when(&stand.cage, HELPERS);
    let servers = |stand: &Forking, count| -> Vec<u32> {
        let mut pids = processes_when(&stand.cage, HELPERS + count);
        pids.retain(|pid| !helpers.contains(pid));
        pids
    };
    stand.say(NOTHING, "echo");
    let nothing = servers(&stand, 1);
    assert_eq!(stand.say(PROGRAM, "count"), "1");
    // The one that serves and the spare.
    let both = servers(&stand, 3);
    let program: Vec<_> = both.iter().filter(|pid| !nothing.contains(pid)).collect();
    stand.load("self");
    let left = servers(&stand, 2);
    assert!(left.contains(&nothing[0]));
    let spare = left.iter().find(|pid| !nothing.contains(pid)).unwrap();
    assert!(program.contains(&spare));
    // The spare serves the next program, and a new one stands by.
    assert_eq!(
        stand.fork(PROGRAM, b"", LIMITS).unwrap().1,
        "pid above 1 true, leads its session true, parent 0\n"
    );
    assert!(servers(&stand, 3).contains(spare));
}

#[test]
fn other_limits_replace_a_server() {
    let Some(mut stand) = forking("other_limits_replace_a_server") else {
        return;
    };
    stand.load("limits");
    for server in [NOTHING, PROGRAM] {
        for (mebibytes, cpu_ms) in [(256, 5_000), (64, 5_000), (64, 2_000), (512, 9_000)] {
            let limits = RunLimits {
                memory_bytes: mebibytes << 20,
                cpu_ms,
                ..LIMITS
            };
            let (_, said) = stand.fork(server, b"", limits).unwrap();
            let cpu_s = cpu_ms / 1000 + 1;
            assert_eq!(said, format!("stack {mebibytes} MiB, cpu {cpu_s} s, core 1\n"));
        }
    }
}

#[test]
fn server_files_are_there_to_read_and_not_to_write() {
    let Some(mut stand) = forking("server_files_are_there_to_read_and_not_to_write") else {
        return;
    };
    assert_eq!(stand.say(NOTHING, "list /z"), r#"["note", "probe"]"#);
    assert_eq!(stand.say(NOTHING, "read /z/note"), "for servers");
    assert_eq!(stand.say(NOTHING, "write /z"), "[]");
    assert_eq!(stand.say(NOTHING, "write-over /z/note"), "Err(PermissionDenied)");
}

#[test]
fn a_server_file_without_a_plain_name_of_its_own_is_an_error() {
    for name in ["", "a/b", "..", "note"] {
        let mut config = serving();
        config.server_files.push((name.to_owned(), Vec::new()));
        let error = Cage::start(&config).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("the server file `{name}` must have a plain name of its own, at most 128 bytes long")
        );
    }
}

#[test]
fn a_file_beside_the_program_lasts_until_the_next_load() {
    let Some(mut stand) = forking("a_file_beside_the_program_lasts_until_the_next_load") else {
        return;
    };
    stand.load("write-over data");
    stand.cage.add("data", b"42").unwrap();
    assert!(stand.cage.add("data", b"43").is_err());
    for _ in 0..2 {
        let (_, said) = stand.fork(NOTHING, b"", LIMITS).unwrap();
        assert_eq!(said, "Err(PermissionDenied)\n");
    }
    stand.load("spoil");
    stand.cage.add("data", b"42").unwrap();
    stand.fork(NOTHING, b"", LIMITS).unwrap();
    stand.load("read data");
    assert_eq!(
        stand.fork(NOTHING, b"", LIMITS).unwrap().0.ended,
        Ended::Exit(101)
    );
    stand.load("read data");
    stand.cage.add("data", b"42").unwrap();
    assert_eq!(stand.fork(NOTHING, b"", LIMITS).unwrap().1, "42\n");
}

#[test]
fn without_namespaces_nothing_is_served() {
    let cage = Cage::start_at(&serving(), Level::Limits).unwrap();
    let mut stand = Forking { cage };
    assert_eq!(stand.unserved(NOTHING, "echo"), "it needs namespaces");
    let error = stand.fork(PROGRAM, b"", LIMITS).unwrap_err();
    assert!(matches!(error, CageError::NotServed { .. }), "{error}");
}

#[test]
fn a_dropped_cage_leaves_no_server() {
    let Some(mut stand) = forking("a_dropped_cage_leaves_no_server") else {
        return;
    };
    assert!(stand.still_works());
    let processes = below(stand.cage.pid());
    assert!(processes.len() >= HELPERS + 2);
    drop(stand);
    assert!(processes.iter().all(ends_in_time));
}

#[test]
fn three_hundred_forked_runs_leave_no_file_and_no_process() {
    let Some(first) = forking("three_hundred_forked_runs_leave_no_file_and_no_process") else {
        return;
    };
    drop(first);
    if !rustix::process::geteuid().is_root() {
        eprintln!(
            "LEFT OUT: three_hundred_forked_runs_leave_no_file_and_no_process: needs root to look at the init"
        );
        return;
    }
    let output = Command::new(PROBE).args(["many-forks", "300"]).output().unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "files 0, files of the init 0, helpers 5, programs 0\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn an_ordinary_user_is_served_too() {
    let Some(first) = forking("an_ordinary_user_is_served_too") else {
        return;
    };
    drop(first);
    let mut worker = Command::new(PROBE);
    worker.arg("serve-as-any-user");
    if rustix::process::geteuid().is_root() {
        worker.uid(NOBODY).gid(NOBODY);
    }
    let output = match worker.output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("LEFT OUT: an_ordinary_user_is_served_too: run `{PROBE}` as another user: {error}");
            return;
        }
    };
    let said = String::from_utf8(output.stdout).unwrap();
    if said.ends_with("Limits\n") {
        eprintln!("LEFT OUT: an_ordinary_user_is_served_too: the host refuses it namespaces");
        return;
    }
    let expected = [
        "self 0: Exit(0) pid above 1 true, leads its session true, parent 0",
        "self 1: Exit(0) pid above 1 true, leads its session true, parent 0",
        "count 0: Exit(0) 1",
        "count 1: Exit(0) 1",
        "open-files 0: Exit(0) [0, 1, 2]",
        "open-files 1: Exit(0) [0, 1, 2]",
        "kill-all 0: Exit(0) alive",
        "kill-all 1: Exit(0) alive",
        "daemon 0: Exit(0) done",
        "daemon 1: Exit(0) done",
        "Namespaces",
        "",
    ];
    assert_eq!(
        said,
        expected.join("\n"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
