//! The cage: runs one untrusted program at a time inside a long-lived container.
//!
//! Called by the worker's evaluation, from one plain thread per cage; everything here blocks. A cage is made once
//! ([`Cage::start`]) and used for many tests ([`Cage::load`], then [`Cage::run`] per test); every test is a fresh
//! process. This crate knows limits and ends, never verdicts: what was expected on standard output never enters it.
//!
//! Three processes stand in a row:
//!
//! ```text
//! worker ── spawns ──► warden ── forks ──► init (pid 1 inside) ── forks ──► the program (pid >= 2)
//!    ▲                    │ outlives nobody     ▲
//!    └──── SEQPACKET ─────┼─────────────────────┘   message.rs: Setup, Load, Run, Kill / Ready, Loaded, Ended
//! ```
//!
//! The *warden* is the worker's own binary, executed again with an empty environment. It prepares the namespaces and
//! then only waits: when the worker or the init dies, the other one and every program die too. The *init* builds the
//! file tree, drops its rights and answers messages. Neither ever holds an expected output or a key. Where the host
//! has control groups that may be written (`init::cgroup`), every program enters the cage's before it is executed.
//!
//! Where `unsafe` is: only in `sys`, thin wrappers of system calls. Not here yet: seccomp, Landlock, a fork server.
//! They fit between `init::privileges` and `sys::execute`.

mod cage;
mod channel;
mod containment;
mod init;
mod memfd;
mod message;
mod run;
mod sys;

pub use cage::{Cage, CageConfig, CageError, ForkServer, Holds};
pub use containment::{Containment, Layer, Layers, Level};
pub use init::enter_if_cage;
pub use memfd::{reopen, seal};
pub use run::{Crossed, Ended, Flow, Run, RunEnd, RunLimits, Start};
