//! Power cuts under load: what was answered NOERROR is there afterwards, and nothing else.
//!
//! The server runs in a guest machine under qemu, upon ext4. The clients are outside and know what was answered. At
//! any moment the machine is killed, and with it all that the guest had not yet written to its disk. The disk
//! is ours (`crash_power/disk.rs`): of what was written and not flushed, it loses any 512-octet sectors. Then
//! the machine starts again, upon what the disk kept.
//!
//! Whether such a test can fail at all is a test too: the same server, with another fdatasync in the place of the real
//! one. With one that does nothing, and with one that is sync_file_range (pages written, disk's cache not flushed),
//! answered updates have been lost by the first or second cut in every run.
//!
//! What is not tested: a disk that says a flush is done when it is not, and one that tears within a sector.
//!
//! `DYNDNS_POWER_ROUNDS=100 cargo test --release --test crash_power` runs it for longer.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is the failure to be seen")]

mod common;
#[path = "crash_power/disk.rs"]
mod disk;
#[path = "crash_power/guest.rs"]
mod guest;

use common::client::SECRET;
use common::load::{Dice, Fate, Worker, transfer, watch};
use disk::Disk;
use dyndns::tsig::TsigKey;
use guest::{Fdatasync, Guest, Parts};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

const ROUNDS: u32 = 5;
const WORKERS: usize = 4;

/// A machine whose power is cut again and again, and its clients.
struct Trial {
    parts: Parts,
    disk: Disk,
    fdatasync: Fdatasync,
    workers: Vec<Worker>,
    /// The highest serial that a query has seen.
    seen: AtomicU32,
    dice: Dice,
}

impl Trial {
    fn new(place: &Path, fdatasync: Fdatasync) -> Trial {
        let parts = Parts::gather(place);
        let disk = Disk::new(guest::formatted(place), &place.join("disk"));
        let workers = (0..WORKERS).map(Worker::new).collect();
        Trial { parts, disk, fdatasync, workers, seen: AtomicU32::new(0), dice: Dice(2136) }
    }

    /// Switches the machine on, compares what it holds with what was answered before, and cuts its power under load.
    fn round(&mut self) -> Result<(), String> {
        let key = TsigKey::parse(&format!("laptop:{SECRET}")).unwrap();
        let mut guest = Guest::start(&self.parts, &mut self.disk, self.fdatasync)?;
        let [udp, tcp] = guest.addresses;
        let (records, serial) = transfer(tcp, &key);
        for worker in &mut self.workers {
            worker.compare(&records).map_err(|lost| format!("{lost}\n{}", guest.log()))?;
        }
        let before = self.seen.fetch_max(serial, Ordering::SeqCst);
        if serial < before {
            return Err(format!("serial {serial} after the power cut, {before} before it\n{}", guest.log()));
        }
        let (fate, answered) = (Fate::default(), AtomicU32::new(0));
        let (enough, moment) = (20 + self.dice.below(200), self.dice.below(100_000));
        thread::scope(|scope| {
            for worker in &mut self.workers {
                let (key, fate, answered) = (&key, &fate, &answered);
                let address = if worker.uses_tcp() { tcp } else { udp };
                scope.spawn(move || worker.work(address, key, answered, fate));
            }
            let watcher = scope.spawn(|| watch(udp, &self.seen, &fate));
            while answered.load(Ordering::SeqCst) < enough {
                assert!(!watcher.is_finished(), "the machine ended by itself:\n{}", guest.log());
                thread::yield_now();
            }
            // Not just after an answer, but at any moment of an update's way.
            (0..moment).for_each(|_| std::hint::spin_loop());
            fate.doomed.store(true, Ordering::SeqCst);
            guest.kill();
            fate.dead.store(true, Ordering::SeqCst);
        });
        let (sectors, flushes) = self.disk.cut();
        eprintln!(
            "power cut after {} answers, serial {}; {sectors} sectors in the disk's cache, {flushes} flushes so far",
            answered.into_inner(),
            self.seen.load(Ordering::SeqCst)
        );
        Ok(())
    }
}

#[test]
fn every_update_answered_noerror_is_there_after_a_power_cut_under_qemu() {
    let rounds = std::env::var("DYNDNS_POWER_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let place = tempfile::tempdir().unwrap();
    let mut trial = Trial::new(place.path(), Fdatasync::Real);
    // The last round is there to look after the one before.
    for round in 0..=rounds {
        trial.round().unwrap_or_else(|lost| panic!("after power cut {round}: {lost}"));
    }
}

#[test]
fn a_server_that_does_not_sync_loses_answered_updates_in_a_power_cut_under_qemu() {
    for lie in [Fdatasync::Nothing, Fdatasync::WithoutFlush] {
        let place = tempfile::tempdir().unwrap();
        let mut trial = Trial::new(place.path(), lie);
        // The journal's first segment is made honestly, so that what is lost are appends and no whole files.
        trial.fdatasync = Fdatasync::Real;
        trial.round().unwrap();
        trial.fdatasync = lie;
        let lost = (0..6).find_map(|_| trial.round().err());
        eprintln!("{lie:?}: {}", lost.unwrap_or_else(|| panic!("{lie:?}: six power cuts, and nothing lost")));
    }
}
