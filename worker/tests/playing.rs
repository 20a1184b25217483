//! Sessions over the bundled problems, held with the scripted model server: the tokens that sessions tell are those
//! that the server says it served, whatever happens on the way.

#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roundhouse_proto::{
    CaseResult, Clip, Comparator, Digest, EvaluationReport, Failure, FinalChoice, Isolation, Language,
    Limits, Method, Sampling, SessionEvent, SessionSettings, StopReason, TestSet, TesterMode, Usage, Verdict,
};
use roundhouse_tests::model_server::sessions::{Sessions, answering_sessions};
use roundhouse_tests::model_server::{Answer, ModelServer, Reply, Request};
use roundhouse_worker::generate::prompts::Prompts;
use roundhouse_worker::generate::{Session, SessionPort, Task, hold};
use roundhouse_worker::llm::chat::{Delivery, Manner};
use roundhouse_worker::llm::endpoint::Endpoint;
use roundhouse_worker::llm::models::Models;
use roundhouse_worker::llm::retry::Retries;

/// Stores in memory; every program but the data set's right one fails every case.
struct Desk {
    right: Option<String>,
    events: Vec<SessionEvent>,
}

impl SessionPort for Desk {
    async fn store_blob(&mut self, bytes: Bytes) -> Result<Digest, Failure> {
        Ok(Digest::of(&bytes))
    }

    async fn store(&mut self, event: SessionEvent) -> Result<(), Failure> {
        self.events.push(event);
        Ok(())
    }

    async fn tests(
        &mut self,
        _round: u32,
        program: Digest,
        cases: &TestSet,
    ) -> Result<EvaluationReport, Failure> {
        let is_right = self
            .right
            .as_ref()
            .is_some_and(|right| Digest::of(right.as_bytes()) == program);
        let verdict = if is_right {
            Verdict::Accepted
        } else {
            Verdict::WrongAnswer
        };
        let result = |case| CaseResult {
            case,
            verdict,
            not_run: false,
            cpu_ms: 1,
            wall_ms: 1,
            memory_bytes: 1,
            exit_code: Some(0),
            signal: None,
            stdout: Clip::default(),
            stderr_tail: String::new(),
        };
        let n = u32::try_from(cases.cases.len()).unwrap();
        Ok(EvaluationReport {
            audit: roundhouse_proto::Audit::default(),
            reused: false,
            cases: (0..n).map(result).collect(),
            isolation: Isolation::None,
            interpreter: String::new(),
            busy_ms: 1,
        })
    }
}

/// Statement and right program of every bundled problem.
fn problems() -> Vec<(String, Option<String>)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../coordinator/bundled/problems.jsonl");
    let text = std::fs::read_to_string(file).unwrap();
    let rows = text.lines().map(|line| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let right = row["solutions"]["solution"][0].as_str().map(str::to_owned);
        (row["description"].as_str().unwrap().to_owned(), right)
    });
    rows.collect()
}

fn task(statement: &str) -> Task {
    Task {
        entry_point: None,
        statement: statement.to_owned(),
        time_limit_ms: Some(2_000),
        memory_limit_bytes: None,
        public_cases: TestSet::default(),
        settings: SessionSettings {
            method: Method::SelfCollaboration,
            model: "m".to_owned(),
            model_for: BTreeMap::new(),
            sampling: Sampling::default(),
            max_rounds: 3,
            tester: TesterMode::Cases,
            language: Language::Python3,
            patch: false,
            comparator: Comparator::CodeContests,
            limits: Limits::default(),
            final_choice: FinalChoice::Last,
        },
        encode: TestSet::to_bytes,
    }
}

/// What all sessions came to, and the tokens that they told, with the tries that may have been paid.
async fn held(server: &ModelServer) -> (Vec<StopReason>, Usage, u32) {
    let endpoint = Endpoint {
        name: "test".parse().unwrap(),
        url: server.url().parse().unwrap(),
        key: None,
    };
    let retries = Retries {
        wait_first: Duration::from_millis(1),
        wait_max: Duration::from_millis(4),
        ..Retries::DEFAULT
    };
    let manner = Manner {
        retries,
        ..Manner::new(Delivery::Stream)
    };
    let models = Models::new(vec![endpoint], manner).unwrap();
    let model = models.of("test").unwrap();
    let prompts = Arc::new(Prompts::new(&BTreeMap::new()).unwrap());
    let (mut reasons, mut sum, mut in_doubt) = (Vec::new(), Usage::default(), 0);
    for (statement, right) in problems() {
        let session = Session::begin(task(&statement), Arc::clone(&prompts)).unwrap();
        let events = Vec::new();
        let mut desk = Desk { right, events };
        hold(session, &**model, &mut desk).await.unwrap();
        for event in desk.events {
            match event {
                SessionEvent::Said {
                    usage, unaccounted, ..
                } => {
                    let usage = usage.unwrap();
                    sum.input += usage.input;
                    sum.cached_input += usage.cached_input;
                    sum.output += usage.output;
                    sum.reasoning += usage.reasoning;
                    in_doubt += unaccounted;
                }
                SessionEvent::Finished(outcome) => reasons.push(outcome.stop_reason),
                SessionEvent::TestRequest { .. } | SessionEvent::RoundEnd { .. } => {}
            }
        }
    }
    (reasons, sum, in_doubt)
}

fn served(server: &ModelServer) -> Usage {
    let tokens = server.served();
    Usage {
        input: tokens.input,
        cached_input: tokens.cached,
        output: tokens.output,
        reasoning: tokens.reasoning,
    }
}

/// Breaks off or refuses two of three requests, each in another way; the third is answered.
fn troubled(sessions: &Sessions, request: &Request) -> Answer {
    let reply = Reply::text("this answer never ends as it should");
    match request.number % 6 {
        0 => Answer::BreakAfter { reply, bytes: 700 },
        1 => Answer::refusal(429, "rate_limit_exceeded", "slow down"),
        3 => Answer::NoDone(reply),
        4 => Answer::refusal(503, "", "not now"),
        _ => sessions.answer(request),
    }
}

#[tokio::test]
async fn every_bundled_session_ends_and_its_tokens_are_those_that_were_served() {
    let server = ModelServer::start(answering_sessions());
    let (reasons, told, in_doubt) = held(&server).await;
    let n = problems().len();
    assert_eq!((reasons.len(), in_doubt), (n, 0));
    // All but the problem that has no right program are repaired in their second round.
    let passed = reasons
        .iter()
        .filter(|reason| **reason == StopReason::Passed)
        .count();
    assert_eq!(passed, n - 1, "{reasons:?}");
    assert!(told.cached_input > 0 && told.reasoning > 0);
    assert_eq!(told, served(&server));
}

#[tokio::test]
async fn troubles_on_the_way_change_neither_what_sessions_come_to_nor_what_they_tell() {
    let smooth = ModelServer::start(answering_sessions());
    let (reasons, told, _) = held(&smooth).await;
    let sessions = Sessions::bundled();
    let rough = ModelServer::start(move |request| troubled(&sessions, request));
    let (rough_reasons, rough_told, in_doubt) = held(&rough).await;
    assert_eq!((rough_reasons, rough_told), (reasons, told));
    assert_eq!(rough_told, served(&rough));
    assert_eq!(u64::from(in_doubt), rough.broken().answers);
    assert_eq!(rough.calls_n(), 3 * smooth.calls_n());
}
