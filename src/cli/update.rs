//! `dyndns update`.

use crate::agent::address::{self, Special};
use crate::agent::plan::{Host, Observed, Rule, plan};
use crate::clock::Clock;
use crate::config;
use crate::error::Error;
use crate::link::rfc2136::{Failure, Server, Target};
use crate::wire::{Name, Ttl};
use clap::Args;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// Make a name point to an address, once
///
/// Asks the server what it holds, writes only what differs, and asks again whether the change shows. The family of
/// which no address is given stays as it is.
#[derive(Debug, Args)]
pub(super) struct Update {
    /// The host whose addresses are to be written
    host: Name,
    /// Its addresses: one of IPv4, one of IPv6, or both
    #[arg(required = true, value_name = "ADDRESS", value_parser = address::parse)]
    addresses: Vec<IpAddr>,
    /// The zone's primary server, with its port where that is not 53
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = server)]
    server: SocketAddr,
    /// File of the TSIG key to sign with; without one nothing is signed
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The zone [default: the one the server says the host is in]
    #[arg(long)]
    zone: Option<Name>,
    /// The TTL of what is written, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    ttl: u32,
    /// Another host in the same network, written in the same message: the prefix of the IPv6 address, then this suffix
    #[arg(long, value_name = "HOST=::SUFFIX[/PREFIX]", value_parser = derived)]
    derived: Vec<Host>,
    /// Take addresses that cannot be reached from elsewhere, of this kind
    #[arg(long, value_name = "KIND")]
    allow: Vec<Special>,
}

impl Update {
    pub(super) fn run(self) -> Result<(), Error> {
        let Update { host, addresses, server, key_file, zone, ttl, derived, allow } = self;
        let cannot = || Error::refused(format!("cannot update {host}"));
        for address in &addresses {
            address::usable(*address, &allow).map_err(|error| cannot().because(error))?;
        }
        let observed = Observed::gather(addresses).map_err(|second| {
            Error::usage(format!("cannot update {host}: {second} is a second address of its family"))
                .remedy("give one of each")
        })?;
        let key = key_file.map(|path| config::key_of_file(&path)).transpose()?;
        let server = Server::new(server, key, Clock::System);
        let hosts: Vec<Host> = std::iter::once(Host { name: host, rule: Rule::Same }).chain(derived).collect();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::usage("cannot begin").because(error))?;
        runtime.block_on(bring(server, zone, Ttl::new(ttl), &hosts, observed))
    }
}

/// Brings the hosts to what was observed, with a line for each step.
async fn bring(server: Server, zone: Option<Name>, ttl: Ttl, hosts: &[Host], observed: Observed) -> Result<(), Error> {
    let refused = |failure: Failure| Error::refused(failure.to_string());
    let target = match (zone, hosts.first()) {
        (Some(zone), _) => Target::new(server, zone, ttl),
        (None, Some(host)) => Target::find(server, &host.name, ttl).await.map_err(refused)?,
        (None, None) => return Ok(()),
    };
    super::print(&format!("zone {} at {}\n", target.zone(), target.server().address()))?;
    let names: Vec<Name> = hosts.iter().map(|host| host.name).collect();
    let held = target.current(&names).await.map_err(refused)?;
    let held_of = |name: &Name| {
        names.iter().zip(&held).find(|(held, _)| *held == name).map(|(_, held)| held.clone()).unwrap_or_default()
    };
    let changes = plan(hosts, observed, held_of);
    if changes.is_empty() {
        return super::print("nothing to change\n");
    }
    let lines: String = changes.iter().map(|change| format!("{} is now {}\n", change.name, change.address)).collect();
    let receipt = target.write(changes).await.map_err(refused)?;
    target.verify(&receipt).await.map_err(refused)?;
    super::print(&lines)
}

/// Reads a server's address; its port is 53 where none is said.
fn server(text: &str) -> Result<SocketAddr, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    text.parse().or_else(|_| bare.parse().map(|address: IpAddr| SocketAddr::new(address, 53))).map_err(|_| {
        format!("`{text}` is no address; write it as 192.0.2.53, 192.0.2.53:5300, 2001:db8::53 or [2001:db8::53]:5300")
    })
}

/// Reads `HOST=::SUFFIX[/PREFIX]`.
fn derived(text: &str) -> Result<Host, String> {
    let form =
        || format!("`{text}` says no host and suffix; write it as nas.example.com=::53 or nas.example.com=::53/56");
    let (name, rest) = text.split_once('=').ok_or_else(form)?;
    let (suffix, prefix) = match rest.split_once('/') {
        Some((suffix, prefix)) => (suffix, prefix.parse().ok().filter(|prefix| *prefix <= 128).ok_or_else(form)?),
        None => (rest, 64),
    };
    let suffix: Ipv6Addr = suffix.parse().map_err(|_| form())?;
    Ok(Host { name: name.parse().map_err(|_| form())?, rule: Rule::Derived { prefix, suffix } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_a_port_is_asked_at_53() {
        assert_eq!(server("192.0.2.53"), Ok("192.0.2.53:53".parse().unwrap()));
        assert_eq!(server("[2001:db8::53]"), Ok("[2001:db8::53]:53".parse().unwrap()));
        assert_eq!(server("[2001:db8::53]:5300"), Ok("[2001:db8::53]:5300".parse().unwrap()));
        assert!(server("ns.example").is_err());
    }

    #[test]
    fn a_derived_host_has_a_suffix_and_a_prefix_of_64_bits_or_as_said() {
        let suffix = "::53".parse().unwrap();
        assert_eq!(derived("nas.example=::53").unwrap().rule, Rule::Derived { prefix: 64, suffix });
        assert_eq!(derived("nas.example=::53/56").unwrap().rule, Rule::Derived { prefix: 56, suffix });
        assert!(derived("nas.example=::53/129").is_err() && derived("nas.example").is_err());
    }
}
