//! Programs that people really use, each with a configuration as its manual has it.

use super::common::client::{Run, run};
use super::home::Home;

/// Writes a configuration and runs a program in its directory; `None` where it is not installed.
fn run_with(home: &Home, program: &str, config: &str, arguments: &[&str]) -> Option<Run> {
    let place = home.directory.path().join("client");
    std::fs::create_dir_all(&place).unwrap();
    let file = place.join("client.conf");
    std::fs::write(&file, config).unwrap();
    let place = |argument: &&str| argument.replace("PLACE", place.to_str().unwrap());
    let arguments: Vec<String> = arguments.iter().map(place).collect();
    run(program, &arguments.iter().map(String::as_str).collect::<Vec<_>>(), "")
}

/// The zone's records, as the server exports them.
fn exported(home: &Home) -> String {
    home.dyndns(&["zone", "export", "home.example", "--state-dir", "state"])
}

#[test]
fn ddclient_updates_a_host() {
    let home = Home::new();
    let Home { http, password, .. } = &home;
    let config = format!(
        "use=ip, ip=192.0.2.9\nprotocol=dyndns2\nserver={http}\nssl=no\nlogin=router\npassword='{password}'\n\
         router.home.example\n"
    );
    let arguments =
        ["-foreground", "-daemon=0", "-file", "PLACE/client.conf", "-cache", "PLACE/cache", "-verbose", "-noquiet"];
    let Some(run) = run_with(&home, "ddclient", &config, &arguments) else { return };
    assert!(format!("{run:?}").contains("updating router.home.example: good: IP address set to 192.0.2.9"), "{run:?}");
    assert!(exported(&home).contains("192.0.2.9"), "{}", exported(&home));
}

#[test]
fn inadyn_updates_a_host() {
    let home = Home::new();
    let Home { http, password, .. } = &home;
    let config = format!(
        "custom home {{\n    username = router\n    password = \"{password}\"\n    ddns-server = {http}\n    ssl = false\n\
         \x20   ddns-path = \"/nic/update?hostname=%h&myip=%i\"\n    hostname = router.home.example\n\
         \x20   checkip-command = \"echo 192.0.2.10\"\n}}\n"
    );
    let arguments = ["--once", "--foreground", "--config", "PLACE/client.conf", "--cache-dir=PLACE", "-C"];
    let Some(run) = run_with(&home, "inadyn", &config, &arguments) else { return };
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(exported(&home).contains("192.0.2.10"), "{run:?} {}", exported(&home));
}

#[test]
fn curl_updates_a_host() {
    let home = Home::new();
    let url = format!("http://{}/nic/update?hostname=nas.home.example&myip=192.0.2.1", home.http);
    let user = format!("router:{}", home.password);
    let Some(run) = run("curl", &["-sS", "--max-time", "30", "--user", &user, &url], "") else { return };
    assert_eq!(run.out, "good 192.0.2.1\n", "{run:?}");
}
