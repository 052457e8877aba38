//! The one door for messages: what each is, and the answer if it is a query.

use super::answer::{Outcome, answer};
use super::reply::{Reply, refuse, reject, reply_with, signed};
use super::whoami::whoami;
use super::{Peer, View};
use crate::tsig;
use crate::wire::{Class, Flags, Header, Message, Name, NameRef, Opcode, Owner, Place, Question, Rcode, Rtype, Ttl};

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// So many octets of the buffer are the answer.
    Reply(usize, Reason),
    /// No answer.
    Drop(Reason),
    /// An update, for the writer; its signature is not verified yet.
    Update,
    /// A zone transfer (AXFR or IXFR); its signature is not verified yet.
    Transfer,
}

/// Declares the reasons with the name each has in the metrics.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident $label:literal)*) => {
        /// Why a message was answered as it was, or not at all. Every exit names one; each is counted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// All of them.
            pub const ALL: &[Reason] = &[$(Reason::$name,)*];

            /// The name in metrics.
            pub fn label(self) -> &'static str {
                match self {
                    $(Reason::$name => $label,)*
                }
            }
        }
    };
}

reasons! {
    /// Records were found.
    Answered "answered"
    /// The name is there, the type is not.
    NoData "nodata"
    /// The name is not there.
    NxDomain "nxdomain"
    /// Another zone's servers were named.
    Referral "referral"
    /// The answer was cut to the size of a datagram.
    Truncated "truncated"
    /// The name is in none of the zones.
    OutOfZone "out_of_zone"
    /// A class or name that is not served.
    ClassRefused "class_refused"
    /// An opcode or query type that is not carried out.
    NotImplemented "not_implemented"
    /// The message cannot be read.
    Malformed "malformed"
    /// An EDNS version other than 0.
    BadVersion "bad_version"
    /// The signature was refused.
    TsigRejected "tsig_rejected"
    /// The zone cannot answer: a chain of names without an end, or an answer over 65,535 octets.
    ServerFailure "server_failure"
    /// Shorter than a header.
    Runt "runt"
    /// A response, which is never answered.
    IsResponse "is_response"
    /// Neither the answer nor an error fits the buffer.
    NoRoom "no_room"
}

/// Decides what becomes of one message, and writes the answer if it is a query (RFC 1034 section 4.3).
///
/// `now` is in seconds since 1970. `buffer` should hold 65,535 octets over TCP and the server's UDP limit over
/// UDP, with room for a TSIG record.
pub fn respond(view: &View, peer: Peer, now: u64, bytes: &[u8], buffer: &mut [u8]) -> Verdict {
    let Some(header) = Header::read(bytes) else { return Verdict::Drop(Reason::Runt) };
    if header.flags.has(Flags::QR) {
        return Verdict::Drop(Reason::IsResponse);
    }
    match header.flags.opcode() {
        Opcode::QUERY => {}
        Opcode::UPDATE => return Verdict::Update,
        _ => {
            // What of the message has the form of a query goes back with the code, as Knot does it: question and OPT.
            let len = match Message::parse(bytes) {
                Ok(message) => reply_with(&message, &view.limits, peer.transport, None, Rcode::NOTIMP, buffer, now),
                Err(_) => refuse(bytes, Rcode::NOTIMP, buffer),
            };
            return len.map_or(Verdict::Drop(Reason::NoRoom), |len| Verdict::Reply(len, Reason::NotImplemented));
        }
    }
    let message = match Message::parse(bytes) {
        Ok(message) => message,
        Err(_) => {
            return match refuse(bytes, Rcode::FORMERR, buffer) {
                Some(len) => Verdict::Reply(len, Reason::Malformed),
                None => Verdict::Drop(Reason::NoRoom),
            };
        }
    };
    let question = message.question.filter(|_| header.counts[0] == 1);
    if question.is_some_and(|question| matches!(question.rtype, Rtype::AXFR | Rtype::IXFR)) {
        return Verdict::Transfer;
    }
    let mut signer = None;
    if let Some(tsig_at) = message.tsig_at {
        match tsig::verify(&view.keyring, bytes, tsig_at, now) {
            Ok(verified) => signer = Some(verified.signer),
            Err(rejection) => {
                return match reject(&message, &view.limits, peer.transport, &rejection, buffer) {
                    Some(len) => Verdict::Reply(len, Reason::TsigRejected),
                    None => Verdict::Drop(Reason::NoRoom),
                };
            }
        }
    }
    let signature = signer.as_ref().map_or(0, |signer| signer.reserve());
    let Ok(mut reply) = Reply::new(&message, &view.limits, peer.transport, signature, buffer) else {
        return Verdict::Drop(Reason::NoRoom);
    };
    let reason = fill(view, peer, &message, question.as_ref(), &mut reply);
    let len = reply.finish();
    match signed(signer.as_mut(), buffer, len, now) {
        Some(len) => Verdict::Reply(len, reason),
        None => Verdict::Drop(Reason::NoRoom),
    }
}

/// Prepares the answers to these messages, of which those are worth it that come together: what `respond` is going to look
/// up is read into the processor's caches ([`ZoneSet::prepare`](crate::zone::ZoneSet::prepare)).
pub fn prepare<'m>(view: &View, messages: impl Iterator<Item = &'m [u8]>) {
    let names = messages.filter_map(|bytes| NameRef::read(bytes, Header::LEN).ok());
    view.zones.prepare(names.map(|(name, _)| name));
}

/// Fills a reply whose question, if the query has exactly one, stands.
fn fill(
    view: &View,
    peer: Peer,
    message: &Message<'_>,
    question: Option<&Question<NameRef<'_>>>,
    reply: &mut Reply<'_>,
) -> Reason {
    let mut stop = |rcode, reason| {
        reply.set_rcode(rcode);
        reason
    };
    // RFC 9619 section 4: a query has exactly one question.
    let Some(question) = question else { return stop(Rcode::FORMERR, Reason::Malformed) };
    // A query has no answer or authority records; what RFC 1035 gives them no meaning for, we do not read.
    if message.header.counts[1] != 0 || message.header.counts[2] != 0 {
        return stop(Rcode::FORMERR, Reason::Malformed);
    }
    if message.is_of_unknown_edns() {
        return stop(Rcode::BADVERS, Reason::BadVersion);
    }
    match question.rtype {
        // Records of the message itself are no questions, nor is the mark of a name that does not exist (RFC 9824).
        Rtype::OPT | Rtype::TSIG | Rtype::NXNAME | Rtype(0) => return stop(Rcode::FORMERR, Reason::Malformed),
        Rtype::MAILA | Rtype::MAILB | Rtype::TKEY => return stop(Rcode::NOTIMP, Reason::NotImplemented),
        _ => {}
    }
    match question.class {
        // RFC 1035 section 3.2.5: class ANY asks for every class; IN is the one there is.
        Class::IN | Class::ANY => {}
        Class::CH => return chaos(view, question, reply),
        _ => return stop(Rcode::REFUSED, Reason::ClassRefused),
    }
    if view.limits.whoami.as_ref().is_some_and(|name| question.name == name.as_name_ref()) {
        let reason = whoami(peer.address.ip(), question.rtype, reply);
        if question.class == Class::IN {
            reply.composer.set(Flags::AA);
        }
        return reason;
    }
    let Outcome { rcode, reason, authoritative } = answer(&view.zones, question, peer.transport, &mut reply.composer);
    reply.set_rcode(rcode);
    // RFC 1034 section 4.3.2: an answer to class ANY cannot be known to be all there is.
    if authoritative && question.class == Class::IN {
        reply.composer.set(Flags::AA);
    }
    reason
}

/// `version.bind` and `version.server` (RFC 4892 section 2.2), only where the operator gave a text.
fn chaos(view: &View, question: &Question<NameRef<'_>>, reply: &mut Reply<'_>) -> Reason {
    let asked = |text| Name::parse(text).is_ok_and(|name| question.name == name);
    let version = view.limits.version.as_deref().filter(|_| asked("version.bind") || asked("version.server"));
    let Some(version) = version else {
        reply.set_rcode(Rcode::REFUSED);
        return Reason::ClassRefused;
    };
    reply.composer.set(Flags::AA);
    if !matches!(question.rtype, Rtype::TXT | Rtype::ANY) {
        return Reason::NoData;
    }
    let (rdata, len) = txt(version.as_bytes());
    let rdata = rdata.get(..len).unwrap_or_default();
    match reply.composer.record(Place::Answer, Owner::Asked(0), Rtype::TXT, Class::CH, Ttl::new(0), rdata) {
        Ok(()) => Reason::Answered,
        Err(_) => {
            reply.composer.set(Flags::TC);
            Reason::Truncated
        }
    }
}

/// The data of a TXT record of one string, of which 255 octets have room, and how long it is.
pub(super) fn txt(text: &[u8]) -> ([u8; 256], usize) {
    let text = text.get(..text.len().min(255)).unwrap_or_default();
    let mut rdata = [0; 256];
    if let (Some((length, rest)), Ok(size)) = (rdata.split_first_mut(), u8::try_from(text.len())) {
        *length = size;
        if let Some(room) = rest.get_mut(..text.len()) {
            room.copy_from_slice(text);
        }
    }
    (rdata, text.len() + 1)
}
