//! `dyndns update`.

use crate::agent::address::{self, Special};
use crate::agent::place::Place;
use crate::agent::plan::{Host, Observed, Rule, derived, wanted};
use crate::agent::source::{Source, quorum as agreement};
use crate::config;
use crate::error::Error;
use crate::link::bring::{Outcome, Step, bring};
use crate::link::source::find;
use crate::link::target::Remote;
use crate::wire::{Name, Ttl};
use clap::Args;
use std::io::IsTerminal;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Make a name point to an address, once
///
/// Asks the zone's server what it holds, writes only what differs, and asks again whether the change shows. Without an
/// address it finds those of this machine. The family of which none is given or found stays as it is.
#[derive(Debug, Args)]
pub(super) struct Update {
    /// The host whose addresses are to be written
    host: Name,
    /// Its addresses: one of IPv4, one of IPv6, or both; without any they are found
    #[arg(value_name = "ADDRESS", value_parser = address::parse)]
    addresses: Vec<IpAddr>,
    /// The zone's primary server, by name or address [default: that of the zone's SOA record]
    #[arg(long, value_name = "SERVER[:PORT]")]
    server: Option<Place>,
    /// File of the TSIG key to sign with; without one nothing is signed
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The zone [default: the one the server says the host is in]
    #[arg(long)]
    zone: Option<Name>,
    /// The TTL of what is written, in seconds; where it is given, a record with another is written anew [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=604_800))]
    ttl: Option<u32>,
    /// Another host in the same network, written in the same message: the prefix of the IPv6 address, then this suffix,
    /// or that of this MAC
    #[arg(long, value_name = "HOST=::SUFFIX|MAC[/PREFIX]", value_parser = derived_host)]
    derived: Vec<Host>,
    /// Where to find the addresses: the first source that has one counts; may be given several times
    ///
    /// whoami:NAME@SERVER asks a server for a name that answers with our address; whoami alone asks the zone's server
    /// for whoami.ZONE. interface:NAME takes the address of an interface, interface alone of any. command:WORDS takes
    /// what a command prints. "url:URL PATTERN" takes what the regular expression finds in a page, without it the first
    /// address there. fixed:ADDRESS,... takes these. [default: whoami, then interface]
    #[arg(long, value_name = "SOURCE", conflicts_with = "addresses")]
    source: Vec<Source>,
    /// Take an address only if so many sources say the same
    #[arg(long, value_name = "N", requires = "source")]
    quorum: Option<NonZeroUsize>,
    /// Take addresses that cannot be reached from elsewhere, of this kind
    #[arg(long, value_name = "KIND")]
    allow: Vec<Special>,
}

impl Update {
    pub(super) fn run(self) -> Result<(), Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::usage("cannot begin").because(error))?;
        runtime.block_on(self.bring())
    }

    async fn bring(self) -> Result<(), Error> {
        let Update { host, addresses, server, key_file, zone, ttl, derived, source, quorum, allow } = self;
        let cannot = || Error::refused(format!("cannot update {host}"));
        for address in &addresses {
            address::usable(*address, &allow).map_err(|error| cannot().because(error))?;
        }
        let given = Observed::gather(addresses.iter().copied()).map_err(|second| {
            Error::usage(format!("cannot update {host}: {second} is a second address of its family"))
                .remedy("give one of each")
        })?;
        let agreement = agreement(&source, quorum).map_err(|why| Error::usage(format!("--quorum: {why}")))?;
        let key = key_file.map(|path| config::key_of_file(&path)).transpose()?;
        let remote = Remote::Rfc2136 { server, key, zone, ttl: ttl.map(Ttl::new) };
        let observed = if addresses.is_empty() {
            let sources = if source.is_empty() { Source::default_order() } else { source };
            let home = match sources.iter().any(Source::needs_home) {
                true => remote.home(&host).await.map_err(|fault| cannot().because(fault))?,
                false => None,
            };
            let found = find(&sources, agreement, &allow, home.as_ref()).await;
            if found.observed == Observed::default() {
                return Err(cannot().because(format!("no address found: {}", found.notes.join("; "))));
            }
            let notes: String = found.notes.iter().map(|note| format!("{note}\n")).collect();
            super::print(&notes)?;
            found.observed
        } else {
            given
        };
        if observed.v6.is_none() {
            for host in &derived {
                super::print(&format!("{} stays as it is: there is no IPv6 address to derive from\n", host.name))?;
            }
        }
        let hosts: Vec<Host> = std::iter::once(Host { name: host, rule: Rule::Same }).chain(derived).collect();
        let mut printed = Ok(());
        // A person waits for each step; a log wants what came of it.
        let watched = std::io::stdout().is_terminal();
        let mut tell = |step: Step<'_>| {
            if printed.is_ok() && (watched || !matches!(step, Step::Writing(_))) {
                printed = super::print(&step.to_string());
            }
        };
        let Outcome { fault, .. } = bring(&remote, &wanted(&hosts, observed, &[]), &mut tell).await;
        printed?;
        fault.map_or(Ok(()), |fault| Err(Error::refused(fault.to_string())))
    }
}

/// Reads `HOST=::SUFFIX[/PREFIX]`.
fn derived_host(text: &str) -> Result<Host, String> {
    let (name, rest) = text.split_once('=').ok_or_else(|| {
        format!("`{text}` says no host and suffix; write it as nas.example.com=::53 or nas.example.com=::53/56")
    })?;
    let name = name.parse().map_err(|error| format!("`{name}` is no name: {error}"))?;
    Ok(Host { name, rule: derived(rest)? })
}
