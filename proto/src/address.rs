//! Where a coordinator is: a Unix socket, or a host and port. For whoever connects to one, workers and people alike.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint, Uri};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a silent connection to another host is asked whether it lives, and how long it may take to answer.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Where a coordinator listens unless someone says otherwise.
pub const DEFAULT_ADDRESS: &str = "http://127.0.0.1:7717";

/// Where the coordinator is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoordinatorAddress {
    /// A Unix socket on this host.
    Unix(PathBuf),
    /// `http://host:port`.
    Http(Uri),
}

/// A text that is no address of a coordinator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address of a coordinator: expected `http://HOST:PORT` or `unix:PATH`")]
pub struct AddressFormat(pub String);

impl FromStr for CoordinatorAddress {
    type Err = AddressFormat;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err(AddressFormat(text.to_owned())),
                path => Ok(Self::Unix(PathBuf::from(path))),
            };
        }
        match Uri::from_str(text) {
            Ok(uri) if uri.scheme_str() == Some("http") && uri.port().is_some() => Ok(Self::Http(uri)),
            _ => Err(AddressFormat(text.to_owned())),
        }
    }
}

impl fmt::Display for CoordinatorAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Http(uri) => write!(f, "{}", uri.to_string().trim_end_matches('/')),
        }
    }
}

impl CoordinatorAddress {
    /// A channel that connects when it is first used and again whenever it is used after a loss.
    pub fn channel(&self) -> Channel {
        match self {
            Self::Http(uri) => Endpoint::from(uri.clone())
                .connect_timeout(CONNECT_TIMEOUT)
                .http2_keep_alive_interval(KEEPALIVE)
                .keep_alive_timeout(KEEPALIVE)
                .keep_alive_while_idle(true)
                .tcp_nodelay(true)
                .connect_lazy(),
            Self::Unix(path) => {
                let path = path.clone();
                let connector = tower::service_fn(move |_: Uri| {
                    let path = path.clone();
                    async move { tokio::net::UnixStream::connect(path).await.map(TokioIo::new) }
                });
                // The name is never resolved: the connector goes to the socket. No keepalive: the kernel tells when
                // the other process is gone, and one that was merely stopped (Ctrl-Z) or starved goes on later.
                Endpoint::from_static("http://coordinator.invalid")
                    .connect_timeout(CONNECT_TIMEOUT)
                    .connect_with_connector_lazy(connector)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_reads_back_from_its_own_text_and_others_are_refused() {
        for text in ["unix:/run/roundhouse.sock", "http://127.0.0.1:7717"] {
            assert_eq!(
                text.parse::<CoordinatorAddress>().map(|a| a.to_string()),
                Ok(text.to_owned())
            );
        }
        for text in [
            "",
            "unix:",
            "127.0.0.1:7717",
            "https://host:1",
            "http://host",
            "ftp://h:1",
        ] {
            assert_eq!(
                text.parse::<CoordinatorAddress>(),
                Err(AddressFormat(text.to_owned()))
            );
        }
    }
}
