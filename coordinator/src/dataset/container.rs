//! From a file's bytes to its rows: what is around them, and what they are kept in, both told by content.
//!
//! Compressed rows are decoded as they are read, under a bound on what comes out.

use std::io::{self, BufRead, BufReader, Chain, Read};
use std::path::Path;

use bytes::Bytes;

use super::collect::Rows;
use super::error::DatasetError;
use super::quote::plain;
use super::{Bounds, Compression, columns, json};

/// Bytes at the start of the rows that tell what they are.
const HEAD_BYTES: usize = 512;

/// Decoded bytes held at once between a decoder and its reader.
const BUFFER_BYTES: usize = 1 << 16;

/// The largest window of Zstandard that is accepted, as a power of two: what `zstd --long` makes by default.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const PARQUET_MAGIC: &[u8] = b"PAR1";
const UTF8_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// The rows of a file, decompressed, from their first byte.
pub(super) type Source<'a> = Chain<io::Cursor<Vec<u8>>, Box<dyn BufRead + 'a>>;

/// Reads all rows of the file whose bytes are `file`.
pub(super) fn read(path: &Path, file: &Bytes, bounds: Bounds) -> Result<Rows, DatasetError> {
    let compression = if file.starts_with(GZIP_MAGIC) {
        Compression::Gzip
    } else if file.starts_with(ZSTD_MAGIC) {
        Compression::Zstd
    } else {
        Compression::None
    };
    let origin = Origin {
        path,
        compression,
        bounds,
    };
    let mut decoded: Box<dyn BufRead + '_> = match compression {
        Compression::None => Box::new(&file[..]),
        Compression::Gzip => origin.bounded(
            flate2::read::MultiGzDecoder::new(&file[..]),
            bounds.decoded_bytes_max,
        ),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(&file[..])
                .map_err(|error| origin.decode_error(&error))?;
            decoder
                .window_log_max(ZSTD_WINDOW_LOG_MAX)
                .map_err(|error| origin.decode_error(&error))?;
            origin.bounded(decoder, bounds.decoded_bytes_max)
        }
    };
    let mut head = Vec::with_capacity(HEAD_BYTES);
    (&mut decoded)
        .take(HEAD_BYTES as u64)
        .read_to_end(&mut head)
        .map_err(|error| origin.decode_error(&error))?;
    if head.starts_with(PARQUET_MAGIC) {
        let bytes = match compression {
            Compression::None => file.clone(),
            Compression::Gzip | Compression::Zstd => origin.read_to_end(head, decoded)?,
        };
        return columns::read(origin, &bytes);
    }
    let marked = head.strip_prefix(UTF8_MARK).unwrap_or(&head);
    match marked.iter().copied().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => json::read_lines(origin, io::Cursor::new(marked.to_vec()).chain(decoded)),
        Some(b'[') => {
            let bytes = match compression {
                Compression::None => file.slice(head.len() - marked.len()..),
                Compression::Gzip | Compression::Zstd => origin.read_to_end(marked.to_vec(), decoded)?,
            };
            json::read_array(origin, &bytes)
        }
        None => Err(DatasetError::Empty {
            path: path.to_owned(),
        }),
        Some(_) => Err(DatasetError::Foreign {
            path: path.to_owned(),
            found: what_it_seems(&head),
        }),
    }
}

/// Where rows come from, for errors and bounds.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    pub(super) path: &'a Path,
    pub(super) compression: Compression,
    pub(super) bounds: Bounds,
}

impl Origin<'_> {
    fn bounded<'r>(self, decoder: impl Read + 'r, bytes_max: u64) -> Box<dyn BufRead + 'r> {
        Box::new(BufReader::with_capacity(
            BUFFER_BYTES,
            Bounded {
                inner: decoder,
                left: bytes_max,
            },
        ))
    }

    fn read_to_end(self, mut head: Vec<u8>, mut rest: Box<dyn BufRead + '_>) -> Result<Bytes, DatasetError> {
        rest.read_to_end(&mut head)
            .map_err(|error| self.decode_error(&error))?;
        Ok(head.into())
    }

    /// Why decoding failed; reading from memory fails for no other reason.
    pub(super) fn decode_error(self, error: &io::Error) -> DatasetError {
        let path = self.path.to_owned();
        let format = self.compression.word();
        if error
            .get_ref()
            .is_some_and(<dyn std::error::Error + Send + Sync>::is::<OverBound>)
        {
            DatasetError::Inflated {
                path,
                bytes_max: self.bounds.decoded_bytes_max,
            }
        } else if error.kind() == io::ErrorKind::UnexpectedEof {
            DatasetError::Truncated {
                path,
                what: format!("its {format} stream has no end"),
            }
        } else {
            DatasetError::Damaged {
                path,
                what: format!("its {format} stream cannot be decoded ({error})"),
            }
        }
    }
}

/// Passes on at most so many bytes, then fails.
struct Bounded<R> {
    inner: R,
    left: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("more bytes than the bound")]
struct OverBound;

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| io::Error::other(OverBound))?;
        Ok(read)
    }
}

/// What a file that holds no rows seems to be, from its first bytes, with its article.
fn what_it_seems(head: &[u8]) -> String {
    const TAR_MARK: std::ops::Range<usize> = 257..262;
    const SHOWN_CHARS_MAX: usize = 24;
    let starts: [(&[u8], &str); 12] = [
        (
            b"version https://git-lfs",
            "a git-lfs pointer: the data itself was not downloaded",
        ),
        (b"PK\x03\x04", "a zip archive: unpack it first"),
        (b"\x89PNG", "a PNG image"),
        (b"\xff\xd8\xff", "a JPEG image"),
        (b"%PDF", "a PDF document"),
        (b"\x7fELF", "a program"),
        (b"ARROW1", "an Arrow file: write it as parquet"),
        (b"BZh", "compressed with bzip2: unpack it, or use gzip or zstd"),
        (b"\xfd7zXZ", "compressed with xz: unpack it, or use gzip or zstd"),
        (b"PARE", "a parquet file with an encrypted footer"),
        (b"\xff\xfe", "UTF-16 text: convert it to UTF-8"),
        (b"\xfe\xff", "UTF-16 text: convert it to UTF-8"),
    ];
    if let Some((_, what)) = starts.iter().find(|(start, _)| head.starts_with(start)) {
        return (*what).to_owned();
    }
    if head.get(TAR_MARK) == Some(b"ustar") {
        return "a tar archive: unpack it first".to_owned();
    }
    if head.trim_ascii_start().starts_with(b"<") {
        return "an HTML or XML page, perhaps the error page of a failed download".to_owned();
    }
    match std::str::from_utf8(head) {
        Ok(text) => format!(
            "text that starts with `{}`",
            plain(text.trim_start(), SHOWN_CHARS_MAX)
        ),
        Err(error) if error.error_len().is_none() => {
            let text = String::from_utf8_lossy(&head[..error.valid_up_to()]);
            format!(
                "text that starts with `{}`",
                plain(text.trim_start(), SHOWN_CHARS_MAX)
            )
        }
        Err(_) => format!("binary data that starts with {:02x?}", &head[..head.len().min(8)]),
    }
}
