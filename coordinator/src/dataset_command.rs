//! `dataset show` and `dataset fetch`: looking into problem files and getting public ones.
//!
//! What was asked for goes to stdout, everything else to stderr. Nothing here takes part in a run.

mod download;
mod fetch;
mod hub;
mod show;

use std::io::{self, Write as _};
use std::process::ExitCode;

pub use fetch::{FetchArgs, PublicDataset, Split};
pub use show::ShowArgs;

/// Prints what is in a problems file.
///
/// # Errors
/// A [`DatasetError`](crate::dataset::DatasetError) of that file.
pub fn show(args: &ShowArgs) -> anyhow::Result<ExitCode> {
    show::run(args)
}

/// Downloads a public data set; an interrupted download goes on where it stopped. Makes a runtime of its own.
///
/// # Errors
/// Why the download failed.
pub fn fetch(args: &FetchArgs) -> anyhow::Result<ExitCode> {
    fetch::run(args)
}

/// Writes data for other programs; one that stops reading is no error.
fn write_stdout(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// Says something to the user; that nobody listens is no error.
fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use clap::{CommandFactory as _, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        fetch: FetchArgs,
    }

    #[test]
    fn fetch_needs_a_split_and_saves_in_datasets_by_default() {
        Line::command().debug_assert();
        assert!(Line::try_parse_from(["fetch", "code_contests"]).is_err());
        let line = Line::try_parse_from(["fetch", "code_contests", "--split", "valid"]);
        let Ok(Line { fetch: args }) = line else {
            panic!("expected a fetch: {line:?}");
        };
        assert_eq!(
            (args.dataset, args.split, args.output),
            (
                PublicDataset::CodeContests,
                Split::Valid,
                PathBuf::from("./Datasets")
            )
        );
    }
}
