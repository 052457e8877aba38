//! How a segment is made: an empty one, or one in place of a segment that is in doubt.

use super::{Current, Journal, Segment, UNFINISHED, name_of, open_frames};
use crate::store::StoreError;
use crate::store::disk::Disk;
use crate::store::segment::{FRAME, Frame, HEADER, Header};
use std::fs::{self, File};
use std::path::Path;

impl Journal {
    /// Makes a segment with room for so many octets of frames, in place of the newest where that is in doubt.
    pub(super) fn begin(&mut self, room: usize) -> Result<Current, StoreError> {
        let (header, octets) = match self.doubtful {
            true => self.answered()?,
            false => {
                let header = Header { first: self.next, chain: self.chain };
                (header, header.octets())
            }
        };
        let generation = match self.latest {
            Some((first, generation)) if first == header.first => generation + 1,
            _ => 0,
        };
        self.latest = Some((header.first, generation));
        let path = self.dir.join(name_of(header.first, generation));
        let size = (octets.len() + room).max(self.segment_size);
        let file = make(self.disk.as_mut(), &path, size, &octets)?;
        if std::mem::take(&mut self.doubtful) {
            // Its file stays until the next start, for the table may be reading it.
            self.segments.pop();
        }
        let Header { first, chain } = header;
        self.segments.push(Segment { path: path.clone(), first, chain, size: size as u64 });
        Ok(Current { file, path, header, at: octets.len(), size })
    }

    /// The newest segment up to its last answered frame, every frame checked.
    fn answered(&self) -> Result<(Header, Vec<u8>), StoreError> {
        let index = self.segments.len().saturating_sub(1);
        let (mut octets, path) = self.octets(index)?;
        let begun = open_frames(&octets, path)?;
        let header = Header { first: begun.seq, chain: begun.chain };
        let length = |frame: &Frame<'_>| FRAME + frame.payload.len();
        let frames = self.frames(index, &octets, path)?;
        let end = HEADER + frames.iter().map(length).sum::<usize>();
        if frames.last().map_or(header.chain, |last| last.chain) != self.chain {
            let why = "it is not what was written to it".to_owned();
            return Err(StoreError::Damaged { path: path.to_owned(), offset: 0, why });
        }
        octets.truncate(end);
        Ok((header, octets))
    }
}

/// Makes a segment at `path`, of this size and with these octets at its beginning. On an error nothing of it stays; but
/// where the rename went through, the segment may stay: it has a name of its own, and holds nothing but what was
/// answered.
pub(in crate::store) fn make(disk: &mut dyn Disk, path: &Path, size: usize, begin: &[u8]) -> Result<File, StoreError> {
    let dir = path.parent().unwrap_or(path);
    let unfinished = dir.join(UNFINISHED);
    let made = make_as(disk, &unfinished, path, size, begin);
    if made.is_err() {
        // On a full disk the room matters more than the file; a failure to remove it changes nothing.
        let _ = fs::remove_file(&unfinished);
    }
    let file = made?;
    disk.sync_dir(dir).map_err(StoreError::io("sync", dir))?;
    Ok(file)
}

fn make_as(disk: &mut dyn Disk, unfinished: &Path, path: &Path, size: usize, begin: &[u8]) -> Result<File, StoreError> {
    let file = disk.create(unfinished).map_err(StoreError::io("create", path))?;
    let zeros = vec![0; size.min(1 << 20)];
    let mut at = 0;
    while at < size {
        let octets = zeros.get(..zeros.len().min(size - at)).unwrap_or_default();
        disk.write_at(&file, octets, at as u64).map_err(StoreError::io("write", path))?;
        at += octets.len();
    }
    disk.write_at(&file, begin, 0).map_err(StoreError::io("write", path))?;
    disk.sync(&file).map_err(StoreError::io("sync", path))?;
    disk.rename(unfinished, path).map_err(StoreError::io("create", path))?;
    Ok(file)
}
