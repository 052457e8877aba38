//! A target that takes updates by RFC 2136: ours, BIND, Knot, PowerDNS and others.
//!
//! Every exchange, queries too, is signed where there is a key, so nobody on the way can say what the server holds.
//! A message goes over UDP three times, for two seconds each, then over TCP; an answer over UDP that is cut off or
//! not to be believed is asked for again over TCP. An update that comes twice does no harm: it says what is to be.

mod exchange;
mod failure;

pub use exchange::Server;
pub use failure::{Failure, Reason};

use crate::agent::plan::{Change, Held};
use crate::wire::{Class, Composer, Flags, Message, Name, Place, Question, Rtype, Section, Ttl};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A zone on a server.
#[derive(Debug)]
pub struct Target {
    server: Server,
    zone: Name,
    ttl: Option<Ttl>,
}

/// What the server acknowledged.
#[derive(Debug)]
pub struct Receipt {
    changes: Vec<Change>,
}

/// The opcode of an update in the header's flags (RFC 2136 section 2.2).
const UPDATE: Flags = Flags(5 << 11);
/// The longest message.
const LONGEST: usize = 65_535;

impl Target {
    /// How long others may keep an address of which the operator does not say it: short, for it changes again.
    pub const TTL: Ttl = Ttl::new(60);

    /// A zone whose name is known. What is written has this TTL, and what is held with another is not right; without
    /// one any will do, and [`Target::TTL`] is written.
    pub fn new(server: Server, zone: Name, ttl: Option<Ttl>) -> Target {
        Target { server, zone, ttl }
    }

    /// Finds the zone of `host` by asking for SOA records from the host upwards.
    pub async fn find(server: Server, host: &Name, ttl: Option<Ttl>) -> Result<Target, Failure> {
        let step = || format!("cannot find the zone of {host}");
        let mut next = Some(*host);
        while let Some(name) = next.filter(|name| !name.is_root()) {
            let reply = server.query(&name, Rtype::SOA).await.map_err(|reason| server.failure(step(), reason))?;
            let answer = server.parse(&reply).map_err(|reason| server.failure(step(), reason))?;
            // RFC 2308 section 3: the SOA of the zone comes with NXDOMAIN and NODATA too. A referral has none and no AA.
            let sections = [Section::Answer, Section::Authority];
            let mut records = sections.into_iter().flat_map(|section| answer.section(section));
            let soa = records.find(|record| record.rtype == Rtype::SOA && name.is_in(&record.owner));
            if let Some(soa) = soa.filter(|_| answer.header.flags.has(Flags::AA)) {
                return Ok(Target::new(server, soa.owner, ttl));
            }
            next = name.parent();
        }
        Err(server.failure(step(), Reason::NoZone))
    }

    /// The zone.
    pub fn zone(&self) -> &Name {
        &self.zone
    }

    /// The server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// What the server holds for each host, in their order.
    pub async fn current(&self, hosts: &[Name]) -> Result<Vec<Held>, Failure> {
        let mut all = Vec::with_capacity(hosts.len());
        for host in hosts {
            let mut held = Held::default();
            for rtype in [Rtype::A, Rtype::AAAA] {
                for (address, ttl) in self.server.addresses(host, rtype).await? {
                    held.addresses.push(address);
                    held.other_ttl.extend(self.ttl.filter(|wanted| *wanted != ttl).map(|_| address));
                }
            }
            all.push(held);
        }
        Ok(all)
    }

    /// Writes all changes in one message: all or none (RFC 2136 section 3.4), the new addresses together with the
    /// end of the old ones.
    pub async fn write(&self, changes: Vec<Change>) -> Result<Receipt, Failure> {
        let what = match changes.as_slice() {
            [first, rest @ ..] if rest.iter().all(|change| change.name == first.name) => format!("{} in ", first.name),
            _ => String::new(),
        };
        let failed = |reason| self.server.failure(format!("cannot update {what}zone {}", self.zone), reason);
        if let Some(change) = changes.iter().find(|change| !change.name.is_in(&self.zone)) {
            return Err(failed(Reason::Outside(change.name)));
        }
        let message =
            update(&self.zone, &changes, self.ttl.unwrap_or(Target::TTL)).ok_or_else(|| failed(Reason::TooLong))?;
        let reply = self.server.ask(message).await.map_err(failed)?;
        match self.server.parse(&reply).map_err(failed)?.header.flags.rcode() {
            crate::wire::Rcode::NOERROR => Ok(Receipt { changes }),
            rcode => Err(failed(Reason::Rcode(rcode))),
        }
    }

    /// Asks the server whether it shows what it acknowledged.
    pub async fn verify(&self, receipt: &Receipt) -> Result<(), Failure> {
        for change in &receipt.changes {
            let held = self.current(&[change.name]).await?;
            let shows = |is_so: fn(&Change, &Held) -> bool| held.iter().any(|held| is_so(change, held));
            let reason = match (shows(Change::is_in), shows(Change::is_address_of)) {
                (true, _) => continue,
                (false, true) => Reason::OtherTtl,
                (false, false) => Reason::NotShown,
            };
            return Err(self.server.failure(format!("cannot verify {}", change.name), reason));
        }
        Ok(())
    }
}

impl Server {
    /// The addresses of one family that the server holds for a host, and their TTL.
    pub async fn addresses(&self, host: &Name, rtype: Rtype) -> Result<Vec<(IpAddr, Ttl)>, Failure> {
        let failed = |reason| self.failure(format!("cannot read {rtype} of {host}"), reason);
        let reply = self.query(host, rtype).await.map_err(failed)?;
        addresses(&self.parse(&reply).map_err(failed)?, host, rtype).map_err(failed)
    }
}

/// The update of RFC 2136 section 2.5: for each change the RRset goes and the one record comes. `None` where it is
/// longer than a message may be.
fn update(zone: &Name, changes: &[Change], ttl: Ttl) -> Option<Vec<u8>> {
    let mut buffer = vec![0; LONGEST];
    let mut message = Composer::new(&mut buffer, LONGEST, 0, UPDATE).ok()?;
    message.question(&Question { name: *zone, rtype: Rtype::SOA, class: Class::IN }).ok()?;
    for Change { name, address } in changes {
        let (rtype, octets) = match address {
            IpAddr::V4(address) => (Rtype::A, address.octets().to_vec()),
            IpAddr::V6(address) => (Rtype::AAAA, address.octets().to_vec()),
        };
        message.record(Place::Authority, name, rtype, Class::ANY, Ttl::new(0), &[]).ok()?;
        message.record(Place::Authority, name, rtype, Class::IN, ttl, &octets).ok()?;
    }
    let len = message.finish();
    buffer.truncate(len);
    Some(buffer)
}

/// The addresses in an answer for `host`.
fn addresses(answer: &Message<'_>, host: &Name, rtype: Rtype) -> Result<Vec<(IpAddr, Ttl)>, Reason> {
    use crate::wire::Rcode;
    match answer.header.flags.rcode() {
        Rcode::NOERROR | Rcode::NXDOMAIN => {}
        rcode => return Err(Reason::Rcode(rcode)),
    }
    if !answer.header.flags.has(Flags::AA) {
        return Err(Reason::NotAuthoritative);
    }
    let mut addresses = Vec::new();
    for record in answer.section(Section::Answer).filter(|record| record.owner == *host) {
        let rdata = answer.bytes.get(record.rdata_at..record.rdata_at + record.rdata_len).unwrap_or_default();
        match record.rtype {
            // RFC 2136 section 3.4.2.2: addresses beside an alias are silently not added.
            Rtype::CNAME => return Err(Reason::Alias),
            Rtype::A if rtype == Rtype::A => {
                let octets: [u8; 4] = rdata.try_into().map_err(|_| Reason::Malformed)?;
                addresses.push((Ipv4Addr::from(octets).into(), Ttl::new(record.ttl)));
            }
            Rtype::AAAA if rtype == Rtype::AAAA => {
                let octets: [u8; 16] = rdata.try_into().map_err(|_| Reason::Malformed)?;
                addresses.push((Ipv6Addr::from(octets).into(), Ttl::new(record.ttl)));
            }
            _ => {}
        }
    }
    Ok(addresses)
}
