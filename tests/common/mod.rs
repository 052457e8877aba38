//! What the tests of the whole binary share: a server to start, to kill and to start again, and raw exchanges with it.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "each test uses a part of this, and in a test a panic is the failure to be seen"
)]

pub(crate) mod agent;
pub(crate) mod client;
pub(crate) mod command;
pub(crate) mod disk;
pub(crate) mod exchange;
pub(crate) mod house;
pub(crate) mod load;
pub(crate) mod machine;
pub(crate) mod message;
pub(crate) mod shim;
pub(crate) mod web;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// How long anything on this machine may take; only a failing test waits so long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A running `dyndns serve`, killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    directory: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    output: Arc<Lines>,
    /// Where it listens; by default an IPv4 address and then an IPv6 address.
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Server {
    /// Runs `dyndns serve ARGUMENTS` in `directory` and waits until it answers.
    ///
    /// Unless the arguments say otherwise it listens on 127.0.0.1 and `[::1]` at ports that the system picks, keeps
    /// its state in `directory/state` and logs to standard error, where [`Server::wait_for_log`] sees it.
    pub(crate) fn start(directory: &Path, arguments: &[&str]) -> Server {
        Server::start_with(directory, arguments, &[])
    }

    /// The same with variables of the environment.
    pub(crate) fn start_with(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Server {
        let arguments = with_defaults(arguments);
        let environment: Vec<(String, String)> =
            environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let (child, output) = spawn(directory, &arguments, &environment);
        let mut server =
            Server { child, directory: directory.to_path_buf(), arguments, environment, output, addresses: Vec::new() };
        server.wait_until_ready();
        server
    }

    /// Runs `dyndns serve ARGUMENTS` where it is expected to end by itself, as for a broken configuration.
    pub(crate) fn fail(directory: &Path, arguments: &[&str]) -> Output {
        command(directory, &with_defaults(arguments), &[]).output().unwrap()
    }

    /// The first IPv4 address it listens on.
    pub(crate) fn v4(&self) -> SocketAddr {
        *self.addresses.iter().find(|address| address.is_ipv4()).expect("no IPv4 address")
    }

    /// The first IPv6 address it listens on.
    pub(crate) fn v6(&self) -> SocketAddr {
        *self.addresses.iter().find(|address| address.is_ipv6()).expect("no IPv6 address")
    }

    /// The number of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All lines that this process has written so far, to standard output and standard error.
    pub(crate) fn log(&self) -> String {
        self.output.text()
    }

    /// Waits for a line that contains `text` and returns it; one that was written before counts.
    pub(crate) fn wait_for_log(&self, text: &str) -> String {
        self.output
            .wait_for(DEADLINE, |line| line.contains(text))
            .unwrap_or_else(|| panic!("no `{text}` in:\n{}", self.log()))
    }

    /// Sends a signal, as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.pid());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it by SIGTERM.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        // Both streams end with the process: nothing else holds them.
        let ended = self.output.ended_within(DEADLINE);
        assert!(ended, "still running; it said:\n{}", self.log());
        self.child.wait().unwrap()
    }

    /// Starts it again upon the same state. Ports that the system picks are other ones then.
    pub(crate) fn restart(&mut self) {
        (self.child, self.output) = spawn(&self.directory, &self.arguments, &self.environment);
        self.wait_until_ready();
    }

    /// Reads the addresses from what it says when it starts.
    fn wait_until_ready(&mut self) {
        const GREETING: &str = "dyndns answers on ";
        const LISTENING: &str = "listening on UDP and TCP address=";
        let expected = self.arguments.iter().filter(|argument| *argument == "--listen").count();
        let mut addresses = Vec::new();
        let ready = self.output.wait_for(DEADLINE, |line| {
            if let Some(places) = line.strip_prefix(GREETING) {
                addresses = places.split(", ").map(|place| place.parse().unwrap()).collect();
                return true;
            }
            // A service greets nobody; its log tells.
            if let Some((_, place)) = line.split_once(LISTENING) {
                addresses.push(place.parse().unwrap());
            }
            addresses.len() == expected
        });
        assert!(ready.is_some(), "not started; it said:\n{}", self.log());
        self.addresses = addresses;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of both output streams of a process, as they come.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<String>,
    /// How many of the two streams have ended.
    ended: usize,
}

impl Lines {
    /// Reads a stream in a thread of its own.
    pub(crate) fn gather(self: &Arc<Lines>, stream: impl Read + Send + 'static) {
        let lines = Arc::clone(self);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                lines.state.lock().unwrap().lines.push(String::from_utf8_lossy(&line).into_owned());
                lines.changed.notify_all();
            }
            lines.state.lock().unwrap().ended += 1;
            lines.changed.notify_all();
        });
    }

    /// All lines so far.
    pub(crate) fn text(&self) -> String {
        self.state.lock().unwrap().lines.join("\n")
    }

    /// The first line that fits; each is looked at once, in order. `None` after the end, or where none comes for
    /// so long.
    pub(crate) fn wait_for(&self, deadline: Duration, mut fits: impl FnMut(&str) -> bool) -> Option<String> {
        let mut seen = 0;
        let mut state = self.state.lock().unwrap();
        loop {
            while let Some(line) = state.lines.get(seen) {
                if fits(line) {
                    return Some(line.clone());
                }
                seen += 1;
            }
            if state.ended == 2 {
                return None;
            }
            let (next, timeout) = self.changed.wait_timeout(state, deadline).unwrap();
            state = next;
            if timeout.timed_out() {
                return None;
            }
        }
    }

    pub(crate) fn ended_within(&self, deadline: Duration) -> bool {
        let state = self.state.lock().unwrap();
        let (state, _) = self.changed.wait_timeout_while(state, deadline, |state| state.ended < 2).unwrap();
        state.ended == 2
    }
}

fn with_defaults(arguments: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    if !arguments.contains(&"--listen") {
        all.extend(["--listen", "127.0.0.1:0", "--listen", "[::1]:0"].map(String::from));
    }
    if !arguments.contains(&"--state-dir") {
        all.extend(["--state-dir", "state"].map(String::from));
    }
    all
}

fn command(directory: &Path, arguments: &[String], environment: &[(String, String)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dyndns"));
    command.arg("serve").args(arguments).current_dir(directory).stdin(Stdio::null());
    // Whoever runs the tests may be a service.
    command.env_remove("NOTIFY_SOCKET").env_remove("STATE_DIRECTORY");
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command
}

fn spawn(directory: &Path, arguments: &[String], environment: &[(String, String)]) -> (Child, Arc<Lines>) {
    let mut command = command(directory, arguments, environment);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let output = Arc::new(Lines::default());
    output.gather(child.stdout.take().unwrap());
    output.gather(child.stderr.take().unwrap());
    (child, output)
}
