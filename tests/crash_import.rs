//! `kill -9` right after a large import, and again while the table still catches up: the start answers before that, and
//! everything is there.
//!
//! The table takes the import in thousands of batches. Killed between two of them it holds a part of the commit, and must
//! not pass for one that holds all of it: with a mark that says so, this test finds records lost.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is the failure to be seen")]

mod common;

use common::client::Home;
use common::load::{Dice, Records, transfer};
use common::message::{NOERROR, Update};
use dyndns::wire::Rtype;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::process::Command;

const HOSTS: u32 = 200_000;
const ROUNDS: u32 = 8;

#[test]
fn a_large_import_is_there_after_kills_before_the_table_has_it() {
    let mut home = Home::start();
    let path = home.folder.path().join("large.zone");
    let mut zone =
        "$ORIGIN example.com.\n@ 60 SOA ns1 hostmaster 9 1 1 1 1\n@ 60 NS ns1\nns1 60 A 192.0.2.1\n".to_string();
    let mut expected = BTreeMap::new();
    for number in 0..HOSTS {
        let [a, b, c, d] = (0x0A00_0000 + number).to_be_bytes();
        writeln!(zone, "h{number} 60 A {a}.{b}.{c}.{d}").unwrap();
        expected.insert(format!("h{number}.example.com"), [a, b, c, d]);
    }
    fs::write(&path, zone).unwrap();
    let mut import = Command::new(env!("CARGO_BIN_EXE_dyndns"));
    let import = import.current_dir(home.folder.path()).args(["zone", "import", "large.zone"]).output().unwrap();
    assert!(import.status.success(), "{}", String::from_utf8_lossy(&import.stderr));

    let (mut dice, mut behind) = (Dice(200_000), 0);
    for round in 0..ROUNDS {
        home.server.kill9();
        home.server.restart();
        let log = home.server.log();
        assert!(!log.contains("set aside") && !log.contains("ERROR"), "round {round}:\n{log}");
        behind += u32::from(log.contains("table behind") || log.contains("table rebuilt"));
        for _ in 0..dice.below(200) {
            let (number, address) = (dice.below(HOSTS), dice.below(u32::MAX).to_be_bytes());
            let owner = format!("h{number}.example.com");
            let update = Update::new(1, "example.com").delete(&owner, Rtype::A).add_a(&owner, address);
            assert_eq!(home.send(update), NOERROR, "round {round}");
            expected.insert(owner, address);
        }
        if round % 2 == 1 {
            check(&home, &expected, round);
        }
    }
    assert!(behind > 1, "the table had caught up before every kill, so nothing was tested");
    assert!(home.server.terminate().success());
    home.server.restart();
    check(&home, &expected, ROUNDS);
}

/// Compares the hosts with what the server holds.
fn check(home: &Home, expected: &BTreeMap<String, [u8; 4]>, round: u32) {
    let expected: Records =
        expected.iter().map(|(owner, address)| (owner.clone(), Rtype::A.0, address.to_vec())).collect();
    let (mut held, _) = transfer(home.server.v4(), &Home::key());
    held.retain(|(owner, _, _)| owner.starts_with('h'));
    let (lost, other) = (expected.difference(&held).count(), held.difference(&expected).count());
    assert_eq!((lost, other), (0, 0), "round {round}: lost, and there instead\n{}", home.server.log());
}
