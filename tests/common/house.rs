//! A machine of its own: a network namespace in which nothing else runs, with its own /etc/resolv.conf.

use super::{DEADLINE, Lines};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use tempfile::TempDir;

/// A namespace that ends with this value. Root alone can make one.
#[derive(Debug)]
pub(crate) struct House {
    holder: Child,
    /// A folder for whatever is needed.
    pub(crate) folder: TempDir,
}

/// A program that runs in the namespace; killed when dropped.
#[derive(Debug)]
pub(crate) struct Inhabitant {
    child: Child,
    output: Arc<Lines>,
}

impl House {
    /// Makes one with the loopback up and the resolver 127.0.0.1. `None`, said aloud, where that is not allowed.
    pub(crate) fn build() -> Option<House> {
        let folder = tempfile::tempdir().unwrap();
        let resolv = folder.path().join("resolv.conf");
        std::fs::write(&resolv, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n").unwrap();
        // It ends when its standard input does.
        let script =
            format!("ip link set lo up && mount --bind {} /etc/resolv.conf && echo up && exec cat", resolv.display());
        let mut holder = Command::new("unshare")
            .args(["--net", "--mount", "sh", "-c", &script])
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut first = String::new();
        let _ = std::io::BufRead::read_line(&mut std::io::BufReader::new(holder.stdout.take().unwrap()), &mut first);
        let house = House { holder, folder };
        if first == "up\n" {
            Some(house)
        } else {
            eprintln!("skipped: no network namespace can be made here");
            None
        }
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--net", "--mount", "--wd", "--target", &self.holder.id().to_string(), "--", program])
            .args(arguments);
        command.stdin(Stdio::null());
        command.env_remove("NOTIFY_SOCKET").env_remove("STATE_DIRECTORY").env("LC_ALL", "C");
        command
    }

    /// Runs a program in it to its end.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Output {
        self.command(program, arguments).output().unwrap()
    }

    /// Runs `ip` in it, which has to succeed.
    pub(crate) fn ip(&self, arguments: &str) {
        let output = self.run("ip", &arguments.split(' ').collect::<Vec<_>>());
        assert!(output.status.success(), "ip {arguments}: {output:?}");
    }

    /// Lays a cable from `link` here to `port` in another.
    pub(crate) fn plug(&self, link: &str, other: &House, port: &str) {
        self.ip(&format!("link add {link} type veth peer name {port} netns {}", other.holder.id()));
        self.ip(&format!("link set {link} up"));
        other.ip(&format!("link set {port} up"));
    }

    /// Starts a program in it.
    pub(crate) fn start(&self, program: &str, arguments: &[&str]) -> Inhabitant {
        Inhabitant::start(&mut self.command(program, arguments))
    }

    /// Starts our server at port 53, for home.test with this text, open to the key `laptop`.
    pub(crate) fn serve(&self, zone: &str) -> Inhabitant {
        std::fs::write(self.folder.path().join("home.test.zone"), zone).unwrap();
        let settings = format!(
            "whoami = \"whoami.home.test\"\n[[key]]\nname = \"laptop\"\nsecret = \"{}\"\nall-zones = true\n\
             [[zone]]\nname = \"home.test\"\nfile = \"home.test.zone\"\n",
            super::client::SECRET
        );
        std::fs::write(self.folder.path().join("dyndns.toml"), settings).unwrap();
        let arguments = [
            "serve",
            "--config",
            "dyndns.toml",
            "--state-dir",
            "state",
            "--listen",
            "0.0.0.0:53",
            "--listen",
            "[::]:53",
        ];
        let server = self.start(env!("CARGO_BIN_EXE_dyndns"), &arguments);
        server.wait_for("dyndns answers on");
        server
    }

    /// Where [`House::serve`] listens, from within.
    pub(crate) fn server() -> SocketAddr {
        (Ipv4Addr::LOCALHOST, 53).into()
    }

    /// What the server in it holds, as dig prints it.
    pub(crate) fn dig(&self, name: &str, rtype: &str) -> String {
        let server = format!("@{}", House::server().ip());
        let output = self.run("dig", &["+short", "+norecurse", "+tries=1", &server, name, rtype]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Writes the key file of `laptop` and returns its path.
    pub(crate) fn key(&self) -> String {
        let path = self.folder.path().join("laptop.key");
        write_key(&path);
        path.to_str().unwrap().to_string()
    }
}

/// Writes a key file of the key `laptop`.
pub(crate) fn write_key(path: &Path) {
    let secret = super::client::SECRET;
    let text = format!("key \"laptop\" {{\n\talgorithm hmac-sha256;\n\tsecret \"{secret}\";\n}};\n");
    std::fs::write(path, text).unwrap();
}

impl Inhabitant {
    /// Starts a program, in whatever place its command says.
    pub(crate) fn start(command: &mut Command) -> Inhabitant {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = Arc::new(Lines::default());
        output.gather(child.stdout.take().unwrap());
        output.gather(child.stderr.take().unwrap());
        Inhabitant { child, output }
    }

    /// Waits for a line that contains `text`.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        let found = self.output.wait_for(DEADLINE, |line| line.contains(text));
        found.unwrap_or_else(|| panic!("no `{text}` in:\n{}", self.output.text()))
    }

    /// Waits for the line of this number that contains `text`.
    pub(crate) fn wait_for_times(&self, text: &str, times: usize) {
        let mut seen = 0;
        let found = self.output.wait_for(DEADLINE, |line| {
            seen += usize::from(line.contains(text));
            seen == times
        });
        assert!(found.is_some(), "no {times} times `{text}` in:\n{}", self.output.text());
    }

    /// All it has said.
    pub(crate) fn said(&self) -> String {
        self.output.text()
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }

    /// Waits until it has ended by itself; its exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        // Both streams end with the process: nothing else holds them.
        assert!(self.output.ended_within(DEADLINE), "still running; it said:\n{}", self.said());
        self.child.wait().unwrap().code()
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill9(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Inhabitant {
    fn drop(&mut self) {
        self.kill9();
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
