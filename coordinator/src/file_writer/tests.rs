//! What becomes of files whose directory cannot be written.

#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use roundhouse_core::record::PendingFile;
use roundhouse_core::run::RunSpec;
use uuid::Uuid;

use super::*;
use crate::registry::Entry;
use crate::report::fixture::Fixture;

/// How long a test waits for what must come.
const WAIT_MAX: Duration = Duration::from_secs(20);

struct Bench {
    temp: tempfile::TempDir,
    wanted: SyncSender<Box<Files>>,
    written: mpsc::Receiver<Event>,
}

impl Bench {
    fn new(runs: &[RunId]) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let registry = Registry::open(temp.path()).unwrap();
        for run in runs {
            let dir = temp.path().join(run.to_string());
            let spec = Digest::of(b"spec");
            let name = String::new();
            let run = *run;
            registry.add(Entry { run, spec, dir, name }).unwrap();
        }
        let (wanted, waiting) = sync_channel(16);
        let (written_in, written) = mpsc::channel(16);
        let blobs = Blobs::open(temp.path()).unwrap();
        start(Arc::new(registry), blobs, None, waiting, written_in).unwrap();
        Self {
            temp,
            wanted,
            written,
        }
    }

    fn dir(&self, run: RunId) -> PathBuf {
        self.temp.path().join(run.to_string())
    }

    async fn is_written(&mut self) -> RunId {
        let event = tokio::time::timeout(WAIT_MAX, self.written.recv()).await;
        match event.unwrap() {
            Some(Event::FileWritten(PendingFile::Reports { run })) => run,
            other => panic!("{other:?}"),
        }
    }
}

fn run(n: u128) -> RunId {
    RunId(Uuid::from_u128(n))
}

fn reports(run: RunId) -> Box<Files> {
    let mut summary = Fixture::empty().run;
    let spec = RunSpec::clone(&summary.spec);
    summary.spec = Arc::new(RunSpec { run, ..spec });
    Box::new(Files::Reports { summary })
}

#[tokio::test]
async fn run_whose_directory_cannot_be_written_does_not_hold_up_the_files_of_another() {
    let mut bench = Bench::new(&[run(1), run(2)]);
    std::fs::write(bench.dir(run(1)), "no directory").unwrap();
    std::fs::create_dir(bench.dir(run(2))).unwrap();
    for of in [1, 1, 2] {
        bench.wanted.send(reports(run(of))).unwrap();
    }
    assert_eq!(bench.is_written().await, run(2));
    std::fs::remove_file(bench.dir(run(1))).unwrap();
    assert_eq!(bench.is_written().await, run(1));
    assert_eq!(bench.is_written().await, run(1));
    for run in [run(1), run(2)] {
        assert!(bench.dir(run).join("summary.json").is_file());
    }
    assert!(
        !bench.temp.path().join("baseline_results.json").exists(),
        "no copy was asked for"
    );
}

#[tokio::test]
async fn run_directory_that_was_removed_is_made_again() {
    let mut bench = Bench::new(&[run(1)]);
    for _ in 0..2 {
        bench.wanted.send(reports(run(1))).unwrap();
        assert_eq!(bench.is_written().await, run(1));
        assert!(bench.dir(run(1)).join("REPORT.txt").is_file());
        std::fs::remove_dir_all(bench.dir(run(1))).unwrap();
    }
}
