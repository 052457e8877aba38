//! System calls that fail, or that a process does not survive: `tests/faults/shim.c`, loaded before the C library's.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds the library into a folder; returns its path, for LD_PRELOAD.
pub(crate) fn build(folder: &Path) -> PathBuf {
    let library = folder.join("shim.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/shim.c");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    library
}
