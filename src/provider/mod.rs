//! A provider is data: where it is, which dialect it speaks, how it is authenticated.

mod settings;

pub use settings::{AuthScheme, HttpVersion, Settings, SimulatedSettings, TlsSettings};
