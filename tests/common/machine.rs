//! A machine under qemu: the kernel that scripts/test puts into the target directory, and a first file system of the test's
//! own.

use super::Lines;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// A running machine, killed when dropped.
pub(crate) struct Machine {
    qemu: Child,
    output: Arc<Lines>,
}

/// Where scripts/test puts the kernel's package.
pub(crate) const KERNEL: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/guest-kernel");

/// The kernel. Panics where it is missing: scripts/test puts it there, or leaves the test out and says so.
pub(crate) fn kernel() -> PathBuf {
    let found = find(&Path::new(KERNEL).join("boot"), "vmlinuz-");
    found.unwrap_or_else(|| panic!("no kernel for a guest in {KERNEL}; scripts/test puts it there"))
}

/// The first entry of a directory with a name that begins so.
pub(crate) fn find(directory: &Path, start: &str) -> Option<PathBuf> {
    let mut paths = fs::read_dir(directory).ok()?.map(|entry| entry.unwrap().path());
    paths.find(|path| path.file_name().unwrap().to_string_lossy().starts_with(start))
}

impl Machine {
    /// Switches one on with these files, so many MiB of memory, these words for its kernel, and devices.
    pub(crate) fn start(files: &Path, memory: u32, words: &str, devices: &[&str]) -> Machine {
        let mut qemu = Command::new("qemu-system-x86_64")
            .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
            .args(["-accel", "tcg", "-cpu", "max", "-m", &memory.to_string(), "-serial", "stdio", "-kernel"])
            .arg(kernel())
            .arg("-initrd")
            .arg(files)
            .args(["-append", &format!("console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on {words}")])
            .args(devices)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Arc::new(Lines::default());
        output.gather(qemu.stdout.take().unwrap());
        output.gather(qemu.stderr.take().unwrap());
        Machine { qemu, output }
    }

    /// Whether it says this, within so long.
    pub(crate) fn says(&self, text: &str, deadline: Duration) -> bool {
        self.output.wait_for(deadline, |line| line.contains(text)).is_some()
    }

    /// What it said.
    pub(crate) fn log(&self) -> String {
        self.output.text()
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        self.qemu.kill().unwrap();
        self.qemu.wait().unwrap();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}
