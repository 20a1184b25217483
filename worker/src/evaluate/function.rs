//! Cases of function tasks: how one is run, and how its end is told from any other end of the program.
//!
//! Stands where `comparator` and `inputs` stand for programs that read and write. A case is code that runs after the
//! program, in one interpreter with it; the driver, a text of Python, runs both. Nothing that the program prints
//! counts: the driver alone has the output, and tells the end of the case behind a word that hangs on the program and
//! the case. So an early exit is no pass, and a verdict can be had again. A program that looks for the driver in its
//! own interpreter's memory can find that word: only a process of its own could keep it, and not the values that the
//! program returns.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use roundhouse_proto::{Clip, Digest};
use roundhouse_sandbox as sandbox;

use super::clip::ClipCollector;
use super::verdict::Output;
use crate::language::Interpreter;

/// What runs the program and its case.
const DRIVER: &str = include_str!("function_driver.py");
/// What is mixed into the word of a run, so that it is no other digest.
const WORD_SALT: &[u8] = b"the end of a case\0";

/// The argument vector that runs the loaded program and then the case on its standard input.
pub(crate) fn argv(interpreter: &Interpreter, entry_point: &str) -> Vec<String> {
    let executable = interpreter.run_argv().first().cloned().unwrap_or_default();
    vec![
        executable,
        "-c".to_owned(),
        DRIVER.to_owned(),
        entry_point.to_owned(),
    ]
}

/// The standard input of the driver.
///
/// # Errors
/// No file in memory could be made or opened.
pub(crate) fn stdin(program: &[u8], case: &[u8]) -> io::Result<OwnedFd> {
    let mut text = word(program, case).into_bytes();
    text.push(b'\n');
    text.extend_from_slice(case);
    let sealed = sandbox::seal(&text)?;
    sandbox::reopen(sealed.as_fd())
}

/// The word behind which the driver tells the end of this case of this program.
pub(crate) fn word(program: &[u8], case: &[u8]) -> String {
    let length = u64::try_from(program.len()).unwrap_or(u64::MAX).to_be_bytes();
    Digest::of(&[WORD_SALT, &length, program, case].concat()).to_string()
}

/// Reads what the driver tells.
#[derive(Debug)]
pub(crate) struct Told {
    passed: Vec<u8>,
    wrong: Vec<u8>,
    /// What came so far of the first line, as long as it may be one of the two.
    line: Vec<u8>,
    value: ClipCollector,
}

impl Told {
    /// Starts with nothing told; of the value `chars` characters are kept.
    pub(crate) fn new(program: &[u8], case: &[u8], chars: u32) -> Self {
        let word = word(program, case);
        Self {
            passed: format!("{word} passed\n").into_bytes(),
            wrong: format!("{word} wrong\n").into_bytes(),
            line: Vec::new(),
            value: ClipCollector::new(chars),
        }
    }

    /// Takes the next piece of the output, cut anywhere.
    pub(crate) fn feed(&mut self, mut chunk: &[u8]) {
        // Neither line begins the other, and only what follows `wrong` is a value.
        while let (false, Some((byte, rest))) = (self.line == self.wrong, chunk.split_first()) {
            if self.line.len() <= self.passed.len() {
                self.line.push(*byte);
            }
            chunk = rest;
        }
        self.value.push(chunk);
    }

    /// What the case came to, and the value on the left of its assertion if that failed.
    pub(crate) fn finish(self) -> (Output, Clip) {
        let output = if self.line == self.passed {
            Output::Agrees
        } else if self.line == self.wrong {
            Output::Differs
        } else {
            Output::Unfinished
        };
        (output, self.value.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(pieces: &[&str]) -> (Output, String) {
        let mut told = Told::new(b"p", b"c", 8);
        for piece in pieces {
            told.feed(piece.as_bytes());
        }
        let (output, value) = told.finish();
        (output, format!("{}{}", value.head, value.tail))
    }

    #[test]
    fn only_the_whole_line_behind_the_word_is_an_end() {
        let word = word(b"p", b"c");
        let (head, tail) = word.split_at(9);
        let none = String::new();
        assert_eq!(told(&[head, tail, " passed\n"]), (Output::Agrees, none.clone()));
        assert_eq!(
            told(&[&word, " wrong\n[1,", " 2]"]),
            (Output::Differs, "[1, 2]".to_owned())
        );
        for other in [
            String::new(),
            "passed\n".to_owned(),
            format!("{word} passed"),
            format!("{word} passed\nx"),
            format!("x{word} passed\n"),
            format!(" \n{word} wrong\n"),
            format!("{} passed\n", super::word(b"p", b"d")),
        ] {
            assert_eq!(told(&[&other]), (Output::Unfinished, none.clone()), "{other}");
        }
    }

    #[test]
    fn word_hangs_on_program_and_case() {
        let words = [
            word(b"pc", b""),
            word(b"p", b"c"),
            word(b"", b"pc"),
            word(b"p", b"c"),
        ];
        assert_eq!(words[1], words[3]);
        assert!(words[0] != words[1] && words[1] != words[2] && words[0] != words[2]);
    }
}
