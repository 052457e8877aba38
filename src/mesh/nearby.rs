//! Members that announce themselves on the local link: what they say there, and what a node makes of it. The announcing
//! itself, by multicast DNS, is the edge's; it happens only where the operator asks for it.
//!
//! What is said is the node's id, sealed with the mesh's, which all members know and all tickets name. So a stranger on
//! the link reads neither who that is nor of which mesh, does not know the machine again after its next start, and cannot make
//! up an announcement that anybody heeds. Nothing in it lets anyone in: a found place is one contact more, tried after those that are
//! named, and the other end has to prove the very key that was announced. Whoever was once handed a ticket can read and
//! make announcements; what false ones can cost is bounded ([`KEPT`], [`TRIED`]).
//!
//! | octets | an announcement, in base64url without padding                                            |
//! |--------|------------------------------------------------------------------------------------------|
//! | 16     | random, at each start                                                                    |
//! | 32     | the id, XORed with HMAC-SHA256 of `dyndns mesh nearby id 1`, a zero octet and the above  |
//! | 16     | first ones of HMAC-SHA256 of `dyndns mesh nearby tag 1`, a zero octet and the 48 above   |
//!
//! The key of both is the mesh's id.

use super::address::publishable;
use super::identity::NodeId;
use super::node::{Life, Node};
use super::table::State;
use super::ticket::Contact;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::net::SocketAddr;

const SEAL: &[u8] = b"dyndns mesh nearby id 1\0";
const TAG: &[u8] = b"dyndns mesh nearby tag 1\0";
const TAG_LEN: usize = 16;

/// How many places are kept that are not known otherwise; of more the newest.
const KEPT: usize = 16;
/// How many of them one who wants in tries, after all contacts.
pub(super) const TRIED: usize = 8;

impl NodeId {
    /// What a node of `mesh` announces, from random octets.
    pub fn seal(&self, mesh: NodeId, random: [u8; 16]) -> Option<String> {
        let mut octets = random.to_vec();
        octets.extend(masked(self.0, mesh, &random)?);
        let tag = keyed(mesh, TAG, &octets)?.finalize().into_bytes();
        octets.extend(tag.iter().take(TAG_LEN));
        Some(URL_SAFE_NO_PAD.encode(octets))
    }

    /// Who announces this, if it is one who knows `mesh`.
    pub fn unseal(text: &str, mesh: NodeId) -> Option<NodeId> {
        let octets = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (said, tag) = octets.split_at_checked(octets.len().checked_sub(TAG_LEN)?)?;
        keyed(mesh, TAG, said)?.verify_truncated_left(tag).ok()?;
        let (random, sealed) = said.split_at_checked(16)?;
        Some(NodeId(masked(sealed.try_into().ok()?, mesh, random)?))
    }
}

/// Seals an id, and unseals it.
fn masked(mut id: [u8; 32], mesh: NodeId, random: &[u8]) -> Option<[u8; 32]> {
    let mask = keyed(mesh, SEAL, random)?.finalize().into_bytes();
    id.iter_mut().zip(mask.iter()).for_each(|(octet, mask)| *octet ^= mask);
    Some(id)
}

fn keyed(mesh: NodeId, what: &[u8], said: &[u8]) -> Option<Hmac<Sha256>> {
    let mac = Hmac::<Sha256>::new_from_slice(&mesh.0).ok()?;
    Some(mac.chain_update(what).chain_update(said))
}

impl Node {
    /// A node was announced at a place.
    pub(super) fn found(&mut self, contact: Contact) {
        let Some(id) = contact.id.filter(|id| *id != self.id && !self.is_removed(id)) else { return };
        let peer = self.table.peer(&id);
        let known = peer.is_some_and(|peer| peer.places().contains(&contact.address));
        let state = peer.map(|peer| (peer.state, peer.record.claim.sequence));
        if !publishable(contact.address.ip()) || known {
            return;
        }
        self.nearby.retain(|other| other.address != contact.address);
        self.nearby.push_back(contact);
        if self.nearby.len() > KEPT {
            self.nearby.pop_front();
        }
        match state {
            Some((State::Live, _)) => self.told_where(id, contact.address, 0),
            Some((_, sequence)) if self.life == Life::Inside => self.look_for(id, sequence, contact.address),
            _ => {}
        }
    }

    /// A lost peer is tried where it was announced, too.
    pub(super) fn ask_nearby(&mut self, id: NodeId) {
        let places = self.nearby.iter().filter(|contact| contact.id == Some(id));
        for at in places.map(|contact| contact.address).collect::<Vec<_>>() {
            self.told_where(id, at, 0);
        }
    }

    /// A place of a node that nobody here knows, other than those; the one that was tried longest ago.
    pub(super) fn next_nearby(&mut self, than: &[SocketAddr]) -> Option<Contact> {
        let unknown = |id: &NodeId| self.table.peer(id).is_none() && !self.is_removed(id);
        let fits = |contact: &Contact| !than.contains(&contact.address) && contact.id.as_ref().is_some_and(unknown);
        let at = self.nearby.iter().position(fits)?;
        let contact = self.nearby.remove(at)?;
        self.nearby.push_back(contact);
        Some(contact)
    }

    /// Tries one that nobody here knows: a mesh may have been in two for so long that its parts have forgotten each other.
    pub(super) fn look_nearby(&mut self) {
        if self.joining.is_none()
            && let Some(contact) = self.next_nearby(&[])
        {
            self.begin_joining_at(contact);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESH: NodeId = NodeId([5; 32]);
    const ID: NodeId = NodeId([9; 32]);

    #[test]
    fn whoever_knows_the_mesh_reads_who_it_is_and_nobody_else_does() {
        let text = ID.seal(MESH, [1; 16]).unwrap();
        assert_eq!(NodeId::unseal(&text, MESH), Some(ID));
        assert_eq!(NodeId::unseal(&text, NodeId([6; 32])), None);
        // It fits into one string of a TXT record, with its key.
        assert!(text.len() <= 86, "{text}");
    }

    #[test]
    fn one_node_says_another_thing_at_each_start() {
        let (one, other) = (ID.seal(MESH, [1; 16]).unwrap(), ID.seal(MESH, [2; 16]).unwrap());
        let same = one.bytes().zip(other.bytes()).skip(22).filter(|(one, other)| one == other).count();
        assert!(same < 16, "{one} {other}");
    }

    #[test]
    fn whatever_else_is_announced_is_nobody() {
        let text = ID.seal(MESH, [1; 16]).unwrap();
        for at in [0, 30, text.len() - 1] {
            let mut wrong = text.clone().into_bytes();
            wrong[at] = if wrong[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(NodeId::unseal(&String::from_utf8(wrong).unwrap(), MESH), None);
        }
        for wrong in ["", "A", "not base64!", &text[1..], &text[..40], &format!("{text}AAAA")] {
            assert_eq!(NodeId::unseal(wrong, MESH), None, "{wrong}");
        }
    }
}
