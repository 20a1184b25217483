//! A worker that has judged for long: nothing grows, nothing is left behind. A process of its own, whose files and
//! children are all the worker's.
#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

#[path = "../judging/stand.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod stand;

use std::path::Path;

use roundhouse_proto::StartMode;

use stand::{PLAIN, SUM, evaluation, judge_all, pool, tests, verdicts, work};

/// Tests that are run unless `ROUNDHOUSE_LONG_TESTS` says otherwise.
const TESTS: usize = 4_000;
/// Tests of one program.
const CASES: usize = 200;
/// How much the worker may grow, in KiB.
const GROWTH_KIB_MAX: u64 = 32 << 10;

/// Resident memory of this process, in KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.split_ascii_whitespace().next().unwrap().parse().unwrap()
}

fn open_files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// This process's descendants.
fn descendants() -> Vec<u32> {
    let mut all = Vec::new();
    let mut from = vec![std::process::id()];
    while let Some(parent) = from.pop() {
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{parent}/task")) else {
            continue;
        };
        for task in tasks.filter_map(Result::ok) {
            let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            let children: Vec<u32> = children
                .split_ascii_whitespace()
                .map(|pid| pid.parse().unwrap())
                .collect();
            all.extend(&children);
            from.extend(children);
        }
    }
    all
}

/// Control groups whose names are ours, anywhere.
fn groups() -> usize {
    fn below(path: &Path, depth: u32) -> usize {
        let Ok(entries) = std::fs::read_dir(path) else {
            return 0;
        };
        let directories = entries.filter_map(Result::ok).filter(|entry| {
            entry
                .file_type()
                .is_ok_and(|kind| kind.is_dir() && !kind.is_symlink())
        });
        directories
            .map(|entry| {
                let ours = entry.path().to_string_lossy().contains("roundhouse");
                let inside = if depth > 0 {
                    below(&entry.path(), depth - 1)
                } else {
                    0
                };
                usize::from(ours) + inside
            })
            .sum()
    }
    below(Path::new("/sys/fs/cgroup"), 4)
}

#[tokio::test]
async fn a_worker_neither_grows_nor_leaves_anything_behind() {
    let total = std::env::var("ROUNDHOUSE_LONG_TESTS").map_or(TESTS, |text| text.parse().unwrap());
    let set = tests(&[SUM; CASES]);
    let groups_before = groups();
    let children_before = descendants().len();
    let pool = pool(2);
    let round = |programs: usize| {
        let evaluations = (0..programs).map(|_| evaluation(PLAIN, &set, work(&set, StartMode::Fast)));
        judge_all(&pool, evaluations, 4)
    };
    // What is held for good is there after a first round.
    round(4).await;
    let (files, kib, processes) = (open_files(std::process::id()), resident_kib(), descendants());
    let inside: Vec<usize> = processes.iter().map(|pid| open_files(*pid)).collect();
    for report in round(total / CASES).await {
        assert_eq!(verdicts(&report), ["AC"; CASES]);
    }
    assert!(
        resident_kib() < kib + GROWTH_KIB_MAX,
        "{kib} KiB became {}",
        resident_kib()
    );
    assert_eq!(open_files(std::process::id()), files);
    let after = descendants();
    // A spare server may be on its way at either moment.
    assert!(
        after.len() <= processes.len() + 2,
        "{processes:?} became {after:?}"
    );
    let kept = processes
        .iter()
        .zip(&inside)
        .filter(|(pid, _)| after.contains(pid));
    for (pid, before) in kept {
        assert!(
            open_files(*pid) <= before + 4,
            "process {pid} holds ever more files"
        );
    }
    drop(pool);
    roundhouse_tests::wait_until("every cage to end", || descendants().len() == children_before);
    roundhouse_tests::wait_until("every control group to be gone", || groups() <= groups_before);
}
