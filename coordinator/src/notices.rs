//! What is said on standard error beside the progress: errors, warnings, notes, and what to do next.
//! Where nobody reads it any more, that ends nothing.

use std::io::Write;

use crate::dataset::{DatasetError, Loaded, SelectionError};
use crate::prepare::REFERENCE_MODEL;
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
