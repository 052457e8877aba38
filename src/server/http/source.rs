//! Where a request came from: the peer's own address, or what a trusted proxy says; and whether others could read it.

use super::Rooms;
use crate::config::Network;
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;

/// The address that a request came from; IPv4 never in the form of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) address: IpAddr,
    pub(super) line: Line,
}

/// Whether others may read what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// By TLS, on this machine, or from a trusted proxy, which is there to speak TLS.
    Private,
    /// Without encryption, over some network.
    Open,
}

/// The address of the connection's other end, and what the connection itself is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Neighbour(pub(super) IpAddr, pub(super) Line);

impl FromRequestParts<Rooms> for Source {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, rooms: &Rooms) -> Result<Source, Infallible> {
        // Every connection's requests have it.
        let unknown = Neighbour(Ipv4Addr::UNSPECIFIED.into(), Line::Open);
        let neighbour = parts.extensions.get().copied().unwrap_or(unknown);
        // A proxy on this machine of which nobody told us: every host would get the address 127.0.0.1.
        let address = neighbour.0.to_canonical();
        let trusted = &rooms.config.trusted_proxies;
        if address.is_loopback()
            && parts.headers.contains_key("x-forwarded-for")
            && !trusted.iter().any(|network| network.contains(address))
            && !rooms.told_of_proxy.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                "X-Forwarded-For from {address} ignored; if a proxy is there, write trusted-proxies = [\"{address}\"]"
            );
        }
        Ok(source(neighbour, &parts.headers, trusted))
    }
}

/// Each proxy adds the address that it was spoken to from, at the end. So what trusted ones added stands at the end, and
/// the last address that is no trusted proxy's is one that a trusted proxy saw; all before it anybody may have made up.
fn source(Neighbour(neighbour, line): Neighbour, headers: &HeaderMap, trusted: &[Network]) -> Source {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut source = neighbour.to_canonical();
    let line = if source.is_loopback() || is_trusted(source) { Line::Private } else { line };
    let lines = headers.get_all("x-forwarded-for").into_iter().rev();
    for hop in lines.flat_map(|line| line.as_bytes().rsplit(|octet| *octet == b',')) {
        if !is_trusted(source) {
            break;
        }
        // Unreadable: then the proxy that passed it on is all we know.
        let Some(address) = hop_address(hop) else { break };
        source = address.to_canonical();
    }
    Source { address: source, line }
}

/// Reads `192.0.2.1`, `2001:db8::1`, `[2001:db8::1]`, and any of them with a port, as some proxies write it.
fn hop_address(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(bracketed).or_else(with_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn come(neighbour: &str, line: Line, lines: &[&str]) -> Source {
        let trusted = ["127.0.0.1", "10.0.0.0/8", "2001:db8:1::/48"].map(|text| Network::parse(text).unwrap());
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        source(Neighbour(neighbour.parse().unwrap(), line), &headers, &trusted)
    }

    fn seen(neighbour: &str, lines: &[&str]) -> String {
        come(neighbour, Line::Open, lines).address.to_string()
    }

    #[test]
    fn a_line_is_private_by_tls_on_this_machine_and_behind_a_proxy() {
        for (neighbour, line, seen) in [
            ("192.0.2.1", Line::Open, Line::Open),
            ("192.0.2.1", Line::Private, Line::Private),
            ("::1", Line::Open, Line::Private),
            ("::ffff:127.0.0.2", Line::Open, Line::Private),
            ("10.1.2.3", Line::Open, Line::Private),
        ] {
            // Whatever the client of a proxy says, and whoever says that he is one.
            assert_eq!(come(neighbour, line, &["127.0.0.1"]).line, seen, "{neighbour}");
        }
    }

    #[test]
    fn the_header_of_somebody_who_is_no_trusted_proxy_is_ignored() {
        assert_eq!(seen("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(seen("::ffff:192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(seen("127.0.0.2", &["198.51.100.7"]), "127.0.0.2");
    }

    #[test]
    fn behind_trusted_proxies_the_last_untrusted_hop_counts() {
        assert_eq!(seen("127.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(seen("::ffff:127.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        // What the client made up stands before it.
        assert_eq!(seen("127.0.0.1", &["203.0.113.9, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(seen("127.0.0.1", &["203.0.113.9, 198.51.100.7, 10.1.2.3"]), "198.51.100.7");
        assert_eq!(seen("127.0.0.1", &["203.0.113.9", "198.51.100.7,10.1.2.3", "10.9.9.9"]), "198.51.100.7");
        assert_eq!(seen("2001:db8:1::1", &["2001:db8::7"]), "2001:db8::7");
        // All are ours.
        assert_eq!(seen("127.0.0.1", &["10.0.0.5"]), "10.0.0.5");
        assert_eq!(seen("127.0.0.1", &[]), "127.0.0.1");
    }

    #[test]
    fn the_forms_of_an_address_are_read_and_rubbish_leaves_the_last_one_known() {
        assert_eq!(seen("127.0.0.1", &["198.51.100.7:4711"]), "198.51.100.7");
        assert_eq!(seen("127.0.0.1", &["[2001:db8::7]:4711"]), "2001:db8::7");
        assert_eq!(seen("127.0.0.1", &["[2001:db8::7]"]), "2001:db8::7");
        assert_eq!(seen("127.0.0.1", &["198.51.100.7, unknown"]), "127.0.0.1");
        assert_eq!(seen("127.0.0.1", &["198.51.100.7, unknown, 10.0.0.5"]), "10.0.0.5");
        assert_eq!(seen("127.0.0.1", &["", "198.51.100.7,"]), "127.0.0.1");
    }
}
