//! What a cage comes to on a host that grants less, one right after the other taken away.
//!
//! A worker of its own takes the rights away from itself: by a system-call filter, as a container engine does, or by
//! the kernel's own bound on user namespaces. On a host that grants less to begin with these tests are left out.

use std::process::Command;

use roundhouse_sandbox::{Cage, Grade};

use crate::stand::{PROBE, config};
use crate::walls::FILTERED;

/// An ordinary user, who owns nothing.
const USER: u32 = 1234;
const ROOT: u32 = 0;

/// Whether this host grants all that is taken away here; says so if not.
fn grants_all(test: &str) -> bool {
    let cage = Cage::start(&config()).unwrap();
    let containment = cage.containment();
    let grants = containment.grade() >= Grade::FullWithoutControlGroup
        && containment.landlock_version >= 6
        && rustix::process::geteuid().is_root();
    if !grants {
        eprintln!("LEFT OUT: {test}: needs root, namespaces and Landlock 6: {containment}");
    }
    grants
}

/// The first line and the others that a worker says without these rights, and why.
fn worker(way: &[&str], user: u32, words: &[&str]) -> (String, String, String) {
    let user = user.to_string();
    let output = Command::new(PROBE)
        .args(way)
        .arg(user)
        .args(words)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let why = String::from_utf8(output.stderr).unwrap();
    let (grade, said) = said.split_once('\n').unwrap_or((&said, ""));
    (grade.to_owned(), said.trim_end().to_owned(), why)
}

fn under(taken: &str, user: u32, words: &[&str]) -> (String, String, String) {
    worker(&["under", taken], user, words)
}

/// With or without a control group.
const ALL_WALLS: &str = "Namespaces Full";
/// What every worker's cage is asked last, and answers while it still works.
const STILL_WORKS: &str = "15";

#[test]
fn root_without_user_namespaces_keeps_the_other_namespaces_and_no_program_is_root() {
    if !grants_all("root_without_user_namespaces_keeps_the_other_namespaces_and_no_program_is_root") {
        return;
    }
    for way in [&["under", "users"][..], &["within-own-users"]] {
        let (grade, said, why) = worker(way, ROOT, &["rights"]);
        assert!(grade.starts_with(ALL_WALLS), "{way:?}: {grade}: {why}");
        let (user, rest) = said.split_once(',').unwrap();
        assert!(!["user 0", "user 65533"].contains(&user), "{way:?}: {said}");
        assert_eq!(
            rest.split_once(',').unwrap().1,
            format!(" pid above 1 true, no_new_privs 1, capabilities 0, bounding 0\n{STILL_WORKS}"),
            "{way:?}"
        );
        assert!(why.contains("make a user namespace"), "{way:?}: {why}");
        let (_, said, _) = worker(way, ROOT, &["see", "/etc/passwd", "/proc/1", "/usr/lib"]);
        assert_eq!(said, format!("[\"/usr/lib\"]\n{STILL_WORKS}"), "{way:?}");
        // The scratch is emptied and restored by an init that is neither root nor the program.
        let (_, said, _) = worker(way, ROOT, &["spoil"]);
        assert_eq!(said, format!("spoilt\n{STILL_WORKS}"), "{way:?}");
    }
}

#[test]
fn forks_have_limits_of_their_own_whoever_made_their_cage() {
    if !grants_all("forks_have_limits_of_their_own_whoever_made_their_cage") {
        return;
    }
    for (taken, user) in [("nothing", ROOT), ("users", ROOT), ("nothing", USER)] {
        let output = Command::new(PROBE)
            .args(["serve-under", taken, &user.to_string()])
            .output()
            .unwrap();
        let of_a_server = ["1: false", "2: true", "stack 256 MiB, cpu 3 s, core 1"];
        let expected = [&of_a_server[..], &of_a_server, &["Namespaces"]].concat();
        let said = String::from_utf8(output.stdout).unwrap();
        let why = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            said.lines().collect::<Vec<_>>(),
            expected,
            "{taken} of {user}: {why}"
        );
    }
}

#[test]
fn the_hosts_bound_on_user_namespaces_is_left_as_it_was() {
    if !grants_all("the_hosts_bound_on_user_namespaces_is_left_as_it_was") {
        return;
    }
    let bound = || std::fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap();
    let before = bound();
    for taken in ["nothing", "users"] {
        under(taken, ROOT, &["echo"]);
        assert_eq!(bound(), before, "{taken}");
    }
}

#[test]
fn without_namespaces_landlock_and_the_filter_hold_files_network_and_signals() {
    if !grants_all("without_namespaces_landlock_and_the_filter_hold_files_network_and_signals") {
        return;
    }
    let ways = [
        (&["under", "docker"][..], ROOT),
        (&["under", "docker"], USER),
        (&["under", "mounts"], ROOT),
        (&["under", "mounts"], USER),
        (&["under", "users"], USER),
        (&["within-own-users"], USER),
    ];
    for (way, user) in ways {
        let case = format!("{way:?} of {user}");
        let said = |words: &[&str]| {
            let (grade, said, why) = worker(way, user, words);
            assert_eq!(grade, "Limits Partial", "{case}: {why}");
            let said = said.strip_suffix(STILL_WORKS);
            said.unwrap_or_else(|| panic!("{case}: the cage does not work: {why}"))
                .trim_end()
                .to_owned()
        };
        assert_eq!(said(&["calls"]), FILTERED, "{case}");
        assert_eq!(
            said(&["open", "/etc/passwd", "/proc/self/status", "/", "/usr/lib"]),
            r#"["/usr/lib"]"#,
            "{case}"
        );
        assert_eq!(
            said(&["write", "/", "/tmp", "/var/tmp", "/dev/shm", "/usr/lib", "."]),
            r#"["."]"#,
            "{case}"
        );
        assert_eq!(said(&["devices"]), "fifo\nzero 0", "{case}");
        // Init and worker are the same user, or another one, and are reached neither way.
        assert_eq!(said(&["kill-all"]), "alive", "{case}");
        assert_eq!(said(&["spoil"]), "spoilt", "{case}");
        let rights = said(&["rights"]);
        assert!(
            rights.ends_with("no_new_privs 1, capabilities 0, bounding 0") || user == USER,
            "{case}: {rights}"
        );
        if user == ROOT {
            assert!(!rights.starts_with("user 0,"), "{case}: {rights}");
        }
    }
}

#[test]
fn two_cages_of_root_without_namespaces_run_programs_of_different_users() {
    if !grants_all("two_cages_of_root_without_namespaces_run_programs_of_different_users") {
        return;
    }
    let user = || {
        let (_, said, _) = under("docker", ROOT, &["rights"]);
        said.split_once(',').unwrap().0.to_owned()
    };
    assert_ne!(user(), user());
}

#[test]
fn less_than_two_walls_is_graded_as_less() {
    if !grants_all("less_than_two_walls_is_graded_as_less") {
        return;
    }
    for (taken, user, grade, why) in [
        ("seccomp", ROOT, "Namespaces Partial", "system-call filter: "),
        ("seccomp", USER, "Namespaces Partial", "system-call filter: "),
        // A kernel without Landlock: namespaces hold the same.
        ("landlock", ROOT, ALL_WALLS, ""),
        ("landlock", USER, ALL_WALLS, ""),
        ("docker-and-seccomp", USER, "Limits None", "system-call filter: "),
        (
            "docker-and-landlock",
            ROOT,
            "Limits None",
            "make a pid namespace: ",
        ),
        (
            "docker-and-landlock",
            USER,
            "Limits None",
            "make a user namespace: ",
        ),
    ] {
        let (found, said, reason) = under(taken, user, &["echo"]);
        assert!(found.starts_with(grade), "{taken} of {user}: {found}: {reason}");
        assert_eq!(said, format!("{STILL_WORKS}{STILL_WORKS}"), "{taken} of {user}");
        assert!(reason.contains(why), "{taken} of {user}: {reason}");
        let (_, said, reason) = under(taken, user, &["sibling"]);
        assert_eq!(
            said,
            format!("done\n{STILL_WORKS}"),
            "{taken} of {user}: {reason}"
        );
    }
}

/// What the filter's test compares with: the same calls are answered otherwise where there is no filter.
#[test]
fn without_the_filter_the_same_calls_are_granted() {
    if !grants_all("without_the_filter_the_same_calls_are_granted") {
        return;
    }
    let (_, said, _) = under("seccomp", USER, &["calls"]);
    let as_filtered: Vec<_> = said
        .lines()
        .filter(|line| FILTERED.lines().any(|other| other == *line))
        .collect();
    assert_eq!(as_filtered, ["pipe done", "thread done"]);
}

#[test]
fn a_fork_bomb_without_namespaces_leaves_a_cage_that_works() {
    if !grants_all("a_fork_bomb_without_namespaces_leaves_a_cage_that_works") {
        return;
    }
    for user in [ROOT, USER] {
        let (grade, said, why) = under("docker", user, &["bomb"]);
        assert_eq!(
            (grade.as_str(), said.as_str()),
            ("Limits Partial", STILL_WORKS),
            "{why}"
        );
        assert!(why.contains("crossed: Some("), "{why}");
    }
}
