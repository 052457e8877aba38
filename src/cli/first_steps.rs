//! What a server that has just started tells the person who started it: commands that work as printed.

use crate::wire::Name;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// The commands to change a record and to see it, for a server that listens on `listen` and serves `zones`.
pub(super) fn first_steps(listen: &[SocketAddr], zones: &[Name], key_file: Option<&Path>) -> String {
    let places: Vec<String> = listen.iter().map(SocketAddr::to_string).collect();
    let mut text = format!("dyndns answers on {}\n", places.join(", "));
    // A reverse zone makes a poor first example.
    let arpa = |zone: &&Name| zone.to_lowercase().as_bytes().ends_with(b"\x04arpa\0");
    let zone = zones.iter().find(|zone| !arpa(zone)).or(zones.first());
    let (Some(zone), Some(&address)) = (zone, listen.first()) else {
        text.push_str("It serves no zone yet: put example.com.zone into zones/, or give --zone example.com\n");
        return text;
    };
    let (server, port) = (reachable(address.ip()), address.port());
    let Ok(host) = zone.child(b"router") else { return text };
    if let Some(key_file) = key_file {
        let lines = [
            format!("server {server} {port}"),
            format!("zone {zone:#}"),
            format!("update delete {host:#} A"),
            format!("update add {host:#} 120 A 192.0.2.1"),
            "send".to_string(),
        ];
        let lines: Vec<String> = lines.iter().map(|line| quoted(line)).collect();
        let key_file = quoted(&key_file.to_string_lossy());
        text.push_str(&format!("Change a record:\n  printf '%s\\n' {} | nsupdate -k {key_file}\n", lines.join(" ")));
    }
    text.push_str(&format!("See it:\n  dig @{server} -p {port} {} A\n", quoted(&format!("{host:#}"))));
    text
}

/// An address to reach a server on this machine that listens on `address`.
fn reachable(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}

/// A word as a shell takes it for one.
fn quoted(word: &str) -> String {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"/._-:".contains(&octet);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_string()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(listen: &str, zones: &[&str], key_file: Option<&str>) -> String {
        let zones: Vec<Name> = zones.iter().map(|zone| Name::parse(zone).unwrap()).collect();
        first_steps(&[listen.parse().unwrap()], &zones, key_file.map(Path::new))
    }

    #[test]
    fn the_commands_name_server_port_zone_and_key() {
        assert_eq!(
            steps("127.0.0.1:5300", &["2.0.192.in-addr.arpa", "example.com"], Some("state/keys/dyndns.key")),
            "dyndns answers on 127.0.0.1:5300\n\
             Change a record:\n  \
             printf '%s\\n' 'server 127.0.0.1 5300' 'zone example.com.' 'update delete router.example.com. A' \
             'update add router.example.com. 120 A 192.0.2.1' send | nsupdate -k state/keys/dyndns.key\n\
             See it:\n  dig @127.0.0.1 -p 5300 router.example.com. A\n"
        );
    }

    #[test]
    fn a_server_that_listens_everywhere_is_reached_on_this_machine() {
        assert!(steps("0.0.0.0:53", &["a.example"], None).contains("dig @127.0.0.1 -p 53 "));
        assert!(steps("[::]:53", &["a.example"], None).contains("dig @::1 -p 53 "));
    }

    #[test]
    fn a_path_with_blanks_and_quotes_stays_one_word() {
        assert!(steps("[::1]:53", &["a.example"], Some("my keys/it's")).contains("-k 'my keys/it'\\''s'\n"));
    }

    #[test]
    fn without_a_zone_or_a_key_nothing_is_promised() {
        assert!(!steps("[::1]:53", &[], None).contains("dig"));
        assert!(!steps("[::1]:53", &["a.example"], None).contains("nsupdate"));
    }
}
