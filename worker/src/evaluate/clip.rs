//! The beginning and the end of an output, kept while it streams by.
//!
//! Stands between a cage's standard output and the report. Memory is bounded by the characters to keep, whatever
//! the program writes. Does not judge and does not make text safe for a terminal.

use std::collections::VecDeque;

use roundhouse_proto::Clip;

/// Collects a [`Clip`] of at most `chars` characters; the head gets the larger half.
#[derive(Debug)]
pub(crate) struct ClipCollector {
    head: String,
    head_room: usize,
    tail: VecDeque<char>,
    tail_max: usize,
    /// Characters that came after the head was full.
    after_head: u64,
    /// The beginning of a character whose rest has not come yet, at most three bytes.
    cut: Vec<u8>,
}

impl ClipCollector {
    /// Starts with nothing collected.
    pub(crate) fn new(chars: u32) -> Self {
        let chars = usize::try_from(chars).unwrap_or(usize::MAX);
        Self {
            head: String::new(),
            head_room: chars.div_ceil(2),
            tail: VecDeque::new(),
            tail_max: chars / 2,
            after_head: 0,
            cut: Vec::new(),
        }
    }

    /// Takes the next piece of the output, cut anywhere.
    pub(crate) fn push(&mut self, chunk: &[u8]) {
        // The cut character ends within the next three bytes, or they show that it was none.
        let mut rest = chunk;
        while let (false, Some((next, after))) = (self.cut.is_empty(), rest.split_first()) {
            let mut joined = std::mem::take(&mut self.cut);
            joined.push(*next);
            self.decode(&joined);
            rest = after;
        }
        self.decode(rest);
    }

    /// The clip of all that came.
    pub(crate) fn finish(mut self) -> Clip {
        for _ in 0..std::mem::take(&mut self.cut).len() {
            self.keep("\u{fffd}");
        }
        let kept = u64::try_from(self.tail.len()).expect("a length fits in 64 bits");
        let tail: String = self.tail.into_iter().collect();
        let left_out = self.after_head - kept;
        if left_out > 0 {
            let head = self.head;
            return Clip { head, left_out, tail };
        }
        Clip {
            head: self.head + &tail,
            left_out,
            tail: String::new(),
        }
    }

    fn decode(&mut self, mut bytes: &[u8]) {
        loop {
            let error = match std::str::from_utf8(bytes) {
                Ok(text) => return self.keep(text),
                Err(error) => error,
            };
            let (text, rest) = bytes.split_at(error.valid_up_to());
            self.keep(std::str::from_utf8(text).expect("the error says that it is valid up to here"));
            let Some(wrong) = error.error_len() else {
                self.cut.extend_from_slice(rest);
                return;
            };
            for _ in 0..wrong {
                self.keep("\u{fffd}");
            }
            bytes = &rest[wrong..];
        }
    }

    fn keep(&mut self, text: &str) {
        let mut rest = text;
        if self.head_room > 0 {
            let end = text
                .char_indices()
                .nth(self.head_room)
                .map_or(text.len(), |(at, _)| at);
            let (head, after) = text.split_at(end);
            self.head.push_str(head);
            self.head_room -= head.chars().count();
            rest = after;
        }
        if rest.is_empty() {
            return;
        }
        self.after_head += u64::try_from(rest.chars().count()).expect("a length fits in 64 bits");
        let start = match self.tail_max {
            0 => rest.len(),
            max => rest.char_indices().rev().nth(max - 1).map_or(0, |(at, _)| at),
        };
        self.tail.extend(rest[start..].chars());
        let surplus = self.tail.len().saturating_sub(self.tail_max);
        self.tail.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn clip_of(chars: u32, chunks: &[&[u8]]) -> Clip {
        let mut collector = ClipCollector::new(chars);
        chunks.iter().for_each(|chunk| collector.push(chunk));
        collector.finish()
    }

    fn clip(head: &str, left_out: u64, tail: &str) -> Clip {
        Clip {
            head: head.to_owned(),
            left_out,
            tail: tail.to_owned(),
        }
    }

    #[test]
    fn an_output_that_fits_is_all_head() {
        assert_eq!(clip_of(5, &[b"abc", b"de"]), clip("abcde", 0, ""));
        assert_eq!(clip_of(5, &[]), clip("", 0, ""));
    }

    #[test]
    fn the_head_gets_the_larger_half_and_the_middle_is_counted() {
        assert_eq!(clip_of(5, &[b"abcd", b"efgh"]), clip("abc", 3, "gh"));
        assert_eq!(clip_of(1, &[b"abc"]), clip("a", 2, ""));
        assert_eq!(clip_of(0, &[b"abc"]), clip("", 3, ""));
    }

    #[test]
    fn bytes_that_are_not_utf8_count_as_one_character_each() {
        assert_eq!(
            clip_of(9, &[b"a\xe2\x82", b"b\xff\xc3"]),
            clip("a\u{fffd}\u{fffd}b\u{fffd}\u{fffd}", 0, "")
        );
    }

    proptest! {
        #[test]
        fn clip_is_the_same_however_the_output_is_cut(
            pieces in prop::collection::vec(
                prop::sample::select(vec!["a".as_bytes(), "é".as_bytes(), "€".as_bytes(), "😀".as_bytes(), b"\xf0\x9f", b"\x80", b"\xff"]),
                0..20,
            ),
            cuts in prop::collection::vec(1..6_usize, 0..20),
            chars in 0..12_u32,
        ) {
            let whole = pieces.concat();
            let mut rest = whole.as_slice();
            let mut collector = ClipCollector::new(chars);
            for cut in cuts {
                let (chunk, after) = rest.split_at(cut.min(rest.len()));
                collector.push(chunk);
                rest = after;
            }
            collector.push(rest);
            let clip = collector.finish();
            let kept = clip.head.chars().count() + clip.tail.chars().count();
            prop_assert!(kept <= usize::try_from(chars).unwrap_or(usize::MAX));
            prop_assert_eq!(clip, clip_of(chars, &[&whole]));
        }
    }
}
