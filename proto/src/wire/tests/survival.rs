//! What comes out of the wire form is what went in.

use std::fmt::Debug;

use bytes::BufMut;
use prost::Message;

use super::samples;
use crate::link::{CoordMsg, WorkerMsg};
use crate::wire::{REASON_MAX_BYTES, WIRE_INLINE_MAX, WireError, v1};
use crate::{EvaluationReport, Payload, Problem, PromptSet, ReferenceMaterial, TestSet};

fn assert_survives<D, W>(value: &D)
where
    D: Clone + Debug + PartialEq + TryFrom<W, Error = WireError>,
    W: Message + Default + From<D>,
{
    let bytes = W::from(value.clone()).encode_to_vec();
    assert_eq!(read::<D, W>(&bytes).as_ref(), Ok(value));

    // A varint field of a number that no message has, at the end, as a newer peer would send it.
    let mut newer = bytes;
    prost::encoding::encode_key(10_000, prost::encoding::WireType::Varint, &mut newer);
    newer.put_u8(1);
    assert_eq!(
        read::<D, W>(&newer).as_ref(),
        Ok(value),
        "with a field that is not known"
    );
}

fn read<D, W>(bytes: &[u8]) -> Result<D, WireError>
where
    D: TryFrom<W, Error = WireError>,
    W: Message + Default,
{
    W::decode(bytes).expect("is such a message").try_into()
}

#[test]
fn every_message_of_a_worker_survives_with_and_without_unknown_fields() {
    for msg in samples::worker_msgs() {
        assert_survives::<WorkerMsg, v1::WorkerMsg>(&msg);
    }
}

#[test]
fn every_message_of_a_coordinator_survives_with_and_without_unknown_fields() {
    for msg in samples::coord_msgs() {
        assert_survives::<CoordMsg, v1::CoordMsg>(&msg);
    }
}

#[test]
fn problem_and_blob_forms_survive_with_and_without_unknown_fields() {
    assert_survives::<Problem, v1::Problem>(&samples::problem());
    assert_survives::<TestSet, v1::TestSet>(&samples::test_set());
    assert_survives::<ReferenceMaterial, v1::ReferenceMaterial>(&samples::reference());
    assert_survives::<EvaluationReport, v1::EvaluationReport>(&samples::report());
    assert_survives::<PromptSet, v1::PromptSet>(&samples::prompt_set());
}

#[test]
fn blob_forms_read_back_from_their_own_bytes() {
    for tests in [samples::test_set(), TestSet::default()] {
        assert_eq!(TestSet::from_bytes(tests.to_bytes()), Ok(tests));
    }
    for material in [samples::reference(), ReferenceMaterial::default()] {
        assert_eq!(ReferenceMaterial::from_bytes(material.to_bytes()), Ok(material));
    }
    for set in [samples::prompt_set(), PromptSet::default()] {
        assert_eq!(PromptSet::from_bytes(set.to_bytes()), Ok(set));
    }
    let report = samples::report();
    assert_eq!(EvaluationReport::from_bytes(report.to_bytes()), Ok(report));
}

/// Test sets are named by the digest of these bytes: another encoding would be another test set.
#[test]
fn encoded_test_set_is_byte_for_byte_what_it_was() {
    let expected: &[u8] = b"\x08\x01\
        \x12\x0f\x08\x01\x12\x041 2\n\x1a\x05YES\r\n\
        \x12\x09\x08\x02\x1a\x05YES\r\n\
        \x12\x0e\x08\x03\x12\x03\xff\x00\xfe\x1a\x05YES\r\n";
    let bytes = samples::test_set().to_bytes();
    assert_eq!(bytes, expected);
}

#[test]
fn read_test_set_shares_memory_with_its_bytes() {
    let bytes = samples::test_set().to_bytes();
    let tests = TestSet::from_bytes(bytes.clone()).expect("reads back");
    let whole = bytes.as_ptr_range();
    for case in tests.cases.iter().filter(|case| !case.input.is_empty()) {
        assert!(whole.contains(&case.input.as_ptr()), "input was copied");
        assert!(
            whole.contains(&case.expected.as_ptr()),
            "expected output was copied"
        );
    }
}

#[test]
fn inline_payload_of_the_greatest_length_survives() {
    for length in [0, Payload::INLINE_MAX + 1, WIRE_INLINE_MAX] {
        assert_survives::<Payload, v1::Payload>(&Payload::Inline(vec![7; length].into()));
    }
}

#[test]
fn reason_that_is_too_long_is_cut_between_characters_when_it_is_sent() {
    let reason = format!("a{}", "中".repeat(REASON_MAX_BYTES));
    let kept = format!("a{}", "中".repeat((REASON_MAX_BYTES - 1) / 3));
    let sent = v1::WorkerMsg::from(WorkerMsg::Goodbye { reason });
    assert_eq!(WorkerMsg::try_from(sent), Ok(WorkerMsg::Goodbye { reason: kept }));
}
