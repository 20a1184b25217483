//! What the flags of judging name in files: a checker, and the problems that cannot be judged. Read before a run is
//! made, so that nothing is made of flags that cannot be followed.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use roundhouse_proto::{Comparator, Digest};

use crate::dataset::Loaded;
use crate::judging_args::RuleChoice;
use crate::notices;
use crate::quarantine::QuarantineFile;
use crate::run_args::SpecArgs;

/// Bytes of a checker.
const CHECKER_BYTES_MAX: usize = 1 << 20;

/// How the programs of a run are judged, as far as files say it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judging {
    /// By which rule outputs agree.
    pub comparator: Comparator,
    /// The text of the program that the rule is, if it is one: a blob of the run.
    pub checker: Option<Bytes>,
    /// Which problems cannot be judged, if somebody said so.
    pub quarantine: Option<QuarantineFile>,
}

impl Judging {
    /// What the flags of a run on these problems name. Warns of a quarantine that was made under another rule.
    ///
    /// # Errors
    /// A file cannot be read or used.
    pub fn of(args: &SpecArgs, loaded: &Loaded) -> anyhow::Result<Self> {
        let (comparator, checker) = chosen(&args.comparator)?;
        let quarantine = match &args.judging.quarantine {
            None => None,
            Some(path) => {
                let file = QuarantineFile::read(path, &loaded.info, &loaded.problems)?;
                let here = comparator.to_string();
                if let Some(rule) = file.rule.as_ref().filter(|rule| **rule != here) {
                    notices::warning(&format!(
                        "the quarantine `{}` was made under the rule `{}`, and this run judges by `{here}`",
                        path.display(),
                        crate::dataset::quote::plain(rule, crate::dataset::quote::QUOTED_CHARS_MAX)
                    ));
                }
                Some(file)
            }
        };
        Ok(Self {
            comparator,
            checker,
            quarantine,
        })
    }
}

/// The rule, and the text of the checker if it is one.
///
/// # Errors
/// The checker's file cannot be read or used.
pub fn chosen(rule: &RuleChoice) -> Result<(Comparator, Option<Bytes>), CheckerError> {
    match rule {
        RuleChoice::Known(comparator) => Ok((*comparator, None)),
        RuleChoice::Checker(path) => {
            let text = read_checker(path)?;
            let program = Digest::of(&text);
            Ok((Comparator::Checker { program }, Some(text)))
        }
    }
}

/// Why a file is no checker.
#[derive(Debug, thiserror::Error)]
pub enum CheckerError {
    /// It cannot be read.
    #[error("read the checker `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It has no program in it.
    #[error("the checker `{}` is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// It is larger than any program.
    #[error("the checker `{}` has more than {CHECKER_BYTES_MAX} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is no text.
    #[error("the checker `{}` is no UTF-8 text, as a program is", path.display())]
    NoText {
        /// The file.
        path: PathBuf,
    },
}

fn read_checker(path: &Path) -> Result<Bytes, CheckerError> {
    let failed = |source| CheckerError::Read {
        path: path.to_owned(),
        source,
    };
    let mut text = Vec::new();
    let file = File::open(path).map_err(failed)?;
    let read = file.take(CHECKER_BYTES_MAX as u64 + 1).read_to_end(&mut text);
    let path = path.to_owned();
    if read.map_err(failed)? > CHECKER_BYTES_MAX {
        return Err(CheckerError::TooLarge { path });
    }
    match std::str::from_utf8(&text) {
        Err(_) => Err(CheckerError::NoText { path }),
        Ok(text) if text.trim().is_empty() => Err(CheckerError::Empty { path }),
        Ok(_) => Ok(text.into()),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use super::*;

    #[test]
    fn file_that_is_no_program_is_refused_and_a_program_is_taken_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.py");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            read_checker(&path)
        };
        assert_eq!(read(b"print(1)\r\n").unwrap(), &b"print(1)\r\n"[..]);
        assert!(matches!(read(b" \n"), Err(CheckerError::Empty { .. })));
        assert!(matches!(read(b"\xff"), Err(CheckerError::NoText { .. })));
        assert!(read(&[b'#'; CHECKER_BYTES_MAX]).is_ok());
        let more = [b'#'; CHECKER_BYTES_MAX + 1];
        assert!(matches!(read(&more), Err(CheckerError::TooLarge { .. })));
        for path in [dir.path().to_owned(), dir.path().join("missing")] {
            assert!(matches!(read_checker(&path), Err(CheckerError::Read { .. })));
        }
    }
}
