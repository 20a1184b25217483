//! The registry: which runs there are and in which directory each is written.
//!
//! A coordinator of many runs keeps one file for each, `DATA/runs/RUN.json`, made durable before the core hears of the
//! run. So a run that was taken in is there after a crash at any instruction: one that the store has no record of is
//! submitted anew at the next start. `coordinator run` has one run, whose directory its caller names; nothing is
//! stored for it here.
//!
//! ```text
//! {"version":1,"run":"…","spec":"…","dir":"/srv/outputs/run_20260209_153045","name":""}
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roundhouse_proto::{Digest, RunId};
use serde::{Deserialize, Serialize};

/// Version of a file; a newer one is refused.
const VERSION: u32 = 1;
/// Ending of a file's name.
const ENDING: &str = ".json";
/// Ending of the name of a file that is not whole yet.
const UNFINISHED: &str = ".tmp";

/// Why the registry cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The disk refused.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("`{}` is damaged: {detail}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A file was written by a later version.
    #[error(
        "`{}` has version {found}, this coordinator knows versions up to {VERSION}: use a newer one",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: u32,
    },
}

/// A run that was taken in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The run.
    pub run: RunId,
    /// Address of what it was asked to do.
    pub spec: Digest,
    /// Its directory; absolute, so that it is the same whatever the next start's working directory is.
    pub dir: PathBuf,
    /// The directory below the output directory that was asked for; empty for none.
    pub name: String,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    #[serde(flatten)]
    entry: Entry,
}

/// Only the version, which is read first: the rest of a newer file may not be readable here.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// Which runs there are and where they are written.
#[derive(Debug)]
pub struct Registry(Kind);

#[derive(Debug)]
enum Kind {
    /// One run that its caller knows; whatever is asked for is it.
    One(PathBuf),
    /// Those that were taken in.
    Many {
        place: PathBuf,
        entries: Mutex<BTreeMap<RunId, Arc<Entry>>>,
    },
}

impl Registry {
    /// The registry of a coordinator that has one run, written to `dir`.
    pub fn of_one(dir: PathBuf) -> Self {
        Self(Kind::One(dir))
    }

    /// Reads the registry of a data directory. To be called by the holder of its store only.
    ///
    /// # Errors
    /// The directory cannot be read or made, or a file in it is damaged or newer than this program.
    pub fn open(data_dir: &Path) -> Result<Self, RegistryError> {
        let place = data_dir.join("runs");
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&place);
        made.map_err(io("make", &place))?;
        let mut entries = BTreeMap::new();
        for file in fs::read_dir(&place).map_err(io("list", &place))? {
            let path = file.map_err(io("list", &place))?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if name.ends_with(UNFINISHED) {
                // It never had its name, so nobody was told of it.
                fs::remove_file(&path).map_err(io("remove", &path))?;
            } else if let Some(run) = name.strip_suffix(ENDING) {
                let entry = read(&path)?;
                if run != entry.run.to_string() {
                    let detail = format!("it is about the run {}", entry.run);
                    return Err(RegistryError::Damaged { path, detail });
                }
                entries.insert(entry.run, Arc::new(entry));
            }
        }
        let entries = Mutex::new(entries);
        Ok(Self(Kind::Many { place, entries }))
    }

    /// The directory of a run.
    pub fn dir_of(&self, run: RunId) -> Option<PathBuf> {
        match &self.0 {
            Kind::One(dir) => Some(dir.clone()),
            Kind::Many { entries, .. } => locked(entries).get(&run).map(|entry| entry.dir.clone()),
        }
    }

    /// The run as it was taken in; none if it was not, or if this is the registry of one.
    pub fn find(&self, run: RunId) -> Option<Arc<Entry>> {
        match &self.0 {
            Kind::One(_) => None,
            Kind::Many { entries, .. } => locked(entries).get(&run).cloned(),
        }
    }

    /// The runs that were taken in, by id; none if this is the registry of one.
    pub fn entries(&self) -> Vec<Arc<Entry>> {
        match &self.0 {
            Kind::One(_) => Vec::new(),
            Kind::Many { entries, .. } => locked(entries).values().cloned().collect(),
        }
    }

    /// Whether there is no other run than one.
    pub fn has_one(&self) -> bool {
        match &self.0 {
            Kind::One(_) => true,
            Kind::Many { entries, .. } => locked(entries).len() <= 1,
        }
    }

    /// Takes a run in; durable on return. Blocks on the disk.
    ///
    /// # Errors
    /// The disk refused; then it is not taken in.
    ///
    /// # Panics
    /// If this is the registry of one.
    pub fn add(&self, entry: Entry) -> Result<(), RegistryError> {
        let Kind::Many { place, entries } = &self.0 else {
            panic!("a registry of one run takes no other in");
        };
        let path = place.join(format!("{}{ENDING}", entry.run));
        let unfinished = place.join(format!("{}{UNFINISHED}", entry.run));
        let version = VERSION;
        let stored = Stored { version, entry };
        let text = serde_json::to_vec(&stored).map_err(|error| RegistryError::Damaged {
            path: path.clone(),
            detail: error.to_string(),
        })?;
        write_synced(&unfinished, &text).map_err(io("write", &unfinished))?;
        fs::rename(&unfinished, &path).map_err(io("rename", &path))?;
        let synced = File::open(place).and_then(|place| place.sync_all());
        synced.map_err(io("sync", place))?;
        locked(entries).insert(stored.entry.run, Arc::new(stored.entry));
        Ok(())
    }
}

fn locked(entries: &Mutex<BTreeMap<RunId, Arc<Entry>>>) -> MutexGuard<'_, BTreeMap<RunId, Arc<Entry>>> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RegistryError {
    let path = path.to_owned();
    move |source| RegistryError::Io { action, path, source }
}

fn read(path: &Path) -> Result<Entry, RegistryError> {
    let text = fs::read(path).map_err(io("read", path))?;
    let damaged = |error: serde_json::Error| RegistryError::Damaged {
        path: path.to_owned(),
        detail: error.to_string(),
    };
    let Version { version } = serde_json::from_slice(&text).map_err(damaged)?;
    if version > VERSION {
        return Err(RegistryError::Newer {
            path: path.to_owned(),
            found: version,
        });
    }
    let stored: Stored = serde_json::from_slice(&text).map_err(damaged)?;
    Ok(stored.entry)
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use uuid::Uuid;

    use super::*;

    fn entry(n: u128) -> Entry {
        Entry {
            run: RunId(Uuid::from_u128(n)),
            spec: Digest::of(b"spec"),
            dir: PathBuf::from(format!("/outputs/run_{n}")),
            name: String::new(),
        }
    }

    #[test]
    fn registry_finds_again_what_was_taken_in_before() {
        let data = tempfile::tempdir().unwrap();
        let registry = Registry::open(data.path()).unwrap();
        assert!(registry.entries().is_empty() && registry.has_one());
        registry.add(entry(1)).unwrap();
        registry.add(entry(2)).unwrap();
        let again = Registry::open(data.path()).unwrap();
        assert_eq!(again.entries(), [entry(1), entry(2)].map(Arc::new));
        assert_eq!(again.find(entry(2).run), Some(Arc::new(entry(2))));
        assert_eq!(again.dir_of(entry(1).run), Some(entry(1).dir));
        assert_eq!(again.dir_of(entry(3).run), None);
        assert!(!again.has_one());
    }

    #[test]
    fn registry_leaves_journals_alone_and_removes_what_was_never_finished() {
        let data = tempfile::tempdir().unwrap();
        let runs = data.path().join("runs");
        let journal = runs.join(entry(1).run.to_string());
        fs::create_dir_all(&journal).unwrap();
        fs::write(runs.join("x.tmp"), "{\"vers").unwrap();
        let registry = Registry::open(data.path()).unwrap();
        assert!(registry.entries().is_empty());
        assert!(journal.is_dir() && !runs.join("x.tmp").exists());
    }

    #[test]
    fn file_of_a_newer_version_and_a_damaged_one_are_refused_by_name() {
        for (text, expected) in [
            ("{\"version\":2,\"later\":1}", "has version 2"),
            ("{\"version\":1}", "is damaged: missing field `run`"),
            ("{", "is damaged: EOF"),
        ] {
            let data = tempfile::tempdir().unwrap();
            fs::create_dir(data.path().join("runs")).unwrap();
            let path = data.path().join("runs").join("a.json");
            fs::write(&path, text).unwrap();
            let error = Registry::open(data.path()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(error.contains(&path.display().to_string()), "{error}");
        }
        let data = tempfile::tempdir().unwrap();
        Registry::open(data.path()).unwrap().add(entry(1)).unwrap();
        let runs = data.path().join("runs");
        let right = runs.join(format!("{}.json", entry(1).run));
        fs::rename(right, runs.join(format!("{}.json", entry(2).run))).unwrap();
        let error = Registry::open(data.path()).unwrap_err().to_string();
        assert!(error.contains("it is about the run"), "{error}");
    }

    #[test]
    fn registry_of_one_run_has_its_directory_whatever_is_asked_for() {
        let registry = Registry::of_one(PathBuf::from("out/run_1"));
        assert_eq!(registry.dir_of(entry(9).run), Some(PathBuf::from("out/run_1")));
        assert_eq!(registry.find(entry(9).run), None);
        assert!(registry.has_one());
    }
}
