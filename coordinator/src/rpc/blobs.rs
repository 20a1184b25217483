//! Serves blobs, on a connection of their own, so that they never hold up a link.
//!
//! They pass piece by piece: however long they are and however many workers fetch them, a transfer holds a few
//! pieces in memory. What is read is not checked here: the worker checks the digest of the whole.

use std::io::{ErrorKind, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{Stream, stream};
use roundhouse_proto::Digest;
use roundhouse_proto::wire::{CHUNK_MAX_BYTES, v1};
use tonic::{Code, Request, Response, Status, Streaming};

use super::Outgoing;
use crate::blobs::{BlobError, BlobReader, BlobWriter, Blobs};

/// How often people are told that the disk refuses blobs.
const TOLD_EVERY: Duration = Duration::from_secs(30);

/// Serves blobs.
#[derive(Clone)]
pub struct BlobService {
    blobs: Blobs,
    /// When people were last told that the disk refuses.
    told: Arc<Mutex<Option<Instant>>>,
}

impl BlobService {
    /// Serves these.
    pub fn new(blobs: Blobs) -> Self {
        let told = Arc::default();
        Self { blobs, told }
    }

    /// Says that the disk refuses: the workers only wait.
    fn tell(&self, status: &Status) {
        if !matches!(status.code(), Code::ResourceExhausted | Code::Unavailable) {
            return;
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
            *told = Some(Instant::now());
            tracing::error!(
                error = status.message(),
                "a worker's blob cannot be stored; nothing is lost, and it is tried again"
            );
        }
    }

    async fn take_all_in(&self, mut chunks: Streaming<v1::Chunk>) -> Result<v1::WriteReply, Status> {
        let mut taken = None;
        while let Some(chunk) = chunks.message().await? {
            let blobs = self.blobs.clone();
            taken = Some(blocking(move || take_in(&blobs, taken, &chunk)).await?);
        }
        let Some((writer, length_bytes)) = taken else {
            return Err(Status::invalid_argument("a blob has at least one chunk"));
        };
        let kept = blocking(move || writer.finish().map_err(|error| refuse(&error))).await?;
        let digest = Bytes::copy_from_slice(&kept.0);
        Ok(v1::WriteReply { digest, length_bytes })
    }
}

#[tonic::async_trait]
impl v1::blobs_server::Blobs for BlobService {
    type ReadStream = Outgoing<v1::Chunk>;

    async fn stat(&self, request: Request<v1::StatRequest>) -> Result<Response<v1::StatReply>, Status> {
        let blobs = self.blobs.clone();
        let digests = request.into_inner().digests;
        let blobs = blocking(move || {
            let mut found = Vec::new();
            for bytes in digests {
                if let Ok(length_bytes) = blobs.len(&digest(&bytes)?) {
                    found.push(v1::BlobStat {
                        digest: bytes,
                        length_bytes,
                        complete: true,
                    });
                }
            }
            Ok(found)
        })
        .await?;
        Ok(Response::new(v1::StatReply { blobs }))
    }

    async fn read(&self, request: Request<v1::ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let v1::ReadRequest {
            digest: bytes,
            offset,
        } = request.into_inner();
        let digest = digest(&bytes)?;
        let blobs = self.blobs.clone();
        let reader = blocking(move || blobs.reader(&digest, offset).map_err(|error| refuse(&error))).await?;
        Ok(Response::new(Box::pin(chunks(reader, bytes, offset))))
    }

    async fn write(
        &self,
        request: Request<Streaming<v1::Chunk>>,
    ) -> Result<Response<v1::WriteReply>, Status> {
        let taken = self.take_all_in(request.into_inner()).await;
        taken.map(Response::new).inspect_err(|status| self.tell(status))
    }
}

/// A blob from `offset` on; at least one chunk, so that its length is told.
fn chunks(
    reader: BlobReader,
    digest: Bytes,
    offset: u64,
) -> impl Stream<Item = Result<v1::Chunk, Status>> + Send {
    stream::try_unfold(Some((reader, offset)), move |rest| {
        let digest = digest.clone();
        async move {
            let Some((mut reader, offset)) = rest else {
                return Ok(None);
            };
            let total_bytes = reader.blob_len();
            blocking(move || {
                let mut data = Vec::new();
                reader
                    .by_ref()
                    .take(CHUNK_MAX_BYTES as u64)
                    .read_to_end(&mut data)
                    .map_err(|error| Status::unavailable(format!("the blob cannot be read: {error}")))?;
                let end = offset + data.len() as u64;
                if data.is_empty() && end < total_bytes {
                    return Err(Status::data_loss("the blob is shorter than it was"));
                }
                let chunk = v1::Chunk {
                    digest,
                    offset,
                    total_bytes,
                    data: data.into(),
                };
                Ok(Some((chunk, (end < total_bytes).then_some((reader, end)))))
            })
            .await
        }
    })
}

/// Takes the next chunk in; the writer so far and the bytes it has.
fn take_in(
    blobs: &Blobs,
    taken: Option<(BlobWriter, u64)>,
    chunk: &v1::Chunk,
) -> Result<(BlobWriter, u64), Status> {
    let (mut writer, bytes) = match taken {
        Some(taken) => taken,
        None => {
            let begun = blobs.begin(digest(&chunk.digest)?, chunk.total_bytes);
            (begun.map_err(|error| refuse(&error))?, 0)
        }
    };
    if chunk.offset != bytes {
        let offset = chunk.offset;
        return Err(Status::invalid_argument(format!(
            "field `offset` of Chunk: expected {bytes}, got {offset}"
        )));
    }
    writer.write(&chunk.data).map_err(|error| refuse(&error))?;
    Ok((writer, bytes + chunk.data.len() as u64))
}

/// The status tells the worker whether another try can help.
pub(super) fn refuse(error: &BlobError) -> Status {
    let text = match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    match error {
        BlobError::Missing { .. } => Status::not_found(text),
        BlobError::Damaged { .. } | BlobError::Differs { .. } => Status::data_loss(text),
        BlobError::Length { .. } | BlobError::TooLong { .. } => Status::invalid_argument(text),
        BlobError::BeyondEnd { .. } => Status::out_of_range(text),
        BlobError::Io { source, .. }
            if matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) =>
        {
            Status::resource_exhausted(text)
        }
        BlobError::Io { .. } => Status::unavailable(text),
    }
}

/// Does what waits for the disk on a thread that may.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?
}

fn digest(bytes: &[u8]) -> Result<Digest, Status> {
    let bytes = bytes.try_into().map_err(|_| {
        Status::invalid_argument(format!("field `digest`: expected 32 bytes, got {}", bytes.len()))
    })?;
    Ok(Digest(bytes))
}
