//! What a node says of itself, signed: nobody can say it for another.
//!
//! All numbers are big-endian.
//!
//! | offset | octets | a record                                                             |
//! |--------|--------|----------------------------------------------------------------------|
//! | 0      | 1      | version: 1                                                           |
//! | 1      | 32     | id: the node's public key                                            |
//! | 33     | 8      | sequence: a later record has a higher one                            |
//! | 41     | 8      | issued: seconds since 1970 by the node's clock                       |
//! | 49     | 4      | lease: for how many seconds it holds; 0: the node has left           |
//! | 53     | 8      | since: when the node took its name, in seconds since 1970            |
//! | 61     | 1      | roles: 1 server, 2 watcher                                           |
//! | 62     | 2      | port at which it listens                                             |
//! | 64     | 1      | length of the name, 1 to 63                                          |
//! | 65     |        | name: one label of a-z, 0-9 and hyphens                              |
//! |        | 1      | how many addresses, 0 to 8                                           |
//! |        |        | each: an octet, 4 or 6, and the address                              |
//! |        | 169    | admission, as [`super::ticket`] writes it                            |
//! |        | 64     | signature of `dyndns mesh record 1`, a zero octet, the mesh's key and all octets above |
//!
//! At most 498 octets.

use super::address::publishable;
use super::identity::{NodeId, SecretKey, Signature};
use super::octets::{Malformed, Reader, put_ip, put_len8};
use super::ticket::{Admission, Rights};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

const RECORD: &[u8] = b"dyndns mesh record 1\0";

/// A record whose signatures hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it says.
    pub claim: Claim,
    octets: Box<[u8]>,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Who says it.
    pub id: NodeId,
    /// A later record has a higher one.
    pub sequence: u64,
    /// When, in seconds since 1970 by the node's clock.
    pub issued: u64,
    /// For how many seconds it holds; 0: the node has left.
    pub lease: u32,
    /// When the node took its name, in seconds since 1970.
    pub since: u64,
    /// What it does for others.
    pub role: Role,
    /// Where it listens.
    pub port: u16,
    /// What it is called.
    pub name: Label,
    /// Where it is.
    pub addresses: Vec<IpAddr>,
    /// How it came in.
    pub admission: Admission,
}

/// What a node does for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Nothing but what all do.
    Member,
    /// It is listed in the configuration of others and lets new nodes in.
    Server,
    /// It reads and publishes nothing.
    Watcher,
}

/// A host's name within the mesh: one label of letters, digits and hyphens (RFC 1123 section 2.1), in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Arc<str>);

impl Label {
    /// Takes a name in any case.
    pub fn new(text: &str) -> Option<Label> {
        let fits = (1..=63).contains(&text.len())
            && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        fits.then(|| Label(text.to_ascii_lowercase().into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why octets are not a record of this mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordError {
    /// They are no record at all.
    Malformed,
    /// No steward of this mesh let the node in.
    NotAdmitted,
    /// The node did not sign it.
    Forged,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RecordError::Malformed => "record refused: its octets are no record",
            RecordError::NotAdmitted => "record refused: no ticket of this mesh let its node in",
            RecordError::Forged => "record refused: its node did not sign it",
        })
    }
}

impl std::error::Error for RecordError {}

impl From<Malformed> for RecordError {
    fn from(_: Malformed) -> RecordError {
        RecordError::Malformed
    }
}

/// Takes octets for a record or refuses them. It is apart from the node so that thousands of nodes in one test need
/// not check the same signature thousands of times.
pub trait Notary: Send {
    /// Reads a record and checks its signatures.
    fn admit(&mut self, octets: &[u8]) -> Result<Arc<Record>, RecordError>;
}

/// The notary of one mesh: it checks each signature, each time.
#[derive(Debug)]
pub struct Verifier {
    /// The mesh.
    pub mesh: NodeId,
}

impl Notary for Verifier {
    fn admit(&mut self, octets: &[u8]) -> Result<Arc<Record>, RecordError> {
        let (claim, signature) = Claim::read(octets)?;
        let signed = octets.len().checked_sub(signature.len()).and_then(|end| octets.get(..end)).unwrap_or_default();
        if !claim.admission.holds(self.mesh, claim.id) {
            return Err(RecordError::NotAdmitted);
        }
        if !claim.id.signed(&[RECORD, &self.mesh.0, signed], &signature) {
            return Err(RecordError::Forged);
        }
        Ok(Arc::new(Record { claim, octets: octets.into() }))
    }
}

impl Record {
    /// The longest record, in octets.
    pub const LONGEST: usize = 498;
    /// The most addresses.
    pub const ADDRESSES: usize = 8;

    /// Signs what a node says of itself.
    pub fn sign(claim: Claim, mesh: NodeId, key: &SecretKey) -> Record {
        let mut octets = claim.encode();
        octets.extend_from_slice(&key.sign(&[RECORD, &mesh.0, &octets]));
        Record { claim, octets: octets.into() }
    }

    /// The octets, signature included.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// What tells this record from all others: the first octets of its signature.
    pub(super) fn fingerprint(&self) -> u64 {
        let signature = self.octets.len().saturating_sub(64);
        self.octets.get(signature..).and_then(|octets| octets.first_chunk()).map_or(0, |o| u64::from_be_bytes(*o))
    }
}

impl Claim {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Record::LONGEST);
        out.push(1);
        out.extend_from_slice(&self.id.0);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.issued.to_be_bytes());
        out.extend_from_slice(&self.lease.to_be_bytes());
        out.extend_from_slice(&self.since.to_be_bytes());
        out.push(match self.role {
            Role::Member => 0,
            Role::Server => 1,
            Role::Watcher => 2,
        });
        out.extend_from_slice(&self.port.to_be_bytes());
        put_len8(&mut out, self.name.0.len());
        out.extend_from_slice(self.name.0.as_bytes());
        put_len8(&mut out, self.addresses.len().min(Record::ADDRESSES));
        for address in self.addresses.iter().take(Record::ADDRESSES) {
            put_ip(&mut out, *address);
        }
        self.admission.put(&mut out);
        out
    }

    fn read(octets: &[u8]) -> Result<(Claim, Signature), Malformed> {
        let mut reader = Reader::new(octets, "a record");
        if reader.u8()? != 1 {
            return reader.bad();
        }
        let id = NodeId(reader.array()?);
        let sequence = reader.u64()?;
        let issued = reader.u64()?;
        let lease = reader.u32()?;
        let since = reader.u64()?;
        let role = match reader.u8()? {
            0 => Role::Member,
            1 => Role::Server,
            2 => Role::Watcher,
            _ => return reader.bad(),
        };
        let port = reader.u16()?;
        let len = reader.u8()?;
        let text = std::str::from_utf8(reader.take(len.into())?).unwrap_or_default();
        // One name has one form, or two records could differ and say the same.
        let Some(name) = Label::new(text).filter(|name| name.as_str() == text) else { return reader.bad() };
        let count = usize::from(reader.u8()?);
        if count > Record::ADDRESSES {
            return reader.bad();
        }
        let mut addresses = Vec::with_capacity(count);
        for _ in 0..count {
            let address = reader.ip()?;
            // Whoever publishes such an address would send others to themselves.
            if !publishable(address) {
                return reader.bad();
            }
            addresses.push(address);
        }
        let admission = Admission::read(&mut reader)?;
        // Who may join may watch as well.
        if role != Role::Watcher && admission.pass.rights == Rights::Watch {
            return reader.bad();
        }
        let signature = reader.array()?;
        reader.end()?;
        Ok((Claim { id, sequence, issued, lease, since, role, port, name, addresses, admission }, signature))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::ticket::Steward;
    use super::*;

    pub(crate) fn steward() -> Steward {
        Steward::new(SecretKey::from_seed(&[1; 32]).unwrap())
    }

    pub(crate) fn claim(key: &SecretKey, name: &str) -> Claim {
        let ticket = steward().ticket([2; 32], Rights::Join, 2_000_000_000, Vec::new()).unwrap();
        Claim {
            id: key.id(),
            sequence: 1,
            issued: 1_800_000_000,
            lease: 7200,
            since: 1_800_000_000,
            role: Role::Member,
            port: 5399,
            name: Label::new(name).unwrap(),
            addresses: vec!["192.168.1.7".parse().unwrap(), "2001:470::7".parse().unwrap()],
            admission: ticket.admit(key.id()).unwrap(),
        }
    }

    #[test]
    fn a_record_survives_its_octets() {
        let key = SecretKey::from_seed(&[5; 32]).unwrap();
        let record = Record::sign(claim(&key, "nas"), steward().mesh(), &key);
        assert_eq!(*Verifier { mesh: steward().mesh() }.admit(record.octets()).unwrap(), record);
    }

    #[test]
    fn the_longest_record_is_as_long_as_documented() {
        let key = SecretKey::from_seed(&[5; 32]).unwrap();
        let mut claim = claim(&key, &"n".repeat(63));
        claim.addresses =
            (1..=8).map(|last| std::net::Ipv6Addr::new(0x2001, 0x470, 0, 0, 0, 0, 0, last).into()).collect();
        assert_eq!(Record::sign(claim, steward().mesh(), &key).octets().len(), Record::LONGEST);
    }

    #[test]
    fn a_record_with_any_octet_changed_is_refused() {
        let key = SecretKey::from_seed(&[5; 32]).unwrap();
        let record = Record::sign(claim(&key, "nas"), steward().mesh(), &key);
        let mut verifier = Verifier { mesh: steward().mesh() };
        for at in 0..record.octets().len() {
            let mut octets = record.octets().to_vec();
            octets[at] ^= 1;
            assert!(verifier.admit(&octets).is_err(), "octet {at}");
        }
        assert!(verifier.admit(&record.octets()[..100]).is_err());
    }

    #[test]
    fn nobody_signs_for_another() {
        let (key, other) = (SecretKey::from_seed(&[5; 32]).unwrap(), SecretKey::from_seed(&[6; 32]).unwrap());
        let forged = Record::sign(claim(&key, "nas"), steward().mesh(), &other);
        let mut verifier = Verifier { mesh: steward().mesh() };
        assert_eq!(verifier.admit(forged.octets()), Err(RecordError::Forged));
        let mut stranger = Verifier { mesh: other.id() };
        let record = Record::sign(claim(&key, "nas"), steward().mesh(), &key);
        assert_eq!(stranger.admit(record.octets()), Err(RecordError::NotAdmitted));
    }

    #[test]
    fn a_record_with_a_loopback_or_link_local_address_is_malformed() {
        let key = SecretKey::from_seed(&[5; 32]).unwrap();
        for address in ["127.0.0.1", "169.254.3.4", "::1", "fe80::1", "0.0.0.0", "ff02::1", "::ffff:127.0.0.1"] {
            let mut claim = claim(&key, "nas");
            claim.addresses = vec![address.parse().unwrap()];
            let record = Record::sign(claim, steward().mesh(), &key);
            assert_eq!(
                Verifier { mesh: steward().mesh() }.admit(record.octets()),
                Err(RecordError::Malformed),
                "{address}"
            );
        }
    }
}
