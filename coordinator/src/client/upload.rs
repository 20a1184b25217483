//! Blobs on their way to a coordinator: only those that it lacks, several at a time, each in pieces.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use roundhouse_proto::Digest;
use roundhouse_proto::wire::{CHUNK_MAX_BYTES, DIGESTS_MAX, Fields, v1};

use super::{Client, ClientError, Moving};

/// Blobs on their way at a time: their disk syncs many together far quicker.
const AT_ONCE: usize = 16;

/// How far an upload is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Blobs that were missing.
    pub blobs: usize,
    /// Bytes that were missing.
    pub bytes: u64,
    /// Those of them that are there now.
    pub bytes_done: u64,
}

/// Makes these blobs durable at the coordinator; `tell` is told whenever one more is.
///
/// # Errors
/// The coordinator refuses one, or cannot be reached.
pub async fn upload(
    client: &Client,
    parts: &BTreeMap<Digest, Bytes>,
    mut tell: impl FnMut(Sent),
) -> Result<Sent, ClientError> {
    let mut missing: Vec<(Digest, Bytes, u64)> = Vec::new();
    let digests: Vec<Digest> = parts.keys().copied().collect();
    for asked in digests.chunks(DIGESTS_MAX) {
        let there = stat(client, asked).await?;
        for digest in asked {
            let part = &parts[digest];
            match there.get(digest) {
                Some(Held::Whole) => {}
                Some(Held::First(bytes)) if *bytes <= part.len() as u64 => {
                    missing.push((*digest, part.clone(), *bytes));
                }
                Some(Held::First(_)) | None => missing.push((*digest, part.clone(), 0)),
            }
        }
    }
    let mut sent = Sent {
        blobs: missing.len(),
        bytes: missing.iter().map(|(_, part, _)| part.len() as u64).sum(),
        bytes_done: 0,
    };
    if missing.is_empty() {
        return Ok(sent);
    }
    tell(sent);
    let writes = missing
        .into_iter()
        .map(|(digest, part, from)| write(client, digest, part, from));
    let mut writes = std::pin::pin!(stream::iter(writes).buffer_unordered(AT_ONCE));
    while let Some(bytes) = writes.try_next().await? {
        sent.bytes_done += bytes;
        tell(sent);
    }
    Ok(sent)
}

/// What is there of a blob.
enum Held {
    Whole,
    /// So many bytes from the first on.
    First(u64),
}

async fn stat(client: &Client, digests: &[Digest]) -> Result<BTreeMap<Digest, Held>, ClientError> {
    let request = v1::StatRequest {
        digests: digests.iter().map(bytes_of).collect(),
    };
    let reply = client
        .ask(|| {
            let (mut blobs, request) = (client.blobs(), request.clone());
            async move { blobs.stat(request).await }
        })
        .await?;
    let mut held = BTreeMap::new();
    for blob in reply.blobs {
        let digest = Fields::of("StatReply").digest("digest", &blob.digest)?;
        let there = if blob.complete {
            Held::Whole
        } else {
            Held::First(blob.length_bytes)
        };
        held.insert(digest, there);
    }
    Ok(held)
}

/// Sends a blob from an offset on; should that be refused or cut off, whole. Gives its length.
async fn write(client: &Client, digest: Digest, part: Bytes, from: u64) -> Result<u64, ClientError> {
    let mut tries = 0;
    let moving = Moving::default();
    let reply = client
        .ask_moving(&moving, || {
            let from = if tries == 0 { from } else { 0 };
            tries += 1;
            let (mut blobs, pieces) = (client.blobs(), pieces(digest, &part, from));
            let moving = moving.clone();
            let pieces = pieces.inspect(move |_| moving.piece_left());
            async move { blobs.write(stream::iter(pieces)).await }
        })
        .await?;
    let fields = Fields::of("WriteReply");
    let stored = fields.digest("digest", &reply.digest)?;
    if stored != digest {
        return Err(fields.refuse("digest", digest, stored).into());
    }
    Ok(part.len() as u64)
}

/// At least one, so that an empty blob is told of. Made as they are sent.
fn pieces(digest: Digest, part: &Bytes, from: u64) -> impl Iterator<Item = v1::Chunk> + Send + 'static {
    let part = part.clone();
    let from = usize::try_from(from).unwrap_or(0).min(part.len());
    let end = part.len().max(from + 1);
    (from..end).step_by(CHUNK_MAX_BYTES).map(move |at| v1::Chunk {
        digest: bytes_of(&digest),
        offset: at as u64,
        total_bytes: part.len() as u64,
        data: part.slice(at..(at + CHUNK_MAX_BYTES).min(part.len())),
    })
}

fn bytes_of(digest: &Digest) -> Bytes {
    Bytes::copy_from_slice(&digest.0)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use super::*;
    use crate::client::fake::Fake;

    fn parts(texts: &[Vec<u8>]) -> BTreeMap<Digest, Bytes> {
        let with_digest = |text: &Vec<u8>| (Digest::of(text), Bytes::from(text.clone()));
        texts.iter().map(with_digest).collect()
    }

    #[tokio::test]
    async fn upload_sends_only_what_is_missing_in_pieces_and_once() {
        let fake = Fake::start().await;
        let client = fake.client();
        let long: Vec<u8> = (0..700_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        let texts = [b"one".to_vec(), Vec::new(), long];
        fake.put(b"one");
        let mut told = Vec::new();
        let sent = upload(&client, &parts(&texts), |sent| told.push(sent))
            .await
            .unwrap();
        let whole = Sent {
            blobs: 2,
            bytes: 700_000,
            bytes_done: 700_000,
        };
        assert_eq!(sent, whole);
        assert_eq!(told.last(), Some(&whole));
        let mut written = fake.written();
        written.sort();
        let mut wanted = vec![Digest::of(b""), Digest::of(&texts[2])];
        wanted.sort();
        assert_eq!(written, wanted);

        // Again: everything is there.
        let again = upload(&client, &parts(&texts), |_| panic!("nothing is sent"))
            .await
            .unwrap();
        assert_eq!(again, Sent::default());
        assert_eq!(fake.written().len(), 2);
    }

    #[tokio::test]
    async fn upload_asks_for_many_blobs_in_batches() {
        let fake = Fake::start().await;
        let texts: Vec<Vec<u8>> = (0..1_500_u32).map(|n| n.to_le_bytes().to_vec()).collect();
        for text in &texts[1..] {
            fake.put(text);
        }
        let sent = upload(&fake.client(), &parts(&texts), |_| {}).await.unwrap();
        assert_eq!((sent.blobs, sent.bytes_done), (1, 4));
        assert_eq!(fake.stats_asked(), vec![1024, 476]);
    }

    #[tokio::test]
    async fn blob_that_was_cut_off_goes_on_where_it_ended() {
        let fake = Fake::start().await;
        let text = vec![7_u8; 300_000];
        fake.put_part(&text, 100_000);
        upload(&fake.client(), &parts(std::slice::from_ref(&text)), |_| {})
            .await
            .unwrap();
        assert_eq!(fake.pieces_of(Digest::of(&text)), vec![100_000]);
    }
}
