//! What comes over the socket, spoilt by chance: reading it never panics, and what can be read is written as it was.
#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use roundhouse_tests::chance::Chance;
use roundhouse_tests::fuzz::{fuzz, spoil};

use super::tests::{replies, requests};
use super::*;

/// Inputs that are played unless more are asked for.
const CASES: u64 = 100_000;
/// Longest message of bytes that mean nothing.
const RANDOM_BYTES_MAX: usize = 200;

/// Pieces of messages: kinds with their version, lengths, the greatest numbers.
const WORDS: [&[u8]; 12] = [
    &[0x01, VERSION],
    &[0x02, VERSION],
    &[0x03, VERSION],
    &[0x81, VERSION],
    &[0x85, VERSION],
    &[0; 8],
    &[0xff; 8],
    &[0xff; 4],
    &[1, 0, 0, 0],
    &[0, 0x10, 0, 0],
    &[1, 0x10, 0, 0],
    b"main.py",
];

fn message(chance: &mut Chance, samples: &[Vec<u8>]) -> Vec<u8> {
    if chance.one_in(8) {
        let bytes = (0..chance.below(RANDOM_BYTES_MAX)).map(|_| chance.number().to_le_bytes()[0]);
        let mut bytes: Vec<u8> = bytes.collect();
        if let [_, version, ..] = bytes.as_mut_slice() {
            *version = VERSION;
        }
        return bytes;
    }
    let mut bytes = chance.pick(samples).unwrap_or_default();
    spoil(chance, &mut bytes, &WORDS);
    bytes
}

#[test]
fn spoilt_messages_are_errors_or_messages_that_read_back() {
    let of_requests = requests().into_iter().map(|request| request.encode().unwrap());
    let samples: Vec<_> = of_requests
        .chain(replies().into_iter().map(|reply| reply.encode().unwrap()))
        .collect();
    let mut read = 0;
    let cases = fuzz("messages of a cage", CASES, |chance| {
        let bytes = message(chance, &samples);
        let shown = || bytes.escape_ascii().to_string();
        if let Ok(request) = Request::decode(&bytes) {
            assert_eq!(
                Request::decode(&request.encode().unwrap()),
                Ok(request),
                "{}",
                shown()
            );
            read += 1;
        }
        if let Ok(reply) = Reply::decode(&bytes) {
            assert_eq!(Reply::decode(&reply.encode().unwrap()), Ok(reply), "{}", shown());
            read += 1;
        }
    });
    // Else nothing was written again.
    assert!(
        cases < 1000 || read > cases / 20,
        "only {read} of {cases} could be read"
    );
}

#[test]
fn list_that_no_reader_takes_is_refused_by_the_writer() {
    let with = |count: usize| {
        let Some(Request::Setup(setup)) = requests().into_iter().next() else {
            panic!("the first request is a setup");
        };
        let runtime = vec![Vec::new(); count];
        Request::Setup(Setup { runtime, ..setup })
    };
    let most = ITEMS_MAX as usize;
    let read = Request::decode(&with(most).encode().unwrap());
    assert!(read == Ok(with(most)), "the longest list is read");
    let refused = with(most + 1).encode().unwrap_err();
    assert_eq!(refused, value("count", u64::from(ITEMS_MAX) + 1));
}
