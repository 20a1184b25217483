//! Programs in real cages, judged as a run judges them: published verdicts, hostile programs, a busy machine.
#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

mod hostile;
mod load;
mod named_files;
mod published;
mod stand;
mod tricks;
