//! The tables of the agent's options: the one place where each is declared, and long, for each has its entry.

use super::LogConfig;
use super::file::{Preset, Setting};
use super::log::{self, Logs};
use super::settings::address;
use crate::agent::address::Special;
use crate::agent::place::Place;
use crate::agent::plan::{Rule, derived};
use crate::agent::source::{Source, protected};
use crate::wire::Name;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// The whole file, each value valid in itself.
#[derive(Default)]
pub(super) struct FileSettings {
    pub(super) agent: AgentSettings,
    pub(super) targets: Vec<TargetSettings>,
    pub(super) hosts: Vec<HostSettings>,
}

/// `[agent]`.
#[derive(Default)]
pub(super) struct AgentSettings {
    pub(super) at: usize,
    pub(super) sources: Vec<Source>,
    pub(super) quorum: Option<NonZeroUsize>,
    pub(super) allow: Vec<Special>,
    pub(super) check_every: u32,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) log: LogConfig,
    pub(super) notify: NotifySettings,
    pub(super) http: Option<DoorSettings>,
}

impl Logs for AgentSettings {
    fn log(&mut self) -> &mut LogConfig {
        &mut self.log
    }
}

/// `[agent.notify]`.
#[derive(Default)]
pub(super) struct NotifySettings {
    pub(super) at: usize,
    pub(super) command: Option<String>,
    pub(super) webhook: Option<String>,
    pub(super) mail_to: Option<String>,
    pub(super) mail_from: Option<String>,
    pub(super) mail_server: Option<Place>,
    pub(super) mail_user: Option<String>,
    pub(super) mail_password_file: Option<PathBuf>,
}

/// `[agent.http]`.
#[derive(Default)]
pub(super) struct DoorSettings {
    pub(super) at: usize,
    pub(super) listen: Option<SocketAddr>,
    pub(super) token_file: Option<PathBuf>,
}

/// One `[[target]]`.
#[derive(Default)]
pub(super) struct TargetSettings {
    pub(super) at: usize,
    pub(super) name: Option<String>,
    pub(super) kind: Option<Kind>,
    pub(super) server: Option<Place>,
    pub(super) key_file: Option<PathBuf>,
    pub(super) zone: Option<Name>,
    pub(super) ttl: Option<u32>,
    pub(super) url: Option<String>,
    pub(super) user: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) zone_id: Option<String>,
    pub(super) endpoint: Option<String>,
    pub(super) verify_after: Vec<Duration>,
}

/// The kinds of targets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Rfc2136,
    Dyndns2,
    Route53,
}

/// One `[[host]]`.
#[derive(Default)]
pub(super) struct HostSettings {
    pub(super) at: usize,
    pub(super) name: Option<Name>,
    pub(super) families: Option<Rule>,
    pub(super) derived: Option<Rule>,
    pub(super) targets: Vec<String>,
}

/// The whole file.
pub(super) const FILE_OPTIONS: &[Setting<FileSettings>] = &[
    Setting {
        name: "agent",
        form: "[agent] table",
        default: Preset::Toml("{}"),
        doc: "Where addresses come from, and how the agent runs.",
        set: |file, field| {
            file.agent = AgentSettings { at: field.at, ..field.table(AGENT_OPTIONS)? };
            Ok(())
        },
    },
    Setting {
        name: "target",
        form: "[[target]] tables",
        default: Preset::Toml("[]"),
        doc: "Where the addresses are written.",
        set: |file, field| {
            file.targets = field.list(|item| Ok(TargetSettings { at: item.at, ..item.table(TARGET_OPTIONS)? }))?;
            Ok(())
        },
    },
    Setting {
        name: "host",
        form: "[[host]] tables",
        default: Preset::Toml("[]"),
        doc: "The hosts whose addresses are kept right.",
        set: |file, field| {
            file.hosts = field.list(|item| Ok(HostSettings { at: item.at, ..item.table(HOST_OPTIONS)? }))?;
            Ok(())
        },
    },
];

/// In `[agent]`.
pub(super) const AGENT_OPTIONS: &[Setting<AgentSettings>] = &[
    Setting {
        name: "sources",
        form: "list of sources",
        default: Preset::Words("[\"whoami\", \"interface\"]"),
        doc: "Where the addresses come from: whoami, whoami:NAME@SERVER, interface, interface:NAME, command:WORDS, \
              url:URL, url:URL PATTERN, fixed:ADDRESS,...; asked in order, and the first that has an address counts.",
        set: |agent, field| {
            agent.sources = field.list(|item| item.secret(str::parse::<Source>))?;
            Ok(())
        },
    },
    Setting {
        name: "quorum",
        form: "1 to 100",
        default: Preset::Words("the first source counts"),
        doc: "How many sources have to say the same before an address is believed.",
        set: |agent, field| {
            agent.quorum = NonZeroUsize::new(usize::from(field.number::<u16>(1..=100)?));
            Ok(())
        },
    },
    Setting {
        name: "allow",
        form: "list of \"private\", \"ula\", \"cgnat\", \"link-local\", \"loopback\", \"documentation\"",
        default: Preset::Toml("[]"),
        doc: "Addresses that nobody can reach from elsewhere, and that are taken all the same.",
        set: |agent, field| {
            agent.allow = field.list(|item| item.parse(str::parse::<Special>))?;
            Ok(())
        },
    },
    Setting {
        name: "check-every",
        form: "10 to 86400 (seconds)",
        default: Preset::Toml("300"),
        doc: "How often the addresses are looked for and the targets compared. On Linux a change of this machine's own \
              addresses is noticed at once besides.",
        set: |agent, field| {
            agent.check_every = field.number(10..=86_400)?;
            Ok(())
        },
    },
    Setting {
        name: "state-dir",
        form: "path",
        default: Preset::Words("what systemd gives the service, else agent-state beside the file"),
        doc: "Where the agent keeps what is still to be written, and since when each host has its address.",
        set: |agent, field| {
            agent.state_dir = Some(field.path()?);
            Ok(())
        },
    },
    log::file(),
    log::format(),
    log::level(),
    Setting {
        name: "notify",
        form: "[agent.notify] table",
        default: Preset::Words("nobody is told"),
        doc: "Who is told when addresses were written, when a target, or every source, has failed for a quarter of an \
              hour, and when it works again.",
        set: |agent, field| {
            agent.notify = NotifySettings { at: field.at, ..field.table(NOTIFY_OPTIONS)? };
            Ok(())
        },
    },
    Setting {
        name: "http",
        form: "[agent.http] table",
        default: Preset::Words("none"),
        doc: "A page that shows the hosts, and POST /check, which checks now and answers with the result.",
        set: |agent, field| {
            agent.http = Some(DoorSettings { at: field.at, ..field.table(DOOR_OPTIONS)? });
            Ok(())
        },
    },
];

/// In `[agent.notify]`.
pub(super) const NOTIFY_OPTIONS: &[Setting<NotifySettings>] = &[
    Setting {
        name: "command",
        form: "text",
        default: Preset::Words("none is run"),
        doc: "A command for the shell. One line for people is its standard input; DYNDNS_EVENT is changed, failing or \
              recovered, DYNDNS_TARGET the target or sources, DYNDNS_TEXT the line.",
        set: |notify, field| {
            notify.command = Some(field.text()?.to_string());
            Ok(())
        },
    },
    Setting {
        name: "webhook",
        form: "URL",
        default: Preset::Words("none is asked"),
        doc: "A URL that the same is posted to as JSON: event, target, text, and hosts with name and address.",
        set: |notify, field| {
            notify.webhook = Some(field.secret(|url| protected(url).map(str::to_string))?);
            Ok(())
        },
    },
    Setting {
        name: "mail-to",
        form: "mail address",
        default: Preset::Words("no mail is sent"),
        doc: "Who gets the same by mail.",
        set: |notify, field| {
            notify.mail_to = Some(field.text()?.to_string());
            Ok(())
        },
    },
    Setting {
        name: "mail-from",
        form: "mail address",
        default: Preset::Words("mail-to"),
        doc: "Whom the mail is from.",
        set: |notify, field| {
            notify.mail_from = Some(field.text()?.to_string());
            Ok(())
        },
    },
    Setting {
        name: "mail-server",
        form: "\"HOST\" or \"HOST:PORT\"",
        default: Preset::Words("localhost:25"),
        doc: "Where mail is handed over: at port 465 by TLS, elsewhere by STARTTLS and at port 587 unless it is told; on \
              this machine in the clear.",
        set: |notify, field| {
            notify.mail_server = Some(field.parse(|text| Place::parse(text, 587))?);
            Ok(())
        },
    },
    Setting {
        name: "mail-user",
        form: "text",
        default: Preset::Words("no log-in"),
        doc: "The user at the mail server.",
        set: |notify, field| {
            notify.mail_user = Some(field.text()?.to_string());
            Ok(())
        },
    },
    Setting {
        name: "mail-password-file",
        form: "path",
        default: Preset::Words("must be written with mail-user"),
        doc: "A file with the password and nothing else.",
        set: |notify, field| {
            notify.mail_password_file = Some(field.path()?);
            Ok(())
        },
    },
];

/// In `[agent.http]`.
pub(super) const DOOR_OPTIONS: &[Setting<DoorSettings>] = &[
    Setting {
        name: "listen",
        form: "\"ADDRESS:PORT\"",
        default: Preset::Words("must be written"),
        doc: "Where HTTP is listened on, without encryption: on this machine.",
        set: |door, field| {
            door.listen = Some(field.parse(address)?);
            Ok(())
        },
    },
    Setting {
        name: "token-file",
        form: "path",
        default: Preset::Words("must be written"),
        doc: "A file with the token and nothing else, at least 16 characters: a bearer's token, or the password of a \
              browser's log-in.",
        set: |door, field| {
            door.token_file = Some(field.path()?);
            Ok(())
        },
    },
];

/// In `[[target]]`.
pub(super) const TARGET_OPTIONS: &[Setting<TargetSettings>] = &[
    Setting {
        name: "name",
        form: "text",
        default: Preset::Words("must be written"),
        doc: "What the log and the hosts call the target.",
        set: |target, field| {
            target.name = Some(field.text()?.to_string());
            Ok(())
        },
    },
    Setting {
        name: "type",
        form: "\"rfc2136\", \"dyndns2\" or \"route53\"",
        default: Preset::Words("must be written"),
        doc: "How it is written to: by RFC 2136 (dyndns, BIND, Knot, PowerDNS and others), by a provider's dyndns2 URL, \
              or at Amazon Route 53 with the usual AWS credentials.",
        set: |target, field| {
            let words = [("rfc2136", Kind::Rfc2136), ("dyndns2", Kind::Dyndns2), ("route53", Kind::Route53)];
            target.kind = Some(field.word(&words)?);
            Ok(())
        },
    },
    Setting {
        name: "server",
        form: "\"HOST\", \"HOST:PORT\", an address",
        default: Preset::Words("the primary that the zone's SOA record names"),
        doc: "The zone's primary server; with dyndns2, the name server that is asked what is held, without it those \
              of the zone.",
        set: |target, field| {
            target.server = Some(field.parse(str::parse::<Place>)?);
            Ok(())
        },
    },
    Setting {
        name: "key-file",
        form: "path",
        default: Preset::Words("nothing is signed"),
        doc: "The TSIG key, as nsupdate -k reads it.",
        set: |target, field| {
            target.key_file = Some(field.path()?);
            Ok(())
        },
    },
    Setting {
        name: "zone",
        form: "zone name",
        default: Preset::Words("the one that the server says a host is in"),
        doc: "The zone of all hosts of the target.",
        set: |target, field| {
            target.zone = Some(field.parse(Name::parse)?);
            Ok(())
        },
    },
    Setting {
        name: "ttl",
        form: "0 to 604800 (seconds)",
        default: Preset::Words("60, at Route 53 30"),
        doc: "How long others may keep an address that is written. Where this is written, a record that has another TTL is written anew. With dyndns2 the provider decides.",
        set: |target, field| {
            target.ttl = Some(field.number(0..=604_800)?);
            Ok(())
        },
    },
    Setting {
        name: "url",
        form: "URL",
        default: Preset::Words("must be written for dyndns2"),
        doc: "The provider's update URL, such as https://members.example.com/nic/update.",
        set: |target, field| {
            target.url = Some(field.secret(|url| protected(url).map(str::to_string))?);
            Ok(())
        },
    },
    Setting {
        name: "user",
        form: "text",
        default: Preset::Words("must be written for dyndns2"),
        doc: "The user at the provider.",
        set: |target, field| {
            target.user = Some(field.text()?.to_string());
            Ok(())
        },
    },
    Setting {
        name: "password-file",
        form: "path",
        default: Preset::Words("must be written for dyndns2"),
        doc: "A file with the password and nothing else.",
        set: |target, field| {
            target.password_file = Some(field.path()?);
            Ok(())
        },
    },
    Setting {
        name: "zone-id",
        form: "text",
        default: Preset::Words("found by the name of the zone"),
        doc: "The hosted zone at Route 53, where several have one name or the credentials may not list them.",
        set: |target, field| {
            target.zone_id = Some(field.text()?.to_string());
            Ok(())
        },
    },
    Setting {
        name: "endpoint",
        form: "URL",
        default: Preset::Words("Amazon's"),
        doc: "Where the API of Route 53 is.",
        set: |target, field| {
            target.endpoint = Some(field.secret(|url| protected(url).map(str::to_string))?);
            Ok(())
        },
    },
    Setting {
        name: "verify-after",
        form: "list of seconds, 0 to 3600",
        default: Preset::Toml("[5, 10, 60, 120]"),
        doc: "When to look whether a change shows, with dyndns2 and at Route 53, counted from the change.",
        set: |target, field| {
            target.verify_after = field.list(|item| Ok(Duration::from_secs(item.number::<u32>(0..=3600)?.into())))?;
            Ok(())
        },
    },
];

/// In `[[host]]`.
pub(super) const HOST_OPTIONS: &[Setting<HostSettings>] = &[
    Setting {
        name: "name",
        form: "host name",
        default: Preset::Words("must be written"),
        doc: "The whole name.",
        set: |host, field| {
            host.name = Some(field.parse(Name::parse)?);
            Ok(())
        },
    },
    Setting {
        name: "types",
        form: "[\"A\"], [\"AAAA\"] or both",
        default: Preset::Words("both"),
        doc: "Which addresses it has. One that is not found leaves the other as it is.",
        set: |host, field| {
            let words = [("A", Rule::V4), ("AAAA", Rule::V6)];
            host.families = Some(match field.list(|item| item.word(&words))?.as_slice() {
                [] => return Err(field.fault("the list is empty; write one type, or leave the option out")),
                [first, rest @ ..] if rest.iter().all(|rule| rule == first) => *first,
                _ => Rule::Same,
            });
            Ok(())
        },
    },
    Setting {
        name: "derived",
        form: "\"::SUFFIX\", \"::SUFFIX/PREFIX\" (32 to 128) or a MAC",
        default: Preset::Words("it is this machine"),
        doc: "It is another machine in the same network: the prefix of this machine's IPv6 address, of 64 bits unless \
              it is told, then this suffix or the one that follows from the MAC. It is written in the same message.",
        set: |host, field| {
            host.derived = Some(field.parse(derived)?);
            Ok(())
        },
    },
    Setting {
        name: "targets",
        form: "list of target names",
        default: Preset::Words("all targets"),
        doc: "Where it is written.",
        set: |host, field| {
            host.targets = field.list(|item| item.text().map(str::to_string))?;
            Ok(())
        },
    },
];
