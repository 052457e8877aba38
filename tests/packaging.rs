//! What an operator gets beside the binary: the systemd unit, judged by the real systemd-analyze, and
//! scripts/install, run as a user runs it, into a directory of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const BINARY: &str = env!("CARGO_BIN_EXE_dyndns");

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Everything the command printed, standard output first.
fn said(output: &Output) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn the_unit_gives_systemd_analyze_verify_nothing_to_say() {
    // verify wants the program to be there, so a copy of the unit names the one just built.
    let folder = tempfile::tempdir().unwrap();
    let unit = std::fs::read_to_string(project("dyndns.service")).unwrap();
    assert!(unit.contains("ExecStart=/usr/local/bin/dyndns serve"));
    let copy = folder.path().join("dyndns.service");
    std::fs::write(&copy, unit.replace("/usr/local/bin/dyndns", BINARY)).unwrap();

    let output = Command::new("systemd-analyze").arg("verify").arg(&copy).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(said(&output), "");
}

#[test]
fn systemd_analyze_security_rates_the_unit_below_two() {
    let output = Command::new("systemd-analyze")
        .args(["security", "--no-pager", "--offline=true"])
        .arg(project("dyndns.service"))
        .output()
        .unwrap();
    let said = said(&output);
    let (_, rating) = said.split_once("Overall exposure level for dyndns.service: ").expect(&said);
    let rating: f64 = rating.split_whitespace().next().unwrap().parse().unwrap();
    assert!(rating < 2.0, "rated {rating}\n{said}");
}

#[test]
fn the_unit_has_one_capability_and_one_place_to_write() {
    let unit = std::fs::read_to_string(project("dyndns.service")).unwrap();
    for line in [
        "Type=notify",
        "DynamicUser=yes",
        "StateDirectory=dyndns",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
        "AmbientCapabilities=CAP_NET_BIND_SERVICE",
        "ProtectSystem=strict",
    ] {
        assert!(unit.lines().any(|have| have == line), "dyndns.service lacks {line}");
    }
    assert!(!unit.contains("ReadWritePaths"));
}
