//! Blobs from and to the coordinator, over a connection of their own, with a bounded cache in memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use roundhouse_proto::wire::v1::blobs_client::BlobsClient;
use roundhouse_proto::wire::v1::{Chunk, ReadRequest};
use roundhouse_proto::{Digest, Failure, FailureClass, Payload};
use tonic::transport::Channel;

/// Bytes kept in memory; what was used longest ago goes first.
const CACHE_BYTES_MAX: usize = 256 << 20;
/// Bytes of one chunk.
const CHUNK_BYTES: usize = 256 << 10;
/// The longest blob that is taken in.
const BLOB_BYTES_MAX: u64 = 1 << 30;
/// Tries of one transfer.
const TRIES_MAX: u32 = 5;

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
    /// A transient failure after a few tries.
    pub async fn fetch(&self, digest: Digest) -> Result<Bytes, Failure> {
        let cached = self
            .cache
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take_up(&digest);
        if let Some(blob) = cached {
            return Ok(blob);
        }
        let mut tries = 0;
        loop {
            tries += 1;
            match self.read(digest).await {
                Ok(blob) => {
                    self.cache
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .put(digest, blob.clone());
                    return Ok(blob);
                }
                Err(error) if tries == TRIES_MAX => return Err(failure("fetch", digest, &error)),
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
        let digest = Digest::of(&blob);
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
                Err(error) if tries == TRIES_MAX => return Err(failure("store", digest, &error)),
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
        if Digest::of(&whole) != digest {
            return Err(TransferError::Damaged("its digest is another"));
        }
        Ok(whole.freeze())
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

fn failure(what: &str, digest: Digest, error: &TransferError) -> Failure {
    let detail = match error {
        TransferError::Rpc(status) => status.message(),
        TransferError::Damaged(detail) => detail,
    };
    let message = format!("{what} blob {digest} after {TRIES_MAX} tries: {error}: {detail}");
    Failure {
        class: FailureClass::InfraRetry,
        message,
    }
}

/// 100 ms, doubled with every try.
fn backoff(tries: u32) -> std::time::Duration {
    std::time::Duration::from_millis(100 << tries.min(6))
}
