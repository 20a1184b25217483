//! The file tree that programs see: the runtime read-only at its own paths, five devices, the fork servers' files, and
//! the scratch.
//!
//! Built once by the init while it may still reach the host's files (a runtime under a closed directory such as
//! `/root` is reached here and only here), then the host's tree is let go. A runtime path is shown as the host
//! resolves it: symbolic links on the way are made again, the directory or file at its end is mounted.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, mkdirat, open, openat, statat, symlinkat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount, open_tree,
    unmount,
};

mod whole;

use super::{Refusal, Step, own_proc};
use crate::message::Setup;
use crate::sys::{self, Below};

/// Where a program works.
pub(super) const WORK: &str = "/w";
/// Where the fork servers' files are.
const SERVERS: &str = "/z";
/// Mode of those files: read and executed, never written.
const SERVER_FILE: u32 = 0o555;
/// A page: what the last piece of a file takes.
const PAGE_BYTES: u64 = 4096;
/// Most symbolic links followed for one runtime path, as in the kernel.
const LINKS_MAX: usize = 40;
/// Size of the tree's own file system: directories, links and mount points only.
const ROOT_BYTES: u64 = 4 << 20;
/// Size of a cover: mount points only.
const COVER_BYTES: u64 = 1 << 20;
/// Entries of a cover.
const COVER_INODES: u64 = 4096;
/// Names tried for a scratch on the host.
const HOMES_MAX: u32 = 100;
/// Entries of the tree's own file system.
const ROOT_INODES: u64 = 16_384;
/// Devices that programs may use.
pub(super) const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];
/// Paths that are the cage's own: a runtime there would be hidden or be written.
const OWN: [&str; 5] = [WORK, SERVERS, "/tmp", "/dev", "/proc"];

/// Whether a real path is one that the cage cannot show: the whole host, or a place of its own.
pub(crate) fn is_own(real: &Path) -> bool {
    real == Path::new("/") || OWN.iter().any(|own| real.starts_with(own))
}

/// A directory of the host that is always there, where the new tree stands until it becomes the root.
const STAGE: &str = "/proc";

/// The scratch's directories, held open: they stay reachable for the init whatever a program does to names.
pub(super) struct ScratchDirectories {
    pub(super) root: OwnedFd,
    pub(super) work: OwnedFd,
    pub(super) temporary: OwnedFd,
    /// The loaded program's own copy; no path inside the cage leads here.
    pub(super) kept: OwnedFd,
}

/// Builds the tree, makes it the root of this mount namespace and lets the host's tree go. `texts` are the fork
/// servers' files, one after the other.
pub(super) fn enter(setup: &Setup, texts: Option<OwnedFd>) -> Result<ScratchDirectories, Refusal> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .step("make mounts private")?;

    let plan = Plan::of(&setup.runtime)?;
    let runtime = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV;
    let device = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mut mounts = Vec::new();
    for path in &plan.mounts {
        let clone = clone_tree(path, runtime).step(&format!("show `{}`", path.display()))?;
        mounts.push((path.clone(), clone));
    }
    for name in DEVICES {
        let path = Path::new("/dev").join(name);
        match clone_tree(&path, device) {
            Ok(clone) => mounts.push((path, clone)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Refusal::of(format!("show `{}`", path.display()), error)),
        }
    }

    let plain = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    for path in &plan.covers {
        let cover = new_tmpfs(COVER_BYTES, COVER_INODES, plain).step("make a cover")?;
        mounts.push((path.clone(), cover));
    }
    // What another lies in comes first.
    mounts.sort_by(|(path, _), (other, _)| path.cmp(other));
    let files = setup.server_files.iter();
    let bytes = files.fold(ROOT_BYTES, |sum, (_, length)| {
        sum.saturating_add(length.saturating_add(PAGE_BYTES))
    });
    let root = new_tmpfs(bytes, ROOT_INODES, plain).step("make the root file system")?;
    attach(root.as_fd(), CWD, Path::new(STAGE)).step("attach the root file system")?;
    let mut made = Made::default();
    for (path, clone) in &mounts {
        let place = mount_point(&root, path, clone, &mut made)
            .step(&format!("make a place for `{}`", path.display()))?;
        attach(clone.as_fd(), root.as_fd(), &place).step(&format!("attach `{}`", path.display()))?;
    }
    for (link, target) in &plan.links {
        let name = inside(link);
        make_parents(&root, name, &mut made).step(&format!("make a place for `{}`", link.display()))?;
        match symlinkat(target, &root, name) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(Refusal::of(format!("link `{}`", link.display()), error)),
        }
    }
    // POSIX semaphores and shared memory are files below /dev/shm; the scratch's bound holds for them.
    make_directory(&root, Path::new("dev")).step("make `/dev`")?;
    symlinkat("/tmp", &root, "dev/shm").step("link `/dev/shm`")?;
    // Empty until the programs' namespace is there, and for good where it cannot be shown.
    make_directory(&root, inside(Path::new(own_proc::PLACE))).step("make `/proc`")?;
    for (link, target) in own_proc::LINKS {
        symlinkat(target, &root, link).step(&format!("link `/{link}`"))?;
    }

    for (path, cover) in &mounts {
        // Filled with what stands in it by now.
        if plan.covers.contains(path) {
            sys::add_mount_attributes(cover.as_fd(), runtime.bits().into(), Below::Excluded)
                .step(&format!("cover `{}`", path.display()))?;
        }
    }

    if let Some(texts) = texts {
        write_server_files(&root, setup, texts).step(&format!("fill `{SERVERS}`"))?;
    }

    let mut scratch = attach_scratch(&root, setup).step("make the scratch")?;

    let here = openat(
        CWD,
        STAGE,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .step("open the new root")?;
    rustix::process::fchdir(&here).step("enter the new root")?;
    rustix::process::pivot_root(".", ".").step("change the root")?;
    unmount(".", UnmountFlags::DETACH).step("let the host's tree go")?;
    rustix::process::chdir("/").step("enter the new root")?;
    sys::add_mount_attributes(root.as_fd(), runtime.bits().into(), Below::Excluded)
        .step("make the root read-only")?;
    // The directory below the scratch's own mount, which is gone, has no path: a program that starts there could not
    // be told where it is. As the root of the mount in the tree it has one, which no program can take away.
    scratch.work = open(
        WORK,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .step(&format!("open `{WORK}`"))?;
    Ok(scratch)
}

fn write_server_files(root: &OwnedFd, setup: &Setup, texts: OwnedFd) -> io::Result<()> {
    let place = inside(Path::new(SERVERS));
    make_directory(root, place)?;
    let directory = openat(
        root,
        place,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mut texts = File::from(texts);
    for (name, length) in &setup.server_files {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(SERVER_FILE);
        let mut file = File::from(openat(&directory, name.as_slice(), flags, mode)?);
        if io::copy(&mut (&mut texts).take(*length), &mut file)? != *length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// A detached `/proc` of the init's pid namespace: for the init alone, never part of the tree.
pub(super) fn detached_proc() -> io::Result<OwnedFd> {
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)?;
    // The directory keeps the mount alive when its first file is closed.
    Ok(openat(
        &mount,
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

fn attach_scratch(root: &OwnedFd, setup: &Setup) -> io::Result<ScratchDirectories> {
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let scratch = new_tmpfs(setup.scratch_bytes, setup.scratch_inodes, flags)?;
    // Its own root is mounted under a closed name, only long enough to clone two directories out of it.
    let hidden = Path::new(".scratch");
    make_directory(root, hidden)?;
    attach(scratch.as_fd(), root.as_fd(), hidden)?;
    let mut directories = Vec::new();
    for name in ["work", "temporary", "kept"] {
        make_directory(&scratch, Path::new(name))?;
        directories.push(openat(
            &scratch,
            name,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?);
    }
    for (name, place) in [("work", inside(Path::new(WORK))), ("temporary", Path::new("tmp"))] {
        make_directory(root, place)?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let clone = open_tree(&scratch, name, flags)?;
        attach(clone.as_fd(), root.as_fd(), place)?;
    }
    let all = openat(
        &scratch,
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    unmount(Path::new(STAGE).join(hidden), UnmountFlags::DETACH)?;
    rustix::fs::unlinkat(root, hidden, rustix::fs::AtFlags::REMOVEDIR)?;
    match <[OwnedFd; 3]>::try_from(directories) {
        Ok([work, temporary, kept]) => Ok(ScratchDirectories {
            root: all,
            work,
            temporary,
            kept,
        }),
        Err(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Which paths are mounted and which links lead to them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    /// Real paths, in an order in which none stands before what it lies in: at most a cover, which lies in a mount.
    mounts: Vec<PathBuf>,
    /// Directories in a mount that are not to be seen.
    covers: Vec<PathBuf>,
    /// Links outside every mount: where, and what they say.
    links: Vec<(PathBuf, PathBuf)>,
}

impl Plan {
    fn of(runtime: &[Vec<u8>]) -> Result<Self, Refusal> {
        let (mut mounts, mut links) = (Vec::new(), Vec::new());
        let mut known = BTreeSet::new();
        for path in runtime {
            let path = Path::new(OsStr::from_bytes(path));
            if let Some(real) =
                resolve(path, &mut links, &mut known).step(&format!("resolve `{}`", path.display()))?
            {
                if is_own(&real) {
                    let why = "the cage has its own files there";
                    return Err(Refusal::of(
                        format!("show `{}`", real.display()),
                        io::Error::other(why),
                    ));
                }
                mounts.push(real);
            }
        }
        mounts.sort();
        mounts.dedup_by(|path, before| path.starts_with(&*before));
        let covers = whole::join(&mut mounts, &links);
        links.retain(|(link, _): &(PathBuf, PathBuf)| {
            let is_in = |places: &[PathBuf]| places.iter().any(|place| link.starts_with(place));
            is_in(&covers) || !is_in(&mounts)
        });
        links.sort();
        links.dedup();
        Ok(Self {
            mounts,
            covers,
            links,
        })
    }
}

/// The real path of `path` and, in `links`, every link on the way; `None` when it does not exist or this user may not
/// reach it, so that no program could have used it either. `known` are directories on the way of paths before it: an
/// interpreter's modules are hundreds of paths in one directory.
fn resolve(
    path: &Path,
    links: &mut Vec<(PathBuf, PathBuf)>,
    known: &mut BTreeSet<PathBuf>,
) -> io::Result<Option<PathBuf>> {
    if !path.is_absolute() {
        return Err(io::Error::other("a runtime path is absolute"));
    }
    let mut real = PathBuf::from("/");
    let mut rest: Vec<_> = components(path);
    let mut followed = 0;
    rest.reverse();
    while let Some(name) = rest.pop() {
        if name == ".." {
            real.pop();
            continue;
        }
        let next = real.join(&name);
        if known.contains(&next) {
            real = next;
            continue;
        }
        let kind = match std::fs::symlink_metadata(&next) {
            Ok(metadata) => metadata.file_type(),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => return Ok(None),
                _ => return Err(error),
            },
        };
        if !kind.is_symlink() {
            if kind.is_dir() {
                known.insert(next.clone());
            }
            real = next;
            continue;
        }
        followed += 1;
        if followed > LINKS_MAX {
            return Err(io::Error::from_raw_os_error(libc::ELOOP));
        }
        let target = std::fs::read_link(&next)?;
        if target.is_absolute() {
            real = PathBuf::from("/");
        }
        rest.extend(components(&target).into_iter().rev());
        links.push((next, target));
    }
    Ok(Some(real))
}

/// The names of a path, `..` among them.
fn components(path: &Path) -> Vec<std::ffi::OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

fn inside(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// Makes the directory or empty file on which `mount` will stand; returns its path below the root.
fn mount_point(root: &OwnedFd, path: &Path, mount: &OwnedFd, made: &mut Made) -> io::Result<PathBuf> {
    let place = inside(path);
    let kind = FileType::from_raw_mode(rustix::fs::fstat(mount)?.st_mode);
    make_parents(root, place, made)?;
    if kind == FileType::Directory {
        make_directory(root, place)?;
    } else {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
        openat(root, place, flags, Mode::from_raw_mode(0o444))?;
    }
    Ok(place.to_owned())
}

/// Directories that were made as parents already.
type Made = BTreeSet<PathBuf>;

/// Directories that programs may pass, whatever the host's own are: `/root` is closed there, and open here.
fn make_parents(root: &OwnedFd, path: &Path, made: &mut Made) -> io::Result<()> {
    let mut parents: Vec<_> = path
        .ancestors()
        .skip(1)
        .take_while(|parent| *parent != Path::new("") && !made.contains(*parent))
        .collect();
    parents.reverse();
    parents.into_iter().try_for_each(|parent| {
        make_directory(root, parent)?;
        made.insert(parent.to_owned());
        Ok(())
    })
}

fn make_directory(root: &OwnedFd, path: &Path) -> io::Result<()> {
    match mkdirat(root, path, Mode::from_raw_mode(0o755)) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => {
            let there = statat(root, path, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
            match FileType::from_raw_mode(there.st_mode) {
                FileType::Directory => Ok(()),
                _ => Err(Errno::EXIST.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

fn new_tmpfs(bytes: u64, inodes: u64, flags: MountAttrFlags) -> io::Result<OwnedFd> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "size", bytes.to_string())?;
    fsconfig_set_string(&context, "nr_inodes", inodes.to_string())?;
    fsconfig_set_string(&context, "mode", "0755")?;
    fsconfig_create(&context)?;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)?)
}

/// A detached copy of a path and all mounts below it.
fn clone_tree(path: &Path, flags: MountAttrFlags) -> io::Result<OwnedFd> {
    let clone = open_tree(
        CWD,
        path,
        OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE
            | OpenTreeFlags::AT_SYMLINK_NOFOLLOW,
    )?;
    sys::add_mount_attributes(clone.as_fd(), flags.bits().into(), Below::Included)?;
    Ok(clone)
}

fn attach(mount: BorrowedFd<'_>, directory: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    Ok(move_mount(
        mount,
        "",
        directory,
        path,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?)
}

/// A new directory of the host, for the scratch of a cage without a tree of its own.
pub(super) fn home_on_host() -> io::Result<PathBuf> {
    let process = std::process::id();
    for try_n in 0..HOMES_MAX {
        // One that was left by a cage that could not end is nobody's to take.
        let home = std::env::temp_dir().join(format!("roundhouse-cage-{process}-{try_n}"));
        match std::fs::create_dir(&home) {
            Ok(()) => return Ok(home),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// A directory of the host, for a cage without a tree of its own.
pub(super) fn scratch_on_host(path: &Path) -> io::Result<ScratchDirectories> {
    let directory = |path: &Path| {
        open(
            path,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
    };
    for name in ["work", "temporary", "kept"] {
        std::fs::create_dir(path.join(name))?;
    }
    Ok(ScratchDirectories {
        root: directory(path)?,
        work: directory(&path.join("work"))?,
        temporary: directory(&path.join("temporary"))?,
        kept: directory(&path.join("kept"))?,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use super::*;

    fn plan(paths: &[&Path]) -> Plan {
        let paths: Vec<_> = paths
            .iter()
            .map(|path| path.as_os_str().as_bytes().to_vec())
            .collect();
        Plan::of(&paths).unwrap()
    }

    #[test]
    fn a_link_is_made_again_and_its_end_is_mounted() {
        let home = tempfile::tempdir_in("/var/tmp").unwrap();
        let home = home.path().canonicalize().unwrap();
        std::fs::create_dir_all(home.join("usr/lib")).unwrap();
        std::os::unix::fs::symlink("usr/lib", home.join("lib")).unwrap();
        assert_eq!(
            plan(&[
                &home.join("lib"),
                &home.join("usr/lib/../lib"),
                &home.join("missing")
            ]),
            Plan {
                mounts: vec![home.join("usr/lib")],
                covers: vec![],
                links: vec![(home.join("lib"), PathBuf::from("usr/lib"))],
            }
        );
    }

    #[test]
    fn a_path_inside_another_is_not_mounted_twice_and_its_links_are_its_own() {
        let home = tempfile::tempdir_in("/var/tmp").unwrap();
        let home = home.path().canonicalize().unwrap();
        std::fs::create_dir_all(home.join("usr/lib")).unwrap();
        std::os::unix::fs::symlink("lib", home.join("usr/lib64")).unwrap();
        assert_eq!(
            plan(&[&home.join("usr/lib64"), &home.join("usr")]),
            Plan {
                mounts: vec![home.join("usr")],
                covers: vec![],
                links: vec![],
            }
        );
    }

    #[test]
    fn the_whole_host_and_the_cages_own_paths_are_refused() {
        for path in ["/", "/tmp", "/dev/null", "/usr/../proc"] {
            assert!(Plan::of(&[path.as_bytes().to_vec()]).is_err(), "{path}");
        }
    }

    #[test]
    fn a_ring_of_links_ends_in_an_error() {
        let home = tempfile::tempdir_in("/var/tmp").unwrap();
        std::os::unix::fs::symlink("b", home.path().join("a")).unwrap();
        std::os::unix::fs::symlink("a", home.path().join("b")).unwrap();
        assert!(resolve(&home.path().join("a"), &mut Vec::new(), &mut BTreeSet::new()).is_err());
    }
}
