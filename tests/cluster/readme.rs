//! The lines of the READMEs that make a cluster, run as they stand.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use roundhouse_tests::processes::kill_9;
use roundhouse_tests::{Place, coordinator, entries, wait_until, worker, workspace};

/// The lines of the code block after the marker of a README.
fn lines(readme: &str) -> Vec<String> {
    let text = fs::read_to_string(workspace().join(readme)).unwrap();
    let block = text.split("<!-- cluster -->").nth(1).unwrap();
    let block = block.split("```").nth(1).unwrap();
    let lines = block.lines().map(|line| line.split('#').next().unwrap().trim());
    lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

struct Started(Vec<Child>);

impl Drop for Started {
    fn drop(&mut self) {
        for child in &mut self.0 {
            kill_9(child.id());
            let _ = child.wait();
        }
    }
}

/// A line as a command; the usual port may be taken on this host, so the environment names a free one.
fn command(place: &Place, line: &str, port: u16) -> Command {
    let mut words = line.split_whitespace();
    let program = match words.next().unwrap() {
        "coordinator" => coordinator(),
        "worker" => worker(),
        other => panic!("{other} is no program of this project"),
    };
    let mut command = place.command(&program);
    command
        .args(words)
        .env("ROUNDHOUSE_LISTEN", format!("127.0.0.1:{port}"))
        .env("ROUNDHOUSE_COORDINATOR", format!("http://127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

#[test]
fn cluster_in_five_lines_of_the_readme_is_a_cluster() {
    let lines = lines("README.md");
    assert_eq!(lines, self::lines("README.zh.md"), "both READMEs say the same");
    assert_eq!(lines.len(), 5);
    let place = Place::new();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let (stay, end) = lines.split_at(3);
    let mut started = Started(Vec::new());
    for line in stay {
        started.0.push(command(&place, line, port).spawn().unwrap());
        if line == "coordinator start" {
            wait_until("the coordinator listens", || {
                std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
            });
        }
    }
    let elsewhere = Place::new();
    for line in end {
        let status = command(&elsewhere, line, port).status().unwrap();
        assert!(status.success(), "{line}: {status}");
    }
    assert!(place.run_dir().join("REPORT.txt").exists());
    assert!(elsewhere.run_dir().join("REPORT.txt").exists());
    let has_results = |place: &Place| entries(place.path()).contains(&"baseline_results.json".to_owned());
    assert_eq!((has_results(&place), has_results(&elsewhere)), (false, true));
}
