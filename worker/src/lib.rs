//! A worker: holds sessions with a model, or runs programs against tests.

pub mod blob_client;
pub mod cli;
pub mod evaluate;
pub mod generate;
pub mod isolation;
pub mod join;
pub mod judge_command;
pub mod language;
pub mod link;
pub mod llm;
pub mod log;
pub mod notices;
mod recent;
pub mod slots;
mod test_sets;

pub use roundhouse_sandbox::enter_if_cage;
