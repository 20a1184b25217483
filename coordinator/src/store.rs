//! The store: where the core's writes become durable before anybody is told of them.
//!
//! It stands between the driver, which hands over what one event wrote, and everything that leaves the process:
//! [`committer::Committer`] commits groups of writes and lets their commands go when they are durable. A [`Store`]
//! knows records and nothing of queues, leases or workers; it is read once, at a start. What is too big for a record
//! is a blob ([`crate::blobs`]).

use std::io;
use std::path::PathBuf;

use roundhouse_core::record::{Stored, Write};

pub mod committer;
pub mod journal;
mod layout;
pub mod memory;
pub mod sled_store;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod crash;

pub use committer::{Committer, Health};
pub use layout::RECORD_BYTES_MAX;
pub use memory::MemoryStore;
pub use sled_store::SledStore;

/// A durable log of the core's writes.
pub trait Store: Send {
    /// All that is stored, in the order of its keys. Read once, at a start.
    ///
    /// # Errors
    /// A record that cannot be read.
    fn load(&mut self) -> Result<Stored, StoreError>;

    /// Stores `writes`, in their order: on return all of them are durable, and a reader sees all or none of them.
    /// Gives the commit's number; each is larger than the one before.
    ///
    /// # Errors
    /// A record that is too large changes nothing, and the store goes on. After any other error it is not known
    /// whether the writes are stored; the store takes no more and must be opened again. Committing them once more
    /// is then right in either case, because a record says all there is to say of its key.
    fn commit(&mut self, writes: &[Write]) -> Result<u64, StoreError>;
}

/// Why a store cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory is locked by a process that runs.
    #[error("another coordinator uses `{}`", dir.display())]
    InUse {
        /// The data directory.
        dir: PathBuf,
    },
    /// The store was written by a later version.
    #[error(
        "the store in `{}` has version {found}, this coordinator knows versions up to {known}: use a newer one",
        path.display()
    )]
    Newer {
        /// The store.
        path: PathBuf,
        /// What it says.
        found: u32,
        /// The newest version that can be read.
        known: u32,
    },
    /// The store cannot be read as what it should be.
    #[error(
        "the store in `{}` is damaged: {detail}; all that was acknowledged is also in the `events.jsonl` files beside \
         it and under `runs`, which were left as they are",
        path.display()
    )]
    Damaged {
        /// The store.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The store lacks commits that were acknowledged. A damaged database often opens like this, as a shorter one.
    #[error(
        "the store in `{}` ends at commit {stored}, but `{}` goes on to commit {written}: the store is damaged or was \
         removed; the `events.jsonl` files were left as they are",
        path.display(), journal.display()
    )]
    Behind {
        /// The store.
        path: PathBuf,
        /// A journal with later lines.
        journal: PathBuf,
        /// The store's last commit.
        stored: u64,
        /// The journal's last commit.
        written: u64,
    },
    /// A store that was opened again gave a number that was given before.
    #[error("the store fell back: commit {found} came after commit {acknowledged} was acknowledged")]
    WentBack {
        /// The last acknowledged commit.
        acknowledged: u64,
        /// What the store gave.
        found: u64,
    },
    /// A record is longer than a store holds.
    #[error("a {record} record has {bytes} bytes, at most {max} can be stored")]
    TooLarge {
        /// Which kind of record.
        record: &'static str,
        /// Its length once encoded.
        bytes: usize,
        /// The most that is allowed.
        max: usize,
    },
    /// A record cannot be written as JSON.
    #[error("a {record} record cannot be encoded")]
    Encode {
        /// Which kind of record.
        record: &'static str,
        /// Why.
        source: serde_json::Error,
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
    /// The database below the store failed.
    #[error("the database in `{}` failed: {detail}", path.display())]
    Database {
        /// Its directory.
        path: PathBuf,
        /// What it said.
        detail: String,
    },
    /// A commit failed before; the store must be opened again.
    #[error("the store takes no writes after a failed one: it must be opened again")]
    Closed,
}

impl StoreError {
    /// Whether the same may succeed later, without anything but the disk or another process having changed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::InUse { .. } | Self::Io { .. } | Self::Database { .. } | Self::Closed => true,
            Self::Newer { .. }
            | Self::Damaged { .. }
            | Self::Behind { .. }
            | Self::WentBack { .. }
            | Self::TooLarge { .. }
            | Self::Encode { .. } => false,
        }
    }
}

/// The error with all its sources, for a log or a person.
pub(crate) fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
