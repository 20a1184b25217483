//! Programs run alike however they are started: the corpus in `corpus/`, every program under every start.
//!
//! The columns of the comparison are `Column`s: the plain interpreter, which is right by definition, and the fork
//! servers as plain processes, spoken to by a small init of this test (`server.rs`). What is compared is standard
//! output, the exit status or signal, and standard error.
//!
//! ROUNDHOUSE_TEST_PYTHON names another interpreter than the `python3` on PATH.
#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

mod corpus;
mod differential;
mod server;
mod servers;
mod stand;
