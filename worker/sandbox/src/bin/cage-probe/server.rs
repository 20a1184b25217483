//! A fork server in Rust, as the init's protocol has it (`init::server`): for tests, which load words for it to do.
//!
//! The loaded program is a file `words`: what [`crate::perform`] is to do in the child. Words that begin with a bang
//! are for the server itself, which then fails in that way.

use std::fs;
use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, IntoRawFd, OwnedFd};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recvmsg, send};

/// The socket to the init.
// SAFETY: the init opens file 3 before this program starts, and nothing here closes it.
const SOCKET: BorrowedFd<'static> = unsafe { BorrowedFd::borrow_raw(3) };
/// Where the program lies.
const PROGRAM: &str = "/w/words";

/// Serves until the init closes the socket. `holds` is `nothing` or `program`.
pub(crate) fn serve(holds: &str) {
    let mut program = None;
    if holds == "nothing" {
        say(b"p");
    }
    loop {
        let Some((word, files)) = hear() else { return };
        match word {
            b'P' => {
                let words = read_program();
                match words.first().map(String::as_str) {
                    Some("!refuse") => return say("nnot this one".as_bytes()),
                    Some("!die") => fail("before it was ready"),
                    Some("!silent") => crate::wait_for_ever(),
                    Some("!nonsense") => say(b"hello"),
                    _ => say(b"p"),
                }
                program = Some(words);
            }
            b'R' => run(program.clone().unwrap_or_else(read_program), files),
            other => panic!("the init said {other}"),
        }
    }
}

fn run(words: Vec<String>, files: Vec<OwnedFd>) {
    match words.first().map(String::as_str) {
        Some("!refuse-late") => return say("nnot this one either".as_bytes()),
        Some("!fork-fails") => return say(&[&b"f"[..], &libc::EAGAIN.to_le_bytes()].concat()),
        _ => {}
    }
    let late = words.first().is_some_and(|word| word == "!says-late");
    let pipe = late.then(|| std::io::pipe().expect("a pipe"));
    let child = crate::fork();
    if child == 0 {
        become_program(files);
        let of_the_child = words
            .iter()
            .map(String::as_str)
            .filter(|word| !word.starts_with('!'));
        crate::perform(&of_the_child.collect::<Vec<_>>());
        std::io::stdout().flush().expect("standard output is open");
        if late {
            drop(pipe);
            crate::wait_for_ever();
        }
        // SAFETY: takes any status; the server's own end must not run in its child.
        unsafe { libc::_exit(0) }
    }
    drop(files);
    if let Some((mut done, doing)) = pipe {
        drop(doing);
        done.read_to_end(&mut Vec::new()).expect("the pipe is open");
    }
    match words.first().map(String::as_str) {
        Some("!die-unheard") => fail("before it said that it had forked"),
        Some("!die-in-run") => {
            say(&[&b"s"[..], &child.to_le_bytes()].concat());
            fail("in a run");
        }
        _ => say(&[&b"s"[..], &child.to_le_bytes()].concat()),
    }
    let mut status = 0;
    // SAFETY: all-zero is a valid `rusage`, and both places are valid for writing.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::wait4(child, &raw mut status, 0, &raw mut usage), child);
        usage
    };
    match words.first().map(String::as_str) {
        Some("!die-at-end") => fail("at the end of a run"),
        Some("!silent-at-end") => crate::wait_for_ever(),
        _ => {}
    }
    let microseconds = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    let cpu_us = microseconds(usage.ru_utime) + microseconds(usage.ru_stime);
    let memory_bytes = (usage.ru_maxrss as u64) << 10;
    let mut ended = vec![b'e'];
    ended.extend(status.to_le_bytes());
    ended.extend(cpu_us.to_le_bytes());
    ended.extend(memory_bytes.to_le_bytes());
    say(&ended);
}

/// The child's part before the program.
fn become_program(files: Vec<OwnedFd>) {
    for (number, file) in (0..).zip(files) {
        let file = file.into_raw_fd();
        // SAFETY: takes plain numbers; 0, 1 and 2 have no owner here, and the file's owner gave it up.
        unsafe {
            assert_eq!(libc::dup2(file, number), number);
            libc::close(file);
        }
    }
    // SAFETY: takes plain numbers or nothing; the socket is not used in this process any more.
    unsafe {
        libc::close(3);
        assert_ne!(libc::setsid(), -1);
    }
}

fn read_program() -> Vec<String> {
    let text = fs::read_to_string(PROGRAM).expect("the program is loaded");
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

fn say(word: &[u8]) {
    assert_eq!(send(SOCKET, word, SendFlags::empty()), Ok(word.len()));
}

/// The next word and its files; `None` at the end of the socket.
fn hear() -> Option<(u8, Vec<OwnedFd>)> {
    let mut bytes = [0; 64];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = {
        let mut bytes = [IoSliceMut::new(&mut bytes)];
        recvmsg(SOCKET, &mut bytes, &mut control, RecvFlags::CMSG_CLOEXEC).expect("the socket is open")
    };
    let files = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => Some(files),
        _ => None,
    });
    (received.bytes > 0).then(|| (bytes[0], files.flatten().collect()))
}

fn fail(when: &str) -> ! {
    let mut errors = std::io::stderr();
    writeln!(errors, "failed {when}").expect("standard error is open");
    // SAFETY: takes any status.
    unsafe { libc::_exit(3) }
}
