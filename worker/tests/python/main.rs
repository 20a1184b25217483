//! Programs run alike however they are started: the corpus in `corpus/`, every program under every start.
//!
//! Twice: the fork servers as plain processes, spoken to by a small init of this test (`server.rs`), against the plain
//! interpreter; and in a cage (`caged.rs`), against the interpreter that is executed there. What is compared is
//! standard output, the exit status or signal, and standard error.
//!
//! ROUNDHOUSE_TEST_PYTHON names another interpreter than the `python3` on PATH.
#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]
#![expect(clippy::print_stderr, reason = "a test that is left out says so")]

mod caged;
mod corpus;
mod differential;
mod server;
mod servers;
mod stand;
