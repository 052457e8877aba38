//! The fuzz targets of tests/fuzz under plain `cargo test`: every seed, each cut at every length, and thousands of
//! changed ones, the same on every run.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is the failure to be seen")]

#[path = "fuzz/bodies.rs"]
mod bodies;

use std::path::Path;

const CHANGED: usize = 40_000;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Chance that is the same on every run (xorshift of 64 bits).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound.max(1)
    }

    fn octet(&mut self) -> u8 {
        // Those that mean something: pointers, ends of names, the longest label, the letters' edges.
        const TELLING: [u8; 12] = [0, 1, 2, 0x0C, 0x29, 0x3F, 0x40, 0x80, 0xC0, 0xFA, 0xFE, 0xFF];
        match self.below(3) {
            0 => u8::try_from(self.below(256)).unwrap(),
            _ => TELLING[self.below(TELLING.len())],
        }
    }

    /// A seed with a few octets changed, taken out, put in, or moved in from another seed.
    fn change(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(5) {
            let at = self.below(bytes.len());
            match self.below(6) {
                0..=2 if at < bytes.len() => bytes[at] = self.octet(),
                3 if at < bytes.len() => drop(bytes.drain(at..(at + self.below(12)).min(bytes.len()))),
                4 => bytes.insert(at, self.octet()),
                _ => {
                    let other = &seeds[self.below(seeds.len())];
                    let from = self.below(other.len());
                    let to = (from + self.below(40)).min(other.len());
                    bytes.splice(at..at, other[from..to].iter().copied());
                }
            }
        }
        bytes
    }
}

fn run(target: &str, body: fn(&[u8])) {
    let seeds = seeds(target);
    for seed in &seeds {
        (0..=seed.len()).for_each(|len| body(&seed[..len]));
    }
    let mut chance = Chance(0x5EED);
    for _ in 0..CHANGED {
        body(&chance.change(&seeds));
    }
}

#[test]
fn no_message_breaks_reading_and_writing() {
    run("message", bodies::message);
}

#[test]
fn no_message_breaks_answering() {
    run("respond", bodies::respond);
}

#[test]
fn no_message_breaks_updating() {
    run("update", bodies::update);
}

#[test]
fn no_zone_file_breaks_reading_and_writing() {
    run("zone", bodies::zone);
}
