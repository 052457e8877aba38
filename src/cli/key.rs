//! `dyndns key`: key files in the form that `nsupdate -k` and `dig -k` read.

use super::Places;
use crate::config::{self, Config, Flags, HttpUser, Network};
use crate::error::Error;
use crate::tsig::Algorithm;
use crate::wire::Name;
use clap::Subcommand;
use std::io::{self, Write};

/// Make, list and remove TSIG keys
///
/// Keys are files in keys/ of the state directory, or where key-dir of the configuration says. A running server
/// takes note of a change when it is told to reload (SIGHUP).
#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Make a key and print the path of its file
    Generate {
        /// What both sides call the key
        #[arg(value_parser = key_name)]
        name: Name,
        /// How the key signs
        #[arg(long, default_value = "hmac-sha256", value_parser = config::algorithm)]
        algorithm: Algorithm,
        /// Print the key file instead of writing it
        #[arg(long)]
        stdout: bool,
        #[command(flatten)]
        places: Places,
    },
    /// Make a password for the HTTP door and print it, this once
    ///
    /// The user may change what the key of the same name may; only a hash of the password (argon2id) is kept.
    AddHttp {
        /// The user's name
        #[arg(value_parser = key_name)]
        name: Name,
        /// Print user and password as one word, for "Authorization: Bearer" or token=
        #[arg(long)]
        token: bool,
        /// Where the user may come from, an address or a network; several times
        #[arg(long, value_name = "NETWORK", value_parser = Network::parse)]
        from: Vec<Network>,
        #[command(flatten)]
        places: Places,
    },
    /// Take the password of a user of the HTTP door away
    RemoveHttp {
        /// The user's name
        #[arg(value_parser = key_name)]
        name: Name,
        #[command(flatten)]
        places: Places,
    },
    /// List the keys: name, algorithm, file; then the users of the HTTP door
    List {
        #[command(flatten)]
        places: Places,
    },
    /// Remove a key's file
    Remove {
        /// The key's name
        #[arg(value_parser = key_name)]
        name: Name,
        #[command(flatten)]
        places: Places,
    },
}

impl Key {
    pub(super) fn run(self) -> Result<(), Error> {
        match self {
            Key::Generate { name, algorithm, stdout: true, .. } => {
                super::print(&config::new_key(name, algorithm)?.to_key_file())
            }
            Key::Generate { name, algorithm, places, .. } => {
                let directory = Config::key_directory(&places.into())?;
                let path = directory.create(&config::new_key(name, algorithm)?)?;
                super::print(&format!("{}\n", path.display()))
            }
            Key::AddHttp { name, token, from, places } => {
                let (user, password) = HttpUser::random(name, HttpUser::PASSWORD)?;
                let user = user.only_from(from);
                Config::key_directory(&places.into())?.create_http(&user)?;
                let secret = if token { user.token(&password) } else { password };
                super::print(&format!("{}\n", secret.as_str()))
            }
            Key::RemoveHttp { name, places } => {
                let flags = places.into();
                let path = Config::key_directory(&flags)?.remove_http(&name)?;
                tell_until_when(&format!("lets {name:#} in"), &flags);
                super::print(&format!("{}\n", path.display()))
            }
            Key::List { places } => {
                let mut lines = String::new();
                let directory = Config::key_directory(&places.into())?;
                for file in directory.read()? {
                    for key in &file.keys {
                        lines.push_str(&format!("{:#} {} {}\n", key.name, key.algorithm, file.path.display()));
                    }
                    if file.world_readable {
                        let path = file.path.display();
                        let _ = writeln!(io::stderr(), "warning: every user can read {path}; chmod 600 {path}");
                    }
                }
                for (user, path) in directory.read_http()? {
                    lines.push_str(&format!("{:#} http {}\n", user.name, path.display()));
                }
                super::print(&lines)
            }
            Key::Remove { name, places } => {
                let flags = places.into();
                let path = Config::key_directory(&flags)?.remove(&name)?;
                tell_until_when(&format!("accepts key {name:#}"), &flags);
                super::print(&format!("{}\n", path.display()))
            }
        }
    }
}

/// Tells until when a running server does what it should not any more. One that cannot reload, because a grant names
/// the key that is gone, would go on for ever.
fn tell_until_when(what: &str, flags: &Flags) {
    let until = match Config::load(flags) {
        Ok(_) => "until it reloads (SIGHUP)".to_string(),
        Err(error) => format!("until it reloads, and it will not before this is mended: {error}"),
    };
    let _ = writeln!(io::stderr(), "a running server {what} {until}");
}

fn key_name(text: &str) -> Result<Name, String> {
    Name::parse(text).map_err(|error| error.to_string())
}
