//! The cage: runs one untrusted program at a time inside a long-lived container.
//!
//! Called by the worker's evaluation, from one plain thread per cage; everything here blocks. A cage is made once
//! ([`Cage::start`]) and used for many tests ([`Cage::load`], then [`Cage::run`] per test); every test is a fresh
//! process. This crate knows limits and ends, never verdicts: an expected output enters it only as a file beside a
//! checker, which is a program like any other here.
//!
//! Processes, and the two pid namespaces that they are in:
//!
//! ```text
//!                              ┌ the cage's namespace ──────────────────┐ ┌ the programs' namespace ──┐
//! worker ── spawns ──► warden ── forks ──► init (1) ─┬─ forks ───────────────► reaper (1)              │
//!    ▲          outlives nobody │           ▲        ├─ executes ────────────► program (2 or more)     │
//!    │                          │           │        └─ nursery ─ fork server ─ forks ► program        │
//!    │                          └───────────┼───────────────────────────┘ └───────────────────────────┘
//!    └──── SEQPACKET ───────────────────────┘  message.rs: Setup, Load, Add, Run, Kill / Ready, Loaded, Ended
//! ```
//!
//! The *warden* is the worker's own binary, executed again with an empty environment. It prepares the namespaces and
//! then only waits: when the worker or the init dies, the other one and every program die too. The *init* builds the
//! file tree, drops its rights and answers messages. The *reaper* ends whatever a run leaves. A *fork server* is a
//! program that stays and forks, one fork per run ([`ForkServer`]; what it must do is in `init::server`); the *nursery*
//! executes it where no program can name it. None of them ever holds a key.
//!
//! What holds a program, from outside to inside: namespaces with a tree of their own, where the host allows them; no
//! capabilities and no way to any; Landlock's rules; the system-call filter; resource limits; a control group for all
//! its processes together, where the host has one that may be written (`init::cgroup`). Which of them hold is found out
//! by doing ([`Containment`]), and [`Grade`] says what that comes to.
//!
//! Where `unsafe` is: only in `sys`, thin wrappers of system calls.

mod cage;
mod channel;
mod containment;
mod filter;
mod init;
mod memfd;
mod message;
mod run;
mod sys;

pub use cage::{Cage, CageConfig, CageError, ForkServer, Holds};
pub use containment::{Containment, Grade, Layer, Layers, Level};
pub use init::enter_if_cage;
pub use memfd::{reopen, seal};
pub use run::{Crossed, Ended, Flow, Run, RunEnd, RunLimits, Start};
