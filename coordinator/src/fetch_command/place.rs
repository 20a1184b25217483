//! Where a fetched run directory goes: its own name if that is free, the directory of an earlier fetch of the same
//! run, or the next name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use roundhouse_proto::RunId;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde::Deserialize;

use super::incoming::Incoming;
use crate::report::summary::SUMMARY_FILE;
use crate::run_dir::RunDirError;

/// Says in a fetched directory which run it is of.
const MARKER: &str = ".fetched";
/// Bytes of a marker that are read.
const MARKER_BYTES_MAX: u64 = 64;
/// Most names that are tried.
const NAMES_MAX: u32 = 1_000;

/// What became of a fetched directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It was not here before.
    New,
    /// An earlier fetch was brought up to date.
    Updated,
    /// The coordinator writes to the very directory, which is left alone.
    Own,
}

/// What lies under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum There {
    Nothing,
    /// An earlier fetch of this run.
    Fetched,
    /// This run's directory, not fetched.
    Own,
    Another,
}

/// Gives what came its place in `output_dir`; where that is.
///
/// # Errors
/// It cannot be put there, or every name is taken.
pub fn place(
    incoming: &Incoming,
    output_dir: &Path,
    name: &str,
    run: RunId,
) -> Result<(PathBuf, Placed), RunDirError> {
    let marker = incoming.path().join(MARKER);
    fs::write(&marker, format!("{run}\n")).map_err(|source| write_error(&marker, source))?;
    let first = output_dir.join(name);
    for n in 1..=NAMES_MAX {
        let path = match n {
            1 => first.clone(),
            n => output_dir.join(format!("{name}_{n}")),
        };
        let placed = match there(&path, run) {
            There::Another => continue,
            There::Own => Placed::Own,
            There::Fetched => {
                merge(incoming.path(), &path)?;
                Placed::Updated
            }
            There::Nothing => match renameat_with(CWD, incoming.path(), CWD, &path, RenameFlags::NOREPLACE) {
                Ok(()) => Placed::New,
                // Another fetch was quicker.
                Err(Errno::EXIST) => continue,
                Err(errno) => return Err(write_error(&path, errno.into())),
            },
        };
        sync(output_dir)?;
        return Ok((path, placed));
    }
    Err(RunDirError::Taken { path: first })
}

fn there(path: &Path, run: RunId) -> There {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return There::Nothing,
        Ok(found) if found.is_dir() => {}
        Ok(_) | Err(_) => return There::Another,
    }
    let marker = path.join(MARKER);
    if let Ok(found) = fs::metadata(&marker)
        && found.is_file()
        && found.len() <= MARKER_BYTES_MAX
    {
        let is_same = fs::read_to_string(&marker).is_ok_and(|text| text.trim_end() == run.to_string());
        return if is_same { There::Fetched } else { There::Another };
    }
    #[derive(Deserialize)]
    struct Summary {
        summary: Head,
    }
    #[derive(Deserialize)]
    struct Head {
        run_id: RunId,
    }
    let summary = fs::read(path.join(SUMMARY_FILE)).unwrap_or_default();
    match serde_json::from_slice::<Summary>(&summary) {
        Ok(found) if found.summary.run_id == run => There::Own,
        Ok(_) | Err(_) => There::Another,
    }
}

/// Moves every file to its place in a directory that is there; each is replaced at once, those of problems before the
/// run's own, the summary last.
fn merge(from: &Path, to: &Path) -> Result<(), RunDirError> {
    let failed = |source| write_error(to, source);
    let mut directories = Vec::new();
    let mut files = Vec::new();
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            directories.push(entry.file_name());
        } else {
            files.push(entry.file_name());
        }
    }
    directories.sort();
    files.sort();
    for name in directories {
        let below = to.join(&name);
        match fs::symlink_metadata(&below) {
            Ok(found) if found.is_dir() => {}
            // A file or a link that is in the way stays; it is named.
            Ok(_) => return Err(write_error(&below, io::ErrorKind::NotADirectory.into())),
            Err(_) => fs::create_dir(&below).map_err(|source| write_error(&below, source))?,
        }
        merge(&from.join(&name), &below)?;
    }
    for name in files {
        let place = to.join(&name);
        fs::rename(from.join(&name), &place).map_err(|source| write_error(&place, source))?;
    }
    sync(to)
}

fn sync(path: &Path) -> Result<(), RunDirError> {
    let dir = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    match fs::File::open(dir).map(rustix::fs::fsync) {
        // Some network file systems have no sync for directories.
        Ok(Ok(()) | Err(Errno::INVAL | Errno::NOTSUP)) => Ok(()),
        Ok(Err(errno)) => Err(write_error(path, errno.into())),
        Err(source) => Err(write_error(path, source)),
    }
}

fn write_error(path: &Path, source: io::Error) -> RunDirError {
    RunDirError::Write {
        path: path.to_owned(),
        source,
    }
}
