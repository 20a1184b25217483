//! The command line of a worker.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use roundhouse_proto::{CoordinatorAddress, Role};

use crate::isolation::IsolationFlags;
use crate::judge_command::JudgeArgs;
use crate::llm::endpoint::EndpointFlags;

/// Generates programs with a model and runs programs against tests.
#[derive(Debug, Parser)]
#[command(name = "worker", version, about, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What a worker can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Join a coordinator and do the jobs it hands out
    Join(JoinArgs),
    /// Judge programs from a file, in order, in one cage
    Judge(JudgeArgs),
}

/// How a worker joins.
#[derive(Debug, Args)]
pub struct JoinArgs {
    /// What to do: `gen` talks to models, `eval` runs programs; `gen,eval` does both
    #[arg(
        long = "role",
        value_name = "gen|eval",
        required = true,
        value_delimiter = ','
    )]
    pub roles: Vec<Role>,
    /// Jobs of each role at a time [default: half the cores for gen, the cores for eval]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub slots: Option<u32>,
    /// Where the coordinator is: `http://HOST:PORT` or `unix:PATH`
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "ROUNDHOUSE_COORDINATOR",
        default_value = roundhouse_proto::address::DEFAULT_ADDRESS
    )]
    pub coordinator: CoordinatorAddress,
    /// Name of this worker for people [default: the host's name and the process id]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The Python 3 that programs are run with [default: `python3` on the PATH]
    #[arg(long, value_name = "PATH", env = "ROUNDHOUSE_PYTHON")]
    pub python: Option<PathBuf>,
    /// Where models are reached.
    #[command(flatten)]
    pub endpoints: EndpointFlags,
    /// How well programs must be shut in.
    #[command(flatten)]
    pub isolation: IsolationFlags,
    /// End when standard input ends: whoever started this worker is gone
    #[arg(long, hide = true)]
    pub with_parent: bool,
}

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    roundhouse_sandbox::enter_if_cage();
    let cli = Cli::parse();
    crate::log::start();
    run(cli.command)
}

/// Does what a command says.
pub fn run(command: Command) -> ExitCode {
    let result = match command {
        Command::Join(args) => crate::join::run(args),
        Command::Judge(args) => crate::judge_command::run(&args),
    };
    result.unwrap_or_else(|error| {
        crate::log::say(&format!("error: {error:#}"));
        ExitCode::from(1)
    })
}
