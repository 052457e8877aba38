//! What a node knows after a restart.

use super::event::Saved;
use super::identity::NodeId;
use super::node::Node;
use std::collections::BTreeSet;
use std::time::Duration;

impl Node {
    /// Takes up what was saved, before the start.
    pub(super) fn remember(&mut self, saved: Saved) {
        for edict in saved.edicts {
            if edict.holds(self.mesh) {
                self.edicts.insert((edict.kind, edict.subject), edict);
            }
        }
        saved.former.iter().for_each(|id| self.table.was_once(*id));
        let gone: BTreeSet<NodeId> = saved.gone.into_iter().collect();
        for (octets, at) in saved.peers {
            let Ok(record) = self.notary.admit(&octets) else { continue };
            let peer = record.claim.id;
            if peer != self.id && !self.is_removed(&peer) && self.table.peer(&peer).is_none() {
                self.table.put(record, Duration::ZERO, &mut self.chance);
                if let Some(at) = at {
                    self.table.heard(&peer, at, Duration::ZERO);
                }
                if gone.contains(&peer) {
                    self.table.bury(&peer, Duration::ZERO);
                }
            }
        }
    }

    /// What is to survive a restart.
    pub fn saved(&self) -> Saved {
        let peers = || self.table.peers().filter(|peer| peer.record.claim.id != self.id);
        Saved {
            sequence: self.sequence,
            since: self.since,
            addresses: self.addresses.clone(),
            peers: peers().map(|peer| (peer.record.octets().to_vec(), peer.heard.map(|(_, at)| at))).collect(),
            edicts: self.edicts.values().copied().collect(),
            gone: peers().filter(|peer| !peer.state.counts()).map(|peer| peer.record.claim.id).collect(),
            former: self.table.former().collect(),
            member: self.member,
        }
    }
}
