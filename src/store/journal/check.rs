//! Reading the whole journal, without changing anything.

use super::{Extent, extents, list, of_header};
use crate::store::StoreError;
use crate::store::encode;
use crate::store::mark::Step;
use crate::store::segment::{Chain, Frames, Tail};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What reading the journal found.
#[derive(Debug, Default)]
pub(in crate::store) struct Checked {
    pub(in crate::store) segments: usize,
    pub(in crate::store) octets: u64,
    /// How many commits were whole.
    pub(in crate::store) commits: u64,
    /// The first of them.
    pub(in crate::store) first: Option<u64>,
    /// The sequence number of the last one.
    pub(in crate::store) last: u64,
    /// Where the last segment ends in a write that was never finished; the next start cuts it.
    pub(in crate::store) torn: Option<PathBuf>,
    /// What is wrong.
    pub(in crate::store) faults: Vec<StoreError>,
}

/// Checks every segment in `dir`: its header, every frame, that every commit can be read, and that each follows the one
/// before. A server that writes to it names the sequence number `end` after its last durable commit. For each sequence
/// number in `chains` the chain hash after that commit is filled in.
///
/// A fault does not end it: it goes on with the next segment, by what that says of itself.
pub(in crate::store) fn check(
    dir: &Path,
    end: Option<u64>,
    chains: &mut BTreeMap<u64, Option<Chain>>,
) -> Result<Checked, StoreError> {
    let mut checked = Checked::default();
    let mut before = None;
    for Extent { path, first, end } in &extents(dir, end)? {
        let outcome = match fs::read(path) {
            // The server has let go of it meanwhile, as of all before it.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_kept(dir, *first)? => {
                before = None;
                continue;
            }
            Err(error) => Err(StoreError::io("read", path)(error)),
            Ok(octets) => checked.segment(&octets, path, *first, *end, before, chains),
        };
        checked.segments += 1;
        before = outcome.map_err(|fault| checked.faults.push(fault)).ok();
    }
    Ok(checked)
}

/// The last commit that the journal in `dir` holds whole; `None` where it has no segment.
pub(in crate::store) fn end(dir: &Path) -> Result<Option<Step>, StoreError> {
    let Some(Extent { path, first, .. }) = extents(dir, None)?.pop() else { return Ok(None) };
    let octets = fs::read(&path).map_err(StoreError::io("read", &path))?;
    Checked::default().segment(&octets, &path, first, None, None, &mut BTreeMap::new()).map(Some)
}

/// Whether segments as old as one with this first commit are still there.
fn is_kept(dir: &Path, first: u64) -> Result<bool, StoreError> {
    Ok(list(dir)?.iter().any(|((other, _), _)| *other <= first))
}

impl Checked {
    /// Checks one segment that follows the commit `before`; returns its last commit.
    fn segment(
        &mut self,
        octets: &[u8],
        path: &Path,
        first: u64,
        end: Option<u64>,
        before: Option<Step>,
        chains: &mut BTreeMap<u64, Option<Chain>>,
    ) -> Result<Step, StoreError> {
        let damaged =
            |offset: usize, why: String| StoreError::Damaged { path: path.to_owned(), offset: offset as u64, why };
        self.octets += octets.len() as u64;
        let mut frames = Frames::new(octets).map_err(|error| of_header(error, path))?;
        if frames.seq != first {
            return Err(damaged(12, "the header's first sequence number is not the file's name".into()));
        }
        match before {
            Some(before) if before.seq + 1 < first => {
                let why = format!("it begins with commit {first}, but {} is missing", before.seq + 1);
                self.faults.push(damaged(12, why));
            }
            Some(before) if before.chain != frames.chain => {
                self.faults.push(damaged(20, "it does not follow the segment before it".into()));
            }
            _ => {}
        }
        let mut note = |seq: u64, chain: Chain| {
            chains.entry(seq).and_modify(|place| *place = Some(chain));
        };
        note(first.saturating_sub(1), frames.chain);
        while end.is_none_or(|end| frames.seq < end) {
            let at = frames.at;
            let Some(frame) = frames.next() else { break };
            encode::decode(frame.payload)
                .map_err(|_| damaged(at, format!("commit {} does not follow the format", frame.seq)))?;
            note(frame.seq, frame.chain);
            self.commits += 1;
            self.first.get_or_insert(frame.seq);
            self.last = frame.seq;
        }
        let (at, next) = (frames.at, frames.seq);
        match end {
            Some(end) if next < end => {
                return Err(damaged(at, format!("commit {next} is not whole, although later ones were written")));
            }
            Some(_) => {}
            None => match frames.tail() {
                Tail::Clean => {}
                Tail::Torn if frames.flipped().is_some() => {
                    return Err(damaged(at, format!("of commit {next} one bit is not what was written")));
                }
                Tail::Torn => self.torn = Some(path.to_owned()),
                Tail::Damaged { whole_at } => {
                    let why = format!("commit {next} is not whole, but a later one at octet {whole_at} is");
                    return Err(damaged(at, why));
                }
            },
        }
        Ok(Step { seq: next - 1, chain: frames.chain })
    }
}
