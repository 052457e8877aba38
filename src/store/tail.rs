//! The journal as the table's thread reads it: frame by frame from the segments' files, up to what is durable.
//!
//! So that thread may be far behind, and a start need not wait for it, and nothing is kept in memory for it: of a
//! segment only its path and how far it is durable.

use super::StoreError;
use super::segment::{Chain, FRAME, Frame, Frames, HEADER, Header};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A segment, as far as it is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) path: PathBuf,
    /// The sequence number after its last durable frame. What stands behind that frame is not to be read.
    pub(super) end: u64,
}

/// Reads the frames of one segment, some at a time.
pub(super) struct Reader {
    path: PathBuf,
    file: File,
    header: Header,
    /// The sequence number of the next frame.
    pub(super) seq: u64,
    chain: Chain,
    /// Where in the file the octets begin that have been read and not been used.
    at: u64,
    octets: Vec<u8>,
    /// How many of them are used.
    used: usize,
}

/// How many octets are read at once, unless a frame is larger.
const AT_ONCE: usize = 1 << 16;

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Reader, StoreError> {
        let file = File::open(path).map_err(StoreError::io("open", path))?;
        let mut head = [0; HEADER];
        file.read_exact_at(&mut head, 0).map_err(StoreError::io("read", path))?;
        let header = Header::read(&head).map_err(|error| damaged(path, 0, error.to_string()))?;
        let (seq, chain) = (header.first, header.chain);
        let at = HEADER as u64;
        Ok(Reader { path: path.to_owned(), file, header, seq, chain, at, octets: Vec::new(), used: 0 })
    }

    /// Whether it reads this segment.
    pub(super) fn is_of(&self, path: &Path) -> bool {
        self.path == path
    }

    /// Forgets what was read and not used: it may have been written since.
    pub(super) fn refresh(&mut self) {
        self.at += self.used as u64;
        self.used = 0;
        // A large frame's room is given back.
        self.octets.truncate(0);
        self.octets.shrink_to(AT_ONCE);
    }

    /// The next frame, which is durable.
    pub(super) fn next(&mut self) -> Result<Frame<'_>, StoreError> {
        self.fill(FRAME)?;
        let length = self.octets.get(self.used..).and_then(|octets| octets.first_chunk()).copied();
        let length = usize::try_from(u32::from_be_bytes(length.unwrap_or_default())).unwrap_or(usize::MAX);
        self.fill(FRAME.saturating_add(length))?;
        let (path, offset) = (&self.path, self.at + self.used as u64);
        let octets = self.octets.get(self.used..).unwrap_or_default();
        let frame = Frames::resume(octets, self.header, self.seq, self.chain).next();
        let seq = self.seq;
        let frame = frame.ok_or_else(|| damaged(path, offset, format!("commit {seq} is not whole any more")))?;
        self.used += FRAME + length;
        self.seq += 1;
        self.chain = frame.chain;
        Ok(frame)
    }

    /// Sees to it that so many octets are there.
    fn fill(&mut self, count: usize) -> Result<(), StoreError> {
        if self.octets.len() - self.used >= count {
            return Ok(());
        }
        self.octets.drain(..self.used);
        self.at += self.used as u64;
        self.used = 0;
        let have = self.octets.len();
        let end = self.at + have as u64;
        let left = self.file.metadata().map_err(StoreError::io("read", &self.path))?.len().saturating_sub(end);
        let more = (count - have).max(AT_ONCE).min(usize::try_from(left).unwrap_or(usize::MAX));
        if have + more < count {
            return Err(damaged(&self.path, end, format!("it ends within commit {}", self.seq)));
        }
        self.octets.resize(have + more, 0);
        let room = self.octets.get_mut(have..).unwrap_or_default();
        self.file.read_exact_at(room, end).map_err(StoreError::io("read", &self.path))
    }
}

fn damaged(path: &Path, offset: u64, why: String) -> StoreError {
    StoreError::Damaged { path: path.to_owned(), offset, why }
}
