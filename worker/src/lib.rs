//! A worker: holds sessions with a model, or runs programs against tests.

pub mod evaluate;
pub mod generate;
pub mod judge_command;
pub mod language;
pub mod llm;
