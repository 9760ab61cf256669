//! What is wrong with a document, and where.

use std::fmt;

/// What is wrong with a document, and where. The wording is fit for the client that sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// The offset in bytes.
    pub offset: usize,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub reason: &'static str,
}

impl JsonError {
    /// Computes line and column from the offset.
    pub(super) fn at(document: &[u8], offset: usize, reason: &'static str) -> Self {
        let before = &document[..offset.min(document.len())];
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
        let line = 1 + memchr::memchr_iter(b'\n', before).count();
        // Continuation bytes do not begin a character.
        let column = 1 + before[line_start..].iter().filter(|&&b| b & 0xC0 != 0x80).count();
        let clamp = |count| u32::try_from(count).unwrap_or(u32::MAX);
        Self { offset, line: clamp(line), column: clamp(column), reason }
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.reason)
    }
}

impl std::error::Error for JsonError {}
