//! The clients that people use, run as they run them.

use super::Server;
use super::exchange::Tcp;
use super::message::{self, Update};
use dyndns::tsig::TsigKey;
use dyndns::wire::Rtype;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// The secret of the key `laptop` that [`Home`] knows.
pub(crate) const SECRET: &str = "bWFrZSB5b3VyIG93biB3aXRoIGR5bmRucw==";

/// A server of the example zones in a folder of its own, to which clients talk.
#[derive(Debug)]
pub(crate) struct Home {
    /// The server; dropped before its folder.
    pub(crate) server: Server,
    /// Its working directory.
    pub(crate) folder: TempDir,
}

/// How a client ended.
#[derive(Debug)]
pub(crate) struct Run {
    /// Its exit code.
    pub(crate) code: Option<i32>,
    /// Its standard output.
    pub(crate) out: String,
    /// Its standard error.
    pub(crate) err: String,
}

impl Home {
    /// Serves the project's zones; the key `laptop` with [`SECRET`] may change all of them.
    pub(crate) fn start() -> Home {
        Home::start_with(&["--tsig", &format!("laptop:{SECRET}")])
    }

    /// Serves the project's zones with these arguments.
    pub(crate) fn start_with(arguments: &[&str]) -> Home {
        let folder = tempfile::tempdir().unwrap();
        copy_zones(folder.path());
        Home { server: Server::start(folder.path(), arguments), folder }
    }

    /// Serves example.com with these lines at the top of its config; the key `laptop` may change everything.
    pub(crate) fn with_settings(settings: &str) -> Home {
        let folder = tempfile::tempdir().unwrap();
        copy_zones(folder.path());
        let key = format!("[[key]]\nname = \"laptop\"\nsecret = \"{SECRET}\"\nall-zones = true\n");
        let zone = "[[zone]]\nfile = \"zones/example.com.zone\"\n";
        std::fs::write(folder.path().join("dyndns.toml"), format!("{settings}\n{key}{zone}")).unwrap();
        Home { server: Server::start(folder.path(), &["--config", "dyndns.toml"]), folder }
    }

    /// The key `laptop`.
    pub(crate) fn key() -> TsigKey {
        TsigKey::parse(&format!("laptop:{SECRET}")).unwrap()
    }

    /// Sends an update signed with the key `laptop` over TCP; returns the rcode of the verified answer.
    pub(crate) fn send(&self, update: Update) -> u8 {
        let request = update.sign(&Home::key());
        let answer = Tcp::connect(self.server.v4()).ask(&request.message);
        request.verified(&Home::key(), &answer).unwrap()
    }

    /// The serial of example.com, as the server tells it over TCP.
    pub(crate) fn serial(&self) -> u32 {
        let answer = Tcp::connect(self.server.v4()).ask(&message::query(1, "example.com", Rtype::SOA));
        message::serial(&answer)
    }

    /// Gives nsupdate the lines of `script` after a `server` line for this server.
    pub(crate) fn nsupdate(&self, arguments: &[&str], script: &str) -> Option<Run> {
        run("nsupdate", arguments, &format!("{}{script}", server_line(self.server.v4())))
    }

    /// The same with the key `laptop`, where nothing is to be refused.
    pub(crate) fn update(&self, script: &str) -> Option<()> {
        let run = self.nsupdate(&["-y", &format!("hmac-sha256:laptop:{SECRET}")], script)?;
        assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{script}\n{}", self.server.log());
        Some(())
    }

    /// What dig prints.
    pub(crate) fn dig(&self, arguments: &[&str]) -> Option<String> {
        let address = self.server.v4();
        let (server, port) = (format!("@{}", address.ip()), address.port().to_string());
        let run = run("dig", &[&[server.as_str(), "-p", &port][..], arguments].concat(), "")?;
        assert_eq!(run.code, Some(0), "{run:?}");
        Some(run.out)
    }

    /// The records that there are of a name and type, as dig prints them, sorted.
    pub(crate) fn records(&self, name: &str, rtype: &str) -> Option<Vec<String>> {
        let mut lines: Vec<String> = self.dig(&["+short", name, rtype])?.lines().map(String::from).collect();
        lines.sort();
        Some(lines)
    }
}

/// The line that tells nsupdate and knsupdate where the server is.
pub(crate) fn server_line(address: SocketAddr) -> String {
    format!("server {} {}\n", address.ip(), address.port())
}

/// Puts the project's zone files into `folder`/zones.
pub(crate) fn copy_zones(folder: &Path) {
    let zones = folder.join("zones");
    std::fs::create_dir_all(&zones).unwrap();
    for name in ["example.com.zone", "2.0.192.in-addr.arpa.zone"] {
        std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("zones").join(name), zones.join(name)).unwrap();
    }
}

/// Runs a client to its end; `None`, said aloud, where it is not installed.
pub(crate) fn run(program: &str, arguments: &[&str], script: &str) -> Option<Run> {
    let mut command = Command::new(program);
    // Their messages are compared; and whoever runs the tests may have a ~/.digrc.
    command.env("LC_ALL", "C").env("HOME", "/nonexistent");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        eprintln!("skipped: {program} is not installed");
        return None;
    };
    let mut input = child.stdin.take().unwrap();
    let script = script.to_string();
    // What it prints must be read while it is still reading. It may end before it has read all.
    let writer = std::thread::spawn(move || drop(input.write_all(script.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = |octets: Vec<u8>| String::from_utf8_lossy(&octets).into_owned();
    Some(Run { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) })
}
