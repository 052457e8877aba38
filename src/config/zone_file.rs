//! Zone files on disk: read with what they include, and checked to be whole zones.

use super::ZoneConfig;
use crate::error::{Error, io_text};
use crate::wire::Name;
use crate::zone::text::{ParsedZone, ZoneFileError, parse};
use crate::zone::{Record, seed};
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Everything that is wrong with a zone file: at least one error. Displays as the first.
#[derive(Debug)]
pub struct ZoneFileErrors {
    /// In the order of the file.
    pub errors: Vec<ZoneFileError>,
}

impl ZoneConfig {
    /// The records that the zone begins with, read from its file where it has one.
    pub fn records(&self) -> Result<Vec<Record>, Error> {
        let cannot = || Error::usage(format!("cannot load zone {}", self.apex));
        let Some(file) = &self.file else {
            return seed(&self.apex).map_err(|error| cannot().because(error));
        };
        let zone = read_zone_file(file, Some(self.apex)).map_err(|errors| cannot().because(errors))?;
        for warning in zone.warnings {
            tracing::warn!("{warning}");
        }
        Ok(zone.records)
    }
}

/// What tells one state of a zone file from another: the SHA-256 of its text, in hexadecimal. What it includes does
/// not count. A pipe has none: it is read once, and who opens it again may wait for ever.
pub fn fingerprint(path: &Path) -> io::Result<String> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
    }
    let text = read_octets(path)?;
    Ok(Sha256::digest(text).iter().map(|octet| format!("{octet:02x}")).collect())
}

/// Reads a zone file. Without an `apex`, `$ORIGIN` in the file or the file's name tells which zone it is of.
pub fn read_zone_file(path: &Path, apex: Option<Name>) -> Result<ParsedZone, ZoneFileErrors> {
    let file = path.to_string_lossy();
    let fail =
        |what: String| ZoneFileErrors { errors: vec![ZoneFileError { file: file.to_string(), line: None, what }] };
    let text = read_text(path, &file).map_err(|error| ZoneFileErrors { errors: vec![error] })?;
    let apex = match apex {
        Some(apex) => apex,
        None => super::zones::apex_in(text.as_bytes(), path).map_err(fail)?,
    };
    let include = &mut |path: &str| {
        read_text(Path::new(path), path).map_err(|error| match error.line {
            Some(line) => format!("line {line}: {}", error.what),
            None => error.what,
        })
    };
    let zone = parse(&text, &file, Some(apex), include).map_err(|errors| ZoneFileErrors { errors })?;
    if zone.apex == apex {
        Ok(zone)
    } else {
        Err(fail(format!("its SOA is at {}, not at {apex}; name the zone as the SOA does", zone.apex)))
    }
}

/// The text of a file; its error names the line where it stops being text.
fn read_text(path: &Path, file: &str) -> Result<String, ZoneFileError> {
    let fault = |line, what| ZoneFileError { file: file.to_string(), line, what };
    let octets = read_octets(path).map_err(|error| fault(None, io_text(&error)))?;
    String::from_utf8(octets).map_err(|error| {
        let before = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = before.filter(|octet| **octet == b'\n').count() + 1;
        fault(
            u32::try_from(line).ok(),
            "not UTF-8 text; save the file as UTF-8, or write the octet as \\DDD".to_string(),
        )
    })
}

/// All of a file, or of what comes through a pipe; `/dev/zero` never ends.
fn read_octets(path: &Path) -> io::Result<Vec<u8>> {
    const LONGEST: u64 = 64 << 20;
    let mut file = File::open(path)?;
    let mut octets = Vec::new();
    if file.metadata()?.is_file() {
        file.read_to_end(&mut octets)?;
    } else if u64::try_from(file.take(LONGEST).read_to_end(&mut octets)?).is_ok_and(|length| length >= LONGEST) {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "over 64 MiB and no file; save it to a file first"));
    }
    Ok(octets)
}

impl fmt::Display for ZoneFileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errors.as_slice() {
            [] => Ok(()),
            [only] => only.fmt(f),
            [first, rest @ ..] => {
                write!(f, "{first} (and {} more; dyndns zone check {} lists them)", rest.len(), first.file)
            }
        }
    }
}

impl std::error::Error for ZoneFileErrors {}
