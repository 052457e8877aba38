//! From a message to its answer, whatever socket it came by.

use super::publish::Published;
use super::quiet::Quiet;
use super::writer::{Queue, Request};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::query::{Limits, Peer, Transport, Verdict, View, refuse, reject, reply_with, respond};
use crate::tsig::{self, Signer};
use crate::update::{Refusal, UpdateMessage};
use crate::wire::{Message, Name, Rcode};
use crate::zone::Zone;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::{mpsc, oneshot};

/// What every listener needs to answer a message.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) published: Arc<Published>,
    pub(crate) queue: Queue,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) quiet: Quiet,
}

/// What is left to do after the first look at a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many octets of the buffer are the answer; none where there is to be no answer.
    Answer(Option<usize>),
    /// The message is an update: [`Exchange::update`] carries it out.
    Update,
    /// The message asks for a whole zone: [`Exchange::transfer`] says who may have it.
    Transfer,
}

/// A transfer that may go on.
pub(crate) struct Granted {
    pub(crate) zone: Arc<Zone>,
    pub(crate) signer: Option<Signer>,
}

/// The largest message (RFC 1035 section 4.2.2).
pub(crate) const MESSAGE: usize = 65_535;

impl Exchange {
    /// Answers a query at once; says what else the message is.
    pub(crate) fn begin(&self, view: &View, peer: Peer, bytes: &[u8], buffer: &mut [u8]) -> Step {
        match respond(view, peer, self.clock.now(), bytes, buffer) {
            Verdict::Reply(len, reason) => {
                self.metrics.count(reason);
                Step::Answer(Some(len))
            }
            Verdict::Drop(reason) => {
                self.metrics.count(reason);
                Step::Answer(None)
            }
            Verdict::Update => Step::Update,
            Verdict::Transfer => Step::Transfer,
        }
    }

    /// Decides on a transfer over TCP. `Err` holds the length of the refusal, where there is one.
    ///
    /// A zone is given to whoever may change something in it, by a signed request.
    pub(crate) fn transfer(&self, peer: Peer, bytes: &[u8], buffer: &mut [u8]) -> Result<Granted, Option<usize>> {
        let view = self.published.view();
        let now = self.clock.now();
        let Ok(message) = Message::parse(bytes) else { return Err(refuse(bytes, Rcode::FORMERR, buffer)) };
        let Some(question) = message.question else { return Err(refuse(bytes, Rcode::FORMERR, buffer)) };
        let mut verified = match message.tsig_at.map(|at| tsig::verify(&view.keyring, bytes, at, now)) {
            Some(Ok(verified)) => Some(verified),
            Some(Err(rejection)) => {
                if self.quiet.allows(now) {
                    tracing::warn!(zone = %question.name, source = %peer.address.ip(), "transfer refused: {rejection}");
                }
                return Err(reject(&message, &view.limits, peer.transport, &rejection, buffer));
            }
            None => None,
        };
        let key = verified.as_ref().map(|verified| verified.key().name);
        let reason = match (view.zones.zone(&question.name), key) {
            (None, _) => "the zone is not served here",
            (_, None) => "the request is not signed; sign it with a key that may change something in the zone",
            (Some(zone), Some(key)) if self.published.rights().policy(zone.apex()).knows(&key) => {
                tracing::info!(zone = %zone.apex(), key = %format_args!("{key:#}"), source = %peer.address.ip(), "transfer granted");
                return Ok(Granted { zone: Arc::clone(zone), signer: verified.map(|verified| verified.signer) });
            }
            (Some(_), Some(_)) => "the key may change nothing in the zone",
        };
        if key.is_some() || self.quiet.allows(now) {
            let key = key.map_or("-".to_string(), |key| format!("{key:#}"));
            tracing::warn!(zone = %question.name, %key, source = %peer.address.ip(), "transfer refused: {reason}");
        }
        let rcode = if view.zones.zone(&question.name).is_none() { Rcode::NOTAUTH } else { Rcode::REFUSED };
        let signer = verified.as_mut().map(|verified| &mut verified.signer);
        Err(reply_with(&message, &view.limits, peer.transport, signer, rcode, buffer, now))
    }

    /// Carries out an update and writes the answer to `buffer`; `None` where there is to be none.
    pub(crate) async fn update(&self, peer: Peer, bytes: &[u8], buffer: &mut [u8]) -> Option<usize> {
        let view = Arc::clone(&self.published.view());
        let limits: &Limits = &view.limits;
        let message = match Message::parse(bytes) {
            Ok(message) => message,
            Err(error) => {
                self.refused(peer, None, None, &Refusal::Malformed { owner: None, rule: "the message cannot be read" });
                tracing::debug!("{error}");
                return refuse(bytes, Rcode::FORMERR, buffer);
            }
        };
        let zone = message.question.map(|question| question.name);
        let Some(tsig_at) = message.tsig_at else {
            self.refused(peer, zone, None, &Refusal::Unsigned);
            return reply_with(&message, limits, peer.transport, None, Rcode::REFUSED, buffer, self.clock.now());
        };
        let mut verified = match tsig::verify(&view.keyring, bytes, tsig_at, self.clock.now()) {
            Ok(verified) => verified,
            Err(rejection) => {
                self.metrics.count_refusal(Rcode(rejection.rcode().into()));
                if self.quiet.allows(self.clock.now()) {
                    tracing::warn!(source = %peer.address.ip(), "update refused: {rejection}");
                }
                return reject(&message, limits, peer.transport, &rejection, buffer);
            }
        };
        let key = verified.key().name;
        let outcome = match UpdateMessage::read(&message) {
            Ok(update) => self.submit(peer, update, key).await?,
            Err(refusal) => Err(refusal),
        };
        let rcode = match outcome {
            Ok(applied) => {
                self.metrics.updates_applied.fetch_add(1, Ordering::Relaxed);
                let from = applied.from.map_or("none".to_string(), |serial| serial.to_string());
                tracing::info!(
                    zone = %zone.unwrap_or(Name::root()),
                    key = %format_args!("{key:#}"),
                    source = %peer.address.ip(),
                    serial = %format_args!("{from}->{}", applied.to),
                    added = applied.added,
                    removed = applied.removed,
                    "update applied"
                );
                Rcode::NOERROR
            }
            Err(refusal) => {
                self.refused(peer, zone, Some(key), &refusal);
                refusal.rcode()
            }
        };
        let signer = Some(&mut verified.signer);
        reply_with(&message, limits, peer.transport, signer, rcode, buffer, self.clock.now())
    }

    /// Hands an update to the writer and waits for the outcome. `None` where the queue is full and the sender
    /// will ask again: a datagram is dropped, a stream waits for room.
    async fn submit(
        &self,
        peer: Peer,
        update: UpdateMessage,
        key: Name,
    ) -> Option<Result<super::writer::Applied, Refusal>> {
        let (reply, outcome) = oneshot::channel();
        let request = Request::Update { update, key, source: peer.address.ip(), reply };
        let sent = match peer.transport {
            Transport::Udp => self.queue.try_send(request).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => Full::Busy,
                mpsc::error::TrySendError::Closed(_) => Full::Gone,
            }),
            Transport::Tcp => self.queue.send(request).await.map_err(|_| Full::Gone),
        };
        match sent {
            Ok(()) => Some(outcome.await.unwrap_or(Err(Refusal::Storage))),
            Err(Full::Gone) => Some(Err(Refusal::Storage)),
            Err(Full::Busy) => {
                self.metrics.updates_dropped.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    /// Counts and logs a refused update. What strangers send is logged only so often.
    fn refused(&self, peer: Peer, zone: Option<Name>, key: Option<Name>, refusal: &Refusal) {
        self.metrics.count_refusal(refusal.rcode());
        let zone = zone.map_or("-".to_string(), |zone| zone.to_string());
        match key {
            Some(key) => tracing::warn!(
                %zone, key = %format_args!("{key:#}"), source = %peer.address.ip(), rcode = %refusal.rcode(),
                "update refused: {refusal}"
            ),
            None if self.quiet.allows(self.clock.now()) => {
                tracing::warn!(%zone, source = %peer.address.ip(), rcode = %refusal.rcode(), "update refused: {refusal}");
            }
            None => {}
        }
    }
}

/// Why the writer's queue did not take a request.
enum Full {
    Busy,
    Gone,
}
