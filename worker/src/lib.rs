//! Placeholder head, replaced by the crate.

pub mod evaluate;
pub mod judge_command;
pub mod language;
