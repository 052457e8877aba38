//! Key files on disk: where they lie, who may read them, how one is made.

use super::http::HttpUser;
use crate::error::Error;
use crate::tsig::TsigKey;
use crate::wire::Name;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The directory of key files, one key in each as this program makes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDirectory {
    path: PathBuf,
}

/// What the files of the HTTP door's users end in: the hash of the password, and where they may come from.
const HTTP: &str = "http";

/// A key file that has been read.
#[derive(Debug)]
pub struct KeyFile {
    /// Where it lies.
    pub path: PathBuf,
    /// What it holds: at least one key.
    pub keys: Vec<TsigKey>,
    /// Whether every user of the machine may read it.
    pub world_readable: bool,
}

impl KeyDirectory {
    pub(super) fn new(path: PathBuf) -> KeyDirectory {
        KeyDirectory { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of the key `name`.
    pub fn file_of(&self, name: &Name) -> Result<PathBuf, Error> {
        Ok(self.path.join(format!("{}.key", file_stem(name)?)))
    }

    /// Reads every `*.key` file, in the order of their names. A directory that is not there has none.
    pub fn read(&self) -> Result<Vec<KeyFile>, Error> {
        self.files("key")?.iter().map(|path| read_key_file(path)).collect()
    }

    /// The files of this extension, in the order of their names.
    fn files(&self, wanted: &str) -> Result<Vec<PathBuf>, Error> {
        let cannot = |error: io::Error| {
            let remedy = match error.kind() {
                io::ErrorKind::NotADirectory => "choose another place with --state-dir",
                _ => "run as the user whose keys they are, or choose another place with --state-dir",
            };
            Error::usage(format!("cannot read key directory {}", self.path.display())).because(error).remedy(remedy)
        };
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(cannot)?,
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(cannot)?.path();
            let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if path.extension().is_some_and(|extension| extension == wanted) && !hidden {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }

    /// Writes a new key's file and returns its path; a file that is there already is left alone.
    pub fn create(&self, key: &TsigKey) -> Result<PathBuf, Error> {
        let remedy = format!("remove it first with: dyndns key remove {}", key.name);
        self.write_new(&key.name, "key", key.to_key_file().as_bytes(), &remedy)
    }

    /// Writes the file of a new user of the HTTP door and returns its path; one that is there already is left alone.
    pub fn create_http(&self, user: &HttpUser) -> Result<PathBuf, Error> {
        let remedy = format!("remove it first with: dyndns key remove-http {}", user.name);
        self.write_new(&user.name, HTTP, user.to_file().as_bytes(), &remedy)
    }

    /// Reads every user of the HTTP door and where it is, in the order of their names. A directory that is not there
    /// has none.
    pub fn read_http(&self) -> Result<Vec<(HttpUser, PathBuf)>, Error> {
        let read = |path: &PathBuf| {
            let cannot = || Error::usage(format!("cannot read password file {}", path.display()));
            let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let name = Name::parse(name).map_err(|error| cannot().because(error))?;
            let (text, _) = read_secret(path).map_err(|error| cannot().because(error))?;
            let user = HttpUser::from_file(name, &text).map_err(|error| cannot().because(error))?;
            Ok((user, path.clone()))
        };
        self.files(HTTP)?.iter().map(read).collect()
    }

    fn write_new(&self, name: &Name, extension: &str, octets: &[u8], remedy: &str) -> Result<PathBuf, Error> {
        let path = self.path.join(format!("{}.{extension}", file_stem(name)?));
        let cannot =
            |error: io::Error| Error::usage(format!("cannot write key file {}", path.display())).because(error);
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path).map_err(|error| {
            Error::usage(format!("cannot create key directory {}", self.path.display()))
                .because(error)
                .remedy("choose a writable place with --state-dir")
        })?;
        // Whole under another name first, then linked: nobody ever sees half a key, and a link, unlike a
        // rename, never replaces a key that is there.
        let draft = self.path.join(format!(".{}.{}", file_stem(name)?, std::process::id()));
        let written = write_secret(&draft, octets, &self.path)
            .and_then(|()| fs::hard_link(&draft, &path))
            .and_then(|()| File::open(&self.path)?.sync_all());
        let removed = match fs::remove_file(&draft) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        match written.and(removed) {
            Ok(()) => Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Error::refused(format!("cannot make key {name:#}: {} is there already", path.display()))
                    .remedy(remedy))
            }
            Err(error) => Err(cannot(error)),
        }
    }

    /// Removes the file of the key `name` and returns its path.
    pub fn remove(&self, name: &Name) -> Result<PathBuf, Error> {
        let file = self.read()?.into_iter().find(|file| file.keys.iter().any(|key| key.name == *name));
        let Some(file) = file else {
            return Err(Error::refused(format!("no key {name:#} in {}", self.path.display()))
                .remedy("dyndns key list shows what is there"));
        };
        if file.keys.len() > 1 {
            return Err(Error::refused(format!("{} holds other keys beside {name:#}", file.path.display()))
                .remedy("take it out of the file by hand"));
        }
        self.remove_file(file.path)
    }

    /// Removes the file of a user of the HTTP door and returns its path.
    pub fn remove_http(&self, name: &Name) -> Result<PathBuf, Error> {
        let path = self.path.join(format!("{}.{HTTP}", file_stem(name)?));
        if !path.exists() {
            let text = format!("no user {name:#} of the HTTP door in {}", self.path.display());
            return Err(Error::refused(text).remedy(format!("its files there end in .{HTTP}")));
        }
        self.remove_file(path)
    }

    fn remove_file(&self, path: PathBuf) -> Result<PathBuf, Error> {
        let cannot = |error| Error::usage(format!("cannot remove {}", path.display())).because(error);
        fs::remove_file(&path).map_err(cannot)?;
        File::open(&self.path).and_then(|directory| directory.sync_all()).map_err(cannot)?;
        Ok(path)
    }
}

/// Reads the one key of a file, as `nsupdate -k` takes it.
pub fn key_of_file(path: &Path) -> Result<TsigKey, Error> {
    let mut keys = read_key_file(path)?.keys;
    match (keys.pop(), keys.is_empty()) {
        (Some(key), true) => Ok(key),
        _ => Err(Error::usage(format!("cannot sign with {}: it holds several keys", path.display()))
            .remedy("give a file with the one key to use")),
    }
}

/// Reads a key file.
pub(super) fn read_key_file(path: &Path) -> Result<KeyFile, Error> {
    let (text, world_readable) = read_secret(path).map_err(|error| {
        let cannot = Error::usage(format!("cannot read key file {}", path.display()));
        match error.kind() {
            io::ErrorKind::PermissionDenied => {
                cannot.because(error).remedy("run as the user whose file it is, or give it to this one with chown")
            }
            _ => cannot.because(error),
        }
    })?;
    let keys = TsigKey::from_key_file(&text).map_err(|error| {
        Error::usage(format!("cannot read key file {}:{}", path.display(), error.line)).because(error)
    })?;
    Ok(KeyFile { path: path.to_path_buf(), keys, world_readable })
}

/// Reads a file that may hold a secret, and whether every user may do so.
pub(super) fn read_secret(path: &Path) -> io::Result<(Zeroizing<String>, bool)> {
    /// No key file or configuration is longer; `/dev/zero` is.
    const LONGEST: u64 = 16 << 20;
    let file = File::open(path)?;
    let world_readable = file.metadata()?.permissions().mode() & 0o004 != 0;
    let mut text = Zeroizing::new(String::new());
    let read = io::Read::read_to_string(&mut io::Read::take(file, LONGEST), &mut text)?;
    match u64::try_from(read) {
        Ok(length) if length < LONGEST => Ok((text, world_readable)),
        _ => Err(io::Error::new(io::ErrorKind::FileTooLarge, "over 16 MiB")),
    }
}

/// Writes a new file that only its owner reads, durably.
fn write_secret(path: &Path, octets: &[u8], directory: &Path) -> io::Result<()> {
    // What a process of the same number left when it was killed.
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    // The umask takes bits from the mode above, and could leave a file that its own owner cannot read.
    file.set_permissions(Permissions::from_mode(0o600))?;
    // Root makes keys for a server that runs as the owner of the directory.
    let (owner, own) = (fs::metadata(directory)?, file.metadata()?);
    if own.uid() == 0 && owner.uid() != 0 {
        fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
    }
    file.write_all(octets)?;
    file.sync_all()
}

/// A key's name as a file's: lower case, and only what no shell and no file system takes for anything else.
fn file_stem(name: &Name) -> Result<String, Error> {
    let stem = name.to_lowercase().to_string();
    let plain = stem.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"._-".contains(&octet));
    if plain && !stem.starts_with(['.', '-']) && stem.len() <= 240 {
        Ok(stem)
    } else {
        Err(Error::usage(format!("key name {name:#} is no file name"))
            .remedy("use letters, digits, dots, - and _, and at most 240 of them"))
    }
}
