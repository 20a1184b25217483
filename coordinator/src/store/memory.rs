//! A store without a disk, for tests and for the simulator: it lays records out as the others do, and fails on demand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roundhouse_core::record::{Stored, Write};

use super::{Store, StoreError, layout};

/// A store in memory. A clone is another handle on the same "disk": dropping one and going on with a clone is a
/// restart, and a clone takes writes again after a failure.
#[derive(Debug, Default)]
pub struct MemoryStore {
    disk: Arc<Mutex<Disk>>,
    failed: bool,
}

#[derive(Debug, Default)]
struct Disk {
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    commit: u64,
    /// Writes that still succeed, and what becomes of the first commit that does not.
    fault: Option<(u64, Fault)>,
}

/// What becomes of a commit that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing of it is stored.
    Lost,
    /// It is stored, but the store could not say so.
    Unsaid,
}

impl Clone for MemoryStore {
    fn clone(&self) -> Self {
        Self {
            disk: Arc::clone(&self.disk),
            failed: false,
        }
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Fails the commit that goes beyond the next `writes` writes, and every later one, until [`Self::heal`].
    pub fn fail_after(&self, writes: u64, fault: Fault) {
        self.disk().fault = Some((writes, fault));
    }

    /// Takes writes again, through handles that have not failed.
    pub fn heal(&self) {
        self.disk().fault = None;
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn load(&mut self) -> Result<Stored, StoreError> {
        let disk = self.disk();
        layout::read(disk.records.iter().map(Ok), |detail| StoreError::Damaged {
            path: "memory".into(),
            detail,
        })
    }

    fn commit(&mut self, writes: &[Write]) -> Result<u64, StoreError> {
        if self.failed {
            return Err(StoreError::Closed);
        }
        let changes = writes.iter().map(layout::change).collect::<Result<Vec<_>, _>>()?;
        let mut guard = self.disk();
        let disk = &mut *guard;
        let n = writes.len() as u64;
        let fault = match &mut disk.fault {
            Some((left, _)) if n <= *left => {
                *left -= n;
                None
            }
            Some((left, fault)) => {
                *left = 0;
                Some(*fault)
            }
            None => None,
        };
        if fault != Some(Fault::Lost) {
            for change in changes {
                match change.value {
                    Some(value) => disk.records.insert(change.key, value),
                    None => disk.records.remove(&change.key),
                };
            }
            disk.commit += 1;
        }
        let commit = disk.commit;
        drop(guard);
        if fault.is_some() {
            self.failed = true;
            return Err(StoreError::Database {
                path: "memory".into(),
                detail: "it was told to fail".to_owned(),
            });
        }
        Ok(commit)
    }
}
