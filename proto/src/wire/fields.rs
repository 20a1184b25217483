//! Reading single fields: each reader checks one value and, if it refuses it, says which field of which message.
//!
//! Also for those who read messages that have no domain type, such as the requests of the service `Control`.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use uuid::Uuid;

use super::WireError;
use super::bounds::{NAME_MAX_BYTES, REASON_MAX_BYTES, TEXT_MAX_BYTES};
use crate::comparator::Comparator;
use crate::digest::Digest;

/// Reads the fields of the message of this name.
#[derive(Clone, Copy, Debug)]
pub struct Fields(&'static str);

impl Fields {
    /// Reader of the message called `message`.
    pub const fn of(message: &'static str) -> Self {
        Self(message)
    }

    /// The error for a field with a value that it may not have.
    pub fn refuse(self, field: &str, expected: impl fmt::Display, got: impl fmt::Display) -> WireError {
        WireError::Field {
            message: self.0,
            field: field.to_owned(),
            expected: expected.to_string(),
            got: got.to_string(),
        }
    }

    /// The error for a field that is not there.
    pub fn missing(self, field: &str) -> WireError {
        self.refuse(field, "a value", "none")
    }

    /// A part that must be there.
    ///
    /// # Errors
    /// It is missing, or cannot be read.
    pub fn required<W, D>(self, field: &str, part: Option<W>) -> Result<D, WireError>
    where
        D: TryFrom<W, Error = WireError>,
    {
        self.optional(field, part)?.ok_or_else(|| self.missing(field))
    }

    /// A part that may be there.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn optional<W, D>(self, field: &str, part: Option<W>) -> Result<Option<D>, WireError>
    where
        D: TryFrom<W, Error = WireError>,
    {
        part.map(|part| self.part(field, part)).transpose()
    }

    /// A part that is there.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn part<W, D>(self, field: &str, part: W) -> Result<D, WireError>
    where
        D: TryFrom<W, Error = WireError>,
    {
        D::try_from(part).map_err(|error| error.inside(self.0, field))
    }

    /// A list of parts.
    ///
    /// # Errors
    /// There are more than `n_max`, or one cannot be read.
    pub fn each<W, D>(self, field: &str, parts: Vec<W>, n_max: usize) -> Result<Vec<D>, WireError>
    where
        D: TryFrom<W, Error = WireError>,
    {
        self.bounded(field, parts.len(), n_max, "entries")?;
        let read =
            |(i, part)| D::try_from(part).map_err(|error| error.inside(self.0, &format!("{field}[{i}]")));
        parts.into_iter().enumerate().map(read).collect()
    }

    /// A list of keys with values, each key once.
    ///
    /// # Errors
    /// There are more than `n_max`, one cannot be read, or a key is there twice.
    pub fn map<W, K, V>(self, field: &str, parts: Vec<W>, n_max: usize) -> Result<BTreeMap<K, V>, WireError>
    where
        (K, V): TryFrom<W, Error = WireError>,
        K: Ord,
    {
        let mut map = BTreeMap::new();
        for (i, (key, value)) in self
            .each::<W, (K, V)>(field, parts, n_max)?
            .into_iter()
            .enumerate()
        {
            if map.insert(key, value).is_some() {
                return Err(self.refuse(&format!("{field}[{i}]"), "each key once", "one again"));
            }
        }
        Ok(map)
    }

    /// A list of texts of at most `bytes_max` bytes each.
    ///
    /// # Errors
    /// There are more than `n_max`, or one is too long.
    pub fn texts(
        self,
        field: &str,
        texts: Vec<String>,
        n_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<String>, WireError> {
        self.bounded(field, texts.len(), n_max, "entries")?;
        for (i, text) in texts.iter().enumerate() {
            if text.len() > bytes_max {
                self.bounded(&format!("{field}[{i}]"), text.len(), bytes_max, "bytes")?;
            }
        }
        Ok(texts)
    }

    /// A choice, by its number.
    ///
    /// # Errors
    /// It was left out, or is one that this build does not know.
    pub fn choice<W, D>(self, field: &str, number: i32) -> Result<D, WireError>
    where
        W: TryFrom<i32> + Default,
        D: TryFrom<W, Error = WireError>,
    {
        // The default is the word that was left out, which is refused with a list of the known ones.
        let word = W::try_from(number).unwrap_or_default();
        D::try_from(word).map_err(|error| match error.inside(self.0, field) {
            WireError::Field {
                message,
                field,
                expected,
                got: _,
            } => WireError::Field {
                message,
                field,
                expected,
                got: number.to_string(),
            },
            error @ WireError::Encoding { .. } => error,
        })
    }

    /// A digest.
    ///
    /// # Errors
    /// It has not 32 bytes.
    pub fn digest(self, field: &str, bytes: &Bytes) -> Result<Digest, WireError> {
        self.array(field, bytes).map(Digest)
    }

    /// A digest that may be there.
    ///
    /// # Errors
    /// It is there and has not 32 bytes.
    pub fn optional_digest(self, field: &str, bytes: Option<&Bytes>) -> Result<Option<Digest>, WireError> {
        bytes.map(|bytes| self.digest(field, bytes)).transpose()
    }

    /// A UUID.
    ///
    /// # Errors
    /// It has not 16 bytes.
    pub fn uuid(self, field: &str, bytes: &Bytes) -> Result<Uuid, WireError> {
        self.array(field, bytes).map(Uuid::from_bytes)
    }

    fn array<const N: usize>(self, field: &str, bytes: &Bytes) -> Result<[u8; N], WireError> {
        <[u8; N]>::try_from(&bytes[..])
            .map_err(|_| self.refuse(field, format_args!("{N} bytes"), bytes.len()))
    }

    /// A name, a version, a label: at most [`NAME_MAX_BYTES`].
    ///
    /// # Errors
    /// It is longer.
    pub fn name(self, field: &str, text: String) -> Result<String, WireError> {
        self.bounded(field, text.len(), NAME_MAX_BYTES, "bytes")?;
        Ok(text)
    }

    /// A name that may be left out.
    ///
    /// # Errors
    /// It is too long.
    pub fn optional_name(self, field: &str, text: Option<String>) -> Result<Option<String>, WireError> {
        text.map(|text| self.name(field, text)).transpose()
    }

    /// A text for people: at most [`REASON_MAX_BYTES`].
    ///
    /// # Errors
    /// It is longer.
    pub fn reason(self, field: &str, text: String) -> Result<String, WireError> {
        self.bounded(field, text.len(), REASON_MAX_BYTES, "bytes")?;
        Ok(text)
    }

    /// A statement, a program, an output: at most [`TEXT_MAX_BYTES`].
    ///
    /// # Errors
    /// It is longer.
    pub fn text(self, field: &str, text: String) -> Result<String, WireError> {
        self.bounded(field, text.len(), TEXT_MAX_BYTES, "bytes")?;
        Ok(text)
    }

    /// The name of a comparator with its options.
    ///
    /// # Errors
    /// None is called that.
    pub fn comparator(self, field: &str, text: &str) -> Result<Comparator, WireError> {
        self.bounded(field, text.len(), NAME_MAX_BYTES, "bytes")?;
        text.parse()
            .map_err(|_| self.refuse(field, "the name of a comparator", format_args!("`{text}`")))
    }

    /// A number, from 0.
    ///
    /// # Errors
    /// It is greater than `u32::MAX`.
    pub fn number(self, field: &str, value: u64) -> Result<u32, WireError> {
        self.narrow(field, value, 0)
    }

    /// A number, from 1.
    ///
    /// # Errors
    /// It is 0 or greater than `u32::MAX`.
    pub fn number_from_1(self, field: &str, value: u64) -> Result<u32, WireError> {
        self.narrow(field, value, 1)
    }

    fn narrow(self, field: &str, value: u64, least: u32) -> Result<u32, WireError> {
        match u32::try_from(value) {
            Ok(number) if number >= least => Ok(number),
            _ => Err(self.refuse(field, format_args!("{least} to {}", u32::MAX), value)),
        }
    }

    /// A number that may be below 0.
    ///
    /// # Errors
    /// It does not fit 32 bits.
    pub fn signed(self, field: &str, value: i64) -> Result<i32, WireError> {
        i32::try_from(value)
            .map_err(|_| self.refuse(field, format_args!("{} to {}", i32::MIN, i32::MAX), value))
    }

    /// A broken number in `0..=most`.
    ///
    /// # Errors
    /// It lies outside or is not a number.
    pub fn fraction(self, field: &str, value: f64, most: f64) -> Result<f64, WireError> {
        if (0.0..=most).contains(&value) {
            Ok(value)
        } else {
            Err(self.refuse(field, format_args!("0 to {most}"), value))
        }
    }

    /// The version of a stored form.
    ///
    /// # Errors
    /// It is not `known`.
    pub fn version(self, got: u64, known: u64) -> Result<(), WireError> {
        if got == known {
            Ok(())
        } else {
            Err(self.refuse("version", known, got))
        }
    }

    /// A length that is not beyond its bound.
    ///
    /// # Errors
    /// It is; `what` says what is counted.
    pub fn bounded(self, field: &str, length: usize, most: usize, what: &str) -> Result<(), WireError> {
        if length <= most {
            Ok(())
        } else {
            Err(self.refuse(field, format_args!("at most {most} {what}"), length))
        }
    }
}

/// The beginning of a text for people, so that it is at most [`REASON_MAX_BYTES`] long.
pub(super) fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(REASON_MAX_BYTES));
    text
}

/// The wire number of a choice.
pub(super) fn number_of<D, W>(choice: D) -> i32
where
    W: From<D> + Into<i32>,
{
    W::from(choice).into()
}

/// Ties the variants of a domain enum to those of the generated one of the same name.
macro_rules! same_words {
    ($name:ident { $($variant:ident),+ $(,)? }) => {
        impl From<$name> for $crate::wire::v1::$name {
            fn from(word: $name) -> Self {
                match word {
                    $($name::$variant => Self::$variant,)+
                }
            }
        }

        impl TryFrom<$crate::wire::v1::$name> for $name {
            type Error = $crate::wire::WireError;
            fn try_from(word: $crate::wire::v1::$name) -> Result<Self, Self::Error> {
                match word {
                    $crate::wire::v1::$name::Unspecified => {
                        const KNOWN: &[&str] = &[$(stringify!($variant)),+];
                        let expected = format!("one of {}", KNOWN.join(", "));
                        Err($crate::wire::Fields::of(stringify!($name)).refuse("", expected, 0))
                    }
                    $($crate::wire::v1::$name::$variant => Ok(Self::$variant),)+
                }
            }
        }
    };
}
pub(super) use same_words;
