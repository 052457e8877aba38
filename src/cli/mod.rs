//! The command line: parses flags, calls one library function, prints.
//!
//! Standard output holds what was asked for and nothing else; what went wrong is one line on standard
//! error, and the exit code says whose fault it was: 0 done, 1 refused, 2 wrong usage or configuration.

mod agent;
mod backup;
mod first_steps;
mod generate;
mod key;
mod logging;
mod mesh;
mod mesh_text;
mod serve;
mod update;
mod zone;

use crate::config::Flags;
use crate::error::Error;
use clap::{Args, Parser, Subcommand};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Dynamic DNS in one binary: an authoritative server that takes RFC 2136 updates signed with TSIG and
/// never loses one.
#[derive(Debug, Parser)]
#[command(name = "dyndns", version, arg_required_else_help = true, subcommand_required = true)]
#[command(disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Update(update::Update),
    Agent(agent::Agent),
    #[command(subcommand)]
    Key(key::Key),
    #[command(subcommand)]
    Zone(zone::Zone),
    #[command(subcommand)]
    Mesh(mesh::Mesh),
    Backup(backup::Backup),
    Restore(backup::Restore),
    Status(zone::Status),
    #[command(subcommand)]
    Generate(generate::Generate),
}

/// Where the configuration and the state are.
#[derive(Debug, Args)]
struct Places {
    /// Configuration file, in TOML
    ///
    /// Without this flag /etc/dyndns/dyndns.toml is read where it exists.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of the journal, the table and the keys [default: $STATE_DIRECTORY, else ./state]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// Runs what the process's arguments ask for.
pub fn run() -> ExitCode {
    // Wrong usage ends here with code 2, --help and --version with 0.
    let result = match Arguments::parse().command {
        Command::Serve(serve) => serve.run(),
        Command::Update(update) => update.run(),
        Command::Agent(agent) => agent.run(),
        Command::Key(key) => key.run(),
        Command::Zone(zone) => zone.run(),
        Command::Mesh(mesh) => mesh.run(),
        Command::Backup(backup) => backup.run(),
        Command::Restore(restore) => restore.run(),
        Command::Status(status) => status.run(),
        Command::Generate(generate) => generate.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where standard error is gone too, the exit code still tells.
            let _ = writeln!(io::stderr(), "error: {error}");
            error.code().into()
        }
    }
}

impl From<Places> for Flags {
    fn from(places: Places) -> Flags {
        Flags { config: places.config, state_dir: places.state_dir, ..Flags::default() }
    }
}

/// Writes to standard output. A reader that has gone, as in `| head -1`, has read all it wanted.
fn print(text: &str) -> Result<(), Error> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::usage("cannot write to standard output").because(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_declarations_of_the_command_line_fit_together() {
        Arguments::command().debug_assert();
    }
}
