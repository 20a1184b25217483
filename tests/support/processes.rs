//! Processes as a test sees them: whose child is whose, and which are left.

use std::collections::BTreeMap;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// Ends a process at once, as `kill -9` does; one that is gone already is no error.
pub fn kill_9(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Asks a process to end, as `kill` does.
pub fn terminate(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// Every process with its parent.
fn parents() -> BTreeMap<u32, u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc is there");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, parent_of(pid)?))).collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    if state == "Z" {
        return None;
    }
    fields.next()?.parse().ok()
}

/// The children of a process.
pub fn children(pid: u32) -> Vec<u32> {
    parents()
        .into_iter()
        .filter(|(_, parent)| *parent == pid)
        .map(|(child, _)| child)
        .collect()
}

/// A process and all that came from it, itself first.
pub fn tree(pid: u32) -> Vec<u32> {
    let parents = parents();
    let mut tree = vec![pid];
    let mut at = 0;
    while at < tree.len() {
        let of = tree[at];
        tree.extend(
            parents
                .iter()
                .filter(|(_, parent)| **parent == of)
                .map(|(child, _)| *child),
        );
        at += 1;
    }
    tree
}

/// Whether a process is there and not only waits to be taken note of.
pub fn is_alive(pid: u32) -> bool {
    parent_of(pid).is_some()
}

/// The words of a process's command line.
pub fn command_line(pid: u32) -> Vec<String> {
    let text = std::fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline")).unwrap_or_default();
    text.split(|byte| *byte == 0)
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}
