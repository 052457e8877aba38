//! The agent's configuration, a file of its own: which hosts are kept right, where, and from which sources.

use super::agent_settings::{
    AGENT_OPTIONS, DOOR_OPTIONS, DoorSettings, FILE_OPTIONS, HOST_OPTIONS, HostSettings, NOTIFY_OPTIONS,
    NotifySettings, TARGET_OPTIONS,
};
use super::agent_settings::{FileSettings, Kind, TargetSettings};
use super::file::{self, Fault};
use super::key_files::read_secret;
use super::manual::{Section, section};
use super::{LogConfig, Source as Text, Wrong, key_of_file};
use crate::agent::address::Special;
use crate::agent::place::Place;
use crate::agent::plan::{Host, Rule};
use crate::agent::source::{Agreement, Source, quorum};
use crate::error::Error;
use crate::link::target::Remote;
use crate::link::{dyndns2, route53};
use crate::wire::Ttl;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// All that the agent is told.
#[derive(Debug)]
pub struct AgentConfig {
    /// Where the addresses come from, in order.
    pub sources: Vec<Source>,
    /// How many of them have to agree.
    pub agreement: Agreement,
    /// Kinds of special addresses that are taken all the same.
    pub allow: Vec<Special>,
    /// How long from one check to the next, where nothing else is heard.
    pub check_every: Duration,
    /// Where the state is kept.
    pub state_dir: PathBuf,
    /// Where log lines go.
    pub log: LogConfig,
    /// The targets, each with at least one host.
    pub targets: Vec<TargetConfig>,
    /// Who is told of what happens.
    pub notify: NotifyConfig,
    /// The page, where there is one.
    pub http: Option<DoorConfig>,
    /// The socket on which systemd waits to hear that the service is ready.
    pub notify_socket: Option<OsString>,
    /// What the operator should know; each is one line of the log.
    pub warnings: Vec<String>,
}

/// Who is told of changes and of lasting failure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotifyConfig {
    /// A command for the shell.
    pub command: Option<String>,
    /// A URL to post to.
    pub webhook: Option<String>,
    /// A mail to send.
    pub mail: Option<MailConfig>,
}

/// Where mail goes, and by which server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailConfig {
    /// Who gets it.
    pub to: String,
    /// Whom it is from.
    pub from: String,
    /// The server it is handed to.
    pub server: Place,
    /// User and password there.
    pub login: Option<(String, Zeroizing<String>)>,
}

/// The agent's page and `POST /check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoorConfig {
    /// Where it is listened on.
    pub listen: SocketAddr,
    /// What whoever comes in has to know.
    pub token: Zeroizing<String>,
}

/// A target and what is kept right there.
#[derive(Debug, Clone)]
pub struct TargetConfig {
    /// What the operator calls it.
    pub name: String,
    /// Where it is.
    pub remote: Remote,
    /// The hosts.
    pub hosts: Vec<Host>,
}

/// The file that is read where the command line names none.
pub const DEFAULT_FILE: &str = "/etc/dyndns/agent.toml";

impl AgentConfig {
    /// Reads the file and what it names.
    pub fn load(path: &Path) -> Result<AgentConfig, Error> {
        let (text, world_readable) = read_secret(path).map_err(|error| {
            Error::usage(format!("cannot load config {}", path.display()))
                .because(error)
                .remedy("write one, for which zones/agent.example.toml is an example, or name another with --config")
        })?;
        let text = Text { path: path.to_path_buf(), text, world_readable };
        let base = path.parent().unwrap_or(Path::new(""));
        let settings: FileSettings =
            file::read(&text.text, base, FILE_OPTIONS).map_err(|fault| Wrong::Here(fault).in_source(&text, 0))?;
        AgentConfig::from_settings(settings, base, &text)
    }

    fn from_settings(mut settings: FileSettings, base: &Path, text: &Text) -> Result<AgentConfig, Error> {
        let wrong = |fault: Fault| Wrong::Here(fault).in_source(text, 0);
        let mut warnings = Vec::new();
        let agent = std::mem::take(&mut settings.agent);
        let sources = if agent.sources.is_empty() { Source::default_order() } else { agent.sources };
        let agreement = quorum(&sources, agent.quorum);
        let agreement = agreement.map_err(|why| wrong(Fault::new(agent.at, format!("quorum: {why}"))))?;
        if settings.hosts.is_empty() {
            return Err(wrong(Fault::new(0, "no [[host]]; name at least one to keep right")));
        }
        if settings.targets.is_empty() {
            return Err(wrong(Fault::new(0, "no [[target]]; name at least one to write to")));
        }
        let hosts: Vec<(Host, &HostSettings)> =
            settings.hosts.iter().map(|host| Ok((self::host(host)?, host))).collect::<Result<_, _>>().map_err(wrong)?;
        for host in &settings.hosts {
            for named in &host.targets {
                if !settings.targets.iter().any(|target| target.name.as_ref() == Some(named)) {
                    return Err(wrong(Fault::new(host.at, format!("no [[target]] is named {named}"))));
                }
            }
        }
        let mut targets: Vec<TargetConfig> = Vec::new();
        for target in &settings.targets {
            let name = target.name.clone().ok_or_else(|| wrong(Fault::new(target.at, "[[target]] without a name")))?;
            if targets.iter().any(|other| other.name == name) {
                return Err(wrong(Fault::new(target.at, format!("a second [[target]] is named {name}"))));
            }
            let mine = |host: &HostSettings| host.targets.is_empty() || host.targets.contains(&name);
            let mut kept: Vec<Host> = Vec::new();
            for (host, _) in hosts.iter().filter(|(_, host)| mine(host)) {
                if kept.iter().any(|other| other.name == host.name) {
                    let text =
                        format!("a second [[host]] is named {}; keep one, or give them other targets", host.name);
                    return Err(wrong(Fault::new(0, text)));
                }
                kept.push(host.clone());
            }
            if kept.is_empty() {
                warnings.push(format!("target {name} has no host; name it in the targets of one, or take it out"));
                continue;
            }
            let remote = remote(target).map_err(|wrong| wrong.in_source(text, target.at))?;
            targets.push(TargetConfig { name, remote, hosts: kept });
        }
        let http = agent.http.map(|settings| door(&settings).map_err(|wrong| wrong.in_source(text, settings.at)));
        let http = http.transpose()?;
        if let Some(door) = http.as_ref().filter(|door| !door.listen.ip().is_loopback()) {
            let listen = door.listen;
            warnings.push(format!(
                "[agent.http] sends its token in the clear over the network at {listen}; listen on 127.0.0.1"
            ));
        }
        // systemd separates several by colons; the unit asks for one.
        let given = std::env::var_os("STATE_DIRECTORY");
        let given = given.as_ref().and_then(|list| std::env::split_paths(list).next());
        Ok(AgentConfig {
            sources,
            agreement,
            allow: agent.allow,
            check_every: Duration::from_secs(agent.check_every.into()),
            state_dir: agent.state_dir.or(given).unwrap_or_else(|| base.join("agent-state")),
            log: agent.log,
            targets,
            notify: notify(agent.notify).map_err(|(at, wrong)| wrong.in_source(text, at))?,
            http,
            notify_socket: std::env::var_os("NOTIFY_SOCKET"),
            warnings,
        })
    }
}

/// Every option of the agent's file.
pub fn agent_manual() -> Vec<Section> {
    vec![
        section("Tables", FILE_OPTIONS),
        section("[agent]", AGENT_OPTIONS),
        section("[agent.notify]", NOTIFY_OPTIONS),
        section("[agent.http]", DOOR_OPTIONS),
        section("[[target]]", TARGET_OPTIONS),
        section("[[host]]", HOST_OPTIONS),
    ]
}

fn host(settings: &HostSettings) -> Result<Host, Fault> {
    let fault = |text: &str| Fault::new(settings.at, text);
    let name = settings.name.ok_or_else(|| fault("[[host]] without a name"))?;
    let rule = match (&settings.derived, settings.families) {
        (Some(rule), None) => *rule,
        (Some(_), Some(_)) => return Err(fault("types: a derived host has an IPv6 address alone; leave them out")),
        (None, families) => families.unwrap_or(Rule::Same),
    };
    Ok(Host { name, rule })
}

/// The secret of a file that holds it and nothing else.
fn secret(path: &Path) -> Result<Zeroizing<String>, Error> {
    let cannot = || Error::usage(format!("cannot read {}", path.display()));
    let (text, _) = read_secret(path).map_err(|error| cannot().because(error))?;
    match text.trim() {
        "" => Err(cannot().because("it is empty").remedy("write the secret into it")),
        secret => Ok(secret.to_string().into()),
    }
}

fn door(settings: &DoorSettings) -> Result<DoorConfig, Wrong> {
    let here = |text: &str| Wrong::Here(Fault::new(settings.at, text));
    let listen =
        settings.listen.ok_or_else(|| here("[agent.http] without listen; write listen = \"127.0.0.1:8053\""))?;
    let file = settings.token_file.as_ref().ok_or_else(|| here("[agent.http] without a token-file; write one"))?;
    let token = secret(file)?;
    if token.len() < 16 {
        return Err(here("the token of token-file is too short; write at least 16 characters"));
    }
    Ok(DoorConfig { listen, token })
}

fn notify(settings: NotifySettings) -> Result<NotifyConfig, (usize, Wrong)> {
    let NotifySettings { at, command, webhook, mail_to, mail_from, mail_server, mail_user, mail_password_file } =
        settings;
    let here = |text: &str| (at, Wrong::Here(Fault::new(at, text)));
    let login = match (mail_user, mail_password_file) {
        (Some(user), Some(path)) => Some((user, secret(&path).map_err(|error| (at, error.into()))?)),
        (None, None) => None,
        _ => return Err(here("mail-user and mail-password-file go together; write both or neither")),
    };
    let mail = match mail_to {
        Some(to) => {
            let server = mail_server.unwrap_or(Place { host: "localhost".into(), port: 25 });
            Some(MailConfig { from: mail_from.unwrap_or_else(|| to.clone()), to, server, login })
        }
        None if mail_from.is_some() || mail_server.is_some() || login.is_some() => {
            return Err(here("mail without mail-to; write whom it is for"));
        }
        None => None,
    };
    Ok(NotifyConfig { command, webhook, mail })
}

fn remote(settings: &TargetSettings) -> Result<Remote, Wrong> {
    let here = |text: &str| Wrong::Here(Fault::new(settings.at, text));
    match settings.kind {
        None => Err(here("[[target]] without a type; write type = \"rfc2136\"")),
        Some(Kind::Dyndns2) => {
            let (Some(url), Some(user), Some(password)) = (&settings.url, &settings.user, &settings.password_file)
            else {
                return Err(here("a dyndns2 target needs url, user and password-file; add what is missing"));
            };
            Ok(Remote::Dyndns2(dyndns2::Provider {
                url: url.clone(),
                user: user.clone(),
                password: secret(password)?,
                sent: dyndns2::Sent::default(),
                server: settings.server.clone(),
                verify_after: settings.verify_after.clone(),
            }))
        }
        Some(Kind::Route53) => Ok(Remote::Route53(route53::Account::new(
            settings.zone,
            settings.zone_id.clone(),
            settings.ttl.map(Ttl::new),
            settings.endpoint.clone(),
            settings.verify_after.clone(),
        ))),
        Some(Kind::Rfc2136) => Ok(Remote::Rfc2136 {
            server: settings.server.clone(),
            key: settings.key_file.as_deref().map(key_of_file).transpose()?,
            zone: settings.zone,
            ttl: settings.ttl.map(Ttl::new),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loads this text.
    fn load(text: &str) -> Result<AgentConfig, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        std::fs::write(&path, text).unwrap();
        std::fs::write(folder.path().join("k.key"), "key \"k\" { algorithm hmac-sha256; secret \"c2VjcmV0\"; };")
            .unwrap();
        std::fs::write(folder.path().join("secret"), "sixteen letters!\n").unwrap();
        std::fs::write(folder.path().join("short"), "short\n").unwrap();
        let shown = path.display().to_string();
        AgentConfig::load(&path).map_err(|error| error.to_string().replace(&shown, "a.toml"))
    }

    const LEAST: &str = "[[target]]\nname = \"home\"\ntype = \"rfc2136\"\n[[host]]\nname = \"router.example.com\"\n";

    #[test]
    fn a_target_and_a_host_are_enough() {
        let config = load(LEAST).unwrap();
        assert_eq!(config.check_every, Duration::from_secs(300));
        assert_eq!(config.sources.iter().map(Source::to_string).collect::<Vec<_>>(), ["whoami", "interface"]);
        assert_eq!(config.targets[0].hosts, [Host { name: "router.example.com".parse().unwrap(), rule: Rule::Same }]);
        let Remote::Rfc2136 { server, key, zone, ttl } = &config.targets[0].remote else { panic!() };
        assert!(server.is_none() && key.is_none() && zone.is_none() && ttl.is_none());
        assert!(config.warnings.is_empty());
    }

    #[test]
    fn every_option_can_be_set() {
        let config = load(
            "[agent]\nsources = [\"interface:eth0\", \"url:https://ip.example/ ([0-9.]+)\"]\nquorum = 2\n\
             allow = [\"private\"]\ncheck-every = 60\nstate-dir = \"s\"\nlog-level = \"debug\"\nlog-format = \"json\"\n\
             log-file = \"log\"\n\
             [agent.notify]\ncommand = \"logger\"\nwebhook = \"https://hooks.example/x\"\n\
             mail-to = \"me@example.com\"\nmail-from = \"dyndns@example.com\"\nmail-server = \"smtp.example\"\n\
             mail-user = \"u\"\nmail-password-file = \"secret\"\n\
             [agent.http]\nlisten = \"127.0.0.1:8053\"\ntoken-file = \"secret\"\n\
             [[target]]\nname = \"home\"\ntype = \"rfc2136\"\nserver = \"ns.example.com:5300\"\nkey-file = \"k.key\"\n\
             zone = \"example.com\"\nttl = 30\n\
             [[target]]\nname = \"other\"\ntype = \"rfc2136\"\n\
             [[target]]\nname = \"idle\"\ntype = \"rfc2136\"\n\
             [[host]]\nname = \"r.example.com\"\ntypes = [\"A\"]\ntargets = [\"home\"]\n\
             [[host]]\nname = \"n.example.com\"\nderived = \"34:56:78:9a:bc:de/56\"\ntargets = [\"home\", \"other\"]\n",
        )
        .unwrap();
        assert_eq!(config.agreement, Agreement::Quorum(2.try_into().unwrap()));
        let (command, webhook) = (Some("logger".into()), Some("https://hooks.example/x".into()));
        let server = Place { host: "smtp.example".into(), port: 587 };
        let login = Some(("u".to_string(), "sixteen letters!".to_string().into()));
        let mail = Some(MailConfig { to: "me@example.com".into(), from: "dyndns@example.com".into(), server, login });
        assert_eq!(config.notify, NotifyConfig { command, webhook, mail });
        let listen = "127.0.0.1:8053".parse().unwrap();
        assert_eq!(config.http, Some(DoorConfig { listen, token: "sixteen letters!".to_string().into() }));
        assert_eq!((config.allow.len(), config.check_every.as_secs()), (1, 60));
        assert!(config.state_dir.ends_with("s"));
        assert_eq!(config.targets.iter().map(|target| target.hosts.len()).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(config.targets[0].hosts[0].rule, Rule::V4);
        assert!(matches!(config.targets[0].hosts[1].rule, Rule::Derived { prefix: 56, .. }));
        assert_eq!(config.warnings, ["target idle has no host; name it in the targets of one, or take it out"]);
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_line() {
        for (text, fault) in [
            ("", "a.toml:1: no [[host]]"),
            ("[[host]]\nname = \"a\"\n", "a.toml:1: no [[target]]"),
            ("[agent]\nsorces = []\n", "a.toml:2: unknown key sorces; did you mean sources?"),
            ("[agent]\nsources = [\"x\"]\n", "a.toml:2: sources: `x` is no source of addresses"),
            (&format!("[agent]\nquorum = 3\n{LEAST}"), "a.toml:1: quorum: more than there are sources"),
            (
                &format!("[agent]\nsources = [\"interface\", \"interface\"]\nquorum = 2\n{LEAST}"),
                "a.toml:1: quorum: interface is listed twice, and agrees with itself",
            ),
            (
                &format!("[agent.notify]\nwebhook = \"http://a.example/pearl\"\n{LEAST}"),
                "webhook: `http://a.example` could",
            ),
            (&LEAST.replace("rfc2136", "dns"), "a.toml:3: type: unknown word dns"),
            (&format!("{LEAST}targets = [\"away\"]\n"), "a.toml:4: no [[target]] is named away"),
            (&format!("{LEAST}[[host]]\nname = \"ROUTER.example.com\"\n"), "a second [[host]] is named"),
            (&format!("{LEAST}types = [\"A\"]\nderived = \"::1\"\n"), "a derived host has an IPv6 address alone"),
            (&format!("[agent.http]\n{LEAST}"), "a.toml:1: [agent.http] without listen"),
            (
                &format!("[agent.http]\nlisten = \"[::1]:1\"\ntoken-file = \"short\"\n{LEAST}"),
                "a.toml:1: the token of token-file is too short",
            ),
            (&format!("[agent.notify]\nmail-from = \"a@b.example\"\n{LEAST}"), "a.toml:1: mail without mail-to"),
            (&format!("[agent.notify]\nmail-user = \"a\"\n{LEAST}"), "go together; write both or neither"),
            (&LEAST.replace("[[host]]", "key-file = \"none\"\n[[host]]"), "a.toml:1: cannot read key file"),
        ] {
            let error = load(text).unwrap_err();
            assert!(error.contains(fault) && !error.contains("pearl"), "{text}: {error}");
        }
    }
}
