//! What is said on standard error beside the progress: errors, warnings, notes, and what to do next.
//! Where nobody reads it any more, that ends nothing.

use std::io::Write;
use std::path::Path;

use roundhouse_core::status::Stuck;
use roundhouse_core::summary::RunSummary;
use roundhouse_proto::{Audit, Role};

use crate::dataset::{DatasetError, Loaded, SelectionError};
use crate::prepare::REFERENCE_MODEL;
use crate::quarantine::QuarantineError;
use crate::recording::Written;
use crate::recording::playback::PlaybackError;
use crate::report::number::percent;
use crate::run_dir::RunDirError;

/// Warnings about rows that are printed one by one; the rest is counted.
const WARNINGS_SHOWN: usize = 10;

/// An error that ends the command, with all its causes, and what to do about it.
pub fn error(error: &anyhow::Error) {
    line(format_args!("error: {error:#}"));
    let next = error
        .downcast_ref::<DatasetError>()
        .and_then(DatasetError::hint)
        .or_else(|| {
            error
                .downcast_ref::<SelectionError>()
                .and_then(SelectionError::hint)
        })
        .or_else(|| {
            error
                .downcast_ref::<PlaybackError>()
                .and_then(PlaybackError::hint)
        })
        .or_else(|| {
            error
                .downcast_ref::<QuarantineError>()
                .and_then(QuarantineError::hint)
        })
        .or_else(|| match error.downcast_ref::<RunDirError>() {
            Some(RunDirError::Make { .. }) => Some("name another directory with `--output-dir`".to_owned()),
            Some(_) | None => None,
        });
    if let Some(text) = next {
        hint(&text);
    }
}

/// Something worth knowing.
pub fn note(text: &str) {
    line(format_args!("note: {text}"));
}

/// Something unexpected that does not end the command.
pub fn warning(text: &str) {
    line(format_args!("warning: {text}"));
}

/// What to do next.
pub fn hint(text: &str) {
    line(format_args!("hint: {text}"));
}

/// What a recording holds.
pub fn recorded(written: Written, file: &Path) {
    let Written {
        calls,
        sessions,
        open,
    } = written;
    let rest = match open {
        0 => String::new(),
        1 => "; 1 session has not ended and is not in it".to_owned(),
        open => format!("; {open} sessions have not ended and are not in it"),
    };
    note(&format!(
        "{calls} calls of {sessions} sessions are recorded in `{}`{rest}",
        file.display()
    ));
}

fn line(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// What is odd about a data set, and that the offline model measures nothing.
pub fn loaded(loaded: &Loaded, model: &str) {
    for odd in loaded.warnings.iter().take(WARNINGS_SHOWN) {
        warning(&odd.to_string());
    }
    let more = loaded.warnings.len().saturating_sub(WARNINGS_SHOWN);
    if more > 0 {
        warning(&format!(
            "{more} more warnings: `coordinator dataset show FILE` prints all"
        ));
    }
    if model == REFERENCE_MODEL {
        warning(&format!(
            "`{REFERENCE_MODEL}` is no model: it answers with the data set's own programs, so the result measures \
             the data set and the machinery, and no model"
        ));
    }
}

/// What audits found, if that is anything: verdicts of a process that was started the faster way were not those of a
/// fresh one.
pub fn audited(audit: Audit) {
    if audit.mismatched > 0 {
        warning(&format!(
            "{} of {} audited tests came to something else in a fresh interpreter, whose verdict stands",
            audit.mismatched, audit.audited
        ));
        hint("`--zygote natural` or `--zygote fresh` starts programs in a way that they cannot notice");
    }
}

/// What helps a run of this machine that cannot move; `resume` is the command that goes on with it.
pub fn stuck_hint(stuck: &Stuck, resume: &str) -> String {
    match stuck {
        Stuck::NoWorker {
            role: Role::Gen | Role::Eval,
        } => format!(
            "this run starts its own workers: what keeps this one away is said above, or by \
             `ROUNDHOUSE_LOG=info {resume}`"
        ),
        Stuck::NoEndpoint { name: Some(name) } => {
            format!("Ctrl-C, then `{resume} --endpoint {name}=URL`, or with its key in the environment")
        }
        Stuck::NoEndpoint { name: None } => format!(
            "Ctrl-C, then `{resume}` with a key in `OPENAI_API_KEY` or `DEEPSEEK_API_KEY`, or with `--base-url URL`"
        ),
        Stuck::ManyEndpoints { names } => {
            let first = names.first().map_or("NAME", String::as_str);
            format!("Ctrl-C, then `{resume} --endpoint {first}`, or another of them")
        }
        Stuck::NoKey { endpoint, .. } => key_hint(Some(endpoint), resume),
        Stuck::NoInterpreter { .. } => {
            format!("Ctrl-C, then `{resume} --python PATH` with an interpreter that there is")
        }
        Stuck::OtherInterpreters { bound, .. } => {
            format!("Ctrl-C, then `{resume} --python PATH` with a {bound}")
        }
    }
}

/// What is said of a run of which only programs of rounds are still to be judged.
pub fn only_rounds_left(run: &RunSummary) -> String {
    let (passed, total) = (run.passed(), run.problems.len());
    let percent = percent(passed as f64, total as f64);
    format!(
        "every problem is judged, Pass@1 is {percent:.2}% ({passed}/{total}); programs of rounds are still judged"
    )
}

/// What helps where an endpoint refuses the key.
pub fn key_hint(endpoint: Option<&str>, resume: &str) -> String {
    let of = endpoint
        .map(|endpoint| format!(" of `{endpoint}`"))
        .unwrap_or_default();
    format!("mend the key{of}, then `{resume}` goes on: what was answered is not asked again")
}

#[cfg(test)]
mod tests {
    use roundhouse_proto::Language;

    use super::*;

    #[test]
    fn each_reason_why_a_run_cannot_move_has_a_hint_with_a_command() {
        let resume = "coordinator run --resume d";
        let endpoint = "deepseek".to_owned();
        for (stuck, hint) in [
            (
                Stuck::NoWorker { role: Role::Eval },
                "this run starts its own workers: what keeps this one away is said above, or by \
                 `ROUNDHOUSE_LOG=info coordinator run --resume d`",
            ),
            (
                Stuck::NoEndpoint {
                    name: Some(endpoint.clone()),
                },
                "Ctrl-C, then `coordinator run --resume d --endpoint deepseek=URL`, or with its key in the environment",
            ),
            (
                Stuck::NoEndpoint { name: None },
                "Ctrl-C, then `coordinator run --resume d` with a key in `OPENAI_API_KEY` or `DEEPSEEK_API_KEY`, or \
                 with `--base-url URL`",
            ),
            (
                Stuck::ManyEndpoints {
                    names: vec!["a".to_owned(), "b".to_owned()],
                },
                "Ctrl-C, then `coordinator run --resume d --endpoint a`, or another of them",
            ),
            (
                Stuck::NoKey {
                    endpoint,
                    reason: "401".to_owned(),
                },
                "mend the key of `deepseek`, then `coordinator run --resume d` goes on: what was answered is not asked \
                 again",
            ),
            (
                Stuck::NoInterpreter {
                    language: Language::Python3,
                },
                "Ctrl-C, then `coordinator run --resume d --python PATH` with an interpreter that there is",
            ),
            (
                Stuck::OtherInterpreters {
                    bound: "CPython 3.11".to_owned(),
                    offered: vec!["CPython 3.12".to_owned()],
                },
                "Ctrl-C, then `coordinator run --resume d --python PATH` with a CPython 3.11",
            ),
        ] {
            assert_eq!(stuck_hint(&stuck, resume), hint);
        }
    }
}
