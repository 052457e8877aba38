//! The file that holds the number of the server's process.

use crate::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The file, as long as the process runs; it goes when this is dropped.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes the process's number into `path`, over that of an earlier process.
    pub fn create(path: &Path) -> Result<PidFile, Error> {
        write(path).map_err(|error| {
            Error::usage(format!("cannot write pid file {}", path.display()))
                .because(error)
                .remedy("choose a writable place with --pid-file, or leave it out")
        })?;
        Ok(PidFile { path: path.to_path_buf() })
    }
}

fn write(path: &Path) -> io::Result<()> {
    // Written whole under another name: who reads the file never sees half a number.
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    fs::write(&draft, own_number())?;
    fs::rename(&draft, path).inspect_err(|_| drop(fs::remove_file(&draft)))
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Another process may have taken the file over meanwhile.
        if fs::read_to_string(&self.path).is_ok_and(|text| text == own_number()) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn own_number() -> String {
    format!("{}\n", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_holds_the_number_while_the_process_runs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dyndns.pid");
        fs::write(&path, "1\n").unwrap();
        let file = PidFile::create(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_another_process_took_over_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dyndns.pid");
        let file = PidFile::create(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
    }
}
