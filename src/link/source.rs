//! Asks sources for this machine's addresses.

use super::Fault;
use super::authority;
use super::command;
use super::http::{Ask, Family, Http};
use super::rfc2136::Server;
use crate::agent::address::Special;
use crate::agent::place::Place;
use crate::agent::source::{Agreement, Found, Pattern, Report, Source, choose, is_settled};
use crate::clock::Clock;
#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::error::io_text;
#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::sys::netlink::{self, InterfaceAddress, Kind};
use crate::tsig::TsigKey;
use crate::wire::{Name, Rtype};
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use tokio::task::JoinSet;

/// Where `whoami` is asked when the source does not say.
#[derive(Debug, Clone)]
pub struct Home {
    /// The server of the target.
    pub server: Place,
    /// The key we share with it.
    pub key: Option<TsigKey>,
    /// The zone.
    pub zone: Name,
}

/// Somewhere in the world: a root name server.
#[cfg(any(target_os = "linux", target_os = "android"))]
const ROOT_V4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 41, 0, 4)), Place::DNS);
#[cfg(any(target_os = "linux", target_os = "android"))]
const ROOT_V6: SocketAddr =
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0x503, 0xBA3E, 0, 0, 0, 2, 0x30)), Place::DNS);

/// Asks the sources until those that are left could change nothing: one after the other where the first that has an
/// address counts, all at once where several have to agree. Then nobody waits for the slowest.
pub async fn find(sources: &[Source], agreement: Agreement, allowed: &[Special], home: Option<&Home>) -> Found {
    let mut asked = JoinSet::new();
    let mut reports: BTreeMap<usize, Report> = BTreeMap::new();
    let at_once = if agreement == Agreement::First { 1 } else { sources.len() };
    let mut next = sources.iter().cloned().enumerate();
    loop {
        while asked.len() < at_once
            && let Some((at, source)) = next.next()
        {
            let home = home.cloned();
            asked.spawn(async move { (at, report(&source, home.as_ref()).await) });
        }
        match asked.join_next().await {
            Some(Ok((at, report))) => drop(reports.insert(at, report)),
            Some(Err(defect)) => tracing::error!("a source was not asked to its end by a defect: {defect}"),
            None => return choose(&reports.into_values().collect::<Vec<_>>(), agreement, allowed),
        }
        let known: Vec<Report> = reports.values().cloned().collect();
        if is_settled(&known, sources.len() - known.len(), agreement, allowed) {
            return choose(&known, agreement, allowed);
        }
    }
}

/// What a source says.
async fn report(source: &Source, home: Option<&Home>) -> Report {
    let mut outcome = ask(source, home).await.map_err(|fault| fault.to_string());
    if let (Ok(addresses), false) = (&mut outcome, matches!(source, Source::Fixed(_))) {
        lasting(addresses);
    }
    Report { source: source.label(), outcome }
}

/// Asks one source.
pub async fn ask(source: &Source, home: Option<&Home>) -> Result<Vec<IpAddr>, Fault> {
    match source {
        Source::Whoami { name, server } => whoami(name.as_ref(), server.as_ref(), home).await,
        Source::Interface(name) => interface(name.as_deref()),
        Source::Command(words) => {
            let text = command::run(words, &[], "").await?;
            let found = Pattern::any().find(&text);
            if found.is_empty() { Err(Fault::new("it prints no address")) } else { Ok(found) }
        }
        Source::Url { url, pattern } => page(url, pattern).await,
        Source::Fixed(addresses) => Ok(addresses.clone()),
    }
}

/// The address that a server sees us come from, of each family that it can be reached by.
async fn whoami(name: Option<&Name>, server: Option<&Place>, home: Option<&Home>) -> Result<Vec<IpAddr>, Fault> {
    let unknown = || Fault::new("no server of a target is known to ask; write whoami:NAME@SERVER");
    let name = match (name, home) {
        (Some(name), _) => *name,
        (None, Some(home)) => home.zone.child(b"whoami").map_err(|error| Fault(error.to_string()))?,
        (None, None) => return Err(unknown()),
    };
    let (place, key) = match (server, home) {
        (Some(server), _) => (server, None),
        (None, Some(home)) => (&home.server, home.key.as_ref()),
        (None, None) => return Err(unknown()),
    };
    let addresses = authority::addresses(place).await?;
    let by = |is_v4: bool| {
        let servers = addresses.iter().filter(move |address| address.is_ipv4() == is_v4);
        let servers = servers.map(|address| Server::new(*address, key.cloned(), Clock::System)).collect::<Vec<_>>();
        async move {
            let rtype = if is_v4 { Rtype::A } else { Rtype::AAAA };
            let mut outcome = Ok(Vec::new());
            for server in &servers {
                let asked = server.addresses(&name, rtype).await.map_err(Fault::from);
                outcome = asked.map(|found| found.into_iter().map(|(address, _)| address).collect());
                if outcome.is_ok() {
                    break;
                }
            }
            outcome
        }
    };
    let mut found = Vec::new();
    let mut fault = Fault(format!("{place} has no addresses for {name}; set whoami = \"{name}\" in its configuration"));
    let (v4, v6) = tokio::join!(by(true), by(false));
    for outcome in [v4, v6] {
        match outcome {
            Ok(mut addresses) => found.append(&mut addresses),
            Err(error) => fault = error,
        }
    }
    if found.is_empty() { Err(fault) } else { Ok(found) }
}

/// The addresses of an interface; of any, those of the one that leads to the world come first, for bridges and tunnels
/// have addresses too. Then come those that are for ever, then the newest: of two networks, the one that the router has
/// given last. How long each is still preferred changes whenever a router renews one, and decides nothing.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn interface(name: Option<&str>) -> Result<Vec<IpAddr>, Fault> {
    let cannot = |error| Fault(format!("cannot read the addresses of this machine: {}", io_text(&error)));
    let mut found = netlink::addresses().map_err(cannot)?;
    let outward: Vec<IpAddr> = [ROOT_V4, ROOT_V6].into_iter().filter_map(sent_from).collect();
    let outward: Vec<(bool, String)> = found
        .iter()
        .filter(|found| outward.contains(&found.address))
        .map(|found| (found.address.is_ipv4(), found.interface.clone()))
        .collect();
    found.retain(|found| found.kind == Kind::Lasting && name.is_none_or(|name| found.interface == name));
    found.sort_by_key(|found| {
        let leads_out =
            outward.iter().any(|(is_v4, interface)| *is_v4 == found.address.is_ipv4() && *interface == found.interface);
        Reverse((leads_out, found.made.unwrap_or(u32::MAX)))
    });
    match (found.is_empty(), name) {
        (false, _) => Ok(found.into_iter().map(|found| found.address).collect()),
        (true, Some(name)) => Err(Fault(format!("interface {name} has no address; ip address shows what there is"))),
        (true, None) => Err(Fault::new("no interface has an address")),
    }
}

/// From which of our addresses the kernel would send there. Nothing is sent.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn sent_from(there: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if there.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(there).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// What others see us come from may be an address that this machine uses for a day (RFC 8981): the lasting one of the
/// same network is meant.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn lasting(addresses: &mut [IpAddr]) {
    // What cannot be read is as if there were none.
    let own = netlink::addresses().unwrap_or_default();
    let network = |address: IpAddr| match address {
        IpAddr::V6(address) => Some(address.to_bits() >> 64),
        IpAddr::V4(_) => None,
    };
    for address in addresses {
        let seen = own.iter().find(|own| own.address == *address && own.kind == Kind::Temporary);
        let of_network = |found: &&InterfaceAddress| {
            let same = |seen: &InterfaceAddress| {
                seen.interface == found.interface && network(seen.address) == network(found.address)
            };
            found.kind == Kind::Lasting && seen.is_some_and(same)
        };
        if let Some(meant) = own.iter().filter(of_network).max_by_key(|found| found.made.unwrap_or(u32::MAX)) {
            *address = meant.address;
        }
    }
}

/// The addresses of an interface.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn interface(_name: Option<&str>) -> Result<Vec<IpAddr>, Fault> {
    Err(Fault::new("interfaces can be read on Linux alone; write command:... that prints the address"))
}

/// Which of the addresses are temporary is known on Linux alone.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn lasting(_addresses: &mut [IpAddr]) {}

/// The addresses in a page, asked for over IPv4 and over IPv6.
async fn page(url: &str, pattern: &Pattern) -> Result<Vec<IpAddr>, Fault> {
    let by = |family: Family| async move {
        let page = Http::new(family)?.ask(url, Ask::default()).await?;
        match page.status {
            200..=299 => Ok(pattern.find(&page.body)),
            status => Err(Fault(format!("the server answers {status}"))),
        }
    };
    let (v4, v6) = tokio::join!(by(Family::V4), by(Family::V6));
    let mut found = Vec::new();
    let mut fault = Fault::new("the page shows no address; check it and the pattern");
    for (outcome, is_v4) in [(v4, true), (v6, false)] {
        match outcome {
            // What is asked for over one family tells of that one.
            Ok(addresses) => found.extend(addresses.into_iter().filter(|address| address.is_ipv4() == is_v4)),
            // Many servers have IPv4 alone, so what IPv4 met counts.
            Err(error) if is_v4 => fault = error,
            Err(_) => {}
        }
    }
    if found.is_empty() { Err(fault) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroUsize;

    /// It is ended with the look, and no note tells that it took too long.
    #[tokio::test]
    async fn a_quorum_does_not_wait_for_a_source_that_never_answers() {
        let sources = ["command:sleep 1000", "fixed:1.1.1.1,2a01::1", "command:echo 1.1.1.1 2a01::1"];
        let sources = sources.map(|text| text.parse().unwrap());
        let found = find(&sources, Agreement::Quorum(NonZeroUsize::new(2).unwrap()), &[], None).await;
        let both = "fixed:1.1.1.1,2a01::1, command:echo";
        assert_eq!(found.notes, [format!("IPv4 address 1.1.1.1 ({both})"), format!("IPv6 address 2a01::1 ({both})")]);
    }
}
