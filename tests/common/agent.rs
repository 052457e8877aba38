//! `dyndns agent` as a process.

use super::house::write_key;
use super::{DEADLINE, Lines};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;

/// A running agent, killed when dropped.
#[derive(Debug)]
pub(crate) struct Agent {
    child: Child,
    output: Arc<Lines>,
}

impl Agent {
    /// Starts it with `agent.toml` and the key file of `laptop` in this folder.
    pub(crate) fn start(folder: &Path, config: &str) -> Agent {
        Agent::start_with(folder, config, &[])
    }

    /// The same with variables of the environment.
    pub(crate) fn start_with(folder: &Path, config: &str, environment: &[(&str, &str)]) -> Agent {
        write_key(&folder.join("laptop.key"));
        std::fs::write(folder.join("agent.toml"), config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_dyndns"));
        command.args(["agent", "--config", "agent.toml"]).current_dir(folder).stdin(Stdio::null());
        command.env_remove("NOTIFY_SOCKET").env_remove("STATE_DIRECTORY");
        command.envs(environment.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = Arc::new(Lines::default());
        output.gather(child.stdout.take().unwrap());
        output.gather(child.stderr.take().unwrap());
        Agent { child, output }
    }

    /// Waits for a line that contains `text`.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        let found = self.output.wait_for(DEADLINE, |line| line.contains(text));
        found.unwrap_or_else(|| panic!("no `{text}` in:\n{}", self.output.text()))
    }

    /// Waits until so many lines have contained it.
    pub(crate) fn wait_for_times(&self, times: usize, text: &str) {
        let mut seen = 0;
        let found = self.output.wait_for(DEADLINE, |line| {
            seen += usize::from(line.contains(text));
            seen == times
        });
        assert!(found.is_some(), "not {times} times `{text}` in:\n{}", self.output.text());
    }

    /// All it has said.
    pub(crate) fn said(&self) -> String {
        self.output.text()
    }

    /// Sends a signal, as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill9(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// What `dyndns agent --status` says.
pub(crate) fn status(folder: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dyndns"));
    let output = command.args(["agent", "--status", "--config", "agent.toml"]).current_dir(folder).output().unwrap();
    said(&output)
}

/// All that a command has said.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

/// An address where nothing listens now.
pub(crate) fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
