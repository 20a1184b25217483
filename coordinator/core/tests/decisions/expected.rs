//! A coordinator under test, and whole outboxes to compare with what it does.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use roundhouse_core::record::{
    JobOutcome, JobRecord, PendingFile, RunRecord, SessionRecord, Stored, StoredState, Subject, Write,
};
use roundhouse_core::run::RunSpec;
use roundhouse_core::status::RunView;
use roundhouse_core::summary::RunSummary;
use roundhouse_core::{Command, Coordinator, Event, Files, LinkId, Outbox, Progress, Timing};
use roundhouse_proto::link::{CoordMsg, Hello, JobGrant};
use roundhouse_proto::work::Priority;
use roundhouse_proto::{
    EvaluateWork, Failure, GenerateWork, GenerationOutcome, JobId, LeaseId, Payload, SessionEvent, Work,
};

use crate::disk::Disk;
use crate::spec::{
    CASES, at, credit, evaluate, evaluated, final_cases, final_report, generate, hello, inventory, joined,
    program, result, round_cases, run, session, spec_blob, submitted, tests, with_program, worker,
};

/// When the tests begin, on the monotonic clock; the run's clock then stands at 0.
pub(crate) const BEGIN_MS: u64 = 1_000;

/// A coordinator and the time.
pub(crate) struct Bench {
    pub(crate) coordinator: Coordinator,
    pub(crate) now_ms: u64,
    pub(crate) batches: Vec<Vec<Write>>,
}

impl Bench {
    /// An empty coordinator.
    pub(crate) fn new() -> Self {
        Self::with(Timing::default())
    }

    pub(crate) fn with(timing: Timing) -> Self {
        let mut outbox = Outbox::default();
        let now = at(BEGIN_MS);
        let coordinator = Coordinator::start(timing, Stored::default(), &BTreeMap::new(), now, &mut outbox);
        assert_outbox(&outbox, &[Write::Epoch(1)], &[]);
        Self {
            coordinator,
            now_ms: BEGIN_MS,
            batches: vec![outbox.writes],
        }
    }

    /// Lets time pass, in milliseconds.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
    }

    /// Handles an event and gives what it leads to.
    pub(crate) fn on(&mut self, event: Event) -> Outbox {
        let mut outbox = Outbox::default();
        self.coordinator.handle(at(self.now_ms), event, &mut outbox);
        self.batches.push(outbox.writes.clone());
        outbox
    }

    /// Handles an event that is to lead to exactly this.
    #[track_caller]
    pub(crate) fn expect(&mut self, event: Event, writes: &[Write], commands: &[Command]) {
        assert_outbox(&self.on(event), writes, commands);
    }

    /// Handles an event that is to lead to nothing.
    #[track_caller]
    pub(crate) fn expect_nothing(&mut self, event: Event) {
        self.expect(event, &[], &[]);
    }

    /// A bench with a run submitted and worker 1 joined on link 1, with so many slots, all of them offered.
    pub(crate) fn serving(spec: &Arc<RunSpec>, generation: u32, evaluation: u32) -> Self {
        let mut bench = Self::new();
        bench.on(submitted(spec));
        bench.join(1, 1, generation, evaluation);
        bench
    }

    /// Worker `n` joins on `link`, holding nothing, and offers all its slots.
    pub(crate) fn join(&mut self, link: u64, n: u8, generation: u32, evaluation: u32) {
        self.join_as(link, hello(n, generation, evaluation));
    }

    /// A worker joins on `link`, holding nothing, and offers all its slots; what the last of them leads to.
    pub(crate) fn join_as(&mut self, link: u64, hello: Box<Hello>) -> Outbox {
        let slots = hello.slots.clone();
        let mut last = self.on(joined(link, hello));
        self.on(inventory(link, &[]));
        for (role, slots) in slots {
            last = self.on(credit(link, role, slots));
        }
        last
    }

    /// The coordinator is killed and starts again at a monotonic time that has nothing to do with the one before.
    pub(crate) fn restart(self, spec: &Arc<RunSpec>, now_ms: u64) -> Self {
        let stored = Disk::of(&self.batches).stored();
        let specs = BTreeMap::from([(spec.run, Arc::clone(spec))]);
        let mut outbox = Outbox::default();
        let coordinator = Coordinator::start(Timing::default(), stored, &specs, at(now_ms), &mut outbox);
        let mut batches = self.batches;
        batches.push(outbox.writes);
        Self {
            coordinator,
            now_ms,
            batches,
        }
    }

    pub(crate) fn summary(&self) -> RunSummary {
        self.coordinator.summary(run()).expect("the run was submitted")
    }

    pub(crate) fn view(&self) -> RunView {
        let view = self.coordinator.run_view(at(self.now_ms), run());
        view.expect("the run was submitted")
    }

    /// The session of a problem, held by worker 1 under `lease`, sends its next events, from number `seq`.
    pub(crate) fn sessions(&mut self, problem: u32, lease: LeaseId, seq: u64, events: &[SessionEvent]) {
        for (seq, event) in (seq..).zip(events) {
            self.on(session(1, generate(problem), lease, seq, event.clone()));
        }
    }

    /// The session of a problem gives its program as its event `seq`.
    pub(crate) fn finish(&mut self, problem: u32, lease: LeaseId, seq: u64) {
        let finished = SessionEvent::Finished(with_program(problem));
        self.sessions(problem, lease, seq, &[finished]);
    }

    /// As [`Bench::finish`], of a session that is held on `link` and has said nothing yet.
    pub(crate) fn finish_on(&mut self, link: u64, problem: u32, lease: LeaseId) {
        let finished = SessionEvent::Finished(with_program(problem));
        self.on(session(link, generate(problem), lease, 1, finished));
    }

    /// The final evaluation of a problem, held by worker 1, passes.
    pub(crate) fn judge(&mut self, problem: u32, lease: LeaseId) -> Outbox {
        let passed = evaluated(final_report(problem), CASES);
        self.on(result(1, evaluate(problem), lease, passed))
    }

    pub(crate) fn outcomes(&self) -> Vec<roundhouse_core::summary::ProblemOutcome> {
        let summary = self.coordinator.summary(run()).expect("the run was submitted");
        summary
            .problems
            .into_iter()
            .map(|problem| problem.outcome)
            .collect()
    }
}

/// Compares a whole outbox: everything that is expected, in order, then nothing else.
#[track_caller]
pub(crate) fn assert_outbox(outbox: &Outbox, writes: &[Write], commands: &[Command]) {
    assert_same("write", &outbox.writes, writes);
    assert_same("command", &outbox.commands, commands);
}

#[track_caller]
fn assert_same<T: PartialEq + Debug>(what: &str, got: &[T], expected: &[T]) {
    for (i, expected) in expected.iter().enumerate() {
        match got.get(i) {
            Some(got) => assert_eq!(got, expected, "{what} {i} differs"),
            None => panic!("{what} {i} is missing: {expected:#?}"),
        }
    }
    if let Some(more) = got.get(expected.len()) {
        panic!("{what} {} was not expected: {more:#?}", expected.len());
    }
}

/// A run as it is stored at its submission.
pub(crate) fn run_record(spec: &RunSpec) -> RunRecord {
    RunRecord {
        run: spec.run,
        spec: spec_blob(spec),
        first_grant_ms: None,
        generation_slots: 0,
        evaluation_slots: 0,
        cores: 0,
        finished: None,
        cancelled: None,
        endpoint: None,
        interpreter: None,
    }
}

/// A run whose first session was handed out at 0 on its clock, while the fleet had so many slots.
pub(crate) fn served_record(spec: &RunSpec, generation: u32, evaluation: u32) -> RunRecord {
    RunRecord {
        first_grant_ms: Some(0),
        generation_slots: generation,
        evaluation_slots: evaluation,
        cores: 8,
        ..run_record(spec)
    }
}

/// That run, once a program of it was handed to a worker of these tests, which all have the same interpreter.
pub(crate) fn judging_record(spec: &RunSpec, generation: u32, evaluation: u32) -> RunRecord {
    RunRecord {
        interpreter: Some("CPython 3.11".to_owned()),
        ..served_record(spec, generation, evaluation)
    }
}

/// That run, once its endpoint is chosen.
pub(crate) fn asking(endpoint: &str, record: RunRecord) -> RunRecord {
    let endpoint = Some(endpoint.to_owned());
    RunRecord { endpoint, ..record }
}

/// A job that was never handed out.
pub(crate) fn queued(job: JobId, subject: Option<Subject>) -> JobRecord {
    JobRecord {
        job,
        attempts: 0,
        failed_attempts: 0,
        subject,
        busy_ms: 0,
        at_ms: 0,
        state: StoredState::Queued,
        calls_unaccounted: 0,
    }
}

/// That job, handed out to worker `n` as its attempt `attempts`.
pub(crate) fn leased(job: JobRecord, attempts: u32, lease: LeaseId, n: u8) -> JobRecord {
    let worker = worker(n);
    let state = StoredState::Leased { lease, worker };
    JobRecord {
        attempts,
        state,
        ..job
    }
}

/// That job, settled at its attempt `attempts`.
pub(crate) fn settled(job: JobRecord, attempts: u32, outcome: JobOutcome) -> JobRecord {
    let state = StoredState::Settled(outcome);
    JobRecord {
        attempts,
        state,
        ..job
    }
}

/// That job, waiting again after `failed_attempts` of `attempts`.
pub(crate) fn back(job: JobRecord, attempts: u32, failed_attempts: u32) -> JobRecord {
    JobRecord {
        attempts,
        failed_attempts,
        state: StoredState::Queued,
        ..job
    }
}

pub(crate) fn final_subject(problem: u32) -> Subject {
    Subject {
        program: program(problem, 9),
        cases: final_cases(problem),
        cases_n: CASES,
    }
}

pub(crate) fn round_subject(problem: u32, round: u32) -> Subject {
    Subject {
        program: program(problem, round),
        cases: round_cases(problem, round),
        cases_n: CASES,
    }
}

/// The generation job of a problem, never handed out.
pub(crate) fn session_job(problem: u32) -> JobRecord {
    queued(generate(problem), None)
}

/// The final evaluation of a problem, never handed out.
pub(crate) fn final_job(problem: u32) -> JobRecord {
    queued(evaluate(problem), Some(final_subject(problem)))
}

/// The tests of a round, never handed out.
pub(crate) fn tests_job(problem: u32, round: u32) -> JobRecord {
    queued(tests(problem, round), Some(round_subject(problem, round)))
}

pub(crate) fn judged(report: Payload, passed: u32) -> JobOutcome {
    let total = CASES;
    JobOutcome::Evaluated {
        audit: roundhouse_proto::Audit::default(),
        report,
        passed,
        total,
    }
}

pub(crate) fn stored_event(problem: u32, seq: u64, event: SessionEvent) -> Write {
    Write::Session(SessionRecord {
        job: generate(problem),
        seq,
        at_ms: 0,
        event,
    })
}

pub(crate) fn grant(job: JobId, lease: LeaseId, attempt: u32, work: Work) -> JobGrant {
    JobGrant {
        job,
        lease,
        attempt,
        priority: Priority::of(&job),
        work,
    }
}

/// A session to be held from its beginning.
pub(crate) fn session_work(spec: &RunSpec, problem: u32) -> GenerateWork {
    let asked = spec
        .problems
        .iter()
        .find(|asked| asked.position == problem)
        .expect("the run has it");
    GenerateWork {
        statement: asked.statement,
        public_cases: None,
        reference: None,
        time_limit_ms: Some(2_000),
        memory_limit_bytes: None,
        settings: spec.session.clone(),
        resume: Vec::new(),
        reports: Vec::new(),
        prompts: spec.prompt_set,
        endpoint: None,
        entry_point: None,
        recording: None,
    }
}

/// A session granted from its beginning.
pub(crate) fn session_grant(spec: &RunSpec, problem: u32, lease: LeaseId, attempt: u32) -> JobGrant {
    let work = Work::Generate(session_work(spec, problem));
    grant(generate(problem), lease, attempt, work)
}

/// A session of a run that asks an endpoint, granted from its beginning.
pub(crate) fn session_grant_at(
    endpoint: &str,
    spec: &RunSpec,
    problem: u32,
    lease: LeaseId,
    attempt: u32,
) -> JobGrant {
    let work = GenerateWork {
        endpoint: Some(endpoint.to_owned()),
        ..session_work(spec, problem)
    };
    grant(generate(problem), lease, attempt, Work::Generate(work))
}

pub(crate) fn final_grant(spec: &RunSpec, problem: u32, lease: LeaseId, attempt: u32) -> JobGrant {
    let work = EvaluateWork {
        execution: roundhouse_proto::Execution::default(),
        program: program(problem, 9),
        language: spec.session.language,
        tests: final_cases(problem),
        limits: spec.evaluation.limits,
        comparator: spec.evaluation.comparator,
        ignore_exit_status: false,
        timeouts_max: 3,
        stop_on_first_failure: true,
        output_chars: 100,
        entry_point: None,
    };
    grant(evaluate(problem), lease, attempt, Work::Evaluate(work))
}

pub(crate) fn tests_grant(
    spec: &RunSpec,
    problem: u32,
    round: u32,
    lease: LeaseId,
    attempt: u32,
) -> JobGrant {
    let work = EvaluateWork {
        execution: roundhouse_proto::Execution::default(),
        program: program(problem, round),
        language: spec.session.language,
        tests: round_cases(problem, round),
        limits: spec.session.limits,
        comparator: spec.session.comparator,
        ignore_exit_status: false,
        timeouts_max: 3,
        stop_on_first_failure: false,
        output_chars: 1_000,
        entry_point: None,
    };
    grant(tests(problem, round), lease, attempt, Work::Evaluate(work))
}

pub(crate) fn send(link: u64, msg: CoordMsg) -> Command {
    let link = LinkId(link);
    Command::Send { link, msg }
}

pub(crate) fn jobs(link: u64, grants: Vec<JobGrant>) -> Command {
    send(link, CoordMsg::Jobs(grants))
}

pub(crate) fn ack(link: u64, lease: LeaseId, seq: u64) -> Command {
    send(link, CoordMsg::Ack { lease, seq })
}

pub(crate) fn forget(link: u64, lease: LeaseId) -> Command {
    send(link, CoordMsg::Forget { lease })
}

pub(crate) fn report(link: u64, lease: LeaseId, round: u32, report: Result<Payload, Failure>) -> Command {
    send(link, CoordMsg::TestReport { lease, round, report })
}

pub(crate) fn close(link: u64) -> Command {
    let link = LinkId(link);
    Command::Close { link }
}

pub(crate) fn tell(progress: Progress) -> Command {
    let run = run();
    Command::Tell { run, progress }
}

/// The run's first job is handed out to a fleet with so many slots, of one host.
pub(crate) fn started(generation_slots: u32, evaluation_slots: u32) -> Command {
    let cores = 8;
    tell(Progress::Started {
        generation_slots,
        evaluation_slots,
        cores,
    })
}

pub(crate) fn retried(index: u32, job: JobId, reason: &str) -> Command {
    tell(Progress::Retried {
        index,
        job: job.to_string(),
        reason: reason.to_owned(),
    })
}

pub(crate) fn ended(index: u32, program: Result<bool, Failure>) -> Command {
    tell(Progress::GenerationEnded { index, program })
}

pub(crate) fn statements(spec: &Arc<RunSpec>) -> Command {
    let spec = Arc::clone(spec);
    Command::WriteFiles(Box::new(Files::Statements { spec }))
}

/// Where a session's files are asked for.
pub(crate) fn session_files(
    spec: &Arc<RunSpec>,
    problem: u32,
    events: &[SessionEvent],
    outcome: Result<GenerationOutcome, Failure>,
) -> Command {
    Command::WriteFiles(Box::new(Files::Session {
        spec: Arc::clone(spec),
        problem,
        events: events.to_vec(),
        outcome,
    }))
}

/// Where the reports are asked for, from what the run has come to now.
pub(crate) fn report_files(bench: &Bench) -> Command {
    let summary = bench.coordinator.summary(run()).expect("the run was submitted");
    Command::WriteFiles(Box::new(Files::Reports { summary }))
}

pub(crate) fn pending_session(problem: u32) -> PendingFile {
    PendingFile::Session { run: run(), problem }
}

pub(crate) fn pending_reports() -> PendingFile {
    PendingFile::Reports { run: run() }
}
