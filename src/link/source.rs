//! Asks sources for this machine's addresses.

use super::Fault;
use super::authority;
use super::http::{Ask, Family, Http};
use super::rfc2136::Server;
use crate::agent::address::Special;
use crate::agent::place::Place;
use crate::agent::source::{Agreement, Found, Pattern, Report, Source, choose};
use crate::clock::Clock;
use crate::error::io_text;
use crate::tsig::TsigKey;
use crate::wire::{Name, Rtype};
use std::net::IpAddr;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::timeout;

/// Where `whoami` is asked when the source does not say.
#[derive(Debug, Clone)]
pub struct Home {
    /// The server of the target.
    pub server: Place,
    /// The key we share with it.
    pub key: Option<TsigKey>,
    /// The zone.
    pub zone: Name,
}

/// How long a command may take.
const COMMAND: Duration = Duration::from_secs(30);
/// How much of what it prints is read.
const LONGEST: u64 = 64 << 10;

/// Asks the sources, in order, until enough is known.
pub async fn find(sources: &[Source], agreement: Agreement, allowed: &[Special], home: Option<&Home>) -> Found {
    let mut reports = Vec::new();
    for source in sources {
        let outcome = ask(source, home).await.map_err(|fault| fault.to_string());
        reports.push(Report { source: source.to_string(), outcome });
        // A later source would change nothing then.
        if agreement == Agreement::First && choose(&reports, agreement, allowed).is_complete() {
            break;
        }
    }
    choose(&reports, agreement, allowed)
}

/// Asks one source.
pub async fn ask(source: &Source, home: Option<&Home>) -> Result<Vec<IpAddr>, Fault> {
    match source {
        Source::Whoami { name, server } => whoami(name.as_ref(), server.as_ref(), home).await,
        Source::Interface(name) => interface(name.as_deref()),
        Source::Command(words) => {
            let text = command(words).await?;
            let found = Pattern::any().find(&text);
            if found.is_empty() { Err(Fault::new("it prints no address")) } else { Ok(found) }
        }
        Source::Url { url, pattern } => page(url, pattern).await,
        Source::Fixed(addresses) => Ok(addresses.clone()),
    }
}

/// The address that a server sees us come from, of each family that it can be reached by.
async fn whoami(name: Option<&Name>, server: Option<&Place>, home: Option<&Home>) -> Result<Vec<IpAddr>, Fault> {
    let unknown = || Fault::new("no server of a target is known to ask; write whoami:NAME@SERVER");
    let name = match (name, home) {
        (Some(name), _) => *name,
        (None, Some(home)) => home.zone.child(b"whoami").map_err(|error| Fault(error.to_string()))?,
        (None, None) => return Err(unknown()),
    };
    let (place, key) = match (server, home) {
        (Some(server), _) => (server, None),
        (None, Some(home)) => (&home.server, home.key.as_ref()),
        (None, None) => return Err(unknown()),
    };
    let addresses = authority::addresses(place).await?;
    let by = |is_v4: bool| {
        let servers = addresses.iter().filter(move |address| address.is_ipv4() == is_v4);
        let servers = servers.map(|address| Server::new(*address, key.cloned(), Clock::System)).collect::<Vec<_>>();
        async move {
            let rtype = if is_v4 { Rtype::A } else { Rtype::AAAA };
            let mut outcome = Ok(Vec::new());
            for server in &servers {
                outcome = server.addresses(&name, rtype).await.map_err(Fault::from);
                if outcome.is_ok() {
                    break;
                }
            }
            outcome
        }
    };
    let mut found = Vec::new();
    let mut fault = Fault(format!("{place} has no addresses for {name}; set whoami = \"{name}\" in its configuration"));
    let (v4, v6) = tokio::join!(by(true), by(false));
    for outcome in [v4, v6] {
        match outcome {
            Ok(mut addresses) => found.append(&mut addresses),
            Err(error) => fault = error,
        }
    }
    if found.is_empty() { Err(fault) } else { Ok(found) }
}

/// The addresses of an interface, those preferred longest first.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn interface(name: Option<&str>) -> Result<Vec<IpAddr>, Fault> {
    let cannot = |error| Fault(format!("cannot read the addresses of this machine: {}", io_text(&error)));
    let mut found = crate::sys::netlink::addresses().map_err(cannot)?;
    found.retain(|address| name.is_none_or(|name| address.interface == name));
    found.sort_by_key(|address| std::cmp::Reverse(address.preferred));
    match (found.is_empty(), name) {
        (false, _) => Ok(found.into_iter().map(|found| found.address).collect()),
        (true, Some(name)) => Err(Fault(format!("interface {name} has no address; ip address shows what there is"))),
        (true, None) => Err(Fault::new("no interface has an address")),
    }
}

/// The addresses of an interface.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn interface(_name: Option<&str>) -> Result<Vec<IpAddr>, Fault> {
    Err(Fault::new("interfaces can be read on Linux alone; write command:... that prints the address"))
}

/// What a command prints to its standard output.
async fn command(words: &str) -> Result<String, Fault> {
    let cannot = |error: std::io::Error| Fault(format!("cannot run it: {}", io_text(&error)));
    let mut command = Command::new("/bin/sh");
    command.args(["-c", words]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().map_err(cannot)?;
    let mut text = Vec::new();
    let run = async {
        if let Some(output) = child.stdout.take() {
            output.take(LONGEST).read_to_end(&mut text).await?;
        }
        child.wait().await
    };
    let status = timeout(COMMAND, run).await.map_err(|_| Fault::new("it did not end within 30 s"))?.map_err(cannot)?;
    if status.success() {
        Ok(String::from_utf8_lossy(&text).into_owned())
    } else {
        Err(Fault(format!("it failed: {status}")))
    }
}

/// The addresses in a page, asked for over IPv4 and over IPv6.
async fn page(url: &str, pattern: &Pattern) -> Result<Vec<IpAddr>, Fault> {
    let by = |family: Family| async move {
        let page = Http::new(family)?.ask(url, Ask::default()).await?;
        match page.status {
            200..=299 => Ok(pattern.find(&page.body)),
            status => Err(Fault(format!("the server answers {status}"))),
        }
    };
    let (v4, v6) = tokio::join!(by(Family::V4), by(Family::V6));
    let mut found = Vec::new();
    let mut fault = Fault::new("the page shows no address; check it and the pattern");
    for (outcome, is_v4) in [(v4, true), (v6, false)] {
        match outcome {
            // What is asked for over one family tells of that one.
            Ok(addresses) => found.extend(addresses.into_iter().filter(|address| address.is_ipv4() == is_v4)),
            // Many servers have IPv4 alone, so what IPv4 met counts.
            Err(error) if is_v4 => fault = error,
            Err(_) => {}
        }
    }
    if found.is_empty() { Err(fault) } else { Ok(found) }
}
