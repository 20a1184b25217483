//! The services that workers talk to. They decide nothing: what arrives becomes an event, what is large becomes a
//! blob first, so that no event names what is not durable.

use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use roundhouse_core::{Event, LinkId};
use roundhouse_proto::link::{CoordMsg, JobResult, PROTOCOL_VERSION, PROTOCOL_VERSION_MIN, WorkerMsg};
use roundhouse_proto::wire::{WireError, v1};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::blobs::Blobs;
use crate::driver::{Events, Links};

/// Characters of a reason that are stored.
const REASON_CHARS_MAX: usize = 600;

/// Serves links.
#[derive(Clone)]
pub struct LinkService {
    /// Where events go.
    pub events: Events,
    /// Where links are open.
    pub links: Links,
    /// Where large values go.
    pub blobs: Blobs,
}

type Outgoing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn refuse(error: &WireError) -> Status {
    Status::invalid_argument(error.to_string())
}

#[tonic::async_trait]
impl v1::link_server::Link for LinkService {
    type LinkStream = Outgoing<v1::CoordMsg>;

    async fn link(
        &self,
        request: Request<Streaming<v1::WorkerMsg>>,
    ) -> Result<Response<Self::LinkStream>, Status> {
        let mut incoming = request.into_inner();
        let first = incoming
            .message()
            .await?
            .ok_or_else(|| Status::invalid_argument("a link begins with hello"))?;
        // The version comes first: the rest of a newer worker's hello may not be readable here.
        if let Some(v1::worker_msg::Msg::Hello(hello)) = &first.msg
            && let Some(reject) = rejection(hello)
        {
            return Ok(Response::new(Box::pin(tokio_stream::once(Ok(
                v1::CoordMsg::from(reject),
            )))));
        }
        let WorkerMsg::Hello(hello) = WorkerMsg::try_from(first).map_err(|error| refuse(&error))? else {
            return Err(Status::invalid_argument("a link begins with hello"));
        };
        let (link, outgoing) = self.links.open();
        tracing::info!(%link, worker = %hello.worker, name = hello.name, "a worker joined");
        self.events
            .send(Event::Joined {
                link,
                hello: Box::new(hello),
            })
            .await;
        let service = self.clone();
        tokio::spawn(async move {
            let said_goodbye = service.read(link, incoming).await;
            service.links.close(link);
            if !said_goodbye {
                tracing::info!(%link, "a link ended without a goodbye");
                service.events.send(Event::LinkLost { link }).await;
            }
        });
        let outgoing = ReceiverStream::new(outgoing).map(|msg| Ok(v1::CoordMsg::from(msg)));
        Ok(Response::new(Box::pin(outgoing)))
    }
}

/// What a worker is told whose wire versions this coordinator does not speak; none if they share one.
fn rejection(hello: &v1::Hello) -> Option<CoordMsg> {
    let (least, most) = (u64::from(PROTOCOL_VERSION_MIN), u64::from(PROTOCOL_VERSION));
    if hello.protocol_min <= most && hello.protocol_max >= least {
        return None;
    }
    let build: String = hello.build.chars().filter(|c| !c.is_control()).take(64).collect();
    let reason = format!(
        "this coordinator ({}) speaks wire versions {least} to {most}, the worker ({build}) speaks {} to {}: use the \
         same release of both",
        env!("CARGO_PKG_VERSION"),
        hello.protocol_min,
        hello.protocol_max,
    );
    tracing::warn!(reason, "a worker was not let in");
    let (protocol_min, protocol_max) = (PROTOCOL_VERSION_MIN, PROTOCOL_VERSION);
    Some(CoordMsg::Reject {
        reason,
        protocol_min,
        protocol_max,
    })
}

impl LinkService {
    /// Turns messages into events until the link ends; true if it ended with a goodbye.
    async fn read(&self, link: LinkId, mut incoming: Streaming<v1::WorkerMsg>) -> bool {
        loop {
            let msg = match incoming.message().await {
                Ok(Some(msg)) => msg,
                Ok(None) => return false,
                Err(status) => {
                    tracing::debug!(%link, %status, "a link broke");
                    return false;
                }
            };
            let msg = match WorkerMsg::try_from(msg) {
                Ok(msg) => msg,
                Err(error) => {
                    tracing::warn!(%link, %error, "a worker said what cannot be read: its link is cut off");
                    return false;
                }
            };
            let msg = match self.keep_large(msg).await {
                Ok(msg) => msg,
                Err(error) => {
                    // Nothing was acknowledged, so the worker says it again on its next link.
                    tracing::error!(%link, %error, "a value could not be stored: the link is cut off");
                    return false;
                }
            };
            let said_goodbye = matches!(msg, WorkerMsg::Goodbye { .. });
            if let Some(event) = event(link, msg)
                && !self.events.send(event).await
            {
                return false;
            }
            if said_goodbye {
                return true;
            }
        }
    }

    /// Makes large values durable before an event names them.
    async fn keep_large(&self, mut msg: WorkerMsg) -> std::io::Result<WorkerMsg> {
        let payloads = match &mut msg {
            WorkerMsg::Session { event, .. } => event.payloads_mut(),
            WorkerMsg::Result {
                result:
                    JobResult::Evaluated {
                        report,
                        internal_error,
                        ..
                    },
                ..
            } => {
                internal_error.as_mut().map(cut);
                vec![report]
            }
            WorkerMsg::Result {
                result: JobResult::Failed(failure),
                ..
            } => {
                cut(&mut failure.message);
                return Ok(msg);
            }
            _ => return Ok(msg),
        };
        for payload in payloads {
            let blobs = self.blobs.clone();
            let value = payload.clone();
            *payload = tokio::task::spawn_blocking(move || blobs.keep(value))
                .await
                .map_err(std::io::Error::other)??;
        }
        Ok(msg)
    }
}

/// Cuts a text that only people read, so that no worker makes a record too long to be stored.
fn cut(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(REASON_CHARS_MAX) {
        text.truncate(end);
    }
}

fn event(link: LinkId, msg: WorkerMsg) -> Option<Event> {
    Some(match msg {
        // A second hello says nothing new, and a start is only for people.
        WorkerMsg::Hello(_) | WorkerMsg::Started { .. } => return None,
        WorkerMsg::Inventory { running, spooled } => {
            let held = running.into_iter().chain(spooled).collect();
            Event::InventoryTaken { link, held }
        }
        WorkerMsg::Credit { role, n } => Event::CreditOffered { link, role, n },
        WorkerMsg::Ping { seq } => Event::Pinged { link, seq },
        WorkerMsg::Session {
            job,
            lease,
            seq,
            event,
        } => Event::SessionWentOn {
            link,
            job,
            lease,
            seq,
            event,
        },
        WorkerMsg::Result { job, lease, result } => Event::ResultCame {
            link,
            job,
            lease,
            result,
        },
        WorkerMsg::Nack { lease, reason } => Event::GivenBack { link, lease, reason },
        WorkerMsg::Goodbye { .. } => Event::Left { link },
    })
}

/// Serves blobs, on a connection of its own, so that they never hold up a link.
#[derive(Clone)]
pub struct BlobService {
    /// Where they are.
    pub blobs: Blobs,
}

/// Bytes of one chunk.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks that wait for a reader.
const CHUNKS_MAX: usize = 4;
/// The longest blob that is taken in.
const BLOB_BYTES_MAX: u64 = 1 << 30;

#[tonic::async_trait]
impl v1::blobs_server::Blobs for BlobService {
    type ReadStream = Outgoing<v1::Chunk>;

    async fn stat(&self, request: Request<v1::StatRequest>) -> Result<Response<v1::StatReply>, Status> {
        let mut found = Vec::new();
        for bytes in request.into_inner().digests {
            let digest = digest(&bytes)?;
            if let Ok(length_bytes) = self.blobs.len(&digest) {
                found.push(v1::BlobStat {
                    digest: bytes,
                    length_bytes,
                    complete: true,
                });
            }
        }
        Ok(Response::new(v1::StatReply { blobs: found }))
    }

    async fn read(&self, request: Request<v1::ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let v1::ReadRequest {
            digest: bytes,
            offset,
        } = request.into_inner();
        let digest = digest(&bytes)?;
        let blobs = self.blobs.clone();
        let blob = tokio::task::spawn_blocking(move || blobs.read(&digest))
            .await
            .map_err(|error| Status::internal(error.to_string()))?
            .map_err(|error| Status::not_found(error.to_string()))?;
        let total_bytes = blob.len() as u64;
        let start = usize::try_from(offset.min(total_bytes)).unwrap_or(usize::MAX);
        let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
        tokio::spawn(async move {
            let mut at = start;
            loop {
                let end = (at + CHUNK_BYTES).min(blob.len());
                let chunk = v1::Chunk {
                    digest: bytes.clone(),
                    offset: at as u64,
                    total_bytes,
                    data: blob.slice(at..end),
                };
                if sender.send(Ok(chunk)).await.is_err() || end == blob.len() {
                    return;
                }
                at = end;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn write(
        &self,
        request: Request<Streaming<v1::Chunk>>,
    ) -> Result<Response<v1::WriteReply>, Status> {
        let mut chunks = request.into_inner();
        let mut whole = bytes::BytesMut::new();
        let mut named = None;
        while let Some(chunk) = chunks.message().await? {
            if named.is_none() {
                named = Some(digest(&chunk.digest)?);
            }
            if chunk.offset != whole.len() as u64 {
                return Err(Status::invalid_argument(format!(
                    "field `offset` of Chunk: expected {}, got {}",
                    whole.len(),
                    chunk.offset
                )));
            }
            if chunk.total_bytes > BLOB_BYTES_MAX
                || (whole.len() + chunk.data.len()) as u64 > chunk.total_bytes
            {
                return Err(Status::invalid_argument(format!(
                    "field `total_bytes` of Chunk: a blob has at most {BLOB_BYTES_MAX} bytes and no more than it says"
                )));
            }
            whole.extend_from_slice(&chunk.data);
        }
        let Some(named) = named else {
            return Err(Status::invalid_argument("a blob has at least one chunk"));
        };
        let whole = whole.freeze();
        let length_bytes = whole.len() as u64;
        let blobs = self.blobs.clone();
        let kept = tokio::task::spawn_blocking(move || blobs.put(&whole))
            .await
            .map_err(|error| Status::internal(error.to_string()))?
            .map_err(|error| Status::unavailable(format!("the blob cannot be stored: {error}")))?;
        if kept != named {
            return Err(Status::data_loss(format!(
                "the blob that came is {kept}, not {named}"
            )));
        }
        let digest = bytes::Bytes::copy_from_slice(&kept.0);
        Ok(Response::new(v1::WriteReply { digest, length_bytes }))
    }
}

fn digest(bytes: &[u8]) -> Result<roundhouse_proto::Digest, Status> {
    let bytes = bytes.try_into().map_err(|_| {
        Status::invalid_argument(format!("field `digest`: expected 32 bytes, got {}", bytes.len()))
    })?;
    Ok(roundhouse_proto::Digest(bytes))
}
