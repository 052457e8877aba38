//! Faults that were found in the running server and mended, each with its story.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is the failure to be seen")]

mod common;

use common::client::{Home, SECRET};
use common::exchange::Tcp;
use common::message::{self, NOERROR, SERVFAIL, Update, query};
use dyndns::wire::Rtype;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// Killed when dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Started as `dyndns serve 2>&1 | head -1`, or with a log on a full disk and nobody at standard error: the failure to
/// write a log line was itself reported on standard error, which panicked. That took the writer's thread at the first
/// new zone, and the answer of every update that was stored.
#[test]
fn a_server_that_can_write_no_log_line_serves_on() {
    for log in [&[][..], &["--log-file", "/dev/full"]] {
        let folder = tempfile::tempdir().unwrap();
        let key = format!("laptop:{SECRET}");
        let mut server = Command::new(env!("CARGO_BIN_EXE_dyndns"))
            .args(["serve", "--config", "/dev/null", "--listen", "127.0.0.1:0", "--state-dir", "state"])
            .args(["--zone", "example.com", "--tsig", &key])
            .args(log)
            .current_dir(folder.path())
            .env_remove("NOTIFY_SOCKET")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map(Killed)
            .unwrap();
        drop(server.0.stderr.take());
        let greeting = BufReader::new(server.0.stdout.take().unwrap()).lines().next().expect("it ended").unwrap();
        let address: SocketAddr = greeting.strip_prefix("dyndns answers on ").unwrap().parse().unwrap();

        for number in 1..=2 {
            let update = Update::new(number, "example.com").add_a("router.example.com", [192, 0, 2, 1]);
            let request = update.sign(&Home::key());
            let answer = Tcp::connect(address).ask(&request.message);
            assert_eq!(request.verified(&Home::key(), &answer), Ok(NOERROR), "{log:?}");
        }
    }
}

/// `rm -r state` under a running server: the open segment still took what was written, every update was answered
/// NOERROR, and the next start knew none of them.
#[test]
fn no_update_is_answered_noerror_once_the_state_directory_is_deleted() {
    let home = Home::start();
    let update = |number| Update::new(number, "example.com").add_a(&format!("h{number}.example.com"), [192, 0, 2, 1]);
    assert_eq!(home.send(update(1)), NOERROR);
    fs::remove_dir_all(home.folder.path().join("state")).unwrap();
    for number in 2..=4 {
        assert_eq!(home.send(update(number)), SERVFAIL);
    }
    home.server.wait_for_log("updates not stored: cannot");
    let answer = Tcp::connect(home.server.v4()).ask(&query(1, "h1.example.com", Rtype::A));
    assert_eq!(message::answers(&answer), 1, "queries go on");
}

/// A zone file in Latin-1 was refused without its line: `stream did not contain valid UTF-8`.
#[test]
fn a_zone_file_that_is_no_utf_8_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let text = b"@ 60 SOA ns hostmaster 1 2 3 4 5\n@ 60 NS ns\nns 60 TXT \"caf\xe9\"\n";
    fs::write(folder.path().join("home.example.zone"), text).unwrap();
    fs::write(folder.path().join("outer.example.zone"), "$INCLUDE home.example.zone\n").unwrap();
    let error = |file: &str| {
        let output = common::Server::fail(folder.path(), &["--config", "/dev/null", "--zone", file]);
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let direct = error("home.example.zone");
    assert!(direct.contains("home.example.zone:3: not UTF-8 text; save the file as UTF-8"), "{direct}");
    let included = error("outer.example.zone");
    assert!(included.contains("outer.example.zone:1: ") && included.contains("line 3: not UTF-8"), "{included}");
}
