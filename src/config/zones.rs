//! Which zones there are: their names and files, and the grants in them.

use super::Wrong;
use super::file::Fault;
use super::settings::{GrantSettings, RuleWord, ZoneSettings};
use crate::error::{Error, io_text};
use crate::update::policy::{Effect, Grant, Rights, Rule, Types};
use crate::wire::Name;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

/// A zone to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneConfig {
    /// Its apex.
    pub apex: Name,
    /// The zone file it begins with; without one it begins with a SOA and a NS of its own.
    pub file: Option<PathBuf>,
}

/// The zones gathered so far.
#[derive(Default)]
pub(super) struct Zones {
    pub(super) all: Vec<ZoneConfig>,
}

impl Zones {
    /// Adds one `[[zone]]`; `known` tells which keys there are.
    pub(super) fn declare(
        &mut self,
        zone: ZoneSettings,
        known: impl Fn(&Name) -> bool,
        rights: &mut Rights,
    ) -> Result<(), Wrong> {
        let apex = match (zone.name, &zone.file) {
            (Some(name), _) => name,
            (None, Some(file)) => apex_of(file)?,
            (None, None) => return Err(Fault::new(zone.at, "a zone without a name; add name = \"...\"").into()),
        };
        if self.all.iter().any(|other| other.apex == apex) {
            return Err(Fault::new(zone.at, format!("zone {apex} is declared twice; keep one")).into());
        }
        let grants = zone.grants.into_iter().map(|grant| resolve(grant, &apex, &known));
        rights.insert_zone(apex, grants.collect::<Result<_, _>>()?);
        self.all.push(ZoneConfig { apex, file: zone.file });
        Ok(())
    }

    /// Adds what `--zone` says: a zone file, or a name, which may have its file in `zones/`.
    pub(super) fn add_flags(&mut self, zones: &[String], base: &Path, rights: &mut Rights) -> Result<(), Error> {
        for zone in zones {
            let path = base.join(zone);
            if zone.contains('/') || zone.ends_with(".zone") || path.is_file() {
                self.add(ZoneConfig { apex: apex_of(&path)?, file: Some(path) }, rights);
                continue;
            }
            let apex =
                Name::parse(zone).map_err(|error| Error::usage(format!("cannot use --zone {zone}")).because(error))?;
            let file = base.join("zones").join(format!("{}.zone", zone.trim_end_matches('.')));
            self.add(ZoneConfig { apex, file: file.is_file().then_some(file) }, rights);
        }
        Ok(())
    }

    /// Adds every `*.zone` file of a directory; one that is not there has none.
    pub(super) fn add_directory(&mut self, directory: &Path, rights: &mut Rights) -> Result<(), Error> {
        let cannot = |error| Error::usage(format!("cannot read {}", directory.display())).because(error);
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(cannot)?,
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(cannot)?.path();
            if path.extension().is_some_and(|extension| extension == "zone") {
                paths.push(path);
            }
        }
        paths.sort();
        for path in paths {
            let apex = apex_of(&path)?;
            if let Some(other) = self.all.iter().find(|zone| zone.apex == apex).and_then(|zone| zone.file.as_ref()) {
                let both = format!("{} and {} are both of zone {apex}", other.display(), path.display());
                return Err(Error::usage(both).remedy("remove one"));
            }
            self.add(ZoneConfig { apex, file: Some(path) }, rights);
        }
        Ok(())
    }

    /// Adds a zone that has no grants; a flag gives a declared zone another file and leaves its grants.
    pub(super) fn add(&mut self, zone: ZoneConfig, rights: &mut Rights) {
        match self.all.iter_mut().find(|other| other.apex == zone.apex) {
            Some(other) => other.file = zone.file.or(other.file.take()),
            None => {
                rights.insert_zone(zone.apex, Vec::new());
                self.all.push(zone);
            }
        }
    }
}

/// The zone that a zone file is of.
fn apex_of(path: &Path) -> Result<Name, Error> {
    let cannot = || Error::usage(format!("cannot load zone file {}", path.display()));
    let file = File::open(path).map_err(|error| cannot().because(error))?;
    apex_in(BufReader::new(file), path).map_err(|why| cannot().because(why))
}

/// The zone that a zone file is of: what its first `$ORIGIN` says, where that comes before any record, else
/// the file's name without `.zone`.
pub(super) fn apex_in(text: impl BufRead, path: &Path) -> Result<Name, String> {
    for line in text.split(b'\n') {
        let line = line.map_err(|error| io_text(&error))?;
        let line = String::from_utf8_lossy(&line);
        let mut words = line.split(';').next().unwrap_or_default().split_whitespace();
        match words.next() {
            Some(word) if word.eq_ignore_ascii_case("$ORIGIN") => {
                let origin = Name::parse(words.next().unwrap_or_default());
                return origin.map_err(|error| format!("$ORIGIN: {error}"));
            }
            // Blank lines, comments and other directives.
            None => {}
            Some(word) if word.starts_with('$') => {}
            Some(_) => break,
        }
    }
    let stem = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    Name::parse(stem.strip_suffix(".zone").unwrap_or(&stem)).map_err(|error| {
        format!("its name is no zone's: {error}; begin it with $ORIGIN, or name it like example.com.zone")
    })
}

/// Makes a grant of what is written, for the zone at `apex`.
fn resolve(grant: GrantSettings, apex: &Name, known: &impl Fn(&Name) -> bool) -> Result<Grant, Fault> {
    let fault = |text: String| Fault::new(grant.at, text);
    let key = grant.key.ok_or_else(|| fault("a grant without a key; add key = \"...\"".into()))?;
    if !known(&key) {
        let text = format!(
            "grant for key {key:#}, which is not there; add a [[key]] or run: dyndns key generate {key} (for HTTP: key add-http {key})"
        );
        return Err(fault(text));
    }
    let word = grant.rule.ok_or_else(|| fault("a grant without a rule; add rule = \"name\", for instance".into()))?;
    let rule = match (word, &grant.name) {
        (RuleWord::ZoneSub, None) => Rule::ZoneSub,
        (RuleWord::KeyName, None) if key.is_in(apex) => Rule::KeyName,
        (RuleWord::KeyName, None) => {
            return Err(fault(format!("key {key:#} is no name in zone {apex}; name the key after its host")));
        }
        (RuleWord::ZoneSub | RuleWord::KeyName, Some(_)) => {
            return Err(fault("this rule takes no name; take it out, or write rule = \"name\"".into()));
        }
        (RuleWord::Name, Some(name)) => Rule::Name(name_in(name, apex).map_err(fault)?),
        (RuleWord::Subdomain, Some(name)) => Rule::Subdomain(name_in(name, apex).map_err(fault)?),
        (RuleWord::Name | RuleWord::Subdomain, None) => {
            return Err(fault("this rule needs a name; add name = \"...\"".into()));
        }
    };
    let effect = grant.effect.unwrap_or(Effect::Allow);
    Ok(Grant { effect, key, rule, types: grant.types.unwrap_or(Types::Usual) })
}

/// A name in the zone, whole or relative: `www` and `www.home.example` are the same in home.example.
fn name_in(text: &str, apex: &Name) -> Result<Name, String> {
    let whole = match Name::parse(text) {
        Ok(name) if text != "@" && (name.is_in(apex) || text.ends_with('.')) => name,
        _ => Name::parse_with(text, Some(apex)).map_err(|error| format!("name {text}: {error}"))?,
    };
    if whole.is_in(apex) { Ok(whole) } else { Err(format!("name {text} is not in zone {apex}; write one that is")) }
}
