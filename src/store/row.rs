//! The records of one owner as the table holds them: the value of a key.
//!
//! | octets | a value                                                                                         |
//! |--------|-------------------------------------------------------------------------------------------------|
//! | 1      | form: 1                                                                                         |
//! |        | then for each run of records of one type and TTL:                                               |
//! | 2      | type                                                                                            |
//! | 4      | TTL                                                                                             |
//! | 4      | how many records                                                                                |
//! | 2 + n  | for each of them the length of its data, and the data                                           |

use super::encode::{Input, push_short};
use crate::wire::{Rtype, Ttl};
use crate::zone::{Key, Record};
use std::collections::BTreeMap;

/// The records of one owner: types and data in order, each with its TTL.
pub(super) type Owner = BTreeMap<(Rtype, Box<[u8]>), Ttl>;

/// A record of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row<'r> {
    pub(super) rtype: Rtype,
    pub(super) ttl: Ttl,
    pub(super) rdata: &'r [u8],
}

const FORM: u8 = 1;

/// The octets of an owner's records, which come in the order of types and data; `None` where a record is over 65,535
/// octets.
pub(super) fn value_of<'r>(records: impl IntoIterator<Item = Row<'r>>) -> Option<Vec<u8>> {
    let mut out = vec![FORM];
    let mut records = records.into_iter().peekable();
    while let Some(Row { rtype, ttl, rdata }) = records.next() {
        out.extend_from_slice(&rtype.0.to_be_bytes());
        out.extend_from_slice(&ttl.seconds().to_be_bytes());
        let count_at = out.len();
        out.extend_from_slice(&[0; 4]);
        let mut count = 1u32;
        push_short(&mut out, rdata)?;
        while let Some(next) = records.next_if(|next| (next.rtype, next.ttl) == (rtype, ttl)) {
            count += 1;
            push_short(&mut out, next.rdata)?;
        }
        if let Some(place) = out.get_mut(count_at..count_at + 4) {
            place.copy_from_slice(&count.to_be_bytes());
        }
    }
    Some(out)
}

/// Every record of a value; `None` where it does not begin as the format says.
pub(super) fn rows(octets: &[u8]) -> Option<impl Iterator<Item = Row<'_>>> {
    Some(runs(octets)?.flat_map(|(rtype, ttl, rdatas)| rdatas.map(move |rdata| Row { rtype, ttl, rdata })))
}

/// The runs of records in a value; what does not follow the format ends them, and the checksum shows it.
pub(super) fn runs(octets: &[u8]) -> Option<impl Iterator<Item = (Rtype, Ttl, impl Iterator<Item = &[u8]>)>> {
    let mut input = Input(octets);
    (input.u8()? == FORM).then_some(())?;
    Some(std::iter::from_fn(move || {
        let (rtype, ttl, count) = (Rtype(input.u16()?), Ttl::new(input.u32()?), input.u32()?);
        let mut run = Input(input.0);
        for _ in 0..count {
            input.short()?;
        }
        let mut left = count;
        Some((
            rtype,
            ttl,
            std::iter::from_fn(move || {
                left = left.checked_sub(1)?;
                run.short()
            }),
        ))
    }))
}

/// The records of an owner.
pub(super) fn rows_of(owner: &Owner) -> impl Iterator<Item = Row<'_>> {
    owner.iter().map(|((rtype, rdata), ttl)| Row { rtype: *rtype, ttl: *ttl, rdata })
}

/// The owners of a zone and the records of each, from records in the order of their keys.
pub(super) fn owners(records: impl Iterator<Item = Record>) -> impl Iterator<Item = (Key, Owner)> {
    let mut records = records.peekable();
    std::iter::from_fn(move || {
        let Record { owner, rtype, ttl, rdata } = records.next()?;
        let mut all = Owner::from([((rtype, rdata), ttl)]);
        while let Some(record) = records.next_if(|record| record.owner == owner) {
            all.insert((record.rtype, record.rdata), record.ttl);
        }
        Some((owner, all))
    })
}
