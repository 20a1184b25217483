//! What the files of a run directory say: pure functions from a run's summary, and the blobs it names, to bytes.
//!
//! Between the core's summary and [`crate::run_dir`], which writes what is made here. Nothing here reads a clock or
//! touches a disk, so a report can be made again from the store, byte for byte. REPORT.txt is made from summary.json
//! alone.

pub mod checkpoint;
pub mod figures;
pub mod line;
pub mod moment;
pub mod number;
mod provenance;
pub mod read_back;
pub mod readable;
mod rounds;
pub mod session;
pub mod speedup;
pub mod summary;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;

use std::io;

use bytes::Bytes;
use roundhouse_core::summary::RunSummary;
use roundhouse_proto::{Digest, Payload};
use serde::Serialize;

pub use figures::{Figures, Price};
pub use readable::report;

/// The version of the files in a run directory that this program writes, and the newest that it reads.
pub const SCHEMA_VERSION: u64 = 1;

/// Gives the bytes of a blob. Any `Fn(&Digest) -> io::Result<Bytes>` is one.
pub trait BlobReader {
    /// The bytes under this address.
    ///
    /// # Errors
    /// The blob is missing or cannot be read.
    fn read_blob(&self, digest: &Digest) -> io::Result<Bytes>;
}

impl<F: Fn(&Digest) -> io::Result<Bytes>> BlobReader for F {
    fn read_blob(&self, digest: &Digest) -> io::Result<Bytes> {
        self(digest)
    }
}

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A blob is missing or cannot be read.
    #[error("read the {what} of `{problem}`")]
    Blob {
        /// Name of the problem.
        problem: String,
        /// What was wanted.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A blob is not what it should be.
    #[error("decode the {what} of `{problem}`")]
    Decode {
        /// Name of the problem.
        problem: String,
        /// What was wanted.
        what: &'static str,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The summary does not belong to its own specification.
    #[error("the run has {wanted} problems, but its summary {found}")]
    Problems {
        /// Problems asked for.
        wanted: usize,
        /// Problems in the summary.
        found: usize,
    },
    /// A value cannot be written as JSON.
    #[error("write {file} as JSON")]
    Encode {
        /// Which file.
        file: &'static str,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// The value is no summary.json.
    #[error("read summary.json")]
    Shape(#[source] serde_json::Error),
    /// It was written by a newer program.
    #[error(
        "summary.json has schema version {found}, but this program knows versions up to {SCHEMA_VERSION}"
    )]
    Newer {
        /// Its version.
        found: u64,
    },
}

/// What the files need to know beside the run's summary.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The run directory as the user named it, for `problem_dir`.
    pub run_dir: String,
    /// For the estimate of the cost.
    pub price: Price,
}

/// The bytes of a payload of a problem.
///
/// # Errors
/// The blob it names cannot be read.
pub(crate) fn content(
    payload: &Payload,
    problem: &str,
    what: &'static str,
    blobs: &dyn BlobReader,
) -> Result<Bytes, ReportError> {
    match payload {
        Payload::Inline(bytes) => Ok(bytes.clone()),
        Payload::Blob(digest) => blob(digest, problem, what, blobs),
    }
}

/// The bytes of a blob of a problem.
pub(crate) fn blob(
    digest: &Digest,
    problem: &str,
    what: &'static str,
    blobs: &dyn BlobReader,
) -> Result<Bytes, ReportError> {
    let failed = |source| ReportError::Blob {
        problem: problem.to_owned(),
        what,
        source,
    };
    blobs.read_blob(digest).map_err(failed)
}

/// Bytes as text; what is no UTF-8 becomes U+FFFD.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// JSON as the run directory holds it: two spaces of indent, other scripts as they are, a line feed at the end.
pub(crate) fn json(file: &'static str, value: &impl Serialize) -> Result<Bytes, ReportError> {
    let mut bytes =
        serde_json::to_vec_pretty(value).map_err(|source| ReportError::Encode { file, source })?;
    bytes.push(b'\n');
    Ok(bytes.into())
}

/// Refuses a summary that does not have one entry for each problem of its specification.
fn check_problems(run: &RunSummary) -> Result<(), ReportError> {
    let (wanted, found) = (run.spec.problems.len(), run.problems.len());
    if wanted == found {
        Ok(())
    } else {
        Err(ReportError::Problems { wanted, found })
    }
}

/// An object whose keys keep their order.
struct Ordered<K, V>(Vec<(K, V)>);

impl<K: Serialize, V: Serialize> Serialize for Ordered<K, V> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}
