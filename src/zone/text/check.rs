//! Whether records are a zone that can be served.

use super::parse::{Place, Placed};
use super::{ParsedZone, ZoneFileError};
use crate::wire::{Name, Rtype, Ttl, rdata};
use crate::zone::{Key, Record};

/// How many errors are worth reading.
const MOST_ERRORS: usize = 20;

/// Sorts the records, drops duplicates, gives each RRset one TTL, and checks what a zone must have.
pub(super) fn check(mut records: Vec<Placed>, files: &[String]) -> Result<ParsedZone, Vec<ZoneFileError>> {
    let Some(soa) = records.iter().find(|placed| placed.record.rtype == Rtype::SOA) else {
        return Err(vec![missing(files, "no SOA record; add one, at the apex")]);
    };
    let apex = soa.record.owner.clone();
    let mut errors = Vec::new();
    let mut warnings = Vec::new();
    let error = |place: Place, what| place.error(files, what);

    records.sort_by(|a, b| (&a.record.owner, a.record.rtype).cmp(&(&b.record.owner, b.record.rtype)));
    for owner in records.chunk_by(|a, b| a.record.owner == b.record.owner) {
        if errors.len() >= MOST_ERRORS {
            return Err(errors);
        }
        let Some(first) = owner.first() else { continue };
        if !first.record.owner.as_bytes().starts_with(apex.as_bytes()) {
            let (name, zone) = (first.record.owner.name(), apex.name());
            let what = format!("{name:#} is outside the zone {zone:#}; remove it, or end relative names without a dot");
            errors.push(error(first.place, what));
            continue;
        }
        errors.extend(misplaced(owner, &apex).map(|(place, what)| error(place, what)));
        errors.extend(cname_conflict(owner).map(|(place, what)| error(place, what)));
    }
    let has_ns = records.iter().any(|placed| placed.record.owner == apex && placed.record.rtype == Rtype::NS);
    if errors.is_empty() && !has_ns {
        errors
            .push(missing(files, &format!("no NS record at the apex {:#}; add the name of this server", apex.name())));
    }
    if !errors.is_empty() {
        return Err(errors);
    }

    warnings.extend(unreachable(&records, &apex).map(|(place, what)| error(place, what)).take(MOST_ERRORS));

    let mut kept = Vec::with_capacity(records.len());
    let mut records = records.into_iter().peekable();
    let mut rrset = Vec::new();
    while let Some(first) = records.next() {
        let place = first.place;
        rrset.push(first.record);
        while let Some(next) =
            records.next_if(|next| rrset.first().is_some_and(|first| same_rrset(first, &next.record)))
        {
            rrset.push(next.record);
        }
        if let Some(what) = level(&mut rrset) {
            warnings.push(error(place, what));
        }
        kept.append(&mut rrset);
    }
    Ok(ParsedZone { apex: apex.name(), records: kept, exported: None, warnings })
}

fn missing(files: &[String], what: &str) -> ZoneFileError {
    ZoneFileError { file: files.first().cloned().unwrap_or_default(), line: None, what: what.to_owned() }
}

fn same_rrset(a: &Record, b: &Record) -> bool {
    a.rtype == b.rtype && a.owner == b.owner
}

/// A SOA that is not the one at the apex.
fn misplaced(owner: &[Placed], apex: &Key) -> Option<(Place, String)> {
    let mut soas = owner.iter().filter(|placed| placed.record.rtype == Rtype::SOA);
    let first = soas.next()?;
    let second = if first.record.owner == *apex {
        soas.find(|other| !rdata::eq(Rtype::SOA, &first.record.rdata, &other.record.rdata))?
    } else {
        first
    };
    Some((second.place, "second SOA record; keep one, at the apex".to_owned()))
}

/// A CNAME beside other data (RFC 1034 section 3.6.2; RFC 2181 section 10.1 and RFC 4035 section 2.5 let
/// DNSSEC records stand), or a
/// second CNAME or DNAME (RFC 6672 section 2.4).
fn cname_conflict(owner: &[Placed]) -> Option<(Place, String)> {
    let name = || owner.first().map_or(Name::root(), |first| first.record.owner.name());
    for rtype in [Rtype::CNAME, Rtype::DNAME] {
        let mut alike = owner.iter().filter(|placed| placed.record.rtype == rtype);
        let Some(alias) = alike.next() else { continue };
        if let Some(second) = alike.find(|other| !rdata::eq(rtype, &alias.record.rdata, &other.record.rdata)) {
            return Some((second.place, format!("second {rtype} record of {:#}; keep one", name())));
        }
        let allowed = [Rtype::CNAME, Rtype::RRSIG, Rtype::NSEC, Rtype::KEY, Rtype::SIG, Rtype::NXT];
        let other = owner.iter().find(|placed| !allowed.contains(&placed.record.rtype));
        if let (Rtype::CNAME, Some(other)) = (rtype, other) {
            let rtype = other.record.rtype;
            let what = format!("{:#} has a CNAME and so can have no {rtype}; remove one of them", name());
            return Some((alias.place.max_line(other.place), what));
        }
    }
    None
}

/// Name servers of the zone, or of one below it, whose addresses can be told by this zone alone, which has none. Updates may
/// bring them.
fn unreachable<'r>(records: &'r [Placed], apex: &'r Key) -> impl Iterator<Item = (Place, String)> + 'r {
    let has = move |owner: &Key, rtype: Rtype| {
        let wanted = (owner, rtype);
        records.binary_search_by(|placed| (&placed.record.owner, placed.record.rtype).cmp(&wanted)).is_ok()
    };
    let has_wildcard = || records.iter().any(|placed| placed.record.owner.as_bytes().ends_with(b"\0*\0"));
    let servers = records.iter().filter(|placed| placed.record.rtype == Rtype::NS);
    servers.filter_map(move |Placed { record, place }| {
        let name = Name::from_wire(&record.rdata).ok()?;
        let server = Key::new(&name);
        let below = server.as_bytes().starts_with(record.owner.as_bytes());
        if !below || has(&server, Rtype::A) || has(&server, Rtype::AAAA) || record.owner == *apex && has_wildcard() {
            return None;
        }
        let of = record.owner.name();
        Some((*place, format!("{name:#}, a name server of {of:#}, has no address here; add its A or AAAA record")))
    })
}

impl Place {
    /// The later of two places in one file: where the conflict arose.
    fn max_line(self, other: Place) -> Place {
        if (other.file, other.line) > (self.file, self.line) { other } else { self }
    }
}

/// Drops duplicates and gives all the lowest TTL (RFC 2181 sections 5 and 5.2); says so where they differed.
fn level(rrset: &mut Vec<Record>) -> Option<String> {
    let first = rrset.first()?;
    if rrset.len() == 1 {
        return None;
    }
    let (rtype, name) = (first.rtype, first.owner.name());
    let mut seen = std::collections::HashSet::with_capacity(rrset.len());
    let lowest = rrset.iter().map(|record| record.ttl).min().unwrap_or(Ttl::MAX);
    let highest = rrset.iter().map(|record| record.ttl).max().unwrap_or(lowest);
    rrset.retain(|record| seen.insert(rdata::canonical(rtype, &record.rdata)));
    for record in rrset.iter_mut() {
        record.ttl = lowest;
    }
    (lowest != highest).then(|| {
        format!("the {rtype} records of {name:#} have TTLs from {lowest} to {highest}; {lowest} serves for all")
    })
}
