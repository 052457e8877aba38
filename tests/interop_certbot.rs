//! certbot gets a certificate from an ACME server that looks the challenges up here: with its own plugin for RFC 2136,
//! and by acme-dns.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is the failure to be seen")]

mod common;
#[path = "http/home.rs"]
#[allow(dead_code, reason = "of the server with an HTTP door a part is used")]
mod home;

use common::agent::free;
use common::client::{Home, SECRET, run};
use common::{DEADLINE, Lines, Server};
use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

/// The server of README's grant for certbot: the challenge of one name, and nothing else.
const CONFIG: &str = r#"
[[key]]
name = "certbot"
secret = "bWFrZSB5b3VyIG93biB3aXRoIGR5bmRucw=="

[[zone]]
file = "zones/example.com.zone"
grants = [{ key = "certbot", rule = "name", name = "_acme-challenge.www", types = ["TXT"] }]
"#;

/// A pebble, which is an ACME server for tests; killed when dropped.
struct Pebble(Child);

impl Drop for Pebble {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts one in `folder`, whose challenges are looked up at `dns`. `None`, said aloud, where it is not installed.
fn pebble(folder: &Path, dns: SocketAddr) -> Option<(Pebble, SocketAddr)> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_string()]).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    // Another port is tried where one was taken meanwhile.
    for _ in 0..5 {
        let (address, management) = (free(), free());
        let config = serde_json::json!({ "pebble": {
            "listenAddress": address, "managementListenAddress": management,
            "certificate": "cert.pem", "privateKey": "key.pem", "httpPort": 1, "tlsPort": 1,
        } });
        std::fs::write(folder.join("pebble.json"), config.to_string()).unwrap();
        let mut command = Command::new("pebble");
        command.args(["-config", "pebble.json", "-dnsserver", &dns.to_string()]).current_dir(folder);
        command
            .envs([("PEBBLE_VA_NOSLEEP", "1"), ("PEBBLE_AUTHZREUSE", "0")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let Ok(mut child) = command.spawn() else {
            eprintln!("skipped: pebble is not installed");
            return None;
        };
        let lines = Arc::new(Lines::default());
        lines.gather(child.stdout.take().unwrap());
        lines.gather(child.stderr.take().unwrap());
        let pebble = Pebble(child);
        if lines.wait_for(DEADLINE, |line| line.contains("ACME directory available")).is_some() {
            return Some((pebble, address));
        }
        eprintln!("pebble: {}", lines.text());
    }
    panic!("pebble does not start");
}

/// Has certbot get a certificate for a name and its wildcard; says so aloud where it is not installed.
fn certify(place: &Path, acme: SocketAddr, name: &str, lineage: &str, how: &[&str]) -> Option<()> {
    let certbot = Path::new(env!("CARGO_TARGET_TMPDIR")).join("certbot/bin/certbot");
    if !certbot.exists() {
        eprintln!("skipped: certbot and its plugin are not installed");
        return None;
    }
    let path = |name: &str| place.join(name).to_str().unwrap().to_string();
    let bundle = format!("REQUESTS_CA_BUNDLE={}", path("cert.pem"));
    let (server, wildcard) = (format!("https://{acme}/dir"), format!("*.{name}"));
    let arguments = [
        &[&bundle, certbot.to_str().unwrap(), "certonly", "--non-interactive", "--agree-tos"][..],
        &["--register-unsafely-without-email", "--server", &server, "--cert-name", lineage],
        &["--config-dir", &path("config"), "--work-dir", &path("work"), "--logs-dir", &path("logs")],
        &["-d", name, "-d", &wildcard],
        how,
    ];
    let run = run("env", &arguments.concat(), "").unwrap();
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(place.join(format!("config/live/{lineage}/fullchain.pem")).exists());
    Some(())
}

/// By the plugin's own search for the zone, both with questions that are signed and with ones that are not.
#[test]
fn certbot_gets_a_certificate_for_a_name_and_its_wildcard_from_pebble() {
    let folder = tempfile::tempdir().unwrap();
    common::client::copy_zones(folder.path());
    std::fs::write(folder.path().join("dyndns.toml"), CONFIG).unwrap();
    std::fs::set_permissions(folder.path().join("dyndns.toml"), Permissions::from_mode(0o600)).unwrap();
    let home = Home { server: Server::start(folder.path(), &["--config", "dyndns.toml"]), folder };
    let place = home.folder.path();
    let Some((_pebble, acme)) = pebble(place, home.server.v4()) else { return };
    let port = home.server.v4().port();
    let file = place.join("credentials.ini").to_str().unwrap().to_string();
    for (sign, serial) in [("false", 5), ("true", 9)] {
        let credentials = format!(
            "dns_rfc2136_server = 127.0.0.1\ndns_rfc2136_port = {port}\ndns_rfc2136_name = certbot.\n\
             dns_rfc2136_secret = {SECRET}\ndns_rfc2136_algorithm = HMAC-SHA256\ndns_rfc2136_sign_query = {sign}\n"
        );
        std::fs::write(&file, credentials).unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        let how = ["--authenticator", "dns-rfc2136", "--dns-rfc2136-credentials", &file];
        let how = [&how[..], &["--dns-rfc2136-propagation-seconds", "0"]].concat();
        let Some(()) = certify(place, acme, "www.example.com", sign, &how) else { return };
        // Two challenges of one name came and went; nothing is left of them.
        assert_eq!(home.serial(), serial, "{}", home.server.log());
        assert!(home.dig(&["_acme-challenge.www.example.com", "TXT"]).unwrap().contains("status: NXDOMAIN"));
    }
}

/// The two challenges of a name and its wildcard stand beside each other, below the CNAME that an account asks for.
#[test]
fn certbot_gets_a_certificate_by_acme_dns_and_curl_from_pebble() {
    let config = "[http]\nplain-listen = [\"127.0.0.1:0\"]\nacme-zone = \"auth.home.example\"\n\
                  [[zone]]\nname = \"home.example\"\ngrants = [{ key = \"router\", rule = \"zonesub\" }]\n";
    let home = home::Home::with(config);
    let place = home.directory.path();
    let Some((_pebble, acme)) = pebble(place, home.server.v4()) else { return };
    let (status, account) = home.send("POST", "/register", &home.login(), "");
    assert_eq!(status, 201, "{account}");
    let text = |field: &str| account[field].as_str().unwrap();
    let challenge = "/api/v1/zones/home.example/records/_acme-challenge.www.home.example/CNAME";
    let target = serde_json::json!({ "values": [format!("{}.", text("fulldomain"))] });
    assert_eq!(home.send("PUT", challenge, &home.login(), &target.to_string()).0, 200);
    let hook = format!(
        "#!/bin/sh\nexec curl -fsS -H 'X-Api-User: {user}' -H 'X-Api-Key: {key}' http://{door}/update \\\n  \
         -d \"{{\\\"subdomain\\\": \\\"{user}\\\", \\\"txt\\\": \\\"$CERTBOT_VALIDATION\\\"}}\"\n",
        user = text("username"),
        key = text("password"),
        door = home.http
    );
    let file = place.join("hook").to_str().unwrap().to_string();
    std::fs::write(&file, hook).unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o700)).unwrap();
    let how = ["--manual", "--preferred-challenges", "dns", "--manual-auth-hook", &file];
    certify(place, acme, "www.home.example", "www", &how);
}
