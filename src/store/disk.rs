//! The seam between the journal, the checkpoints and the operating system, so that tests can fail it and cut its power.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// What the journal and the checkpoints ask of a disk to write. Reading needs no seam.
pub(super) trait Disk: Send {
    /// Creates an empty file, in place of any at that path.
    fn create(&mut self, path: &Path) -> io::Result<File>;
    /// Writes all octets at an offset.
    fn write_at(&mut self, file: &File, octets: &[u8], at: u64) -> io::Result<()>;
    /// Makes what was written durable; returns when it is.
    fn sync(&mut self, file: &File) -> io::Result<()>;
    /// Renames a file.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&mut self, dir: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&mut self, path: &Path) -> io::Result<()>;
    /// The same disk, for another thread.
    fn again(&self) -> Box<dyn Disk>;
}

/// The real one.
pub(super) struct SystemDisk;

impl Disk for SystemDisk {
    fn create(&mut self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)
    }

    fn write_at(&mut self, file: &File, octets: &[u8], at: u64) -> io::Result<()> {
        file.write_all_at(octets, at)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        // fdatasync: it leaves out the file's times and so saves a journal commit of the file system; it does
        // write the size and the block map where they changed.
        file.sync_data()?;
        // A file that somebody deleted still takes octets, and loses them all when this process ends.
        match file.metadata()?.nlink() {
            0 => Err(io::ErrorKind::NotFound.into()),
            _ => Ok(()),
        }
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn again(&self) -> Box<dyn Disk> {
        Box::new(SystemDisk)
    }
}
