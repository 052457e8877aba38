//! The same questions and the same updates, over the same zones, to us and to other servers.
//!
//! Where they differ, a [`Difference`] says why ours is right, with the RFC section. A difference that none
//! explains fails the test; so does an explanation that nothing needs any more.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is the failure to be seen")]

#[path = "differential/bind.rs"]
mod bind;
#[path = "differential/hickory.rs"]
mod hickory;
#[path = "differential/reply.rs"]
mod reply;
#[path = "differential/updates.rs"]
mod updates;
#[path = "differential/zones.rs"]
mod zones;

use bind::Bind;
use dyndns::query::{Transport, View};
use dyndns::wire::{Name, Rtype};
use dyndns::zone::Zone;
use dyndns::zone::text::parse;
use hickory::Hickory;
use reply::{Asked, Reply};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use zones::{Chance, EVERYTHING};

/// A way in which another server's reply may differ.
struct Difference {
    /// Why ours is right.
    why: &'static str,
    /// Makes the replies alike in this one respect.
    mend: fn(&Asked, &mut Reply, &mut Reply),
}

/// Collects what differs.
struct Comparison {
    differences: &'static [Difference],
    used: Vec<usize>,
    /// The first question for each way to differ, and how many there are.
    unexplained: BTreeMap<String, (usize, String)>,
    compared: usize,
}

impl Comparison {
    fn new(differences: &'static [Difference]) -> Comparison {
        Comparison { differences, used: vec![0; differences.len()], unexplained: BTreeMap::new(), compared: 0 }
    }

    fn add(&mut self, asked: &Asked, ours: &Reply, theirs: &Reply) {
        self.compared += 1;
        let (mut a, mut b) = (ours.clone(), theirs.clone());
        let mut needed = Vec::new();
        for (index, difference) in self.differences.iter().enumerate() {
            let before = (a.clone(), b.clone());
            if a != b {
                (difference.mend)(asked, &mut a, &mut b);
            }
            if (&before.0, &before.1) != (&a, &b) {
                needed.push(index);
            }
        }
        if a == b {
            needed.into_iter().for_each(|index| self.used[index] += 1);
            return;
        }
        let text = format!("{asked}\n  ours   {ours}\n  theirs {theirs}\n");
        self.unexplained.entry(a.kind_of_difference(&b)).or_insert((0, text)).0 += 1;
    }

    fn finish(self, least: usize) {
        for (difference, used) in self.differences.iter().zip(&self.used) {
            eprintln!("{used:6} of {}: {}", self.compared, difference.why);
        }
        let texts = self.unexplained.iter().map(|(kind, (count, text))| format!("{count} times {kind}: {text}"));
        let texts: String = texts.collect();
        assert!(texts.is_empty(), "unexplained:\n{texts}");
        assert!(self.compared >= least, "only {} replies were compared", self.compared);
        for (difference, used) in self.differences.iter().zip(&self.used) {
            assert!(*used > 0, "nothing differs so any more: {}", difference.why);
        }
    }
}

fn zone(text: &str) -> Arc<Zone> {
    let parsed = parse(text, "test.zone", None, &mut |_| Err("no file".into())).unwrap();
    Arc::new(Zone::new(&parsed.apex, parsed.records).unwrap())
}

const TYPES: &[&str] = &["A", "TXT", "NS", "CNAME", "DNAME", "MX", "DS", "SOA", "ANY"];
/// Those that chance makes no records of.
const SELDOM: &[&str] = &[
    "AAAA",
    "SRV",
    "PTR",
    "TYPE65280",
    "NAPTR",
    "SVCB",
    "HTTPS",
    "AFSDB",
    "SSHFP",
    "CAA",
    "NSEC",
    "RRSIG",
    "KEY",
    "SIG",
    "NXT",
];

/// Every owner of a zone, every ancestor of one, and names beside, above and below them.
fn names(zone: &Zone) -> Vec<Name> {
    let mut names = vec![Name::parse("nowhere.invalid").unwrap()];
    for record in zone.records() {
        let mut name = record.owner.name();
        loop {
            let below = name.child(b"x").and_then(|child| Ok([child, child.child(b"y")?, name.child(b"*")?]));
            names.extend(below.into_iter().flatten());
            names.push(name);
            if name == *zone.apex() {
                break;
            }
            name = name.parent().unwrap();
        }
    }
    names.sort_by_key(|name| format!("{name}"));
    names.dedup();
    names
}

/// Whether a reply leads to servers of a zone below.
fn is_referral(reply: &Reply) -> bool {
    reply.rcode == "NOERROR" && reply.authority.iter().any(|line| line.contains(" NS "))
}

/// The data of the NS records in the authority section.
fn servers(reply: &Reply) -> Vec<String> {
    let data = |line: &String| line.split_once(" NS ").map(|(_, name)| format!("{name} "));
    reply.authority.iter().filter_map(data).collect()
}

const BIND: &[Difference] = &[
    Difference {
        why: "RFC 1034 section 4.3.2 asks for no NS records beside an answer; BIND adds them, and their addresses",
        mend: |asked, ours, theirs| {
            if !ours.answer.is_empty() && ours.authority.is_empty() {
                let hosts = servers(theirs);
                theirs.authority.retain(|line| !line.contains(" NS "));
                // They may take the room of addresses that we send.
                if asked.transport == Transport::Udp && !hosts.is_empty() {
                    ours.additional.retain(|line| theirs.additional.contains(line));
                }
                let own = |line: &String| hosts.iter().any(|host| line.starts_with(host));
                theirs.additional.retain(|line| ours.additional.contains(line) || !own(line));
            }
        },
    },
    Difference {
        why: "RFC 3403 section 4.2.1 lets a server add what a NAPTR record leads to; BIND does",
        mend: |asked, ours, theirs| {
            if asked.rtype == Rtype::NAPTR && !ours.answer.is_empty() && ours.additional.is_empty() {
                theirs.additional.clear();
            }
        },
    },
    Difference {
        why: "RFC 2181 section 10.1: NXT records stand beside a CNAME, so it is not followed for them; BIND follows",
        mend: |asked, ours, theirs| {
            let owner = format!("{:#} ", asked.name.to_lowercase());
            let followed = theirs.answer.iter().any(|line| line.starts_with(&owner) && line.contains(" CNAME "));
            if asked.rtype == Rtype::NXT && followed && ours.rcode == "NOERROR" && ours.answer.is_empty() {
                *theirs = ours.clone();
            }
        },
    },
    Difference {
        why: "RFC 9471 section 2.2: addresses of name servers elsewhere in the zone may come along; BIND leaves them out",
        mend: |_, ours, theirs| {
            if is_referral(ours) && ours.authority == theirs.authority {
                let cut = ours.authority.iter().next().and_then(|line| line.split(' ').next()).unwrap_or_default();
                let below = |line: &str| {
                    line.split(' ').next().is_some_and(|owner| owner == cut || owner.ends_with(&format!(".{cut}")))
                };
                ours.additional.retain(|line| below(line) || theirs.additional.contains(line));
            }
        },
    },
    Difference {
        why: "RFC 9471 section 3: a referral without all of its glue is truncated; BIND sets no TC",
        mend: |asked, ours, theirs| {
            if asked.transport == Transport::Udp && is_referral(ours) && ours.tc && !theirs.tc {
                theirs.tc = true;
                theirs.additional = ours.additional.clone();
            }
        },
    },
    Difference {
        why: "RFC 2181 section 9: what is cut is asked for again over TCP; we keep whole RRsets, BIND some records",
        mend: |_, ours, theirs| {
            if ours.tc && theirs.tc && ours.rcode == theirs.rcode && ours.aa == theirs.aa {
                *theirs = ours.clone();
            }
        },
    },
    Difference {
        why: "RFC 8482 section 4.1: over UDP one RRset answers ANY",
        mend: |asked, ours, theirs| {
            if asked.transport == Transport::Udp && asked.rtype == Rtype::ANY && !ours.tc {
                theirs.tc = false;
                let types: BTreeSet<&str> = ours.answer.iter().filter_map(|line| line.split(' ').nth(2)).collect();
                theirs.answer.retain(|line| line.split(' ').nth(2).is_some_and(|rtype| types.contains(rtype)));
                if ours.answer.is_superset(&theirs.answer) {
                    *theirs = ours.clone();
                }
            }
        },
    },
    Difference {
        why: "RFC 4035 section 2.4: a DS record belongs to a cut; BIND answers ANY without those that stand elsewhere",
        mend: |asked, ours, _| {
            if asked.rtype == Rtype::ANY {
                ours.answer.retain(|line| !line.contains(" DS "));
            }
        },
    },
    Difference {
        why: "RFC 6672 section 3.2 step 3.C: from a DNAME the search goes on whatever the type; BIND stops for CNAME and ANY",
        mend: |asked, ours, theirs| {
            let owner = format!("{:#} ", asked.name.to_lowercase());
            let made = |line: &String| line.starts_with(&owner) && line.contains(" CNAME ");
            let dname = theirs.answer.iter().any(|line| line.contains(" DNAME ")) && theirs.answer.len() == 2;
            let asks_cname = matches!(asked.rtype, Rtype::CNAME | Rtype::ANY);
            if asks_cname && dname && theirs.answer.iter().any(made) && theirs.answer.is_subset(&ours.answer) {
                *theirs = ours.clone();
            }
        },
    },
    Difference {
        why: "RFC 1034 section 4.3.2: after 16 names the resolver goes on from the last; BIND gives up after 12, SERVFAIL",
        mend: |_, ours, theirs| {
            if theirs.rcode == "SERVFAIL" && theirs.answer.len() > 10 && theirs.answer.is_subset(&ours.answer) {
                *theirs = ours.clone();
            }
        },
    },
];

#[test]
fn bind_answers_the_same() {
    let mut zones =
        vec![("everything.test.".to_owned(), EVERYTHING.to_owned()), ("big.test.".to_owned(), zones::big())];
    let mut chance = Chance(0x5EED_5EED_5EED);
    for number in 0..30 {
        let apex = format!("z{number}.test.");
        zones.push((apex.clone(), chance.zone(&apex)));
    }
    let Some(mut bind) = Bind::start(&zones) else { return };
    let mut comparison = Comparison::new(BIND);
    let mut refused = 0;
    for (apex, text) in &zones {
        let zone = zone(text);
        let mut view = View::default();
        view.zones.insert(zone.clone());
        let soa = Asked::new(apex, "SOA", Transport::Tcp, None);
        if Reply::read(&bind.ask_tcp(&soa.message())).rcode != "NOERROR" {
            refused += 1;
            eprintln!("{apex} is not served");
            continue;
        }
        for name in names(&zone) {
            for rtype in TYPES.iter().chain(SELDOM) {
                for (transport, edns) in [(Transport::Tcp, None), (Transport::Udp, None), (Transport::Udp, Some(1232))]
                {
                    // Sizes matter in the written zones; in those that chance made, one transport will do.
                    if apex.starts_with('z') && (transport == Transport::Udp || SELDOM.contains(rtype)) {
                        continue;
                    }
                    let asked = Asked { name, rtype: rtype.parse().unwrap(), transport, edns };
                    let theirs = match transport {
                        Transport::Tcp => bind.ask_tcp(&asked.message()),
                        Transport::Udp => bind.ask_udp(&asked.message()),
                    };
                    comparison.add(&asked, &asked.ours(&view), &Reply::read(&theirs));
                }
            }
        }
    }
    assert!(refused < 6, "BIND does not take {refused} zones:\n{}", bind.log());
    comparison.finish(10_000);
}

/// Whether a line of the answer section is about the name asked for and of this type.
fn answers(reply: &Reply, asked: &Asked, rtype: &str) -> bool {
    let start = format!("{:#} ", asked.name.to_lowercase());
    reply.answer.iter().any(|line| line.starts_with(&start) && line.split(' ').nth(2) == Some(rtype))
}

fn has(lines: &BTreeSet<String>, rtype: &str) -> bool {
    lines.iter().any(|line| line.split(' ').nth(2) == Some(rtype))
}

/// Hickory differs in much. Each of these names one rule that it does not follow, as narrowly as can be said.
const HICKORY: &[Difference] = &[
    Difference {
        why: "RFC 1034 section 4.3.2 asks for no NS records beside an answer; hickory adds them to those about an SOA",
        mend: |asked, ours, theirs| {
            if asked.rtype == Rtype::SOA && !is_referral(ours) {
                theirs.authority.retain(|line| !line.contains(" NS "));
                if has(&ours.answer, "SOA") {
                    theirs.additional.clear();
                }
            }
        },
    },
    Difference {
        why: "RFC 1034 section 4.2.1: a referral is not authoritative, stands in the authority section and brings glue",
        mend: |_, ours, theirs| {
            if is_referral(ours) && (theirs.aa || has(&ours.answer, "CNAME")) {
                *theirs = ours.clone();
            }
        },
    },
    Difference {
        why: "RFC 6672 section 3.2: a DNAME moves what lies below it",
        mend: |_, ours, theirs| {
            if has(&ours.answer, "DNAME") && !has(&theirs.answer, "DNAME") {
                *theirs = ours.clone();
            }
        },
    },
    Difference {
        why: "RFC 4592 section 3.3.1: only the wildcard below the closest encloser stands for a name",
        mend: |asked, ours, theirs| {
            let made = |rtype: &&str| answers(theirs, asked, rtype);
            if ours.answer.is_empty()
                && ["CNAME", "A", "MX", "TXT"].iter().any(made)
                && !asked.rtype.stands_beside_cname()
            {
                *theirs = ours.clone();
            }
        },
    },
    Difference {
        why: "RFC 4592 section 2.2.1: a name that a wildcard stands for exists, so a type it lacks is no NXDOMAIN",
        mend: |asked, ours, theirs| {
            if ours.rcode == "NOERROR" && !is_referral(ours) && theirs.rcode == "NXDOMAIN" && theirs.answer.is_empty() {
                theirs.rcode = ours.rcode.clone();
                if asked.rtype == Rtype::ANY {
                    *theirs = ours.clone();
                }
            }
        },
    },
    Difference {
        why: "RFC 1034 section 3.6.2: a loop of CNAMEs is signalled as an error",
        mend: |_, ours, theirs| {
            if ours.rcode == "SERVFAIL" && theirs.rcode == "NOERROR" && ours.answer == theirs.answer {
                theirs.rcode = ours.rcode.clone();
            }
        },
    },
    Difference {
        why: "RFC 6604 section 3: the response code is that of the last name of a chain",
        mend: |_, ours, theirs| {
            if ours.rcode == "NXDOMAIN"
                && theirs.rcode == "NOERROR"
                && has(&ours.answer, "CNAME")
                && ours.answer == theirs.answer
            {
                theirs.rcode = ours.rcode.clone();
            }
        },
    },
    Difference {
        why: "RFC 2308 section 2: the SOA comes along where a chain ends in nothing",
        mend: |_, ours, theirs| {
            if has(&ours.answer, "CNAME") && has(&ours.authority, "SOA") && theirs.authority.is_empty() {
                theirs.authority = ours.authority.clone();
            }
        },
    },
    Difference {
        why: "RFC 2308 section 3: the SOA's TTL is at most its minimum",
        mend: |_, ours, theirs| {
            let lower = |line: &String| line.replace(" 3600 SOA ", " 60 SOA ").replace(" 300 SOA ", " 60 SOA ");
            if has(&ours.authority, "SOA") {
                theirs.authority = theirs.authority.iter().map(lower).collect();
            }
        },
    },
    Difference {
        why: "RFC 4035 section 2.5, RFC 2181 section 10.1: NSEC and the like stand beside a CNAME, which is not followed",
        mend: |asked, ours, theirs| {
            if asked.rtype.stands_beside_cname() && answers(theirs, asked, "CNAME") && ours.answer.is_empty() {
                *theirs = ours.clone();
            }
        },
    },
    Difference {
        why: "RFC 1034 section 3.6.2: ANY matches a CNAME, which is not followed",
        mend: |asked, ours, theirs| {
            if asked.rtype == Rtype::ANY && answers(ours, asked, "CNAME") {
                theirs.answer.retain(|line| line.contains(" CNAME "));
            }
        },
    },
    Difference {
        why: "RFC 8482 section 4: which RRset stands for all is the server's choice; over TCP we give all of them",
        mend: |asked, ours, theirs| {
            if asked.rtype == Rtype::ANY && !ours.answer.is_empty() && !theirs.answer.is_empty() {
                *theirs = ours.clone();
            }
        },
    },
    Difference {
        why: "RFC 1035 section 3.3.9: an MX record brings its host's addresses, a wildcard's too; hickory brings the first one's",
        mend: |_, ours, theirs| {
            if has(&ours.answer, "MX") && ours.additional.is_superset(&theirs.additional) {
                theirs.additional = ours.additional.clone();
            }
        },
    },
    Difference {
        why: "RFC 1183 section 1, RFC 9460 section 4.1: addresses come along with AFSDB, SVCB and HTTPS too",
        mend: |asked, ours, theirs| {
            if matches!(asked.rtype, Rtype::AFSDB | Rtype::SVCB | Rtype::HTTPS) && theirs.additional.is_empty() {
                ours.additional.clear();
            }
        },
    },
    Difference {
        why: "RFC 2181 section 9: what is cut is asked for again over TCP; we keep whole RRsets",
        mend: |_, ours, theirs| {
            if ours.tc && theirs.tc && ours.answer.is_subset(&theirs.answer) {
                *theirs = ours.clone();
            }
        },
    },
];

#[test]
fn hickory_answers_the_same() {
    let zones = [zone(EVERYTHING), zone(&zones::big())];
    let mut hickory = Hickory::start(&zones);
    let mut view = View::default();
    zones.iter().for_each(|zone| view.zones.insert(zone.clone()));
    let mut comparison = Comparison::new(HICKORY);
    for zone in &zones {
        for name in names(zone) {
            for rtype in TYPES.iter().chain(&["AAAA", "SRV", "NSEC", "AFSDB"]) {
                for (transport, edns) in [(Transport::Tcp, None), (Transport::Udp, Some(1232))] {
                    // Only size sets the transports apart.
                    if transport == Transport::Udp && !matches!(*rtype, "TXT" | "MX" | "ANY") {
                        continue;
                    }
                    let asked = Asked { name, rtype: rtype.parse().unwrap(), transport, edns };
                    let theirs = match transport {
                        Transport::Tcp => hickory.ask_tcp(&asked.message()),
                        Transport::Udp => hickory.ask_udp(&asked.message()),
                    };
                    comparison.add(&asked, &asked.ours(&view), &Reply::read(&theirs));
                }
            }
        }
    }
    comparison.finish(5_000);
}
