//! What the tests of the real programs share: the programs themselves, built once, and a place to run them in.
#![expect(
    clippy::print_stderr,
    reason = "what was left out is said where whoever runs the tests sees it"
)]

pub mod came_to;
pub mod chance;
pub mod fleet;
pub mod fuzz;
pub mod mask;
pub mod model_server;
pub mod processes;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The longest that a test waits for anything.
pub const WAIT_MAX: Duration = Duration::from_secs(120);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The `coordinator` program.
pub fn coordinator() -> PathBuf {
    programs().join("coordinator")
}

/// The `worker` program.
pub fn worker() -> PathBuf {
    programs().join("worker")
}

/// The directory of the programs, which are built once per test process; cargo keeps the rest from doing it again.
fn programs() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let release = if cfg!(debug_assertions) {
            None
        } else {
            Some("--release")
        };
        let status = Command::new(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "--locked",
                "--package",
                "roundhouse-coordinator",
            ])
            .args(["--package", "roundhouse-worker", "--bins"])
            .args(release)
            .current_dir(workspace())
            .stdin(Stdio::null())
            .status()
            .expect("cargo, which runs this test, can be started");
        assert!(status.success(), "the programs do not build");
        // target/PROFILE/deps/TEST-HASH
        let test = std::env::current_exe().expect("a test knows its own file");
        let profile = test
            .ancestors()
            .nth(2)
            .expect("a test lies in target/PROFILE/deps");
        profile.to_owned()
    })
}

/// The root of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this crate lies in the workspace")
}

/// The directory with real problems, named by `ROUNDHOUSE_SHARED`; without it, says loudly what is left out.
pub fn shared(test: &str) -> Option<PathBuf> {
    match std::env::var_os("ROUNDHOUSE_SHARED") {
        Some(path) => Some(PathBuf::from(path)),
        None => {
            eprintln!("LEFT OUT: {test}: ROUNDHOUSE_SHARED names no directory with real problems");
            None
        }
    }
}

/// A directory of a test's own, in which programs are run as a user would.
pub struct Place {
    dir: TempDir,
}

/// What a program printed and how it ended.
#[derive(Debug)]
pub struct Ran {
    /// Exit status; none if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Place {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            dir: tempfile::Builder::new()
                .prefix("roundhouse-test-")
                .tempdir()
                .expect("a temporary directory"),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A command that runs here, without settings of whoever runs the tests.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let is_of_a_model = text.ends_with("_API_KEY") || text.ends_with("_BASE_URL");
            if text.starts_with("ROUNDHOUSE_") || is_of_a_model {
                command.env_remove(name);
            }
        }
        command
    }

    /// Runs the coordinator to its end.
    pub fn coordinator(&self, args: &[&str]) -> Ran {
        Ran::of(
            self.command(&coordinator())
                .args(args)
                .output()
                .expect("the coordinator starts"),
        )
    }

    /// Runs the worker to its end.
    pub fn worker(&self, args: &[&str]) -> Ran {
        Ran::of(
            self.command(&worker())
                .args(args)
                .output()
                .expect("the worker starts"),
        )
    }

    /// The names of what is here, in order.
    pub fn entries(&self) -> Vec<String> {
        entries(self.path())
    }

    /// The only run directory under `baseline_outputs`.
    pub fn run_dir(&self) -> PathBuf {
        let outputs = self.path().join("baseline_outputs");
        let runs = runs(&outputs);
        assert_eq!(runs.len(), 1, "expected one run directory, found {runs:?}");
        outputs.join(&runs[0])
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("what the programs print is UTF-8");
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

/// The names of a directory's entries, in order.
pub fn entries(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .map(|entries| {
            entries
                .map(|entry| {
                    entry
                        .expect("readable")
                        .file_name()
                        .to_string_lossy()
                        .into_owned()
                })
                .collect()
        })
        .unwrap_or_default();
    names.sort();
    names
}

/// The names of the runs in an output directory, in order; one that is being made has no name yet.
pub fn runs(outputs: &Path) -> Vec<String> {
    entries(outputs)
        .into_iter()
        .filter(|name| name.starts_with("run_"))
        .collect()
}

/// Reads a JSON file.
pub fn json(path: &Path) -> serde_json::Value {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("parse {}: {error}", path.display()))
}

/// Waits until something holds; panics with `what` when it takes too long.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(
            begun.elapsed() < WAIT_MAX,
            "waited {WAIT_MAX:?} in vain until {what}"
        );
        std::thread::park_timeout(LOOK_EVERY);
    }
}
