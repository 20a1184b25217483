//! A coordinator for tests of the commands: answers as it is told to, over a Unix socket, and keeps what it was asked.

#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use roundhouse_proto::wire::v1;
use roundhouse_proto::wire::v1::blobs_server::{Blobs, BlobsServer};
use roundhouse_proto::wire::v1::control_server::{Control, ControlServer};
use roundhouse_proto::{CoordinatorAddress, Digest, RunId};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use super::Client;

type Outgoing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A run as a coordinator tells of it, complete but for one error.
pub(crate) fn status(id: u128) -> v1::RunStatus {
    v1::RunStatus {
        run: Bytes::copy_from_slice(Uuid::from_u128(id).as_bytes()),
        dir: "baseline_outputs/run_20260209_153045".to_owned(),
        state: v1::RunState::Active.into(),
        reason: String::new(),
        problems_n: 4,
        passed_n: 1,
        failed_n: 1,
        errors_n: 0,
        generated_n: 3,
        jobs_ready_n: 1,
        jobs_leased_n: 2,
        usage: Some(v1::Usage {
            input: 1_000_000,
            cached_input: 0,
            output: 234_567,
            reasoning: 0,
        }),
        calls_n: 12,
        calls_unaccounted_n: 0,
        active_ms: 61_500,
        started: "2026-02-09 15:30:45".to_owned(),
        model: "deepseek-chat".to_owned(),
        endpoint: "deepseek".to_owned(),
        data_set: "CodeContests".to_owned(),
        generation_slots: 8,
        evaluation_slots: 4,
        cores: 16,
        warnings: Vec::new(),
    }
}

/// What a watcher is sent, and whether its stream stays open behind it.
pub(crate) struct Watch {
    pub(crate) updates: Vec<v1::run_update::What>,
    pub(crate) stays_open: bool,
}

#[derive(Default)]
pub(crate) struct Known {
    /// Blobs: their bytes so far, and whether they are whole.
    blobs: BTreeMap<Digest, (Vec<u8>, bool)>,
    written: Vec<Digest>,
    pieces: BTreeMap<Digest, Vec<u64>>,
    stats: Vec<usize>,
    /// Newest first.
    pub(crate) runs: Vec<v1::RunStatus>,
    pub(crate) submitted: Vec<v1::SubmitRequest>,
    /// Another client is quicker with the run that is submitted next.
    pub(crate) submitted_by_another: bool,
    pub(crate) cancelled: Vec<v1::CancelRequest>,
    pub(crate) retried: u64,
    /// One for each watcher that comes.
    pub(crate) watches: VecDeque<Watch>,
    /// What a fetch sends.
    pub(crate) files: Vec<v1::FileChunk>,
}

/// A coordinator that runs until it is dropped.
pub(crate) struct Fake {
    dir: TempDir,
    known: Arc<Mutex<Known>>,
    serving: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let known = Arc::default();
        let service = Service(Arc::clone(&known));
        let listener = UnixListener::bind(dir.path().join("s")).unwrap();
        let serving = tokio::spawn(async move {
            tonic::transport::Server::builder()
                .add_service(BlobsServer::new(service.clone()))
                .add_service(ControlServer::new(service))
                .serve_with_incoming(UnixListenerStream::new(listener))
                .await
                .unwrap();
        });
        Self { dir, known, serving }
    }

    pub(crate) fn address(&self) -> CoordinatorAddress {
        CoordinatorAddress::Unix(self.path())
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.address())
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap()
    }

    pub(crate) fn put(&self, text: &[u8]) {
        let blob = (text.to_vec(), true);
        self.known().blobs.insert(Digest::of(text), blob);
    }

    pub(crate) fn put_part(&self, text: &[u8], bytes: usize) {
        let blob = (text[..bytes].to_vec(), false);
        self.known().blobs.insert(Digest::of(text), blob);
    }

    pub(crate) fn blob(&self, digest: Digest) -> Vec<u8> {
        self.known().blobs[&digest].0.clone()
    }

    /// Blobs that were sent, in order.
    pub(crate) fn written(&self) -> Vec<Digest> {
        self.known().written.clone()
    }

    /// Offsets of the pieces of a blob that were sent.
    pub(crate) fn pieces_of(&self, digest: Digest) -> Vec<u64> {
        self.known().pieces[&digest].clone()
    }

    /// How many blobs each question for some was about.
    pub(crate) fn stats_asked(&self) -> Vec<usize> {
        self.known().stats.clone()
    }
}

/// A file of a run directory in pieces of three bytes.
pub(crate) fn file(path: &str, text: &str) -> Vec<v1::FileChunk> {
    let total_bytes = text.len() as u64;
    let piece = |offset: usize, data: &[u8]| v1::FileChunk {
        path: path.to_owned(),
        offset: offset as u64,
        total_bytes,
        data: Bytes::copy_from_slice(data),
    };
    if text.is_empty() {
        return vec![piece(0, b"")];
    }
    let pieces = text.as_bytes().chunks(3).enumerate();
    pieces.map(|(n, data)| piece(n * 3, data)).collect()
}

#[derive(Clone)]
struct Service(Arc<Mutex<Known>>);

impl Service {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap()
    }

    fn status(&self, run: &Bytes) -> Result<Response<v1::RunStatus>, Status> {
        let known = self.known();
        let found = known.runs.iter().find(|status| status.run == run);
        found
            .map(|status| Response::new(status.clone()))
            .ok_or_else(|| Status::not_found("no such run is known"))
    }
}

#[tonic::async_trait]
impl Blobs for Service {
    type ReadStream = Outgoing<v1::Chunk>;

    async fn stat(&self, request: Request<v1::StatRequest>) -> Result<Response<v1::StatReply>, Status> {
        let mut known = self.known();
        let digests = request.into_inner().digests;
        known.stats.push(digests.len());
        let found = digests.into_iter().filter_map(|digest| {
            let (bytes, complete) = known.blobs.get(&Digest(digest[..].try_into().ok()?))?;
            Some(v1::BlobStat {
                digest,
                length_bytes: bytes.len() as u64,
                complete: *complete,
            })
        });
        let blobs = found.collect();
        Ok(Response::new(v1::StatReply { blobs }))
    }

    async fn read(&self, _: Request<v1::ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        Err(Status::unimplemented("the commands read no blobs"))
    }

    async fn write(
        &self,
        request: Request<Streaming<v1::Chunk>>,
    ) -> Result<Response<v1::WriteReply>, Status> {
        let mut chunks = request.into_inner();
        let mut digest = Digest([0; 32]);
        let mut total = 0;
        while let Some(chunk) = chunks.message().await? {
            digest = Digest(chunk.digest[..].try_into().unwrap());
            total = chunk.total_bytes;
            let mut known = self.known();
            known.pieces.entry(digest).or_default().push(chunk.offset);
            let bytes = &mut known.blobs.entry(digest).or_default().0;
            assert_eq!(bytes.len() as u64, chunk.offset, "a piece is out of place");
            bytes.extend_from_slice(&chunk.data);
        }
        let mut known = self.known();
        known.written.push(digest);
        let blob = known.blobs.get_mut(&digest).unwrap();
        blob.1 = true;
        assert_eq!((blob.0.len() as u64, Digest::of(&blob.0)), (total, digest));
        Ok(Response::new(v1::WriteReply {
            digest: Bytes::copy_from_slice(&digest.0),
            length_bytes: total,
        }))
    }
}

#[tonic::async_trait]
impl Control for Service {
    type WatchRunStream = Outgoing<v1::RunUpdate>;
    type FetchStream = Outgoing<v1::FileChunk>;

    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitReply>, Status> {
        let request = request.into_inner();
        let mut known = self.known();
        let spec = Digest(request.spec[..].try_into().unwrap());
        if !known.blobs.contains_key(&spec) {
            let missing = vec![request.spec];
            let dir = String::new();
            return Ok(Response::new(v1::SubmitReply {
                repeated: false,
                missing,
                dir,
            }));
        }
        if std::mem::take(&mut known.submitted_by_another) {
            let id = u128::from_be_bytes(request.run[..].try_into().unwrap());
            known.runs.insert(0, status(id));
            return Err(Status::already_exists("it asks for something else"));
        }
        let repeated = known.runs.iter().any(|status| status.run == request.run);
        if !repeated {
            let id = u128::from_be_bytes(request.run[..].try_into().unwrap());
            known.runs.insert(0, status(id));
        }
        known.submitted.push(request);
        Ok(Response::new(v1::SubmitReply {
            repeated,
            missing: Vec::new(),
            dir: known.runs[0].dir.clone(),
        }))
    }

    async fn list_runs(
        &self,
        request: Request<v1::ListRunsRequest>,
    ) -> Result<Response<v1::ListRunsReply>, Status> {
        let limit = usize::try_from(request.into_inner().limit).unwrap();
        let known = self.known();
        Ok(Response::new(v1::ListRunsReply {
            runs: known.runs.iter().take(limit).cloned().collect(),
            more: known.runs.len() > limit,
        }))
    }

    async fn get_run(&self, request: Request<v1::GetRunRequest>) -> Result<Response<v1::RunStatus>, Status> {
        self.status(&request.into_inner().run)
    }

    async fn watch_run(
        &self,
        request: Request<v1::WatchRunRequest>,
    ) -> Result<Response<Self::WatchRunStream>, Status> {
        self.status(&request.into_inner().run)?;
        let next = self.known().watches.pop_front();
        let Watch { updates, stays_open } = next.ok_or_else(|| Status::unavailable("it restarts"))?;
        let updates = updates
            .into_iter()
            .map(|what| Ok(v1::RunUpdate { what: Some(what) }));
        let updates = stream::iter(updates.collect::<Vec<_>>());
        Ok(Response::new(if stays_open {
            Box::pin(updates.chain(stream::pending()))
        } else {
            Box::pin(updates)
        }))
    }

    async fn cancel(&self, request: Request<v1::CancelRequest>) -> Result<Response<v1::RunStatus>, Status> {
        let request = request.into_inner();
        for status in &mut self.known().runs {
            if status.run == request.run && status.state == i32::from(v1::RunState::Active) {
                status.state = v1::RunState::Cancelled.into();
                status.reason.clone_from(&request.reason);
            }
        }
        self.known().cancelled.push(request.clone());
        self.status(&request.run)
    }

    async fn retry(&self, request: Request<v1::RetryRequest>) -> Result<Response<v1::RetryReply>, Status> {
        self.status(&request.into_inner().run)?;
        let problems_n = std::mem::take(&mut self.known().retried);
        Ok(Response::new(v1::RetryReply { problems_n }))
    }

    async fn list_workers(
        &self,
        _: Request<v1::ListWorkersRequest>,
    ) -> Result<Response<v1::ListWorkersReply>, Status> {
        Ok(Response::new(v1::ListWorkersReply { workers: Vec::new() }))
    }

    async fn fetch(&self, request: Request<v1::FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let request = request.into_inner();
        self.status(&request.run)?;
        let is_asked = |chunk: &&v1::FileChunk| {
            let below = chunk.path.strip_prefix(&request.under);
            request.under.is_empty() || below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let files: Vec<_> = self
            .known()
            .files
            .iter()
            .filter(is_asked)
            .cloned()
            .map(Ok)
            .collect();
        Ok(Response::new(Box::pin(stream::iter(files))))
    }
}

/// The id that [`status`] has for a number.
pub(crate) fn id(id: u128) -> RunId {
    RunId(Uuid::from_u128(id))
}
