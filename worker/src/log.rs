//! What is said on stderr: messages for the user, and the process's log, for people who look for the cause of
//! something.

use std::io::Write;

use tracing_subscriber::EnvFilter;

/// Says something to the user on stderr. Where nobody reads it any more, that ends nothing.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Starts the log. `ROUNDHOUSE_LOG` chooses what is said, such as `info` or `roundhouse_worker=debug`; warnings and
/// errors by default.
pub fn start() {
    let filter = EnvFilter::try_from_env("ROUNDHOUSE_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    // A second start in one process, as in tests, keeps the first.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
}
