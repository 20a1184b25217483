//! One run in memory: its problems from session to verdict, and its clock.
//!
//! What it has come to so far is in [`findings`]. Changed only by [`crate::Coordinator`]; it stores and sends nothing
//! itself.

mod calls;
mod findings;
mod problem;
mod rounds;
mod run_clock;
mod stall;

use std::collections::BTreeMap;
use std::sync::Arc;

use roundhouse_proto::{
    EvaluateWork, GenerateWork, GenerationOutcome, JobId, JobKind, Role, SessionEvent, Work,
};

use self::calls::Calls;
use self::problem::ProblemState;
use self::run_clock::RunClock;
use self::stall::Stall;
use crate::clock::Now;
use crate::fleet::Capacity;
use crate::job::{Job, JobState};
use crate::record::{JobOutcome, JobRecord, RunRecord, SessionRecord, Subject};
use crate::run::{ModelAt, ProblemSpec, RunSpec, limits_of};

/// Characters of an output that the report of a round's tests keeps.
const ROUND_OUTPUT_CHARS: u32 = 1_000;
/// Characters of an output that the final report keeps.
const FINAL_OUTPUT_CHARS: u32 = 100;

/// Whether a run takes anything new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Running,
    /// Only what sessions in flight wait for is handed out.
    Draining,
    /// It was draining and nothing is in flight.
    Drained,
}

/// What a run stays with once its first job was handed out that needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The endpoint whose model is asked.
    Endpoint(String),
    /// The interpreter that judges its programs: implementation and minor version.
    Interpreter(String),
}

/// One run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) spec: Arc<RunSpec>,
    pub(crate) record: RunRecord,
    /// Its place among the runs, oldest first.
    pub(crate) order: u32,
    pub(crate) mode: Mode,
    /// People were told that every session has ended.
    pub(crate) generation_over_told: bool,
    /// People were told that every problem is settled, while programs of rounds are still to be judged.
    pub(crate) judged_told: bool,
    /// People were told that its first job was handed out by this coordinator.
    pub(crate) start_told: bool,
    pub(crate) stall: Stall,
    /// Why it is paused, for people: no key of its endpoint works, and nothing of it is in flight.
    pub(crate) paused: Option<String>,
    /// The run directory has reports on what the run came to: it is over or paused, and they were written since.
    pub(crate) reports_written: bool,
    calls: Calls,
    problems: Vec<ProblemState>,
    index_of: BTreeMap<u32, usize>,
    generation_open: usize,
    problems_open: usize,
    /// Evaluations of rounds that are not settled.
    rounds_open: usize,
    clock: RunClock,
}

impl Run {
    pub(crate) fn new(spec: Arc<RunSpec>, record: RunRecord, order: u32, now: Now) -> Self {
        let problems: Vec<_> = spec
            .problems
            .iter()
            .map(|p| ProblemState::new(spec.run, p.position))
            .collect();
        let index_of = spec
            .problems
            .iter()
            .enumerate()
            .map(|(i, p)| (p.position, i))
            .collect();
        let mut clock = RunClock::started(now.monotonic_ms);
        clock.came_to(record.first_grant_ms.unwrap_or(0));
        let mut run = Self {
            spec,
            record,
            order,
            mode: Mode::Running,
            generation_over_told: false,
            judged_told: false,
            start_told: false,
            stall: Stall::default(),
            paused: None,
            reports_written: false,
            calls: Calls::default(),
            generation_open: problems.len(),
            problems_open: problems.len(),
            rounds_open: 0,
            problems,
            index_of,
            clock,
        };
        if run.is_over() {
            run.clock.stop(now.monotonic_ms);
        }
        run
    }

    /// Puts a stored job in its place; the run's clock goes on from the latest one.
    pub(crate) fn restore_job(&mut self, record: JobRecord) {
        self.clock.came_to(record.at_ms);
        let Some(problem) = self.problem_mut(record.job.problem) else {
            return;
        };
        let job = Job::from_record(record);
        match job.id.kind {
            JobKind::Generate => problem.generate = job,
            JobKind::RoundTests { round, program } => {
                problem.tests.insert((round, program), job);
            }
            JobKind::Evaluate => problem.evaluate = Some(job),
            JobKind::EvaluateRound { round, program } => {
                problem.rounds.insert((round, program), job);
            }
        }
    }

    pub(crate) fn restore_session(&mut self, record: SessionRecord) {
        self.clock.came_to(record.at_ms);
        self.add_event(record.job.problem, record.event);
    }

    /// Adds an event to those of a problem's session; the remarks on calls that nobody made in this run before.
    pub(crate) fn add_event(&mut self, position: u32, event: SessionEvent) -> Vec<String> {
        let Some(index) = self.index(position) else {
            return Vec::new();
        };
        let new_remarks = self.calls.add(&event);
        if let Some(problem) = self.problems.get_mut(index) {
            problem.events.push(event);
        }
        new_remarks
    }

    /// Time on the run's clock, in milliseconds.
    pub(crate) fn clock_ms(&self, now: Now) -> u64 {
        self.clock.at_ms(now.monotonic_ms)
    }

    /// Whether nothing of it is handed out any more, unless it is tried again.
    pub(crate) fn is_over(&self) -> bool {
        self.record.finished.is_some() || self.record.cancelled.is_some()
    }

    /// Its last job is settled.
    pub(crate) fn finish(&mut self, now: Now) {
        self.record.finished = Some(now.wall);
        self.end(now);
    }

    /// People ended it.
    pub(crate) fn cancel(&mut self, reason: &str, now: Now) {
        self.record.cancelled = Some(reason.to_owned());
        self.end(now);
    }

    fn end(&mut self, now: Now) {
        (self.paused, self.reports_written) = (None, false);
        self.clock.stop(now.monotonic_ms);
    }

    /// No key works and nothing is in flight.
    pub(crate) fn pause(&mut self, reason: String, now: Now) {
        (self.paused, self.reports_written) = (Some(reason), false);
        self.clock.stop(now.monotonic_ms);
    }

    /// A run that was paused goes on; any other is left alone.
    pub(crate) fn resume(&mut self, now: Now) {
        if self.paused.take().is_some() {
            self.reports_written = false;
            self.clock.start(now.monotonic_ms);
        }
    }

    /// Whether its calls are paid: they go to an endpoint.
    pub(crate) fn pays_for_calls(&self) -> bool {
        match self.spec.model_at {
            ModelAt::Offline => false,
            ModelAt::Endpoint { .. } => true,
        }
    }

    /// Counts the call that the holder of a session may have had in flight when its lease ended, if calls are paid. It
    /// waited for one unless it waited for the report of a round's tests, or had ended; also one whose report was on
    /// its way is counted, since it may have gone on.
    pub(crate) fn count_call_in_flight(&mut self, session: &JobId) {
        let waits_for_call = session.kind == JobKind::Generate
            && self
                .problem(session.problem)
                .is_some_and(|(_, problem)| match problem.events.last() {
                    None | Some(SessionEvent::Said { .. } | SessionEvent::RoundEnd { .. }) => true,
                    Some(SessionEvent::TestRequest { round, program, .. }) => {
                        let tests = problem.tests.get(&(*round, program.digest()));
                        tests.is_some_and(Job::is_settled)
                    }
                    Some(SessionEvent::Finished(_)) => false,
                });
        if waits_for_call
            && self.pays_for_calls()
            && let Some(job) = self.job_mut(session)
        {
            job.calls_unaccounted = job.calls_unaccounted.saturating_add(1);
        }
    }

    fn index(&self, position: u32) -> Option<usize> {
        self.index_of.get(&position).copied()
    }

    /// 1-based place of a problem in the run, for people.
    pub(crate) fn place(&self, position: u32) -> u32 {
        self.index(position)
            .and_then(|i| u32::try_from(i + 1).ok())
            .unwrap_or(0)
    }

    pub(crate) fn problem_mut(&mut self, position: u32) -> Option<&mut ProblemState> {
        let index = self.index(position)?;
        self.problems.get_mut(index)
    }

    pub(crate) fn problem(&self, position: u32) -> Option<(&ProblemSpec, &ProblemState)> {
        let index = self.index(position)?;
        Some((self.spec.problems.get(index)?, self.problems.get(index)?))
    }

    pub(crate) fn job(&self, id: &JobId) -> Option<&Job> {
        let (_, problem) = self.problem(id.problem)?;
        match id.kind {
            JobKind::Generate => Some(&problem.generate),
            JobKind::RoundTests { round, program } => problem.tests.get(&(round, program)),
            JobKind::Evaluate => problem.evaluate.as_ref(),
            JobKind::EvaluateRound { round, program } => problem.rounds.get(&(round, program)),
        }
    }

    pub(crate) fn job_mut(&mut self, id: &JobId) -> Option<&mut Job> {
        let problem = self.problem_mut(id.problem)?;
        match id.kind {
            JobKind::Generate => Some(&mut problem.generate),
            JobKind::RoundTests { round, program } => problem.tests.get_mut(&(round, program)),
            JobKind::Evaluate => problem.evaluate.as_mut(),
            JobKind::EvaluateRound { round, program } => problem.rounds.get_mut(&(round, program)),
        }
    }

    pub(crate) fn generation_is_over(&self) -> bool {
        self.generation_open == 0
    }

    /// Whether every job of it is settled.
    pub(crate) fn is_settled(&self) -> bool {
        self.problems_open == 0 && self.rounds_open == 0
    }

    /// Whether every problem is settled, and only programs of rounds are still to be judged.
    pub(crate) fn has_only_rounds_left(&self) -> bool {
        self.problems_open == 0 && self.rounds_open > 0
    }

    /// Counts what is open anew, after stored records were put in their places or jobs were opened again.
    pub(crate) fn count_open(&mut self) {
        self.generation_open = self
            .problems
            .iter()
            .filter(|problem| !problem.generate.is_settled())
            .count();
        let spec = Arc::clone(&self.spec);
        for (spec, problem) in spec.problems.iter().zip(&mut self.problems) {
            problem.counted = problem.is_settled(spec);
        }
        self.problems_open = self.problems.iter().filter(|problem| !problem.counted).count();
        let rounds = self.problems.iter().flat_map(|problem| problem.rounds.values());
        self.rounds_open = rounds.filter(|job| !job.is_settled()).count();
    }

    /// Takes a problem out of the open ones once it is settled; `true` the first time.
    pub(crate) fn count_settled(&mut self, position: u32) -> bool {
        if !self
            .problem(position)
            .is_some_and(|(spec, problem)| problem.is_settled(spec))
        {
            return false;
        }
        let Some(problem) = self.problem_mut(position) else {
            return false;
        };
        let is_first = !std::mem::replace(&mut problem.counted, true);
        self.problems_open -= usize::from(is_first);
        is_first
    }

    /// Opens again what failures of ours had settled, and the run if people had ended it; the jobs that changed, and
    /// whether anything did. Tests of a round are opened only together with their session: nobody else asks for their
    /// report.
    pub(crate) fn reopen(&mut self, now: Now) -> (Vec<JobId>, bool) {
        let mut reopened = Vec::new();
        for problem in &mut self.problems {
            let evaluations = problem.evaluate.iter_mut().chain(problem.rounds.values_mut());
            reopened.extend(evaluations.filter_map(|job| job.reopen_error().then_some(job.id)));
            if problem.generate.reopen_error() {
                reopened.push(problem.generate.id);
                let tests = problem.tests.values_mut();
                reopened.extend(tests.filter_map(|job| job.reopen_error().then_some(job.id)));
            }
        }
        let was_cancelled = self.record.cancelled.take().is_some();
        let is_changed = was_cancelled || !reopened.is_empty();
        if is_changed {
            self.count_open();
            self.record.finished = None;
            (self.paused, self.reports_written) = (None, false);
            self.stall = Stall::default();
            self.clock.start(now.monotonic_ms);
        }
        (reopened, is_changed)
    }

    /// The tests whose report a session waits for: it asked for them last.
    pub(crate) fn awaited_tests(&self, session: &JobId) -> Option<JobId> {
        let (_, problem) = self.problem(session.problem)?;
        let Some(SessionEvent::TestRequest { round, program, .. }) = problem.events.last() else {
            return None;
        };
        let kind = JobKind::RoundTests {
            round: *round,
            program: program.digest(),
        };
        Some(JobId { kind, ..*session })
    }

    /// Whether the session is over to which tests of a round belong.
    pub(crate) fn is_for_nobody(&self, id: &JobId) -> bool {
        let is_tests = matches!(id.kind, JobKind::RoundTests { .. });
        let is_over = |problem: &ProblemState| problem.generate.is_settled();
        is_tests
            && self
                .problem(id.problem)
                .is_some_and(|(_, problem)| is_over(problem))
    }

    /// Whether a job that waits is not to be handed out as things stand: all of a cancelled run, tests that are for
    /// nobody, and the evaluations of a staged run whose sessions have not all ended.
    pub(crate) fn holds_back(&self, id: &JobId) -> bool {
        if self.record.cancelled.is_some() {
            return true;
        }
        match id.kind {
            JobKind::Generate => false,
            JobKind::RoundTests { .. } => self.is_for_nobody(id),
            JobKind::Evaluate | JobKind::EvaluateRound { .. } => {
                self.spec.staged && !self.generation_is_over()
            }
        }
    }

    /// The final evaluation that a settled session asks for; none if there is no program or no case.
    pub(crate) fn evaluation_of(&self, position: u32) -> Option<Job> {
        let (spec, problem) = self.problem(position)?;
        let JobOutcome::Generated(GenerationOutcome {
            program: Some(program),
            ..
        }) = problem.generate.outcome()?
        else {
            return None;
        };
        let id = JobId {
            run: self.spec.run,
            problem: position,
            kind: JobKind::Evaluate,
        };
        let subject = Subject {
            program: program.clone(),
            cases: spec.tests?,
            cases_n: spec.cases_n(),
        };
        Some(Job::new(id, Some(subject)))
    }

    /// What a worker is to do for a job, everything earlier attempts left behind included.
    pub(crate) fn work(&self, id: &JobId) -> Option<Work> {
        let (spec, problem) = self.problem(id.problem)?;
        if id.kind == JobKind::Generate {
            let reports = problem
                .tests
                .iter()
                .filter_map(|((round, program), job)| match job.outcome() {
                    Some(JobOutcome::Evaluated { report, .. }) => Some((*round, *program, report.clone())),
                    Some(JobOutcome::Generated(_) | JobOutcome::Error(_)) | None => None,
                });
            return Some(Work::Generate(GenerateWork {
                statement: spec.statement,
                public_cases: spec.public_cases,
                reference: spec.reference,
                time_limit_ms: spec.time_limit_ms,
                memory_limit_bytes: spec.memory_limit_bytes,
                settings: self.spec.session.clone(),
                resume: problem.events.clone(),
                reports: reports.collect(),
                prompts: self.spec.prompt_set,
                recording: spec.recording,
                endpoint: self.record.endpoint.clone(),
                entry_point: spec.entry_point.clone(),
            }));
        }
        let subject = self.job(id)?.subject.as_ref()?;
        let session = &self.spec.session;
        let evaluation = &self.spec.evaluation;
        // That of a round comes to what it would as a final one.
        let is_final = !matches!(id.kind, JobKind::RoundTests { .. });
        Some(Work::Evaluate(EvaluateWork {
            program: subject.program.clone(),
            language: session.language,
            tests: subject.cases,
            limits: if is_final {
                limits_of(evaluation, spec)
            } else {
                session.limits
            },
            comparator: if is_final {
                evaluation.comparator
            } else {
                session.comparator
            },
            ignore_exit_status: evaluation.ignore_exit_status,
            timeouts_max: evaluation.timeouts_max,
            stop_on_first_failure: is_final && evaluation.stop_on_first_failure,
            output_chars: if is_final {
                FINAL_OUTPUT_CHARS
            } else {
                ROUND_OUTPUT_CHARS
            },
            entry_point: spec.entry_point.clone(),
            execution: evaluation.execution,
        }))
    }

    /// Takes note of a grant: when it was, on the run's clock, what the run stays with from then on, and which fleet it
    /// was made by. `true` if the record changed.
    pub(crate) fn note_grant(
        &mut self,
        role: Role,
        at_ms: u64,
        choice: Option<Choice>,
        by: &Capacity,
    ) -> bool {
        let record = &mut self.record;
        let mut is_changed = false;
        for (most, now) in [
            (&mut record.generation_slots, by.generation_slots),
            (&mut record.evaluation_slots, by.evaluation_slots),
            (&mut record.cores, by.cores),
        ] {
            is_changed |= now > *most;
            *most = now.max(*most);
        }
        if role == Role::Gen && record.first_grant_ms.is_none() {
            record.first_grant_ms = Some(at_ms);
            is_changed = true;
        }
        let (chosen, choice) = match choice {
            None => return is_changed,
            Some(Choice::Endpoint(name)) => (&mut record.endpoint, name),
            Some(Choice::Interpreter(minor)) => (&mut record.interpreter, minor),
        };
        if chosen.is_none() {
            *chosen = Some(choice);
            is_changed = true;
        }
        is_changed
    }

    /// Settles a job; `false` if it was settled before.
    pub(crate) fn settle(&mut self, id: &JobId, outcome: JobOutcome, now: Now) -> bool {
        let at_ms = self.clock_ms(now);
        let Some(job) = self.job_mut(id) else { return false };
        if job.is_settled() {
            return false;
        }
        job.state = JobState::Settled(outcome);
        job.at_ms = at_ms;
        self.generation_open -= usize::from(id.kind == JobKind::Generate);
        self.rounds_open -= usize::from(matches!(id.kind, JobKind::EvaluateRound { .. }));
        true
    }
}
