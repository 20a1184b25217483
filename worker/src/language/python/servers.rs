//! The fork servers of CPython: what they are made of and how they are started.
//!
//! Given to the cages by `Interpreter`; the texts beside this file are what runs. A server is an interpreter that has
//! started, says so over file 3 and forks a process for every run (`zygote.py` has the messages). The two differ in
//! where they wait:
//!
//! ```text
//! python3 main.py   site ──► [sitecustomize.py waits here] ──► reads, compiles, runs main.py ──► finalises
//! python3 fast.py   site ──► fast.py: reads, compiles, imports ──► [waits here] ──► runs main.py ──► flushes, leaves
//! ```
//!
//! What tells a run of the second from a fresh start, and so keeps programs away by `start.rs`: one frame more at the
//! bottom of the stack (the limit is raised by that much), objects that do not die one by one at the end, objects of
//! modules that were made before the fork.

use std::path::Path;

use roundhouse_sandbox::{ForkServer, Holds};

use crate::language::MAIN_FILE;

/// Where the cage puts the files of servers.
const DIRECTORY: &str = "/z";

/// Place of the server that holds the program, for [`roundhouse_proto::StartMode::Fast`].
pub(crate) const FAST: usize = 0;
/// Place of the server that holds nothing, for [`roundhouse_proto::StartMode::Natural`].
pub(crate) const NATURAL: usize = 1;

/// The servers, each in its place.
pub(super) fn servers(executable: &str) -> Vec<ForkServer> {
    let fast = ForkServer {
        argv: vec![executable.to_owned(), in_directory("fast.py")],
        environment: Vec::new(),
        holds: Holds::Program,
    };
    let natural = ForkServer {
        argv: vec![executable.to_owned(), MAIN_FILE.to_owned()],
        // `site` finds the server over it; it is gone before a program starts.
        environment: vec![("PYTHONPATH".to_owned(), DIRECTORY.to_owned())],
        holds: Holds::Nothing,
    };
    vec![fast, natural]
}

/// What both are made of.
pub(super) fn files() -> Vec<(String, Vec<u8>)> {
    let texts = [
        ("zygote.py", include_str!("zygote.py")),
        ("sitecustomize.py", include_str!("sitecustomize.py")),
        ("fast.py", include_str!("fast.py")),
        ("fast_program.py", include_str!("fast_program.py")),
    ];
    texts
        .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
        .to_vec()
}

fn in_directory(name: &str) -> String {
    Path::new(DIRECTORY).join(name).display().to_string()
}
