//! Placeholder head, replaced by the crate.

pub mod console;
pub mod report;
pub mod run_dir;
