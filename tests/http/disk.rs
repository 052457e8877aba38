//! What the door says while nothing can be stored.

use super::common::disk::TestDisk;
use super::home::{CONFIG, Home};
use serde_json::json;

#[test]
fn on_a_tmpfs_without_room_the_door_says_911_shows_what_there_is_and_says_good_once_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = TestDisk::tmpfs(&directory.path().join("state"), 24) else { return };
    let grant = "{ key = \"router\", rule = \"name\", name = \"nas\", types = [\"A\", \"AAAA\", \"TXT\"] }";
    let config = CONFIG
        .replace("{ key = \"router\", rule = \"name\", name = \"nas\", types = [\"A\", \"AAAA\"] }", grant)
        .replace("[[zone]]", "acme-zone = \"auth.home.example\"\nacme-register-from = [\"127.0.0.1\"]\n[[zone]]");
    let home = Home::within(directory, &config, &[]);
    let path = "/nic/update?hostname=nas.home.example,x,router.home.example&myip=";
    assert_eq!(home.get(&format!("{path}192.0.2.1")), "good 192.0.2.1\nnotfqdn\ngood 192.0.2.1\n");
    disk.fill(0);
    // Until the room that the journal took before is used up.
    let set = "/api/v1/zones/home.example/records/nas.home.example/TXT";
    let body = |at: usize| {
        let values: Vec<String> = (0..50).map(|n| format!("\"{at} {n} {}\"", "x".repeat(200))).collect();
        json!({ "values": values }).to_string()
    };
    let refused =
        (0..5000).map(|at| home.send("PUT", set, &home.login(), &body(at))).find(|(status, _)| *status != 200);
    let (status, answer) = refused.unwrap();
    assert!(status == 503 && answer["error"].as_str().unwrap().contains("could not be made durable"), "{answer}");

    assert_eq!(home.get(&format!("{path}192.0.2.2")), "911\nnotfqdn\n911\n");
    assert_eq!(home.send("POST", "/register", "", ""), (500, json!({ "error": "db_error" })));
    let hosts = home.get("/");
    assert!(hosts.contains("192.0.2.1") && !hosts.contains("192.0.2.2"), "{hosts}");
    assert_eq!(home.send("PUT", set, &home.login(), &body(0)).0, 503);

    disk.make_room();
    assert_eq!(home.get(&format!("{path}192.0.2.3")), "good 192.0.2.3\nnotfqdn\ngood 192.0.2.3\n");
    assert_eq!(home.send("POST", "/register", "", "").0, 201);
    // Before the directory that it is mounted in.
    drop(disk);
}
