//! Tests of the journal.

use super::super::disk::SystemDisk;
use super::super::power::PowerDisk;
use super::super::samples;
use super::super::segment::FRAME;
use super::*;
use crate::zone::Serial;
use std::time::UNIX_EPOCH;

/// Small, so that a few commits fill several.
const SEGMENT: usize = 1000;

fn commit(time: u64) -> Commit {
    Commit { time, ..samples::change("example.com", 7, &[("host.example.com", 60, "192.0.2.1")]) }
}

fn open(dir: &Path) -> Result<(Journal, Vec<RecoveryNote>), StoreError> {
    let mut notes = Vec::new();
    Journal::open(dir, SEGMENT, Box::new(SystemDisk), 0, &mut notes).map(|journal| (journal, notes))
}

/// How many commits a start that builds upon none of them reads.
fn replayed(dir: &Path) -> Result<usize, StoreError> {
    let (journal, _) = open(dir)?;
    let mut count = 0;
    journal.replay(1, |_| {
        count += 1;
        Ok::<_, StoreError>(())
    })?;
    Ok(count)
}

/// The times of the commits, by which these tests know them.
fn times(journal: &Journal) -> Vec<u64> {
    let mut times = Vec::new();
    let visit = |frame: &Frame<'_>| {
        assert_eq!(frame.seq, times.len() as u64 + 1);
        times.push(encode::decode(frame.payload).unwrap().time);
        Ok::<_, StoreError>(())
    };
    journal.replay(1, visit).unwrap();
    times
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut found = list(dir).unwrap();
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

/// A journal of `count` commits, one per group; and where each commit's frame starts in the last segment.
fn journal_of(dir: &Path, count: u64) -> Vec<usize> {
    let (mut journal, _) = open(dir).unwrap();
    for time in 1..=count {
        journal.append(&[commit(time)]).unwrap();
    }
    starts(segments(dir).last().unwrap())
}

fn starts(segment: &Path) -> Vec<usize> {
    let octets = fs::read(segment).unwrap();
    let mut frames = Frames::new(&octets).unwrap();
    let mut starts = vec![frames.at];
    while frames.next().is_some() {
        starts.push(frames.at);
    }
    starts
}

fn change_octet(path: &Path, at: usize, change: impl FnOnce(u8) -> u8) {
    let mut octets = fs::read(path).unwrap();
    octets[at] = change(octets[at]);
    fs::write(path, octets).unwrap();
}

#[test]
fn commits_come_back_over_many_segments_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let mut next = 1;
    for size in [1, 5, 20, 1, 3] {
        let (mut journal, notes) = open(dir.path()).unwrap();
        assert_eq!(notes, []);
        assert_eq!(times(&journal), (1..next).collect::<Vec<_>>());
        let group: Vec<_> = (next..next + size).map(commit).collect();
        next += size;
        assert_eq!(journal.append(&group).unwrap().frames.last().unwrap().seq, next - 1);
        assert_eq!(journal.last(), next - 1);
    }
    assert_eq!(times(&open(dir.path()).unwrap().0), (1..next).collect::<Vec<_>>());
    assert!(segments(dir.path()).len() > 2);
    assert!(segments(dir.path())[0].ends_with("00000000000000000001.seg"));
}

#[test]
fn a_group_larger_than_a_segment_gets_one_of_its_own_size() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path()).unwrap();
    journal.append(&[commit(1)]).unwrap();
    journal.append(&(2..50).map(commit).collect::<Vec<_>>()).unwrap();
    journal.append(&[commit(50)]).unwrap();
    let sizes: Vec<_> = segments(dir.path()).iter().map(|path| path.metadata().unwrap().len()).collect();
    assert_eq!((sizes[0], sizes[2]), (1000, 1000));
    assert!(sizes[1] > 1000);
    assert_eq!(times(&open(dir.path()).unwrap().0), (1..=50).collect::<Vec<_>>());
}

#[test]
fn no_commits_are_no_group() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path()).unwrap();
    assert!(journal.append(&[]).unwrap().frames.is_empty());
    assert_eq!(segments(dir.path()).len(), 0);
}

#[test]
fn a_tail_torn_at_any_octet_is_cut_and_the_frames_before_it_stay() {
    let dir = tempfile::tempdir().unwrap();
    let starts = journal_of(dir.path(), 3);
    let segment = segments(dir.path()).pop().unwrap();
    let whole = fs::read(&segment).unwrap();
    // Where one bit is all that is missing, it is known what was written.
    let ones = |from: usize| whole[from..starts[3]].iter().map(|octet| octet.count_ones()).sum::<u32>();
    for cut in (starts[2]..starts[3]).filter(|cut| ones(*cut) > 1) {
        let mut torn = whole.clone();
        torn[cut..].fill(0);
        fs::write(&segment, &torn).unwrap();
        let (mut journal, notes) = open(dir.path()).unwrap();
        assert_eq!(times(&journal), [1, 2], "cut at {cut}");
        match &notes[..] {
            [] => assert!(torn[starts[2]..].iter().all(|octet| *octet == 0)),
            [RecoveryNote::TailCut { offset, commit: 3, .. }] => assert_eq!(*offset, starts[2] as u64),
            other => panic!("{other:?}"),
        }
        assert!(fs::read(&segment).unwrap()[starts[2]..].iter().all(|octet| *octet == 0));
        journal.append(&[commit(4)]).unwrap();
        assert_eq!(times(&open(dir.path()).unwrap().0), [1, 2, 4]);
        // As `fs::write` would have it after an append or a crash that lost the preallocation.
        fs::write(&segment, &whole[..cut]).unwrap();
        assert_eq!(times(&open(dir.path()).unwrap().0), [1, 2], "file ends at {cut}");
    }
}

/// A write that was never finished lacks more than a bit.
#[test]
fn a_flipped_bit_in_the_last_group_is_damage_and_two_cut_it() {
    let dir = tempfile::tempdir().unwrap();
    let starts = journal_of(dir.path(), 3);
    let segment = segments(dir.path()).pop().unwrap();
    let whole = fs::read(&segment).unwrap();
    for at in starts[2]..starts[3] {
        change_octet(&segment, at, |octet| octet ^ 0x04);
        let error = open(dir.path()).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(&format!("is damaged at octet {}: of commit 3 one bit ", starts[2])), "{error}");
        change_octet(&segment, at, |octet| octet ^ 0x40);
        let (journal, notes) = open(dir.path()).unwrap();
        assert_eq!(times(&journal), [1, 2], "octet {at}");
        assert!(notes[0].to_string().contains(&format!("cut at octet {}", starts[2])), "{}", notes[0]);
        fs::write(&segment, &whole).unwrap();
    }
}

#[test]
fn a_flipped_bit_before_the_last_group_is_found_by_a_replay_and_names_the_octet() {
    let dir = tempfile::tempdir().unwrap();
    let last_starts = journal_of(dir.path(), 20);
    let all = segments(dir.path());
    let (first, last) = (&all[0], &all[all.len() - 1]);
    for (segment, starts) in [(first, starts(first)), (last, last_starts)] {
        for at in starts[0]..starts[1] {
            change_octet(segment, at, |octet| octet ^ 0x04);
            let error = replayed(dir.path()).unwrap_err().to_string();
            assert!(error.contains(&format!("{} is damaged at octet {}: ", segment.display(), starts[0])), "{error}");
            assert!(error.contains("check the disk, then stop the server and run dyndns zone repair: "), "{error}");
            change_octet(segment, at, |octet| octet ^ 0x04);
        }
    }
    for at in 0..40 {
        change_octet(last, at, |octet| octet ^ 0x04);
        assert!(open(dir.path()).is_err(), "header octet {at}");
        change_octet(last, at, |octet| octet ^ 0x04);
    }
    assert_eq!(times(&open(dir.path()).unwrap().0).len(), 20);
}

#[test]
fn a_missing_segment_is_found_by_a_replay() {
    let dir = tempfile::tempdir().unwrap();
    journal_of(dir.path(), 30);
    let all = segments(dir.path());
    for gone in &all[1..all.len() - 1] {
        let octets = fs::read(gone).unwrap();
        fs::remove_file(gone).unwrap();
        let error = replayed(dir.path()).unwrap_err().to_string();
        assert!(error.contains("is not whole"), "{error}");
        fs::write(gone, octets).unwrap();
    }
    assert_eq!(replayed(dir.path()).unwrap(), 30);
    // A segment of another journal in the place of one.
    let other = tempfile::tempdir().unwrap();
    journal_of(other.path(), 30);
    fs::copy(&segments(other.path())[2], &all[2]).unwrap();
    let error = replayed(dir.path()).unwrap_err().to_string();
    assert!(error.contains("it does not follow the segment before it"), "{error}");
}

#[test]
fn an_unfinished_segment_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(UNFINISHED), b"zeros and no header").unwrap();
    let (journal, notes) = open(dir.path()).unwrap();
    assert_eq!((journal.last(), notes), (0, vec![]));
    assert!(!dir.path().join(UNFINISHED).exists());
}

#[test]
fn a_refused_group_is_never_part_of_the_journal_and_the_next_append_works() {
    // Every operation of the append fails once: write, sync, and those that make a segment.
    for operation in 0..8 {
        let dir = tempfile::tempdir().unwrap();
        let disk = PowerDisk::new(operation);
        let mut journal = Journal::open(dir.path(), SEGMENT, Box::new(disk.clone()), 0, &mut Vec::new()).unwrap();
        journal.append(&(1..7).map(commit).collect::<Vec<_>>()).unwrap();
        disk.fail_after(usize::try_from(operation).unwrap());
        let mut answered: Vec<u64> = (1..7).collect();
        for time in 7..=20 {
            match journal.append(&[commit(time)]) {
                Ok(_) => answered.push(time),
                Err(error) => assert!(error.to_string().contains("the test fails this operation"), "{error}"),
            }
        }
        assert_eq!(answered.len(), 19, "operation {operation}");
        assert_eq!(times(&journal), answered);
        drop(journal);
        disk.cut();
        let (journal, notes) = open(dir.path()).unwrap();
        assert_eq!(times(&journal), answered);
        assert_eq!(notes, []);
    }
}

/// After a failed sync the page cache shows what the disk does not have. A journal that went on after it, in a segment
/// of its own, left answered commits on pages that nobody wrote again.
#[test]
fn what_shares_a_page_with_a_failed_sync_is_written_anew_before_the_next_answer() {
    for seed in 0..8 {
        let dir = tempfile::tempdir().unwrap();
        let disk = PowerDisk::new(seed);
        let mut journal = Journal::open(dir.path(), SEGMENT, Box::new(disk.clone()), 0, &mut Vec::new()).unwrap();
        journal.append(&[commit(1)]).unwrap();
        journal.append(&[commit(2)]).unwrap();
        // The sync of the group, and the two operations that would break its frame.
        disk.fail(1, 3);
        journal.append(&[commit(3)]).unwrap_err();
        journal.append(&[commit(4)]).unwrap();
        assert_eq!(times(&journal), [1, 2, 4]);
        drop(journal);
        disk.cut();
        assert_eq!(segments(dir.path()).len(), 2);
        let (journal, notes) = open(dir.path()).unwrap();
        assert_eq!((times(&journal), notes), (vec![1, 2, 4], vec![]), "seed {seed}");
        assert_eq!(segments(dir.path()).len(), 1, "the segment in doubt is removed");
    }
}

#[test]
fn a_segment_that_changed_behind_a_failed_sync_takes_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let disk = PowerDisk::new(1);
    let mut journal = Journal::open(dir.path(), SEGMENT, Box::new(disk.clone()), 0, &mut Vec::new()).unwrap();
    journal.append(&[commit(1)]).unwrap();
    disk.fail_after(1);
    journal.append(&[commit(2)]).unwrap_err();
    let segment = segments(dir.path()).pop().unwrap();
    change_octet(&segment, HEADER + FRAME, |octet| octet ^ 1);
    for time in 3..5 {
        let error = journal.append(&[commit(time)]).unwrap_err().to_string();
        assert!(error.contains("commit 1 is not whole"), "{error}");
    }
    // What shows it may be the memory and not the disk.
    change_octet(&segment, HEADER + FRAME, |octet| octet ^ 1);
    journal.append(&[commit(5)]).unwrap();
    assert_eq!(times(&journal), [1, 5]);
}

#[test]
fn a_refused_group_that_the_disk_kept_is_not_found_after_a_kill() {
    // The seeds differ in which sectors of the failed write are on the disk.
    for seed in 0..8 {
        let dir = tempfile::tempdir().unwrap();
        let disk = PowerDisk::new(seed);
        let mut journal = Journal::open(dir.path(), SEGMENT, Box::new(disk.clone()), 0, &mut Vec::new()).unwrap();
        journal.append(&[commit(1)]).unwrap();
        disk.fail_after(1);
        journal.append(&[commit(2), commit(3)]).unwrap_err();
        drop(journal);
        disk.settle();
        assert_eq!(times(&open(dir.path()).unwrap().0), [1], "seed {seed}");
    }
}

#[test]
fn appends_work_again_once_a_full_disk_has_room() {
    let dir = tempfile::tempdir().unwrap();
    let disk = PowerDisk::new(1);
    let mut journal = Journal::open(dir.path(), SEGMENT, Box::new(disk.clone()), 0, &mut Vec::new()).unwrap();
    disk.set_full(true);
    for _ in 0..3 {
        let error = journal.append(&[commit(1)]).unwrap_err().to_string();
        assert!(error.contains("no storage space; make room"), "{error}");
    }
    disk.set_full(false);
    journal.append(&[commit(2)]).unwrap();
    assert_eq!(times(&open(dir.path()).unwrap().0), [2]);
}

/// The promise of this whole module. Without the sync before the answer, or the syncs of a new segment and of its name,
/// or with a return to the segment before one whose making failed, this finds answered commits lost.
#[test]
fn answered_commits_survive_faults_kills_and_power_loss_in_any_order() {
    for seed in 0..150u64 {
        let dir = tempfile::tempdir().unwrap();
        let disk = PowerDisk::new(seed);
        let mut random = seed.wrapping_mul(0xD129_8A2E_03C6_67F5) | 1;
        let mut dice = |sides: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 8) % sides
        };
        let mut answered: Vec<u64> = Vec::new();
        let mut time = 0;
        for _life in 0..4 {
            let opened = Journal::open(dir.path(), SEGMENT, Box::new(disk.clone()), 0, &mut Vec::new());
            let Ok(mut journal) = opened else {
                // A planned fault hit the start; the next start has none.
                continue;
            };
            let found = times(&journal);
            assert!(found.starts_with(&answered), "seed {seed}: answered {answered:?}, found {found:?}");
            // What was neither answered nor lost is part of the journal from here on.
            answered = found;
            for _ in 0..dice(12) {
                if dice(4) == 0 {
                    let [after, times] = [dice(8), 1 + dice(4)].map(|number| usize::try_from(number).unwrap());
                    disk.fail(after, times);
                }
                let group: Vec<_> = (0..1 + dice(5)).map(|more| commit(time + more + 1)).collect();
                time += group.len() as u64;
                if journal.append(&group).is_ok() {
                    answered.extend(group.iter().map(|commit| commit.time));
                }
            }
            assert_eq!(times(&journal), answered, "seed {seed}");
            drop(journal);
            if dice(2) == 0 { disk.cut() } else { disk.settle() }
        }
    }
}

#[test]
fn history_is_read_back_over_segments() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path()).unwrap();
    journal.append(&[samples::create("example.com", 0xFFFF_FFF0, &[])]).unwrap();
    for to in 0xFFFF_FFF1..=0xFFFF_FFFF_u32 {
        journal.append(&[samples::change("example.com", to, &[]), samples::change("example.net", 3, &[])]).unwrap();
    }
    journal.append(&[samples::change("example.com", 0, &[]), samples::change("example.com", 1, &[])]).unwrap();
    let zone = Name::parse("EXAMPLE.com").unwrap();
    let history = journal.history(&zone, Some(Since::Serial(Serial(0xFFFF_FFFE))), 100).unwrap();
    let serials: Vec<_> = history.commits.iter().map(|logged| logged.commit.to.0).collect();
    assert_eq!((serials, history.complete), (vec![0xFFFF_FFFF, 0, 1], true));
    assert_eq!(journal.history(&zone, None, 100).unwrap().commits.len(), 18);
    assert_eq!(journal.history(&zone, None, 5).unwrap().commits.last().unwrap().seq, 33);
    assert!(segments(dir.path()).len() > 3);
}

#[test]
fn a_forged_frame_inside_a_torn_commit_is_not_taken_for_damage() {
    // A client knows the format, but not the hash that seeds the CRC: what it writes into a TXT record cannot pass
    // for a later frame and so cannot keep the journal from opening.
    let dir = tempfile::tempdir().unwrap();
    journal_of(dir.path(), 2);
    let segment = segments(dir.path()).pop().unwrap();
    let mut forged = Group::new(&[commit(9)], 40, Chain::default()).unwrap();
    forged.seal(&Header { first: 1, chain: Chain::default() });
    let (mut journal, _) = open(dir.path()).unwrap();
    let mut evil = commit(3);
    evil.changes.added[0].rdata = forged.octets.into();
    journal.append(&[evil]).unwrap();
    drop(journal);
    let start = starts(&segment)[2];
    change_octet(&segment, start + FRAME, |octet| octet ^ 3);
    assert_eq!(times(&open(dir.path()).unwrap().0), [1, 2]);
}

/// Sets when a segment was last written to.
fn set_written(path: &Path, seconds: u64) {
    let time = UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn old_and_surplus_segments_go_whole_but_none_that_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    journal_of(dir.path(), 60);
    let all = segments(dir.path());
    assert!(all.len() >= 8, "{} segments", all.len());
    all.iter().zip(1u64..).for_each(|(path, number)| set_written(path, 1000 * number));
    let (mut journal, _) = open(dir.path()).unwrap();
    let firsts: Vec<u64> = journal.segments.iter().map(|segment| segment.first).collect();
    let keep = |age, size| Retention { age, size };
    // Neither old nor too much; old and needed; too much and needed.
    assert_eq!(journal.retire(&keep(5000, u64::MAX), 60, 6000).unwrap(), 0);
    assert_eq!(journal.retire(&keep(0, u64::MAX), 0, 1_000_000).unwrap(), 0);
    assert_eq!(journal.retire(&keep(u64::MAX, 0), firsts[1] - 2, 0).unwrap(), 0);
    // A clock that jumped back keeps more, not less.
    assert_eq!(journal.retire(&keep(5000, u64::MAX), 60, 0).unwrap(), 0);
    // Two are older than the age.
    assert_eq!(journal.retire(&keep(5000, u64::MAX), 60, 7500).unwrap(), 2);
    assert_eq!(journal.first(), firsts[2]);
    // One too many by size, and the needed one stays.
    let size = SEGMENT as u64 * (all.len() as u64 - 3);
    assert_eq!(journal.retire(&keep(u64::MAX, size), 60, 0).unwrap(), 1);
    assert_eq!(journal.retire(&keep(u64::MAX, 0), firsts[4] - 1, 0).unwrap(), 1);
    assert_eq!(segments(dir.path()), all[4..]);
    // Never the one that is written to, however little is to be kept; and a few at a time.
    while journal.retire(&keep(0, 0), 60, u64::MAX).unwrap() > 0 {}
    assert_eq!(segments(dir.path()), all[all.len() - 1..]);
    journal.append(&[commit(61)]).unwrap();
    drop(journal);
    let (journal, notes) = open(dir.path()).unwrap();
    assert_eq!((journal.last(), notes), (61, vec![]));
    // What is gone is no history that is complete.
    let zone = Name::parse("example.com").unwrap();
    let history = journal.history(&zone, None, 1000).unwrap();
    assert!(!history.complete && !history.commits.is_empty());
    let since = journal.history(&zone, Some(Since::Serial(Serial(99))), 1000).unwrap();
    assert!(!since.complete && since.commits.is_empty());
}

#[test]
fn a_fault_or_a_power_cut_while_segments_go_leaves_one_unbroken_piece() {
    for operation in 0..8 {
        let dir = tempfile::tempdir().unwrap();
        journal_of(dir.path(), 60);
        let disk = PowerDisk::new(operation);
        let mut journal = Journal::open(dir.path(), SEGMENT, Box::new(disk.clone()), 0, &mut Vec::new()).unwrap();
        disk.fail_after(usize::try_from(operation).unwrap());
        let outcome = journal.retire(&Retention { age: 0, size: 0 }, 60, u64::MAX);
        assert!(outcome.is_err(), "operation {operation}");
        let first = journal.first();
        let left = |journal: &Journal| {
            let mut count = 0;
            journal.replay(1, |_| {
                count += 1;
                Ok::<_, StoreError>(())
            })?;
            Ok::<_, StoreError>(count)
        };
        assert_eq!(left(&journal).unwrap(), 61 - first);
        drop(journal);
        disk.cut();
        assert_eq!(left(&open(dir.path()).unwrap().0).unwrap(), 61 - first);
    }
}

#[test]
fn the_chain_after_any_commit_that_is_kept_is_known() {
    let dir = tempfile::tempdir().unwrap();
    journal_of(dir.path(), 30);
    let (mut journal, _) = open(dir.path()).unwrap();
    let mut chains = Vec::new();
    journal
        .replay(1, |frame| {
            chains.push(frame.chain);
            Ok::<_, StoreError>(())
        })
        .unwrap();
    for (seq, chain) in (1..).zip(&chains) {
        assert_eq!(journal.chain_after(seq).unwrap(), Some(*chain), "commit {seq}");
    }
    assert!(journal.chain_after(0).unwrap().is_some_and(|chain| !chains.contains(&chain)));
    assert_eq!(journal.chain_after(31).unwrap(), None);
    journal.retire(&Retention { age: 0, size: 0 }, 30, u64::MAX).unwrap();
    let first = journal.first();
    assert_eq!(journal.chain_after(first - 1).unwrap(), Some(chains[usize::try_from(first).unwrap() - 2]));
    assert_eq!(journal.chain_after(first - 2).unwrap(), None);
}
