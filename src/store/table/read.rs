//! Reading the whole table, as a start does.

use super::{MARK, Table, TableError, ZONE, guard, unusable, weight};
use crate::store::LoadedZone;
use crate::store::encode::Input;
use crate::store::row::runs;
use crate::wire::Name;
use crate::zone;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// How much of the table is passed from thread to thread at once, in octets, and how many times that may wait.
const AT_ONCE: usize = 1 << 16;
const AHEAD: usize = 8;

impl Table {
    /// Reads everything, once: every zone, by the key of its apex. Fails where that is not what was written.
    ///
    /// Where the mark's `begun` is not its `done`, the zones hold the commits between in part.
    ///
    /// sled's own reading takes most of the time: 0.7 to 0.9 s for 1 M keys, and two threads over two halves of them 0.85
    /// to 1.1 s. So one thread reads, while this one sums the weights up and makes the zones.
    pub(in crate::store) fn read(&self) -> Result<BTreeMap<Vec<u8>, LoadedZone>, TableError> {
        thread::scope(|scope| {
            let (sender, entries) = sync_channel(AHEAD);
            let reading = thread::Builder::new()
                .name("table".into())
                .spawn_scoped(scope, move || guard(|| self.send_entries(&sender)))
                .map_err(TableError::Disk)?;
            let outcome = self.zones(&entries);
            // So that the other thread does not wait where this one has given up.
            drop(entries);
            let read = reading.join().unwrap_or_else(|_| Err(unusable("reading it panicked")));
            // What sled says went wrong tells more than what was missing for that.
            read.and(outcome)
        })
    }

    /// Sends every key and value, many at a time: each behind its lengths, in four octets both.
    fn send_entries(&self, to: &SyncSender<Vec<u8>>) -> Result<(), TableError> {
        let mut octets = Vec::with_capacity(2 * AT_ONCE);
        for entry in self.db.iter() {
            let (key, value) = entry?;
            for part in [&key, &value] {
                let length = u32::try_from(part.len()).map_err(|_| unusable("a value is over 4 GiB"))?;
                octets.extend_from_slice(&length.to_be_bytes());
            }
            octets.extend_from_slice(&key);
            octets.extend_from_slice(&value);
            if octets.len() >= AT_ONCE {
                // The other thread may have given up.
                let full = std::mem::replace(&mut octets, Vec::with_capacity(2 * AT_ONCE));
                if to.send(full).is_err() {
                    return Ok(());
                }
            }
        }
        let _ = to.send(octets);
        Ok(())
    }

    /// Makes zones of what the other thread reads.
    fn zones(&self, entries: &Receiver<Vec<u8>>) -> Result<BTreeMap<Vec<u8>, LoadedZone>, TableError> {
        let broken = || unusable("a record does not follow the format");
        let mut zones = BTreeMap::new();
        let mut builder: Option<(Vec<u8>, Name, zone::Builder)> = None;
        let mut sum = 0u64;
        for octets in entries {
            let mut input = Input(&octets);
            while !input.0.is_empty() {
                let (key, value) = entry(&mut input).ok_or_else(broken)?;
                if key == MARK {
                    continue;
                }
                sum = sum.wrapping_add(weight(key, value));
                if key.starts_with(ZONE) {
                    continue;
                }
                let at = end_of_apex(key).ok_or_else(broken)?;
                let (apex, below) = key.split_at_checked(at).ok_or_else(broken)?;
                if builder.as_ref().is_none_or(|(current, ..)| current != apex) {
                    zones.extend(builder.take().map(finished));
                    let name = *self.zones.get(apex).ok_or_else(|| unusable("it has records of no zone"))?;
                    builder = Some((apex.to_vec(), name, zone::Builder::new(&name)));
                }
                if let (Some((_, _, builder)), Some((_, below))) = (&mut builder, below.split_first()) {
                    builder.owner(below, runs(value).ok_or_else(broken)?);
                }
            }
        }
        if sum != self.mark.sum {
            return Err(unusable("it lost or changed records"));
        }
        zones.extend(builder.take().map(finished));
        for (apex, name) in &self.zones {
            if !zones.contains_key(apex) {
                zones.extend([finished((apex.clone(), *name, zone::Builder::new(name)))]);
            }
        }
        Ok(zones)
    }
}

/// The next key and value of those that [`Table::read`] passes from thread to thread.
fn entry<'o>(input: &mut Input<'o>) -> Option<(&'o [u8], &'o [u8])> {
    let (key, value) = (usize::try_from(input.u32()?).ok()?, usize::try_from(input.u32()?).ok()?);
    Some((input.take(key)?, input.take(value)?))
}

/// Where in a record's key the apex ends: before the first empty label.
fn end_of_apex(key: &[u8]) -> Option<usize> {
    (0..key.len())
        .find(|at| key.get(*at) == Some(&0) && at.checked_sub(1).is_none_or(|before| key.get(before) == Some(&0)))
}

fn finished((key, apex, builder): (Vec<u8>, Name, zone::Builder)) -> (Vec<u8>, LoadedZone) {
    (key, LoadedZone { apex, zone: builder.finish() })
}
