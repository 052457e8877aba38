//! Where log lines go.

use crate::config::{LogConfig, LogFormat, LogLevel};
use crate::error::Error;
use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// Starts logging, once in a process.
pub(super) fn init(log: &LogConfig) -> Result<(), Error> {
    let cannot = |path: &std::path::Path| Error::usage(format!("cannot write log file {}", path.display()));
    let (writer, colour) = match &log.file {
        // Each line is one write to a file opened for appending, so lines of two processes never mix.
        Some(path) => {
            let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path).map_err(|error| {
                cannot(path).because(error).remedy("choose a writable place with --log-file, or leave it out")
            })?;
            (BoxMakeWriter::new(Arc::new(file)), false)
        }
        None => (BoxMakeWriter::new(io::stderr), io::stderr().is_terminal()),
    };
    let level = LogLevel::WORDS.iter().find(|(_, level)| *level == log.level).map_or("info", |(word, _)| word);
    // Our own lines only: what a library has to report comes back as an error, and is told once, in our words.
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(format!("dyndns={level}")))
        .with_target(false)
        .with_ansi(colour)
        // A line that cannot be written, on a full disk or to a pipe that nobody reads, is lost. To be told so on standard
        // error would end the writer's thread where that is closed too, and the updates with it.
        .log_internal_errors(false)
        .with_writer(writer);
    let started = match log.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).try_init(),
    };
    started.map_err(|error| Error::usage("cannot start logging").because(error))
}
