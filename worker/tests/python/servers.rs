//! What holds of the servers besides that programs run alike.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use roundhouse_proto::StartMode;
use roundhouse_sandbox::Ended;

use crate::server::Server;
use crate::stand::Stand;

const FORKED: [StartMode; 2] = [StartMode::Fast, StartMode::Natural];

fn ready(stand: &Stand, mode: StartMode, program: &str) -> Server {
    stand.load(program.as_bytes());
    let mut server = Server::start(stand, mode);
    server.prepare().unwrap();
    server
}

/// What a program writes that must end well.
fn written(server: &mut Server, input: &[u8]) -> String {
    let outcome = server.run(input).outcome;
    assert_eq!(outcome.ended, Ended::Exit(0), "{}", outcome.stderr.escape_ascii());
    String::from_utf8(outcome.stdout).unwrap()
}

#[test]
fn every_run_has_random_numbers_of_its_own() {
    let stand = Stand::of(None);
    let mut programs = vec!["import random\nprint(random.random())\n"];
    if stand.has_numpy() {
        programs.push("import numpy as np\nprint(np.random.rand())\n");
        programs.push("import numpy as np\nprint(np.random.default_rng().random())\n");
    } else {
        eprintln!("LEFT OUT: every_run_has_random_numbers_of_its_own: of numpy, which is not installed");
    }
    for program in programs {
        for mode in FORKED {
            let mut server = ready(&stand, mode, program);
            let numbers: BTreeSet<String> = (0..3).map(|_| written(&mut server, b"")).collect();
            assert_eq!(numbers.len(), 3, "{} {program}", mode.word());
        }
    }
}

#[test]
fn no_run_sees_what_another_one_did() {
    let stand = Stand::of(None);
    let program = "import math, os, sys, threading\nprint(vars(math).get('own'), sys.path, os.environ.get('own'))\n\
                   math.own = 1\nsys.path.append('x')\nos.environ['own'] = '1'\nsys.setrecursionlimit(5000)\n\
                   print(os.getcwd(), threading.stack_size(1 << 20))\nos.chdir('/')\nsys.stdin.close()\n";
    for mode in FORKED {
        let mut server = ready(&stand, mode, program);
        let first = written(&mut server, b"");
        assert!(first.starts_with("None ["), "{first}");
        assert_eq!(
            [first.clone(), first],
            [(); 2].map(|()| written(&mut server, b""))
        );
    }
}

#[test]
fn server_goes_on_after_every_kind_of_end() {
    let stand = Stand::of(None);
    let program = "import os\nkind = input()\nif kind == 'signal':\n    os.kill(os.getpid(), 9)\n\
                   elif kind == 'raise':\n    raise ValueError\nprint(kind)\n";
    for mode in FORKED {
        let mut server = ready(&stand, mode, program);
        for _ in 0..3 {
            assert_eq!(server.run(b"signal\n").outcome.ended, Ended::Signal(9));
            assert_eq!(server.run(b"raise\n").outcome.ended, Ended::Exit(1));
            assert_eq!(server.run(b"").outcome.ended, Ended::Exit(1));
            assert_eq!(written(&mut server, b"well\n"), "well\n");
        }
        assert!(server.end().success());
    }
}

#[test]
fn server_that_holds_nothing_runs_what_is_loaded_now() {
    let stand = Stand::of(None);
    let mut server = ready(&stand, StartMode::Natural, "print(1)\n");
    assert_eq!(written(&mut server, b""), "1\n");
    stand.load(b"print(2)\n");
    assert_eq!(written(&mut server, b""), "2\n");
    stand.load(b"print(\n");
    assert_eq!(server.run(b"").outcome.ended, Ended::Exit(1));
    stand.load(b"print(3)\n");
    assert_eq!(written(&mut server, b""), "3\n");
}

#[test]
fn a_program_that_does_not_compile_is_not_served_fast_and_the_reason_is_said() {
    let stand = Stand::of(None);
    for (program, reason) in [
        (&b"x = = 1\n"[..], "it does not compile: SyntaxError"),
        (b"return\n", "it does not compile: SyntaxError"),
        (b"if 1:\nprint(1)\n", "it does not compile: IndentationError"),
        (b"x = '\0'\n", "it has a NUL"),
    ] {
        stand.load(program);
        let mut server = Server::start(&stand, StartMode::Fast);
        assert_eq!(server.prepare(), Err(reason.to_owned()));
        assert!(server.end().success());
    }
}

#[test]
fn use_of_the_processor_and_of_memory_is_told() {
    let stand = Stand::of(None);
    let program = "import time\nx = bytearray(int(input()) << 20)\n\
                   while time.process_time() < 0.1: pass\n";
    for mode in FORKED {
        let mut server = ready(&stand, mode, program);
        let (small, large) = (server.run(b"1\n"), server.run(b"64\n"));
        for run in [&small, &large] {
            assert!((100_000..10_000_000).contains(&run.cpu_us), "{}", run.cpu_us);
        }
        let memory = [small.memory_bytes, large.memory_bytes];
        assert!(
            memory[0] > 1 << 20 && memory[1] > memory[0] + (50 << 20),
            "{memory:?}"
        );
        assert_ne!(small.pid, large.pid);
    }
}

#[test]
fn server_ends_with_the_socket_even_before_it_holds_a_program() {
    let stand = Stand::of(None);
    stand.load(b"print(1)\n");
    for mode in FORKED {
        assert!(Server::start(&stand, mode).end().success());
    }
}

/// A virtual environment, without pip; the path of its interpreter.
fn virtual_environment(directory: &Path) -> PathBuf {
    let base = Stand::of(None);
    let mut command = Command::new(base.interpreter.executable());
    let status = command
        .args(["-m", "venv", "--without-pip"])
        .arg(directory)
        .status();
    assert!(status.unwrap().success());
    directory.join("bin/python")
}

#[test]
fn interpreter_of_a_virtual_environment_is_served_with_its_packages() {
    let directory = tempfile::tempdir().unwrap();
    let python = virtual_environment(directory.path());
    let stand = Stand::of(Some(&python));
    let program = "import sys\nprint(sys.prefix, sys.path, sys.executable, sys.prefix != sys.base_prefix)\n";
    stand.load(program.as_bytes());
    let plain = stand.run_plainly(b"");
    let text = String::from_utf8_lossy(&plain.stdout).into_owned();
    assert!(
        text.contains(&directory.path().display().to_string()) && text.ends_with("True\n"),
        "{text}"
    );
    for mode in FORKED {
        assert_eq!(
            ready(&stand, mode, program).run(b"").outcome,
            plain,
            "{}",
            mode.word()
        );
    }
}

#[test]
fn the_real_sitecustomize_is_still_found() {
    let directory = tempfile::tempdir().unwrap();
    let python = virtual_environment(directory.path());
    let stand = Stand::of(Some(&python));
    let version = format!("lib/python3.{}/site-packages", stand.minor());
    let place = directory.path().join(version).join("sitecustomize.py");
    let program = "import builtins, sys\nmodule = sys.modules.get('sitecustomize')\n\
                   print(getattr(builtins, 'customized', None), getattr(module, '__file__', None), sys.path)\n";
    for text in [
        "import builtins\nbuiltins.customized = 'by the real one'\n",
        "raise ValueError('broken')\n",
    ] {
        fs::write(&place, text).unwrap();
        stand.load(program.as_bytes());
        let plain = stand.run_plainly(b"");
        for mode in FORKED {
            let outcome = ready(&stand, mode, program).run(b"").outcome;
            assert_eq!(outcome.stdout, plain.stdout, "{} {text}", mode.word());
            assert_eq!(outcome.ended, plain.ended);
        }
    }
    assert!(!stand.run_plainly(b"").stdout.is_empty());
}

#[test]
fn a_long_program_takes_no_more_memory_than_by_itself() {
    let stand = Stand::of(None);
    let texts: String = (0..100_000).map(|number| format!("'text {number}', ")).collect();
    let program = format!("texts = [{texts}]\nprint(len(texts))\n");
    let [fast, natural] = FORKED.map(|mode| {
        let mut server = ready(&stand, mode, &program);
        server.run(b"").memory_bytes
    });
    // What a forked process has is counted as its own from the start; a third more is what machines differ by.
    assert!(fast < natural + natural / 3, "{fast} instead of {natural} bytes");
}
