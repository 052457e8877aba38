//! The HTTP door of the real server: the dyndns2 protocol as routers speak it, and who comes in.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is the failure to be seen")]

#[path = "http/acme.rs"]
mod acme;
#[path = "http/api.rs"]
mod api;
#[path = "http/bounds.rs"]
mod bounds;
#[path = "http/clients.rs"]
mod clients;
mod common;
#[path = "http/disk.rs"]
mod disk;
#[path = "http/home.rs"]
mod home;
#[path = "http/keys.rs"]
mod keys;
#[path = "http/page.rs"]
mod page;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use home::{CONFIG, Home, add_user, dyndns};
use std::process::Command;

#[test]
fn each_host_gets_its_line_in_the_order_asked() {
    let home = Home::new();
    let path = "/nic/update?hostname=router.home.example,other.home.example,nas.home.example,x,a.elsewhere.example";
    assert_eq!(
        home.get(&format!("{path}&myip=192.0.2.1")),
        "good 192.0.2.1\nnohost\ngood 192.0.2.1\nnotfqdn\nnohost\n"
    );
    assert_eq!(home.get("/v3/update?hostname=router.home.example&myip=192.0.2.1"), "nochg 192.0.2.1\n");
    assert_eq!(home.get("/v3/update?hostname=router.home.example"), "good 127.0.0.1\n");
    assert_eq!(home.get("/nic/update?hostname="), "notfqdn\n");
    assert_eq!(home.get("/nic/update"), "notfqdn\n");
    let many = vec!["nas.home.example"; 21].join(",");
    assert_eq!(home.get(&format!("/nic/update?hostname={many}")), "numhost\n");
    assert_eq!(home.get("/nic/update?hostname=nas.home.example&myip=%3Cipaddr%3E"), "dnserr\n");
}

#[test]
fn what_is_no_host_is_not_fully_qualified_and_the_log_says_why_a_host_is_refused() {
    let config = CONFIG.replace(
        "{ key = \"router\", rule = \"name\", name = \"router\", types",
        "{ key = \"router\", rule = \"zonesub\", types",
    );
    let home = Home::with(&config);
    for host in [
        "http://x.home.example",
        "a%20b.home.example",
        "b%C3%BCcher.home.example",
        "a%5C.b.home.example",
        "x%00.home.example",
    ] {
        assert_eq!(home.get(&format!("/nic/update?hostname={host}&myip=192.0.2.1")), "notfqdn\n", "{host}");
    }
    for host in ["xn--bcher-kva.home.example", "*.home.example", "a_b.home.example", "1.home.example."] {
        assert_eq!(home.get(&format!("/nic/update?hostname={host}&myip=192.0.2.1")), "good 192.0.2.1\n", "{host}");
    }
    for address in ["255.255.255.255", "224.0.0.1", "ff02::1"] {
        let path = format!("/nic/update?hostname=nas.home.example&myip={address}");
        assert_eq!(home.get(&path), "dnserr\n", "{address}");
    }
    assert_eq!(home.get("/nic/update?hostname=a.elsewhere.example&myip=192.0.2.1"), "nohost\n");
    home.server.wait_for_log("update refused: a.elsewhere.example is in no zone here");
    home.server.wait_for_log("update refused: \"http://x.home.example\" is no host's name");
}

#[test]
fn nothing_is_kept_on_the_way_or_taken_for_what_it_is_not() {
    let home = Home::new();
    let paths =
        ["/", "/api/v1/zones", "/nic/update?hostname=nas.home.example", "/myip", "/metrics", "/nowhere", "/update"];
    for path in paths {
        for login in [String::new(), home.login()] {
            let head = home.head(&format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{login}\r\n"));
            for line in ["cache-control: no-store", "x-content-type-options: nosniff"] {
                assert!(head.lines().any(|have| have == line), "{path}: {line} in {head}");
            }
        }
    }
    let style = home.head("GET /style.css HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert!(!style.contains("no-store"), "{style}");
}

#[test]
fn one_kind_of_address_never_erases_the_other() {
    let home = Home::new();
    let host = "/nic/update?hostname=nas.home.example";
    // There is nothing yet that could have another prefix.
    assert_eq!(home.get(&format!("{host}&ip6lanprefix=2001:db8:1:2::/64")), "dnserr\n");
    home.server.wait_for_log("nas.home.example has no AAAA record that could take another prefix");
    assert_eq!(home.get(&format!("{host}&myip=2001:db8::53,192.0.2.1")), "good 192.0.2.1,2001:db8::53\n");
    assert_eq!(home.get(&format!("{host}&myip=192.0.2.2")), "good 192.0.2.2\n");
    assert_eq!(home.get(&format!("{host}&ip6lanprefix=2001:db8:1:2::/64")), "good 2001:db8:1:2::53\n");
    assert_eq!(home.get(&format!("{host}&myip=preserve&myipv6=preserve")), "nochg\n");
    // Two prefixes at once, as while one goes and the other comes: the host has one address in the new one.
    home.get(&format!("{host}&myipv6=2001:db8:8::53,2001:db8:9::53"));
    assert_eq!(home.get(&format!("{host}&ip6lanprefix=2001:db8:1:2::/64")), "good 2001:db8:1:2::53\n");
    let zone = home.dyndns(&["zone", "export", "home.example", "--state-dir", "state"]);
    assert!(zone.contains("192.0.2.2") && zone.contains("2001:db8:1:2::53"), "{zone}");
    assert!(!zone.contains("192.0.2.1\n") && !zone.contains("2001:db8::53"), "{zone}");
    let history = home.dyndns(&["zone", "history", "home.example", "--state-dir", "state"]);
    assert!(history.contains("http router") && history.contains("127.0.0.1"), "{history}");
}

#[test]
fn an_update_by_post_is_read_from_its_body() {
    let home = Home::new();
    let token = STANDARD.encode(format!("router:{}", home.password));
    let body = "hostname=nas.home.example&myip=192.0.2.7";
    let post = |length: usize, body: &str| {
        home.ask(&format!(
            "POST /nic/update HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: Basic {token}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ))
    };
    assert_eq!(post(body.len(), body), (200, "good 192.0.2.7\n".into()));
    assert_eq!(post(20_000, &"x".repeat(20_000)).0, 413);
}

#[test]
fn wrong_passwords_are_slowed_and_dns_answers_meanwhile() {
    let home = Home::new();
    let path = "/nic/update?hostname=nas.home.example&myip=192.0.2.1";
    assert_eq!(
        home.ask(&format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")),
        (401, "badauth\n".into())
    );
    // The wait doubles, so before long a guess comes while it lasts, however slow this machine is.
    let slowed = (0..8).any(|_| home.get_as("router", "guess", path) == (429, "abuse\n".into()));
    assert!(slowed);
    // Passwords do not come into the log.
    assert!(!home.server.log().contains("guess"), "{}", home.server.log());
    // home.example SOA IN.
    let query = b"\x12\x34\0\0\0\x01\0\0\0\0\0\0\x04home\x07example\0\0\x06\0\x01";
    let answer = common::exchange::Udp::connect(home.server.v4()).ask(query);
    assert_eq!((&answer[..2], answer[3] & 15), (&b"\x12\x34"[..], 0));
}

#[test]
fn the_address_and_the_health_are_told_to_everybody() {
    let home = Home::new();
    let ask = |path: &str| home.ask(&format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    assert_eq!(ask("/myip"), (200, "127.0.0.1\n".into()));
    assert_eq!(ask("/healthz"), (200, "ok\n".into()));
    assert_eq!(ask("/elsewhere").0, 404);
}

#[test]
fn the_metrics_are_for_users_and_for_those_who_are_listed() {
    let home = Home::new();
    assert_eq!(home.ask("GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").0, 401);
    home.get("/nic/update?hostname=nas.home.example&myip=192.0.2.1");
    let text = home.get("/metrics");
    for line in [
        "dyndns_updates_applied_total 1",
        "dyndns_http_requests_total{status=\"4xx\"} 1",
        "dyndns_zone_serial{zone=\"home.example\"} 2",
        "dyndns_zones 1",
    ] {
        assert!(text.lines().any(|have| have == line), "{line} in {text}");
    }
    let config = CONFIG.replace("[[zone]]", "metrics-from = [\"127.0.0.1\"]\n[[zone]]");
    // A user's own zones, and no other.
    let hidden = Home::with(&format!("{CONFIG}\n[[zone]]\nname = \"hidden.example\"\n"));
    let text = hidden.get("/metrics");
    assert!(text.contains("zone=\"home.example\"") && !text.contains("hidden.example"), "{text}");
    assert_eq!(Home::with(&config).ask("GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").0, 200);
}

#[test]
fn a_user_made_while_the_server_runs_comes_in_after_a_reload() {
    let home = Home::new();
    let password = add_user(&home.directory, "nobody");
    home.server.signal("HUP");
    home.server.wait_for_log("configuration reloaded");
    let answer = home.get_as("nobody", &password, "/nic/update?hostname=nas.home.example&myip=192.0.2.1");
    assert_eq!(answer, (200, "nohost\n".into()));
}

#[test]
fn a_token_is_as_good_as_user_and_password() {
    let home = Home::new();
    let token = dyndns(&home.directory, &["key", "add-http", "second", "--token", "--state-dir", "state"]);
    let token = token.trim();
    home.server.signal("HUP");
    home.server.wait_for_log("configuration reloaded");
    let path = "/nic/update?hostname=nas.home.example&myip=192.0.2.1";
    let bearer =
        format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n");
    assert_eq!(home.ask(&bearer), (200, "nohost\n".into()));
    let parameter = format!("GET {path}&token={token} HTTP/1.0\r\n\r\n");
    assert_eq!(home.ask(&parameter), (200, "nohost\n".into()));
    assert!(!home.server.log().contains(token), "{}", home.server.log());
}

#[test]
fn a_user_that_is_removed_comes_in_no_more() {
    let home = Home::new();
    let path = "/nic/update?hostname=nas.home.example&myip=192.0.2.1";
    assert_eq!(home.get(path), "good 192.0.2.1\n");
    assert!(home.dyndns(&["key", "list", "--state-dir", "state"]).contains("router. http state/keys/router.http"));
    // Its grants would have no key then, and a server that does not reload lets it in: whoever removes it is told.
    let mut command = Command::new(env!("CARGO_BIN_EXE_dyndns"));
    command.args(["key", "remove-http", "router", "--config", "dyndns.toml"]).current_dir(home.directory.path());
    let said = String::from_utf8(command.env_remove("STATE_DIRECTORY").output().unwrap().stderr).unwrap();
    let until =
        "lets router. in until it reloads, and it will not before this is mended: cannot load config dyndns.toml:";
    assert!(said.contains(until) && said.contains("grant for key router., which is not there"), "{said}");
    // Another one of that name may be there.
    home.dyndns(&["key", "generate", "router", "--state-dir", "state"]);
    home.server.signal("HUP");
    home.server.wait_for_log("configuration reloaded");
    assert_eq!(home.get_as("router", &home.password, path), (401, "badauth\n".into()));
}

#[test]
fn a_page_elsewhere_cannot_make_a_browser_change_an_address() {
    let home = Home::new();
    let token = STANDARD.encode(format!("router:{}", home.password));
    let request = |header: &str| {
        home.ask(&format!(
            "GET /nic/update?hostname=nas.home.example&myip=192.0.2.1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\
             Authorization: Basic {token}\r\n{header}\r\n\r\n"
        ))
    };
    for header in ["Sec-Fetch-Site: cross-site", "Origin: http://evil.example", "Referer: http://evil.example/h"] {
        assert_eq!(request(header), (403, "badagent\n".into()), "{header}");
    }
    for (header, word) in [("Sec-Fetch-Site: none", "good"), ("Referer: http://h/", "nochg")] {
        assert_eq!(request(header), (200, format!("{word} 192.0.2.1\n")), "{header}");
    }
}

#[test]
fn behind_a_trusted_proxy_its_word_counts_and_else_the_header_is_ignored() {
    let forwarded = |home: &Home| {
        home.ask(
            "GET /myip HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Forwarded-For: 203.0.113.9, 2001:db8::7\r\n\r\n",
        )
    };
    let home = Home::new();
    for _ in 0..2 {
        assert_eq!(forwarded(&home), (200, "127.0.0.1\n".into()));
    }
    home.server.wait_for_log("X-Forwarded-For from 127.0.0.1 ignored; if a proxy is there, write trusted-proxies");
    assert_eq!(home.server.log().matches("X-Forwarded-For").count(), 1);
    let config = CONFIG.replace("[[zone]]", "trusted-proxies = [\"127.0.0.0/8\"]\n[[zone]]");
    assert_eq!(forwarded(&Home::with(&config)), (200, "2001:db8::7\n".into()));
}

#[test]
fn curl_updates_a_host_over_tls_with_the_certificate_of_the_encrypted_transports() {
    let tls =
        "[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\ndot-listen = []\ndoh-listen = []\ndoq-listen = []\n";
    let config = format!("{tls}{}", CONFIG.replace("[[zone]]", "listen = [\"127.0.0.1:0\"]\n[[zone]]"));
    let made = rcgen::generate_simple_self_signed(["door.example".to_string()]).unwrap();
    let home = Home::among(&config, &[("cert.pem", made.cert.pem()), ("key.pem", made.signing_key.serialize_pem())]);
    let line = home.server.wait_for_log("listening on HTTP over TLS address=127.0.0.1:");
    let port = line.rsplit(':').next().unwrap().trim();
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "30", "--resolve", &format!("door.example:{port}:127.0.0.1"), "--cacert"])
        .arg(home.directory.path().join("cert.pem"))
        .args(["--user", &format!("router:{}", home.password)])
        .arg(format!("https://door.example:{port}/nic/update?hostname=nas.home.example&myip=2001:db8::1"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "good 2001:db8::1\n");
}
