//! REST: what it does, and that it is what its description says.

use super::home::{CONFIG, Home, add_user};
use serde_json::{Value, json};

const RECORDS: &str = "/api/v1/zones/home.example/records";

fn home() -> Home {
    Home::new()
}

impl Home {
    fn api(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let answer = self.send(method, path, &self.login(), body);
        check(self, method, path, &answer);
        answer
    }
}

/// Holds an answer against the description.
fn check(home: &Home, method: &str, path: &str, (status, answer): &(u16, Value)) {
    let (_, description) = home.send("GET", "/api/v1/openapi.json", "", "");
    let parts: Vec<&str> = path.split('?').next().unwrap().split('/').collect();
    let matches = |pattern: &str| {
        let pattern: Vec<&str> = pattern.split('/').collect();
        pattern.len() == parts.len() && pattern.iter().zip(&parts).all(|(p, part)| p.starts_with('{') || p == part)
    };
    let paths = description["paths"].as_object().unwrap();
    let (_, methods) = paths.iter().find(|(pattern, _)| matches(pattern)).unwrap();
    let response = resolve(&description, &methods[method.to_lowercase()]["responses"][status.to_string()]);
    assert!(!response.is_null(), "{method} {path}: {status} is not described: {answer}");
    conforms(&description, &response["content"]["application/json"]["schema"], answer, path);
}

fn resolve<'d>(description: &'d Value, value: &'d Value) -> &'d Value {
    match value["$ref"].as_str() {
        Some(reference) => description.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        None => value,
    }
}

/// As much of JSON Schema as the description uses.
fn conforms(description: &Value, schema: &Value, value: &Value, place: &str) {
    let schema = resolve(description, schema);
    let kinds: Vec<&str> = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        kind => vec![kind.as_str().unwrap()],
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(kinds.contains(&kind), "{place}: {value} is no {kinds:?}");
    if let Value::Array(items) = value {
        items.iter().for_each(|item| conforms(description, &schema["items"], item, place));
    }
    if let (Value::Object(fields), Some(properties)) = (value, schema["properties"].as_object()) {
        for name in schema["required"].as_array().unwrap() {
            assert!(fields.contains_key(name.as_str().unwrap()), "{place}: no {name} in {value}");
        }
        for (name, field) in fields {
            let property = properties.get(name).unwrap_or_else(|| panic!("{place}: {name} is not described"));
            conforms(description, property, field, &format!("{place} {name}"));
        }
    }
}

#[test]
fn records_are_set_read_and_taken_away() {
    let home = home();
    let set = format!("{RECORDS}/nas.home.example/AAAA");
    assert_eq!(home.api("GET", &set, "").0, 404);
    let written = r#"{"ttl": 120, "values": ["2001:db8::2", "2001:db8::1"]}"#;
    assert_eq!(home.api("PUT", &set, written), (200, json!({ "serial": 2, "changed": true })));
    assert_eq!(home.api("PUT", &set, written), (200, json!({ "serial": 2, "changed": false })));
    let (_, read) = home.api("GET", &set, "");
    assert_eq!((&read["ttl"], read["values"].as_array().unwrap().len()), (&json!(120), 2));
    // Without a TTL the one that is there stays.
    home.api("PUT", &set, r#"{"values": ["2001:db8::3"]}"#);
    let expected = json!({ "name": "nas.home.example", "type": "AAAA", "ttl": 120, "values": ["2001:db8::3"] });
    assert_eq!(home.api("GET", &set, ""), (200, expected));
    assert_eq!(home.api("DELETE", &set, ""), (200, json!({ "serial": 4, "changed": true })));
    assert_eq!(home.api("GET", &set, "").0, 404);
}

#[test]
fn what_a_user_may_not_change_is_refused_with_the_reason() {
    let home = home();
    let (status, answer) = home.api("PUT", &format!("{RECORDS}/www.home.example/A"), r#"{"values": ["192.0.2.1"]}"#);
    assert_eq!(status, 403);
    let error = answer["error"].as_str().unwrap();
    assert!(error.contains("key router. may change") && error.contains("not A of www.home.example"), "{error}");
    for (path, body, status) in [
        ("nas.home.example/A", r#"{"values": ["x"]}"#, 422),
        ("nas.home.example/A", r#"{"values": []}"#, 422),
        ("nas.home.example/A", r#"{"values": ["192.0.2.1"], "tll": 5}"#, 400),
        ("nas.home.example/A", "{", 400),
        ("nas.home.example/NONSENSE", r#"{"values": ["192.0.2.1"]}"#, 422),
        ("nas.home.example/ANY", r#"{"values": ["192.0.2.1"]}"#, 422),
        ("nas.elsewhere.example/A", r#"{"values": ["192.0.2.1"]}"#, 422),
        ("nas.home.example/A", &format!(r#"{{"values": ["{}"]}}"#, "x".repeat(20_000)), 413),
    ] {
        assert_eq!(home.api("PUT", &format!("{RECORDS}/{path}"), body).0, status, "{path} {body}");
    }
    let zones = home.api("GET", "/api/v1/zones", "").1;
    assert_eq!(zones["zones"][0]["serial"], json!(1));
}

/// RFC 2136 section 3.4.2 silently skips what cannot stand; by HTTP "changed: false" would pass for "as asked".
#[test]
fn what_cannot_be_as_asked_is_refused_and_never_left_out_in_silence() {
    let config = CONFIG.replace(
        "{ key = \"router\", rule = \"name\", name = \"router\", types = [\"A\", \"AAAA\"] }",
        "{ key = \"router\", rule = \"zonesub\" }",
    );
    let home = Home::with(&format!(
        "{config}\n[[key]]\nname = \"router\"\nsecret = \"bWFrZSB5b3VyIG93biB3aXRoIGR5bmRucw==\"\nall-zones = true\n"
    ));
    let put = |set: &str, values: &[&str]| {
        home.api("PUT", &format!("{RECORDS}/{set}"), &json!({ "values": values }).to_string())
    };
    let changed = |answer: &(u16, Value)| (answer.0, answer.1["changed"].as_bool());
    assert_eq!(changed(&put("alias.home.example/CNAME", &["nas"])), (200, Some(true)));
    assert_eq!(changed(&put("nas.home.example/A", &["192.0.2.1"])), (200, Some(true)));
    for (set, values, status, word) in [
        ("alias.home.example/A", &["192.0.2.1"][..], 409, "alias.home.example has CNAME records and must not"),
        ("nas.home.example/CNAME", &["www"], 409, "nas.home.example has other records (A)"),
        ("www.home.example/CNAME", &["nas", "router"], 422, "one CNAME"),
        ("www.home.example/SOA", &["ns hm 9 2 3 4 5"], 422, "at the apex"),
        ("home.example/SOA", &["ns hm 1 2 3 4 5"], 422, "serial must come after 3"),
    ] {
        let (code, answer) = put(set, values);
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(code == status && error.contains(word), "{set}: {code} {answer}");
    }
    for rtype in ["SOA", "NS"] {
        let (code, answer) = home.api("DELETE", &format!("{RECORDS}/home.example/{rtype}"), "");
        assert!(code == 422 && answer["error"].as_str().unwrap().contains("a zone keeps its"), "{rtype}: {answer}");
    }
    assert_eq!(
        home.get("/nic/update?hostname=alias.home.example,nas.home.example&myip=192.0.2.1"),
        "dnserr\nnochg 192.0.2.1\n"
    );
    // The name servers of a zone become exactly those asked for.
    assert_eq!(changed(&put("home.example/NS", &["ns1", "ns2"])), (200, Some(true)));
    let (_, servers) = home.api("GET", &format!("{RECORDS}/home.example/NS"), "");
    assert_eq!(servers["values"], json!(["ns1.home.example.", "ns2.home.example."]));
    assert_eq!(changed(&put("home.example/NS", &["ns2", "ns1"])), (200, Some(false)));
    assert_eq!(changed(&put("home.example/SOA", &["ns hm 99 2 3 4 5"])), (200, Some(true)));
    assert_eq!(home.api("GET", "/api/v1/zones/home.example", "").1["serial"], json!(99));
}

#[test]
fn zones_and_their_records_are_for_those_who_may_change_something_in_them() {
    let config = format!("{CONFIG}\n[[zone]]\nname = \"other.example\"\n");
    let home = Home::with(&config);
    let expected = json!({ "zones": [{ "name": "home.example", "serial": 1, "names": 1 }], "next": null });
    assert_eq!(home.api("GET", "/api/v1/zones", ""), (200, expected));
    assert_eq!(home.api("GET", "/api/v1/zones/home.example", "").0, 200);
    for zone in ["other.example", "nowhere.example", "%20"] {
        for path in ["", "/records", "/history", "/records/a.other.example/A"] {
            assert_eq!(home.api("GET", &format!("/api/v1/zones/{zone}{path}"), "").0, 404, "{zone}{path}");
        }
    }
    let answer = home.send("GET", "/api/v1/zones", "", "");
    check(&home, "GET", "/api/v1/zones", &answer);
    assert_eq!(answer.0, 401);
}

#[test]
fn zones_come_by_pages() {
    let zones: String = ["b.example", "a.example", "c.a.example"]
        .map(|name| format!("[[zone]]\nname = \"{name}\"\ngrants = [{{ key = \"router\", rule = \"zonesub\" }}]\n"))
        .concat();
    let home = Home::with(&format!("{CONFIG}{zones}"));
    let (mut after, mut names) = (String::new(), Vec::new());
    loop {
        let (_, page) = home.api("GET", &format!("/api/v1/zones?max=1{after}"), "");
        names.extend(page["zones"].as_array().unwrap().iter().map(|zone| zone["name"].as_str().unwrap().to_string()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(names, ["a.example", "c.a.example", "b.example", "home.example"]);
    assert_eq!(home.api("GET", "/api/v1/zones?max=1001", "").0, 422);
}

/// The configuration where `router` may change every host.
fn whole() -> String {
    CONFIG.replace("grants = [", "grants = [\n    { key = \"router\", rule = \"zonesub\" },")
}

/// Only what is new is read, and it stands before what was read before.
#[test]
fn a_history_that_is_looked_at_again_and_again_is_whole_each_time() {
    let mut home = Home::with(&whole());
    let history = "/api/v1/zones/home.example/history";
    let serials = |home: &Home| -> Vec<u64> {
        let (_, answer) = home.api("GET", history, "");
        answer["commits"].as_array().unwrap().iter().map(|commit| commit["to"].as_u64().unwrap()).collect()
    };
    assert_eq!(serials(&home), [1]);
    for (serial, updates) in [(2, 1), (5, 3), (5, 0), (7, 2)] {
        for at in 0..updates {
            home.get(&format!("/nic/update?hostname=nas.home.example&myip=192.0.2.{}", serial * 10 + at));
        }
        assert_eq!(serials(&home), (1..=serial).rev().collect::<Vec<_>>());
    }
    home.server.kill9();
    home.restart();
    assert_eq!(serials(&home), [7, 6, 5, 4, 3, 2, 1]);
    // A zone that was taken away and begun anew comes to the same serials again, and its two lives are not mixed.
    home.dyndns(&["zone", "delete", "home.example", "--state-dir", "state"]);
    home.server.signal("HUP");
    home.server.wait_for_log("configuration reloaded");
    let mut serial = 1;
    for last in [7, 8] {
        while serial < last {
            home.get(&format!("/nic/update?hostname=nas.home.example&myip=192.0.2.{serial}"));
            serial += 1;
        }
        let (_, answer) = home.api("GET", history, "");
        let commits = answer["commits"].as_array().unwrap();
        let sequence: Vec<u64> = commits.iter().map(|commit| commit["sequence"].as_u64().unwrap()).collect();
        assert_eq!(sequence, (1..=8 + last).rev().collect::<Vec<_>>(), "{answer}");
        assert_eq!(commits[0]["to"], json!(last));
    }
}

/// Who may change one host does not learn who changes the others, nor what they were.
#[test]
fn of_the_history_each_sees_what_happened_to_the_names_at_which_it_may_change_something() {
    let config = CONFIG.replace("grants = [", "grants = [\n    { key = \"admin\", rule = \"zonesub\" },");
    let directory = tempfile::tempdir().unwrap();
    let password = add_user(&directory, "admin");
    let home = Home::within(directory, &config, &[]);
    let admin = |path: &str| home.get_as("admin", &password, path);
    assert_eq!(admin("/nic/update?hostname=other.home.example,nas.home.example&myip=192.0.2.7").0, 200);
    home.get("/nic/update?hostname=nas.home.example&myip=192.0.2.1");
    let history = "/api/v1/zones/home.example/history";
    let (_, answer) = home.api("GET", history, "");
    let commits = answer["commits"].as_array().unwrap();
    assert!(commits.len() == 2 && !answer.to_string().contains("other"), "{answer}");
    let (_, answer) = home.api("GET", &format!("{history}?name=other.home.example"), "");
    assert_eq!(answer["commits"], json!([]));
    assert!(admin(history).1.contains("other.home.example"));

    let hosts = home.get("/");
    assert!(hosts.contains("other.home.example") && !hosts.contains("http admin"), "{hosts}");
    let other = "/host/other.home.example";
    assert!(home.get(other).contains("router may change nothing here") && !home.get(other).contains("+ A"));
    assert!(home.get("/host/nas.home.example").contains("http admin"));
    assert!(admin(other).1.contains("+ A 192.0.2.7"));
}

#[test]
fn records_come_by_pages_and_by_filter_and_the_history_by_name() {
    let home = home();
    for (host, address) in [("nas", "192.0.2.1"), ("router", "192.0.2.2"), ("nas", "192.0.2.3")] {
        let set = format!("{RECORDS}/{host}.home.example/A");
        assert_eq!(home.api("PUT", &set, &format!(r#"{{"values": ["{address}"]}}"#)).0, 200);
    }
    let (_, first) = home.api("GET", &format!("{RECORDS}?type=A&max=1"), "");
    assert_eq!(first["records"][0]["name"], json!("nas.home.example"));
    let next = first["next"].as_str().unwrap();
    let (_, second) = home.api("GET", &format!("{RECORDS}?type=A&max=1&after={next}"), "");
    assert_eq!((&second["records"][0]["name"], &second["next"]), (&json!("router.home.example"), &Value::Null));
    let (_, filtered) = home.api("GET", &format!("{RECORDS}?filter=192.0.2.3"), "");
    assert_eq!(filtered["records"].as_array().unwrap().len(), 1);
    assert_eq!(home.api("GET", &format!("{RECORDS}?max=0"), "").0, 422);

    let history = "/api/v1/zones/home.example/history";
    let (_, all) = home.api("GET", history, "");
    assert_eq!(all["commits"].as_array().unwrap().len(), 3);
    let (_, nas) = home.api("GET", &format!("{history}?name=nas.home.example"), "");
    assert_eq!(nas["commits"].as_array().unwrap().len(), 2);
    let newest = &nas["commits"][0];
    assert_eq!((&newest["actor"], &newest["source"]), (&json!("http router."), &json!("127.0.0.1")));
    assert_eq!(
        (&newest["removed"][0]["value"], &newest["added"][0]["value"]),
        (&json!("192.0.2.1"), &json!("192.0.2.3"))
    );
}

#[test]
fn a_reader_of_records_may_come_by_token() {
    let home = home();
    let password = add_user(&home.directory, "nobody");
    home.server.signal("HUP");
    home.server.wait_for_log("configuration reloaded");
    let user = dyndns::config::HttpUser::random(dyndns::wire::Name::parse("nobody").unwrap(), 24).unwrap().0;
    let header = format!("Authorization: Bearer {}\r\n", user.token(&password).as_str());
    assert_eq!(home.send("GET", "/api/v1/zones", &header, ""), (200, json!({ "zones": [], "next": null })));
}
