//! Tests of the file of a checkpoint.

use super::super::disk::SystemDisk;
use super::super::power::PowerDisk;
use super::super::samples;
use super::*;
use crate::wire::Rtype;
use crate::zone::{Record, Zone, seed};
use std::sync::Arc;

const STEP: Step = Step { seq: 7, chain: *b"the chain after " };

fn zone(apex: &str, hosts: u32) -> Arc<Zone> {
    let apex = Name::parse(apex).unwrap();
    let below = if apex == Name::root() { String::new() } else { format!(".{apex}") };
    let host = |n: u32| samples::a(&format!("h{n:06}{below}"), 60 + n % 3, &format!("192.0.2.{}", n % 250));
    Arc::new(Zone::new(&apex, seed(&apex).unwrap().into_iter().chain((0..hosts).map(host))).unwrap())
}

fn zones(all: &[(&str, u32)]) -> ZoneSet {
    let mut set = ZoneSet::default();
    all.iter().for_each(|(apex, hosts)| set.insert(zone(apex, *hosts)));
    set
}

fn write_to(dir: &Path, zones: &ZoneSet) -> Written {
    write(&mut SystemDisk, dir, STEP, zones, &AtomicBool::new(false)).unwrap()
}

/// The records of each zone, as the checkpoint tells them.
fn read(path: &Path) -> Result<Vec<(Name, Vec<Record>)>, StoreError> {
    let mut zones: Vec<(Name, Vec<Record>)> = Vec::new();
    Checkpoint::open(path)?.read(|part| {
        match part {
            Part::Zone(apex) => zones.push((apex, Vec::new())),
            Part::Owner { key, node } => {
                let (apex, records) = zones.last_mut().unwrap();
                let owner = crate::zone::Key::from_bytes(key).unwrap();
                assert!(owner.as_bytes().starts_with(crate::zone::Key::new(&*apex).as_bytes()));
                for rrset in node.rrsets() {
                    records.extend(rrset.rdatas().map(|rdata| Record {
                        owner: owner.clone(),
                        rtype: rrset.rtype,
                        ttl: rrset.ttl,
                        rdata: rdata.into(),
                    }));
                }
            }
        }
        Ok::<_, StoreError>(())
    })?;
    Ok(zones)
}

#[test]
fn every_zone_comes_back_record_by_record() {
    let dir = tempfile::tempdir().unwrap();
    let set = zones(&[("example.com", 5000), ("sub.example.com", 0), (".", 3), ("\\000\\001.test", 40)]);
    let written = write_to(dir.path(), &set);
    assert_eq!((written.zones, written.owners), (4, set.iter().map(|zone| zone.owners() as u64).sum()));
    assert_eq!(written.octets, fs::metadata(&written.path).unwrap().len());
    assert!(written.octets > 2 * FULL as u64, "several blocks");
    assert_eq!(Checkpoint::open(&written.path).unwrap().step, STEP);
    let back = read(&written.path).unwrap();
    let expected: Vec<_> = set.iter().map(|zone| (*zone.apex(), zone.records().collect())).collect();
    assert_eq!(back, expected);
    assert_eq!(list(dir.path()).unwrap(), [(7, written.path)]);
}

#[test]
fn a_checkpoint_has_these_octets() {
    let dir = tempfile::tempdir().unwrap();
    let apex = Name::parse("ab").unwrap();
    let mut records = seed(&apex).unwrap();
    records.retain(|record| record.rtype == Rtype::SOA);
    records[0].rdata = [&b"\0\0"[..], &[0, 0, 0, 9], &[0; 16]].concat().into();
    let mut set = ZoneSet::default();
    set.insert(Arc::new(Zone::new(&apex, records).unwrap()));
    let octets = fs::read(write_to(dir.path(), &set).path).unwrap();
    assert_eq!(octets[..40], *b"dyndnsC\n\0\0\0\x01\0\0\0\0\0\0\0\x07the chain after \0\0\0\x01");
    assert_eq!(octets[40..44], crc32fast::hash(&octets[..40]).to_be_bytes());
    assert_eq!(octets[44..64], [0; 20]);
    // The head of the zone: length, kind, (CRC,) name, serial, one owner.
    assert_eq!(octets[64..69], *b"\0\0\0\x12\x01");
    assert_eq!(octets[73..91], *b"\0\x04\x02ab\0\0\0\0\x09\0\0\0\0\0\0\0\x01");
    // The records: the key, and a node of one RRset. Should this change, so must the version.
    let node = b"\x06\0\x10\x0e\0\0\x18\0\0\0\x16\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    assert_eq!(octets[91..96], *b"\0\0\0\x2d\x02");
    assert_eq!(octets[100..145], [&b"\0\0\0\x03ab\0\0\0\0\x22"[..], node].concat()[..45]);
    let seeded = [&STEP.chain[..], &[0, 0, 0, 0, 0, 0, 0, 1], &octets[91..96], &octets[100..145]].concat();
    assert_eq!(octets[96..100], crc32fast::hash(&seeded).to_be_bytes());
    // The end: two blocks, one owner, the sum.
    assert_eq!(octets[145..150], *b"\0\0\0\x20\x03");
    assert_eq!(octets[154..170], *b"\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01");
    let sum = Sha256::digest([&octets[..64], &octets[64..73], &octets[91..100]].concat());
    assert_eq!(octets[170..], sum[..16]);
}

#[test]
fn a_flipped_bit_or_a_cut_anywhere_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = write_to(dir.path(), &zones(&[("example.com", 2), ("example.net", 1)])).path;
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut octets = whole.clone();
        octets[at] ^= 0x10;
        fs::write(&path, &octets).unwrap();
        let error = read(&path).expect_err(&format!("octet {at}")).to_string();
        assert!(error.contains(".ckpt"), "{error}");
        fs::write(&path, &whole[..at]).unwrap();
        assert!(read(&path).is_err(), "cut at {at}");
    }
    fs::write(&path, [&whole[..], &[0]].concat()).unwrap();
    assert!(read(&path).is_err(), "an octet too many");
    fs::write(&path, &whole).unwrap();
    assert_eq!(read(&path).unwrap().len(), 2);
    let other = dir.path().join(name_of(8));
    fs::rename(&path, &other).unwrap();
    assert!(read(&other).unwrap_err().to_string().contains("its name is not the sequence number"));
}

#[test]
fn a_whole_block_left_out_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = write_to(dir.path(), &zones(&[("example.com", 5000)])).path;
    let whole = fs::read(&path).unwrap();
    let length = |at: usize| BLOCK + u32::from_be_bytes(whole[at..at + 4].try_into().unwrap()) as usize;
    let second = HEADER + length(HEADER);
    let third = second + length(second);
    fs::write(&path, [&whole[..second], &whole[third..]].concat()).unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("the checksum of block 1 is wrong"));
}

#[test]
fn a_fault_at_any_operation_leaves_no_file_and_the_one_before_stays() {
    let dir = tempfile::tempdir().unwrap();
    let set = zones(&[("example.com", 5000)]);
    let earlier = write_to(dir.path(), &zones(&[("example.com", 1)]));
    let step = Step { seq: 9, ..STEP };
    for operation in 0.. {
        let disk = PowerDisk::new(1);
        disk.fail_after(operation);
        match write(&mut disk.clone(), dir.path(), step, &set, &AtomicBool::new(false)) {
            Ok(written) => {
                assert!(operation > 8, "{operation} operations");
                disk.cut();
                assert_eq!(read(&written.path).unwrap()[0].1.len(), 5002);
                break;
            }
            // Once it is renamed, only its name's durability is open.
            Err(_) if dir.path().join(name_of(9)).exists() => fs::remove_file(dir.path().join(name_of(9))).unwrap(),
            Err(error) => assert!(error.to_string().contains("the test fails this operation"), "{error}"),
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "operation {operation}");
        assert_eq!(read(&earlier.path).unwrap()[0].1.len(), 3);
    }
}

#[test]
fn writing_breaks_off_when_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(true);
    assert!(write(&mut SystemDisk, dir.path(), STEP, &zones(&[("example.com", 5000)]), &stop).is_err());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
