//! Runs that lose processes to `kill -9` and go on: the same programs and verdicts, nothing finished done again.
#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use roundhouse_tests::came_to::{CameTo, assert_calls_are_unique, came_to};
use roundhouse_tests::processes::{children, command_line, is_alive, kill_9, tree};
use roundhouse_tests::{Place, coordinator, entries, runs, wait_until};

fn undisturbed() -> Vec<CameTo> {
    undisturbed_with(&[])
}

fn undisturbed_with(flags: &[&str]) -> Vec<CameTo> {
    let place = Place::new();
    let ran = place.coordinator(&[&["run", "--model", "reference"], flags].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    came_to(&place.run_dir())
}

fn start(place: &Place) -> Child {
    start_with(place, &[])
}

fn start_with(place: &Place, flags: &[&str]) -> Child {
    let mut command = place.command(&coordinator());
    command.args(["run", "--model", "reference", "--workers", "2"]);
    command.args(flags);
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The only run directory, once there is one.
fn run_dir(place: &Place) -> PathBuf {
    let outputs = place.path().join("baseline_outputs");
    wait_until("the run has a directory", || runs(&outputs).len() == 1);
    outputs.join(&runs(&outputs)[0])
}

/// Rounds of which the directory is complete.
fn rounds(run_dir: &Path) -> Vec<PathBuf> {
    let problems = entries(run_dir)
        .into_iter()
        .filter(|name| name.starts_with("problem_"));
    let rounds = problems.flat_map(|problem| {
        let problem = run_dir.join(problem);
        let names = entries(&problem)
            .into_iter()
            .filter(|name| name.starts_with("round_"));
        names.map(move |name| problem.join(name)).collect::<Vec<_>>()
    });
    rounds
        .filter(|round| round.join("tests_raw.txt").exists())
        .collect()
}

fn worker_of(parent: u32, role: &str) -> Option<u32> {
    children(parent).into_iter().find(|pid| {
        let words = command_line(*pid);
        words.iter().any(|word| word == "join") && words.iter().any(|word| word == role)
    })
}

fn resume(place: &Place, run_dir: &Path) {
    let ran = place.coordinator(&["run", "--resume", run_dir.to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[test]
fn run_whose_parent_was_killed_at_any_moment_goes_on_to_the_same_end() {
    let expected = undisturbed();
    for rounds_before in [0, 1, 7, 20] {
        let place = Place::new();
        let mut parent = start(&place);
        let run_dir = run_dir(&place);
        wait_until("the state and its workers are there", || {
            run_dir.join(".state/db").exists() && tree(parent.id()).len() > 2
        });
        wait_until("some rounds have ended", || {
            rounds(&run_dir).len() >= rounds_before
        });
        let all = tree(parent.id());
        kill_9(parent.id());
        parent.wait().unwrap();
        wait_until("every process of the run is gone", || {
            all.iter().all(|pid| !is_alive(*pid))
        });

        let finished: Vec<(PathBuf, Vec<u8>, std::time::SystemTime)> = rounds(&run_dir)
            .into_iter()
            .map(|round| {
                let code = round.join("code_iteration.py");
                let modified = fs::metadata(&code).unwrap().modified().unwrap();
                (round, fs::read(code).unwrap(), modified)
            })
            .collect();
        assert!(finished.len() >= rounds_before);
        resume(&place, &run_dir);
        assert_eq!(came_to(&run_dir), expected, "killed after {rounds_before} rounds");
        assert_calls_are_unique(&run_dir);
        for (round, code, modified) in finished {
            let file = round.join("code_iteration.py");
            assert_eq!(fs::read(&file).unwrap(), code);
            assert_eq!(
                fs::metadata(&file).unwrap().modified().unwrap(),
                modified,
                "{} was written again",
                file.display()
            );
        }
    }
}

#[test]
fn run_with_every_choice_of_a_session_goes_on_to_the_same_end() {
    let prompts = Place::new();
    fs::write(prompts.path().join("analyst.j2"), "Plan it in verse.\n").unwrap();
    let dir = prompts.path().to_str().unwrap();
    for tester in ["review", "public+cases"] {
        let flags = [
            "--limit",
            "8",
            "--preset",
            "paper",
            "--tester",
            tester,
            "--final",
            "public",
            "--prompts",
            dir,
        ];
        let expected = undisturbed_with(&flags);
        let place = Place::new();
        let mut parent = start_with(&place, &flags);
        let run_dir = run_dir(&place);
        wait_until("some rounds have ended", || rounds(&run_dir).len() >= 5);
        let all = tree(parent.id());
        kill_9(parent.id());
        parent.wait().unwrap();
        wait_until("every process of the run is gone", || {
            all.iter().all(|pid| !is_alive(*pid))
        });
        resume(&place, &run_dir);
        assert_eq!(came_to(&run_dir), expected, "{tester}");
        assert_calls_are_unique(&run_dir);
    }
}

#[test]
fn run_whose_worker_was_killed_starts_another_and_ends_the_same() {
    let expected = undisturbed();
    for role in ["gen", "eval"] {
        let place = Place::new();
        let mut parent = start(&place);
        let run_dir = run_dir(&place);
        wait_until("a round has ended", || !rounds(&run_dir).is_empty());
        let worker = worker_of(parent.id(), role).expect("the run has a worker of each role");
        kill_9(worker);
        let status = parent.wait().unwrap();
        assert_eq!(status.code(), Some(0), "the {role} worker was killed");
        assert_eq!(came_to(&run_dir), expected, "the {role} worker was killed");
        assert_calls_are_unique(&run_dir);
    }
}

#[test]
fn run_whose_cages_were_killed_makes_others_and_ends_the_same() {
    let expected = undisturbed();
    let place = Place::new();
    let mut parent = start(&place);
    let run_dir = run_dir(&place);
    let mut seen = BTreeSet::new();
    for rounds_before in [1, 6, 12] {
        wait_until("some rounds have ended", || {
            seen.extend(tree(parent.id()));
            rounds(&run_dir).len() >= rounds_before
        });
        let worker = worker_of(parent.id(), "eval").expect("the run has an evaluation worker");
        for cage in children(worker) {
            seen.extend(tree(cage));
            kill_9(cage);
        }
    }
    assert_eq!(parent.wait().unwrap().code(), Some(0));
    assert_eq!(came_to(&run_dir), expected);
    wait_until("every process of the run is gone", || {
        seen.iter().all(|pid| !is_alive(*pid))
    });
}

#[test]
fn interrupt_finishes_what_is_in_flight_and_prints_the_command_that_goes_on() {
    let expected = undisturbed();
    let place = Place::new();
    let mut command = place.command(&coordinator());
    command.args(["run", "--model", "reference", "--workers", "2"]);
    let parent = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let run_dir = run_dir(&place);
    wait_until("a round has ended", || !rounds(&run_dir).is_empty());
    let pid = rustix::process::Pid::from_raw(i32::try_from(parent.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = parent.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    let relative = run_dir.strip_prefix(place.path()).unwrap().display().to_string();
    assert!(
        stderr.contains(&format!("`coordinator run --resume {relative}` goes on")),
        "{stderr}"
    );
    assert!(!run_dir.join("REPORT.txt").exists());
    resume(&place, &run_dir);
    assert_eq!(came_to(&run_dir), expected);
}

#[test]
fn second_coordinator_on_the_same_state_is_refused() {
    let place = Place::new();
    let mut parent = start(&place);
    let run_dir = run_dir(&place);
    wait_until("a round has ended", || !rounds(&run_dir).is_empty());
    // It must not have ended before the others were tried.
    let pid = rustix::process::Pid::from_raw(i32::try_from(parent.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    // As if the first one were just writing it.
    let half_written = run_dir.join(".roundhouse-1-0.tmp");
    fs::write(&half_written, "half").unwrap();
    let named = run_dir.to_str().unwrap();
    for args in [&["run", "--resume", named][..], &["report", named]] {
        let ran = place.coordinator(args);
        assert_eq!(ran.code, Some(1), "{}", ran.stdout);
        assert!(ran.stderr.contains("another coordinator uses"), "{}", ran.stderr);
        assert!(
            half_written.exists(),
            "{args:?} took away what the first one writes"
        );
    }
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    assert_eq!(
        parent.wait().unwrap().code(),
        Some(0),
        "the first one was not disturbed"
    );
}
