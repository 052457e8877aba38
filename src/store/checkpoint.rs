//! Checkpoints: every zone at one sequence number, in one file that is read from front to end.
//!
//! A checkpoint and the journal from its sequence number on are all that a table can be made of, so journal from before
//! the checkpoints may go. It is written from the published snapshot, which no update changes: the writer neither stops
//! nor waits. The newest two are kept, so that one damaged file costs nothing.
//!
//! # The format
//!
//! The directory holds `NNNNNNNNNNNNNNNNNNNN.ckpt`, named by the sequence number. One is made as `next.tmp`, synced,
//! renamed, and the directory synced, so a checkpoint under its own name is whole. All numbers are big-endian but those
//! inside packed RRsets.
//!
//! | offset | octets | a checkpoint                                                                        |
//! |--------|--------|-------------------------------------------------------------------------------------|
//! | 0      | 8      | `dyndnsC` and a newline                                                             |
//! | 8      | 4      | version: 1                                                                          |
//! | 12     | 8      | sequence number of the last commit that it holds                                    |
//! | 20     | 16     | chain hash after that commit                                                        |
//! | 36     | 4      | how many zones                                                                      |
//! | 40     | 4      | CRC-32 of octets 0 to 39                                                            |
//! | 44     | 20     | zeros                                                                               |
//! | 64     |        | blocks, one after the other: for each zone its head, then its records; then the end |
//!
//! | offset | octets | a block                                                                             |
//! |--------|--------|-------------------------------------------------------------------------------------|
//! | 0      | 4      | length of the payload                                                               |
//! | 4      | 1      | kind: 1 head of a zone, 2 records, 3 the end                                        |
//! | 5      | 4      | CRC-32 of: octets 20 to 35 of the file, how many blocks stand before this one (8 octets), octets 0 to 4 of the block, the payload |
//! | 9      |        | the payload                                                                         |
//!
//! | octets | the head of a zone                                                                           |
//! |--------|----------------------------------------------------------------------------------------------|
//! | 2 + n  | apex: its length, then its wire form in lower case                                            |
//! | 4      | serial                                                                                       |
//! | 8      | how many owners                                                                              |
//!
//! Records are owners in key order, as many as make a block of about 64 KiB; an owner is never cut:
//!
//! | octets | an owner                                                                                     |
//! |--------|----------------------------------------------------------------------------------------------|
//! | 2      | how many octets its key shares with the key before it in the block, 0 for the first           |
//! | 2 + n  | the rest of the key: its length, then its octets                                             |
//! | 4 + n  | its RRsets: their length, then the RRsets packed as [`crate::zone::Node`] has them            |
//!
//! | octets | the end                                                                                      |
//! |--------|----------------------------------------------------------------------------------------------|
//! | 8      | how many blocks stand before it                                                              |
//! | 8      | how many owners all zones have                                                               |
//! | 16     | the first 16 octets of SHA-256 of octets 0 to 63 of the file and octets 0 to 8 of every block before |
//!
//! The sum at the end covers the payloads by their CRCs. Reading takes any octets: it fails, but neither panics nor
//! allocates more than the file is long.

use super::StoreError;
use super::disk::Disk;
use super::encode::{Input, push_short};
use super::mark::Step;
use crate::wire::Name;
use crate::zone::{Node, ZoneSet};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// A checkpoint, open; its header has been read and checked.
#[derive(Debug)]
pub(super) struct Checkpoint {
    path: PathBuf,
    file: BufReader<File>,
    /// The commit up to which it holds everything.
    pub(super) step: Step,
    /// How many zones it holds.
    pub(super) zones: u32,
    /// The octets that are not read yet.
    left: u64,
    sum: Sha256,
    blocks: u64,
}

/// What a checkpoint holds, piece by piece.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part<'a> {
    /// A zone, by its apex; its owners follow, in key order.
    Zone(Name),
    /// An owner of that zone.
    Owner {
        /// The octets of its key.
        key: &'a [u8],
        /// Its records.
        node: Node<'a>,
    },
}

/// A checkpoint that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    /// The commit up to which it holds everything.
    pub(super) step: Step,
    /// The file.
    pub(super) path: PathBuf,
    /// Its length.
    pub(super) octets: u64,
    /// How many zones are in it.
    pub(super) zones: usize,
    /// How many owners they have.
    pub(super) owners: u64,
}

const MAGIC: &[u8; 8] = b"dyndnsC\n";
const VERSION: u32 = 1;
/// The length of the file's header.
const HEADER: usize = 64;
/// The length of a block's header.
const BLOCK: usize = 9;
/// A block of records ends once it is this long.
const FULL: usize = 1 << 16;
/// What is synced at a time. One sync of the whole file would make the journal's next sync wait for all of it.
const AT_ONCE: u64 = 4 << 20;
/// The name of a checkpoint while it is being made.
const UNFINISHED: &str = "next.tmp";

const ZONE: u8 = 1;
const RECORDS: u8 = 2;
const END: u8 = 3;

impl Checkpoint {
    /// Opens a checkpoint and checks its header.
    pub(super) fn open(path: &Path) -> Result<Checkpoint, StoreError> {
        let file = File::open(path).map_err(StoreError::io("open", path))?;
        let octets = file.metadata().map_err(StoreError::io("read", path))?.len();
        let mut file = BufReader::with_capacity(1 << 17, file);
        let mut header = [0; HEADER];
        file.read_exact(&mut header).map_err(|error| cut_or(path, error))?;
        let broken = |why: &str| broken(path, why);
        let (step, zones) = match read_header(&header) {
            Some(Ok(read)) => read,
            Some(Err(version)) => return Err(StoreError::Newer { path: path.to_owned(), version }),
            None => return Err(broken("its header is damaged")),
        };
        if path.file_name().is_none_or(|name| name != name_of(step.seq).as_str()) {
            return Err(broken("its name is not the sequence number in its header"));
        }
        let mut sum = Sha256::new();
        sum.update(header);
        Ok(Checkpoint { path: path.to_owned(), file, step, zones, left: octets - HEADER as u64, sum, blocks: 0 })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Hands everything in it to `visit`, piece by piece; in memory is one block at a time. Only when this returns
    /// `Ok` is all of it known to be whole: what was made of the pieces before an error is to be thrown away.
    pub(super) fn read<E: From<StoreError>>(
        mut self,
        mut visit: impl FnMut(Part<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut payload = Vec::new();
        let (mut zones, mut owners, mut expected) = (0u32, 0u64, 0u64);
        loop {
            let (before, sum) = (self.blocks, self.sum.clone());
            let kind = self.block(&mut payload)?;
            let broken = |why: &str| broken(&self.path, why);
            let malformed = || broken("a block does not follow the format");
            let mut input = Input(&payload);
            match kind {
                ZONE => {
                    if owners != expected {
                        return Err(broken("a zone has not as many owners as its head says").into());
                    }
                    let (apex, count) = read_zone(&mut input).ok_or_else(malformed)?;
                    (zones, expected) = (zones + 1, owners.saturating_add(count));
                    visit(Part::Zone(apex))?;
                }
                RECORDS => {
                    let mut key = Vec::new();
                    while !input.0.is_empty() {
                        let node = read_owner(&mut input, &mut key).ok_or_else(malformed)?;
                        owners += 1;
                        visit(Part::Owner { key: &key, node })?;
                    }
                }
                END => {
                    let (blocks, all, wanted) = read_end(&mut input).ok_or_else(malformed)?;
                    let whole = blocks == before && all == owners && owners == expected && zones == self.zones;
                    if !whole || wanted != short(sum) || self.left != 0 {
                        return Err(broken("its sum does not agree with its blocks").into());
                    }
                    return Ok(());
                }
                _ => return Err(malformed().into()),
            }
        }
    }

    /// Reads the next block's payload and checks it; returns its kind.
    fn block(&mut self, payload: &mut Vec<u8>) -> Result<u8, StoreError> {
        let mut header = [0; BLOCK];
        self.file.read_exact(&mut header).map_err(|error| cut_or(&self.path, error))?;
        let [l0, l1, l2, l3, kind, c0, c1, c2, c3] = header;
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        self.left = self
            .left
            .checked_sub(BLOCK as u64 + u64::from(length))
            .ok_or_else(|| broken(&self.path, "it is cut off"))?;
        payload.resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
        self.file.read_exact(payload).map_err(|error| cut_or(&self.path, error))?;
        if crc_of(&self.step, self.blocks, &header, payload) != u32::from_be_bytes([c0, c1, c2, c3]) {
            return Err(broken(&self.path, &format!("the checksum of block {} is wrong", self.blocks)));
        }
        self.sum.update(header);
        self.blocks += 1;
        Ok(kind)
    }
}

/// Writes a checkpoint of `zones`, which are what all commits up to `step` made, into `dir`. Breaks off with
/// [`io::ErrorKind::Interrupted`] once `stop` is set. On any error nothing of it stays.
pub(super) fn write(
    disk: &mut dyn Disk,
    dir: &Path,
    step: Step,
    zones: &ZoneSet,
    stop: &AtomicBool,
) -> Result<Written, StoreError> {
    let unfinished = dir.join(UNFINISHED);
    let path = dir.join(name_of(step.seq));
    let written = write_as(disk, &unfinished, step, zones, stop).and_then(|(octets, owners)| {
        disk.rename(&unfinished, &path).map_err(StoreError::io("create", &path))?;
        disk.sync_dir(dir).map_err(StoreError::io("sync", dir))?;
        Ok(Written { step, path: path.clone(), octets, zones: zones.len(), owners })
    });
    if written.is_err() {
        // On a full disk the room matters; a failure to remove it changes nothing, the next one writes over it.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

/// Writes it under a name that no reader looks for; returns its length and how many owners it holds.
fn write_as(
    disk: &mut dyn Disk,
    path: &Path,
    step: Step,
    zones: &ZoneSet,
    stop: &AtomicBool,
) -> Result<(u64, u64), StoreError> {
    let file = disk.create(path).map_err(StoreError::io("create", path))?;
    let header = header_of(step, u32::try_from(zones.len()).unwrap_or(u32::MAX));
    let mut sum = Sha256::new();
    sum.update(header);
    let mut out = Output { disk, path, file, step, octets: 0, synced: 0, blocks: 0, sum };
    out.put(&header)?;
    let mut owners = 0u64;
    for zone in zones.iter() {
        let mut head = Vec::new();
        let too_large = |what| StoreError::TooLarge { zone: Box::new(*zone.apex()), what };
        push_short(&mut head, zone.apex().as_bytes()).ok_or_else(|| too_large("its name is over 65535 octets"))?;
        head.extend_from_slice(&zone.serial().0.to_be_bytes());
        head.extend_from_slice(&(zone.owners() as u64).to_be_bytes());
        out.block(ZONE, &head)?;
        let mut payload = Vec::with_capacity(FULL + FULL / 4);
        let mut before: Vec<u8> = Vec::new();
        for (owner, node) in zone.nodes() {
            let key = owner.as_bytes();
            let shared = key.iter().zip(&before).take_while(|(a, b)| a == b).count();
            let pushed = push_owner(&mut payload, key, shared, node);
            pushed.ok_or_else(|| too_large("an owner's records are over 4 GiB"))?;
            before.clear();
            before.extend_from_slice(key);
            owners += 1;
            if payload.len() >= FULL {
                if stop.load(Ordering::Relaxed) {
                    return Err(StoreError::io("write", path)(io::ErrorKind::Interrupted.into()));
                }
                out.block(RECORDS, &payload)?;
                payload.clear();
                before.clear();
            }
        }
        if !payload.is_empty() {
            out.block(RECORDS, &payload)?;
        }
    }
    let sum = short(out.sum.clone());
    let end = [&out.blocks.to_be_bytes()[..], &owners.to_be_bytes(), &sum].concat();
    out.block(END, &end)?;
    out.sync()?;
    Ok((out.octets, owners))
}

/// A checkpoint that is being written.
struct Output<'a> {
    disk: &'a mut dyn Disk,
    path: &'a Path,
    file: File,
    step: Step,
    octets: u64,
    synced: u64,
    blocks: u64,
    sum: Sha256,
}

impl Output<'_> {
    fn block(&mut self, kind: u8, payload: &[u8]) -> Result<(), StoreError> {
        // A block is little more than `FULL` and one owner, whose length is counted in four octets too.
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let [l0, l1, l2, l3] = length.to_be_bytes();
        let head = [l0, l1, l2, l3, kind, 0, 0, 0, 0];
        let [c0, c1, c2, c3] = crc_of(&self.step, self.blocks, &head, payload).to_be_bytes();
        let head = [l0, l1, l2, l3, kind, c0, c1, c2, c3];
        self.sum.update(head);
        self.blocks += 1;
        self.put(&[&head, payload].concat())?;
        if self.octets - self.synced >= AT_ONCE { self.sync() } else { Ok(()) }
    }

    fn put(&mut self, octets: &[u8]) -> Result<(), StoreError> {
        self.disk.write_at(&self.file, octets, self.octets).map_err(StoreError::io("write", self.path))?;
        self.octets += octets.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.synced = self.octets;
        self.disk.sync(&self.file).map_err(StoreError::io("sync", self.path))
    }
}

/// The checkpoints in `dir` with their sequence numbers, the newest first. A directory that is not there has none.
pub(super) fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>, StoreError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(StoreError::io("read", dir))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(StoreError::io("read", dir))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let seq = name.strip_suffix(".ckpt").and_then(|stem| stem.parse().ok());
        if let Some(seq) = seq.filter(|seq| name_of(*seq) == name) {
            found.push((seq, path));
        }
    }
    found.sort_by(|a, b| b.cmp(a));
    Ok(found)
}

/// The name of the checkpoint up to a sequence number.
pub(super) fn name_of(seq: u64) -> String {
    format!("{seq:020}.ckpt")
}

pub(super) fn broken(path: &Path, why: &str) -> StoreError {
    StoreError::Checkpoint { path: path.to_owned(), why: why.to_owned() }
}

fn cut_or(path: &Path, error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => broken(path, "it is cut off"),
        _ => StoreError::io("read", path)(error),
    }
}

fn header_of(step: Step, zones: u32) -> [u8; HEADER] {
    let mut out =
        [&MAGIC[..], &VERSION.to_be_bytes(), &step.seq.to_be_bytes(), &step.chain, &zones.to_be_bytes()].concat();
    out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
    let mut header = [0; HEADER];
    header.iter_mut().zip(out).for_each(|(to, from)| *to = from);
    header
}

/// What a header says; `Err` holds a later version, `None` is no header.
fn read_header(octets: &[u8; HEADER]) -> Option<Result<(Step, u32), u32>> {
    let mut input = Input(octets);
    (input.take(MAGIC.len())? == MAGIC).then_some(())?;
    let version = input.u32()?;
    if version > VERSION {
        return Some(Err(version));
    }
    let step = Step { seq: input.u64()?, chain: input.array()? };
    let zones = input.u32()?;
    (header_of(step, zones) == *octets).then_some(Ok((step, zones)))
}

/// The apex and how many owners follow. The serial is in the SOA record too; here it is for people.
fn read_zone(input: &mut Input<'_>) -> Option<(Name, u64)> {
    let apex = Name::from_wire(input.short()?).ok()?;
    input.u32()?;
    let owners = input.u64()?;
    input.0.is_empty().then_some((apex, owners))
}

/// Reads an owner; `key` is the key before it and then its own.
fn read_owner<'a>(input: &mut Input<'a>, key: &mut Vec<u8>) -> Option<Node<'a>> {
    let shared = usize::from(input.u16()?);
    (shared <= key.len()).then_some(())?;
    key.truncate(shared);
    key.extend_from_slice(input.short()?);
    let length = usize::try_from(input.u32()?).ok()?;
    Some(Node::new(input.take(length)?))
}

fn push_owner(out: &mut Vec<u8>, key: &[u8], shared: usize, node: Node<'_>) -> Option<()> {
    out.extend_from_slice(&u16::try_from(shared).ok()?.to_be_bytes());
    push_short(out, key.get(shared..)?)?;
    let packed = node.as_bytes();
    out.extend_from_slice(&u32::try_from(packed.len()).ok()?.to_be_bytes());
    out.extend_from_slice(packed);
    Some(())
}

fn read_end(input: &mut Input<'_>) -> Option<(u64, u64, [u8; 16])> {
    let read = (input.u64()?, input.u64()?, input.array()?);
    input.0.is_empty().then_some(read)
}

/// The CRC of a block; octets 5 to 8 of its header do not count.
fn crc_of(step: &Step, number: u64, header: &[u8; BLOCK], payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&step.chain);
    crc.update(&number.to_be_bytes());
    crc.update(header.get(..5).unwrap_or_default());
    crc.update(payload);
    crc.finalize()
}

fn short(sum: Sha256) -> [u8; 16] {
    let mut out = [0; 16];
    out.iter_mut().zip(sum.finalize()).for_each(|(to, from)| *to = from);
    out
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
