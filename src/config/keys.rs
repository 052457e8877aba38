//! Which keys there are and what they may do: those of the key directory, of each `[[key]]` and of `--tsig`.

use super::file::Fault;
use super::key_files::{KeyDirectory, KeyFile, read_key_file, read_secret};
use super::settings::KeySettings;
use super::{KeyConfig, Wrong};
use crate::error::Error;
use crate::tsig::{Secret, TsigKey};
use crate::update::policy::Rights;
use crate::wire::Name;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The keys gathered so far and their rights.
#[derive(Default)]
pub(super) struct Keys {
    pub(super) all: Vec<KeyConfig>,
    /// Those that a `[[key]]` has named.
    declared: Vec<Name>,
    pub(super) rights: Rights,
}

/// How many octets a secret should have at least.
const SHORTEST: usize = 16;

impl Keys {
    /// Adds a key; one of the same name gives way.
    pub(super) fn insert(&mut self, key: KeyConfig) {
        self.all.retain(|other| other.key.name != key.key.name);
        self.all.push(key);
    }

    /// Whoever has seen one signed message can try secrets against it for as long as it takes.
    pub(super) fn warn_of_short(&self, warnings: &mut Vec<String>) {
        for KeyConfig { key: TsigKey { name, secret, .. }, .. } in &self.all {
            let octets = secret.len();
            if octets < SHORTEST {
                warnings.push(format!(
                    "the secret of key {name:#} has {octets} octets and can be guessed; make one of {SHORTEST} or more: dyndns key generate"
                ));
            }
        }
    }

    pub(super) fn read_directory(&mut self, directory: &KeyDirectory, warnings: &mut Vec<String>) -> Result<(), Error> {
        let mut places: HashMap<Name, PathBuf> = HashMap::new();
        for file in directory.read()? {
            warn_of_readers(&file, warnings);
            for key in file.keys {
                if let Some(other) = places.insert(key.name, file.path.clone()) {
                    let (name, here) = (key.name, file.path.display());
                    return Err(Error::usage(format!("key {name:#} is in both {} and {here}", other.display()))
                        .remedy("remove one of the files"));
                }
                self.insert(KeyConfig { key, file: Some(file.path.clone()) });
            }
        }
        Ok(())
    }

    /// Adds the keys of one `[[key]]`.
    pub(super) fn declare(
        &mut self,
        key: KeySettings,
        directory: &KeyDirectory,
        warnings: &mut Vec<String>,
    ) -> Result<(), Wrong> {
        let wrong = |text: &str| Err(Wrong::Here(Fault::new(key.at, text)));
        let keys = match (key.name, key.secret, key.secret_file, key.file) {
            (None, _, _, None) => return wrong("a key without a name; add name = \"...\""),
            (Some(name), Some(secret), None, None) => {
                vec![KeyConfig {
                    key: TsigKey { name, algorithm: key.algorithm.unwrap_or_default(), secret },
                    file: None,
                }]
            }
            (Some(name), None, Some(path), None) => {
                let cannot = || Error::usage(format!("cannot read secret file {}", path.display()));
                let (text, world_readable) = read_secret(&path).map_err(|error| cannot().because(error))?;
                if world_readable {
                    warnings.push(readers_warning(&path));
                }
                let secret = Secret::from_base64(&text).map_err(|error| cannot().because(error))?;
                vec![KeyConfig {
                    key: TsigKey { name, algorithm: key.algorithm.unwrap_or_default(), secret },
                    file: None,
                }]
            }
            (name, None, None, file) => {
                if key.algorithm.is_some() {
                    return wrong("the key file names the algorithm; take out algorithm = ...");
                }
                let path = match (file, name) {
                    (Some(path), _) => path,
                    (None, Some(name)) => match self.all.iter().find(|known| known.key.name == name) {
                        Some(known) => known.file.clone().unwrap_or_default(),
                        None => directory.file_of(&name)?,
                    },
                    (None, None) => return wrong("a key without a name; add name = \"...\""),
                };
                let file = match read_key_file(&path) {
                    Err(error) if !path.exists() => {
                        let make = name.map_or(String::new(), |name| format!(": dyndns key generate {name}"));
                        return Err(error.remedy(format!("make it{make}")).into());
                    }
                    file => file?,
                };
                warn_of_readers(&file, warnings);
                let wanted = |key: &TsigKey| name.is_none_or(|name| key.name == name);
                let keys: Vec<_> = file.keys.into_iter().filter(wanted).collect();
                if let (true, Some(name)) = (keys.is_empty(), name) {
                    return Err(Error::usage(format!("no key {name:#} in {}", path.display())).into());
                }
                keys.into_iter().map(|key| KeyConfig { key, file: Some(path.clone()) }).collect()
            }
            _ => return wrong("a key needs one of secret, secret-file and file; keep one"),
        };
        for declared in keys {
            let name = declared.key.name;
            if self.declared.contains(&name) {
                return wrong(&format!("key {name:#} is declared twice; keep one"));
            }
            self.declared.push(name);
            if key.all_zones {
                self.rights.allow_everything(name);
            }
            if let Some(creation) = &key.creation {
                self.rights.allow_creation(name, creation.clone());
            }
            self.insert(declared);
        }
        Ok(())
    }
}

fn warn_of_readers(file: &KeyFile, warnings: &mut Vec<String>) {
    let warning = readers_warning(&file.path);
    if file.world_readable && !warnings.contains(&warning) {
        warnings.push(warning);
    }
}

fn readers_warning(path: &Path) -> String {
    let path = path.display();
    format!("{path} holds a secret and every user can read it; chmod 600 {path}")
}
