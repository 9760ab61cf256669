//! A provider is data: where it is, which dialect it speaks, how it is authenticated.

mod catalogue;
mod compiled;
mod keys;
mod settings;
mod template;
mod url;

pub use catalogue::{Catalogue, Kind, Parameters, Quirk};
pub use compiled::{Mistake, Provider};
pub use keys::{KeyChoice, KeyRing, KeySnapshot};
pub use settings::{AuthScheme, HttpVersion, Settings, SimulatedSettings, TlsSettings};
