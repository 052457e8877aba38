//! What nodes say to each other: one message is at most [`Message::LONGEST`] octets, whatever is in it.
//!
//! The transport (mutual TLS on the nodes' keys) proves who speaks and keeps others from listening, so messages carry
//! neither sender nor signature; what is passed on of others carries theirs. All numbers are big-endian. An `address`
//! is an octet, 4 or 6, and 4 or 16 octets; a `place` is an address and two octets of port.
//!
//! | offset | octets | a message            |
//! |--------|--------|----------------------|
//! | 0      | 1      | version: 1           |
//! | 1      | 1      | kind                 |
//! | 2      |        | what the kind has    |
//!
//! | kind | name     | what it has                                                                              |
//! |------|----------|------------------------------------------------------------------------------------------|
//! | 1    | Ping     | a beat                                                                                   |
//! | 2    | Pong     | a beat, with the number of the ping it answers                                           |
//! | 3    | Where    | 32: whom the sender lost                                                                 |
//! | 4    | There    | 32: who; place where the sender heard it last; 2: how many seconds ago                   |
//! | 5    | Buckets  | 64 times 8: the exclusive or of the fingerprints in each bucket                          |
//! | 6    | Known    | 8: which buckets, bit 0 the first; 2: how many entries; each 32: id and 8: sequence      |
//! | 7    | Tell     | news; 2: how many ids follow; each 32: whose record the sender wants                     |
//! | 8    | Join     | 2: length; the sender's record                                                           |
//! | 9    | Welcome  | place where the sender sees the receiver                                                 |
//! | 10   | Redirect | 1: how many; each 32: id and a place                                                     |
//! | 11   | Refused  | 1: why; 32: who holds the name, or zeros                                                 |
//! | 12   | Stranger | nothing: the sender does not know the receiver, which may join                           |
//!
//! | octets | a beat                                                                                          |
//! |--------|-------------------------------------------------------------------------------------------------|
//! | 4      | number                                                                                          |
//! |        | place where the sender sees the receiver                                                        |
//! | 20     | summary: 4 how many live members, 8 the exclusive or of their fingerprints, 8 that of the edicts |
//! | 1      | 1: compare: where the receiver's summary is another, it answers with Buckets                    |
//! |        | news                                                                                            |
//!
//! | octets | news                                                                                            |
//! |--------|-------------------------------------------------------------------------------------------------|
//! | 2      | how many; then each:                                                                            |
//! | 1      | 1: a record: 2 its length, the record; 2: a suspicion: 32 id, 8 sequence; 3: an edict, 105       |
//!
//! A record's fingerprint is the first eight octets of its signature, an edict's likewise. A node is in the bucket
//! that the upper six bits of its id name.

use super::identity::NodeId;
use super::octets::{Malformed, Reader, put_len8, put_len16, put_socket};
use super::record::Record;
use super::ticket::{Contact, Edict, Ticket};
use std::net::SocketAddr;

/// How many buckets the members are divided into, to find what differs.
pub(super) const BUCKETS: usize = 64;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Are you there?
    Ping(Beat),
    /// Yes.
    Pong(Beat),
    /// Who has heard this node lately?
    Where(NodeId),
    /// The sender has.
    There {
        /// Whom.
        id: NodeId,
        /// Where.
        at: SocketAddr,
        /// How many seconds ago.
        age: u16,
    },
    /// What the sender knows, in 64 numbers.
    Buckets(Box<[u64; BUCKETS]>),
    /// All that the sender knows in some buckets.
    Known {
        /// Which buckets: bit 0 is the first.
        buckets: u64,
        /// Ids and sequences.
        entries: Vec<(NodeId, u64)>,
    },
    /// What the receiver lacks, and what the sender lacks.
    Tell {
        /// What the receiver lacks.
        news: Vec<News>,
        /// Whose records the sender lacks.
        wants: Vec<NodeId>,
    },
    /// Let me in: the sender's record.
    Join(Vec<u8>),
    /// You are in.
    Welcome(SocketAddr),
    /// Too busy: try these.
    Redirect(Vec<Contact>),
    /// No.
    Refused(Refusal),
    /// I do not know you.
    Stranger,
}

/// What a ping and its answer carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// The ping's number.
    pub number: u32,
    /// Where the sender sees the receiver.
    pub seen: SocketAddr,
    /// What the sender knows, in three numbers.
    pub summary: Summary,
    /// Whether the receiver is to compare.
    pub compare: bool,
    /// What changed lately.
    pub news: Vec<News>,
}

/// What a node knows, in three numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// How many live members.
    pub members: u32,
    /// The exclusive or of the fingerprints of their records.
    pub records: u64,
    /// The exclusive or of the fingerprints of the edicts.
    pub edicts: u64,
}

/// Something to pass on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A record.
    Record(Vec<u8>),
    /// The node with this record does not answer.
    Suspect(NodeId, u64),
    /// Something a steward took back.
    Edict(Edict),
}

/// Why a node is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The ticket has expired.
    Expired,
    /// The ticket was revoked.
    Revoked,
    /// The node was removed.
    Removed,
    /// The record is from the future or the past.
    Clock,
    /// The record is none of this mesh.
    Invalid,
    /// The mesh is full.
    Full,
    /// This node has the name.
    NameTaken(NodeId),
}

impl Message {
    /// The longest message, in octets.
    pub const LONGEST: usize = 32_768;
    /// How many entries of [`Message::Known`] fit.
    pub(super) const ENTRIES: usize = (Message::LONGEST - 12) / 40;
    /// How many octets of news, with wants, fit into [`Message::Tell`].
    pub(super) const NEWS: usize = Message::LONGEST - 6;

    /// The octets.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![1];
        match self {
            Message::Ping(beat) => {
                out.push(1);
                beat.put(&mut out);
            }
            Message::Pong(beat) => {
                out.push(2);
                beat.put(&mut out);
            }
            Message::Where(id) => {
                out.push(3);
                out.extend_from_slice(&id.0);
            }
            Message::There { id, at, age } => {
                out.push(4);
                out.extend_from_slice(&id.0);
                put_socket(&mut out, *at);
                out.extend_from_slice(&age.to_be_bytes());
            }
            Message::Buckets(buckets) => {
                out.push(5);
                out.extend(buckets.iter().flat_map(|bucket| bucket.to_be_bytes()));
            }
            Message::Known { buckets, entries } => {
                out.push(6);
                out.extend_from_slice(&buckets.to_be_bytes());
                put_len16(&mut out, entries.len());
                for (id, sequence) in entries {
                    out.extend_from_slice(&id.0);
                    out.extend_from_slice(&sequence.to_be_bytes());
                }
            }
            Message::Tell { news, wants } => {
                out.push(7);
                put_news(&mut out, news);
                put_len16(&mut out, wants.len());
                out.extend(wants.iter().flat_map(|id| id.0));
            }
            Message::Join(record) => {
                out.push(8);
                put_len16(&mut out, record.len());
                out.extend_from_slice(record);
            }
            Message::Welcome(seen) => {
                out.push(9);
                put_socket(&mut out, *seen);
            }
            Message::Redirect(contacts) => {
                out.push(10);
                put_len8(&mut out, contacts.len());
                for contact in contacts {
                    out.extend_from_slice(&contact.id.map_or([0; 32], |id| id.0));
                    put_socket(&mut out, contact.address);
                }
            }
            Message::Refused(refusal) => {
                out.push(11);
                let (code, holder) = refusal.code();
                out.push(code);
                out.extend_from_slice(&holder);
            }
            Message::Stranger => out.push(12),
        }
        out
    }

    /// Reads a message; nothing may follow it.
    pub fn decode(octets: &[u8]) -> Result<Message, Malformed> {
        let mut reader = Reader::new(octets, "a message");
        if octets.len() > Message::LONGEST || reader.u8()? != 1 {
            return reader.bad();
        }
        let message = match reader.u8()? {
            1 => Message::Ping(Beat::read(&mut reader)?),
            2 => Message::Pong(Beat::read(&mut reader)?),
            3 => Message::Where(NodeId(reader.array()?)),
            4 => Message::There { id: NodeId(reader.array()?), at: reader.socket()?, age: reader.u16()? },
            5 => {
                let mut buckets = Box::new([0; BUCKETS]);
                for bucket in buckets.iter_mut() {
                    *bucket = reader.u64()?;
                }
                Message::Buckets(buckets)
            }
            6 => {
                let buckets = reader.u64()?;
                let count = usize::from(reader.u16()?);
                // Room is made for what is there, not for what is announced.
                let mut entries = Vec::with_capacity(count.min(reader.left() / 40));
                for _ in 0..count {
                    entries.push((NodeId(reader.array()?), reader.u64()?));
                }
                Message::Known { buckets, entries }
            }
            7 => {
                let news = read_news(&mut reader)?;
                let count = usize::from(reader.u16()?);
                let mut wants = Vec::with_capacity(count.min(reader.left() / 32));
                for _ in 0..count {
                    wants.push(NodeId(reader.array()?));
                }
                Message::Tell { news, wants }
            }
            8 => Message::Join(read_record(&mut reader)?),
            9 => Message::Welcome(reader.socket()?),
            10 => {
                let count = usize::from(reader.u8()?);
                if count > Ticket::CONTACTS {
                    return reader.bad();
                }
                let mut contacts = Vec::with_capacity(count);
                for _ in 0..count {
                    let id = NodeId(reader.array()?);
                    contacts.push(Contact { id: Some(id), address: reader.socket()? });
                }
                Message::Redirect(contacts)
            }
            11 => {
                let code = reader.u8()?;
                let holder = NodeId(reader.array()?);
                let Some(refusal) = Refusal::of(code, holder) else { return reader.bad() };
                Message::Refused(refusal)
            }
            12 => Message::Stranger,
            _ => return reader.bad(),
        };
        reader.end()?;
        Ok(message)
    }
}

impl Beat {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.number.to_be_bytes());
        put_socket(out, self.seen);
        out.extend_from_slice(&self.summary.members.to_be_bytes());
        out.extend_from_slice(&self.summary.records.to_be_bytes());
        out.extend_from_slice(&self.summary.edicts.to_be_bytes());
        out.push(u8::from(self.compare));
        put_news(out, &self.news);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Beat, Malformed> {
        Ok(Beat {
            number: reader.u32()?,
            seen: reader.socket()?,
            summary: Summary { members: reader.u32()?, records: reader.u64()?, edicts: reader.u64()? },
            compare: match reader.u8()? {
                0 => false,
                1 => true,
                _ => return reader.bad(),
            },
            news: read_news(reader)?,
        })
    }
}

impl News {
    /// How many octets it takes in a message.
    pub(super) fn len(&self) -> usize {
        match self {
            News::Record(octets) => octets.len().saturating_add(3),
            News::Suspect(..) => 41,
            News::Edict(_) => Edict::LEN.saturating_add(1),
        }
    }
}

fn put_news(out: &mut Vec<u8>, news: &[News]) {
    put_len16(out, news.len());
    for item in news {
        match item {
            News::Record(octets) => {
                out.push(1);
                put_len16(out, octets.len());
                out.extend_from_slice(octets);
            }
            News::Suspect(id, sequence) => {
                out.push(2);
                out.extend_from_slice(&id.0);
                out.extend_from_slice(&sequence.to_be_bytes());
            }
            News::Edict(edict) => {
                out.push(3);
                edict.put(out);
            }
        }
    }
}

fn read_news(reader: &mut Reader<'_>) -> Result<Vec<News>, Malformed> {
    let count = usize::from(reader.u16()?);
    let mut news = Vec::with_capacity(count.min(reader.left() / 41));
    for _ in 0..count {
        news.push(match reader.u8()? {
            1 => News::Record(read_record(reader)?),
            2 => News::Suspect(NodeId(reader.array()?), reader.u64()?),
            3 => News::Edict(Edict::read(reader)?),
            _ => return reader.bad(),
        });
    }
    Ok(news)
}

fn read_record(reader: &mut Reader<'_>) -> Result<Vec<u8>, Malformed> {
    let len = usize::from(reader.u16()?);
    if len > Record::LONGEST {
        return reader.bad();
    }
    Ok(reader.take(len)?.to_vec())
}

impl Refusal {
    fn code(&self) -> (u8, [u8; 32]) {
        match self {
            Refusal::Expired => (1, [0; 32]),
            Refusal::Revoked => (2, [0; 32]),
            Refusal::Removed => (3, [0; 32]),
            Refusal::Clock => (4, [0; 32]),
            Refusal::Invalid => (5, [0; 32]),
            Refusal::Full => (6, [0; 32]),
            Refusal::NameTaken(holder) => (7, holder.0),
        }
    }

    fn of(code: u8, holder: NodeId) -> Option<Refusal> {
        Some(match code {
            1 => Refusal::Expired,
            2 => Refusal::Revoked,
            3 => Refusal::Removed,
            4 => Refusal::Clock,
            5 => Refusal::Invalid,
            6 => Refusal::Full,
            7 => Refusal::NameTaken(holder),
            _ => return None,
        })
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Expired => f.write_str("not let in: the ticket has expired; ask for a new one"),
            Refusal::Revoked => f.write_str("not let in: the ticket was revoked; ask for a new one"),
            Refusal::Removed => {
                f.write_str("not let in: this node was removed from the mesh; it needs a new key and a ticket")
            }
            Refusal::Clock => {
                f.write_str("not let in: the clocks are over ten minutes apart; set the clock of this machine")
            }
            Refusal::Invalid => f.write_str("not let in: the record is none of this mesh; check the ticket"),
            Refusal::Full => f.write_str("not let in: the mesh has as many members as it can have"),
            Refusal::NameTaken(holder) => {
                write!(f, "not let in: node {holder} has the name and is alive; choose another with --name")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn samples() -> Vec<Message> {
        let id = NodeId([7; 32]);
        let at: SocketAddr = "[2001:470::7]:5399".parse().unwrap();
        let edict = super::super::record::tests::steward().edict(super::super::ticket::EdictKind::Revoke, id, 9);
        let news = vec![News::Record(vec![1, 2, 3]), News::Suspect(id, 4), News::Edict(edict)];
        let summary = Summary { members: 3, records: 4, edicts: 5 };
        let beat = Beat { number: 77, seen: at, summary, compare: true, news: news.clone() };
        vec![
            Message::Ping(beat.clone()),
            Message::Pong(beat),
            Message::Where(id),
            Message::There { id, at, age: 12 },
            Message::Buckets(Box::new([9; BUCKETS])),
            Message::Known { buckets: 5, entries: vec![(id, 8)] },
            Message::Tell { news, wants: vec![id] },
            Message::Join(vec![4; 300]),
            Message::Welcome("192.168.1.1:1".parse().unwrap()),
            Message::Redirect(vec![Contact { id: Some(id), address: at }]),
            Message::Refused(Refusal::NameTaken(id)),
            Message::Stranger,
        ]
    }

    #[test]
    fn every_message_survives_its_octets() {
        for message in samples() {
            assert_eq!(Message::decode(&message.encode()), Ok(message));
        }
    }

    #[test]
    fn a_message_cut_short_or_with_an_octet_behind_it_is_malformed() {
        for message in samples() {
            let mut octets = message.encode();
            for len in 0..octets.len() {
                assert!(Message::decode(&octets[..len]).is_err(), "{message:?} at {len}");
            }
            octets.push(0);
            assert!(Message::decode(&octets).is_err(), "{message:?}");
        }
    }

    #[test]
    fn the_fullest_messages_are_within_the_bound() {
        let entries = vec![(NodeId([1; 32]), 1); Message::ENTRIES];
        assert!(Message::Known { buckets: 1, entries }.encode().len() <= Message::LONGEST);
        let news = vec![News::Suspect(NodeId([1; 32]), 1); Message::NEWS / 41];
        assert!(Message::Tell { news, wants: Vec::new() }.encode().len() <= Message::LONGEST);
    }

    proptest! {
        #[test]
        fn no_octets_make_decode_panic(octets in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Message::decode(&octets);
        }

        #[test]
        fn a_message_that_is_read_has_one_form(kind in 1u8..13, rest in proptest::collection::vec(any::<u8>(), 0..200)) {
            let octets = [vec![1, kind], rest].concat();
            if let Ok(message) = Message::decode(&octets) {
                prop_assert_eq!(message.encode(), octets);
            }
        }
    }
}
