//! The files of a run directory, on their way to a client.
//!
//! They go in the order of their paths, in pieces, each file as it was when it was opened: files are replaced whole,
//! never changed, so what arrives is one version of each. However many there are, a transfer holds the names of a few
//! directories and one piece in memory. Hidden names, such as the state of a run, and symbolic links stay here.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use futures_util::{Stream, stream};
use roundhouse_proto::wire::{CHUNK_MAX_BYTES, Fields, v1};
use rustix::fs::{Mode, OFlags};
use tonic::Status;

use super::refuse;
use crate::rpc::blobs::blocking;
use crate::run_dir::name;

/// Levels of directories that are walked; a run directory has three.
const LEVELS_MAX: usize = 8;
/// Bytes of the path that a client may name.
const UNDER_MAX_BYTES: usize = 4_096;

/// The pieces of the files of `dir` at or below `under`. What is `held` is dropped with the stream.
pub(super) async fn files<H: Send + 'static>(
    dir: PathBuf,
    under: String,
    held: H,
) -> Result<impl Stream<Item = Result<v1::FileChunk, Status>> + Send, Status> {
    let walk = blocking(move || Walk::below(dir, &under)).await?;
    let sending = Sending { walk, open: None };
    Ok(stream::try_unfold(
        (sending, held),
        |(mut sending, held)| async move {
            let (sending, chunk) = blocking(move || {
                let chunk = sending.next_chunk()?;
                Ok((sending, chunk))
            })
            .await?;
            Ok(chunk.map(|chunk| (chunk, (sending, held))))
        },
    ))
}

struct Sending {
    walk: Walk,
    open: Option<OpenFile>,
}

impl Sending {
    fn next_chunk(&mut self) -> Result<Option<v1::FileChunk>, Status> {
        loop {
            if let Some(mut open) = self.open.take() {
                let chunk = open
                    .next_chunk()
                    .map_err(|error| unreadable(&open.path, &error))?;
                if open.offset < open.total_bytes {
                    self.open = Some(open);
                }
                return Ok(Some(chunk));
            }
            let Some(path) = self.walk.next_file()? else {
                return Ok(None);
            };
            self.open = OpenFile::open(&self.walk.root, path)?;
        }
    }
}

/// A file that is being sent.
struct OpenFile {
    path: String,
    file: File,
    offset: u64,
    total_bytes: u64,
}

impl OpenFile {
    /// None if it is gone by now, or is no plain file.
    fn open(root: &Path, path: String) -> Result<Option<Self>, Status> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = match rustix::fs::open(root.join(&path), flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::LOOP) => return Ok(None),
            Err(error) => return Err(unreadable(&path, &error.into())),
        };
        let metadata = file.metadata().map_err(|error| unreadable(&path, &error))?;
        Ok(metadata.is_file().then_some(Self {
            path,
            file,
            offset: 0,
            total_bytes: metadata.len(),
        }))
    }

    fn next_chunk(&mut self) -> io::Result<v1::FileChunk> {
        let left = self.total_bytes - self.offset;
        let length = left.min(CHUNK_MAX_BYTES as u64);
        let mut data = Vec::with_capacity(usize::try_from(length).unwrap_or(CHUNK_MAX_BYTES));
        self.file.by_ref().take(length).read_to_end(&mut data)?;
        if (data.len() as u64) < length {
            return Err(io::Error::other("it became shorter while it was read"));
        }
        let chunk = v1::FileChunk {
            path: self.path.clone(),
            offset: self.offset,
            total_bytes: self.total_bytes,
            data: data.into(),
        };
        self.offset += length;
        Ok(chunk)
    }
}

/// Finds files in the order of their paths, directory by directory.
#[derive(Debug)]
struct Walk {
    root: PathBuf,
    /// What is left of the directories on the way to the next file, the outermost first; last in a list comes first.
    open: Vec<Vec<Found>>,
}

#[derive(Debug)]
struct Found {
    /// From the root.
    path: String,
    is_dir: bool,
}

impl Walk {
    fn below(root: PathBuf, under: &str) -> Result<Self, Status> {
        let fields = Fields::of("FetchRequest");
        fields
            .bounded("under", under.len(), UNDER_MAX_BYTES, "bytes")
            .map_err(|error| refuse(&error))?;
        let parts: Vec<&str> = match under {
            "" => Vec::new(),
            under => under.split('/').collect(),
        };
        if parts.iter().any(|part| name::check(part).is_err()) || parts.len() > LEVELS_MAX {
            let expected = "a path in the run directory, such as `problem_001/round_0`";
            let got = format!("`{}`", under.escape_debug());
            return Err(refuse(&fields.refuse("under", expected, got)));
        }
        let missing = || Status::not_found(format!("the run directory has no `{under}`"));
        let mut at = Found {
            path: String::new(),
            is_dir: true,
        };
        if !root.is_dir() {
            return Err(Status::not_found(format!(
                "the run directory `{}` is gone",
                root.display()
            )));
        }
        for part in parts {
            if !at.is_dir {
                return Err(missing());
            }
            at = found(&root, joined(&at.path, part)).ok_or_else(missing)?;
        }
        let mut walk = Self {
            root,
            open: Vec::new(),
        };
        if at.is_dir {
            let listed = walk.list(&at.path)?;
            walk.open.push(listed);
        } else {
            walk.open.push(vec![at]);
        }
        Ok(walk)
    }

    fn next_file(&mut self) -> Result<Option<String>, Status> {
        loop {
            let levels = self.open.len();
            let Some(innermost) = self.open.last_mut() else {
                return Ok(None);
            };
            match innermost.pop() {
                None => drop(self.open.pop()),
                Some(Found { path, is_dir: false }) => return Ok(Some(path)),
                Some(Found { path, is_dir: true }) if levels < LEVELS_MAX => {
                    let listed = self.list(&path)?;
                    self.open.push(listed);
                }
                Some(_) => {}
            }
        }
    }

    /// What is in a directory, the last first.
    fn list(&self, path: &str) -> Result<Vec<Found>, Status> {
        let entries = match fs::read_dir(self.root.join(path)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unreadable(path, &error)),
        };
        let mut listed = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(path, &error))?;
            // No file of a run has a name that is no text.
            if let Some(name) = entry.file_name().to_str()
                && name::check(name).is_ok()
                && let Some(found) = found(&self.root, joined(path, name))
            {
                listed.push(found);
            }
        }
        // As their paths sort: those in a directory have a `/` after its name.
        let key = |found: &Found| format!("{}{}", found.path, if found.is_dir { "/" } else { "" });
        listed.sort_by_cached_key(|found| std::cmp::Reverse(key(found)));
        Ok(listed)
    }
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}/{name}")
    }
}

/// A file or a directory; none if nothing is there, or something else, such as a link.
fn found(root: &Path, path: String) -> Option<Found> {
    let kind = fs::symlink_metadata(root.join(&path)).ok()?.file_type();
    (kind.is_file() || kind.is_dir()).then(|| Found {
        path,
        is_dir: kind.is_dir(),
    })
}

fn unreadable(path: &str, error: &io::Error) -> Status {
    Status::unavailable(format!("`{path}` of the run directory cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use std::os::unix::fs::symlink;

    use futures_util::TryStreamExt;
    use tonic::Code;

    use super::*;

    fn run_dir() -> tempfile::TempDir {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("run");
        for dir in ["a/round_0", "a.b", ".state/db", "empty"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        for file in [
            "a/code.py",
            "a/round_0/code.py",
            "a.b/x",
            "a.txt",
            ".state/db/secret",
            ".roundhouse-1-1.tmp",
            "summary.json",
        ] {
            fs::write(root.join(file), file).unwrap();
        }
        fs::write(temp.path().join("outside"), "secret").unwrap();
        symlink(temp.path(), root.join("link")).unwrap();
        symlink(temp.path().join("outside"), root.join("a/outside")).unwrap();
        temp
    }

    async fn fetch(root: &Path, under: &str) -> Result<Vec<v1::FileChunk>, Code> {
        let files = files(root.to_owned(), under.to_owned(), ()).await;
        let files = files.map_err(|status| status.code())?;
        files.try_collect().await.map_err(|status| status.code())
    }

    async fn paths(root: &Path, under: &str) -> Result<Vec<String>, Code> {
        let chunks = fetch(root, under).await?;
        Ok(chunks.into_iter().map(|chunk| chunk.path).collect())
    }

    #[tokio::test]
    async fn files_come_in_the_order_of_their_paths_without_what_is_hidden_or_linked() {
        let temp = run_dir();
        let root = temp.path().join("run");
        let all = ["a.b/x", "a.txt", "a/code.py", "a/round_0/code.py", "summary.json"];
        let mut sorted = all;
        sorted.sort_unstable();
        assert_eq!(sorted, all);
        assert_eq!(paths(&root, "").await.unwrap(), all);
        assert_eq!(paths(&root, "a").await.unwrap(), all[2..4]);
        assert_eq!(paths(&root, "a/round_0").await.unwrap(), all[3..4]);
        assert_eq!(paths(&root, "a.txt").await.unwrap(), all[1..2]);
        assert_eq!(paths(&root, "empty").await.unwrap(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn path_that_leads_elsewhere_is_refused() {
        let temp = run_dir();
        let root = temp.path().join("run");
        for under in [
            "..",
            "../outside",
            "a/../../outside",
            "/etc/passwd",
            ".",
            "./a",
            "a//code.py",
            "a/",
            ".state",
            ".state/db/secret",
            "a\\b",
            "a\0",
            &"x".repeat(5_000),
        ] {
            assert_eq!(paths(&root, under).await, Err(Code::InvalidArgument), "{under:?}");
        }
        for under in ["b", "link", "link/outside", "a/outside", "a.txt/x"] {
            assert_eq!(paths(&root, under).await, Err(Code::NotFound), "{under:?}");
        }
        assert_eq!(paths(&temp.path().join("gone"), "").await, Err(Code::NotFound));
    }

    #[tokio::test]
    async fn file_comes_in_pieces_and_an_empty_one_in_one() {
        let temp = tempfile::tempdir().unwrap();
        let long: Vec<u8> = (0..700_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        fs::write(temp.path().join("long"), &long).unwrap();
        fs::write(temp.path().join("none"), "").unwrap();
        let chunks = fetch(temp.path(), "").await.unwrap();
        let seen: Vec<_> = chunks
            .iter()
            .map(|chunk| {
                (
                    chunk.path.as_str(),
                    chunk.offset,
                    chunk.total_bytes,
                    chunk.data.len(),
                )
            })
            .collect();
        let piece = CHUNK_MAX_BYTES;
        assert_eq!(
            seen,
            [
                ("long", 0, 700_000, piece),
                ("long", piece as u64, 700_000, piece),
                ("long", 2 * piece as u64, 700_000, 700_000 - 2 * piece),
                ("none", 0, 0, 0),
            ]
        );
        let joined: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.data.to_vec()).collect();
        assert_eq!(joined, long);
    }

    #[test]
    fn file_is_sent_as_it_was_when_it_was_opened() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("console.log");
        fs::write(&path, "one\n").unwrap();
        let mut open = OpenFile::open(temp.path(), "console.log".to_owned())
            .unwrap()
            .unwrap();
        fs::write(&path, "one\ntwo\n").unwrap();
        let chunk = open.next_chunk().unwrap();
        assert_eq!((chunk.total_bytes, &chunk.data[..]), (4, &b"one\n"[..]));
        let mut open = OpenFile::open(temp.path(), "console.log".to_owned())
            .unwrap()
            .unwrap();
        fs::write(&path, "one\n").unwrap();
        assert!(open.next_chunk().is_err());
    }
}
