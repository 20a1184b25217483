//! The problems that come with the program: for trying it out without a data set.

use roundhouse_proto::Digest;

use crate::dataset::{DatasetError, Loaded};

/// Where they come from, for people.
pub const BUNDLED: &str = "bundled";

const PROBLEMS: &[u8] = include_bytes!("../bundled/problems.jsonl");

/// Address of their file's bytes.
pub fn digest() -> Digest {
    Digest::of(PROBLEMS)
}

/// Loads them.
///
/// # Errors
/// The file that was built in is damaged.
pub fn load() -> Result<Loaded, DatasetError> {
    crate::dataset::load_bytes("bundled problems", &bytes::Bytes::from_static(PROBLEMS))
}
