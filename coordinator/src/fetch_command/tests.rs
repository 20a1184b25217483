//! What is taken in, what is refused, and where it goes.

#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use std::collections::BTreeMap;
use std::fs;

use tempfile::TempDir;

use super::*;
use crate::client::fake::{Fake, file, status};

/// A fetched run's summary.
const SUMMARY: &str = r#"{"summary": {"run_id": "00000000-0000-0000-0000-000000000005"}}"#;

/// Every file below a directory by its path.
fn files(dir: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

fn as_map(files: &[(&str, &str)]) -> BTreeMap<String, String> {
    let entry = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
    files.iter().map(entry).collect()
}

struct Bench {
    fake: Fake,
    here: TempDir,
}

impl Bench {
    async fn with(chunks: Vec<v1::FileChunk>) -> Self {
        let fake = Fake::start().await;
        fake.known().runs.push(status(5));
        fake.known().files = chunks;
        Self {
            fake,
            here: tempfile::tempdir().unwrap(),
        }
    }

    async fn fetch(&self) -> anyhow::Result<PathBuf> {
        let client = self.fake.client();
        let run = find(&client, "last").await?;
        let out = self.here.path().join("out");
        let path = fetch_into(&client, &run, &out, 1_000, self.here.path()).await?;
        Ok(path.strip_prefix(self.here.path()).unwrap().to_owned())
    }

    fn files(&self) -> BTreeMap<String, String> {
        files(self.here.path())
    }
}

const MARK: &str = "00000000-0000-0000-0000-000000000005\n";

#[tokio::test]
async fn fetched_run_has_its_name_its_files_and_its_summary_in_the_working_directory() {
    let chunks = [
        file("REPORT.txt", "报告\n"),
        file("problem_001/round_0/report_iteration.txt", ""),
        file("summary.json", SUMMARY),
    ];
    let bench = Bench::with(chunks.concat()).await;
    assert_eq!(bench.fetch().await.unwrap(), Path::new("out/run_20260209_153045"));
    let wanted = [
        ("baseline_results.json", SUMMARY),
        ("out/run_20260209_153045/.fetched", MARK),
        ("out/run_20260209_153045/REPORT.txt", "报告\n"),
        (
            "out/run_20260209_153045/problem_001/round_0/report_iteration.txt",
            "",
        ),
        ("out/run_20260209_153045/summary.json", SUMMARY),
    ];
    assert_eq!(bench.files(), as_map(&wanted));
}

#[tokio::test]
async fn run_that_is_fetched_again_is_brought_up_to_date_in_place() {
    let bench = Bench::with([file("a.txt", "old"), file("kept.txt", "kept")].concat()).await;
    bench.fetch().await.unwrap();
    bench.fake.known().files = [file("a.txt", "new"), file("p/b.txt", "b")].concat();
    assert_eq!(bench.fetch().await.unwrap(), Path::new("out/run_20260209_153045"));
    let wanted = [
        ("out/run_20260209_153045/.fetched", MARK),
        ("out/run_20260209_153045/a.txt", "new"),
        ("out/run_20260209_153045/kept.txt", "kept"),
        ("out/run_20260209_153045/p/b.txt", "b"),
    ];
    assert_eq!(bench.files(), as_map(&wanted));
}

#[tokio::test]
async fn name_that_something_else_has_is_left_to_it() {
    let bench = Bench::with(file("a.txt", "a")).await;
    let out = bench.here.path().join("out");
    fs::create_dir_all(out.join("run_20260209_153045")).unwrap();
    let other = SUMMARY.replace("05\"", "06\"");
    fs::write(out.join("run_20260209_153045/summary.json"), &other).unwrap();
    fs::write(out.join("run_20260209_153045_2"), "a file").unwrap();
    assert_eq!(
        bench.fetch().await.unwrap(),
        Path::new("out/run_20260209_153045_3")
    );
    let wanted = [
        ("out/run_20260209_153045/summary.json", other.as_str()),
        ("out/run_20260209_153045_2", "a file"),
        ("out/run_20260209_153045_3/.fetched", MARK),
        ("out/run_20260209_153045_3/a.txt", "a"),
    ];
    assert_eq!(bench.files(), as_map(&wanted));
}

#[tokio::test]
async fn coordinators_own_directory_is_left_alone() {
    let chunks = [file("a.txt", "a"), file("summary.json", SUMMARY)].concat();
    let bench = Bench::with(chunks).await;
    let own = bench.here.path().join("out/run_20260209_153045");
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join("summary.json"), SUMMARY).unwrap();
    assert_eq!(bench.fetch().await.unwrap(), Path::new("out/run_20260209_153045"));
    let wanted = [
        ("baseline_results.json", SUMMARY),
        ("out/run_20260209_153045/summary.json", SUMMARY),
    ];
    assert_eq!(bench.files(), as_map(&wanted));
}

#[tokio::test]
async fn path_that_leads_elsewhere_or_hides_is_refused_and_nothing_is_left() {
    let deep = ["d"; 9].join("/");
    let long = ["x".repeat(200).as_str(); 6].join("/");
    let paths = [
        "",
        "/etc/passwd",
        "../out.txt",
        "a/../../b",
        "a//b",
        "a/",
        "./a",
        ".hidden",
        "a/.git/config",
        "nul\0byte",
        "back\\slash",
        "esc\x1b[2J",
        &deep,
        &long,
    ];
    for path in paths {
        let bench = Bench::with([file("fine.txt", "x"), file(path, "evil")].concat()).await;
        let error = bench.fetch().await.unwrap_err();
        let is_refused = matches!(
            error.downcast_ref(),
            Some(FetchError::Incoming(IncomingError::Path { .. }))
        );
        assert!(is_refused, "{path:?}: {error}");
        assert!(!error.to_string().contains(['\x1b', '\0']), "{error}");
        assert_eq!(bench.files(), BTreeMap::new(), "{path:?}");
    }
}

#[tokio::test]
async fn pieces_that_make_no_file_and_too_many_bytes_are_refused() {
    let good = file("a.txt", "123456");
    let mut skipped = good.clone();
    skipped.remove(0);
    let mut longer = good.clone();
    longer[1].total_bytes = 99;
    let mut again = good.clone();
    again.extend(file("b.txt", "b"));
    again.extend(good.clone());
    let mut twice = good.clone();
    twice.push(good[1].clone());
    let in_the_way = [good.clone(), file("a.txt/b", "b")].concat();
    let much = file("big.txt", &"x".repeat(1_001));
    for (what, chunks) in [
        ("skipped", skipped),
        ("longer", longer),
        ("again", again),
        ("twice", twice),
        ("in the way", in_the_way),
        ("much", much),
    ] {
        let bench = Bench::with(chunks).await;
        let error = bench.fetch().await.unwrap_err();
        let is_ours = matches!(error.downcast_ref(), Some(FetchError::Incoming(_)));
        assert!(is_ours, "{what}: {error:#}");
        assert_eq!(bench.files(), BTreeMap::new(), "{what}");
    }
}

#[tokio::test]
async fn summary_comes_whole_or_its_absence_is_said() {
    let bench = Bench::with(file("summary.json", SUMMARY)).await;
    let client = bench.fake.client();
    let run = RunId(uuid::Uuid::from_u128(5));
    assert_eq!(fetch_summary(&client, run).await.unwrap(), SUMMARY);
    bench.fake.known().files.clear();
    let missing = fetch_summary(&client, run).await.unwrap_err();
    assert_eq!(missing.to_string(), "the run has no `summary.json`");
}
