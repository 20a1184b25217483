//! Recordings: every answer of a run's model in one file, from which the run can be held again without a network.
//!
//! Written from a run directory, so that one that was copied from elsewhere serves as well; read by [`playback`].
//!
//! The format is JSON Lines. The first line is a [`Head`]: the version of the format, the run, its model, its data set
//! and the settings of its sessions. Every other line is a call, in the order of the problems and of their sessions:
//! `source_id` and `position` of the problem, `speaker`, `round`, `ask`, `model`, `prompt` (the SHA-256 of the user
//! message that was new in the call, and nothing else of it), `reply`, `reasoning`, `finish`, `usage` and
//! `duration_ms`. Where a session ended because its next call had no answer, a line with the problem and `unanswered`
//! follows, which says why. Readers pass over fields that they do not know.

pub mod playback;

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use roundhouse_core::run::RunSpec;
use roundhouse_core::summary::RunSummary;
use roundhouse_proto::{
    Digest, FinalChoice, FinishReason, Method, Sampling, SessionSettings, Speaker, StopReason, TesterMode,
    Usage,
};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::report::SCHEMA_VERSION;
use crate::report::session::TRANSCRIPT_FILE;
use crate::report::summary::SUMMARY_FILE;

/// The version of the format that this program writes, and the newest that it reads.
pub const FORMAT_VERSION: u64 = 1;
/// What the name of a model that is played back begins with; the recorded model's own name follows.
pub const RECORDED_PREFIX: &str = "recorded:";

/// The first line of a recording.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// Version of the format.
    #[serde(rename = "roundhouse_recording")]
    pub version: u64,
    /// The run.
    pub run_id: String,
    /// The model that answered.
    pub model: String,
    /// Models of speakers that had another one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub model_for: BTreeMap<Speaker, String>,
    /// What it was asked about.
    pub data_set: RecordedDataSet,
    /// How the sessions were held.
    pub settings: Settings,
}

/// The data set of a recorded run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedDataSet {
    /// The name that reports print.
    pub name: String,
    /// Address of the file's bytes.
    pub sha256: Digest,
}

/// How recorded sessions were held, as far as their calls and programs depend on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Which roles worked.
    pub method: Method,
    /// Most coder turns.
    pub max_rounds: u32,
    /// What the tester did.
    pub tester: TesterMode,
    /// Which program was judged.
    pub final_program: FinalChoice,
    /// How the model was asked.
    pub sampling: Sampling,
    /// Whether imports and a call of `main()` were added.
    pub patch: bool,
    /// By which rule a round's outputs agreed.
    pub comparator: String,
}

impl Settings {
    /// Those of a run's sessions.
    pub fn of(session: &SessionSettings) -> Self {
        Self {
            method: session.method,
            max_rounds: session.max_rounds,
            tester: session.tester,
            final_program: session.final_choice,
            sampling: session.sampling,
            patch: session.patch,
            comparator: session.comparator.to_string(),
        }
    }

    /// Flags whose values differ, with the value here and the one in `other`.
    pub fn differences(&self, other: &Self) -> Vec<(&'static str, String, String)> {
        let patch = |patch: bool| if patch { "patched" } else { "as written" }.to_owned();
        let both = |flag, a: &dyn ToString, b: &dyn ToString| (flag, a.to_string(), b.to_string());
        let (here, there) = (self.sampling, other.sampling);
        let all = [
            both("--method", &self.method.word(), &other.method.word()),
            both("--max-rounds", &self.max_rounds, &other.max_rounds),
            both("--tester", &self.tester.word(), &other.tester.word()),
            both("--final", &self.final_program.word(), &other.final_program.word()),
            both("--temperature", &here.temperature, &there.temperature),
            both("--top-p", &here.top_p, &there.top_p),
            both("--max-tokens", &here.max_tokens, &there.max_tokens),
            ("--no-patch", patch(self.patch), patch(other.patch)),
            both("--comparator", &self.comparator, &other.comparator),
        ];
        all.into_iter().filter(|(_, a, b)| a != b).collect()
    }
}

/// A recording, before its calls are read from the transcripts.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    head: Head,
    sessions: Vec<Session>,
}

/// One session of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Session {
    /// Name of the problem's directory.
    name: String,
    source_id: String,
    position: u32,
    unanswered: Option<StopReason>,
}

/// What a recording holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Calls.
    pub calls: usize,
    /// Sessions that have ended; those that have not are not in it.
    pub sessions: usize,
    /// Sessions that have not.
    pub open: usize,
}

/// Why a recording cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// Its file cannot be made or written.
    #[error("write the recording `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It would take the place of something that is no file.
    #[error("write the recording `{}`: it is no file", path.display())]
    NoFile {
        /// What is there.
        path: PathBuf,
    },
    /// A file of the run cannot be read.
    #[error("read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// summary.json is not what it should be.
    #[error("read `{}`", path.display())]
    Summary {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// summary.json was written by a newer program.
    #[error(
        "`{}` has schema version {found}, but this program knows versions up to {SCHEMA_VERSION}",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// A name in summary.json that leads out of the run directory.
    #[error("`{}` names a problem `{name}`, which is no name of a directory", path.display())]
    Name {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// A line of a transcript is not what it should be.
    #[error("read `{}`, line {line}", path.display())]
    Transcript {
        /// The transcript.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
}

/// Refuses a file that could not be written later: asked before a run spends anything.
///
/// # Errors
/// It is a directory, or none of this name can be made.
pub fn check(file: &Path) -> Result<(), RecordingError> {
    if file.exists() && !file.is_file() {
        return Err(RecordingError::NoFile {
            path: file.to_owned(),
        });
    }
    temporary(file).map(drop)
}

/// Records a run from its directory; one that was copied from elsewhere is enough.
///
/// # Errors
/// summary.json or a transcript cannot be read, or the file cannot be written; then it is as it was.
pub fn write(run_dir: &Path, file: &Path) -> Result<Written, RecordingError> {
    Plan::of_summary_file(run_dir)?.write(run_dir, file)
}

impl Plan {
    /// That of a run of this process: `summary` is what it came to, if it came to an end.
    pub fn of_run(spec: &RunSpec, summary: Option<&RunSummary>) -> Self {
        let session = &spec.session;
        let sessions = spec.problems.iter().enumerate().map(|(i, problem)| {
            let came_to = summary.and_then(|summary| summary.problems.get(i));
            let generation = came_to.and_then(|problem| problem.generation.as_ref());
            Session {
                name: problem.name.clone(),
                source_id: problem.source_id.clone(),
                position: problem.position,
                unanswered: generation.and_then(|generation| unanswered(generation.stop_reason)),
            }
        });
        Self {
            head: Head {
                version: FORMAT_VERSION,
                run_id: spec.run.to_string(),
                model: own_name(&session.model),
                model_for: own_names(&session.model_for),
                data_set: RecordedDataSet {
                    name: spec.data_set.name.clone(),
                    sha256: spec.data_set.sha256,
                },
                settings: Settings::of(session),
            },
            sessions: sessions.collect(),
        }
    }

    fn of_summary_file(run_dir: &Path) -> Result<Self, RecordingError> {
        let path = run_dir.join(SUMMARY_FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(source) => return Err(RecordingError::Read { path, source }),
        };
        Self::of_summary(&path, &text)
    }

    fn of_summary(path: &Path, text: &[u8]) -> Result<Self, RecordingError> {
        let shape = |source| RecordingError::Summary {
            path: path.to_owned(),
            source,
        };
        let versioned: SummaryFile<Versioned, serde::de::IgnoredAny> =
            serde_json::from_slice(text).map_err(shape)?;
        let found = versioned.summary.schema_version;
        if found > SCHEMA_VERSION {
            return Err(RecordingError::Newer {
                path: path.to_owned(),
                found,
            });
        }
        let read: SummaryFile<SummaryHead, SummaryResult> = serde_json::from_slice(text).map_err(shape)?;
        let provenance = read.summary.provenance;
        let mut sessions = Vec::new();
        for result in read.results {
            let mut parts = Path::new(&result.name).components();
            if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
                return Err(RecordingError::Name {
                    path: path.to_owned(),
                    name: result.name.escape_debug().to_string(),
                });
            }
            sessions.push(Session {
                name: result.name,
                source_id: result.source_id,
                position: result.position,
                unanswered: result.stop_reason.and_then(unanswered),
            });
        }
        Ok(Self {
            head: Head {
                version: FORMAT_VERSION,
                run_id: read.summary.run_id,
                model: own_name(&provenance.model),
                model_for: own_names(&provenance.model_for),
                data_set: provenance.data_set,
                settings: provenance.settings,
            },
            sessions,
        })
    }

    /// Writes it, with the calls that the transcripts of `run_dir` hold, in the place of what was there.
    ///
    /// # Errors
    /// A transcript cannot be read, or the file cannot be written; then it is as it was.
    pub fn write(&self, run_dir: &Path, file: &Path) -> Result<Written, RecordingError> {
        let failed = |source| RecordingError::Write {
            path: file.to_owned(),
            source,
        };
        let mut out = BufWriter::new(temporary(file)?);
        let mut written = Written::default();
        write_line(&mut out, &self.head).map_err(failed)?;
        for session in &self.sessions {
            let path = run_dir.join(&session.name).join(TRANSCRIPT_FILE);
            let transcript = match File::open(&path) {
                Ok(transcript) => BufReader::new(transcript),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    written.open += 1;
                    continue;
                }
                Err(source) => return Err(RecordingError::Read { path, source }),
            };
            written.sessions += 1;
            for (line, text) in (1..).zip(transcript.lines()) {
                let text = text.map_err(|source| RecordingError::Read {
                    path: path.clone(),
                    source,
                })?;
                let call: Call =
                    serde_json::from_str(&text).map_err(|source| RecordingError::Transcript {
                        path: path.clone(),
                        line,
                        source,
                    })?;
                write_line(&mut out, &self.call_line(session, &call)).map_err(failed)?;
                written.calls += 1;
            }
            if let Some(reason) = session.unanswered {
                let line = UnansweredLine {
                    source_id: &session.source_id,
                    position: session.position,
                    unanswered: reason,
                };
                write_line(&mut out, &line).map_err(failed)?;
            }
        }
        let temporary = out.into_inner().map_err(|error| failed(error.into_error()))?;
        temporary.as_file().sync_all().map_err(failed)?;
        temporary.persist(file).map_err(|error| failed(error.error))?;
        // The name is durable where the file system can make it so.
        let _ = File::open(parent(file)).and_then(|parent| parent.sync_all());
        Ok(written)
    }

    fn call_line<'a>(&'a self, session: &'a Session, call: &'a Call) -> CallLine<'a> {
        let own = self.head.model_for.get(&call.speaker);
        CallLine {
            source_id: &session.source_id,
            position: session.position,
            speaker: call.speaker,
            round: call.round,
            ask: call.ask,
            model: own.unwrap_or(&self.head.model),
            prompt: Digest::of(call.prompt.as_bytes()),
            reply: &call.reply,
            reasoning: call.reasoning.as_deref(),
            finish: call.finish,
            usage: call.usage,
            duration_ms: call.duration_ms,
        }
    }
}

/// A line of a transcript, as far as it is recorded.
#[derive(Deserialize)]
struct Call {
    speaker: Speaker,
    round: u32,
    ask: u32,
    prompt: String,
    reply: String,
    reasoning: Option<String>,
    finish: FinishReason,
    usage: Option<Usage>,
    duration_ms: u64,
}

#[derive(Serialize)]
struct CallLine<'a> {
    source_id: &'a str,
    position: u32,
    speaker: Speaker,
    round: u32,
    ask: u32,
    model: &'a str,
    prompt: Digest,
    reply: &'a str,
    reasoning: Option<&'a str>,
    finish: FinishReason,
    usage: Option<Usage>,
    duration_ms: u64,
}

#[derive(Serialize)]
struct UnansweredLine<'a> {
    source_id: &'a str,
    position: u32,
    unanswered: StopReason,
}

/// summary.json, as far as it is needed.
#[derive(Deserialize)]
struct SummaryFile<H, R> {
    summary: H,
    results: Vec<R>,
}

#[derive(Deserialize)]
struct Versioned {
    schema_version: u64,
}

#[derive(Deserialize)]
struct SummaryHead {
    run_id: String,
    provenance: Provenance,
}

#[derive(Deserialize)]
struct Provenance {
    model: String,
    #[serde(default)]
    model_for: BTreeMap<Speaker, String>,
    data_set: RecordedDataSet,
    #[serde(flatten)]
    settings: Settings,
}

#[derive(Deserialize)]
struct SummaryResult {
    name: String,
    source_id: String,
    position: u32,
    stop_reason: Option<StopReason>,
}

/// Why a session's next call had no answer; none where it ended with one.
fn unanswered(reason: StopReason) -> Option<StopReason> {
    match reason {
        StopReason::ContextLimit | StopReason::Budget => Some(reason),
        StopReason::Passed
        | StopReason::RoundLimit
        | StopReason::Unchanged
        | StopReason::NoCode
        | StopReason::NoCases
        | StopReason::Refused
        | StopReason::Truncated
        | StopReason::Disputed => None,
    }
}

/// The name of a model that answered, also where it is played back already.
fn own_name(model: &str) -> String {
    model.strip_prefix(RECORDED_PREFIX).unwrap_or(model).to_owned()
}

fn own_names(models: &BTreeMap<Speaker, String>) -> BTreeMap<Speaker, String> {
    let models = models.iter();
    models
        .map(|(speaker, model)| (*speaker, own_name(model)))
        .collect()
}

fn parent(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

/// A file beside the one that it is to become.
fn temporary(file: &Path) -> Result<NamedTempFile, RecordingError> {
    let failed = |source| RecordingError::Write {
        path: file.to_owned(),
        source,
    };
    fs::metadata(parent(file)).map_err(failed)?;
    tempfile::Builder::new()
        .prefix(".roundhouse-recording-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(parent(file))
        // The error's own text names a file that nobody knows.
        .map_err(|error| failed(error.kind().into()))
}

fn write_line(out: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests;
