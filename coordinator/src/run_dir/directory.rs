//! One open directory in which files appear whole or not at all.
//!
//! A file is written under a name of its own, synced, and renamed into place; then the directory is synced, once for
//! all files of a call. Everything is relative to the open directory, and no symbolic link below it is followed.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps, UTIME_NOW};
use rustix::io::Errno;

use super::{RunDirError, name};

/// Half-written files are called `.roundhouse-PID-N.tmp`.
const LEFTOVER_START: &str = ".roundhouse-";
const LEFTOVER_END: &str = ".tmp";

/// Levels of directories in a run directory: the run, its problems, their rounds.
const LEVELS: u32 = 3;

/// Most names that are tried for a half-written file.
const TEMPORARY_NAMES_MAX: u32 = 100;

/// An open directory.
#[derive(Debug)]
pub(super) struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

impl Directory {
    /// Opens one that is there.
    pub(super) fn open(path: &Path) -> Result<Self, RunDirError> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let failed = |errno: Errno| RunDirError::Open {
            path: path.to_owned(),
            source: errno.into(),
        };
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
        Ok(Self {
            fd,
            path: path.to_owned(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a directory in this one, made if it is not there. Making it is durable after [`Directory::sync`].
    pub(super) fn subdirectory(&self, name: &str) -> Result<Self, RunDirError> {
        name::check(name)?;
        let path = self.path.join(name);
        match rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => {
                return Err(RunDirError::Make {
                    path,
                    source: errno.into(),
                });
            }
        }
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Self { fd, path }),
            Err(errno) => Err(RunDirError::Open {
                path,
                source: errno.into(),
            }),
        }
    }

    /// Makes the files durable under their names; those that have their bytes already stay as they are.
    pub(super) fn write(&self, files: &[(String, Bytes)]) -> Result<(), RunDirError> {
        let mut written: Vec<(String, &str)> = Vec::new();
        let outcome = self.write_and_rename(files, &mut written);
        if outcome.is_err() {
            for (temporary, _) in &written {
                // Those that were renamed are gone; the others would be removed at the next start.
                rustix::fs::unlinkat(&self.fd, temporary, AtFlags::empty()).ok();
            }
        }
        outcome?;
        self.sync()
    }

    fn write_and_rename<'a>(
        &self,
        files: &'a [(String, Bytes)],
        written: &mut Vec<(String, &'a str)>,
    ) -> Result<(), RunDirError> {
        for (name, bytes) in files {
            name::check(name)?;
            if self.holds(name, bytes) {
                continue;
            }
            let failed = |source| RunDirError::Write {
                path: self.path.join(name),
                source,
            };
            let (temporary, mut file) = self.temporary().map_err(failed)?;
            written.push((temporary, name));
            file.write_all(bytes)
                .and_then(|()| file.sync_all())
                .map_err(failed)?;
        }
        for (temporary, name) in &*written {
            rustix::fs::renameat(&self.fd, temporary, &self.fd, *name).map_err(|errno| {
                RunDirError::Write {
                    path: self.path.join(name),
                    source: errno.into(),
                }
            })?;
        }
        Ok(())
    }

    /// Whether the file is there with exactly these bytes. What cannot be read is written again.
    fn holds(&self, name: &str, bytes: &[u8]) -> bool {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let Ok(fd) = rustix::fs::openat(&self.fd, name, flags, Mode::empty()) else {
            return false;
        };
        let mut file = File::from(fd);
        let same_length = file
            .metadata()
            .is_ok_and(|found| found.is_file() && found.len() == bytes.len() as u64);
        if !same_length {
            return false;
        }
        let mut found = Vec::with_capacity(bytes.len());
        // One byte more than expected, should it be growing.
        let read = Read::by_ref(&mut file)
            .take(bytes.len() as u64 + 1)
            .read_to_end(&mut found);
        read.is_ok() && found == bytes
    }

    fn temporary(&self) -> io::Result<(String, File)> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        for _ in 0..TEMPORARY_NAMES_MAX {
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("{LEFTOVER_START}{}-{n}{LEFTOVER_END}", process::id());
            match rustix::fs::openat(&self.fd, &name, flags, Mode::from_raw_mode(0o666)) {
                Ok(fd) => return Ok((name, fd.into())),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(io::Error::from(io::ErrorKind::AlreadyExists))
    }

    /// Makes the names in this directory durable, where its file system can.
    pub(super) fn sync(&self) -> Result<(), RunDirError> {
        match rustix::fs::fsync(&self.fd) {
            // Some network file systems have no sync for directories.
            Ok(()) | Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
            Err(errno) => Err(RunDirError::Write {
                path: self.path.clone(),
                source: errno.into(),
            }),
        }
    }

    pub(super) fn touch(&self) -> Result<(), RunDirError> {
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        };
        let times = Timestamps {
            last_access: now,
            last_modification: now,
        };
        rustix::fs::futimens(&self.fd, &times).map_err(|errno| RunDirError::Write {
            path: self.path.clone(),
            source: errno.into(),
        })
    }

    /// Removes half-written files, here and in the directories of problems and rounds.
    pub(super) fn remove_leftovers(&self) -> Result<(), RunDirError> {
        remove_leftovers(&self.path, LEVELS).map_err(|source| RunDirError::Open {
            path: self.path.clone(),
            source,
        })
    }
}

fn remove_leftovers(path: &Path, levels: u32) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        // The kind of the entry itself: a link to a directory is none.
        let kind = entry.file_type()?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if kind.is_file() && name.starts_with(LEFTOVER_START) && name.ends_with(LEFTOVER_END) {
            fs::remove_file(entry.path())?;
        } else if kind.is_dir() && levels > 1 && !name.starts_with('.') {
            remove_leftovers(&entry.path(), levels - 1)?;
        }
    }
    Ok(())
}
