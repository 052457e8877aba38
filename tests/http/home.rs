//! A server with the HTTP door, and requests to it.

use super::common::{DEADLINE, Server};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use tempfile::TempDir;

pub(crate) const CONFIG: &str = r#"
[http]
plain-listen = ["127.0.0.1:0"]

[[zone]]
name = "home.example"
grants = [
    { key = "router", rule = "name", name = "router", types = ["A", "AAAA"] },
    { key = "router", rule = "name", name = "nas", types = ["A", "AAAA"] },
]
"#;

/// A server with a user `router`.
pub(crate) struct Home {
    pub(crate) server: Server,
    pub(crate) http: SocketAddr,
    pub(crate) password: String,
    pub(crate) directory: TempDir,
}

impl Home {
    pub(crate) fn new() -> Home {
        Home::with(CONFIG)
    }

    pub(crate) fn with(config: &str) -> Home {
        Home::among(config, &[])
    }

    /// With files beside the configuration.
    pub(crate) fn among(config: &str, files: &[(&str, String)]) -> Home {
        Home::within(tempfile::tempdir().unwrap(), config, files)
    }

    /// In a directory that is there.
    pub(crate) fn within(directory: TempDir, config: &str, files: &[(&str, String)]) -> Home {
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        std::fs::write(directory.path().join("dyndns.toml"), config).unwrap();
        let password = add_user(&directory, "router");
        let server = Server::start(directory.path(), &["--config", "dyndns.toml"]);
        let http = door(&server);
        Home { server, http, password, directory }
    }

    /// Starts the server again; the door is at another port then.
    pub(crate) fn restart(&mut self) {
        self.server.restart();
        self.http = door(&self.server);
    }

    /// The status and the body of the answer to a request that is written as it stands.
    pub(crate) fn ask(&self, request: &str) -> (u16, String) {
        let answer = self.answer(request);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {answer}"));
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_string())
    }

    /// The head of the answer.
    pub(crate) fn head(&self, request: &str) -> String {
        let answer = self.answer(request);
        answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {answer}")).0.to_string()
    }

    fn answer(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.http).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Sends JSON, or nothing, with these header lines.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, Value) {
        let length = body.len();
        let (status, text) = self.ask(&format!(
            "{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        ));
        (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}")))
    }

    /// The header line of the user `router`.
    pub(crate) fn login(&self) -> String {
        format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("router:{}", self.password)))
    }

    pub(crate) fn get_as(&self, user: &str, password: &str, path: &str) -> (u16, String) {
        let token = STANDARD.encode(format!("{user}:{password}"));
        self.ask(&format!(
            "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: Basic {token}\r\n\r\n"
        ))
    }

    pub(crate) fn get(&self, path: &str) -> String {
        let (status, body) = self.get_as("router", &self.password, path);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub(crate) fn dyndns(&self, arguments: &[&str]) -> String {
        dyndns(&self.directory, arguments)
    }
}

fn door(server: &Server) -> SocketAddr {
    let line = server.wait_for_log("listening on HTTP address=");
    line.split_once("address=").unwrap().1.trim().parse().unwrap()
}

pub(crate) fn dyndns(directory: &TempDir, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dyndns"));
    let output = command.args(arguments).current_dir(directory.path()).env_remove("STATE_DIRECTORY").output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn add_user(directory: &TempDir, name: &str) -> String {
    dyndns(directory, &["key", "add-http", name, "--state-dir", "state"]).trim().to_string()
}
