//! From a message to its answer, whatever socket it came by.

use super::publish::Published;
use super::quiet::Quiet;
use super::writer::{Applied, Entrance, Queue, Request};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::query::{Limits, Peer, Reason, Verdict, View, refuse, reject, reply_with, respond};
use crate::transfer::{Axfr, Piece};
use crate::tsig::{self, Signer};
use crate::update::{Refusal, UpdateMessage};
use crate::wire::{Class, Edns, Message, Name, Rcode, Rtype};
use crate::zone::Zone;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;

/// What every listener needs to answer a message.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) published: Arc<Published>,
    pub(crate) queue: Queue,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) quiet: Quiet,
    /// Of queries: however many are refused, those lines of updates and transfers are not the fewer for it.
    pub(crate) quiet_queries: Quiet,
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

/// An update that is for the writer.
pub(crate) struct Admitted {
    pub(crate) update: UpdateMessage,
    /// The name of the key it is signed with.
    pub(crate) key: Name,
    pub(crate) signer: Signer,
}

/// A transfer that may go on.
pub(crate) struct Granted {
    pub(crate) zone: Arc<Zone>,
    /// What the first message is to say of EDNS.
    pub(crate) edns: Option<Edns>,
    pub(crate) signer: Option<Signer>,
}

/// How much the answer to a transfer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    OneMessage,
    Stream,
}

/// The largest message (RFC 1035 section 4.2.2).
pub(crate) const MESSAGE: usize = 65_535;

impl Exchange {
    /// Answers a query at once; says what else the message is.
    pub(crate) fn begin(&self, view: &View, peer: Peer, bytes: &[u8], buffer: &mut [u8]) -> Step {
        match respond(view, peer, self.clock.now(), bytes, buffer) {
            Verdict::Reply(len, reason) => {
                self.metrics.count(reason);
                self.tell(reason, view, peer, bytes);
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

    /// Says in the log why a query's signature was rejected: `dyndns update` signs its first question, and its operator
    /// needs the reason as for an update.
    pub(crate) fn tell(&self, reason: Reason, view: &View, peer: Peer, bytes: &[u8]) {
        if reason != Reason::TsigRejected {
            return;
        }
        let now = self.clock.now();
        if !self.quiet_queries.allows(now) {
            return;
        }
        let Ok(message) = Message::parse(bytes) else { return };
        let rejection = message.tsig_at.and_then(|at| tsig::verify(&view.keyring, bytes, at, now).err());
        if let Some((question, rejection)) = message.question.zip(rejection) {
            tracing::warn!(name = %question.name, source = %peer.address.ip(), "query refused: {rejection}");
        }
    }

    /// Decides on a transfer by a stream. `Err` holds the length of the refusal, where there is one.
    pub(crate) fn transfer(&self, peer: Peer, bytes: &[u8], buffer: &mut [u8]) -> Result<Granted, Option<usize>> {
        self.grant(peer, Answer::Stream, bytes, buffer)
    }

    /// Answers a request for a transfer where one message has to do: an IXFR by the newest SOA alone, which tells the
    /// asker whether to come again over TCP (RFC 1995 section 2), an AXFR not at all (RFC 5936 section 4.2).
    pub(crate) fn transfer_in_one(&self, peer: Peer, bytes: &[u8], buffer: &mut [u8]) -> Option<usize> {
        match self.grant(peer, Answer::OneMessage, bytes, buffer) {
            Ok(Granted { zone, edns, signer }) => {
                match Axfr::newest(&zone, Message::parse(bytes).ok()?, edns, signer).next(buffer, self.clock.now()) {
                    Piece::Message(len) => Some(len),
                    Piece::Done | Piece::Stuck => None,
                }
            }
            Err(refusal) => refusal,
        }
    }

    /// A zone is given to whoever may change something in it, by a signed request.
    fn grant(&self, peer: Peer, answer: Answer, bytes: &[u8], buffer: &mut [u8]) -> Result<Granted, Option<usize>> {
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
        let edns = message.edns.map(|theirs| theirs.reply(view.limits.udp_size));
        let zone = view.zones.zone(question.name).filter(|_| question.class == Class::IN);
        let mut rcode = Rcode::REFUSED;
        let reason = match (zone, key) {
            _ if message.is_of_unknown_edns() => {
                rcode = Rcode::BADVERS;
                "its version of EDNS is not known here"
            }
            _ if answer == Answer::OneMessage && question.rtype == Rtype::AXFR => "whole zones go over TCP or TLS only",
            (None, _) => {
                rcode = Rcode::NOTAUTH;
                "the zone is not served here"
            }
            (_, None) => "the request is not signed; sign it with a key that may change something in the zone",
            (Some(zone), Some(key)) if self.published.rights().policy(zone.apex()).knows(&key) => {
                tracing::info!(zone = %zone.apex(), key = %format_args!("{key:#}"), source = %peer.address.ip(), "transfer granted");
                return Ok(Granted { zone: Arc::clone(zone), edns, signer: verified.map(|verified| verified.signer) });
            }
            (Some(_), Some(_)) => "the key may change nothing in the zone",
        };
        if key.is_some() || self.quiet.allows(now) {
            let key = key.map_or("-".to_string(), |key| format!("{key:#}"));
            tracing::warn!(zone = %question.name, %key, source = %peer.address.ip(), "transfer refused: {reason}");
        }
        let signer = verified.as_mut().map(|verified| &mut verified.signer);
        Err(reply_with(&message, &view.limits, peer.transport, signer, rcode, buffer, now))
    }

    /// Verifies an update's signature and reads it. `Err` holds the length of the refusal in `buffer`, where there is
    /// one.
    pub(crate) fn admit(&self, peer: Peer, bytes: &[u8], buffer: &mut [u8]) -> Result<Admitted, Option<usize>> {
        let view = self.published.view();
        let limits: &Limits = &view.limits;
        let now = self.clock.now();
        let message = match Message::parse(bytes) {
            Ok(message) => message,
            Err(error) => {
                self.refused(peer, None, None, &Refusal::Malformed { owner: None, rule: "the message cannot be read" });
                tracing::debug!("{error}");
                return Err(refuse(bytes, Rcode::FORMERR, buffer));
            }
        };
        let zone = message.question.map(|question| question.name.to_name());
        let Some(tsig_at) = message.tsig_at else {
            self.refused(peer, zone, None, &Refusal::Unsigned);
            return Err(reply_with(&message, limits, peer.transport, None, Rcode::REFUSED, buffer, now));
        };
        let mut verified = match tsig::verify(&view.keyring, bytes, tsig_at, now) {
            Ok(verified) => verified,
            Err(rejection) => {
                self.metrics.count_refusal(Rcode(rejection.rcode().into()));
                if self.quiet.allows(now) {
                    tracing::warn!(source = %peer.address.ip(), "update refused: {rejection}");
                }
                return Err(reject(&message, limits, peer.transport, &rejection, buffer));
            }
        };
        let key = verified.key().name;
        if message.is_of_unknown_edns() {
            self.metrics.count_refusal(Rcode::BADVERS);
            tracing::warn!(
                key = %format_args!("{key:#}"), source = %peer.address.ip(), rcode = %Rcode::BADVERS,
                "update refused: its version of EDNS is not known here"
            );
            let signer = Some(&mut verified.signer);
            return Err(reply_with(&message, limits, peer.transport, signer, Rcode::BADVERS, buffer, now));
        }
        match UpdateMessage::read(&message) {
            Ok(update) => Ok(Admitted { update, key, signer: verified.signer }),
            Err(refusal) => {
                self.refused(peer, zone, Some(key), &refusal);
                let signer = Some(&mut verified.signer);
                Err(reply_with(&message, limits, peer.transport, signer, refusal.rcode(), buffer, now))
            }
        }
    }

    /// Counts and logs what became of an update, and writes the signed answer to `buffer`.
    pub(crate) fn conclude(
        &self,
        peer: Peer,
        bytes: &[u8],
        mut signer: Signer,
        outcome: &Result<Applied, Refusal>,
        buffer: &mut [u8],
    ) -> Option<usize> {
        let message = Message::parse(bytes).ok()?;
        let zone = message.question.map(|question| question.name.to_name());
        let key = signer.key().name;
        let rcode = match outcome {
            Ok(applied) => {
                self.metrics.updates_applied.fetch_add(1, Ordering::Relaxed);
                let from = applied.from.map_or("none".to_string(), |serial| serial.to_string());
                // RFC 2136 section 3.4.2.2 has it ignored in silence, and its sender hears NOERROR.
                let what = match applied.from == Some(applied.to) {
                    true => "update changed nothing: it is so already, or would stand beside a CNAME",
                    false => "update applied",
                };
                tracing::info!(
                    zone = %zone.unwrap_or(Name::root()),
                    key = %format_args!("{key:#}"),
                    source = %peer.address.ip(),
                    serial = %format_args!("{from}->{}", applied.to),
                    added = applied.added,
                    removed = applied.removed,
                    "{what}"
                );
                Rcode::NOERROR
            }
            Err(refusal) => {
                self.refused(peer, zone, Some(key), refusal);
                refusal.rcode()
            }
        };
        let view = self.published.view();
        reply_with(&message, &view.limits, peer.transport, Some(&mut signer), rcode, buffer, self.clock.now())
    }

    /// Carries out an update that came by a stream, which waits for room in the queue, and writes the answer to
    /// `buffer`; `None` where there is to be none.
    pub(crate) async fn update(&self, peer: Peer, bytes: &[u8], buffer: &mut [u8]) -> Option<usize> {
        let Admitted { update, key, signer } = match self.admit(peer, bytes, buffer) {
            Ok(admitted) => admitted,
            Err(answer) => return answer,
        };
        let (told, outcome) = oneshot::channel();
        // One who no longer waits asks again.
        let reply = Box::new(move |outcome| drop(told.send(outcome)));
        let request = Request::Update { update, key, entrance: Entrance::Dns, source: peer.address.ip(), reply };
        let outcome = match self.queue.send(request).await {
            Ok(()) => outcome.await.unwrap_or(Err(Refusal::Storage)),
            Err(_) => Err(Refusal::Storage),
        };
        self.conclude(peer, bytes, signer, &outcome, buffer)
    }

    /// Counts and logs a refused update. What strangers send is logged only so often; and where the disk fails, the log
    /// may be on that disk.
    fn refused(&self, peer: Peer, zone: Option<Name>, key: Option<Name>, refusal: &Refusal) {
        self.metrics.count_refusal(refusal.rcode());
        let bounded = key.is_none() || matches!(refusal, Refusal::Storage);
        if bounded && !self.quiet.allows(self.clock.now()) {
            return;
        }
        let zone = zone.map_or("-".to_string(), |zone| zone.to_string());
        match key {
            Some(key) => tracing::warn!(
                %zone, key = %format_args!("{key:#}"), source = %peer.address.ip(), rcode = %refusal.rcode(),
                "update refused: {refusal}"
            ),
            None => {
                tracing::warn!(%zone, source = %peer.address.ip(), rcode = %refusal.rcode(), "update refused: {refusal}");
            }
        }
    }
}
