//! What an operator gets beside the binary: the systemd unit, judged by the real systemd-analyze, and
//! scripts/install, run as a user runs it, into a directory of its own; and the README beside the
//! declarations that it describes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const BINARY: &str = env!("CARGO_BIN_EXE_dyndns");

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Everything the command printed, standard output first.
fn said(output: &Output) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&text).into_owned()
}

const UNITS: [&str; 5] =
    ["dyndns.service", "dyndns-agent.service", "dyndns-mesh.service", "dyndns-update.service", "dyndns-update.timer"];

#[test]
fn the_units_give_systemd_analyze_verify_nothing_to_say() {
    // verify wants the program to be there, so copies of the units name the one just built.
    let folder = tempfile::tempdir().unwrap();
    let copies = UNITS.map(|name| {
        let unit = std::fs::read_to_string(project(name)).unwrap();
        assert!(name.ends_with(".timer") || unit.contains("ExecStart=/usr/local/bin/dyndns "), "{name}");
        let copy = folder.path().join(name);
        std::fs::write(&copy, unit.replace("/usr/local/bin/dyndns", BINARY)).unwrap();
        copy
    });
    let output = Command::new("systemd-analyze").arg("verify").args(copies).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(said(&output), "");
}

#[test]
fn systemd_analyze_security_rates_the_services_below_two() {
    for name in UNITS.iter().filter(|name| name.ends_with(".service")) {
        let output = Command::new("systemd-analyze")
            .args(["security", "--no-pager", "--offline=true"])
            .arg(project(name))
            .output()
            .unwrap();
        let said = said(&output);
        let (_, rating) = said.split_once(&format!("Overall exposure level for {name}: ")).expect(&said);
        let rating: f64 = rating.split_whitespace().next().unwrap().parse().unwrap();
        assert!(rating < 2.0, "{name} is rated {rating}\n{said}");
    }
}

#[test]
fn the_agent_and_the_update_have_no_capability_and_hear_of_addresses() {
    for name in ["dyndns-agent.service", "dyndns-update.service"] {
        let unit = std::fs::read_to_string(project(name)).unwrap();
        for line in [
            "DynamicUser=yes",
            "CapabilityBoundingSet=",
            "ProtectSystem=strict",
            "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
        ] {
            assert!(unit.lines().any(|have| have == line), "{name} lacks {line}");
        }
    }
}

#[test]
fn the_unit_of_the_mesh_has_no_capability_and_does_what_its_file_says() {
    let unit = std::fs::read_to_string(project("dyndns-mesh.service")).unwrap();
    for line in [
        "Type=notify",
        "DynamicUser=yes",
        "StateDirectory=dyndns-mesh",
        "StateDirectoryMode=0700",
        "EnvironmentFile=-/etc/dyndns/mesh.env",
        "CapabilityBoundingSet=",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    ] {
        assert!(unit.lines().any(|have| have == line), "dyndns-mesh.service lacks {line}");
    }
}

#[test]
fn the_unit_has_one_capability_and_one_place_to_write() {
    let unit = std::fs::read_to_string(project("dyndns.service")).unwrap();
    for line in [
        "Type=notify",
        "DynamicUser=yes",
        "StateDirectory=dyndns",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
        "AmbientCapabilities=CAP_NET_BIND_SERVICE",
        "ProtectSystem=strict",
    ] {
        assert!(unit.lines().any(|have| have == line), "dyndns.service lacks {line}");
    }
    assert!(!unit.contains("ReadWritePaths"));
}

fn install(folder: &Path) -> std::io::Result<Output> {
    Command::new(project("scripts/install")).arg("--destdir").arg(folder).arg(BINARY).output()
}

fn read(folder: &Path, path: &str) -> String {
    std::fs::read_to_string(folder.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn install_twice_puts_everything_in_place_and_keeps_the_config() {
    let folder = tempfile::tempdir().unwrap();
    let first = install(folder.path()).unwrap();
    assert!(first.status.success(), "{}", said(&first));

    for unit in UNITS {
        let text = std::fs::read_to_string(project(unit)).unwrap();
        assert_eq!(read(folder.path(), &format!("usr/local/lib/systemd/system/{unit}")), text);
    }
    let agent = std::fs::read_to_string(project("zones/agent.example.toml")).unwrap();
    assert_eq!(read(folder.path(), "etc/dyndns/agent.toml.example"), agent);
    assert!(read(folder.path(), "usr/local/share/man/man5/dyndns-agent.toml.5").contains("check\\-every"));
    let example = std::fs::read_to_string(project("zones/dyndns.example.toml")).unwrap();
    assert_eq!(read(folder.path(), "etc/dyndns/dyndns.toml"), example);
    assert!(read(folder.path(), "usr/local/share/man/man1/dyndns.1").contains(".TH"));
    assert!(read(folder.path(), "usr/local/share/bash-completion/completions/dyndns").contains("dyndns"));
    assert!(read(folder.path(), "usr/local/share/zsh/site-functions/_dyndns").starts_with("#compdef dyndns"));
    assert!(
        read(folder.path(), "usr/local/share/fish/vendor_completions.d/dyndns.fish").contains("complete -c dyndns")
    );
    let version = Command::new(folder.path().join("usr/local/bin/dyndns")).arg("--version").output().unwrap();
    assert!(said(&version).starts_with("dyndns "), "{}", said(&version));

    // The operator edits the config; the old example goes stale.
    std::fs::write(folder.path().join("etc/dyndns/dyndns.toml"), "# mine\n").unwrap();
    std::fs::write(folder.path().join("etc/dyndns/dyndns.toml.example"), "# old\n").unwrap();
    let again = install(folder.path()).unwrap();
    assert!(again.status.success(), "{}", said(&again));
    assert_eq!(read(folder.path(), "etc/dyndns/dyndns.toml"), "# mine\n");
    assert_eq!(read(folder.path(), "etc/dyndns/dyndns.toml.example"), example);
    assert!(said(&again).contains("kept: "), "{}", said(&again));
}

#[test]
fn install_under_another_prefix_names_that_binary_in_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(project("scripts/install"))
        .args(["--prefix", "/opt/dyndns", "--destdir"])
        .arg(folder.path())
        .arg(BINARY)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let unit = read(folder.path(), "etc/systemd/system/dyndns.service");
    assert!(unit.contains("\nExecStart=/opt/dyndns/bin/dyndns serve "), "{unit}");
    assert!(folder.path().join("opt/dyndns/bin/dyndns").exists());
}

#[test]
fn install_refuses_a_binary_that_does_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let output =
        Command::new(project("scripts/install")).arg("--destdir").arg(folder.path()).arg("README.md").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("it does not run here"), "{}", said(&output));
    assert!(!folder.path().join("usr").exists());
}

#[test]
fn the_readme_names_every_option_of_the_configs() {
    let readme = std::fs::read_to_string(project("README.md")).unwrap();
    for section in dyndns::config::manual().into_iter().chain(dyndns::config::agent_manual()) {
        for option in section.options {
            let name = option.name;
            let written =
                [format!("`{name}`"), format!("`[[{name}]]`"), format!("`[{name}]`"), format!("`[agent.{name}]`")];
            assert!(written.iter().any(|name| readme.contains(name)), "{}: {}", section.title, option.name);
        }
    }
}

#[test]
fn the_readme_names_every_flag_of_serve_and_no_other() {
    let readme = std::fs::read_to_string(project("README.md")).unwrap();
    let table = readme.split("## Flags of `dyndns serve`").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut described: Vec<&str> = table.lines().filter_map(|line| line.strip_prefix("| `")).collect();
    described.iter_mut().for_each(|line| *line = line.split([' ', '`']).next().unwrap());
    let help = Command::new(BINARY).args(["serve", "--help"]).output().unwrap();
    let help = said(&help);
    let mut declared: Vec<&str> = help
        .lines()
        .map(|line| line.trim_start().trim_start_matches("-h, "))
        .filter(|line| line.starts_with("--") && !line.starts_with("--help"))
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    described.sort_unstable();
    declared.sort_unstable();
    assert_eq!(described, declared);
}
