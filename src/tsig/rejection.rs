//! Requests whose signature does not hold: what the operator reads, and what the client is answered.

use super::mac::Mac;
use super::record::{self, Coverage, Record, Seal, SignError, Stamp, record_len};
use super::sign::{FUDGE, reply_mac_len};
use super::{Algorithm, TsigKey};
use crate::wire::Name;
use std::fmt;
use std::sync::Arc;

/// Why a request's signature does not hold, and how it is answered. Shown, it is a line for the operator.
#[derive(Debug)]
pub struct Rejection {
    /// What is wrong.
    pub kind: RejectionKind,
    answer: Option<Box<Answer>>,
}

/// What is wrong with a request's signature. The checks come in this order (RFC 8945 section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectionKind {
    /// The TSIG record is malformed, in this way.
    FormErr(&'static str),
    /// No key of this name, or one that does not serve the request's algorithm.
    BadKey {
        /// The algorithm that the key of this name serves; `None` where there is no such key.
        declared: Option<Algorithm>,
        /// The algorithm that the request names; `None` for one that we do not know.
        used: Option<Algorithm>,
    },
    /// The MAC is wrong: another secret, or a message changed on its way.
    BadSig,
    /// Signed too long ago, or in the future.
    BadTime {
        /// When the client signed, in seconds since 1970.
        signed: u64,
        /// The server's time, in seconds since 1970.
        now: u64,
        /// How many seconds the client allows between them.
        fudge: u16,
    },
    /// The MAC is right but shorter than the key allows.
    BadTrunc {
        /// Octets received.
        received: usize,
        /// Octets that the key needs.
        required: usize,
    },
}

/// The names and times that the TSIG record of a rejection repeats, and what signs it.
#[derive(Debug)]
struct Answer {
    owner: Name,
    algorithm: Name,
    now: u64,
    signing: Option<Signing>,
}

/// BADTIME and BADTRUNC come after the MAC was found right, so their answers are signed (RFC 8945 section 5.3.2).
#[derive(Debug)]
pub(super) struct Signing {
    pub(super) key: Arc<TsigKey>,
    pub(super) named: Algorithm,
    pub(super) request: Mac,
}

impl RejectionKind {
    /// A rejection whose answer has no TSIG record.
    pub(super) fn bare(self) -> Rejection {
        Rejection { kind: self, answer: None }
    }

    /// A rejection whose answer has a TSIG record: with the request's names, signed where there is a `signing`.
    pub(super) fn answered(self, owner: Name, algorithm: Name, now: u64, signing: Option<Signing>) -> Rejection {
        Rejection { kind: self, answer: Some(Box::new(Answer { owner, algorithm, now, signing })) }
    }

    /// The value of the reply's RCODE: FORMERR, or NOTAUTH with more in the TSIG record.
    pub fn rcode(&self) -> u8 {
        match self {
            RejectionKind::FormErr(_) => 1,
            _ => 9,
        }
    }

    /// The value of the reply's TSIG error field.
    fn error(&self) -> u16 {
        match self {
            RejectionKind::FormErr(_) => record::NOERROR,
            RejectionKind::BadKey { .. } => record::BADKEY,
            RejectionKind::BadSig => record::BADSIG,
            RejectionKind::BadTime { .. } => record::BADTIME,
            RejectionKind::BadTrunc { .. } => record::BADTRUNC,
        }
    }
}

impl Rejection {
    /// The name of the key that the request gave, true or not; `None` where the record cannot be read.
    pub fn key_name(&self) -> Option<&Name> {
        self.answer.as_ref().map(|answer| &answer.owner)
    }

    /// The value of the reply's RCODE: FORMERR, or NOTAUTH with more in the TSIG record.
    pub fn rcode(&self) -> u8 {
        self.kind.rcode()
    }

    /// How many octets [`Rejection::append`] adds to the reply.
    pub fn reserve(&self) -> usize {
        let Some(answer) = &self.answer else { return 0 };
        let mac = answer.signing.as_ref().map_or(0, Signing::mac_len);
        let other = if matches!(self.kind, RejectionKind::BadTime { .. }) { 6 } else { 0 };
        record_len(answer.owner.as_bytes().len(), answer.algorithm.as_bytes().len(), mac, other)
    }

    /// Appends the TSIG record that this rejection calls for to the reply in `buf[..len]`, whose header already
    /// has its RCODE, and returns the new length. FORMERR calls for none.
    pub fn append(&self, buf: &mut [u8], len: usize) -> Result<usize, SignError> {
        let Some(answer) = &self.answer else { return Ok(len) };
        let error = self.kind.error();
        let ours = Stamp::new(answer.now, FUDGE);
        let Some(signing) = &answer.signing else {
            // RFC 8945 section 5.3.2: what does not share a secret with us gets no signature from us.
            let (owner, algorithm) = (answer.owner.as_bytes(), answer.algorithm.as_bytes());
            return Record { owner, algorithm, stamp: ours, mac: &[], error, other: &[] }.append(buf, len);
        };
        let server_time = record::time(ours.signed);
        // RFC 8945 section 5.2.3: a BADTIME answer carries the client's own time, so that the client can verify
        // it, and ours in its other data.
        let (stamp, other) = match self.kind {
            RejectionKind::BadTime { signed, fudge, .. } => (Stamp { signed, fudge }, &server_time[..]),
            _ => (ours, &[][..]),
        };
        let seal = Seal {
            key: &signing.key,
            named: signing.named,
            mac_len: signing.mac_len(),
            prior: Some(&signing.request),
            coverage: Coverage::Variables,
            stamp,
            error,
            other,
        };
        seal.append(buf, len).map(|(end, _)| end)
    }
}

impl Signing {
    fn mac_len(&self) -> usize {
        reply_mac_len(&self.key, self.named, &self.request)
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TSIG rejected: ")?;
        let key = self.key_name().copied().unwrap_or(Name::root());
        match self.kind {
            RejectionKind::FormErr(fault) => write!(f, "the record is malformed: {fault}; look at the client"),
            RejectionKind::BadKey { declared: None, .. } => {
                write!(f, "no key {key:#}; give the server this key, or the client another")
            }
            RejectionKind::BadKey { declared: Some(declared), used } => {
                let used = used.map_or("an unknown algorithm", Algorithm::name);
                write!(f, "key {key:#} serves {declared}, request uses {used}; name {declared} at the client")
            }
            RejectionKind::BadSig => {
                write!(f, "the MAC of key {key:#} is wrong; compare the secrets of server and client")
            }
            RejectionKind::BadTime { signed, now, fudge } => write!(
                f,
                "request is {} s away from server time, {fudge} s allowed; check the clock of the client",
                now.abs_diff(signed)
            ),
            RejectionKind::BadTrunc { received, required } => write!(
                f,
                "the MAC of key {key:#} is cut to {received} octets, {required} required; let the client send all of it"
            ),
        }
    }
}

impl std::error::Error for Rejection {}

#[cfg(test)]
mod tests {
    use super::super::client::{ResponseError, sign_request, verify_response};
    use super::super::{Keyring, verify};
    use super::*;

    const NOW: u64 = 0x6b49_d200;
    const QUERY: &[u8] = b"\x12\x34\x01\x20\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x01\0\x01";
    /// NOTAUTH to QUERY.
    const REPLY: &[u8] = b"\x12\x34\x81\x29\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x01\0\x01";

    /// How the server that holds `server` rejects QUERY signed with `client` `late` seconds ago, the
    /// reply, and the request's MAC.
    fn reject(server: &[&str], client: &str, late: u64) -> (Rejection, Vec<u8>, Mac) {
        let keyring: Keyring = server.iter().map(|text| TsigKey::parse(text).unwrap()).collect();
        let mut buf = [0; 512];
        buf[..QUERY.len()].copy_from_slice(QUERY);
        let client = TsigKey::parse(client).unwrap();
        let (len, mac) = sign_request(&client, &mut buf, QUERY.len(), NOW - late, 300).unwrap();
        let rejection = verify(&keyring, &buf[..len], QUERY.len(), NOW).unwrap_err();
        let mut reply = vec![0; REPLY.len() + rejection.reserve()];
        reply[..REPLY.len()].copy_from_slice(REPLY);
        assert_eq!(rejection.append(&mut reply, REPLY.len()), Ok(reply.len()));
        assert_eq!((rejection.rcode(), reply[11]), (9, 1));
        (rejection, reply, mac)
    }

    #[test]
    fn badkey_is_answered_unsigned() {
        let (rejection, reply, mac) = reject(&[], "hmac-sha1:Laptop:c2VjcmV0", 0);
        let record =
            b"\x06Laptop\0\0\xfa\0\xff\0\0\0\0\0\x1b\x09hmac-sha1\0\0\0\x6b\x49\xd2\0\x01\x2c\0\0\x12\x34\0\x11\0\0";
        assert_eq!(&reply[REPLY.len()..], record);
        assert_eq!(
            rejection.to_string(),
            "TSIG rejected: no key Laptop.; give the server this key, or the client another"
        );
        let key = TsigKey::parse("hmac-sha1:Laptop:c2VjcmV0").unwrap();
        assert_eq!(verify_response(&key, &mac, &reply, REPLY.len(), NOW), Err(ResponseError::KeyRefused));
    }

    #[test]
    fn another_algorithm_is_badkey_and_the_operator_learns_both() {
        let (rejection, reply, _) = reject(&["laptop:c2VjcmV0"], "hmac-md5:laptop:c2VjcmV0", 0);
        assert!(reply.ends_with(b"\0\0\x12\x34\0\x11\0\0"));
        assert_eq!(
            rejection.to_string(),
            "TSIG rejected: key laptop. serves hmac-sha256, request uses hmac-md5; name hmac-sha256 at the client"
        );
    }

    #[test]
    fn badsig_is_answered_unsigned() {
        let (rejection, reply, mac) = reject(&["laptop:c2VjcmV0"], "laptop:b3RoZXI=", 0);
        let record =
            b"\x06laptop\0\0\xfa\0\xff\0\0\0\0\0\x1d\x0bhmac-sha256\0\0\0\x6b\x49\xd2\0\x01\x2c\0\0\x12\x34\0\x10\0\0";
        assert_eq!(&reply[REPLY.len()..], record);
        assert_eq!(
            rejection.to_string(),
            "TSIG rejected: the MAC of key laptop. is wrong; compare the secrets of server and client"
        );
        let key = TsigKey::parse("laptop:b3RoZXI=").unwrap();
        assert_eq!(verify_response(&key, &mac, &reply, REPLY.len(), NOW), Err(ResponseError::MacRefused));
    }

    #[test]
    fn badtime_is_answered_signed_with_both_times() {
        let (rejection, reply, mac) = reject(&["laptop:c2VjcmV0"], "laptop:c2VjcmV0", 412);
        // The client's time and fudge, then a MAC of 32 octets.
        let head = b"\x06laptop\0\0\xfa\0\xff\0\0\0\0\0\x43\x0bhmac-sha256\0\0\0\x6b\x49\xd0\x64\x01\x2c\0\x20";
        assert_eq!(&reply[REPLY.len()..REPLY.len() + head.len()], head);
        // The ID, the error, and the server's time as other data.
        assert!(reply.ends_with(b"\x12\x34\0\x12\0\x06\0\0\x6b\x49\xd2\0"));
        assert_eq!(
            rejection.to_string(),
            "TSIG rejected: request is 412 s away from server time, 300 s allowed; check the clock of the client"
        );
        let key = TsigKey::parse("laptop:c2VjcmV0").unwrap();
        let refused = Err(ResponseError::TimeRefused { server: Some(NOW) });
        assert_eq!(verify_response(&key, &mac, &reply, REPLY.len(), NOW - 412), refused);
    }

    #[test]
    fn badtrunc_is_answered_signed() {
        let (rejection, reply, mac) = reject(&["laptop:c2VjcmV0"], "hmac-sha256-128:laptop:c2VjcmV0", 0);
        assert!(reply.ends_with(b"\x12\x34\0\x16\0\0"));
        assert_eq!(
            rejection.to_string(),
            "TSIG rejected: the MAC of key laptop. is cut to 16 octets, 32 required; let the client send all of it"
        );
        let key = TsigKey::parse("hmac-sha256-128:laptop:c2VjcmV0").unwrap();
        assert_eq!(verify_response(&key, &mac, &reply, REPLY.len(), NOW), Err(ResponseError::TruncationRefused));
    }

    #[test]
    fn a_malformed_record_is_answered_without_one() {
        let rejection = verify(&Keyring::new(), QUERY, QUERY.len(), NOW).unwrap_err();
        assert_eq!((rejection.rcode(), rejection.reserve(), rejection.key_name()), (1, 0, None));
        assert_eq!(rejection.append(&mut [0; 12], 12), Ok(12));
        assert_eq!(
            rejection.to_string(),
            "TSIG rejected: the record is malformed: it is not in the additional section; look at the client"
        );
    }

    #[test]
    fn no_debug_output_shows_the_secret() {
        for late in [0, 412] {
            let (rejection, ..) = reject(&["hmac-sha512:laptop:c2VjcmV0", "r:c2VjcmV0"], "r:c2VjcmVY", late);
            assert!(!format!("{rejection:?}").contains("115, 101"), "{rejection:?}");
        }
        let (rejection, ..) = reject(&["laptop:c2VjcmV0"], "laptop:c2VjcmV0", 412);
        assert!(format!("{rejection:?}").contains("Secret(..)"));
    }
}
