//! Programs that try to reach the next one: what they leave, change or send must be gone when it starts.
//!
//! Judged by `worker judge` in one cage, as this user and, where this is root, as an ordinary one: then programs are
//! the same user as the worker. After each of them a program looks around; it is right only if it is alone and in a
//! clean place.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use roundhouse_proto::StartMode;
use serde_json::{Value, json};

use crate::stand::{MODES, SUM};

/// An ordinary user.
const USER: &str = "1234";
/// Read first by every program. Words are hidden where they would choose a slower start.
const BEFORE: &str = "
import os, sys, time, signal
fork = getattr(os, 'fo' + 'rk')
def attempt(call, *arguments):
    try:
        return call(*arguments)
    except OSError:
        pass
def write(path, text):
    with open(path, 'w') as file:
        file.write(text)
numbers = sys.stdin.read().split()[1:]
answer = sum(map(int, numbers))
";
/// Right if it may make as many processes as its limit says, and sees no file, no variable and no module of another.
const LOOK_AROUND: &str = "
found = sorted(os.listdir('/w')) + os.listdir('/tmp')
found += [name for name in os.environ if name in ('PYTHONPATH', 'PYTHONSTARTUP')]
children = 0
while True:
    child = attempt(fork)
    if child is None:
        break
    if child == 0:
        time.sleep(1000)
    children += 1
import random, heapq, json
print(answer if (found, children) == (['main.py'], 7) else (found, children))
";

/// What is tried: its name, the program, its verdict.
const TRICKS: [(&str, &str, &str); 14] = [
    (
        "a sibling that stays",
        "
import ctypes
if ctypes.CDLL(None).syscall(56 if os.uname().machine == 'x86_64' else 220, 0x8000 | 17, 0, 0, 0, 0) == 0:
    time.sleep(1000)
print(answer)",
        "AC",
    ),
    (
        "a daemon of another session that ignores signals",
        "
if fork() == 0:
    os.setsid()
    if fork() == 0:
        for number in set(range(1, 32)) - {9, 19}:
            signal.signal(number, signal.SIG_IGN)
        while True:
            attempt(write, '/tmp/late', 'x')
    os._exit(0)
print(answer)",
        "AC",
    ),
    (
        "children that are stopped",
        "
for _ in range(5):
    if fork() == 0:
        os.setsid()
        os.kill(os.getpid(), signal.SIGSTOP)
print(answer)",
        "AC",
    ),
    (
        "closing the input for whoever reads it next",
        "attempt(os.fchmod, 0, 0)\nprint(answer)",
        "AC",
    ),
    (
        "closing the directories",
        "
for path in ('/w/main.py', '/w', '/tmp', '/z', '/'):
    attempt(os.chmod, path, 0)
print(answer)",
        "AC",
    ),
    (
        "another program in the place of this one",
        "
attempt(os.chmod, '/w/main.py', 0o777)
attempt(write, '/w/main.py', 'print(1)')
attempt(os.rename, '/w/main.py', '/w/other')
attempt(os.mkdir, '/w/main.py')
print(answer)",
        "AC",
    ),
    (
        "modules in the place of the server's and the library's",
        "
names = 'zygote fast_program sitecustomize usercustomize random heapq json os _socket resource encodings'
for name in names.split():
    for path in ('/w/', '/tmp/'):
        attempt(os.mkdir, path + name)
        attempt(write, path + name + '/__init__.py', 'import os; os._exit(9)')
        attempt(write, path + name + '.py', 'import os; os._exit(9)')
print(answer)",
        "AC",
    ),
    (
        "pipes, links and directories that nobody may enter",
        "
os.umask(0o777)
os.mkfifo('/w/random.py')
os.symlink('/w/main.py', '/tmp/link')
attempt(os.link, '/w/main.py', '/w/link')
for _ in range(100):
    if attempt(os.mkdir, 'deep') is None and attempt(os.chdir, 'deep') is None:
        attempt(os.chmod, 'deep', 0o700)
        attempt(os.chdir, 'deep')
print(answer)",
        "AC",
    ),
    (
        "words of a server on every file",
        "
for file in range(3, 64):
    for word in (b'p', b'e' + bytes(20), b's\\2\\0\\0\\0'):
        assert attempt(os.write, file, word) is None
print(answer)",
        "AC",
    ),
    (
        "every signal to the first process and to its own group",
        "
for number in range(1, 65):
    attempt(os.kill, 1, number)
print(answer, flush=True)
os.kill(0, signal.SIGKILL)",
        "RE",
    ),
    (
        "an interpreter that is changed all over",
        "
import builtins
print(answer, flush=True)
os.environ['PYTHONPATH'] = os.environ['PYTHONSTARTUP'] = '/tmp'
sys.path[:] = sys.meta_path[:] = sys.path_hooks[:] = []
builtins.sum = builtins.print = builtins.open = sys.stdin = None",
        "AC",
    ),
    (
        "an output that is closed, and no end",
        "
os.write(1, b'%d' % answer)
for file in (0, 1, 2):
    os.close(file)
while True:
    pass",
        "TLE",
    ),
    (
        "a thread that goes on",
        "
import threading
def spin():
    while True:
        pass
threading.Thread(target=spin).start()
print(answer)",
        "TLE",
    ),
    (
        "floods of errors by a child",
        "
print(answer, flush=True)
if fork() == 0:
    while True:
        os.write(2, bytes(65536))
time.sleep(1000)",
        "OLE",
    ),
];

/// The tricks, each with somebody who looks around behind it, as `worker judge` reads them.
fn lines() -> String {
    let line = |id: &str, source: String| {
        let limits = json!({
            "cpu_ms": 1000, "wall_ms": 5000, "memory_bytes": 256 << 20, "output_bytes": 1 << 20, "processes": 8
        });
        json!({
            "id": id, "language": "python3", "source": source, "input": SUM.0, "expected": SUM.1, "limits": limits
        })
        .to_string()
            + "\n"
    };
    TRICKS
        .iter()
        .flat_map(|(name, trick, _)| {
            let look_around = [BEFORE, LOOK_AROUND].concat();
            [
                line(name, [BEFORE, trick].concat()),
                line(&format!("after {name}"), look_around),
            ]
        })
        .collect()
}

/// Judges programs with `worker`, the words that start it.
fn judge(worker: &[&str], python: &[&str], start: StartMode, lines: &str) -> Output {
    let mut child = Command::new(worker[0])
        .args(&worker[1..])
        .args(["judge", "--cases", "-", "--zygote", start.word()])
        .args(python)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A worker that has refused already reads nothing.
    let _ = child.stdin.take().unwrap().write_all(lines.as_bytes());
    child.wait_with_output().unwrap()
}

fn assert_nothing_reaches_the_next(test: &str, worker: &[&str], python: &[&str]) {
    let lines = lines();
    for start in MODES {
        let output = judge(worker, python, start, "");
        if !output.status.success() {
            say(&format!(
                "LEFT OUT: {test}: {}",
                String::from_utf8_lossy(&output.stderr).trim_end()
            ));
            return;
        }
        let output = judge(worker, python, start, &lines);
        let said = String::from_utf8(output.stdout).unwrap();
        let results: Vec<Value> = said
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(
            results.len(),
            2 * TRICKS.len(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        for (two, (name, _, verdict)) in results.chunks(2).zip(TRICKS) {
            for (result, expected) in two.iter().zip([verdict, "AC"]) {
                assert_eq!(result["verdict"], expected, "{name}, {start}: {result:#}");
            }
        }
    }
}

#[test]
fn nothing_that_a_program_does_reaches_the_next_one() {
    let test = "nothing_that_a_program_does_reaches_the_next_one";
    assert_nothing_reaches_the_next(test, &[env!("CARGO_BIN_EXE_worker")], &[]);
}

#[test]
fn nothing_that_a_program_of_the_workers_own_user_does_reaches_the_next_one() {
    let test = "nothing_that_a_program_of_the_workers_own_user_does_reaches_the_next_one";
    if !rustix::process::geteuid().is_root() {
        say(&format!("LEFT OUT: {test}: this is an ordinary user already"));
        return;
    }
    let worker = env!("CARGO_BIN_EXE_worker");
    let worker = [
        "setpriv",
        "--reuid",
        USER,
        "--regid",
        USER,
        "--clear-groups",
        worker,
    ];
    assert_nothing_reaches_the_next(test, &worker, &["--python", "/usr/bin/python3"]);
}

#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
fn say(text: &str) {
    eprintln!("{text}");
}
