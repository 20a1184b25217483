//! Which start a program gets: the fastest one at which it can see nothing but a fresh interpreter.
//!
//! Decided by the words of its source, before anything runs it. Words in remarks and texts count too: in doubt the
//! slower start, which costs milliseconds, while the faster one could cost a right program its verdict. Stands beside
//! `servers.rs`, whose servers the first two starts are; what those do so that this list can be short is there.
//!
//! - *Fast* starts in the middle of `fast.py` and is not taken apart at the end. So what looks down the stack, what is
//!   heard of only when an object dies, and what counts on the exact depth of a limit of its own goes one further.
//! - *Natural* is started, run and finalised by the interpreter, in a process that another one forked. Whoever looks
//!   at that process from below (its parent, its memory, its first environment, its limits at birth) goes one further.

use std::iter::Peekable;
use std::str::CharIndices;

use roundhouse_proto::StartMode;

/// Words of programs that could see a fast start or a fast finish.
const NATURAL_WORDS: [&str; 61] = [
    // Heard of when an object dies: finalisers, and writers that pass on what they hold. A writer with a file of its
    // own needs no word: the server sees at the end that the file is open.
    "__del__",
    "weakref",
    "finalize",
    "fdopen",
    "FileIO",
    "IOBase",
    "RawIOBase",
    "BufferedIOBase",
    "TextIOBase",
    "TextIOWrapper",
    "BufferedWriter",
    "BufferedRandom",
    "BufferedRWPair",
    "StreamReaderWriter",
    "gzip",
    "bz2",
    "lzma",
    "zipfile",
    "tarfile",
    "async",
    "await",
    // Looks down the stack or at what else is loaded.
    "_getframe",
    "_current_frames",
    "_getframemodulename",
    "currentframe",
    "f_back",
    "inspect",
    "traceback",
    "stacklevel",
    "stack_info",
    "excepthook",
    "unraisablehook",
    "settrace",
    "setprofile",
    "set_trace",
    "breakpoint",
    "addaudithook",
    "faulthandler",
    "tracemalloc",
    "modules",
    "orig_argv",
    // Depths that it counts itself.
    "RecursionError",
    "getrecursionlimit",
    // Code from below, and other ways to run code.
    "ctypes",
    "cffi",
    "importlib",
    "__import__",
    "runpy",
    "pkgutil",
    "multiprocessing",
    "concurrent",
    "asyncio",
    "subprocess",
    "popen",
    "Popen",
    "fork",
    "forkpty",
    "posix_spawn",
    "_run_exitfuncs",
    "_shutdown",
    "_clear",
];

/// Words of programs that could see that their process was forked.
const FRESH_WORDS: [&str; 13] = [
    "gc",
    "getrefcount",
    "gettotalrefcount",
    "getallocatedblocks",
    "_debugmallocstats",
    "resource",
    "getrlimit",
    "prlimit",
    "getppid",
    "native_id",
    "get_native_id",
    "PYTHONPATH",
    "sitecustomize",
];

/// Where the system shows a process from below. No word: many a variable has that name.
const PROCESSES: &[u8] = b"/proc";

/// Encodings of source files under which ASCII stands for itself, in the form of [`cookie`].
const PLAIN_ENCODINGS: [&str; 12] = [
    "utf-8",
    "utf8",
    "utf-8-sig",
    "u8",
    "ascii",
    "us-ascii",
    "latin-1",
    "latin1",
    "l1",
    "iso-8859-1",
    "iso-8859-15",
    "iso8859-1",
];

/// The start that a program gets when `asked` would be the fastest one.
pub fn start_of(program: &[u8], asked: StartMode) -> StartMode {
    asked.max(fastest(program))
}

fn fastest(program: &[u8]) -> StartMode {
    if program.windows(PROCESSES.len()).any(|bytes| bytes == PROCESSES) {
        return StartMode::Fresh;
    }
    if program.contains(&0) || !is_plain(program) {
        return StartMode::Natural;
    }
    // Only its ASCII is looked at; what is not, and what is no UTF-8, separates words.
    let text = String::from_utf8_lossy(program);
    let mut seen = Seen::default();
    let mut fastest = StartMode::Fast;
    let mut characters = text.char_indices().peekable();
    while let Some((start, character)) = characters.next() {
        if may_stand_for_another(character) {
            fastest = fastest.max(StartMode::Natural);
        }
        if !is_of_word(character) {
            continue;
        }
        let end = end_of_word(&mut characters, text.len());
        let word = &text[start..end];
        fastest = fastest.max(mode_of_word(word, &text[end..]));
        seen.note(word);
    }
    if seen.may_end_late() || seen.may_count_depth() {
        fastest = fastest.max(StartMode::Natural);
    }
    fastest
}

/// Words that say something only together.
#[derive(Default)]
struct Seen {
    yields: bool,
    handles: bool,
    catches: bool,
    sets_depth: bool,
}

impl Seen {
    fn note(&mut self, word: &str) {
        match word {
            "yield" => self.yields = true,
            "finally" | "with" => self.handles = true,
            "except" => self.catches = true,
            "setrecursionlimit" => self.sets_depth = true,
            _ => {}
        }
    }

    /// A generator that is left in the middle goes through its handlers when it dies.
    fn may_end_late(&self) -> bool {
        self.yields && (self.handles || self.catches)
    }

    /// Whoever catches the end of a limit of its own may count how deep it was.
    fn may_count_depth(&self) -> bool {
        self.sets_depth && self.catches
    }
}

fn mode_of_word(word: &str, rest: &str) -> StartMode {
    if FRESH_WORDS.contains(&word) {
        StartMode::Fresh
    } else if NATURAL_WORDS.contains(&word) || (word == "open" && !opens_by_name_or_input(rest)) {
        StartMode::Natural
    } else {
        StartMode::Fast
    }
}

/// Whether `open` is called with a text, which gives a file of a new number, or with standard input: not with the
/// number of an output, whose new writer could hold something back.
fn opens_by_name_or_input(rest: &str) -> bool {
    let Some(arguments) = rest.trim_start_matches([' ', '\t']).strip_prefix('(') else {
        return false;
    };
    let arguments = arguments.trim_start_matches([' ', '\t']);
    let after_zero = arguments.strip_prefix('0');
    let after_prefix = arguments.trim_start_matches(['r', 'b', 'u', 'f', 'R', 'B', 'U', 'F']);
    after_zero.is_some_and(|after| after.starts_with([',', ')'])) || after_prefix.starts_with(['"', '\''])
}

fn is_of_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

fn end_of_word(characters: &mut Peekable<CharIndices<'_>>, length: usize) -> usize {
    while let Some(&(at, character)) = characters.peek() {
        if !is_of_word(character) {
            return at;
        }
        characters.next();
    }
    length
}

/// Whether Python takes a letter in a name for an ASCII one (it compares names by their compatibility form).
fn may_stand_for_another(character: char) -> bool {
    matches!(character,
        // Full width: digits, letters, the low line. Its punctuation is common in Chinese remarks.
        '\u{ff10}'..='\u{ff19}' | '\u{ff21}'..='\u{ff3a}' | '\u{ff3f}' | '\u{ff41}'..='\u{ff5a}'
        // Mathematical and other letter-like symbols, ligatures, letters above and below the line.
        | '\u{1d400}'..='\u{1d7ff}' | '\u{2100}'..='\u{214f}' | '\u{fb00}'..='\u{fb06}'
        | '\u{aa}' | '\u{ba}' | '\u{17f}' | '\u{2b0}'..='\u{2b8}' | '\u{2071}'..='\u{209c}'
        | '\u{1d2c}'..='\u{1d6a}' | '\u{2c7c}'..='\u{2c7d}' | '\u{fe33}'..='\u{fe34}' | '\u{fe4d}'..='\u{fe4f}')
}

/// Whether the source is read as what it looks like.
fn is_plain(program: &[u8]) -> bool {
    match cookie(program) {
        Some(encoding) => PLAIN_ENCODINGS.contains(&encoding.as_str()),
        None => std::str::from_utf8(program).is_ok(),
    }
}

/// The encoding that one of the first two lines names, in small letters, with `-` for `_`. Any remark there that looks
/// like one counts.
fn cookie(program: &[u8]) -> Option<String> {
    program
        .split(|byte| matches!(byte, b'\n' | b'\r'))
        // A line that ends in CR LF is two here.
        .take(4)
        .find_map(|line| {
            let line = String::from_utf8_lossy(line);
            let remark = &line[line.find('#')?..];
            let after = &remark[remark.find("coding")? + "coding".len()..];
            let named = after.strip_prefix([':', '='])?.trim_start_matches([' ', '\t']);
            let is_outside = |character: char| !(is_of_word(character) || matches!(character, '-' | '.'));
            let end = named.find(is_outside).unwrap_or(named.len());
            (end > 0).then(|| named[..end].to_ascii_lowercase().replace('_', "-"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(program: &str) -> StartMode {
        start_of(program.as_bytes(), StartMode::Fast)
    }

    #[test]
    fn words_count_wherever_they_stand_and_only_whole() {
        use StartMode::{Fast, Fresh, Natural};
        for (program, mode) in [
            ("print(input())", Fast),
            ("", Fast),
            ("from math import gcd", Fast),
            ("import gc", Fresh),
            ("# gc", Fresh),
            ("process = proc = 1; resources = []", Fast),
            ("open('/proc/self/maps')", Fresh),
            ("open('/dev/stdin')", Fast),
            ("class A:\n def __del__(self): pass", Natural),
            ("x = '__del__'", Natural),
            ("a.weakref", Natural),
            ("inspected = 1", Fast),
            ("traceback", Natural),
            ("ünspect = 1; 数inspect", Natural),
        ] {
            assert_eq!(start(program), mode, "{program}");
        }
    }

    #[test]
    fn open_is_fast_by_a_name_or_for_the_input_only() {
        use StartMode::{Fast, Natural};
        for (program, mode) in [
            ("open(0)", Fast),
            ("open( 0, 'rb').read()", Fast),
            ("io.open('a.txt', 'w')", Fast),
            ("open (rb\"x\")", Fast),
            ("open(0x1, 'w')", Natural),
            ("open(00001, 'w')", Natural),
            ("open(1, 'w')", Natural),
            ("open(sys.stdout.fileno(), 'w')", Natural),
            ("open(\n1, 'w')", Natural),
            ("write = open", Natural),
            ("# open the door", Natural),
            ("reopen(1)", Fast),
        ] {
            assert_eq!(start(program), mode, "{program}");
        }
    }

    #[test]
    fn some_words_count_only_together() {
        use StartMode::{Fast, Natural};
        for (program, mode) in [
            ("yield 1", Fast),
            ("try: pass\nfinally: pass", Fast),
            ("yield 1\nfinally", Natural),
            ("with x: pass\nyield", Natural),
            ("try: x\nexcept: yield 1", Natural),
            ("setrecursionlimit(9999)", Fast),
            ("except: x", Fast),
            ("setrecursionlimit(9999)\nexcept: x", Natural),
        ] {
            assert_eq!(start(program), mode, "{program}");
        }
    }

    #[test]
    fn a_source_that_is_not_read_as_it_looks_is_natural() {
        use StartMode::{Fast, Natural};
        for (program, mode) in [
            (&b"# -*- coding: UTF_8 -*-\n"[..], Fast),
            (
                b"#!/usr/bin/python\r\n# vim: fileencoding=latin-1\r\nx = '\xe9'",
                Fast,
            ),
            (b"x = '\xe9'", Natural),
            (b"x = 1 # coding: utf-7\n", Natural),
            (b"\n# coding=unicode_escape\n", Natural),
            (b"\n\n\n\n# coding=utf-7\n", Fast),
            (b"x = '\0'", Natural),
            ("ｏｐｅｎ(1, 'w')".as_bytes(), Natural),
            ("# 打开（文件），完".as_bytes(), Fast),
            ("𝐨pen(1)".as_bytes(), Natural),
            ("oﬀset".as_bytes(), Natural),
        ] {
            assert_eq!(
                start_of(program, StartMode::Fast),
                mode,
                "{}",
                program.escape_ascii()
            );
        }
    }

    #[test]
    fn nothing_is_started_faster_than_was_asked() {
        use StartMode::{Fast, Fresh, Natural};
        for asked in [Fast, Natural, Fresh] {
            assert_eq!(start_of(b"print(1)", asked), asked);
            assert_eq!(start_of(b"import gc", asked), Fresh);
        }
        assert_eq!(start_of(b"import weakref", Fresh), Fresh);
        assert_eq!(
            [Fast, Natural, Fresh].map(StartMode::word),
            ["fast", "natural", "fresh"]
        );
    }
}
