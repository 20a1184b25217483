//! Rules about the tree itself that no compiler checks.
#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use roundhouse_tests::workspace;

/// The crates that a package pulls in for its own code.
fn dependencies(package: &str, features: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--package",
            package,
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
            "--offline",
        ])
        .args(features)
        .current_dir(workspace())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn core_pulls_in_no_runtime_no_network_and_no_store() {
    let dependencies = dependencies("roundhouse-core", &[]);
    for banned in [
        "tokio",
        "tonic",
        "hyper",
        "sled",
        "reqwest",
        "rustix",
        "roundhouse-worker",
    ] {
        assert!(
            !dependencies.contains(banned),
            "roundhouse-core pulls in {banned}"
        );
    }
    assert!(dependencies.contains("roundhouse-proto"));
}

#[test]
fn coordinator_without_the_local_feature_knows_no_worker() {
    let dependencies = dependencies("roundhouse-coordinator", &["--no-default-features"]);
    assert!(!dependencies.contains("roundhouse-worker") && !dependencies.contains("roundhouse-sandbox"));
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn all_sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for dir in ["proto", "coordinator", "worker", "tests"] {
        sources(&workspace().join(dir), &mut found);
    }
    found
}

#[test]
fn unsafe_code_is_in_the_sandbox_only() {
    let allowed = workspace().join("worker/sandbox");
    // Put together here, so that this file does not hold it.
    let words = [
        format!("un{} {{", "safe"),
        format!("un{} fn", "safe"),
        format!("un{} extern", "safe"),
    ];
    for path in all_sources()
        .into_iter()
        .filter(|path| !path.starts_with(&allowed))
    {
        let text = std::fs::read_to_string(&path).unwrap();
        for word in &words {
            assert!(!text.contains(word.as_str()), "{} holds `{word}`", path.display());
        }
    }
}

#[test]
fn every_source_file_says_at_its_head_what_it_is() {
    for path in all_sources() {
        let text = std::fs::read_to_string(&path).unwrap();
        let is_generated = path.components().any(|part| part.as_os_str() == "generated");
        assert!(
            is_generated || text.starts_with("//! "),
            "{} has no head",
            path.display()
        );
    }
}

#[test]
fn no_source_file_of_ours_is_longer_than_seven_hundred_lines() {
    for path in all_sources() {
        if path.components().any(|part| part.as_os_str() == "generated") {
            continue;
        }
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(
            lines <= 700,
            "{} has {lines} lines: look for the second noun",
            path.display()
        );
    }
}
