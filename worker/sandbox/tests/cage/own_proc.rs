//! What a program can do with its `/proc`: open its own files by name, and nothing else.

use std::process::Command;

use roundhouse_sandbox::{Cage, Layer};

use crate::stand::{LIMITS, NOTHING, PROBE, PROGRAM, Stand, config, forking, stand};

/// A cage whose programs have a `/proc`, or `None` and a loud word.
fn with_proc(test: &str) -> Option<Stand> {
    let stand = stand(test)?;
    if stand.cage.containment().layers.has(Layer::OwnProc) {
        return Some(stand);
    }
    eprintln!("LEFT OUT: {test}: {}", stand.cage.containment());
    None
}

#[test]
fn a_programs_input_and_outputs_open_by_their_names() {
    let Some(mut stand) = with_proc("a_programs_input_and_outputs_open_by_their_names") else {
        return;
    };
    let expected = "[Ok(\"15\"), Ok(\"15\"), Ok(\"15\")] Ok(())\n";
    let (end, said) = stand.run(&["reopen"], b"15", LIMITS);
    assert_eq!(
        (said.as_str(), end.stderr_tail.as_slice()),
        (expected, &b"heard"[..])
    );
    let Some(mut cage) = forking("a_programs_input_and_outputs_open_by_their_names, forked") else {
        return;
    };
    cage.load("reopen");
    for server in [NOTHING, PROGRAM] {
        let (end, said) = cage.fork(server, b"15", LIMITS).unwrap();
        assert_eq!(
            (said.as_str(), end.stderr_tail.as_slice()),
            (expected, &b"heard"[..])
        );
    }
}

#[test]
fn no_file_of_proc_can_be_opened() {
    let Some(mut stand) = with_proc("no_file_of_proc_can_be_opened") else {
        return;
    };
    let files = [
        "mountinfo",
        "mounts",
        "mountstats",
        "maps",
        "smaps",
        "mem",
        "environ",
        "cmdline",
        "status",
        "stat",
        "cgroup",
        "auxv",
        "limits",
        "io",
        "oom_score",
        "fdinfo/0",
        "net/tcp",
    ];
    let [own, thread, first] = ["self", "thread-self", "1"].map(|who| {
        let paths = files.iter().map(|file| format!("/proc/{who}/{file}"));
        let words: Vec<_> = ["open".to_owned()].into_iter().chain(paths).collect();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        stand.say(&words)
    });
    assert_eq!([own, thread, first], ["[]", "[]", "[]"].map(str::to_owned));
    let system = [
        "/proc/cpuinfo",
        "/proc/version",
        "/proc/kcore",
        "/proc/kallsyms",
        "/proc/self/root/proc/self/maps",
    ];
    let words: Vec<_> = ["open"].into_iter().chain(system).collect();
    assert_eq!(stand.say(&words), "[]");
    // Nobody who could be asked for more is to be seen, and nothing of the system.
    let words = [
        "see",
        "/proc/1",
        "/proc/sys",
        "/proc/sysrq-trigger",
        "/proc/meminfo",
        "/proc/self",
    ];
    assert_eq!(stand.say(&words), r#"["/proc/self"]"#);
    let pid = stand.say(&["list", "/proc"]);
    let numbers = pid.split('"').filter(|name| name.parse::<u32>().is_ok());
    assert_eq!(numbers.count(), 1, "{pid}");
}

#[test]
fn nothing_below_proc_can_be_written() {
    let Some(mut stand) = with_proc("nothing_below_proc_can_be_written") else {
        return;
    };
    for file in [
        "oom_score_adj",
        "mem",
        "comm",
        "clear_refs",
        "coredump_filter",
        "uid_map",
        "setgroups",
    ] {
        let said = stand.say(&["write-over", &format!("/proc/self/{file}")]);
        assert_eq!(said.split('(').next(), Some("Err"), "{file}: {said}");
    }
    assert_eq!(
        stand.say(&["write", "/proc", "/proc/self", "/proc/self/fd"]),
        "[]"
    );
}

#[test]
fn the_links_of_a_program_name_nothing_of_the_host() {
    let Some(mut stand) = with_proc("the_links_of_a_program_name_nothing_of_the_host") else {
        return;
    };
    let links = ["exe", "cwd", "root", "fd/0"].map(|link| format!("/proc/self/{link}"));
    let mut words = vec!["links"];
    words.extend(links.iter().map(String::as_str));
    assert_eq!(
        stand.say(&words),
        r#"["/w/probe", "/w", "/", "/memfd:input (deleted)"]"#
    );
}

#[test]
fn an_input_opened_by_name_for_writing_stays_as_it_is() {
    let Some(mut stand) = with_proc("an_input_opened_by_name_for_writing_stays_as_it_is") else {
        return;
    };
    use std::os::fd::AsFd;
    let sealed = roundhouse_sandbox::seal(b"15").unwrap();
    for (word, expected) in [("spoil-named-input", "tried\n"), ("echo", "15")] {
        let stdin = roundhouse_sandbox::reopen(sealed.as_fd()).unwrap();
        let argv = ["./probe".to_owned(), word.to_owned()];
        let run = roundhouse_sandbox::Run {
            start: roundhouse_sandbox::Start::Execute(&argv),
            stdin: stdin.as_fd(),
            limits: LIMITS,
        };
        let mut said = Vec::new();
        stand
            .cage
            .run(&run, &mut |piece| {
                said.extend_from_slice(piece);
                roundhouse_sandbox::Flow::Continue
            })
            .unwrap();
        assert_eq!(String::from_utf8(said).unwrap(), expected);
    }
}

/// A worker that has rights taken away, as who runs it or as an ordinary user; what its program said.
fn said_under(taken: &str, user: &str, words: &[&str]) -> String {
    let mut probe = Command::new(PROBE);
    let output = probe.args(["under", taken, user]).args(words).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_way_to_make_a_tree_gives_proc_and_none_does_without_landlock() {
    let test = "every_way_to_make_a_tree_gives_proc_and_none_does_without_landlock";
    let cage = Cage::start(&config()).unwrap();
    let has_proc = cage.containment().layers.has(Layer::OwnProc);
    if !(has_proc && rustix::process::geteuid().is_root()) {
        eprintln!("LEFT OUT: {test}: needs root: {}", cage.containment());
        return;
    }
    for (taken, user) in [("nothing", "0"), ("nothing", "1234"), ("users", "0")] {
        let said = said_under(taken, user, &["see", "/proc/self", "/proc/1", "/proc/sys"]);
        assert!(said.contains("\n[\"/proc/self\"]\n"), "{taken} of {user}: {said}");
        let said = said_under(
            taken,
            user,
            &["open", "/proc/self/mountinfo", "/proc/self/environ"],
        );
        assert!(said.contains("\n[]\n"), "{taken} of {user}: {said}");
        let said = said_under(taken, user, &["reopen"]);
        assert!(
            said.contains("\n[Ok(\"15\"), Ok(\"15\"), Ok(\"15\")] Ok(())\n"),
            "{said}"
        );
    }
    for user in ["0", "1234"] {
        let said = said_under("landlock", user, &["see", "/proc/self", "/dev/fd/0"]);
        assert!(said.contains("\n[]\n"), "{user}: {said}");
    }
}
