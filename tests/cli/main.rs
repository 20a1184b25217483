//! Transcripts of commands that go wrong, or have nothing to do: what is printed, the exit code, what is left behind.
//!
//! A case is a file in `cases`: first the command line, then what it must come to. `UPDATE_GOLDEN=1` writes what it
//! comes to now; read the difference before you commit it.
#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

mod fixtures;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use roundhouse_tests::Place;

fn cases() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("cli/cases");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    cases.sort();
    cases
}

/// Runs a command line in a place with the fixtures and tells what it came to.
fn transcript(command_line: &str) -> String {
    let place = Place::new();
    fixtures::make(place.path());
    let before = place.entries();
    let mut words = command_line.split_whitespace();
    let program = words.next().unwrap();
    let args: Vec<&str> = words.collect();
    let ran = match program {
        "coordinator" => place.coordinator(&args),
        "worker" => place.worker(&args),
        other => panic!("a case runs `coordinator` or `worker`, not `{other}`"),
    };
    let mut text = format!("$ {command_line}\nexit {}\n", ran.code.unwrap());
    for (name, output) in [("stdout", ran.stdout), ("stderr", ran.stderr)] {
        if !output.is_empty() {
            // A line's end matters less than that a case is readable.
            let output: String = output
                .lines()
                .map(|line| line.trim_end().to_owned() + "\n")
                .collect();
            write!(text, "--- {name}\n{output}").unwrap();
        }
    }
    let left: Vec<String> = place
        .entries()
        .into_iter()
        .filter(|entry| !before.contains(entry))
        .collect();
    if !left.is_empty() {
        writeln!(text, "--- left behind\n{}", left.join("\n")).unwrap();
    }
    text
}

#[test]
fn every_mistake_is_answered_as_its_transcript_says() {
    let mut wrong = Vec::new();
    let cases = cases();
    assert!(cases.len() >= 25, "the cases are gone");
    for case in cases {
        let expected = std::fs::read_to_string(&case).unwrap();
        let command_line = expected
            .lines()
            .next()
            .unwrap()
            .strip_prefix("$ ")
            .unwrap()
            .to_owned();
        let found = transcript(&command_line);
        if found != expected {
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                std::fs::write(&case, &found).unwrap();
            }
            wrong.push(format!(
                "{}\n=== expected\n{expected}=== found\n{found}",
                case.display()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_mistake_leaves_a_directory_behind_or_panics() {
    for case in cases() {
        let text = std::fs::read_to_string(&case).unwrap();
        assert!(
            !text.contains("--- left behind"),
            "{} leaves something behind",
            case.display()
        );
        assert!(!text.contains("panicked"), "{} panics", case.display());
    }
}

#[test]
fn help_of_run_names_every_flag_with_its_default() {
    let place = Place::new();
    let help = place.coordinator(&["run", "--help"]);
    assert_eq!(help.code, Some(0));
    // The width of the terminal breaks lines.
    let help = help.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "--workers <N>",
        "half the cores",
        "--eval-workers <N>",
        "4 × workers, at most 60",
        "--parallel",
        "--sequential",
        "--staged",
        "--output-dir <DIR>",
        "[default: baseline_outputs]",
        "--limit <N>",
        "--ids <A,B>",
        "--filter <TEXT>",
        "--max-rounds <N>",
        "[default: 2]",
        "--temperature <T>",
        "[default: 0]",
        "--top-p <P>",
        "[default: 0.95]",
        "--max-tokens <N>",
        "[default: 4096]",
        "--tester <cases|public|public+cases|review>",
        "[default: cases]",
        "--preset <paper|seed>",
        "--final <last|public>",
        "[default: last]",
        "--problem-names <position|source>",
        "[default: position]",
        "--tests <TIERS>",
        "[default: all]",
        "--comparator <RULE>",
        "[default: code-contests]",
        "unordered-lines",
        "checker:FILE",
        "--zygote <fast|natural|fresh>",
        "[default: fast]",
        "--audit-rate <PERCENT>",
        "[default: 1]",
        "--no-cache",
        "--time-limit <LIMIT>",
        "[default: 10s]",
        "--memory-limit <LIMIT>",
        "[default: 1GiB]",
        "--quarantine <FILE>",
        "--resume <RUN_DIR>",
        "--problems <FILE>",
        "--model <MODEL>",
        "--model-for <SPEAKER=MODEL>",
        "--method <METHOD>",
        "[default: self-collaboration]",
        "--lang <zh|en>",
        "[default: zh]",
        "--base-url <URL>",
        "--endpoint <NAME[=URL]>",
        "--api-key-file <[NAME=]FILE>",
        "--no-stream",
        "--record <FILE>",
    ] {
        assert!(
            help.contains(words),
            "`coordinator run --help` does not say `{words}`:\n{help}"
        );
    }
}
