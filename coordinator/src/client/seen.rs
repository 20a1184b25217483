//! What a coordinator says of runs and workers, checked, and with every text made harmless: what is here can be
//! printed.

use roundhouse_proto::link::EndpointOffer;
use roundhouse_proto::wire::{Fields, WireError, v1};
use roundhouse_proto::{Failure, Isolation, Language, Role, RunId, Usage, WorkerId};
use serde::Serialize;

use crate::report::line::{NAME_CHARS_MAX, hinted_lines, one_line};

/// Most warnings of one run.
const WARNINGS_MAX: usize = 64;
/// Most roles, languages and endpoints of one worker, each.
const TRAITS_MAX: usize = 64;
/// Characters of a reason, a warning, a notice.
const REASON_CHARS_MAX: usize = 1_000;

/// How a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SeenState {
    /// Jobs are queued or at work.
    Active,
    /// It waits for a person.
    Paused,
    /// Every problem has passed or failed.
    Complete,
    /// Every problem is settled, some by failures of ours.
    Incomplete,
    /// It was ended before every problem was settled.
    Cancelled,
}

impl SeenState {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Complete => "complete",
            Self::Incomplete => "incomplete",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing goes on by itself any more.
    pub fn is_at_rest(self) -> bool {
        match self {
            Self::Active => false,
            Self::Paused | Self::Complete | Self::Incomplete | Self::Cancelled => true,
        }
    }
}

impl TryFrom<v1::RunState> for SeenState {
    type Error = WireError;
    fn try_from(state: v1::RunState) -> Result<Self, WireError> {
        match state {
            v1::RunState::Unspecified => Err(Fields::of("RunState").refuse("", "a state", 0)),
            v1::RunState::Active => Ok(Self::Active),
            v1::RunState::Paused => Ok(Self::Paused),
            v1::RunState::Complete => Ok(Self::Complete),
            v1::RunState::Incomplete => Ok(Self::Incomplete),
            v1::RunState::Cancelled => Ok(Self::Cancelled),
        }
    }
}

/// How one run is doing. Field names are those of `--json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SeenRun {
    /// The run.
    pub run: RunId,
    /// Its directory, as the coordinator writes it.
    pub dir: String,
    /// Its state.
    pub state: SeenState,
    /// Why it is paused, incomplete or cancelled; empty otherwise.
    pub reason: String,
    /// Problems in all.
    pub problems_n: u64,
    /// Problems whose program passed every case.
    pub passed_n: u64,
    /// Problems whose program failed, or that have none.
    pub failed_n: u64,
    /// Problems that ended by a failure of ours.
    pub errors_n: u64,
    /// Problems whose session is settled.
    pub generated_n: u64,
    /// Jobs that wait for a worker.
    pub jobs_ready_n: u64,
    /// Jobs that a worker holds.
    pub jobs_leased_n: u64,
    /// Tokens of all calls whose answers count.
    pub usage: Usage,
    /// Calls whose answers count.
    pub calls_n: u64,
    /// Calls that may have been paid and whose tokens are not known.
    pub calls_unaccounted_n: u64,
    /// Sum of the periods in which a coordinator worked on it, in milliseconds.
    pub active_ms: u64,
    /// When it was taken in, local time.
    pub started: String,
    /// Name of the model.
    pub model: String,
    /// Endpoint whose model is asked; empty while none is.
    pub endpoint: String,
    /// Name of the data set.
    pub data_set: String,
    /// Most generation slots that served it at once.
    pub generation_slots: u32,
    /// Most evaluation slots that served it at once.
    pub evaluation_slots: u32,
    /// Processor cores of its workers' hosts.
    pub cores: u32,
    /// Why it does not move; the command that helps is on a line of its own, `hint: …`.
    pub warnings: Vec<String>,
}

impl SeenRun {
    /// Problems that are settled.
    pub fn settled_n(&self) -> u64 {
        self.passed_n
            .saturating_add(self.failed_n)
            .saturating_add(self.errors_n)
    }

    /// The name of its directory; empty if it has none.
    pub fn dir_name(&self) -> &str {
        let name = self.dir.trim_end_matches('/').rsplit('/').next();
        name.unwrap_or_default()
    }
}

impl TryFrom<v1::RunStatus> for SeenRun {
    type Error = WireError;
    fn try_from(status: v1::RunStatus) -> Result<Self, WireError> {
        let fields = Fields::of("RunStatus");
        fields.bounded("warnings", status.warnings.len(), WARNINGS_MAX, "entries")?;
        Ok(Self {
            run: RunId(fields.uuid("run", &status.run)?),
            dir: name(&status.dir),
            state: fields.choice::<v1::RunState, _>("state", status.state)?,
            reason: reason(&status.reason),
            problems_n: status.problems_n,
            passed_n: status.passed_n,
            failed_n: status.failed_n,
            errors_n: status.errors_n,
            generated_n: status.generated_n,
            jobs_ready_n: status.jobs_ready_n,
            jobs_leased_n: status.jobs_leased_n,
            usage: status.usage.map(Usage::from).unwrap_or_default(),
            calls_n: status.calls_n,
            calls_unaccounted_n: status.calls_unaccounted_n,
            active_ms: status.active_ms,
            started: name(&status.started),
            model: name(&status.model),
            endpoint: name(&status.endpoint),
            data_set: name(&status.data_set),
            generation_slots: fields.number("generation_slots", status.generation_slots)?,
            evaluation_slots: fields.number("evaluation_slots", status.evaluation_slots)?,
            cores: fields.number("cores", status.cores)?,
            warnings: status
                .warnings
                .iter()
                .map(|text| hinted_lines(text, REASON_CHARS_MAX))
                .collect(),
        })
    }
}

/// How a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SeenWorkerState {
    /// It is joined and heard of.
    Joined,
    /// Its link was lost; its jobs wait for it for a while.
    Lost,
}

impl SeenWorkerState {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Joined => "joined",
            Self::Lost => "lost",
        }
    }
}

impl TryFrom<v1::WorkerState> for SeenWorkerState {
    type Error = WireError;
    fn try_from(state: v1::WorkerState) -> Result<Self, WireError> {
        match state {
            v1::WorkerState::Unspecified => Err(Fields::of("WorkerState").refuse("", "a state", 0)),
            v1::WorkerState::Joined => Ok(Self::Joined),
            v1::WorkerState::Lost => Ok(Self::Lost),
        }
    }
}

/// How one worker is doing. Field names are those of `--json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SeenWorker {
    /// The worker.
    pub worker: WorkerId,
    /// Name for people.
    pub name: String,
    /// Its state.
    pub state: SeenWorkerState,
    /// Its version.
    pub build: String,
    /// Its room, by role.
    pub roles: Vec<SeenLoad>,
    /// Languages it can judge.
    pub languages: Vec<SeenLanguage>,
    /// How well it shuts programs in; none for a worker that runs none.
    pub isolation: Option<Isolation>,
    /// Processor cores of its host.
    pub cores: u32,
    /// Endpoints whose models it can reach.
    pub endpoints: Vec<SeenEndpoint>,
    /// Time since it was last heard of, in milliseconds.
    pub silent_ms: u64,
    /// Time since it joined, in milliseconds.
    pub joined_ms: u64,
}

/// A worker's room for one role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SeenLoad {
    /// The role.
    pub role: Role,
    /// Jobs at a time.
    pub slots: u32,
    /// Jobs it holds.
    pub busy: u32,
}

/// A language that a worker can judge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SeenLanguage {
    /// The language.
    pub language: Language,
    /// Name and full version of what runs it.
    pub version: String,
}

/// An endpoint whose models a worker can reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SeenEndpoint {
    /// Its name.
    pub name: String,
    /// Why the worker asks it nothing more; none while it does.
    pub benched: Option<String>,
}

impl TryFrom<v1::RoleLoad> for SeenLoad {
    type Error = WireError;
    fn try_from(load: v1::RoleLoad) -> Result<Self, WireError> {
        let fields = Fields::of("RoleLoad");
        Ok(Self {
            role: fields.choice::<v1::Role, _>("role", load.role)?,
            slots: fields.number("slots", load.slots)?,
            busy: fields.number("busy", load.busy)?,
        })
    }
}

impl TryFrom<v1::WorkerStatus> for SeenWorker {
    type Error = WireError;
    fn try_from(status: v1::WorkerStatus) -> Result<Self, WireError> {
        let fields = Fields::of("WorkerStatus");
        let languages: Vec<(Language, String)> = fields.each("languages", status.languages, TRAITS_MAX)?;
        let endpoints: Vec<EndpointOffer> = fields.each("endpoints", status.endpoints, TRAITS_MAX)?;
        Ok(Self {
            worker: WorkerId(fields.uuid("worker", &status.worker)?),
            name: name(&status.name),
            state: fields.choice::<v1::WorkerState, _>("state", status.state)?,
            build: name(&status.build),
            roles: fields.each("roles", status.roles, TRAITS_MAX)?,
            languages: languages
                .into_iter()
                .map(|(language, version)| SeenLanguage {
                    language,
                    version: name(&version),
                })
                .collect(),
            isolation: status
                .isolation
                .map(|number| fields.choice::<v1::Isolation, _>("isolation", number))
                .transpose()?,
            cores: fields.number("cores", status.cores)?,
            endpoints: endpoints
                .into_iter()
                .map(|offer| SeenEndpoint {
                    name: name(&offer.name),
                    benched: offer.benched.as_deref().map(reason),
                })
                .collect(),
            silent_ms: status.silent_ms,
            joined_ms: status.joined_ms,
        })
    }
}

/// Something about a run that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeenUpdate {
    /// The whole state.
    Status(Box<SeenRun>),
    /// One problem went on.
    Problem {
        /// Its place in the run, from 1.
        index: u32,
        /// What happened to it.
        step: SeenStep,
    },
    /// A line for people.
    Notice(String),
    /// Every session has ended; how long that took, in milliseconds.
    GenerationDone(u64),
    /// The run is at rest and its reports are written.
    ReportsWritten,
}

/// What happened to a problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeenStep {
    /// Its session was handed out for the first time.
    Started,
    /// Its session ended with a program.
    Generated,
    /// Its session ended without one.
    NoProgram,
    /// Its session could not be held; why.
    NotGenerated(String),
    /// It is settled.
    Judged,
}

impl TryFrom<v1::RunUpdate> for SeenUpdate {
    type Error = WireError;
    fn try_from(update: v1::RunUpdate) -> Result<Self, WireError> {
        use v1::run_update::What;
        let fields = Fields::of("RunUpdate");
        Ok(match update.what.ok_or_else(|| fields.missing("what"))? {
            What::Status(status) => Self::Status(Box::new(fields.part("status", status)?)),
            What::Problem(problem) => fields.part("problem", problem)?,
            What::Notice(text) => Self::Notice(reason(&text)),
            What::GenerationDoneMs(ms) => Self::GenerationDone(ms),
            What::ReportsWritten(_) => Self::ReportsWritten,
        })
    }
}

impl TryFrom<v1::ProblemUpdate> for SeenUpdate {
    type Error = WireError;
    fn try_from(update: v1::ProblemUpdate) -> Result<Self, WireError> {
        use v1::problem_update::Step;
        let fields = Fields::of("ProblemUpdate");
        let step = match update.step.ok_or_else(|| fields.missing("step"))? {
            Step::Started(_) => SeenStep::Started,
            Step::Generated(true) => SeenStep::Generated,
            Step::Generated(false) => SeenStep::NoProgram,
            Step::NotGenerated(failure) => {
                let failure: Failure = fields.part("not_generated", failure)?;
                SeenStep::NotGenerated(failure.message)
            }
            Step::Judged(_) => SeenStep::Judged,
        };
        let index = fields.number_from_1("index", update.index)?;
        Ok(Self::Problem { index, step })
    }
}

fn name(text: &str) -> String {
    one_line(text, NAME_CHARS_MAX)
}

fn reason(text: &str) -> String {
    one_line(text, REASON_CHARS_MAX)
}
