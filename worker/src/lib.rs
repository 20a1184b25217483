//! A worker: holds sessions with a model, or runs programs against tests.

pub mod generate;
pub mod llm;
pub mod evaluate;
pub mod judge_command;
pub mod language;
