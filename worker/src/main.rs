//! Entry.
use clap::Parser;

#[derive(Parser)]
enum Cli {
    Judge(roundhouse_worker::judge_command::JudgeArgs),
}

fn main() -> std::process::ExitCode {
    roundhouse_sandbox::enter_if_cage();
    let Cli::Judge(args) = Cli::parse();
    match roundhouse_worker::judge_command::run(&args) {
        Ok(code) => code,
        Err(error) => {
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            1.into()
        }
    }
}
