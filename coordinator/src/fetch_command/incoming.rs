//! Files on their way in: each path is checked before it is used, and everything lies under a hidden name.
//!
//! Nothing from the wire leads out of the directory that is filled, follows a link, hides, or fills the disk beyond a
//! bound.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use roundhouse_proto::wire::{CHUNK_MAX_BYTES, v1};
use uuid::Uuid;

use crate::run_dir::{name, remove_unfinished};

/// How the hidden directory's name begins.
const HIDDEN_PREFIX: &str = ".fetching-";
/// Most files of one run.
const FILES_MAX: u64 = 2_000_000;
/// Most parts of a path: a problem, a sample, a round, a file, with room for more.
const PARTS_MAX: usize = 8;
/// Bytes of a path.
const PATH_BYTES_MAX: usize = 1_024;

/// Why something that came is not taken in.
#[derive(Debug, thiserror::Error)]
pub enum IncomingError {
    /// A path that could lead elsewhere, or hide.
    #[error("the coordinator sent a file that may not be written: `{path}`")]
    Path {
        /// The path, with what steers a terminal escaped.
        path: String,
    },
    /// Pieces that do not make up a file.
    #[error("the coordinator sent a piece of `{path}` that does not fit the one before")]
    OutOfPlace {
        /// The path, likewise.
        path: String,
    },
    /// It ends before the last file does.
    #[error("the transfer ended too early")]
    Cut,
    /// There is no such file.
    #[error("the run has no `{path}`")]
    Missing {
        /// Which.
        path: &'static str,
    },
    /// More than was allowed.
    #[error("the run has more than {bytes_max} bytes\nhint: `--bytes-max` allows more")]
    TooMuch {
        /// What was allowed.
        bytes_max: u64,
    },
    /// More files than any run has.
    #[error("the run has more than {FILES_MAX} files")]
    TooMany,
    /// A file or directory cannot be written.
    #[error("write `{}`", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl IncomingError {
    /// Whether the same transfer may go well another time.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Cut => true,
            Self::Path { .. }
            | Self::OutOfPlace { .. }
            | Self::Missing { .. }
            | Self::TooMuch { .. }
            | Self::TooMany
            | Self::Write { .. } => false,
        }
    }
}

/// A run directory that is arriving. Dropped before it has its place, it is removed.
#[derive(Debug)]
pub struct Incoming {
    dir: PathBuf,
    open: Option<Open>,
    files: u64,
    bytes: u64,
    bytes_max: u64,
}

/// The file whose pieces are coming.
#[derive(Debug)]
struct Open {
    path: String,
    file: File,
    length: u64,
    total: u64,
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Gone if it has its place by now; what cannot be removed is hidden, and the next fetch tries again.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Incoming {
    /// Makes the hidden directory in `output_dir`, whose parents are made too.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn begin(output_dir: &Path, bytes_max: u64) -> Result<Self, IncomingError> {
        let dir = output_dir.join(format!("{HIDDEN_PREFIX}{}", Uuid::new_v4()));
        let make = |path: &Path| {
            fs::create_dir_all(path).map_err(|source| IncomingError::Write {
                path: path.to_owned(),
                source,
            })
        };
        make(output_dir)?;
        remove_unfinished(output_dir, HIDDEN_PREFIX);
        make(&dir)?;
        Ok(Self {
            dir,
            open: None,
            files: 0,
            bytes: 0,
            bytes_max,
        })
    }

    /// Where the files are.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// How many there are.
    pub fn files(&self) -> u64 {
        self.files
    }

    /// How long they are together.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes the next piece in.
    ///
    /// # Errors
    /// It is refused, or cannot be written.
    pub fn take_in(&mut self, chunk: &v1::FileChunk) -> Result<(), IncomingError> {
        let out_of_place = || IncomingError::OutOfPlace {
            path: chunk.path.escape_debug().to_string(),
        };
        let data = chunk.data.len() as u64;
        if chunk.data.len() > CHUNK_MAX_BYTES {
            return Err(out_of_place());
        }
        let mut open = match self.open.take() {
            Some(open) if open.path == chunk.path => open,
            Some(open) if open.length < open.total => return Err(IncomingError::Cut),
            Some(_) | None => self.make(chunk)?,
        };
        // A second piece of a file that is whole, or an empty one that goes nowhere.
        let is_stuck = data == 0 && open.total > 0;
        if chunk.offset != open.length
            || chunk.total_bytes != open.total
            || data > open.total - open.length
            || is_stuck
        {
            return Err(out_of_place());
        }
        open.file
            .write_all(&chunk.data)
            .map_err(|source| IncomingError::Write {
                path: self.dir.join(&chunk.path),
                source,
            })?;
        open.length += data;
        self.bytes += data;
        self.open = Some(open);
        Ok(())
    }

    /// Says that nothing more comes, and makes durable what came.
    ///
    /// # Errors
    /// The last file is not whole, or the disk refuses.
    pub fn finish(&mut self) -> Result<(), IncomingError> {
        if self.open.take().is_some_and(|open| open.length < open.total) {
            return Err(IncomingError::Cut);
        }
        // One sync for all files: they are many and small.
        let synced = File::open(&self.dir).and_then(|dir| rustix::fs::syncfs(dir).map_err(io::Error::from));
        synced.map_err(|source| IncomingError::Write {
            path: self.dir.clone(),
            source,
        })
    }

    fn make(&mut self, chunk: &v1::FileChunk) -> Result<Open, IncomingError> {
        let place = self.dir.join(checked(&chunk.path)?);
        if self.files == FILES_MAX {
            return Err(IncomingError::TooMany);
        }
        if chunk.total_bytes > self.bytes_max.saturating_sub(self.bytes) {
            let bytes_max = self.bytes_max;
            return Err(IncomingError::TooMuch { bytes_max });
        }
        let failed = |source| IncomingError::Write {
            path: place.clone(),
            source,
        };
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        // New, so that the same path twice is refused.
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&place)
            .map_err(failed)?;
        self.files += 1;
        Ok(Open {
            path: chunk.path.clone(),
            file,
            length: 0,
            total: chunk.total_bytes,
        })
    }
}

/// The path, if it leads to a plain file below the directory it is taken from.
fn checked(path: &str) -> Result<&Path, IncomingError> {
    let is_fine = path.len() <= PATH_BYTES_MAX
        && path.split('/').count() <= PARTS_MAX
        && path.split('/').all(|part| name::check(part).is_ok());
    if is_fine {
        return Ok(Path::new(path));
    }
    let shown: String = path.escape_debug().take(PATH_BYTES_MAX).collect();
    Err(IncomingError::Path { path: shown })
}
