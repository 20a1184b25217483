//! Sessions with scripted answers and reports, for tests.
#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use roundhouse_proto::{
    CaseResult, Clip, Comparator, Isolation, Language, Limits, Method, Sampling, Tier, Usage, Verdict,
};

use super::*;

pub(super) const PLAN: &str = "{\"algorithm\": \"add one\"}";
pub(super) const WRONG: &str = "```python\ndef main():\n    print(int(input()))\nmain()\n```";
pub(super) const RIGHT: &str = "```python\ndef main():\n    print(int(input()) + 1)\n```";
/// Another program that does something else.
pub(super) const WRONG_TOO: &str = "```python\nprint(0)\n```";
/// Another program that does the same.
pub(super) const RIGHT_TOO: &str = "```python\ndef main():\n    print(1 + int(input()))\n```";
pub(super) const TWO_CASES: &str = "### Test 1\nInput:\n```\n5\n```\nExpected Output:\n```\n6\n```\n\n\
                         ### Test 2\nInput:\n```\n0\n```\nExpected Output:\n```\n1\n```\n";
pub(super) const NEXT_CASE: &str = "### Test 1\nInput:\n```\n-1\n```\nExpected Output:\n```\n0\n```\n";

#[derive(Clone, Debug)]
pub(super) enum Scripted {
    Said(&'static str, FinishReason),
    None(Cause),
}

pub(super) use Scripted::Said;

pub(super) const STOP: FinishReason = FinishReason::Stop;
pub(super) const LENGTH: FinishReason = FinishReason::Length;

/// A session with its answers, and the reports on its rounds' tests: what each case printed, if it went wrong.
#[derive(Clone)]
pub(super) struct Script {
    pub(super) max_rounds: u32,
    pub(super) tester: TesterMode,
    pub(super) final_choice: FinalChoice,
    pub(super) method: Method,
    /// The function that is asked for, and the statement.
    pub(super) function: Option<(&'static str, &'static str)>,
    pub(super) answers: Vec<Scripted>,
    pub(super) reports: Vec<Vec<Option<&'static str>>>,
}

impl Script {
    pub(super) fn new(max_rounds: u32, answers: &[Scripted], reports: &[&[Option<&'static str>]]) -> Self {
        Self {
            max_rounds,
            tester: TesterMode::Cases,
            final_choice: FinalChoice::Last,
            method: Method::SelfCollaboration,
            function: None,
            answers: answers.to_vec(),
            reports: reports.iter().map(|report| report.to_vec()).collect(),
        }
    }

    pub(super) fn with_tester(self, tester: TesterMode) -> Self {
        Self { tester, ..self }
    }

    pub(super) fn with_final(self, final_choice: FinalChoice) -> Self {
        Self { final_choice, ..self }
    }

    pub(super) fn with_method(self, method: Method) -> Self {
        Self { method, ..self }
    }

    pub(super) fn with_function(self, name: &'static str, statement: &'static str) -> Self {
        let function = Some((name, statement));
        Self { function, ..self }
    }

    pub(super) fn statement(&self) -> &'static str {
        self.function
            .map_or("Read n and print n + 1.\n", |(_, statement)| statement)
    }

    pub(super) fn task(&self) -> Task {
        Task {
            statement: self.statement().to_owned(),
            time_limit_ms: Some(2_500),
            memory_limit_bytes: Some(256 << 20),
            public_cases: match self.function {
                Some(_) => TestSet::default(),
                None => TestSet {
                    cases: vec![case("1\n", "2\n")],
                },
            },
            settings: SessionSettings {
                final_choice: self.final_choice,
                method: self.method,
                ..settings(self.max_rounds, self.tester)
            },
            entry_point: self.function.map(|(name, _)| name.to_owned()),
            encode,
        }
    }

    pub(super) fn report(&self, tests: &RoundTests) -> EvaluationReport {
        let wrong = &self.reports[tests.round as usize];
        assert_eq!(
            wrong.len(),
            tests.cases.cases.len(),
            "cases of round {}",
            tests.round
        );
        report(wrong)
    }
}

pub(super) fn settings(max_rounds: u32, tester: TesterMode) -> SessionSettings {
    SessionSettings {
        method: Method::SelfCollaboration,
        model: "scripted".to_owned(),
        model_for: BTreeMap::new(),
        sampling: Sampling::default(),
        max_rounds,
        tester,
        language: Language::Python3,
        patch: true,
        comparator: Comparator::CodeContests,
        limits: Limits::default(),
        final_choice: FinalChoice::Last,
    }
}

pub(super) fn encode(cases: &TestSet) -> Bytes {
    Bytes::from(cases::render(&cases.cases, 1))
}

pub(super) fn prompts() -> Arc<Prompts> {
    Arc::new(Prompts::new(&BTreeMap::new()).unwrap())
}

pub(super) fn case(input: &str, expected: &str) -> Case {
    Case {
        tier: Tier::Public,
        input: Bytes::copy_from_slice(input.as_bytes()),
        expected: Bytes::copy_from_slice(expected.as_bytes()),
    }
}

pub(super) fn report(wrong: &[Option<&str>]) -> EvaluationReport {
    let result = |(case, wrong): (u32, &Option<&str>)| CaseResult {
        case,
        verdict: if wrong.is_some() {
            Verdict::WrongAnswer
        } else {
            Verdict::Accepted
        },
        not_run: false,
        cpu_ms: 1,
        wall_ms: 1,
        memory_bytes: 1,
        exit_code: Some(0),
        signal: None,
        stdout: Clip {
            head: wrong.unwrap_or("").to_owned(),
            left_out: 0,
            tail: String::new(),
        },
        stderr_tail: String::new(),
    };
    EvaluationReport {
        reused: false,
        audit: roundhouse_proto::Audit::default(),
        cases: (0..).zip(wrong).map(result).collect(),
        isolation: Isolation::Full,
        interpreter: "CPython 3.11.7".to_owned(),
        busy_ms: 1,
    }
}

/// What a session sent and left behind.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Held {
    pub(super) asks: Vec<Ask>,
    pub(super) events: Vec<SessionEvent>,
    pub(super) tests: Vec<RoundTests>,
}

impl Held {
    pub(super) fn outcome(&self) -> &GenerationOutcome {
        match self.events.last() {
            Some(SessionEvent::Finished(outcome)) => outcome,
            other => panic!("the session ended with {other:?}"),
        }
    }

    pub(super) fn program(&self) -> Option<String> {
        self.outcome().program.as_ref().map(text)
    }

    /// Round, report and tester's answer of every round that ended.
    pub(super) fn rounds(&self) -> Vec<(u32, String, String)> {
        let round = |event: &SessionEvent| match event {
            SessionEvent::RoundEnd {
                round,
                report,
                tests_raw,
                ..
            } => Some((*round, text(report), text(tests_raw))),
            _ => None,
        };
        self.events.iter().filter_map(round).collect()
    }

    /// The program of every round that ended, as it is run, and whether it passed.
    pub(super) fn ends(&self) -> Vec<(String, Option<bool>)> {
        let end = |event: &SessionEvent| match event {
            SessionEvent::RoundEnd {
                code,
                program,
                passed,
                ..
            } => Some((text(program.as_ref().unwrap_or(code)), *passed)),
            _ => None,
        };
        self.events.iter().filter_map(end).collect()
    }
}

pub(super) fn text(payload: &Payload) -> String {
    match payload {
        Payload::Inline(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        Payload::Blob(digest) => panic!("{digest} is not inline"),
    }
}

/// Goes on with a session, `said` of whose answers were given before.
pub(super) fn go_on(mut session: Session, script: &Script, said: usize) -> Held {
    let mut held = Held::default();
    let mut answers = script.answers[said..].iter();
    loop {
        while let Some(event) = session.take_unstored() {
            held.events.push(event);
        }
        match session.step().unwrap() {
            Step::Ask(ask) => {
                match answers.next().expect("an answer for every question") {
                    Said(text, finish) => {
                        let reply = Reply {
                            text: (*text).to_owned(),
                            reasoning: None,
                            usage: Some(Usage::default()),
                            finish: *finish,
                            remarks: Vec::new(),
                            unaccounted: 0,
                        };
                        session.answer(reply, 7).unwrap();
                    }
                    Scripted::None(cause) => session.give_up(*cause, 0).unwrap(),
                }
                held.asks.push(ask);
            }
            Step::RunTests(tests) => {
                session.tested(&script.report(&tests)).unwrap();
                held.tests.push(tests);
            }
            Step::Finished => {
                assert_eq!(answers.count(), 0, "every answer was asked for");
                return held;
            }
        }
    }
}

pub(super) fn held(script: &Script) -> Held {
    go_on(Session::begin(script.task(), prompts()).unwrap(), script, 0)
}

pub(super) fn scripts() -> Vec<(&'static str, Script)> {
    [self_collaboration(), methods::scripts(), functions::scripts()].concat()
}

fn self_collaboration() -> Vec<(&'static str, Script)> {
    let wrong = Some("5\n");
    vec![
        (
            "pass_at_once",
            Script::new(
                2,
                &[Said(PLAN, STOP), Said(RIGHT, STOP), Said(TWO_CASES, STOP)],
                &[&[None, None]],
            ),
        ),
        (
            "repair",
            Script::new(
                3,
                &[
                    Said(PLAN, STOP),
                    Said(WRONG, STOP),
                    Said(TWO_CASES, STOP),
                    Said(RIGHT, STOP),
                    Said(NEXT_CASE, STOP),
                ],
                &[&[wrong, Some("0\n")], &[None, None, None]],
            ),
        ),
        (
            "tester_wrong_then_unchanged",
            Script::new(
                4,
                &[
                    Said(PLAN, STOP),
                    Said(RIGHT, STOP),
                    Said(TWO_CASES, STOP),
                    Said(RIGHT, STOP),
                ],
                &[&[None, wrong]],
            ),
        ),
        (
            "no_code_then_asked_again",
            Script::new(
                2,
                &[
                    Said(" \n", STOP),
                    Said(PLAN, STOP),
                    Said("I would read n first.", STOP),
                    Said(WRONG, STOP),
                    Said(TWO_CASES, STOP),
                    Said("", STOP),
                    Said(RIGHT, STOP),
                ],
                &[&[wrong, wrong]],
            ),
        ),
        (
            "no_cases",
            Script::new(
                2,
                &[
                    Said(PLAN, STOP),
                    Said(RIGHT, STOP),
                    Said("It looks right.", STOP),
                    Said("Input: 1 2 ... 9\nOutput: 3", STOP),
                ],
                &[],
            ),
        ),
        (
            "truncated",
            Script::new(
                2,
                &[
                    Said(PLAN, STOP),
                    Said("```python\ndef main():\n    pri", LENGTH),
                    Said(RIGHT, STOP),
                    Said("Let me think", LENGTH),
                    Said(TWO_CASES, STOP),
                    Said("```python\n", LENGTH),
                    Said("```python\nn = ", LENGTH),
                ],
                &[&[wrong, wrong]],
            ),
        ),
        (
            "context_limit",
            Script::new(
                3,
                &[
                    Said(PLAN, STOP),
                    Said(WRONG, STOP),
                    Said(TWO_CASES, STOP),
                    Said(RIGHT, STOP),
                    Scripted::None(Cause::ContextLimit),
                ],
                &[&[wrong, wrong]],
            ),
        ),
        (
            "public_and_cases",
            Script::new(
                4,
                &[
                    Said(PLAN, STOP),
                    Said(WRONG, STOP),
                    Said(TWO_CASES, STOP),
                    Said(RIGHT, STOP),
                    Said(NEXT_CASE, STOP),
                    Said(RIGHT_TOO, STOP),
                ],
                &[
                    &[Some("1\n"), wrong, None],
                    &[None, None, Some("1\n"), None],
                    &[None, None, Some("1\n"), None],
                ],
            )
            .with_tester(TesterMode::PublicAndCases),
        ),
        (
            "public_without_cases",
            Script::new(
                3,
                &[
                    Said(PLAN, STOP),
                    Said(WRONG, STOP),
                    Said("It looks right.", STOP),
                    Said("", STOP),
                    Said(RIGHT, STOP),
                ],
                &[&[Some("1\n")], &[None]],
            )
            .with_tester(TesterMode::PublicAndCases),
        ),
        (
            "review",
            Script::new(
                3,
                &[
                    Said(PLAN, STOP),
                    Said(WRONG, STOP),
                    Said("On 0 it prints 0, and 1 is right.", STOP),
                    Said("On 0 it prints 0, and 1 is right.\n\nVERDICT: FAIL", STOP),
                    Said(RIGHT, STOP),
                    Said("No mistake.\n\n**VERDICT: PASS**\n", STOP),
                ],
                &[],
            )
            .with_tester(TesterMode::Review),
        ),
        (
            "review_without_verdict",
            Script::new(
                3,
                &[
                    Said(PLAN, STOP),
                    Said(WRONG, STOP),
                    Said("", STOP),
                    Said("", STOP),
                    Said(RIGHT, STOP),
                    Said("Let me follow 0 through", LENGTH),
                    Said("Let me follow 0 through", LENGTH),
                    Said(RIGHT_TOO, STOP),
                ],
                &[],
            )
            .with_tester(TesterMode::Review),
        ),
        (
            "final_public",
            Script::new(
                3,
                &[
                    Said(PLAN, STOP),
                    Said(RIGHT, STOP),
                    Said(TWO_CASES, STOP),
                    Said(WRONG, STOP),
                    Said(NEXT_CASE, STOP),
                    Said(WRONG_TOO, STOP),
                ],
                &[
                    &[None, None, wrong],
                    &[Some("1\n"), None, wrong, None],
                    &[Some("0\n")],
                ],
            )
            .with_final(FinalChoice::Public),
        ),
        (
            "final_public_of_a_review",
            Script::new(
                3,
                &[
                    Said(PLAN, STOP),
                    Said(RIGHT, STOP),
                    Said("VERDICT: FAIL", STOP),
                    Said(WRONG, STOP),
                    Scripted::None(Cause::Budget),
                ],
                &[&[None], &[Some("1\n")]],
            )
            .with_tester(TesterMode::Review)
            .with_final(FinalChoice::Public),
        ),
    ]
}

pub(super) fn script(name: &str) -> Script {
    scripts().into_iter().find(|(found, _)| *found == name).unwrap().1
}

pub(super) fn written(held: &Held) -> String {
    let mut text = String::new();
    for ask in &held.asks {
        let Ask {
            model: _,
            speaker,
            round,
            ask: asking,
            messages,
            sampling,
        } = ask;
        let tokens = sampling.max_tokens;
        writeln!(
            text,
            "==== {speaker}, round {round}, asking {asking}, max_tokens {tokens}"
        )
        .unwrap();
        for message in messages {
            writeln!(text, "---- {}\n{}", message.role.word(), message.content).unwrap();
        }
    }
    text
}
