//! The system's resolvers: who is asked for what no authoritative server is known of yet.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The servers of /etc/resolv.conf, in its order; where it names none, the one on this machine (resolv.conf(5)).
pub fn resolvers() -> Vec<SocketAddr> {
    let found = read(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
    if found.is_empty() { vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53)] } else { found }
}

fn read(text: &str) -> Vec<SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        // A zone after % cannot be carried out without the interface's number; there are other servers beside.
        (words.next() == Some("nameserver")).then(|| words.next()?.parse::<IpAddr>().ok()).flatten()
    });
    servers.map(|address| SocketAddr::new(address, 53)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nameserver_lines_name_the_resolvers() {
        let text = "# made by hand\nsearch home.example\nnameserver 192.0.2.1\n  nameserver 2001:db8::1 \n#nameserver 192.0.2.2\nnameserver fe80::1%eth0\n";
        assert_eq!(read(text), ["192.0.2.1:53", "[2001:db8::1]:53"].map(|text| text.parse().unwrap()));
        assert!(read("").is_empty());
    }
}
