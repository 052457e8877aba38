//! The page for people, as it comes and as a browser shows it.

use super::home::{CONFIG, Home};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A server with hosts of two zones, one of which `router` does not see.
fn home() -> Home {
    let config = CONFIG.replace(
        "grants = [",
        "grants = [\n    { key = \"router\", rule = \"subdomain\", name = \"home.example\", types = [\"A\", \"AAAA\", \"TXT\"] },",
    );
    let home = Home::with(&format!("{config}\n[[zone]]\nname = \"hidden.example\"\n"));
    home.get("/nic/update?hostname=nas.home.example&myip=192.0.2.1,2001:db8:41a0:52a:1234:5678:9abc:def0");
    home.get("/nic/update?hostname=router.home.example&myip=192.0.2.2");
    home.get("/nic/update?hostname=router.home.example&myip=192.0.2.3");
    let text = r#"{"values": ["\"<script>alert(1)</script>\""]}"#;
    let path = "/api/v1/zones/home.example/records/note.home.example/TXT";
    assert_eq!(home.send("PUT", path, &home.login(), text).0, 200);
    home
}

#[test]
fn the_page_shows_hosts_and_their_history_to_users_alone() {
    let home = home();
    let hosts = home.get("/");
    assert!(hosts.contains("nas.home.example") && hosts.contains("192.0.2.3"), "{hosts}");
    assert!(!hosts.contains("192.0.2.2<") && !hosts.contains("hidden.example") && !hosts.contains("note."), "{hosts}");
    assert!(hosts.contains("http router <span class=source>from 127.0.0.1"), "{hosts}");
    let filtered = home.get("/?filter=NAS");
    assert!(filtered.contains("nas.home.example") && !filtered.contains("router.home.example"), "{filtered}");
    let all = home.get("/?all=1");
    assert!(all.contains("note.home.example") && !all.contains("<script"), "{all}");
    let history = home.get("/host/router.home.example");
    assert!(history.contains("− A 192.0.2.2") && history.contains("+ A 192.0.2.3"), "{history}");
    let escaped = home.get("/host/note.home.example");
    assert!(escaped.contains("&lt;script&gt;") && !escaped.contains("<script"), "{escaped}");

    assert_eq!(home.get_as("router", &home.password, "/host/x.hidden.example").0, 404);
    assert_eq!(home.get_as("router", &home.password, "/host/%3Cscript%3E").0, 404);
    let stranger = home.ask("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert!(stranger.0 == 401 && !stranger.1.contains("home.example"), "{stranger:?}");
}

#[test]
fn many_hosts_come_by_pages() {
    let home = home();
    for part in 0..6 {
        let hosts: Vec<String> = (0..20).map(|at| format!("h{:03}.home.example", part * 20 + at)).collect();
        home.get(&format!("/nic/update?hostname={}&myip=192.0.2.9", hosts.join(",")));
    }
    let first = home.get("/");
    assert_eq!(first.matches("class=host>").count(), 100, "{first}");
    let next = first.split("<p class=next><a href=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
    let second = home.get(&next);
    assert_eq!(second.matches("class=host>").count(), 22, "{second}");
    assert!(!second.contains("class=next"), "{second}");
}

/// A zone below another of the user's is no part of it, and each host comes once, however many pages there are.
#[test]
fn pages_go_on_from_zone_to_zone_below_one_another() {
    let below = |name: &str| {
        format!("[[zone]]\nname = \"{name}\"\ngrants = [{{ key = \"router\", rule = \"zonesub\", types = [\"A\"] }}]\n")
    };
    let names = ["a.example", "sub.a.example", "x.sub.a.example", "z.example"];
    let empty: String = (0..120).map(|at| below(&format!("e{at:03}.empty.example"))).collect();
    let zones: String = names.iter().map(|name| below(name)).collect();
    let home = Home::with(&format!("{CONFIG}{zones}{empty}"));
    for zone in names {
        for part in 0..4 {
            let hosts: Vec<String> = (0..20).map(|at| format!("h{:03}.{zone}", part * 20 + at)).collect();
            home.get(&format!("/nic/update?hostname={}&myip=192.0.2.9", hosts.join(",")));
        }
    }
    let (mut next, mut hosts, mut headings) = (Some("/?filter=".to_string()), Vec::new(), Vec::new());
    for _ in 0..20 {
        let Some(path) = next else { break };
        let text = home.get(&path);
        let between = |text: &str, end: &str| text.split(end).next().unwrap().to_string();
        let rows: Vec<String> = text.split("<a href=\"/host/").skip(1).map(|rest| between(rest, "\"")).collect();
        let zones: Vec<String> = text.split("<section><h2>").skip(1).map(|rest| between(rest, " ")).collect();
        assert!(rows.len() <= 100 && zones.len() <= 100, "{} rows, {} zones at {path}", rows.len(), zones.len());
        hosts.extend(rows);
        headings.extend(zones);
        next = text.split("<p class=next><a href=\"").nth(1).map(|rest| between(rest, "\"").replace("&amp;", "&"));
    }
    assert_eq!(next, None);
    assert_eq!(hosts.len(), 4 * 80, "{hosts:?}");
    hosts.sort();
    hosts.dedup();
    assert_eq!(hosts.len(), 4 * 80);
    headings.sort();
    headings.dedup();
    assert_eq!(headings.len(), 4 + 120 + 1, "{headings:?}");
}

/// The pictures are kept in target/tmp/page for whoever wants to look at them.
#[test]
fn the_page_is_shown_by_chromium_on_a_desk_and_on_a_phone_light_and_dark() {
    let home = home();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    std::fs::create_dir_all(&folder).unwrap();
    let profile = tempfile::tempdir().unwrap();
    let show = |name: &str, path: &str, width: u32, scheme: u8| -> Option<PathBuf> {
        let file = folder.join(format!("{name}.png"));
        let _ = std::fs::remove_file(&file);
        let url = format!("http://router:{}@{}{path}", home.password, home.http);
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            &format!("--user-data-dir={}", profile.path().display()),
            &format!("--blink-settings=preferredColorScheme={scheme}"),
            &format!("--window-size={width},900"),
            &format!("--screenshot={}", file.display()),
            &url,
        ];
        // What a browser leaves at home goes with its profile.
        let output = Command::new("chromium").args(arguments).env("HOME", profile.path()).output();
        let Ok(output) = output else {
            eprintln!("skipped: chromium is not installed");
            return None;
        };
        assert!(file.exists(), "{output:?}");
        Some(file)
    };
    for (page, path) in [("hosts", "/"), ("host", "/host/router.home.example")] {
        for width in [1280, 390] {
            let pictures = [("light", 1), ("dark", 0)].map(|(scheme, number)| {
                let file = show(&format!("{page}-{width}-{scheme}"), path, width, number)?;
                Some(std::fs::read(file).unwrap())
            });
            let [Some(light), Some(dark)] = pictures else { return };
            // PNG: the width stands at octet 16.
            assert_eq!(light[16..20], width.to_be_bytes());
            assert!(light != dark, "{page} {width}");
        }
    }
}
