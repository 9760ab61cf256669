//! A provider is data: where it is, which dialect it speaks, how it is authenticated.

mod catalogue;
mod compiled;
mod credential;
mod keys;
mod settings;
mod template;
mod url;

pub use catalogue::{Catalogue, Kind, Parameters, Quirk};
pub use compiled::{Mistake, Provider};
pub use credential::{AwsSettings, AwsSource, Credential, EntraSettings, GoogleSettings, Issuer};
pub use keys::{KeyChoice, KeyRing, KeySnapshot};
pub use settings::{AuthScheme, HttpVersion, Settings, SimulatedSettings, TlsSettings};
