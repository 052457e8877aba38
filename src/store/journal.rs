//! The journal: every commit, in the order they were answered. It is the truth.
//!
//! # Files
//!
//! The directory holds segments, `NNNNNNNNNNNNNNNNNNNN.seg`, named by the sequence number of their first frame. A
//! second segment with the same first frame (see below) is `NNNNNNNNNNNNNNNNNNNN.G.seg`, G = 1, 2, ...; the one with the
//! highest G counts, and a start removes the others. Segments are made as `next.tmp`: zeros to their full size, then the
//! header and what it takes over from another, then a sync, and only then are renamed, so a segment under its own name
//! always has its header. All numbers are big-endian.
//!
//! | offset | octets | a segment                                                                           |
//! |--------|--------|-------------------------------------------------------------------------------------|
//! | 0      | 8      | `dyndnsJ` and a newline                                                              |
//! | 8      | 4      | version: 1                                                                          |
//! | 12     | 8      | sequence number of its first frame                                                  |
//! | 20     | 16     | chain hash before its first frame; that of the very first segment is random          |
//! | 36     | 4      | CRC-32 of octets 0 to 35                                                            |
//! | 40     | 24     | zeros                                                                               |
//! | 64     |        | frames, one after the other                                                         |
//! |        |        | zeros to the end                                                                    |
//!
//! | offset | octets | a frame                                                                             |
//! |--------|--------|-------------------------------------------------------------------------------------|
//! | 0      | 4      | length of the payload, never 0                                                      |
//! | 4      | 4      | CRC-32 of: octets 20 to 35 of the segment, octets 0 to 3 and 8 to the end of the frame |
//! | 8      | 8      | sequence number: one more than the frame before                                     |
//! | 16     | 4      | how many frames of its group stand before it; a group is what shared one sync       |
//! | 20     | 16     | chain hash: the first 16 octets of SHA-256 of the chain hash before and the payload |
//! | 36     |        | payload: one commit, as [`super::encode`] writes it                                 |
//!
//! # Writing
//!
//! A group of frames is written over preallocated zeros and made durable with one fdatasync. Where it does not fit, a
//! new segment begins; a group larger than a segment gets one of its own size.
//!
//! After a failed write or sync nobody knows what the disk holds, not even of the frames before in the same page; the page
//! cache shows all of them, and counts them as written. So nothing of that segment is trusted any more: the next group
//! begins a segment with the same first frame, and with every answered frame of the old one, each checked again while
//! it is copied. Where that is not possible either, the group is refused, and the one after it tries again. A start
//! writes and syncs all of the newest segment once more, for the same reason; on a read-only file system it cannot, and
//! leaves that segment in doubt, so that updates are refused until they can be stored.
//!
//! # Reading after a crash
//!
//! In the last segment, what follows the last whole frame is a write that was never finished, and is cut, unless a whole
//! frame of a later group stands behind it, or the table or a checkpoint holds the commit that is not whole, or it is whole
//! but for one bit. That is damage to commits that were answered, and the journal refuses to open; [`super::mend`] tells
//! what a start does then.
//!
//! A start reads the last segment whole and of every other the header alone. What it builds upon, the commits after the
//! table's mark or after a checkpoint, it reads by [`Journal::replay`], which checks every frame, the chain, and that each
//! segment follows the one before; anything amiss there ends the start. The commits before that are in the table or the
//! checkpoint already: they are checked when history reads them, and all together by `dyndns zone verify`. So a start
//! takes the time of what is new, not of what is kept.

mod begin;
mod check;
mod retention;

pub(super) use begin::make;
pub(super) use check::{Checked, check, end};
pub use retention::Retention;

use super::disk::Disk;
use super::encode::{self, Unreadable};
use super::mark::Step;
use super::segment::{Chain, FRAME, Frame, Frames, Group, HEADER, Header, HeaderError, Tail};
use super::tail::Part;
use super::{Commit, History, Logged, RecoveryNote, Since, StoreError, select};
use crate::wire::Name;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The open journal.
pub(super) struct Journal {
    dir: PathBuf,
    disk: Box<dyn Disk>,
    /// How large a segment is made, in octets.
    segment_size: usize,
    /// Every segment, the oldest first.
    segments: Vec<Segment>,
    /// The segment that the next group goes to, unless it must begin a new one.
    current: Option<Current>,
    /// Whether a write to the newest segment, or its sync, failed, or could not even be tried at the start.
    doubtful: bool,
    /// The sequence number of the next commit.
    next: u64,
    /// The chain hash after the last commit.
    chain: Chain,
    /// The latest segment that was made or tried, so that no name is used twice.
    latest: Option<Order>,
}

/// What segments are ordered by: the sequence number of the first frame, and the generation.
type Order = (u64, u32);

struct Segment {
    path: PathBuf,
    first: u64,
    /// The chain hash before its first frame.
    chain: Chain,
    /// The length of its file.
    size: u64,
}

struct Current {
    file: File,
    path: PathBuf,
    header: Header,
    at: usize,
    size: usize,
}

/// The name of a segment while it is being made.
const UNFINISHED: &str = "next.tmp";

impl Journal {
    /// Opens or begins the journal in `dir`: reads every segment's header and all of the last, and cuts a torn tail. Every
    /// commit up to `answered` was answered, as others know that follow the journal.
    pub(super) fn open(
        dir: &Path,
        segment_size: usize,
        mut disk: Box<dyn Disk>,
        answered: u64,
        notes: &mut Vec<RecoveryNote>,
    ) -> Result<Journal, StoreError> {
        fs::create_dir_all(dir).map_err(StoreError::io("create", dir))?;
        // A crash while a segment was being made leaves this; it holds nothing yet.
        let removed = match fs::remove_file(dir.join(UNFINISHED)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(("remove", dir.join(UNFINISHED), error)),
            _ => Ok(()),
        };
        // Also of a directory that is there already: whoever made it, or a segment in it, may have been killed before
        // its name was durable.
        let mut sync = |dir: &Path| disk.sync_dir(dir).map_err(|error| ("sync", dir.to_owned(), error));
        let read_only = match removed.and_then(|()| sync(dir.parent().unwrap_or(dir))).and_then(|()| sync(dir)) {
            Ok(()) => false,
            Err((.., error)) if error.kind() == ErrorKind::ReadOnlyFilesystem => true,
            Err((doing, path, error)) => return Err(StoreError::io(doing, path)(error)),
        };
        let mut found = list(dir)?;
        found.sort_by_key(|(place, _)| *place);
        let latest = found.last().map(|(place, _)| *place);
        let mut replaced = Vec::new();
        let mut kept: Vec<(u64, PathBuf)> = Vec::new();
        for ((first, _), path) in found {
            replaced.extend(kept.pop_if(|(earlier, _)| *earlier == first));
            kept.push((first, path));
        }
        let segments = kept.into_iter().map(|(first, path)| Segment::open(path, first));
        let segments = segments.collect::<Result<_, _>>()?;
        let mut journal = Journal {
            dir: dir.to_owned(),
            disk,
            segment_size,
            segments,
            current: None,
            doubtful: read_only,
            next: 1,
            // Random, so that no client can foresee a CRC, and so that a table can tell another journal from its own.
            chain: random()?,
            latest,
        };
        journal.read_last(answered, notes)?;
        for (_, path) in replaced {
            // It is in nobody's way.
            let _ = fs::remove_file(path);
        }
        Ok(journal)
    }

    /// The sequence number of the first commit that is kept; that of the next where there is none.
    pub(super) fn first(&self) -> u64 {
        self.segments.first().map_or(self.next, |segment| segment.first)
    }

    /// The sequence number that the newest segment begins with.
    pub(super) fn newest_first(&self) -> u64 {
        self.segments.last().map_or(0, |segment| segment.first)
    }

    /// The last commit.
    pub(super) fn end(&self) -> Step {
        Step { seq: self.last(), chain: self.chain }
    }

    /// The commit before the first that is kept.
    pub(super) fn begin_after(&self) -> Step {
        let chain = self.segments.first().map_or(self.chain, |segment| segment.chain);
        Step { seq: self.first() - 1, chain }
    }

    /// Whether the newest segment is in doubt, so that the next group begins one in its place.
    pub(super) fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// How many octets the segments with commits after `seq` have.
    pub(super) fn octets_after(&self, seq: u64) -> u64 {
        let after = |(index, segment): (usize, &Segment)| if self.end_of(index) > seq + 1 { segment.size } else { 0 };
        self.segments.iter().enumerate().map(after).sum()
    }

    /// The sequence number of the last commit; 0 before the first.
    pub(super) fn last(&self) -> u64 {
        self.next - 1
    }

    /// Makes the commits durable, all or none, and returns their frames.
    pub(super) fn append(&mut self, commits: &[Commit]) -> Result<Group, StoreError> {
        let mut group = Group::new(commits, self.next, self.chain)?;
        let Some(last) = group.frames.last().copied() else { return Ok(group) };
        let size = group.octets.len();
        let mut current = match self.current.take() {
            Some(current) if current.size - current.at >= size => current,
            // Should this fail, `self.current` stays empty: the new segment may have got its name, and then nothing
            // may be written to the one before it any more.
            _ => self.begin(size)?,
        };
        group.seal(&current.header);
        let written = match self.disk.write_at(&current.file, &group.octets, current.at as u64) {
            Ok(()) => self.disk.sync(&current.file).map_err(StoreError::io("sync", &current.path)),
            Err(error) => Err(StoreError::io("write", &current.path)(error)),
        };
        if let Err(error) = written {
            // `self.current` stays empty: the next group begins a segment. Should the process end before that, a
            // start would find these frames whole, and take them, although their updates were refused; so break the
            // first of them, where the disk still lets us. A failure of that changes nothing.
            self.doubtful = true;
            let _ = self.disk.write_at(&current.file, &[0; FRAME], current.at as u64);
            let _ = self.disk.sync(&current.file);
            return Err(error);
        }
        current.at += size;
        self.current = Some(current);
        self.next = last.seq + 1;
        self.chain = last.chain;
        Ok(group)
    }

    /// Calls `visit` with every frame from the sequence number `from` on, each checked, and that it follows the one
    /// before it. Where the journal begins later, so does this.
    pub(super) fn replay<E: From<StoreError>>(
        &self,
        from: u64,
        mut visit: impl FnMut(&Frame<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut end: Option<Chain> = None;
        for index in 0..self.segments.len() {
            if self.end_of(index) <= from {
                continue;
            }
            let (octets, path) = self.octets(index)?;
            let begin = open_frames(&octets, path)?.chain;
            if end.is_some_and(|end| end != begin) {
                let why = "it does not follow the segment before it".into();
                return Err(StoreError::Damaged { path: path.to_owned(), offset: 20, why }.into());
            }
            let frames = self.frames(index, &octets, path)?;
            end = Some(frames.last().map_or(begin, |frame| frame.chain));
            for frame in frames.iter().filter(|frame| frame.seq >= from) {
                visit(frame)?;
            }
        }
        Ok(())
    }

    /// The segments that hold frames from the sequence number `from` on, and any after them.
    pub(super) fn parts(&self, from: u64) -> Vec<Part> {
        let ends = (0..self.segments.len()).map(|index| self.end_of(index));
        let parts = self.segments.iter().zip(ends).map(|(segment, end)| Part { path: segment.path.clone(), end });
        parts.filter(|part| part.end > from).collect()
    }

    /// The newest segment and the sequence number after its last durable frame.
    pub(super) fn newest(&self) -> Option<(&Path, u64)> {
        self.segments.last().map(|segment| (segment.path.as_path(), self.next))
    }

    /// The chain hash after the commit `seq`; `None` where neither it nor the one after it is kept.
    pub(super) fn chain_after(&self, seq: u64) -> Result<Option<Chain>, StoreError> {
        if seq == self.last() {
            return Ok(Some(self.chain));
        }
        if let Some(segment) = self.segments.iter().rev().find(|segment| segment.first == seq + 1) {
            return Ok(Some(segment.chain));
        }
        let Some(index) = (0..self.segments.len()).find(|index| self.end_of(*index) > seq + 1) else { return Ok(None) };
        let (octets, path) = self.octets(index)?;
        Ok(self.frames(index, &octets, path)?.iter().find(|frame| frame.seq == seq).map(|frame| frame.chain))
    }

    /// The commits of a zone, as [`super::Store::history`] has it. Reads back from the newest segment.
    pub(super) fn history(&self, zone: &Name, since: Option<Since>, max: usize) -> Result<History, StoreError> {
        let segments = (0..self.segments.len()).rev().flat_map(|index| match self.of_zone(index, zone) {
            Ok(logged) => logged.into_iter().rev().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        });
        select(segments, since, max, self.first() == 1)
    }

    /// The error for a frame of which the checks hold and the commit does not.
    pub(super) fn unreadable(&self, seq: u64, why: Unreadable) -> StoreError {
        let segment = self.segments.iter().rev().find(|segment| segment.first <= seq);
        let path = segment.map_or_else(|| self.dir.clone(), |segment| segment.path.clone());
        match why {
            Unreadable::Newer(version) => StoreError::Newer { path, version: version.into() },
            Unreadable::Broken => {
                StoreError::Damaged { path, offset: 0, why: format!("commit {seq} does not follow the format") }
            }
        }
    }

    /// Reads the last segment at the start: sets `next`, `chain` and `current`.
    fn read_last(&mut self, answered: u64, notes: &mut Vec<RecoveryNote>) -> Result<(), StoreError> {
        let Some(index) = self.segments.len().checked_sub(1) else {
            self.doubtful = false;
            return Ok(());
        };
        let (mut octets, path) = self.octets(index)?;
        let path = path.to_owned();
        let mut frames = open_frames(&octets, &path)?;
        let header = Header { first: frames.seq, chain: frames.chain };
        let damaged = |offset: usize, why| Err(StoreError::Damaged { path: path.clone(), offset: offset as u64, why });
        while frames.next().is_some() {}
        let (at, next, chain) = (frames.at, frames.seq, frames.chain);
        match frames.tail() {
            Tail::Clean => {}
            Tail::Torn if frames.flipped().is_some() => {
                return damaged(at, format!("of commit {next} one bit is not what was written"));
            }
            Tail::Torn if next <= answered => {
                let why = "the table or a checkpoint holds it; to go on without it, move these two aside";
                return damaged(at, format!("commit {next} is not whole, but it was answered: {why}"));
            }
            Tail::Torn => notes.push(RecoveryNote::TailCut { path: path.clone(), offset: at as u64, commit: next }),
            Tail::Damaged { whole_at } => {
                return damaged(at, format!("commit {next} is not whole, but a later one at octet {whole_at} is"));
            }
        }
        (self.next, self.chain) = (next, chain);
        if self.doubtful {
            return Ok(());
        }
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(StoreError::io("open", &path))?;
        // After a failed sync the page cache may show octets that never reached the disk, and after a kill octets that
        // have not yet. Whatever is taken for durable from here on is therefore written once more, torn tail
        // cut, and synced.
        if let Some(tail) = octets.get_mut(at..) {
            tail.fill(0);
        }
        self.disk.write_at(&file, &octets, 0).map_err(StoreError::io("write", &path))?;
        self.disk.sync(&file).map_err(StoreError::io("sync", &path))?;
        self.current = Some(Current { file, header, at, size: octets.len(), path });
        Ok(())
    }

    /// The sequence number that the segment after this one begins with.
    fn end_of(&self, index: usize) -> u64 {
        self.segments.get(index + 1).map_or(self.next, |segment| segment.first)
    }

    fn octets(&self, index: usize) -> Result<(Vec<u8>, &Path), StoreError> {
        let path = self.segments.get(index).map_or(self.dir.as_path(), |segment| segment.path.as_path());
        Ok((fs::read(path).map_err(StoreError::io("read", path))?, path))
    }

    /// The answered frames of a segment, all of them: damage since the start is an error here too.
    fn frames<'a>(&self, index: usize, octets: &'a [u8], path: &Path) -> Result<Vec<Frame<'a>>, StoreError> {
        let end = self.end_of(index);
        let mut frames = open_frames(octets, path)?;
        let mut found = Vec::new();
        while frames.seq < end {
            let (offset, seq) = (frames.at as u64, frames.seq);
            let damaged = || StoreError::Damaged {
                path: path.to_owned(),
                offset,
                why: format!("commit {seq} is not whole, although later ones were written"),
            };
            found.push(frames.next().ok_or_else(damaged)?);
        }
        Ok(found)
    }

    /// The commits of a zone in one segment, the oldest first.
    fn of_zone(&self, index: usize, zone: &Name) -> Result<Vec<Logged>, StoreError> {
        let (octets, path) = self.octets(index)?;
        let mut found = Vec::new();
        for frame in self.frames(index, &octets, path)? {
            let unreadable = |why| self.unreadable(frame.seq, why);
            if encode::read(frame.payload).map_err(unreadable)?.commit.zone == *zone {
                let commit = encode::decode(frame.payload).map_err(unreadable)?;
                found.push(Logged { seq: frame.seq, commit });
            }
        }
        Ok(found)
    }
}

impl Segment {
    /// Reads and checks its header, and nothing else.
    fn open(path: PathBuf, first: u64) -> Result<Segment, StoreError> {
        let file = File::open(&path).map_err(StoreError::io("open", &path))?;
        let size = file.metadata().map_err(StoreError::io("read", &path))?.len();
        let mut octets = Vec::with_capacity(HEADER);
        file.take(HEADER as u64).read_to_end(&mut octets).map_err(StoreError::io("read", &path))?;
        let header = Header::read(&octets).map_err(|error| of_header(error, &path))?;
        if header.first != first {
            let why = "the header's first sequence number is not the file's name".into();
            return Err(StoreError::Damaged { path, offset: 12, why });
        }
        Ok(Segment { path, first, chain: header.chain, size })
    }
}

pub(super) fn of_header(error: HeaderError, path: &Path) -> StoreError {
    match error {
        HeaderError::Newer(version) => StoreError::Newer { path: path.to_owned(), version },
        broken => StoreError::Damaged { path: path.to_owned(), offset: 0, why: broken.to_string() },
    }
}

fn open_frames<'a>(octets: &'a [u8], path: &Path) -> Result<Frames<'a>, StoreError> {
    Frames::new(octets).map_err(|error| of_header(error, path))
}

/// A segment as the names in its directory tell of it.
pub(super) struct Extent {
    pub(super) path: PathBuf,
    pub(super) first: u64,
    /// The sequence number after its last frame that counts; `None` where it is the last one.
    pub(super) end: Option<u64>,
}

/// The segments in `dir` with frames before the sequence number `end`, the oldest first.
pub(super) fn extents(dir: &Path, end: Option<u64>) -> Result<Vec<Extent>, StoreError> {
    let mut found = list(dir)?;
    found.sort_by_key(|(place, _)| *place);
    found.retain(|((first, _), _)| end.is_none_or(|end| *first < end));
    let ends: Vec<_> = found.iter().skip(1).map(|((first, _), _)| Some(*first)).chain([end]).collect();
    Ok(found.into_iter().zip(ends).map(|(((first, _), path), end)| Extent { path, first, end }).collect())
}

/// The segments in `dir`.
fn list(dir: &Path) -> Result<Vec<(Order, PathBuf)>, StoreError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(StoreError::io("read", dir))? {
        let path = entry.map_err(StoreError::io("read", dir))?.path();
        if let Some(place) = path.file_name().and_then(|name| place_of(name.to_str()?)) {
            found.push((place, path));
        }
    }
    Ok(found)
}

pub(super) fn name_of(first: u64, generation: u32) -> String {
    match generation {
        0 => format!("{first:020}.seg"),
        later => format!("{first:020}.{later}.seg"),
    }
}

/// Where the segment goes that takes the place of the one at `path`.
pub(super) fn successor(path: &Path) -> Option<PathBuf> {
    let (first, generation) = place_of(path.file_name()?.to_str()?)?;
    Some(path.with_file_name(name_of(first, generation + 1)))
}

fn place_of(name: &str) -> Option<Order> {
    let stem = name.strip_suffix(".seg")?;
    let (first, generation) = match stem.split_once('.') {
        None => (stem, 0),
        Some((first, generation)) => (first, generation.parse().ok()?),
    };
    let place = (first.parse().ok()?, generation);
    (name_of(place.0, place.1) == name).then_some(place)
}

fn random() -> Result<Chain, StoreError> {
    let mut chain = Chain::default();
    getrandom::fill(&mut chain)
        .map_err(|error| StoreError::io("read random octets for", "the journal")(std::io::Error::other(error)))?;
    Ok(chain)
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
