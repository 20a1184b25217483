//! No bytes from outside make a reader panic, and what can be read is written as it was.

use bytes::Bytes;
use prost::Message;
use roundhouse_tests::chance::Chance;
use roundhouse_tests::fuzz::{fuzz, spoil};

use super::samples;
use crate::digest::Digest;
use crate::link::{CoordMsg, WorkerMsg};
use crate::recording::RecordedCall;
use crate::wire::v1;
use crate::{
    EvaluationReport, FinishReason, Problem, PromptSet, Recording, ReferenceMaterial, Speaker, StopReason,
    TestSet, Usage,
};

/// Inputs that are played unless more are asked for.
const CASES: u64 = 5_000;
/// Longest bytes that mean nothing.
const RANDOM_BYTES_MAX: usize = 512;

/// Tags and lengths of protobuf, the greatest number, and what is no UTF-8.
const WORDS: [&[u8]; 9] = [
    &[0x0a],
    &[0x12, 0x00],
    &[0x08, 0x00],
    &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0x0b, 0x0b, 0x0b],
    &[0x80, 0x80, 0x80],
    &[0x1a, 0x02, 0x0a, 0x00],
    &[0x0a, 0x02, 0xc3, 0x28],
];

/// Reads `bytes` as everything that arrives from outside; gives how much of it they could be.
fn read_as_everything(bytes: &Bytes) -> u32 {
    let mut read = 0;
    let mut count = |is_read| read += u32::from(is_read);
    count(v1::WorkerMsg::decode(bytes.clone()).is_ok_and(|msg| WorkerMsg::try_from(msg).is_ok()));
    count(v1::CoordMsg::decode(bytes.clone()).is_ok_and(|msg| CoordMsg::try_from(msg).is_ok()));
    count(v1::Problem::decode(bytes.clone()).is_ok_and(|problem| Problem::try_from(problem).is_ok()));
    macro_rules! blob {
        ($name:ident) => {
            if let Ok(read) = $name::from_bytes(bytes.clone()) {
                assert_eq!($name::from_bytes(read.to_bytes()), Ok(read));
                count(true);
            }
        };
    }
    blob!(TestSet);
    blob!(ReferenceMaterial);
    blob!(EvaluationReport);
    blob!(PromptSet);
    blob!(Recording);
    read
}

fn recording() -> Recording {
    let call = |finish, usage| RecordedCall {
        speaker: Speaker::Coder,
        round: 1,
        ask: 0,
        prompt: Digest::of(b"prompt"),
        reply: "```python\nprint(1)\n```".to_owned(),
        reasoning: Some("why".to_owned()),
        finish,
        usage,
    };
    Recording {
        calls: vec![
            call(FinishReason::Stop, Some(Usage::default())),
            call(FinishReason::Length, None),
        ],
        unanswered: Some(StopReason::ContextLimit),
    }
}

fn encoded_samples() -> Vec<Vec<u8>> {
    let worker = samples::worker_msgs().into_iter().map(v1::WorkerMsg::from);
    let coord = samples::coord_msgs().into_iter().map(v1::CoordMsg::from);
    let blobs = [
        samples::test_set().to_bytes().to_vec(),
        samples::reference().to_bytes().to_vec(),
        samples::report().to_bytes().to_vec(),
        samples::prompt_set().to_bytes().to_vec(),
        recording().to_bytes().to_vec(),
        v1::Problem::from(samples::problem()).encode_to_vec(),
    ];
    let messages = worker
        .map(|msg| msg.encode_to_vec())
        .chain(coord.map(|msg| msg.encode_to_vec()));
    messages.chain(blobs).collect()
}

fn bytes(chance: &mut Chance, samples: &[Vec<u8>]) -> Vec<u8> {
    if chance.one_in(8) {
        let length = chance.below(RANDOM_BYTES_MAX);
        return (0..length).map(|_| chance.number().to_le_bytes()[0]).collect();
    }
    let mut bytes = chance.pick(samples).unwrap_or_default();
    spoil(chance, &mut bytes, &WORDS);
    bytes
}

#[test]
fn spoilt_messages_and_blobs_are_errors_or_read_back() {
    let samples = encoded_samples();
    let mut read = 0;
    let cases = fuzz("messages and blobs", CASES, |chance| {
        let bytes = bytes(chance, &samples);
        read += u64::from(read_as_everything(&bytes.into()) > 0);
    });
    // Else nothing was written again.
    assert!(
        cases < 500 || read > cases / 50,
        "{read} of {cases} could be read"
    );
}

#[test]
fn every_sample_can_be_read_as_something() {
    for sample in encoded_samples() {
        assert!(!sample.is_empty() && read_as_everything(&sample.into()) > 0);
    }
}
