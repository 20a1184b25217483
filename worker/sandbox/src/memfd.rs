//! Sealed inputs: a test's standard input as a file that nobody can change.
//!
//! Made once per input by the worker, opened anew per run so that each run has an offset of its own.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, fchmod, fcntl_add_seals, memfd_create, open};
use rustix::io::Errno;

/// Tries to open an input that programs close to their user meanwhile.
const OPENED_AFTER_TRIES: u32 = 100;

/// Puts `bytes` into a file in memory that can no longer be written, grown, shrunk or unsealed.
///
/// # Errors
/// When the system refuses the file or its memory.
pub fn seal(bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd = memfd_create("input", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = rustix::io::write(&fd, rest)?;
        rest = &rest[written..];
    }
    fcntl_add_seals(
        &fd,
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
    )?;
    rustix::fs::seek(&fd, rustix::fs::SeekFrom::Start(0))?;
    Ok(fd)
}

/// Opens the file behind `fd` once more, read-only and from its beginning.
///
/// # Errors
/// When `/proc` is not there or the file cannot be opened.
pub fn reopen(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    for _ in 1..OPENED_AFTER_TRIES {
        match open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            // Programs of a worker that is not root are its own user, to whom the file belongs: no seal keeps them from
            // changing its mode, and the next run needs it as well.
            Err(Errno::ACCESS) => fchmod(fd, Mode::RUSR)?,
            opened => return Ok(opened?),
        }
    }
    Err(Errno::ACCESS.into())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_sealed_input_reads_back_and_refuses_writing() {
        let sealed = seal(b"5\n1 2 3 4 5\n").unwrap();
        let mut text = String::new();
        File::from(reopen(sealed.as_fd()).unwrap())
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "5\n1 2 3 4 5\n");
        let mut file = File::from(sealed);
        assert_eq!(
            file.write(b"9").unwrap_err().kind(),
            io::ErrorKind::PermissionDenied
        );
        assert_eq!(
            file.set_len(0).unwrap_err().kind(),
            io::ErrorKind::PermissionDenied
        );
    }

    #[test]
    fn each_reopened_input_has_an_offset_of_its_own() {
        let sealed = seal(b"abc").unwrap();
        let mut first = File::from(reopen(sealed.as_fd()).unwrap());
        let mut second = File::from(reopen(sealed.as_fd()).unwrap());
        let (mut one, mut other) = (Vec::new(), Vec::new());
        first.read_to_end(&mut one).unwrap();
        second.read_to_end(&mut other).unwrap();
        assert_eq!((one, other), (b"abc".to_vec(), b"abc".to_vec()));
    }
}
