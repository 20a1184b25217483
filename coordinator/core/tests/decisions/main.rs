//! The coordinator's decisions, seen from outside: events in, whole outboxes out.

mod calls;
mod cancelling;
mod disk;
mod draining;
mod endpoints;
mod expected;
mod fleet;
mod interpreters;
mod judging;
mod leases;
mod pausing;
mod pipeline;
mod restarts;
mod retrying;
mod rounds;
mod shares;
mod spec;
mod stalls;
mod times;
mod views;
