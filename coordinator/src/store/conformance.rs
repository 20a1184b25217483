//! What every store does, and how the one on disk opens.

#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use roundhouse_core::record::{
    JobOutcome, JobRecord, PendingFile, RunRecord, SessionRecord, Stored, StoredState, Write,
};
use roundhouse_proto::{
    Digest, Failure, FailureClass, GenerationOutcome, JobId, JobKind, LeaseId, Payload, RunId, SessionEvent,
    StopReason, WorkerId,
};
use uuid::Uuid;

use super::journal::{self, Line};
use super::memory::Fault;
use super::{MemoryStore, RECORD_BYTES_MAX, SledStore, Store, StoreError, in_full};

/// A small run, by number.
pub(super) fn run(n: u128) -> RunId {
    RunId(Uuid::from_u128(n))
}

/// A small job of run 1.
pub(super) fn job(problem: u32) -> Write {
    Write::Job(job_record(problem, JobKind::Evaluate, StoredState::Queued))
}

/// The state of a job that failed with a message of `n` bytes.
pub(super) fn error_of_bytes(n: usize) -> StoredState {
    let message = "x".repeat(n);
    StoredState::Settled(JobOutcome::Error(Failure {
        class: FailureClass::Job,
        message,
    }))
}

fn job_record(problem: u32, kind: JobKind, state: StoredState) -> JobRecord {
    let job = JobId {
        run: run(1),
        problem,
        kind,
    };
    JobRecord {
        job,
        attempts: 1,
        failed_attempts: 0,
        subject: None,
        busy_ms: 5,
        at_ms: 7,
        state,
        calls_unaccounted: 0,
    }
}

fn run_record(n: u128, slots: u32) -> RunRecord {
    RunRecord {
        run: run(n),
        spec: Digest::of(b"spec"),
        first_grant_ms: Some(3),
        generation_slots: slots,
        evaluation_slots: 1,
        cores: 2,
        finished: None,
        cancelled: None,
        endpoint: None,
        interpreter: Some("CPython 3.11".to_owned()),
    }
}

/// The end of a session, as event `seq` of a problem.
pub(super) fn session(problem: u32, seq: u64) -> SessionRecord {
    let program = Some(Payload::text("print(1)\n# 中文"));
    let event = SessionEvent::Finished(GenerationOutcome {
        program,
        stop_reason: StopReason::Passed,
        patched: vec!["import sys".to_owned()],
        notes: Vec::new(),
        unaccounted: 0,
    });
    SessionRecord {
        job: JobId {
            run: run(1),
            problem,
            kind: JobKind::Generate,
        },
        seq,
        at_ms: seq * 10,
        event,
    }
}

/// The whole contract of a store; `open` opens the same one again each time.
fn conforms<S: Store>(open: impl Fn() -> S) {
    let mut store = open();
    assert_eq!(store.load().unwrap(), Stored::default(), "a new store is empty");

    let leased = StoredState::Leased {
        lease: LeaseId { epoch: 1, seq: 9 },
        worker: WorkerId(Uuid::from_u128(5)),
    };
    let tests = |round| JobKind::RoundTests {
        round,
        program: Digest::of(b"program"),
    };
    let reports = PendingFile::Reports { run: run(1) };
    let round = PendingFile::Round {
        run: run(1),
        problem: 2,
        round: 10,
    };
    let statements = PendingFile::Statements { run: run(1) };
    let first = store
        .commit(&[
            Write::Epoch(1),
            Write::Run(run_record(2, 1)),
            Write::Run(run_record(1, 1)),
            Write::Job(job_record(300, JobKind::Generate, leased.clone())),
            Write::Job(job_record(2, tests(10), StoredState::Queued)),
            Write::Job(job_record(2, tests(9), StoredState::Queued)),
            Write::Job(job_record(2, JobKind::Generate, StoredState::Queued)),
            Write::Pending(reports),
            Write::Pending(round),
            Write::Pending(statements),
        ])
        .unwrap();
    let sessions = [(300, 1), (2, 256), (2, 1), (2, 2)].map(|(problem, seq)| session(problem, seq));
    let second = store.commit(&sessions.clone().map(Write::Session)).unwrap();
    assert!(first < second, "numbers rise");

    // Overwrites, also within one commit, where the last one counts.
    let third = store
        .commit(&[
            Write::Epoch(2),
            Write::Run(run_record(1, 7)),
            Write::Run(run_record(1, 8)),
            Write::Job(job_record(2, tests(9), error_of_bytes(10))),
            Write::Written(reports),
            Write::Written(statements),
            Write::Pending(statements),
            Write::Pending(PendingFile::Session {
                run: run(1),
                problem: 2,
            }),
            Write::Written(PendingFile::Session {
                run: run(1),
                problem: 2,
            }),
        ])
        .unwrap();

    let [s300, s256, s1, s2] = sessions;
    let expected = Stored {
        epoch: 2,
        runs: vec![run_record(1, 8), run_record(2, 1)],
        jobs: vec![
            job_record(2, JobKind::Generate, StoredState::Queued),
            job_record(2, tests(9), error_of_bytes(10)),
            job_record(2, tests(10), StoredState::Queued),
            job_record(300, JobKind::Generate, leased),
        ],
        sessions: vec![s1, s2, s256, s300],
        pending: vec![statements, round],
    };
    assert_eq!(store.load().unwrap(), expected);

    // All or nothing, and a refusal does not close the store.
    let too_large = Write::Job(job_record(9, JobKind::Evaluate, error_of_bytes(RECORD_BYTES_MAX)));
    let error = store.commit(&[Write::Epoch(3), too_large]).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::TooLarge {
                record: "job",
                max: RECORD_BYTES_MAX,
                ..
            }
        ) && !error.is_transient(),
        "{error}"
    );
    assert_eq!(store.load().unwrap(), expected);

    drop(store);
    let mut store = open();
    assert_eq!(
        store.load().unwrap(),
        expected,
        "a store opened again holds the same"
    );

    // Twice the same changes nothing.
    let fourth = store
        .commit(&[
            Write::Epoch(2),
            Write::Session(session(2, 1)),
            Write::Written(reports),
        ])
        .unwrap();
    assert!(third < fourth, "numbers rise over restarts");
    assert_eq!(store.load().unwrap(), expected);

    // The largest record that is allowed, and a commit far larger than a group.
    let longest = |n| job_record(1, JobKind::Evaluate, error_of_bytes(n));
    let overhead = serde_json::to_vec(&longest(0)).unwrap().len() + 1;
    store
        .commit(&[Write::Job(longest(RECORD_BYTES_MAX - overhead))])
        .unwrap();
    assert!(
        store
            .commit(&[Write::Job(longest(RECORD_BYTES_MAX - overhead + 1))])
            .is_err()
    );
    store
        .commit(&(1_000..6_000).map(job).collect::<Vec<_>>())
        .unwrap();
    drop(store);
    assert_eq!(open().load().unwrap().jobs.len(), expected.jobs.len() + 1 + 5_000);
}

#[test]
fn memory_store_conforms() {
    let disk = MemoryStore::new();
    conforms(|| disk.clone());
}

#[test]
fn sled_store_conforms() {
    let dir = tempfile::tempdir().unwrap();
    conforms(|| SledStore::open(dir.path()).unwrap());
}

#[test]
fn memory_store_that_failed_takes_writes_only_when_opened_again() {
    let mut store = MemoryStore::new();
    store.fail_after(1, Fault::Lost);
    store.commit(&[job(1)]).unwrap();
    assert!(matches!(
        store.commit(&[job(2)]),
        Err(StoreError::Database { .. })
    ));
    store.heal();
    assert!(matches!(store.commit(&[job(2)]), Err(StoreError::Closed)));
    let mut store = store.clone();
    assert_eq!(store.load().unwrap().jobs.len(), 1);
    assert_eq!(store.commit(&[job(2)]).unwrap(), 2);
}

#[test]
fn journal_has_a_line_per_write_in_the_directory_of_its_run() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = SledStore::open(dir.path()).unwrap();
    let (other, file) = (Write::Run(run_record(2, 1)), PendingFile::Reports { run: run(1) });
    store.commit(&[Write::Epoch(1)]).unwrap();
    store
        .commit(&[job(1), other.clone(), Write::Pending(file)])
        .unwrap();
    store.commit(&[Write::Written(file)]).unwrap();

    let lines = |path: &Path| {
        journal::lines(path)
            .unwrap()
            .collect::<Result<Vec<_>, _>>()
            .unwrap()
    };
    let line = |commit, write| Line { commit, write };
    assert_eq!(
        lines(&dir.path().join("events.jsonl")),
        [line(1, Write::Epoch(1))]
    );
    assert_eq!(lines(&journal::run_file(dir.path(), run(2))), [line(2, other)]);
    assert_eq!(
        lines(&journal::run_file(dir.path(), run(1))),
        [
            line(2, job(1)),
            line(2, Write::Pending(file)),
            line(3, Write::Written(file))
        ]
    );
    assert_eq!(journal::journal_files(dir.path()).unwrap().len(), 3);
}

#[test]
fn journal_lines_that_the_store_does_not_know_are_cut_when_it_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    SledStore::open(dir.path())
        .unwrap()
        .commit(&[Write::Epoch(1), job(1)])
        .unwrap();
    let path = journal::run_file(dir.path(), run(1));
    let before = fs::read_to_string(&path).unwrap();
    fs::write(
        &path,
        format!(
            "{before}{}{{\"comm",
            before.replace("\"commit\":1", "\"commit\":2")
        ),
    )
    .unwrap();
    drop(SledStore::open(dir.path()).unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
}

#[test]
fn data_directory_is_made_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("a/b");
    SledStore::open(&data_dir).unwrap();
    assert_eq!(
        fs::metadata(&data_dir).unwrap().permissions().mode() & 0o777,
        0o700
    );
}

#[test]
fn data_directory_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _store = SledStore::open(dir.path()).unwrap();
    let error = SledStore::open(dir.path()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("another coordinator uses `{}`", dir.path().display())
    );
}

#[test]
fn data_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let error = SledStore::open(&dir.path().join("file/data")).unwrap_err();
    let path = dir.path().join("file/data");
    let expected = format!(
        "cannot make directory `{}`: Not a directory (os error 20)",
        path.display()
    );
    assert_eq!(in_full(&error), expected);
}

#[test]
fn unfinished_snapshot_is_removed_before_the_store_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    SledStore::open(dir.path()).unwrap().commit(&[job(1)]).unwrap();
    let torn = dir.path().join("db/snap.00000000000000FF.generating");
    fs::write(&torn, "torn").unwrap();
    assert_eq!(SledStore::open(dir.path()).unwrap().load().unwrap().jobs.len(), 1);
    assert!(!torn.exists());
}

#[test]
fn store_of_a_later_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let db = sled::open(dir.path().join("db")).unwrap();
    db.insert("Mschema", &2_u32.to_be_bytes()).unwrap();
    drop(db);
    let error = SledStore::open(dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("has version 2, this coordinator knows versions up to 1: use a newer one"),
        "{error}"
    );
}

#[test]
fn store_that_was_removed_is_not_replaced_by_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = SledStore::open(dir.path()).unwrap();
    store.commit(&[Write::Epoch(1)]).unwrap();
    store.commit(&[Write::Epoch(2)]).unwrap();
    drop(store);
    let journal = dir.path().join("events.jsonl");
    let before = fs::read(&journal).unwrap();
    fs::remove_dir_all(dir.path().join("db")).unwrap();
    let error = SledStore::open(dir.path()).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::Behind {
                stored: 0,
                written: 2,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(fs::read(&journal).unwrap(), before);
}

#[test]
fn damaged_store_is_refused_unless_nothing_is_missing_and_the_journal_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = SledStore::open(dir.path()).unwrap();
    for n in 1..=200 {
        store.commit(&[job(n), Write::Epoch(n)]).unwrap();
    }
    drop(store);
    let journal = dir.path().join("events.jsonl");
    let before = fs::read(&journal).unwrap();
    let db = dir.path().join("db/db");
    let whole = fs::read(&db).unwrap();
    for damage in ["zeroes", "noise", "half", "record"] {
        let mut bytes = whole.clone();
        let n = bytes.len();
        match damage {
            "zeroes" => bytes[..4096].fill(0),
            "noise" => bytes
                .iter_mut()
                .step_by(7)
                .for_each(|byte| *byte = byte.wrapping_mul(31)),
            "half" => bytes.truncate(n / 20),
            _ => bytes[n / 40..n / 40 + 16].fill(0xff),
        }
        fs::write(&db, bytes).unwrap();
        for entry in fs::read_dir(dir.path().join("db")).unwrap().map(Result::unwrap) {
            if entry.file_name().to_str().unwrap().starts_with("snap.") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        match SledStore::open(dir.path()) {
            Err(error) => assert!(
                matches!(error, StoreError::Behind { .. } | StoreError::Damaged { .. }),
                "{damage}: {}",
                in_full(&error)
            ),
            Ok(mut store) => assert_eq!(store.load().unwrap().jobs.len(), 200, "{damage}"),
        }
        assert_eq!(fs::read(&journal).unwrap(), before, "{damage}");
    }
}
