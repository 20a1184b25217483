//! Quarantine: problems whose own accepted programs are not accepted here, in a file that `dataset verify` writes and
//! `run` and `submit` read.
//!
//! The file is a JSON object:
//!
//! - `roundhouse_quarantine`: the version of the format, 1
//! - `made_by`: the version of the program that wrote it
//! - `data_set`: `name`, `sha256` of the problems file, `rows`
//! - `rule`, `limits`, `interpreter`: how the programs were judged
//! - `problems`: for each problem `position` (from 1), `source_id`, `kind` (see [`QuarantineReason`]), `reason` (a
//!   sentence), `programs` (accepted ones that were judged), `failing` (those of them that fail), and `evidence`: of
//!   the first of these `program`, `verdict` and `case` (from 0)
//!
//! Readers need `roundhouse_quarantine`, `data_set.sha256`, and `position`, `source_id` and `kind` of each problem, and
//! pass over fields that they do not know, so that a file can be written or changed by hand.
//!
//! A file is of one problems file, to the byte: positions count its rows, and another file with the same ids may have
//! other tests. For the same problems in another form the programs are judged once more.

pub mod reason;

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use roundhouse_core::run::{Quarantine, QuarantineReason, QuarantinedProblem};
use roundhouse_proto::{Digest, Limits, Problem, Verdict};
use serde::Serialize;
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::dataset::Info;
use crate::dataset::quote::{plain, quoted};

/// The version of the format that this program writes, and the newest that it reads.
const FORMAT_VERSION: u64 = 1;
/// The field with it.
const VERSION_FIELD: &str = "roundhouse_quarantine";
/// Bytes of a file that is read.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Programs that a problem's evidence names; the others are counted.
pub const EVIDENCE_MAX: usize = 10;
/// Characters of a value that an error shows.
const FOUND_CHARS_MAX: usize = 80;

/// What is written.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    #[serde(rename = "roundhouse_quarantine")]
    version: u64,
    made_by: &'static str,
    data_set: DataSet,
    rule: String,
    limits: Limits,
    interpreter: &'a str,
    problems: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct DataSet {
    name: &'static str,
    sha256: Digest,
    rows: u32,
}

/// A problem that cannot be judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its row, from 1.
    pub position: u32,
    /// The data set's own id.
    pub source_id: String,
    /// Why not.
    pub kind: QuarantineReason,
    /// The same in a sentence.
    pub reason: String,
    /// Accepted programs that were judged.
    pub programs: usize,
    /// Those of them that fail.
    pub failing: usize,
    /// The first of these, at most [`EVIDENCE_MAX`].
    pub evidence: Vec<Evidence>,
}

/// A program that was accepted where it comes from, and is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// Its place in the row's own list, from 0.
    pub program: u32,
    /// What it came to.
    pub verdict: Verdict,
    /// At which case, from 0.
    pub case: u32,
}

impl<'a> Report<'a> {
    /// What is to be written of a data set whose programs were judged so.
    pub fn of(info: &Info, rule: String, limits: Limits, interpreter: &'a str, problems: Vec<Entry>) -> Self {
        Self {
            version: FORMAT_VERSION,
            made_by: env!("CARGO_PKG_VERSION"),
            data_set: DataSet {
                name: info.format.title(),
                sha256: info.sha256,
                rows: info.rows,
            },
            rule,
            limits,
            interpreter,
            problems,
        }
    }

    /// How many problems there are of each kind, the kinds that none has left out.
    pub fn counts(&self) -> BTreeMap<QuarantineReason, usize> {
        let mut counts = BTreeMap::new();
        for problem in &self.problems {
            *counts.entry(problem.kind).or_default() += 1;
        }
        counts
    }
}

/// A file that is to be written: asked for before programs are judged, which takes a while.
#[derive(Debug)]
pub struct Target {
    path: PathBuf,
    temporary: NamedTempFile,
}

impl Target {
    /// Makes room for it beside the place where it is to be.
    ///
    /// # Errors
    /// It is a directory, or no file can be made there.
    pub fn open(path: &Path) -> Result<Self, QuarantineError> {
        let failed = |source| QuarantineError::Write {
            path: path.to_owned(),
            source,
        };
        if path.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            Some(_) | None => Path::new("."),
        };
        let temporary = tempfile::Builder::new()
            .prefix(".roundhouse-quarantine-")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(parent)
            // The error's own text names a file that nobody knows.
            .map_err(|error| failed(error.kind().into()))?;
        Ok(Self {
            path: path.to_owned(),
            temporary,
        })
    }

    /// Writes it, in the place of what was there.
    ///
    /// # Errors
    /// It cannot be written; then what was there is as it was.
    pub fn write(self, report: &Report<'_>) -> Result<(), QuarantineError> {
        let Self { path, mut temporary } = self;
        let write = |file: &mut NamedTempFile| -> io::Result<()> {
            serde_json::to_writer_pretty(&mut *file, report)?;
            file.write_all(b"\n")?;
            file.as_file().sync_all()
        };
        let written = write(&mut temporary).and_then(|()| Ok(temporary.persist(&path)?));
        written
            .map(drop)
            .map_err(|source| QuarantineError::Write { path, source })
    }
}

/// Why a file cannot be written, or does not say what cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum QuarantineError {
    /// It cannot be written.
    #[error("write the quarantine `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It cannot be read.
    #[error("read the quarantine `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It is larger than any that is read.
    #[error("read the quarantine `{}`: it has more than {FILE_BYTES_MAX} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is no JSON.
    #[error("read the quarantine `{}`", path.display())]
    NoJson {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// It is something else.
    #[error("`{}` is no quarantine: it has no `{VERSION_FIELD}`", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It was written by a newer program.
    #[error(
        "the quarantine `{}` has version {found}, but this program knows versions up to {FORMAT_VERSION}",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// A field is missing or has a value that it may not have.
    #[error("read the quarantine `{}`: field `{field}`: expected {expected}, found {found}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// What belongs there.
        expected: String,
        /// What is there, cut.
        found: String,
    },
    /// It is of other problems.
    #[error(
        "the quarantine `{}` is of another problems file: of one with the SHA-256 {of}, not {here}",
        path.display()
    )]
    OtherProblems {
        /// The file.
        path: PathBuf,
        /// What it is of.
        of: Digest,
        /// What the run is about.
        here: Digest,
    },
}

impl QuarantineError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::OtherProblems { .. } => Some(
                "`coordinator dataset verify --problems FILE --write-quarantine NEW` makes one for these problems: \
                 positions and tests of another file need not be the same"
                    .to_owned(),
            ),
            Self::Foreign { .. } | Self::NoJson { .. } | Self::Field { .. } => Some(
                "`coordinator dataset verify --problems FILE --write-quarantine NEW` writes such a file".to_owned(),
            ),
            Self::Write { .. }
            | Self::Read { .. }
            | Self::TooLarge { .. }
            | Self::Newer { .. } => None,
        }
    }
}

/// What a file says of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineFile {
    sha256: Digest,
    reasons: BTreeMap<u32, QuarantineReason>,
    /// By which rule the programs were judged, if it says so.
    pub rule: Option<String>,
}

impl QuarantineFile {
    /// Reads a file about these problems.
    ///
    /// # Errors
    /// It cannot be read, is not what it should be, or is about other problems.
    pub fn read(path: &Path, info: &Info, problems: &[Problem]) -> Result<Self, QuarantineError> {
        let failed = |source| QuarantineError::Read {
            path: path.to_owned(),
            source,
        };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(failed)?;
        let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
        if read.map_err(failed)? as u64 > FILE_BYTES_MAX {
            return Err(QuarantineError::TooLarge {
                path: path.to_owned(),
            });
        }
        let value: Value = serde_json::from_slice(&bytes).map_err(|source| QuarantineError::NoJson {
            path: path.to_owned(),
            source,
        })?;
        Reader { path }.file(&value, Digest::of(&bytes), info, problems)
    }

    /// What it says of the problems of a run.
    pub fn of_run(&self, problems: &[&Problem]) -> Quarantine {
        let of_problem = |problem: &&Problem| {
            let position = problem.position;
            let reason = *self.reasons.get(&position)?;
            Some(QuarantinedProblem { position, reason })
        };
        Quarantine {
            sha256: self.sha256,
            problems: problems.iter().filter_map(of_problem).collect(),
        }
    }
}

/// Takes a file's value apart, with the file's name for errors.
struct Reader<'a> {
    path: &'a Path,
}

impl Reader<'_> {
    fn file(
        &self,
        value: &Value,
        sha256: Digest,
        info: &Info,
        problems: &[Problem],
    ) -> Result<QuarantineFile, QuarantineError> {
        let path = || self.path.to_owned();
        let Some(version) = value.get(VERSION_FIELD) else {
            return Err(QuarantineError::Foreign { path: path() });
        };
        match version.as_u64() {
            Some(1..=FORMAT_VERSION) => {}
            Some(found) if found > FORMAT_VERSION => {
                return Err(QuarantineError::Newer { path: path(), found });
            }
            Some(_) | None => return Err(self.field(VERSION_FIELD, "a version from 1", version)),
        }
        let of = &value["data_set"]["sha256"];
        let parsed = of.as_str().and_then(|text| text.parse::<Digest>().ok());
        let of = parsed.ok_or_else(|| self.field("data_set.sha256", "64 hexadecimal digits", of))?;
        if of != info.sha256 {
            return Err(QuarantineError::OtherProblems {
                path: path(),
                of,
                here: info.sha256,
            });
        }
        let entries = &value["problems"];
        let entries = entries
            .as_array()
            .ok_or_else(|| self.field("problems", "a list", entries))?;
        let by_position: BTreeMap<u32, &Problem> = problems
            .iter()
            .map(|problem| (problem.position, problem))
            .collect();
        let mut reasons = BTreeMap::new();
        for (i, entry) in entries.iter().enumerate() {
            let (position, kind) = self.entry(i, entry, &by_position)?;
            if reasons.insert(position, kind).is_some() {
                let field = format!("problems[{i}].position");
                return Err(self.field(&field, "each position once", &entry["position"]));
            }
        }
        Ok(QuarantineFile {
            sha256,
            reasons,
            rule: value["rule"].as_str().map(str::to_owned),
        })
    }

    fn entry(
        &self,
        i: usize,
        entry: &Value,
        problems: &BTreeMap<u32, &Problem>,
    ) -> Result<(u32, QuarantineReason), QuarantineError> {
        let refuse = |field: &str, expected: &str| {
            self.field(&format!("problems[{i}].{field}"), expected, &entry[field])
        };
        let position = entry["position"].as_u64().and_then(|n| u32::try_from(n).ok());
        let problem = position.and_then(|position| problems.get(&position));
        let problem = problem.ok_or_else(|| refuse("position", "the position of a problem"))?;
        if entry["source_id"].as_str() != Some(&problem.source_id) {
            let expected = format!("{}, the id at this position", quoted(&problem.source_id));
            return Err(refuse("source_id", &expected));
        }
        let kind = entry["kind"].as_str();
        let kind = QuarantineReason::ALL
            .into_iter()
            .find(|reason| kind == Some(reason.word()));
        let kind = kind.ok_or_else(|| {
            let words: Vec<String> = QuarantineReason::ALL
                .iter()
                .map(|reason| format!("`{}`", reason.word()))
                .collect();
            refuse("kind", &format!("one of {}", words.join(", ")))
        })?;
        Ok((problem.position, kind))
    }

    fn field(&self, field: &str, expected: &str, found: &Value) -> QuarantineError {
        let found = match found {
            Value::Null => "nothing".to_owned(),
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "an object".to_owned(),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                format!("`{}`", plain(&found.to_string(), FOUND_CHARS_MAX))
            }
        };
        QuarantineError::Field {
            path: self.path.to_owned(),
            field: field.to_owned(),
            expected: expected.to_owned(),
            found,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use serde_json::json;

    use super::*;
    use crate::dataset::{self, Loaded};

    fn loaded() -> Loaded {
        let row = |name: &str| {
            json!({
                "name": name, "description": "d",
                "public_tests": {"input": ["1"], "output": ["1"]},
            })
            .to_string()
        };
        let rows = ["one", "two", "three"].map(row).join("\n");
        dataset::load_bytes("p.jsonl", &rows.into()).unwrap()
    }

    fn entry(position: u32, source_id: &str) -> Entry {
        Entry {
            position,
            source_id: source_id.to_owned(),
            kind: QuarantineReason::Limit,
            reason: "It is slow.".to_owned(),
            programs: 1,
            failing: 1,
            evidence: vec![Evidence {
                program: 0,
                verdict: Verdict::TimeLimit,
                case: 4,
            }],
        }
    }

    fn read(loaded: &Loaded, text: &str) -> Result<QuarantineFile, QuarantineError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("q.json");
        std::fs::write(&path, text).unwrap();
        QuarantineFile::read(&path, &loaded.info, &loaded.problems)
    }

    #[test]
    fn file_that_was_written_is_read_and_says_the_same_of_the_problems_of_a_run() {
        let loaded = loaded();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("q.json");
        std::fs::write(&path, "what was there").unwrap();
        let entries = vec![entry(1, "one"), entry(3, "three")];
        let report = Report::of(
            &loaded.info,
            "tokens".to_owned(),
            Limits::default(),
            "CPython",
            entries,
        );
        assert_eq!(report.counts(), BTreeMap::from([(QuarantineReason::Limit, 2)]));
        Target::open(&path).unwrap().write(&report).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);

        let read = QuarantineFile::read(&path, &loaded.info, &loaded.problems).unwrap();
        assert_eq!(read.rule.as_deref(), Some("tokens"));
        let of_run = read.of_run(&[&loaded.problems[1], &loaded.problems[2]]);
        let third = QuarantinedProblem {
            position: 3,
            reason: QuarantineReason::Limit,
        };
        let wanted = Quarantine {
            sha256: Digest::of(&std::fs::read(&path).unwrap()),
            problems: vec![third],
        };
        assert_eq!(of_run, wanted);
        let text: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(
            text["problems"][0],
            json!({
                "position": 1, "source_id": "one", "kind": "limit", "reason": "It is slow.", "programs": 1,
                "failing": 1, "evidence": [{"program": 0, "verdict": "TLE", "case": 4}],
            })
        );
    }

    #[test]
    fn file_of_other_problems_is_refused_with_a_way_on() {
        let loaded = loaded();
        let of = Digest::of(b"another file");
        let text = json!({"roundhouse_quarantine": 1, "data_set": {"sha256": of}, "problems": []});
        let error = read(&loaded, &text.to_string()).unwrap_err();
        let here = loaded.info.sha256;
        assert!(
            error.to_string().ends_with(&format!("{of}, not {here}")),
            "{error}"
        );
        assert!(error.hint().unwrap().contains("--write-quarantine NEW"));
    }

    #[test]
    fn file_that_is_not_what_it_should_be_is_refused_by_the_field() {
        let loaded = loaded();
        let good = json!({
            "roundhouse_quarantine": 1,
            "data_set": {"sha256": loaded.info.sha256},
            "problems": [
                {"position": 1, "source_id": "one", "kind": "unknown", "more": true},
                {"position": 2, "source_id": "two", "kind": "wrong-data"},
            ],
        });
        assert_eq!(read(&loaded, &good.to_string()).unwrap().reasons.len(), 2);
        for (at, to, said) in [
            (
                "/roundhouse_quarantine",
                json!("1"),
                "field `roundhouse_quarantine`: expected a version from 1",
            ),
            (
                "/roundhouse_quarantine",
                json!(2),
                "has version 2, but this program knows versions up to 1",
            ),
            (
                "/data_set/sha256",
                json!(7),
                "field `data_set.sha256`: expected 64 hexadecimal digits, found `7`",
            ),
            (
                "/problems",
                json!({}),
                "field `problems`: expected a list, found an object",
            ),
            (
                "/problems/1",
                json!(null),
                "field `problems[1].position`: expected the position of a problem, found nothing",
            ),
            (
                "/problems/1/position",
                json!(4),
                "field `problems[1].position`: expected the position of a problem, found `4`",
            ),
            ("/problems/1/position", json!(-1), "field `problems[1].position`"),
            (
                "/problems/1/source_id",
                json!("on\u{1b}"),
                "field `problems[1].source_id`: expected `two`, the id at this position, found `\"on\\u001b\"`",
            ),
            (
                "/problems/1/kind",
                json!("slow"),
                "field `problems[1].kind`: expected one of `several-right-answers`, `interactive`",
            ),
            (
                "/problems/0",
                good["problems"][1].clone(),
                "field `problems[1].position`: expected each position once, found `2`",
            ),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(at).unwrap() = to;
            let error = read(&loaded, &bad.to_string()).unwrap_err();
            assert!(error.to_string().contains(said), "{at}: {error}");
        }
        assert!(matches!(read(&loaded, "{"), Err(QuarantineError::NoJson { .. })));
        assert!(matches!(
            read(&loaded, "[]"),
            Err(QuarantineError::Foreign { .. })
        ));
        let path = Path::new("/nowhere/q.json");
        let missing = QuarantineFile::read(path, &loaded.info, &loaded.problems);
        assert!(matches!(missing, Err(QuarantineError::Read { .. })));
        assert!(matches!(Target::open(path), Err(QuarantineError::Write { .. })));
    }
}
