//! Where a server is: its name or address, and a port.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// A server by name or by address, with its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// A name that the system can resolve, or an address.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Place {
    /// Where DNS is asked (RFC 1035 section 4.2).
    pub const DNS: u16 = 53;

    /// Reads `HOST`, `HOST:PORT`, an address or `[ADDRESS]:PORT`; without a port it is `usual`.
    pub fn parse(text: &str, usual: u16) -> Result<Place, String> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Place { host: address.to_string(), port: usual });
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(address.into());
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()),
            None => (text, Some(usual)),
        };
        let name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        match port.filter(|_| !host.is_empty() && host.chars().all(name) && host.chars().any(char::is_alphabetic)) {
            Some(port) => Ok(Place { host: host.to_string(), port }),
            None => Err(format!(
                "`{text}` is no server; write it as ns.example.com, ns.example.com:5300, 192.0.2.53, 192.0.2.53:5300, \
                 2001:db8::53 or [2001:db8::53]:5300"
            )),
        }
    }
}

impl Place {
    /// With its port, whichever that is.
    pub fn with_port(&self) -> String {
        let Place { host, port } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl FromStr for Place {
    type Err = String;

    /// Reads a DNS server.
    fn from_str(text: &str) -> Result<Place, String> {
        Place::parse(text, Place::DNS)
    }
}

impl From<SocketAddr> for Place {
    fn from(address: SocketAddr) -> Place {
        Place { host: address.ip().to_string(), port: address.port() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.host.contains(':'), self.port) {
            (_, Place::DNS) => f.write_str(&self.host),
            (true, port) => write!(f, "[{}]:{port}", self.host),
            (false, port) => write!(f, "{}:{port}", self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_a_port_is_asked_at_53() {
        for (text, host, port) in [
            ("192.0.2.53", "192.0.2.53", 53),
            ("2001:db8::53", "2001:db8::53", 53),
            ("[2001:db8::53]", "2001:db8::53", 53),
            ("[2001:db8::53]:5300", "2001:db8::53", 5300),
            ("ns.example.com", "ns.example.com", 53),
            ("ns:5300", "ns", 5300),
        ] {
            let place = Place { host: host.into(), port };
            assert_eq!(text.parse(), Ok(place.clone()), "{text}");
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        for text in ["", ":53", "ns:", "ns:70000", "1.2.3", "ns example", "2001:db8::53:x", "[::1"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
