//! The hosts file: names of the mesh for programs that do not ask the DNS, in a section of its own between two marks.
//!
//! The file is written beside the old one and put in its place, with its mode and owner, so a reader sees the old one or
//! the new one, whole. Lines outside the section stay as they are, to the octet. Where the file cannot be replaced,
//! which is so where it is mounted by itself as container engines do with /etc/hosts, that is an error: written in place
//! it could be read half.

use super::View;
use crate::error::io_text;
use crate::link::Fault;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::{Duration, sleep};

/// One section of one hosts file.
#[derive(Debug, Clone)]
struct HostsFile {
    path: PathBuf,
    begin: String,
    end: String,
}

/// One line of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    /// The address.
    address: IpAddr,
    /// Its names, the whole one first.
    names: Vec<String>,
}

/// So often it is tried again where somebody else changed the file meanwhile.
const TRIES: usize = 3;
/// Changes that come together are written together.
const TOGETHER: Duration = Duration::from_millis(500);

/// Keeps the names of the mesh in a hosts file as long as its node lives, and takes them out at the end.
pub async fn hosts_file(path: PathBuf, mut view: watch::Receiver<Arc<View>>) {
    let zone = view.borrow().zone.to_string();
    let file = Arc::new(HostsFile::new(&path, &zone));
    let mut told = None;
    loop {
        let lines = lines(&view.borrow_and_update());
        let fault = carry_out(Arc::clone(&file), Some(lines)).await;
        // Not at each change: what is wrong stays so until somebody mends it.
        if let Some(fault) = fault.as_ref().filter(|fault| Some(*fault) != told.as_ref()) {
            tracing::warn!("{fault}");
        }
        told = fault;
        if view.changed().await.is_err() {
            break;
        }
        sleep(TOGETHER).await;
    }
    if let Some(fault) = carry_out(file, None).await {
        tracing::warn!("{fault}");
    }
}

/// Writes where the disk may take its time; returns why it could not.
async fn carry_out(file: Arc<HostsFile>, lines: Option<Vec<Line>>) -> Option<Fault> {
    tokio::task::spawn_blocking(move || file.replace(lines.as_deref())).await.ok()?.err()
}

/// Each host that holds its name, whole and short, at each of its addresses.
fn lines(view: &View) -> Vec<Line> {
    let mut hosts: Vec<_> = view.hosts.iter().filter(|host| host.holds_name).collect();
    hosts.sort_by(|one, other| one.name.cmp(&other.name));
    let lines = hosts.into_iter().flat_map(|host| {
        let names = vec![format!("{}.{}", host.name, view.zone), host.name.to_string()];
        host.addresses.iter().map(move |address| Line { address: *address, names: names.clone() })
    });
    lines.collect()
}

impl HostsFile {
    /// The section for `zone` in the file at `path`.
    fn new(path: &Path, zone: &str) -> HostsFile {
        let begin = format!("# begin dyndns mesh {zone}: written anew at each change, until the end mark");
        HostsFile { path: path.to_path_buf(), begin, end: format!("# end dyndns mesh {zone}") }
    }

    /// Makes the section hold these lines, or takes it out. Where nothing changes, the file is not touched.
    fn replace(&self, lines: Option<&[Line]>) -> Result<(), Fault> {
        let place = self.path.display();
        let cannot = |error: io::Error| Fault(format!("cannot replace {place}: {}{}", io_text(&error), remedy(&error)));
        // A link stays a link.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        for _ in 0..TRIES {
            let (old, metadata) = match read(&path) {
                Ok((text, metadata)) => (text, Some(metadata)),
                Err(error) if error.kind() == io::ErrorKind::NotFound && lines.is_none() => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), None),
                Err(error) => return Err(cannot(error)),
            };
            let new = self.edit(&old, lines)?;
            if new == old {
                return Ok(());
            }
            if swap(&path, &new, metadata.as_ref()).map_err(cannot)? == Swap::Done {
                return Ok(());
            }
        }
        Err(Fault(format!(
            "cannot replace {place}: somebody else keeps changing it; it is tried again at the next change"
        )))
    }

    /// The text with the section as it is to be, where it stood before, else at the end.
    fn edit(&self, old: &[u8], lines: Option<&[Line]>) -> Result<Vec<u8>, Fault> {
        let mut new = Vec::with_capacity(old.len());
        let mut section = lines.map(|lines| self.section(lines));
        let mut inside = false;
        for line in old.split_inclusive(|octet| *octet == b'\n') {
            let text = line.trim_ascii_end();
            if text == self.begin.as_bytes() {
                inside = true;
                new.extend(section.take().unwrap_or_default());
            } else if inside && text == self.end.as_bytes() {
                inside = false;
            } else if !inside {
                new.extend_from_slice(line);
            }
        }
        if inside {
            // All that follows may be somebody's.
            let (place, end) = (self.path.display(), &self.end);
            return Err(Fault(format!(
                "cannot change {place}: the section's last line is missing; write `{end}` where it ends"
            )));
        }
        if let Some(section) = section {
            if new.last().is_some_and(|octet| *octet != b'\n') {
                new.push(b'\n');
            }
            new.extend(section);
        }
        Ok(new)
    }

    fn section(&self, lines: &[Line]) -> Vec<u8> {
        let lines: String = lines.iter().map(|line| format!("{} {}\n", line.address, line.names.join(" "))).collect();
        format!("{}\n{lines}{}\n", self.begin, self.end).into_bytes()
    }
}

/// What can be done about it.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ResourceBusy | io::ErrorKind::CrossesDevices => {
            "; it is mounted by itself and cannot be replaced in one step, so mount its directory, or choose another file"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; its directory must be writable for this service and its owner be the same (under systemd: DynamicUser=no and ReadWritePaths=)"
        }
        _ => "",
    }
}

fn read(path: &Path) -> io::Result<(Vec<u8>, Metadata)> {
    let metadata = fs::metadata(path)?;
    Ok((fs::read(path)?, metadata))
}

#[derive(Debug, PartialEq, Eq)]
enum Swap {
    Done,
    /// The file is another one than was read.
    Changed,
}

/// Puts a new file in the place of the one with that metadata.
fn swap(path: &Path, text: &[u8], old: Option<&Metadata>) -> io::Result<Swap> {
    let draft = draft_of(path);
    // One that a crash left; never one that somebody else put there for us to write to.
    let _ = fs::remove_file(&draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let done = fill(&mut file, text, old).and_then(|()| {
        let now = fs::metadata(path).ok();
        let same = |one: &Metadata, other: &Metadata| {
            let facts = |of: &Metadata| (of.ino(), of.len(), of.mtime(), of.mtime_nsec());
            facts(one) == facts(other)
        };
        match (old, &now) {
            (None, None) => {}
            (Some(old), Some(now)) if same(old, now) => {}
            _ => return Ok(Swap::Changed),
        }
        fs::rename(&draft, path)?;
        Ok(Swap::Done)
    });
    match done {
        Ok(Swap::Done) => {
            path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all()).map(|()| Swap::Done)
        }
        other => {
            let _ = fs::remove_file(&draft);
            other
        }
    }
}

fn fill(file: &mut File, text: &[u8], old: Option<&Metadata>) -> io::Result<()> {
    file.write_all(text)?;
    let own = file.metadata()?;
    // Only where it is another: a hardened unit may not even ask for the owner that it is (systemd's @chown).
    if let Some(old) = old.filter(|old| (old.uid(), old.gid()) != (own.uid(), own.gid())) {
        std::os::unix::fs::fchown(&*file, Some(old.uid()), Some(old.gid()))?;
    }
    // After the owner, for a change of that takes bits away.
    file.set_permissions(Permissions::from_mode(old.map_or(0o644, |old| old.mode() & 0o7777)))?;
    file.sync_all()
}

fn draft_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".dyndns-new");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(text: &[(&str, &str)]) -> Vec<Line> {
        let line = |(address, names): &(&str, &str)| Line {
            address: address.parse().unwrap(),
            names: names.split(' ').map(str::to_string).collect(),
        };
        text.iter().map(line).collect()
    }

    const OTHERS: &str = "127.0.0.1\tlocalhost\r\n# mine\n\n10.0.0.1 gateway";

    #[test]
    fn the_section_comes_changes_and_goes_and_other_lines_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        fs::write(&path, OTHERS).unwrap();
        let hosts = HostsFile::new(&path, "mesh.test");
        hosts.replace(Some(&some(&[("10.1.2.3", "nas.mesh.test nas")]))).unwrap();
        let begin = "# begin dyndns mesh mesh.test: written anew at each change, until the end mark";
        let section = |inner: &str| format!("{OTHERS}\n{begin}\n{inner}# end dyndns mesh mesh.test\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), section("10.1.2.3 nas.mesh.test nas\n"));
        // Somebody adds a line below; the section stays in its place.
        fs::write(&path, section("x\n") + "10.0.0.2 printer\n").unwrap();
        hosts.replace(Some(&some(&[("2001:db8::7", "nas.mesh.test nas"), ("10.1.2.4", "pc.mesh.test pc")]))).unwrap();
        let two = section("2001:db8::7 nas.mesh.test nas\n10.1.2.4 pc.mesh.test pc\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), two + "10.0.0.2 printer\n");
        hosts.replace(None).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{OTHERS}\n10.0.0.2 printer\n"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn mode_and_link_stay_and_nothing_is_written_where_nothing_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("hosts"), folder.path().join("link"));
        fs::write(&path, OTHERS).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("hosts", &link).unwrap();
        let hosts = HostsFile::new(&link, "mesh.test");
        hosts.replace(Some(&some(&[("10.1.2.3", "nas")]))).unwrap();
        let first = fs::metadata(&path).unwrap();
        assert_eq!(first.mode() & 0o7777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        hosts.replace(Some(&some(&[("10.1.2.3", "nas")]))).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().ino(), first.ino());
    }

    #[test]
    fn a_section_without_its_end_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        let hosts = HostsFile::new(&path, "mesh.test");
        hosts.replace(Some(&[])).unwrap();
        let text = fs::read_to_string(&path).unwrap().replace("# end", "# the end") + "10.0.0.2 printer\n";
        fs::write(&path, &text).unwrap();
        let error = hosts.replace(None).unwrap_err().to_string();
        assert!(
            error.ends_with("the section's last line is missing; write `# end dyndns mesh mesh.test` where it ends")
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn a_file_that_is_not_there_is_made_and_two_sections_do_not_mix() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        let (one, other) = (HostsFile::new(&path, "a.test"), HostsFile::new(&path, "b.test"));
        one.replace(None).unwrap();
        assert!(!path.exists());
        one.replace(Some(&some(&[("10.1.2.3", "nas.a.test nas")]))).unwrap();
        other.replace(Some(&some(&[("10.1.2.4", "nas.b.test nas")]))).unwrap();
        one.replace(None).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("nas.b.test") && !text.contains("a.test"), "{text}");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
    }
}
