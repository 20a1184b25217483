//! Python 3: asks the interpreter what it is and what it reads, and says how its programs are started.

pub(crate) mod servers;
mod start;

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

pub use start::start_of;

use super::{Interpreter, InterpreterError, MAIN_FILE};

/// How long an interpreter may take to answer; a cold start from a network disk takes seconds.
const ANSWER_SECONDS_MAX: u64 = 60;
/// How often an interpreter is asked that a signal ends.
const ASKED_MAX: u32 = 3;
/// The oldest minor version of Python 3 that is used.
const MINOR_MIN: u32 = 8;
/// Characters of a wrong answer that are shown.
const ANSWER_CHARS_MAX: usize = 300;

/// Where the real executable is; in an environment of its own kind it must be started by the name it has there.
const WHERE: &str = "import sys; print(sys.executable if sys.prefix != getattr(sys, 'base_prefix', sys.prefix) \
                     else __import__('os').path.realpath(sys.executable))";

/// What it is and what it reads. Modules written in C are imported for the libraries that they bring.
const WHAT: &str = r#"
import json, os, platform, sys, sysconfig
for name in ("_bz2", "_ctypes", "_decimal", "_hashlib", "_lzma", "_sqlite3", "_ssl", "_uuid", "readline", "zlib", "numpy"):
    try:
        __import__(name)
    except Exception:
        pass
mapped = set()
with open("/proc/self/maps") as maps:
    for line in maps:
        fields = line.rstrip("\n").split(None, 5)
        if len(fields) == 6 and fields[5].startswith("/"):
            mapped.add(fields[5])
links, link = [], os.path.abspath(sys.executable)
while len(links) < 40 and os.path.islink(link):
    links.append(link)
    link = os.path.normpath(os.path.join(os.path.dirname(link), os.readlink(link)))
print(json.dumps({
    "implementation": platform.python_implementation(),
    "version": platform.python_version(),
    "major": sys.version_info[0],
    "minor": sys.version_info[1],
    "executables": links + [link, os.path.realpath(link)],
    "prefixes": [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix],
    "modules": [sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib")],
    "packages": [sysconfig.get_paths()[name] for name in ("purelib", "platlib")] + [
        path for path in sys.path if os.path.basename(path) in ("site-packages", "dist-packages")
    ],
    "mapped": sorted(mapped),
}))
"#;

/// Compiles as the interpreter does before it runs a file, and does not run it.
const COMPILE: &str = "compile(open('main.py', 'rb').read(), 'main.py', 'exec', dont_inherit=True)";

/// Paths that any dynamically linked program reads.
const SYSTEM_RUNTIME: [&str; 6] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/etc/ld.so.cache",
    // Debian's numpy finds its libraries over this.
    "/etc/alternatives",
];

/// Installed packages that programs may import, those that contest sites offer and what these need. Others stay out:
/// a verdict must not hang on what else is installed on a worker, nor a program see it; and `.pth` files, which run
/// code at every start, are among them.
const PACKAGES: [&str; 16] = [
    "bitarray",
    "dateutil",
    "gmpy2",
    "llvmlite",
    "more_itertools",
    "mpmath",
    "networkx",
    "numba",
    "numpy",
    "pandas",
    "pytz",
    "scipy",
    "six",
    "sortedcontainers",
    "sympy",
    "tzdata",
];

#[derive(Debug, Deserialize)]
struct Answer {
    implementation: String,
    version: String,
    major: u32,
    minor: u32,
    executables: Vec<PathBuf>,
    prefixes: Vec<PathBuf>,
    modules: Vec<PathBuf>,
    packages: Vec<PathBuf>,
    mapped: Vec<PathBuf>,
}

pub(super) fn resolve(wanted: &Path) -> Result<Interpreter, InterpreterError> {
    // A shim needs the caller's environment to choose a version; nothing after it does.
    let real = ask(Command::new(wanted).args(["-c", WHERE]), wanted)?;
    let executable = PathBuf::from(real.trim_end());
    if !executable.is_absolute() {
        return Err(unusable(wanted, "it does not know its own path"));
    }
    let environment = environment(&executable);
    let mut question = Command::new(&executable);
    question
        .args(["-c", WHAT])
        .current_dir("/")
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)));
    let text = ask(&mut question, &executable)?;
    let answer: Answer =
        serde_json::from_str(&text).map_err(|error| unusable(&executable, &format!("{error}: {text}")))?;
    let name = format!("{} {}", answer.implementation, answer.version);
    if (answer.major, answer.minor) < (3, MINOR_MIN) {
        return Err(InterpreterError::TooOld {
            path: wanted.display().to_string(),
            name,
        });
    }
    let argument = executable
        .to_str()
        .ok_or_else(|| unusable(&executable, "its path is not UTF-8"))?;
    // Others start and end in other ways.
    let (servers, server_files) = match answer.implementation.as_str() {
        "CPython" => (servers::servers(argument), servers::files()),
        _ => (Vec::new(), Vec::new()),
    };
    Ok(Interpreter {
        name,
        runtime: runtime(&answer),
        environment,
        servers,
        server_files,
        run_argv: [argument, MAIN_FILE].map(str::to_owned).to_vec(),
        compile_argv: [argument, "-c", COMPILE].map(str::to_owned).to_vec(),
        executable,
    })
}

/// A short list: nothing of the worker's own environment goes in.
fn environment(executable: &Path) -> Vec<(String, String)> {
    let directory = executable.parent().unwrap_or(Path::new("/usr/bin")).display();
    let variables = [
        ("PATH", format!("{directory}:/usr/bin:/bin")),
        ("HOME", "/w".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        // The order of a set of texts is the same in every run, on every worker.
        ("PYTHONHASHSEED", "0".to_owned()),
        // Numerical libraries start as many threads as there are processors. A verdict must not hang on that number,
        // and a fork would not have those threads.
        ("OPENBLAS_NUM_THREADS", "1".to_owned()),
        ("OMP_NUM_THREADS", "1".to_owned()),
        ("MKL_NUM_THREADS", "1".to_owned()),
    ];
    variables.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

/// What must be readable inside a cage: never a whole prefix, which may be `/usr` or somebody's home.
fn runtime(answer: &Answer) -> Vec<PathBuf> {
    let of_packages = answer.packages.iter().flat_map(|directory| entries(directory));
    let mut paths: Vec<PathBuf> = SYSTEM_RUNTIME
        .into_iter()
        .map(PathBuf::from)
        .chain(answer.prefixes.iter().map(|prefix| prefix.join("pyvenv.cfg")))
        .chain(answer.modules.iter().flat_map(|directory| modules(directory)))
        .chain(of_packages.filter(|entry| is_offered(entry)))
        .chain(answer.executables.iter().cloned())
        .chain(answer.mapped.iter().flat_map(|file| libraries(file)))
        .filter(|path| path.is_absolute() && path.exists())
        .collect();
    // A directory sorts before what is in it.
    paths.sort();
    paths.dedup_by(|path, kept| path.starts_with(&*kept));
    paths
}

/// The standard library, without the packages that may be installed in the midst of it and without its own tests,
/// which many systems do not ship either and which are full of files of expected outputs.
fn modules(directory: &Path) -> Vec<PathBuf> {
    let is_left_out = |path: &Path| {
        let names = ["site-packages", "dist-packages", "test"];
        names.iter().any(|name| path.ends_with(name))
    };
    let entries = entries(directory);
    if entries.iter().any(|path| is_left_out(path)) {
        entries.into_iter().filter(|path| !is_left_out(path)).collect()
    } else {
        vec![directory.to_owned()]
    }
}

/// Whether an entry of a directory of packages belongs to one of [`PACKAGES`]: `numpy`, `numpy.libs`, `six.py`.
fn is_offered(entry: &Path) -> bool {
    let name = entry
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let stem = name.split(['.', '-']).next().unwrap_or_default();
    PACKAGES.contains(&stem)
}

/// A mapped shared library under all its names: it is looked up by a shorter one than the file often has.
fn libraries(file: &Path) -> Vec<PathBuf> {
    let stem = |path: &Path| {
        let name = path.file_name()?.to_str()?;
        Some(name.split_once(".so")?.0.to_owned())
    };
    match (stem(file), file.parent()) {
        (Some(wanted), Some(directory)) => {
            let named_so = |path: &PathBuf| stem(path).is_some_and(|stem| stem == wanted);
            entries(directory).into_iter().filter(named_so).collect()
        }
        (_, _) => Vec::new(),
    }
}

/// What is in a directory; nothing if it cannot be read.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

/// Runs a question and gives what it wrote.
fn ask(question: &mut Command, path: &Path) -> Result<String, InterpreterError> {
    let mut tries = 1;
    loop {
        let output = answer(question, path)?;
        if output.status.success() {
            return String::from_utf8(output.stdout).map_err(|_| unusable(path, "its answer is not UTF-8"));
        }
        // Somebody else's signal says nothing about the interpreter.
        if output.status.signal().is_none() || tries == ASKED_MAX {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(unusable(path, &format!("{}: {}", output.status, stderr.trim())));
        }
        tries += 1;
    }
}

fn answer(question: &mut Command, path: &Path) -> Result<Output, InterpreterError> {
    let shown = || path.display().to_string();
    let child = question
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => InterpreterError::Missing { wanted: shown() },
            _ => InterpreterError::Start {
                path: shown(),
                source,
            },
        })?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let (sender, receiver) = sync_channel::<io::Result<Output>>(1);
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    match receiver.recv_timeout(Duration::from_secs(ANSWER_SECONDS_MAX)) {
        Ok(output) => output.map_err(|source| InterpreterError::Start {
            path: shown(),
            source,
        }),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            // Not reaped yet, since its thread has not answered: the id is still its own.
            let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
            Err(InterpreterError::Silent {
                path: shown(),
                seconds: ANSWER_SECONDS_MAX,
            })
        }
    }
}

fn unusable(path: &Path, answer: &str) -> InterpreterError {
    InterpreterError::Unusable {
        path: path.display().to_string(),
        answer: answer.chars().take(ANSWER_CHARS_MAX).collect(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use roundhouse_sandbox::{Holds, Start};

    use roundhouse_proto::StartMode;

    use super::*;

    /// Written by a child: a file that this process has open for writing, if only while another test forks, cannot
    /// be executed.
    fn script(directory: &Path, name: &str, text: &str) -> PathBuf {
        let path = directory.join(name);
        let write = "printf %s \"$1\" > \"$2\" && chmod 755 \"$2\"";
        let mut shell = Command::new("sh");
        let status = shell.args(["-c", write, "sh", text]).arg(&path).status().unwrap();
        assert!(status.success());
        path
    }

    #[test]
    fn runtime_holds_the_standard_library_and_offered_packages_and_nothing_else_of_a_prefix() {
        let directory = tempfile::tempdir().unwrap();
        let prefix = directory.path();
        let packages = "lib/python3.11/site-packages";
        for file in [
            "bin/bash",
            "bin/python3.11",
            "lib/libpython3.11.so.1.0",
            "lib/libother.so",
            "lib/python3.11/os.py",
            "lib/python3.11/json/__init__.py",
            "lib/python3.11/test/expected.out",
            "secrets.txt",
            &format!("{packages}/numpy/__init__.py"),
            &format!("{packages}/numpy.libs/libopenblas.so"),
            &format!("{packages}/numpy_financial/__init__.py"),
            &format!("{packages}/six.py"),
            &format!("{packages}/starts.pth"),
        ] {
            let path = prefix.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        std::os::unix::fs::symlink("libpython3.11.so.1.0", prefix.join("lib/libpython3.11.so")).unwrap();
        let answer = Answer {
            implementation: "CPython".to_owned(),
            version: "3.11.2".to_owned(),
            major: 3,
            minor: 11,
            executables: vec![prefix.join("bin/python3"), prefix.join("bin/python3.11")],
            prefixes: vec![prefix.to_owned()],
            modules: vec![prefix.join("lib/python3.11"), prefix.join("lib/python3.11")],
            packages: vec![prefix.join(packages), PathBuf::new()],
            mapped: vec![
                prefix.join("bin/python3.11"),
                prefix.join("lib/libpython3.11.so.1.0"),
            ],
        };
        let runtime = runtime(&answer);
        let inside: Vec<&str> = runtime
            .iter()
            .filter_map(|path| path.strip_prefix(prefix).ok()?.to_str())
            .collect();
        assert_eq!(
            inside,
            [
                "bin/python3.11",
                "lib/libpython3.11.so",
                "lib/libpython3.11.so.1.0",
                "lib/python3.11/json",
                "lib/python3.11/os.py",
                &format!("{packages}/numpy"),
                &format!("{packages}/numpy.libs"),
                &format!("{packages}/six.py"),
            ]
        );
        let outside = runtime.iter().filter(|path| !path.starts_with(prefix));
        assert!(
            outside
                .clone()
                .all(|path| SYSTEM_RUNTIME.iter().any(|system| path == Path::new(system)))
        );
    }

    #[test]
    fn the_python_on_the_path_is_resolved_to_a_real_executable_without_anything_of_our_environment() {
        let interpreter = resolve(Path::new("python3")).unwrap();
        assert!(interpreter.name().starts_with("CPython 3."), "{interpreter:?}");
        let executable = interpreter.executable();
        assert_eq!(executable, std::fs::canonicalize(executable).unwrap());
        assert!(
            interpreter
                .runtime()
                .iter()
                .any(|path| executable.starts_with(path))
        );
        let names: Vec<&str> = interpreter
            .environment()
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(
            names,
            [
                "PATH",
                "HOME",
                "LANG",
                "PYTHONHASHSEED",
                "OPENBLAS_NUM_THREADS",
                "OMP_NUM_THREADS",
                "MKL_NUM_THREADS"
            ]
        );
    }

    #[test]
    fn a_shim_is_asked_once_and_then_left_aside() {
        let directory = tempfile::tempdir().unwrap();
        let real = resolve(Path::new("python3")).unwrap();
        let text = format!(
            "#!/bin/sh\necho >> {}/asked\nexec {} \"$@\"\n",
            directory.path().display(),
            real.executable().display()
        );
        let shim = script(directory.path(), "python3", &text);
        assert_eq!(resolve(&shim).unwrap(), real);
        assert_eq!(std::fs::read(directory.path().join("asked")).unwrap(), b"\n");
    }

    #[test]
    fn what_is_no_python_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("python9");
        let error = resolve(&missing).unwrap_err();
        assert!(
            matches!(error, InterpreterError::Missing { wanted } if wanted == missing.display().to_string())
        );
        let failing = script(
            directory.path(),
            "failing",
            "#!/bin/sh\necho 'no such version' >&2\nexit 127\n",
        );
        let error = resolve(&failing).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "the Python interpreter `{}` could not say what it is: exit status: 127: no such version",
                failing.display()
            )
        );
    }

    #[test]
    fn only_cpython_has_fork_servers() {
        let real = resolve(Path::new("python3")).unwrap();
        assert_eq!(real.start(StartMode::Fast), Start::Fork(0));
        assert_eq!(real.start(StartMode::Natural), Start::Fork(1));
        assert_eq!(real.start(StartMode::Fresh), Start::Execute(&real.run_argv));
        assert_eq!(
            [Holds::Program, Holds::Nothing],
            [0, 1].map(|place| real.servers()[place].holds)
        );
        let directory = tempfile::tempdir().unwrap();
        let text = "#!/bin/sh\ncase \"$2\" in\n*json*) echo '{\"implementation\": \"PyPy\", \"version\": \"3.10.14\", \
                    \"major\": 3, \"minor\": 10, \"executables\": [], \"prefixes\": [], \"modules\": [], \
                    \"packages\": [], \"mapped\": []}' ;;\n*) echo \"$0\" ;;\nesac\n";
        let other = resolve(&script(directory.path(), "pypy3", text)).unwrap();
        assert_eq!((other.servers(), other.server_files()), (&[][..], &[][..]));
        for mode in [StartMode::Fast, StartMode::Natural, StartMode::Fresh] {
            assert_eq!(other.start(mode), Start::Execute(&other.run_argv));
        }
    }

    #[test]
    fn interpreter_that_a_signal_ends_is_asked_again() {
        let directory = tempfile::tempdir().unwrap();
        let text = format!(
            "#!/bin/sh\nif [ ! -e {0}/asked ]; then touch {0}/asked; kill -9 $$; fi\nexec python3 \"$@\"\n",
            directory.path().display()
        );
        let interpreter = resolve(&script(directory.path(), "python3", &text)).unwrap();
        assert!(interpreter.name().contains(' '));
        let always = script(directory.path(), "always", "#!/bin/sh\nkill -9 $$\n");
        let error = resolve(&always).unwrap_err().to_string();
        assert!(error.contains("signal: 9"), "{error}");
    }

    #[test]
    fn an_old_python_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let old = script(
            directory.path(),
            "old",
            "#!/bin/sh\ncase \"$2\" in\n*json*) echo '{\"implementation\": \"CPython\", \"version\": \"3.6.15\", \
             \"major\": 3, \"minor\": 6, \"executables\": [], \"prefixes\": [], \"modules\": [], \"packages\": [], \"mapped\": []}' ;;\n\
             *) echo \"$0\" ;;\nesac\n",
        );
        let error = resolve(&old).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "`{}` is CPython 3.6.15: expected Python 3.8 or newer\nhint: name another one with `--python PATH`",
                old.display()
            )
        );
    }
}
