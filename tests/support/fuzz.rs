//! Many inputs of chance against one fact: how many, from which seed, and what was played when the fact did not hold.
//!
//! Every input has a seed of its own, so that the one that broke can be played alone. `ROUNDHOUSE_FUZZ_CASES` says how
//! many there are, `ROUNDHOUSE_FUZZ_SEED` which is the first one; both are said on standard error.

use crate::chance::Chance;

/// Inputs, in place of those that a test plays otherwise.
const CASES: &str = "ROUNDHOUSE_FUZZ_CASES";
/// Seed of the first input.
const SEED: &str = "ROUNDHOUSE_FUZZ_SEED";
/// Bytes that mean something to many readers of bytes.
const EDGES: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, b'\n', b'"', b'0'];
/// Most changes to one input.
const CHANGES_MAX: usize = 6;
/// Most bytes that one change adds, repeats or takes away.
const PIECE_BYTES_MAX: usize = 64;

/// Says which input was played when a test ends by a panic.
struct Playing<'t> {
    test: &'t str,
    seed: u64,
}

impl Drop for Playing<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { test, seed } = self;
            eprintln!("{test}: {SEED}={seed} {CASES}=1 plays what broke");
        }
    }
}

/// Plays `cases` inputs, or as many as are asked for, and gives their number.
///
/// # Panics
/// If `play` does, or the environment asks for something that is no number.
pub fn fuzz(test: &str, cases: u64, mut play: impl FnMut(&mut Chance)) -> u64 {
    let asked = |name| {
        std::env::var(name).ok().map(|text| {
            text.parse()
                .unwrap_or_else(|_| panic!("{name} is `{text}`: expected a whole number"))
        })
    };
    let cases = asked(CASES).unwrap_or(cases);
    let first = asked(SEED).unwrap_or(1);
    eprintln!("{test}: {cases} inputs from {SEED}={first}");
    for seed in (first..).take(usize::try_from(cases).unwrap_or(usize::MAX)) {
        let playing = Playing { test, seed };
        play(&mut Chance::new(seed));
        drop(playing);
    }
    cases
}

/// Changes some of `bytes`: bits, bytes, pieces that are lost, repeated, or come from `words`; the end may be cut off.
pub fn spoil(chance: &mut Chance, bytes: &mut Vec<u8>, words: &[&[u8]]) {
    for _ in 0..=chance.below(CHANGES_MAX) {
        let at = chance.below(bytes.len());
        let piece = at..bytes.len().min(at + 1 + chance.below(PIECE_BYTES_MAX));
        match chance.below(10) {
            0..=1 if !bytes.is_empty() => bytes[at] ^= 1 << chance.below(8),
            2..=3 if !bytes.is_empty() => bytes[at] = chance.number().to_le_bytes()[0],
            4 if !bytes.is_empty() => bytes[at] = EDGES[chance.below(EDGES.len())],
            5 => drop(bytes.drain(piece)),
            6 => {
                let again = bytes[piece].to_vec();
                bytes.splice(at..at, again);
            }
            7..=8 => {
                let word = chance.pick(words).unwrap_or(&EDGES);
                bytes.splice(at..at, word.iter().copied());
            }
            9 if chance.one_in(3) => bytes.truncate(at),
            _ => {}
        }
    }
}

/// Cuts `bytes` into pieces, some of them empty, and gives them in order.
pub fn pieces<'b>(chance: &mut Chance, mut bytes: &'b [u8]) -> Vec<&'b [u8]> {
    let longest = 1 + chance.below(bytes.len().min(9) + 1);
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(chance.below(longest + 1).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_repeats_what_is_played_and_pieces_are_the_whole() {
        let play = |seed| {
            let chance = &mut Chance::new(seed);
            let mut bytes = b"some bytes to spoil".to_vec();
            spoil(chance, &mut bytes, &[b"word"]);
            let whole = pieces(chance, &bytes).concat();
            assert_eq!(whole, bytes);
            bytes
        };
        let played: Vec<_> = (0..50).map(play).collect();
        assert_eq!(played, (0..50).map(play).collect::<Vec<_>>());
        assert!(played.iter().any(|bytes| bytes.len() > 19) && played.iter().any(|bytes| bytes.len() < 19));
    }
}
