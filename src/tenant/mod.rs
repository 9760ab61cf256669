//! Who calls: keys of the configuration, virtual keys, tokens of issuers and client certificates, each taken from
//! where clients put it, and compared in constant time.

mod caller;
mod certificate;
mod directory;
mod issuer;
mod policy;
mod record;
mod settings;
mod tenants;
mod virtual_keys;

pub use caller::Caller;
pub use directory::{Directory, Hash, Presented, Secret, Written, hash_form};
pub use issuer::{
    Algorithm, ClaimSettings, Claims, KeySource, Refused, Settings as IssuerSettings,
};
pub use policy::{Denied, PolicySettings};
pub use record::{KEY_PREFIX, Record, Status, Terms};
pub use settings::{Access, CertificateSettings, KeySettings, Settings, TeamSettings};
pub use virtual_keys::KeyHasher;
