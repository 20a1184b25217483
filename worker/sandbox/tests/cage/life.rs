//! The life of a cage: what is left when it, a run, or the worker ends; and the cage without namespaces.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use roundhouse_sandbox::{Cage, CageError, Crossed, Ended, Layer, Level, RunLimits};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::stand::{LIMITS, PROBE, Stand, config, stand};

/// Longest wait for a process to end, in seconds.
const END_WITHIN_S: i64 = 10;

/// The processes below `root`, opened so that their end can be waited for.
pub(crate) fn below(root: u32) -> Vec<OwnedFd> {
    let open = |pid: u32| {
        let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        pidfd_open(pid, PidfdFlags::empty()).ok()
    };
    pids_below(root).into_iter().filter_map(open).collect()
}

/// The process ids below `root`.
pub(crate) fn pids_below(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_ascii_whitespace().nth(1)?.parse().ok());
        children.entry(parent.unwrap_or(0)).or_default().push(pid);
    }
    let (mut found, mut from) = (Vec::new(), vec![root]);
    while let Some(parent) = from.pop() {
        for pid in children.get(&parent).into_iter().flatten() {
            from.push(*pid);
            found.push(*pid);
        }
    }
    found
}

pub(crate) fn ends_in_time(process: &OwnedFd) -> bool {
    let time = Timespec {
        tv_sec: END_WITHIN_S,
        tv_nsec: 0,
    };
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&time)).unwrap() == 1
}

#[test]
fn a_worker_that_is_killed_leaves_no_process() {
    let Some(first) = stand("a_worker_that_is_killed_leaves_no_process") else {
        return;
    };
    drop(first);
    let mut worker = Command::new(PROBE)
        .arg("hold")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(worker.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    // Warden, init, reaper, the program and its child; the last two start any moment.
    let mut processes = Vec::new();
    for _ in 0..100_000 {
        processes = below(worker.id());
        if processes.len() >= 5 {
            break;
        }
        std::thread::yield_now();
    }
    assert_eq!(processes.len(), 5);
    worker.kill().unwrap();
    worker.wait().unwrap();
    for (at, process) in processes.iter().enumerate() {
        assert!(ends_in_time(process), "process {at} is still there");
    }
}

#[test]
fn programs_go_before_their_cage_when_memory_is_used_up() {
    let Some(first) = stand("programs_go_before_their_cage_when_memory_is_used_up") else {
        return;
    };
    drop(first);
    let mut worker = Command::new(PROBE)
        .arg("hold")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(worker.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let children = |pid: u32| -> Vec<u32> {
        let path = format!("/proc/{pid}/task/{pid}/children");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.split_ascii_whitespace()
            .map(|child| child.parse().unwrap())
            .collect()
    };
    let score = |pid: u32| -> i32 {
        let text = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
        text.trim().parse().unwrap()
    };
    let warden = line.trim().parse().unwrap();
    let init = children(warden)[0];
    // It has been executed when it has a child of its own; the init's score is its own again long before.
    let program = (0..100_000).find_map(|_| {
        std::thread::yield_now();
        children(init)
            .into_iter()
            .find(|child| !children(*child).is_empty())
    });
    let program = program.unwrap();
    let own = score(worker.id());
    assert_eq!((score(warden), score(init), score(program)), (own, own, 800));
    worker.kill().unwrap();
    worker.wait().unwrap();
}

#[test]
fn a_dropped_cage_leaves_no_process() {
    let Some(mut stand) = stand("a_dropped_cage_leaves_no_process") else {
        return;
    };
    assert!(stand.still_works());
    // The init and the reaper.
    let processes = below(stand.cage.pid());
    assert_eq!(processes.len(), 2);
    drop(stand);
    assert!(processes.iter().all(ends_in_time));
}

#[test]
fn two_hundred_runs_leave_no_file_and_no_process() {
    let Some(first) = stand("two_hundred_runs_leave_no_file_and_no_process") else {
        return;
    };
    drop(first);
    let output = Command::new(PROBE).args(["many", "200"]).output().unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "files 0, inits 1, helpers 1, programs 0\n"
    );
}

#[test]
fn a_cage_whose_init_was_killed_says_so_and_stays_lost() {
    let Some(mut stand) = stand("a_cage_whose_init_was_killed_says_so_and_stays_lost") else {
        return;
    };
    let init = below(stand.cage.pid()).remove(0);
    rustix::process::pidfd_send_signal(&init, rustix::process::Signal::KILL).unwrap();
    assert!(ends_in_time(&init));
    for _ in 0..2 {
        let error = stand.cage.load("main.py", b"").unwrap_err();
        assert!(matches!(error, CageError::Died { .. }), "{error}");
        assert!(!error.leaves_the_cage_usable());
    }
}

#[test]
fn a_cage_moves_to_another_thread_and_outlives_the_one_that_made_it() {
    let made =
        std::thread::spawn(|| stand("a_cage_moves_to_another_thread_and_outlives_the_one_that_made_it"));
    let Some(mut stand) = made.join().unwrap() else {
        return;
    };
    assert!(stand.still_works());
}

#[test]
fn an_entry_that_is_no_cage_is_an_error() {
    let mut config = config();
    config.entry = "/no/such/entry".into();
    let error = Cage::start(&config).unwrap_err();
    assert_eq!(error.to_string(), "start the cage's entry `/no/such/entry`");
    config.entry = "/bin/true".into();
    let error = Cage::start(&config).unwrap_err();
    assert!(matches!(error, CageError::Died { .. }), "{error}");
}

#[test]
fn without_namespaces_limits_still_hold() {
    let cage = Cage::start_at(&config(), Level::Limits).unwrap();
    assert_eq!(cage.containment().level, Level::Limits);
    assert!(cage.containment().layers.has(Layer::NoNewPrivileges));
    let mut stand = Stand::with(cage);
    let (end, said) = stand.run(&["echo"], b"15", LIMITS);
    assert_eq!(
        (end.ended, end.crossed, said.as_str()),
        (Ended::Exit(0), None, "15")
    );
    let (end, _) = stand.run(
        &["spin"],
        b"",
        RunLimits {
            cpu_ms: 300,
            ..LIMITS
        },
    );
    assert_eq!(end.crossed, Some(Crossed::Cpu));
    let (end, _) = stand.run(
        &["sleep"],
        b"",
        RunLimits {
            wall_ms: 300,
            ..LIMITS
        },
    );
    assert_eq!(end.crossed, Some(Crossed::Wall));
    let (end, said) = stand.run(&["daemon"], b"", LIMITS);
    assert_eq!((end.ended, said.as_str()), (Ended::Exit(0), "done\n"));
    assert_eq!(below(stand.cage.pid()).len(), 0);
    let (end, _) = stand.run(&["flood"], b"", LIMITS);
    assert_eq!(end.crossed, Some(Crossed::Output));
    assert!(stand.still_works());
}

#[test]
fn a_runtime_where_the_cage_has_its_own_files_is_an_error_and_not_a_weaker_cage() {
    for path in ["/tmp/python", "/", "usr/lib", "/usr/../proc"] {
        let mut config = config();
        config.runtime.push(path.into());
        let error = Cage::start(&config).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "the runtime path `{path}` must be absolute and outside `/tmp`, `/w`, `/z`, `/dev` and `/proc`"
            )
        );
    }
}
