//! What is learnt of an endpoint: parameters that it does not take, and how many tokens it gives.

use super::*;

/// Refuses each parameter that some endpoints do not take, one after the other.
fn picky(request: &roundhouse_tests::model_server::Request) -> Answer {
    for parameter in ["max_tokens", "temperature", "top_p", "stream_options"] {
        if request.body.get(parameter).is_some() {
            let message = format!("Unsupported parameter: '{parameter}' is not supported with this model.");
            let error = json!({"message": message, "param": parameter, "code": "unsupported_parameter"});
            return Answer::Status {
                code: 400,
                headers: Vec::new(),
                body: json!({"error": error}).to_string(),
            };
        }
    }
    Answer::text("yes")
}

#[tokio::test]
async fn parameter_that_is_not_taken_is_learnt_once_for_all_calls_to_the_model() {
    let server = ModelServer::start(picky);
    let model = model(&server.url(), manner());
    let expected = Reply {
        remarks: [
            "`max_tokens` is sent as `max_completion_tokens`: the endpoint asks for it",
            "`temperature` is left out: the endpoint does not support it",
            "`top_p` is left out: the endpoint does not support it",
            "`stream_options` is left out: the endpoint does not support it",
        ]
        .map(str::to_owned)
        .to_vec(),
        ..reply("yes")
    };
    assert_eq!(model.ask(&ask()).await, Ok(expected.clone()));
    assert_eq!(server.calls_n(), 5);
    assert_eq!(model.ask(&ask()).await, Ok(expected));
    assert_eq!(server.calls_n(), 6);
    assert_eq!(server.requests()[5].body["max_completion_tokens"], 4096);
    // Another model of the endpoint is another matter.
    let other = Ask {
        model: "m-2".to_owned(),
        ..ask()
    };
    assert!(model.ask(&other).await.is_ok());
    assert_eq!(server.calls_n(), 11);
}

fn bad_request(message: &str) -> Answer {
    Answer::Status {
        code: 400,
        headers: Vec::new(),
        body: json!({"error": {"message": message, "type": "invalid_request_error"}}).to_string(),
    }
}

fn tokens_asked_for(server: &ModelServer) -> Vec<u64> {
    let requests = server.requests();
    let tokens = |request: &roundhouse_tests::model_server::Request| request.body["max_tokens"].as_u64();
    requests.iter().filter_map(tokens).collect()
}

#[tokio::test]
async fn model_that_gives_fewer_tokens_is_asked_for_no_more_from_then_on() {
    let refusal = bad_request("Invalid max_tokens value, the valid range of max_tokens is [1, 2000]");
    let good = || Answer::Reply(Scripted::text("yes").with_dialect(Dialect::Silent));
    let server = ModelServer::in_turn([refusal, good(), good()]);
    let model = model(&server.url(), manner());
    let remark = "`max_tokens` is lowered from 4096 to 2000: the endpoint takes no more for this model";
    let expected = Reply {
        remarks: vec![remark.to_owned()],
        ..reply("yes")
    };
    assert_eq!(model.ask(&ask()).await, Ok(expected.clone()));
    assert_eq!(model.ask(&ask()).await, Ok(expected));
    assert_eq!(tokens_asked_for(&server), [4096, 2000, 2000]);

    // One that names less every time is not followed down.
    let less = |n: u32| bad_request(&format!("max_tokens is too large: this model takes at most {n}"));
    let called = call([less(4000), less(3999), less(3998)]).await;
    let expected = "endpoint `test`, model `m-1`: 400 Bad Request: max_tokens is too large: this model takes at most 3999";
    assert_eq!(called.failure(), (expected, 0));
    assert_eq!(tokens_asked_for(&called.server), [4096, 4000]);
}

#[tokio::test]
async fn prompt_that_fits_a_small_context_is_answered_with_fewer_tokens() {
    let refusal = bad_request(
        "This model's maximum context length is 4096 tokens. However, you requested 4500 tokens (404 in the messages, \
         4096 in the completion).",
    );
    let good = Scripted::text("yes").with_dialect(Dialect::Silent);
    let called = call([refusal, Answer::Reply(good)]).await;
    let expected = Reply {
        remarks: vec!["`max_tokens` is lowered to what the context has room for".to_owned()],
        ..reply("yes")
    };
    assert_eq!(called.reply(2), &expected);
    assert_eq!(tokens_asked_for(&called.server), [4096, 3692]);

    // A server that does not tell the room, and a prompt that does not fit.
    let refusal = bad_request("maximum context length is 4096 tokens: too many for prompt and completion");
    let called = call([refusal]).await;
    assert!(
        matches!(called.result, Err(AskError::ContextLimit { unaccounted: 0, .. })),
        "{:?}",
        called.result
    );
    assert_eq!(tokens_asked_for(&called.server), [4096, 2048, 1024, 512, 256]);
}
