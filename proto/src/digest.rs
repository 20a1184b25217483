//! Content addresses: the SHA-256 of a text or a file, and values that travel either whole or by address.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// SHA-256 of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The address of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

/// A text that is not 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 hexadecimal digits, not `{0}`")]
pub struct DigestFormat(pub String);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Digest {
    type Err = DigestFormat;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bytes = unhex(s).ok_or_else(|| DigestFormat(s.to_owned()))?;
        bytes.try_into().map(Self).map_err(|_| DigestFormat(s.to_owned()))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A value that is small enough to travel whole, or the address of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// The value itself, at most [`Payload::INLINE_MAX`] bytes once it is stored.
    Inline(Bytes),
    /// The address of a blob that is durable before this is named.
    Blob(Digest),
}

impl Payload {
    /// Bytes that a stored record may hold of one value; longer ones become blobs.
    pub const INLINE_MAX: usize = 2048;

    /// The value itself, whatever its length; the edge that stores it turns a long one into a blob.
    pub fn text(text: &str) -> Self {
        Self::Inline(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// The content address, of an inline value too.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Inline(bytes) => Digest::of(bytes),
            Self::Blob(digest) => *digest,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PayloadText {
    Text(String),
    Hex(String),
    Blob(Digest),
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Blob(digest) => PayloadText::Blob(*digest),
            Self::Inline(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => PayloadText::Text(text.to_owned()),
                Err(_) => PayloadText::Hex(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
            },
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match PayloadText::deserialize(deserializer)? {
            PayloadText::Text(text) => Self::Inline(text.into()),
            PayloadText::Hex(hex) => Self::Inline(
                unhex(&hex)
                    .ok_or_else(|| serde::de::Error::custom("odd hexadecimal text"))?
                    .into(),
            ),
            PayloadText::Blob(digest) => Self::Blob(digest),
        })
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_of_the_empty_text_is_the_published_one_and_reads_back() {
        let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), text);
        assert_eq!(text.parse::<Digest>(), Ok(Digest::of(b"")));
        assert_eq!("é".parse::<Digest>(), Err(DigestFormat("é".to_owned())));
    }

    #[test]
    fn payload_of_any_bytes_survives_json() {
        for payload in [
            Payload::text("plain, 中文"),
            Payload::Inline(Bytes::from_static(&[0xff, 0x00])),
            Payload::Blob(Digest::of(b"x")),
        ] {
            let json = serde_json::to_string(&payload).expect("a payload is always text");
            assert_eq!(
                serde_json::from_str::<Payload>(&json).expect("reads back"),
                payload
            );
        }
    }
}
