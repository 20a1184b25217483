//! The decisions of the coordinator: no clock, no disk, no network, no chance.

pub mod clock;
pub mod record;
pub mod run;
pub mod summary;
