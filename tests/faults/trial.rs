//! A server whose system calls fail when told to, what it has answered, and what becomes of that.

use super::common::Server;
use super::common::client::{Home, SECRET, copy_zones};
use super::common::command::done;
use super::common::exchange::{Tcp, Udp};
use super::common::message::{self, NOERROR, Update, query};
use super::common::shim;
use dyndns::wire::Rtype;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// A server whose system calls fail when told to, and what it has answered.
pub(crate) struct Trial {
    pub(crate) home: Home,
    /// The numbers of the hosts that were answered NOERROR, and of those that were not.
    pub(crate) answered: Vec<u32>,
    refused: Vec<u32>,
    pub(crate) next: u32,
}

impl Trial {
    pub(crate) fn start() -> Trial {
        Trial::start_with(&[])
    }

    pub(crate) fn start_with(arguments: &[&str]) -> Trial {
        let folder = tempfile::tempdir().unwrap();
        copy_zones(folder.path());
        let library = shim::build(folder.path());
        let orders = folder.path().join("orders");
        fs::create_dir(&orders).unwrap();
        let environment = [("LD_PRELOAD", library.to_str().unwrap()), ("DYNDNS_FAULTS", orders.to_str().unwrap())];
        let key = format!("laptop:{SECRET}");
        let server = Server::start_with(folder.path(), &[&["--tsig", &key], arguments].concat(), &environment);
        Trial { home: Home { server, folder }, answered: Vec::new(), refused: Vec::new(), next: 1 }
    }

    fn order(&self, fault: &str) -> PathBuf {
        self.home.folder.path().join("orders").join(fault)
    }

    /// From now on this fails.
    pub(crate) fn begin(&self, fault: &str) {
        fs::write(self.order(fault), "").unwrap();
    }

    /// And from now on it does not any more.
    pub(crate) fn end(&self, fault: &str) {
        fs::remove_file(self.order(fault)).unwrap();
    }

    /// Adds one host; returns the rcode.
    pub(crate) fn add(&mut self) -> u8 {
        let number = self.next;
        self.next += 1;
        let rcode = self.home.send(Update::new(1, "example.com").add_a(&owner(number), number.to_be_bytes()));
        let list = if rcode == NOERROR { &mut self.answered } else { &mut self.refused };
        list.push(number);
        rcode
    }

    pub(crate) fn add_some(&mut self, count: u32) {
        for _ in 0..count {
            assert_eq!(self.add(), NOERROR, "{}", self.home.server.log());
        }
    }

    /// What was answered is there and what was refused is not.
    pub(crate) fn check(&self) {
        let mut tcp = Tcp::connect(self.home.server.v4());
        let mut held = |number: &u32| message::answers(&tcp.ask(&query(1, &owner(*number), Rtype::A))) > 0;
        let lost: Vec<_> = self.answered.iter().filter(|number| !held(number)).collect();
        assert!(lost.is_empty(), "answered NOERROR and lost: {lost:?}\n{}", self.home.server.log());
        let there: Vec<_> = self.refused.iter().filter(|number| held(number)).collect();
        assert!(there.is_empty(), "refused and there: {there:?}\n{}", self.home.server.log());
    }

    pub(crate) fn kill_and_check(&mut self) {
        self.home.server.kill9();
        self.home.server.restart();
        self.check();
    }

    pub(crate) fn state(&self, part: &str) -> PathBuf {
        self.home.folder.path().join("state").join(part)
    }

    /// The journal's segments, the newest last.
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.state("journal")).unwrap();
        let mut segments: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        segments.retain(|path| path.extension().is_some_and(|ending| ending == "seg"));
        segments.sort();
        segments
    }

    pub(crate) fn segment(&self) -> PathBuf {
        self.segments().pop().unwrap()
    }

    /// Changes what a file holds, and returns that.
    pub(crate) fn change(path: &Path, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
        let mut octets = fs::read(path).unwrap();
        change(&mut octets);
        fs::write(path, &octets).unwrap();
        octets
    }

    /// Turns these bits of the journal over, of its first commit or of its last. The next start says so in a line with `word`,
    /// nothing that was answered is lost, and no other start says it again. Returns that line, and the damaged segment.
    pub(crate) fn is_mended(&mut self, middle: bool, bits: u8, word: &str) -> (String, PathBuf, Vec<u8>) {
        let segment = self.segment();
        let octets = Trial::change(&segment, |octets| {
            octets[if middle { 64 + 36 + 10 } else { end_of(octets) - 4 }] ^= bits;
        });
        self.home.server.restart();
        let line = self.home.server.wait_for_log(word);
        self.check();
        self.add_some(5);
        self.kill_and_check();
        assert_eq!(self.told(word), 0, "{}", self.home.server.log());
        self.is_whole();
        (line, segment, octets)
    }

    /// How often the log has a text.
    pub(crate) fn told(&self, text: &str) -> usize {
        self.home.server.log().matches(text).count()
    }

    /// How many updates history tells.
    pub(crate) fn updates(&self) -> usize {
        let history = done(self.home.folder.path(), &["zone", "history", "example.com"]);
        history.lines().filter(|line| line.contains(" by key laptop.")).count()
    }

    pub(crate) fn is_whole(&self) {
        assert!(done(self.home.folder.path(), &["zone", "verify"]).ends_with("ok: everything is whole\n"));
    }

    /// Sends large updates until something has come of them. Each takes the octets of the one before away and brings as
    /// many.
    pub(crate) fn fill_until(&self, mut come: impl FnMut(&Trial) -> bool) {
        for number in 0.. {
            if come(self) {
                return;
            }
            assert!(number < 4000, "nothing came of them:\n{}", self.home.server.log());
            let update = (0..40)
                .fold(Update::new(1, "example.com").delete("large.example.com", Rtype::TXT), |update, line| {
                    update.add_txt("large.example.com", &format!("{number} {line} {}", "x".repeat(230)))
                });
            assert_eq!(self.home.send(update), NOERROR, "{}", self.home.server.log());
        }
    }
}

/// Where what was written to a segment ends.
pub(crate) fn end_of(octets: &[u8]) -> usize {
    octets.iter().rposition(|octet| *octet != 0).unwrap() + 1
}

fn owner(number: u32) -> String {
    format!("n{number}.example.com")
}

/// Asks all the time, and wants an answer each time.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Watch {
    pub(crate) fn start(server: &Server) -> Watch {
        let (stop, address) = (Arc::new(AtomicBool::new(false)), server.v6());
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let udp = Udp::connect(address);
            // At least once, and to the end.
            loop {
                let stops = stopped.load(Ordering::SeqCst);
                let answer = udp.ask(&query(1, "mail.example.com", Rtype::A));
                assert_eq!((message::rcode(&answer), message::answers(&answer)), (NOERROR, 1));
                if stops {
                    break;
                }
            }
        });
        Watch { stop, thread }
    }

    pub(crate) fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
    }
}
