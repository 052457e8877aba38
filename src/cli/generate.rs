//! `dyndns generate`: what packages install beside the binary, from the declarations the binary runs on.

use super::Arguments;
use crate::config;
use crate::error::Error;
use clap::{CommandFactory, Subcommand};
use clap_complete::Shell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Write man pages and shell completions
#[derive(Debug, Subcommand)]
pub(super) enum Generate {
    /// Write the man pages into a directory
    Man {
        /// The directory; it is made where it is not there
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Print the completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

impl Generate {
    pub(super) fn run(self) -> Result<(), Error> {
        match self {
            Generate::Man { directory } => man_pages(&directory).map_err(|error| {
                Error::usage(format!("cannot write man pages to {}", directory.display())).because(error)
            }),
            Generate::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Arguments::command(), "dyndns", &mut script);
                super::print(&String::from_utf8_lossy(&script))
            }
        }
    }
}

/// `dyndns.1`, one page for each command, and `dyndns.toml.5`.
fn man_pages(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    clap_mangen::generate_to(Arguments::command(), directory)?;
    let server = configuration_page("dyndns", "serve", "/etc/dyndns/dyndns.toml", config::manual());
    fs::write(directory.join("dyndns.toml.5"), server)?;
    let agent = configuration_page("dyndns-agent", "agent", config::AGENT_FILE, config::agent_manual());
    fs::write(directory.join("dyndns-agent.toml.5"), agent)
}

/// The page of a configuration file, from the tables the file is read by.
fn configuration_page(name: &str, command: &str, path: &str, sections: Vec<config::Section>) -> String {
    let mut page = format!(
        ".TH {name}.toml 5 \"\" \"dyndns {version}\"\n\
         .SH NAME\n{name}.toml \\- configuration of dyndns {command}\n\
         .SH DESCRIPTION\n\
         The file is TOML. It is read at the start, from the path that \\-\\-config gives or from\n\
         {path}, and again at SIGHUP. Flags win over it. A key that is not listed here is an error.\n\
         Relative paths start at the directory of the file.\n",
        version = env!("CARGO_PKG_VERSION")
    );
    for section in sections {
        page.push_str(&format!(".SH \"{}\"\n", roff(&section.title.to_uppercase())));
        for option in section.options {
            page.push_str(&format!(
                ".TP\n.B {}\n{}\nForm: {}. Default: {}.\n",
                roff(option.name),
                roff(option.doc),
                roff(option.form),
                roff(option.default)
            ));
        }
    }
    page.push_str(&format!(".SH \"SEE ALSO\"\n.BR dyndns\\-{command} (1)\n"));
    page
}

/// Text as roff takes it: `\` and `-` escaped, and no line that looks like a request.
fn roff(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-").replace('"', "\\(dq");
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}
