//! Inputs of cases as sealed files in memory, shared by every program that is judged against them.
//!
//! Stands between a test set and the standard input of a run: each run gets its own read-only opening of a file
//! that nobody can change. Bounded by bytes and by files; the input that was not used for longest goes first.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roundhouse_proto::Digest;
use roundhouse_sandbox as sandbox;

use crate::recent::Recent;

/// Bytes of inputs that stay sealed.
const SEALED_BYTES_MAX: usize = 256 << 20;
/// Inputs that stay sealed; each holds a file descriptor, of which a process often has only 1024.
const SEALED_FILES_MAX: usize = 384;

/// Which input: the test set's address, and the case's place in it.
pub(crate) type InputKey = (Digest, u32);

/// The inputs that are sealed now.
#[derive(Debug)]
pub(crate) struct SealedInputs(Mutex<Recent<InputKey, Arc<OwnedFd>>>);

impl Default for SealedInputs {
    fn default() -> Self {
        Self(Mutex::new(Recent::bounded(SEALED_BYTES_MAX, SEALED_FILES_MAX)))
    }
}

impl SealedInputs {
    /// Opens the input for one run; seals `input` first unless it is held under `key`.
    ///
    /// # Errors
    /// No file in memory could be made or opened.
    pub(crate) fn open(&self, key: InputKey, input: &[u8]) -> io::Result<OwnedFd> {
        let held = self.held().find(key);
        let file = match held {
            Some(file) => file,
            None => {
                // Sealed outside the lock: two cages may seal the same input once each.
                let file = Arc::new(sandbox::seal(input)?);
                self.held().keep(key, Arc::clone(&file), input.len());
                file
            }
        };
        sandbox::reopen(file.as_fd())
    }

    fn held(&self) -> MutexGuard<'_, Recent<InputKey, Arc<OwnedFd>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use std::io::Read;

    use super::*;

    fn read(file: OwnedFd) -> Vec<u8> {
        let mut bytes = Vec::new();
        std::fs::File::from(file).read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn every_opening_of_an_input_starts_at_its_beginning() {
        let inputs = SealedInputs::default();
        let key = (Digest::of(b"set"), 0);
        let first = inputs.open(key, b"1 2\n").unwrap();
        let second = inputs.open(key, b"1 2\n").unwrap();
        assert_eq!(
            (read(first), read(second)),
            (b"1 2\n".to_vec(), b"1 2\n".to_vec())
        );
        assert_eq!(inputs.held().held(), (vec![key], 4));
    }
}
