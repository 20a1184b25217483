//! The decisions of the coordinator: no clock, no disk, no network, no chance.
//!
//! [`Coordinator::handle`] takes one event and the time, changes the state, and puts into an [`Outbox`] what is to
//! be stored and, once that is durable, what is to be done. So any interleaving of crashes, late and repeated
//! messages can be played through in memory.

pub mod clock;
mod coordinator;
pub mod endpoint;
mod event;
mod fleet;
pub mod interpreter;
mod job;
mod leases;
mod outbox;
mod pipeline;
mod queue;
pub mod record;
pub mod run;
pub mod status;
pub mod summary;

pub use clock::{Now, Stamp};
pub use coordinator::{Coordinator, Timing};
pub use event::{Event, LinkId};
pub use outbox::{Command, Files, Outbox, Progress};
