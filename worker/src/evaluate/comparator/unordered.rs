//! Comparison by lines in any order: the same lines, each as often.
//!
//! A line is what it is for [`lines`](super::lines): white space at its end does not count. Empty lines at the end of
//! the output do not count either; one that a line with text follows does.
//!
//! Neither side is sorted or kept. Each is a multiset of lines that is boiled down to how many lines and bytes it has
//! and to two sums of hashes, modulo 2^64. Equal multisets have equal sums, whatever their order. Different ones have
//! them only by luck: the hashes are keyed (SipHash, as of a `HashMap`) by a secret that is new for each comparison,
//! that never enters a cage, and of which a program learns nothing, since it sees no hash and no verdict. To a program
//! the hash of each line is then a number of 64 bits drawn at random, and those of the two sums are drawn apart. Two
//! multisets of the same size whose counts of some line differ by `d` have the same sum with a chance of 2^-64, times
//! the greatest power of two that divides `d`: below 2^26 for an output of 64 MiB. So a wrong output passes with a
//! chance below 2^-76, however it was chosen. One sum alone would leave 2^-38 to a program that repeats a line 2^26
//! times; sums under exclusive or would not see a line that comes twice.

use std::hash::{BuildHasher as _, DefaultHasher, Hasher as _, RandomState};

use super::{is_space, step};

/// Bytes that are hashed at once. Lines are cut into such pieces from their beginning on, so that the calls of the hash,
/// which need not see a stream in its calls, are the same however the output is cut.
const BLOCK_BYTES: usize = 64;

#[derive(Debug)]
pub(super) struct Unordered {
    expected: Sums,
    actual: Lines,
    lost: bool,
}

/// A multiset of lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    lines: u64,
    /// Of all lines, without white space at their ends.
    bytes: u64,
    hashes: [u64; 2],
}

/// Lines as they come.
#[derive(Debug)]
struct Lines {
    sums: Sums,
    /// Empty lines that count if a line with text comes.
    empty: u64,
    /// The line that has begun.
    line: Line,
    /// What it was when the white space began that came last.
    before_gap: Option<Line>,
    /// A line of which nothing came.
    fresh: Line,
}

/// The beginning of a line.
#[derive(Clone, Debug)]
struct Line {
    /// Two, of one key: what they hash begins with another byte.
    hashers: [DefaultHasher; 2],
    block: [u8; BLOCK_BYTES],
    /// Bytes that wait in `block`.
    filled: usize,
    bytes: u64,
}

impl Unordered {
    pub(super) fn new(expected: &[u8]) -> Self {
        let key = RandomState::new();
        let mut lines = Lines::new(&key);
        lines.feed(expected);
        Self {
            expected: lines.finish(),
            actual: Lines::new(&key),
            lost: false,
        }
    }

    /// Takes the next piece and says whether agreement is lost.
    pub(super) fn feed(&mut self, chunk: &[u8]) -> bool {
        if !self.lost {
            self.actual.feed(chunk);
            let came = self.actual.came();
            self.lost = came.lines > self.expected.lines || came.bytes > self.expected.bytes;
        }
        self.lost
    }

    pub(super) fn finish(self) -> bool {
        !self.lost && self.actual.finish() == self.expected
    }
}

impl Lines {
    fn new(key: &RandomState) -> Self {
        let fresh = Line::new(key);
        Self {
            sums: Sums::default(),
            empty: 0,
            line: fresh.clone(),
            before_gap: None,
            fresh,
        }
    }

    fn feed(&mut self, chunk: &[u8]) {
        for &byte in chunk {
            step(1);
            match byte {
                b'\n' => self.end_line(),
                _ if is_space(byte) => {
                    if self.before_gap.is_none() {
                        self.before_gap = Some(self.line.clone());
                    }
                    self.line.push(byte);
                }
                _ => {
                    self.before_gap = None;
                    self.line.push(byte);
                }
            }
        }
    }

    /// Lines and bytes that came and count, whatever follows.
    fn came(&self) -> Sums {
        let line = self.before_gap.as_ref().unwrap_or(&self.line);
        let open = match line.bytes {
            0 => 0,
            _ => self.empty + 1,
        };
        Sums {
            lines: self.sums.lines + open,
            bytes: self.sums.bytes + line.bytes,
            ..self.sums
        }
    }

    fn finish(mut self) -> Sums {
        self.end_line();
        self.sums
    }

    fn end_line(&mut self) {
        let line = std::mem::replace(&mut self.line, self.fresh.clone());
        let line = self.before_gap.take().unwrap_or(line);
        if line.bytes == 0 {
            self.empty += 1;
            return;
        }
        let empty = std::mem::take(&mut self.empty);
        if empty > 0 {
            self.sums.add(self.fresh.clone(), empty);
        }
        self.sums.add(line, 1);
    }
}

impl Sums {
    fn add(&mut self, line: Line, times: u64) {
        self.lines += times;
        self.bytes += line.bytes * times;
        for (sum, hash) in self.hashes.iter_mut().zip(line.finish()) {
            *sum = sum.wrapping_add(hash.wrapping_mul(times));
        }
    }
}

impl Line {
    fn new(key: &RandomState) -> Self {
        let hasher = |number| {
            let mut hasher = key.build_hasher();
            hasher.write_u8(number);
            hasher
        };
        Self {
            hashers: [hasher(0), hasher(1)],
            block: [0; BLOCK_BYTES],
            filled: 0,
            bytes: 0,
        }
    }

    fn push(&mut self, byte: u8) {
        self.block[self.filled] = byte;
        self.filled += 1;
        self.bytes += 1;
        if self.filled == BLOCK_BYTES {
            self.hashers
                .iter_mut()
                .for_each(|hasher| hasher.write(&self.block));
            self.filled = 0;
        }
    }

    fn finish(self) -> [u64; 2] {
        self.hashers.map(|mut hasher| {
            hasher.write(&self.block[..self.filled]);
            hasher.write_u64(self.bytes);
            hasher.finish()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(key: &RandomState, text: &str) -> Sums {
        let mut lines = Lines::new(key);
        lines.feed(text.as_bytes());
        lines.finish()
    }

    #[test]
    fn sums_are_of_lines_and_of_a_key_that_each_comparison_has_anew() {
        let key = RandomState::new();
        let of = sums(&key, "a\nb\n\nb");
        assert_eq!((of.lines, of.bytes), (4, 3));
        assert_eq!(sums(&key, "b\n\nb\na \n\n"), of);
        assert_ne!(of.hashes[0], of.hashes[1]);
        let again = |_| Unordered::new(b"a\nb\n\nb").expected.hashes;
        let [first, second] = [0, 1].map(again);
        assert!(first[0] != second[0] && first[1] != second[1]);
    }

    #[test]
    fn line_longer_than_a_block_counts_to_its_last_byte() {
        let key = RandomState::new();
        for bytes in [1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES] {
            let line = "x".repeat(bytes);
            let (longer, other) = (format!("{line}x"), format!("{}y", &line[1..]));
            let of = sums(&key, &line);
            assert_eq!(sums(&key, &format!("{line} \t")), of);
            assert!(of.hashes != sums(&key, &longer).hashes && of.hashes != sums(&key, &other).hashes);
        }
    }
}
