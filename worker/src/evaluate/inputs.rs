//! Inputs of cases as sealed files in memory, shared by every program that is judged against them.
//!
//! Stands between a test set and the standard input of a run: each run gets its own read-only opening of a file
//! that nobody can change. Bounded by bytes and by files; the input that was not used for longest goes first.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use roundhouse_proto::Digest;
use roundhouse_sandbox as sandbox;

/// Bytes of inputs that stay sealed.
const SEALED_BYTES_MAX: usize = 256 << 20;
/// Inputs that stay sealed; each holds a file descriptor, of which a process often has only 1024.
const SEALED_FILES_MAX: usize = 384;

/// Which input: the test set's address, and the case's place in it.
pub(crate) type InputKey = (Digest, u32);

/// The inputs that are sealed now.
#[derive(Debug)]
pub(crate) struct SealedInputs {
    held: Mutex<Held>,
    bytes_max: usize,
    files_max: usize,
}

#[derive(Debug, Default)]
struct Held {
    inputs: HashMap<InputKey, Sealed>,
    bytes: usize,
    /// Rises with every use.
    uses: u64,
}

#[derive(Debug)]
struct Sealed {
    file: Arc<OwnedFd>,
    bytes: usize,
    last_use: u64,
}

impl Default for SealedInputs {
    fn default() -> Self {
        Self::bounded(SEALED_BYTES_MAX, SEALED_FILES_MAX)
    }
}

impl SealedInputs {
    fn bounded(bytes_max: usize, files_max: usize) -> Self {
        Self {
            held: Mutex::default(),
            bytes_max,
            files_max,
        }
    }

    /// Opens the input for one run; seals `input` first unless it is held under `key`.
    ///
    /// # Errors
    /// No file in memory could be made or opened.
    pub(crate) fn open(&self, key: InputKey, input: &[u8]) -> io::Result<OwnedFd> {
        let held = self.held().reuse(key);
        let file = match held {
            Some(file) => file,
            None => {
                // Sealed outside the lock: two cages may seal the same input once each.
                let file = Arc::new(sandbox::seal(input)?);
                self.hold(key, &file, input.len());
                file
            }
        };
        sandbox::reopen(file.as_fd())
    }

    fn hold(&self, key: InputKey, file: &Arc<OwnedFd>, bytes: usize) {
        if bytes > self.bytes_max {
            return;
        }
        let mut held = self.held();
        held.remove(key);
        while held.inputs.len() >= self.files_max || held.bytes + bytes > self.bytes_max {
            let oldest = held.inputs.iter().min_by_key(|(_, sealed)| sealed.last_use);
            let Some(key) = oldest.map(|(key, _)| *key) else {
                return;
            };
            held.remove(key);
        }
        held.uses += 1;
        held.bytes += bytes;
        let sealed = Sealed {
            file: Arc::clone(file),
            bytes,
            last_use: held.uses,
        };
        held.inputs.insert(key, sealed);
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn reuse(&mut self, key: InputKey) -> Option<Arc<OwnedFd>> {
        self.uses += 1;
        let sealed = self.inputs.get_mut(&key)?;
        sealed.last_use = self.uses;
        Some(Arc::clone(&sealed.file))
    }

    fn remove(&mut self, key: InputKey) {
        if let Some(sealed) = self.inputs.remove(&key) {
            self.bytes -= sealed.bytes;
        }
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

    fn held(inputs: &SealedInputs) -> (Vec<u32>, usize) {
        let held = inputs.held();
        let mut cases: Vec<u32> = held.inputs.keys().map(|(_, case)| *case).collect();
        cases.sort_unstable();
        (cases, held.bytes)
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
        assert_eq!(held(&inputs), (vec![0], 4));
    }

    #[test]
    fn the_input_not_used_for_longest_gives_way_at_either_bound() {
        let set = Digest::of(b"set");
        let inputs = SealedInputs::bounded(10, 2);
        for case in [0, 1, 0, 2] {
            inputs.open((set, case), b"abc").unwrap();
        }
        assert_eq!(held(&inputs), (vec![0, 2], 6));
        inputs.open((set, 3), b"12345678").unwrap();
        assert_eq!(held(&inputs), (vec![3], 8));
        assert_eq!(read(inputs.open((set, 4), &[7; 11]).unwrap()), [7; 11]);
        assert_eq!(held(&inputs), (vec![3], 8));
    }
}
