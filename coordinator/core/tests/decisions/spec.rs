//! Small runs, their jobs, what their sessions leave behind, and the workers that serve them.

use std::collections::BTreeMap;
use std::sync::Arc;

use roundhouse_core::run::{DataSet, EvaluationSettings, Lang, ModelAt, ProblemSpec, RunSpec};
use roundhouse_core::{Event, LinkId, Now, Stamp};
use roundhouse_proto::link::{EndpointOffer, Hello, JobResult, RunningLease};
use roundhouse_proto::{
    Comparator, Digest, Failure, FailureClass, FinalChoice, FinishReason, GenerationOutcome, Isolation,
    JobId, JobKind, Language, LeaseId, Limits, Payload, Role, RunId, Sampling, SessionEvent, SessionSettings,
    Speaker, StopReason, TesterMode, Tier, WorkerId,
};

/// Cases of every test set.
pub(crate) const CASES: u32 = 4;

/// The run that most tests use.
pub(crate) fn run() -> RunId {
    run_numbered(1)
}

pub(crate) fn run_numbered(n: u8) -> RunId {
    format!("00000000-0000-4000-8000-0000000000{n:02x}")
        .parse()
        .expect("it has the form of a uuid")
}

pub(crate) fn worker(n: u8) -> WorkerId {
    format!("00000000-0000-4000-9000-0000000000{n:02x}")
        .parse()
        .expect("it has the form of a uuid")
}

pub(crate) fn stamp(ms: u64) -> Stamp {
    Stamp {
        unix_us: 1_700_000_000_000_000 + i64::try_from(ms).expect("tests are short") * 1_000,
        offset_s: 3_600,
    }
}

pub(crate) fn at(ms: u64) -> Now {
    Now {
        monotonic_ms: ms,
        wall: stamp(ms),
    }
}

fn problem(position: u32) -> ProblemSpec {
    ProblemSpec {
        position,
        name: format!("problem_{position:03}"),
        source_id: format!("source {position}"),
        statement: Digest::of(format!("statement {position}").as_bytes()),
        tests: Some(final_cases(position)),
        tiers: vec![(Tier::Public, 1), (Tier::Private, CASES - 1)],
        public_cases: None,
        reference: None,
        time_limit_ms: Some(2_000),
        memory_limit_bytes: None,
        entry_point: None,
        recording: None,
    }
}

pub(crate) fn final_cases(position: u32) -> Digest {
    Digest::of(format!("final cases {position}").as_bytes())
}

pub(crate) fn round_cases(position: u32, round: u32) -> Digest {
    Digest::of(format!("cases {position} of round {round}").as_bytes())
}

/// A parallel run over problems 1 to `problems`, with three attempts per job; `change` makes it another.
pub(crate) fn spec(problems: u32, change: impl FnOnce(&mut RunSpec)) -> Arc<RunSpec> {
    let mut spec = RunSpec {
        run: run(),
        started: stamp(0),
        version: "0.1.0".to_owned(),
        session: SessionSettings {
            method: roundhouse_proto::Method::SelfCollaboration,
            model: "m".to_owned(),
            sampling: Sampling::default(),
            max_rounds: 4,
            tester: TesterMode::Cases,
            language: Language::Python3,
            patch: true,
            comparator: Comparator::Lines,
            limits: Limits {
                cpu_ms: 5_000,
                ..Limits::default()
            },
            final_choice: FinalChoice::Last,
            model_for: BTreeMap::new(),
        },
        prompts: BTreeMap::new(),
        prompt_set: Some(Digest::of(b"prompts")),
        evaluation: EvaluationSettings {
            execution: roundhouse_proto::Execution::default(),
            limits_rule: roundhouse_core::run::LimitsRule::default(),
            tiers: Tier::ALL.to_vec(),
            comparator: Comparator::CodeContests,
            limits: Limits::default(),
            ignore_exit_status: false,
            timeouts_max: 3,
            stop_on_first_failure: true,
            mixed_versions: false,
        },
        parallel: true,
        staged: false,
        workers: 2,
        eval_workers: 2,
        evaluate_rounds: false,
        attempts_max: 3,
        data_set: DataSet {
            name: "small".to_owned(),
            path: "small.jsonl".to_owned(),
            sha256: Digest::of(b"small.jsonl"),
            format: "jsonl".to_owned(),
            rows: problems,
        },
        quarantine: None,
        problems: (1..=problems).map(problem).collect(),
        lang: Lang::Zh,
        model_at: ModelAt::Offline,
    };
    change(&mut spec);
    Arc::new(spec)
}

pub(crate) fn spec_blob(spec: &RunSpec) -> Digest {
    Digest::of(format!("spec of {}", spec.run).as_bytes())
}

pub(crate) fn submitted(spec: &Arc<RunSpec>) -> Event {
    Event::Submitted {
        spec: Arc::clone(spec),
        spec_blob: spec_blob(spec),
    }
}

pub(crate) fn generate(problem: u32) -> JobId {
    let kind = JobKind::Generate;
    JobId {
        run: run(),
        problem,
        kind,
    }
}

pub(crate) fn evaluate(problem: u32) -> JobId {
    let kind = JobKind::Evaluate;
    JobId {
        kind,
        ..generate(problem)
    }
}

pub(crate) fn tests(problem: u32, round: u32) -> JobId {
    let kind = JobKind::RoundTests {
        round,
        program: program(problem, round).digest(),
    };
    JobId {
        kind,
        ..generate(problem)
    }
}

/// Grant `seq` of the first epoch.
pub(crate) fn lease(seq: u64) -> LeaseId {
    LeaseId { epoch: 1, seq }
}

pub(crate) fn program(problem: u32, round: u32) -> Payload {
    Payload::text(&format!("program of problem {problem} in round {round}"))
}

pub(crate) fn said(problem: u32, round: u32) -> SessionEvent {
    SessionEvent::Said {
        speaker: Speaker::Coder,
        round,
        ask: 0,
        prompt: Payload::text("go on"),
        reply: program(problem, round),
        reasoning: None,
        finish: FinishReason::Stop,
        usage: None,
        duration_ms: 7,
        remarks: Vec::new(),
        unaccounted: 0,
    }
}

pub(crate) fn test_request(problem: u32, round: u32) -> SessionEvent {
    SessionEvent::TestRequest {
        round,
        program: program(problem, round),
        cases: round_cases(problem, round),
        cases_n: CASES,
    }
}

pub(crate) fn round_end(problem: u32, round: u32) -> SessionEvent {
    SessionEvent::RoundEnd {
        round,
        code: program(problem, round),
        report: Payload::text("2 of 4 passed"),
        tests_raw: Payload::text("cases"),
        tests_used: None,
        program: None,
        passed: Some(false),
    }
}

pub(crate) fn with_program(problem: u32) -> GenerationOutcome {
    GenerationOutcome {
        program: Some(program(problem, 9)),
        stop_reason: StopReason::Passed,
        patched: vec!["import sys".to_owned()],
        notes: Vec::new(),
        unaccounted: 0,
    }
}

pub(crate) fn without_program() -> GenerationOutcome {
    GenerationOutcome {
        program: None,
        stop_reason: StopReason::NoCode,
        patched: Vec::new(),
        notes: vec!["no program: asked again".to_owned()],
        unaccounted: 0,
    }
}

pub(crate) fn round_report(problem: u32, round: u32) -> Payload {
    Payload::text(&format!("report on problem {problem} in round {round}"))
}

pub(crate) fn final_report(problem: u32) -> Payload {
    Payload::text(&format!("final report on problem {problem}"))
}

/// What an evaluation worker sends when `passed` of the cases passed.
pub(crate) fn evaluated(report: Payload, passed: u32) -> JobResult {
    JobResult::Evaluated {
        audit: roundhouse_proto::Audit::default(),
        report,
        passed,
        total: CASES,
        busy_ms: 11,
        internal_error: None,
    }
}

pub(crate) fn failed(class: FailureClass, message: &str) -> JobResult {
    failed_with(failure(class, message))
}

pub(crate) fn failed_with(failure: Failure) -> JobResult {
    JobResult::Failed {
        failure,
        unaccounted: 0,
    }
}

pub(crate) fn failure(class: FailureClass, message: &str) -> Failure {
    Failure {
        class,
        message: message.to_owned(),
    }
}

/// The failure of a job that was given up.
pub(crate) fn given_up(attempts: u32, last: &str) -> Failure {
    let message = format!("given up after {attempts} attempts: {last}");
    failure(FailureClass::InfraFatal, &message)
}

/// A worker with so many slots for sessions and so many for evaluations.
pub(crate) fn hello(n: u8, generation: u32, evaluation: u32) -> Box<Hello> {
    Box::new(Hello {
        protocol_min: 1,
        protocol_max: 1,
        build: "0.1.0".to_owned(),
        worker: worker(n),
        name: format!("host {n}"),
        slots: [(Role::Gen, generation), (Role::Eval, evaluation)]
            .into_iter()
            .filter(|(_, slots)| *slots > 0)
            .collect(),
        languages: vec![(Language::Python3, "CPython 3.11.7".to_owned())],
        isolation: Some(Isolation::Full),
        cores: 8,
        boot_id: "one host".to_owned(),
        labels: BTreeMap::new(),
        endpoints: Vec::new(),
        time_limit_ms: None,
    })
}

/// A generation worker that offers endpoints, and has been refused by those with a reason.
pub(crate) fn hello_offering(n: u8, slots: u32, endpoints: &[(&str, Option<&str>)]) -> Box<Hello> {
    let offer = |(name, benched): &(&str, Option<&str>)| EndpointOffer {
        name: (*name).to_owned(),
        benched: benched.map(str::to_owned),
    };
    let mut hello = hello(n, slots, 0);
    hello.endpoints = endpoints.iter().map(offer).collect();
    hello
}

/// Has a run ask the model of this endpoint, or of the one that the fleet offers.
pub(crate) fn ask(spec: &mut RunSpec, endpoint: Option<&str>) {
    let name = endpoint.map(str::to_owned);
    spec.model_at = ModelAt::Endpoint { name };
}

pub(crate) fn benched(link: u64, endpoint: &str, reason: &str) -> Event {
    let (endpoint, reason) = (endpoint.to_owned(), reason.to_owned());
    let link = LinkId(link);
    Event::Benched {
        link,
        endpoint,
        reason,
    }
}

pub(crate) fn given_back(link: u64, lease: LeaseId, reason: &str) -> Event {
    let (link, reason) = (LinkId(link), reason.to_owned());
    let unaccounted = 0;
    Event::GivenBack {
        link,
        lease,
        reason,
        unaccounted,
    }
}

/// What an inventory says of a lease.
pub(crate) fn running(job: JobId, lease: LeaseId) -> RunningLease {
    RunningLease {
        job,
        lease,
        last_seq: 0,
        running_ms: 0,
    }
}

pub(crate) fn inventory(link: u64, held: &[RunningLease]) -> Event {
    Event::InventoryTaken {
        link: LinkId(link),
        held: held.to_vec(),
    }
}

pub(crate) fn joined(link: u64, hello: Box<Hello>) -> Event {
    let link = LinkId(link);
    Event::Joined { link, hello }
}

pub(crate) fn credit(link: u64, role: Role, n: u32) -> Event {
    let link = LinkId(link);
    Event::CreditOffered { link, role, n }
}

pub(crate) fn session(link: u64, job: JobId, lease: LeaseId, seq: u64, event: SessionEvent) -> Event {
    let link = LinkId(link);
    Event::SessionWentOn {
        link,
        job,
        lease,
        seq,
        event,
    }
}

pub(crate) fn result(link: u64, job: JobId, lease: LeaseId, result: JobResult) -> Event {
    let link = LinkId(link);
    Event::ResultCame {
        link,
        job,
        lease,
        result,
    }
}
