//! The client's side: signing requests and verifying what comes back.

use super::TsigKey;
use super::mac::{Hasher, Mac};
use super::record::{self, Coverage, NOERROR, Received, Seal, SignError, Stamp};
use super::verify::MAC_LENGTH;
use std::fmt;

/// Signs the request in `buf[..len]`, which is to arrive within `fudge` seconds of `now`; returns its new length
/// and its MAC, which its responses are verified with.
///
/// A truncated MAC goes out under the name of the whole hash, which is all that BIND understands.
pub fn sign_request(
    key: &TsigKey,
    buf: &mut [u8],
    len: usize,
    now: u64,
    fudge: u16,
) -> Result<(usize, Mac), SignError> {
    let seal = Seal {
        key,
        named: key.algorithm.hash(),
        mac_len: key.algorithm.mac_len(),
        prior: None,
        coverage: Coverage::Variables,
        stamp: Stamp::new(now, fudge),
        error: NOERROR,
        other: &[],
    };
    seal.append(buf, len)
}

/// Verifies the one response to the request whose MAC is `request`; the TSIG record starts at `tsig_at`.
pub fn verify_response(
    key: &TsigKey,
    request: &Mac,
    message: &[u8],
    tsig_at: usize,
    now: u64,
) -> Result<(), ResponseError> {
    ResponseVerifier::new(key, request).signed(message, tsig_at, now)
}

/// Verifies the messages of a transfer in their order, some of which may come unsigned (RFC 8945 section 5.3.1).
pub struct ResponseVerifier<'k> {
    key: &'k TsigKey,
    /// Holds the MAC before, and the unsigned messages since.
    hasher: Hasher,
    coverage: Coverage,
    unsigned: u8,
}

/// Why a response is not to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseError {
    /// The TSIG record is malformed, in this way.
    FormErr(&'static str),
    /// Signed with another key or algorithm than the request.
    OtherKey,
    /// The MAC is wrong.
    BadSig,
    /// The MAC is shorter than the key allows.
    BadTrunc,
    /// Signed too long ago, or in the future.
    BadTime {
        /// When the server signed, in seconds since 1970.
        signed: u64,
        /// Our time, in seconds since 1970.
        now: u64,
    },
    /// The first or last message, or over 99 in a row, came without a signature.
    Unsigned,
    /// The server says that it refuses our key (BADKEY). It cannot sign this, so it may be a lie.
    KeyRefused,
    /// The server says that our MAC is wrong (BADSIG). It cannot sign this, so it may be a lie.
    MacRefused,
    /// The server says, signed, that our clock is off (BADTIME).
    TimeRefused {
        /// The server's time in seconds since 1970, where it gives it.
        server: Option<u64>,
    },
    /// The server says, signed, that our MAC is too short (BADTRUNC).
    TruncationRefused,
}

impl<'k> ResponseVerifier<'k> {
    /// RFC 8945 section 5.3.1: how many messages in a row may come unsigned.
    const UNSIGNED_MAX: u8 = 99;

    /// For the responses to the request whose MAC is `request`.
    pub fn new(key: &'k TsigKey, request: &Mac) -> ResponseVerifier<'k> {
        ResponseVerifier { key, hasher: after(key, request), coverage: Coverage::Variables, unsigned: 0 }
    }

    /// Takes the next message, whose TSIG record starts at `tsig_at`. With it, the unsigned ones before it hold.
    pub fn signed(&mut self, message: &[u8], tsig_at: usize, now: u64) -> Result<(), ResponseError> {
        let tsig = Received::read(message, tsig_at).map_err(ResponseError::FormErr)?;
        match tsig.error {
            record::BADKEY if tsig.mac.is_empty() => return Err(ResponseError::KeyRefused),
            record::BADSIG if tsig.mac.is_empty() => return Err(ResponseError::MacRefused),
            _ => (),
        }
        let named = tsig.served_by(self.key).filter(|_| tsig.owner == self.key.name).ok_or(ResponseError::OtherKey)?;
        if !tsig.has_mac_of(named) {
            return Err(ResponseError::FormErr(MAC_LENGTH));
        }
        let mut hasher = self.hasher.clone();
        tsig.hash_message(&mut hasher, message, tsig_at);
        tsig.hash_self(&mut hasher, self.key, named, self.coverage);
        if !hasher.finish().begins_with(tsig.mac) {
            return Err(ResponseError::BadSig);
        }
        // A BADTIME answer carries our own time, so it is told apart before the times are compared.
        match tsig.error {
            record::BADTIME => return Err(ResponseError::TimeRefused { server: record::time_of(tsig.other) }),
            record::BADTRUNC => return Err(ResponseError::TruncationRefused),
            _ => (),
        }
        if !tsig.stamp.allows(now) {
            return Err(ResponseError::BadTime { signed: tsig.stamp.signed, now });
        }
        if tsig.mac.len() < self.key.algorithm.mac_len() {
            return Err(ResponseError::BadTrunc);
        }
        self.hasher = after(self.key, &Mac::new(tsig.mac));
        self.coverage = Coverage::Timers;
        self.unsigned = 0;
        Ok(())
    }

    /// Takes the next message, which has no TSIG record. It is not to be believed before a signed one follows.
    pub fn unsigned(&mut self, message: &[u8]) -> Result<(), ResponseError> {
        if self.coverage == Coverage::Variables || self.unsigned == Self::UNSIGNED_MAX {
            return Err(ResponseError::Unsigned);
        }
        self.unsigned += 1;
        self.hasher.update(message);
        Ok(())
    }

    /// After the last message: whether it was signed.
    pub fn finish(self) -> Result<(), ResponseError> {
        if self.coverage == Coverage::Timers && self.unsigned == 0 { Ok(()) } else { Err(ResponseError::Unsigned) }
    }
}

/// The hash that covers a MAC and continues with the message after it.
fn after(key: &TsigKey, mac: &Mac) -> Hasher {
    let mut hasher = Hasher::new(key.algorithm, &key.secret);
    hasher.update_mac(mac);
    hasher
}

impl fmt::Debug for ResponseVerifier<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseVerifier").field("key", self.key).field("unsigned", &self.unsigned).finish()
    }
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResponseError::FormErr(fault) => write!(f, "the response's TSIG record is malformed: {fault}"),
            ResponseError::OtherKey => f.write_str("the response is signed with another key than the request"),
            ResponseError::BadSig => {
                f.write_str("the response's MAC is wrong; compare the secrets of server and client")
            }
            ResponseError::BadTrunc => f.write_str("the response's MAC is shorter than the key allows"),
            ResponseError::BadTime { signed, now } => write!(
                f,
                "the response was signed {} s away from our time; check the clocks of server and client",
                now.abs_diff(*signed)
            ),
            ResponseError::Unsigned => f.write_str("the response is not signed, or not to its end"),
            ResponseError::KeyRefused => {
                f.write_str("the server refuses the key (BADKEY); compare the key's name and algorithm on both sides")
            }
            ResponseError::MacRefused => {
                f.write_str("the server refuses the MAC (BADSIG); compare the secrets of server and client")
            }
            ResponseError::TimeRefused { server: Some(time) } => {
                write!(f, "the server refuses the time (BADTIME), its own is {time} s since 1970; set our clock")
            }
            ResponseError::TimeRefused { server: None } => {
                f.write_str("the server refuses the time (BADTIME); set our clock")
            }
            ResponseError::TruncationRefused => {
                f.write_str("the server wants a longer MAC (BADTRUNC); use the algorithm without its -128 or the like")
            }
        }
    }
}

impl std::error::Error for ResponseError {}

#[cfg(test)]
mod tests {
    use super::super::verify::verify;
    use super::super::{Keyring, Signer};
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const QUERY: &[u8] = b"\x12\x34\x01\x20\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x01\0\x01";
    const REPLY: &[u8] = b"\x12\x34\x81\x20\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x01\0\x01";

    /// A request's MAC, and what signs its replies.
    fn exchange(key: &TsigKey) -> (Mac, Signer) {
        let mut buf = [0; 512];
        buf[..QUERY.len()].copy_from_slice(QUERY);
        let (len, mac) = sign_request(key, &mut buf, QUERY.len(), NOW, 300).unwrap();
        let keyring: Keyring = [key.clone()].into_iter().collect();
        (mac, verify(&keyring, &buf[..len], QUERY.len(), NOW).unwrap().signer)
    }

    fn reply(signer: &mut Signer, now: u64) -> Vec<u8> {
        let mut buf = vec![0; REPLY.len() + signer.reserve()];
        buf[..REPLY.len()].copy_from_slice(REPLY);
        assert_eq!(signer.sign(&mut buf, REPLY.len(), now), Ok(REPLY.len() + signer.reserve()));
        buf
    }

    #[test]
    fn a_reply_is_verified_with_every_algorithm() {
        for algorithm in super::super::Algorithm::all() {
            let key = TsigKey::parse(&format!("{algorithm}:laptop:c2VjcmV0")).unwrap();
            let (mac, mut signer) = exchange(&key);
            let reply = reply(&mut signer, NOW);
            assert_eq!(verify_response(&key, &mac, &reply, REPLY.len(), NOW + 300), Ok(()), "{algorithm}");
            let late = Err(ResponseError::BadTime { signed: NOW, now: NOW + 301 });
            assert_eq!(verify_response(&key, &mac, &reply, REPLY.len(), NOW + 301), late);
        }
    }

    #[test]
    fn a_reply_to_another_request_or_of_another_key_is_not_believed() {
        let key = TsigKey::parse("laptop:c2VjcmV0").unwrap();
        let (mac, mut signer) = exchange(&key);
        let reply = reply(&mut signer, NOW);
        let other = Mac::new(&[7; 32]);
        assert_eq!(verify_response(&key, &other, &reply, REPLY.len(), NOW), Err(ResponseError::BadSig));
        for text in ["router:c2VjcmV0", "hmac-sha1:laptop:c2VjcmV0"] {
            let other = TsigKey::parse(text).unwrap();
            assert_eq!(verify_response(&other, &mac, &reply, REPLY.len(), NOW), Err(ResponseError::OtherKey));
        }
        let mut changed = reply.clone();
        changed[3] ^= 5;
        assert_eq!(verify_response(&key, &mac, &changed, REPLY.len(), NOW), Err(ResponseError::BadSig));
    }

    #[test]
    fn a_transfer_is_verified_in_its_order_only() {
        let key = TsigKey::parse("laptop:c2VjcmV0").unwrap();
        let (mac, mut signer) = exchange(&key);
        let messages = [reply(&mut signer, NOW), reply(&mut signer, NOW + 1), reply(&mut signer, NOW + 2)];
        let mut verifier = ResponseVerifier::new(&key, &mac);
        for message in &messages {
            assert_eq!(verifier.signed(message, REPLY.len(), NOW + 2), Ok(()));
        }
        assert_eq!(verifier.finish(), Ok(()));

        let mut verifier = ResponseVerifier::new(&key, &mac);
        assert_eq!(verifier.signed(&messages[1], REPLY.len(), NOW), Err(ResponseError::BadSig));
        assert_eq!(verifier.signed(&messages[0], REPLY.len(), NOW), Ok(()));
        assert_eq!(verifier.signed(&messages[2], REPLY.len(), NOW), Err(ResponseError::BadSig));
        assert_eq!(verifier.signed(&messages[0], REPLY.len(), NOW), Err(ResponseError::BadSig));
    }

    /// What a server sends that signs only some messages: `unsigned` ones, then one that covers them all.
    fn after_unsigned(key: &TsigKey, first: &[u8], unsigned: usize) -> Vec<u8> {
        let tsig = Received::read(first, REPLY.len()).unwrap();
        let mut hasher = after(key, &Mac::new(tsig.mac));
        for _ in 0..=unsigned {
            hasher.update(REPLY);
        }
        // The timers, as they stand in the record.
        hasher.update(&record::time(NOW));
        hasher.update(&300u16.to_be_bytes());
        let mac = hasher.finish();
        let record = record::Record {
            owner: key.name.as_bytes(),
            algorithm: key.algorithm.wire_name(),
            stamp: Stamp::new(NOW, 300),
            mac: mac.as_bytes(),
            error: 0,
            other: &[],
        };
        let mut buf = vec![0; 512];
        buf[..REPLY.len()].copy_from_slice(REPLY);
        let len = record.append(&mut buf, REPLY.len()).unwrap();
        buf.truncate(len);
        buf
    }

    #[test]
    fn up_to_99_messages_of_a_transfer_may_come_unsigned() {
        let key = TsigKey::parse("laptop:c2VjcmV0").unwrap();
        let (mac, mut signer) = exchange(&key);
        let first = reply(&mut signer, NOW);
        let last = after_unsigned(&key, &first, 99);

        let mut verifier = ResponseVerifier::new(&key, &mac);
        assert_eq!(verifier.unsigned(REPLY), Err(ResponseError::Unsigned), "the first");
        verifier.signed(&first, REPLY.len(), NOW).unwrap();
        for _ in 0..99 {
            assert_eq!(verifier.unsigned(REPLY), Ok(()));
        }
        assert_eq!(verifier.unsigned(REPLY), Err(ResponseError::Unsigned), "the 100th in a row");
        assert_eq!(verifier.signed(&last, REPLY.len(), NOW), Ok(()));
        assert_eq!(verifier.unsigned(REPLY), Ok(()), "the count starts again");
        assert_eq!(verifier.finish(), Err(ResponseError::Unsigned), "the last");

        let mut verifier = ResponseVerifier::new(&key, &mac);
        verifier.signed(&first, REPLY.len(), NOW).unwrap();
        for _ in 0..98 {
            verifier.unsigned(REPLY).unwrap();
        }
        let mut changed = REPLY.to_vec();
        changed[3] ^= 1;
        verifier.unsigned(&changed).unwrap();
        assert_eq!(verifier.signed(&last, REPLY.len(), NOW), Err(ResponseError::BadSig));
    }

    #[test]
    fn no_room_leaves_the_message_as_it_was() {
        let key = TsigKey::parse("laptop:c2VjcmV0").unwrap();
        let (_, mut signer) = exchange(&key);
        let mut buf = vec![0; REPLY.len() + signer.reserve() - 1];
        buf[..REPLY.len()].copy_from_slice(REPLY);
        assert_eq!(signer.sign(&mut buf, REPLY.len(), NOW), Err(SignError::NoRoom));
        assert_eq!(&buf[..REPLY.len()], REPLY);
        assert_eq!(signer.sign(&mut buf, 11, NOW), Err(SignError::NoMessage));
        assert_eq!(signer.sign(&mut buf, 9999, NOW), Err(SignError::NoMessage));
        buf[10..12].fill(0xff);
        assert_eq!(signer.sign(&mut buf, REPLY.len(), NOW), Err(SignError::NoMessage));
    }
}
