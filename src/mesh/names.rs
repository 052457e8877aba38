//! The mesh's names as records: what each host's name stands for, and what has to change in the zones for that.
//!
//! A name has A and AAAA records of the addresses of the host that holds it, and where a reverse zone is kept for them,
//! each address has a PTR record. All are leased: whoever keeps them takes away what is not renewed in time.
//!
//! What the mesh did not make it does not touch. A name that has an address, an alias or a PTR record from somebody else
//! is left to them, even where the mesh had it first; whatever else it has, a TXT record for instance, stays beside.

use super::record::Label;
use crate::wire::{Name, NameError, Rtype, Ttl};
use crate::zone::{Changes, Draft, Key, Node, NodeBuf, RrsetBuf, ZoneSet};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// One record, and when it leaves by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leased {
    /// Its owner.
    pub owner: Key,
    /// What it says.
    pub data: Data,
    /// Until when it holds, in seconds since 1970.
    pub until: u64,
}

/// What a leased record says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Data {
    /// A or AAAA.
    Address(IpAddr),
    /// PTR.
    Host(Key),
}

/// A host that holds its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its name.
    pub name: Label,
    /// Where it is.
    pub addresses: Vec<IpAddr>,
    /// Until when its record holds, in seconds since 1970.
    pub until: u64,
}

/// What has to be done to the zones.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The changes of each zone that changes.
    pub changes: Vec<(Name, Changes)>,
    /// The records that are the mesh's afterwards.
    pub held: Vec<Leased>,
    /// The names that are left to whoever gave them other records.
    pub taken: Vec<Name>,
}

/// The TTL: as long as a node waits between announcements, for by then an address may be another one.
const TTL: Ttl = Ttl::new(30);
/// So many hosts behind one address, as behind a NAT, get a PTR record; it is of no use with more.
const HOSTS_OF_ADDRESS: usize = 8;
/// The types that make a name somebody else's.
const OURS: [Rtype; 4] = [Rtype::A, Rtype::AAAA, Rtype::PTR, Rtype::CNAME];

/// The records of these hosts in `zone` and below the reverse zones. A name too long for the zone has none.
pub fn records(zone: &Name, reverse: &[Name], hosts: &[Named]) -> Vec<Leased> {
    let mut records = Vec::new();
    let mut names: BTreeMap<IpAddr, Vec<(Key, u64)>> = BTreeMap::new();
    for host in hosts {
        let Ok(name) = zone.child(host.name.as_str().as_bytes()) else { continue };
        for address in host.addresses.iter().map(IpAddr::to_canonical) {
            records.push(Leased { owner: Key::new(&name), data: Data::Address(address), until: host.until });
            names.entry(address).or_default().push((Key::new(&name), host.until));
        }
    }
    for (address, mut names) in names {
        let Some(owner) = reverse_name(address).ok().filter(|owner| reverse.iter().any(|zone| owner.is_in(zone)))
        else {
            continue;
        };
        names.sort();
        names.dedup_by(|one, other| one.0 == other.0);
        for (name, until) in names.into_iter().take(HOSTS_OF_ADDRESS) {
            records.push(Leased { owner: Key::new(&owner), data: Data::Host(name), until });
        }
    }
    records.sort();
    records.dedup_by(|one, other| one.owner == other.owner && one.data == other.data);
    records
}

/// The name that has the PTR records of an address (RFC 1035 section 3.5, RFC 3596 section 2.5).
pub fn reverse_name(address: IpAddr) -> Result<Name, NameError> {
    let text = match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().rev().map(|octet| format!("{:x}.{:x}.", octet & 15, octet >> 4));
            nibbles.collect::<String>() + "ip6.arpa"
        }
    };
    Name::parse(&text)
}

/// What has to change so that of all records that are `ours` those `wanted` are there and no others.
pub fn plan(zones: &ZoneSet, ours: &[Leased], wanted: &[Leased]) -> Plan {
    let mut owners: BTreeMap<&Key, (Vec<&Leased>, Vec<&Leased>)> = BTreeMap::new();
    ours.iter().for_each(|record| owners.entry(&record.owner).or_default().0.push(record));
    wanted.iter().for_each(|record| owners.entry(&record.owner).or_default().1.push(record));
    let mut drafts: BTreeMap<&Key, (Name, Draft<'_>)> = BTreeMap::new();
    let mut plan = Plan::default();
    for (owner, (ours, wanted)) in owners {
        // A zone that somebody deleted takes its names along.
        let Some(zone) = zones.nearest(owner.as_bytes()) else { continue };
        let (_, draft) = drafts.entry(zone.apex_key()).or_insert_with(|| (*zone.apex(), Draft::new(zone)));
        let node = draft.node(owner.as_bytes());
        let taken = foreign(node, &ours);
        let mut next = match taken {
            // The mesh's own go, lest the two mix.
            true => without(node, &ours),
            false => node.retain(|rtype| !OURS.contains(&rtype)),
        };
        if !taken {
            for record in &wanted {
                let (rtype, rdata) = record.data.to_rdata();
                let rrset = next.as_node().rrset(rtype).map(|rrset| rrset.plus(TTL, &rdata));
                let rrset = rrset.unwrap_or_else(|| RrsetBuf::one(rtype, TTL, &rdata));
                next = next.as_node().with(rrset.as_rrset());
            }
            plan.held.extend(wanted.into_iter().cloned());
        } else if !wanted.is_empty() {
            plan.taken.push(owner.name());
        }
        draft.set(owner, next);
    }
    let changes = drafts.into_values().map(|(apex, draft)| (apex, draft.finish()));
    plan.changes = changes.filter(|(_, changes)| !changes.is_empty()).collect();
    plan
}

/// Whether a name has records of somebody else which the mesh's would mix with.
fn foreign(node: Node<'_>, ours: &[&Leased]) -> bool {
    let theirs = |rtype: Rtype, rdata: &[u8]| !ours.iter().any(|record| record.data.is(rtype, rdata));
    let rrsets = node.rrsets().filter(|rrset| OURS.contains(&rrset.rtype));
    rrsets.into_iter().any(|rrset| rrset.rdatas().any(|rdata| theirs(rrset.rtype, rdata)))
}

fn without(node: Node<'_>, ours: &[&Leased]) -> NodeBuf {
    let mut next = NodeBuf::from(node);
    for record in ours {
        let (rtype, rdata) = record.data.to_rdata();
        if let Some(rest) = next.as_node().rrset(rtype).map(|rrset| rrset.minus(&rdata)) {
            next = next.as_node().with(rest.as_rrset());
        }
    }
    next
}

impl Data {
    fn to_rdata(&self) -> (Rtype, Box<[u8]>) {
        match self {
            Data::Address(IpAddr::V4(address)) => (Rtype::A, address.octets().into()),
            Data::Address(IpAddr::V6(address)) => (Rtype::AAAA, address.octets().into()),
            Data::Host(name) => (Rtype::PTR, name.name().as_bytes().into()),
        }
    }

    fn is(&self, rtype: Rtype, rdata: &[u8]) -> bool {
        let (mine, data) = self.to_rdata();
        mine == rtype && crate::wire::rdata::eq(rtype, &data, rdata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::{Record, Zone, seed};
    use std::sync::Arc;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn host(name: &str, addresses: &[&str]) -> Named {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Named { name: Label::new(name).unwrap(), addresses, until: 7200 }
    }

    fn wanted(hosts: &[Named]) -> Vec<Leased> {
        records(&name("mesh.test"), &[name("10.in-addr.arpa"), name("8.b.d.0.1.0.0.2.ip6.arpa")], hosts)
    }

    /// The zones mesh.test and 10.in-addr.arpa.
    fn zones() -> ZoneSet {
        let mut zones = ZoneSet::default();
        for apex in ["mesh.test", "10.in-addr.arpa"].map(name) {
            zones.insert(Arc::new(Zone::new(&apex, seed(&apex).unwrap()).unwrap()));
        }
        zones
    }

    fn carry_out(zones: &mut ZoneSet, plan: &Plan) {
        plan.changes.iter().for_each(|(apex, changes)| zones.change(apex, changes).unwrap());
    }

    /// All records but SOA and NS, each with its owner, as text.
    fn held(zones: &ZoneSet) -> Vec<String> {
        let line = |record: Record| {
            let data = match (record.rtype, &*record.rdata) {
                (Rtype::PTR, rdata) => Name::from_wire(rdata).unwrap().to_string(),
                (_, rdata) => match rdata.len() {
                    4 => IpAddr::from(<[u8; 4]>::try_from(rdata).unwrap()).to_string(),
                    16 => IpAddr::from(<[u8; 16]>::try_from(rdata).unwrap()).to_string(),
                    _ => String::from_utf8_lossy(rdata).into_owned(),
                },
            };
            format!("{} {} {data}", record.owner.name(), record.rtype)
        };
        let records = zones.iter().flat_map(|zone| zone.records().collect::<Vec<_>>());
        records.filter(|record| ![Rtype::SOA, Rtype::NS].contains(&record.rtype)).map(line).collect()
    }

    fn add(zones: &mut ZoneSet, owner: &str, rtype: Rtype, rdata: &[u8]) {
        let owner = Key::new(&name(owner));
        let zone = Arc::clone(zones.nearest(owner.as_bytes()).unwrap());
        let mut draft = Draft::new(&zone);
        draft.add(&owner, rtype, Ttl::new(60), rdata);
        let changes = draft.finish();
        zones.change(zone.apex(), &changes).unwrap();
    }

    #[test]
    fn a_host_that_holds_its_name_has_addresses_and_their_reverse_names() {
        let mut zones = zones();
        let wanted = wanted(&[host("nas", &["10.1.2.3", "2001:db8::7", "192.0.2.9"])]);
        let plan = plan(&zones, &[], &wanted);
        // The IPv6 address has a reverse name that was asked for, but no zone here.
        let unserved = wanted.iter().filter(|record| record.owner.name().to_string().ends_with("ip6.arpa")).count();
        assert_eq!((plan.held.len(), unserved, plan.taken.len()), (4, 1, 0));
        carry_out(&mut zones, &plan);
        let mut have = held(&zones);
        have.sort();
        assert_eq!(
            have,
            [
                "3.2.1.10.in-addr.arpa PTR nas.mesh.test",
                "nas.mesh.test A 10.1.2.3",
                "nas.mesh.test A 192.0.2.9",
                "nas.mesh.test AAAA 2001:db8::7"
            ]
        );
        assert!(super::plan(&zones, &plan.held, &wanted).changes.is_empty());
    }

    #[test]
    fn a_host_that_moved_or_went_leaves_nothing_behind() {
        let mut zones = zones();
        let before = plan(&zones, &[], &wanted(&[host("nas", &["10.1.2.3"]), host("pc", &["10.1.2.4"])]));
        carry_out(&mut zones, &before);
        let after = plan(&zones, &before.held, &wanted(&[host("nas", &["10.9.9.9"])]));
        carry_out(&mut zones, &after);
        assert_eq!(held(&zones), ["9.9.9.10.in-addr.arpa PTR nas.mesh.test", "nas.mesh.test A 10.9.9.9"]);
        assert_eq!(zones.zone(&name("mesh.test")).unwrap().serial().0, 3);
        let none = plan(&zones, &after.held, &[]);
        carry_out(&mut zones, &none);
        assert!(held(&zones).is_empty() && none.held.is_empty());
    }

    #[test]
    fn what_the_mesh_did_not_make_is_not_touched() {
        let mut zones = zones();
        add(&mut zones, "nas.mesh.test", Rtype::A, &[192, 0, 2, 1]);
        add(&mut zones, "pc.mesh.test", Rtype::TXT, b"\x02hi");
        let wanted = wanted(&[host("nas", &["10.1.2.3"]), host("pc", &["10.1.2.4"])]);
        let first = plan(&zones, &[], &wanted);
        assert_eq!(first.taken, [name("nas.mesh.test")]);
        carry_out(&mut zones, &first);
        let have = held(&zones);
        assert!(
            have.contains(&"nas.mesh.test A 192.0.2.1".into()) && have.contains(&"pc.mesh.test TXT \u{2}hi".into())
        );
        assert!(have.contains(&"pc.mesh.test A 10.1.2.4".into()) && !have.contains(&"nas.mesh.test A 10.1.2.3".into()));
        // Somebody gives pc an address of their own: theirs stays, the mesh's goes, and comes again with theirs gone.
        add(&mut zones, "pc.mesh.test", Rtype::A, &[192, 0, 2, 2]);
        let second = plan(&zones, &first.held, &wanted);
        carry_out(&mut zones, &second);
        assert_eq!(second.taken.len(), 2);
        let have = held(&zones);
        assert!(have.contains(&"pc.mesh.test A 192.0.2.2".into()) && !have.contains(&"pc.mesh.test A 10.1.2.4".into()));
        let gone = plan(&zones, &second.held, &[]);
        carry_out(&mut zones, &gone);
        assert_eq!(held(&zones), ["nas.mesh.test A 192.0.2.1", "pc.mesh.test A 192.0.2.2", "pc.mesh.test TXT \u{2}hi"]);
    }

    #[test]
    fn many_hosts_behind_one_address_do_not_make_a_long_answer() {
        let hosts: Vec<Named> = (0..100).map(|number| host(&format!("h{number}"), &["10.1.2.3"])).collect();
        let reverse = wanted(&hosts).iter().filter(|record| matches!(record.data, Data::Host(_))).count();
        assert_eq!(reverse, HOSTS_OF_ADDRESS);
    }

    #[test]
    fn reverse_names_are_those_of_the_standards() {
        assert_eq!(reverse_name([192, 0, 2, 7].into()).unwrap(), name("7.2.0.192.in-addr.arpa"));
        let address: IpAddr = "4321:0:1:2:3:4:567:89ab".parse().unwrap();
        let text = "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa";
        assert_eq!(reverse_name(address).unwrap(), name(text));
    }
}
