//! The worker on a host that grants no namespaces: what it refuses, says and runs.
//!
//! The host is a user namespace of the test's own in which no further one may be made. Where none can be made to
//! begin with, or its tools are missing, the tests are left out.
#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]
#![expect(clippy::print_stderr, reason = "a test that is left out says so")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// An ordinary user, whom the test becomes where it is root.
const USER: &str = "1234";
const PROGRAM: &str = r#"{"id": 1, "language": "python3", "source": "print(int(input()) + 1)", "input": "14", "expected": "15"}"#;

/// Runs a command of a shell on the poorer host.
fn on_poorer_host(script: &str, input: &str, arguments: &[&str]) -> Output {
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "unshare"]);
        command
    } else {
        Command::new("unshare")
    };
    let bound = "echo 0 > /proc/sys/user/max_user_namespaces";
    let mut child = command
        .args(["--user", "--map-root-user", "sh", "-c"])
        .arg(format!("{bound} && {script}"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A child that has refused already reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Judges [`PROGRAM`] there; exit code, standard output and standard error. `None` where there is no such host.
fn judge(test: &str, flags: &[&str]) -> Option<(Option<i32>, String, String)> {
    let worker = env!("CARGO_BIN_EXE_worker");
    let tried = Command::new("setpriv").arg("--version").output();
    let host = tried.is_ok_and(|output| output.status.success())
        && on_poorer_host("\"$0\" --version", "", &[worker]).status.success();
    if !host {
        eprintln!("LEFT OUT: {test}: no user namespace can be made, or nobody else may run `{worker}`");
        return None;
    }
    let python = ["--python", "/usr/bin/python3"];
    let arguments = [&[worker, "judge", "--cases", "-"], &python[..], flags].concat();
    let output = on_poorer_host("exec \"$0\" \"$@\"", PROGRAM, &arguments);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Some((output.status.code(), text(output.stdout), text(output.stderr)))
}

#[test]
fn a_host_that_grants_a_part_is_refused_with_78_and_the_setting_that_helps() {
    let test = "a_host_that_grants_a_part_is_refused_with_78_and_the_setting_that_helps";
    let Some((code, said, why)) = judge(test, &[]) else {
        return;
    };
    assert_eq!((code, said.as_str()), (Some(78), ""), "{why}");
    let lines: Vec<_> = why.lines().collect();
    assert!(
        lines[0]
            .starts_with("error: isolation is `partial` on this host: there is no mount namespace, no pid"),
        "{why}"
    );
    assert!(lines[0].contains("; refused: make a user namespace: "), "{why}");
    assert_eq!(
        lines[1],
        "hint: allow user namespaces: `sudo sysctl user.max_user_namespaces=10000`"
    );
    // In a container another hint may stand between.
    let last = lines[lines.len() - 1];
    assert!(last.starts_with("hint: `--allow-weak-isolation` "), "{why}");
}

#[test]
fn weak_isolation_that_is_allowed_runs_programs_and_is_told_with_every_result() {
    let test = "weak_isolation_that_is_allowed_runs_programs_and_is_told_with_every_result";
    let Some((code, said, why)) = judge(test, &["--allow-weak-isolation"]) else {
        return;
    };
    assert_eq!(code, Some(0), "{why}");
    let judged: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (judged["verdict"].as_str(), judged["isolation"].as_str()),
        (Some("AC"), Some("partial"))
    );
    assert!(why.contains("\nwarning: ISOLATION IS `partial`: "), "{why}");
}

#[test]
fn our_own_programs_run_with_one_line() {
    let Some((code, said, why)) = judge("our_own_programs_run_with_one_line", &["--programs-are-ours"])
    else {
        return;
    };
    assert_eq!(code, Some(0), "{why}");
    assert!(said.contains(r#""verdict":"AC""#), "{said}");
    assert_eq!(
        why,
        "warning: isolation is `partial`: only this project's own programs are run\n"
    );
}
