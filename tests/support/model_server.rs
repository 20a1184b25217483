//! A server with the interface of OpenAI's chat completions, that answers as a script says and counts what it served.
//!
//! Standard library only: a thread for each connection, on a free port of 127.0.0.1. The tokens of an answer are a
//! function of the texts ([`Tokens::of`]), so that a test can check sums.

mod http;
mod script;
pub mod sessions;

use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::json;

pub use script::{Answer, Dialect, Reply, Request, Tokens};
use script::{End, stream};

type Script = dyn Fn(&Request) -> Answer + Send + Sync;

#[derive(Default)]
struct Counts {
    requests: Vec<Request>,
    served: Tokens,
    broken: Tokens,
}

struct Shared {
    script: Box<Script>,
    counts: Mutex<Counts>,
    in_flight: AtomicUsize,
    in_flight_max: AtomicUsize,
    is_over: AtomicBool,
    /// Cut when the server ends, so that no thread waits for ever.
    connections: Mutex<Vec<TcpStream>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running server. Ends when it is dropped, in the middle of whatever it answers.
pub struct ModelServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl ModelServer {
    /// Starts a server that does with each request what `script` says. Requests of different connections are asked
    /// about at the same time.
    pub fn start(script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port of 127.0.0.1");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            script: Box::new(script),
            counts: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            in_flight_max: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            connections: Mutex::default(),
        });
        let accepting = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.accept(&listener)
        });
        Self {
            address,
            shared,
            accepting: Some(accepting),
        }
    }

    /// Starts a server that gives one answer after the other, and the last one again and again.
    ///
    /// # Panics
    /// There is no answer.
    pub fn in_turn(answers: impl IntoIterator<Item = Answer>) -> Self {
        let answers: Vec<Answer> = answers.into_iter().collect();
        assert!(!answers.is_empty(), "a server needs an answer");
        Self::start(move |request| answers[request.number.min(answers.len() - 1)].clone())
    }

    /// The base address that a client is given.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tokens of the answers that went out whole.
    pub fn served(&self) -> Tokens {
        locked(&self.shared.counts).served
    }

    /// Tokens of the answers that began and did not.
    pub fn broken(&self) -> Tokens {
        locked(&self.shared.counts).broken
    }

    /// Requests so far.
    pub fn calls_n(&self) -> usize {
        locked(&self.shared.counts).requests.len()
    }

    /// The requests so far, in the order in which they came.
    pub fn requests(&self) -> Vec<Request> {
        locked(&self.shared.counts).requests.clone()
    }

    /// Requests that are being answered now.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::SeqCst)
    }

    /// The most requests that were answered at a time.
    pub fn in_flight_max(&self) -> usize {
        self.shared.in_flight_max.load(Ordering::SeqCst)
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for connection in locked(&self.shared.connections).drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for connection in listener.incoming() {
            if self.is_over.load(Ordering::SeqCst) {
                return;
            }
            let Ok(connection) = connection else { continue };
            let Ok(other) = connection.try_clone() else {
                continue;
            };
            locked(&self.connections).push(other);
            let shared = Arc::clone(&self);
            std::thread::spawn(move || {
                // A connection that breaks ends its thread and nothing else.
                let _ = shared.serve(&connection);
                let _ = connection.shutdown(Shutdown::Both);
            });
        }
    }

    /// Answers the requests of one connection, one after the other.
    fn serve(&self, connection: &TcpStream) -> std::io::Result<()> {
        connection.set_nodelay(true)?;
        let mut reader = std::io::BufReader::new(connection);
        while let Some((path, headers, body)) = http::read(&mut reader)? {
            let request = {
                let mut counts = locked(&self.counts);
                let request = Request {
                    number: counts.requests.len(),
                    path,
                    headers,
                    body,
                };
                counts.requests.push(request.clone());
                request
            };
            let in_flight = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
            self.in_flight_max.fetch_max(in_flight, Ordering::SeqCst);
            let answered = self.answer(&request, connection);
            self.in_flight.fetch_sub(1, Ordering::SeqCst);
            if !answered? {
                break;
            }
        }
        Ok(())
    }

    /// Does with a request what the script says; true if the connection can go on.
    fn answer(&self, request: &Request, connection: &TcpStream) -> std::io::Result<bool> {
        match (self.script)(request) {
            Answer::Reply(reply) => self.reply(request, &reply, connection),
            Answer::Status { code, headers, body } => {
                http::write_whole(connection, code, "application/json", &headers, body.as_bytes())?;
                Ok(true)
            }
            Answer::Raw { content_type, body } => {
                http::write_whole(connection, 200, &content_type, &[], &body)?;
                Ok(true)
            }
            Answer::Hang => {
                let mut reader = connection;
                // Comes back when the other side gives up, or the server ends.
                while std::io::Read::read(&mut reader, &mut [0; 64])? > 0 {}
                Ok(false)
            }
            Answer::BreakAfter { reply, bytes } => {
                self.count_broken(request, &reply);
                let whole = stream(request, &reply, End::Done);
                http::begin_chunks(connection, "text/event-stream")?;
                http::write_chunk(connection, &whole[..bytes.min(whole.len())])?;
                Ok(false)
            }
            Answer::NoDone(reply) => {
                self.count_broken(request, &reply);
                http::begin_chunks(connection, "text/event-stream")?;
                http::write_chunk(connection, &stream(request, &reply, End::Nothing))?;
                http::end_chunks(connection)?;
                Ok(true)
            }
            Answer::ErrorInStream { reply, error } => {
                self.count_broken(request, &reply);
                http::begin_chunks(connection, "text/event-stream")?;
                http::write_chunk(connection, &stream(request, &reply, End::Error(&error)))?;
                http::end_chunks(connection)?;
                Ok(true)
            }
            Answer::Slow {
                reply,
                comments,
                pause,
            } => {
                http::begin_chunks(connection, "text/event-stream")?;
                for _ in 0..comments {
                    self.pause(pause);
                    http::write_chunk(connection, b": keep-alive\n\n")?;
                }
                self.pause(pause);
                self.stream_out(request, &reply, connection)
            }
        }
    }

    fn pause(&self, pause: Duration) {
        let begun = std::time::Instant::now();
        while begun.elapsed() < pause && !self.is_over.load(Ordering::SeqCst) {
            std::thread::park_timeout(
                pause
                    .saturating_sub(begun.elapsed())
                    .min(Duration::from_millis(50)),
            );
        }
    }

    fn count_broken(&self, request: &Request, reply: &Reply) {
        locked(&self.counts).broken.add(Tokens::of(request, reply));
    }

    /// Counts an answer as served and sends its last bytes: whoever has read them finds it counted.
    fn served(
        &self,
        request: &Request,
        reply: &Reply,
        send: impl FnOnce() -> std::io::Result<()>,
    ) -> std::io::Result<bool> {
        let tokens = Tokens::of(request, reply);
        locked(&self.counts).served.add(tokens);
        let sent = send();
        if sent.is_err() {
            let mut counts = locked(&self.counts);
            counts.served.take_away(tokens);
            counts.broken.add(tokens);
        }
        sent.map(|()| true)
    }

    fn reply(&self, request: &Request, reply: &Reply, connection: &TcpStream) -> std::io::Result<bool> {
        if request.is_stream() {
            http::begin_chunks(connection, "text/event-stream")?;
            return self.stream_out(request, reply, connection);
        }
        let mut message = json!({"role": "assistant", "content": reply.text});
        if let Some(reasoning) = &reply.reasoning {
            message["reasoning_content"] = json!(reasoning);
        }
        let choice = json!({"index": 0, "message": message, "finish_reason": reply.finish});
        let mut body = json!({"object": "chat.completion", "model": request.model(), "choices": [choice]});
        if reply.dialect != Dialect::Silent {
            body["usage"] = Tokens::of(request, reply).usage(reply.dialect);
        }
        let body = body.to_string();
        self.served(request, reply, || {
            http::write_whole(connection, 200, "application/json", &[], body.as_bytes())
        })
    }

    /// The stream of an answer, in two parts: the last word comes after the rest.
    fn stream_out(&self, request: &Request, reply: &Reply, connection: &TcpStream) -> std::io::Result<bool> {
        http::write_chunk(connection, &stream(request, reply, End::Nothing))?;
        self.served(request, reply, || {
            http::write_chunk(connection, b"data: [DONE]\n\n")?;
            http::end_chunks(connection)
        })
    }
}
