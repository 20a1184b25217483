//! Which endpoints a worker has, from its flags and its environment.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{Endpoint, EndpointName, EndpointUrl, NameFormat, UrlFormat};
use crate::llm::key::{ApiKey, KeyFile, KeyFileError, KeyFormat};

/// An endpoint that the environment can name: its variables and its usual address.
struct Known {
    name: &'static str,
    key_variable: &'static str,
    url_variable: &'static str,
    url: &'static str,
    /// Whether an address alone makes it: a server of one's own that asks for no key.
    may_lack_key: bool,
}

const OPENAI: &str = "openai";

const KNOWN: [Known; 2] = [
    Known {
        name: OPENAI,
        key_variable: "OPENAI_API_KEY",
        url_variable: "OPENAI_BASE_URL",
        url: "https://api.openai.com/v1",
        may_lack_key: true,
    },
    Known {
        name: "deepseek",
        key_variable: "DEEPSEEK_API_KEY",
        url_variable: "DEEPSEEK_BASE_URL",
        url: "https://api.deepseek.com/v1",
        may_lack_key: false,
    },
];

/// An endpoint as a flag names it: `NAME=URL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointFlag {
    name: EndpointName,
    url: EndpointUrl,
}

/// A flag that names no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointFlagFormat {
    /// There is no `=`.
    #[error("expected `NAME=URL`, such as `local=http://127.0.0.1:8080/v1`")]
    NoName,
    /// What stands before it is no name.
    #[error(transparent)]
    Name(#[from] NameFormat),
    /// What stands after it is no URL.
    #[error(transparent)]
    Url(#[from] UrlFormat),
}

impl FromStr for EndpointFlag {
    type Err = EndpointFlagFormat;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, url) = text.split_once('=').ok_or(EndpointFlagFormat::NoName)?;
        Ok(Self {
            name: name.parse()?,
            url: url.parse()?,
        })
    }
}

/// A file with a key, as a flag names it: `NAME=FILE`, or `FILE` for the first endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySource {
    /// Whose key it is.
    pub endpoint: Option<EndpointName>,
    /// The file.
    pub path: PathBuf,
}

impl FromStr for KeySource {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A path with a `=` in it is a path, unless a name stands before the `=`.
        let named = text
            .split_once('=')
            .and_then(|(name, path)| Some((name.parse().ok()?, path)));
        Ok(match named {
            Some((name, path)) => Self {
                endpoint: Some(name),
                path: PathBuf::from(path),
            },
            None => Self {
                endpoint: None,
                path: PathBuf::from(text),
            },
        })
    }
}

/// The flags that name endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct EndpointFlags {
    /// A server with an OpenAI-compatible interface, for generation; repeatable. The environment gives two more:
    /// `openai` (`OPENAI_API_KEY`, `OPENAI_BASE_URL`) and `deepseek` (`DEEPSEEK_API_KEY`, `DEEPSEEK_BASE_URL`)
    #[arg(long = "endpoint", value_name = "NAME=URL")]
    pub endpoints: Vec<EndpointFlag>,
    /// A file that holds an endpoint's key and nothing else; a FILE alone is for the first endpoint; repeatable
    #[arg(long = "api-key-file", value_name = "[NAME=]FILE")]
    pub key_files: Vec<KeySource>,
    /// Ask for whole answers instead of streams, for servers that cannot stream
    #[arg(long)]
    pub no_stream: bool,
}

impl EndpointFlags {
    /// The flag of this family that was given, if any.
    pub fn given(&self) -> Option<&'static str> {
        if !self.endpoints.is_empty() {
            Some("--endpoint")
        } else if !self.key_files.is_empty() {
            Some("--api-key-file")
        } else if self.no_stream {
            Some("--no-stream")
        } else {
            None
        }
    }
}

/// Why flags and environment make no endpoints.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Two flags name one endpoint.
    #[error("`--endpoint {0}=…` is given twice: every endpoint needs a name of its own")]
    Twice(EndpointName),
    /// Two flags give one endpoint a key.
    #[error("`--api-key-file` names the key of `{0}` twice")]
    TwoKeys(EndpointName),
    /// A key of an endpoint that is not there.
    #[error("`--api-key-file {name}=…`: no endpoint is called `{name}`\nhint: add `--endpoint {name}=URL`")]
    NoSuchEndpoint {
        /// The name.
        name: EndpointName,
    },
    /// A file gives no key.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// A variable holds no key.
    #[error("`{variable}` {why}")]
    KeyVariable {
        /// The variable.
        variable: &'static str,
        /// What is wrong.
        why: KeyFormat,
    },
    /// A variable holds no address.
    #[error("`{variable}`: {why}")]
    UrlVariable {
        /// The variable.
        variable: &'static str,
        /// What is wrong.
        why: UrlFormat,
    },
}

/// The endpoints that flags and environment come to, flags first and in their order, and warnings for the user.
///
/// A flag wins over the environment; an `--endpoint` called `openai` or `deepseek` takes the environment's key of
/// that name. `variable` looks up the environment, `read` a file with a key.
///
/// # Errors
/// A name comes twice, a key belongs to no endpoint, a file or a variable holds what it should not.
pub fn gather(
    flags: &EndpointFlags,
    variable: impl Fn(&str) -> Option<String>,
    read: impl Fn(&Path) -> Result<KeyFile, KeyFileError>,
) -> Result<(Vec<Endpoint>, Vec<String>), EndpointError> {
    let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    let mut warnings = Vec::new();
    let mut keys = Vec::new();
    let first = match flags.endpoints.first() {
        Some(flag) => flag.name.clone(),
        None => EndpointName(OPENAI.to_owned()),
    };
    for source in &flags.key_files {
        let name = source.endpoint.as_ref().unwrap_or(&first);
        let file = read(&source.path)?;
        if let Some(mode) = file.open_to_others {
            let path = source.path.display();
            warnings.push(format!(
                "warning: others may read the key in `{path}` (its mode is {mode:03o})\nhint: `chmod 600 {path}`"
            ));
        }
        if keys.iter().any(|(known, _)| known == name) {
            return Err(EndpointError::TwoKeys(name.clone()));
        }
        keys.push((name.clone(), file.key));
    }
    let mut take_key = |name: &EndpointName| {
        let at = keys.iter().position(|(known, _)| known == name)?;
        Some(keys.swap_remove(at).1)
    };

    let mut endpoints: Vec<Endpoint> = Vec::new();
    for EndpointFlag { name, url } in &flags.endpoints {
        if endpoints.iter().any(|endpoint| endpoint.name == *name) {
            return Err(EndpointError::Twice(name.clone()));
        }
        let key = match take_key(name) {
            Some(key) => Some(key),
            None => match KNOWN.iter().find(|known| known.name == name.as_str()) {
                Some(known) => key_of(known, &variable)?,
                None => None,
            },
        };
        let (name, url) = (name.clone(), url.clone());
        endpoints.push(Endpoint { name, url, key });
    }
    for known in &KNOWN {
        let name = EndpointName(known.name.to_owned());
        if endpoints.iter().any(|endpoint| endpoint.name == name) {
            continue;
        }
        let key = match take_key(&name) {
            Some(key) => Some(key),
            None => key_of(known, &variable)?,
        };
        let given = variable(known.url_variable);
        if key.is_none() && !(known.may_lack_key && given.is_some()) {
            continue;
        }
        let url = given.as_deref().unwrap_or(known.url).parse();
        let url = url.map_err(|why| EndpointError::UrlVariable {
            variable: known.url_variable,
            why,
        })?;
        endpoints.push(Endpoint { name, url, key });
    }
    if let Some((name, _)) = keys.into_iter().next() {
        return Err(EndpointError::NoSuchEndpoint { name });
    }
    let open = endpoints
        .iter()
        .filter(|endpoint| endpoint.key.is_some() && endpoint.url.is_open_to_eavesdroppers());
    warnings.extend(open.map(|endpoint| {
        format!(
            "warning: the key of endpoint `{}` is sent unencrypted: its URL begins with `http://`",
            endpoint.name
        )
    }));
    Ok((endpoints, warnings))
}

fn key_of(
    known: &Known,
    variable: &impl Fn(&str) -> Option<String>,
) -> Result<Option<ApiKey>, EndpointError> {
    let key = variable(known.key_variable).map(|text| ApiKey::parse(&text));
    key.transpose().map_err(|why| EndpointError::KeyVariable {
        variable: known.key_variable,
        why,
    })
}

#[cfg(test)]
mod tests;
