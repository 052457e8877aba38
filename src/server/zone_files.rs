//! Which zone file each zone last took, so that an edit which the server does not see is said aloud; and the serial that
//! the zone had when it last took one that somebody keeps, so that an import can tell what updates have changed since.
//!
//! A zone file begins its zone once. Someone who edits it later and restarts the server would wait in vain; the
//! fingerprint of the file that was taken, kept beside the state, tells that it has changed since.

use crate::wire::Name;
use crate::zone::Serial;
use std::fs;
use std::path::{Path, PathBuf};

/// What is kept in a state directory: for each zone a file with a fingerprint and a serial.
#[derive(Debug, Clone)]
pub(super) struct ZoneFiles(PathBuf);

impl ZoneFiles {
    pub(super) fn new(state_dir: &Path) -> ZoneFiles {
        ZoneFiles(state_dir.join("zone-files"))
    }

    /// Whether the zone last took another file than the one with this fingerprint. Where nothing is known, it
    /// did not.
    pub(super) fn differs(&self, apex: &Name, fingerprint: &str) -> bool {
        let kept = fs::read_to_string(self.path(apex));
        kept.is_ok_and(|kept| kept.split_whitespace().next() != Some(fingerprint))
    }

    /// The serial of the zone when it last took a file that was no export.
    pub(super) fn serial(&self, apex: &Name) -> Option<Serial> {
        fs::read_to_string(self.path(apex)).ok()?.split_whitespace().nth(1)?.parse().ok().map(Serial)
    }

    /// The zone took the file with this fingerprint, and had this serial then. That this cannot be kept costs a warning
    /// only.
    pub(super) fn took(&self, apex: &Name, fingerprint: &str, serial: Serial) {
        self.keep(apex, &format!("{fingerprint} {serial}\n"));
    }

    /// The same of an export. What it has of updates the file that is kept beside it still has not.
    pub(super) fn took_export(&self, apex: &Name, fingerprint: &str) {
        match self.serial(apex) {
            Some(serial) => self.took(apex, fingerprint, serial),
            None => self.keep(apex, fingerprint),
        }
    }

    /// The zone is gone; one of the same name begins anew.
    pub(super) fn forget(&self, apex: &Name) {
        let _ = fs::remove_file(self.path(apex));
    }

    fn keep(&self, apex: &Name, text: &str) {
        if let Err(error) = fs::create_dir_all(&self.0).and_then(|()| fs::write(self.path(apex), text)) {
            tracing::debug!(zone = %apex, "the zone file's fingerprint is not kept: {error}");
        }
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
        files.took(&apex, "a", Serial(1));
        assert!(!files.differs(&apex, "a") && files.differs(&apex, "b"));
        files.took(&apex, "b", Serial(7));
        assert!(files.differs(&apex, "a") && !files.differs(&apex, "b"));
        files.took_export(&apex, "c");
        assert_eq!((files.differs(&apex, "c"), files.serial(&apex)), (false, Some(Serial(7))));
        files.forget(&apex);
        files.took_export(&apex, "a");
        assert_eq!((files.differs(&apex, "a"), files.serial(&apex)), (false, None));
    }
}
