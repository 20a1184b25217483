//! What stands in a run directory after the writes of a run, a crash, a second start.

#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::*;
use crate::report::fixture::{Fixture, STARTED};

/// Every file below a directory, with its bytes as text.
fn files(path: &Path) -> BTreeMap<String, String> {
    fn walk(base: &Path, path: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(base, &path, found);
            } else {
                let name = path.strip_prefix(base).unwrap().display().to_string();
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(path, path, &mut found);
    found
}

fn write_all(dir: &RunDir, fixture: &Fixture, working_dir: &Path) {
    let (run, blobs) = (&fixture.run, fixture.reader());
    dir.write_statements(&run.spec, &blobs).unwrap();
    for (problem, summary) in run.spec.problems.iter().zip(&run.problems) {
        for round in 0..3 {
            dir.write_round(Language::Python3, problem, &summary.events, round, &blobs)
                .unwrap();
        }
        dir.write_session(&run.spec.session, problem, summary, &blobs)
            .unwrap();
    }
    dir.write_reports(run, Price::default(), &blobs, Some(working_dir))
        .unwrap();
}

fn create(output: &Path) -> RunDir {
    RunDir::create::<(), RunDirError>(output, STARTED, |_| Ok(()))
        .unwrap()
        .0
}

#[test]
fn run_directory_has_its_name_only_once_it_is_filled_and_none_after_a_failure() {
    let temp = tempfile::tempdir().unwrap();
    let output = temp.path().join("new");
    let (run_dir, ()) = RunDir::create::<(), RunDirError>(&output, STARTED, |dir| {
        assert!(
            dir.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(".starting-")
        );
        fs::write(dir.join("inside"), "x").unwrap();
        Ok(())
    })
    .unwrap();
    assert!(run_dir.path().join("inside").exists());
    let failed = |_: &Path| {
        Err(RunDirError::Name {
            name: "fill".to_owned(),
        })
    };
    RunDir::create::<(), RunDirError>(&output, STARTED, failed).unwrap_err();
    assert_eq!(
        fs::read_dir(&output).unwrap().count(),
        1,
        "the run that was there stays alone"
    );
    let other = temp.path().join("other");
    RunDir::create::<(), RunDirError>(&other, STARTED, failed).unwrap_err();
    assert!(!other.exists());
}

#[test]
fn run_directory_is_named_after_the_local_start_and_is_never_shared() {
    let temp = tempfile::tempdir().unwrap();
    let output = temp.path().join("deep/er");
    let names: Vec<String> = (0..3).map(|_| create(&output).shown()).collect();
    let wanted = ["", "_2", "_3"].map(|ending| {
        output
            .join(format!("run_20260209_153045{ending}"))
            .display()
            .to_string()
    });
    assert_eq!(names, wanted);
}

#[test]
fn error_of_a_run_directory_names_the_path() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("file");
    fs::write(&file, "").unwrap();
    let err = RunDir::create::<(), RunDirError>(&file.join("x"), STARTED, |_| Ok(())).unwrap_err();
    assert_eq!(
        err.to_string(),
        format!("make the directory `{}`", file.join("x").display())
    );
    let err = RunDir::open(&file).unwrap_err();
    assert_eq!(
        err.to_string(),
        format!("open the directory `{}`", file.display())
    );
}

#[test]
fn run_directory_holds_what_old_readers_expect() {
    let temp = tempfile::tempdir().unwrap();
    let dir = create(&temp.path().join("out"));
    write_all(&dir, &Fixture::mixed(), temp.path());
    let found = files(dir.path());
    let mut wanted = vec!["REPORT.txt".to_owned(), "eval_checkpoint.json".to_owned()];
    for n in 1..=6 {
        for file in ["final_solution.py", "problem_statement.txt"] {
            wanted.push(format!("problem_00{n}/{file}"));
        }
        if n == 1 {
            for round in 0..2 {
                for file in ["code_iteration.py", "report_iteration.txt", "tests_raw.txt"] {
                    wanted.push(format!("problem_001/round_{round}/{file}"));
                }
            }
        }
        for file in ["session_history.json", "transcript.jsonl"] {
            wanted.push(format!("problem_00{n}/{file}"));
        }
    }
    wanted.push("summary.json".to_owned());
    assert_eq!(found.keys().cloned().collect::<Vec<_>>(), wanted);
    assert_eq!(found["problem_002/problem_statement.txt"], "statement 2\n");
    let copy = fs::read_to_string(temp.path().join(RESULTS_FILE)).unwrap();
    assert_eq!(copy, found["summary.json"]);
    let problem_dir = format!("\"problem_dir\": \"{}/problem_001\"", dir.shown());
    assert!(copy.contains(&problem_dir), "{copy}");
}

#[test]
fn files_written_again_stay_the_same_files() {
    let temp = tempfile::tempdir().unwrap();
    let fixture = Fixture::mixed();
    let dir = create(temp.path());
    write_all(&dir, &fixture, temp.path());
    let path = dir.path().join("problem_001/final_solution.py");
    let report = dir.path().join("REPORT.txt");
    let before = (fs::metadata(&path).unwrap().ino(), files(dir.path()));
    fs::write(&report, "cut sho").unwrap();
    write_all(&dir, &fixture, temp.path());
    assert_eq!((fs::metadata(&path).unwrap().ino(), files(dir.path())), before);
}

#[test]
fn reports_touch_the_directory_also_when_nothing_else_changes() {
    let temp = tempfile::tempdir().unwrap();
    let fixture = Fixture::empty();
    let dir = create(temp.path());
    write_all(&dir, &fixture, temp.path());
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    fs::File::open(dir.path())
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    write_all(&dir, &fixture, temp.path());
    let modified = fs::metadata(dir.path()).unwrap().modified().unwrap();
    assert!(modified > long_ago + Duration::from_secs(1_000), "{modified:?}");
}

#[test]
fn what_a_crash_left_is_removed_when_asked_and_nothing_else() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("run");
    fs::create_dir_all(path.join("problem_001/round_0")).unwrap();
    fs::create_dir_all(path.join(".state")).unwrap();
    for file in [
        ".roundhouse-1-0.tmp",
        "problem_001/.roundhouse-1-1.tmp",
        "problem_001/round_0/.roundhouse-1-2.tmp",
        "problem_001/round_0/notes.tmp",
        ".state/.roundhouse-1-3.tmp",
        ".hidden",
    ] {
        fs::write(path.join(file), "x").unwrap();
    }
    let run_dir = RunDir::open(&path).unwrap();
    assert_eq!(
        files(&path).len(),
        6,
        "opening alone takes nothing from a process that writes"
    );
    run_dir.remove_leftovers().unwrap();
    assert_eq!(
        files(&path).into_keys().collect::<Vec<_>>(),
        [
            ".hidden",
            ".state/.roundhouse-1-3.tmp",
            "problem_001/round_0/notes.tmp"
        ]
    );
}

#[test]
fn hostile_name_or_link_leads_nowhere() {
    let temp = tempfile::tempdir().unwrap();
    let outside = temp.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "kept").unwrap();
    let dir = create(temp.path());
    let mut fixture = Fixture::mixed();
    Arc::make_mut(&mut fixture.run.spec).problems[0].name = "../outside".to_owned();
    let err = dir
        .write_statements(&fixture.run.spec, &fixture.reader())
        .unwrap_err();
    assert_eq!(
        err.to_string(),
        "`../outside` is no name for a file or a directory of a run"
    );

    symlink(&outside, dir.path().join("problem_002")).unwrap();
    symlink(outside.join("kept"), dir.path().join("REPORT.txt")).unwrap();
    let problem = &fixture.run.spec.problems[1];
    let summary = &fixture.run.problems[1];
    let blobs = fixture.reader();
    let err = dir.write_session(&fixture.run.spec.session, problem, summary, &blobs);
    assert!(matches!(err, Err(RunDirError::Open { .. })), "{err:?}");
    dir.write_reports(&fixture.run, Price::default(), &blobs, None)
        .unwrap();
    assert_eq!(
        files(&outside),
        BTreeMap::from([("kept".to_owned(), "kept".to_owned())])
    );
    assert!(
        dir.path()
            .join("REPORT.txt")
            .symlink_metadata()
            .unwrap()
            .is_file()
    );
}

#[test]
fn failed_write_leaves_no_half_written_file() {
    let temp = tempfile::tempdir().unwrap();
    let dir = create(temp.path());
    // A directory is where the second file should be.
    fs::create_dir_all(dir.path().join("REPORT.txt/in the way")).unwrap();
    let fixture = Fixture::mixed();
    let err = dir.write_reports(&fixture.run, Price::default(), &fixture.reader(), None);
    assert!(
        matches!(&err, Err(RunDirError::Write { path, .. }) if path.ends_with("REPORT.txt")),
        "{err:?}"
    );
    let names: Vec<String> = files(dir.path()).into_keys().collect();
    assert_eq!(names, ["eval_checkpoint.json"]);
}
