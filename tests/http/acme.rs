//! acme-dns, by hand and by a client of its own author.

use super::common::client::run;
use super::common::exchange::Udp;
use super::common::message::{answers, query};
use super::home::{CONFIG, Home};
use dyndns::wire::Rtype;
use serde_json::{Value, json};
use std::path::Path;

/// Challenges are 43 characters.
fn challenge(digit: char) -> String {
    std::iter::repeat_n(digit, 43).collect()
}

fn home(more: &str) -> Home {
    Home::with(&CONFIG.replace("[[zone]]", &format!("acme-zone = \"auth.home.example\"\n{more}\n[[zone]]")))
}

fn register(home: &Home, headers: &str, body: &str) -> (u16, Value) {
    home.send("POST", "/register", headers, body)
}

fn update(home: &Home, account: &Value, txt: &str) -> (u16, Value) {
    let text = |field: &str| account[field].as_str().unwrap().to_string();
    let headers = format!("X-Api-User: {}\r\nX-Api-Key: {}\r\n", text("username"), text("password"));
    home.send("POST", "/update", &headers, &json!({ "subdomain": text("subdomain"), "txt": txt }).to_string())
}

/// How many challenges there are, and which.
fn challenges(home: &Home, account: &Value) -> (u16, String) {
    let answer = Udp::connect(home.server.v4()).ask(&query(7, account["fulldomain"].as_str().unwrap(), Rtype::TXT));
    (answers(&answer), String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn an_account_sets_its_challenges_and_the_two_newest_stay() {
    let home = home("");
    let (status, account) = register(&home, &home.login(), "");
    assert_eq!(status, 201, "{account}");
    let (subdomain, full) = (account["subdomain"].as_str().unwrap(), account["fulldomain"].as_str().unwrap());
    assert_eq!(full, format!("{subdomain}.auth.home.example"));
    assert_eq!((account["username"].as_str().unwrap().len(), account["password"].as_str().unwrap().len()), (36, 40));
    assert_eq!(account["allowfrom"], json!([]));

    for digit in ['1', '2', '3', '4'] {
        assert_eq!(update(&home, &account, &challenge(digit)), (200, json!({ "txt": challenge(digit) })));
    }
    let (count, text) = challenges(&home, &account);
    assert!(count == 2 && text.contains(&challenge('3')) && text.contains(&challenge('4')), "{count} {text}");
    let history = home.dyndns(&["zone", "history", "home.example", "--state-dir", "state"]);
    assert!(history.contains(&format!("by http {full}. from 127.0.0.1")), "{history}");
    assert!(!home.server.log().contains(account["password"].as_str().unwrap()));
}

#[test]
fn an_account_survives_a_restart_and_may_do_nothing_else() {
    let mut home = home("");
    let (_, account) = register(&home, &home.login(), "");
    let (user, password) = (account["fulldomain"].as_str().unwrap(), account["password"].as_str().unwrap());
    home.server.kill9();
    home.restart();
    assert_eq!(update(&home, &account, &challenge('5')).0, 200);
    for host in [user, "nas.home.example", "auth.home.example"] {
        let path = format!("/nic/update?hostname={host}&myip=192.0.2.1");
        assert_eq!(home.get_as(user, password, &path), (200, "nohost\n".into()), "{host}");
    }
}

#[test]
fn what_the_protocol_does_not_allow_is_answered_in_its_words() {
    let home = home("acme-register-from = [\"127.0.0.1\"]");
    let (status, account) = register(&home, "", r#"{"allowfrom": ["198.51.100.1/24"]}"#);
    assert_eq!((status, &account["allowfrom"]), (201, &json!(["198.51.100.1/24"])));
    let error = |error: &str| json!({ "error": error });
    // It may come from elsewhere only.
    assert_eq!(update(&home, &account, &challenge('1')), (401, error("forbidden")));
    assert_eq!(register(&home, "", r#"{"allowfrom": ["x"]}"#), (400, error("invalid_allowfrom_cidr")));
    assert_eq!(register(&home, "", "{"), (400, error("malformed_json_payload")));

    let (_, account) = register(&home, "", "{}");
    let with = |field: &str, value: &str| {
        let mut account = account.clone();
        account[field] = json!(value);
        account
    };
    assert_eq!(update(&home, &account, "short"), (400, error("bad_txt")));
    assert_eq!(update(&home, &account, &challenge('"')), (400, error("bad_txt")));
    assert_eq!(update(&home, &with("subdomain", "other"), &challenge('1')), (400, error("bad_subdomain")));
    assert_eq!(update(&home, &with("subdomain", "a.b"), &challenge('1')), (400, error("bad_subdomain")));
    assert_eq!(update(&home, &with("username", "router"), &challenge('1')), (401, error("forbidden")));
    assert_eq!(challenges(&home, &account).0, 0);
}

#[test]
fn nobody_registers_unasked() {
    let home = home("");
    assert_eq!(register(&home, "", "").0, 401);
    let off = Home::new();
    assert_eq!(register(&off, &off.login(), ""), (404, json!({ "error": "not_found" })));
}

#[test]
fn a_page_elsewhere_cannot_make_a_browser_register() {
    let home = home("acme-register-from = [\"127.0.0.1\"]");
    for header in
        ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: http://evil.example", "Origin: null"]
    {
        let header = format!("Content-Type: text/plain\r\n{header}\r\n");
        let expected = json!({ "error": "a page of another site asks for this; it is not done" });
        assert_eq!(register(&home, &header, "{}"), (403, expected), "{header}");
    }
    for header in ["Sec-Fetch-Site: same-origin", "Origin: http://h", "Sec-Fetch-Site: none"] {
        assert_eq!(register(&home, &format!("{header}\r\n"), "{}").0, 201, "{header}");
    }
}

#[test]
fn an_account_learns_nothing_of_zones_and_hosts() {
    let home = home("acme-register-from = [\"127.0.0.1\"]");
    let (_, account) = register(&home, "", "");
    let (user, password) = (account["fulldomain"].as_str().unwrap(), account["password"].as_str().unwrap());
    for path in ["/", "/api/v1/zones", "/api/v1/zones/home.example/records", "/host/home.example", "/metrics"] {
        let (_, text) = home.get_as(user, password, path);
        assert!(
            !text.replace(user, "").contains("\"home.example") && !text.contains("ns.home.example"),
            "{path}: {text}"
        );
    }
}

#[test]
fn the_client_of_acme_dns_by_pyacmedns_registers_and_updates() {
    let python = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pyacmedns/bin/python");
    let home = home("acme-register-from = [\"127.0.0.0/8\"]");
    let script = "
import sys, json, pyacmedns
client = pyacmedns.Client(sys.argv[1])
account = client.register_account(['127.0.0.0/8'])
client.update_txt_record(account, '1' * 43)
client.update_txt_record(account, '2' * 43)
print(json.dumps(account))
";
    let Some(run) = run(python.to_str().unwrap(), &["-c", script, &format!("http://{}", home.http)], "") else {
        return;
    };
    assert_eq!(run.code, Some(0), "{run:?}");
    let account: Value = serde_json::from_str(&run.out).unwrap();
    let (count, text) = challenges(&home, &account);
    assert!(count == 2 && text.contains(&challenge('1')) && text.contains(&challenge('2')), "{count} {text}");
}
