//! BIND on the loopback, killed when dropped.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Far longer than any answer takes: a silent server fails the test instead of hanging it.
const PATIENCE: Duration = Duration::from_secs(20);

/// The key of every zone, in the form of `nsupdate -y`.
pub(crate) const KEY: &str = "hmac-sha256:key:bm90IGEgc2VjcmV0LCBmb3IgdGVzdHM=";

pub(crate) struct Bind {
    child: Child,
    directory: tempfile::TempDir,
    tcp: TcpStream,
    udp: UdpSocket,
}

impl Bind {
    /// BIND with these zones, by apex; `None`, said aloud, where it is not installed.
    pub(crate) fn start(zones: &[(String, String)]) -> Option<Bind> {
        let Some(program) =
            ["/usr/sbin/named", "/usr/local/sbin/named"].into_iter().find(|path| Path::new(path).exists())
        else {
            eprintln!("skipped: named is not installed");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        // Another process may take the port before named does: then named ends, and the next port is tried.
        for _ in 0..5 {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            std::fs::write(directory.path().join("named.conf"), config(directory.path(), zones, address.port()))
                .unwrap();
            for (apex, text) in zones {
                std::fs::write(directory.path().join(file(apex)), text).unwrap();
            }
            let log = std::fs::File::create(directory.path().join("log")).unwrap();
            let mut command = Command::new(program);
            command.arg("-g").arg("-n1").arg("-c").arg(directory.path().join("named.conf"));
            let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
            if let Some((tcp, udp)) = connect(&mut child, address) {
                return Some(Bind { child, directory, tcp, udp });
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        let log = std::fs::read_to_string(directory.path().join("log")).unwrap_or_default();
        panic!("named does not start:\n{log}");
    }

    /// One question over TCP, one reply.
    pub(crate) fn ask_tcp(&mut self, message: &[u8]) -> Vec<u8> {
        self.send_tcp(message);
        self.read_tcp()
    }

    pub(crate) fn send_tcp(&mut self, message: &[u8]) {
        let length = u16::try_from(message.len()).unwrap().to_be_bytes();
        self.tcp.write_all(&[&length, message].concat()).unwrap();
    }

    pub(crate) fn read_tcp(&mut self) -> Vec<u8> {
        let mut length = [0; 2];
        self.tcp.read_exact(&mut length).unwrap();
        let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
        self.tcp.read_exact(&mut reply).unwrap();
        reply
    }

    /// One question over UDP, one reply.
    pub(crate) fn ask_udp(&mut self, message: &[u8]) -> Vec<u8> {
        self.udp.send(message).unwrap();
        let mut reply = vec![0; 65_535];
        let len = self.udp.recv(&mut reply).unwrap();
        reply.truncate(len);
        reply
    }

    /// What BIND has said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn file(apex: &str) -> String {
    format!("{}zone", if apex == "." { "root." } else { apex })
}

fn config(directory: &Path, zones: &[(String, String)], port: u16) -> String {
    let directory = directory.display();
    let (_, key) = KEY.split_once(':').unwrap();
    let (name, secret) = key.split_once(':').unwrap();
    let mut config = format!(
        "options {{ directory \"{directory}\"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
           pid-file none; session-keyfile none; managed-keys-directory \"{directory}\"; recursion no;
           minimal-responses no; allow-transfer {{ any; }}; notify no; dnssec-validation no; check-names primary ignore;
           empty-zones-enable no; tcp-clients 10; max-records-per-type 0; max-types-per-name 0; edns-udp-size 1232;
           max-udp-size 1232; check-integrity no; check-mx-cname ignore; check-srv-cname ignore; check-wildcard no; zero-no-soa-ttl no; }};
         controls {{}};
         key \"{name}\" {{ algorithm hmac-sha256; secret \"{secret}\"; }};\n"
    );
    for (apex, _) in zones {
        let file = file(apex);
        config +=
            &format!("zone \"{apex}\" {{ type primary; file \"{file}\"; allow-update {{ key \"{name}\"; }}; }};\n");
    }
    config
}

/// Asks until there is an answer. `None` where the process ends first.
fn connect(child: &mut Child, address: SocketAddr) -> Option<(TcpStream, UdpSocket)> {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.connect(address).unwrap();
    udp.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut reply = [0; 512];
    // About PATIENCE: each turn waits for an answer, or for the timeout.
    for turn in 0..400u16 {
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        let [high, low] = turn.to_be_bytes();
        let ask = [high, low, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 1];
        // Before the socket is open the system refuses, at once: a read still waits its turn.
        let _ = udp.send(&ask);
        match udp.recv(&mut reply) {
            Ok(_) if reply[..2] == ask[..2] => break,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                let _ = udp.recv(&mut reply);
            }
            Err(_) => {}
        }
    }
    // A socket of its own for the questions: answers to earlier turns may still come to this one.
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.connect(address).unwrap();
    udp.set_read_timeout(Some(PATIENCE)).unwrap();
    let tcp = TcpStream::connect(address).ok()?;
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp.set_nodelay(true).unwrap();
    Some((tcp, udp))
}
