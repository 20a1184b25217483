//! The cage from outside: how programs end in it, what they cannot reach, and what is left of them.
//!
//! The program inside is the package's own `cage-probe`, so that nothing but the host's shared libraries is needed.
//! Where the host refuses namespaces, tests that need them say LEFT OUT on standard error and pass.

#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

mod ends;
mod forks;
mod groups;
mod ladder;
mod life;
mod own_proc;
mod runtime;
mod stand;
mod walls;
