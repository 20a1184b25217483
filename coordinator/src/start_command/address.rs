//! Where the coordinator listens, and who could reach it there.

use std::net::SocketAddr;

use anyhow::{Context, anyhow};
use tokio::net::TcpListener;

use crate::exit;

/// Listens on `listen`, and nowhere that only its name was judged: what it resolves to is what is bound.
///
/// # Errors
/// It is no address, other hosts could connect and `insecure` is not set, or the port cannot be had.
pub(super) async fn listen(listen: &str, insecure: bool) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let found = tokio::net::lookup_host(listen).await;
    let addresses: Vec<SocketAddr> = match found {
        Ok(found) => found.collect(),
        Err(error) => {
            return Err(exit::usage(format!(
                "`{listen}` is no address to listen on: {error}\nhint: expected HOST:PORT, such as `127.0.0.1:7717`"
            )));
        }
    };
    if !insecure {
        refuse_other_hosts(listen, &addresses)?;
    }
    let listener = TcpListener::bind(&addresses[..]).await.map_err(|error| {
        let in_use = error.kind() == std::io::ErrorKind::AddrInUse;
        if in_use {
            anyhow!(
                "`{listen}` is in use\nhint: another coordinator may be up there: `coordinator status` asks it; \
                 `--listen` takes another port, 0 for a free one"
            )
        } else {
            anyhow!("failed to listen on `{listen}`: {error}")
        }
    })?;
    let bound = listener.local_addr().context("find the port")?;
    Ok((listener, bound))
}

fn refuse_other_hosts(listen: &str, addresses: &[SocketAddr]) -> anyhow::Result<()> {
    let is_open = |address: &&SocketAddr| !address.ip().to_canonical().is_loopback();
    match addresses.iter().find(is_open) {
        None => Ok(()),
        Some(address) => Err(exit::usage(format!(
            "`--listen {listen}` ({address}) lets other hosts connect, and nothing is encrypted and nobody is asked \
             who they are: everybody who can reach the port can have programs run on the workers, spend what their \
             keys pay for, and read all results\n\
             hint: `--listen 127.0.0.1:{}` stays on this host; an SSH tunnel lets chosen others in\n\
             hint: `--insecure` listens all the same, for networks that only trusted hosts can reach",
            address.port()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(address: &str) -> Option<String> {
        let found = [address.parse().expect("an address")];
        refuse_other_hosts("it", &found)
            .err()
            .map(|error| error.to_string())
    }

    #[test]
    fn address_that_other_hosts_can_reach_is_refused_and_a_loopback_one_is_not() {
        for address in ["127.0.0.1:0", "127.8.8.8:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(refusal(address), None, "{address}");
        }
        for address in [
            "0.0.0.0:1",
            "[::]:1",
            "10.0.0.1:1",
            "192.0.2.1:7717",
            "[::ffff:10.0.0.1]:1",
        ] {
            let text = refusal(address).unwrap_or_default();
            assert!(
                text.contains(address) && text.contains("\nhint: `--insecure`"),
                "{text}"
            );
        }
        // One of several is enough.
        let both = ["127.0.0.1:1", "10.0.0.1:1"].map(|address| address.parse().expect("an address"));
        assert!(refuse_other_hosts("name:1", &both).is_err());
    }

    #[tokio::test]
    async fn port_0_is_a_free_one_and_a_port_in_use_is_said_to_be() {
        let Ok((_held, bound)) = listen("127.0.0.1:0", false).await else {
            panic!("there is a free port");
        };
        assert_ne!(bound.port(), 0);
        let error = listen(&bound.to_string(), false)
            .await
            .err()
            .map(|error| error.to_string());
        let error = error.unwrap_or_default();
        assert!(
            error.starts_with(&format!("`{bound}` is in use\nhint: ")),
            "{error}"
        );
        for no_address in ["", "127.0.0.1", "127.0.0.1:x", ":"] {
            let error = listen(no_address, true).await.err();
            assert!(
                error.is_some_and(|error| error.is::<exit::UsageError>()),
                "{no_address}"
            );
        }
    }
}
