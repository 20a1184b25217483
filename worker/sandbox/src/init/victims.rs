//! Whom the kernel ends first when memory is used up: programs, never the init.
//!
//! The init itself keeps the score that it was given. Programs inherit a higher one because they are forked while the
//! init has it; lowering it again is allowed to whoever raised it without privileges. So a program that holds memory
//! in files, and is small itself, still goes before the init. A program cannot lower its own: its
//! `/proc` is read-only, and Landlock lets no file of it be opened.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, openat};

/// The score of programs, of 1000.
const PROGRAM_SCORE: i32 = 800;
/// Longest score that is read.
const SCORE_BYTES_MAX: usize = 16;

/// Raises the score of what is forked.
pub(super) struct Victims {
    /// The init's own score, where the host lets it be changed.
    score: Option<(OwnedFd, i32)>,
}

impl Victims {
    /// Opens the score of this process in its `/proc`. A host that refuses this only loses an order among victims.
    pub(super) fn new(proc: Option<&OwnedFd>) -> Self {
        let score = proc.and_then(|proc| {
            let flags = OFlags::RDWR | OFlags::CLOEXEC;
            let file = openat(proc, "self/oom_score_adj", flags, Mode::empty()).ok()?;
            let mut text = [0; SCORE_BYTES_MAX];
            let length = rustix::io::pread(&file, &mut text[..], 0).ok()?;
            let own = std::str::from_utf8(&text[..length]).ok()?.trim().parse().ok()?;
            (own < PROGRAM_SCORE).then_some((file, own))
        });
        Self { score }
    }

    /// Calls `start`; what it forks goes before the init.
    pub(super) fn first<T>(&self, start: impl FnOnce() -> T) -> T {
        self.set(|_| PROGRAM_SCORE);
        let started = start();
        self.set(|own| own);
        started
    }

    fn set(&self, score: impl FnOnce(i32) -> i32) {
        if let Some((file, own)) = &self.score {
            // A refusal leaves the order as it is.
            let _ = rustix::io::pwrite(file, score(*own).to_string().as_bytes(), 0);
        }
    }
}
