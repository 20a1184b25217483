//! What a checker is given and what its end says.
#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use std::process::{Command, Stdio};

use roundhouse_proto::{Digest, Language};

use super::*;
use crate::evaluate::fake::{ended, work};

#[test]
fn output_that_a_checker_decides_about_leaves_room_for_its_other_files() {
    let of = |comparator: &str, output_bytes| {
        let mut work = work();
        work.limits.output_bytes = output_bytes;
        work.comparator = comparator.parse().unwrap();
        output_bytes_max(&work)
    };
    let checker = format!("checker:{}", Digest::of(b"c"));
    assert_eq!(of("exact", 64 << 20), 64 << 20);
    assert_eq!(
        (of(&checker, 64 << 20), of(&checker, 1 << 20)),
        (16 << 20, 1 << 20)
    );
}

#[test]
fn statuses_0_and_1_are_answers_and_every_other_end_is_a_failure_with_the_end_of_standard_error() {
    let end = |crossed, ended_so: Ended, stderr: &str| RunEnd {
        crossed,
        stderr_tail: stderr.as_bytes().to_vec(),
        ..ended(ended_so)
    };
    assert_eq!(answer(&end(None, Ended::Exit(0), "noise")), Ok(Output::Agrees));
    assert_eq!(answer(&end(None, Ended::Exit(1), "noise")), Ok(Output::Differs));
    let failure =
        |crossed, ended, stderr: &str| answer(&end(crossed, ended, stderr)).unwrap_err().to_string();
    for (crossed, ended, said) in [
        (
            None,
            Ended::Exit(2),
            "ended with status 2, expected 0 for right or 1 for wrong",
        ),
        (None, Ended::Signal(11), "was ended by signal 11"),
        (
            Some(Crossed::Cpu),
            Ended::Exit(0),
            "took more than 10000 ms of CPU time",
        ),
        (Some(Crossed::Wall), Ended::Exit(1), "took more than 40000 ms"),
        (
            Some(Crossed::Memory),
            Ended::Signal(9),
            "took more than 1073741824 bytes of memory",
        ),
        (
            Some(Crossed::Output),
            Ended::Exit(1),
            "wrote more than 1048576 bytes",
        ),
    ] {
        assert_eq!(
            failure(crossed, ended, "first\nlast\n"),
            format!("the checker {said}: first\nlast")
        );
    }
    let long = format!(
        "{}{}",
        "é".repeat(STDERR_CHARS_MAX),
        "x".repeat(STDERR_CHARS_MAX - 1)
    );
    assert!(
        failure(None, Ended::Exit(3), &long).ends_with(&format!(": é{}", "x".repeat(STDERR_CHARS_MAX - 1)))
    );
    assert!(failure(None, Ended::Exit(3), "").ends_with(": it wrote nothing to standard error"));
}

/// Runs a checker as a cage would, but without the cage: these are ours.
fn status(interpreter: &Interpreter, checker: &str) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().unwrap();
    let texts = FILES.map(|name| (name, name.to_owned()));
    for (name, text) in texts.into_iter().chain([(MAIN_FILE, checker.to_owned())]) {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    let argv = argv(interpreter);
    let output = Command::new(&argv[0])
        .args(&argv[1..])
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn checker_finds_its_files_and_an_exception_that_it_does_not_catch_is_no_answer() {
    let interpreter = Interpreter::resolve(Language::Python3, None).unwrap();
    for (checker, expected) in [
        ("", 0),
        (
            "import sys\nsys.exit(sys.argv != ['main.py', 'input.txt', 'output.txt', 'expected.txt'])",
            0,
        ),
        (
            "import sys\nassert [open(name).read() for name in sys.argv[1:]] == sys.argv[1:]",
            0,
        ),
        ("if __name__ == '__main__':\n    exit(1)", 1),
        ("import sys\nsys.exit('not sorted')", 1),
        ("raise SystemExit(7)", 7),
        ("assert False", 2),
        ("int('x')", 2),
        ("(", 2),
        ("sys.exit(1)", 2),
        ("import sys\nsys.excepthook = None\nraise ValueError", 2),
        (
            "import builtins\nbuiltins.print = None\ndel builtins.open\nraise KeyboardInterrupt",
            2,
        ),
        (
            "def run():\n    return f()\ndef f():\n    return 1\nimport os\nos._exit(run())",
            1,
        ),
        (
            "import __main__, dataclasses, pickle\n@dataclasses.dataclass\nclass A:\n    x: 'int' = 1\n\
             assert pickle.loads(pickle.dumps(A())) == __main__.A() and __file__ == 'main.py'",
            0,
        ),
    ] {
        let (status, stderr) = status(&interpreter, checker);
        assert_eq!(status, Some(expected), "{checker}\n{stderr}");
    }
    let (_, stderr) = status(
        &interpreter,
        "def decide():\n    raise ValueError('of the checker')\n\ndecide()\n",
    );
    assert!(
        stderr.contains("main.py\", line 2, in decide") && stderr.ends_with("ValueError: of the checker\n")
    );
}
