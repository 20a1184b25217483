//! The `coordinator` program.

fn main() -> std::process::ExitCode {
    roundhouse_coordinator::cli::main()
}
