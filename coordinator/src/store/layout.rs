//! Keys and values: how a record lies in an ordered map of bytes.
//!
//! Every store uses the same layout, so that what one refuses the others refuse. A key is a table byte and then
//! fixed-length big-endian fields, so keys sort as the ids do; a value is a version byte and the record as JSON.
//!
//! ```text
//! M name                                              what concerns the store itself
//! R run:16                                            runs
//! J run:16 problem:4 kind:1 round:4 program:32        jobs
//! S <as J> seq:8                                      session events
//! P file:1 run:16 problem:4 round:4                   files still to be written
//! ```

use roundhouse_core::record::{JobRecord, PendingFile, RunRecord, SessionRecord, Stored, Write};
use roundhouse_proto::{JobId, JobKind, RunId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StoreError;

/// Most bytes of an encoded record. Above about 8 KiB sled moves pages to files of their own, which it never removes.
pub const RECORD_BYTES_MAX: usize = 8 * 1024;

/// Version of keys and values. A change that old code would misread raises it.
pub(super) const SCHEMA: u32 = 1;
/// First byte of every value.
const VALUE_VERSION: u8 = 1;

/// Under which key a store keeps [`SCHEMA`], four bytes.
pub(super) const SCHEMA_KEY: &[u8] = b"Mschema";
/// Under which key a store keeps the number of its last commit, eight bytes.
pub(super) const COMMIT_KEY: &[u8] = b"Mcommit";
const EPOCH_KEY: &[u8] = b"Mepoch";

const META: u8 = b'M';
const RUN: u8 = b'R';
const JOB: u8 = b'J';
const SESSION: u8 = b'S';
const PENDING: u8 = b'P';

/// One change of the map.
#[derive(Debug, PartialEq)]
pub(super) struct Change {
    /// Where.
    pub(super) key: Vec<u8>,
    /// What is put there; none removes what was there.
    pub(super) value: Option<Vec<u8>>,
}

/// The change that `write` is.
pub(super) fn change(write: &Write) -> Result<Change, StoreError> {
    let (key, value) = match write {
        Write::Epoch(epoch) => (EPOCH_KEY.to_vec(), Some(encode("epoch", epoch)?)),
        Write::Run(record) => (run_key(record.run), Some(encode("run", record)?)),
        Write::Job(record) => (job_key(JOB, &record.job), Some(encode("job", record)?)),
        Write::Session(record) => (session_key(record), Some(encode("session", record)?)),
        Write::Pending(file) => (pending_key(file), Some(encode("pending", file)?)),
        Write::Written(file) => (pending_key(file), None),
    };
    Ok(Change { key, value })
}

/// What the entries of a map add up to. `damaged` makes an error of what is wrong with one.
pub(super) fn read<K: AsRef<[u8]>, V: AsRef<[u8]>>(
    entries: impl Iterator<Item = Result<(K, V), StoreError>>,
    damaged: impl Fn(String) -> StoreError,
) -> Result<Stored, StoreError> {
    let mut stored = Stored::default();
    for entry in entries {
        let (key, value) = entry?;
        let (key, value) = (key.as_ref(), value.as_ref());
        read_entry(&mut stored, key, value)
            .map_err(|why| damaged(format!("record `{}`: {why}", key.escape_ascii())))?;
    }
    Ok(stored)
}

fn read_entry(stored: &mut Stored, key: &[u8], value: &[u8]) -> Result<(), String> {
    let expected = match key.first() {
        Some(&META) if key == EPOCH_KEY => {
            stored.epoch = decode(value)?;
            return Ok(());
        }
        Some(&META) if key == SCHEMA_KEY || key == COMMIT_KEY => return Ok(()),
        Some(&RUN) => {
            let record: RunRecord = decode(value)?;
            let expected = run_key(record.run);
            stored.runs.push(record);
            expected
        }
        Some(&JOB) => {
            let record: JobRecord = decode(value)?;
            let expected = job_key(JOB, &record.job);
            stored.jobs.push(record);
            expected
        }
        Some(&SESSION) => {
            let record: SessionRecord = decode(value)?;
            let expected = session_key(&record);
            stored.sessions.push(record);
            expected
        }
        Some(&PENDING) => {
            let file: PendingFile = decode(value)?;
            stored.pending.push(file);
            pending_key(&file)
        }
        _ => return Err("no table has such a key".to_owned()),
    };
    if key == expected {
        Ok(())
    } else {
        Err("its value belongs to another key".to_owned())
    }
}

fn encode(record: &'static str, value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![VALUE_VERSION];
    serde_json::to_writer(&mut bytes, value).map_err(|source| StoreError::Encode { record, source })?;
    if bytes.len() > RECORD_BYTES_MAX {
        let (bytes, max) = (bytes.len(), RECORD_BYTES_MAX);
        return Err(StoreError::TooLarge { record, bytes, max });
    }
    Ok(bytes)
}

fn decode<T: DeserializeOwned>(value: &[u8]) -> Result<T, String> {
    match value.split_first() {
        Some((&VALUE_VERSION, json)) => serde_json::from_slice(json).map_err(|error| error.to_string()),
        Some((version, _)) => Err(format!(
            "its version is {version}, expected {VALUE_VERSION} at most"
        )),
        None => Err("it is empty".to_owned()),
    }
}

fn key(table: u8, run: RunId) -> Vec<u8> {
    let mut key = Vec::with_capacity(66);
    key.push(table);
    key.extend_from_slice(run.0.as_bytes());
    key
}

fn run_key(run: RunId) -> Vec<u8> {
    key(RUN, run)
}

fn job_key(table: u8, job: &JobId) -> Vec<u8> {
    let (kind, round, program) = match job.kind {
        JobKind::Generate => (0, 0, [0; 32]),
        JobKind::RoundTests { round, program } => (1, round, program.0),
        JobKind::Evaluate => (2, 0, [0; 32]),
        JobKind::EvaluateRound { round, program } => (3, round, program.0),
    };
    let mut key = key(table, job.run);
    key.extend_from_slice(&job.problem.to_be_bytes());
    key.push(kind);
    key.extend_from_slice(&round.to_be_bytes());
    key.extend_from_slice(&program);
    key
}

fn session_key(record: &SessionRecord) -> Vec<u8> {
    let mut key = job_key(SESSION, &record.job);
    key.extend_from_slice(&record.seq.to_be_bytes());
    key
}

fn pending_key(file: &PendingFile) -> Vec<u8> {
    let (file, run, problem, round) = match *file {
        PendingFile::Statements { run } => (0, run, 0, 0),
        PendingFile::Round { run, problem, round } => (1, run, problem, round),
        PendingFile::Session { run, problem } => (2, run, problem, 0),
        PendingFile::Reports { run } => (3, run, 0, 0),
    };
    let mut key = vec![PENDING, file];
    key.extend_from_slice(run.0.as_bytes());
    key.extend_from_slice(&problem.to_be_bytes());
    key.extend_from_slice(&round.to_be_bytes());
    key
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use roundhouse_proto::Digest;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn keys_of_jobs_sort_as_the_ids_do_and_have_one_length() {
        let mut jobs = Vec::new();
        for run in [RunId(Uuid::from_u128(1)), RunId(Uuid::from_u128(1 << 120))] {
            for problem in [1, 255, 256, u32::MAX] {
                for kind in [
                    JobKind::EvaluateRound {
                        round: 0,
                        program: Digest([0; 32]),
                    },
                    JobKind::Evaluate,
                    JobKind::RoundTests {
                        round: 256,
                        program: Digest([0; 32]),
                    },
                    JobKind::RoundTests {
                        round: 1,
                        program: Digest([255; 32]),
                    },
                    JobKind::RoundTests {
                        round: 1,
                        program: Digest([0; 32]),
                    },
                    JobKind::Generate,
                ] {
                    jobs.push(JobId { run, problem, kind });
                }
            }
        }
        let mut by_key = jobs.clone();
        by_key.sort_by_key(|job| job_key(JOB, job));
        jobs.sort();
        assert_eq!(by_key, jobs);
        assert!(jobs.iter().all(|job| job_key(JOB, job).len() == 58));
    }

    #[test]
    fn value_of_an_unknown_version_or_under_a_wrong_key_is_named() {
        let epoch = change(&Write::Epoch(7)).unwrap();
        let pending = change(&Write::Pending(PendingFile::Reports {
            run: RunId(Uuid::nil()),
        }))
        .unwrap();
        let text = |key: &[u8], value: &[u8]| read_entry(&mut Stored::default(), key, value).unwrap_err();
        assert_eq!(
            text(&epoch.key, &[2, b'7']),
            "its version is 2, expected 1 at most"
        );
        assert_eq!(text(&epoch.key, &[]), "it is empty");
        assert_eq!(text(b"X", b""), "no table has such a key");
        assert_eq!(
            text(b"P", &pending.value.unwrap()),
            "its value belongs to another key"
        );
    }
}
