//! `dyndns zone`.

use crate::config;
use crate::error::Error;
use crate::wire::Name;
use clap::Subcommand;
use std::io::{self, Write};
use std::path::PathBuf;

/// Work with zones
#[derive(Debug, Subcommand)]
pub(super) enum Zone {
    /// Check a zone file and print every error in it
    Check {
        /// The zone file
        file: PathBuf,
        /// The zone it is of [default: what $ORIGIN or the file's name says]
        name: Option<Name>,
    },
}

impl Zone {
    pub(super) fn run(self) -> Result<(), Error> {
        match self {
            Zone::Check { file, name } => match config::read_zone_file(&file, name) {
                Ok(zone) => {
                    print_each("warning", &zone.warnings);
                    super::print(&format!("ok: zone {}, {} records\n", zone.apex, zone.records.len()))
                }
                Err(errors) => {
                    print_each("error", &errors.errors);
                    Err(Error::refused(format!("{} is no zone file to serve", file.display())))
                }
            },
        }
    }
}

/// Prints one line for each, to standard error.
fn print_each<T: std::fmt::Display>(what: &str, texts: &[T]) {
    let mut output = io::stderr().lock();
    for text in texts {
        let _ = writeln!(output, "{what}: {text}");
    }
}
