//! The coordinator's decisions, seen from outside: events in, whole outboxes out.

mod disk;
mod draining;
mod expected;
mod fleet;
mod leases;
mod pipeline;
mod restarts;
mod retrying;
mod spec;
mod times;
