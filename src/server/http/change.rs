//! Changes on their way to the one writer and back.

use super::Rooms;
use super::json::{Failure, unusable};
use super::login::Visitor;
use crate::server::writer::{Applied, Entrance, Request};
use crate::update::{Entry, Refusal, UpdateMessage};
use crate::wire::rdata::Soa;
use crate::wire::{Class, Name, Rtype};
use crate::zone::{KeyBuf, Serial, Zone};
use axum::http::StatusCode;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;

/// The TTL of a record that is new and of which nobody says otherwise: short, for it changes again.
pub(super) const TTL: u32 = 60;

/// A change that is queued.
pub(super) struct UnderWay {
    zone: Name,
    visitor: Visitor,
    outcome: oneshot::Receiver<Result<Applied, Refusal>>,
}

impl Rooms {
    /// Queues a change, which is decided by the rights of the key that has the user's name.
    pub(super) async fn begin(&self, visitor: Visitor, update: UpdateMessage) -> UnderWay {
        let zone = update.zone;
        let (told, outcome) = oneshot::channel();
        let reply = Box::new(move |outcome| drop(told.send(outcome)));
        let Visitor { user: key, source } = visitor;
        // Where the writer has ended, nobody will tell.
        let _ = self
            .service
            .exchange
            .queue
            .send(Request::Update { update, key, entrance: Entrance::Http, source, reply })
            .await;
        UnderWay { zone, visitor, outcome }
    }
}

impl UnderWay {
    /// Waits for the outcome, counts and logs it.
    pub(super) async fn conclude(self, rooms: &Rooms) -> Result<Applied, Refusal> {
        let UnderWay { zone, visitor: Visitor { user, source }, outcome } = self;
        let metrics = &rooms.service.exchange.metrics;
        let user = format!("{user:#}");
        let outcome = outcome.await.unwrap_or(Err(Refusal::Storage));
        match &outcome {
            Ok(applied) => {
                metrics.updates_applied.fetch_add(1, Ordering::Relaxed);
                let from = applied.from.map_or("none".to_string(), |serial| serial.to_string());
                tracing::info!(
                    %zone, %user, %source, serial = %format_args!("{from}->{}", applied.to),
                    added = applied.added, removed = applied.removed, "update applied"
                );
            }
            Err(refusal) => {
                metrics.count_refusal(refusal.rcode());
                tracing::warn!(%zone, %user, %source, rcode = %refusal.rcode(), "update refused: {refusal}");
            }
        }
        outcome
    }
}

/// The update after which the RRset is exactly these; what stays is no change.
///
/// RFC 2136 section 3.4.2 skips in silence what may not stand in a zone, and lets the rest happen. Who asks by HTTP is
/// told how things stand now, so all of that is refused here, or by a prerequisite where another change may come first.
pub(super) fn replacement(
    zone: &Zone,
    owner: Name,
    rtype: Rtype,
    ttl: u32,
    rdatas: Vec<Box<[u8]>>,
) -> Result<UpdateMessage, Failure> {
    let node = zone.node(KeyBuf::new(&owner).as_bytes());
    let set = node.and_then(|node| node.rrset(rtype));
    let at_apex = owner == *zone.apex();
    if at_apex && matches!(rtype, Rtype::SOA | Rtype::NS) && rdatas.is_empty() {
        return Err(unusable(format!("a zone keeps its SOA and its NS; {owner} is the apex, so write other values")));
    }
    if matches!(rtype, Rtype::SOA | Rtype::CNAME | Rtype::DNAME) && rdatas.len() > 1 {
        return Err(unusable(format!("a name has one {rtype}, and here are {}", rdatas.len())));
    }
    if let (Rtype::SOA, [soa]) = (rtype, &*rdatas) {
        let same = at_apex && set.is_some_and(|set| set.has(soa) && set.ttl.seconds() == ttl);
        let follows = Soa::parse(soa).is_ok_and(|soa| Serial(soa.serial).is_after(zone.serial()));
        if !at_apex {
            return Err(unusable(format!("an SOA stands at the apex, {}, and not at {owner}", zone.apex())));
        }
        if !same && !follows {
            return Err(unusable(format!("the SOA's serial must come after {}", zone.serial())));
        }
    }
    let others = node.into_iter().flat_map(|node| node.rrsets()).map(|set| set.rtype);
    let mut others = others.filter(|other| *other != Rtype::CNAME && !other.stands_beside_cname());
    if let Some(other) = others.next().filter(|_| rtype == Rtype::CNAME && !rdatas.is_empty()) {
        let error = format!("{owner} has other records ({other}), and a CNAME stands alone; take them away first");
        return Err(Failure::new(StatusCode::CONFLICT, error));
    }

    let entry = |rtype, class, ttl, rdata| Entry { owner, rtype, class, ttl, rdata: Ok(rdata) };
    let mut prerequisites = Vec::new();
    // Section 2.4.3: there is no CNAME.
    if rtype != Rtype::CNAME && !rtype.stands_beside_cname() && !rdatas.is_empty() {
        prerequisites.push(entry(Rtype::CNAME, Class::NONE, 0, Box::default()));
    }
    let mut operations = Vec::new();
    if at_apex && rtype == Rtype::NS {
        // The apex always keeps one (section 3.4.2.4): so the new ones come first, and then each old one goes.
        let old =
            set.into_iter().flat_map(|set| set.rdatas()).filter(|old| !rdatas.iter().any(|new| is_same(old, new)));
        let old: Vec<Entry> = old.map(|old| entry(rtype, Class::NONE, 0, old.into())).collect();
        operations.extend(rdatas.into_iter().map(|rdata| entry(rtype, Class::IN, ttl, rdata)));
        operations.extend(old);
    } else {
        // Sections 2.5.2 and 2.5.1.
        operations.push(entry(rtype, Class::ANY, 0, Box::default()));
        operations.extend(rdatas.into_iter().map(|rdata| entry(rtype, Class::IN, ttl, rdata)));
    }
    Ok(UpdateMessage { zone: *zone.apex(), prerequisites, operations })
}

/// Whether they name the same server: of an NS record the data is a name and nothing else.
fn is_same(server: &[u8], other: &[u8]) -> bool {
    server.eq_ignore_ascii_case(other)
}
