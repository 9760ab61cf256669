//! Who calls: static API keys of the configuration, taken from where each SDK puts them and
//! compared in constant time.

mod directory;
mod settings;

pub use directory::{Caller, Directory, hash_form};
pub use settings::{Access, KeySettings, Settings};
