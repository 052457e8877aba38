//! A disk for tests: it fails when told to, and forgets what was not synced when its power is cut.

use super::disk::{Disk, SystemDisk};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Clones are the same disk.
#[derive(Clone)]
pub(super) struct PowerDisk(Arc<Mutex<State>>);

struct State {
    /// Written and not synced: nobody knows which sectors of it are on the disk.
    pending: Vec<(File, u64, Vec<u8>)>,
    /// Pages of which a sync failed: what they held before may be gone as well, and the page cache does not show it.
    bad: Vec<(File, u64)>,
    /// Renamed and not synced.
    renamed: Vec<PathBuf>,
    /// How many operations go well before how many fail.
    fails_after: Option<(usize, usize)>,
    full: bool,
    random: u64,
}

const PAGE: u64 = 4096;

impl PowerDisk {
    pub(super) fn new(seed: u64) -> PowerDisk {
        let random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let (pending, bad, renamed) = (Vec::new(), Vec::new(), Vec::new());
        let state = State { pending, bad, renamed, fails_after: None, full: false, random };
        PowerDisk(Arc::new(Mutex::new(state)))
    }

    /// After this many more operations one fails.
    pub(super) fn fail_after(&self, operations: usize) {
        self.fail(operations, 1);
    }

    /// After this many more operations so many fail.
    pub(super) fn fail(&self, after: usize, times: usize) {
        self.0.lock().unwrap().fails_after = Some((after, times));
    }

    /// Whether a new file finds no room.
    pub(super) fn set_full(&self, full: bool) {
        self.0.lock().unwrap().full = full;
    }

    /// The process is killed and the machine goes on: everything written arrives.
    pub(super) fn settle(&self) {
        let mut state = self.0.lock().unwrap();
        for (file, at, octets) in std::mem::take(&mut state.pending) {
            SystemDisk.write_at(&file, &octets, at).unwrap();
        }
    }

    /// Cuts the power: of what was not synced, any 512-octet sectors and any names may have reached the disk. Of a page
    /// that could not be synced nothing may be left, unless it was written again since.
    pub(super) fn cut(&self) {
        let mut state = self.0.lock().unwrap();
        for (file, at, octets) in std::mem::take(&mut state.pending) {
            state.write_some(&file, at, &octets);
        }
        for (file, page) in std::mem::take(&mut state.bad) {
            let length = file.metadata().unwrap().len().saturating_sub(page * PAGE).min(PAGE);
            if state.chance() {
                SystemDisk.write_at(&file, &vec![0xA5; usize::try_from(length).unwrap()], page * PAGE).unwrap();
            }
        }
        for path in std::mem::take(&mut state.renamed) {
            if state.chance() {
                fs::remove_file(path).unwrap();
            }
        }
    }
}

impl State {
    fn chance(&mut self) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random & 0x100 == 0
    }

    fn write_some(&mut self, file: &File, at: u64, octets: &[u8]) {
        // Sectors are the disk's, not the write's.
        let mut start = 0;
        while start < octets.len() {
            let sector = 512 - usize::try_from((at + start as u64) % 512).unwrap();
            let end = octets.len().min(start + sector);
            if self.chance() {
                SystemDisk.write_at(file, &octets[start..end], at + start as u64).unwrap();
            }
            start = end;
        }
    }

    /// Counts an operation; `Err` where it is the one to fail.
    fn step(&mut self) -> io::Result<()> {
        match self.fails_after {
            Some((0, times)) => {
                self.fails_after = (times > 1).then(|| (0, times - 1));
                Err(io::Error::other("the test fails this operation"))
            }
            Some((more, times)) => {
                self.fails_after = Some((more - 1, times));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The pages that a write touches are as good as its sync.
    fn judge(&mut self, file: &File, at: u64, octets: &[u8], good: bool) -> io::Result<()> {
        let inode = file.metadata()?.ino();
        let pages = at / PAGE..=(at + octets.len() as u64 - 1) / PAGE;
        let touched =
            |file: &File, page: u64| file.metadata().is_ok_and(|data| data.ino() == inode) && pages.contains(&page);
        self.bad.retain(|(file, page)| !touched(file, *page));
        for page in pages.clone().filter(|_| !good) {
            self.bad.push((file.try_clone()?, page));
        }
        Ok(())
    }
}

impl Disk for PowerDisk {
    fn create(&mut self, path: &Path) -> io::Result<File> {
        let mut state = self.0.lock().unwrap();
        state.step()?;
        if state.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        SystemDisk.create(path)
    }

    fn write_at(&mut self, file: &File, octets: &[u8], at: u64) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let outcome = state.step();
        let length = if outcome.is_ok() { octets.len() } else { octets.len() / 2 };
        state.pending.push((file.try_clone()?, at, octets[..length].to_vec()));
        outcome
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let outcome = state.step();
        let inode = file.metadata()?.ino();
        for (file, at, octets) in std::mem::take(&mut state.pending) {
            if file.metadata()?.ino() != inode {
                state.pending.push((file, at, octets));
                continue;
            }
            state.judge(&file, at, &octets, outcome.is_ok())?;
            if outcome.is_ok() {
                SystemDisk.write_at(&file, &octets, at)?;
            } else {
                // As on Linux: after a failed sync the pages count as clean, and a second sync writes nothing.
                state.write_some(&file, at, &octets);
            }
        }
        outcome
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.step()?;
        state.renamed.push(to.to_owned());
        SystemDisk.rename(from, to)
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.step()?;
        state.renamed.retain(|path| path.parent() != Some(dir));
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.0.lock().unwrap().step()?;
        SystemDisk.remove(path)
    }

    fn again(&self) -> Box<dyn Disk> {
        Box::new(self.clone())
    }
}
