//! What the disk gives to one who appends and syncs, and does nothing else.

use super::Setup;
use super::processes::print_percentiles;
use std::io::Write;

/// About the length of an update's entry in a journal.
const ENTRY: [u8; 120] = [0x5A; 120];

pub(crate) fn run(setup: &Setup) {
    let mut file = std::fs::File::create(&setup.target).unwrap();
    let mut latencies = Vec::new();
    let start = setup.micros();
    let mut now = start;
    while now < start + setup.length() {
        file.write_all(&ENTRY).unwrap();
        file.sync_data().unwrap();
        let end = setup.micros();
        latencies.push((end - now) as u32);
        now = end;
    }
    print!("rate={:.0}", latencies.len() as f64 * 1e6 / (now - start) as f64);
    print_percentiles(&mut latencies);
    println!();
    std::fs::remove_file(&setup.target).unwrap();
}
