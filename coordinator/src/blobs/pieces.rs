//! Blobs in pieces: what is too long to be held in memory on its way to or from a worker.

use std::fs::File;
use std::io::{self, Read};

use roundhouse_proto::Digest;
use sha2::{Digest as _, Sha256};

use super::{BlobError, Blobs, Unnamed};

/// A blob that is read in pieces.
#[derive(Debug)]
pub struct BlobReader {
    file: File,
    length: u64,
}

impl BlobReader {
    pub(super) fn new(file: File, length: u64) -> Self {
        Self { file, length }
    }

    /// Bytes of the whole blob, wherever reading began.
    pub fn blob_len(&self) -> u64 {
        self.length
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

/// A blob that is taken piece by piece. Dropped before [`BlobWriter::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct BlobWriter {
    blobs: Blobs,
    file: Unnamed,
    digest: Digest,
    length: u64,
    written: u64,
    hash: Sha256,
}

impl BlobWriter {
    pub(super) fn new(blobs: Blobs, file: Unnamed, digest: Digest, length: u64) -> Self {
        Self {
            blobs,
            file,
            digest,
            length,
            written: 0,
            hash: Sha256::new(),
        }
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// More comes than was announced, or the disk refused.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), BlobError> {
        let found = self.written.saturating_add(piece.len() as u64);
        if found > self.length {
            return Err(BlobError::Length {
                digest: self.digest,
                expected: self.length,
                found,
            });
        }
        self.file
            .write(piece)
            .map_err(|source| self.disk_refused(source))?;
        self.hash.update(piece);
        self.written = found;
        Ok(())
    }

    /// Stores the blob; durable on return.
    ///
    /// # Errors
    /// What came is not what was announced, or the disk refused.
    pub fn finish(self) -> Result<Digest, BlobError> {
        let (digest, expected, found) = (self.digest, self.length, self.written);
        if found != expected {
            return Err(BlobError::Length {
                digest,
                expected,
                found,
            });
        }
        let found = Digest(self.hash.clone().finalize().into());
        if found != digest {
            return Err(BlobError::Differs {
                expected: digest,
                found,
            });
        }
        if !self
            .blobs
            .is_stored(&digest, expected)
            .map_err(|source| self.disk_refused(source))?
        {
            self.file.sync().map_err(|source| self.disk_refused(source))?;
            let path = self.blobs.path(&digest);
            self.blobs
                .name(self.file, &digest)
                .and_then(|()| self.blobs.make_names_durable(&digest))
                .map_err(|source| BlobError::Io {
                    action: "name",
                    path,
                    source,
                })?;
        }
        Ok(digest)
    }

    fn disk_refused(&self, source: io::Error) -> BlobError {
        BlobError::Io {
            action: "write to",
            path: self.blobs.0.tmp.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use super::super::BLOB_BYTES_MAX;
    use super::super::tests::{blobs, tmp_files};
    use super::*;

    #[test]
    fn reader_begins_at_any_offset_up_to_the_end() {
        let (_dir, blobs) = blobs();
        let digest = blobs.put(b"0123456789").unwrap();
        for (offset, expected) in [(0, "0123456789"), (7, "789"), (10, "")] {
            let mut reader = blobs.reader(&digest, offset).unwrap();
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            assert_eq!((text.as_str(), reader.blob_len()), (expected, 10));
        }
        assert!(matches!(
            blobs.reader(&digest, 11),
            Err(BlobError::BeyondEnd {
                length: 10,
                offset: 11,
                ..
            })
        ));
    }

    #[test]
    fn writer_stores_what_was_announced_and_nothing_else() {
        let (dir, blobs) = blobs();
        let digest = Digest::of(b"abcdef");
        for _ in 0..2 {
            let mut writer = blobs.begin(digest, 6).unwrap();
            writer.write(b"abc").unwrap();
            writer.write(b"def").unwrap();
            assert_eq!(writer.finish().unwrap(), digest);
            assert_eq!(blobs.read(&digest).unwrap(), "abcdef");
        }

        let other = Digest::of(b"other");
        let mut writer = blobs.begin(other, 3).unwrap();
        writer.write(b"ab").unwrap();
        assert!(matches!(
            writer.write(b"cd"),
            Err(BlobError::Length {
                expected: 3,
                found: 4,
                ..
            })
        ));
        assert!(matches!(
            writer.finish(),
            Err(BlobError::Length {
                expected: 3,
                found: 2,
                ..
            })
        ));
        let mut writer = blobs.begin(other, 3).unwrap();
        writer.write(b"abc").unwrap();
        let found = Digest::of(b"abc");
        assert!(
            matches!(writer.finish(), Err(BlobError::Differs { expected, found: f }) if (expected, f) == (other, found))
        );
        assert!(matches!(
            blobs.begin(other, BLOB_BYTES_MAX + 1),
            Err(BlobError::TooLong { .. })
        ));
        assert!(matches!(blobs.read(&other), Err(BlobError::Missing { .. })));
        drop(blobs.begin(other, 3).unwrap());
        assert_eq!(tmp_files(&dir), 0);
    }

    #[test]
    fn half_written_blobs_are_removed_at_the_next_start() {
        let (dir, blobs) = blobs();
        let mut writer = blobs.begin(Digest::of(b"abc"), 3).unwrap();
        writer.write(b"ab").unwrap();
        assert_eq!(tmp_files(&dir), 1);
        drop(Blobs::open(dir.path()).unwrap());
        assert_eq!(tmp_files(&dir), 0);
    }
}
