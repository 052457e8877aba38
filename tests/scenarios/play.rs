//! Plays a scenario against a server of its own.

use super::common::Server;
use super::common::exchange::{Tcp, Udp, framed};
use super::reply::{Record, Reply, compare};
use super::request::{Request, compose};
use super::script::{Script, Step};
use dyndns::clock::Clock;
use dyndns::tsig::ResponseVerifier;
use dyndns::wire::{Rtype, rdata::Soa};
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

/// Plays one file; panics with every difference that was found.
pub(crate) fn play(name: &str) {
    let file = PathBuf::from(format!("tests/scenarios/{name}.txt"));
    let script = Script::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(&file));
    assert!(!script.steps.is_empty(), "{}: no steps", file.display());
    let directory = tempfile::tempdir().unwrap();
    let mut arguments = script.arguments.clone();
    for (zone, text) in &script.zones {
        let path = directory.path().join(format!("{zone}.zone"));
        std::fs::write(&path, format!("$ORIGIN {zone}.\n{text}")).unwrap();
        if script.config.is_none() {
            arguments.extend(["--zone".to_string(), path.display().to_string()]);
        }
    }
    if let Some(config) = &script.config {
        let path = directory.path().join("dyndns.toml");
        std::fs::write(&path, config).unwrap();
        arguments.extend(["--config".to_string(), path.display().to_string()]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let server = Server::start(directory.path(), &arguments);
    let mut player = Player { server, script: &script, held: Vec::new(), last_id: 1000, wrong: Vec::new() };
    for step in &script.steps {
        if let Err(what) = player.step(step) {
            player.wrong.push((step.line, what));
        }
    }
    assert!(player.held.is_empty(), "{}: the last step is held back", file.display());
    let report: Vec<String> =
        player.wrong.iter().map(|(line, what)| format!("{}:{line}: {what}", file.display())).collect();
    assert!(report.is_empty(), "{}\n\nthe server said:\n{}", report.join("\n"), player.server.log());
}

struct Player<'s> {
    server: Server,
    script: &'s Script,
    /// `+hold`: sent together with the next step.
    held: Vec<(Step, Request)>,
    last_id: u16,
    wrong: Vec<(usize, String)>,
}

impl Player<'_> {
    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step.action() {
            "kill" => {
                self.server.kill9();
                self.server.restart();
            }
            "restart" => {
                let status = self.server.terminate();
                if !status.success() {
                    return Err(format!("ended with {status}"));
                }
                self.server.restart();
            }
            // `log TEXT`: such a line was written, or is about to be.
            "log" => {
                let text = step.words[1..].join(" ");
                let written = std::panic::catch_unwind(AssertUnwindSafe(|| self.server.wait_for_log(&text)));
                written.map_err(|_| "no such line in the log".to_string())?;
            }
            "serial" => self.serial(step)?,
            "transfer" if !step.has("split") && step.expected.iter().any(|line| line.text.starts_with("= NOERROR")) => {
                self.transfer(step)?;
            }
            _ => self.message(step)?,
        }
        Ok(())
    }

    fn address(&self, step: &Step) -> SocketAddr {
        if step.has("v6") { self.server.v6() } else { self.server.v4() }
    }

    fn compose(&mut self, step: &Step) -> Result<Request, String> {
        self.last_id += 1;
        compose(step, &self.script.keys, self.last_id)
    }

    /// One message or, with those held back before it, several at once; each has its own answer or silence.
    fn message(&mut self, step: &Step) -> Result<(), String> {
        let request = self.compose(step)?;
        self.held.push((step.clone(), request));
        if step.has("hold") {
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        let silent = |step: &Step| step.expected.iter().any(|line| line.text == "silence");
        // What must not be answered is followed by a query that is: then its answer is the first to come.
        let probe = probe();
        let awaited = held.iter().filter(|(step, _)| !silent(step)).count();
        let probes = usize::from(awaited < held.len());
        let mut replies = Vec::new();
        if step.has("tcp") {
            let mut connection = Tcp::connect(self.address(step));
            let mut octets: Vec<u8> = held.iter().flat_map(|(_, request)| framed(&request.bytes)).collect();
            if probes > 0 {
                octets.extend(framed(&probe));
            }
            // `+split`: each octet travels alone.
            for piece in octets.chunks(if step.has("split") { 1 } else { octets.len() }) {
                connection.send_raw(piece).map_err(|error| format!("cannot send: {error}"))?;
            }
            for _ in 0..awaited + probes {
                let reply = connection.receive().map_err(|error| format!("no answer over TCP: {error}"))?;
                replies.push(reply.ok_or("the connection was closed without an answer")?);
            }
        } else {
            let socket = Udp::connect(self.address(step));
            held.iter().for_each(|(_, request)| socket.send(&request.bytes));
            if probes > 0 {
                socket.send(&probe);
            }
            for _ in 0..awaited + probes {
                replies.push(socket.receive().map_err(|error| format!("no answer over UDP: {error}"))?);
            }
        }
        if probes > 0 && !replies.iter().any(|reply| reply.starts_with(&probe[..2])) {
            return Err(format!("expected silence, got {replies:02x?}"));
        }
        for (step, request) in &held {
            let reply = replies.iter().find(|reply| reply.get(..2) == request.bytes.get(..2));
            match (reply, silent(step)) {
                (None, true) => {}
                (Some(reply), true) => self.wrong.push((step.line, format!("expected silence, got {reply:02x?}"))),
                (None, false) => self.wrong.push((step.line, "no answer".into())),
                (Some(reply), false) => {
                    let differences = match Reply::read(reply) {
                        Ok(reply) => reply.differences(request, step),
                        Err(what) => vec![what],
                    };
                    self.wrong.extend(differences.into_iter().map(|what| (step.line, what)));
                }
            }
        }
        Ok(())
    }

    /// `serial ZONE N`.
    fn serial(&mut self, step: &Step) -> Result<(), String> {
        let words = ["query", step.word(1)?, "SOA"].map(String::from).to_vec();
        let mut query = step.clone();
        query.words = words;
        let query = self.compose(&query)?;
        let reply = Udp::connect(self.server.v4()).ask(&query.bytes);
        let reply = Reply::read(&reply)?;
        let soa = reply.sections[0].iter().find(|record| record.rtype == Rtype::SOA).ok_or("no SOA")?;
        let serial = Soa::parse(&soa.data).map_err(|error| format!("{error:?}"))?.serial.to_string();
        if serial == step.word(2)? { Ok(()) } else { Err(format!("expected serial {}, got {serial}", step.word(2)?)) }
    }

    /// Takes the messages of a transfer (RFC 5936 section 2.2) up to the SOA that ends it; of an IXFR to one who is
    /// up to date the first SOA is all.
    fn transfer(&mut self, step: &Step) -> Result<(), String> {
        let request = self.compose(step)?;
        let mut connection = Tcp::connect(self.address(step));
        connection.send(&request.bytes).map_err(|error| error.to_string())?;
        let mut verifier =
            request.signature.as_ref().map(|signature| ResponseVerifier::new(&signature.key, &signature.mac));
        let alone = step.expected.iter().any(|line| line.text == "count answer 1");
        let (mut records, mut messages): (Vec<Record>, usize) = (Vec::new(), 0);
        let is_soa = |record: &Record| record.rtype == Rtype::SOA;
        let now = Clock::System.now();
        while records.iter().filter(|record| is_soa(record)).count() < if alone { 1 } else { 2 } {
            let bytes = connection.receive().map_err(|error| format!("after {messages} messages: {error}"))?;
            let bytes = bytes.ok_or_else(|| format!("closed after {messages} messages"))?;
            let reply = Reply::read(&bytes)?;
            reply.compare_with_foreign_parser()?;
            if messages == 0 {
                // The first message alone is compared with the question and the signature of the request.
                self.wrong.extend(reply.differences(&request, step).into_iter().map(|what| (step.line, what)));
            }
            if bytes[..2] != request.bytes[..2] || bytes[3] & 0x0F != 0 {
                return Err(format!("message {messages} has another ID or is no NOERROR"));
            }
            match (&mut verifier, reply.tsig_at()) {
                (Some(verifier), Some(at)) => {
                    verifier.signed(&bytes, at, now).map_err(|error| format!("message {messages}: {error}"))?;
                }
                (None, None) => {}
                _ => return Err(format!("message {messages}: a signature is missing or too many")),
            }
            messages += 1;
            records.extend(reply.sections[0].iter().cloned());
        }
        if !(records.first().is_some_and(is_soa) && records.last().is_some_and(is_soa)) {
            return Err("the transfer does not begin and end with the SOA".into());
        }
        if let Some(line) = step.expected.iter().find(|line| line.text.starts_with("messages ")) {
            let wanted = line.words().last().unwrap_or_default();
            if wanted != messages.to_string() {
                return Err(format!("line {}: expected {wanted} messages, got {messages}", line.number));
            }
        }
        match step.expected.iter().find(|line| line.text.starts_with("count answer ")) {
            Some(line) if line.text != format!("count answer {}", records.len()) => {
                Err(format!("line {}: expected {}, got {}", line.number, line.text, records.len()))
            }
            Some(_) => Ok(()),
            None => {
                let wrong = compare("answer", &step.expected, &records);
                self.wrong.extend(wrong.into_iter().map(|what| (step.line, what)));
                Ok(())
            }
        }
    }
}

/// A query that every server answers.
fn probe() -> Vec<u8> {
    b"\xff\xff\0\0\0\x01\0\0\0\0\0\0\x05probe\x07invalid\0\0\x01\0\x01".to_vec()
}
