//! The scratch: the only place a program may write, and the loaded files in it.
//!
//! One tmpfs with a bound on bytes and entries; the work directory and `/tmp` are two of its directories. A test may
//! leave nothing to the next: after every run the init compares marks (free space, free entries, the directories'
//! and the loaded files' own data) and, when anything differs, empties it and restores those files from copies that
//! no path inside leads to.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{
    AtFlags, Mode, OFlags, RawDir, RenameFlags, SeekFrom, fchmod, fstat, fstatvfs, openat, renameat_with,
    seek, statat, unlinkat,
};
use rustix::io::Errno;

use super::tree::ScratchDirectories;

/// The work directory and `/tmp`: everybody may create, only the owner may remove.
const OPEN_TO_ALL: u32 = 0o1777;
/// The program and the files beside it: read and executed, never written.
const LOADED_FILE: u32 = 0o555;
/// Longest name of a loaded file.
pub(crate) const NAME_BYTES_MAX: usize = 128;
/// Most files beside the program.
const ADDED_MAX: usize = 16;
/// Most passes over one directory while emptying it; each pass removes all that it sees.
const PASSES_MAX: u32 = 1_000_000;

/// The scratch of one cage.
pub(super) struct Scratch {
    directories: ScratchDirectories,
    /// The program and what was put beside it.
    loaded: Vec<CString>,
    mark: Option<Mark>,
    /// Removed with everything in it when the cage ends; a tmpfs needs no removal.
    on_host: Option<PathBuf>,
}

/// What stays equal while nobody writes.
#[derive(Debug, PartialEq, Eq)]
struct Mark {
    free_blocks: u64,
    free_entries: u64,
    work: FileMark,
    temporary: FileMark,
    /// As many as files are loaded; `None` for one that is gone.
    loaded: Vec<Option<FileMark>>,
}

/// What a change to a file or a directory changes. The change time cannot be set from user space.
#[derive(Debug, PartialEq, Eq)]
struct FileMark {
    inode: u64,
    mode: u32,
    size: i64,
    changed: (i64, u64),
}

impl Scratch {
    /// Opens the directories for programs. On the host (no tmpfs) `on_host` is what to remove in the end.
    pub(super) fn new(directories: ScratchDirectories, on_host: Option<PathBuf>) -> io::Result<Self> {
        let scratch = Self {
            directories,
            loaded: Vec::new(),
            mark: None,
            on_host,
        };
        scratch.open_directories()?;
        Ok(scratch)
    }

    /// Where a program starts.
    pub(super) fn work(&self) -> BorrowedFd<'_> {
        self.directories.work.as_fd()
    }

    /// Its directories, to be given to whom they belong.
    pub(super) fn directories(&self) -> &ScratchDirectories {
        &self.directories
    }

    /// Empties everything and puts a program's file into the work directory.
    pub(super) fn load(&mut self, name: &[u8], text: OwnedFd) -> io::Result<()> {
        let name = plain(name)?;
        self.loaded.clear();
        self.empty_all(&[])?;
        empty(&self.directories.kept, &[])?;
        self.put(name, text)
    }

    /// Puts one more file beside the loaded program.
    pub(super) fn add(&mut self, name: &[u8], text: OwnedFd) -> io::Result<()> {
        let name = plain(name)?;
        if self.loaded.is_empty() {
            return Err(io::Error::other("no program is loaded"));
        }
        if self.loaded.contains(&name) {
            return Err(io::Error::other("a file of this name is there already"));
        }
        if self.loaded.len() > ADDED_MAX {
            let why = format!("at most {ADDED_MAX} files lie beside a program");
            return Err(io::Error::other(why));
        }
        self.put(name, text)
    }

    /// Makes the scratch as it was after loading, if the last run changed anything.
    pub(super) fn clean_if_dirty(&mut self) -> io::Result<()> {
        let now = self.measure()?;
        if self.on_host.is_none() && self.mark.as_ref() == Some(&now) {
            return Ok(());
        }
        let untouched = self.mark.as_ref().is_some_and(|mark| mark.loaded == now.loaded)
            && now.loaded.iter().all(Option::is_some);
        self.open_directories()?;
        if untouched {
            self.empty_all(&self.loaded)?;
        } else {
            self.empty_all(&[])?;
            self.loaded.iter().try_for_each(|name| self.restore(name))?;
        }
        self.mark = Some(self.measure()?);
        Ok(())
    }

    /// Puts a file into the work directory, and a copy where no program reaches it.
    fn put(&mut self, name: CString, text: OwnedFd) -> io::Result<()> {
        let put = copy(File::from(text), &self.directories.kept, &name).and_then(|()| self.restore(&name));
        if let Err(error) = put {
            // What did fit is in the way of the next try.
            for directory in [&self.directories.kept, &self.directories.work] {
                remove(directory, &name)?;
            }
            self.mark = Some(self.measure()?);
            return Err(error);
        }
        self.loaded.push(name);
        self.mark = Some(self.measure()?);
        Ok(())
    }

    fn restore(&self, name: &CStr) -> io::Result<()> {
        let kept = openat(
            &self.directories.kept,
            name,
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        copy(File::from(kept), &self.directories.work, name)
    }

    fn empty_all(&self, keep: &[CString]) -> io::Result<()> {
        empty(&self.directories.work, keep)?;
        empty(&self.directories.temporary, &[])
    }

    fn open_directories(&self) -> io::Result<()> {
        let mode = Mode::from_raw_mode(OPEN_TO_ALL);
        fchmod(&self.directories.work, mode)?;
        Ok(fchmod(&self.directories.temporary, mode)?)
    }

    fn measure(&self) -> io::Result<Mark> {
        let free = fstatvfs(&self.directories.root)?;
        let loaded = self.loaded.iter().map(|name| {
            statat(&self.directories.work, name, AtFlags::SYMLINK_NOFOLLOW)
                .ok()
                .map(|stat| FileMark::of(&stat))
        });
        Ok(Mark {
            free_blocks: free.f_bfree,
            free_entries: free.f_ffree,
            work: FileMark::of(&fstat(&self.directories.work)?),
            temporary: FileMark::of(&fstat(&self.directories.temporary)?),
            loaded: loaded.collect(),
        })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(path) = &self.on_host {
            let _ = self.empty_all(&[]);
            let _ = std::fs::remove_dir_all(path);
        }
    }
}

impl FileMark {
    fn of(stat: &rustix::fs::Stat) -> Self {
        Self {
            inode: stat.st_ino,
            mode: stat.st_mode,
            size: stat.st_size,
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

/// The name of a loaded file, if it is one.
fn plain(name: &[u8]) -> io::Result<CString> {
    if !is_plain(name) {
        let why = format!("a loaded file has a plain name of 1 to {NAME_BYTES_MAX} bytes");
        return Err(io::Error::other(why));
    }
    Ok(CString::new(name)?)
}

/// Whether a name names a file in its directory and nothing else.
pub(crate) fn is_plain(name: &[u8]) -> bool {
    let length = 1..=NAME_BYTES_MAX;
    length.contains(&name.len())
        && !name.contains(&b'/')
        && !name.contains(&0)
        && name != b"."
        && name != b".."
}

fn copy(mut from: File, directory: &OwnedFd, name: &CStr) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let to = openat(directory, name, flags, Mode::from_raw_mode(LOADED_FILE))?;
    let mut to = File::from(to);
    io::copy(&mut from, &mut to)?;
    // The creation mask took bits away.
    Ok(fchmod(&to, Mode::from_raw_mode(LOADED_FILE))?)
}

/// Removes everything in `directory` but the files `keep`, however deep, with two files open.
///
/// Depth is not followed: a directory that is not empty hands its own directories up to `directory` first.
fn empty(directory: &OwnedFd, keep: &[CString]) -> io::Result<()> {
    let mut moved = 0;
    for _ in 0..PASSES_MAX {
        let mut found = false;
        seek(directory, SeekFrom::Start(0))?;
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut entries = RawDir::new(directory, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." || keep.iter().any(|kept| kept.as_c_str() == name) {
                continue;
            }
            found = true;
            if !remove(directory, name)? {
                hand_up(directory, name, &mut moved)?;
            }
        }
        if !found {
            return Ok(());
        }
    }
    Err(io::Error::other("the scratch cannot be emptied"))
}

/// Removes a file or an empty directory; false when it is a directory with something in it.
fn remove(directory: impl AsFd, name: &CStr) -> io::Result<bool> {
    match unlinkat(&directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(true),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    match unlinkat(&directory, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Removes the files of `directory/name` and moves its full directories into `directory`.
fn hand_up(directory: &OwnedFd, name: &CStr, moved: &mut u64) -> io::Result<()> {
    let full = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let all = Mode::from_raw_mode(0o700);
    let below = match openat(directory, name, full, Mode::empty()) {
        Err(Errno::ACCESS) => {
            // Only without capabilities, where the owner is the same.
            rustix::fs::chmodat(directory, name, all, AtFlags::empty())?;
            openat(directory, name, full, Mode::empty())?
        }
        other => other?,
    };
    fchmod(&below, all)?;
    let mut buffer = [MaybeUninit::uninit(); 8192];
    let mut entries = RawDir::new(&below, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let child = entry.file_name();
        if child == c"." || child == c".." || remove(&below, child)? {
            continue;
        }
        loop {
            let free = format!(".moved-{moved}");
            *moved += 1;
            match renameat_with(&below, child, directory, free, RenameFlags::NOREPLACE) {
                Ok(()) => break,
                Err(Errno::EXIST) => {}
                Err(Errno::ACCESS) => rustix::fs::chmodat(&below, child, all, AtFlags::empty())?,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use super::*;
    use crate::init::tree::scratch_on_host;

    fn names(path: &std::path::Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_run_leaves_nothing_but_the_program_and_a_changed_program_is_restored() {
        let home = tempfile::tempdir().unwrap();
        let mut scratch = Scratch::new(scratch_on_host(home.path()).unwrap(), None).unwrap();
        scratch
            .load(b"main.py", crate::seal(b"print(1)").unwrap())
            .unwrap();
        let work = home.path().join("work");
        std::fs::write(work.join("left"), "x").unwrap();
        std::fs::remove_file(work.join("main.py")).unwrap();
        std::fs::write(work.join("main.py"), "print(2)").unwrap();
        scratch.clean_if_dirty().unwrap();
        assert_eq!(names(&work), ["main.py"]);
        assert_eq!(std::fs::read(work.join("main.py")).unwrap(), b"print(1)");
    }

    #[test]
    fn loading_replaces_the_program_before_it() {
        let home = tempfile::tempdir().unwrap();
        let mut scratch = Scratch::new(scratch_on_host(home.path()).unwrap(), None).unwrap();
        scratch.load(b"main.py", crate::seal(b"one").unwrap()).unwrap();
        scratch.load(b"main", crate::seal(b"two").unwrap()).unwrap();
        assert_eq!(names(&home.path().join("work")), ["main"]);
        for name in [&b""[..], b"..", b"a/b", &[b'x'; 129]] {
            assert!(scratch.load(name, crate::seal(b"").unwrap()).is_err());
        }
    }

    #[test]
    fn a_file_beside_the_program_is_kept_and_restored_like_it_until_the_next_load() {
        let home = tempfile::tempdir().unwrap();
        let mut scratch = Scratch::new(scratch_on_host(home.path()).unwrap(), None).unwrap();
        let one = || crate::seal(b"1").unwrap();
        assert!(scratch.add(b"data", one()).is_err());
        scratch.load(b"main.py", one()).unwrap();
        scratch.add(b"data", one()).unwrap();
        for name in [&b"data"[..], b"main.py", b"a/b"] {
            assert!(scratch.add(name, one()).is_err());
        }
        let work = home.path().join("work");
        for gone in ["data", "main.py"] {
            std::fs::write(work.join("left"), "x").unwrap();
            std::fs::remove_file(work.join(gone)).unwrap();
            scratch.clean_if_dirty().unwrap();
            assert_eq!(names(&work), ["data", "main.py"]);
            assert_eq!(std::fs::read(work.join(gone)).unwrap(), b"1");
        }
        scratch.load(b"main.py", one()).unwrap();
        assert_eq!(names(&work), ["main.py"]);
    }

    #[test]
    fn a_tree_deeper_than_any_path_is_emptied() {
        let home = tempfile::tempdir().unwrap();
        let directory =
            rustix::fs::open(home.path(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let mut below = directory.try_clone().unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&below, "deep", Mode::from_raw_mode(0o700)).unwrap();
            below = openat(&below, "deep", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
            openat(
                &below,
                "file",
                OFlags::CREATE | OFlags::WRONLY,
                Mode::from_raw_mode(0o000),
            )
            .unwrap();
        }
        empty(&directory, &[]).unwrap();
        assert_eq!(names(home.path()), Vec::<String>::new());
    }
}
