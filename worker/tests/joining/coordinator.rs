//! A coordinator that the test plays: links and blobs over TCP.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use roundhouse_proto::link::{CoordMsg, Hello, JobGrant, WorkerMsg};
use roundhouse_proto::wire::v1;
use roundhouse_proto::wire::v1::blobs_server::{Blobs, BlobsServer};
use roundhouse_proto::wire::v1::link_server::{Link, LinkServer};
use roundhouse_proto::work::Priority;
use roundhouse_proto::{
    Comparator, Digest, FinalChoice, GenerateWork, JobId, JobKind, Language, LeaseId, Limits, Method, RunId,
    Sampling, SessionSettings, TesterMode, Work,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

const STATEMENT: &str = "Print 1.";

type Outgoing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Stored = Arc<Mutex<HashMap<Bytes, Bytes>>>;

/// One link, as the coordinator sees it.
pub(crate) struct Side {
    incoming: Streaming<v1::WorkerMsg>,
    outgoing: mpsc::Sender<Result<v1::CoordMsg, Status>>,
}

/// A coordinator.
pub(crate) struct Coordinator {
    pub(crate) url: String,
    links: mpsc::Receiver<Side>,
    stored: Stored,
}

struct Service {
    links: mpsc::Sender<Side>,
    stored: Stored,
}

#[tonic::async_trait]
impl Link for Service {
    type LinkStream = ReceiverStream<Result<v1::CoordMsg, Status>>;

    async fn link(
        &self,
        request: Request<Streaming<v1::WorkerMsg>>,
    ) -> Result<Response<Self::LinkStream>, Status> {
        let (outgoing, messages) = mpsc::channel(64);
        let incoming = request.into_inner();
        let side = Side { incoming, outgoing };
        // A link that the test does not want any more is one that ends.
        let _ = self.links.send(side).await;
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

#[tonic::async_trait]
impl Blobs for Service {
    type ReadStream = Outgoing<v1::Chunk>;

    async fn stat(&self, _: Request<v1::StatRequest>) -> Result<Response<v1::StatReply>, Status> {
        Err(Status::unimplemented("the worker does not ask"))
    }

    async fn read(&self, request: Request<v1::ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let digest = request.into_inner().digest;
        let stored = self.stored.lock().unwrap().get(&digest).cloned();
        let data = stored.ok_or_else(|| Status::not_found("no such blob"))?;
        let chunk = v1::Chunk {
            digest,
            offset: 0,
            total_bytes: data.len() as u64,
            data,
        };
        Ok(Response::new(Box::pin(tokio_stream::once(Ok(chunk)))))
    }

    async fn write(
        &self,
        request: Request<Streaming<v1::Chunk>>,
    ) -> Result<Response<v1::WriteReply>, Status> {
        let mut chunks = request.into_inner();
        let mut whole = Vec::new();
        while let Some(chunk) = chunks.message().await? {
            whole.extend_from_slice(&chunk.data);
        }
        let length_bytes = whole.len() as u64;
        let digest = Bytes::copy_from_slice(&Digest::of(&whole).0);
        self.stored.lock().unwrap().insert(digest.clone(), whole.into());
        Ok(Response::new(v1::WriteReply { digest, length_bytes }))
    }
}

impl Coordinator {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (links_in, links) = mpsc::channel(8);
        let stored = Stored::default();
        let service = Arc::new(Service {
            links: links_in,
            stored: Arc::clone(&stored),
        });
        let server = tonic::transport::Server::builder()
            .add_service(LinkServer::from_arc(Arc::clone(&service)))
            .add_service(BlobsServer::from_arc(service));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { url, links, stored }
    }

    pub(crate) async fn next_link(&mut self) -> Side {
        let side = tokio::time::timeout(PATIENCE, self.links.recv()).await;
        side.expect("the worker joins").unwrap()
    }

    /// A grant of a session whose statement can be fetched.
    pub(crate) fn grant(&self, grant: JobGrant) -> JobGrant {
        let statement = Bytes::from_static(STATEMENT.as_bytes());
        let digest = Bytes::copy_from_slice(&Digest::of(&statement).0);
        self.stored.lock().unwrap().insert(digest, statement);
        grant
    }
}

impl Side {
    pub(crate) async fn say(&self, msg: CoordMsg) {
        self.outgoing.send(Ok(msg.into())).await.unwrap();
    }

    /// The next message that is no ping; none at the end of the link.
    pub(crate) async fn hear(&mut self) -> Option<WorkerMsg> {
        loop {
            let msg = tokio::time::timeout(PATIENCE, self.incoming.message());
            let msg = msg.await.expect("the worker says something").ok().flatten()?;
            match WorkerMsg::try_from(msg).unwrap() {
                WorkerMsg::Ping { .. } => {}
                msg => return Some(msg),
            }
        }
    }

    /// Lets the worker in, which must hold nothing; what it says of itself.
    pub(crate) async fn welcome(&mut self) -> Hello {
        let Some(WorkerMsg::Hello(hello)) = self.hear().await else {
            panic!("hello comes first");
        };
        let (lease_ms, ping_ms) = (10_000, 2_000);
        self.say(CoordMsg::Welcome {
            epoch: 1,
            lease_ms,
            ping_ms,
        })
        .await;
        let nothing = WorkerMsg::Inventory {
            running: Vec::new(),
            spooled: Vec::new(),
        };
        assert_eq!(self.hear().await, Some(nothing));
        hello
    }
}

pub(crate) fn lease(seq: u64) -> LeaseId {
    LeaseId { epoch: 1, seq }
}

/// A session of one round, so that nothing is tested: an analyst's call and a coder's.
pub(crate) fn session(seq: u64, endpoint: Option<&str>) -> JobGrant {
    let settings = SessionSettings {
        method: Method::SelfCollaboration,
        model: "m".to_owned(),
        model_for: BTreeMap::new(),
        sampling: Sampling::default(),
        max_rounds: 1,
        tester: TesterMode::Cases,
        language: Language::Python3,
        patch: true,
        comparator: Comparator::CodeContests,
        limits: Limits::default(),
        final_choice: FinalChoice::Last,
    };
    JobGrant {
        job: JobId {
            run: RunId(Uuid::from_u128(1)),
            problem: u32::try_from(seq).unwrap(),
            kind: JobKind::Generate,
        },
        lease: lease(seq),
        attempt: 1,
        priority: Priority::NORMAL,
        work: Work::Generate(GenerateWork {
            statement: Digest::of(STATEMENT.as_bytes()),
            public_cases: None,
            reference: None,
            recording: None,
            endpoint: endpoint.map(str::to_owned),
            entry_point: None,
            time_limit_ms: None,
            memory_limit_bytes: None,
            settings,
            resume: Vec::new(),
            reports: Vec::new(),
            prompts: None,
        }),
    }
}
