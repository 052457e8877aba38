//! Reads TOML by tables of settings: each option is declared once, with its form, default, meaning and
//! reader. What no table declares is an error.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One option of a table whose values are kept in `T`.
pub(super) struct Setting<T: 'static> {
    /// As it is written in the file.
    pub(super) name: &'static str,
    /// What may be written for it, for the manual.
    pub(super) form: &'static str,
    /// What holds where it is not written.
    pub(super) default: Preset,
    /// What it means, for the manual.
    pub(super) doc: &'static str,
    /// Takes the value.
    pub(super) set: fn(&mut T, &Field<'_>) -> Result<(), Fault>,
}

/// What holds where an option is not written.
pub(super) enum Preset {
    /// This value, in TOML; read the same way as a written one.
    Toml(&'static str),
    /// What these words say; decided once all is read.
    Words(&'static str),
}

/// What is wrong with a file, and where.
#[derive(Debug)]
pub(super) struct Fault {
    /// The octet in the file where it stands.
    pub(super) at: usize,
    /// What it is and what to do. Never contains a secret.
    pub(super) text: String,
    /// Whether the text says which option it is about.
    named: bool,
}

/// One written value.
pub(super) struct Field<'a> {
    /// The octet in the file where it starts.
    pub(super) at: usize,
    value: &'a DeValue<'a>,
    /// Where relative paths start.
    base: &'a Path,
}

/// Reads a whole file; relative paths in it start at `base`.
pub(super) fn read<T: Default>(text: &str, base: &Path, settings: &[Setting<T>]) -> Result<T, Fault> {
    let table = DeTable::parse(text).map_err(|error| {
        // Only the message: the error's own display shows the line, and the line may hold a secret.
        let at = error.span().map_or(0, |span| span.start);
        Fault::new(at, format!("this is no TOML: {}", error.message()))
    })?;
    read_table(table.get_ref(), base, settings)
}

fn read_table<T: Default>(table: &DeTable<'_>, base: &Path, settings: &[Setting<T>]) -> Result<T, Fault> {
    let mut values = T::default();
    let mut faults = Vec::new();
    for (key, _) in table {
        if !settings.iter().any(|setting| setting.name == key.get_ref().as_ref()) {
            faults.push(unknown(key, settings.iter().map(|setting| setting.name)));
        }
    }
    for setting in settings {
        let written = table.iter().find(|(key, _)| key.get_ref().as_ref() == setting.name);
        let result = match (written, &setting.default) {
            (Some((_, value)), _) => (setting.set)(&mut values, &Field::new(value, base)),
            (None, Preset::Toml(default)) => set_default(setting, default, &mut values, base),
            (None, Preset::Words(_)) => Ok(()),
        };
        faults.extend(result.err().map(|fault| fault.about(setting.name)));
    }
    // Who mends a file goes through it from the top.
    faults.into_iter().min_by_key(|fault| fault.at).map_or(Ok(values), Err)
}

fn set_default<T>(setting: &Setting<T>, default: &str, values: &mut T, base: &Path) -> Result<(), Fault> {
    let value = DeValue::parse(default).map_err(|error| Fault::new(0, error.message()))?;
    (setting.set)(values, &Field::new(&value, base))
}

fn unknown(key: &Spanned<std::borrow::Cow<'_, str>>, known: impl Iterator<Item = &'static str> + Clone) -> Fault {
    let name = key.get_ref();
    let text = match nearest(name, known.clone()) {
        Some(near) => format!("unknown key {name}; did you mean {near}?"),
        None => format!("unknown key {name}; known here are {}", known.collect::<Vec<_>>().join(", ")),
    };
    Fault { at: key.span().start, text, named: true }
}

/// The known name that `name` was probably meant to be.
pub(super) fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('_', "-");
    known
        .map(|candidate| (strsim::damerau_levenshtein(&plain(name), candidate), candidate))
        .min()
        // Beyond this many slips it is another word.
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .map(|(_, candidate)| candidate)
}

impl Fault {
    pub(super) fn new(at: usize, text: impl Into<String>) -> Fault {
        Fault { at, text: text.into(), named: false }
    }

    fn about(mut self, name: &str) -> Fault {
        if !self.named {
            self.text = format!("{name}: {}", self.text);
            self.named = true;
        }
        self
    }

    /// The line it is in, from 1.
    pub(super) fn line(&self, text: &str) -> usize {
        1 + text.bytes().take(self.at).filter(|octet| *octet == b'\n').count()
    }
}

impl<'a> Field<'a> {
    fn new(value: &'a Spanned<DeValue<'a>>, base: &'a Path) -> Field<'a> {
        Field { at: value.span().start, value: value.get_ref(), base }
    }

    /// A fault at this value.
    pub(super) fn fault(&self, text: impl Into<String>) -> Fault {
        Fault::new(self.at, text)
    }

    fn wanted(&self, what: &str) -> Fault {
        self.fault(format!("{what} is wanted, not {}", self.value.type_str()))
    }

    /// Text between quotes.
    pub(super) fn text(&self) -> Result<&str, Fault> {
        self.value.as_str().ok_or_else(|| self.wanted("text between quotes"))
    }

    /// Text that `parse` reads.
    pub(super) fn parse<T, E: std::fmt::Display>(&self, parse: impl Fn(&str) -> Result<T, E>) -> Result<T, Fault> {
        let text = self.text()?;
        parse(text).map_err(|error| self.fault(format!("{text}: {error}")))
    }

    /// Text that `parse` reads and that may hold a secret: what does not fit is told by `parse` alone.
    pub(super) fn secret<T, E: std::fmt::Display>(&self, parse: impl Fn(&str) -> Result<T, E>) -> Result<T, Fault> {
        parse(self.text()?).map_err(|error| self.fault(error.to_string()))
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(&self, words: &[(&'static str, T)]) -> Result<T, Fault> {
        let text = self.text()?;
        words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
            let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.fault(format!("unknown word {text}; write one of {}", all.join(", ")))
        })
    }

    /// A path; a relative one starts at the file's directory.
    pub(super) fn path(&self) -> Result<PathBuf, Fault> {
        match self.text()? {
            "" => Err(self.fault("the path is empty; write one, or leave the option out")),
            path => Ok(self.base.join(path)),
        }
    }

    /// A whole number within bounds.
    pub(super) fn number<T>(&self, bounds: RangeInclusive<u32>) -> Result<T, Fault>
    where
        T: TryFrom<u32>,
    {
        let integer = self.value.as_integer().ok_or_else(|| self.wanted("a whole number"))?;
        u32::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .filter(|number| bounds.contains(number))
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| {
                self.fault(format!("{integer} is out of bounds; write {} to {}", bounds.start(), bounds.end()))
            })
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Result<bool, Fault> {
        self.value.as_bool().ok_or_else(|| self.wanted("true or false"))
    }

    /// Whether this is `true` or `false`, where a list could stand too.
    pub(super) fn as_boolean(&self) -> Option<bool> {
        self.value.as_bool()
    }

    /// A list whose items `read` reads.
    pub(super) fn list<T>(&self, read: impl Fn(&Field<'_>) -> Result<T, Fault>) -> Result<Vec<T>, Fault> {
        let items = self.value.as_array().ok_or_else(|| match self.value.as_table() {
            // A table by itself is a list of tables with one bracket too few.
            Some(_) => self.fault("a list is wanted, not one table; write its name in two brackets, as [[name]]"),
            None => self.wanted("a list in brackets"),
        })?;
        items.iter().map(|item| read(&Field::new(item, self.base))).collect()
    }

    /// A table of settings.
    pub(super) fn table<T: Default>(&self, settings: &[Setting<T>]) -> Result<T, Fault> {
        let table = self.value.as_table().ok_or_else(|| self.wanted("a table"))?;
        read_table(table, self.base, settings)
    }
}
