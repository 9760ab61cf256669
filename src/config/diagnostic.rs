//! What is wrong with a file, and where.

use std::fmt::{self, Write as _};

use serde::Serialize;

/// A place in a file. Lines and columns count from 1, columns in characters; line 0 is the file
/// as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl Position {
    /// The file as a whole.
    pub const FILE: Self = Self { line: 0, column: 0 };

    /// A place.
    pub const fn new(line: u32, column: u32) -> Self {
        Self { line, column }
    }
}

/// One error: where, what is wrong, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The file's name as the operator gave it.
    pub file: String,
    /// Where in it.
    #[serde(flatten)]
    pub at: Position,
    /// What is wrong, and what would be right. Never holds a secret.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Position::FILE => write!(f, "{}: {}", self.file, self.message),
            Position { line, column } => {
                write!(f, "{}:{line}:{column}: {}", self.file, self.message)
            }
        }
    }
}

/// One diagnostic a line.
pub fn render(diagnostics: &[Diagnostic]) -> String {
    let mut text = String::new();
    for diagnostic in diagnostics {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{diagnostic}");
    }
    text
}

/// Messages of other parsers may have several lines; a diagnostic has one.
fn one_line(message: &str) -> String {
    message.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Collects the diagnostics of one file.
#[derive(Debug)]
pub struct Report {
    file: String,
    found: Vec<Diagnostic>,
}

impl Report {
    /// An empty one.
    pub fn new(file: &str) -> Self {
        Self { file: file.into(), found: Vec::new() }
    }

    /// Adds an error.
    pub fn add(&mut self, at: Position, message: impl Into<String>) {
        let message = one_line(&message.into());
        self.found.push(Diagnostic { file: self.file.clone(), at, message });
    }

    /// Adds an error unless there is already one at this place: what is wrong there often shows in
    /// more than one way, and the first word is the one to act on.
    pub fn add_once(&mut self, at: Position, message: impl Into<String>) {
        if self.found.iter().all(|known| known.at != at) {
            self.add(at, message);
        }
    }

    /// Whether nothing was found so far.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Number of errors so far.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Everything found, in the order of the file, each thing once.
    pub fn finish(mut self) -> Vec<Diagnostic> {
        self.found.sort_by(|a, b| (a.at, &a.message).cmp(&(b.at, &b.message)));
        self.found.dedup();
        self.found
    }
}
