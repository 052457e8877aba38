//! Which zone file each zone last took, so that an edit which the server does not see is said aloud.
//!
//! A zone file begins its zone once. Someone who edits it later and restarts the server would wait in vain; the
//! fingerprint of the file that was taken, kept beside the state, tells that it has changed since.

use crate::wire::Name;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The fingerprints kept in a state directory.
#[derive(Debug, Clone)]
pub(super) struct ZoneFiles(PathBuf);

impl ZoneFiles {
    pub(super) fn new(state_dir: &Path) -> ZoneFiles {
        ZoneFiles(state_dir.join("zone-files"))
    }

    /// Whether the zone last took another file than the one with this fingerprint. Where nothing is known, it
    /// did not.
    pub(super) fn differs(&self, apex: &Name, fingerprint: &str) -> bool {
        fs::read_to_string(self.path(apex)).is_ok_and(|taken| taken != fingerprint)
    }

    /// The zone took the file with this fingerprint. That this cannot be kept costs a warning only.
    pub(super) fn took(&self, apex: &Name, fingerprint: &str) {
        if let Err(error) = self.write(apex, fingerprint) {
            tracing::debug!(zone = %apex, "the zone file's fingerprint is not kept: {error}");
        }
    }

    fn write(&self, apex: &Name, fingerprint: &str) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        fs::write(self.path(apex), fingerprint)
    }

    fn path(&self, apex: &Name) -> PathBuf {
        self.0.join(apex.to_lowercase().to_string().replace('/', "\\047"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_is_noticed_until_it_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let files = ZoneFiles::new(directory.path());
        let apex = Name::parse("1/2.Home.example").unwrap();
        assert!(!files.differs(&apex, "a"));
        files.took(&apex, "a");
        assert!(!files.differs(&apex, "a") && files.differs(&apex, "b"));
        files.took(&apex, "b");
        assert!(files.differs(&apex, "a") && !files.differs(&apex, "b"));
    }
}
