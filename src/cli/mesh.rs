//! `dyndns mesh`.

use super::logging;
use super::mesh_text::{self, Form};
use crate::config::{LogConfig, LogFormat, LogLevel, advertised, mesh_state_directory, notify_socket};
use crate::error::Error;
use crate::link::mesh::{Command, Entry, Followers, PORT, Settings, Told, ZONE, call, membership, run};
use crate::mesh::{Label, Role, Settings as NodeSettings, Ticket};
use crate::wire::Name;
use clap::{Args, Subcommand};
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

/// Machines that find each other with no one in the middle
///
/// Each machine runs a node; nodes tell each other where they are and keep a list of who lives. start, join and watch
/// stay until SIGTERM; the other commands talk to the node that runs on the same state directory.
#[derive(Debug, Subcommand)]
pub(super) enum Mesh {
    /// Begin a mesh, or take up the membership that is there
    ///
    /// The first node of a mesh has the mesh's key: it makes tickets and removes nodes. It prints a ticket for others. A
    /// machine that is a member needs no ticket any more: it starts again by this command, with the options that it was
    /// given last, but for the hosts file, the hook and the log.
    Start {
        #[command(flatten)]
        node: Box<NodeArguments>,
    },
    /// Join a mesh by a ticket
    Join {
        /// The ticket, or - to read it from standard input
        ticket: String,
        #[command(flatten)]
        node: Box<NodeArguments>,
    },
    /// Read a mesh and print what changes in it, without being in it
    ///
    /// Any ticket does; one that dyndns mesh ticket new --watch made lets nobody do more.
    Watch {
        /// The ticket, or - to read it from standard input
        ticket: String,
        /// Whom to try before the ticket's own contacts, as HOST or HOST:PORT; several times
        #[arg(long, value_name = "HOST[:PORT]")]
        contact: Vec<String>,
        /// Find members on the local link by mDNS, too
        #[arg(long)]
        mdns: bool,
        /// How often to look for what has changed
        #[arg(long, value_name = "TIME", default_value = "5s", value_parser = period)]
        heartbeat: Duration,
        #[command(flatten)]
        place: Place,
    },
    /// Print the hosts that live, with names and addresses
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Print what this node is and how it sees the mesh
    Status {
        #[command(flatten)]
        place: Place,
    },
    /// Make, list and revoke tickets, at a node that has the mesh's key
    #[command(subcommand)]
    Ticket(TicketCommand),
    /// Take nodes out of the mesh, at a node that has the mesh's key
    #[command(subcommand)]
    Node(NodeCommand),
    /// Leave the mesh: the others drop this node at once, and it ends
    ///
    /// Its keys stay; dyndns mesh start brings it back.
    Leave {
        #[command(flatten)]
        place: Place,
    },
}

/// Make, list and revoke tickets
#[derive(Debug, Subcommand)]
pub(super) enum TicketCommand {
    /// Make a ticket and print it
    New {
        /// For how long new nodes can come in by it; those that did stay
        #[arg(long, value_name = "TIME", default_value = "7d", value_parser = period)]
        expires: Duration,
        /// Let only watch
        #[arg(long)]
        watch: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Print the tickets that were made at this node
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Take a ticket back: nobody new comes in by it
    Revoke {
        /// Its id, or the ticket itself
        id: String,
        #[command(flatten)]
        place: Place,
    },
}

/// Take nodes out of the mesh
#[derive(Debug, Subcommand)]
pub(super) enum NodeCommand {
    /// Remove a node for good: its key never comes back
    Remove {
        /// Its name, or its id
        name: String,
        #[command(flatten)]
        place: Place,
    },
}

/// Where the state is, and how to print.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// Directory of the keys and of what is known [default: $STATE_DIRECTORY, else ./mesh-state, else /var/lib/dyndns-mesh]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What a node is told. The times are for those who know why; all nodes of a mesh should have the same. What is said once
/// holds for later starts, too, but for the hosts file, the hook and the log.
#[derive(Debug, Args)]
pub(super) struct NodeArguments {
    /// What this machine is called: letters, digits and hyphens [default: that of the last start]
    #[arg(long, value_parser = label)]
    name: Option<Label>,
    /// The zone that the names stand in [default: that of the last start, else mesh.home.arpa]
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    zone: Option<Name>,
    /// UDP port to listen at; 0 is one that the system picks [default: that of the last start, else 5399]
    #[arg(long)]
    port: Option<u16>,
    /// Address to listen at; :: is all, of both families [default: that of the last start, else ::]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<IpAddr>,
    /// State an address of this machine, instead of what peers see; several times [default: those of the last start]
    #[arg(long, value_name = "ADDRESS", value_parser = advertised, conflicts_with = "no_advertise")]
    advertise: Vec<IpAddr>,
    /// State no address any more: what peers see counts again
    #[arg(long)]
    no_advertise: bool,
    /// Whom to try first, as HOST or HOST:PORT; several times [default: those of the last start]
    #[arg(long, value_name = "HOST[:PORT]")]
    contact: Vec<String>,
    /// Find members on the local link by mDNS, and be found there, besides all that are named [default: as at the last start]
    #[arg(long, conflicts_with = "no_mdns")]
    mdns: bool,
    /// Use mDNS no more
    #[arg(long)]
    no_mdns: bool,
    /// Keep the names of the mesh in this hosts file, in a section of their own; it is taken out at the end
    #[arg(long, value_name = "FILE")]
    hosts_file: Option<PathBuf>,
    /// Run this command under /bin/sh when the addresses of this machine have changed, as peers see them
    ///
    /// It finds DYNDNS_NAME, DYNDNS_ZONE, DYNDNS_ADDRESSES, DYNDNS_IPV4 and DYNDNS_IPV6 in its environment.
    #[arg(long, value_name = "COMMAND")]
    hook: Option<String>,
    /// Be a server of the mesh: one that others name as contact, and that asks quiet hosts whether they live [default: as at the
    /// last start]
    #[arg(long, conflicts_with = "no_server")]
    server: bool,
    /// Be a server no more
    #[arg(long)]
    no_server: bool,
    /// How many new nodes are told what there is at the same time; more are sent to another [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    sessions: Option<u16>,
    /// Between heartbeats [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = period)]
    heartbeat: Option<Duration>,
    /// How long an answer may take [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = period)]
    timeout: Option<Duration>,
    /// Between comparisons of what two nodes know [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = period)]
    announce: Option<Duration>,
    /// Between full exchanges [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = period)]
    full_exchange: Option<Duration>,
    /// How long a node that does not answer has to say that it lives [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = period)]
    suspicion: Option<Duration>,
    /// For how long a record holds; it is renewed after a third of that [default: 2h]
    #[arg(long, value_name = "TIME", value_parser = lease)]
    lease: Option<Duration>,
    /// After how long without a word from it a server asks a host whether it lives [default: 1h]
    #[arg(long, value_name = "TIME", value_parser = period)]
    quiet: Option<Duration>,
    /// Append log lines to this file instead of standard error
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// How log lines are written
    #[arg(long, value_name = "text|json", default_value = "text", value_parser = super::serve::log_format)]
    log_format: LogFormat,
    #[command(flatten)]
    place: Place,
}

/// Where a node keeps its state, where nothing else is said.
const HERE: &str = "mesh-state";
/// Where a watcher does: it is no member, and its machine may have one.
const WATCHER: &str = "mesh-watch-state";

impl Mesh {
    pub(super) fn run(self) -> Result<(), Error> {
        match self {
            Mesh::Start { node } => node.run(None),
            Mesh::Join { ticket, node } => {
                let ticket = read_ticket(&ticket)?;
                node.run(Some(ticket))
            }
            Mesh::Watch { ticket, contact, mdns, heartbeat, place } => {
                watch(read_ticket(&ticket)?, contact, mdns, heartbeat, place)
            }
            Mesh::List { place } => place.ask(&Command::List),
            Mesh::Status { place } => place.ask(&Command::Status),
            Mesh::Ticket(TicketCommand::New { expires, watch, place }) => {
                place.ask(&Command::TicketNew { lasts: expires.as_secs(), watch })
            }
            Mesh::Ticket(TicketCommand::List { place }) => place.ask(&Command::TicketList),
            Mesh::Ticket(TicketCommand::Revoke { id, place }) => place.ask(&Command::TicketRevoke { id }),
            Mesh::Node(NodeCommand::Remove { name, place }) => place.ask(&Command::NodeRemove { name }),
            Mesh::Leave { place } => place.ask(&Command::Leave),
        }
    }
}

impl Place {
    fn form(&self) -> Form {
        if self.json { Form::Json } else { Form::Text }
    }

    fn ask(self, command: &Command) -> Result<(), Error> {
        let form = self.form();
        let reply = call(&mesh_state_directory(self.state_dir, HERE), command)?;
        super::print(&mesh_text::reply(&reply, form)?)
    }
}

impl NodeArguments {
    /// Is a node: by a ticket, or as the member that it is.
    fn run(self, ticket: Option<Ticket>) -> Result<(), Error> {
        let form = self.place.form();
        let state_dir = mesh_state_directory(self.place.state_dir, HERE);
        let before = membership(&state_dir)?;
        let kept = before.as_ref();
        let name = self.name.or_else(|| kept.and_then(|kept| Label::new(&kept.name)));
        let name = name
            .ok_or_else(|| Error::usage("this machine has no name in a mesh yet").remedy("choose one with --name"))?;
        let kept_zone = kept.and_then(|kept| Name::parse(&kept.zone).ok());
        let zone = match self.zone.or(kept_zone) {
            Some(zone) => zone,
            None => {
                Name::parse(ZONE).map_err(|error| Error::usage(format!("cannot use zone {ZONE}")).because(error))?
            }
        };
        let options = kept.and_then(|kept| kept.options.as_ref());
        let port = self.port.or(kept.map(|kept| kept.port)).unwrap_or(PORT);
        let listen = self.listen.or(options.map(|options| options.listen));
        let listen = listen.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        let mut node = match options {
            Some(options) => options.settings(name, port),
            None => NodeSettings { port, ..NodeSettings::new(name) },
        };
        match (self.server, self.no_server) {
            (true, _) => node.role = Role::Server,
            (_, true) => node.role = Role::Member,
            _ => {}
        }
        if self.no_advertise || !self.advertise.is_empty() {
            node.advertise = self.advertise;
        }
        node.sessions = self.sessions.map_or(node.sessions, usize::from);
        node.heartbeat = self.heartbeat.unwrap_or(node.heartbeat);
        node.timeout = self.timeout.unwrap_or(node.timeout);
        node.announce = self.announce.unwrap_or(node.announce);
        node.full = self.full_exchange.unwrap_or(node.full);
        node.suspicion = self.suspicion.unwrap_or(node.suspicion);
        node.lease = self.lease.map_or(node.lease, |lease| u32::try_from(lease.as_secs()).unwrap_or(u32::MAX));
        node.quiet = self.quiet.map_or(node.quiet, |quiet| quiet.as_secs());
        let entry = ticket.map_or(Entry::Start, Entry::Join);
        let joins = matches!(entry, Entry::Join(_));
        logging::init(&LogConfig { file: self.log_file, format: self.log_format, level: LogLevel::Info })?;
        let mdns = !self.no_mdns && (self.mdns || options.is_some_and(|options| options.mdns));
        let settings = Settings { state_dir, listen, zone, node, entry, contacts: self.contact, mdns };
        // A service's output is its log, and that is no place for a ticket.
        let followers = Followers { notify_socket: notify_socket(), hosts_file: self.hosts_file, hook: self.hook };
        let (service, mut greeted) = (followers.notify_socket.is_some(), false);
        run(settings, followers, |told| {
            let text = match told {
                Told::Started { listen, ticket, view } if !joins => mesh_text::started(listen, ticket, view, form),
                Told::Changed(view) if joins && view.joined && !greeted => {
                    greeted = true;
                    mesh_text::joined(view, form)
                }
                _ => return,
            };
            if !service {
                // The node runs, whether or not anyone reads this.
                let _ = super::print(&text);
            }
        })
    }
}

fn watch(ticket: Ticket, contacts: Vec<String>, mdns: bool, heartbeat: Duration, place: Place) -> Result<(), Error> {
    let form = place.form();
    let state_dir = mesh_state_directory(place.state_dir, WATCHER);
    let name = Label::new("watcher").ok_or_else(|| Error::usage("cannot name the watcher"))?;
    let zone = Name::parse(ZONE).map_err(|error| Error::usage(format!("cannot use zone {ZONE}")).because(error))?;
    // Nobody tells a watcher anything, so it compares whenever it asks.
    let times = NodeSettings { heartbeat, announce: heartbeat, ..NodeSettings::new(name) };
    let node = NodeSettings { role: Role::Watcher, port: 0, ..times };
    let listen = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    logging::init(&LogConfig { file: None, format: LogFormat::Text, level: LogLevel::Warn })?;
    let settings = Settings { state_dir, listen, zone, node, entry: Entry::Join(ticket), contacts, mdns };
    let mut shown = Vec::new();
    run(settings, Followers { notify_socket: notify_socket(), ..Followers::default() }, |told| {
        if let Told::Changed(view) = told {
            let _ = super::print(&mesh_text::changes(&mut shown, view, form));
        }
    })
}

/// A ticket as given; `-` keeps it out of the sight of others on this machine.
fn read_ticket(text: &str) -> Result<Ticket, Error> {
    let mut line = String::new();
    let text = if text == "-" {
        let read = std::io::stdin().read_line(&mut line);
        read.map_err(|error| Error::usage("cannot read the ticket from standard input").because(error))?;
        line.as_str()
    } else {
        text
    };
    text.parse().map_err(|error| Error::usage("cannot use the ticket").because(error))
}

fn label(text: &str) -> Result<Label, String> {
    Label::new(text).ok_or_else(|| "a name is 1 to 63 letters, digits and hyphens, no hyphen at an end".into())
}

fn zone(text: &str) -> Result<Name, String> {
    Name::parse(text).map_err(|error| error.to_string())
}

/// A number of seconds, or of another unit: `90`, `10s`, `5m`, `2h`, `7d`.
fn period(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no time; write a number and s, m, h or d, as 7d");
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h', 'd']) {
        Some(number) => (number, text.chars().last()),
        None => (text, None),
    };
    let seconds = match unit {
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        _ => 1,
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds =
        number.checked_mul(seconds).filter(|seconds| (1..=3_153_600_000).contains(seconds)).ok_or_else(wrong)?;
    Ok(Duration::from_secs(seconds))
}

/// A record that holds for longer is refused by every node, and one that holds for less is renewed all the time.
fn lease(text: &str) -> Result<Duration, String> {
    let lease = period(text)?;
    if (300..=86_400).contains(&lease.as_secs()) { Ok(lease) } else { Err("a lease is five minutes to a day".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_or_are_seconds() {
        let seconds = |text| period(text).map(|period| period.as_secs());
        assert_eq!([seconds("7d"), seconds("2h"), seconds("5m")], [Ok(604_800), Ok(7200), Ok(300)]);
        assert_eq!([seconds("10s"), seconds("90")], [Ok(10), Ok(90)]);
        for wrong in ["", "d", "0", "0s", "-1s", "1w", "1.5h", "99999999999999999999", "999999999d"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
        assert!(lease("5m").is_ok() && lease("1d").is_ok());
        assert!(lease("299s").is_err() && lease("25h").is_err());
    }
}
