//! Runs for the tests of what is written and printed about runs.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use roundhouse_core::clock::Stamp;
use roundhouse_core::run::{DataSet, EvaluationSettings, Lang, ModelAt, ProblemSpec, RunSpec};
use roundhouse_core::summary::{ProblemOutcome, ProblemSummary, RunStatus, RunSummary, RunTimes};
use roundhouse_proto::problem::problem_name;
use roundhouse_proto::{
    Case, CaseResult, Clip, Comparator, Digest, EvaluationReport, Failure, FailureClass, FinalChoice,
    FinishReason, GenerationOutcome, Isolation, Language, Limits, Payload, RunId, Sampling, SessionEvent,
    SessionSettings, Speaker, StopReason, TestSet, TesterMode, Tier, Usage, Verdict,
};
use uuid::Uuid;

/// 2026-02-09 15:30:45 in Shanghai.
pub(crate) const STARTED: Stamp = Stamp {
    unix_us: 1_770_622_245_000_000,
    offset_s: 8 * 3600,
};
/// 2026-02-09 15:48:11.705519 in Shanghai.
pub(crate) const FINISHED: Stamp = Stamp {
    unix_us: 1_770_623_291_705_519,
    offset_s: 8 * 3600,
};

/// A run and the blobs it names.
pub(crate) struct Fixture {
    pub(crate) run: RunSummary,
    pub(crate) blobs: HashMap<Digest, Bytes>,
}

impl Fixture {
    pub(crate) fn reader(&self) -> impl Fn(&Digest) -> io::Result<Bytes> + '_ {
        |digest| {
            let found = self.blobs.get(digest).cloned();
            found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        }
    }

    /// A run of no problems, as it is when it is over.
    pub(crate) fn empty() -> Self {
        let limits = Limits::default();
        let session = SessionSettings {
            method: roundhouse_proto::Method::SelfCollaboration,
            model: "deepseek-chat".to_owned(),
            sampling: Sampling::default(),
            max_rounds: 2,
            tester: TesterMode::Cases,
            language: Language::Python3,
            patch: true,
            comparator: Comparator::CodeContests,
            limits,
            final_choice: FinalChoice::Last,
            model_for: BTreeMap::new(),
        };
        let evaluation = EvaluationSettings {
            execution: roundhouse_proto::Execution::default(),
            limits_rule: roundhouse_core::run::LimitsRule::default(),
            tiers: vec![Tier::Public, Tier::Generated],
            comparator: Comparator::CodeContests,
            limits,
            ignore_exit_status: false,
            timeouts_max: 3,
            stop_on_first_failure: false,
            mixed_versions: false,
        };
        let spec = RunSpec {
            run: RunId(Uuid::from_u128(7)),
            started: STARTED,
            version: "0.1.0".to_owned(),
            session,
            prompts: [("coder".to_owned(), Digest::of(b"coder"))].into(),
            prompt_set: None,
            evaluation,
            parallel: true,
            staged: false,
            workers: 4,
            eval_workers: 16,
            evaluate_rounds: false,
            attempts_max: 3,
            quarantine: None,
            data_set: DataSet {
                name: "CodeContests".to_owned(),
                path: "data/test.parquet".to_owned(),
                sha256: Digest::of(b"the file"),
                format: "code_contests parquet".to_owned(),
                rows: 165,
            },
            problems: Vec::new(),
            lang: Lang::Zh,
            model_at: ModelAt::Endpoint { name: None },
        };
        let run = RunSummary {
            spec: Arc::new(spec),
            status: RunStatus::Complete,
            times: RunTimes::default(),
            generation_slots: 4,
            evaluation_slots: 16,
            cores: 8,
            finished: Some(FINISHED),
            audit: roundhouse_proto::Audit::default(),
            problems: Vec::new(),
            endpoint: Some("deepseek".to_owned()),
        };
        Self {
            run,
            blobs: HashMap::new(),
        }
    }

    /// The published sample: 100 problems, every odd one up to 89 passes, the others pass half of their cases.
    pub(crate) fn sample() -> Self {
        let mut fixture = Self::empty();
        for position in 1..=100 {
            let passes = position % 2 == 1 && position < 90;
            let second = if passes {
                Verdict::Accepted
            } else {
                Verdict::WrongAnswer
            };
            let tokens = if position == 100 { 12_412 } else { 12_345 };
            let usage = Usage {
                input: tokens - 345,
                output: 345,
                ..Usage::default()
            };
            let outcome = fixture.judged(&[Verdict::Accepted, second]);
            let events = vec![said(Speaker::Analyst, "plan", Some(usage))];
            fixture.add(position, outcome, events, generated("print(1)\n"));
        }
        fixture.run.times = RunTimes {
            total_ms: 1_045_770,
            generation_ms: 900_450,
            generation_busy_ms: 3_500_000,
            evaluation_busy_ms: 2_000_500,
        };
        fixture
    }

    /// One problem of each kind: passed after a repair, failed, no program, an error of ours, no tests, open.
    pub(crate) fn mixed() -> Self {
        let mut fixture = Self::empty();
        let counted = Usage {
            input: 1_000,
            cached_input: 200,
            output: 50,
            reasoning: 10,
        };
        let passed = fixture.judged(&[Verdict::Accepted, Verdict::Accepted]);
        let code = fixture.blob("print(0)  # 第一轮\n".into());
        let used = "Test Case 1:\nInput:\n1\n";
        let events = vec![
            said(Speaker::Analyst, "", Some(counted)),
            said_again(Speaker::Analyst, "先读 \"n\"", Some(counted)),
            round_end(
                0,
                code,
                "The compilation output of the preceding code is: …",
                "tests",
                Some(used),
            ),
            said(Speaker::Coder, "```python\nprint(1)\n```", None),
            round_end(
                1,
                Payload::text("print(1)\n"),
                "no test ran: the round limit was reached",
                "",
                None,
            ),
        ];
        fixture.add(1, passed, events, generated("import sys\nprint(1)\n"));

        let failed = fixture.judged(&[Verdict::Accepted, Verdict::TimeLimit]);
        fixture.add(2, failed, Vec::new(), generated("while 1: pass\n"));

        let nothing = GenerationOutcome {
            program: None,
            stop_reason: StopReason::NoCode,
            patched: Vec::new(),
            notes: vec!["no program: asked again\r\nimport os".to_owned()],
            unaccounted: 0,
        };
        let no_program = ProblemOutcome::NoProgram(StopReason::NoCode);
        fixture.add(3, no_program, Vec::new(), Some(nothing));

        let failure = Failure {
            class: FailureClass::Model,
            message: "model unreachable: Pass@1 \x1b[31m总耗时\n# coding: utf-7\nimport os".to_owned(),
        };
        fixture.add(4, ProblemOutcome::Error(failure), Vec::new(), None);

        let no_tests = ProblemOutcome::Judged {
            passed: 0,
            total: 0,
            report: None,
        };
        fixture.add(5, no_tests, Vec::new(), generated("print(5)\n"));
        fixture.add(6, ProblemOutcome::Open, Vec::new(), None);
        fixture.run.status = RunStatus::Incomplete {
            reason: "1 error, 1 open".to_owned(),
        };
        fixture.run.times = RunTimes {
            total_ms: 12_344,
            generation_ms: 10_006,
            generation_busy_ms: 30_000,
            evaluation_busy_ms: 1_234,
        };
        fixture
    }

    /// Adds a problem of one public and one generated case.
    pub(crate) fn add(
        &mut self,
        position: u32,
        outcome: ProblemOutcome,
        events: Vec<SessionEvent>,
        generation: Option<GenerationOutcome>,
    ) {
        let case = |tier, input: String| Case {
            tier,
            input: input.into(),
            expected: Bytes::from_static(b"\xff 1\n"),
        };
        let cases = vec![
            case(Tier::Public, "1\n".to_owned()),
            case(Tier::Generated, "题".repeat(200)),
        ];
        let has_tests = !matches!(outcome, ProblemOutcome::Judged { total: 0, .. });
        let tests = has_tests.then(|| self.keep(TestSet { cases }.to_bytes()));
        let tiers = vec![(Tier::Public, 1), (Tier::Generated, 1)];
        let problem = ProblemSpec {
            position,
            name: problem_name(position),
            source_id: format!("1575_{position}. Sorting?"),
            statement: self.keep(format!("statement {position}\n").into()),
            tests,
            tiers: if has_tests { tiers } else { Vec::new() },
            public_cases: None,
            reference: None,
            time_limit_ms: None,
            memory_limit_bytes: None,
            entry_point: None,
            recording: None,
        };
        Arc::make_mut(&mut self.run.spec).problems.push(problem);
        self.run.problems.push(ProblemSummary {
            outcome,
            events,
            generation,
            attempts: 1,
            calls_unaccounted: 0,
            rounds: Vec::new(),
        });
    }

    fn keep(&mut self, bytes: Bytes) -> Digest {
        let digest = Digest::of(&bytes);
        self.blobs.insert(digest, bytes);
        digest
    }

    fn blob(&mut self, bytes: Bytes) -> Payload {
        Payload::Blob(self.keep(bytes))
    }

    fn judged(&mut self, verdicts: &[Verdict]) -> ProblemOutcome {
        let case = |(case, verdict): (u32, &Verdict)| CaseResult {
            case,
            verdict: *verdict,
            not_run: *verdict == Verdict::TimeLimit,
            cpu_ms: 11,
            wall_ms: 12,
            memory_bytes: 1 << 20,
            exit_code: Some(0),
            signal: None,
            stdout: Clip {
                head: "1\n".to_owned(),
                left_out: 7,
                tail: "x".repeat(100),
            },
            stderr_tail: String::new(),
        };
        let report = EvaluationReport {
            reused: false,
            audit: roundhouse_proto::Audit::default(),
            cases: (0..).zip(verdicts).map(case).collect(),
            isolation: if self.run.problems.is_empty() {
                Isolation::FullNocg
            } else {
                Isolation::Full
            },
            interpreter: "CPython 3.11.7".to_owned(),
            busy_ms: 25,
        };
        ProblemOutcome::Judged {
            passed: report.passed(),
            total: report.cases.len() as u32,
            report: Some(self.blob(report.to_bytes())),
        }
    }
}

fn generated(program: &str) -> Option<GenerationOutcome> {
    Some(GenerationOutcome {
        program: Some(Payload::text(program)),
        stop_reason: StopReason::RoundLimit,
        patched: vec!["import sys".to_owned()],
        notes: Vec::new(),
        unaccounted: 0,
    })
}

pub(crate) fn said(speaker: Speaker, reply: &str, usage: Option<Usage>) -> SessionEvent {
    SessionEvent::Said {
        speaker,
        round: 0,
        ask: 0,
        prompt: Payload::text("prompt"),
        reply: Payload::text(reply),
        reasoning: None,
        finish: FinishReason::Stop,
        usage,
        duration_ms: 1_500,
        remarks: Vec::new(),
        unaccounted: 0,
    }
}

fn said_again(speaker: Speaker, reply: &str, usage: Option<Usage>) -> SessionEvent {
    let mut event = said(speaker, reply, usage);
    if let SessionEvent::Said { ask, reasoning, .. } = &mut event {
        *ask = 1;
        *reasoning = Some(Payload::text("hm"));
    }
    event
}

fn round_end(round: u32, code: Payload, report: &str, tests: &str, used: Option<&str>) -> SessionEvent {
    SessionEvent::RoundEnd {
        round,
        code,
        report: Payload::text(report),
        tests_raw: Payload::text(tests),
        tests_used: used.map(Payload::text),
        program: None,
        passed: used.map(|_| false),
    }
}
