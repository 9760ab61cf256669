//! Who calls: keys of the configuration, tokens of issuers and client certificates, each taken from
//! where clients put it, and compared in constant time.

mod caller;
mod certificate;
mod directory;
mod issuer;
mod settings;
mod tenants;

pub use caller::Caller;
pub use directory::{Directory, Presented, Secret, Written, hash_form};
pub use issuer::{
    Algorithm, ClaimSettings, Claims, KeySource, Refused, Settings as IssuerSettings,
};
pub use settings::{Access, CertificateSettings, KeySettings, Settings, TeamSettings};
