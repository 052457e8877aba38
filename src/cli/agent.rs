//! `dyndns agent`.

use super::logging;
use crate::agent::plan::Host;
use crate::clock::timestamp;
use crate::config::{AGENT_FILE, AgentConfig};
use crate::error::Error;
use crate::link::agent::{remembered, run};
use clap::Args;
use std::path::PathBuf;

/// Keep names at this machine's addresses, for good
///
/// Looks for the addresses, at once where the kernel tells of a change and otherwise from time to time, compares them
/// with what the targets hold, writes only what differs and waits until it shows. What fails is tried again.
#[derive(Debug, Args)]
pub(super) struct Agent {
    /// Configuration file, in TOML
    #[arg(long, value_name = "FILE", default_value = AGENT_FILE)]
    config: PathBuf,
    /// Show each host with its address, since when, the last check and the next, then exit
    #[arg(long, conflicts_with = "check")]
    status: bool,
    /// Check the configuration, then exit
    #[arg(long)]
    check: bool,
}

impl Agent {
    pub(super) fn run(self) -> Result<(), Error> {
        let config = AgentConfig::load(&self.config)?;
        if self.status {
            let hosts: Vec<(&str, &[Host])> =
                config.targets.iter().map(|target| (target.name.as_str(), target.hosts.as_slice())).collect();
            return super::print(&remembered(&config.state_dir)?.status(&hosts, timestamp));
        }
        if self.check {
            let warnings: String = config.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
            return super::print(&format!("{warnings}ok: {} targets\n", config.targets.len()));
        }
        logging::init(&config.log)?;
        run(config, || AgentConfig::load(&self.config))
    }
}
