//! The command line as people meet it: the real binary, its output and its exit code.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is the failure to be seen")]

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const SECRET: &str = "c2VjcmV0IG9mIGxhcHRvcA==";

/// Runs the binary in `directory`, without what the environment might tell it.
fn dyndns(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dyndns"))
        .args(arguments)
        .current_dir(directory)
        .env_remove("STATE_DIRECTORY")
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Runs it and returns what it printed; it must succeed.
fn done(directory: &Path, arguments: &[&str]) -> String {
    let output = dyndns(directory, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    stdout(&output)
}

/// Runs it and returns its one line of error; it must end with `code`.
fn fails(directory: &Path, arguments: &[&str], code: i32) -> String {
    let output = dyndns(directory, arguments);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("error: "), "{text}");
    text.trim_start_matches("error: ").trim_end().to_string()
}

fn place() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn write(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Whether a program is there; one that is not is named.
fn installed(program: &str) -> bool {
    let there =
        Command::new("sh").args(["-c", &format!("command -v {program} >/dev/null")]).status().unwrap().success();
    if !there {
        eprintln!("skipped: {program} is not installed");
    }
    there
}

#[test]
fn help_names_the_commands_and_wrong_usage_ends_with_2() {
    let place = place();
    let help = done(place.path(), &["--help"]);
    for command in ["serve", "key", "zone", "generate"] {
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
    }
    assert!(done(place.path(), &["--version"]).starts_with("dyndns "));
    for arguments in
        [&[][..], &["--bogus"], &["bogus"], &["serve", "--listn", "x"], &["serve", "--listen", "x"], &["key"]]
    {
        let output = dyndns(place.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "wrong usage leaves nothing behind");
}

/// Without them a million hosts take more memory than README says; they come from `.cargo/config.toml`.
#[cfg(all(target_os = "linux", not(target_env = "msvc")))]
#[test]
fn the_allocator_has_its_settings() {
    let told = Command::new(env!("CARGO_BIN_EXE_dyndns"))
        .arg("--version")
        .env("_RJEM_MALLOC_CONF", "confirm_conf:true")
        .output()
        .unwrap();
    let told = stderr(&told);
    for setting in ["background_thread:true", "narenas:2", "dirty_decay_ms:1000"] {
        assert!(told.contains(&format!("Set conf value: {setting}")), "{told}");
    }
}

#[test]
fn a_key_is_made_for_its_owner_alone_whatever_the_umask() {
    for umask in ["000", "077", "777"] {
        let place = place();
        fs::create_dir_all(place.path().join("state/keys")).unwrap();
        let script = format!("umask {umask}; exec \"$0\" key generate --algorithm hmac-sha512 Laptop");
        let status = Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_dyndns")])
            .env_remove("STATE_DIRECTORY")
            .current_dir(place.path())
            .status()
            .unwrap();
        assert!(status.success(), "{umask}");
        let path = place.path().join("state/keys/laptop.key");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600, "{umask}");
        assert!(fs::read_to_string(&path).unwrap().contains("algorithm hmac-sha512;"));
    }
}

#[test]
fn a_new_key_directory_is_open_to_its_owner_alone() {
    let place = place();
    assert_eq!(done(place.path(), &["key", "generate", "laptop"]), "state/keys/laptop.key\n");
    let mode = fs::metadata(place.path().join("state/keys")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
}

#[test]
fn keys_are_listed_and_removed_without_showing_a_secret() {
    let place = place();
    done(place.path(), &["key", "generate", "laptop"]);
    let file = fs::read_to_string(place.path().join("state/keys/laptop.key")).unwrap();
    let secret = file.lines().find(|line| line.contains("secret")).unwrap().trim().to_string();
    assert_eq!(done(place.path(), &["key", "list"]), "laptop. hmac-sha256 state/keys/laptop.key\n");
    let error = fails(place.path(), &["key", "generate", "LAPTOP"], 1);
    assert_eq!(
        error,
        "cannot make key LAPTOP.: state/keys/laptop.key is there already; remove it first with: dyndns key remove LAPTOP"
    );
    assert!(fs::read_to_string(place.path().join("state/keys/laptop.key")).unwrap().contains(&secret));
    assert_eq!(done(place.path(), &["key", "remove", "laptop"]), "state/keys/laptop.key\n");
    assert_eq!(done(place.path(), &["key", "list"]), "");
    let error = fails(place.path(), &["key", "remove", "laptop"], 1);
    assert_eq!(error, "no key laptop. in state/keys; dyndns key list shows what is there");
    let error = fails(place.path(), &["key", "generate", "a/x"], 2);
    assert!(error.starts_with("key name a/x. is no file name; use letters, digits"), "{error}");
}

#[test]
fn a_key_for_standard_output_is_written_nowhere() {
    let place = place();
    let text = done(place.path(), &["key", "generate", "--stdout", "laptop"]);
    assert!(text.starts_with("key \"laptop\" {") && text.contains("secret \""), "{text}");
    assert_ne!(text, done(place.path(), &["key", "generate", "--stdout", "laptop"]));
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn keys_lie_where_the_configuration_says() {
    let place = place();
    // The grant names a key that is not there yet: making it must work all the same.
    write(
        place.path(),
        "dyndns.toml",
        "key-dir = \"k\"\n[[zone]]\nname = \"a.example\"\ngrants = [{ key = \"pc\", rule = \"zonesub\" }]\n",
    );
    let check = ["serve", "--check", "--config", "dyndns.toml", "--state-dir", "s"];
    assert_eq!(
        fails(place.path(), &check, 2),
        "cannot load config dyndns.toml:4: grant for key pc., which is not there; add a [[key]] or run: dyndns key generate pc (for HTTP: key add-http pc)"
    );
    assert_eq!(done(place.path(), &["key", "generate", "--config", "dyndns.toml", "pc"]), "k/pc.key\n");
    assert_eq!(done(place.path(), &check), "zone a.example: no file\nok: 1 zones, 1 keys\n");
}

/// Waits for a packet; a signal is no reason to give up.
fn received(socket: &UdpSocket, packet: &mut [u8]) -> usize {
    loop {
        match socket.recv(packet) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            length => return length.unwrap(),
        }
    }
}

#[test]
fn dig_and_nsupdate_sign_with_a_key_file_of_ours() {
    let place = place();
    done(place.path(), &["key", "generate", "laptop"]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // Far longer than a client needs, so that a silent one fails the test instead of hanging it.
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let port = socket.local_addr().unwrap().port();
    let update = format!("server 127.0.0.1 {port}\nzone a.example\nupdate add x.a.example 60 A 192.0.2.1\nsend\n");
    write(place.path(), "update", &update);
    let dig = format!("@127.0.0.1 -p {port} +tries=1 +time=1 a.example A");
    for (program, arguments) in [("dig", dig.as_str()), ("nsupdate", "-r 0 -t 1 -u 1 update")] {
        if !installed(program) {
            continue;
        }
        let mut client = Command::new(program)
            .args(["-k", "state/keys/laptop.key"])
            .args(arguments.split(' '))
            .current_dir(place.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut packet = [0; 1024];
        let length = received(&socket, &mut packet);
        let packet = &packet[..length];
        // The TSIG record: the key's name, type 250, class ANY, TTL 0; then the algorithm's name in its data.
        let head = b"\x06laptop\0\x00\xfa\x00\xff\x00\x00\x00\x00";
        let at = packet.windows(head.len()).position(|window| window == head);
        let data = &packet[at.unwrap_or_else(|| panic!("{program} did not sign")) + head.len() + 2..];
        assert!(data.starts_with(b"\x0bhmac-sha256\0"), "{program}");
        client.kill().unwrap();
        client.wait().unwrap();
    }
}

#[test]
fn an_error_in_the_configuration_is_one_line_with_file_and_line() {
    let place = place();
    write(place.path(), "c.toml", "udp-size = 1232\nlisen = []\n");
    assert_eq!(
        fails(place.path(), &["serve", "--config", "c.toml"], 2),
        "cannot load config c.toml:2: unknown key lisen; did you mean listen?"
    );
    assert_eq!(
        fails(place.path(), &["serve", "--config", "no.toml"], 2),
        "cannot load config no.toml: no such file or directory"
    );
    assert!(!place.path().join("state").exists());
}

#[test]
fn a_key_on_the_command_line_is_never_shown() {
    let place = place();
    for tsig in [
        format!("hmac-sha256:laptop:{SECRET}!"),
        format!("hmac-bogus:laptop:{SECRET}"),
        format!("{SECRET}:a..b:{SECRET}"),
        SECRET.to_string(),
    ] {
        let error = fails(place.path(), &["serve", "--tsig", &tsig], 2);
        assert!(error.starts_with("cannot use --tsig: ") && error.contains("key file"), "{error}");
        assert!(!error.contains(&SECRET[..8]), "{error}");
    }
    let output = dyndns(place.path(), &["serve", "--check", "--tsig", &format!("laptop:{SECRET}")]);
    assert!(output.status.success());
    let shown = stdout(&output) + &stderr(&output);
    assert!(shown.contains("warning: --tsig shows its secret") && !shown.contains(&SECRET[..8]), "{shown}");
}

#[test]
fn a_place_that_cannot_hold_the_state_is_an_error_that_says_what_to_do() {
    let place = place();
    write(place.path(), "file", "");
    let listen = ["--listen", "127.0.0.1:0", "--zone", "a.example"];
    for arguments in [["--state-dir", "file/state"], ["--pid-file", "file/pid"], ["--log-file", "file/log"]] {
        let output = dyndns(place.path(), &[&["serve"], &listen[..], &arguments[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let text = stderr(&output);
        let error = text.lines().find(|line| line.starts_with("error: ")).unwrap_or_else(|| panic!("{text}"));
        assert!(error.contains("not a directory") && error.contains("; "), "{error}");
    }
}

#[test]
fn check_reads_every_zone_file_and_changes_nothing() {
    let place = place();
    let zone = "@ 60 SOA ns hostmaster 1 2 3 4 5\n@ 60 NS ns\nns 60 A 192.0.2.1\n";
    write(place.path(), "zones/a.example.zone", zone);
    assert_eq!(
        done(place.path(), &["serve", "--check"]),
        "zone a.example: 3 records in zones/a.example.zone\nok: 1 zones, 0 keys\n"
    );
    assert_eq!(done(place.path(), &["zone", "check", "zones/a.example.zone"]), "ok: zone a.example, 3 records\n");
    assert!(!place.path().join("state").exists());

    write(place.path(), "zones/b.example.zone", &format!("{zone}x 60 A nonsense\nx 60 BANANA 1\n"));
    let error = fails(place.path(), &["serve", "--check"], 2);
    assert!(error.starts_with("cannot load zone b.example: zones/b.example.zone:4: "), "{error}");
    let output = dyndns(place.path(), &["zone", "check", "zones/b.example.zone"]);
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<String> = stderr(&output).lines().map(str::to_string).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(
        lines[0].starts_with("error: zones/b.example.zone:4: ")
            && lines[1].starts_with("error: zones/b.example.zone:5: ")
    );

    write(place.path(), "c.zone", &format!("$ORIGIN a.example.\n{zone}"));
    let output = dyndns(place.path(), &["zone", "check", "c.zone", "c.example"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("its SOA is at a.example, not at c.example"), "{}", stderr(&output));
}

#[test]
fn the_example_configuration_is_valid_as_it_is_and_with_its_examples() {
    let example = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/zones/dyndns.example.toml")).unwrap();
    let place = place();
    write(place.path(), "plain.toml", &example);
    let check = |config| done(place.path(), &["serve", "--check", "--config", config, "--state-dir", "state"]);
    assert_eq!(check("plain.toml"), "ok: 0 zones, 0 keys\n");

    let uncommented: Vec<&str> = example
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.is_empty() && !rest.starts_with(' ')).unwrap_or(line))
        .map(|line| line.strip_prefix("#    ").unwrap_or(line))
        .collect();
    assert!(!uncommented.iter().any(|line| line.starts_with('#') && line.contains(" = ")), "{uncommented:?}");
    write(place.path(), "whole.toml", &uncommented.join("\n").replace("/var/lib/dyndns/tls/", ""));
    let made = rcgen::generate_simple_self_signed(["ns.home.example".to_string()]).unwrap();
    write(place.path(), "cert.pem", &made.cert.pem());
    write(place.path(), "key.pem", &made.signing_key.serialize_pem());
    write(place.path(), "home.example.zone", "@ 60 SOA ns hostmaster 1 2 3 4 5\n@ 60 NS ns\nns 60 A 192.0.2.1\n");
    for key in ["operator", "customer", "laptop", "acme", "lab", "nas.home.example", "admin"] {
        done(place.path(), &["key", "generate", "--state-dir", "state", key]);
    }
    assert!(check("whole.toml").ends_with("ok: 3 zones, 7 keys\n"));
}

#[test]
fn the_man_pages_are_valid_roff() {
    let place = place();
    done(place.path(), &["generate", "man", "man/pages"]);
    let pages: Vec<_> =
        fs::read_dir(place.path().join("man/pages")).unwrap().map(|entry| entry.unwrap().path()).collect();
    for page in ["dyndns.1", "dyndns-serve.1", "dyndns-key-generate.1", "dyndns-zone-check.1", "dyndns.toml.5"] {
        assert!(pages.iter().any(|path| path.ends_with(page)), "{page} in {pages:?}");
    }
    if !installed("man") || !installed("groff") {
        return;
    }
    for page in pages {
        let output = Command::new("man")
            .args(["--warnings", "-E", "UTF-8", "-P", "cat", "-l"])
            .arg(&page)
            .env("MANWIDTH", "100")
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{}: {}", page.display(), stderr(&output));
        assert!(!output.stdout.is_empty());
    }
}

#[test]
fn the_manual_of_the_configuration_explains_every_option_of_the_example() {
    let place = place();
    done(place.path(), &["generate", "man", "."]);
    let manual = fs::read_to_string(place.path().join("dyndns.toml.5")).unwrap().replace("\\-", "-");
    for option in ["listen", "state-dir", "tcp-connections-per-address", "all-zones", "create-zones", "rule", "effect"]
    {
        assert!(manual.contains(&format!("\n.B {option}\n")), "{option}");
    }
}

#[test]
fn completions_are_made_for_every_shell() {
    let place = place();
    for shell in ["bash", "zsh", "fish"] {
        assert!(done(place.path(), &["generate", "completions", shell]).contains("state-dir"), "{shell}");
    }
    write(place.path(), "dyndns.bash", &done(place.path(), &["generate", "completions", "bash"]));
    if installed("bash") {
        assert!(Command::new("bash").args(["-n", "dyndns.bash"]).current_dir(place.path()).status().unwrap().success());
    }
}
