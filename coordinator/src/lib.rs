//! Placeholder head, replaced by the crate.
pub mod dataset;
pub mod dataset_command;
