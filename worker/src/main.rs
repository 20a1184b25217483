//! The `worker` program.

fn main() -> std::process::ExitCode {
    roundhouse_worker::cli::main()
}
