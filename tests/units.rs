//! The units of the agent, the update and the mesh under a live systemd: that of this machine, as the first process of a guest
//! under qemu, with the kernel that the tests of power cuts boot. `units/trial/trial` is what runs there.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure to be seen")]

mod common;

use common::machine::Machine;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How long the machine may take for its next word: without KVM, on a host that does much else.
const DEADLINE: Duration = Duration::from_secs(600);

#[test]
fn the_agent_the_update_and_the_mesh_run_by_their_units_as_the_readme_says_under_qemu() {
    let place = tempfile::tempdir().unwrap();
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/units/build");
    let root = place.path().join("root");
    let built = Command::new(build).arg(&root).arg(env!("CARGO_BIN_EXE_dyndns")).output().unwrap();
    assert!(built.status.success(), "{built:?}");
    let machine = Machine::start(&place.path().join("root.cpio"), 1024, "systemd.unit=trial.service", &[]);
    assert!(machine.says("trial: good", DEADLINE), "{}", machine.log());
}
