//! The server that counts for a name: where it is, by the system's resolvers, and a session with it.
//!
//! The primary is the MNAME of the zone's SOA record, to which updates go (RFC 2136 section 4.3). What a resolver says
//! decides only whom to ask; what is held and written is that server's own answer.

use super::Fault;
use super::rfc2136::{Reason, Server, Target};
use crate::agent::place::Place;
use crate::clock::Clock;
use crate::config;
use crate::tsig::TsigKey;
use crate::wire::rdata::Soa;
use crate::wire::{Name, Rcode, Rtype, Section, Ttl};
use std::net::SocketAddr;
use tokio::net::lookup_host;

/// What to do where no server is found.
const NAME_IT: &str = "name the server (--server, or server of the agent's target)";

/// The zone of `host` and its primary server.
pub async fn primary(host: &Name) -> Result<(Name, Place), Fault> {
    let mut last = Fault::new(format!("cannot find the server of {host}: no resolver is known; {NAME_IT}"));
    for resolver in config::resolvers() {
        match primary_by(&Server::new(resolver, None, Clock::System), host).await {
            Ok(found) => return Ok(found),
            Err(reason) => {
                let text = format!("cannot find the server of {host} by the resolver {resolver}: {reason}");
                last = Fault(text);
            }
        }
    }
    Err(last)
}

async fn primary_by(resolver: &Server, host: &Name) -> Result<(Name, Place), String> {
    let mut next = Some(*host);
    while let Some(name) = next.filter(|name| !name.is_root()) {
        let text = |reason: Reason| reason.to_string();
        let reply = resolver.resolve(&name, Rtype::SOA).await.map_err(text)?;
        let answer = resolver.parse(&reply).map_err(text)?;
        match answer.header.flags.rcode() {
            Rcode::NOERROR | Rcode::NXDOMAIN => {}
            rcode => return Err(format!("it answers {rcode}; {NAME_IT}")),
        }
        // RFC 2308 section 3: the SOA of the zone comes with NXDOMAIN and NODATA too.
        let sections = [Section::Answer, Section::Authority];
        let mut records = sections.into_iter().flat_map(|section| answer.section(section));
        if let Some(soa) = records.find(|record| record.rtype == Rtype::SOA && name.is_in(&record.owner)) {
            let rdata = crate::wire::rdata::read(&reply, soa.rdata_at, soa.rdata_len, Rtype::SOA);
            let mname = rdata.ok().and_then(|rdata| Soa::parse(&rdata).ok()).map(|soa| soa.mname);
            let mname = mname.filter(|mname| !mname.is_root() && !soa.owner.is_root());
            let mname = mname.ok_or_else(|| format!("zone {} names no primary; {NAME_IT}", soa.owner))?;
            return Ok((soa.owner, Place { host: mname.to_string(), port: Place::DNS }));
        }
        next = name.parent();
    }
    Err(format!("no zone is there; check the name, or {NAME_IT}"))
}

/// The addresses of a server, as the system has them.
pub async fn addresses(place: &Place) -> Result<Vec<SocketAddr>, Fault> {
    let cannot = |why: &str| Fault(format!("cannot find the address of {}: {why}", place.host));
    let found = lookup_host((place.host.as_str(), place.port)).await;
    let found: Vec<SocketAddr> = found.map_err(|error| cannot(&crate::error::io_text(&error)))?.collect();
    if found.is_empty() { Err(cannot("it has none; check the name")) } else { Ok(found) }
}

/// Finds which address of the server answers for `host`, and the zone where it is not told.
pub async fn connect(
    place: &Place,
    key: Option<&TsigKey>,
    zone: Option<Name>,
    host: &Name,
    ttl: Option<Ttl>,
) -> Result<Target, Fault> {
    let addresses = addresses(place).await?;
    let mut last = Fault::new(format!("cannot reach {place}"));
    let alone = addresses.len() == 1;
    for address in addresses {
        let server = Server::new(address, key.cloned(), Clock::System);
        match zone {
            // There is no other to turn to.
            Some(zone) if alone => return Ok(Target::new(server, zone, ttl)),
            Some(zone) => {
                let reached = server.addresses(&zone, Rtype::A).await;
                if let Err(failure) = &reached
                    && matches!(failure.reason, Reason::NoAnswer(_))
                {
                    last = Fault(failure.to_string());
                    continue;
                }
                return Ok(Target::new(server, zone, ttl));
            }
            None => match Target::find(server, host, ttl).await {
                Ok(target) => return Ok(target),
                Err(failure) if matches!(failure.reason, Reason::NoAnswer(_)) => last = Fault(failure.to_string()),
                Err(failure) => return Err(failure.into()),
            },
        }
    }
    Err(last)
}

/// A session with a name server of the zone of `host`, to read from: one of its NS records, or else its primary, which
/// may be hidden.
pub async fn reader(host: &Name) -> Result<Target, Fault> {
    let (zone, primary) = primary(host).await?;
    let mut places = Vec::new();
    for resolver in config::resolvers() {
        let resolver = Server::new(resolver, None, Clock::System);
        let Ok(reply) = resolver.resolve(&zone, Rtype::NS).await else { continue };
        let Ok(answer) = resolver.parse(&reply) else { continue };
        let records = answer.section(Section::Answer).filter(|record| record.rtype == Rtype::NS);
        let names = records.filter_map(|record| Name::read(&reply, record.rdata_at).ok());
        places.extend(names.map(|(name, _)| Place { host: name.to_string(), port: Place::DNS }));
        break;
    }
    places.push(primary);
    let mut last = Fault::new(format!("cannot find a name server of {zone}"));
    for place in places {
        match connect(&place, None, None, host, None).await {
            Ok(target) => return Ok(target),
            Err(fault) => last = fault,
        }
    }
    Err(last)
}
