//! Endpoints: where this worker reaches models, by name. Address and key stay here; only names go over the wire.
//!
//! What the flags and the environment come to is decided by [`gather`], which reads neither.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;

use crate::llm::key::ApiKey;

mod gather;

pub use gather::{EndpointError, EndpointFlags, KeySource, gather};

/// Bytes of an endpoint's name.
const NAME_BYTES_MAX: usize = 64;
/// What is appended to a base address.
const PATH: &str = "/chat/completions";

/// The name of an endpoint: 1 to 64 of `a-z`, `0-9`, `.`, `_`, `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndpointName(String);

/// A text that is no endpoint's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no endpoint's name: expected 1 to {NAME_BYTES_MAX} of `a-z`, `0-9`, `.`, `_`, `-`")]
pub struct NameFormat(pub String);

impl FromStr for EndpointName {
    type Err = NameFormat;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-')
        };
        if (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameFormat(text.to_owned()))
        }
    }
}

impl EndpointName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EndpointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The address to which an endpoint's calls go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointUrl(Url);

/// A text that is no endpoint's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no base URL of an endpoint: {why}; expected `http://HOST/PATH` or `https://HOST/PATH`, to which \
     `{PATH}` is appended"
)]
pub struct UrlFormat {
    /// What was given, without a password.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl FromStr for EndpointUrl {
    type Err = UrlFormat;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |why| {
            // What stands before an `@` may be a password.
            let shown = text.rsplit_once('@').map_or(text, |(_, after)| after);
            Err(UrlFormat {
                text: shown.to_owned(),
                why,
            })
        };
        let Ok(mut url) = Url::parse(text.trim()) else {
            return refuse("it is no URL");
        };
        if !matches!(url.scheme(), "http" | "https") {
            return refuse("it begins with neither `http://` nor `https://`");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("it holds a user or a password, and a key goes into a file (`--api-key-file`)");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return refuse("it has a query or a fragment");
        }
        let base = url.path().trim_end_matches('/');
        let base = base.strip_suffix(PATH).unwrap_or(base);
        let path = format!("{}{PATH}", base.trim_end_matches('/'));
        url.set_path(&path);
        Ok(Self(url))
    }
}

impl EndpointUrl {
    /// Where calls are posted to.
    pub fn completions(&self) -> &Url {
        &self.0
    }

    /// Whether what is sent there can be read on the way: it is not encrypted and leaves this host.
    pub fn is_open_to_eavesdroppers(&self) -> bool {
        let host = self.0.host_str().unwrap_or("");
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        let is_here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
        self.0.scheme() == "http" && !is_here
    }

    /// Whether the connection is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.0.scheme() == "https"
    }
}

/// Where models are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name.
    pub name: EndpointName,
    /// Its address.
    pub url: EndpointUrl,
    /// Its key; none for a server that asks for none.
    pub key: Option<ApiKey>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_url_is_read_with_and_without_what_is_appended() {
        for (text, expected) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/chat/completions"),
            (
                "https://api.openai.com/v1",
                "https://api.openai.com/v1/chat/completions",
            ),
            (
                "https://api.openai.com/v1/",
                "https://api.openai.com/v1/chat/completions",
            ),
            (
                "https://api.openai.com/v1/chat/completions/",
                "https://api.openai.com/v1/chat/completions",
            ),
        ] {
            let url = text
                .parse::<EndpointUrl>()
                .map(|url| url.completions().to_string());
            assert_eq!(url, Ok(expected.to_owned()));
        }
    }

    #[test]
    fn url_that_is_none_says_what_was_expected_and_shows_no_password() {
        let why = |text: &str| {
            text.parse::<EndpointUrl>()
                .map_err(|error| (error.text, error.why))
        };
        let refused = |text: &str, why| Err((text.to_owned(), why));
        assert_eq!(
            why("api.openai.com/v1"),
            refused("api.openai.com/v1", "it is no URL")
        );
        assert_eq!(
            why("ftp://h/v1"),
            refused("ftp://h/v1", "it begins with neither `http://` nor `https://`")
        );
        assert_eq!(
            why("https://u:secret@h/v1"),
            refused(
                "h/v1",
                "it holds a user or a password, and a key goes into a file (`--api-key-file`)"
            )
        );
        assert_eq!(
            why("https://h/v1?key=1"),
            refused("https://h/v1?key=1", "it has a query or a fragment")
        );
        let error = "x".parse::<EndpointUrl>().map_err(|error| error.to_string());
        assert_eq!(
            error,
            Err(
                "`x` is no base URL of an endpoint: it is no URL; expected `http://HOST/PATH` or \
                 `https://HOST/PATH`, to which `/chat/completions` is appended"
                    .to_owned()
            )
        );
    }

    #[test]
    fn names_are_short_and_plain() {
        let long = "a".repeat(NAME_BYTES_MAX);
        for name in ["openai", "vllm-2", "a.b_c", &long] {
            assert_eq!(
                name.parse::<EndpointName>().map(|name| name.to_string()),
                Ok(name.to_owned())
            );
        }
        let too_long = "a".repeat(NAME_BYTES_MAX + 1);
        for name in ["", "OpenAI", "a b", "a/b", "é", &too_long] {
            assert_eq!(name.parse::<EndpointName>(), Err(NameFormat(name.to_owned())));
        }
    }

    #[test]
    fn unencrypted_url_of_another_host_is_open_to_eavesdroppers() {
        let open = |text: &str| {
            text.parse::<EndpointUrl>()
                .map(|url| url.is_open_to_eavesdroppers())
        };
        for text in [
            "http://localhost:1/v1",
            "http://127.0.0.1/v1",
            "http://[::1]:8/v1",
            "https://far/v1",
        ] {
            assert_eq!(open(text), Ok(false), "{text}");
        }
        assert_eq!(open("http://far/v1"), Ok(true));
    }
}
