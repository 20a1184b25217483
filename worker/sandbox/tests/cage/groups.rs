//! Control groups: what bounds a program's processes together, and that no group is left.
//!
//! Where the host lets us make none, these tests say LEFT OUT on standard error and pass. They look at groups from
//! outside, as root sees them.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use roundhouse_sandbox::{Cage, CageConfig, Crossed, Ended, Layer, Level, RunLimits};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::life::{below, ends_in_time};
use crate::stand::{LIMITS, PROBE, Stand, config};

/// Little, so that what holds more than its limit is found soon. The room for the cage itself is not in it.
const SCRATCH_BYTES: u64 = 64 << 20;
/// What a group has beyond the program's memory: the scratch and 64 MiB for the cage itself.
const ROOM_BYTES: u64 = SCRATCH_BYTES + (64 << 20);

fn small() -> CageConfig {
    CageConfig {
        scratch_bytes: SCRATCH_BYTES,
        ..config()
    }
}

fn limited(mebibytes: u64) -> RunLimits {
    RunLimits {
        cpu_ms: 60_000,
        wall_ms: 60_000,
        memory_bytes: mebibytes << 20,
        ..LIMITS
    }
}

/// A cage of this level with a group, or `None` and a loud word where the host refuses groups or the level.
fn grouped(test: &str, level: Level) -> Option<Stand> {
    let cage = match Cage::start_at(&small(), level) {
        Ok(cage) => cage,
        Err(error) => {
            eprintln!("LEFT OUT: {test}: {error}");
            return None;
        }
    };
    if cage.containment().layers.has(Layer::ControlGroup) {
        return Some(Stand::with(cage));
    }
    eprintln!("LEFT OUT: {test}: {}", cage.containment());
    None
}

/// One controller's hierarchy: where it is mounted, and the group of a process in it.
fn group_of(pid: u32, controller: &str) -> PathBuf {
    let memberships = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut lines = memberships.lines().map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        (fields.next().unwrap(), fields.next().unwrap())
    });
    let of_one = lines
        .clone()
        .find(|(words, _)| words.split(',').any(|word| word == controller));
    let path = of_one
        .or_else(|| lines.find(|(words, _)| words.is_empty()))
        .unwrap()
        .1;
    let mount = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ").unwrap();
        let ours = match of_one {
            Some(_) => after.starts_with("cgroup ") && after.split([' ', ',']).any(|word| word == controller),
            None => after.starts_with("cgroup2 "),
        };
        ours.then(|| before.split(' ').nth(4).unwrap())
    });
    PathBuf::from(mount.unwrap()).join(path.trim_start_matches('/'))
}

/// The group of a cage for this controller, as it is found from the worker's: this process.
fn group_of_cage(stand: &Stand, controller: &str) -> PathBuf {
    let own = group_of(std::process::id(), controller);
    let bases = [Some(own.as_path()), own.parent()];
    let shared = bases.into_iter().flatten().flat_map(directories);
    let name = format!("cage-{}", stand.cage.pid());
    let mut groups = shared
        .map(|shared| shared.join(&name))
        .filter(|group| group.is_dir());
    groups.next().unwrap()
}

fn directories(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

/// The text of the first of these files that is there.
fn first_of(group: &Path, names: [&str; 2]) -> String {
    let text = names
        .iter()
        .find_map(|name| fs::read_to_string(group.join(name)).ok());
    text.unwrap().trim().to_owned()
}

#[test]
fn a_group_bears_the_wardens_id_and_has_the_bounds_of_the_last_run() {
    let test = "a_group_bears_the_wardens_id_and_has_the_bounds_of_the_last_run";
    let Some(mut stand) = grouped(test, Level::Namespaces) else {
        return;
    };
    let [memory, processes] = ["memory", "pids"].map(|controller| group_of_cage(&stand, controller));
    for mebibytes in [64, 256, 32] {
        let (end, _) = stand.run(&["echo"], b"", limited(mebibytes));
        assert_eq!(end.crossed, None);
        let bound = first_of(&memory, ["memory.limit_in_bytes", "memory.max"]);
        assert_eq!(bound, ((mebibytes << 20) + ROOM_BYTES).to_string());
        let bound = fs::read_to_string(processes.join("pids.max")).unwrap();
        assert_eq!(bound.trim(), (LIMITS.processes + 16).to_string());
    }
}

#[test]
fn children_below_the_limit_are_together_above_it() {
    let test = "children_below_the_limit_are_together_above_it";
    let Some(mut stand) = grouped(test, Level::Namespaces) else {
        return;
    };
    let group = group_of_cage(&stand, "memory");
    let (end, _) = stand.run(&["children-fill", "8", "100"], b"", limited(128));
    assert_eq!(end.crossed, Some(Crossed::Memory));
    assert!(end.memory_bytes > 128 << 20, "{}", end.memory_bytes);
    assert!(stand.still_works());
    let greatest = first_of(&group, ["memory.max_usage_in_bytes", "memory.peak"]);
    let greatest: u64 = greatest.parse().unwrap();
    // The last run has other limits; no run here has greater ones.
    assert!(greatest <= LIMITS.memory_bytes + ROOM_BYTES, "{greatest}");
}

#[test]
fn bounds_follow_the_limits_up_and_down() {
    let test = "bounds_follow_the_limits_up_and_down";
    let Some(mut stand) = grouped(test, Level::Namespaces) else {
        return;
    };
    for (limit, crossed) in [
        (32, Some(Crossed::Memory)),
        (512, None),
        (32, Some(Crossed::Memory)),
        (512, None),
    ] {
        let (end, _) = stand.run(&["fill", "300"], b"", limited(limit));
        assert_eq!(end.crossed, crossed, "{limit} MiB");
    }
}

#[test]
fn a_full_scratch_takes_nothing_from_the_programs_memory_nor_from_the_next_run() {
    let test = "a_full_scratch_takes_nothing_from_the_programs_memory_nor_from_the_next_run";
    let Some(mut stand) = grouped(test, Level::Namespaces) else {
        return;
    };
    for _ in 0..3 {
        let (end, said) = stand.run(&["fill-scratch"], b"", limited(32));
        assert_eq!(
            (end.ended, end.crossed, said.as_str()),
            (Ended::Exit(0), None, "Some(StorageFull)\n")
        );
        let (end, said) = stand.run(&["fill", "100"], b"", limited(128));
        assert_eq!((end.crossed, said.as_str()), (None, "filled\n"));
    }
}

#[test]
fn a_dropped_cage_leaves_no_group() {
    for level in [Level::Namespaces, Level::Limits] {
        let Some(mut stand) = grouped("a_dropped_cage_leaves_no_group", level) else {
            continue;
        };
        assert!(stand.still_works());
        let groups = ["memory", "pids"].map(|controller| group_of_cage(&stand, controller));
        drop(stand);
        assert_eq!(groups.map(|group| group.exists()), [false, false], "{level:?}");
    }
}

/// Groups of a test alone, in which its workers run: what they leave behind is seen by their removal.
struct Ground {
    groups: Vec<PathBuf>,
    /// Where a worker's process goes: the groups, or in version two a group in them.
    seats: Vec<PathBuf>,
}

impl Ground {
    /// `None` and a loud word where the host refuses groups to cages or to this test.
    fn new(test: &str) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        drop(grouped(test, Level::Namespaces)?);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ground-{}-{count}", std::process::id());
        let mut ground = Self {
            groups: Vec::new(),
            seats: Vec::new(),
        };
        for controller in ["memory", "pids"] {
            let own = group_of(std::process::id(), controller);
            let two = own.join("cgroup.controllers").exists();
            // In version two a group with processes cannot have others below it, unless it is the top.
            let base = match two && own.join("cgroup.type").exists() {
                true => own.parent().unwrap().to_owned(),
                false => own,
            };
            let group = base.join(&name);
            if ground.groups.contains(&group) {
                continue;
            }
            if let Err(error) = fs::create_dir(&group) {
                eprintln!("LEFT OUT: {test}: `{}`: {error}", group.display());
                return None;
            }
            let mut seat = group.clone();
            if two {
                fs::write(group.join("cgroup.subtree_control"), "+memory +pids").unwrap();
                seat = group.join("worker");
                fs::create_dir(&seat).unwrap();
            }
            ground.groups.push(group);
            ground.seats.push(seat);
        }
        Some(ground)
    }

    /// Starts the probe as a worker in these groups.
    fn worker(&self, words: &[&str]) -> Worker {
        let enter: String = self
            .seats
            .iter()
            .map(|seat| format!("echo 0 > '{}/cgroup.procs' && ", seat.display()))
            .collect();
        let child = Command::new("/bin/sh")
            .args(["-c", &format!("{enter} exec \"$@\""), "sh", PROBE])
            .args(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        Worker(child.unwrap())
    }

    /// What cages have made here: the shared directories and the groups in them.
    fn made(&self) -> Vec<PathBuf> {
        let mut made = Vec::new();
        for shared in self.groups.iter().flat_map(|group| directories(group)) {
            if !self.seats.contains(&shared) {
                made.extend(directories(&shared));
                made.push(shared);
            }
        }
        made
    }

    /// The processes of each cage's group.
    fn cages(&self) -> Vec<usize> {
        let is_cage = |path: &&PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with("cage-")
        };
        let processes = |path: &PathBuf| {
            let list = fs::read_to_string(path.join("cgroup.procs")).unwrap();
            list.lines().count()
        };
        self.made().iter().filter(is_cage).map(processes).collect()
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for path in self.made().iter().chain(&self.seats).chain(&self.groups) {
            let _ = fs::remove_dir(path);
        }
    }
}

/// A worker's process; it ends with its test, however that goes.
struct Worker(Child);

impl Worker {
    /// The first line that it says: the process id of its cage's warden.
    fn warden(&mut self) -> u32 {
        let mut line = String::new();
        BufReader::new(self.0.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        line.trim().parse().unwrap()
    }

    /// All that it says until it ends.
    fn says(mut self) -> String {
        let mut said = String::new();
        let stdout = self.0.stdout.as_mut().unwrap();
        stdout.read_to_string(&mut said).unwrap();
        said
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until there are as many processes below `root`, and opens them.
fn processes_below(root: u32, count: usize) -> Vec<std::os::fd::OwnedFd> {
    for _ in 0..100_000 {
        let processes = below(root);
        if processes.len() >= count {
            return processes;
        }
        std::thread::yield_now();
    }
    panic!("there are no {count} processes below {root}");
}

#[test]
fn a_worker_that_ends_leaves_no_group_and_no_directory() {
    let Some(ground) = Ground::new("a_worker_that_ends_leaves_no_group_and_no_directory") else {
        return;
    };
    assert_eq!(
        ground.worker(&["many", "3"]).says(),
        "files 0, inits 1, helpers 1, programs 0\n"
    );
    assert_eq!(ground.made(), Vec::<PathBuf>::new());
}

#[test]
fn a_worker_that_is_killed_leaves_no_group() {
    // The warden; where there are namespaces, init and reaper; the program and its child.
    for (word, count) in [("hold", 5), ("hold-without-namespaces", 3)] {
        let Some(ground) = Ground::new("a_worker_that_is_killed_leaves_no_group") else {
            return;
        };
        let mut worker = ground.worker(&[word]);
        worker.warden();
        let processes = processes_below(worker.0.id(), count);
        // The program and its child, and nobody else.
        assert_eq!(ground.cages(), vec![2; ground.groups.len()], "{word}");
        worker.kill();
        processes
            .iter()
            .for_each(|process| assert!(ends_in_time(process)));
        assert_eq!(ground.cages(), [0; 0], "{word}");
    }
}

#[test]
fn what_a_killed_warden_leaves_is_removed_by_the_next_start() {
    for (word, count) in [("hold", 5), ("hold-without-namespaces", 3)] {
        let Some(ground) = Ground::new("what_a_killed_warden_leaves_is_removed_by_the_next_start") else {
            return;
        };
        let mut worker = ground.worker(&[word]);
        let warden = Pid::from_raw(worker.warden().try_into().unwrap()).unwrap();
        let processes = processes_below(worker.0.id(), count);
        let warden = pidfd_open(warden, PidfdFlags::empty()).unwrap();
        rustix::process::pidfd_send_signal(&warden, rustix::process::Signal::KILL).unwrap();
        worker.0.wait().unwrap();
        assert_eq!(ground.cages().len(), ground.groups.len());
        // Another cage of the same kind: it is the same user who removes.
        let mut next = ground.worker(&[word]);
        next.warden();
        assert_eq!(ground.cages().len(), ground.groups.len());
        // Without namespaces a child of the program had outlived its cage.
        processes
            .iter()
            .for_each(|process| assert!(ends_in_time(process)));
        let processes = processes_below(next.0.id(), count);
        next.kill();
        processes
            .iter()
            .for_each(|process| assert!(ends_in_time(process)));
        assert_eq!(ground.cages(), [0; 0], "{word}");
    }
}

#[test]
fn a_host_without_memory_is_no_end_of_a_program() {
    let Some(ground) = Ground::new("a_host_without_memory_is_no_end_of_a_program") else {
        return;
    };
    // The worker's own bound stands for the host's: below what the program may have.
    let (memory, text) = (&ground.groups[0], (200 << 20).to_string());
    let bounds = ["memory.limit_in_bytes", "memory.max"].map(|name| memory.join(name));
    let bound = bounds.iter().find(|bound| bound.exists()).unwrap();
    fs::write(bound, text).unwrap();
    for (mebibytes, expected) in [
        ("50", "Exit(0), None\n"),
        (
            "400",
            "the cage gave up: the host, or what the worker runs in, ran out of memory before the program reached \
             its limit\n",
        ),
    ] {
        let said = ground.worker(&["fill-in-cage", mebibytes]).says();
        assert_eq!(said, expected, "{mebibytes} MiB");
    }
}
