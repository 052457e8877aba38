//! Bits of the journal that were turned over.
//!
//! Where one bit of a frame is wrong, all that was written is known again (see [`Frames::flipped`]). A segment with such
//! frames is written once more, as after a failed sync: under the name that takes its place. Nothing is lost, not even
//! history.

use crate::store::disk::Disk;
use crate::store::journal::{self, Extent};
use crate::store::segment::Frames;
use crate::store::{RecoveryNote, StoreError};
use std::fs;
use std::path::Path;

/// Puts right what can be in the journal of the state in `dir`; returns what is to be told of each commit.
pub(in crate::store) fn put_bits_right(dir: &Path, disk: &mut dyn Disk) -> Result<Vec<RecoveryNote>, StoreError> {
    let mut notes = Vec::new();
    for Extent { path, first, end } in journal::extents(&dir.join("journal"), None)? {
        // Another has taken its place.
        if end == Some(first) {
            continue;
        }
        let mut octets = fs::read(&path).map_err(StoreError::io("read", &path))?;
        let before = notes.len();
        while let Some((at, commit, frame)) = wrong(&octets, end) {
            let Some(place) = octets.get_mut(at..at + frame.len()) else { break };
            place.copy_from_slice(&frame);
            notes.push(RecoveryNote::BitPutRight { path: path.clone(), offset: at as u64, commit });
        }
        if let Some(successor) = journal::successor(&path).filter(|_| notes.len() > before) {
            journal::make(disk, &successor, octets.len(), &octets)?;
        }
    }
    Ok(notes)
}

/// The first frame before the sequence number `end` of which one bit is wrong: where it is, its number, and what was written.
fn wrong(octets: &[u8], end: Option<u64>) -> Option<(usize, u64, Vec<u8>)> {
    let mut frames = Frames::new(octets).ok()?;
    loop {
        while frames.next().is_some() {}
        if end.is_some_and(|end| frames.seq >= end) {
            return None;
        }
        if let Some(frame) = frames.flipped() {
            return Some((frames.at, frames.seq, frame));
        }
        let (at, frame) = frames.find()?;
        frames.resume_after(at, &frame);
    }
}
