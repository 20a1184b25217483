//! The directory of one run: makes it, and writes each of its files whole or not at all.
//!
//! What the files say is made by [`crate::report`]; this decides where they go. The directory is only ever written,
//! from the store's records: nothing is read back but to leave a file alone that has its bytes already, so writing
//! again after a crash is cheap and changes nothing.

mod directory;
pub mod name;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use roundhouse_core::clock::Stamp;
use roundhouse_core::run::{ProblemSpec, RunSpec};
use roundhouse_core::summary::{ProblemSummary, RunSummary};
use roundhouse_proto::{Language, SessionEvent, SessionSettings};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::report::checkpoint::{CHECKPOINT_FILE, checkpoint};
use crate::report::readable::{REPORT_FILE, report_of_bytes};
use crate::report::session::{STATEMENT_FILE, round_files, session_files};
use crate::report::summary::{SUMMARY_FILE, collect};
use crate::report::{self, BlobReader, Price, ReportError, Setting, moment};
use directory::Directory;

/// Name of the copy of summary.json in the working directory.
pub const RESULTS_FILE: &str = "baseline_results.json";

/// Most names that are tried for a run directory: so many runs can start in one second.
const NAMES_MAX: u32 = 1_000;

/// How the name of a directory begins that is to become a run's.
const UNFINISHED_PREFIX: &str = ".starting-";

/// Age after which a directory that never became a run's belongs to a process that was killed.
const UNFINISHED_AGE_MAX: Duration = Duration::from_secs(60 * 60);

/// Why a run directory could not be made or written.
#[derive(Debug, thiserror::Error)]
pub enum RunDirError {
    /// A directory cannot be made.
    #[error("make the directory `{}`", path.display())]
    Make {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Every name for it is taken.
    #[error("make a run directory: `{}` and its {NAMES_MAX} next names are taken", path.display())]
    Taken {
        /// The first name.
        path: PathBuf,
    },
    /// A directory cannot be opened.
    #[error("open the directory `{}`", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("write `{}`", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A name that could lead out of the directory or hide in it.
    #[error("`{name}` is no name for a file or a directory of a run")]
    Name {
        /// The name.
        name: String,
    },
    /// What was to be written could not be made.
    #[error(transparent)]
    Report(#[from] ReportError),
}

/// The directory of one run.
#[derive(Debug)]
pub struct RunDir {
    directory: Directory,
}

impl RunDir {
    /// Makes `OUTPUT_DIR/run_YYYYmmdd_HHMMSS` from the local time of the start, its parents too; with `_2`, `_3` …
    /// when that is taken. Two runs never share one.
    ///
    /// `fill` puts what a run cannot go on without into a directory that has the name only afterwards: whatever is
    /// named like a run can be resumed, also when this process is killed at any instruction.
    ///
    /// # Errors
    /// A directory cannot be made, too many names are taken, or `fill` fails; what was made is removed again.
    pub fn create<T, E: From<RunDirError>>(
        output_dir: &Path,
        started: Stamp,
        fill: impl FnOnce(&Path) -> Result<T, E>,
    ) -> Result<(Self, T), E> {
        let output_is_new = !output_dir.exists();
        let make = |path: &Path, source| RunDirError::Make {
            path: path.to_owned(),
            source,
        };
        fs::create_dir_all(output_dir).map_err(|source| make(output_dir, source))?;
        remove_unfinished(output_dir, UNFINISHED_PREFIX);
        let unnamed = output_dir.join(format!("{UNFINISHED_PREFIX}{}", uuid::Uuid::new_v4()));
        fs::create_dir(&unnamed).map_err(|source| make(&unnamed, source))?;
        let named = fill(&unnamed).and_then(|filled| {
            Directory::open(&unnamed)?.sync()?;
            Ok((give_name(&unnamed, output_dir, started)?, filled))
        });
        match named {
            Ok((path, filled)) => Ok((
                Self {
                    directory: Directory::open(&path)?,
                },
                filled,
            )),
            Err(error) => {
                // The error that is told is the first one; an output directory that holds other runs stays.
                let _ = fs::remove_dir_all(&unnamed);
                if output_is_new {
                    let _ = fs::remove_dir(output_dir);
                }
                Err(error)
            }
        }
    }

    /// Opens a run directory that is there. Another process may be writing to it.
    ///
    /// # Errors
    /// There is no such directory.
    pub fn open(path: &Path) -> Result<Self, RunDirError> {
        Ok(Self {
            directory: Directory::open(path)?,
        })
    }

    /// Removes what a crash left of half-written files. Only for the process that has the run's state, since another
    /// one's files would be half-written too.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn remove_leftovers(&self) -> Result<(), RunDirError> {
        self.directory.remove_leftovers()
    }

    /// Where it is, as the user named it.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// As text, for lines and for `problem_dir`.
    pub fn shown(&self) -> String {
        self.path().display().to_string()
    }

    /// Writes the statements of all problems.
    ///
    /// # Errors
    /// A blob cannot be read, or a file cannot be written.
    pub fn write_statements(&self, spec: &RunSpec, blobs: &dyn BlobReader) -> Result<(), RunDirError> {
        for problem in &spec.problems {
            let statement = report::blob(&problem.statement, &problem.name, "statement", blobs)?;
            self.directory
                .subdirectory(&problem.name)?
                .write(&[(STATEMENT_FILE.to_owned(), statement)])?;
        }
        self.directory.sync()
    }

    /// Writes the directory of one round; nothing while `events` do not hold its end.
    ///
    /// # Errors
    /// A blob cannot be read, or a file cannot be written.
    pub fn write_round(
        &self,
        language: Language,
        problem: &ProblemSpec,
        events: &[SessionEvent],
        round: u32,
        blobs: &dyn BlobReader,
    ) -> Result<(), RunDirError> {
        let Some(files) = round_files(language, &problem.name, events, round, blobs)? else {
            return Ok(());
        };
        let of_problem = self.directory.subdirectory(&problem.name)?;
        of_problem
            .subdirectory(&format!("round_{round}"))?
            .write(&files)?;
        of_problem.sync()?;
        self.directory.sync()
    }

    /// Writes what a problem's session came to: history, transcript, final program.
    ///
    /// # Errors
    /// A blob cannot be read, or a file cannot be written.
    pub fn write_session(
        &self,
        settings: &SessionSettings,
        problem: &ProblemSpec,
        summary: &ProblemSummary,
        blobs: &dyn BlobReader,
    ) -> Result<(), RunDirError> {
        let files = session_files(settings, &problem.name, summary, blobs)?;
        self.directory.subdirectory(&problem.name)?.write(&files)?;
        self.directory.sync()
    }

    /// Writes the reports of the whole run, and the copy of summary.json into `working_dir` if there is one; then
    /// touches the directory, so that `ls -lt` shows it first. Gives the bytes of summary.json.
    ///
    /// # Errors
    /// A blob cannot be read, or a file cannot be written. The reports are written before the copy is tried.
    pub fn write_reports(
        &self,
        run: &RunSummary,
        price: Price,
        blobs: &dyn BlobReader,
        working_dir: Option<&Path>,
    ) -> Result<Bytes, RunDirError> {
        let setting = Setting {
            run_dir: self.shown(),
            price,
        };
        let collected = collect(run, &setting, blobs)?;
        let summary = collected.to_bytes()?;
        let readable = report_of_bytes(&summary)?;
        self.directory.write(&[
            (CHECKPOINT_FILE.to_owned(), checkpoint(&collected)?),
            (REPORT_FILE.to_owned(), readable.into()),
            (SUMMARY_FILE.to_owned(), summary.clone()),
        ])?;
        self.touch()?;
        if let Some(working_dir) = working_dir {
            write_results(working_dir, &summary)?;
        }
        Ok(summary)
    }

    /// Writes REPORT.txt as it follows from the bytes of a summary.json; gives its text.
    ///
    /// # Errors
    /// The bytes are no summary, or the file cannot be written.
    pub fn write_report(&self, summary: &[u8]) -> Result<String, RunDirError> {
        let readable = report_of_bytes(summary)?;
        self.directory
            .write(&[(REPORT_FILE.to_owned(), readable.clone().into())])?;
        Ok(readable)
    }

    /// Sets the directory's modification time to now.
    ///
    /// # Errors
    /// The system refuses.
    pub fn touch(&self) -> Result<(), RunDirError> {
        self.directory.touch()
    }
}

/// Writes the copy of summary.json that a working directory gets.
///
/// # Errors
/// The file cannot be written.
pub fn write_results(working_dir: &Path, summary: &Bytes) -> Result<(), RunDirError> {
    Directory::open(working_dir)?.write(&[(RESULTS_FILE.to_owned(), summary.clone())])
}

/// Renames a directory to the first name that is free.
fn give_name(unnamed: &Path, output_dir: &Path, started: Stamp) -> Result<PathBuf, RunDirError> {
    let first = output_dir.join(format!("run_{}", moment::for_a_name(started)));
    for n in 1..=NAMES_MAX {
        let path = match n {
            1 => first.clone(),
            n => output_dir.join(format!("run_{}_{n}", moment::for_a_name(started))),
        };
        match renameat_with(CWD, unnamed, CWD, &path, RenameFlags::NOREPLACE) {
            Ok(()) => {
                let parent = if output_dir.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    output_dir
                };
                Directory::open(parent)?.sync()?;
                return Ok(path);
            }
            Err(Errno::EXIST) => {}
            Err(error) => {
                return Err(RunDirError::Make {
                    path,
                    source: error.into(),
                });
            }
        }
    }
    Err(RunDirError::Taken { path: first })
}

/// Removes directories that killed processes left under a hidden name before they had their own. What cannot be removed harms nobody.
pub(crate) fn remove_unfinished(output_dir: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(output_dir) else {
        return;
    };
    for entry in entries.flatten() {
        let is_unfinished = entry.file_name().to_string_lossy().starts_with(prefix);
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let is_old = modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > UNFINISHED_AGE_MAX));
        if is_unfinished && is_old {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests;
