//! What zones hold, a page at a time, for those who look.

use super::Rooms;
use super::json::Failure;
use super::login::Visitor;
use crate::wire::{Name, Rtype};
use crate::zone::text::rdata_to_text;
use crate::zone::{Key, KeyBuf, Node, Zone};
use axum::http::StatusCode;
use serde::Serialize;
use std::sync::Arc;
use tokio::time::timeout;

/// How many octets of text a page has, beyond which nobody else comes onto it: an owner may have much.
const OCTETS: usize = 1 << 20;

/// Records of one owner and type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Set {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) rtype: String,
    pub(super) ttl: u32,
    pub(super) values: Vec<String>,
}

/// Which records are wanted.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    /// Owners after this one, in key order.
    pub(super) after: Option<Name>,
    /// These types; empty for all.
    pub(super) types: Vec<Rtype>,
    /// Owners whose name or whose data has this text in it; in lower case.
    pub(super) text: String,
    /// How many owners at most.
    pub(super) max: usize,
}

/// The owners of a page, in key order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) owners: Vec<Owner>,
    /// Whether there are more.
    pub(super) more: bool,
}

/// An owner and those of its records that are wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) key: Key,
    pub(super) name: String,
    pub(super) sets: Vec<Set>,
}

impl Rooms {
    /// The zone of this name, where it is there and the visitor may see it. Whether it is there, others do not learn.
    pub(super) fn visible(&self, visitor: &Visitor, name: &str) -> Result<Arc<Zone>, Failure> {
        let view = self.service.exchange.published.view();
        let zone = Name::parse(name).ok().and_then(|apex| view.zones.zone(&apex).cloned());
        let zone = zone.filter(|zone| self.knows(visitor, zone.apex()));
        zone.ok_or_else(|| {
            let error = format!("no zone {name} in which {:#} may change anything", visitor.user);
            Failure::new(StatusCode::NOT_FOUND, error)
        })
    }

    /// Every zone that the visitor may see.
    pub(super) fn visible_zones(&self, visitor: &Visitor) -> Vec<Arc<Zone>> {
        let view = self.service.exchange.published.view();
        view.zones.iter().filter(|zone| self.knows(visitor, zone.apex())).cloned().collect()
    }

    /// A page of a zone. Putting a zone in order takes time, with a million names 0.15 s and 70 MB, and 0.8 s where all of
    /// their text is looked through: one at a time, and on a thread of its own.
    pub(super) async fn list(&self, zone: Arc<Zone>, wanted: Wanted) -> Result<Page, Failure> {
        let turn = timeout(self.service.idle(), Arc::clone(&self.listing).acquire_owned()).await;
        let turn = turn.ok().and_then(Result::ok).ok_or_else(Failure::busy)?;
        let listed = tokio::task::spawn_blocking(move || {
            let page = list(&zone, &wanted);
            drop(turn);
            page
        });
        listed.await.map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
    }
}

fn list(zone: &Zone, wanted: &Wanted) -> Page {
    let after = wanted.after.as_ref().map(KeyBuf::new);
    let after = after.as_ref().map(KeyBuf::as_bytes);
    let mut page = Page::default();
    let mut octets = 0;
    for (key, node) in zone.nodes().filter(|(key, _)| after.is_none_or(|after| key.as_bytes() > after)) {
        let name = key.name().to_string();
        let sets = sets(&name, node, &wanted.types);
        let has = |text: &str| text.to_lowercase().contains(&wanted.text);
        if sets.is_empty() || !has(&name) && !sets.iter().flat_map(|set| &set.values).any(|value| has(value)) {
            continue;
        }
        if page.owners.len() == wanted.max || octets >= OCTETS {
            page.more = true;
            break;
        }
        octets += sets.iter().flat_map(|set| &set.values).map(String::len).sum::<usize>();
        page.owners.push(Owner { key, name, sets });
    }
    page
}

/// The records of an owner.
pub(super) fn sets(name: &str, node: Node<'_>, types: &[Rtype]) -> Vec<Set> {
    let wanted = node.rrsets().filter(|set| types.is_empty() || types.contains(&set.rtype));
    let text = wanted.map(|set| Set {
        name: name.to_string(),
        rtype: set.rtype.to_string(),
        ttl: set.ttl.seconds(),
        values: set.rdatas().map(|rdata| rdata_to_text(set.rtype, rdata)).collect(),
    });
    text.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::text::parse;

    fn zone() -> Zone {
        let text = "$ORIGIN home.example.\n@ 60 SOA ns hm 1 2 3 4 5\n@ NS ns\nns A 192.0.2.53\n\
                    nas A 192.0.2.1\nnas AAAA 2001:db8::1\nnas TXT \"Attic\"\nprinter A 192.0.2.2\n";
        let parsed = parse(text, "home.example.zone", None, &mut |_| Err(String::new())).unwrap();
        Zone::new(&parsed.apex, parsed.records).unwrap()
    }

    fn names(wanted: Wanted) -> (Vec<String>, bool) {
        let page = list(&zone(), &Wanted { max: wanted.max.max(2), ..wanted });
        (page.owners.into_iter().map(|owner| owner.name).collect(), page.more)
    }

    #[test]
    fn a_page_goes_on_where_the_one_before_it_ended() {
        let after = |name: &str| Wanted { after: Name::parse(name).ok(), ..Wanted::default() };
        assert_eq!(names(Wanted::default()), (vec!["home.example".into(), "nas.home.example".into()], true));
        assert_eq!(
            names(after("nas.home.example")),
            (vec!["ns.home.example".into(), "printer.home.example".into()], false)
        );
        assert_eq!(names(after("printer.home.example")), (vec![], false));
    }

    #[test]
    fn much_text_takes_more_pages() {
        let text = format!("\"{}\" ", "x".repeat(250)).repeat(200);
        let hosts: String = (0..50).map(|host| format!("h{host:02} TXT {text}\n")).collect();
        let text = format!("$ORIGIN home.example.\n@ 60 SOA ns hm 1 2 3 4 5\n@ NS ns\n{hosts}");
        let parsed = parse(&text, "home.example.zone", None, &mut |_| Err(String::new())).unwrap();
        let zone = Zone::new(&parsed.apex, parsed.records).unwrap();
        let (mut after, mut names) = (None, 0);
        for pages in 1.. {
            let page = list(&zone, &Wanted { max: 1000, after, ..Wanted::default() });
            let octets: usize =
                page.owners.iter().flat_map(|owner| &owner.sets).flat_map(|set| &set.values).map(String::len).sum();
            assert!(octets < OCTETS + 65_536, "{octets}");
            names += page.owners.len();
            after = page.owners.last().and_then(|owner| Name::parse(&owner.name).ok());
            if !page.more {
                assert_eq!((names, pages), (51, 3));
                break;
            }
        }
    }

    #[test]
    fn a_filter_looks_at_names_and_data_of_the_types_wanted() {
        let with = |text: &str, types: &[Rtype]| {
            names(Wanted { text: text.into(), types: types.to_vec(), max: 9, ..Wanted::default() }).0
        };
        assert_eq!(with("attic", &[]), ["nas.home.example"]);
        assert_eq!(with("attic", &[Rtype::A]), [""; 0]);
        assert_eq!(with("192.0.2.5", &[Rtype::A]), ["ns.home.example"]);
        assert_eq!(with("pri", &[Rtype::A, Rtype::AAAA]), ["printer.home.example"]);
    }
}
