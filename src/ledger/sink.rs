//! Where lines go.

#[cfg(target_os = "linux")]
mod uncached;

#[cfg(not(target_os = "linux"))]
use std::fs::File;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;

#[cfg(target_os = "linux")]
use uncached::File;

/// An open destination of the access log.
#[derive(Debug)]
pub enum Sink {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file that is appended to.
    File(File),
}

impl Sink {
    /// Opens `stdout`, `stderr`, `off` or a path. A file is made when it does not exist, readable by
    /// its owner and group only: a log names callers.
    pub fn open(destination: &str) -> io::Result<Self> {
        match destination {
            "off" => Ok(Sink::Off),
            "stdout" => Ok(Sink::Stdout),
            "stderr" => Ok(Sink::Stderr),
            path => OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o640)
                .open(path)
                .map(|file| Sink::File(file.into()))
                .map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}"))),
        }
    }

    /// Writes whole lines.
    pub fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Sink::Off => Ok(()),
            Sink::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(lines)?;
                stdout.flush()
            }
            Sink::Stderr => io::stderr().lock().write_all(lines),
            Sink::File(file) => file.write_all(lines),
        }
    }
}
