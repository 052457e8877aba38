//! Address prefix lists, the data of APL: `1:192.0.2.0/24 !2:2001:db8::/32` (RFC 3123 section 5).

use super::rdata::number;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Appends the wire form of one prefix.
pub(super) fn read(text: &str, octets: &mut Vec<u8>) -> Result<(), String> {
    let wrong =
        || format!("{text} is no address prefix; write 1:192.0.2.0/24 or 2:2001:db8::/32, after a ! to exclude it");
    let (negation, item) = text.strip_prefix('!').map_or((0, text), |item| (0x80, item));
    let (family, prefix) = item.split_once(':').ok_or_else(wrong)?;
    let (address, bits) = prefix.split_once('/').ok_or_else(wrong)?;
    let (family, address) = match family {
        "1" => (1, address.parse::<Ipv4Addr>().map_err(|_| wrong())?.octets().to_vec()),
        "2" => (2, address.parse::<Ipv6Addr>().map_err(|_| wrong())?.octets().to_vec()),
        _ => return Err(wrong()),
    };
    let used = address.iter().rposition(|&octet| octet != 0).map_or(0, |last| last + 1);
    octets.extend_from_slice(&[0, family, number(bits).ok_or_else(wrong)?]);
    octets.push(negation | u8::try_from(used).map_err(|_| wrong())?);
    octets.extend(address.iter().take(used));
    Ok(())
}

/// The text of prefixes in wire form; `None` where one is of an unknown family.
pub(super) fn text(mut octets: &[u8]) -> Option<Vec<String>> {
    let mut words = Vec::new();
    while let [high, family, prefix, length, after @ ..] = octets {
        let (given, rest) = after.split_at_checked(usize::from(length & 0x7F))?;
        let mut address = [0u8; 16];
        address.get_mut(..given.len())?.copy_from_slice(given);
        let address = match (high, family) {
            (0, 1) => Ipv4Addr::from(*address.first_chunk::<4>()?).to_string(),
            (0, 2) => Ipv6Addr::from(address).to_string(),
            _ => return None,
        };
        let negation = if length & 0x80 == 0 { "" } else { "!" };
        words.push(format!("{negation}{family}:{address}/{prefix}"));
        octets = rest;
    }
    octets.is_empty().then_some(words)
}
