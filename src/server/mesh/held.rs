//! Which records the mesh made, on disk: a restart goes on with them, and touches no others.
//!
//! The file `mesh-names` in the state directory has a line for each: until when it holds in seconds since 1970, its owner,
//! and the address or the name that it says. It is replaced whole. What is about to be made is written first, so a crash
//! between the two leaves a line too many, which does no harm.

use crate::error::io_text;
use crate::mesh::names::{Data, Leased};
use crate::wire::Name;
use crate::zone::Key;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The file.
#[derive(Debug, Clone)]
pub(super) struct HeldFile(PathBuf);

impl HeldFile {
    pub(super) fn new(state_dir: &Path) -> HeldFile {
        HeldFile(state_dir.join("mesh-names"))
    }

    /// What it says. A line that cannot be read costs a warning, and its record stays as somebody else's.
    pub(super) fn read(&self) -> Vec<Leased> {
        let text = match fs::read_to_string(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                tracing::warn!("cannot read {}: {}", self.0.display(), io_text(&error));
                return Vec::new();
            }
        };
        let mut records = Vec::new();
        for line in text.lines() {
            match parse(line) {
                Some(record) => records.push(record),
                None => tracing::warn!("{} has a line that says nothing: {line}", self.0.display()),
            }
        }
        records
    }

    /// Makes it say this. That it cannot be written costs a warning: what is there now would stay after a restart.
    pub(super) fn write(&self, records: &[Leased]) {
        if let Err(error) = self.replace(records) {
            let text = io_text(&error);
            tracing::warn!("cannot write {}: {text}; a restart would not know the mesh's records", self.0.display());
        }
    }

    fn replace(&self, records: &[Leased]) -> io::Result<()> {
        let draft = self.0.with_extension("new");
        let mut file = File::create(&draft)?;
        let line = |Leased { owner, data, until }: &Leased| {
            let data = match data {
                Data::Address(address) => address.to_string(),
                Data::Host(name) => name.name().to_string(),
            };
            format!("{until} {} {data}\n", owner.name())
        };
        file.write_all(records.iter().map(line).collect::<String>().as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, &self.0)?;
        self.0.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    }
}

fn parse(line: &str) -> Option<Leased> {
    let mut words = line.split(' ');
    let until = words.next()?.parse().ok()?;
    let owner = Key::new(&Name::parse(words.next()?).ok()?);
    let data = words.next()?;
    let data = match data.parse() {
        Ok(address) => Data::Address(address),
        Err(_) => Data::Host(Key::new(&Name::parse(data).ok()?)),
    };
    words.next().is_none().then_some(Leased { owner, data, until })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_mesh_made_is_known_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let file = HeldFile::new(folder.path());
        assert!(file.read().is_empty());
        let key = |text| Key::new(&Name::parse(text).unwrap());
        let nas = key("nas.mesh.test");
        let records = vec![
            Leased { owner: nas.clone(), data: Data::Address("10.1.2.3".parse().unwrap()), until: 7 },
            Leased { owner: nas.clone(), data: Data::Address("2001:db8::7".parse().unwrap()), until: 8 },
            Leased { owner: key("3.2.1.10.in-addr.arpa"), data: Data::Host(nas), until: 9 },
        ];
        file.write(&records);
        assert_eq!(file.read(), records);
        let path = folder.path().join("mesh-names");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("7 nas.mesh.test 10.1.2.3\n"), "{text}");
        fs::write(path, format!("x\n{text}1 nas.mesh.test 10.1.2.3 more\n")).unwrap();
        assert_eq!(file.read(), records);
    }
}
