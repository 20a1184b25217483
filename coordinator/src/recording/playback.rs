//! A recording that is read to be played back: what was answered for which problem.
//!
//! Read and checked before a run is made, since a line that is wrong must not end a session in the middle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use roundhouse_core::run::{ProblemSpec, RunSpec};
use roundhouse_proto::wire::{CALLS_MAX, TEXT_MAX_BYTES};
use roundhouse_proto::{Digest, Problem, RecordedCall, Recording, Speaker, StopReason};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{FORMAT_VERSION, Head, RECORDED_PREFIX, Settings, unanswered};
use crate::report::line::one_line;

/// Bytes of a line: an answer and a reasoning as long as they may be, escaped.
const LINE_BYTES_MAX: u64 = 128 << 20;
/// Bytes of a recording.
const FILE_BYTES_MAX: u64 = 4 << 30;
/// Most characters of a value that an error shows.
const FOUND_CHARS_MAX: usize = 40;
/// The field that only the first line has.
const VERSION_FIELD: &str = "roundhouse_recording";

/// A recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Playback {
    head: Head,
    /// By the data set's own ids.
    sessions: BTreeMap<String, Session>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Session {
    position: u32,
    recording: Recording,
}

/// Why a recording cannot be played back.
#[derive(Debug, thiserror::Error)]
pub enum PlaybackError {
    /// The file cannot be read.
    #[error("read the recording `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It is larger than any that is read.
    #[error("read the recording `{}`: it has more than {bytes_max} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound.
        bytes_max: u64,
    },
    /// The first line is none of a recording.
    #[error("`{}` is no recording: its first line has no `{VERSION_FIELD}`", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It was written by a newer program.
    #[error(
        "the recording `{}` has version {found}, but this program knows versions up to {FORMAT_VERSION}",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// A line is not what it should be.
    #[error("read the recording `{}`, line {line}: {why}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        why: LineError,
    },
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It is longer than any that is read.
    #[error("expected at most {LINE_BYTES_MAX} bytes")]
    TooLong,
    /// It is no JSON object.
    #[error("expected a JSON object: {why}")]
    NoObject {
        /// Why not.
        why: String,
    },
    /// A field is missing or has a value that it may not have.
    #[error("field `{field}`: expected {expected}, found {found}")]
    Field {
        /// The field.
        field: &'static str,
        /// What belongs there.
        expected: &'static str,
        /// What is there, cut.
        found: String,
    },
    /// The same call is recorded twice.
    #[error("{speaker}, round {round}, ask {ask} of `{source_id}` is recorded in an earlier line already")]
    Again {
        /// The problem.
        source_id: String,
        /// Who was asked.
        speaker: Speaker,
        /// The round.
        round: u32,
        /// Which asking of the turn.
        ask: u32,
    },
    /// A session has more calls than any that is read.
    #[error("`{source_id}` has more than {CALLS_MAX} calls")]
    ManyCalls {
        /// The problem.
        source_id: String,
    },
}

impl PlaybackError {
    /// What to do next, where there is something to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Foreign { .. } => Some("`coordinator run --record FILE` writes a recording".to_owned()),
            Self::Newer { .. } => Some("use the newer Roundhouse that wrote it".to_owned()),
            Self::Line { .. } => Some("record the run again, or take the line out".to_owned()),
            Self::Read { .. } | Self::TooLarge { .. } => None,
        }
    }
}

impl Playback {
    /// Reads a recording and checks every line of it.
    ///
    /// # Errors
    /// Names the file, the line, the field and what was expected; [`PlaybackError::hint`] says what to do next.
    pub fn read(path: &Path) -> Result<Self, PlaybackError> {
        let failed = |source| PlaybackError::Read {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() > FILE_BYTES_MAX {
            return Err(PlaybackError::TooLarge {
                path: path.to_owned(),
                bytes_max: FILE_BYTES_MAX,
            });
        }
        Self::parse(path, BufReader::new(file.take(FILE_BYTES_MAX)))
    }

    fn parse(path: &Path, mut text: impl BufRead) -> Result<Self, PlaybackError> {
        let wrong = |line| {
            move |why| PlaybackError::Line {
                path: path.to_owned(),
                line,
                why,
            }
        };
        // None at the end; an empty object where the line is blank.
        let mut next = |line| -> Result<Option<Map<String, Value>>, PlaybackError> {
            let mut bytes = Vec::new();
            let read = Read::by_ref(&mut text)
                .take(LINE_BYTES_MAX + 1)
                .read_until(b'\n', &mut bytes);
            read.map_err(|source| PlaybackError::Read {
                path: path.to_owned(),
                source,
            })?;
            if bytes.is_empty() {
                return Ok(None);
            }
            if bytes.trim_ascii().is_empty() {
                return Ok(Some(Map::new()));
            }
            object(&bytes).map(Some).map_err(wrong(line))
        };
        let foreign = || PlaybackError::Foreign {
            path: path.to_owned(),
        };
        let head = match next(1) {
            Ok(Some(head)) => head,
            Ok(None) | Err(PlaybackError::Line { .. }) => return Err(foreign()),
            Err(error) => return Err(error),
        };
        let head = read_head(path, head, foreign)?;
        let mut playback = Self {
            head,
            sessions: BTreeMap::new(),
        };
        let mut line = 2;
        while let Some(object) = next(line)? {
            if !object.is_empty() {
                playback.add(object).map_err(wrong(line))?;
            }
            line += 1;
        }
        Ok(playback)
    }

    fn add(&mut self, mut line: Map<String, Value>) -> Result<(), LineError> {
        let fields = &mut line;
        let source_id: String = take(fields, "source_id", "a text")?;
        let position = take(fields, "position", POSITIVE)?;
        let session = self.sessions.entry(source_id.clone()).or_default();
        session.position = position;
        let recording = &mut session.recording;
        if fields.contains_key("unanswered") {
            const EXPECTED: &str = "`context_limit` or `budget`";
            let found = fields.get("unanswered").cloned().unwrap_or_default();
            let reason: StopReason = take(fields, "unanswered", EXPECTED)?;
            let reason = unanswered(reason).ok_or_else(|| field("unanswered", EXPECTED, &found))?;
            recording.unanswered = Some(reason);
            return Ok(());
        }
        let prompt: String = take(fields, "prompt", DIGEST)?;
        let call = RecordedCall {
            speaker: take(fields, "speaker", "`analyst`, `coder` or `tester`")?,
            round: take(fields, "round", POSITIVE)?,
            ask: take(fields, "ask", POSITIVE)?,
            prompt: prompt
                .parse()
                .map_err(|_| field("prompt", DIGEST, &Value::String(prompt)))?,
            reply: text(fields, "reply")?,
            reasoning: match fields.get("reasoning") {
                None | Some(Value::Null) => None,
                Some(_) => Some(text(fields, "reasoning")?),
            },
            finish: take(fields, "finish", "`stop`, `length` or `content_filter`")?,
            usage: take_optional(
                fields,
                "usage",
                "`input`, `cached_input`, `output` and `reasoning` as whole numbers",
            )?,
        };
        let turn = |call: &RecordedCall| (call.speaker, call.round, call.ask);
        if recording.calls.iter().any(|other| turn(other) == turn(&call)) {
            return Err(LineError::Again {
                source_id,
                speaker: call.speaker,
                round: call.round,
                ask: call.ask,
            });
        }
        if recording.calls.len() == CALLS_MAX {
            return Err(LineError::ManyCalls { source_id });
        }
        recording.calls.push(call);
        Ok(())
    }

    /// The model that answered, as reports name it: that of no model which was measured.
    pub fn model(&self) -> String {
        shown(&self.head.model)
    }

    /// Models of speakers that had another one, likewise.
    pub fn model_for(&self) -> BTreeMap<Speaker, String> {
        let models = self.head.model_for.iter();
        models.map(|(speaker, model)| (*speaker, shown(model))).collect()
    }

    /// How the recorded sessions were held.
    pub fn settings(&self) -> &Settings {
        &self.head.settings
    }

    /// Address of the data set that the model was asked about.
    pub fn data_set(&self) -> Digest {
        self.head.data_set.sha256
    }

    /// What was answered, by the positions of a data set's problems. A problem is known by its own id; where none of
    /// the data set has a recorded id, by its position.
    pub fn answers(&self, problems: &[Problem]) -> BTreeMap<u32, &Recording> {
        let ids: BTreeSet<&str> = problems
            .iter()
            .map(|problem| problem.source_id.as_str())
            .collect();
        let mut renamed = BTreeMap::new();
        for (id, session) in &self.sessions {
            if !ids.contains(id.as_str()) {
                renamed.insert(session.position, &session.recording);
            }
        }
        let mut answers = BTreeMap::new();
        for problem in problems {
            let by_id = self.sessions.get(&problem.source_id);
            let recording = by_id
                .map(|session| &session.recording)
                .or_else(|| renamed.get(&problem.position).copied());
            if let Some(recording) = recording {
                answers.insert(problem.position, recording);
            }
        }
        answers
    }

    /// What to say about a run that plays this back: that it measures nothing, and where it cannot come to what was
    /// recorded.
    pub fn warnings(&self, spec: &RunSpec) -> Vec<String> {
        let model = one_line(&self.head.model, FOUND_CHARS_MAX);
        let mut warnings = vec![format!(
            "`{RECORDED_PREFIX}` is no model: it repeats what `{model}` answered in run {}, so nothing new is measured",
            one_line(&self.head.run_id, FOUND_CHARS_MAX)
        )];
        if spec.data_set.sha256 != self.head.data_set.sha256 {
            warnings.push(format!(
                "the problems are not those of the recording, whose data set has the sha256 {}",
                self.head.data_set.sha256
            ));
        }
        for (flag, here, recorded) in Settings::of(&spec.session).differences(&self.head.settings) {
            warnings.push(format!(
                "`{flag}` is `{here}`, but was `{recorded}` when it was recorded: the result can differ"
            ));
        }
        let nothing = Digest::of(&Recording::default().to_bytes());
        let is_unknown = |problem: &&ProblemSpec| problem.recording == Some(nothing);
        let mut unknown = spec.problems.iter().filter(is_unknown);
        if let Some(first) = unknown.next() {
            warnings.push(format!(
                "nothing is recorded for {} of {} problems, the first of them `{}`: they end as errors",
                1 + unknown.count(),
                spec.problems.len(),
                one_line(&first.name, FOUND_CHARS_MAX)
            ));
        }
        warnings
    }
}

const POSITIVE: &str = "a whole number from 0";
const DIGEST: &str = "64 hexadecimal digits";

fn shown(model: &str) -> String {
    format!("{RECORDED_PREFIX}{model}")
}

fn object(line: &[u8]) -> Result<Map<String, Value>, LineError> {
    if line.len() as u64 > LINE_BYTES_MAX {
        return Err(LineError::TooLong);
    }
    serde_json::from_slice(line).map_err(|error| LineError::NoObject {
        why: error.to_string(),
    })
}

fn read_head(
    path: &Path,
    mut head: Map<String, Value>,
    foreign: impl Fn() -> PlaybackError,
) -> Result<Head, PlaybackError> {
    let version = head.get(VERSION_FIELD).and_then(Value::as_u64);
    let version = version.ok_or_else(foreign)?;
    if version > FORMAT_VERSION {
        return Err(PlaybackError::Newer {
            path: path.to_owned(),
            found: version,
        });
    }
    let mut read = || -> Result<Head, LineError> {
        Ok(Head {
            version,
            run_id: take(&mut head, "run_id", "a text")?,
            model: take(&mut head, "model", "a text")?,
            model_for: take_optional(&mut head, "model_for", "models by `analyst`, `coder` or `tester`")?
                .unwrap_or_default(),
            data_set: take(&mut head, "data_set", "`name` and `sha256`")?,
            settings: take(
                &mut head,
                "settings",
                "`method`, `max_rounds`, `tester`, `final_program`, `sampling`, `patch` and `comparator`",
            )?,
        })
    };
    read().map_err(|why| PlaybackError::Line {
        path: path.to_owned(),
        line: 1,
        why,
    })
}

fn field(field: &'static str, expected: &'static str, found: &Value) -> LineError {
    LineError::Field {
        field,
        expected,
        found: format!("`{}`", one_line(&found.to_string(), FOUND_CHARS_MAX)),
    }
}

fn take<T: DeserializeOwned>(
    fields: &mut Map<String, Value>,
    name: &'static str,
    expected: &'static str,
) -> Result<T, LineError> {
    let Some(value) = fields.remove(name) else {
        return Err(LineError::Field {
            field: name,
            expected,
            found: "nothing".to_owned(),
        });
    };
    T::deserialize(&value).map_err(|_| field(name, expected, &value))
}

fn take_optional<T: DeserializeOwned>(
    fields: &mut Map<String, Value>,
    name: &'static str,
    expected: &'static str,
) -> Result<Option<T>, LineError> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(_) => take(fields, name, expected).map(Some),
    }
}

/// A text that may be sent to a worker.
fn text(fields: &mut Map<String, Value>, name: &'static str) -> Result<String, LineError> {
    const EXPECTED: &str = "a text of at most 8 MiB";
    const { assert!(TEXT_MAX_BYTES == 8 << 20, "what the error says") };
    let text: String = take(fields, name, EXPECTED)?;
    if text.len() > TEXT_MAX_BYTES {
        return Err(field(name, EXPECTED, &Value::String(text)));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
