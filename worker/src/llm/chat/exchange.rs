//! One try of a call: the request goes out, the answer comes in, under every bound.

use std::error::Error as _;
use std::time::{Duration, SystemTime};

use bytes::{Buf, Bytes};
use eventsource_stream::{EventStreamError, Eventsource};
use futures_util::{Stream, StreamExt, stream};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Response};
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};

use super::Fault;
use super::answer::{ANSWER_BYTES_MAX, Answer, Gathered};
use super::refusal::Refusal;
use super::request::Delivery;
use crate::llm::endpoint::Endpoint;
use crate::llm::retry::asked_wait;

/// Bytes of one event of a stream, with the comments before it.
const EVENT_BYTES_MAX: usize = 4 << 20;
/// What some servers put before a text: the mark of UTF-8.
const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";
/// Bytes of a whole stream: its frame is many times longer than the answer in it.
const STREAM_BYTES_MAX: usize = 512 << 20;
/// Bytes of an answer in one piece, with its frame and its escapes.
const WHOLE_BYTES_MAX: usize = 2 * ANSWER_BYTES_MAX;
/// Bytes of a refusal that are read.
const REFUSAL_BYTES_MAX: usize = 64 << 10;
/// How long a refusal's body may take.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a stream may take to end after its last word, so that its connection can be used again.
const END_TIMEOUT: Duration = Duration::from_millis(100);
/// The last word of a stream.
const DONE: &str = "[DONE]";

/// How long one try may take over what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Without one more byte, once the answer has begun to come.
    pub idle: Duration,
    /// Until something of the answer comes, from the moment the request is sent. Comments and blank lines are life, not
    /// progress: a server may keep a request waiting with them, or in silence while others are before it. Whether its
    /// host is still there is asked meanwhile, by the connection.
    pub first: Duration,
    /// Between two pieces of the answer.
    pub between: Duration,
    /// In all.
    pub attempt: Duration,
}

impl Patience {
    /// What calls are given.
    pub const DEFAULT: Self = Self {
        idle: Duration::from_secs(5 * 60),
        first: Duration::from_secs(30 * 60),
        between: Duration::from_secs(5 * 60),
        attempt: Duration::from_secs(60 * 60),
    };
}

/// Posts a request once and waits for the whole answer.
pub(super) async fn exchange(
    http: &Client,
    endpoint: &Endpoint,
    body: Vec<u8>,
    delivery: Delivery,
    patience: &Patience,
) -> Result<Answer, Fault> {
    let first_by = Instant::now() + patience.first;
    let exchanged = async {
        let response = match timeout_at(first_by, post(http, endpoint, body, delivery)).await {
            Ok(response) => response?,
            Err(_) => {
                return Err(Fault::Silent {
                    after: patience.first,
                });
            }
        };
        let status = response.status();
        if !status.is_success() {
            let asked = asked(response.headers());
            let body = refusal_body(response).await;
            let refusal = Refusal::read(status.as_u16(), &body);
            return Err(Fault::Refused { refusal, asked });
        }
        if kind(response.headers()).starts_with("text/html") {
            let why = "it is a page: is the endpoint's URL right, and no proxy in between?".to_owned();
            return Err(Fault::Unreadable { why });
        }
        // What came, not what was asked for: some servers do not stream whatever they are asked.
        if comes_whole(response.headers(), delivery) {
            whole(response, patience).await
        } else {
            streamed(response, patience, first_by).await
        }
    };
    match timeout(patience.attempt, exchanged).await {
        Ok(answer) => answer,
        Err(_) => Err(Fault::Endless {
            after: patience.attempt,
        }),
    }
}

/// Sends the request and waits for the head of the answer.
async fn post(
    http: &Client,
    endpoint: &Endpoint,
    body: Vec<u8>,
    delivery: Delivery,
) -> Result<Response, Fault> {
    let accepted = match delivery {
        Delivery::Stream => "text/event-stream",
        Delivery::Whole => "application/json",
    };
    let mut request = http
        .post(endpoint.url.completions().clone())
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, accepted)
        .body(body);
    if let Some(key) = &endpoint.key {
        request = request.header(AUTHORIZATION, key.bearer());
    }
    request.send().await.map_err(unsent)
}

/// Why there is no head of an answer.
fn unsent(error: reqwest::Error) -> Fault {
    let is_connect = error.is_connect();
    let why = chain(error);
    // No type of its own says so behind the client's own error.
    if why.contains("invalid peer certificate") {
        Fault::Untrusted { why }
    } else if is_connect {
        Fault::Unreachable { why }
    } else {
        Fault::Lost { why }
    }
}

/// An error with its causes, without the address where it happened.
fn chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

fn asked(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    asked_wait(text("retry-after-ms"), text("retry-after"), SystemTime::now())
}

/// What a server calls its answer, in lower case; empty where it does not say.
fn kind(headers: &HeaderMap) -> String {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.unwrap_or_default().trim_start().to_ascii_lowercase()
}

/// Whether an answer comes in one piece, by what the server calls it; by what was asked for where that says nothing.
fn comes_whole(headers: &HeaderMap, delivery: Delivery) -> bool {
    let kind = kind(headers);
    if kind.starts_with("application/json") {
        true
    } else if kind.starts_with("text/event-stream") {
        false
    } else {
        delivery == Delivery::Whole
    }
}

/// What can be had of a refusal's body; its status says enough without.
async fn refusal_body(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    let reading = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            let room = REFUSAL_BYTES_MAX - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if body.len() == REFUSAL_BYTES_MAX {
                break;
            }
        }
    };
    let _ = timeout(REFUSAL_TIMEOUT, reading).await;
    body
}

/// An answer in one piece.
async fn whole(mut response: Response, patience: &Patience) -> Result<Answer, Fault> {
    let mut body = Vec::new();
    loop {
        let chunk = timeout(patience.idle, response.chunk()).await;
        let chunk = chunk.map_err(|_| Fault::Silent { after: patience.idle })?;
        match chunk.map_err(|error| Fault::Broken { why: chain(error) })? {
            None => break,
            Some(chunk) => body.extend_from_slice(&chunk),
        }
        if body.len() > WHOLE_BYTES_MAX {
            return Err(Fault::TooLong);
        }
    }
    let text = String::from_utf8(body).map_err(|_| Fault::Unreadable {
        why: "it is not UTF-8".to_owned(),
    })?;
    let mut gathered = Gathered::default();
    gathered.take(&text)?;
    gathered.end()
}

/// An answer piece by piece.
async fn streamed(response: Response, patience: &Patience, first_by: Instant) -> Result<Answer, Fault> {
    let events = chunks(response, *patience, first_by).eventsource();
    let mut events = std::pin::pin!(events);
    let mut gathered = Gathered::default();
    let mut wait = patience.first;
    let mut deadline = first_by;
    loop {
        let event = match timeout_at(deadline, events.next()).await {
            Err(_) => return Err(Fault::NoProgress { after: wait }),
            Ok(None) => return Err(Fault::Truncated),
            Ok(Some(Err(EventStreamError::Transport(fault)))) => return Err(fault),
            Ok(Some(Err(EventStreamError::Utf8(_)))) => {
                let why = "it is not UTF-8".to_owned();
                return Err(Fault::Unreadable { why });
            }
            Ok(Some(Err(EventStreamError::Parser(_)))) => {
                let why = "it is no stream of events".to_owned();
                return Err(Fault::Unreadable { why });
            }
            Ok(Some(Ok(event))) => event,
        };
        if event.data.trim().is_empty() {
            // A sign of life, like a comment.
            continue;
        }
        if event.data.trim() == DONE {
            // What it ends in does not matter any more.
            let _ = timeout(END_TIMEOUT, events.next()).await;
            return gathered.end();
        }
        if event.event == "error" {
            let said = serde_json::from_str(&event.data).unwrap_or(Value::String(event.data));
            return Err(Fault::InAnswer(Refusal::of(&said)));
        }
        gathered.take(&event.data)?;
        wait = patience.between;
        deadline = Instant::now() + wait;
    }
}

/// The bytes of an answer as they come, until something is wrong with them. A stream that ends in good order has its
/// last event ended for it: servers leave out the blank line after the last word.
fn chunks(
    response: Response,
    patience: Patience,
    first_by: Instant,
) -> impl Stream<Item = Result<Bytes, Fault>> {
    struct Coming {
        response: Response,
        bytes_n: usize,
        event_bytes: usize,
        /// Whether the line that comes has nothing in it so far.
        line_is_blank: bool,
        is_over: bool,
    }
    let coming = Coming {
        response,
        bytes_n: 0,
        event_bytes: 0,
        line_is_blank: true,
        is_over: false,
    };
    stream::unfold(coming, move |mut coming| async move {
        if coming.is_over {
            return None;
        }
        let (by, after) = if coming.bytes_n == 0 {
            (first_by, patience.first)
        } else {
            (Instant::now() + patience.idle, patience.idle)
        };
        let chunk = match timeout_at(by, coming.response.chunk()).await {
            Err(_) => Err(Fault::Silent { after }),
            Ok(Err(error)) => Err(Fault::Broken { why: chain(error) }),
            Ok(Ok(None)) => {
                coming.is_over = true;
                Ok(Bytes::from_static(b"\n\n"))
            }
            Ok(Ok(Some(mut chunk))) => {
                if coming.bytes_n == 0 {
                    // The mark is taken off here: the parser of events panics over it.
                    while chunk.len() < UTF8_MARK.len() && UTF8_MARK.starts_with(&chunk) {
                        let Ok(Ok(Some(more))) = timeout_at(by, coming.response.chunk()).await else {
                            break;
                        };
                        chunk = [chunk, more].concat().into();
                    }
                    if chunk.starts_with(UTF8_MARK) {
                        chunk.advance(UTF8_MARK.len());
                        coming.bytes_n += UTF8_MARK.len();
                    }
                }
                coming.bytes_n += chunk.len();
                for line in chunk.split_inclusive(|byte| *byte == b'\n') {
                    coming.event_bytes += line.len();
                    if coming.event_bytes > EVENT_BYTES_MAX {
                        break;
                    }
                    coming.line_is_blank &= line.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
                    if line.ends_with(b"\n") {
                        if coming.line_is_blank {
                            coming.event_bytes = 0;
                        }
                        coming.line_is_blank = true;
                    }
                }
                if coming.bytes_n > STREAM_BYTES_MAX || coming.event_bytes > EVENT_BYTES_MAX {
                    Err(Fault::TooLong)
                } else {
                    Ok(chunk)
                }
            }
        };
        coming.is_over |= chunk.is_err();
        Some((chunk, coming))
    })
}
