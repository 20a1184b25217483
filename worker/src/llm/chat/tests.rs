//! Calls against a server that the test plays: each outcome that has a name is one test.

#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

mod learnt;
mod surroundings;
mod waits;

use std::sync::Arc;

use roundhouse_proto::{FinishReason, Sampling, Speaker, Usage};
use roundhouse_tests::model_server::{Answer, Dialect, ModelServer, Reply as Scripted, Tokens};
use serde_json::json;

use super::*;
use crate::llm::Message;
use crate::llm::endpoint::EndpointName;
use crate::llm::key::ApiKey;
use crate::llm::models::Models;

/// Bounds that a test can wait for, and that a loaded machine does not reach by chance.
const PATIENCE: Patience = Patience {
    idle: Duration::from_secs(20),
    first: Duration::from_secs(30),
    between: Duration::from_secs(20),
    attempt: Duration::from_secs(60),
};
/// Three tries, with next to no wait between them.
const RETRIES: Retries = Retries {
    tries_max: 3,
    throttled_max: 4,
    wait_first: Duration::from_millis(1),
    wait_max: Duration::from_millis(4),
    ..Retries::DEFAULT
};
const KEY: &str = "sk-very-secret";

fn manner() -> Manner {
    Manner {
        delivery: Delivery::Stream,
        patience: PATIENCE,
        retries: RETRIES,
        roll: || 0.5,
    }
}

fn endpoint(url: &str) -> Endpoint {
    Endpoint {
        name: "test".parse::<EndpointName>().unwrap(),
        url: url.parse().unwrap(),
        key: Some(ApiKey::parse(KEY).unwrap()),
    }
}

fn model(url: &str, manner: Manner) -> Arc<ChatModel> {
    let models = Models::new(vec![endpoint(url)], manner).unwrap();
    Arc::clone(models.of("test").unwrap())
}

fn ask() -> Ask {
    Ask {
        model: "m-1".to_owned(),
        speaker: Speaker::Coder,
        round: 0,
        ask: 0,
        messages: vec![Message::user(
            "Write a program that adds two numbers, and mind that they may be as large as you can think."
                .to_owned(),
        )],
        sampling: Sampling::default(),
    }
}

/// A server that gives these answers in turn, and what one call to it comes to.
struct Called {
    server: ModelServer,
    result: Result<Reply, AskError>,
}

async fn call_in(manner: Manner, answers: impl IntoIterator<Item = Answer>) -> Called {
    let server = ModelServer::in_turn(answers);
    let result = model(&server.url(), manner).ask(&ask()).await;
    Called { server, result }
}

async fn call(answers: impl IntoIterator<Item = Answer>) -> Called {
    call_in(manner(), answers).await
}

impl Called {
    /// Tokens of one answer of the server, as the client tells them.
    fn usage(&self, reply: &Scripted) -> Option<Usage> {
        let tokens = Tokens::of(&self.server.requests()[0], reply);
        Some(Usage {
            input: tokens.input,
            cached_input: tokens.cached,
            output: tokens.output,
            reasoning: tokens.reasoning,
        })
    }

    /// What the call came to, where it failed: the message, and the tries that may be paid.
    fn failure(&self) -> (&str, u32) {
        match &self.result {
            Err(AskError::Failed { failure, unaccounted }) => {
                assert_eq!(failure.class, FailureClass::Model);
                (&failure.message, *unaccounted)
            }
            other => panic!("expected a failure, not {other:?}"),
        }
    }

    /// The reply after `n` requests.
    fn reply(&self, n: usize) -> &Reply {
        assert_eq!(self.server.calls_n(), n);
        self.result.as_ref().unwrap()
    }
}

fn reply(text: &str) -> Reply {
    Reply {
        text: text.to_owned(),
        reasoning: None,
        usage: None,
        finish: FinishReason::Stop,
        remarks: Vec::new(),
        unaccounted: 0,
    }
}

fn refused(reason: String, unaccounted: u32) -> Result<Reply, AskError> {
    Err(AskError::KeyRefused { reason, unaccounted })
}

fn busy() -> Answer {
    Answer::refusal(429, "rate_limit_exceeded", "slow down")
}

#[tokio::test]
async fn answer_that_is_streamed_comes_with_reasoning_and_usage_in_every_dialect() {
    for dialect in [Dialect::OpenAi, Dialect::DeepSeek, Dialect::OnChoice] {
        let scripted = Scripted::text("a sum, in pieces: é 绿茶")
            .with_reasoning("think first")
            .with_dialect(dialect);
        let called = call([Answer::Reply(scripted.clone())]).await;
        let expected = Reply {
            reasoning: Some("think first".to_owned()),
            usage: called.usage(&scripted),
            ..reply("a sum, in pieces: é 绿茶")
        };
        assert_eq!(called.reply(1), &expected);
        let served = called.server.served();
        let usage = expected.usage.unwrap();
        assert_eq!((served.input, served.output), (usage.input, usage.output));
        let request = &called.server.requests()[0];
        assert_eq!(request.path, "/v1/chat/completions");
        assert_eq!(request.key(), Some(KEY));
        assert_eq!(request.body["stream_options"], json!({"include_usage": true}));
    }
}

#[tokio::test]
async fn answer_without_usage_is_an_answer() {
    let scripted = Scripted::text("yes").with_dialect(Dialect::Silent);
    assert_eq!(call([Answer::Reply(scripted)]).await.reply(1), &reply("yes"));
}

#[tokio::test]
async fn answer_in_one_piece_is_asked_for_where_the_server_cannot_stream() {
    let scripted = Scripted::text("yes").with_reasoning("hm");
    let manner = Manner {
        delivery: Delivery::Whole,
        ..manner()
    };
    let called = call_in(manner, [Answer::Reply(scripted.clone())]).await;
    let expected = Reply {
        reasoning: Some("hm".to_owned()),
        usage: called.usage(&scripted),
        ..reply("yes")
    };
    assert_eq!(called.reply(1), &expected);
    assert_eq!(called.server.requests()[0].body["stream"], false);
}

#[tokio::test]
async fn answer_in_one_piece_is_taken_although_a_stream_was_asked_for() {
    let body = json!({"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]});
    let raw = Answer::Raw {
        content_type: "application/json; charset=utf-8".to_owned(),
        body: body.to_string().into_bytes(),
    };
    assert_eq!(call([raw]).await.reply(1), &reply("yes"));
}

#[tokio::test]
async fn answer_that_was_cut_off_filtered_or_empty_is_an_answer() {
    for (finish, expected) in [
        ("length", FinishReason::Length),
        ("content_filter", FinishReason::ContentFilter),
    ] {
        let scripted = Scripted::text("part")
            .with_finish(finish)
            .with_dialect(Dialect::Silent);
        let expected = Reply {
            finish: expected,
            ..reply("part")
        };
        assert_eq!(call([Answer::Reply(scripted)]).await.reply(1), &expected);
    }
    let empty = Scripted::text("").with_dialect(Dialect::Silent);
    assert_eq!(call([Answer::Reply(empty)]).await.reply(1), &reply(""));
}

/// Every way to answer that is none: it is tried again, counts as perhaps paid, and never becomes a reply.
#[tokio::test]
async fn broken_answers_are_tried_again_and_counted() {
    let scripted = || Scripted::text("half of a sentence that is never").with_dialect(Dialect::OnChoice);
    let raw = |text: &str| Answer::Raw {
        content_type: "text/event-stream".to_owned(),
        body: text.as_bytes().to_vec(),
    };
    let no_reason = Scripted {
        finish: None,
        ..scripted()
    };
    for (broken, said) in [
        (
            Answer::BreakAfter {
                reply: scripted(),
                bytes: 400,
            },
            "the answer broke off: ",
        ),
        (Answer::NoDone(scripted()), "the stream ended without `[DONE]`"),
        (
            Answer::Reply(no_reason),
            "the answer ended without a `finish_reason`",
        ),
        (
            Answer::ErrorInStream {
                reply: scripted(),
                error: json!({"message": "the engine died", "type": "server_error", "code": 500}),
            },
            "an error in the middle of the answer: 500 Internal Server Error: the engine died",
        ),
        (
            Answer::Reply(scripted().with_finish("insufficient_system_resource")),
            "the server broke the answer off (`insufficient_system_resource`)",
        ),
        (
            raw("data: {\"choices\": [{\"delta\"\n\ndata: [DONE]\n\n"),
            "the answer cannot be read: no JSON of the expected kind",
        ),
        (
            raw("data: {\"choices\": \"no list\"}\n\ndata: [DONE]\n\n"),
            "the answer cannot be read: no JSON of the expected kind",
        ),
        (
            raw("event: error\ndata: gone\n\n"),
            "an error in the middle of the answer: gone",
        ),
        (raw(": only a comment\n\n"), "the stream ended without `[DONE]`"),
        (raw(""), "the stream ended without `[DONE]`"),
        (
            Answer::Raw {
                content_type: "text/html; charset=utf-8".to_owned(),
                body: b"<html><title>Welcome</title></html>".to_vec(),
            },
            "the answer cannot be read: it is a page: is the endpoint's URL right, and no proxy in between?",
        ),
        (
            Answer::Raw {
                content_type: "application/json".to_owned(),
                body: br#"{"error": {"message": "the engine died", "code": 500}}"#.to_vec(),
            },
            "an error in the middle of the answer: 500 Internal Server Error: the engine died",
        ),
    ] {
        let good = Scripted::text("whole").with_dialect(Dialect::Silent);
        let called = call([broken.clone(), broken.clone(), Answer::Reply(good)]).await;
        let expected = Reply {
            unaccounted: 2,
            ..reply("whole")
        };
        assert_eq!(called.reply(3), &expected, "{broken:?}");

        let called = call([broken]).await;
        let (message, unaccounted) = called.failure();
        let begin = format!("endpoint `test`, model `m-1`: {said}");
        assert!(message.starts_with(&begin), "{message}");
        assert!(message.ends_with(" (3 tries)"), "{message}");
        assert_eq!((called.server.calls_n(), unaccounted), (3, 3));
    }
}

#[tokio::test]
async fn stream_may_end_right_after_its_last_word() {
    let raw = Answer::Raw {
        content_type: "text/event-stream".to_owned(),
        body: b"data: {\"choices\":[{\"delta\":{\"content\":\"yes\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]"
            .to_vec(),
    };
    assert_eq!(call([raw]).await.reply(1), &reply("yes"));
}

#[tokio::test]
async fn refusals_that_may_pass_are_tried_again_and_cost_nothing() {
    for code in [408, 425, 429, 500, 502, 503, 504, 529] {
        let good = Scripted::text("whole").with_dialect(Dialect::Silent);
        let called = call([Answer::refusal(code, "busy", "not now"), Answer::Reply(good)]).await;
        assert_eq!(called.reply(2), &reply("whole"), "{code}");
    }
    let called = call([Answer::refusal(503, "busy", "not now")]).await;
    assert_eq!(
        called.failure(),
        (
            "endpoint `test`, model `m-1`: 503 Service Unavailable: not now (3 tries)",
            0
        )
    );
    let called = call([busy()]).await;
    assert_eq!(
        called.failure(),
        (
            "endpoint `test`, model `m-1`: 429 Too Many Requests: slow down (4 tries)",
            0
        )
    );
}

#[tokio::test]
async fn wait_that_the_server_asks_for_is_waited_and_one_too_long_ends_the_call() {
    let good = Scripted::text("whole").with_dialect(Dialect::Silent);
    let asked = busy().with_header("retry-after-ms", "300");
    let begun = std::time::Instant::now();
    let called = call([asked, Answer::Reply(good)]).await;
    assert_eq!(called.reply(2), &reply("whole"));
    assert!(begun.elapsed() >= Duration::from_millis(300), "it did not wait");

    let called = call([busy().with_header("retry-after", "7200")]).await;
    assert_eq!(
        called.failure(),
        (
            "endpoint `test`, model `m-1`: 429 Too Many Requests: slow down (1 tries; it asks to wait 7200 s, and at \
             most 1800 s are waited)",
            0
        )
    );
}

#[tokio::test]
async fn refusals_that_last_are_not_tried_again() {
    for (code, said) in [
        (400, "400 Bad Request: no"),
        (409, "409 Conflict: no"),
        (422, "422 Unprocessable Entity: no"),
        (
            404,
            "the endpoint has no such model, or its URL is wrong: 404 Not Found: no",
        ),
        (307, "307 Temporary Redirect: no"),
    ] {
        let refusal = Answer::refusal(code, "no", "no").with_header("location", "http://127.0.0.1:1/");
        let called = call([refusal]).await;
        let expected = format!("endpoint `test`, model `m-1`: {said}");
        assert_eq!(called.failure(), (expected.as_str(), 0));
        assert_eq!(called.server.calls_n(), 1);
    }
}

#[tokio::test]
async fn key_that_is_refused_is_told_without_the_key() {
    for (code, word, status) in [
        (401, "invalid_api_key", "401 Unauthorized"),
        (402, "unknown_error", "402 Payment Required"),
        (403, "forbidden", "403 Forbidden"),
        (429, "insufficient_quota", "429 Too Many Requests"),
    ] {
        let called = call([Answer::refusal(code, word, &format!("not with {KEY}"))]).await;
        let reason = format!("{status}: not with ***");
        assert_eq!(called.result, refused(reason, 0));
        assert_eq!(called.server.calls_n(), 1);
    }
}

#[tokio::test]
async fn endpoint_without_a_key_sends_none_and_says_so_when_refused() {
    let server = ModelServer::in_turn([Answer::refusal(401, "", "who are you?")]);
    let endpoint = Endpoint {
        key: None,
        ..endpoint(&server.url())
    };
    let models = Models::new(vec![endpoint], manner()).unwrap();
    let reason = "401 Unauthorized: who are you? (this worker has no key for it)".to_owned();
    assert_eq!(models.of("test").unwrap().ask(&ask()).await, refused(reason, 0));
    assert_eq!(server.requests()[0].headers.get("authorization"), None);
}

#[tokio::test]
async fn prompt_beyond_the_context_ends_the_call_as_that() {
    let refusal = Answer::refusal(
        400,
        "context_length_exceeded",
        "maximum context length is 10 tokens",
    );
    let called = call([refusal]).await;
    let message = "400 Bad Request: maximum context length is 10 tokens".to_owned();
    let unaccounted = 0;
    assert_eq!(
        called.result,
        Err(AskError::ContextLimit { message, unaccounted })
    );
    assert_eq!(called.server.calls_n(), 1);
}

#[tokio::test]
async fn tries_that_may_be_paid_are_told_however_the_call_ends() {
    let broken = || Answer::NoDone(Scripted::text("cut off"));
    let refusal = Answer::refusal(401, "invalid_api_key", "no");
    let called = call([broken(), refusal]).await;
    assert_eq!(called.result, refused("401 Unauthorized: no".to_owned(), 1));

    let refusal = Answer::refusal(400, "context_length_exceeded", "too long");
    let called = call([broken(), broken(), refusal]).await;
    let (message, unaccounted) = ("400 Bad Request: too long".to_owned(), 2);
    assert_eq!(
        called.result,
        Err(AskError::ContextLimit { message, unaccounted })
    );
}

#[tokio::test]
async fn prompt_that_a_server_repeats_stands_in_no_message() {
    let called = call([Answer::refusal(
        400,
        "x",
        &format!("cannot read: {}", ask().messages[0].content),
    )])
    .await;
    assert_eq!(
        called.failure().0,
        "endpoint `test`, model `m-1`: 400 Bad Request: (what it said repeats the prompt)"
    );
}

#[tokio::test]
async fn prompt_that_a_filter_stopped_is_the_models_refusal() {
    let called = call([Answer::refusal(400, "content_filter", "not this prompt")]).await;
    let expected = Reply {
        finish: FinishReason::ContentFilter,
        remarks: vec!["the prompt was filtered: 400 Bad Request: not this prompt".to_owned()],
        ..reply("")
    };
    assert_eq!(called.reply(1), &expected);
}

#[tokio::test]
async fn parameter_that_is_refused_although_it_is_not_sent_ends_the_call() {
    let refusal = Answer::refusal(400, "unsupported_parameter", "'temperature' is not supported");
    let called = call([refusal]).await;
    assert_eq!(
        called.failure(),
        (
            "endpoint `test`, model `m-1`: 400 Bad Request: 'temperature' is not supported",
            0
        )
    );
    assert_eq!(called.server.calls_n(), 2);
}

#[tokio::test]
async fn server_that_is_not_there_costs_nothing() {
    let server = ModelServer::in_turn([busy()]);
    let url = server.url();
    drop(server);
    let result = model(&url, manner()).ask(&ask()).await;
    let Err(AskError::Failed { failure, unaccounted }) = result else {
        panic!("nobody answers there: {result:?}");
    };
    let begin = "endpoint `test`, model `m-1`: it cannot be reached: ";
    assert!(failure.message.starts_with(begin), "{}", failure.message);
    assert!(!failure.message.contains("127.0.0.1"), "{}", failure.message);
    assert_eq!(unaccounted, 0);
}

#[tokio::test]
async fn line_without_an_end_is_given_up_and_not_paid_again() {
    let raw = Answer::Raw {
        content_type: "text/event-stream".to_owned(),
        body: vec![b'x'; 5 << 20],
    };
    let called = call([raw]).await;
    assert_eq!(
        called.failure(),
        (
            "endpoint `test`, model `m-1`: the answer is longer than 16777216 bytes, or one of its pieces is longer than is \
             taken",
            1
        )
    );
    assert_eq!(called.server.calls_n(), 1);
}

#[tokio::test]
async fn event_of_lines_without_an_end_is_given_up() {
    let called = call([stream(&"data: x\r\n".repeat(600_000))]).await;
    let (message, unaccounted) = called.failure();
    assert!(message.contains("the answer is longer than"), "{message}");
    assert_eq!((called.server.calls_n(), unaccounted), (1, 1));
}

fn stream(body: &str) -> Answer {
    Answer::Raw {
        content_type: "text/event-stream".to_owned(),
        body: body.as_bytes().to_vec(),
    }
}

#[tokio::test]
async fn stream_is_read_however_its_lines_are_written() {
    let piece = r#"{"choices":[{"delta":{"content":"yes"},"finish_reason":"stop"}]}"#;
    for body in [
        format!("\u{feff}data: {piece}\n\ndata: [DONE]\n\n"),
        format!("data:{piece}\n\ndata:[DONE] \n\n"),
        format!("data: {piece}\r\n\r\ndata: [DONE]\r\n\r\n"),
        format!(
            ": waiting\n\ndata:\n\ndata: \n\nid: 7\nretry: 1\ndata: {piece}\n\n: waiting\n\ndata: [DONE]\t\n"
        ),
        format!("event: ping\n\nevent: message\ndata: {piece}\n\ndata: [DONE]\n\n"),
    ] {
        assert_eq!(call([stream(&body)]).await.reply(1), &reply("yes"), "{body}");
    }
}

#[tokio::test]
async fn answer_in_one_piece_is_read_whatever_the_server_calls_it() {
    let body = json!({"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]});
    let raw = Answer::Raw {
        content_type: "text/plain".to_owned(),
        body: body.to_string().into_bytes(),
    };
    let manner = Manner {
        delivery: Delivery::Whole,
        ..manner()
    };
    assert_eq!(call_in(manner, [raw]).await.reply(1), &reply("yes"));
}

#[tokio::test]
async fn benched_endpoint_is_asked_nothing_more_and_calls_that_wait_end() {
    let retries = Retries {
        wait_first: Duration::from_secs(3_600),
        wait_max: Duration::from_secs(3_600),
        waited_max: Duration::from_secs(36_000),
        call_max: Duration::from_secs(36_000),
        ..RETRIES
    };
    let server = ModelServer::in_turn([busy()]);
    let model = model(&server.url(), Manner { retries, ..manner() });
    let waiting = tokio::spawn({
        let model = Arc::clone(&model);
        async move { model.ask(&ask()).await }
    });
    while server.calls_n() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(model.bench("401 Unauthorized"));
    assert!(!model.bench("another reason"));
    let refused = refused("401 Unauthorized".to_owned(), 0);
    assert_eq!(waiting.await.unwrap(), refused);
    assert_eq!(model.ask(&ask()).await, refused);
    assert_eq!(server.calls_n(), 1);
}

#[test]
fn nothing_that_is_printed_of_a_model_holds_the_key() {
    let model = model("http://127.0.0.1:1", manner());
    assert!(!format!("{model:?}").contains(KEY));
}
