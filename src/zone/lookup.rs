//! Looking a name up in a zone (RFC 1034 section 4.3.2 step 3, RFC 4592, RFC 6672).

use super::key::parent_of;
use super::{Node, Rrset, Zone};
use crate::wire::{Name, Rtype};

/// What a zone holds for a name.
#[derive(Debug, Clone, Copy)]
pub enum Lookup<'z> {
    /// The name exists, or a wildcard stands for it.
    Found(Answer<'z>),
    /// The name exists and has no records itself: an empty non-terminal (RFC 4592 section 2.2.2), or a
    /// wildcard that is one.
    Empty,
    /// The name is at or below a delegation: the owner of the NS RRset, as labels taken from the name.
    Delegation {
        /// How many of the looked-up name's labels lie below the cut.
        below: usize,
        /// The NS RRset at the cut.
        ns: Rrset<'z>,
    },
    /// An owner above the name has a DNAME (RFC 6672 section 2.3).
    Dname {
        /// How many of the looked-up name's labels lie below the DNAME's owner.
        below: usize,
        /// The DNAME RRset.
        dname: Rrset<'z>,
    },
    /// The name does not exist.
    NxDomain,
}

/// The records that answer for a name.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'z> {
    /// The records.
    pub node: Node<'z>,
    /// Whether they are a wildcard's (RFC 4592 section 3.3.1).
    pub wildcard: bool,
}

impl Zone {
    /// Looks up the owner whose key is `owner`, which must be in the zone.
    ///
    /// `rtype` matters in one place: at a delegation point itself a DS question is the parent's to answer (RFC
    /// 4035 section 3.1.4.1).
    pub fn lookup(&self, owner: &[u8], rtype: Rtype) -> Lookup<'_> {
        if (self.special.cuts > 0 || self.special.dnames > 0)
            && let Some(redirect) = self.redirect(owner, rtype)
        {
            return redirect;
        }
        let Some(key) = self.relative(owner) else { return Lookup::NxDomain };
        match self.tree.get(key) {
            Some(node) if node.is_empty() => return Lookup::Empty,
            Some(node) => return Lookup::Found(Answer { node, wildcard: false }),
            None if !self.tree.has_wildcards() => return Lookup::NxDomain,
            None => {}
        }
        // RFC 4592 section 3.3.1: the closest encloser is the longest existing ancestor; only the
        // wildcard right below it can be the source of synthesis.
        let Some(encloser) = self.closest_encloser(key) else { return Lookup::NxDomain };
        let mut wildcard = [0; 2 * Name::MAX + 2];
        let Some((room, star)) = wildcard.split_at_mut_checked(encloser.len()) else { return Lookup::NxDomain };
        room.copy_from_slice(encloser);
        if let Some(star) = star.first_chunk_mut() {
            *star = *b"*\0";
        }
        match self.tree.get(wildcard.get(..encloser.len() + 2).unwrap_or_default()) {
            Some(node) if node.is_empty() => Lookup::Empty,
            Some(node) => Lookup::Found(Answer { node, wildcard: true }),
            None => Lookup::NxDomain,
        }
    }

    /// The highest delegation or DNAME that takes the name out of this zone's own data, if any.
    fn redirect(&self, owner: &[u8], rtype: Rtype) -> Option<Lookup<'_>> {
        let mut found = None;
        let mut key = owner;
        let mut below = 0;
        // From the name up to the apex; what is found higher up replaces what was found below it.
        loop {
            let at_apex = key.len() <= self.apex_key.as_bytes().len();
            if let Some(node) = self.node(key) {
                if let Some(dname) = node.rrset(Rtype::DNAME).filter(|_| below > 0) {
                    found = Some(Lookup::Dname { below, dname });
                }
                if let Some(ns) = node.rrset(Rtype::NS).filter(|_| !at_apex)
                    && (below > 0 || rtype != Rtype::DS)
                {
                    found = Some(Lookup::Delegation { below, ns });
                }
            }
            if at_apex {
                return found;
            }
            key = parent_of(key)?;
            below += 1;
        }
    }

    /// The relative key of the longest ancestor that exists, empty non-terminals included; the apex at the least.
    fn closest_encloser<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        let mut ancestor = parent_of(key)?;
        while !ancestor.is_empty() && self.tree.get(ancestor).is_none() {
            ancestor = parent_of(ancestor)?;
        }
        Some(ancestor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::KeyBuf;
    use crate::zone::text::parse;

    fn zone(text: &str) -> Zone {
        // A line that starts with a blank would continue with the owner before.
        let text: String = text.lines().map(|line| format!("{}\n", line.trim_start())).collect();
        let parsed = parse(&text, "test.zone", None, &mut |_| Err("no file".into())).unwrap();
        Zone::new(&parsed.apex, parsed.records).unwrap()
    }

    fn look(zone: &Zone, owner: &str, rtype: Rtype) -> String {
        match zone.lookup(KeyBuf::new(&Name::parse(owner).unwrap()).as_bytes(), rtype) {
            Lookup::Found(Answer { node, wildcard }) => {
                let kind = if wildcard { "wildcard" } else { "own" };
                node.rrset(rtype).map_or(format!("{kind}, no data"), |_| kind.into())
            }
            Lookup::Empty => "empty".into(),
            Lookup::Delegation { below, .. } => format!("cut {below} up"),
            Lookup::Dname { below, .. } => format!("dname {below} up"),
            Lookup::NxDomain => "none".into(),
        }
    }

    /// The zone of RFC 4592 section 2.2.1.
    const RFC_4592: &str = "
        $ORIGIN example.
        $TTL 3600
        @                 SOA  ns.example.com. admin 1 1 1 1 60
        @                 NS   ns.example.com.
        @                 NS   ns.example.net.
        *                 TXT  \"this is a wildcard\"
        *                 MX   10 host1
        sub.*             TXT  \"this is not a wildcard\"
        host1             A    192.0.2.1
        _ssh._tcp.host1   SRV  0 0 22 host1
        _ssh._tcp.host2   SRV  0 0 22 host2
        subdel            NS   ns.example.com.
        subdel            NS   ns.example.net.
    ";

    #[test]
    fn the_answers_to_the_example_zone_of_rfc_4592_are_those_it_lists() {
        let zone = zone(RFC_4592);
        for (owner, rtype, expected) in [
            ("host3.example", Rtype::MX, "wildcard"),
            ("host3.example", Rtype::A, "wildcard, no data"),
            ("foo.bar.example", Rtype::TXT, "wildcard"),
            ("host1.example", Rtype::MX, "own, no data"),
            ("sub.*.example", Rtype::MX, "own, no data"),
            ("_telnet._tcp.host1.example", Rtype::SRV, "none"),
            ("host.subdel.example", Rtype::A, "cut 1 up"),
            ("ghost.*.example", Rtype::MX, "none"),
            // Section 2.2.2: these exist though they own nothing.
            ("_tcp.host1.example", Rtype::TXT, "empty"),
            ("_tcp.host2.example", Rtype::TXT, "empty"),
            ("host2.example", Rtype::MX, "empty"),
            // Section 3.3.1: the closest enclosers it gives.
            ("host3.example", Rtype::TXT, "wildcard"),
            ("_telnet._tcp.host2.example", Rtype::TXT, "none"),
            ("_chat._udp.host3.example", Rtype::TXT, "wildcard"),
            ("foobar.*.example", Rtype::TXT, "none"),
            ("*.example", Rtype::TXT, "own"),
        ] {
            assert_eq!(look(&zone, owner, rtype), expected, "{owner} {rtype}");
        }
    }

    #[test]
    fn what_stands_highest_takes_the_name_out_of_the_zone() {
        let zone = zone(
            "$ORIGIN example.\n$TTL 60\n@ SOA ns admin 1 1 1 1 60\n@ NS ns.elsewhere.\n@ TXT x
             a NS ns.elsewhere.\nb.a NS ns.elsewhere.\nd.a DNAME elsewhere.\nd DNAME elsewhere.\nc.d NS ns.elsewhere.
             both NS ns.elsewhere.\nboth DNAME elsewhere.\n*.w NS ns.elsewhere.\n",
        );
        for (owner, expected) in [
            ("example", "own"),
            ("x.b.a.example", "cut 2 up"),
            ("x.d.a.example", "cut 2 up"),
            ("a.example", "cut 0 up"),
            ("d.example", "own, no data"),
            ("x.c.d.example", "dname 2 up"),
            // A delegation hides what else its owner has.
            ("x.both.example", "cut 1 up"),
            ("both.example", "cut 0 up"),
        ] {
            assert_eq!(look(&zone, owner, Rtype::TXT), expected, "{owner}");
        }
        assert_eq!(look(&zone, "a.example", Rtype::DS), "own, no data");
        assert_eq!(look(&zone, "b.a.example", Rtype::DS), "cut 1 up");
        assert_eq!(look(&zone, "both.example", Rtype::DNAME), "cut 0 up");
    }

    #[test]
    fn a_dname_at_the_apex_moves_all_below_it() {
        let zone =
            zone("$ORIGIN example.\n@ 60 SOA ns.x. a.x. 1 1 1 1 60\n@ 60 NS ns.x.\n@ 60 DNAME x.\nh 60 A 192.0.2.1");
        assert_eq!(look(&zone, "example", Rtype::NS), "own");
        assert_eq!(look(&zone, "h.example", Rtype::A), "dname 1 up");
        assert_eq!(look(&zone, "a.b.example", Rtype::A), "dname 2 up");
    }

    #[test]
    fn names_of_odd_octets_and_of_full_length_are_found() {
        let long = "a.".repeat(123);
        let text = format!(
            "$ORIGIN example.\n@ 60 SOA ns.x. a.x. 1 1 1 1 60\n@ 60 NS ns.x.\n{long}example. 60 A 192.0.2.1
             \\000 60 A 192.0.2.1\n\\000\\001.\\255 60 A 192.0.2.1\n* 60 A 192.0.2.2"
        );
        let zone = zone(&text);
        assert_eq!(look(&zone, &format!("{long}example"), Rtype::A), "own");
        assert_eq!(look(&zone, &format!("b.{}example", &long[2..]), Rtype::A), "none");
        assert_eq!(look(&zone, &format!("{}example", "z.".repeat(123)), Rtype::A), "wildcard");
        assert_eq!(look(&zone, "\\000.example", Rtype::A), "own");
        assert_eq!(look(&zone, "\\000\\001.\\255.example", Rtype::A), "own");
        assert_eq!(look(&zone, "\\255.example", Rtype::A), "empty");
        assert_eq!(look(&zone, "\\001.example", Rtype::A), "wildcard");
    }

    #[test]
    fn cuts_and_dnames_that_come_and_go_are_seen() {
        let mut zone = zone("$ORIGIN example.\n@ 60 SOA ns.x. a.x. 1 1 1 1 60\n@ 60 NS ns.x.\nh.sub 60 A 192.0.2.1");
        let with = |zone: &Zone, rtype| {
            let record = crate::zone::Record {
                owner: crate::zone::Key::new(&Name::parse("sub.example").unwrap()),
                rtype,
                ttl: crate::wire::Ttl::new(60),
                rdata: Box::from(&b"\x01x\0"[..]),
            };
            let changes = crate::zone::Changes { removed: Vec::new(), added: vec![record] };
            (zone.with(&changes).unwrap(), changes.inverse())
        };
        for (rtype, expected) in [(Rtype::NS, "cut 1 up"), (Rtype::DNAME, "dname 1 up")] {
            assert_eq!(look(&zone, "h.sub.example", Rtype::A), "own");
            let (after, undo) = with(&zone, rtype);
            assert_eq!(look(&after, "h.sub.example", Rtype::A), expected);
            assert_eq!(look(&zone, "h.sub.example", Rtype::A), "own", "the old snapshot is as it was");
            zone = after.with(&undo).unwrap();
        }
        assert_eq!(look(&zone, "h.sub.example", Rtype::A), "own");
    }
}
