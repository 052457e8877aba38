//! The units of the agent, the update and the mesh under a live systemd: that of this machine, as the first process of a guest
//! under qemu, with the kernel that the tests of power cuts boot. `units/trial/trial` is what runs there.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure to be seen")]

mod common;

use common::Lines;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// How long the machine may take for its next word: without KVM, on a host that does much else.
const DEADLINE: Duration = Duration::from_secs(600);

/// Where scripts/test puts the kernel's package.
const KERNEL: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/guest-kernel/boot");

/// The kernel. Panics where it is missing: scripts/test puts it there, or leaves the test out and says so.
fn kernel() -> PathBuf {
    let entries =
        std::fs::read_dir(KERNEL).unwrap_or_else(|error| panic!("no kernel for a guest in {KERNEL}: {error}"));
    let mut files = entries.map(|entry| entry.unwrap().path());
    files.find(|path| path.file_name().unwrap().to_string_lossy().starts_with("vmlinuz-")).unwrap()
}

#[test]
fn the_agent_the_update_and_the_mesh_run_by_their_units_as_the_readme_says_under_qemu() {
    let kernel = kernel();
    let place = tempfile::tempdir().unwrap();
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/units/build");
    let root = place.path().join("root");
    let built = Command::new(build).arg(&root).arg(env!("CARGO_BIN_EXE_dyndns")).output().unwrap();
    assert!(built.status.success(), "{built:?}");
    let mut qemu = Command::new("qemu-system-x86_64")
        .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
        .args(["-accel", "tcg", "-cpu", "max", "-m", "1024", "-serial", "stdio", "-kernel"])
        .arg(kernel)
        .arg("-initrd")
        .arg(place.path().join("root.cpio"))
        .args([
            "-append",
            "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on systemd.unit=trial.service",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = Arc::new(Lines::default());
    output.gather(qemu.stdout.take().unwrap());
    output.gather(qemu.stderr.take().unwrap());
    let good = output.wait_for(DEADLINE, |line| line.contains("trial: good"));
    let _ = qemu.kill();
    let _ = qemu.wait();
    assert!(good.is_some(), "{}", output.text());
}
