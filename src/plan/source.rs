//! The configuration file as it was written.

use std::path::Path;
use std::sync::Arc;

use super::{File, schema};
use crate::config::{self, Diagnostic, Document, FILE_BYTES_MAX, Position, Report};

/// The name under which the built-in configuration shows in diagnostics and logs.
const BUILTIN_NAME: &str = "conf/weir.yaml (built in)";
/// What runs where no file is given: the default configuration of the repository.
const BUILTIN: &str = include_str!("../../conf/weir.yaml");

/// A configuration file that fits the schema, with the place of everything in it.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name in diagnostics: the path as the operator gave it.
    pub name: Arc<str>,
    /// What it says.
    pub file: Arc<File>,
    document: Arc<Document>,
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// It cannot be read, or does not fit the schema: everything that is wrong, in its order.
    pub fn load(path: &Path) -> Result<Self, Vec<Diagnostic>> {
        let name = path.display().to_string();
        match read(path) {
            Ok(text) => Self::parse(&name, &text),
            Err(message) => {
                let mut report = Report::new(&name);
                report.add(Position::FILE, message);
                Err(report.finish())
            }
        }
    }

    /// Reads a text. Never panics, whatever the text.
    pub fn parse(name: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        let (file, document) = config::parse::<File>(name, text, schema())?;
        Ok(Self { name: name.into(), file: Arc::new(file), document: Arc::new(document) })
    }

    /// Reads a file, or the built-in default configuration where none is given.
    pub fn open(path: Option<&Path>) -> Result<Self, Vec<Diagnostic>> {
        path.map_or_else(Self::builtin, Self::load)
    }

    /// The built-in default configuration.
    pub fn builtin() -> Result<Self, Vec<Diagnostic>> {
        Self::parse(BUILTIN_NAME, BUILTIN)
    }

    /// An empty report about this file.
    pub fn report(&self) -> Report {
        Report::new(&self.name)
    }

    /// The place of what a path names; see [`Document::at`].
    pub fn at(&self, path: &str) -> Position {
        self.document.at(path)
    }

    /// The place of the key of what a path names; see [`Document::key_at`].
    pub fn key_at(&self, path: &str) -> Position {
        self.document.key_at(path)
    }
}

fn read(path: &Path) -> Result<String, String> {
    if path.is_dir() {
        return Err("is a directory: name the file".into());
    }
    let bytes = config::read_file(path, FILE_BYTES_MAX as u64)
        .map_err(|error| format!("cannot be read: {error}"))?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = memchr::memchr_iter(b'\n', valid).count() + 1;
        format!("line {line} is not UTF-8: save the file in that encoding")
    })
}
