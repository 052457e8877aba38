//! What a node has heard and passes on, each thing some times and then no more.
//!
//! The queue holds who it is about, not what was heard: when it is sent, it is what the table says then. What many
//! miss all the same they find at the next comparison.

use super::identity::NodeId;
use super::message::News;
use super::table::{State, Table};
use super::ticket::{Edict, EdictKind};
use std::collections::{BTreeMap, VecDeque};

/// What there is to pass on.
#[derive(Debug, Default)]
pub(super) struct Queue {
    items: VecDeque<(Topic, u32)>,
    /// There was more than can be passed on one by one: peers are to compare.
    pub(super) compare: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Topic {
    Peer(NodeId),
    Edict((EdictKind, NodeId)),
}

/// How often each thing is passed on: four at once, and four with the next heartbeats. With four, news reaches all
/// but one in fifty of any number of nodes.
const TIMES: u32 = 8;
/// To how many a thing is told at once.
pub(super) const AT_ONCE: usize = 4;
/// How many things wait, and go with one message; with more, comparing costs less than telling.
const MOST: usize = 16;

impl Queue {
    pub(super) fn peer(&mut self, id: NodeId) {
        self.push(Topic::Peer(id));
    }

    pub(super) fn edict(&mut self, place: (EdictKind, NodeId)) {
        self.push(Topic::Edict(place));
    }

    fn push(&mut self, topic: Topic) {
        self.items.retain(|(other, _)| *other != topic);
        self.items.push_front((topic, TIMES));
        if self.items.len() > MOST {
            // What all have to be told of anyway, one by one to each, is cheaper found by comparing.
            self.items.clear();
            self.compare = true;
        }
    }

    /// What goes with a message that is sent `times` times, the newest first.
    pub(super) fn take(
        &mut self,
        times: usize,
        table: &Table,
        edicts: &BTreeMap<(EdictKind, NodeId), Edict>,
    ) -> Vec<News> {
        let times = u32::try_from(times).unwrap_or(u32::MAX);
        let mut news = Vec::new();
        for (topic, left) in self.items.iter_mut() {
            *left = left.saturating_sub(times);
            match topic {
                Topic::Peer(id) => news.extend(table.peer(id).and_then(|peer| match peer.state {
                    State::Live => Some(News::Record(peer.record.octets().to_vec())),
                    State::Suspect => Some(News::Suspect(*id, peer.record.claim.sequence)),
                    // Whoever left said so itself; that another is gone each finds by itself.
                    State::Gone { .. } if peer.record.claim.lease == 0 => {
                        Some(News::Record(peer.record.octets().to_vec()))
                    }
                    State::Gone { .. } => None,
                })),
                Topic::Edict(place) => news.extend(edicts.get(place).copied().map(News::Edict)),
            }
        }
        self.items.retain(|(_, left)| *left > 0);
        news
    }
}
