//! Where a request came from: the peer's own address, or what a trusted proxy says.

use super::Rooms;
use crate::config::Network;
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The address that a request came from; IPv4 never in the form of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Source(pub(super) IpAddr);

/// The address of the connection's other end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Neighbour(pub(super) IpAddr);

impl FromRequestParts<Rooms> for Source {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, rooms: &Rooms) -> Result<Source, Infallible> {
        // Every connection's requests have it.
        let neighbour = parts.extensions.get().copied().unwrap_or(Neighbour(Ipv4Addr::UNSPECIFIED.into()));
        Ok(source(neighbour.0, &parts.headers, &rooms.config.trusted_proxies))
    }
}

/// Each proxy adds the address that it was spoken to from, at the end. So what trusted ones added stands at the end, and
/// the last address that is no trusted proxy's is one that a trusted proxy saw; all before it anybody may have made up.
fn source(neighbour: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> Source {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut source = neighbour.to_canonical();
    let lines = headers.get_all("x-forwarded-for").into_iter().rev();
    for hop in lines.flat_map(|line| line.as_bytes().rsplit(|octet| *octet == b',')) {
        if !is_trusted(source) {
            break;
        }
        // Unreadable: then the proxy that passed it on is all we know.
        let Some(address) = hop_address(hop) else { break };
        source = address.to_canonical();
    }
    Source(source)
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

    fn seen(neighbour: &str, lines: &[&str]) -> String {
        let trusted = ["127.0.0.1", "10.0.0.0/8", "2001:db8:1::/48"].map(|text| Network::parse(text).unwrap());
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        source(neighbour.parse().unwrap(), &headers, &trusted).0.to_string()
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
