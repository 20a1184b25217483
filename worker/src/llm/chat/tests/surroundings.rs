//! Proxies and trusted certificates, which are taken from the environment: each test asks in a process of its own,
//! so that it has an environment of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// Names the address that the process is to ask.
const URL: &str = "ROUNDHOUSE_TEST_ASK";
/// Stands before what came of it.
const MARK: &str = "came of it: ";

/// The process of its own: asks once, if it is told whom.
#[tokio::test]
async fn asks_once() {
    let Ok(url) = std::env::var(URL) else { return };
    let retries = Retries {
        tries_max: 1,
        ..RETRIES
    };
    let text = match model(&url, Manner { retries, ..manner() }).ask(&ask()).await {
        Ok(reply) => reply.text,
        Err(error) => error.to_string(),
    };
    let mut out = std::io::stdout();
    std::io::Write::write_all(&mut out, format!("\n{MARK}{text}\n").as_bytes()).unwrap();
}

/// What comes of asking `url` in an environment with these proxies and certificates only.
async fn asked(url: &str, environment: &[(&str, &str)]) -> String {
    let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
    for name in [
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "no_proxy",
        "request_method",
    ] {
        command.env_remove(name).env_remove(name.to_ascii_uppercase());
    }
    let output = command
        .args([
            "llm::chat::tests::surroundings::asks_once",
            "--exact",
            "--nocapture",
        ])
        .env(URL, url)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let line = out.lines().find_map(|line| line.strip_prefix(MARK));
    line.unwrap_or_else(|| panic!("it asked nothing: {out}"))
        .to_owned()
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A proxy that passes all that comes on to one server, whatever its name, and counts: plain requests, tunnels.
async fn proxy(server: SocketAddr) -> (String, Arc<[AtomicUsize; 2]>) {
    let (listener, address) = listener().await;
    let counts: Arc<[AtomicUsize; 2]> = Arc::default();
    tokio::spawn({
        let counts = Arc::clone(&counts);
        async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, server, Arc::clone(&counts)));
            }
        }
    });
    (format!("http://{address}"), counts)
}

async fn pass_on(client: TcpStream, server: SocketAddr, counts: Arc<[AtomicUsize; 2]>) {
    let mut client = BufReader::new(client);
    let mut line = String::new();
    client.read_line(&mut line).await.unwrap();
    let mut server = TcpStream::connect(server).await.unwrap();
    if line.starts_with("CONNECT ") {
        counts[1].fetch_add(1, Ordering::SeqCst);
        while line.trim() != "" {
            line.clear();
            client.read_line(&mut line).await.unwrap();
        }
        client
            .get_mut()
            .write_all(b"HTTP/1.1 200 OK\r\n\r\n")
            .await
            .unwrap();
    } else {
        counts[0].fetch_add(1, Ordering::SeqCst);
        server.write_all(line.as_bytes()).await.unwrap();
    }
    // How it ends is not the proxy's matter.
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

fn served(counts: &[AtomicUsize; 2]) -> [usize; 2] {
    [counts[0].load(Ordering::SeqCst), counts[1].load(Ordering::SeqCst)]
}

#[tokio::test]
async fn proxy_of_the_environment_is_used_but_for_hosts_that_need_none() {
    let server = ModelServer::in_turn([Answer::text("yes")]);
    let (proxy, counts) = proxy(server.address()).await;
    // A name that only the proxy can reach.
    let far = "http://models.invalid/v1";
    assert_eq!(asked(far, &[("HTTP_PROXY", &proxy)]).await, "yes");
    assert_eq!(served(&counts), [1, 0]);
    let near = server.url();
    let environment = [("HTTP_PROXY", proxy.as_str()), ("NO_PROXY", "127.0.0.1")];
    assert_eq!(asked(&near, &environment).await, "yes");
    assert_eq!(served(&counts), [1, 0]);
}

/// A server with a certificate of an authority that only `SSL_CERT_FILE` names; the PEM of the authority.
async fn encrypted(server: SocketAddr) -> (SocketAddr, String) {
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let authority_certificate = authority.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["models.invalid".to_owned(), "localhost".to_owned()];
    let certificate = rcgen::CertificateParams::new(names).unwrap();
    let certificate = certificate.signed_by(&key, &issuer).unwrap();

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut client) = acceptor.accept(client).await else {
                    return;
                };
                let mut server = TcpStream::connect(server).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (address, authority_certificate.pem())
}

#[tokio::test]
async fn certificates_of_ssl_cert_file_are_trusted_also_through_a_proxy_and_others_are_not() {
    let server = ModelServer::in_turn([Answer::text("yes")]);
    let (address, pem) = encrypted(server.address()).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("authority.pem");
    std::fs::write(&file, pem).unwrap();
    let file = file.to_str().unwrap();

    let near = format!("https://localhost:{}/v1", address.port());
    assert_eq!(asked(&near, &[("SSL_CERT_FILE", file)]).await, "yes");

    let (proxy, counts) = proxy(address).await;
    let environment = [("SSL_CERT_FILE", file), ("HTTPS_PROXY", proxy.as_str())];
    assert_eq!(asked("https://models.invalid/v1", &environment).await, "yes");
    assert_eq!(served(&counts), [0, 1]);

    // An authority that signed nothing here.
    let (_, other) = encrypted(server.address()).await;
    let other_file = dir.path().join("other.pem");
    std::fs::write(&other_file, other).unwrap();
    let refused = asked(&near, &[("SSL_CERT_FILE", other_file.to_str().unwrap())]).await;
    let begin = "endpoint `test`, model `m-1`: its certificate is not trusted: ";
    assert!(refused.starts_with(begin), "{refused}");
    assert!(refused.contains("`SSL_CERT_FILE`"), "{refused}");
    assert_eq!(server.calls_n(), 2);
}

#[tokio::test]
async fn connection_that_breaks_before_the_answer_may_be_paid() {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            // Something of the request was taken; nothing comes back.
            let _ = client.read(&mut [0; 1]).await;
        }
    });
    let result = model(&format!("http://{address}"), manner()).ask(&ask()).await;
    let Err(AskError::Failed { failure, unaccounted }) = result else {
        panic!("nothing was answered: {result:?}");
    };
    let begin = "endpoint `test`, model `m-1`: the connection broke before the answer began: ";
    assert!(failure.message.starts_with(begin), "{}", failure.message);
    assert_eq!(unaccounted, 3);
}
