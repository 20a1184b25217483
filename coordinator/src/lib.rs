//! A coordinator: holds the problem queue, hands out jobs, writes runs and reports.

pub mod blobs;
pub mod bundled;
pub mod cli;
pub mod console;
pub mod dataset;
pub mod dataset_command;
pub mod driver;
pub mod exit;
pub mod file_writer;
#[cfg(feature = "local")]
pub mod foreground;
#[cfg(feature = "local")]
pub mod local;
pub mod notices;
pub mod prepare;
pub mod report;
pub mod report_command;
pub mod rpc;
pub mod run_args;
#[cfg(feature = "local")]
pub mod run_command;
pub mod run_dir;
pub mod server;
pub mod store;
#[cfg(feature = "local")]
pub mod verify_command;
