//! A provider that takes updates by the dyndns2 protocol: one HTTPS request, one word for each host.
//!
//! What is held is asked of the zone's own name servers, so nothing is sent that is there already: providers block who
//! sends the same again and again. What one took and does not show yet is sent again after half an hour only, and one
//! that refuses is left alone for half an hour. All addresses of a host go in each request, since some providers erase the family that is not named.

use super::Fault;
use super::authority;
use super::http::{Ask, Family, Http, Page};
use super::rfc2136;
use crate::agent::place::Place;
use crate::agent::plan::{Change, Held};
use crate::agent::source::host;
use crate::clock::Clock;
use crate::wire::Name;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use zeroize::Zeroizing;

/// A provider as the operator tells it.
#[derive(Clone)]
pub struct Provider {
    /// Where updates go, such as `https://members.example.com/nic/update`.
    pub url: String,
    /// The user.
    pub user: String,
    /// The password.
    pub password: Zeroizing<String>,
    /// The name server that is asked what is held; without it, those of the zone.
    pub server: Option<Place>,
    /// When to look whether a change shows, counted from the change.
    pub verify_after: Vec<Duration>,
    /// What it said last.
    pub sent: Sent,
}

/// What a provider said last; the clones of one share it.
#[derive(Debug, Clone, Default)]
pub struct Sent(Arc<Mutex<Said>>);

#[derive(Debug, Default)]
struct Said {
    /// When, in seconds since 1970.
    at: u64,
    word: Word,
}

#[derive(Debug, Default)]
enum Word {
    /// All that was sent shows.
    #[default]
    Nothing,
    /// It took these, and does not show them yet.
    Acknowledged(Vec<Change>),
    /// It has refused, for this reason.
    Refused(String),
}

/// A provider at work.
#[derive(Debug)]
pub struct Target {
    provider: Provider,
    /// By which the zone is read.
    reader: rfc2136::Target,
}

/// What the provider acknowledged.
#[derive(Debug)]
pub struct Receipt {
    changes: Vec<Change>,
}

/// For how many seconds what was acknowledged is not sent again, and nothing after a refusal: the protocol wants it so.
const AGAIN: u64 = 1800;

/// More host names than this in one request are refused by some providers.
const MOST: usize = 20;

impl Target {
    /// Finds a name server of the host's zone.
    pub async fn open(provider: &Provider, host: &Name) -> Result<Target, Fault> {
        let reader = match &provider.server {
            Some(server) => authority::connect(server, None, None, host, None).await?,
            None => authority::reader(host).await?,
        };
        Ok(Target { provider: provider.clone(), reader })
    }

    /// What the zone's name servers hold for each host, in their order.
    pub async fn current(&self, hosts: &[Name]) -> Result<Vec<Held>, Fault> {
        Ok(self.reader.current(hosts).await?)
    }

    /// Sends the whole of the hosts that change; hosts with the same addresses go in one request.
    pub async fn write(&self, changes: Vec<Change>, whole: &[Change]) -> Result<Receipt, Fault> {
        let provider = host(&self.provider.url);
        if self.provider.sent.has(&changes) {
            return Ok(Receipt { changes });
        }
        if let Some(why) = self.provider.sent.refusal() {
            let when = "it is asked again half an hour after that, or after a reload";
            return Err(Fault(format!("cannot update by {provider}: {why}; {when}")));
        }
        let mut groups: Vec<(Vec<IpAddr>, Vec<Name>)> = Vec::new();
        for change in &changes {
            if groups.iter().any(|(_, names)| names.contains(&change.name)) {
                continue;
            }
            let of_host = whole.iter().filter(|whole| whole.name == change.name);
            let addresses: Vec<IpAddr> = of_host.map(|whole| whole.address).collect();
            match groups.iter_mut().find(|(known, names)| *known == addresses && names.len() < MOST) {
                Some((_, names)) => names.push(change.name),
                None => groups.push((addresses, vec![change.name])),
            }
        }
        let http = Http::new(Family::Either)?;
        for (addresses, names) in groups {
            let basic = Some((self.provider.user.as_str(), self.provider.password.as_str()));
            let page = http.ask(&request(&self.provider.url, &names, &addresses), Ask { basic, body: None }).await?;
            if let Err(why) = read(&page, &names) {
                if page.status < 500 {
                    self.provider.sent.set(Word::Refused(why.clone()));
                }
                return Err(Fault(format!("cannot update by {provider}: {why}")));
            }
        }
        self.provider.sent.set(Word::Acknowledged(changes.clone()));
        Ok(Receipt { changes })
    }

    /// Waits until the name servers show it.
    pub async fn verify(&self, receipt: &Receipt) -> Result<(), Fault> {
        let mut waited = Duration::ZERO;
        for after in std::iter::once(&Duration::ZERO).chain(&self.provider.verify_after) {
            tokio::time::sleep(after.saturating_sub(waited)).await;
            waited = *after;
            let mut shown = true;
            for change in &receipt.changes {
                shown &= self.current(&[change.name]).await?.iter().any(|held| change.is_in(held));
            }
            if shown {
                self.provider.sent.set(Word::Nothing);
                return Ok(());
            }
        }
        let (provider, server) = (host(&self.provider.url), self.reader.server().address());
        Err(Fault(format!(
            "{provider} has acknowledged the update, and {server} does not show it; it is looked for again"
        )))
    }
}

impl Sent {
    fn has(&self, changes: &[Change]) -> bool {
        self.of_late(|word| matches!(word, Word::Acknowledged(sent) if sent == changes).then_some(())).is_some()
    }

    fn refusal(&self) -> Option<String> {
        self.of_late(|word| if let Word::Refused(why) = word { Some(why.clone()) } else { None })
    }

    fn of_late<T>(&self, look: impl FnOnce(&Word) -> Option<T>) -> Option<T> {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back makes nothing late.
        let age = Clock::System.now().checked_sub(said.at)?;
        if age < AGAIN { look(&said.word) } else { None }
    }

    fn set(&self, word: Word) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Said { at: Clock::System.now(), word };
    }
}

/// The request of one update.
fn request(url: &str, names: &[Name], addresses: &[IpAddr]) -> String {
    let list = |words: Vec<String>| words.join(",");
    let names = list(names.iter().map(Name::to_string).collect());
    let addresses = list(addresses.iter().map(IpAddr::to_string).collect());
    let sign = if url.contains('?') { '&' } else { '?' };
    format!("{url}{sign}hostname={names}&myip={addresses}")
}

/// Whether the answer says that all is done: a line for each host, or one on the account.
fn read(page: &Page, names: &[Name]) -> Result<(), String> {
    let words: Vec<&str> = page.body.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let done = |word: &&str| matches!(*word, "good" | "nochg");
    if page.status == 200 && words.len() == names.len() && words.iter().all(done) {
        return Ok(());
    }
    let word = words.iter().find(|word| !done(word)).copied().unwrap_or_default();
    Err(match (word, page.status) {
        ("badauth", _) | (_, 401) => "user or password is wrong (badauth); mend them in the configuration".into(),
        ("nohost", _) => "the account has no such host (nohost); make it there".into(),
        ("notfqdn", _) => "it wants a whole name (notfqdn); check the name of the host".into(),
        ("numhost", _) => "too many hosts at once (numhost)".into(),
        ("abuse", _) => "the host is blocked for too many updates (abuse); ask the provider".into(),
        ("badagent", _) => "it does not take this program (badagent); ask the provider".into(),
        ("!donator", _) => "the account has no right to it (!donator); ask the provider".into(),
        ("dnserr" | "911", _) => format!("it has trouble of its own ({word}); it is tried again"),
        (_, 200) => "what it answers is not of the dyndns2 protocol; check the URL".into(),
        (_, status) => format!("it answers {status}; check the URL"),
    })
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "zone {} by {}", self.reader.zone(), host(&self.provider.url))
    }
}

/// The password stays out.
impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("url", &host(&self.url)).field("user", &self.user).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, body: &str, names: usize) -> Result<(), String> {
        read(&Page { status, body: body.into() }, &vec![Name::parse("r.example").unwrap(); names])
    }

    #[test]
    fn a_request_names_hosts_and_all_addresses() {
        let names = ["a.example", "b.example"].map(|name| Name::parse(name).unwrap());
        let addresses = ["192.0.2.1", "2001:db8::1"].map(|text| text.parse().unwrap());
        let tail = "hostname=a.example,b.example&myip=192.0.2.1,2001:db8::1";
        assert_eq!(request("https://x/nic/update", &names, &addresses), format!("https://x/nic/update?{tail}"));
        assert_eq!(
            request("https://x/u?system=dyndns", &names, &addresses),
            format!("https://x/u?system=dyndns&{tail}")
        );
    }

    #[test]
    fn every_host_needs_its_good_word() {
        assert_eq!(answered(200, "good 192.0.2.1\nnochg 192.0.2.1\r\n", 2), Ok(()));
        assert!(answered(200, "good 192.0.2.1\n", 2).unwrap_err().contains("not of the dyndns2 protocol"));
        assert!(answered(200, "good\nnohost\n", 2).unwrap_err().contains("(nohost)"));
        assert!(answered(401, "badauth", 1).unwrap_err().contains("(badauth)"));
        assert!(answered(401, "<html>", 1).unwrap_err().contains("(badauth)"));
        assert!(answered(200, "911", 3).unwrap_err().contains("trouble of its own (911)"));
        assert!(answered(200, "<html>", 1).unwrap_err().contains("check the URL"));
        assert!(answered(502, "", 1).unwrap_err().contains("it answers 502"));
    }
}
