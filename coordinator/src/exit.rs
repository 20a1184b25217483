//! How the program ends: the exit codes, and errors that are the caller's.

use std::process::ExitCode;

/// What was asked is not understood, or cannot be asked.
pub const USAGE: u8 = 2;
/// Finished, but some problems have no verdict because of failures of ours, or programs are judged otherwise than
/// expected.
pub const INCOMPLETE: u8 = 3;
/// There is nothing to do.
pub const NOTHING_TO_DO: u8 = 4;
/// `--fail-under` is not met.
pub const FAIL_UNDER: u8 = 100;
/// Stopped by the user; the state is saved.
pub const INTERRUPTED: u8 = 130;

/// An error in how the program was called. Lines after the first are hints.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(String);

/// An error in how the program was called.
pub fn usage(text: String) -> anyhow::Error {
    UsageError(text).into()
}

/// The exit code that goes with an error.
pub fn code_of(error: &anyhow::Error) -> ExitCode {
    if error.is::<UsageError>() || error.is::<crate::dataset::SelectionError>() {
        return USAGE.into();
    }
    #[cfg(feature = "local")]
    if let Some(code) = error
        .downcast_ref()
        .and_then(crate::local::LocalWorkerError::exit_code)
    {
        return code.into();
    }
    ExitCode::from(1)
}
