//! `dyndns serve`.

use super::first_steps::first_steps;
use super::{Places, logging};
use crate::config::{self, Config, Flags, LogFormat, ZoneConfig};
use crate::error::Error;
use crate::server;
use crate::tsig::TsigKey;
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Run the server
///
/// Without any flag and without /etc/dyndns/dyndns.toml it listens on 127.0.0.1:5300 and [::1]:5300, serves
/// every zones/*.zone, keeps its state in ./state and makes a key that may change every zone.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    places: Places,
    /// Listen here, on UDP and TCP; may be given several times [default: 127.0.0.1:5300 and [::1]:5300]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = config::address)]
    listen: Vec<SocketAddr>,
    /// Serve this zone too; may be given several times
    ///
    /// A zone file, or a name. A name takes zones/NAME.zone where that exists; otherwise the zone begins with a SOA
    /// and a NS of its own.
    #[arg(long, value_name = "NAME|FILE")]
    zone: Vec<String>,
    /// Accept this key for every zone; may be given several times
    ///
    /// The form is that of nsupdate -y, the default algorithm hmac-sha256. Every user of the machine sees the secret
    /// in ps: prefer a key file, made with dyndns key generate.
    #[arg(long, value_name = "[ALG:]NAME:SECRET")]
    tsig: Vec<Unprinted>,
    /// Append log lines to this file instead of standard error
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// How log lines are written [default: text]
    #[arg(long, value_name = "text|json", value_parser = log_format)]
    log_format: Option<LogFormat>,
    /// Write the number of the process to this file
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Check the configuration and the zone files, then exit
    #[arg(long)]
    check: bool,
}

impl Serve {
    pub(super) fn run(self) -> Result<(), Error> {
        let check = self.check;
        let flags = self.flags()?;
        let config = Config::load(&flags)?;
        if check {
            return report(&config);
        }
        logging::init(&config.log)?;
        // A service's output is its log; commands to try are for a person.
        let greeted = config.notify_socket.is_none();
        server::run(
            config,
            || Config::load(&flags),
            |ready| {
                if greeted {
                    // The server serves, whether or not anyone reads this.
                    let _ = super::print(&first_steps(&ready.listen, &ready.zones, ready.key_file.as_deref()));
                }
            },
        )
    }

    fn flags(self) -> Result<Flags, Error> {
        Ok(Flags {
            listen: self.listen,
            zones: self.zone,
            tsig: self.tsig.iter().map(Unprinted::key).collect::<Result<_, _>>()?,
            log_file: self.log_file,
            log_format: self.log_format,
            pid_file: self.pid_file,
            ..Flags::from(self.places)
        })
    }
}

/// What `--check` prints: the zones that would be served.
fn report(config: &Config) -> Result<(), Error> {
    let mut lines = String::new();
    for warning in &config.warnings {
        lines.push_str(&format!("warning: {warning}\n"));
    }
    for ZoneConfig { apex, file } in &config.zones {
        match file {
            Some(file) => {
                let cannot = || Error::usage(format!("cannot load zone {apex}"));
                let zone = config::read_zone_file(file, Some(*apex)).map_err(|errors| cannot().because(errors))?;
                for warning in zone.warnings {
                    lines.push_str(&format!("warning: {warning}\n"));
                }
                lines.push_str(&format!("zone {apex}: {} records in {}\n", zone.records.len(), file.display()));
            }
            None => lines.push_str(&format!("zone {apex}: no file\n")),
        }
    }
    if let Some(tls) = &config.tls {
        server::check_certificate(tls)?;
        lines.push_str(&format!("certificate: {}\n", tls.certificate.display()));
    }
    lines.push_str(&format!("ok: {} zones, {} keys\n", config.zones.len(), config.keys.len()));
    super::print(&lines)
}

/// A key as it was given. Our own reader takes it, for clap would print what it cannot read.
#[derive(Clone)]
struct Unprinted(zeroize::Zeroizing<String>);

impl From<String> for Unprinted {
    fn from(text: String) -> Unprinted {
        Unprinted(text.into())
    }
}

impl Unprinted {
    fn key(&self) -> Result<TsigKey, Error> {
        TsigKey::parse(&self.0).map_err(|error| {
            Error::usage("cannot use --tsig")
                .because(error)
                .remedy("and prefer a key file, made with dyndns key generate: every user sees the command line in ps")
        })
    }
}

impl std::fmt::Debug for Unprinted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[ALG:]NAME:SECRET")
    }
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    let known = LogFormat::WORDS.iter().find(|(word, _)| *word == text);
    known.map(|(_, format)| *format).ok_or_else(|| "write text or json".to_string())
}
