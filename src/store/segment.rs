//! One segment of the journal as octets: its header, its frames, and what a damaged one still tells.
//!
//! The format is written down in [`super::journal`]. Nothing here reads or writes a file.

mod flip;

use super::encode::{self, Input};
use super::{Commit, StoreError};
use sha2::{Digest, Sha256};
use std::fmt;

/// The hash of a commit and, through the hash before it, of everything before: the first 16 octets of SHA-256.
pub(super) type Chain = [u8; 16];

/// The length of a segment's header.
pub(super) const HEADER: usize = 64;

/// The length of a frame's header.
pub(super) const FRAME: usize = 36;

const MAGIC: &[u8; 8] = b"dyndnsJ\n";
const VERSION: u32 = 1;

/// What a segment's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// The sequence number of the first frame.
    pub(super) first: u64,
    /// The chain hash before the first frame. It also seeds every frame's CRC.
    pub(super) chain: Chain,
}

/// Why octets are no header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeaderError {
    /// They break the form.
    Broken(&'static str),
    /// They have a later form.
    Newer(u32),
}

impl Header {
    /// The header's octets.
    pub(super) fn octets(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&self.first.to_be_bytes());
        out.extend_from_slice(&self.chain);
        out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
        out.resize(HEADER, 0);
        out
    }

    /// Reads a header from the front of a segment.
    pub(super) fn read(octets: &[u8]) -> Result<Header, HeaderError> {
        let short = || HeaderError::Broken("the header is cut off");
        let mut input = Input(octets);
        if input.take(MAGIC.len()).ok_or_else(short)? != MAGIC {
            return Err(HeaderError::Broken("this is no journal segment"));
        }
        let version = input.u32().ok_or_else(short)?;
        if version > VERSION {
            return Err(HeaderError::Newer(version));
        }
        let first = input.u64().ok_or_else(short)?;
        let chain = input.array().ok_or_else(short)?;
        let crc = input.u32().ok_or_else(short)?;
        let header = Header { first, chain };
        if octets.len() < HEADER || version != VERSION || header.octets().get(36..40) != Some(&crc.to_be_bytes()) {
            return Err(HeaderError::Broken("the header's checksum is wrong"));
        }
        Ok(header)
    }
}

/// A group of commits as frames, ready to be written with one write and one sync.
#[derive(Debug)]
pub(super) struct Group {
    /// The frames, one after the other.
    pub(super) octets: Vec<u8>,
    /// Where each is.
    pub(super) frames: Vec<Place>,
}

/// Where a frame of a [`Group`] is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Its sequence number.
    pub(super) seq: u64,
    /// The chain hash after it.
    pub(super) chain: Chain,
    start: usize,
    end: usize,
}

impl Group {
    /// Encodes commits from the sequence number `seq` on, which follow `chain`. The CRCs stay open until
    /// [`Group::seal`], because they depend on the segment and the segment on the group's size.
    pub(super) fn new(commits: &[Commit], mut seq: u64, mut chain: Chain) -> Result<Group, StoreError> {
        let mut group = Group { octets: Vec::new(), frames: Vec::with_capacity(commits.len()) };
        for (place, commit) in (0u32..).zip(commits) {
            let start = group.octets.len();
            group.octets.extend_from_slice(&[0; FRAME]);
            encode::encode(commit, &mut group.octets)?;
            let end = group.octets.len();
            let payload = group.octets.get(start + FRAME..end).unwrap_or_default();
            let length = u32::try_from(payload.len())
                .map_err(|_| StoreError::TooLarge { zone: commit.zone.into(), what: "it is over 4 GiB" })?;
            chain = chain_after(&chain, payload);
            let mut header = [length.to_be_bytes(), [0; 4]].concat();
            header.extend_from_slice(&seq.to_be_bytes());
            header.extend_from_slice(&place.to_be_bytes());
            header.extend_from_slice(&chain);
            if let Some(at) = group.octets.get_mut(start..start + FRAME) {
                at.copy_from_slice(&header);
            }
            group.frames.push(Place { seq, chain, start, end });
            seq += 1;
        }
        Ok(group)
    }

    /// Fills in the CRCs for a segment with this header.
    pub(super) fn seal(&mut self, header: &Header) {
        for place in &self.frames {
            if let Some(frame) = self.octets.get_mut(place.start..place.end) {
                seal_one(frame, header);
            }
        }
    }

    /// The octets of the commit at `place`.
    #[cfg(test)]
    pub(super) fn payload(&self, place: &Place) -> &[u8] {
        self.octets.get(place.start + FRAME..place.end).unwrap_or_default()
    }
}

/// A frame as it stands in a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    /// Its sequence number.
    pub(super) seq: u64,
    /// How many frames of its group stand before it.
    place: u32,
    /// The chain hash after it.
    pub(super) chain: Chain,
    /// The encoded commit.
    pub(super) payload: &'a [u8],
}

/// Reads the frames of a segment one by one, up to the first that is not whole or does not follow.
pub(super) struct Frames<'a> {
    octets: &'a [u8],
    header: Header,
    /// Where the next frame would start.
    pub(super) at: usize,
    /// The sequence number it would have.
    pub(super) seq: u64,
    /// The chain hash it would follow.
    pub(super) chain: Chain,
}

/// What stands after a segment's last whole frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// Zeros only: nothing was ever written there.
    Clean,
    /// A write that was never finished. Nothing in it was answered.
    Torn,
    /// A frame of a later group is whole behind it. That group was only written once this one was durable: what is
    /// damaged here was answered.
    Damaged {
        /// Where that frame is.
        whole_at: usize,
    },
}

impl Frame<'_> {
    /// The sequence number of the first frame of its group.
    pub(super) fn group(&self) -> u64 {
        self.seq.saturating_sub(u64::from(self.place))
    }
}

impl<'a> Frames<'a> {
    /// The frames of the segment that is all of `octets`.
    pub(super) fn new(octets: &'a [u8]) -> Result<Frames<'a>, HeaderError> {
        let header = Header::read(octets)?;
        Ok(Frames { octets, header, at: HEADER, seq: header.first, chain: header.chain })
    }

    /// The frames of a segment with this header that begin with `octets`, from the one with sequence number `seq` on,
    /// which follows `chain`.
    pub(super) fn resume(octets: &'a [u8], header: Header, seq: u64, chain: Chain) -> Frames<'a> {
        Frames { octets, header, at: 0, seq, chain }
    }

    /// What the octets after the last whole frame are; asked once the iteration has ended.
    ///
    /// A torn write may have reached the disk in any order, so whole frames of the same group may follow a broken one;
    /// they were not answered either. No client can make octets that look like a later frame: the CRC is seeded with
    /// a hash that begins with random octets.
    pub(super) fn tail(&self) -> Tail {
        let rest = self.octets.get(self.at..).unwrap_or_default();
        if rest.iter().all(|octet| *octet == 0) {
            return Tail::Clean;
        }
        for at in self.at..self.octets.len() {
            let Some(frame) = self.whole_at(at) else { continue };
            if frame.group() > self.seq {
                return Tail::Damaged { whole_at: at };
            }
        }
        Tail::Torn
    }

    /// The next frame that is whole, behind whatever octets, and where it is. What stands between is damaged.
    pub(super) fn find(&self) -> Option<(usize, Frame<'a>)> {
        (self.at..self.octets.len()).find_map(|at| Some((at, self.whole_at(at)?)))
    }

    /// Goes on behind a frame that [`Frames::find`] found.
    pub(super) fn resume_after(&mut self, at: usize, frame: &Frame<'a>) {
        (self.at, self.seq, self.chain) = (at + FRAME + frame.payload.len(), frame.seq + 1, frame.chain);
    }

    fn whole_at(&self, at: usize) -> Option<Frame<'a>> {
        let mut input = Input(self.octets.get(at..)?);
        let length = usize::try_from(input.u32()?).ok().filter(|length| *length > 0)?;
        let crc = input.u32()?;
        let seq = input.u64()?;
        // Cheap before dear: while searching, nearly every offset fails here.
        if seq < self.seq || seq - self.seq > self.octets.len() as u64 {
            return None;
        }
        let place = input.u32()?;
        let chain = input.array()?;
        let payload = input.take(length)?;
        let frame = self.octets.get(at..at + FRAME + length)?;
        (crc_of(frame, &self.header) == crc).then_some(Frame { seq, place, chain, payload })
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        let frame = self.whole_at(self.at)?;
        if frame.seq != self.seq || frame.chain != chain_after(&self.chain, frame.payload) {
            return None;
        }
        self.at += FRAME + frame.payload.len();
        self.seq += 1;
        self.chain = frame.chain;
        Some(frame)
    }
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeaderError::Broken(why) => f.write_str(why),
            HeaderError::Newer(version) => write!(f, "format {version}"),
        }
    }
}

/// Fills in the CRCs of frames that stand one after the other, for a segment with this header.
pub(super) fn seal(mut frames: &mut [u8], header: &Header) {
    while let Some(length) = frames.first_chunk().copied().map(u32::from_be_bytes) {
        let length = FRAME.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
        let Some((frame, rest)) = frames.split_at_mut_checked(length) else { return };
        seal_one(frame, header);
        frames = rest;
    }
}

fn seal_one(frame: &mut [u8], header: &Header) {
    let crc = crc_of(frame, header).to_be_bytes();
    if let Some(at) = frame.get_mut(4..8) {
        at.copy_from_slice(&crc);
    }
}

pub(super) fn chain_after(before: &Chain, payload: &[u8]) -> Chain {
    let mut hash = Sha256::new();
    hash.update(before);
    hash.update(payload);
    let mut chain = Chain::default();
    for (to, from) in chain.iter_mut().zip(hash.finalize()) {
        *to = from;
    }
    chain
}

/// The CRC of a frame: over the segment's chain hash and then the whole frame but the CRC itself.
fn crc_of(frame: &[u8], header: &Header) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&header.chain);
    crc.update(frame.get(..4).unwrap_or_default());
    crc.update(frame.get(8..).unwrap_or_default());
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use proptest::prelude::*;

    const HEAD: Header = Header { first: 5, chain: *b"the chain before" };

    /// A segment of these groups of commits, with room behind them; and where each frame starts.
    pub(super) fn segment(groups: &[usize]) -> (Vec<u8>, Vec<usize>) {
        let mut octets = HEAD.octets();
        let mut starts = Vec::new();
        let (mut seq, mut chain) = (HEAD.first, HEAD.chain);
        for size in groups {
            let commits: Vec<_> = (0..*size).map(|_| samples::change("example.com", 7, &[])).collect();
            let mut group = Group::new(&commits, seq, chain).unwrap();
            group.seal(&HEAD);
            starts.extend(group.frames.iter().map(|place| octets.len() + place.start));
            octets.extend_from_slice(&group.octets);
            let last = group.frames.last().unwrap();
            (seq, chain) = (last.seq + 1, last.chain);
        }
        octets.resize(octets.len() + 300, 0);
        (octets, starts)
    }

    pub(super) fn read(octets: &[u8]) -> (Vec<u64>, Tail) {
        let mut frames = Frames::new(octets).unwrap();
        (frames.by_ref().map(|frame| frame.seq).collect(), frames.tail())
    }

    #[test]
    fn a_header_has_these_octets() {
        let octets = HEAD.octets();
        assert_eq!(&octets[..36], b"dyndnsJ\n\0\0\0\x01\0\0\0\0\0\0\0\x05the chain before");
        assert_eq!(octets.len(), HEADER);
        assert_eq!(Header::read(&octets), Ok(HEAD));
        for at in 0..40 {
            let mut flipped = octets.clone();
            flipped[at] ^= 0x10;
            assert!(Header::read(&flipped).is_err(), "octet {at}");
        }
        let mut newer = octets;
        newer[11] = 2;
        assert_eq!(Header::read(&newer), Err(HeaderError::Newer(2)));
    }

    #[test]
    fn frames_come_back_and_zeros_end_them() {
        assert_eq!(read(&segment(&[1, 3, 1]).0), (vec![5, 6, 7, 8, 9], Tail::Clean));
        assert_eq!(read(&segment(&[]).0), (vec![], Tail::Clean));
    }

    #[test]
    fn a_broken_frame_is_torn_in_the_last_group_and_damage_before_it() {
        let (octets, starts) = segment(&[1, 3]);
        for (index, start) in starts.iter().enumerate() {
            for at in *start..*start + FRAME {
                let mut flipped = octets.clone();
                flipped[at] ^= 0x10;
                let (seqs, tail) = read(&flipped);
                assert_eq!(seqs.len(), index, "octet {at}");
                match index {
                    0 => assert_eq!(tail, Tail::Damaged { whole_at: starts[1] }),
                    _ => assert_eq!(tail, Tail::Torn),
                }
            }
        }
    }

    #[test]
    fn a_frame_of_another_segment_is_not_taken_for_one_of_this() {
        let (mut octets, starts) = segment(&[1, 1]);
        let other = Header { first: 5, ..HEAD }.octets();
        let mut group = Group::new(&[samples::change("example.com", 7, &[])], 9, HEAD.chain).unwrap();
        group.seal(&Header { first: 5, chain: [0; 16] });
        octets.truncate(starts[1]);
        octets.extend_from_slice(&other);
        octets.extend_from_slice(&group.octets);
        assert_eq!(read(&octets), (vec![5], Tail::Torn));
    }

    proptest! {
        #[test]
        fn no_octets_make_reading_panic(octets in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut segment = HEAD.octets();
            segment.extend_from_slice(&octets);
            let _ = read(&segment);
            let _ = Frames::new(&octets);
        }
    }
}
