//! Changes on their way to the one writer and back.

use super::Rooms;
use super::login::Visitor;
use crate::server::writer::{Applied, Entrance, Request};
use crate::update::{Entry, Refusal, UpdateMessage};
use crate::wire::{Class, Name, Rtype};
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

/// The RRset goes and comes anew (RFC 2136 sections 2.5.2 and 2.5.1), in one update: what stays is no change.
pub(super) fn replace(owner: Name, rtype: Rtype, ttl: u32, rdatas: impl IntoIterator<Item = Box<[u8]>>) -> Vec<Entry> {
    let entry = |class, ttl, rdata| Entry { owner, rtype, class, ttl, rdata: Ok(rdata) };
    let mut entries = vec![entry(Class::ANY, 0, Box::default())];
    entries.extend(rdatas.into_iter().map(|rdata| entry(Class::IN, ttl, rdata)));
    entries
}
