//! Who calls: static API keys of the configuration, taken from where each SDK puts them and
//! compared in constant time.

mod settings;

pub use settings::{Access, KeySettings, Settings};
