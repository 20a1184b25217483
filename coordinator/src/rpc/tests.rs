//! What becomes of messages on their way in and out.

#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use std::collections::BTreeMap;

use bytes::Bytes;
use roundhouse_core::record::{SessionRecord, Write};
use roundhouse_proto::link::JobGrant;
use roundhouse_proto::wire::v1::blobs_server::{Blobs as _, BlobsServer};
use roundhouse_proto::work::Priority;
use roundhouse_proto::{
    Comparator, Digest, Failure, FailureClass, FinalChoice, FinishReason, GenerateWork, JobId, JobKind,
    Language, LeaseId, Limits, Payload, RunId, Sampling, SessionSettings, Speaker, StopReason, TesterMode,
    Work,
};
use uuid::Uuid;

use super::*;
use crate::driver::DriverChannels;
use crate::store::{MemoryStore, Store};

fn grant(seq: u64, resume: Vec<SessionEvent>) -> JobGrant {
    JobGrant {
        job: JobId {
            run: RunId(Uuid::from_u128(1)),
            problem: u32::try_from(seq).unwrap(),
            kind: JobKind::Generate,
        },
        lease: LeaseId { epoch: 1, seq },
        attempt: 1,
        priority: Priority::NORMAL,
        work: Work::Generate(GenerateWork {
            statement: Digest::of(b"statement"),
            public_cases: None,
            reference: None,
            time_limit_ms: None,
            memory_limit_bytes: None,
            settings: SessionSettings {
                method: roundhouse_proto::Method::SelfCollaboration,
                model: "reference".to_owned(),
                sampling: Sampling::default(),
                max_rounds: 64,
                tester: TesterMode::Cases,
                language: Language::Python3,
                patch: true,
                comparator: Comparator::CodeContests,
                limits: Limits::default(),
                final_choice: FinalChoice::Last,
                model_for: BTreeMap::new(),
            },
            resume,
            reports: Vec::new(),
            prompts: None,
            endpoint: None,
            entry_point: None,
            recording: None,
        }),
    }
}

/// An event with as much inline as a record may hold.
fn said() -> SessionEvent {
    let text = || Payload::Inline(Bytes::from(vec![b'x'; 1_700]));
    SessionEvent::Said {
        speaker: Speaker::Coder,
        round: 0,
        ask: 0,
        prompt: text(),
        reply: text(),
        reasoning: Some(text()),
        finish: FinishReason::Stop,
        usage: None,
        duration_ms: 1,
        remarks: Vec::new(),
        unaccounted: 0,
    }
}

#[test]
fn jobs_with_long_transcripts_go_in_messages_that_a_worker_takes_and_keep_their_order() {
    let long = vec![said(); 64 * 6];
    let jobs: Vec<_> = (1..=4)
        .map(|seq| grant(seq, long.clone()))
        .chain((5..=1_500).map(|seq| grant(seq, Vec::new())))
        .collect();
    let pieces = in_pieces(CoordMsg::Jobs(jobs.clone()));
    assert!(pieces.iter().all(|piece| piece.encoded_len() < 3 << 20));
    let mut received = Vec::new();
    for piece in pieces {
        let CoordMsg::Jobs(jobs) = CoordMsg::try_from(piece).unwrap() else {
            panic!("jobs stay jobs");
        };
        received.extend(jobs);
    }
    assert_eq!(received, jobs);
}

#[test]
fn other_messages_and_few_jobs_go_as_they_are() {
    for msg in [
        CoordMsg::Pong { seq: 1 },
        CoordMsg::Jobs(vec![grant(1, Vec::new()), grant(2, Vec::new())]),
    ] {
        let pieces = in_pieces(msg.clone());
        assert_eq!(pieces, vec![v1::CoordMsg::from(msg)]);
    }
}

struct Bench {
    service: LinkService,
    /// The driver's ends: while they are there, events are taken.
    _channels: DriverChannels,
    dir: tempfile::TempDir,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let channels = DriverChannels::new();
    Bench {
        service: LinkService {
            events: channels.events(),
            links: Links::default(),
            blobs: Blobs::open(dir.path()).unwrap(),
        },
        _channels: channels,
        dir,
    }
}

#[tokio::test]
async fn whatever_a_worker_says_becomes_a_record_that_can_be_stored() {
    let bench = bench();
    let text = || Payload::Inline(Bytes::from(vec![0; 60_000]));
    let hostile = "\u{1}".repeat(900);
    let job = grant(1, Vec::new()).job;
    let lease = LeaseId { epoch: 1, seq: 1 };
    let outcome = GenerationOutcome {
        program: Some(text()),
        stop_reason: StopReason::RoundLimit,
        patched: vec!["import sys".to_owned(), hostile.clone()],
        notes: vec!["tester, round 1: no usable case".to_owned(); 300],
        unaccounted: 0,
    };
    let msg = WorkerMsg::Session {
        job,
        lease,
        seq: 1,
        event: SessionEvent::Finished(outcome),
    };
    let Ok(WorkerMsg::Session { event, .. }) = bench.service.keep_large(msg).await else {
        panic!("a session's event stays one");
    };
    let SessionEvent::Finished(kept) = &event else {
        panic!("the end stays the end");
    };
    assert_eq!(kept.patched, vec!["import sys".to_owned()]);
    assert!(kept.notes.len() > 50 && kept.notes.len() < 300);
    let record = SessionRecord {
        job,
        seq: 1,
        at_ms: u64::MAX,
        event,
    };
    MemoryStore::new().commit(&[Write::Session(record)]).unwrap();

    let failed = JobResult::Failed {
        failure: Failure {
            class: FailureClass::Job,
            message: hostile.clone(),
        },
        unaccounted: 0,
    };
    for msg in [
        WorkerMsg::Result {
            job,
            lease,
            result: failed,
        },
        WorkerMsg::Nack {
            lease,
            reason: hostile,
            unaccounted: 0,
        },
    ] {
        let kept = match bench.service.keep_large(msg).await.unwrap() {
            WorkerMsg::Result {
                result: JobResult::Failed { failure, .. },
                ..
            } => failure.message,
            WorkerMsg::Nack { reason, .. } => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(kept.chars().count(), REASON_CHARS_MAX);
    }
}

#[tokio::test]
async fn value_that_the_disk_refuses_is_kept_back_until_it_can_be_stored() {
    let bench = bench();
    let tmp = bench.dir.path().join("blobs/tmp");
    std::fs::remove_dir(&tmp).unwrap();
    let text = Bytes::from(vec![b'x'; 10_000]);
    let msg = WorkerMsg::Session {
        job: grant(1, Vec::new()).job,
        lease: LeaseId { epoch: 1, seq: 1 },
        seq: 1,
        event: SessionEvent::TestRequest {
            round: 0,
            program: Payload::Inline(text.clone()),
            cases: Digest::of(b"cases"),
            cases_n: 1,
        },
    };
    let mut keeping = Box::pin(bench.service.keep_large_at_last(LinkId(1), msg));
    let too_early = tokio::time::timeout(DISK_PAUSE_MIN * 2, &mut keeping).await;
    assert!(too_early.is_err(), "it cannot be stored yet");
    std::fs::create_dir(&tmp).unwrap();
    assert!(keeping.await.is_ok());
    assert_eq!(bench.service.blobs.read(&Digest::of(&text)).unwrap(), text);
}

/// A client of a blob service over a Unix socket.
async fn blob_client(
    blobs: Blobs,
    dir: &std::path::Path,
) -> v1::blobs_client::BlobsClient<tonic::transport::Channel> {
    let socket = dir.join("s");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let service = BlobsServer::new(BlobService::new(blobs));
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(tokio_stream::wrappers::UnixListenerStream::new(listener)));
    let address = roundhouse_proto::CoordinatorAddress::Unix(socket);
    v1::blobs_client::BlobsClient::new(address.channel())
}

async fn read(blobs: &Blobs, digest: &[u8], offset: u64) -> Result<Vec<v1::Chunk>, tonic::Code> {
    let service = BlobService::new(blobs.clone());
    let digest = Bytes::copy_from_slice(digest);
    let stream = service.read(Request::new(v1::ReadRequest { digest, offset }));
    let chunks = stream.await.map_err(|status| status.code())?.into_inner();
    Ok(chunks.map(|chunk| chunk.unwrap()).collect().await)
}

#[tokio::test]
async fn blob_comes_in_chunks_from_any_offset_and_an_empty_one_in_one() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(dir.path()).unwrap();
    let whole: Vec<u8> = (0..600_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let digest = blobs.put(&whole).unwrap();
    for offset in [0, 1, 599_999, 600_000] {
        let chunks = read(&blobs, &digest.0, offset).await.unwrap();
        let mut at = offset;
        for chunk in &chunks {
            assert_eq!((chunk.offset, chunk.total_bytes), (at, 600_000));
            at += chunk.data.len() as u64;
        }
        let joined: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.data.to_vec()).collect();
        assert_eq!(joined, whole[usize::try_from(offset).unwrap()..]);
    }
    let empty = blobs.put(b"").unwrap();
    assert_eq!(read(&blobs, &empty.0, 0).await.unwrap().len(), 1);
}

#[tokio::test]
async fn status_tells_whether_another_try_can_help() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(dir.path()).unwrap();
    let digest = blobs.put(b"here").unwrap();
    let missing = Digest::of(b"missing");
    let code = async |digest: &[u8], offset| read(&blobs, digest, offset).await.unwrap_err();
    assert_eq!(code(&missing.0, 0).await, tonic::Code::NotFound);
    assert_eq!(code(&digest.0, 5).await, tonic::Code::OutOfRange);
    assert_eq!(code(b"short", 0).await, tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn blob_is_stored_only_if_what_came_is_what_was_announced() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(dir.path()).unwrap();
    let mut client = blob_client(blobs.clone(), dir.path()).await;
    let chunk = |digest: Digest, offset: u64, total_bytes: u64, data: &'static [u8]| v1::Chunk {
        digest: Bytes::copy_from_slice(&digest.0),
        offset,
        total_bytes,
        data: Bytes::from_static(data),
    };
    let good = Digest::of(b"0123456789");
    let mut codes = BTreeMap::new();
    for (name, chunks) in [
        ("another text", vec![chunk(good, 0, 10, b"012345678X")]),
        ("too short", vec![chunk(good, 0, 10, b"01234")]),
        ("too long", vec![chunk(good, 0, 5, b"0123456789")]),
        (
            "out of place",
            vec![chunk(good, 0, 10, b"01234"), chunk(good, 6, 10, b"6789")],
        ),
        ("nothing", vec![]),
    ] {
        let status = client.write(stream::iter(chunks)).await.unwrap_err();
        codes.insert(name, status.code());
    }
    let invalid = tonic::Code::InvalidArgument;
    let expected = BTreeMap::from([
        ("another text", tonic::Code::DataLoss),
        ("too short", invalid),
        ("too long", invalid),
        ("out of place", invalid),
        ("nothing", invalid),
    ]);
    assert_eq!(codes, expected);
    assert!(blobs.read(&good).is_err());

    let chunks = vec![chunk(good, 0, 10, b"01234"), chunk(good, 5, 10, b"56789")];
    client.write(stream::iter(chunks)).await.unwrap();
    assert_eq!(blobs.read(&good).unwrap(), Bytes::from_static(b"0123456789"));
}
