//! A process that commits is killed at random moments; what it acknowledged must be there.
//!
//! The process is this test binary, started again with the name of one test and a directory in the environment.

#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use roundhouse_core::record::{PendingFile, Write};

use super::conformance::{job, run, session};
use super::{MemoryStore, SledStore, Store, journal};

const DIR: &str = "ROUNDHOUSE_TEST_COMMIT_IN";
const KILLS: u32 = 20;

/// What commit `n` writes. From all of them together it can be told which were stored and whether each is whole.
fn writes(n: u64) -> Vec<Write> {
    let file = |n| PendingFile::Round {
        run: run(1),
        problem: 1,
        round: u32::try_from(n).unwrap(),
    };
    let number = u32::try_from(n).unwrap();
    let mut writes = vec![
        Write::Epoch(number),
        Write::Session(session(1, n)),
        Write::Pending(file(n)),
        Write::Written(file(n - 1)),
    ];
    if n.is_multiple_of(16) {
        let jobs = (1..=200).map(job).map(|write| match write {
            Write::Job(record) => Write::Job(roundhouse_core::record::JobRecord { at_ms: n, ..record }),
            other => other,
        });
        writes.extend(jobs);
    }
    writes
}

#[test]
fn child_commits_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let mut store = SledStore::open(Path::new(&dir)).unwrap();
    let mut n = u64::from(store.load().unwrap().epoch);
    let mut out = std::io::stdout();
    loop {
        n += 1;
        assert_eq!(store.commit(&writes(n)).unwrap(), n);
        writeln!(out, "\nacknowledged {n}").unwrap();
        out.flush().unwrap();
    }
}

/// Commits in a child process, kills it soon after the `acks`-th acknowledgement, and gives the last one it printed.
fn commit_and_kill(dir: &Path, acks: u64, delay: Duration) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "store::crash::child_commits_until_it_is_killed",
            "--nocapture",
        ])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = lines.filter_map(|line| line.unwrap().strip_prefix("acknowledged ")?.parse().ok());
    let mut last = 0;
    for _ in 0..acks {
        last = acknowledged.next().expect("the child goes on until it is killed");
    }
    std::thread::park_timeout(delay);
    child.kill().unwrap();
    let last = acknowledged.last().unwrap_or(last);
    child.wait().unwrap();
    last
}

#[test]
fn what_a_killed_process_acknowledged_is_stored_and_the_journal_agrees() {
    let dir = tempfile::tempdir().unwrap();
    let seed = std::env::var("ROUNDHOUSE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()) << 20 | 1);
    writeln!(std::io::stderr(), "ROUNDHOUSE_SEED={seed}").unwrap();
    let mut random = seed;
    let mut before = 0;
    for _ in 0..KILLS {
        // xorshift64
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let acknowledged = commit_and_kill(
            dir.path(),
            1 + random % 25,
            Duration::from_micros(random >> 32 & 4095),
        );
        assert!(
            acknowledged > before,
            "the child went on where the last one was killed"
        );

        let mut store = SledStore::open(dir.path()).unwrap();
        let stored = store.load().unwrap();
        let n = u64::from(stored.epoch);
        assert!(
            n >= acknowledged,
            "commit {acknowledged} was acknowledged, the store ends at {n}"
        );

        // Each commit is there whole, or not at all.
        let mut model = MemoryStore::new();
        for n in 1..=n {
            model.commit(&writes(n)).unwrap();
        }
        assert_eq!(stored, model.load().unwrap());

        let mut lines = Vec::new();
        for path in journal::journal_files(dir.path()).unwrap() {
            lines.extend(journal::lines(&path).unwrap().map(Result::unwrap));
        }
        lines.sort_by_key(|line| line.commit);
        let mut replayed = MemoryStore::new();
        replayed
            .commit(&lines.into_iter().map(|line| line.write).collect::<Vec<_>>())
            .unwrap();
        assert_eq!(
            replayed.load().unwrap(),
            stored,
            "the journal holds what the store holds"
        );
        before = n;
    }
}
