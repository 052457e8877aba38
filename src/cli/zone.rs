//! `dyndns zone` and `dyndns status`.

use super::Places;
use crate::config::{self, Config, Flags};
use crate::error::Error;
use crate::server::{Command, call, repair, verify};
use crate::store::Commits;
use crate::wire::Name;
use crate::zone::text::write_zone;
use clap::{Args, Subcommand};
use std::io::{self, Write};
use std::path::PathBuf;

/// Work with zones
///
/// A zone file begins its zone once; from then on the server's state is the zone. All but check work on a running
/// server, and on the state of one that does not run.
#[derive(Debug, Subcommand)]
pub(super) enum Zone {
    /// Check a zone file and print every error in it
    Check {
        /// The zone file
        file: PathBuf,
        /// The zone it is of [default: what $ORIGIN or the file's name says]
        name: Option<Name>,
    },
    /// Print each zone with its serial and the number of its owner names
    List {
        #[command(flatten)]
        places: Places,
    },
    /// Print a zone as a zone file
    #[command(visible_alias = "show")]
    Export {
        #[command(flatten)]
        places: Places,
        /// The zone
        name: Name,
    },
    /// Make a zone hold what a zone file holds
    ///
    /// The difference becomes one change; the serial moves on by one, or to the file's where that is newer. A
    /// zone that is not there yet is begun. Where it would take back what updates have changed since the file was exported, or
    /// since the zone last took a file, it is refused and says what that is.
    Import {
        #[command(flatten)]
        places: Places,
        /// The zone file
        file: PathBuf,
        /// The zone [default: what $ORIGIN or the file's name says]
        name: Option<Name>,
        /// Take back what updates have changed, too
        #[arg(long)]
        force: bool,
    },
    /// Take a zone away; its history stays
    Delete {
        #[command(flatten)]
        places: Places,
        /// The zone
        name: Name,
    },
    /// Print who changed what in a zone, and when
    History {
        #[command(flatten)]
        places: Places,
        /// The zone
        name: Name,
        /// How many changes at most, the newest
        #[arg(long, value_name = "N", default_value_t = 20)]
        max: usize,
    },
    /// Take one change of a zone back
    ///
    /// Its records become what they were before; the serial moves on by one. Where a later change has changed the same
    /// records, it is refused and names that.
    Undo {
        #[command(flatten)]
        places: Places,
        /// The zone
        name: Name,
        /// The serial that the change led to: in the history the one behind the arrow
        serial: u32,
    },
    /// Check everything that is kept: journal, checkpoints and table
    ///
    /// Every checksum, the chain over the whole journal, every checkpoint, and the records of the table against those that
    /// the journal makes. Nothing is changed. A running server goes on answering and taking updates. Exits with 1 where
    /// something is wrong.
    Verify {
        #[command(flatten)]
        places: Places,
    },
    /// Mend a damaged journal
    ///
    /// A start mends what it reads; this reads all of the journal, old parts as well. One bit that was turned over is put
    /// right. Where the table or a checkpoint holds what a damaged part did, that part and the history before it are set
    /// aside. Where something answered would be lost, that is named and left as it is. The server must not run.
    Repair {
        #[command(flatten)]
        places: Places,
        /// Go on without these commits, as dyndns serve or this command has named them: what they changed is lost
        #[arg(long, value_name = "FIRST[-LAST]")]
        without: Option<Commits>,
    },
}

/// Print what a running server has done since it started
#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    places: Places,
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
            Zone::List { places } => ask(places, &Command::List),
            Zone::Export { places, name } => ask(places, &Command::Export { zone: name.to_string() }),
            Zone::Import { places, file, name, force } => {
                let cannot = |error| Error::refused(format!("cannot import {}", file.display())).because(error);
                let zone = config::read_zone_file(&file, name).map_err(cannot)?;
                let fingerprint = config::fingerprint(&file).unwrap_or_default();
                print_each("warning", &zone.warnings);
                // Written anew: the server cannot follow what the file includes.
                let mut text = String::new();
                let _ = write_zone(&mut text, &zone.apex, zone.records.iter().cloned());
                let exported = zone.exported.map(|serial| serial.0);
                ask(places, &Command::Import { zone: zone.apex.to_string(), text, fingerprint, exported, force })
            }
            Zone::Undo { places, name, serial } => ask(places, &Command::Undo { zone: name.to_string(), serial }),
            Zone::Delete { places, name } => ask(places, &Command::Delete { zone: name.to_string() }),
            Zone::Verify { places } => {
                let state_dir = Config::state_directory(&Flags::from(places))?;
                let findings = verify(&state_dir)?;
                super::print(&findings.checked.iter().map(|line| format!("{line}\n")).collect::<String>())?;
                print_each("fault", &findings.faults);
                match findings.faults.len() {
                    0 => super::print("ok: everything is whole\n"),
                    1 => Err(Error::refused("there is a fault")),
                    faults => Err(Error::refused(format!("there are {faults} faults"))),
                }
            }
            Zone::Repair { places, without } => {
                let state_dir = Config::state_directory(&Flags::from(places))?;
                let done = repair(&state_dir, without)?;
                super::print(&done.iter().map(|note| format!("{note}\n")).collect::<String>())?;
                super::print(if done.is_empty() { "ok: there was nothing to mend\n" } else { "ok: mended\n" })
            }
            Zone::History { places, name, max } => ask(places, &Command::History { zone: name.to_string(), max }),
        }
    }
}

impl Status {
    pub(super) fn run(self) -> Result<(), Error> {
        ask(self.places, &Command::Status)
    }
}

/// Has a command carried out and prints what comes of it.
fn ask(places: Places, command: &Command) -> Result<(), Error> {
    let state_dir = Config::state_directory(&Flags::from(places))?;
    super::print(&call(&state_dir, command)?)
}

/// Prints one line for each, to standard error.
fn print_each<T: std::fmt::Display>(what: &str, texts: &[T]) {
    let mut output = io::stderr().lock();
    for text in texts {
        let _ = writeln!(output, "{what}: {text}");
    }
}
