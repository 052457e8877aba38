//! How one becomes a member, and how one ceases to be.
//!
//! The mesh has a key of its own; who holds it is a [`Steward`]. A steward's [`Pass`] lets the holder of a ticket's
//! key in; with that key a new node signs its own identity, and the two signatures together, its [`Admission`], stand
//! in every record it publishes. So each member can tell a member from an inventor by itself, and nobody has to be
//! asked. What a steward takes back is an [`Edict`], which every member keeps and passes on.
//!
//! All numbers are big-endian.
//!
//! | octets | a pass                                             |
//! |--------|----------------------------------------------------|
//! | 32     | the ticket's public key                            |
//! | 8      | expires: seconds since 1970                        |
//! | 1      | rights: 1 join, 2 watch                            |
//! | 64     | signature by the mesh of `dyndns mesh pass 1`, a zero octet, the mesh's key and the 41 octets above |
//!
//! An admission is a pass and 64 octets of signature by the ticket of `dyndns mesh admission 1`, a zero octet, the
//! mesh's key and the node's.
//!
//! | octets | an edict                                           |
//! |--------|----------------------------------------------------|
//! | 1      | 1: the node is removed; 2: the ticket is revoked   |
//! | 32     | the node's or the ticket's key                     |
//! | 8      | issued: seconds since 1970                         |
//! | 64     | signature by the mesh of `dyndns mesh edict 1`, a zero octet, the mesh's key and the 41 octets above |
//!
//! A ticket's text is `dyndns-mesh-1-` and, in base64url without padding: the mesh's key, the seed of the ticket's
//! key, the pass without the public key, one octet of how many contacts, each 32 octets of identity, a family octet
//! (4 or 6), the address and two octets of port; and the first four octets of SHA-256 of all that.

use super::identity::{NodeId, SecretKey, Signature};
use super::octets::{Malformed, Reader, put_len8, put_socket};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use zeroize::Zeroizing;

const PASS: &[u8] = b"dyndns mesh pass 1\0";
const ADMISSION: &[u8] = b"dyndns mesh admission 1\0";
const EDICT: &[u8] = b"dyndns mesh edict 1\0";
const PREFIX: &str = "dyndns-mesh-1-";

/// What lets a new node in: whoever has the text can join.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The mesh.
    pub mesh: NodeId,
    /// What it allows and until when.
    pub pass: Pass,
    /// Members to try.
    pub contacts: Vec<Contact>,
    seed: Zeroizing<[u8; 32]>,
}

/// A member and where it listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contact {
    /// Whose key has to be at the other end; any member's, if it is not known.
    pub id: Option<NodeId>,
    /// Where.
    pub address: SocketAddr,
}

/// What a ticket allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// To be a member, with a record and a name.
    Join,
    /// To read, and to publish nothing.
    Watch,
}

/// A steward's word that the holder of a ticket's key may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// The ticket's public key; its first octets are the ticket's id.
    pub ticket: NodeId,
    /// Until when new nodes come in by it, in seconds since 1970. Members that came in stay.
    pub expires: u64,
    /// What it allows.
    pub rights: Rights,
    signature: Signature,
}

/// Proof that a node came in by a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// By which ticket.
    pub pass: Pass,
    signature: Signature,
}

/// What a steward took back, for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edict {
    /// What it does.
    pub kind: EdictKind,
    /// Whose key.
    pub subject: NodeId,
    /// When, in seconds since 1970.
    pub issued: u64,
    signature: Signature,
}

/// What an edict does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EdictKind {
    /// The node is no member any more and never comes back with its key.
    Remove,
    /// Nobody new comes in by the ticket.
    Revoke,
}

/// The holder of the mesh's key.
#[derive(Debug)]
pub struct Steward(SecretKey);

impl Steward {
    /// The steward of the mesh with this key.
    pub fn new(key: SecretKey) -> Steward {
        Steward(key)
    }

    /// The mesh.
    pub fn mesh(&self) -> NodeId {
        self.0.id()
    }

    /// A ticket from 32 random octets, good until `expires`, in seconds since 1970.
    pub fn ticket(&self, seed: [u8; 32], rights: Rights, expires: u64, contacts: Vec<Contact>) -> Option<Ticket> {
        let ticket = SecretKey::from_seed(&seed)?.id();
        let mut pass = Pass { ticket, expires, rights, signature: [0; 64] };
        pass.signature = self.0.sign(&[PASS, &self.mesh().0, &pass.claim()]);
        Some(Ticket { mesh: self.mesh(), pass, contacts, seed: Zeroizing::new(seed) })
    }

    /// Takes something back, for good.
    pub fn edict(&self, kind: EdictKind, subject: NodeId, issued: u64) -> Edict {
        let mut edict = Edict { kind, subject, issued, signature: [0; 64] };
        edict.signature = self.0.sign(&[EDICT, &self.mesh().0, &edict.claim()]);
        edict
    }
}

impl Ticket {
    /// Lets the node `id` in.
    pub fn admit(&self, id: NodeId) -> Option<Admission> {
        let key = SecretKey::from_seed(&self.seed)?;
        Some(Admission { pass: self.pass, signature: key.sign(&[ADMISSION, &self.mesh.0, &id.0]) })
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({}, ...)", self.pass.ticket)
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut octets = Zeroizing::new(Vec::new());
        octets.extend_from_slice(&self.mesh.0);
        octets.extend_from_slice(self.seed.as_slice());
        self.pass.put_without_key(&mut octets);
        put_len8(&mut octets, self.contacts.len().min(Ticket::CONTACTS));
        for contact in self.contacts.iter().take(Ticket::CONTACTS) {
            octets.extend_from_slice(&contact.id.map_or([0; 32], |id| id.0));
            put_socket(&mut octets, contact.address);
        }
        let sum = Sha256::digest(octets.as_slice());
        octets.extend(sum.iter().take(4));
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(octets.as_slice()))
    }
}

/// Why a text is no ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TicketError {
    /// It begins otherwise.
    Prefix,
    /// A letter is missing, too many or wrong.
    Damaged,
}

impl fmt::Display for TicketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TicketError::Prefix => write!(f, "it does not begin with {PREFIX}"),
            TicketError::Damaged => f.write_str("a letter is missing or wrong; copy it again, the whole line"),
        }
    }
}

impl std::error::Error for TicketError {}

impl Ticket {
    /// The most contacts in a text.
    pub const CONTACTS: usize = 8;

    fn read(octets: &[u8]) -> Result<Ticket, Malformed> {
        let mut reader = Reader::new(octets, "a ticket");
        let mesh = NodeId(reader.array()?);
        let seed = Zeroizing::new(reader.array()?);
        let Some(key) = SecretKey::from_seed(&seed) else { return reader.bad() };
        let pass = Pass::read_after_key(key.id(), &mut reader)?;
        let mut contacts = Vec::new();
        for _ in 0..reader.u8()? {
            let id = NodeId(reader.array()?);
            let id = (id.0 != [0; 32]).then_some(id);
            contacts.push(Contact { id, address: reader.socket()? });
        }
        reader.end()?;
        Ok(Ticket { mesh, pass, contacts, seed })
    }
}

impl FromStr for Ticket {
    type Err = TicketError;

    fn from_str(text: &str) -> Result<Ticket, TicketError> {
        let text = text.trim().strip_prefix(PREFIX).ok_or(TicketError::Prefix)?;
        let octets = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).map_err(|_| TicketError::Damaged)?);
        let end = octets.len().checked_sub(4).ok_or(TicketError::Damaged)?;
        let (octets, sum) = octets.split_at_checked(end).ok_or(TicketError::Damaged)?;
        if !Sha256::digest(octets).starts_with(sum) {
            return Err(TicketError::Damaged);
        }
        Ticket::read(octets).map_err(|_| TicketError::Damaged)
    }
}

impl Pass {
    fn claim(&self) -> Vec<u8> {
        let rights = match self.rights {
            Rights::Join => 1,
            Rights::Watch => 2,
        };
        [self.ticket.0.as_slice(), &self.expires.to_be_bytes(), &[rights]].concat()
    }

    fn put_without_key(&self, out: &mut Vec<u8>) {
        out.extend(self.claim().iter().skip(32));
        out.extend_from_slice(&self.signature);
    }

    fn read_after_key(ticket: NodeId, reader: &mut Reader<'_>) -> Result<Pass, Malformed> {
        let expires = reader.u64()?;
        let rights = match reader.u8()? {
            1 => Rights::Join,
            2 => Rights::Watch,
            _ => return reader.bad(),
        };
        Ok(Pass { ticket, expires, rights, signature: reader.array()? })
    }
}

impl Admission {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.pass.ticket.0);
        self.pass.put_without_key(out);
        out.extend_from_slice(&self.signature);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Admission, Malformed> {
        let ticket = NodeId(reader.array()?);
        let pass = Pass::read_after_key(ticket, reader)?;
        Ok(Admission { pass, signature: reader.array()? })
    }

    /// Whether a steward of `mesh` let `id` in.
    pub(super) fn holds(&self, mesh: NodeId, id: NodeId) -> bool {
        mesh.signed(&[PASS, &mesh.0, &self.pass.claim()], &self.pass.signature)
            && self.pass.ticket.signed(&[ADMISSION, &mesh.0, &id.0], &self.signature)
    }
}

impl Edict {
    /// How many octets it is.
    pub(super) const LEN: usize = 105;

    fn claim(&self) -> Vec<u8> {
        let kind = match self.kind {
            EdictKind::Remove => 1,
            EdictKind::Revoke => 2,
        };
        [[kind].as_slice(), &self.subject.0, &self.issued.to_be_bytes()].concat()
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.claim());
        out.extend_from_slice(&self.signature);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Edict, Malformed> {
        let kind = match reader.u8()? {
            1 => EdictKind::Remove,
            2 => EdictKind::Revoke,
            _ => return reader.bad(),
        };
        Ok(Edict { kind, subject: NodeId(reader.array()?), issued: reader.u64()?, signature: reader.array()? })
    }

    /// The octets, signature included, to be kept.
    pub fn octets(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Edict::LEN);
        self.put(&mut out);
        out
    }

    /// Reads what [`Edict::octets`] wrote; whose word it is the node looks at.
    pub fn from_octets(octets: &[u8]) -> Result<Edict, Malformed> {
        let mut reader = Reader::new(octets, "an edict");
        let edict = Edict::read(&mut reader)?;
        reader.end()?;
        Ok(edict)
    }

    /// Whether a steward of `mesh` said so.
    pub(super) fn holds(&self, mesh: NodeId) -> bool {
        mesh.signed(&[EDICT, &mesh.0, &self.claim()], &self.signature)
    }

    /// What tells this edict from all others.
    pub(super) fn fingerprint(&self) -> u64 {
        self.signature.first_chunk().map_or(0, |octets| u64::from_be_bytes(*octets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steward() -> Steward {
        Steward::new(SecretKey::from_seed(&[1; 32]).unwrap())
    }

    fn ticket() -> Ticket {
        let contact = |id, address: &str| Contact { id, address: address.parse().unwrap() };
        let id = SecretKey::from_seed(&[3; 32]).unwrap().id();
        let contacts = vec![contact(Some(id), "192.0.2.7:5399"), contact(None, "[2001:db8::7]:5399")];
        steward().ticket([2; 32], Rights::Join, 1_800_000_000, contacts).unwrap()
    }

    #[test]
    fn a_ticket_survives_its_text_and_the_text_is_always_the_same() {
        let text = ticket().to_string();
        assert!(text.starts_with("dyndns-mesh-1-") && text.len() < 450, "{text}");
        assert_eq!(text.parse(), Ok(ticket()));
        assert_eq!(ticket().to_string(), text);
    }

    #[test]
    fn a_ticket_with_a_wrong_or_missing_letter_is_damaged() {
        let text = ticket().to_string();
        for at in [14, 60, text.len() - 3] {
            let mut wrong = text.clone().into_bytes();
            wrong[at] = if wrong[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(String::from_utf8(wrong).unwrap().parse::<Ticket>(), Err(TicketError::Damaged));
        }
        assert_eq!(text[..text.len() - 1].parse::<Ticket>(), Err(TicketError::Damaged));
        assert_eq!("dyndns-mesh-1-".parse::<Ticket>(), Err(TicketError::Damaged));
        assert_eq!("hello".parse::<Ticket>(), Err(TicketError::Prefix));
    }

    #[test]
    fn an_admission_holds_for_its_node_and_its_mesh_alone() {
        let (mesh, node) = (steward().mesh(), NodeId([9; 32]));
        let admission = ticket().admit(node).unwrap();
        assert!(admission.holds(mesh, node));
        assert!(!admission.holds(mesh, NodeId([8; 32])));
        assert!(!admission.holds(SecretKey::from_seed(&[7; 32]).unwrap().id(), node));
        let mut longer = admission;
        longer.pass.expires += 1;
        assert!(!longer.holds(mesh, node));
    }

    #[test]
    fn only_a_steward_makes_an_edict() {
        let edict = steward().edict(EdictKind::Remove, NodeId([9; 32]), 5);
        assert!(edict.holds(steward().mesh()));
        let mut other = edict;
        other.subject = NodeId([8; 32]);
        assert!(!other.holds(steward().mesh()));
        assert_eq!(edict.octets().len(), Edict::LEN);
        assert_eq!(Edict::from_octets(&edict.octets()), Ok(edict));
    }
}
