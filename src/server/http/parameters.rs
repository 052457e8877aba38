//! What a dyndns2 request asks for, read as leniently as the field's routers write it.
//!
//! Which records it replaces: an IPv4 address that is given replaces the host's A records and leaves its AAAA alone,
//! an IPv6 address the other way round. A kind that is not given, or is given as `preserve`, stays as it is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How long a request's body may be.
pub(super) const LONGEST: usize = 16 * 1024;
/// How many hosts one request may name.
pub(super) const HOSTS: usize = 20;
/// How many addresses of a kind one host may get by one request.
const ADDRESSES: usize = 16;

/// A request, read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Parameters {
    /// The hosts, as written.
    pub(super) hosts: Vec<String>,
    /// What the A records are to be; `None` leaves them.
    pub(super) v4: Option<Vec<Ipv4Addr>>,
    /// What the AAAA records are to be.
    pub(super) v6: Six,
}

/// What becomes of AAAA records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Six {
    /// They stay.
    #[default]
    Stay,
    /// They are to be these.
    Replace(Vec<Ipv6Addr>),
    /// Their first 64 bits are to be these.
    Prefix(u64),
}

impl Parameters {
    /// Reads `query`, the part of a URL after `?` or the body of a form; `source` is taken where no address is given.
    ///
    /// Errors: the address that cannot be read.
    pub(super) fn read(query: &str, source: IpAddr) -> Result<Parameters, String> {
        let (mut hosts, mut v4, mut v6, mut prefix) = (Vec::new(), Vec::new(), Vec::new(), None);
        let mut preserved = false;
        for (name, value) in pairs(query) {
            match name {
                "hostname" | "host" | "domain" => hosts.extend(value.split(',').map(|host| host.trim().to_string())),
                // Speedport joins both kinds in one, each has its own in others, and some put IPv6 in `myip`.
                "myip" | "ip" | "myipv4" | "myipv6" | "ip6" | "ipv6" => {
                    for text in value.split(',').map(str::trim).filter(|text| !text.is_empty()) {
                        if text.eq_ignore_ascii_case("preserve") {
                            preserved = true;
                            continue;
                        }
                        match address(text)? {
                            Some(IpAddr::V4(address)) if !v4.contains(&address) => v4.push(address),
                            Some(IpAddr::V6(address)) if !v6.contains(&address) => v6.push(address),
                            _ => {}
                        }
                    }
                }
                "ip6lanprefix" if !value.trim().is_empty() => prefix = Some(lan_prefix(value.trim())?),
                _ => {}
            }
        }
        if v4.is_empty() && v6.is_empty() && prefix.is_none() && !preserved {
            match source.to_canonical() {
                IpAddr::V4(address) => v4.push(address),
                IpAddr::V6(address) => v6.push(address),
            }
        }
        v4.truncate(ADDRESSES);
        v6.truncate(ADDRESSES);
        let six = match (v6.is_empty(), prefix) {
            (false, _) => Six::Replace(v6),
            (true, Some(prefix)) => Six::Prefix(prefix),
            (true, None) => Six::Stay,
        };
        Ok(Parameters { hosts, v4: Some(v4).filter(|v4| !v4.is_empty()), v6: six })
    }
}

/// The parameters of a query or a form, in the order written, without their escapes.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (&str, String)> {
    query.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, value)| (name, decode(value)))
}

/// Reads an address; `None` for one that means something on its own link alone, as OPNsense sends it. Nobody's address
/// is one of many at once.
fn address(text: &str) -> Result<Option<IpAddr>, String> {
    // The interface bce0 has become an octet beyond ASCII already, for "%bc" is an escape.
    let plain = text.split_once(|letter: char| letter == '%' || !letter.is_ascii());
    let plain = plain.map_or(text, |(address, _interface)| address);
    let address: IpAddr = plain.parse().map_err(|_| text.to_string())?;
    Ok(match address.to_canonical() {
        IpAddr::V4(v4) if v4.is_multicast() || v4.is_broadcast() => return Err(text.to_string()),
        IpAddr::V6(v6) if v6.is_multicast() => return Err(text.to_string()),
        IpAddr::V4(v4) if v4.is_link_local() || v4.is_unspecified() => None,
        IpAddr::V6(v6) if v6.is_unicast_link_local() || v6.is_unspecified() => None,
        address => Some(address),
    })
}

/// Reads a prefix as FRITZ!Box sends it, `2001:db8:1:2::/64`; one that is shorter has a 64 of zeros after it.
fn lan_prefix(text: &str) -> Result<u64, String> {
    let (address, length) = text.split_once('/').unwrap_or((text, "64"));
    let wrong = || text.to_string();
    let address: Ipv6Addr = address.parse().map_err(|_| wrong())?;
    let length: u32 = length.parse().map_err(|_| wrong())?;
    match length {
        1..=64 => u64::try_from((address.to_bits() >> (128 - length) << (128 - length)) >> 64).map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}

/// Undoes the escapes of a URL; what is no escape stays, for routers write `%pppoe0` and mean it.
fn decode(text: &str) -> String {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        let mut ahead = rest.clone();
        let digits = (ahead.next().and_then(hex), ahead.next().and_then(hex));
        match (octet, digits) {
            (b'%', (Some(high), Some(low))) => {
                octets.push(high << 4 | low);
                rest = ahead;
            }
            (b'+', _) => octets.push(b' '),
            _ => octets.push(octet),
        }
    }
    String::from_utf8_lossy(&octets).into_owned()
}

fn hex(octet: u8) -> Option<u8> {
    char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_the_field_are_read() {
        let v4 = |text: &str| Some(vec![text.parse().unwrap()]);
        let v6 = |text: &str| Six::Replace(vec![text.parse().unwrap()]);
        let source: IpAddr = "198.51.100.9".parse().unwrap();
        for (what, query, four, six) in [
            ("a plain client", "hostname=h.example&myip=192.0.2.1", v4("192.0.2.1"), Six::Stay),
            ("IPv6 alone", "hostname=h.example&myip=2001:db8::1", None, v6("2001:db8::1")),
            ("no address", "hostname=h.example", v4("198.51.100.9"), Six::Stay),
            ("an empty one", "hostname=h.example&myip=", v4("198.51.100.9"), Six::Stay),
            (
                "FRITZ!Box, both",
                "hostname=h.example&myip=192.0.2.1&myipv6=2001:db8::1&ip6lanprefix=2001:db8:1:2::/64&dual=1",
                v4("192.0.2.1"),
                v6("2001:db8::1"),
            ),
            (
                "FRITZ!Box, the prefix of hosts behind it",
                "hostname=h.example&ip6lanprefix=2001:db8:1:2::/64",
                None,
                Six::Prefix(0x2001_0db8_0001_0002),
            ),
            (
                "FRITZ!Box without IPv6",
                "hostname=h.example&myip=192.0.2.1&myipv6=&ip6lanprefix=",
                v4("192.0.2.1"),
                Six::Stay,
            ),
            ("Speedport", "hostname=h.example&myip=2001:db8::1,192.0.2.1", v4("192.0.2.1"), v6("2001:db8::1")),
            ("OPNsense", "hostname=h.example&myip=fe80::1%pppoe0", v4("198.51.100.9"), Six::Stay),
            // To a reader of URLs "%bc" is an escape.
            ("OPNsense, another interface", "hostname=h.example&myip=fe80::1%bce0", v4("198.51.100.9"), Six::Stay),
            ("OPNsense, escaped", "hostname=h.example&myip=192.0.2.1%2cfe80::1%25pppoe0", v4("192.0.2.1"), Six::Stay),
            ("one kept", "hostname=h.example&myip=192.0.2.1&myipv6=preserve", v4("192.0.2.1"), Six::Stay),
            ("both kept", "hostname=h.example&myip=preserve", None, Six::Stay),
            ("IPv4 in IPv6", "hostname=h.example&myip=::ffff:192.0.2.1", v4("192.0.2.1"), Six::Stay),
        ] {
            let read = Parameters::read(query, source).unwrap();
            assert_eq!(read, Parameters { hosts: vec!["h.example".into()], v4: four, v6: six }, "{what}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_query_makes_the_reader_panic(query in proptest::collection::vec(proptest::num::u8::ANY, 0..40), rest in "(hostname|myip|ip6lanprefix|token)=[%:/,+&0-9a-fA-F.]{0,40}") {
            let query = format!("{}&{rest}", String::from_utf8_lossy(&query));
            let _ = Parameters::read(&query, [192, 0, 2, 9].into());
        }
    }

    #[test]
    fn an_address_that_cannot_be_read_is_named() {
        for text in ["<ipaddr>", "192.0.2", "192.0.2.1.5"] {
            let query = format!("hostname=h.example&myip={text}");
            assert_eq!(Parameters::read(&query, [192, 0, 2, 9].into()), Err(text.to_string()));
        }
        assert!(Parameters::read("ip6lanprefix=2001:db8::/65", [192, 0, 2, 9].into()).is_err());
        assert!(Parameters::read("ip6lanprefix=2001:db8::/0", [192, 0, 2, 9].into()).is_err());
    }
}
