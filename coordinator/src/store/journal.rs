//! The journal: every operation as a line of JSON, for people and for a repair.
//!
//! Lines are written and synced before the store takes the commit of the same number, one file per run
//! (`runs/RUN/events.jsonl`) and one at the top for what concerns the coordinator itself. So the journal holds all
//! that the store holds, and after a crash at most the lines of one commit more. Those are cut at the next start,
//! because nobody was told of them. It is never read to decide anything while the coordinator runs.
//!
//! ```text
//! {"commit":17,"write":{"pending":{"statements":{"run":"…"}}}}
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use roundhouse_core::record::Write;
use roundhouse_proto::RunId;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::StoreError;

/// Most files kept open; a coordinator rarely has more runs that are not finished.
const FILES_OPEN_MAX: usize = 64;
/// How much of a file's end is read first in search of its last line that counts, in bytes.
const WINDOW_BYTES: u64 = 64 * 1024;

/// A line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Number of the commit it belongs to.
    pub commit: u64,
    /// What was written.
    pub write: Write,
}

#[derive(Serialize)]
struct LineRef<'a> {
    commit: u64,
    write: &'a Write,
}

/// The journal of a data directory, open for appending.
#[derive(Debug)]
pub struct Journal {
    data_dir: PathBuf,
    files: BTreeMap<Option<RunId>, File>,
}

impl Journal {
    /// Opens the journal that belongs to the store at `store`, whose last commit is `stored`, and cuts what goes
    /// beyond it: the lines of the next commit, and a torn last line.
    ///
    /// # Errors
    /// [`StoreError::Behind`] if a file goes on beyond the next commit; then nothing is cut in any.
    pub fn open(data_dir: &Path, store: &Path, stored: u64) -> Result<Self, StoreError> {
        let mut cuts = Vec::new();
        for path in journal_files(data_dir)? {
            let end = last_line_that_counts(&path, stored).map_err(|source| StoreError::Io {
                action: "read",
                path: path.clone(),
                source,
            })?;
            if end.written > stored + 1 {
                return Err(StoreError::Behind {
                    path: store.to_owned(),
                    journal: path,
                    stored,
                    written: end.written,
                });
            }
            if end.keep < end.length {
                cuts.push((path, end));
            }
        }
        for (path, end) in cuts {
            cut(&path, end.keep).map_err(|source| StoreError::Io {
                action: "cut",
                path: path.clone(),
                source,
            })?;
            info!(path = %path.display(), bytes = end.length - end.keep, commit = stored, "cut the journal");
            if end.damaged {
                warn!(path = %path.display(), "the journal ended in lines that cannot be read");
            }
        }
        Ok(Self {
            data_dir: data_dir.to_owned(),
            files: BTreeMap::new(),
        })
    }

    /// Appends a line for each write and syncs them.
    ///
    /// # Errors
    /// The disk refused. Some lines may be written; they are cut at the next [`Self::open`].
    pub fn append(&mut self, commit: u64, writes: &[Write]) -> Result<(), StoreError> {
        let mut texts: BTreeMap<Option<RunId>, Vec<u8>> = BTreeMap::new();
        for write in writes {
            let text = texts.entry(write.run()).or_default();
            serde_json::to_writer(&mut *text, &LineRef { commit, write }).map_err(|source| {
                StoreError::Encode {
                    record: "journal",
                    source,
                }
            })?;
            text.push(b'\n');
        }
        for (run, text) in texts {
            let path = self.path(run);
            self.append_text(run, &path, &text)
                .map_err(|source| StoreError::Io {
                    action: "append to",
                    path,
                    source,
                })?;
        }
        Ok(())
    }

    fn append_text(&mut self, run: Option<RunId>, path: &Path, text: &[u8]) -> io::Result<()> {
        if !self.files.contains_key(&run) {
            if self.files.len() >= FILES_OPEN_MAX {
                self.files.clear();
            }
            self.files.insert(run, open_file(&self.data_dir, path)?);
        }
        let file = self
            .files
            .get_mut(&run)
            .expect("it was put there in the lines above");
        file.write_all(text)?;
        file.sync_data()
    }

    fn path(&self, run: Option<RunId>) -> PathBuf {
        match run {
            None => self.data_dir.join("events.jsonl"),
            Some(run) => run_file(&self.data_dir, run),
        }
    }
}

/// Where a run's lines are.
pub fn run_file(data_dir: &Path, run: RunId) -> PathBuf {
    data_dir.join("runs").join(run.to_string()).join("events.jsonl")
}

/// The journal's files: that of the coordinator itself and those of the runs, by name.
///
/// # Errors
/// A directory that cannot be read.
pub fn journal_files(data_dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let runs = data_dir.join("runs");
    let mut files = vec![data_dir.join("events.jsonl")];
    let failed = |source| StoreError::Io {
        action: "list",
        path: runs.clone(),
        source,
    };
    match fs::read_dir(&runs) {
        Ok(entries) => {
            for entry in entries {
                let entry = entry.map_err(failed)?;
                if entry
                    .file_name()
                    .to_str()
                    .is_some_and(|name| name.parse::<RunId>().is_ok())
                {
                    files.push(entry.path().join("events.jsonl"));
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    files.retain(|file| file.exists());
    files.sort();
    Ok(files)
}

/// Reads a file of the journal from its beginning.
///
/// # Errors
/// The file cannot be opened. An item is an error if its line cannot be read; it names the line.
pub fn lines(path: &Path) -> Result<impl Iterator<Item = Result<Line, StoreError>>, StoreError> {
    let failed = |action, path: &Path, source| StoreError::Io {
        action,
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(|source| failed("open", path, source))?;
    let path = path.to_owned();
    Ok(BufReader::new(file)
        .lines()
        .enumerate()
        .map(move |(index, line)| {
            let line = line.map_err(|source| failed("read", &path, source))?;
            serde_json::from_str(&line).map_err(|error| StoreError::Damaged {
                path: path.clone(),
                detail: format!("line {}: {error}", index + 1),
            })
        }))
}

fn open_file(data_dir: &Path, path: &Path) -> io::Result<File> {
    let dir = path.parent().expect("a journal is in a directory");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    // The names are made durable too, up to the data directory.
    for dir in dir.ancestors().take_while(|dir| dir.starts_with(data_dir)) {
        File::open(dir)?.sync_all()?;
    }
    Ok(file)
}

/// How a file of the journal ends.
struct End {
    /// Its length, in bytes.
    length: u64,
    /// Where its last line that counts ends.
    keep: u64,
    /// The largest commit number found at or after that line.
    written: u64,
    /// Whether whole lines after it cannot be read.
    damaged: bool,
}

fn last_line_that_counts(path: &Path, stored: u64) -> io::Result<End> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut window = WINDOW_BYTES;
    loop {
        let start = length.saturating_sub(window);
        file.seek(SeekFrom::Start(start))?;
        let mut text = Vec::new();
        (&mut file).take(length - start).read_to_end(&mut text)?;
        if let Some(end) = end_of(&text, start, stored) {
            return Ok(End { length, ..end });
        }
        // Ends: the next window is larger, and one that reaches the start always has an answer.
        window = window.saturating_mul(4);
    }
}

/// How the journal ends whose bytes from `start` on are `text`; none if the answer lies further ahead.
fn end_of(text: &[u8], start: u64, stored: u64) -> Option<End> {
    #[derive(Deserialize)]
    struct Number {
        commit: u64,
    }
    let mut end = End {
        length: 0,
        keep: 0,
        written: 0,
        damaged: false,
    };
    // What follows the last line feed is torn.
    let mut until = text
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |at| at + 1);
    while until > 0 {
        let from = text[..until - 1]
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        if from == 0 && start > 0 {
            return None;
        }
        match serde_json::from_slice::<Number>(&text[from..until]) {
            Ok(Number { commit }) => {
                end.written = end.written.max(commit);
                if commit <= stored {
                    end.keep = start + until as u64;
                    return Some(end);
                }
            }
            Err(_) => end.damaged = true,
        }
        until = from;
    }
    (start == 0).then_some(end)
}

fn cut(path: &Path, length: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(length)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use super::*;

    fn text(commits: std::ops::RangeInclusive<u64>) -> String {
        commits
            .map(|commit| {
                serde_json::to_string(&LineRef {
                    commit,
                    write: &Write::Epoch(1),
                })
                .unwrap()
                    + "\n"
            })
            .collect()
    }

    fn after_open(before: &str, stored: u64) -> Result<String, StoreError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        fs::write(&path, before).unwrap();
        Journal::open(dir.path(), dir.path(), stored)?;
        Ok(fs::read_to_string(&path).unwrap())
    }

    #[test]
    fn lines_of_the_commit_after_the_stored_one_are_cut_and_a_torn_line_with_them() {
        assert_eq!(after_open(&text(1..=3), 3).unwrap(), text(1..=3));
        assert_eq!(after_open(&text(1..=4), 3).unwrap(), text(1..=3));
        assert_eq!(
            after_open(&(text(1..=3) + "{\"commit\":3,\"wri"), 3).unwrap(),
            text(1..=3)
        );
        assert_eq!(
            after_open(&(text(1..=3) + "\0\0\n" + &text(4..=4)), 3).unwrap(),
            text(1..=3)
        );
        assert_eq!(after_open(&text(1..=1), 0).unwrap(), "");
        assert_eq!(after_open("torn", 0).unwrap(), "");
    }

    #[test]
    fn long_tail_is_searched_beyond_the_first_window() {
        let tail = text(4..=4).repeat(5_000);
        assert!(tail.len() as u64 > 2 * WINDOW_BYTES);
        assert_eq!(after_open(&(text(1..=3) + &tail), 3).unwrap(), text(1..=3));
        assert_eq!(after_open(&tail, 3).unwrap(), "");
    }

    #[test]
    fn journal_that_goes_on_beyond_the_next_commit_is_left_alone() {
        let error = after_open(&text(1..=5), 3).unwrap_err();
        assert!(
            matches!(
                error,
                StoreError::Behind {
                    stored: 3,
                    written: 5,
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn line_that_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        fs::write(&path, text(1..=1) + "{}\n").unwrap();
        let mut lines = lines(&path).unwrap();
        assert_eq!(
            lines.next().unwrap().unwrap(),
            Line {
                commit: 1,
                write: Write::Epoch(1)
            }
        );
        let error = lines.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("line 2: missing field `commit`"), "{error}");
        assert!(lines.next().is_none());
    }
}
