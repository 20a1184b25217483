//! The command line of the coordinator.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::dataset_command;
#[cfg(feature = "local")]
use crate::run_args::RunArgs;
use crate::{cancel_command, fetch_command, retry_command, status_command, submit_command, workers_command};

/// Runs code-generation benchmarks: problems in, programs from a model, verdicts and a report out.
#[derive(Debug, Parser)]
#[command(name = "coordinator", version, about, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What a coordinator can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Generate, evaluate and report on this machine
    #[cfg(feature = "local")]
    Run(Box<RunArgs>),
    /// Hand a run to a coordinator
    Submit(Box<submit_command::SubmitArgs>),
    /// Show how the runs of a coordinator are doing
    Status(status_command::StatusArgs),
    /// Show the workers of a coordinator
    Workers(workers_command::WorkersArgs),
    /// Bring a run directory from a coordinator to this machine
    Fetch(fetch_command::FetchArgs),
    /// End a run; what is settled stays
    Cancel(cancel_command::CancelArgs),
    /// Try those problems of a run again that ended by a failure of ours
    Retry(retry_command::RetryArgs),
    /// Take runs in and hand their jobs to the workers that join
    Start(Box<crate::start_command::StartArgs>),
    /// Look at, check or fetch problems
    #[command(subcommand)]
    Dataset(DatasetCommand),
    /// Look at the prompt templates of sessions, or write them as files
    #[cfg(feature = "local")]
    #[command(subcommand)]
    Prompts(crate::prompts_command::PromptsCommand),
    /// Write the reports of a run again, from its state or from its summary.json
    Report(ReportArgs),
    /// Print how much faster runs were than the first one
    Compare(crate::compare_command::CompareArgs),
    /// Be a worker (also the `worker` program)
    #[cfg(feature = "local")]
    #[command(subcommand, hide = true)]
    Worker(roundhouse_worker::cli::Command),
}

/// What can be done with problems.
#[derive(Debug, Subcommand)]
pub enum DatasetCommand {
    /// Print what is in a problems file
    Show(dataset_command::ShowArgs),
    /// Judge the programs that come with the problems
    #[cfg(feature = "local")]
    Verify(crate::verify_command::VerifyArgs),
    /// Download a public data set
    Fetch(dataset_command::FetchArgs),
}

/// Which run is reported.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The run directory
    #[arg(value_name = "RUN_DIR")]
    pub run_dir: PathBuf,
}

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    #[cfg(feature = "local")]
    roundhouse_worker::enter_if_cage();
    let cli = parse();
    let result = match cli.command {
        #[cfg(feature = "local")]
        Command::Worker(command) => {
            roundhouse_worker::log::start();
            return roundhouse_worker::cli::run(command);
        }
        command => {
            start_log();
            run(command)
        }
    };
    result.unwrap_or_else(|error| {
        crate::notices::error(&error);
        crate::exit::code_of(&error)
    })
}

/// As [`Parser::parse`], with what the parser cannot tell: whether a flag was set in the environment only.
fn parse() -> Cli {
    let mut command = Cli::command();
    let matches = command.get_matches_mut();
    if let Some(("run", given)) = matches.subcommand()
        && let Some(flag) = crate::run_args::flag_against_resume(given)
        && let Some(run) = command.find_subcommand("run")
        && let Some(flag) = run.get_arguments().find(|arg| arg.get_id() == flag)
    {
        let text = format!("the argument '--resume <RUN_DIR>' cannot be used with '{flag}'");
        run.clone()
            .override_usage("coordinator run --resume <RUN_DIR>")
            .error(ErrorKind::ArgumentConflict, text)
            .exit();
    }
    let mut cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if let (Command::Start(args), Some(("start", given))) = (&mut cli.command, matches.subcommand()) {
        args.describes_run = crate::start_command::is_described(given);
    }
    cli
}

fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("ROUNDHOUSE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error"));
    // A second start in one process, as in tests, keeps the first.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        #[cfg(feature = "local")]
        Command::Run(args) => crate::run_command::run(&args),
        Command::Submit(args) => submit_command::run(&args),
        Command::Status(args) => status_command::run(&args),
        Command::Workers(args) => workers_command::run(&args),
        Command::Fetch(args) => fetch_command::run(&args),
        Command::Cancel(args) => cancel_command::run(&args),
        Command::Retry(args) => retry_command::run(&args),
        Command::Start(args) => crate::start_command::run(&args),
        Command::Dataset(DatasetCommand::Show(args)) => dataset_command::show(&args),
        #[cfg(feature = "local")]
        Command::Dataset(DatasetCommand::Verify(args)) => crate::verify_command::run(&args),
        Command::Dataset(DatasetCommand::Fetch(args)) => dataset_command::fetch(&args),
        #[cfg(feature = "local")]
        Command::Prompts(command) => crate::prompts_command::run(&command),
        Command::Report(args) => crate::report_command::run(&args.run_dir),
        Command::Compare(args) => crate::compare_command::run(&args),
        #[cfg(feature = "local")]
        Command::Worker(command) => Ok(roundhouse_worker::cli::run(command)),
    }
}
