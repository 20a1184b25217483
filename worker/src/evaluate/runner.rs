//! A seat for one cage: makes the cage, keeps the program in it, and replaces it when it failed.
//!
//! Stands between `judge` and the sandbox. The traits are the seam at which tests put a cage that is none.
//! Does not try again: that is for `judge`, which must start its comparison anew.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use roundhouse_proto::{Digest, Isolation};
use roundhouse_sandbox::{Cage, CageConfig, CageError, Flow, Run, RunEnd};

use crate::isolation::Found;
use crate::language::{Interpreter, MAIN_FILE};

/// What a program may write to its own files.
pub(crate) const SCRATCH_BYTES_MAX: u64 = 64 << 20;
/// Files that a program may make.
const SCRATCH_FILES_MAX: u64 = 4096;

/// The machinery failed; says nothing about the program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct CageFailure(pub(crate) String);

impl From<io::Error> for CageFailure {
    fn from(error: io::Error) -> Self {
        Self(format!("the input could not be made ready: {error}"))
    }
}

/// Why there is no end of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoRun {
    /// The cage failed.
    Failed(CageFailure),
    /// The fork server cannot run the program, and says why; the cage is as good as before.
    NotServed(String),
    /// It ended, and the checker that was to decide about its output failed, and says why; the cage is as good as before.
    Unjudged(CageFailure),
}

impl From<CageFailure> for NoRun {
    fn from(failure: CageFailure) -> Self {
        Self::Failed(failure)
    }
}

/// A cage, seen by who judges.
pub(crate) trait Runner {
    /// How well it shuts programs in.
    fn found(&self) -> Found;
    /// Puts the program's text into it.
    fn load(&mut self, program: &[u8]) -> Result<(), CageFailure>;
    /// Puts one further file beside the program; it stays until the next load.
    fn add(&mut self, name: &str, text: &[u8]) -> Result<(), CageFailure>;
    /// Runs what was loaded.
    fn run(&mut self, run: &Run<'_>, stdout: &mut dyn FnMut(&[u8]) -> Flow) -> Result<RunEnd, NoRun>;
}

/// Where cages come from.
pub(crate) trait CageSource: Send + Sync {
    /// Makes one, pinned to a CPU if one is given.
    fn start(&self, cpu: Option<usize>) -> Result<Box<dyn Runner>, CageFailure>;
}

/// Cages of the sandbox.
#[derive(Debug)]
pub(crate) struct SandboxCages {
    /// The executable that a cage's init is entered from.
    pub(crate) entry: PathBuf,
    /// What runs in them.
    pub(crate) interpreter: Arc<Interpreter>,
}

impl CageSource for SandboxCages {
    fn start(&self, cpu: Option<usize>) -> Result<Box<dyn Runner>, CageFailure> {
        let config = CageConfig {
            entry: self.entry.clone(),
            runtime: self.interpreter.runtime().to_vec(),
            environment: self.interpreter.environment().to_vec(),
            scratch_bytes: SCRATCH_BYTES_MAX,
            scratch_inodes: SCRATCH_FILES_MAX,
            cpu,
            servers: self.interpreter.servers().to_vec(),
            server_files: self.interpreter.server_files().to_vec(),
        };
        let cage = Cage::start(&config).map_err(|error| CageFailure(chain(&error)))?;
        Ok(Box::new(cage))
    }
}

impl Runner for Cage {
    fn found(&self) -> Found {
        Found::of(self.containment())
    }

    fn load(&mut self, program: &[u8]) -> Result<(), CageFailure> {
        Cage::load(self, MAIN_FILE, program).map_err(|error| CageFailure(chain(&error)))
    }

    fn add(&mut self, name: &str, text: &[u8]) -> Result<(), CageFailure> {
        Cage::add(self, name, text).map_err(|error| CageFailure(chain(&error)))
    }

    fn run(&mut self, run: &Run<'_>, stdout: &mut dyn FnMut(&[u8]) -> Flow) -> Result<RunEnd, NoRun> {
        Cage::run(self, run, stdout).map_err(|error| match error {
            CageError::NotServed { reason } => NoRun::NotServed(reason),
            error => NoRun::Failed(CageFailure(chain(&error))),
        })
    }
}

/// An error and its sources in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(Some(error), |error| error.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A program's text and its digest, by which a seat knows whether it is in its cage already.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    /// Digest of the bytes.
    pub(crate) digest: Digest,
    /// The text itself.
    pub(crate) bytes: &'a [u8],
}

/// One cage's seat. Empty until the first run and after a failure.
pub(crate) struct Seat {
    source: Arc<dyn CageSource>,
    cpu: Option<usize>,
    cage: Option<Box<dyn Runner>>,
    found: Found,
    loaded: Option<Digest>,
}

impl Seat {
    /// Starts the first cage, so that one that cannot be made is found before there is work for it.
    pub(crate) fn start(source: Arc<dyn CageSource>, cpu: Option<usize>) -> Result<Self, CageFailure> {
        let cage = source.start(cpu)?;
        Ok(Self {
            source,
            cpu,
            found: cage.found(),
            cage: Some(cage),
            loaded: None,
        })
    }

    /// How well the first cage shuts programs in, and every later one at least.
    pub(crate) fn isolation(&self) -> Isolation {
        self.found.isolation
    }

    /// The same, and what holds them.
    pub(crate) fn found(&self) -> &Found {
        &self.found
    }

    /// Which CPU programs are pinned to from now on; a cage that is pinned otherwise is dropped.
    pub(crate) fn pin(&mut self, cpu: Option<usize>) {
        if self.cpu != cpu {
            self.cpu = cpu;
            self.clear();
        }
    }

    /// Runs `program` once, in a new cage if there is none. A cage that fails is dropped.
    pub(crate) fn run(
        &mut self,
        program: Text<'_>,
        run: &Run<'_>,
        stdout: &mut dyn FnMut(&[u8]) -> Flow,
    ) -> Result<RunEnd, NoRun> {
        let mut cage = self.take()?;
        if self.loaded.take() != Some(program.digest) {
            cage.load(program.bytes)?;
        }
        let end = cage.run(run, stdout);
        if let Ok(_) | Err(NoRun::NotServed(_)) = end {
            self.cage = Some(cage);
            self.loaded = Some(program.digest);
        }
        end
    }

    /// Runs a text that is no program to be judged once, with files beside it. Nothing of it is left for what runs next,
    /// which is loaded anew. A cage that fails is dropped.
    pub(crate) fn run_beside(
        &mut self,
        text: &[u8],
        files: &[(&str, &[u8])],
        run: &Run<'_>,
        stdout: &mut dyn FnMut(&[u8]) -> Flow,
    ) -> Result<RunEnd, NoRun> {
        let mut cage = self.take()?;
        self.loaded = None;
        cage.load(text)?;
        for (name, text) in files {
            cage.add(name, text)?;
        }
        let end = cage.run(run, stdout)?;
        self.cage = Some(cage);
        Ok(end)
    }

    /// The cage, out of its place while it runs: an early return leaves the seat empty.
    fn take(&mut self) -> Result<Box<dyn Runner>, CageFailure> {
        match self.cage.take() {
            Some(cage) => Ok(cage),
            None => self.replace(),
        }
    }

    /// Drops the cage, with whatever is in it.
    pub(crate) fn clear(&mut self) {
        self.cage = None;
        self.loaded = None;
    }

    fn replace(&mut self) -> Result<Box<dyn Runner>, CageFailure> {
        self.loaded = None;
        let cage = self.source.start(self.cpu)?;
        let found = cage.found().isolation;
        if found < self.isolation() {
            // Nobody agreed to programs being shut in less well than when this worker started.
            let expected = self.isolation();
            return Err(CageFailure(format!(
                "a new cage has isolation `{found}`, the first one had `{expected}`: refused"
            )));
        }
        Ok(cage)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Gives strong cages first, weak ones afterwards.
    #[derive(Default)]
    struct Weakening {
        is_weak: AtomicBool,
    }

    struct Weak(Isolation);

    impl CageSource for Weakening {
        fn start(&self, _cpu: Option<usize>) -> Result<Box<dyn Runner>, CageFailure> {
            let isolation = match self.is_weak.swap(true, Ordering::SeqCst) {
                false => Isolation::Partial,
                true => Isolation::None,
            };
            Ok(Box::new(Weak(isolation)))
        }
    }

    impl Runner for Weak {
        fn found(&self) -> Found {
            Found {
                isolation: self.0,
                containment: None,
            }
        }

        fn load(&mut self, _program: &[u8]) -> Result<(), CageFailure> {
            Err(CageFailure("nothing is ever loaded here".to_owned()))
        }

        fn add(&mut self, _name: &str, _text: &[u8]) -> Result<(), CageFailure> {
            Err(CageFailure("nothing is ever added here".to_owned()))
        }

        fn run(&mut self, _run: &Run<'_>, _stdout: &mut dyn FnMut(&[u8]) -> Flow) -> Result<RunEnd, NoRun> {
            Err(CageFailure("nothing ever runs here".to_owned()).into())
        }
    }

    #[test]
    fn cage_that_shuts_in_less_well_than_the_first_one_is_refused() {
        let mut seat = Seat::start(Arc::<Weakening>::default(), None).expect("the first cage is there");
        seat.clear();
        let refused = seat.replace().err().map(|failure| failure.to_string());
        let expected = "a new cage has isolation `none`, the first one had `partial`: refused";
        assert_eq!(refused.as_deref(), Some(expected));
        assert_eq!(seat.isolation(), Isolation::Partial);
    }
}
