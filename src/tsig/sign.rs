//! Signing replies: one message, or the many of a transfer.

use super::mac::Mac;
use super::record::{Coverage, NOERROR, Seal, SignError, Stamp, record_len};
use super::{Algorithm, TsigKey};
use std::sync::Arc;

/// Signs the reply to one verified request, with the request's key and algorithm (RFC 8945 section 5.3).
///
/// A transfer of several messages is signed by one `Signer`: from the second message on, the MAC covers the
/// MAC before it and the timers only (RFC 8945 section 5.3.1).
#[derive(Debug, Clone)]
pub struct Signer {
    key: Arc<TsigKey>,
    named: Algorithm,
    mac_len: usize,
    prior: Mac,
    coverage: Coverage,
}

/// For how long a reply of ours is good, in seconds (RFC 8945 section 10 recommends it).
pub(super) const FUDGE: u16 = 300;

impl Signer {
    /// For the request whose MAC, verified, is `request`, and which calls the algorithm `named`.
    pub(super) fn new(key: Arc<TsigKey>, named: Algorithm, request: Mac) -> Signer {
        let mac_len = reply_mac_len(&key, named, &request);
        Signer { key, named, mac_len, prior: request, coverage: Coverage::Variables }
    }

    /// The key that signs.
    pub fn key(&self) -> &Arc<TsigKey> {
        &self.key
    }

    /// How many octets [`Signer::sign`] adds to each message.
    pub fn reserve(&self) -> usize {
        record_len(self.key.name.as_bytes().len(), self.named.wire_name().len(), self.mac_len, 0)
    }

    /// Appends the TSIG record to the message in `buf[..len]` and counts it in the header; returns the new
    /// length. Everything else of the message must stand as it is to be sent, its ID included. When it fails,
    /// the message in `buf[..len]` is unchanged.
    pub fn sign(&mut self, buf: &mut [u8], len: usize, now: u64) -> Result<usize, SignError> {
        let seal = Seal {
            key: &self.key,
            named: self.named,
            mac_len: self.mac_len,
            prior: Some(&self.prior),
            coverage: self.coverage,
            stamp: Stamp::new(now, FUDGE),
            error: NOERROR,
            other: &[],
        };
        let (end, mac) = seal.append(buf, len)?;
        self.prior = mac;
        self.coverage = Coverage::Timers;
        Ok(end)
    }
}

/// RFC 8945 section 5.2.2.1: a reply's MAC is at least as long as that of its request.
pub(super) fn reply_mac_len(key: &TsigKey, named: Algorithm, request: &Mac) -> usize {
    key.algorithm.mac_len().max(request.as_bytes().len()).min(named.mac_len())
}
