//! A coordinator: holds the problem queue, hands out jobs, writes runs and reports.

pub mod blobs;
pub mod console;
pub mod dataset;
pub mod dataset_command;
pub mod report;
pub mod run_dir;
pub mod store;
