//! `dyndns backup` and `dyndns restore`.

use super::Places;
use crate::config::{Config, Flags};
use crate::error::Error;
use crate::server;
use crate::store::Existing;
use clap::Args;
use std::io::{self, Write};
use std::path::PathBuf;

/// Make a backup of a server's state, running or not
///
/// Holds every update that was answered before it began: all zones, their history, and whatever else lies in the state
/// directory. The keys are among it, so keep a backup as you keep them; every file has the rights it has there.
/// The configuration is not in it. A running server goes on answering and taking updates.
#[derive(Debug, Args)]
pub(super) struct Backup {
    #[command(flatten)]
    places: Places,
    /// A directory that is not there yet, or is empty
    #[arg(value_name = "DIR")]
    to: PathBuf,
}

/// Make a server's state from a backup
///
/// The server must not run. A backup that is not whole is refused, and nothing is changed.
#[derive(Debug, Args)]
pub(super) struct Restore {
    #[command(flatten)]
    places: Places,
    /// The backup
    #[arg(value_name = "DIR")]
    from: PathBuf,
    /// Where the state directory holds a state already, move that into before-restore-N within it
    #[arg(long)]
    force: bool,
}

impl Backup {
    pub(super) fn run(self) -> Result<(), Error> {
        let state_dir = Config::state_directory(&Flags::from(self.places))?;
        let (instant, made) = server::backup(&state_dir, &self.to)?;
        for warning in made.warnings {
            // The backup is made, whether or not anyone reads this.
            let _ = writeln!(io::stderr(), "warning: {warning}");
        }
        let (to, seq) = (self.to.display(), instant.seq);
        super::print(&format!("backup {to} made: up to commit {seq}, files {}, octets {}\n", made.files, made.octets))
    }
}

impl Restore {
    pub(super) fn run(self) -> Result<(), Error> {
        let state_dir = Config::state_directory(&Flags::from(self.places))?;
        let existing = if self.force { Existing::SetAside } else { Existing::Refuse };
        let restored = server::restore(&self.from, &state_dir, existing)?;
        let (state, zones, seq) = (state_dir.display(), restored.zones, restored.seq);
        let mut text = format!("state {state} restored: up to commit {seq}, zones {zones}\n");
        if let Some(aside) = restored.aside {
            text.push_str(&format!("what was there before is in {}; it may be deleted\n", aside.display()));
        }
        super::print(&text)
    }
}
