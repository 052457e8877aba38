//! Reads src/ and holds it to the module rules.
//!
//! The rules, by number: 2 what the core may not touch; 4 the order of the core's modules; 5 query,
//! update and transfer keep apart; 6 where hickory may be named; 7 where tokio, sled, clap and
//! unsafe may stand; 8 what the store may import; 22 how long a file may be. Code under
//! `#[cfg(test)]` is exempt: a unit test may open a file.
//!
//! It works on tokens, not on a syntax tree: every path in the text (`use` groups taken apart,
//! `super` and `self` resolved) is compared with the rules. [`check`] is a function of path and
//! text, so the rules are tried on bad samples at the end of this file.

use std::path::Path;

/// One place that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
struct Breach {
    /// `src/zone/lookup.rs:14`.
    place: String,
    rule: u8,
    text: String,
}

impl std::fmt::Display for Breach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: rule {}: {}", self.place, self.rule, self.text)
    }
}

/// The core with its order (rule 4): a module imports only what stands lower.
const CORE: [(&str, u8); 8] =
    [("wire", 0), ("zone", 1), ("tsig", 2), ("query", 3), ("update", 3), ("transfer", 3), ("mesh", 4), ("agent", 4)];
const EDGE: [&str; 5] = ["store", "server", "link", "sys", "cli"];
/// Rule 5: these three share a level and still do not know each other.
const APART: [&str; 3] = ["query", "update", "transfer"];
/// Rule 2: crates that do IO or log, and the sockets of std.
const NOT_IN_CORE: [&str; 7] = ["tokio", "sled", "clap", "tracing", "tracing_subscriber", "hickory_server", "mdns_sd"];
const SOCKETS: [&str; 6] = ["TcpStream", "TcpListener", "UdpSocket", "ToSocketAddrs", "UnixStream", "UnixDatagram"];
/// Rule 22.
const LONGEST: usize = 500;

fn core_level(module: &str) -> Option<u8> {
    CORE.iter().find(|(name, _)| *name == module).map(|(_, level)| *level)
}

/// All breaches in one file; `path` is relative to the crate, `src/zone/lookup.rs`.
fn check(path: &str, text: &str) -> Vec<Breach> {
    let module = module_of(path);
    let top = module.first().map_or("", String::as_str);
    let code = without_tests(&without_comments_and_strings(text));
    let tokens = tokens(&code);
    let mut breaches = Vec::new();
    let mut breach = |line: usize, rule: u8, text: String| {
        let found = Breach { place: format!("{path}:{line}"), rule, text };
        if !breaches.contains(&found) {
            breaches.push(found);
        }
    };

    for (line, found) in paths(&tokens, &module) {
        let first = found.first().map_or("", String::as_str);
        let second = found.get(1).map_or("", String::as_str);
        let written = found.join("::");
        if first == "crate" && second != top {
            own_module_rules(top, second, &mut |rule, text| breach(line, rule, text));
        }
        if core_level(top).is_some() {
            let io = NOT_IN_CORE.contains(&first)
                || (first == "std" && second == "fs")
                || found.iter().any(|segment| SOCKETS.contains(&segment.as_str()));
            if io {
                breach(
                    line,
                    2,
                    format!("{top} is core and does no IO and no logging, but names {written}; move that to the edge"),
                );
            }
        }
        foreign_crate_rules(path, top, first, &mut |rule, text| breach(line, rule, text));
    }
    for (line, token) in &tokens {
        if token == "unsafe" && top != "sys" {
            breach(*line, 7, format!("unsafe stands only in sys, not in {}", named(top)));
        }
    }
    if let Some((lines, at)) = too_long(text, &code) {
        let text = format!(
            "{lines} lines without tests, {LONGEST} allowed; split the file, or say in the first paragraph of its module docs why it is long"
        );
        breach(at, 22, text);
    }
    breaches
}

/// Rules 2, 4, 5 and 8: which modules of this crate `top` may name.
fn own_module_rules(top: &str, other: &str, breach: &mut dyn FnMut(u8, String)) {
    if let Some(level) = core_level(top) {
        if EDGE.contains(&other) || other == "config" {
            breach(2, format!("{top} is core and never imports the edge, but names crate::{other}"));
        }
        if core_level(other).is_some_and(|theirs| theirs > level) {
            breach(4, format!("{top} stands below {other} and must not import it"));
        }
        if APART.contains(&top) && APART.contains(&other) {
            breach(5, format!("{top} and {other} do not import each other; server connects them"));
        }
    }
    let module =
        core_level(other).is_some() || EDGE.contains(&other) || matches!(other, "config" | "error" | "metrics");
    if top == "store" && module && !matches!(other, "zone" | "wire") {
        breach(8, format!("store imports zone and wire only, but names crate::{other}"));
    }
}

/// Rules 6 and 7: which foreign crates the file at `path` may name.
fn foreign_crate_rules(path: &str, top: &str, first: &str, breach: &mut dyn FnMut(u8, String)) {
    let here = named(top);
    let adapter = path == "src/server/secure.rs" || path.starts_with("src/server/secure/");
    match first {
        "hickory_proto" => {
            let text = path == "src/zone/text.rs" || path.starts_with("src/zone/text/");
            if !(matches!(top, "wire" | "tsig") || text || adapter) {
                breach(
                    6,
                    format!("hickory_proto is named only in wire, tsig, zone::text and server::secure, not in {here}"),
                );
            }
        }
        "hickory_server" if !adapter => {
            breach(6, format!("hickory_server is named only in server::secure, not in {here}"))
        }
        "tokio" if !matches!(top, "server" | "link" | "cli") => {
            breach(7, format!("tokio is named only in server, link and cli, not in {here}"));
        }
        "sled" if path != "src/store/table.rs" => {
            breach(7, format!("sled is named only in src/store/table.rs, not in {path}"))
        }
        "clap" | "clap_mangen" | "clap_complete" if top != "cli" => {
            breach(7, format!("{first} is named only in cli, not in {here}"));
        }
        _ => {}
    }
}

fn named(top: &str) -> &str {
    if top.is_empty() { "the crate root" } else { top }
}

/// `src/zone/lookup.rs` is `[zone, lookup]`; `src/zone/mod.rs` and `src/zone.rs` are `[zone]`.
fn module_of(path: &str) -> Vec<String> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    let mut module: Vec<String> = inner.split('/').map(str::to_owned).collect();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        module.pop();
    }
    module
}

/// The text with comments, strings and character literals blanked; lines stay where they are.
fn without_comments_and_strings(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = String::with_capacity(text.len());
    let blank = |out: &mut String, from: usize, to: usize| {
        out.extend(chars.iter().take(to).skip(from).map(|c| if *c == '\n' { '\n' } else { ' ' }));
    };
    let mut i = 0;
    while i < chars.len() {
        let start = i;
        let after_word = i > 0 && word(at(i - 1));
        // r"..", r#".."#, br".." and cr"..": no escapes, ends at the quote with as many hashes.
        let prefix = match (at(i), at(i + 1)) {
            ('r', _) if !after_word => 1,
            ('b' | 'c', 'r') if !after_word => 2,
            _ => 0,
        };
        let hashes = (0..).take_while(|n| at(i + prefix + n) == '#').count();
        if at(i) == '/' && at(i + 1) == '/' {
            while i < chars.len() && at(i) != '\n' {
                i += 1;
            }
        } else if at(i) == '/' && at(i + 1) == '*' {
            let mut depth = 1;
            i += 2;
            while i < chars.len() && depth > 0 {
                match (at(i), at(i + 1)) {
                    ('/', '*') => (depth, i) = (depth + 1, i + 2),
                    ('*', '/') => (depth, i) = (depth - 1, i + 2),
                    _ => i += 1,
                }
            }
        } else if prefix > 0 && at(i + prefix + hashes) == '"' {
            i += prefix + hashes + 1;
            while i < chars.len() && !(at(i) == '"' && (0..hashes).all(|n| at(i + 1 + n) == '#')) {
                i += 1;
            }
            i += 1 + hashes;
        } else if at(i) == '"' {
            i += 1;
            while i < chars.len() && at(i) != '"' {
                i += if at(i) == '\\' { 2 } else { 1 };
            }
            i += 1;
        } else if at(i) == '\'' && at(i + 1) == '\\' {
            i += 3;
            while i < chars.len() && at(i) != '\'' {
                i += 1;
            }
            i += 1;
        } else if at(i) == '\'' && at(i + 2) == '\'' {
            i += 3;
        } else {
            out.push(at(i));
            i += 1;
            continue;
        }
        i = i.min(chars.len());
        blank(&mut out, start, i);
    }
    out
}

/// The text with every item under `#[cfg(test)]` blanked: up to its `;`, or over its braces.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(start) = rest.find(MARK) {
        out.push_str(&rest[..start]);
        let mut depth = 0_u32;
        let mut end = rest.len();
        for (i, c) in rest[start..].char_indices().skip(MARK.len()) {
            match c {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 && matches!(c, '}' | ';') {
                end = start + i + c.len_utf8();
                break;
            }
        }
        out.extend(rest[start..end].chars().filter(|c| *c == '\n'));
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

/// Words, `::` and single signs, each with its line.
fn tokens(code: &str) -> Vec<(usize, String)> {
    let mut tokens = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(c) = rest.chars().next() {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let length = match word {
                0 if rest.starts_with("::") => 2,
                0 => c.len_utf8(),
                n => n,
            };
            tokens.push((number + 1, rest[..length].to_owned()));
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

/// Every path that the tokens name, in full: `use crate::{zone::Zone, wire}` gives two. A lone word
/// counts only after `use` or `crate` (`extern crate`).
fn paths(tokens: &[(usize, String)], module: &[String]) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let back = |n: usize| i.checked_sub(n).and_then(|i| tokens.get(i)).map_or("", |token| token.1.as_str());
        let (before, two_before) = (back(1), back(2));
        // `a::b` is read from `a`; a leading `::` starts a path, after a word or `>` it goes on with one.
        let goes_on = before == "."
            || (before == "::" && ((is_word(two_before) && !starts_a_path(two_before)) || two_before == ">"));
        if !is_word(back(0)) || starts_a_path(back(0)) || goes_on {
            i += 1;
            continue;
        }
        let mut here = Vec::new();
        i = path(tokens, i, &[], &mut here);
        let imported = matches!(before, "use" | "crate");
        found.extend(here.into_iter().filter(|(_, path)| imported || path.len() > 1));
    }
    found.into_iter().map(|(line, path)| (line, absolute(path, module))).collect()
}

/// Reads one path, groups included, from token `i` on; returns where it ends.
fn path(tokens: &[(usize, String)], mut i: usize, prefix: &[String], found: &mut Vec<(usize, Vec<String>)>) -> usize {
    let mut path = prefix.to_vec();
    let line = tokens.get(i).map_or(0, |token| token.0);
    let sign = |i: usize| tokens.get(i).map_or("", |token| token.1.as_str());
    loop {
        if sign(i) == "{" && path.len() + 1 > prefix.len() && (i == 0 || sign(i - 1) == "::") {
            i += 1;
            while i < tokens.len() && sign(i) != "}" {
                i = if is_word(sign(i)) { self::path(tokens, i, &path, found) } else { i + 1 };
            }
            return i + 1;
        }
        if !is_word(sign(i)) {
            break;
        }
        path.push(sign(i).to_owned());
        i += 1;
        if sign(i) != "::" {
            break;
        }
        i += 1;
    }
    // `use x as y`: the new name is no path of its own.
    if sign(i) == "as" {
        i += 2;
    }
    found.push((line, path));
    i
}

/// `super` and `self` resolved from `module`; `dyndns`, as main.rs calls the library, is `crate`.
fn absolute(path: Vec<String>, module: &[String]) -> Vec<String> {
    let ups = path.iter().take_while(|segment| matches!(segment.as_str(), "self" | "super")).count();
    if ups == 0 {
        return match path.first().map(String::as_str) {
            Some("dyndns") => std::iter::once("crate".to_owned()).chain(path.into_iter().skip(1)).collect(),
            _ => path,
        };
    }
    let supers = path.iter().take(ups).filter(|segment| *segment == "super").count();
    let kept = module.len().saturating_sub(supers);
    std::iter::once("crate".to_owned())
        .chain(module.iter().take(kept).cloned())
        .chain(path.into_iter().skip(ups))
        .collect()
}

/// Words after which a leading `::` begins a path.
fn starts_a_path(word: &str) -> bool {
    matches!(word, "use" | "as" | "dyn" | "impl" | "in" | "mut" | "return" | "match" | "if" | "where")
}

fn is_word(token: &str) -> bool {
    token.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_')
}

/// Rule 22: how many lines, and where the excess begins; blank lines count, tests do not.
fn too_long(text: &str, code: &str) -> Option<(usize, usize)> {
    // `code` has the tests blanked but their lines kept: what follows its last word is test.
    let blanked = text.lines().zip(code.lines()).filter(|(was, is)| {
        let comment = was.trim_start().starts_with("//");
        is.trim().is_empty() && !was.trim().is_empty() && !comment
    });
    let lines = text.lines().count() - blanked.count();
    let why: String = text.lines().take_while(|line| line.trim() != "//!" && line.starts_with("//!")).collect();
    let explained = why.split(|c: char| !c.is_alphabetic()).any(|word| word.eq_ignore_ascii_case("long"));
    (lines > LONGEST && !explained).then_some((lines, LONGEST + 1))
}

fn sources(folder: &Path, found: &mut Vec<std::path::PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

#[test]
fn every_source_file_keeps_the_module_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files).unwrap();
    files.sort();
    assert!(files.len() > 10, "found only {} files under src/", files.len());
    let breaches: Vec<String> = files
        .iter()
        .filter(|path| path.file_name().is_none_or(|name| name != "tests.rs"))
        .flat_map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            check(&path.strip_prefix(root).unwrap().to_string_lossy(), &text)
        })
        .map(|breach| breach.to_string())
        .collect();
    assert!(breaches.is_empty(), "module rules broken:\n{}", breaches.join("\n"));
}

/// The rules that `text` at `path` breaks.
fn rules(path: &str, text: &str) -> Vec<u8> {
    check(path, text).iter().map(|breach| breach.rule).collect()
}

#[test]
fn core_importing_the_edge_breaks_rule_2() {
    assert_eq!(rules("src/zone/lookup.rs", "use crate::store::Commit;"), [2]);
    assert_eq!(rules("src/zone/lookup.rs", "use super::super::store::Commit;"), [2]);
    assert_eq!(rules("src/zone/mod.rs", "use super::{server::run, wire::Name};"), [2]);
    assert_eq!(rules("src/update/mod.rs", "fn f() { crate::config::load() }"), [2]);
    assert_eq!(rules("src/wire/name.rs", "use crate::{\n    cli,\n};"), [2]);
    assert_eq!(rules("src/server/mod.rs", "use crate::store::Commit;"), [0; 0]);
}

#[test]
fn core_doing_io_or_logging_breaks_rule_2() {
    assert_eq!(rules("src/tsig/key.rs", "use std::{fmt, fs};"), [2]);
    assert_eq!(rules("src/tsig/key.rs", "fn f() { let _ = std::fs::read(p); }"), [2]);
    assert_eq!(rules("src/query/mod.rs", "use std::net::{IpAddr, UdpSocket};"), [2]);
    assert_eq!(rules("src/query/mod.rs", "fn f() { tracing::info!(a = 1); }"), [2]);
    assert_eq!(rules("src/query/mod.rs", "use std::net::IpAddr;"), [0; 0]);
    assert_eq!(rules("src/query/mod.rs", "use tokio::net::UdpSocket;"), [2, 7]);
}

#[test]
fn core_importing_upward_breaks_rule_4() {
    assert_eq!(rules("src/wire/name.rs", "use crate::zone::Key;"), [4]);
    assert_eq!(rules("src/zone/text.rs", "use crate::{wire::Name, tsig::TsigKey};"), [4]);
    assert_eq!(rules("src/tsig/verify.rs", "use crate::update::Refusal;"), [4]);
    assert_eq!(rules("src/update/mod.rs", "use crate::{tsig, wire, zone};"), [0; 0]);
}

#[test]
fn query_update_and_transfer_importing_each_other_breaks_rule_5() {
    assert_eq!(rules("src/update/apply.rs", "use crate::query::answer;"), [5]);
    assert_eq!(rules("src/query/mod.rs", "fn f(x: crate::transfer::Axfr) {}"), [5]);
    assert_eq!(rules("src/server/writer.rs", "use crate::{query, update};"), [0; 0]);
}

#[test]
fn hickory_outside_its_places_breaks_rule_6() {
    assert_eq!(rules("src/zone/mod.rs", "use hickory_proto::rr::Name;"), [6]);
    assert_eq!(rules("src/zone/text.rs", "use hickory_proto::rr::Name;"), [0; 0]);
    assert_eq!(rules("src/server/udp.rs", "use ::hickory_proto::op::Message;"), [6]);
    assert_eq!(rules("src/server/udp.rs", "use hickory_server::Server;"), [6]);
    assert_eq!(rules("src/server/secure.rs", "use hickory_server::Server;"), [0; 0]);
}

#[test]
fn tokio_sled_clap_and_unsafe_outside_their_places_break_rule_7() {
    assert_eq!(rules("src/store/mod.rs", "use tokio::sync::mpsc;"), [7]);
    assert_eq!(rules("src/main.rs", "#[tokio::main]\nasync fn main() {}"), [7]);
    assert_eq!(rules("src/store/journal.rs", "fn f(db: &sled::Db) {}"), [7]);
    assert_eq!(rules("src/store/table.rs", "fn f(db: &sled::Db) {}"), [0; 0]);
    assert_eq!(rules("src/config.rs", "use clap::Parser;"), [7]);
    assert_eq!(rules("src/config.rs", "use clap_mangen::Man;"), [7]);
    assert_eq!(rules("src/server/udp.rs", "fn f() { unsafe { g() } }"), [7]);
    assert_eq!(rules("src/sys/mmsg.rs", "fn f() { unsafe { g() } }"), [0; 0]);
}

#[test]
fn the_store_importing_more_than_zone_and_wire_breaks_rule_8() {
    assert_eq!(rules("src/store/commit.rs", "use crate::update::Refusal;"), [8]);
    assert_eq!(rules("src/store/mod.rs", "use crate::{error::Error, wire::Name, zone::Key};"), [8]);
    assert_eq!(rules("src/store/mod.rs", "use super::server;"), [8]);
}

#[test]
fn a_file_over_500_lines_breaks_rule_22_unless_it_says_why() {
    let body = "fn f() {}\n".repeat(501);
    assert_eq!(rules("src/wire/name.rs", &body), [22]);
    assert_eq!(rules("src/wire/name.rs", &format!("//! Long: one table, one line for each type.\n{body}")), [0; 0]);
    let tests = format!("fn f() {{}}\n#[cfg(test)]\nmod tests {{\n{body}}}\n");
    assert_eq!(rules("src/wire/name.rs", &tests), [0; 0]);
}

#[test]
fn comments_strings_and_tests_break_nothing() {
    let text = r##"
        //! The edge is crate::server; see `tokio::net`.
        /* use crate::store; /* unsafe */ sled::Db */
        const A: &str = "use crate::store::x; \" unsafe";
        const B: &str = r#"tokio::spawn "unsafe" "#;
        const C: (char, char) = ('"', '\'');
        fn f<'a>(x: &'a str) -> &'a str { x.sled.clap() }
        #[cfg(test)]
        mod tests {
            use std::fs;
            fn g() { if x { sled::open() } }
        }
    "##;
    assert_eq!(check("src/zone/mod.rs", text), []);
}

#[test]
fn a_breach_after_a_test_module_is_still_found_at_its_line() {
    let text = "#[cfg(test)]\nmod tests {\n    use std::fs;\n}\nuse crate::store;\n";
    let found = check("src/zone/mod.rs", text);
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].to_string(),
        "src/zone/mod.rs:5: rule 2: zone is core and never imports the edge, but names crate::store"
    );
}
