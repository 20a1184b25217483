//! Directories that are mounted whole, with what is not to be seen covered: one mount where there would be hundreds.
//!
//! A part of `tree`'s plan. An interpreter whose packages lie inside its standard library is given as every entry of
//! that directory but two or three. What is shown is the same, and an empty directory for each entry that is not.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::OWN;

/// Fewer entries of one directory are mounted one by one.
const ENTRIES_MIN: usize = 16;
/// What everybody may do with a directory that can be mounted whole: list and pass it.
const OPEN: u32 = 0o005;
/// Most entries that are covered in one directory: where more are not to be seen, one by one is the safer way.
const COVERED_MAX: usize = 4;

/// Replaces entries in `mounts` by their directory where nearly all of them are there, in `mounts` or as one of
/// `links`; gives the directories that are to be covered then. Mounts inside of those stay.
pub(super) fn join(mounts: &mut Vec<PathBuf>, links: &[(PathBuf, PathBuf)]) -> Vec<PathBuf> {
    let mut shown: BTreeMap<PathBuf, HashSet<OsString>> = BTreeMap::new();
    for path in mounts.iter().chain(links.iter().map(|(link, _)| link)) {
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
            shown
                .entry(parent.to_owned())
                .or_default()
                .insert(name.to_owned());
        }
    }
    let mut covers: Vec<PathBuf> = Vec::new();
    for (directory, names) in shown {
        let holds_own = OWN.iter().any(|own| Path::new(own).starts_with(&directory));
        // One inside a directory that is covered already stands in an empty place.
        let is_covered = covers.iter().any(|cover| directory.starts_with(cover));
        if names.len() < ENTRIES_MIN || holds_own || is_covered {
            continue;
        }
        if let Some(others) = others(&directory, &names) {
            mounts.retain(|mount| mount.parent() != Some(&directory));
            mounts.push(directory);
            covers.extend(others);
        }
    }
    mounts.sort();
    covers
}

/// The entries besides `names`, if each of them can be covered and everybody may list the directory: one that the cage
/// makes is open, whatever the host's is.
fn others(directory: &Path, names: &HashSet<OsString>) -> Option<Vec<PathBuf>> {
    if std::fs::metadata(directory).ok()?.permissions().mode() & OPEN != OPEN {
        return None;
    }
    let mut others = Vec::new();
    for entry in std::fs::read_dir(directory).ok()? {
        let entry = entry.ok()?;
        if names.contains(&entry.file_name()) {
            continue;
        }
        if !entry.file_type().ok()?.is_dir() || others.len() == COVERED_MAX {
            return None;
        }
        others.push(entry.path());
    }
    Some(others)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use super::*;

    /// A directory with this many modules and these others; the modules' paths.
    fn library(home: &Path, others: &[&str]) -> Vec<PathBuf> {
        std::fs::set_permissions(home, std::fs::Permissions::from_mode(0o755)).unwrap();
        let modules: Vec<_> = (0..ENTRIES_MIN)
            .map(|n| home.join(format!("m{n:02}.py")))
            .collect();
        modules.iter().for_each(|path| std::fs::write(path, "").unwrap());
        for other in others {
            std::fs::create_dir_all(home.join(other)).unwrap();
        }
        modules
    }

    #[test]
    fn a_directory_of_which_nearly_all_is_shown_is_one_mount_and_the_rest_is_covered() {
        let home = tempfile::tempdir_in("/var/tmp").unwrap();
        let home = home.path();
        let mut mounts = library(home, &["packages/numpy", "packages/other", "test"]);
        mounts.insert(0, home.join("packages/numpy"));
        mounts.sort();
        let mut covers = join(&mut mounts, &[]);
        covers.sort();
        assert_eq!(mounts, [home.to_owned(), home.join("packages/numpy")]);
        assert_eq!(covers, [home.join("packages"), home.join("test")]);
    }

    #[test]
    fn one_by_one_stays_what_is_little_or_has_much_or_a_file_beside_it() {
        let few = tempfile::tempdir_in("/var/tmp").unwrap();
        let mut mounts = library(few.path(), &[]);
        mounts.pop();
        let much = tempfile::tempdir_in("/var/tmp").unwrap();
        mounts.extend(library(much.path(), &["a", "b", "c", "d", "e"]));
        let file = tempfile::tempdir_in("/var/tmp").unwrap();
        mounts.extend(library(file.path(), &[]));
        std::fs::write(file.path().join("secret"), "").unwrap();
        let link = tempfile::tempdir_in("/var/tmp").unwrap();
        mounts.extend(library(link.path(), &[]));
        std::os::unix::fs::symlink("/etc", link.path().join("link")).unwrap();
        let closed = tempfile::tempdir_in("/var/tmp").unwrap();
        mounts.extend(library(closed.path(), &[]));
        std::fs::set_permissions(closed.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        mounts.sort();
        let before = mounts.clone();
        assert_eq!(join(&mut mounts, &[]), Vec::<PathBuf>::new());
        assert_eq!(mounts, before);
    }
}
