//! No bytes from outside make a reader panic.

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;

use super::samples;
use crate::link::{CoordMsg, WorkerMsg};
use crate::wire::v1;
use crate::{EvaluationReport, Problem, PromptSet, ReferenceMaterial, TestSet};

/// Reads `bytes` as everything that arrives from outside; what it comes to does not matter here.
fn read_as_everything(bytes: &Bytes) {
    let _ = v1::WorkerMsg::decode(bytes.clone()).map(WorkerMsg::try_from);
    let _ = v1::CoordMsg::decode(bytes.clone()).map(CoordMsg::try_from);
    let _ = v1::Problem::decode(bytes.clone()).map(Problem::try_from);
    let _ = TestSet::from_bytes(bytes.clone());
    let _ = ReferenceMaterial::from_bytes(bytes.clone());
    let _ = EvaluationReport::from_bytes(bytes.clone());
    let _ = PromptSet::from_bytes(bytes.clone());
}

fn encoded_samples() -> Vec<Vec<u8>> {
    let worker = samples::worker_msgs().into_iter().map(v1::WorkerMsg::from);
    let coord = samples::coord_msgs().into_iter().map(v1::CoordMsg::from);
    let blobs = [
        samples::test_set().to_bytes().to_vec(),
        samples::reference().to_bytes().to_vec(),
        samples::report().to_bytes().to_vec(),
        samples::prompt_set().to_bytes().to_vec(),
        v1::Problem::from(samples::problem()).encode_to_vec(),
    ];
    let messages = worker
        .map(|msg| msg.encode_to_vec())
        .chain(coord.map(|msg| msg.encode_to_vec()));
    messages.chain(blobs).collect()
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        read_as_everything(&bytes.into());
    }

    #[test]
    fn spoilt_messages_never_panic(
        sample in proptest::sample::select(encoded_samples()),
        spoilt in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        keep in any::<proptest::sample::Index>(),
    ) {
        let mut bytes = sample;
        for (place, byte) in spoilt {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        read_as_everything(&bytes.clone().into());
        bytes.truncate(keep.index(bytes.len()));
        read_as_everything(&bytes.into());
    }
}

#[test]
fn encoded_sample_is_never_empty() {
    assert!(encoded_samples().iter().all(|bytes| !bytes.is_empty()));
}
