//! The options of the log, which server and agent have in common.

use super::file::{Preset, Setting};
use super::{LogConfig, LogFormat, LogLevel};

/// A table with these options.
pub(super) trait Logs {
    /// Where they are kept.
    fn log(&mut self) -> &mut LogConfig;
}

pub(super) const fn file<T: Logs>() -> Setting<T> {
    Setting {
        name: "log-file",
        form: "path",
        default: Preset::Words("log lines go to standard error"),
        doc: "Where log lines are appended.",
        set: |table, field| {
            table.log().file = Some(field.path()?);
            Ok(())
        },
    }
}

pub(super) const fn format<T: Logs>() -> Setting<T> {
    Setting {
        name: "log-format",
        form: "\"text\" or \"json\"",
        default: Preset::Toml("\"text\""),
        doc: "How log lines are written.",
        set: |table, field| {
            table.log().format = field.word(&LogFormat::WORDS)?;
            Ok(())
        },
    }
}

pub(super) const fn level<T: Logs>() -> Setting<T> {
    Setting {
        name: "log-level",
        form: "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"",
        default: Preset::Toml("\"info\""),
        doc: "The least important lines that are written.",
        set: |table, field| {
            table.log().level = field.word(&LogLevel::WORDS)?;
            Ok(())
        },
    }
}
