//! Replies: header, question, OPT and TSIG around whatever an answer puts between them.

use super::{Limits, Transport};
use crate::tsig::{Rejection, Signer};
use crate::wire::{Composer, Edns, Full, Message, Rcode};

/// A reply under way to one request.
///
/// Room for OPT and TSIG is kept from the start, so both fit whatever comes between, and a truncated reply
/// is signed too (RFC 8945 section 5.3.2).
#[derive(Debug)]
pub struct Reply<'b> {
    /// The message so far.
    pub composer: Composer<'b>,
    edns: Option<Edns>,
    reserved: usize,
}

impl<'b> Reply<'b> {
    /// A reply with the question echoed and, where the request has EDNS, an OPT record to come.
    pub fn new(
        message: &Message<'_>,
        limits: &Limits,
        transport: Transport,
        signature: usize,
        buffer: &'b mut [u8],
    ) -> Result<Reply<'b>, Full> {
        let limit = match (transport, message.edns) {
            (Transport::Tcp, _) => usize::from(u16::MAX),
            // RFC 6891 section 6.2.3: values below 512 count as 512.
            (Transport::Udp, Some(edns)) => usize::from(edns.udp_size.min(limits.udp_size).max(512)),
            (Transport::Udp, None) => 512,
        };
        let flags = message.header.flags.reply(Rcode::NOERROR);
        let mut composer = Composer::new(buffer, limit, message.header.id, flags)?;
        let edns = message.edns.map(|theirs| theirs.reply(limits.udp_size));
        let reserved = signature + if edns.is_some() { Edns::LEN } else { 0 };
        composer.reserve(reserved);
        // Of several questions none is answered, and none is repeated.
        if let Some(question) = message.question.as_ref().filter(|_| message.header.counts[0] == 1) {
            composer.question(question)?;
        }
        Ok(Reply { composer, edns, reserved })
    }

    /// Sets the response code; its upper bits go into the OPT record (RFC 6891 section 6.1.3).
    pub fn set_rcode(&mut self, rcode: Rcode) {
        self.composer.set_rcode(rcode);
        if let Some(edns) = &mut self.edns {
            edns.extended_rcode = rcode.0.to_be_bytes()[0] << 4 | rcode.0.to_be_bytes()[1] >> 4;
        }
    }

    /// Writes the OPT record and the header; returns the length. A TSIG can follow.
    pub fn finish(mut self) -> usize {
        self.composer.release(self.reserved);
        if let Some(edns) = self.edns {
            // There is room: it was reserved.
            let _ = self.composer.edns(edns);
        }
        self.composer.finish()
    }
}

/// Signs a finished reply of `len` octets, where the request was signed; returns the length.
pub(super) fn signed(signer: Option<&mut Signer>, buffer: &mut [u8], len: usize, now: u64) -> Option<usize> {
    match signer {
        Some(signer) => signer.sign(buffer, len, now).ok(),
        None => Some(len),
    }
}

/// The reply to a request whose signature was refused (RFC 8945 section 5.2): its code, and the TSIG record
/// that says why. `None` where the buffer is too small.
pub fn reject(
    message: &Message<'_>,
    limits: &Limits,
    transport: Transport,
    rejection: &Rejection,
    buffer: &mut [u8],
) -> Option<usize> {
    let mut reply = Reply::new(message, limits, transport, rejection.reserve(), buffer).ok()?;
    reply.set_rcode(Rcode(rejection.rcode().into()));
    let len = reply.finish();
    rejection.append(buffer, len).ok()
}

/// A reply without records: the code and the question, which in an update is the zone section (RFC 2136
/// section 3.8), signed where the request was. `None` where the buffer is too small.
pub fn reply_with(
    message: &Message<'_>,
    limits: &Limits,
    transport: Transport,
    signer: Option<&mut Signer>,
    rcode: Rcode,
    buffer: &mut [u8],
    now: u64,
) -> Option<usize> {
    let signature = signer.as_ref().map_or(0, |signer| signer.reserve());
    let mut reply = Reply::new(message, limits, transport, signature, buffer).ok()?;
    reply.set_rcode(rcode);
    let len = reply.finish();
    signed(signer, buffer, len, now)
}

/// A reply of a header alone, to what could not be read any further; `None` where not even that is due.
pub fn refuse(bytes: &[u8], rcode: Rcode, buffer: &mut [u8]) -> Option<usize> {
    let header = crate::wire::Header::read(bytes)?;
    let flags = header.flags.reply(rcode);
    Composer::new(buffer, usize::from(u16::MAX), header.id, flags).ok().map(Composer::finish)
}
