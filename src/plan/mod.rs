//! The immutable composition of the rooms below, compiled from the configuration file.
//!
//! A request loads the plan once, at its head, and sees one consistent configuration until it
//! ends. A reload builds a whole new plan, takes over the live state of what did not change, and
//! swaps one pointer.
//!
//! The way there: [`Source`] is the file as it was written, with the place of everything in it;
//! [`check`] finds what a schema cannot express (names that lead nowhere, cycles, settings that
//! contradict each other, secrets that are missing). Each step reports all it finds.

mod check;
mod file;
mod schema;
mod source;

pub use check::check;
pub use file::{AdminSettings, Bounds, File, LogSettings, ReloadSettings};
pub use schema::schema;
pub use source::Source;
