//! Blobs from and to the coordinator, over a connection of their own, with a bounded cache in memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use roundhouse_proto::wire::v1::blobs_client::BlobsClient;
use roundhouse_proto::wire::v1::{Chunk, ReadRequest};
use roundhouse_proto::{Digest, Failure, FailureClass, Payload};
use tonic::Code;
use tonic::transport::Channel;

/// Bytes kept in memory; what was used longest ago goes first.
const CACHE_BYTES_MAX: usize = 256 << 20;
/// Bytes of one chunk.
const CHUNK_BYTES: usize = 256 << 10;
/// The longest blob that is taken in.
const BLOB_BYTES_MAX: u64 = 1 << 30;
/// Tries of one transfer that comes damaged.
const TRIES_MAX: u32 = 5;
/// Tries of one transfer while the coordinator is out of reach or fails: about a minute.
const TRIES_UNREACHABLE_MAX: u32 = 20;
/// Tries of one transfer while the coordinator's disk is full, which it tells people: about an hour. A lease that
/// becomes void ends it at once.
const TRIES_DISK_FULL_MAX: u32 = 720;
/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Bytes from which on a digest is computed on a thread that may block.
const HASHED_HERE_MAX: usize = 64 << 10;

/// Fetches and stores blobs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BlobClient {
    channel: Channel,
    cache: Arc<Mutex<Cache>>,
}

#[derive(Debug, Default)]
struct Cache {
    blobs: BTreeMap<Digest, Bytes>,
    /// Oldest first.
    order: VecDeque<Digest>,
    bytes: usize,
}

impl Cache {
    fn put(&mut self, digest: Digest, blob: Bytes) {
        if blob.len() > CACHE_BYTES_MAX || self.blobs.contains_key(&digest) {
            return;
        }
        self.bytes += blob.len();
        self.order.push_back(digest);
        self.blobs.insert(digest, blob);
        while self.bytes > CACHE_BYTES_MAX {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            self.bytes -= self.blobs.remove(&oldest).map_or(0, |blob| blob.len());
        }
    }

    fn take_up(&mut self, digest: &Digest) -> Option<Bytes> {
        let blob = self.blobs.get(digest)?.clone();
        self.order.retain(|other| other != digest);
        self.order.push_back(*digest);
        Some(blob)
    }
}

/// Why a blob did not arrive.
#[derive(Debug, thiserror::Error)]
enum TransferError {
    #[error("the coordinator did not give it")]
    Rpc(#[from] tonic::Status),
    #[error("it came damaged: {0}")]
    Damaged(&'static str),
}

impl TransferError {
    /// How often it is tried before this error counts.
    fn tries_max(&self) -> u32 {
        match self {
            Self::Damaged(_) => TRIES_MAX,
            Self::Rpc(status) => match status.code() {
                // The answer will be the same.
                Code::NotFound
                | Code::InvalidArgument
                | Code::OutOfRange
                | Code::Unimplemented
                | Code::PermissionDenied
                | Code::Unauthenticated => 1,
                Code::DataLoss => TRIES_MAX,
                Code::ResourceExhausted => TRIES_DISK_FULL_MAX,
                _ => TRIES_UNREACHABLE_MAX,
            },
        }
    }

    fn class(&self) -> FailureClass {
        match self {
            // Wherever it is tried, the coordinator does not have it.
            Self::Rpc(status) if status.code() == Code::NotFound => FailureClass::Job,
            Self::Rpc(_) | Self::Damaged(_) => FailureClass::InfraRetry,
        }
    }
}

impl BlobClient {
    /// A client on a channel that carries nothing but blobs.
    pub fn new(channel: Channel) -> Self {
        Self {
            channel,
            cache: Arc::default(),
        }
    }

    /// The blob at an address, whole and checked.
    ///
    /// # Errors
    /// The coordinator has none, or a transient failure after many tries.
    pub async fn fetch(&self, digest: Digest) -> Result<Bytes, Failure> {
        let cached = self
            .cache
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take_up(&digest);
        if let Some(blob) = cached {
            return Ok(blob);
        }
        let blob = self.fetch_past_cache(digest).await?;
        self.cache
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .put(digest, blob.clone());
        Ok(blob)
    }

    /// As [`Self::fetch`], for one who keeps what comes of it: it is not looked for in memory, nor kept there.
    ///
    /// # Errors
    /// As [`Self::fetch`].
    pub async fn fetch_past_cache(&self, digest: Digest) -> Result<Bytes, Failure> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.read(digest).await {
                Ok(blob) => return Ok(blob),
                Err(error) if tries >= error.tries_max() => {
                    return Err(failure("fetch", digest, tries, &error));
                }
                Err(_) => tokio::time::sleep(backoff(tries)).await,
            }
        }
    }

    /// A payload's value.
    ///
    /// # Errors
    /// As [`Self::fetch`].
    pub async fn load(&self, payload: &Payload) -> Result<Bytes, Failure> {
        match payload {
            Payload::Inline(bytes) => Ok(bytes.clone()),
            Payload::Blob(digest) => self.fetch(*digest).await,
        }
    }

    /// A payload's value as text.
    ///
    /// # Errors
    /// As [`Self::fetch`]; a value that is not UTF-8 is a failure of the job.
    pub async fn load_text(&self, payload: &Payload) -> Result<String, Failure> {
        let bytes = self.load(payload).await?;
        String::from_utf8(bytes.to_vec()).map_err(|_| Failure {
            class: FailureClass::Job,
            message: format!("blob {} is not UTF-8 text", payload.digest()),
        })
    }

    /// Makes bytes durable at the coordinator.
    ///
    /// # Errors
    /// A transient failure after a few tries.
    pub async fn store(&self, blob: Bytes) -> Result<Digest, Failure> {
        let digest = digest_of(&blob).await;
        let mut tries = 0;
        loop {
            tries += 1;
            match self.write(digest, &blob).await {
                Ok(()) => {
                    self.cache
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .put(digest, blob);
                    return Ok(digest);
                }
                Err(error) if tries >= error.tries_max() => {
                    return Err(failure("store", digest, tries, &error));
                }
                Err(_) => tokio::time::sleep(backoff(tries)).await,
            }
        }
    }

    async fn read(&self, digest: Digest) -> Result<Bytes, TransferError> {
        let mut client = BlobsClient::new(self.channel.clone());
        let request = ReadRequest {
            digest: Bytes::copy_from_slice(&digest.0),
            offset: 0,
        };
        let mut chunks = client.read(request).await?.into_inner();
        let mut whole = BytesMut::new();
        while let Some(chunk) = chunks.message().await? {
            if chunk.total_bytes > BLOB_BYTES_MAX || chunk.offset != whole.len() as u64 {
                return Err(TransferError::Damaged("a chunk is out of place"));
            }
            whole.extend_from_slice(&chunk.data);
            if whole.len() as u64 > chunk.total_bytes {
                return Err(TransferError::Damaged("it is longer than it says"));
            }
        }
        let whole = whole.freeze();
        if digest_of(&whole).await != digest {
            return Err(TransferError::Damaged("its digest is another"));
        }
        Ok(whole)
    }

    async fn write(&self, digest: Digest, blob: &Bytes) -> Result<(), TransferError> {
        let total_bytes = blob.len() as u64;
        let starts = (0..blob.len().max(1)).step_by(CHUNK_BYTES);
        let chunks: Vec<Chunk> = starts
            .map(|at| Chunk {
                digest: Bytes::copy_from_slice(&digest.0),
                offset: at as u64,
                total_bytes,
                data: blob.slice(at..(at + CHUNK_BYTES).min(blob.len())),
            })
            .collect();
        let mut client = BlobsClient::new(self.channel.clone());
        client.write(tokio_stream::iter(chunks)).await?;
        Ok(())
    }
}

/// The digest of bytes; of many on a thread that may block, so that no ping waits for it.
async fn digest_of(bytes: &Bytes) -> Digest {
    if bytes.len() <= HASHED_HERE_MAX {
        return Digest::of(bytes);
    }
    let shared = bytes.clone();
    tokio::task::spawn_blocking(move || Digest::of(&shared))
        .await
        .unwrap_or_else(|_| Digest::of(bytes))
}

fn failure(what: &str, digest: Digest, tries: u32, error: &TransferError) -> Failure {
    let detail = match error {
        TransferError::Rpc(status) => format!("{error}: {}", status.message()),
        TransferError::Damaged(_) => error.to_string(),
    };
    let message = format!("{what} blob {digest}, {tries} tries: {detail}");
    Failure {
        class: error.class(),
        message,
    }
}

/// 200 ms, doubled with every try, up to a bound.
fn backoff(tries: u32) -> Duration {
    Duration::from_millis(100 << tries.min(10)).min(PAUSE_MAX)
}
