//! Blobs: what is too big for a record, as files named by the SHA-256 of their content.
//!
//! A blob is durable before anything names it: written to `blobs/tmp`, synced, renamed to `blobs/ab/cd…`, and the
//! directory synced. So a file that has its name is whole; it is never changed afterwards. Contents are checked when
//! they are read. Every call blocks on the disk: from asynchronous code, call it on a blocking thread.
//! This module never removes a blob and does not know who names one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek, SeekFrom, Write as _};
use std::num::NonZeroUsize;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bytes::Bytes;
use roundhouse_proto::{Digest, Payload};
use tracing::info;

mod pieces;

pub use pieces::{BlobReader, BlobWriter};

/// Most bytes of a blob.
pub const BLOB_BYTES_MAX: u64 = 1 << 30;

/// Most bytes that an inline value takes in a record, as JSON with its escapes: a record has up to five values,
/// and all of them together must fit [`crate::store::RECORD_BYTES_MAX`].
const INLINE_JSON_MAX: usize = 1_456;

/// Threads that sync the files of one [`Blobs::put_all`]; they wait for the disk, which orders many syncs better
/// than one at a time.
const SYNCS_AT_ONCE: NonZeroUsize = NonZeroUsize::new(16).expect("16 is not 0");

/// Files that one [`Blobs::put_all`] has open before it syncs them; well below what a process may have open.
const FILES_AT_ONCE: usize = 256;

/// Why a blob cannot be read or taken.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// There is none of that name.
    #[error("no blob {digest} is stored")]
    Missing {
        /// Its address.
        digest: Digest,
    },
    /// Its content is not what its name says.
    #[error("blob `{}` is damaged: its content has the digest {found}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The digest of what it holds.
        found: Digest,
    },
    /// What was uploaded is not what was announced.
    #[error("expected blob {expected}, but what came is {found}")]
    Differs {
        /// The announced digest.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// What was uploaded has another length than announced.
    #[error("blob {digest} was announced with {expected} bytes, but {found} or more came")]
    Length {
        /// The announced digest.
        digest: Digest,
        /// The announced length.
        expected: u64,
        /// What has come.
        found: u64,
    },
    /// It is longer than a blob may be.
    #[error("blob {digest} has {length} bytes, at most {BLOB_BYTES_MAX} can be stored")]
    TooLong {
        /// Its address.
        digest: Digest,
        /// Its length.
        length: u64,
    },
    /// A reader asked for bytes beyond the end.
    #[error("blob {digest} has {length} bytes, none at offset {offset}")]
    BeyondEnd {
        /// Its address.
        digest: Digest,
        /// Its length.
        length: u64,
        /// What was asked for.
        offset: u64,
    },
    /// The disk refused.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The blobs of a data directory. A clone is another handle on the same ones.
#[derive(Clone, Debug)]
pub struct Blobs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    tmp: PathBuf,
    tmp_next: AtomicU64,
    /// By the first byte of the digest: whether all names in that directory are known to be durable.
    shards: [Mutex<Durable>; 256],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Durable {
    Unknown,
    Yes,
}

impl Blobs {
    /// Opens the blobs in `data_dir`, or makes room for them (mode 0700), and removes what was left half written.
    /// To be called by the holder of the data directory's store only.
    ///
    /// # Errors
    /// The directory cannot be made, read or written.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let dir = data_dir.join("blobs");
        let tmp = dir.join("tmp");
        let mut dirs = fs::DirBuilder::new();
        dirs.recursive(true).mode(0o700).create(&tmp)?;
        for shard in 0..=u8::MAX {
            dirs.create(shard_dir(&dir, shard))?;
        }
        let mut leftovers = 0;
        for entry in fs::read_dir(&tmp)? {
            fs::remove_file(entry?.path())?;
            leftovers += 1;
        }
        if leftovers > 0 {
            info!(files = leftovers, "removed blobs left half written");
        }
        sync_dir(&dir)?;
        sync_dir(data_dir)?;
        let shards = std::array::from_fn(|_| Mutex::new(Durable::Unknown));
        Ok(Self(Arc::new(Inner {
            dir,
            tmp,
            tmp_next: AtomicU64::new(0),
            shards,
        })))
    }

    /// Stores `bytes`; durable on return. Cheap if they are stored already.
    ///
    /// # Errors
    /// They are too long, or the disk refused.
    pub fn put(&self, bytes: &[u8]) -> io::Result<Digest> {
        let digest = Digest::of(bytes);
        if !self.is_stored(&digest, checked_len(&digest, bytes)?)? {
            let file = self.begin_tmp()?;
            file.write(bytes)?;
            file.sync()?;
            self.name(file, &digest)?;
            self.make_names_durable(&digest)?;
        }
        Ok(digest)
    }

    /// Stores many blobs at once; all are durable on return. Far quicker than one after the other, because the disk
    /// has many to sync at a time. Gives their addresses, in order.
    ///
    /// # Errors
    /// As [`Self::put`]; some of them may be stored.
    pub fn put_all<B: AsRef<[u8]>>(&self, contents: impl IntoIterator<Item = B>) -> io::Result<Vec<Digest>> {
        let mut digests = Vec::new();
        let mut files = Vec::new();
        for bytes in contents {
            let bytes = bytes.as_ref();
            let digest = Digest::of(bytes);
            digests.push(digest);
            if !self.is_stored(&digest, checked_len(&digest, bytes)?)? {
                let file = self.begin_tmp()?;
                file.write(bytes)?;
                files.push((digest, file));
                if files.len() >= FILES_AT_ONCE {
                    self.name_all(std::mem::take(&mut files))?;
                }
            }
        }
        self.name_all(files)?;
        Ok(digests)
    }

    fn name_all(&self, files: Vec<(Digest, Unnamed)>) -> io::Result<()> {
        at_once(&files, |(_, file)| file.sync())?;
        let mut shards: Vec<Digest> = Vec::new();
        for (digest, file) in files {
            self.name(file, &digest)?;
            shards.push(digest);
        }
        shards.sort();
        shards.dedup_by_key(|digest| digest.0[0]);
        at_once(&shards, |digest| self.make_names_durable(digest))
    }

    /// The content of a blob, checked.
    ///
    /// # Errors
    /// It is missing, damaged or cannot be read.
    pub fn read(&self, digest: &Digest) -> Result<Bytes, BlobError> {
        let (mut file, length) = self.open_blob(digest)?;
        let path = self.path(digest);
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        file.read_to_end(&mut bytes).map_err(|source| BlobError::Io {
            action: "read",
            path: path.clone(),
            source,
        })?;
        match Digest::of(&bytes) {
            found if found == *digest => Ok(bytes.into()),
            found => Err(BlobError::Damaged { path, found }),
        }
    }

    /// How many bytes a blob has.
    ///
    /// # Errors
    /// It is missing or cannot be read.
    pub fn len(&self, digest: &Digest) -> Result<u64, BlobError> {
        let path = self.path(digest);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) => Err(not_opened(digest, path, error)),
        }
    }

    /// Opens a blob to be read in pieces from `offset` on. What it gives is not checked: who puts the pieces together
    /// checks the digest of the whole.
    ///
    /// # Errors
    /// It is missing, ends before `offset` or cannot be read.
    pub fn reader(&self, digest: &Digest, offset: u64) -> Result<BlobReader, BlobError> {
        let (mut file, length) = self.open_blob(digest)?;
        if offset > length {
            return Err(BlobError::BeyondEnd {
                digest: *digest,
                length,
                offset,
            });
        }
        file.seek(SeekFrom::Start(offset))
            .map_err(|source| BlobError::Io {
                action: "read",
                path: self.path(digest),
                source,
            })?;
        Ok(BlobReader::new(file, length))
    }

    /// Begins to take a blob of `length` bytes piece by piece.
    ///
    /// # Errors
    /// It is too long, or the disk refused.
    pub fn begin(&self, digest: Digest, length: u64) -> Result<BlobWriter, BlobError> {
        if length > BLOB_BYTES_MAX {
            return Err(BlobError::TooLong { digest, length });
        }
        let file = self.begin_tmp().map_err(|source| BlobError::Io {
            action: "write to",
            path: self.0.tmp.clone(),
            source,
        })?;
        Ok(BlobWriter::new(self.clone(), file, digest, length))
    }

    /// The form of a value that a record may hold: a long one becomes a blob, durable on return.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub fn keep(&self, payload: Payload) -> io::Result<Payload> {
        match &payload {
            Payload::Inline(bytes) if !fits_inline(bytes, &payload) => Ok(Payload::Blob(self.put(bytes)?)),
            Payload::Inline(_) | Payload::Blob(_) => Ok(payload),
        }
    }

    /// The value itself, wherever it is kept.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn load(&self, payload: &Payload) -> Result<Bytes, BlobError> {
        match payload {
            Payload::Inline(bytes) => Ok(bytes.clone()),
            Payload::Blob(digest) => self.read(digest),
        }
    }

    fn open_blob(&self, digest: &Digest) -> Result<(File, u64), BlobError> {
        let path = self.path(digest);
        File::open(&path)
            .and_then(|file| {
                let length = file.metadata()?.len();
                Ok((file, length))
            })
            .map_err(|error| not_opened(digest, path, error))
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.shard(digest).join(&digest.to_string()[2..])
    }

    fn shard(&self, digest: &Digest) -> PathBuf {
        shard_dir(&self.0.dir, digest.0[0])
    }

    fn begin_tmp(&self) -> io::Result<Unnamed> {
        let path = self
            .0
            .tmp
            .join(self.0.tmp_next.fetch_add(1, Ordering::Relaxed).to_string());
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Unnamed {
            file,
            path: Some(path),
        })
    }

    /// Whether the blob is there, with that length and a durable name. One of another length is a file that a disk
    /// lost a part of, and is written again.
    fn is_stored(&self, digest: &Digest, length: u64) -> io::Result<bool> {
        match fs::metadata(self.path(digest)) {
            Ok(metadata) if metadata.len() == length => {
                self.make_names_durable(digest)?;
                Ok(true)
            }
            Ok(_) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn name(&self, mut file: Unnamed, digest: &Digest) -> io::Result<()> {
        let mut durable = self.lock_shard(digest);
        *durable = Durable::Unknown;
        let tmp = file.path.take().expect("a file is named once");
        let named = fs::rename(&tmp, self.path(digest));
        if named.is_err() {
            file.path = Some(tmp);
        }
        named
    }

    fn make_names_durable(&self, digest: &Digest) -> io::Result<()> {
        let mut durable = self.lock_shard(digest);
        if *durable == Durable::Unknown {
            sync_dir(&self.shard(digest))?;
            *durable = Durable::Yes;
        }
        Ok(())
    }

    fn lock_shard(&self, digest: &Digest) -> std::sync::MutexGuard<'_, Durable> {
        let shard = &self.0.shards[usize::from(digest.0[0])];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file that has no name yet that counts; removed when dropped.
#[derive(Debug)]
struct Unnamed {
    file: File,
    /// None once it was renamed.
    path: Option<PathBuf>,
}

impl Unnamed {
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.file).write_all(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // What cannot be removed now is removed at the next start.
            let _ = fs::remove_file(path);
        }
    }
}

fn fits_inline(bytes: &Bytes, payload: &Payload) -> bool {
    bytes.len() <= Payload::INLINE_MAX
        && serde_json::to_vec(payload).is_ok_and(|json| json.len() <= INLINE_JSON_MAX)
}

fn checked_len(digest: &Digest, bytes: &[u8]) -> io::Result<u64> {
    let length = bytes.len() as u64;
    if length > BLOB_BYTES_MAX {
        let digest = *digest;
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            BlobError::TooLong { digest, length },
        ));
    }
    Ok(length)
}

fn not_opened(digest: &Digest, path: PathBuf, error: io::Error) -> BlobError {
    match error.kind() {
        io::ErrorKind::NotFound => BlobError::Missing { digest: *digest },
        _ => BlobError::Io {
            action: "open",
            path,
            source: error,
        },
    }
}

fn shard_dir(dir: &Path, shard: u8) -> PathBuf {
    dir.join(format!("{shard:02x}"))
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Does `call` for all items, several at a time; gives one of the errors.
fn at_once<I: Sync>(items: &[I], call: impl Fn(&I) -> io::Result<()> + Sync) -> io::Result<()> {
    let next = AtomicUsize::new(0);
    let work = || -> io::Result<()> {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            call(item)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads = SYNCS_AT_ONCE.get().min(items.len());
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .map_err(|_| io::Error::other("a syncing thread panicked"))?
        })
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;

    pub(super) fn blobs() -> (TempDir, Blobs) {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path()).unwrap();
        (dir, blobs)
    }

    pub(super) fn tmp_files(dir: &TempDir) -> usize {
        fs::read_dir(dir.path().join("blobs/tmp")).unwrap().count()
    }

    #[test]
    fn blob_lies_under_its_digest_for_its_owner_alone_and_reads_back() {
        let (dir, blobs) = blobs();
        let digest = blobs.put(b"abc").unwrap();
        let path = dir
            .path()
            .join("blobs/ba/7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(digest, Digest::of(b"abc"));
        assert_eq!(blobs.read(&digest).unwrap(), "abc");
        assert_eq!(blobs.len(&digest).unwrap(), 3);
        assert_eq!(tmp_files(&dir), 0);
        assert_eq!(Blobs::open(dir.path()).unwrap().read(&digest).unwrap(), "abc");
        let empty = blobs.put(b"").unwrap();
        assert_eq!(blobs.read(&empty).unwrap(), "");
    }

    #[test]
    fn blob_that_is_stored_is_not_written_again_unless_a_part_of_it_is_lost() {
        use std::os::unix::fs::MetadataExt;
        let (_dir, blobs) = blobs();
        let digest = blobs.put(b"abc").unwrap();
        let inode = || fs::metadata(blobs.path(&digest)).unwrap().ino();
        let before = inode();
        blobs.put(b"abc").unwrap();
        assert_eq!(inode(), before);
        fs::write(blobs.path(&digest), "").unwrap();
        blobs.put(b"abc").unwrap();
        assert_eq!(blobs.read(&digest).unwrap(), "abc");
    }

    #[test]
    fn missing_and_damaged_blobs_are_told_apart() {
        let (_dir, blobs) = blobs();
        let digest = Digest::of(b"abc");
        assert_eq!(
            blobs.read(&digest).unwrap_err().to_string(),
            format!("no blob {digest} is stored")
        );
        assert!(matches!(blobs.len(&digest), Err(BlobError::Missing { .. })));
        assert!(matches!(blobs.reader(&digest, 0), Err(BlobError::Missing { .. })));
        blobs.put(b"abc").unwrap();
        fs::write(blobs.path(&digest), "abd").unwrap();
        let found = Digest::of(b"abd");
        assert!(matches!(blobs.read(&digest), Err(BlobError::Damaged { found: f, .. }) if f == found));
    }

    #[test]
    fn long_value_is_kept_as_a_blob_and_a_short_one_stays() {
        let (_dir, blobs) = blobs();
        for (text, is_blob) in [
            ("x".repeat(1_400), false),
            ("x".repeat(Payload::INLINE_MAX + 1), true),
            // Six bytes each as JSON.
            ("\u{1}".repeat(400), true),
            (String::new(), false),
        ] {
            let payload = Payload::text(&text);
            let kept = blobs.keep(payload.clone()).unwrap();
            assert_eq!(
                kept,
                if is_blob {
                    Payload::Blob(payload.digest())
                } else {
                    payload
                }
            );
            assert_eq!(blobs.load(&kept).unwrap(), text);
            assert_eq!(blobs.keep(kept.clone()).unwrap(), kept);
        }
    }

    #[test]
    fn many_blobs_put_at_once_are_all_stored_in_order() {
        let (dir, blobs) = blobs();
        let mut contents: Vec<String> = (0..300).map(|n| format!("content {n}")).collect();
        contents.push("content 7".to_owned());
        blobs.put(b"content 5").unwrap();
        let digests = blobs.put_all(&contents).unwrap();
        assert_eq!(
            digests,
            contents
                .iter()
                .map(|text| Digest::of(text.as_bytes()))
                .collect::<Vec<_>>()
        );
        for (digest, text) in digests.iter().zip(&contents) {
            assert_eq!(blobs.read(digest).unwrap(), text);
        }
        assert_eq!(tmp_files(&dir), 0);
    }

    #[test]
    fn threads_that_put_the_same_blobs_at_once_agree() {
        let (dir, blobs) = blobs();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for n in 0..20 {
                        let text = format!("content {n}");
                        let digest = blobs.clone().put(text.as_bytes()).unwrap();
                        assert_eq!(blobs.read(&digest).unwrap(), text);
                    }
                });
            }
        });
        assert_eq!(tmp_files(&dir), 0);
    }
}
