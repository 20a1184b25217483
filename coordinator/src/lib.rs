//! Placeholder head, replaced by the crate.

pub mod blobs;
pub mod store;
