//! What runs the programs of a language: the interpreter, found once, and what it needs inside a cage.
//!
//! Stands before the cages: gives them argument vectors, read-only paths and an environment. Runs no program of
//! anybody but the interpreter's own question about itself.

mod python;

use std::path::{Path, PathBuf};

use roundhouse_proto::{Language, StartMode};
use roundhouse_sandbox::{ForkServer, Start};

pub(crate) use python::servers::{FAST as FAST_SERVER, NATURAL as NATURAL_SERVER};
pub use python::start_of;

/// The file that a program's text is loaded into; the same for all, so that no name shadows a module.
pub(crate) const MAIN_FILE: &str = "main.py";

/// An interpreter that was asked what it is, and answered under the environment that programs get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    name: String,
    executable: PathBuf,
    runtime: Vec<PathBuf>,
    environment: Vec<(String, String)>,
    servers: Vec<ForkServer>,
    server_files: Vec<(String, Vec<u8>)>,
    run_argv: Vec<String>,
    compile_argv: Vec<String>,
}

/// Why there is no interpreter.
#[derive(Debug, thiserror::Error)]
pub enum InterpreterError {
    /// None was found.
    #[error(
        "no Python interpreter: `{wanted}` is not there or not on PATH\n\
         hint: install Python 3.8 or newer, or name one with `--python PATH`"
    )]
    Missing {
        /// What was looked for.
        wanted: String,
    },
    /// It could not be started.
    #[error("start the Python interpreter `{path}`")]
    Start {
        /// Which one.
        path: String,
        /// What the host said.
        #[source]
        source: std::io::Error,
    },
    /// It did not answer in time.
    #[error("the Python interpreter `{path}` did not answer within {seconds} s")]
    Silent {
        /// Which one.
        path: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// It ended with an error, or its answer makes no sense.
    #[error("the Python interpreter `{path}` could not say what it is: {answer}")]
    Unusable {
        /// Which one.
        path: String,
        /// What it wrote instead.
        answer: String,
    },
    /// It is too old.
    #[error("`{path}` is {name}: expected Python 3.8 or newer\nhint: name another one with `--python PATH`")]
    TooOld {
        /// Which one.
        path: String,
        /// Name and version, as it says.
        name: String,
    },
}

impl Interpreter {
    /// Finds the interpreter of a language: `wanted`, a path or a command on PATH, or else `python3` on PATH.
    /// Starts it twice. A version manager's shim is asked once for the real executable, which is then used.
    ///
    /// # Errors
    /// See [`InterpreterError`].
    pub fn resolve(language: Language, wanted: Option<&Path>) -> Result<Self, InterpreterError> {
        match language {
            Language::Python3 => python::resolve(wanted.unwrap_or(Path::new("python3"))),
        }
    }

    /// Name and full version, such as `CPython 3.11.7`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The executable itself, never a shim.
    pub fn executable(&self) -> &Path {
        &self.executable
    }

    /// Directories and files that it reads, none inside another; all of them exist, some may be symbolic links.
    pub fn runtime(&self) -> &[PathBuf] {
        &self.runtime
    }

    /// The whole environment of a program. `PYTHONHASHSEED` is fixed, so that a verdict can be had again.
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// Its fork servers, for a cage; none if runs of it can only be executed.
    pub fn servers(&self) -> &[ForkServer] {
        &self.servers
    }

    /// The files that [`Self::servers`] are made of.
    pub fn server_files(&self) -> &[(String, Vec<u8>)] {
        &self.server_files
    }

    /// How a run of the loaded program comes into being in a cage that has [`Self::servers`]; executed where there is
    /// no server for `mode`.
    pub fn start(&self, mode: StartMode) -> Start<'_> {
        let place = match mode {
            StartMode::Fast => python::servers::FAST,
            StartMode::Natural => python::servers::NATURAL,
            StartMode::Fresh => return Start::Execute(&self.run_argv),
        };
        match self.servers.get(place) {
            Some(_) => Start::Fork(place),
            None => Start::Execute(&self.run_argv),
        }
    }

    /// Runs the loaded program.
    pub(crate) fn run_argv(&self) -> &[String] {
        &self.run_argv
    }

    /// Compiles the loaded program and does not run it; ends with a status other than 0 if it does not compile.
    pub(crate) fn compile_argv(&self) -> &[String] {
        &self.compile_argv
    }
}

#[cfg(test)]
impl Interpreter {
    /// One that is not there, for cages that are none.
    pub(crate) fn pretended() -> Self {
        Self {
            name: "CPython 3.0.0".to_owned(),
            executable: PathBuf::from("/python"),
            runtime: Vec::new(),
            environment: Vec::new(),
            servers: Vec::new(),
            server_files: Vec::new(),
            run_argv: vec!["/python".to_owned(), MAIN_FILE.to_owned()],
            compile_argv: vec!["/python".to_owned(), "-c".to_owned()],
        }
    }
}
