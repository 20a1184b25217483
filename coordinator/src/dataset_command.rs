//! `dataset show` and `dataset fetch`: looking into problem files and getting public ones.
//!
//! What was asked for goes to stdout, everything else to stderr. Nothing here takes part in a run.

mod download;
mod fetch;
mod hub;
mod show;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Args, Subcommand};

pub use fetch::{FetchArgs, PublicDataset, Split};
pub use show::ShowArgs;

/// Look into problem files and get public ones.
#[derive(Debug, Args)]
pub struct DatasetArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: DatasetCommand,
}

/// What `dataset` does.
#[derive(Debug, Subcommand)]
pub enum DatasetCommand {
    /// Print what is in a problems file.
    Show(ShowArgs),
    /// Download a public data set; an interrupted download goes on where it stopped.
    Fetch(FetchArgs),
}

/// Does what `dataset` was asked for.
///
/// # Errors
/// A [`DatasetError`](crate::dataset::DatasetError) of the file shown, or why a download failed.
pub fn run(args: DatasetArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        DatasetCommand::Show(args) => show::run(&args),
        DatasetCommand::Fetch(args) => fetch::run(&args),
    }
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
        dataset: DatasetArgs,
    }

    #[test]
    fn fetch_needs_a_split_and_saves_in_datasets_by_default() {
        Line::command().debug_assert();
        assert!(Line::try_parse_from(["dataset", "fetch", "code_contests"]).is_err());
        let line = Line::try_parse_from(["dataset", "fetch", "code_contests", "--split", "valid"]);
        let Ok(Line {
            dataset: DatasetArgs {
                command: DatasetCommand::Fetch(args),
            },
        }) = line
        else {
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
