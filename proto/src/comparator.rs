//! By which rule an output agrees with the expected one. The rules themselves are in the worker.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// By which rule an output agrees with the expected one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Comparator {
    /// CodeContests' own rule: white-space tokens, ASCII case folded, numbers within 1e-5 absolute;
    /// two integer tokens compare exactly.
    CodeContests,
    /// White-space tokens, byte for byte.
    Tokens,
    /// Lines without trailing white space; trailing empty lines do not count.
    Lines,
    /// Byte for byte.
    Exact,
    /// White-space tokens; numbers within `abs` or within `rel` times the expected number.
    Float {
        /// Greatest absolute difference.
        abs: f64,
        /// Greatest difference relative to the expected number.
        rel: f64,
    },
    /// Lines as in `Lines`, in any order.
    UnorderedLines,
    /// What a program says that is given input, output and expected output.
    Checker {
        /// Address of its text.
        program: Digest,
    },
}

/// A text that names no comparator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no comparator is called `{0}`: expected `code-contests`, `tokens`, `lines`, `exact`, \
     `float`, `float:abs=1e-6,rel=1e-6`, `unordered-lines` or `checker:FILE`"
)]
pub struct UnknownComparator(pub String);

impl fmt::Display for Comparator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CodeContests => f.write_str("code-contests"),
            Self::Tokens => f.write_str("tokens"),
            Self::Lines => f.write_str("lines"),
            Self::Exact => f.write_str("exact"),
            Self::Float { abs, rel } => write!(f, "float:abs={abs:e},rel={rel:e}"),
            Self::UnorderedLines => f.write_str("unordered-lines"),
            Self::Checker { program } => write!(f, "checker:{program}"),
        }
    }
}

impl FromStr for Comparator {
    type Err = UnknownComparator;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownComparator(text.to_owned());
        let (name, options) = text.split_once(':').unwrap_or((text, ""));
        if name == "float" {
            let (mut abs, mut rel) = (1e-6, 1e-6);
            for option in options.split(',').filter(|option| !option.is_empty()) {
                let (key, value) = option.split_once('=').ok_or_else(unknown)?;
                let value: f64 = value.parse().map_err(|_| unknown())?;
                if !value.is_finite() || value < 0.0 {
                    return Err(unknown());
                }
                match key {
                    "abs" => abs = value,
                    "rel" => rel = value,
                    _ => return Err(unknown()),
                }
            }
            return Ok(Self::Float { abs, rel });
        }
        if name == "checker" {
            let program = options.parse().map_err(|_| unknown())?;
            return Ok(Self::Checker { program });
        }
        match text {
            "code-contests" => Ok(Self::CodeContests),
            "tokens" => Ok(Self::Tokens),
            "lines" => Ok(Self::Lines),
            "exact" => Ok(Self::Exact),
            "unordered-lines" => Ok(Self::UnorderedLines),
            _ => Err(unknown()),
        }
    }
}

impl Serialize for Comparator {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Comparator {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_comparator_reads_back_from_its_own_text() {
        let float = Comparator::Float { abs: 1e-9, rel: 0.0 };
        for comparator in [
            Comparator::CodeContests,
            Comparator::Tokens,
            Comparator::Lines,
            Comparator::Exact,
            float,
        ] {
            assert_eq!(comparator.to_string().parse(), Ok(comparator));
        }
        assert_eq!("float".parse(), Ok(Comparator::Float { abs: 1e-6, rel: 1e-6 }));
    }

    #[test]
    fn unknown_comparator_is_named() {
        for text in [
            "",
            "token",
            "float:abs=-1",
            "float:abs=nan",
            "float:eps=1",
            "tokens:abs=1",
        ] {
            assert_eq!(
                text.parse::<Comparator>(),
                Err(UnknownComparator(text.to_owned()))
            );
        }
    }
}
