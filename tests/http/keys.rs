//! A key with its own secret comes in like a user, where nobody reads along.

use super::common::client::run;
use super::home::{CONFIG, Home, add_user};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::net::UdpSocket;

/// As a key file has it.
const SECRET: &str = "bWFrZSB5b3VyIG93biB3aXRoIGR5bmRucw==";
const PATH: &str = "/nic/update?hostname=nas.home.example&myip=";

/// A door with the key `router`, whose secret this is.
fn home(secret: &str) -> Home {
    Home::with(&format!("{CONFIG}[[key]]\nname = \"router\"\nsecret = \"{secret}\"\n"))
}

#[test]
fn a_key_comes_in_with_its_secret_as_people_paste_it_and_has_its_own_rights() {
    let home = home(SECRET);
    for (number, secret) in [SECRET, SECRET.trim_end_matches('='), &format!(" {SECRET}\n")].into_iter().enumerate() {
        let answer = home.get_as("Router.", secret, &format!("{PATH}192.0.2.{number}"));
        assert_eq!(answer, (200, format!("good 192.0.2.{number}\n")));
    }
    assert_eq!(home.get_as("router", SECRET, "/nic/update?hostname=www.home.example").1, "nohost\n");
    // The password of the user of that name is as good, and another's is not.
    assert_eq!(home.get(&format!("{PATH}192.0.2.9")), "good 192.0.2.9\n");
    let other = add_user(&home.directory, "other");
    home.server.signal("HUP");
    home.server.wait_for_log("configuration reloaded");
    assert_eq!(home.get_as("other", &other, PATH), (200, "nohost\n".into()));
    assert_eq!(home.get_as("other", SECRET, PATH).0, 401);
    assert!(!home.server.log().contains(&SECRET[..9]), "{}", home.server.log());
}

#[test]
fn guesses_at_a_secret_are_slowed_like_those_at_a_password() {
    let home = home(SECRET);
    let guess = STANDARD.encode(b"another secret of that length");
    assert_eq!(home.get_as("router", &guess, PATH), (401, "badauth\n".into()));
    // The wait doubles, so before long a try comes while it lasts, however slow this machine is.
    let slowed = (0..8).any(|_| {
        home.get_as("router", &guess, PATH);
        home.get_as("router", SECRET, PATH) == (429, "abuse\n".into())
    });
    assert!(slowed);
}

#[test]
fn a_secret_that_might_be_guessed_is_no_password() {
    let home = home("c2VjcmV0");
    assert_eq!(home.get_as("router", "c2VjcmV0", PATH), (401, "badauth\n".into()));
    home.server.wait_for_log("the key's secret is too short");
}

#[test]
fn from_elsewhere_a_secret_comes_by_tls_as_curl_sends_it_and_unencrypted_it_is_refused() {
    // An address of this machine that is not of its loopback; where there is none, there is nothing to try.
    let outward = UdpSocket::bind("0.0.0.0:0").unwrap();
    let Some(address) = outward.connect("192.0.2.1:9").and_then(|()| outward.local_addr()).ok() else { return };
    let address = address.ip().to_string();
    if address.starts_with("127.") {
        return;
    }
    let tls =
        "[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\ndot-listen = []\ndoh-listen = []\ndoq-listen = []\n";
    let config = CONFIG.replace("127.0.0.1:0", &format!("{address}:0"));
    let config = config.replace("[[zone]]", &format!("listen = [\"{address}:0\"]\n[[zone]]"));
    let key = format!("[[key]]\nname = \"router\"\nsecret = \"{SECRET}\"\n");
    let made = rcgen::generate_simple_self_signed([address.clone()]).unwrap();
    let files = [("cert.pem", made.cert.pem()), ("key.pem", made.signing_key.serialize_pem())];
    let home = Home::among(&format!("{tls}{config}{key}"), &files);
    let line = home.server.wait_for_log("listening on HTTP over TLS address=");
    let door = line.split_once("address=").unwrap().1.trim();
    let certificate = home.directory.path().join("cert.pem");
    let (user, url) = (format!("router:{SECRET}"), format!("https://{door}{PATH}192.0.2.1"));
    let curl = ["-sS", "--max-time", "30", "--user", &user, "--cacert", certificate.to_str().unwrap(), &url];
    let Some(run) = run("curl", &curl, "") else { return };
    assert_eq!((run.out.as_str(), run.err.as_str()), ("good 192.0.2.1\n", ""));

    assert_eq!(home.get_as("router", SECRET, PATH), (401, "badauth\n".into()));
    home.server.wait_for_log("a key's secret came unencrypted; use HTTPS");
}
