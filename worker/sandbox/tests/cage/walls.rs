//! What a program cannot reach.

use std::net::TcpListener;

use roundhouse_sandbox::{Grade, Layer, RunLimits};

use crate::stand::{LIMITS, Stand, stand};

#[test]
fn a_listener_of_the_host_is_unreachable() {
    let Some(mut stand) = stand("a_listener_of_the_host_is_unreachable") else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    assert_eq!(stand.say(&["connect", &address]), "unreachable");
    listener.set_nonblocking(true).unwrap();
    assert_eq!(
        listener.accept().unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );
}

#[test]
fn the_hosts_files_are_not_there() {
    let Some(mut stand) = stand("the_hosts_files_are_not_there") else {
        return;
    };
    let paths = [
        "/etc/shadow",
        "/etc/passwd",
        "/root",
        "/home",
        "/proc/1",
        "/proc/sys",
        "/sys",
        "/var",
        "/dev/kvm",
        "/dev/shm",
    ];
    let words: Vec<_> = ["see"].into_iter().chain(paths).collect();
    // The last one is the scratch under its usual name.
    assert_eq!(stand.say(&words), r#"["/dev/shm"]"#);
}

#[test]
fn only_the_scratch_can_be_written() {
    let Some(mut stand) = stand("only_the_scratch_can_be_written") else {
        return;
    };
    let words = [
        "write", "/", "/usr/lib", "/lib64", "/dev", "/usr", "/w", "/tmp", "/dev/shm",
    ];
    assert_eq!(stand.say(&words), r#"["/w", "/tmp", "/dev/shm"]"#);
    assert_eq!(
        stand.say(&["write-over", "/dev/null"]).split('(').next(),
        Some("Ok")
    );
}

#[test]
fn a_program_has_no_rights_and_is_not_the_hosts_root() {
    let Some(mut stand) = stand("a_program_has_no_rights_and_is_not_the_hosts_root") else {
        return;
    };
    assert_eq!(
        stand.say(&["rights"]),
        "user 1000, group 1000, pid above 1 true, no_new_privs 1, capabilities 0, bounding 0"
    );
}

#[test]
fn the_programs_user_on_the_host_is_not_root() {
    let Some(mut stand) = stand("the_programs_user_on_the_host_is_not_root") else {
        return;
    };
    // The init has the same map as its programs; the host shows both.
    let warden = stand.cage.pid();
    let children = format!("/proc/{warden}/task/{warden}/children");
    let init = std::fs::read_to_string(children).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", init.trim())).unwrap();
    let map = std::fs::read_to_string(format!("/proc/{}/uid_map", init.trim())).unwrap();
    let uids: Vec<_> = status.lines().filter(|line| line.starts_with("Uid:")).collect();
    assert!(
        !uids[0].split_ascii_whitespace().any(|uid| uid == "0"),
        "{uids:?}"
    );
    let host_ids: Vec<_> = map
        .lines()
        .map(|line| line.split_ascii_whitespace().nth(1))
        .collect();
    // An ordinary user's outer namespace calls that user 0: only root sees host ids here.
    let root_is_mapped = rustix::process::geteuid().is_root() && host_ids.contains(&Some("0"));
    assert!(!root_is_mapped, "{map}");
    assert!(stand.still_works());
}

#[test]
fn no_namespace_can_be_made_inside() {
    let Some(mut stand) = stand("no_namespace_can_be_made_inside") else {
        return;
    };
    if !stand.cage.containment().layers.has(Layer::NoNestedNamespaces) {
        eprintln!(
            "LEFT OUT: no_namespace_can_be_made_inside: {}",
            stand.cage.containment()
        );
        return;
    }
    assert_eq!(stand.say(&["unshare"]), "end");
}

#[test]
fn system_v_shared_memory_cannot_be_made() {
    let Some(mut stand) = stand("system_v_shared_memory_cannot_be_made") else {
        return;
    };
    if !stand.cage.containment().layers.has(Layer::NoSystemVIpc) {
        eprintln!(
            "LEFT OUT: system_v_shared_memory_cannot_be_made: {}",
            stand.cage.containment()
        );
        return;
    }
    assert_eq!(stand.say(&["shared-memory"]), "refused");
}

#[test]
fn a_program_cannot_kill_its_cage() {
    let Some(mut stand) = stand("a_program_cannot_kill_its_cage") else {
        return;
    };
    // The kernel leaves out the caller itself.
    assert_eq!(stand.say(&["kill-all"]), "alive");
    assert!(stand.still_works());
}

#[test]
fn the_init_cannot_be_given_other_limits() {
    let Some(mut stand) = stand("the_init_cannot_be_given_other_limits") else {
        return;
    };
    if !stand.cage.containment().layers.has(Layer::InitOutOfReach) {
        eprintln!(
            "LEFT OUT: the_init_cannot_be_given_other_limits: {}",
            stand.cage.containment()
        );
        return;
    }
    assert_eq!(stand.say(&["squeeze-init"]), "refused");
    assert!(stand.still_works());
}

#[test]
fn a_program_starts_with_three_files_and_default_signals() {
    let Some(mut stand) = stand("a_program_starts_with_three_files_and_default_signals") else {
        return;
    };
    assert_eq!(stand.say(&["open-files"]), "[0, 1, 2]");
    assert_eq!(stand.say(&["signals"]), "default true, blocked 0");
}

#[test]
fn nothing_of_a_run_reaches_the_next() {
    let Some(mut stand) = stand("nothing_of_a_run_reaches_the_next") else {
        return;
    };
    for _ in 0..3 {
        assert_eq!(stand.say(&["spoil"]), "spoilt");
        let words = ["see", "/w/a", "/tmp/file", "/tmp/probe", "/w/probe"];
        assert_eq!(stand.say(&words), r#"["/w/probe"]"#);
    }
}

#[test]
fn the_programs_file_cannot_be_written() {
    let Some(mut stand) = stand("the_programs_file_cannot_be_written") else {
        return;
    };
    assert_eq!(stand.say(&["write-over", "/w/probe"]), "Err(PermissionDenied)");
}

#[test]
fn an_input_cannot_be_changed_for_the_next_run() {
    let Some(mut stand) = stand("an_input_cannot_be_changed_for_the_next_run") else {
        return;
    };
    use std::os::fd::AsFd;
    let sealed = roundhouse_sandbox::seal(b"15").unwrap();
    for (word, expected) in [("spoil-input", "tried\n"), ("echo", "15")] {
        let stdin = roundhouse_sandbox::reopen(sealed.as_fd()).unwrap();
        let argv = ["./probe".to_owned(), word.to_owned()];
        let run = roundhouse_sandbox::Run {
            start: roundhouse_sandbox::Start::Execute(&argv),
            stdin: stdin.as_fd(),
            limits: LIMITS,
        };
        let mut said = Vec::new();
        let end = stand.cage.run(&run, &mut |piece| {
            said.extend_from_slice(piece);
            roundhouse_sandbox::Flow::Continue
        });
        assert_eq!(
            (end.unwrap().crossed, said.as_slice()),
            (None, expected.as_bytes())
        );
    }
}

#[test]
fn processes_are_bounded_to_the_limit() {
    let Some(mut stand) = stand("processes_are_bounded_to_the_limit") else {
        return;
    };
    for (processes, expected) in [(1, "false"), (2, "true")] {
        let limits = RunLimits { processes, ..LIMITS };
        let (_, said) = stand.run(&["fork-once"], b"", limits);
        assert_eq!(said.trim_end(), expected);
    }
}

#[test]
fn a_program_knows_where_it_is() {
    let Some(mut stand) = stand("a_program_knows_where_it_is") else {
        return;
    };
    assert_eq!(stand.say(&["where"]), r#"Ok("/w")"#);
    // After whatever was done to the directory before.
    stand.say(&["spoil"]);
    assert_eq!(stand.say(&["where"]), r#"Ok("/w")"#);
}

/// The worker of this test is the test's own process, which has at least `PATH`, as a worker has its keys.
#[test]
fn a_program_sees_nothing_of_the_workers_environment() {
    let Some(mut stand) = stand("a_program_sees_nothing_of_the_workers_environment") else {
        return;
    };
    assert!(std::env::var_os("PATH").is_some());
    assert_eq!(stand.say(&["environment"]), r#"["LANG"]"#);
}

/// How the filter answers what the probe asks; every one of these is granted or answered otherwise without it.
pub(crate) const FILTERED: &str = "\
unix EPERM
inet EPERM
netlink EPERM
vsock EPERM
alg EPERM
datagram pair EPERM
memfd ENOSYS
clone3 ENOSYS
personality EPERM
keyring EPERM
userfaultfd EPERM
io_uring EPERM
ptrace EPERM
kcmp EPERM
affinity EPERM
subreaper EINVAL
sync EPERM
unshare EPERM
pipe done
thread done";

fn filtered(test: &str) -> Option<Stand> {
    let stand = stand(test)?;
    if stand.cage.containment().layers.has(Layer::SystemCallFilter) {
        return Some(stand);
    }
    eprintln!("LEFT OUT: {test}: {}", stand.cage.containment());
    None
}

#[test]
fn system_calls_are_refused_unless_they_are_listed() {
    let Some(mut stand) = filtered("system_calls_are_refused_unless_they_are_listed") else {
        return;
    };
    assert_eq!(stand.say(&["calls"]), FILTERED);
}

#[test]
fn a_programs_processes_may_talk_and_pass_files() {
    let Some(mut stand) = filtered("a_programs_processes_may_talk_and_pass_files") else {
        return;
    };
    assert_eq!(stand.say(&["talk"]), "passed");
}

#[test]
fn no_device_can_be_made_and_those_there_are_can_be_used() {
    let Some(mut stand) = filtered("no_device_can_be_made_and_those_there_are_can_be_used") else {
        return;
    };
    assert_eq!(stand.say(&["devices"]), "fifo\nzero 0");
}

#[test]
fn a_cage_with_namespaces_and_a_filter_has_one_of_the_best_two_grades() {
    let Some(stand) = filtered("a_cage_with_namespaces_and_a_filter_has_one_of_the_best_two_grades") else {
        return;
    };
    let containment = stand.cage.containment();
    assert_eq!(
        containment.layers.has(Layer::Landlock),
        containment.landlock_version > 0,
        "{containment}"
    );
    let expected = match containment.layers.has(Layer::ControlGroup) {
        true => Grade::Full,
        false => Grade::FullWithoutControlGroup,
    };
    assert_eq!(containment.grade(), expected, "{containment}");
}
