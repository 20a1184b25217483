//! What happened in a world, line by line, for whoever looks into a failure.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use roundhouse_core::record::{StoredState, Write};
use roundhouse_core::{Command, Event};
use roundhouse_proto::link::{CoordMsg, JobResult};
use roundhouse_proto::{JobId, SessionEvent};

/// Lines that are kept; the oldest go first.
const LINES_MAX: usize = 20_000;

/// The lines of a world; none are written unless somebody wants them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace(Option<Rc<RefCell<VecDeque<String>>>>);

impl Trace {
    /// One that keeps its lines.
    pub(crate) fn kept() -> Self {
        Self(Some(Rc::default()))
    }

    pub(crate) fn say(&self, line: impl FnOnce() -> String) {
        let Some(lines) = &self.0 else { return };
        let mut lines = lines.borrow_mut();
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line());
    }

    pub(crate) fn text(&self) -> String {
        let lines = self.0.as_ref().map(|lines| lines.borrow());
        lines
            .iter()
            .flat_map(|lines| lines.iter())
            .fold(String::new(), |text, line| text + line + "\n")
    }
}

/// The first characters of a run's number, and the job.
pub(crate) fn job(job: &JobId) -> String {
    format!("run {} {job}", job.run.0.as_u128() & 0xfff)
}

fn session(event: &SessionEvent) -> String {
    match event {
        SessionEvent::Said {
            speaker,
            round,
            ask,
            usage,
            ..
        } => {
            let serial = usage.map_or(0, |usage| usage.input);
            format!("said by {speaker}, round {round}, ask {ask} (call {serial})")
        }
        SessionEvent::TestRequest { round, .. } => format!("test request of round {round}"),
        SessionEvent::RoundEnd { round, .. } => format!("end of round {round}"),
        SessionEvent::Finished(outcome) => format!("finished: {}", outcome.stop_reason.word()),
    }
}

fn result(result: &JobResult) -> String {
    match result {
        JobResult::Evaluated {
            internal_error: Some(error),
            ..
        } => format!("not judged: {error}"),
        JobResult::Evaluated { passed, total, .. } => format!("{passed} of {total} passed"),
        JobResult::Failed { failure, .. } => format!("failed ({:?}): {failure}", failure.class),
    }
}

/// An event in a few words.
pub(crate) fn event(event: &Event) -> String {
    match event {
        Event::Submitted { spec, .. } => format!("submitted run {}", spec.run.0.as_u128() & 0xfff),
        Event::Joined { link, hello } => format!("link {link}: `{}` joined", hello.name),
        Event::InventoryTaken { link, held } => {
            let leases: Vec<_> = held.iter().map(|held| held.lease.to_string()).collect();
            format!("link {link}: holds [{}]", leases.join(" "))
        }
        Event::SessionWentOn {
            link,
            job: of,
            lease,
            seq,
            event,
        } => format!(
            "link {link}: {} under {lease}, event {seq}: {}",
            job(of),
            session(event)
        ),
        Event::ResultCame {
            link,
            job: of,
            lease,
            result: came,
        } => format!("link {link}: {} under {lease}: {}", job(of), result(came)),
        Event::RetryRequested { .. }
        | Event::CancelRequested { .. }
        | Event::StopRequested { .. }
        | Event::CreditOffered { .. }
        | Event::Pinged { .. }
        | Event::Benched { .. }
        | Event::GivenBack { .. }
        | Event::Left { .. }
        | Event::LinkLost { .. }
        | Event::FileWritten(_)
        | Event::Ticked => format!("{event:?}"),
    }
}

/// A write in a few words.
pub(crate) fn write(write: &Write) -> String {
    match write {
        Write::Job(record) => {
            let state = match &record.state {
                StoredState::Queued => "queued".to_owned(),
                StoredState::Leased { lease, .. } => format!("leased under {lease}"),
                StoredState::Settled(outcome) => format!("settled: {outcome:?}"),
            };
            format!(
                "{}: {state}, attempt {} ({} failed)",
                job(&record.job),
                record.attempts,
                record.failed_attempts
            )
        }
        Write::Session(record) => {
            let said = session(&record.event);
            format!("{}: event {}: {said}", job(&record.job), record.seq)
        }
        Write::Run(record) => format!(
            "run {}: finished {:?}, cancelled {:?}, endpoint {:?}",
            record.run.0.as_u128() & 0xfff,
            record.finished.map(|at| at.unix_us),
            record.cancelled,
            record.endpoint
        ),
        Write::Epoch(_) | Write::Pending(_) | Write::Written(_) => format!("{write:?}"),
    }
}

/// A command in a few words.
pub(crate) fn command(command: &Command) -> String {
    match command {
        Command::Send { link, msg } => format!("to link {link}: {}", message(msg)),
        Command::Close { link } => format!("close link {link}"),
        Command::WriteFiles(files) => format!("write {:?}", files.pending()),
        Command::Tell { progress, .. } => {
            let text = format!("{progress:?}");
            format!("tell {}", text.chars().take(100).collect::<String>())
        }
    }
}

/// What the coordinator says, in a few words.
pub(crate) fn message(msg: &CoordMsg) -> String {
    let CoordMsg::Jobs(grants) = msg else {
        return format!("{msg:?}");
    };
    let grants = grants.iter().map(|grant| {
        format!(
            "{} under {}, attempt {}",
            job(&grant.job),
            grant.lease,
            grant.attempt
        )
    });
    format!("jobs [{}]", grants.collect::<Vec<_>>().join("; "))
}
