//! How much of the past the journal keeps, and when a checkpoint is written.

use super::file::{Preset, Setting};
use crate::store::{CheckpointRule, Retention};

/// `[journal]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JournalConfig {
    /// How much of it is kept beyond what is needed.
    pub keep: Retention,
    /// When a checkpoint is written.
    pub checkpoints: CheckpointRule,
}

/// In `[journal]`. The defaults are those of [`Retention`] and [`CheckpointRule`], which hold where there is no table.
pub(super) const JOURNAL_OPTIONS: &[Setting<JournalConfig>] = &[
    Setting {
        name: "keep-age",
        form: "1 to 36500 (days)",
        default: Preset::Toml("90"),
        doc: "Changes that are older may be forgotten: dyndns zone history ends there, and a secondary that is further \
              behind gets the whole zone. What a start or a checkpoint needs is kept in any case.",
        set: |journal, field| {
            journal.keep.age = u64::from(field.number::<u32>(1..=36_500)?) * 86_400;
            Ok(())
        },
    },
    Setting {
        name: "keep-size",
        form: "1 to 1048576 (MiB)",
        default: Preset::Toml("1024"),
        doc: "Where the journal is larger, its oldest changes may be forgotten, however young.",
        set: |journal, field| {
            journal.keep.size = mebibytes(field.number(1..=1 << 20)?);
            Ok(())
        },
    },
    Setting {
        name: "checkpoint-size",
        form: "1 to 1048576 (MiB)",
        default: Preset::Toml("64"),
        doc: "After so much journal all zones are written to a checkpoint, in the background; where that takes more \
              than a third of this room, after three times as much journal as it takes.",
        set: |journal, field| {
            journal.checkpoints.octets = mebibytes(field.number(1..=1 << 20)?);
            Ok(())
        },
    },
    Setting {
        name: "checkpoint-changes",
        form: "1000 to 1000000000",
        default: Preset::Toml("1000000"),
        doc: "After so many changes a checkpoint is written in any case. It bounds how long a start takes that finds \
              the table lost.",
        set: |journal, field| {
            journal.checkpoints.commits = u64::from(field.number::<u32>(1000..=1_000_000_000)?);
            Ok(())
        },
    },
];

fn mebibytes(number: u32) -> u64 {
    u64::from(number) << 20
}
