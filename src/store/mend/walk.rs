//! Looking through a damaged journal from a base on: which commits are there, which are lost, which frames stay.

use crate::store::StoreError;
use crate::store::encode::{self, Unreadable};
use crate::store::journal::Extent;
use crate::store::mark::Step;
use crate::store::segment::{Chain, FRAME, Frame, Frames, HEADER, chain_after};
use crate::store::start::{self, Zones};
use crate::store::{CommitKind, Commits};
use crate::wire::{Name, Rtype};
use crate::zone::{Changes, Key, Serial};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What was found from a base on.
pub(in crate::store) struct Walk<'a> {
    pub(in crate::store) base: Step,
    pub(in crate::store) zones: &'a mut Zones,
    /// The commit that comes next.
    pub(in crate::store) expected: u64,
    pub(in crate::store) chain: Chain,
    pub(in crate::store) lost: Option<Commits>,
    /// How many commits that may be at most: behind what was found there may have been more than is known.
    pub(in crate::store) at_most: u64,
    /// The zones with a commit after all that is lost, which tells their serials.
    pub(in crate::store) told: HashSet<Name>,
    /// How many octets stand behind the journal's last whole frame.
    behind: u64,
    pub(in crate::store) run: Run,
    /// For each zone, the serial from which the frames that stay lead on.
    pub(in crate::store) serials: HashMap<Name, Serial>,
}

/// The frames that stay: from one to the journal's last.
#[derive(Clone)]
pub(in crate::store) struct Run {
    /// The first of them, and the chain hash before it.
    pub(in crate::store) first: u64,
    pub(in crate::store) chain: Chain,
    /// Where it is: a segment and a place in it; none where no frame stays.
    pub(in crate::store) at: Option<(PathBuf, usize)>,
}

/// Why it did not go on.
pub(in crate::store) enum Stop {
    /// The base is of another journal.
    Foreign,
    Error(StoreError),
}

impl<'a> Walk<'a> {
    /// One that begins with zones as they were after the commit `base`.
    pub(in crate::store) fn new(base: Step, zones: &'a mut Zones) -> Walk<'a> {
        let run = Run { first: base.seq + 1, chain: base.chain, at: None };
        let (expected, chain) = (base.seq + 1, base.chain);
        let (serials, told) = Default::default();
        Walk { base, zones, expected, chain, lost: None, at_most: 0, told, behind: 0, run, serials }
    }

    /// Looks through all segments.
    pub(in crate::store) fn segments(&mut self, extents: &[Extent]) -> Result<(), Stop> {
        // Those before the base are not needed, and what they have is not asked.
        let needed = |extent: &Extent| extent.end.is_none_or(|end| end > self.base.seq + 1);
        let begin = extents.iter().position(needed).unwrap_or(extents.len());
        let (earlier, needed) = extents.split_at(begin);
        let mut broken = true;
        for Extent { path, first, end } in needed {
            let octets = fs::read(path).map_err(StoreError::io("read", path))?;
            let frames = Frames::new(&octets).ok().filter(|frames| frames.seq == *first);
            broken = match frames {
                Some(frames) => self.segment(path, &octets, frames, *end, broken)?,
                None => {
                    match end {
                        Some(end) if *end > self.expected => self.lose(self.expected, end - 1),
                        Some(_) => {}
                        None => {
                            self.behind = written(&octets);
                            self.lose_end(self.expected);
                        }
                    }
                    true
                }
            };
        }
        self.backwards(earlier)
    }

    /// Has the segments before stay too, from the newest to the oldest, as long as they are whole and lead on.
    fn backwards(&mut self, earlier: &[Extent]) -> Result<(), Stop> {
        for Extent { path, first, end } in earlier.iter().rev() {
            if self.run.at.as_ref().is_none_or(|(_, at)| *at != HEADER) || *end != Some(self.run.first) {
                break;
            }
            let octets = fs::read(path).map_err(StoreError::io("read", path))?;
            let Some(mut frames) = Frames::new(&octets).ok().filter(|frames| frames.seq == *first) else { break };
            let (begin, mut serials) = (frames.chain, HashMap::new());
            while frames.seq < self.run.first
                && let Some(frame) = frames.next()
            {
                if let Ok(encoded) = encode::read(frame.payload) {
                    let commit = encoded.commit;
                    serials.entry(commit.zone).or_insert(commit.from.unwrap_or(commit.to));
                }
            }
            if (frames.seq, frames.chain) != (self.run.first, self.run.chain) {
                break;
            }
            self.run = Run { first: *first, chain: begin, at: Some((path.clone(), HEADER)) };
            self.serials.extend(serials);
        }
        Ok(())
    }

    /// Looks through one segment; `broken` says that the frames before it do not lead to it. Returns the same for the next.
    fn segment(
        &mut self,
        path: &Path,
        octets: &[u8],
        mut frames: Frames<'_>,
        end: Option<u64>,
        broken: bool,
    ) -> Result<bool, Stop> {
        let first = frames.seq;
        if first > self.expected {
            self.lose(self.expected, first - 1);
        }
        if first == self.expected && self.lost.is_none() && frames.chain != self.chain {
            return Err(Stop::Foreign);
        }
        if broken || self.lost.is_some_and(|lost| lost.last + 1 == first) || self.run.first == first {
            self.stays(first, frames.chain, Some((path.to_owned(), HEADER)));
        }
        while end.is_none_or(|end| frames.seq < end) {
            let (frame, followed) = match frames.next() {
                Some(frame) => (frame, true),
                None => match frames.find() {
                    // A group that was never finished, of which this frame reached the disk: nothing of it was answered.
                    Some((_, frame)) if end.is_none() && frames.seq >= self.expected && frame.group() <= frames.seq => {
                        break;
                    }
                    Some((at, frame)) => {
                        frames.resume_after(at, &frame);
                        (frame, false)
                    }
                    None => break,
                },
            };
            if end.is_some_and(|end| frame.seq >= end) {
                break;
            }
            if frame.seq == self.base.seq && frame.chain != self.base.chain {
                return Err(Stop::Foreign);
            }
            if !followed {
                if frame.seq > self.expected {
                    self.lose(self.expected, frame.seq - 1);
                } else if frame.seq == self.base.seq + 1 && frame.chain != chain_after(&self.base.chain, frame.payload)
                {
                    return Err(Stop::Foreign);
                }
                self.stays(frame.seq + 1, frame.chain, Some((path.to_owned(), frames.at)));
            }
            self.frame(&frame, followed)?;
        }
        let short = match end {
            Some(end) => {
                if frames.seq < end && end > self.expected {
                    self.lose(self.expected, end - 1);
                }
                frames.seq < end
            }
            None => {
                let rest = octets.get(frames.at..).unwrap_or_default();
                self.behind = written(rest);
                self.tail(rest, frames.seq);
                false
            }
        };
        Ok(short)
    }

    /// Takes a frame that is whole.
    fn frame(&mut self, frame: &Frame<'_>, stays: bool) -> Result<(), StoreError> {
        let unreadable = |why| match why {
            Unreadable::Newer(version) => StoreError::Newer { path: "journal".into(), version: version.into() },
            Unreadable::Broken => StoreError::Damaged {
                path: "journal".into(),
                offset: 0,
                why: format!("commit {} does not follow the format", frame.seq),
            },
        };
        let commit = encode::read(frame.payload).map_err(unreadable)?.commit;
        if stays {
            self.serials.entry(commit.zone).or_insert(commit.from.unwrap_or(commit.to));
        }
        if frame.seq < self.expected {
            return Ok(());
        }
        if self.lost.is_some() && commit.kind == CommitKind::Change {
            self.clear_soa(&commit.zone)?;
        }
        self.told.insert(commit.zone);
        start::apply(self.zones, frame.payload).map_err(unreadable)?;
        (self.expected, self.chain) = (frame.seq + 1, frame.chain);
        Ok(())
    }

    /// What stands behind the last whole frame, after which the commit `next` would come.
    fn tail(&mut self, rest: &[u8], next: u64) {
        let held = (self.base.seq + 1).saturating_sub(next);
        if held == 0 {
            return;
        }
        // Commits that the base holds. Behind them must be nothing, or it may have been answered too.
        let mut behind = rest;
        for _ in 0..held {
            let length = behind.first_chunk().map_or(0, |length| u32::from_be_bytes(*length));
            let length = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(FRAME);
            behind = behind.get(length..).unwrap_or(rest);
        }
        self.stays(self.base.seq + 1, self.base.chain, None);
        if behind.iter().any(|octet| *octet != 0) || rest.iter().all(|octet| *octet == 0) {
            self.lose_end(self.base.seq + 1);
        }
    }

    /// The frames that stay begin here, as far as is known.
    fn stays(&mut self, first: u64, chain: Chain, at: Option<(PathBuf, usize)>) {
        self.serials.clear();
        self.run = Run { first, chain, at };
    }

    /// Nothing is known of these commits.
    fn lose(&mut self, first: u64, last: u64) {
        let before = self.lost.map_or(first, |lost| lost.first);
        self.lost = Some(Commits { first: before, last });
        self.at_most += last + 1 - first;
        self.told.clear();
        self.expected = last + 1;
    }

    /// Nothing is known of what comes after all that was found, up to this commit. No frame stays: serials move past what is
    /// lost, and those before it, with an older checkpoint, would lead to the serials from before.
    pub(in crate::store) fn lose_end(&mut self, last: u64) {
        self.at_most += (last + 1 - self.expected).max(self.behind / FRAME as u64);
        self.told.clear();
        self.lost = Some(Commits { first: self.lost.map_or(self.expected, |lost| lost.first), last });
        self.stays(self.expected, self.chain, None);
    }

    /// A zone has one SOA (RFC 2181 section 6.1); of which one it had, a lost commit would have told.
    fn clear_soa(&mut self, apex: &Name) -> Result<(), StoreError> {
        let Some(loaded) = self.zones.get_mut(Key::new(apex).as_bytes()) else { return Ok(()) };
        let key = Key::new(apex);
        let removed = loaded.zone.records().take_while(|record| record.owner == key);
        let removed = removed.filter(|record| record.rtype == Rtype::SOA).collect();
        // Of a record of the zone's own this does not fail.
        let _ = loaded.zone.replay(&Changes { removed, added: Vec::new() });
        Ok(())
    }
}

/// How many octets something was written to.
fn written(octets: &[u8]) -> u64 {
    octets.iter().rposition(|octet| *octet != 0).map_or(0, |last| last as u64 + 1)
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Stop {
        Stop::Error(error)
    }
}
