//! TSIG against the clients that people use: they sign and we verify, we sign and they verify.
//!
//! Each test plays a server on a loopback socket. A client that is not installed is named and skipped.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is the failure to be seen")]

use dyndns::clock::Clock;
use dyndns::tsig::{Keyring, Rejection, Signer, TsigKey, verify};
use dyndns::wire::Name;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

/// All that we know, by the names that `dig -y` and `nsupdate -y` take.
const ALGORITHMS: [&str; 9] = [
    "hmac-md5",
    "hmac-sha1",
    "hmac-sha224",
    "hmac-sha256",
    "hmac-sha256-128",
    "hmac-sha384",
    "hmac-sha384-192",
    "hmac-sha512",
    "hmac-sha512-256",
];

const SECRET: &str = "bm90IGEgc2VjcmV0LCBmb3IgdGVzdHM=";

/// A client's command, started; `None`, said aloud, where it is not installed.
fn start(program: &str, arguments: &[&str], script: &str) -> Option<JoinHandle<Output>> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        eprintln!("skipped: {program} is not installed");
        return None;
    };
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    Some(std::thread::spawn(move || child.wait_with_output().unwrap()))
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn socket() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // Far longer than any client needs, so that a silent one fails the test instead of hanging it.
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let port = socket.local_addr().unwrap().port().to_string();
    (socket, port)
}

/// Where the last record of a message starts, and how many records the sections have.
fn last_record(message: &[u8]) -> usize {
    let count = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
    let mut at = 12;
    for _ in 0..count(4) {
        at = Name::read(message, at).unwrap().1 + 4;
    }
    let mut last = at;
    for _ in 0..count(6) + count(8) + count(10) {
        last = at;
        let fixed = Name::read(message, at).unwrap().1;
        at = fixed + 10 + usize::from(u16::from_be_bytes([message[fixed + 8], message[fixed + 9]]));
    }
    last
}

/// A reply of `rcode` to `request`: its header and question, nothing else, and room for a TSIG record.
fn reply_to(request: &[u8], rcode: u8) -> (Vec<u8>, usize) {
    let end = Name::read(request, 12).unwrap().1 + 4;
    let mut reply = request[..end].to_vec();
    reply[2] |= 0x84;
    reply[3] = rcode;
    reply[6..12].fill(0);
    reply.resize(end + 700, 0);
    (reply, end)
}

/// Answers one request on the socket, signed; `spoil` may still change the reply.
fn answer_signed(socket: &UdpSocket, keyring: &Keyring, spoil: impl FnOnce(&mut Vec<u8>)) -> Result<(), Rejection> {
    let mut request = [0; 4096];
    let (len, peer) = socket.recv_from(&mut request).unwrap();
    let request = &request[..len];
    let now = Clock::System.now();
    match verify(keyring, request, last_record(request), now) {
        Ok(mut verified) => {
            let (mut reply, end) = reply_to(request, 0);
            let end = verified.signer.sign(&mut reply, end, now).unwrap();
            reply.truncate(end);
            spoil(&mut reply);
            socket.send_to(&reply, peer).unwrap();
            Ok(())
        }
        Err(rejection) => {
            let (mut reply, end) = reply_to(request, rejection.rcode());
            let end = rejection.append(&mut reply, end).unwrap();
            socket.send_to(&reply[..end], peer).unwrap();
            Err(rejection)
        }
    }
}

fn keyring(keys: &[&str]) -> Keyring {
    keys.iter().map(|key| TsigKey::parse(&format!("{key}:{SECRET}")).unwrap()).collect()
}

fn dig(port: &str, key: &str) -> Option<JoinHandle<Output>> {
    let key = format!("{key}:{SECRET}");
    start("dig", &["@127.0.0.1", "-p", port, "+tries=1", "+time=10", "-y", &key, "a.example"], "")
}

#[test]
fn dig_and_we_verify_each_other_with_every_algorithm() {
    for algorithm in ALGORITHMS {
        let (socket, port) = socket();
        let Some(dig) = dig(&port, &format!("{algorithm}:Laptop.Example")) else { return };
        answer_signed(&socket, &keyring(&[&format!("{algorithm}:laptop.example")]), |_| ()).unwrap();
        let shown = text(&dig.join().unwrap());
        assert!(shown.contains("status: NOERROR") && shown.contains("TSIG PSEUDOSECTION"), "{algorithm}: {shown}");
        assert!(!shown.contains("Couldn't verify"), "{algorithm}: {shown}");
    }
}

#[test]
fn dig_notices_a_reply_that_was_changed() {
    let (socket, port) = socket();
    let Some(dig) = dig(&port, "hmac-sha256:laptop") else { return };
    answer_signed(&socket, &keyring(&["hmac-sha256:laptop"]), |reply| reply[3] ^= 3).unwrap();
    let shown = text(&dig.join().unwrap());
    assert!(shown.contains("Couldn't verify signature"), "{shown}");
}

#[test]
fn dig_understands_our_rejections() {
    for (server, error) in [
        (&["hmac-sha256:other"][..], "BADKEY"),
        (&["hmac-sha512:laptop"], "BADKEY"),
        (&["hmac-sha256:laptop"], "BADTRUNC"),
    ] {
        let (socket, port) = socket();
        let Some(dig) = dig(&port, "hmac-sha256-128:laptop") else { return };
        let rejection = answer_signed(&socket, &keyring(server), |_| ()).unwrap_err();
        let shown = text(&dig.join().unwrap());
        assert!(shown.contains("status: NOTAUTH") && shown.contains(error), "{rejection}: {shown}");
    }
}

#[test]
fn kdig_and_we_verify_each_other() {
    for algorithm in ["hmac-md5", "hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"] {
        for spoiled in [false, true] {
            let (socket, port) = socket();
            let key = format!("{algorithm}:laptop:{SECRET}");
            let arguments = ["@127.0.0.1", "-p", &port, "+retry=0", "+time=10", "-y", &key, "a.example"];
            let Some(kdig) = start("kdig", &arguments, "") else { return };
            let spoil = |reply: &mut Vec<u8>| reply[3] ^= if spoiled { 3 } else { 0 };
            answer_signed(&socket, &keyring(&[&format!("{algorithm}:laptop")]), spoil).unwrap();
            let shown = text(&kdig.join().unwrap());
            assert_eq!(shown.contains("reply verification"), spoiled, "{algorithm}: {shown}");
        }
    }
}

/// An update as nsupdate sends it, with this line for the key.
fn nsupdate(key_line: &str, server: &[&str], arguments: &[&str]) -> Option<(Result<(), Rejection>, Output)> {
    let (socket, port) = socket();
    let script = format!(
        "server 127.0.0.1 {port}\n{key_line}\nzone example.com.\nupdate add a.example.com. 60 A 192.0.2.1\nsend\n"
    );
    let client = start("nsupdate", arguments, &script)?;
    let result = answer_signed(&socket, &keyring(server), |_| ());
    Some((result, client.join().unwrap()))
}

#[test]
fn nsupdate_takes_our_signed_reply() {
    for algorithm in ALGORITHMS {
        let line = format!("key {algorithm}:laptop {SECRET}");
        let Some((result, output)) = nsupdate(&line, &[&format!("{algorithm}:laptop")], &[]) else { return };
        result.unwrap();
        assert!(output.status.success(), "{algorithm}: {}", text(&output));
    }
}

#[test]
fn nsupdate_without_an_algorithm_uses_md5_which_only_a_key_declared_so_serves() {
    // BIND 9.18; the operator of a server for such scripts writes `--tsig hmac-md5:NAME:SECRET`.
    let line = format!("key laptop {SECRET}");
    let Some((result, output)) = nsupdate(&line, &["hmac-md5:laptop"], &[]) else { return };
    result.unwrap();
    assert!(output.status.success(), "{}", text(&output));

    let (result, output) = nsupdate(&line, &["laptop"], &[]).unwrap();
    assert_eq!(
        result.unwrap_err().to_string(),
        "TSIG rejected: key laptop. serves hmac-sha256, request uses hmac-md5; name hmac-sha256 at the client"
    );
    assert!(!output.status.success() && text(&output).contains("BADKEY"), "{}", text(&output));
}

#[test]
fn nsupdate_and_dig_read_our_key_files() {
    let directory = tempfile::tempdir().unwrap();
    for algorithm in ALGORITHMS {
        let key = TsigKey::parse(&format!("{algorithm}:laptop.example:{SECRET}")).unwrap();
        let path = directory.path().join(algorithm);
        std::fs::write(&path, key.to_key_file().as_bytes()).unwrap();
        let path = path.to_str().unwrap();
        let server = format!("{algorithm}:laptop.example");
        let Some((result, output)) = nsupdate("", &[&server], &["-k", path]) else { return };
        result.unwrap();
        assert!(output.status.success(), "{algorithm}: {}", text(&output));

        let (socket, port) = socket();
        let Some(dig) = start("dig", &["@127.0.0.1", "-p", &port, "+tries=1", "+time=10", "-k", path, "a.example"], "")
        else {
            return;
        };
        answer_signed(&socket, &keyring(&[&server]), |_| ()).unwrap();
        let shown = text(&dig.join().unwrap());
        assert!(shown.contains("status: NOERROR") && !shown.contains("Couldn't verify"), "{algorithm}: {shown}");
    }
}

#[test]
fn we_read_the_key_files_of_tsig_keygen() {
    for algorithm in ["hmac-md5", "hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"] {
        let Some(keygen) = start("tsig-keygen", &["-a", algorithm, "laptop.example"], "") else { return };
        let output = keygen.join().unwrap();
        let keys = TsigKey::from_key_file(&text(&output)).unwrap();
        assert_eq!((keys.len(), keys[0].algorithm.name()), (1, algorithm));
        assert_eq!(*keys[0].to_key_file(), text(&output));
    }
}

fn read_message(stream: &mut TcpStream) -> Vec<u8> {
    let mut len = [0; 2];
    stream.read_exact(&mut len).unwrap();
    let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut message).unwrap();
    message
}

fn write_message(stream: &mut TcpStream, message: &[u8]) {
    let len = u16::try_from(message.len()).unwrap();
    stream.write_all(&[&len.to_be_bytes(), message].concat()).unwrap();
}

/// One message of a transfer of `example.`: these records, signed.
fn transfer_message(request: &[u8], records: &[&[u8]], signer: &mut Signer, now: u64) -> Vec<u8> {
    let (mut message, end) = reply_to(request, 0);
    message.truncate(end);
    message[7] = u8::try_from(records.len()).unwrap();
    records.iter().for_each(|record| message.extend_from_slice(record));
    let end = message.len();
    message.resize(end + signer.reserve(), 0);
    assert_eq!(signer.sign(&mut message, end, now), Ok(end + signer.reserve()));
    message
}

#[test]
fn dig_takes_a_signed_transfer_of_several_messages() {
    const SOA: &[u8] = b"\xc0\x0c\0\x06\0\x01\0\0\0\x3c\0\x16\0\0\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05";
    const A: &[u8] = b"\x01a\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01";
    for spoiled in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let key = format!("hmac-sha256:laptop:{SECRET}");
        let arguments = ["@127.0.0.1", "-p", &port, "+tries=1", "+time=10", "-y", &key, "example", "AXFR"];
        let Some(dig) = start("dig", &arguments, "") else { return };
        let (mut stream, _) = listener.accept().unwrap();
        let request = read_message(&mut stream);
        let now = Clock::System.now();
        let mut signer = verify(&keyring(&["laptop"]), &request, last_record(&request), now).unwrap().signer;
        for (index, records) in [&[SOA][..], &[A], &[A, A], &[SOA]].into_iter().enumerate() {
            let mut message = transfer_message(&request, records, &mut signer, now);
            if spoiled && index == 2 {
                // The last octet of the last address.
                let at = last_record(&message) - 1;
                message[at] ^= 1;
            }
            write_message(&mut stream, &message);
        }
        drop(stream);
        let shown = text(&dig.join().unwrap());
        let believed = shown.contains("XFR size: 5 records (messages 4") && !shown.contains("Couldn't verify");
        assert_eq!(believed, !spoiled, "{shown}");
    }
}
