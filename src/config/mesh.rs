//! `[mesh]`: this server as a member of a mesh, whose names it answers.

use super::file::{Fault, Preset, Setting};
use super::settings::set;
use super::zones::Zones;
use super::{Network, ZoneConfig};
use crate::agent::place::Place;
use crate::mesh::{Label, Role, Settings};
use crate::update::policy::Rights;
use crate::wire::Name;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `[mesh]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshConfig {
    /// What the node is told of itself.
    pub node: Settings,
    /// The zone of the names.
    pub zone: Name,
    /// The reverse zones in which addresses get PTR records.
    pub reverse: Vec<Name>,
    /// Where the node keeps its key and what it knows.
    pub state_dir: PathBuf,
    /// The file with the ticket by which it joins; without one it has joined before, or begins a mesh.
    pub ticket_file: Option<PathBuf>,
    /// Servers of the mesh, tried one after the other.
    pub bootstrap: Vec<Place>,
    /// Whether members on the local link are found by mDNS.
    pub mdns: bool,
    /// The hosts file that gets a section of names.
    pub hosts_file: Option<PathBuf>,
    /// The command that is run when this machine's addresses have changed.
    pub hook: Option<String>,
}

/// `[mesh]`.
#[derive(Default)]
pub(super) struct MeshSettings {
    pub(super) at: usize,
    name: Option<Label>,
    zone: Option<Name>,
    reverse: Vec<Name>,
    state_dir: Option<PathBuf>,
    ticket_file: Option<PathBuf>,
    bootstrap: Vec<Place>,
    mdns: bool,
    port: u16,
    server: bool,
    advertise: Vec<IpAddr>,
    sessions: u32,
    heartbeat: u32,
    timeout: u32,
    announce: u32,
    full_exchange: u32,
    quiet: u32,
    lease: u32,
    hosts_file: Option<PathBuf>,
    hook: Option<String>,
}

/// In `[mesh]`. The defaults are those of [`Settings`].
pub(super) const MESH_OPTIONS: &[Setting<MeshSettings>] = &[
    Setting {
        name: "name",
        form: "host name",
        default: Preset::Words("must be written"),
        doc: "What this machine is called in the mesh: letters, digits and hyphens, without dots. Who claimed a name \
              first has it as long as it lives.",
        set: |mesh, field| set(&mut mesh.name, field.parse(label)),
    },
    Setting {
        name: "zone",
        form: "zone name",
        default: Preset::Words("mesh.home.arpa"),
        doc: "The zone of the names: NAME.ZONE. It is made where it is not there; what others wrote into it stays theirs.",
        set: |mesh, field| set(&mut mesh.zone, field.parse(Name::parse)),
    },
    Setting {
        name: "reverse",
        form: "list of \"ADDRESS/LENGTH\"",
        default: Preset::Toml("[]"),
        doc: "The networks whose addresses get PTR records. The length ends where a label of the reverse name does: a \
              multiple of 8, or of 4 for IPv6. The zone is made, unless one that is declared here holds these names.",
        set: |mesh, field| {
            mesh.reverse = field.list(|item| item.parse(reverse_zone))?;
            Ok(())
        },
    },
    Setting {
        name: "state-dir",
        form: "path",
        default: Preset::Words("mesh in the state directory"),
        doc: "Where the node keeps its key, its tickets and the members it knows. dyndns mesh --state-dir takes the same.",
        set: |mesh, field| set(&mut mesh.state_dir, field.path()),
    },
    Setting {
        name: "ticket-file",
        form: "path",
        default: Preset::Words("none"),
        doc: "A file with the ticket by which this machine joins; it may go once it has. Without this option, and where \
              it has joined no mesh before, it begins a mesh of its own.",
        set: |mesh, field| set(&mut mesh.ticket_file, field.path()),
    },
    Setting {
        name: "bootstrap",
        form: "list of \"HOST\" or \"HOST:PORT\"",
        default: Preset::Toml("[]"),
        doc: "Servers of the mesh, by name or address; of one with IPv4 and IPv6 both, for by that a machine learns both of \
              its own. A new machine tries one, three more times, then the next; one that has been in the mesh tries the \
              members it knows too.",
        set: |mesh, field| {
            mesh.bootstrap = field.list(|item| item.parse(|text| Place::parse(text, PORT)))?;
            Ok(())
        },
    },
    Setting {
        name: "mdns",
        form: "true or false",
        default: Preset::Toml("false"),
        doc: "Find members on the local link by multicast DNS, besides all that are named, and be found there. Opens UDP port \
              5353; a hardened unit has to allow AF_NETLINK for it.",
        set: |mesh, field| {
            mesh.mdns = field.boolean()?;
            Ok(())
        },
    },
    Setting {
        name: "port",
        form: "1 to 65535",
        default: Preset::Toml("5399"),
        doc: "The UDP port of the mesh, at all addresses of this machine. Other members must reach it.",
        set: |mesh, field| {
            mesh.port = field.number(1..=65_535)?;
            Ok(())
        },
    },
    Setting {
        name: "role",
        form: "\"member\" or \"server\"",
        default: Preset::Toml("\"member\""),
        doc: "A server is one that others name in bootstrap; the servers share the work of asking quiet hosts whether \
              they live.",
        set: |mesh, field| {
            mesh.server = field.word(&[("member", false), ("server", true)])?;
            Ok(())
        },
    },
    Setting {
        name: "advertise",
        form: "list of addresses",
        default: Preset::Words("the addresses that other members see"),
        doc: "The addresses of this machine, where the operator knows better than its peers.",
        set: |mesh, field| {
            mesh.advertise = field.list(|item| item.parse(advertised))?;
            Ok(())
        },
    },
    Setting {
        name: "sessions",
        form: "1 to 10000",
        default: Preset::Toml("100"),
        doc: "How many new machines are let in at the same time; more are sent to another server.",
        set: |mesh, field| {
            mesh.sessions = field.number(1..=10_000)?;
            Ok(())
        },
    },
    Setting {
        name: "heartbeat",
        form: "1 to 3600 (seconds)",
        default: Preset::Toml("10"),
        doc: "How often peers are asked whether they live.",
        set: |mesh, field| {
            mesh.heartbeat = field.number(1..=3600)?;
            Ok(())
        },
    },
    Setting {
        name: "timeout",
        form: "1 to 60 (seconds)",
        default: Preset::Toml("5"),
        doc: "How long their answer may take.",
        set: |mesh, field| {
            mesh.timeout = field.number(1..=60)?;
            Ok(())
        },
    },
    Setting {
        name: "announce",
        form: "1 to 3600 (seconds)",
        default: Preset::Toml("30"),
        doc: "How often what one knows is compared with a peer.",
        set: |mesh, field| {
            mesh.announce = field.number(1..=3600)?;
            Ok(())
        },
    },
    Setting {
        name: "full-exchange",
        form: "10 to 86400 (seconds)",
        default: Preset::Toml("300"),
        doc: "How often all that one knows is.",
        set: |mesh, field| {
            mesh.full_exchange = field.number(10..=86_400)?;
            Ok(())
        },
    },
    Setting {
        name: "quiet",
        form: "60 to 86400 (seconds)",
        default: Preset::Toml("3600"),
        doc: "After how long without interaction a server asks a host whether it lives.",
        set: |mesh, field| {
            mesh.quiet = field.number(60..=86_400)?;
            Ok(())
        },
    },
    Setting {
        name: "lease",
        form: "300 to 86400 (seconds)",
        default: Preset::Toml("7200"),
        doc: "For how long what this machine says of itself holds; it is renewed after a third of that.",
        set: |mesh, field| {
            mesh.lease = field.number(300..=86_400)?;
            Ok(())
        },
    },
    Setting {
        name: "hosts-file",
        form: "path",
        default: Preset::Words("none"),
        doc: "A file such as /etc/hosts that gets the names in a section between two marks. It is replaced whole, so its \
              directory must be writable; the section goes when the server ends.",
        set: |mesh, field| set(&mut mesh.hosts_file, field.path()),
    },
    Setting {
        name: "hook",
        form: "command",
        default: Preset::Words("none"),
        doc: "Run by /bin/sh, for at most 30 s, when the addresses of this machine have changed. It finds them in \
              DYNDNS_ADDRESSES, the first of each kind in DYNDNS_IPV4 and DYNDNS_IPV6, its name in DYNDNS_NAME and the \
              zone in DYNDNS_ZONE.",
        set: |mesh, field| set(&mut mesh.hook, field.text().map(str::to_string)),
    },
];

impl MeshConfig {
    /// Takes what is written, and adds the zones that the names need.
    pub(super) fn new(
        settings: MeshSettings,
        state_dir: &Path,
        zones: &mut Zones,
        rights: &mut Rights,
    ) -> Result<MeshConfig, Fault> {
        let fault = |text: &str| Fault::new(settings.at, text);
        let name = settings.name.ok_or_else(|| fault("[mesh] without a name; add name = \"...\""))?;
        let zone = match settings.zone {
            Some(zone) => zone,
            None => Name::parse(ZONE).map_err(|error| fault(&error.to_string()))?,
        };
        let zone = zone.to_lowercase();
        if zone.child(name.as_str().as_bytes()).is_err() {
            return Err(fault("the zone's name is too long for a host in it; choose a shorter one"));
        }
        zones.add(ZoneConfig { apex: zone, file: None }, rights);
        for reverse in &settings.reverse {
            if !zones.all.iter().any(|other| reverse.is_in(&other.apex)) {
                zones.add(ZoneConfig { apex: *reverse, file: None }, rights);
            }
        }
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let node = Settings {
            role: if settings.server { Role::Server } else { Role::Member },
            port: settings.port,
            advertise: settings.advertise,
            heartbeat: seconds(settings.heartbeat),
            timeout: seconds(settings.timeout),
            announce: seconds(settings.announce),
            full: seconds(settings.full_exchange),
            lease: settings.lease,
            quiet: settings.quiet.into(),
            sessions: settings.sessions.try_into().unwrap_or(usize::MAX),
            ..Settings::new(name)
        };
        Ok(MeshConfig {
            node,
            zone,
            reverse: settings.reverse,
            state_dir: settings.state_dir.unwrap_or_else(|| state_dir.join("mesh")),
            ticket_file: settings.ticket_file,
            bootstrap: settings.bootstrap,
            mdns: settings.mdns,
            hosts_file: settings.hosts_file,
            hook: settings.hook,
        })
    }
}

/// Where a member listens that says nothing else.
const PORT: u16 = 5399;
/// Where no zone is written: below home.arpa, which is every home's own (RFC 8375).
const ZONE: &str = "mesh.home.arpa";

fn label(text: &str) -> Result<Label, String> {
    Label::new(text).ok_or_else(|| "no host name; write one label of letters, digits and hyphens, such as nas".into())
}

/// An address that an operator states for others to use.
pub(crate) fn advertised(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| "no address; write one such as 192.0.2.1 or 2001:db8::1")?;
    match crate::mesh::publishable(address) {
        true => Ok(address),
        false => Err("an address that other machines cannot use; write one that they can, or none".into()),
    }
}

/// The zone with the reverse names of a network.
fn reverse_zone(text: &str) -> Result<Name, String> {
    Network::parse(text)?.reverse_zone()
}
