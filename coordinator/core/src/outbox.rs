//! What the core wants done after an event: first the writes, all in one batch, then, once they are durable, the
//! commands in order.

use std::sync::Arc;

use roundhouse_proto::link::CoordMsg;
use roundhouse_proto::{Failure, GenerationOutcome, Payload, RunId, SessionEvent};

use crate::event::LinkId;
use crate::record::{PendingFile, Write};
use crate::run::RunSpec;
use crate::status::Stuck;
use crate::summary::RunSummary;

/// What one event leads to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outbox {
    /// To be made durable, in one batch.
    pub writes: Vec<Write>,
    /// To be carried out in order, once the writes are durable.
    pub commands: Vec<Command>,
}

impl Outbox {
    pub(crate) fn write(&mut self, write: Write) {
        self.writes.push(write);
    }

    pub(crate) fn send(&mut self, link: LinkId, msg: CoordMsg) {
        self.commands.push(Command::Send { link, msg });
    }

    pub(crate) fn close(&mut self, link: LinkId) {
        self.commands.push(Command::Close { link });
    }

    pub(crate) fn tell(&mut self, run: RunId, progress: Progress) {
        self.commands.push(Command::Tell { run, progress });
    }

    /// Files are first marked as pending, then written, so that a crash in between leaves no gap.
    pub(crate) fn write_files(&mut self, files: Files) {
        self.writes.push(Write::Pending(files.pending()));
        self.commands.push(Command::WriteFiles(Box::new(files)));
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Say something to a worker.
    Send {
        /// On which link.
        link: LinkId,
        /// What.
        msg: CoordMsg,
    },
    /// End a link.
    Close {
        /// Which.
        link: LinkId,
    },
    /// Write files of the run directory, then say so with [`crate::Event::FileWritten`].
    WriteFiles(Box<Files>),
    /// Tell people how a run goes.
    Tell {
        /// Which run.
        run: RunId,
        /// How it goes.
        progress: Progress,
    },
}

/// Files of the run directory and all that goes into them.
#[derive(Clone, Debug, PartialEq)]
pub enum Files {
    /// The statements of all problems.
    Statements {
        /// The run.
        spec: Arc<RunSpec>,
    },
    /// The directory of one round.
    Round {
        /// The run.
        spec: Arc<RunSpec>,
        /// Position of the problem.
        problem: u32,
        /// The round, from 0.
        round: u32,
        /// The program as the coder wrote it.
        code: Payload,
        /// What the coder is told.
        report: Payload,
        /// The tester's answer.
        tests_raw: Payload,
    },
    /// What a problem's session came to.
    Session {
        /// The run.
        spec: Arc<RunSpec>,
        /// Position of the problem.
        problem: u32,
        /// All it left behind, in order.
        events: Vec<SessionEvent>,
        /// How it ended.
        outcome: Result<GenerationOutcome, Failure>,
    },
    /// The reports of the whole run.
    Reports {
        /// What it came to.
        summary: RunSummary,
    },
}

impl Files {
    /// The name under which they are pending.
    pub fn pending(&self) -> PendingFile {
        match self {
            Self::Statements { spec } => PendingFile::Statements { run: spec.run },
            Self::Round {
                spec, problem, round, ..
            } => PendingFile::Round {
                run: spec.run,
                problem: *problem,
                round: *round,
            },
            Self::Session { spec, problem, .. } => PendingFile::Session {
                run: spec.run,
                problem: *problem,
            },
            Self::Reports { summary } => PendingFile::Reports {
                run: summary.spec.run,
            },
        }
    }
}

/// How a run goes, for people. `index` is the problem's 1-based place in the run.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// A session was handed out for the first time.
    GenerationStarted {
        /// Which problem.
        index: u32,
    },
    /// A session ended.
    GenerationEnded {
        /// Which problem.
        index: u32,
        /// Whether it gave a program, or why it could not be held.
        program: Result<bool, Failure>,
    },
    /// Every session has ended.
    GenerationDone {
        /// How long that took, on the run's clock, in milliseconds.
        generation_ms: u64,
    },
    /// A problem is settled.
    Judged {
        /// Which problem.
        index: u32,
    },
    /// Every problem is settled; programs of rounds are still to be judged, which changes nothing of what is here. Told
    /// again by every start of the coordinator.
    AllJudged(Box<RunSummary>),
    /// A job was lost with its worker, or failed for our reasons, and waits for another.
    Retried {
        /// Which problem.
        index: u32,
        /// The job.
        job: String,
        /// Why.
        reason: String,
    },
    /// Its first job was handed out, to a fleet of this size; told again by every start of the coordinator.
    Started {
        /// Generation slots.
        generation_slots: u32,
        /// Evaluation slots.
        evaluation_slots: u32,
        /// Processor cores of the workers' hosts.
        cores: u32,
    },
    /// It cannot move, for these reasons; none: it moves again. Told when that has lasted for
    /// [`crate::Timing::waiting_ms`], and whenever the reasons change.
    Stuck(Vec<Stuck>),
    /// Something that people should know once.
    Notice(String),
    /// No key works and nothing is in flight any more; the reports are written as far as it came. It goes on when a
    /// worker with a key that works joins.
    Paused(Box<RunSummary>),
    /// A run that was asked to stop has nothing in flight any more.
    Drained,
    /// All is settled, or it was cancelled, and the reports are written.
    Done(Box<RunSummary>),
}
