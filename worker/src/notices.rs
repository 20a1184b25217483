//! What people are told of a worker's link, on stderr, a line each. Decides only what is worth a line.
//!
//! Called by [`crate::link`] when the link comes up, is lost, or does not come up.

use std::time::{Duration, Instant};

use crate::log::say;

/// How long the coordinator may be out of reach before that is said.
const UNREACHABLE_TOLD_AFTER: Duration = Duration::from_secs(1);

/// Whose console stderr is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Console {
    /// The worker's own: what happens is told.
    Own,
    /// A run's, which tells its own story: only what is wrong is told.
    Shared,
}

/// Where the link stands, as far as people were told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It was never up.
    Begun {
        since: Instant,
        is_told: bool,
    },
    Up,
    /// It was up before.
    Lost {
        since: Instant,
        is_told: bool,
    },
}

/// Tells people about one worker's link.
#[derive(Debug)]
pub struct Notices {
    console: Console,
    /// Where the coordinator is.
    coordinator: String,
    /// Who joins, and with what.
    worker: String,
    standing: Standing,
}

impl Notices {
    /// For a worker, such as `host-1 (gen 8)`, that is about to join at `now`.
    pub fn new(console: Console, coordinator: String, worker: String, now: Instant) -> Self {
        Self {
            console,
            coordinator,
            worker,
            standing: Standing::Begun {
                since: now,
                is_told: false,
            },
        }
    }

    /// The coordinator let it in.
    pub(crate) fn came_up(&mut self) {
        if let Some(line) = self.line_when_up() {
            say(&line);
        }
    }

    /// The link is lost at `now`.
    pub(crate) fn was_lost(&mut self, now: Instant) {
        if let Some(line) = self.line_when_lost(now) {
            say(&line);
        }
    }

    /// Another try to join failed at `now`.
    pub(crate) fn failed(&mut self, now: Instant, why: &tonic::Status) {
        if let Some(line) = self.line_when_failed(now, &cause(why)) {
            say(&line);
        }
    }

    fn line_when_up(&mut self) -> Option<String> {
        let before = std::mem::replace(&mut self.standing, Standing::Up);
        let Self {
            coordinator, worker, ..
        } = self;
        let again = match before {
            Standing::Begun { .. } => "",
            Standing::Lost { .. } => " again",
            Standing::Up => return None,
        };
        match self.console {
            Console::Own => Some(format!("joined {coordinator}{again} as {worker}")),
            Console::Shared => None,
        }
    }

    fn line_when_lost(&mut self, now: Instant) -> Option<String> {
        let is_told = self.console == Console::Own;
        self.standing = Standing::Lost { since: now, is_told };
        let coordinator = &self.coordinator;
        is_told.then(|| {
            format!("lost the coordinator at {coordinator}; what runs goes on, and it is tried again")
        })
    }

    fn line_when_failed(&mut self, now: Instant, why: &str) -> Option<String> {
        let (since, is_told) = match &mut self.standing {
            Standing::Up => return None,
            Standing::Begun { since, is_told } | Standing::Lost { since, is_told } => (since, is_told),
        };
        if *is_told || now.duration_since(*since) < UNREACHABLE_TOLD_AFTER {
            return None;
        }
        *is_told = true;
        let coordinator = &self.coordinator;
        Some(format!(
            "warning: the coordinator at {coordinator} cannot be reached and is tried again: {why}"
        ))
    }
}

/// The innermost cause, which says most.
fn cause(status: &tonic::Status) -> String {
    let mut cause: &dyn std::error::Error = status;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if cause.is::<tonic::Status>() {
        status.message().to_owned()
    } else {
        cause.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notices(console: Console, now: Instant) -> Notices {
        Notices::new(console, "http://h:1".to_owned(), "host-1 (gen 8)".to_owned(), now)
    }

    #[test]
    fn people_are_told_of_joining_losing_and_joining_again_once_each() {
        let now = Instant::now();
        let later = now + UNREACHABLE_TOLD_AFTER;
        let mut notices = notices(Console::Own, now);
        assert_eq!(notices.line_when_failed(now, "refused"), None);
        assert_eq!(
            notices.line_when_failed(later, "refused").as_deref(),
            Some("warning: the coordinator at http://h:1 cannot be reached and is tried again: refused")
        );
        assert_eq!(notices.line_when_failed(later, "refused"), None);
        assert_eq!(
            notices.line_when_up().as_deref(),
            Some("joined http://h:1 as host-1 (gen 8)")
        );
        assert_eq!(
            notices.line_when_lost(now).as_deref(),
            Some("lost the coordinator at http://h:1; what runs goes on, and it is tried again")
        );
        assert_eq!(notices.line_when_failed(later, "refused"), None);
        assert_eq!(
            notices.line_when_up().as_deref(),
            Some("joined http://h:1 again as host-1 (gen 8)")
        );
    }

    #[test]
    fn console_of_a_run_is_told_only_of_a_coordinator_that_stays_away() {
        let now = Instant::now();
        let later = now + UNREACHABLE_TOLD_AFTER;
        let mut notices = notices(Console::Shared, now);
        assert_eq!(notices.line_when_up(), None);
        assert_eq!(notices.line_when_lost(now), None);
        assert_eq!(notices.line_when_failed(now, "refused"), None);
        assert!(notices.line_when_failed(later, "refused").is_some());
        assert_eq!(notices.line_when_failed(later, "refused"), None);
        assert_eq!(notices.line_when_up(), None);
    }
}
