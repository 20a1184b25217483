//! The models that this worker reaches: those of its endpoints, by the endpoints' names, over one HTTP client.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use reqwest::redirect::Policy;

use crate::llm::chat::{ChatModel, Manner};
use crate::llm::endpoint::Endpoint;

/// How long a connection to an endpoint may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection is silent until it is asked whether the other host is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How often it is asked then, until the host counts as gone: within a minute and a half, however long an answer may
/// be waited for.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// As above.
const KEEPALIVE_TRIES: u32 = 4;
/// How long an unused connection is kept: less than servers do, who close it without a word otherwise.
const UNUSED_MAX: Duration = Duration::from_secs(4);

/// The models of every endpoint.
#[derive(Debug, Default)]
pub struct Models {
    by_endpoint: BTreeMap<String, Arc<ChatModel>>,
}

impl Models {
    /// The models of these endpoints. Proxies and trusted certificates are taken from this process's environment
    /// (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`, `SSL_CERT_FILE`, `SSL_CERT_DIR`) and from the system.
    ///
    /// # Errors
    /// An endpoint is reached over TLS and no certificate is trusted here, or the environment names a wrong proxy.
    pub fn new(endpoints: Vec<Endpoint>, manner: Manner) -> Result<Self, reqwest::Error> {
        if endpoints.is_empty() {
            return Ok(Self::default());
        }
        let http = http_client(endpoints.iter().any(|endpoint| endpoint.url.is_encrypted()))?;
        let models = endpoints.into_iter().map(|endpoint| {
            let name = endpoint.name.to_string();
            (name, Arc::new(ChatModel::new(endpoint, http.clone(), manner)))
        });
        Ok(Self {
            by_endpoint: models.collect(),
        })
    }

    /// The models of an endpoint.
    pub fn of(&self, endpoint: &str) -> Option<&Arc<ChatModel>> {
        self.by_endpoint.get(endpoint)
    }

    /// The names of the endpoints, in their order.
    pub fn endpoints(&self) -> impl Iterator<Item = &str> {
        self.by_endpoint.keys().map(String::as_str)
    }
}

/// A client that follows no redirect, so that a key goes nowhere but to the address it was given for.
fn http_client(needs_roots: bool) -> Result<Client, reqwest::Error> {
    // Another part of the process may have been first; then that provider serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = || {
        Client::builder()
            .user_agent(concat!("roundhouse/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_keepalive(KEEPALIVE)
            .tcp_keepalive_interval(KEEPALIVE_INTERVAL)
            .tcp_keepalive_retries(KEEPALIVE_TRIES)
            .tcp_nodelay(true)
            .pool_idle_timeout(UNUSED_MAX)
            .redirect(Policy::none())
    };
    let client = builder().build();
    if client.is_err() && !needs_roots {
        // A host that trusts nobody can still reach a server without encryption.
        return builder().tls_certs_only([]).build();
    }
    client
}
