//! The immutable composition of the rooms below, compiled from the configuration file.
//!
//! A request loads the plan once, at its head, and sees one consistent configuration until it
//! ends. A reload builds a whole new plan, takes over the live state of what did not change, and
//! swaps one pointer.

mod file;

pub use file::{AdminSettings, Bounds, File, LogSettings, ReloadSettings};
