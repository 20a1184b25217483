//! The link that workers talk over. It decides nothing: what arrives becomes an event, what is large becomes a blob
//! first, so that no event names what is not durable. Blobs have a service of their own, `rpc::blobs`; what people's
//! commands ask is answered by `rpc::control`.

mod blobs;
mod control;

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use prost::Message;
use roundhouse_core::{Event, LinkId};
use roundhouse_proto::link::{CoordMsg, Hello, JobResult, PROTOCOL_VERSION, PROTOCOL_VERSION_MIN, WorkerMsg};
use roundhouse_proto::wire::{GRANTS_MAX, WireError, v1};
use roundhouse_proto::{GenerationOutcome, SessionEvent};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

pub use self::blobs::BlobService;
pub use self::control::{Activity, ControlService, RUN_DIR_PREFIX, Submissions, warning};
use crate::blobs::Blobs;
use crate::driver::{Events, Links};

/// How long the first message of a link may take.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Characters of a reason that are stored.
const REASON_CHARS_MAX: usize = 600;
/// Bytes of the patches and of the notes of a session's outcome that are stored, each; those that do not fit are left
/// out. A record holds both and the outcome's program.
const NOTES_BYTES_MAX: usize = 2_048;
/// Messages of one link whose large values are made durable at a time; a disk syncs many together far quicker.
const MESSAGES_AT_ONCE: usize = 16;
/// Shortest and longest pause before a value that the disk refused is tried again.
const DISK_PAUSE_MIN: Duration = Duration::from_millis(100);
/// As above; shorter than the silence after which a worker counts as lost.
const DISK_PAUSE_MAX: Duration = Duration::from_secs(3);
/// Bytes of a message with several jobs; one job alone, which may bring a whole transcript, stays well below what a
/// worker takes (4 MiB).
const JOBS_BYTES_MAX: usize = 1 << 20;

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
        let first = tokio::time::timeout(HELLO_TIMEOUT, incoming.message());
        let first = first
            .await
            .map_err(|_| Status::deadline_exceeded("a link begins with hello, and none came"))??
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
        // A task of its own from here on: this call is dropped when its caller goes away, and what was opened must be
        // closed all the same.
        tokio::spawn(self.clone().serve(link, hello, incoming));
        let outgoing = ReceiverStream::new(outgoing)
            .flat_map(|msg| stream::iter(in_pieces(msg)))
            .map(Ok);
        Ok(Response::new(Box::pin(outgoing)))
    }
}

/// A message as it is sent: many jobs in several messages, so that none is longer than a worker takes.
fn in_pieces(msg: CoordMsg) -> Vec<v1::CoordMsg> {
    let CoordMsg::Jobs(jobs) = msg else {
        return vec![msg.into()];
    };
    let mut pieces = Vec::new();
    let mut piece = Vec::new();
    let mut bytes = 0;
    for job in jobs {
        let job_bytes = v1::CoordMsg::from(CoordMsg::Jobs(vec![job.clone()])).encoded_len();
        if !piece.is_empty() && (bytes + job_bytes > JOBS_BYTES_MAX || piece.len() == GRANTS_MAX) {
            pieces.push(CoordMsg::Jobs(std::mem::take(&mut piece)).into());
            bytes = 0;
        }
        bytes += job_bytes;
        piece.push(job);
    }
    pieces.push(CoordMsg::Jobs(piece).into());
    pieces
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

/// A link is to be cut off; why was logged.
struct CutOff;

impl LinkService {
    async fn serve(self, link: LinkId, hello: Hello, incoming: Streaming<v1::WorkerMsg>) {
        let hello = Box::new(hello);
        let has_joined = self.events.send(Event::Joined { link, hello }).await;
        let said_goodbye = has_joined && self.read(link, incoming).await;
        self.links.close(link);
        if has_joined && !said_goodbye {
            tracing::info!(%link, "a link ended without a goodbye");
            self.events.send(Event::LinkLost { link }).await;
        }
    }

    /// Turns messages into events, in order, until the link ends; true if it ended with a goodbye.
    async fn read(&self, link: LinkId, incoming: Streaming<v1::WorkerMsg>) -> bool {
        let mut messages = incoming
            .map(|msg| self.clone().take_in(link, msg))
            .buffered(MESSAGES_AT_ONCE);
        while let Some(Ok(msg)) = messages.next().await {
            let said_goodbye = matches!(msg, Some(WorkerMsg::Goodbye { .. }));
            if let Some(event) = msg.and_then(|msg| event(link, msg))
                && !self.events.send(event).await
            {
                return false;
            }
            if said_goodbye {
                return true;
            }
        }
        false
    }

    /// A message whose large values are durable; none if it is dealt with.
    async fn take_in(
        self,
        link: LinkId,
        msg: Result<v1::WorkerMsg, Status>,
    ) -> Result<Option<WorkerMsg>, CutOff> {
        let msg = msg.map_err(|status| {
            tracing::debug!(%link, %status, "a link broke");
            CutOff
        })?;
        let msg = WorkerMsg::try_from(msg).map_err(|error| {
            tracing::warn!(%link, %error, "a worker said what cannot be read: its link is cut off");
            CutOff
        })?;
        if let WorkerMsg::Ping { seq } = msg {
            // A sign of life must not wait for the disk behind the values of other messages.
            self.events.send(Event::Pinged { link, seq }).await;
            return Ok(None);
        }
        self.keep_large_at_last(link, msg).await.map(Some)
    }

    /// Makes large values durable, however often it takes. To cut the link off instead would cost every job of the
    /// worker an attempt, and a full disk would soon have used up all of them.
    async fn keep_large_at_last(&self, link: LinkId, msg: WorkerMsg) -> Result<WorkerMsg, CutOff> {
        let mut pause = DISK_PAUSE_MIN;
        loop {
            let error = match self.keep_large(msg.clone()).await {
                Ok(msg) => return Ok(msg),
                Err(error) => error,
            };
            if pause == DISK_PAUSE_MIN {
                tracing::error!(%error, "a value cannot be stored; nothing is lost, and it is tried again");
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(DISK_PAUSE_MAX);
            // Its pings may wait behind this message: it is not the worker that is silent. Ends with the driver.
            if !self.events.send(Event::Pinged { link, seq: 0 }).await {
                return Err(CutOff);
            }
        }
    }

    /// Makes large values durable before an event names them, and cuts what a record could not hold.
    async fn keep_large(&self, mut msg: WorkerMsg) -> std::io::Result<WorkerMsg> {
        let payloads = match &mut msg {
            WorkerMsg::Session { event, .. } => {
                if let SessionEvent::Finished(GenerationOutcome { patched, notes, .. }) = event {
                    cut_list(patched);
                    cut_list(notes);
                }
                event.payloads_mut()
            }
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
                result: JobResult::Failed { failure, .. },
                ..
            } => {
                cut(&mut failure.message);
                return Ok(msg);
            }
            WorkerMsg::Nack { reason, .. } | WorkerMsg::Benched { reason, .. } => {
                cut(reason);
                return Ok(msg);
            }
            WorkerMsg::Hello(_)
            | WorkerMsg::Inventory { .. }
            | WorkerMsg::Credit { .. }
            | WorkerMsg::Ping { .. }
            | WorkerMsg::Started { .. }
            | WorkerMsg::Goodbye { .. } => return Ok(msg),
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

/// Leaves out the texts at the end that do not fit, as JSON with its escapes.
fn cut_list(texts: &mut Vec<String>) {
    let mut bytes = 0;
    let fits = |text: &&String| {
        bytes += serde_json::to_string(text).map_or(NOTES_BYTES_MAX, |json| json.len()) + 1;
        bytes <= NOTES_BYTES_MAX
    };
    let kept = texts.iter().take_while(fits).count();
    texts.truncate(kept);
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
        WorkerMsg::Benched { endpoint, reason } => Event::Benched {
            link,
            endpoint,
            reason,
        },
        WorkerMsg::Nack {
            lease,
            reason,
            unaccounted,
        } => Event::GivenBack {
            link,
            lease,
            reason,
            unaccounted,
        },
        WorkerMsg::Goodbye { .. } => Event::Left { link },
    })
}

#[cfg(test)]
mod tests;
