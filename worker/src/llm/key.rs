//! The key of an endpoint: kept apart from every text that is printed, stored or sent, but for the one header.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use reqwest::header::HeaderValue;

/// Bytes of a file that holds a key.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Permissions by which others than the owner may read a file.
const READ_BY_OTHERS: u32 = 0o044;

/// The key of an endpoint. Printed as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A text that no key can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFormat {
    /// Nothing but white space.
    #[error("holds no key")]
    Empty,
    /// White space, control characters, or something beyond ASCII inside.
    #[error(
        "holds a space, a line break or another character that no key has: expected the key alone, on one line"
    )]
    Characters,
}

/// Why a file gives no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read.
    #[error("read the key from `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What it holds is no key.
    #[error("read the key from `{}`: the file {why}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: KeyFormat,
    },
}

impl ApiKey {
    /// A key from a text, without the white space around it.
    ///
    /// # Errors
    /// Nothing is left, or characters that no key has.
    pub fn parse(text: &str) -> Result<Self, KeyFormat> {
        let text = text.trim();
        if text.is_empty() {
            Err(KeyFormat::Empty)
        } else if text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(KeyFormat::Characters)
        }
    }

    /// The value of the `Authorization` header.
    pub(super) fn bearer(&self) -> HeaderValue {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.0))
            .expect("printable ASCII is a header's value");
        value.set_sensitive(true);
        value
    }

    /// A text with `***` wherever the key stands in it: servers like to repeat what they refuse.
    pub(super) fn blot(&self, text: &str) -> String {
        text.replace(&self.0, "***")
    }
}

/// A key from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// What it holds.
    pub key: ApiKey,
    /// Its permissions, if others than its owner may read it.
    pub open_to_others: Option<u32>,
}

impl KeyFile {
    /// Reads a key from a file that holds nothing else.
    ///
    /// # Errors
    /// The file cannot be read, or what it holds is no key.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        let failed = |source| KeyFileError::Read {
            path: path.to_owned(),
            source,
        };
        let metadata = std::fs::metadata(path).map_err(failed)?;
        if metadata.len() > FILE_BYTES_MAX {
            return Err(failed(std::io::Error::other(format!(
                "the file is longer than {FILE_BYTES_MAX} bytes"
            ))));
        }
        let bytes = std::fs::read(path).map_err(failed)?;
        let text = String::from_utf8_lossy(&bytes);
        let key = ApiKey::parse(&text).map_err(|why| KeyFileError::Format {
            path: path.to_owned(),
            why,
        })?;
        let mode = metadata.permissions().mode() & 0o777;
        Ok(Self {
            key,
            open_to_others: (mode & READ_BY_OTHERS != 0).then_some(mode),
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use super::*;

    #[test]
    fn key_is_printed_as_stars_and_blotted_out_of_texts() {
        let key = ApiKey::parse(" sk-secret\n").unwrap();
        assert_eq!(format!("{key:?}"), "***");
        assert_eq!(key.blot("bad key sk-secret!"), "bad key ***!");
        assert_eq!(format!("{:?}", key.bearer()), "Sensitive");
        assert_eq!(key.bearer().as_bytes(), b"Bearer sk-secret");
    }

    #[test]
    fn text_with_anything_inside_that_no_key_has_is_refused() {
        assert_eq!(ApiKey::parse(" \n"), Err(KeyFormat::Empty));
        for text in ["sk one", "sk\none", "sk\u{7}one", "sk-é"] {
            assert_eq!(ApiKey::parse(text), Err(KeyFormat::Characters), "{text:?}");
        }
    }

    #[test]
    fn key_file_is_trimmed_and_says_if_others_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "sk-1\n").unwrap();
        for (mode, open_to_others) in [(0o600, None), (0o640, Some(0o640)), (0o604, Some(0o604))] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let key = ApiKey::parse("sk-1").unwrap();
            assert_eq!(KeyFile::read(&path).unwrap(), KeyFile { key, open_to_others });
        }
    }

    #[test]
    fn key_file_that_is_missing_or_empty_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let text = |error: KeyFileError| {
            error
                .to_string()
                .replace(&dir.path().display().to_string(), "DIR")
        };
        assert_eq!(
            text(KeyFile::read(&path).unwrap_err()),
            "read the key from `DIR/key`"
        );
        std::fs::write(&path, "\n").unwrap();
        assert_eq!(
            text(KeyFile::read(&path).unwrap_err()),
            "read the key from `DIR/key`: the file holds no key"
        );
    }
}
