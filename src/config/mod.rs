//! Reading what the operator wrote: value types with units, secret references, and a YAML reader
//! whose every error has a line, a column and a proposal.
//!
//! A file goes through three steps, and each reports everything it finds before the next one
//! starts: the YAML becomes a [`Document`] whose nodes know where they stand; the document is
//! walked along the JSON Schema of what it should be, so that the schema that editors use and the
//! check that weir makes are one and the same; then it becomes typed settings.
//!
//! Rooms above own their settings types and build them from these values; [`crate::plan::File`]
//! composes them. Nothing here knows what a pool or a route is.

mod class;
mod diagnostic;
mod document;
mod labels;
mod pattern;
mod read;
mod syntax;
mod typed;
mod validate;
mod value;
mod words;

use serde::de::DeserializeOwned;
use serde_json::Value as Schema;

pub use class::Class;
pub use diagnostic::{Diagnostic, Position, Report, render};
pub use document::{Document, Entry, Node, Value};
pub use labels::Labels;
pub use pattern::NamePattern;
pub use value::{Secret, SecretError, SecretSource, Size, Time, read_file};
pub use words::{list as word_list, nearest};

/// The largest configuration file that is read, in bytes. A thousand routes take about 200 kB.
pub const FILE_BYTES_MAX: usize = 16 << 20;

/// Reads `text` as a document that `schema` describes, and as a `T`.
///
/// `file` is the name that diagnostics carry. Never panics, whatever the text.
///
/// # Errors
///
/// Every error of the first step that found any, in the order of the file.
pub fn parse<T: DeserializeOwned>(
    file: &str,
    text: &str,
    schema: &Schema,
) -> Result<(T, Document), Vec<Diagnostic>> {
    let mut report = Report::new(file);
    let document = read::document(text, &mut report);
    if let Some(document) = &document {
        validate::against(&document.root, schema, &mut report);
    }
    let value = match &document {
        Some(document) if report.is_empty() => match typed::from_node::<T>(&document.root) {
            Ok(value) => Some(value),
            Err(error) => {
                report.add(error.at, error.message);
                None
            }
        },
        _ => None,
    };
    match (value, document) {
        (Some(value), Some(document)) => Ok((value, document)),
        _ => Err(report.finish()),
    }
}
