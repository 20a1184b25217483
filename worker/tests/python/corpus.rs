//! The corpus: small programs, each with an input and with what is to be expected of it. See `corpus/README.md` for
//! the form of its files.

use std::collections::BTreeSet;

use roundhouse_proto::StartMode;
use roundhouse_sandbox::Ended;
use roundhouse_worker::language::start_of;

const FILES: [(&str, &str); 8] = [
    ("dying", include_str!("corpus/dying.txt")),
    ("exits", include_str!("corpus/exits.txt")),
    ("input", include_str!("corpus/input.txt")),
    ("main_module", include_str!("corpus/main_module.txt")),
    ("output", include_str!("corpus/output.txt")),
    ("recursion", include_str!("corpus/recursion.txt")),
    ("source", include_str!("corpus/source.txt")),
    ("threads", include_str!("corpus/threads.txt")),
];

/// Begins a line that is no part of a program.
const MARK: &str = "#### ";

/// One program.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) program: Vec<u8>,
    pub(crate) input: Vec<u8>,
    /// The start it gets when the fastest is asked for.
    pub(crate) mode: StartMode,
    /// How it ends; `None` where that differs from version to version.
    pub(crate) ended: Option<Ended>,
    pub(crate) is_silent: bool,
    pub(crate) stderr_varies: bool,
    pub(crate) needs_numpy: bool,
    is_escaped: bool,
    /// The first minor version of Python 3 that knows its words.
    pub(crate) since: u32,
}

/// All programs.
pub(crate) fn samples() -> Vec<Sample> {
    FILES
        .iter()
        .flat_map(|(file, text)| of_file(file, text))
        .collect()
}

fn of_file(file: &str, text: &str) -> Vec<Sample> {
    let mut samples = Vec::new();
    // What is before the first mark is a remark.
    for part in format!("\n{text}").split(&format!("\n{MARK}")).skip(1) {
        let (head, body) = part.split_once('\n').unwrap_or((part, ""));
        // The line end before the next mark belongs to the text.
        let body = if body.is_empty() || body.ends_with('\n') {
            body.to_owned()
        } else {
            format!("{body}\n")
        };
        if head == "input" {
            let sample: &mut Sample = samples.last_mut().unwrap();
            sample.input = if sample.is_escaped {
                unescaped(body.as_bytes())
            } else {
                body.into_bytes()
            };
        } else {
            let mut sample = of_head(file, head, body.into_bytes());
            if sample.is_escaped {
                sample.program = unescaped(&sample.program);
            }
            samples.push(sample);
        }
    }
    samples
}

fn of_head(file: &str, head: &str, program: Vec<u8>) -> Sample {
    let (name, words) = head.rsplit_once(": ").unwrap();
    let mut sample = Sample {
        name: format!("{file}: {name}"),
        program,
        input: Vec::new(),
        mode: StartMode::Fast,
        ended: Some(Ended::Exit(0)),
        is_silent: false,
        stderr_varies: false,
        needs_numpy: false,
        is_escaped: false,
        since: 0,
    };
    for word in words.split(", ") {
        match word.split_once(' ').unwrap_or((word, "")) {
            ("fast", "") => sample.mode = StartMode::Fast,
            ("natural", "") => sample.mode = StartMode::Natural,
            ("fresh", "") => sample.mode = StartMode::Fresh,
            ("silent", "") => sample.is_silent = true,
            ("escaped", "") => sample.is_escaped = true,
            ("numpy", "") => sample.needs_numpy = true,
            ("stderr", "varies") => sample.stderr_varies = true,
            ("exit", "varies") => sample.ended = None,
            ("exit", status) => sample.ended = Some(Ended::Exit(status.parse().unwrap())),
            ("signal", number) => sample.ended = Some(Ended::Signal(number.parse().unwrap())),
            ("since", version) => sample.since = version.strip_prefix("3.").unwrap().parse().unwrap(),
            _ => panic!("`{head}`: what is `{word}`?"),
        }
    }
    sample
}

/// Puts bytes in the places of escapes: `\n`, `\r`, `\t`, `\\`, `\x` with two digits, and nothing for a line end.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let (&letter, after) = rest.split_first().unwrap();
        rest = after;
        match letter {
            b'n' => bytes.push(b'\n'),
            b'r' => bytes.push(b'\r'),
            b't' => bytes.push(b'\t'),
            b'\\' => bytes.push(b'\\'),
            b'\n' => {}
            b'x' => {
                let (digits, after) = rest.split_at(2);
                rest = after;
                bytes.push(u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap());
            }
            other => panic!("what is `\\{}`?", char::from(other)),
        }
    }
    bytes
}

#[test]
fn the_corpus_is_large_and_names_each_program_once() {
    let samples = samples();
    let names: BTreeSet<&str> = samples.iter().map(|sample| sample.name.as_str()).collect();
    assert_eq!(names.len(), samples.len());
    assert!(samples.len() >= 300, "{}", samples.len());
}

#[test]
fn every_program_of_the_corpus_gets_the_start_that_it_names() {
    let wrong: Vec<String> = samples()
        .iter()
        .map(|sample| (sample, start_of(&sample.program, StartMode::Fast)))
        .filter(|(sample, mode)| sample.mode != *mode)
        .map(|(sample, mode)| format!("{}: {} and not {}", sample.name, mode.word(), sample.mode.word()))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
