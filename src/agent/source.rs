//! Where addresses come from, as the operator writes it, and which of those found are taken.
//!
//! Sources are asked in order until both families have an address that can be right; or all of them at once, until so
//! many agree that the others could change nothing. Each family stands for itself. Asking is left to the edge.

use super::address::{self, Special};
use super::place::Place;
use super::plan::Observed;
use crate::wire::Name;
use regex_lite::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::str::FromStr;

/// Something that knows this machine's addresses.
#[derive(Debug, Clone)]
pub enum Source {
    /// A name that a server answers with the asker's address; without a name or server those of the target are meant.
    Whoami {
        /// The name; `whoami.ZONE` where there is none.
        name: Option<Name>,
        /// The server.
        server: Option<Place>,
    },
    /// A network interface by its name, or any.
    Interface(Option<String>),
    /// What a command prints; the shell runs it.
    Command(String),
    /// A page.
    Url {
        /// Where it is: https, or http on this machine.
        url: String,
        /// Where the address is in it.
        pattern: Pattern,
    },
    /// These.
    Fixed(Vec<IpAddr>),
}

/// How many sources have to agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// The first that has an address is believed.
    First,
    /// So many of them have to say the same.
    Quorum(NonZeroUsize),
}

/// What a source said: addresses, the best first of each family, or why it has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The source, by its label.
    pub source: String,
    /// What it said.
    pub outcome: Result<Vec<IpAddr>, String>,
}

/// What follows from the reports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The addresses.
    pub observed: Observed,
    /// Which source each address is from, and why others were not taken; each is a line for people.
    pub notes: Vec<String>,
}

/// Where in a text the address is.
#[derive(Debug, Clone)]
pub struct Pattern(Option<Regex>);

impl Found {
    /// Whether both families have an address.
    pub fn is_complete(&self) -> bool {
        self.observed.v4.is_some() && self.observed.v6.is_some()
    }
}

/// Takes addresses out of what was reported. An address that is special in a way not in `allowed` is not taken.
pub fn choose(reports: &[Report], agreement: Agreement, allowed: &[Special]) -> Found {
    let mut found = Found::default();
    let taken = taken(reports, allowed, &mut found.notes);
    let mut observed = Vec::new();
    for (is_v4, family) in [(true, "IPv4"), (false, "IPv6")] {
        let (votes, first) = votes(&taken, is_v4);
        let chosen = match agreement {
            Agreement::First => first,
            Agreement::Quorum(needed) => {
                let mut enough = votes.iter().filter(|(_, sources)| sources.len() >= needed.get());
                // Two addresses that both have enough voices are no agreement.
                match (enough.next(), enough.next()) {
                    (Some((address, _)), None) => Some(*address),
                    _ => {
                        if !votes.is_empty() {
                            let said = votes.iter().map(|(address, by)| format!("{address} ({})", by.join(", ")));
                            let said = said.collect::<Vec<_>>().join(", ");
                            found.notes.push(format!("no {family} address that {needed} sources agree on: {said}"));
                        }
                        None
                    }
                }
            }
        };
        if let Some(address) = chosen {
            let sources = votes.get(&address).map(|sources| sources.join(", ")).unwrap_or_default();
            found.notes.push(format!("{family} address {address} ({sources})"));
            observed.push(address);
        }
    }
    // One of each family at most.
    found.observed = Observed::gather(observed).unwrap_or_default();
    found
}

/// Whether the sources that have not answered, so many, could change nothing of what is chosen. In order they are those
/// behind the others.
pub fn is_settled(reports: &[Report], left: usize, agreement: Agreement, allowed: &[Special]) -> bool {
    match agreement {
        Agreement::First => choose(reports, agreement, allowed).is_complete(),
        Agreement::Quorum(needed) => {
            let taken = taken(reports, allowed, &mut Vec::new());
            [true, false].into_iter().all(|is_v4| {
                let (votes, _) = votes(&taken, is_v4);
                let mut most: Vec<usize> = votes.values().map(Vec::len).collect();
                most.sort_unstable_by(|one, other| other.cmp(one));
                let nth = |place: usize| most.get(place).copied().unwrap_or(0);
                // The best has enough or cannot have, and so has every other, one that nobody has named yet included.
                let sure = |votes: usize| votes >= needed.get() || votes + left < needed.get();
                sure(nth(0)) && sure(nth(1))
            })
        }
    }
}

/// Each source that has addresses, and those that can be right.
fn taken<'r>(reports: &'r [Report], allowed: &[Special], notes: &mut Vec<String>) -> Vec<(&'r str, Vec<IpAddr>)> {
    let mut taken = Vec::new();
    for report in reports {
        match &report.outcome {
            Err(fault) => notes.push(format!("{}: {fault}", report.source)),
            Ok(addresses) => taken.push((report.source.as_str(), usable(addresses, allowed, report, notes))),
        }
    }
    taken
}

/// Who says which address of a family, of each source the best; and the first that was said.
fn votes<'r>(taken: &[(&'r str, Vec<IpAddr>)], is_v4: bool) -> (BTreeMap<IpAddr, Vec<&'r str>>, Option<IpAddr>) {
    let mut votes: BTreeMap<IpAddr, Vec<&str>> = BTreeMap::new();
    let mut first = None;
    for (source, addresses) in taken {
        if let Some(address) = addresses.iter().find(|address| address.is_ipv4() == is_v4) {
            votes.entry(*address).or_default().push(source);
            first = first.or(Some(*address));
        }
    }
    (votes, first)
}

/// The addresses that can be right; why others cannot is noted, unless there is one of the family that can.
fn usable(addresses: &[IpAddr], allowed: &[Special], report: &Report, notes: &mut Vec<String>) -> Vec<IpAddr> {
    let (mut usable, mut refused) = (Vec::new(), Vec::new());
    for address in addresses {
        match address::usable(*address, allowed) {
            Ok(address) => usable.push(address),
            Err(error) => refused.push((address, error)),
        }
    }
    for (address, error) in refused {
        if !usable.iter().any(|usable| usable.is_ipv4() == address.is_ipv4()) {
            notes.push(format!("{}: {error}", report.source));
        }
    }
    usable
}

impl Pattern {
    /// Takes whatever in the text is an address.
    pub fn any() -> Pattern {
        Pattern(None)
    }

    /// Takes what the regular expression matches, or its first group where it has one.
    pub fn new(text: &str) -> Result<Pattern, String> {
        Regex::new(text).map(|regex| Pattern(Some(regex))).map_err(|error| format!("`{text}` is no pattern: {error}"))
    }

    /// The addresses in a text, in its order.
    pub fn find(&self, text: &str) -> Vec<IpAddr> {
        match &self.0 {
            None => {
                let around = |c: char| !(c.is_ascii_hexdigit() || ".:%".contains(c));
                text.split(around).filter_map(|word| address::parse(word.trim_end_matches('.')).ok()).collect()
            }
            Some(regex) => {
                let texts = regex.captures_iter(text).filter_map(|captures| captures.get(1).or(captures.get(0)));
                texts.filter_map(|text| address::parse(text.as_str()).ok()).collect()
            }
        }
    }
}

impl Source {
    /// Where addresses are looked for if nothing is told.
    pub fn default_order() -> Vec<Source> {
        vec![Source::Whoami { name: None, server: None }, Source::Interface(None)]
    }

    /// What the log and people are told of it: of a command its program, of a page its server, for the rest may be
    /// secret.
    pub fn label(&self) -> String {
        match self {
            Source::Command(words) => {
                // What is set before the program is for its environment.
                let program = words.split_whitespace().find(|word| !word.contains('=')).unwrap_or_default();
                format!("command:{program}")
            }
            Source::Url { url, .. } => format!("url:{}", host(url)),
            told => told.to_string(),
        }
    }

    /// Whether it asks the server of the target.
    pub fn needs_home(&self) -> bool {
        matches!(self, Source::Whoami { server: None, .. } | Source::Whoami { name: None, .. })
    }
}

impl FromStr for Source {
    type Err = String;

    /// Reads `whoami[:NAME[@SERVER]]`, `interface[:NAME]`, `command:WORDS`, `url:URL[ PATTERN]` or `fixed:ADDRESS,...`.
    fn from_str(text: &str) -> Result<Source, String> {
        let (kind, rest) = match text.split_once(':') {
            Some((kind, rest)) => (kind, Some(rest.trim()).filter(|rest| !rest.is_empty())),
            None => (text, None),
        };
        match (kind, rest) {
            ("whoami", None) => Ok(Source::Whoami { name: None, server: None }),
            ("whoami", Some(rest)) => {
                let (name, server) = match rest.split_once('@') {
                    Some((name, server)) => (name, Some(server.parse()?)),
                    None => (rest, None),
                };
                let name = name.parse().map_err(|error| format!("`{name}` is no name: {error}"))?;
                Ok(Source::Whoami { name: Some(name), server })
            }
            ("interface", name) => Ok(Source::Interface(name.map(str::to_string))),
            ("command", Some(words)) => Ok(Source::Command(words.to_string())),
            ("url", Some(rest)) => {
                let (url, pattern) = match rest.split_once(' ') {
                    Some((url, pattern)) => (url, Pattern::new(pattern.trim())?),
                    None => (rest, Pattern::any()),
                };
                Ok(Source::Url { url: protected(url)?.to_string(), pattern })
            }
            ("fixed", Some(list)) => {
                let addresses = list.split(',').map(address::parse).collect::<Result<_, _>>();
                Ok(Source::Fixed(addresses.map_err(|error| error.to_string())?))
            }
            _ => Err(format!(
                "`{text}` is no source of addresses; write whoami:NAME@SERVER, interface:NAME, command:WORDS, url:URL \
                 or fixed:ADDRESS"
            )),
        }
    }
}

/// A URL that nobody on the way can answer in the place of its server.
pub fn protected(url: &str) -> Result<&str, String> {
    let local = ["http://127.0.0.1", "http://[::1]", "http://localhost"];
    let here =
        |start: &&str| url.strip_prefix(*start).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']));
    if url.starts_with("https://") || local.iter().any(here) {
        Ok(url)
    } else {
        let (scheme, _) = url.split_once("://").unwrap_or_default();
        let shown = format!("{scheme}://{}", host(url));
        Err(format!("`{shown}` could be answered by anyone on the way; write a URL that begins with https://"))
    }
}

/// The part of a URL that is no secret.
pub fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    host.rsplit('@').next().unwrap_or_default()
}

/// The sources, of which so many have to agree. One that is listed twice would agree with itself.
pub fn quorum(sources: &[Source], needed: Option<NonZeroUsize>) -> Result<Agreement, String> {
    let Some(needed) = needed else { return Ok(Agreement::First) };
    let mut seen = BTreeSet::new();
    if let Some(source) = sources.iter().find(|source| !seen.insert(source.to_string())) {
        return Err(format!("{} is listed twice, and agrees with itself; list other sources", source.label()));
    }
    if needed.get() > sources.len() {
        return Err("more than there are sources; list more of them".into());
    }
    Ok(Agreement::Quorum(needed))
}

/// As the operator writes it, but for the pattern.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Whoami { name, server } => {
                f.write_str("whoami")?;
                name.map_or(Ok(()), |name| write!(f, ":{name}"))?;
                server.as_ref().map_or(Ok(()), |server| write!(f, "@{server}"))
            }
            Source::Interface(None) => f.write_str("interface"),
            Source::Interface(Some(name)) => write!(f, "interface:{name}"),
            Source::Command(words) => write!(f, "command:{words}"),
            Source::Url { url, .. } => write!(f, "url:{url}"),
            Source::Fixed(addresses) => {
                let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
                write!(f, "fixed:{}", addresses.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn report(source: &str, addresses: &[&str]) -> Report {
        Report { source: source.into(), outcome: Ok(addresses.iter().map(|text| text.parse().unwrap()).collect()) }
    }

    fn fault(source: &str) -> Report {
        Report { source: source.into(), outcome: Err("no answer".into()) }
    }

    fn quorum(needed: usize) -> Agreement {
        Agreement::Quorum(NonZeroUsize::new(needed).unwrap())
    }

    #[test]
    fn a_source_that_is_listed_twice_is_no_agreement() {
        let quorum = |texts: &[&str], needed| {
            let sources: Vec<Source> = texts.iter().map(|text| text.parse().unwrap()).collect();
            super::quorum(&sources, NonZeroUsize::new(needed))
        };
        assert_eq!(quorum(&["interface", "interface"], 0), Ok(Agreement::First));
        assert_eq!(quorum(&["interface", "whoami"], 2), Ok(super::tests::quorum(2)));
        let error = quorum(&["whoami", "url:https://a.example/?x=1", "url:https://a.example/?x=1"], 2).unwrap_err();
        assert_eq!(error, "url:a.example is listed twice, and agrees with itself; list other sources");
        assert!(quorum(&["whoami"], 2).unwrap_err().contains("more than there are sources"));
    }

    #[test]
    fn what_may_be_secret_in_a_source_is_not_told() {
        for (text, label) in [
            ("command:curl -H 'Token: secret' https://ip.example", "command:curl"),
            ("command:TOKEN=secret router-address", "command:router-address"),
            ("url:https://me:secret@ip.example:8443/secret?secret ([0-9.]+)", "url:ip.example:8443"),
            ("whoami:w.example@ns.example", "whoami:w.example@ns.example"),
        ] {
            assert_eq!(text.parse::<Source>().unwrap().label(), label);
        }
        let error = protected("http://me:secret@ip.example/secret").unwrap_err();
        assert!(error.starts_with("`http://ip.example` could be answered"), "{error}");
        assert_eq!(host("https://ip.example"), "ip.example");
    }

    /// The addresses that are chosen, in words.
    fn chosen(reports: &[Report], agreement: Agreement) -> String {
        let Observed { v4, v6 } = choose(reports, agreement, &[]).observed;
        let v4 = v4.map(|address| address.to_string());
        v4.into_iter().chain(v6.map(|address| address.to_string())).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_first_source_that_has_a_family_gives_it() {
        let reports = [fault("a"), report("b", &["2a01::1"]), report("c", &["1.1.1.1", "2a01::2"])];
        assert_eq!(chosen(&reports, Agreement::First), "1.1.1.1 2a01::1");
        assert_eq!(chosen(&reports[..2], Agreement::First), "2a01::1");
        assert_eq!(chosen(&[], Agreement::First), "");
    }

    #[test]
    fn sources_that_could_change_nothing_are_not_waited_for() {
        let settled = |reports: &[Report], left, agreement| is_settled(reports, left, agreement, &[]);
        let both = |source: &str, v4: &str| report(source, &[v4, "2a01::1"]);
        // In order.
        assert!(settled(&[both("a", "1.1.1.1")], 5, Agreement::First));
        assert!(!settled(&[report("a", &["1.1.1.1"])], 5, Agreement::First));
        // Two of three agree; the third alone is no quorum.
        let two = [both("a", "1.1.1.1"), both("b", "1.1.1.1")];
        assert!(settled(&two, 1, quorum(2)));
        // Two more could agree on another.
        assert!(!settled(&two, 2, quorum(2)));
        assert!(!settled(&two[..1], 2, quorum(2)));
        // Nobody has the other family, and one source more could not make it a quorum.
        let v4 = [report("a", &["1.1.1.1"]), fault("b"), report("c", &["1.1.1.1"])];
        assert!(settled(&v4, 1, quorum(2)) && !settled(&v4, 2, quorum(2)));
        // Nor can anything come of it where two quorums differ.
        let split = [both("a", "1.1.1.1"), both("b", "1.1.1.1"), both("c", "2.2.2.2"), both("d", "2.2.2.2")];
        assert!(settled(&split, 1, quorum(2)) && settled(&split, 0, quorum(3)));
    }

    #[test]
    fn a_private_address_does_not_hide_that_of_the_next_source() {
        let reports = [report("interface", &["192.168.1.2", "fd00::1", "2a01::1"]), report("whoami", &["1.1.1.1"])];
        let found = choose(&reports, Agreement::First, &[]);
        assert_eq!(found.observed, Observed::gather(["1.1.1.1", "2a01::1"].map(|text| text.parse().unwrap())).unwrap());
        assert_eq!(
            found.notes,
            [
                "interface: 192.168.1.2 cannot be reached from elsewhere: it is private; if it is meant, say --allow private, or allow = [\"private\"] in [agent]",
                "IPv4 address 1.1.1.1 (whoami)",
                "IPv6 address 2a01::1 (interface)"
            ]
        );
        let allowed = choose(&reports, Agreement::First, &[Special::Private]).observed;
        assert_eq!(allowed.v4, Some("192.168.1.2".parse().unwrap()));
    }

    #[test]
    fn a_quorum_takes_what_enough_sources_say_and_nothing_else() {
        let reports = [report("a", &["1.1.1.1", "2a01::1"]), report("b", &["1.1.1.2"]), report("c", &["1.1.1.1"])];
        assert_eq!(chosen(&reports, quorum(2)), "1.1.1.1");
        assert_eq!(chosen(&reports, quorum(3)), "");
        assert_eq!(chosen(&reports[..2], quorum(1)), "2a01::1", "two that both have enough voices are none");
        assert_eq!(
            choose(&reports[..2], quorum(2), &[]).notes[0],
            "no IPv4 address that 2 sources agree on: 1.1.1.1 (a), 1.1.1.2 (b)"
        );
    }

    #[test]
    fn an_address_is_found_in_what_pages_and_commands_say() {
        let any = |text: &str| Pattern::any().find(text).iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(any("1.1.1.1\n"), "1.1.1.1");
        assert_eq!(any("<p>Current IP Address: 1.1.1.1</p>"), "1.1.1.1");
        assert_eq!(any("{\"ip\":\"2a01::1\"}"), "2a01::1");
        assert_eq!(any("Your address is 1.1.1.1."), "1.1.1.1");
        assert_eq!(any("fe80::1%eth0 at 12:30"), "fe80::1");
        assert_eq!(any("version 1.2.3 of 2026"), "");
        let pattern = Pattern::new("wan=([0-9.]+)").unwrap();
        assert_eq!(pattern.find("lan=10.0.0.1 wan=1.1.1.1"), ["1.1.1.1".parse::<IpAddr>().unwrap()]);
        assert!(Pattern::new("(").is_err());
    }

    #[test]
    fn sources_are_read_as_they_are_told() {
        for text in [
            "whoami",
            "whoami:whoami.example.com",
            "whoami:whoami.example.com@ns.example.com:5300",
            "interface",
            "interface:eth0",
            "command:curl -s https://ip.example",
            "url:https://ip.example/",
            "url:http://127.0.0.1:8080/ip",
            "fixed:1.1.1.1,2a01::1",
        ] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
        for text in ["", "who", "fixed:", "fixed:x", "command:", "url:ftp://x", "url:https://x/ (", "whoami:a@"] {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
        for text in ["url:http://ip.example/", "url:http://127.0.0.1.example/", "url:http://localhost.example/"] {
            let error = text.parse::<Source>().unwrap_err();
            assert!(error.contains("could be answered by anyone on the way"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_source_or_a_pattern_panic(text: String, pattern: String) {
            let _ = text.parse::<Source>();
            let _ = Pattern::any().find(&text);
            let _ = Pattern::new(&pattern).map(|pattern| pattern.find(&text));
        }
    }
}
