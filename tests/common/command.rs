//! `dyndns` as the operator runs it, to its end.

use std::path::Path;
use std::process::Command;

/// Runs `dyndns ARGUMENTS` in a folder; returns its exit code, output and error.
pub(crate) fn dyndns(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_dyndns")).current_dir(folder).args(arguments).output().unwrap();
    let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The output of a command that must succeed without a word of complaint.
pub(crate) fn done(folder: &Path, arguments: &[&str]) -> String {
    let (code, out, err) = dyndns(folder, arguments);
    assert_eq!((code, err.as_str()), (0, ""), "{arguments:?}");
    out
}

/// The error of a command that must be refused, in one line.
pub(crate) fn refused(folder: &Path, arguments: &[&str]) -> String {
    let (code, out, err) = dyndns(folder, arguments);
    assert_eq!((code, out.as_str(), err.lines().count()), (1, "", 1), "{arguments:?}: {err}");
    err
}
