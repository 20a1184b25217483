//! A worker: holds sessions with a model, or runs programs against tests.

pub mod generate;
pub mod llm;
