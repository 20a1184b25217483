//! One value of each message and of each of its variants, with every field set to something of its own.

use std::collections::BTreeMap;

use bytes::Bytes;
use uuid::Uuid;

use crate::link::{CoordMsg, EndpointOffer, Hello, JobGrant, JobResult, RunningLease, WorkerMsg};
use crate::work::Priority;
use crate::{
    Case, CaseResult, Clip, Comparator, Digest, EvaluateWork, EvaluationReport, Failure, FailureClass,
    FinalChoice, FinishReason, GenerateWork, GenerationOutcome, Isolation, JobId, JobKind, Language, LeaseId,
    Limits, Payload, Problem, Program, PromptSet, ReferenceMaterial, Role, RunId, Sampling, SessionEvent,
    SessionSettings, Speaker, StopReason, TestSet, TesterMode, Tier, Usage, Verdict, Work, WorkerId,
};

fn blob(name: &str) -> Payload {
    Payload::Blob(Digest::of(name.as_bytes()))
}

fn run() -> RunId {
    RunId(Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef))
}

pub(super) fn lease() -> LeaseId {
    LeaseId {
        epoch: 3,
        seq: u64::MAX,
    }
}

pub(super) fn limits() -> Limits {
    Limits {
        cpu_ms: 1,
        wall_ms: 2,
        memory_bytes: u64::MAX,
        output_bytes: 4,
        processes: u32::MAX,
    }
}

pub(super) fn failures() -> Vec<Failure> {
    use FailureClass::{Cancelled, InfraFatal, InfraRetry, Job, Model};
    [Model, Job, InfraRetry, InfraFatal, Cancelled]
        .map(|class| Failure {
            class,
            message: format!("no luck with {class:?}, 中文"),
        })
        .into()
}

pub(super) fn jobs() -> [JobId; 4] {
    let tests = JobKind::RoundTests {
        round: u32::MAX,
        program: Digest::of(b"program"),
    };
    let round = JobKind::EvaluateRound {
        round: u32::MAX,
        program: Digest::of(b"program"),
    };
    [JobKind::Generate, tests, JobKind::Evaluate, round].map(|kind| JobId {
        run: run(),
        problem: 165,
        kind,
    })
}

pub(super) fn test_set() -> TestSet {
    let case = |tier, input: &'static [u8]| Case {
        tier,
        input: Bytes::from_static(input),
        expected: Bytes::from_static(b"YES\r\n"),
    };
    TestSet {
        cases: vec![
            case(Tier::Public, b"1 2\n"),
            case(Tier::Private, b""),
            case(Tier::Generated, &[0xff, 0x00, 0xfe]),
        ],
    }
}

pub(super) fn reference() -> ReferenceMaterial {
    ReferenceMaterial {
        program: Some("print(input())\n".to_owned()),
        cases: test_set().cases,
    }
}

pub(super) fn problem() -> Problem {
    let program = |index| Program {
        index,
        language: Language::Python3,
        source: "import sys\n".to_owned(),
    };
    Problem {
        position: u32::MAX,
        source_id: "1575_A. Another Sorting Problem".to_owned(),
        statement: "Andi and Budi were given…".to_owned(),
        tests: test_set(),
        time_limit_ms: Some(2_000),
        memory_limit_bytes: Some(0),
        solutions: vec![program(0), program(7)],
        incorrect_solutions: vec![program(u32::MAX)],
        entry_point: Some("f".to_owned()),
    }
}

pub(super) fn report() -> EvaluationReport {
    use Verdict::{
        Accepted, CompileError, InternalError, MemoryLimit, OutputLimit, RuntimeError, TimeLimit, WrongAnswer,
    };
    let verdicts = [
        Accepted,
        WrongAnswer,
        RuntimeError,
        OutputLimit,
        TimeLimit,
        MemoryLimit,
        CompileError,
        InternalError,
    ];
    let result = |(case, verdict)| CaseResult {
        case,
        verdict,
        not_run: verdict == TimeLimit,
        cpu_ms: 17,
        wall_ms: u64::MAX,
        memory_bytes: 9 << 20,
        exit_code: (verdict == RuntimeError).then_some(i32::MIN),
        signal: (verdict == MemoryLimit).then_some(9),
        stdout: Clip {
            head: "head".to_owned(),
            left_out: 5,
            tail: "尾".to_owned(),
        },
        stderr_tail: "Traceback".to_owned(),
    };
    EvaluationReport {
        reused: true,
        audit: crate::Audit {
            audited: 7,
            mismatched: 1,
        },
        cases: (0..).zip(verdicts).map(result).collect(),
        isolation: Isolation::FullNocg,
        interpreter: "CPython 3.11.7".to_owned(),
        busy_ms: 1_234,
    }
}

pub(super) fn settings() -> SessionSettings {
    SessionSettings {
        method: crate::Method::SelfCollaboration,
        model: "reference".to_owned(),
        sampling: Sampling {
            temperature: 0.1,
            top_p: 0.95,
            max_tokens: u32::MAX,
        },
        max_rounds: 5,
        tester: TesterMode::Public,
        language: Language::Python3,
        patch: true,
        comparator: Comparator::Float { abs: 0.1, rel: 1e-9 },
        limits: limits(),
        final_choice: FinalChoice::Public,
        model_for: BTreeMap::from([(crate::Speaker::Tester, "other".to_owned())]),
    }
}

pub(super) fn said() -> SessionEvent {
    SessionEvent::Said {
        speaker: Speaker::Coder,
        round: 1,
        ask: 2,
        prompt: blob("prompt"),
        reply: Payload::text("```python\n```"),
        reasoning: Some(blob("reasoning")),
        finish: FinishReason::Length,
        usage: Some(Usage {
            input: 1,
            cached_input: 2,
            output: 3,
            reasoning: u64::MAX,
        }),
        duration_ms: 4,
        remarks: vec!["temperature is left out".to_owned()],
        unaccounted: 3,
    }
}

pub(super) fn test_request() -> SessionEvent {
    SessionEvent::TestRequest {
        round: 1,
        program: blob("program"),
        cases: Digest::of(b"cases"),
        cases_n: 7,
    }
}

pub(super) fn round_end() -> SessionEvent {
    SessionEvent::RoundEnd {
        round: 1,
        code: blob("code"),
        report: Payload::text("Code Test Passed."),
        tests_raw: Payload::Inline(Bytes::from_static(&[0xff])),
        tests_used: Some(blob("used")),
        program: Some(blob("patched")),
        passed: Some(false),
    }
}

pub(super) fn outcome() -> GenerationOutcome {
    GenerationOutcome {
        program: Some(blob("program")),
        stop_reason: StopReason::Passed,
        patched: vec!["import sys".to_owned(), "main()".to_owned()],
        notes: vec!["empty plan: asked again".to_owned()],
        unaccounted: 4,
    }
}

pub(super) fn events() -> Vec<SessionEvent> {
    let mut events = vec![said(), test_request(), round_end()];
    for (speaker, finish) in [
        (Speaker::Analyst, FinishReason::Stop),
        (Speaker::Tester, FinishReason::ContentFilter),
    ] {
        events.push(SessionEvent::Said {
            speaker,
            round: 0,
            ask: 0,
            prompt: Payload::text(""),
            reply: Payload::text(""),
            reasoning: None,
            finish,
            usage: None,
            duration_ms: 0,
            remarks: Vec::new(),
            unaccounted: 0,
        });
    }
    events.push(SessionEvent::RoundEnd {
        round: 0,
        code: Payload::text(""),
        report: Payload::text(""),
        tests_raw: Payload::text(""),
        tests_used: None,
        program: None,
        passed: None,
    });
    events.extend(StopReason::ALL.map(|stop_reason| {
        SessionEvent::Finished(GenerationOutcome {
            program: None,
            stop_reason,
            patched: vec![],
            notes: vec![],
            unaccounted: 0,
        })
    }));
    events.push(SessionEvent::Finished(outcome()));
    events
}

pub(super) fn generate() -> GenerateWork {
    GenerateWork {
        statement: Digest::of(b"statement"),
        public_cases: Some(Digest::of(b"public")),
        reference: Some(Digest::of(b"reference")),
        time_limit_ms: Some(1),
        memory_limit_bytes: Some(2),
        settings: settings(),
        resume: events(),
        reports: vec![(1, Digest::of(b"program"), blob("report"))],
        prompts: Some(Digest::of(b"prompts")),
        endpoint: Some("openai".to_owned()),
        entry_point: Some("f".to_owned()),
        recording: Some(Digest::of(b"recording")),
    }
}

pub(super) fn prompt_set() -> PromptSet {
    let template = |(name, text): (&str, &str)| (name.to_owned(), text.to_owned());
    PromptSet {
        templates: [("coder", "{{ plan }}"), ("tester", "")].map(template).into(),
    }
}

pub(super) fn evaluate(comparator: Comparator) -> EvaluateWork {
    EvaluateWork {
        execution: crate::Execution {
            start: crate::StartMode::Natural,
            audit_per_mille: 1000,
            reuse: false,
        },
        program: blob("program"),
        language: Language::Python3,
        tests: Digest::of(b"tests"),
        limits: limits(),
        comparator,
        ignore_exit_status: true,
        timeouts_max: 3,
        stop_on_first_failure: true,
        output_chars: 100_000,
        entry_point: Some("f".to_owned()),
    }
}

pub(super) fn works() -> Vec<Work> {
    use Comparator::{CodeContests, Exact, Float, Lines, Tokens};
    let bare = GenerateWork {
        public_cases: None,
        reference: None,
        time_limit_ms: None,
        memory_limit_bytes: None,
        settings: SessionSettings {
            tester: TesterMode::Cases,
            patch: false,
            ..settings()
        },
        resume: vec![],
        reports: vec![],
        prompts: None,
        ..generate()
    };
    let float = Float { abs: 1e-6, rel: 0.0 };
    let judged = [CodeContests, Tokens, Lines, Exact, float].map(evaluate);
    let modes = TesterMode::ALL.map(|tester| GenerateWork {
        settings: SessionSettings { tester, ..settings() },
        ..bare.clone()
    });
    [generate(), bare]
        .into_iter()
        .chain(modes)
        .map(Work::Generate)
        .chain(judged.map(Work::Evaluate))
        .collect()
}

pub(super) fn hello() -> Hello {
    let text = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    Hello {
        protocol_min: 1,
        protocol_max: 2,
        build: "0.1.0".to_owned(),
        worker: WorkerId(Uuid::from_u128(7)),
        name: "host-1".to_owned(),
        slots: BTreeMap::from([(Role::Gen, 8), (Role::Eval, 2)]),
        languages: vec![(Language::Python3, "CPython 3.11.7".to_owned())],
        isolation: Some(Isolation::Full),
        cores: 64,
        boot_id: "8f1c".to_owned(),
        labels: [("rack", "b"), ("zone", "")].map(text).into(),
        endpoints: vec![
            EndpointOffer {
                name: "openai".to_owned(),
                benched: None,
            },
            EndpointOffer {
                name: "deepseek".to_owned(),
                benched: Some("402 Insufficient Balance".to_owned()),
            },
        ],
        time_limit_ms: Some(3_600_000),
    }
}

pub(super) fn running() -> RunningLease {
    RunningLease {
        job: jobs()[1],
        lease: lease(),
        last_seq: 4,
        running_ms: 5,
    }
}

pub(super) fn evaluated() -> JobResult {
    JobResult::Evaluated {
        audit: crate::Audit {
            audited: 3,
            mismatched: 2,
        },
        report: blob("report"),
        passed: 3,
        total: 4,
        busy_ms: 5,
        internal_error: Some("no space left".to_owned()),
    }
}

pub(super) fn worker_msgs() -> Vec<WorkerMsg> {
    let bare = Hello {
        slots: BTreeMap::new(),
        languages: vec![],
        isolation: None,
        labels: BTreeMap::new(),
        endpoints: vec![],
        time_limit_ms: None,
        ..hello()
    };
    let isolations = [Isolation::None, Isolation::Partial, Isolation::FullNocg].map(|isolation| Hello {
        isolation: Some(isolation),
        ..hello()
    });
    let (job, lease, reason) = (jobs()[0], lease(), "asked to leave".to_owned());
    let result = |result| WorkerMsg::Result { job, lease, result };
    let clean = JobResult::Evaluated {
        audit: crate::Audit::default(),
        report: Payload::text(""),
        passed: 0,
        total: 0,
        busy_ms: 0,
        internal_error: None,
    };
    let mut msgs = vec![
        WorkerMsg::Hello(hello()),
        WorkerMsg::Hello(bare),
        WorkerMsg::Inventory {
            running: jobs().map(|job| RunningLease { job, ..running() }).into(),
            spooled: vec![running()],
        },
        WorkerMsg::Inventory {
            running: vec![],
            spooled: vec![],
        },
        WorkerMsg::Credit {
            role: Role::Gen,
            n: 1,
        },
        WorkerMsg::Credit {
            role: Role::Eval,
            n: 0,
        },
        WorkerMsg::Ping { seq: 6 },
        WorkerMsg::Started { lease },
        result(evaluated()),
        result(clean),
        WorkerMsg::Nack {
            lease,
            reason: reason.clone(),
            unaccounted: 5,
        },
        WorkerMsg::Goodbye {
            reason: reason.clone(),
        },
        WorkerMsg::Benched {
            endpoint: "openai".to_owned(),
            reason,
        },
    ];
    msgs.extend(isolations.map(WorkerMsg::Hello));
    msgs.extend(failures().into_iter().map(|failure| {
        result(JobResult::Failed {
            failure,
            unaccounted: 2,
        })
    }));
    msgs.extend((1..).zip(events()).map(|(seq, event)| WorkerMsg::Session {
        job,
        lease,
        seq,
        event,
    }));
    msgs
}

pub(super) fn grant(work: Work) -> JobGrant {
    JobGrant {
        job: jobs()[0],
        lease: lease(),
        attempt: 1,
        priority: Priority::URGENT,
        work,
    }
}

pub(super) fn coord_msgs() -> Vec<CoordMsg> {
    let (lease, reason) = (lease(), "the run was cancelled".to_owned());
    let report = |report| CoordMsg::TestReport {
        lease,
        round: 2,
        report,
    };
    let mut msgs = vec![
        CoordMsg::Welcome {
            epoch: 1,
            lease_ms: 30_000,
            ping_ms: 5_000,
        },
        CoordMsg::Reject {
            reason: "too old".to_owned(),
            protocol_min: 2,
            protocol_max: 3,
        },
        CoordMsg::Jobs(works().into_iter().map(grant).collect()),
        CoordMsg::Jobs(vec![]),
        CoordMsg::Ack { lease, seq: 0 },
        CoordMsg::Ack { lease, seq: 9 },
        report(Ok(blob("report"))),
        CoordMsg::Cancel { lease, reason },
        CoordMsg::Adopt {
            old: lease,
            new: LeaseId { epoch: 4, seq: 1 },
        },
        CoordMsg::Forget { lease },
        CoordMsg::Share {
            endpoint: "default".to_owned(),
            limit: 16,
            valid_ms: 30_000,
        },
        CoordMsg::Drain { last: true },
        CoordMsg::Drain { last: false },
        CoordMsg::Restarting {
            retry_after_ms: 1_000,
        },
        CoordMsg::Pong { seq: 6 },
        CoordMsg::Cages { n: 3 },
    ];
    msgs.extend(failures().into_iter().map(|failure| report(Err(failure))));
    msgs
}
