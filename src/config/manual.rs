//! The options as text for the manual, from the tables they are read by.

use super::file::{Preset, Setting};
use super::http::HTTP_OPTIONS;
use super::journal::JOURNAL_OPTIONS;
use super::mesh::MESH_OPTIONS;
use super::settings::{GRANT_OPTIONS, KEY_OPTIONS, OPTIONS, ZONE_OPTIONS};
use super::tls::TLS_OPTIONS;

/// One table of options.
pub struct Section {
    /// How it is written in the file.
    pub title: &'static str,
    /// Its options.
    pub options: Vec<OptionText>,
}

/// One option.
pub struct OptionText {
    /// Its name.
    pub name: &'static str,
    /// What may be written for it.
    pub form: &'static str,
    /// What holds where it is not written.
    pub default: &'static str,
    /// What it means.
    pub doc: &'static str,
}

/// Every option of the configuration file.
pub fn manual() -> Vec<Section> {
    vec![
        section("Top level", OPTIONS),
        section("[journal]", JOURNAL_OPTIONS),
        section("[tls]", TLS_OPTIONS),
        section("[http]", HTTP_OPTIONS),
        section("[mesh]", MESH_OPTIONS),
        section("[[key]]", KEY_OPTIONS),
        section("[[zone]]", ZONE_OPTIONS),
        section("grants in [[zone]]", GRANT_OPTIONS),
    ]
}

pub(super) fn section<T>(title: &'static str, settings: &[Setting<T>]) -> Section {
    let options = settings.iter().map(|setting| OptionText {
        name: setting.name,
        form: setting.form,
        default: match setting.default {
            Preset::Toml("[]" | "{}") => "none",
            Preset::Toml(text) | Preset::Words(text) => text,
        },
        doc: setting.doc,
    });
    Section { title, options: options.collect() }
}
