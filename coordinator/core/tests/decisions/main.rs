//! The coordinator's decisions, seen from outside: events in, whole outboxes out.

mod disk;
mod expected;
mod fleet;
mod interleavings;
mod leases;
mod pipeline;
mod restarts;
mod spec;
mod times;
mod world;
