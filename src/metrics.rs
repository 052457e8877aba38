//! Every counter, declared once.

use crate::query::Reason;
use crate::store::Health;
use crate::wire::Rcode;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the server has done since it started. Counting takes no lock.
#[derive(Debug)]
pub struct Metrics {
    reasons: [AtomicU64; Reason::ALL.len()],
    /// Updates that were applied, those that changed nothing included.
    pub updates_applied: AtomicU64,
    /// Updates that were refused, by response code 0 to 15.
    refused: [AtomicU64; 16],
    /// Update datagrams dropped because the writer's queue was full.
    pub updates_dropped: AtomicU64,
    /// Connections accepted: TCP, and those over TLS, HTTPS and QUIC.
    pub tcp_accepted: AtomicU64,
    /// Connections of these kinds closed at once because too many were open.
    pub tcp_refused: AtomicU64,
    /// Requests to the HTTP door, by the first digit of the answer's status, 1 to 5.
    http: [AtomicU64; 5],
    /// Logins to the HTTP door that were refused.
    pub http_logins_refused: AtomicU64,
    /// How the store fares.
    pub store: Arc<Health>,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Metrics {
        Metrics::of(Arc::default())
    }

    /// All at zero, of a server with this store.
    pub fn of(store: Arc<Health>) -> Metrics {
        Metrics {
            reasons: [const { AtomicU64::new(0) }; Reason::ALL.len()],
            updates_applied: AtomicU64::new(0),
            refused: [const { AtomicU64::new(0) }; 16],
            updates_dropped: AtomicU64::new(0),
            tcp_accepted: AtomicU64::new(0),
            tcp_refused: AtomicU64::new(0),
            http: [const { AtomicU64::new(0) }; 5],
            http_logins_refused: AtomicU64::new(0),
            store,
        }
    }

    /// Counts one message that was answered, or not, for this reason.
    pub fn count(&self, reason: Reason) {
        if let Some(counter) = self.reasons.get(reason as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts all that a tally holds, and empties it.
    pub fn count_all(&self, tally: &mut Tally) {
        for (counter, count) in self.reasons.iter().zip(&mut tally.0) {
            if *count > 0 {
                counter.fetch_add(std::mem::take(count), Ordering::Relaxed);
            }
        }
    }

    /// Counts one refused update.
    pub fn count_refusal(&self, rcode: Rcode) {
        if let Some(counter) = self.refused.get(usize::from(rcode.0)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts one request to the HTTP door, by the status of its answer.
    pub fn count_http(&self, status: u16) {
        if let Some(counter) = usize::from(status / 100).checked_sub(1).and_then(|class| self.http.get(class)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All counters as Prometheus reads them (its text format 0.0.4).
    pub fn prometheus(&self) -> String {
        let mut text = String::new();
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let queries: Vec<_> =
            Reason::ALL.iter().map(|reason| (label("reason", reason.label()), self.reason(*reason))).collect();
        family(&mut text, "dyndns_queries_total", "counter", "Messages looked at, by what became of them.", &queries);
        let refused = (0..).zip(&self.refused).map(|(code, counter)| (Rcode(code), load(counter)));
        let refused = refused.filter(|(rcode, _)| *rcode != Rcode::NOERROR);
        let refused: Vec<_> = refused.map(|(rcode, count)| (label("rcode", &rcode.to_string()), count)).collect();
        family(&mut text, "dyndns_updates_refused_total", "counter", "Updates refused, by response code.", &refused);
        let http =
            (1..).zip(&self.http).map(|(class, counter)| (label("status", &format!("{class}xx")), load(counter)));
        let http: Vec<_> = http.collect();
        family(&mut text, "dyndns_http_requests_total", "counter", "Requests to the HTTP door, by status.", &http);
        for (name, help, counter) in [
            ("updates_applied", "Updates applied, those that changed nothing included.", &self.updates_applied),
            ("updates_dropped", "Update datagrams dropped because the queue was full.", &self.updates_dropped),
            ("connections_accepted", "Connections accepted, of every kind.", &self.tcp_accepted),
            ("connections_refused", "Connections closed because too many were open.", &self.tcp_refused),
            ("http_logins_refused", "Logins to the HTTP door that were refused.", &self.http_logins_refused),
        ] {
            family(&mut text, &format!("dyndns_{name}_total"), "counter", help, &[(String::new(), load(counter))]);
        }
        for (name, help, value) in [
            ("store_refusing", "1 while updates cannot be stored.", u64::from(self.store.refusing().is_some())),
            (
                "table_resting",
                "1 while the table does not follow the journal.",
                u64::from(self.store.resting().is_some()),
            ),
            ("table_behind_commits", "Commits that the table lacks.", self.store.behind()),
            ("journal_octets", "Size of the journal.", self.store.octets()),
        ] {
            family(&mut text, &format!("dyndns_{name}"), "gauge", help, &[(String::new(), value)]);
        }
        text
    }

    /// How many messages there were for this reason.
    pub fn reason(&self, reason: Reason) -> u64 {
        self.reasons.get(reason as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// How many queries were looked at, for whatever reason.
    pub fn queries(&self) -> u64 {
        self.reasons.iter().map(|counter| counter.load(Ordering::Relaxed)).sum()
    }

    /// How many updates were refused.
    pub fn updates_refused(&self) -> u64 {
        self.refused.iter().map(|counter| counter.load(Ordering::Relaxed)).sum()
    }
}

/// Writes the samples of one metric, each with its labels.
pub fn family(text: &mut String, name: &str, kind: &str, help: &str, samples: &[(String, u64)]) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (labels, value) in samples {
        let _ = writeln!(text, "{name}{labels} {value}");
    }
}

/// One label, as it stands behind a metric's name.
pub fn label(name: &str, value: &str) -> String {
    format!("{{{name}=\"{}\"}}", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// Counts of a batch of messages, kept apart until the batch is done: processors that count in one place for each
/// message wait for each other.
#[derive(Debug, Default)]
pub struct Tally([u64; Reason::ALL.len()]);

impl Tally {
    /// Counts one message that was answered, or not, for this reason.
    pub fn count(&mut self, reason: Reason) {
        if let Some(count) = self.0.get_mut(reason as usize) {
            *count += 1;
        }
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_reads_a_family_for_each_counter() {
        let metrics = Metrics::new();
        metrics.count(Reason::NoData);
        metrics.count_refusal(Rcode::REFUSED);
        metrics.count_http(404);
        metrics.count_http(0);
        let text = metrics.prometheus();
        for line in [
            "dyndns_queries_total{reason=\"nodata\"} 1",
            "dyndns_updates_refused_total{rcode=\"REFUSED\"} 1",
            "dyndns_http_requests_total{status=\"4xx\"} 1",
            "dyndns_updates_applied_total 0",
            "# TYPE dyndns_updates_applied_total counter",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} in {text}");
        }
        assert_eq!(label("zone", "a\\034\".example"), "{zone=\"a\\\\034\\\".example\"}");
    }

    #[test]
    fn a_tally_is_counted_once() {
        let (metrics, mut tally) = (Metrics::new(), Tally::default());
        metrics.count(Reason::NoData);
        tally.count(Reason::NoData);
        tally.count(Reason::Answered);
        metrics.count_all(&mut tally);
        metrics.count_all(&mut tally);
        assert_eq!((metrics.reason(Reason::NoData), metrics.reason(Reason::Answered), metrics.queries()), (2, 1, 3));
    }
}
