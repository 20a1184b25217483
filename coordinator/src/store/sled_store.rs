//! The store of a single coordinator: sled below, the journal beside it.
//!
//! A commit is: journal lines synced, one sled batch with the commit's number, `flush`, and a sync of sled's file,
//! because sled's own `flush` hands data to the kernel but does not ask the disk for it. sled keeps one tree: a batch
//! is atomic within one only. After a failed write sled refuses every later one, so a store that failed once says
//! [`StoreError::Closed`] until it is opened again.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use roundhouse_core::record::{Stored, Write};
use tracing::{info, warn};

use super::journal::Journal;
use super::layout::{self, COMMIT_KEY, SCHEMA, SCHEMA_KEY};
use super::{Store, StoreError};

/// Memory that sled may use for pages, in bytes.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// How often sled's own thread syncs and collects garbage, in milliseconds. Nothing waits for it.
const FLUSH_EVERY_MS: u64 = 500;

/// How long another holder of the directory's lock is waited for.
const LOCK_WAIT_MAX: Duration = Duration::from_millis(500);
/// How long a store closed in this process may take to let go of sled's file.
const CLOSING_WAIT_MAX: Duration = Duration::from_secs(5);
/// Between two tries for a lock.
const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// A store in a data directory. One process at a time has it open.
#[derive(Debug)]
pub struct SledStore {
    // Fields are dropped in this order: the lock goes last.
    db: sled::Db,
    /// sled's file once more, to sync it.
    db_file: File,
    db_dir: PathBuf,
    journal: Journal,
    commit: u64,
    failed: bool,
    _lock: File,
}

impl SledStore {
    /// Opens the store in `data_dir`, or makes both (mode 0700). Lines of the journal that nobody was told of are cut.
    ///
    /// # Errors
    /// The directory is in use or cannot be written; the store is of a later version, damaged, or older than its
    /// journal.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let io = |action, path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Io { action, path, source }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data_dir)
            .map_err(io("make directory", data_dir))?;
        // A lock of our own, and before all else: sled takes its lock only after we have cleared up behind it.
        let lock = lock(data_dir)?;
        let db_dir = data_dir.join("db");
        remove_unfinished_snapshots(&db_dir).map_err(io("clear", &db_dir))?;

        let db = open_db(&db_dir)?;
        let db_path = db_dir.join("db");
        let db_file = File::open(&db_path).map_err(io("open", &db_path))?;
        let commit = check_schema(&db, &db_dir)?;
        calmly(&db_dir, || db.flush())?;
        db_file.sync_all().map_err(io("sync", &db_path))?;
        for dir in [&*db_dir, data_dir] {
            File::open(dir)
                .and_then(|dir| dir.sync_all())
                .map_err(io("sync", dir))?;
        }

        let journal = Journal::open(data_dir, &db_dir, commit)?;
        Ok(Self {
            db,
            db_file,
            db_dir,
            journal,
            commit,
            failed: false,
            _lock: lock,
        })
    }

    fn commit_changes(
        &mut self,
        commit: u64,
        writes: &[Write],
        batch: sled::Batch,
    ) -> Result<(), StoreError> {
        self.journal.append(commit, writes)?;
        calmly(&self.db_dir, || {
            self.db.apply_batch(batch)?;
            self.db.flush()
        })?;
        self.db_file.sync_data().map_err(|source| StoreError::Io {
            action: "sync",
            path: self.db_dir.join("db"),
            source,
        })
    }
}

impl Store for SledStore {
    fn load(&mut self) -> Result<Stored, StoreError> {
        let damaged = |detail| StoreError::Damaged {
            path: self.db_dir.clone(),
            detail,
        };
        let mut entries = self.db.iter();
        let entries = std::iter::from_fn(|| calmly(&self.db_dir, || entries.next().transpose()).transpose());
        layout::read(entries, damaged)
    }

    fn commit(&mut self, writes: &[Write]) -> Result<u64, StoreError> {
        if self.failed {
            return Err(StoreError::Closed);
        }
        let commit = self.commit + 1;
        let mut batch = sled::Batch::default();
        for write in writes {
            let change = layout::change(write)?;
            match change.value {
                Some(value) => batch.insert(change.key, value),
                None => batch.remove(change.key),
            }
        }
        batch.insert(COMMIT_KEY, &commit.to_be_bytes());
        self.failed = true;
        self.commit_changes(commit, writes, batch)?;
        self.failed = false;
        self.commit = commit;
        Ok(commit)
    }
}

/// Locks the directory. A process that was just started holds our open files for a moment, until it executes its
/// program, so a lock that is held is tried for a while.
fn lock(data_dir: &Path) -> Result<File, StoreError> {
    let path = data_dir.join("lock");
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path);
    let file = opened.map_err(|source| StoreError::Io {
        action: "open",
        path: path.clone(),
        source,
    })?;
    let give_up_at = Instant::now() + LOCK_WAIT_MAX;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < give_up_at => thread::park_timeout(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::InUse {
                    dir: data_dir.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => {
                return Err(StoreError::Io {
                    action: "lock",
                    path,
                    source,
                });
            }
        }
    }
}

/// Opens sled. A store that was closed in this process may hold sled's lock a little longer, in a thread of sled's
/// that still writes; nobody else can, because we hold ours.
fn open_db(db_dir: &Path) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new()
        .path(db_dir)
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(Some(FLUSH_EVERY_MS));
    let give_up_at = Instant::now() + CLOSING_WAIT_MAX;
    loop {
        match calmly(db_dir, || config.open()) {
            Err(StoreError::Io { source, .. })
                if source.to_string().contains("could not acquire lock") && Instant::now() < give_up_at =>
            {
                thread::park_timeout(LOCK_PAUSE);
            }
            // To be opened needs no more than what is there.
            Err(StoreError::Database { path, detail }) => return Err(StoreError::Damaged { path, detail }),
            result => return result,
        }
    }
}

/// sled refuses for ever to open a directory with a torn snapshot; one that was being written is never needed.
fn remove_unfinished_snapshots(db_dir: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(db_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("snap.") && name.ends_with(".generating"))
        {
            fs::remove_file(entry.path())?;
            info!(path = %entry.path().display(), "removed an unfinished snapshot");
        }
    }
    Ok(())
}

/// Makes a new store one of ours, refuses what is none; gives the number of its last commit.
fn check_schema(db: &sled::Db, db_dir: &Path) -> Result<u64, StoreError> {
    let damaged = |detail: &str| StoreError::Damaged {
        path: db_dir.to_owned(),
        detail: detail.to_owned(),
    };
    let value = |key| calmly(db_dir, || db.get(key));
    let Some(schema) = value(SCHEMA_KEY)? else {
        if calmly(db_dir, || Ok(!db.is_empty()))? {
            return Err(damaged("its version is missing"));
        }
        calmly(db_dir, || db.insert(SCHEMA_KEY, &SCHEMA.to_be_bytes()))?;
        return Ok(0);
    };
    let found = schema.as_ref().try_into().map(u32::from_be_bytes);
    let found = found.map_err(|_| damaged("its version cannot be read"))?;
    if found > SCHEMA {
        return Err(StoreError::Newer {
            path: db_dir.to_owned(),
            found,
            known: SCHEMA,
        });
    }
    match value(COMMIT_KEY)? {
        None => Ok(0),
        Some(commit) => commit
            .as_ref()
            .try_into()
            .map(u64::from_be_bytes)
            .map_err(|_| damaged("the number of its last commit cannot be read")),
    }
}

/// Calls sled. On a damaged file or a full disk it sometimes panics where it could have said so.
fn calmly<T>(db_dir: &Path, call: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    let path = db_dir.to_owned();
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(source))) => Err(StoreError::Io {
            action: "use the database in",
            path,
            source,
        }),
        Ok(Err(sled::Error::Corruption { at, .. })) => {
            let detail = at.map_or_else(
                || "it cannot be read".to_owned(),
                |at| format!("cannot read {at:?}"),
            );
            Err(StoreError::Damaged { path, detail })
        }
        Ok(Err(sled::Error::Unsupported(detail))) => Err(StoreError::Damaged { path, detail }),
        Ok(Err(error @ (sled::Error::CollectionNotFound(_) | sled::Error::ReportableBug(_)))) => {
            Err(StoreError::Database {
                path,
                detail: error.to_string(),
            })
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let detail = text
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("it panicked");
            warn!(path = %path.display(), detail, "the database panicked");
            Err(StoreError::Database {
                path,
                detail: detail.to_owned(),
            })
        }
    }
}
