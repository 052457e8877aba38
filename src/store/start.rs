//! What a start makes of what lies in the state directory: the zones at the end of the journal, and a table that is to
//! follow it.
//!
//! # What the table has, and what the journal adds
//!
//! A table's mark names two commits. Every commit up to `done` is in it whole. `begun` is `done`, or a commit after
//! it: of those between, and of `begun` itself, any part may be there, each owner as some of them left it. So a start takes
//! every zone as the table has it, and applies all commits after `done` upon that:
//!
//! - a create: what the table has of the zone is thrown away;
//! - a delete: likewise;
//! - a change: what it removes may be gone already and what it adds may be there, as in [`Table::follow`]. Both name
//!   whole records, and all removals come before the additions, so the outcome is that of doing it in one go: the last
//!   commit that names a record says whether it is there, and the last that adds to an RRset its TTL.
//!
//! Until then the zone may lack its SOA; it is looked for at the end. Where the table is missing, of another journal, ahead
//! of this one, or not what was written to it, its zones are dropped, it is set aside, and the zones are made from the
//! newest checkpoint that is good and the journal after it, or from the whole journal, while a new table begins to
//! follow. Where the disk does not let one be opened, on a full disk for one, the server does without: sled wants to write
//! before it reads. A replay goes at some 470,000 commits of one host's address a second, so ten million take 21 s (seen:
//! 10,000,001 commits, 2.7 GB of journal, in 20.6 s, of which 18.7 s of one processor, with 24 MB resident);
//! checkpoints come long before. A journal that ends before a checkpoint lacks commits that were answered: that ends the
//! start.

use super::checkpoint::{self, Checkpoint, Part};
use super::encode::{self, Unreadable};
use super::journal::Journal;
use super::mark::Step;
use super::recovery::{LoadedZone, StoreOptions};
use super::table::{Table, TableError};
use super::{CommitKind, RecoveryNote, StoreError};
use crate::wire::Name;
use crate::zone::{self, Changes, Key};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A start that has read the table and the journal.
pub(super) struct Start<'a> {
    /// The table.
    pub(super) path: &'a Path,
    /// The directory of the checkpoints.
    pub(super) checkpoints: &'a Path,
    pub(super) options: &'a StoreOptions,
    pub(super) journal: &'a Journal,
}

/// What a start makes: the zones at the end of the journal, and a table that is to follow it.
pub(super) struct Base {
    /// Missing where its disk has no room for it, or fails: it is never needed.
    pub(super) table: Option<Table>,
    pub(super) zones: Zones,
    /// What the table, which is empty, is to be filled from.
    pub(super) from: Option<Checkpoint>,
}

/// Why there are no zones to serve.
enum Trouble {
    Store(StoreError),
    /// They do not fit the journal.
    Unfit(String),
}

/// Every zone, by the key of its apex.
pub(super) type Zones = BTreeMap<Vec<u8>, LoadedZone>;

/// Opens the table and reads all of it.
pub(super) fn open_table(path: &Path, options: &StoreOptions) -> Result<(Table, Zones), TableError> {
    let mut table = Table::open(path, options.table_cache)?;
    if table.mark().is_filling() {
        // Of no use, and nothing that anybody would want to look into.
        table.close();
        fs::remove_dir_all(path).map_err(TableError::Disk)?;
        table = Table::open(path, options.table_cache)?;
    }
    match table.read() {
        Ok(zones) => Ok((table, zones)),
        Err(error) => {
            table.close();
            Err(error)
        }
    }
}

impl Start<'_> {
    /// The zones at the end of the journal, and a table that follows it: the one that was read, where it can be used.
    pub(super) fn catch_up(
        &self,
        read: Result<(Table, Zones), TableError>,
        fresh: bool,
        notes: &mut Vec<RecoveryNote>,
    ) -> Result<Base, StoreError> {
        let why = match read {
            Ok((table, _)) if fresh || table.mark().begun.seq == 0 => return self.anew(Ok(table), fresh, notes),
            Ok((table, mut zones)) => match self.replay(table.mark().done, table.mark().begun, &mut zones) {
                Ok(()) => {
                    notes.extend(self.behind(table.mark().done, |commits| RecoveryNote::TableBehind { commits }));
                    return Ok(Base { table: Some(table), zones, from: None });
                }
                Err(trouble) => {
                    table.close();
                    match trouble {
                        Trouble::Unfit(why) => why,
                        Trouble::Store(error) => return Err(error),
                    }
                }
            },
            Err(TableError::Unusable(why)) => why,
            // A new one would fare no better.
            Err(error) => return self.anew(Err(error), fresh, notes),
        };
        let to = set_aside(self.path)?;
        notes.push(RecoveryNote::TableSetAside { to, why });
        self.anew(Table::open(self.path, self.options.table_cache), true, notes)
    }

    /// The zones without a table, and an empty one to follow, where there can be one.
    fn anew(
        &self,
        table: Result<Table, TableError>,
        fresh: bool,
        notes: &mut Vec<RecoveryNote>,
    ) -> Result<Base, StoreError> {
        let (mut zones, from) = self.newest_checkpoint(notes)?;
        let step = from.as_ref().map_or(Step::default(), |checkpoint| checkpoint.step);
        self.replay(step, step, &mut zones).map_err(|trouble| match trouble {
            Trouble::Store(error) => error,
            // It did when it was opened.
            Trouble::Unfit(why) => checkpoint::broken(from.as_ref().map_or(self.checkpoints, Checkpoint::path), &why),
        })?;
        let table = match table {
            Ok(table) => table,
            Err(why) => {
                notes.push(RecoveryNote::TableNotOpened { path: self.path.to_owned(), why: why.to_string() });
                return Ok(Base { table: None, zones, from: None });
            }
        };
        match &from {
            Some(checkpoint) => {
                let (path, commits) = (checkpoint.path().to_owned(), self.journal.last() - step.seq);
                notes.push(RecoveryNote::TableFromCheckpoint { path, commits });
            }
            None if fresh => notes.extend(self.behind(step, |commits| RecoveryNote::TableRebuilt { commits })),
            None => notes.extend(self.behind(step, |commits| RecoveryNote::TableBehind { commits })),
        }
        Ok(Base { table: Some(table), zones, from })
    }

    /// What is to be told of a table that ends with a commit, where the journal goes on.
    fn behind(&self, done: Step, note: impl FnOnce(u64) -> RecoveryNote) -> Option<RecoveryNote> {
        let commits = self.journal.last() - done.seq;
        (commits > 0).then(|| note(commits))
    }

    /// The zones of the newest checkpoint that is whole and of this journal; none where there is none and the journal
    /// goes back to its beginning.
    fn newest_checkpoint(&self, notes: &mut Vec<RecoveryNote>) -> Result<(Zones, Option<Checkpoint>), StoreError> {
        for (_, path) in checkpoint::list(self.checkpoints)? {
            match self.zones_of(&path) {
                Ok(zones) => return Ok((zones, Some(Checkpoint::open(&path)?))),
                Err(StoreError::Checkpoint { why, .. }) => {
                    let aside = path.with_extension("damaged");
                    let to = match fs::rename(&path, &aside) {
                        // It is in nobody's way where nothing can be written either.
                        Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => path,
                        renamed => renamed.map(|()| aside).map_err(StoreError::io("set aside", &path))?,
                    };
                    notes.push(RecoveryNote::CheckpointSetAside { to, why });
                }
                Err(error) => return Err(error),
            }
        }
        match self.journal.first() {
            1 => Ok((Zones::new(), None)),
            first => Err(StoreError::NoBeginning { path: self.checkpoints.with_file_name("journal"), first }),
        }
    }

    /// What a checkpoint of this journal holds.
    fn zones_of(&self, path: &Path) -> Result<Zones, StoreError> {
        let checkpoint = Checkpoint::open(path)?;
        if self.journal.chain_after(checkpoint.step.seq)? != Some(checkpoint.step.chain) {
            return Err(checkpoint::broken(path, "it is of another journal"));
        }
        read_checkpoint(checkpoint)
    }

    /// Brings zones that hold every commit up to `done`, and those up to `begun` in part, to the end of the journal.
    fn replay(&self, done: Step, begun: Step, zones: &mut Zones) -> Result<(), Trouble> {
        let last = self.journal.last();
        if begun.seq > last {
            let why = format!("it holds commit {}, but the journal ends with {last}", begun.seq);
            return Err(Trouble::Unfit(why));
        }
        let other = || Trouble::Unfit("it follows another journal".into());
        let before = self.journal.begin_after();
        if done.seq < before.seq {
            let why = format!("it ends with commit {}, and the journal that is kept begins later", done.seq);
            return Err(Trouble::Unfit(why));
        }
        if done.seq > 0 && done.seq == before.seq && done != before {
            return Err(other());
        }
        self.journal.replay(done.seq, |frame| {
            let step = Step { seq: frame.seq, chain: frame.chain };
            if [done, begun].iter().any(|known| known.seq == step.seq && *known != step) {
                return Err(other());
            }
            if frame.seq > done.seq {
                let unreadable = |why| Trouble::Store(self.journal.unreadable(frame.seq, why));
                apply(zones, frame.payload).map_err(unreadable)?;
            }
            Ok(())
        })
    }
}

/// The zones that a checkpoint holds, once all of it has been read and found good.
pub(super) fn read_checkpoint(checkpoint: Checkpoint) -> Result<Zones, StoreError> {
    let path = checkpoint.path().to_owned();
    let mut zones = Zones::new();
    let mut builder: Option<(Key, Name, zone::Builder)> = None;
    let finished = |(key, apex, builder): (Key, Name, zone::Builder)| {
        (key.as_bytes().to_vec(), LoadedZone { apex, zone: builder.finish() })
    };
    checkpoint.read::<StoreError>(|part| {
        match (part, &mut builder) {
            (Part::Zone(apex), _) => {
                zones.extend(builder.take().map(finished));
                builder = Some((Key::new(&apex), apex, zone::Builder::new(&apex)));
            }
            (Part::Owner { key, node }, Some((apex, _, builder))) => {
                let below = key.strip_prefix(apex.as_bytes());
                let below = below.filter(|_| Key::from_bytes(key).is_some());
                let below = below.ok_or_else(|| checkpoint::broken(&path, "an owner is outside its zone"))?;
                builder.owner(below, node.rrsets().map(|rrset| (rrset.rtype, rrset.ttl, rrset.rdatas())));
            }
            (Part::Owner { .. }, None) => return Err(checkpoint::broken(&path, "it has records of no zone")),
        }
        Ok(())
    })?;
    zones.extend(builder.take().map(finished));
    Ok(zones)
}

/// Applies a commit to the zones, one of which may hold it in part.
pub(super) fn apply(zones: &mut Zones, payload: &[u8]) -> Result<(), Unreadable> {
    let outside = |_| Unreadable::Broken;
    let encoded = encode::read(payload)?;
    let apex = encoded.commit.zone;
    let key = Key::new(&apex).as_bytes().to_vec();
    match encoded.commit.kind {
        CommitKind::Delete => {
            zones.remove(&key);
        }
        CommitKind::Create => {
            // What was there goes first, so that a large zone is in memory once.
            zones.remove(&key);
            let mut builder = zone::Builder::new(&apex);
            for record in encoded.added {
                let record = record?;
                builder.record(&record.owner, record.rtype, record.ttl, &record.rdata).map_err(outside)?;
            }
            zones.insert(key, LoadedZone { apex, zone: builder.finish() });
        }
        CommitKind::Change => {
            let removed = encoded.removed.collect::<Result<_, _>>()?;
            let added = encoded.added.collect::<Result<_, _>>()?;
            let begin = || LoadedZone { apex, zone: zone::Builder::new(&apex).finish() };
            let loaded = zones.entry(key).or_insert_with(begin);
            loaded.zone.replay(&Changes { removed, added }).map_err(outside)?;
        }
    }
    Ok(())
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Trouble {
        Trouble::Store(error)
    }
}

/// Moves a table out of the way, to the first `table.broken-N` that is free.
pub(super) fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let mut number = 1u32;
    loop {
        let to = path.with_extension(format!("broken-{number}"));
        if !to.exists() {
            return fs::rename(path, &to).map(|()| to).map_err(StoreError::io("set aside", path));
        }
        number += 1;
    }
}
