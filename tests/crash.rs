//! `kill -9` in a loop under load: what was answered NOERROR is there after the restart, and nothing else.
//!
//! `common/load.rs` has the clients. A watcher reads the serial all the time: what a query has seen must be there as well.
//!
//! A round takes about a quarter of a second with the release build, so the 200 rounds of each run are a minute;
//! `DYNDNS_CRASH_ROUNDS=2000 cargo test --release --test crash` runs it for longer.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is the failure to be seen")]

mod common;

use common::Server;
use common::client::{SECRET, copy_zones};
use common::load::{Dice, Fate, Worker, transfer, watch};
use dyndns::tsig::TsigKey;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

const ROUNDS: u32 = 200;
const WORKERS: usize = 4;

#[test]
fn every_update_answered_noerror_is_there_after_kill_9() {
    let rounds = std::env::var("DYNDNS_CRASH_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    copy_zones(folder.path());
    let key = TsigKey::parse(&format!("laptop:{SECRET}")).unwrap();
    let mut server = Server::start(folder.path(), &["--tsig", &format!("laptop:{SECRET}")]);
    let mut workers: Vec<Worker> = (0..WORKERS).map(Worker::new).collect();
    let seen = AtomicU32::new(0);
    let mut dice = Dice(2136);
    for round in 0..rounds {
        let (fate, answered) = (Fate::default(), AtomicU32::new(0));
        let addresses = server.addresses.clone();
        let enough = dice.below(100);
        let moment = dice.below(2000);
        thread::scope(|scope| {
            for worker in &mut workers {
                let (key, fate, answered) = (&key, &fate, &answered);
                let address = addresses[worker.number / 2 % addresses.len()];
                scope.spawn(move || worker.work(address, key, answered, fate));
            }
            let watcher = scope.spawn(|| watch(addresses[0], &seen, &fate));
            while answered.load(Ordering::SeqCst) < enough {
                assert!(!watcher.is_finished(), "the server ended by itself:\n{}", server.log());
                thread::yield_now();
            }
            match round % 2 {
                // Not just after an answer, but at any moment of an update's way.
                0 => (0..moment).for_each(|_| std::hint::spin_loop()),
                // At once when a query shows a change.
                _ => {
                    let before = seen.load(Ordering::SeqCst);
                    while seen.load(Ordering::SeqCst) == before && !watcher.is_finished() {
                        std::hint::spin_loop();
                    }
                }
            }
            fate.doomed.store(true, Ordering::SeqCst);
            server.kill9();
            fate.dead.store(true, Ordering::SeqCst);
            watcher.join().unwrap();
        });
        server.restart();
        server.wait_for_log("listening on UDP and TCP");
        assert!(!server.log().contains("ERROR"), "round {round}:\n{}", server.log());
        let (records, serial) = transfer(server.v4(), &key);
        workers.iter_mut().for_each(|worker| assert_eq!(worker.compare(&records), Ok(()), "round {round}"));
        let before = seen.fetch_max(serial, Ordering::SeqCst);
        assert!(serial >= before, "round {round}: serial {serial} after the restart, {before} before it");
    }
    // And once more after a clean end.
    assert!(server.terminate().success());
    server.restart();
    let (records, serial) = transfer(server.v4(), &key);
    workers.iter_mut().for_each(|worker| assert_eq!(worker.compare(&records), Ok(()), "after a clean end"));
    assert_eq!(serial, seen.into_inner());
    let sent: u32 = workers.iter().map(|worker| worker.sent).sum();
    eprintln!("{rounds} kills, {sent} updates");
}
