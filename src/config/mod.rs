//! Reading what the operator wrote: value types with units, secret references, and a YAML reader
//! whose every error has a line, a column and a proposal.
//!
//! Rooms above own their settings types and build them from these values; [`crate::plan::File`]
//! composes them. Nothing here knows what a pool or a route is.

mod pattern;
mod value;

pub use pattern::NamePattern;
pub use value::{Secret, SecretError, SecretSource, Size, Time};
