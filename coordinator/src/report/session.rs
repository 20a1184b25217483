//! What one session leaves in its problem's directory: the history, the transcript, the final program, the rounds.

use std::num::NonZeroU32;

use bytes::Bytes;
use roundhouse_core::summary::{ProblemOutcome, ProblemSummary};
use roundhouse_proto::{FinishReason, Language, Payload, SessionEvent, SessionSettings, Speaker, Usage};
use serde::Serialize;

use super::line::one_line;
use super::{BlobReader, Ordered, ReportError, content, json, text};

/// Name of the history's file.
pub const HISTORY_FILE: &str = "session_history.json";
/// Name of the transcript's file.
pub const TRANSCRIPT_FILE: &str = "transcript.jsonl";
/// Name of the statement's file.
pub const STATEMENT_FILE: &str = "problem_statement.txt";

/// Most lines of a reason in the place of a program.
const REASON_LINES_MAX: usize = 20;
/// Most characters of such a line.
const REASON_LINE_CHARS_MAX: usize = 300;

/// Name of the final program's file.
pub fn final_solution_file(language: Language) -> String {
    format!("final_solution.{}", language.extension())
}

/// A file's name and its bytes.
pub type File = (String, Bytes);

/// The files that a session's end gives, `name` being that of the problem: history, transcript, final program.
///
/// # Errors
/// A blob cannot be read.
pub fn session_files(
    settings: &SessionSettings,
    name: &str,
    problem: &ProblemSummary,
    blobs: &dyn BlobReader,
) -> Result<Vec<File>, ReportError> {
    let history = json(HISTORY_FILE, &history(name, &problem.events, blobs)?)?;
    Ok(vec![
        (HISTORY_FILE.to_owned(), history),
        (
            TRANSCRIPT_FILE.to_owned(),
            transcript(settings, name, &problem.events, blobs)?,
        ),
        (
            final_solution_file(settings.language),
            final_solution(settings.language, name, problem, blobs)?,
        ),
    ])
}

/// The files of one round, whose directory is `round_K`; none if that round has not ended.
///
/// # Errors
/// A blob cannot be read.
pub fn round_files(
    language: Language,
    name: &str,
    events: &[SessionEvent],
    wanted: u32,
    blobs: &dyn BlobReader,
) -> Result<Option<Vec<File>>, ReportError> {
    for event in events {
        if let SessionEvent::RoundEnd {
            round,
            code,
            report,
            tests_raw,
            ..
        } = event
            && *round == wanted
        {
            return Ok(Some(vec![
                (
                    format!("code_iteration.{}", language.extension()),
                    content(code, name, "code of a round", blobs)?,
                ),
                (
                    "report_iteration.txt".to_owned(),
                    content(report, name, "report of a round", blobs)?,
                ),
                (
                    "tests_raw.txt".to_owned(),
                    content(tests_raw, name, "tests of a round", blobs)?,
                ),
            ]));
        }
    }
    Ok(None)
}

/// The plan and the rounds in the shape that old readers know.
#[derive(Serialize)]
pub(super) struct SessionHistory(Ordered<String, HistoryEntry>);

#[derive(Serialize)]
#[serde(untagged)]
enum HistoryEntry {
    Plan(String),
    Untested {
        code: String,
    },
    Tested {
        code: String,
        report: String,
        tests: String,
        test_report: String,
    },
}

pub(super) fn history(
    name: &str,
    events: &[SessionEvent],
    blobs: &dyn BlobReader,
) -> Result<SessionHistory, ReportError> {
    let read = |payload: &Payload, what| content(payload, name, what, blobs).map(|bytes| text(&bytes));
    let mut plan = String::new();
    let mut rounds = Vec::new();
    for event in events {
        match event {
            // The last asking holds.
            SessionEvent::Said {
                speaker: Speaker::Analyst,
                reply,
                ..
            } => plan = read(reply, "plan")?,
            SessionEvent::RoundEnd {
                round,
                code,
                report,
                tests_raw,
                tests_used,
                ..
            } => {
                let code = read(code, "code of a round")?;
                let tests = read(tests_raw, "tests of a round")?;
                let entry = if tests_used.is_none() && tests.is_empty() {
                    HistoryEntry::Untested { code }
                } else {
                    let used = tests_used.as_ref();
                    HistoryEntry::Tested {
                        code,
                        report: read(report, "report of a round")?,
                        tests,
                        test_report: used
                            .map(|used| read(used, "cases of a round"))
                            .transpose()?
                            .unwrap_or_default(),
                    }
                };
                rounds.push((format!("Round_{round}"), entry));
            }
            SessionEvent::Said { .. } | SessionEvent::TestRequest { .. } | SessionEvent::Finished(_) => {}
        }
    }
    let mut entries = vec![("plan".to_owned(), HistoryEntry::Plan(plan))];
    entries.append(&mut rounds);
    Ok(SessionHistory(Ordered(entries)))
}

#[derive(Serialize)]
struct TranscriptLine<'a> {
    speaker: Speaker,
    round: u32,
    ask: u32,
    /// Only where speakers have models of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    prompt: String,
    reply: String,
    reasoning: Option<String>,
    finish: FinishReason,
    usage: Option<Usage>,
    duration_ms: u64,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    remarks: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    unaccounted: Option<NonZeroU32>,
}

/// One line of JSON for each answer of the model, in order. The attempt is not in it: a session that was resumed
/// has the transcript of one that was not disturbed.
fn transcript(
    settings: &SessionSettings,
    name: &str,
    events: &[SessionEvent],
    blobs: &dyn BlobReader,
) -> Result<Bytes, ReportError> {
    let has_models = !settings.model_for.is_empty();
    let read = |payload: &Payload, what| content(payload, name, what, blobs).map(|bytes| text(&bytes));
    let mut lines = Vec::new();
    for event in events {
        if let SessionEvent::Said {
            speaker,
            round,
            ask,
            prompt,
            reply,
            reasoning,
            finish,
            usage,
            duration_ms,
            remarks,
            unaccounted,
        } = event
        {
            let reasoning = reasoning.as_ref().map(|payload| read(payload, "reasoning"));
            let line = TranscriptLine {
                speaker: *speaker,
                round: *round,
                ask: *ask,
                model: has_models.then(|| settings.model_of(*speaker)),
                prompt: read(prompt, "prompt")?,
                reply: read(reply, "reply")?,
                reasoning: reasoning.transpose()?,
                finish: *finish,
                usage: *usage,
                duration_ms: *duration_ms,
                remarks,
                unaccounted: NonZeroU32::new(*unaccounted),
            };
            let encoded = serde_json::to_writer(&mut lines, &line);
            encoded.map_err(|source| ReportError::Encode {
                file: TRANSCRIPT_FILE,
                source,
            })?;
            lines.push(b'\n');
        }
    }
    Ok(lines.into())
}

/// The program that is judged; in its place, when there is none, comments that say why.
pub(super) fn final_solution(
    language: Language,
    name: &str,
    problem: &ProblemSummary,
    blobs: &dyn BlobReader,
) -> Result<Bytes, ReportError> {
    let generation = problem.generation.as_ref();
    if let Some(program) = generation.and_then(|generation| generation.program.as_ref()) {
        return content(program, name, "final program", blobs);
    }
    let notes = generation.map_or("", |_| "notes of the session:");
    let said = generation.map(|generation| generation.notes.join("\n"));
    let (heading, reason) = match (&problem.outcome, generation) {
        (ProblemOutcome::Error(failure), _) => {
            ("failure of the machinery:".to_owned(), failure.message.clone())
        }
        (ProblemOutcome::NoProgram(stop_reason), _) => (
            format!("stop reason: {}", stop_reason.word()),
            with_heading(notes, said.as_deref()),
        ),
        (ProblemOutcome::Open | ProblemOutcome::Judged { .. }, Some(generation)) => (
            format!("stop reason: {}", generation.stop_reason.word()),
            with_heading(notes, said.as_deref()),
        ),
        (ProblemOutcome::Open | ProblemOutcome::Judged { .. }, None) => {
            ("the session has not ended".to_owned(), String::new())
        }
    };
    Ok(failed_program(language, &heading, &reason).into())
}

fn with_heading(heading: &str, text: Option<&str>) -> String {
    match text {
        Some(text) if !text.is_empty() => format!("{heading}\n{text}"),
        _ => String::new(),
    }
}

/// A program of comments alone. The reason can come from outside: no line of it leaves its comment, and none is
/// among the first two, where Python looks for a declaration of the source's encoding.
fn failed_program(language: Language, heading: &str, reason: &str) -> String {
    let mark = match language {
        Language::Python3 => "#",
    };
    let mut program = format!("{mark} Generation failed\n{mark} {heading}\n");
    for line in reason.lines().take(REASON_LINES_MAX) {
        let line = one_line(line, REASON_LINE_CHARS_MAX);
        program.push_str(format!("{mark} {line}").trim_end());
        program.push('\n');
    }
    program
}
