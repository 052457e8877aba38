//! Disks of a test's own, with faults that are real: a tmpfs that is full or read-only, and an ext4 whose kernel finds an
//! error in it. Root alone can mount them.

use super::client::run;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A mounted disk, unmounted when dropped.
#[derive(Debug)]
pub(crate) struct TestDisk(PathBuf);

impl TestDisk {
    /// A tmpfs of so many MiB. `None`, said aloud, where this user may not mount one.
    pub(crate) fn tmpfs(place: &Path, size: u32) -> Option<TestDisk> {
        TestDisk::mount(place, &["-t", "tmpfs", "-o", &format!("size={size}m"), "dyndns-test"])
    }

    /// An ext4 in the file `image`, which becomes read-only once the kernel finds an error in it.
    pub(crate) fn ext4(place: &Path, image: &Path) -> Option<TestDisk> {
        if !image.exists() {
            fs::File::create(image).unwrap().set_len(64 << 20).unwrap();
            let made = run("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()], "")?;
            assert_eq!(made.code, Some(0), "{}", made.err);
        }
        TestDisk::mount(place, &["-o", "loop,errors=remount-ro", image.to_str().unwrap()])
    }

    fn mount(place: &Path, arguments: &[&str]) -> Option<TestDisk> {
        fs::create_dir_all(place).unwrap();
        let mount = run("mount", &[arguments, &[place.to_str().unwrap()]].concat(), "")?;
        if mount.code != Some(0) {
            eprintln!("skipped: no disk can be mounted here: {}", mount.err.trim());
            return None;
        }
        Some(TestDisk(place.to_path_buf()))
    }

    /// Where it is mounted.
    pub(crate) fn place(&self) -> &Path {
        &self.0
    }

    /// Leaves so many octets of room.
    pub(crate) fn fill(&self, room: u64) {
        let mut filler = OpenOptions::new().append(true).create(true).open(self.filler()).unwrap();
        while filler.write(&[1; 4096]).is_ok_and(|written| written > 0) {}
        let length = filler.metadata().unwrap().len();
        filler.set_len(length.saturating_sub(room)).unwrap();
    }

    /// Undoes that.
    pub(crate) fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Mounts it again with another option, `ro` or `rw`.
    pub(crate) fn remount(&self, option: &str) {
        let mount = run("mount", &["-o", &format!("remount,{option}"), self.0.to_str().unwrap()], "").unwrap();
        assert_eq!(mount.code, Some(0), "{}", mount.err);
    }

    /// Has the kernel find an error in the ext4, which makes it read-only under the files that are open. `None`, said
    /// aloud, where the kernel has no such switch.
    pub(crate) fn fail(&self) -> Option<()> {
        let found = run("findmnt", &["-no", "SOURCE", self.0.to_str().unwrap()], "")?;
        let device = found.out.trim().trim_start_matches("/dev/");
        assert!(device.starts_with("loop"), "{found:?}");
        let switch = Path::new("/sys/fs/ext4").join(device).join("trigger_fs_error");
        let failed = fs::write(&switch, "1");
        if failed.is_err() {
            eprintln!("skipped: {} cannot be used here: {failed:?}", switch.display());
        }
        failed.ok()
    }
}

impl Drop for TestDisk {
    fn drop(&mut self) {
        // Lazily: sled lets go of its files a moment after it was dropped.
        let _ = run("umount", &["--lazy", self.0.to_str().unwrap()], "");
    }
}
