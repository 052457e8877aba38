//! Errors of the process: one line that says what to do, and the exit code.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::process::ExitCode;

/// Why the process cannot do what it was asked to. Displays as one line: what was attempted, why (the whole
/// chain of causes), what to do. Never holds a secret.
#[derive(Debug)]
pub struct Error {
    code: Code,
    text: String,
    cause: Option<Box<dyn StdError + Send + Sync>>,
    remedy: Option<String>,
}

/// What the process exits with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Refused by the server or by what the input says: 1.
    Refused,
    /// Wrong usage or configuration: 2.
    Usage,
}

impl Error {
    /// Something was refused: a zone file that does not parse, a key that is there already.
    pub fn refused(attempted: impl Into<String>) -> Error {
        Error { code: Code::Refused, text: attempted.into(), cause: None, remedy: None }
    }

    /// The command line, the configuration or the machine under it is wrong.
    pub fn usage(attempted: impl Into<String>) -> Error {
        Error { code: Code::Usage, text: attempted.into(), cause: None, remedy: None }
    }

    /// Adds why.
    pub fn because(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        self.cause = Some(cause.into());
        self
    }

    /// Adds what to do.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Error {
        self.remedy = Some(remedy.into());
        self
    }

    /// What the process exits with.
    pub fn code(&self) -> Code {
        self.code
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> ExitCode {
        ExitCode::from(match code {
            Code::Refused => 1,
            Code::Usage => 2,
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = self.text.clone();
        let mut cause = self.source();
        while let Some(error) = cause {
            let text = match error.downcast_ref::<io::Error>() {
                Some(error) => io_text(error),
                None => error.to_string(),
            };
            // Some errors tell their cause themselves.
            if !line.contains(&text) {
                line.push_str(": ");
                line.push_str(&text);
            }
            cause = error.source();
        }
        if let Some(remedy) = &self.remedy {
            line.push_str("; ");
            line.push_str(remedy);
        }
        // Causes may come from elsewhere with a text of several lines.
        f.write_str(&line.split('\n').map(str::trim).collect::<Vec<_>>().join(" "))
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn StdError + 'static))
    }
}

/// What the operating system says, in our style: `permission denied`, not `Permission denied (os error 13)`.
pub fn io_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    // An abbreviation such as `EOF` stays as it is.
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().chain([second]).chain(letters).collect()
        }
        _ => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_with_its_causes_and_the_remedy() {
        let denied = io::Error::from_raw_os_error(13);
        let inner = Error::usage("no rights").because(denied);
        let error = Error::usage("cannot bind 0.0.0.0:53").because(inner).remedy("listen on a port above 1023");
        assert_eq!(
            error.to_string(),
            "cannot bind 0.0.0.0:53: no rights: permission denied; listen on a port above 1023"
        );
        assert_eq!(error.code(), Code::Usage);
    }

    #[test]
    fn a_cause_of_several_lines_becomes_one() {
        let error = Error::refused("cannot read x").because("first\n  second");
        assert_eq!(error.to_string(), "cannot read x: first second");
        assert_eq!(error.code(), Code::Refused);
    }

    #[test]
    fn the_operating_systems_texts_lose_their_number_and_capital() {
        assert_eq!(io_text(&io::Error::from_raw_os_error(2)), "no such file or directory");
        assert_eq!(io_text(&io::Error::other("EOF within it")), "EOF within it");
    }
}
