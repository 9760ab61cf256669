//! What the operator writes about callers.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{Class, SecretSource};
use crate::limit;

use super::policy::PolicySettings;

/// Whether a caller needs a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Every request needs a known key.
    #[default]
    Keys,
    /// Any key or none is accepted; a known one still identifies its caller.
    Open,
}

/// A tenant: a name for a group of keys, and what they may use together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Its keys.
    #[serde(default)]
    pub keys: Vec<KeySettings>,
    /// The time zone in which budgets' periods begin, such as `Europe/Berlin`. Default UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Its teams, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub teams: BTreeMap<String, TeamSettings>,
    /// Requests of its callers that are refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PolicySettings>,
    /// Limits on what all its callers use together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<limit::Settings>,
}

/// A team: a part of a tenant, with limits of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TeamSettings {
    /// Models that its callers may use, by exact name, glob or regex. By default all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Requests of its callers that are refused, beside those of the tenant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PolicySettings>,
    /// Limits on what its callers use together, beside those of the tenant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<limit::Settings>,
}

/// One caller. Exactly one of `secret`, `hash` and `certificate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeySettings {
    /// Name for logs and metrics; unique within the tenant, and without `@` at its beginning.
    pub name: String,
    /// Its team, one of the tenant's `teams`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// Where the key is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretSource>,
    /// `sha256:` and the 64 hex digits of the key's hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// The client certificate that stands in place of a key, on a listener with `client_ca`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateSettings>,
    /// Labels that routes can match.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Models it may use, by exact name, glob or regex. By default all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Which of its requests wait first where a pool is `adaptive` or has a queue. Default `normal`.
    #[serde(default)]
    pub class: Class,
    /// Requests with this key that are refused, beside those of the tenant and the team.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PolicySettings>,
    /// Limits on what is used with this key, beside those of the tenant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<limit::Settings>,
}

/// Which certificates are a caller's. At least one of `spiffe` and `subject`; all must fit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CertificateSettings {
    /// Its SPIFFE id (`spiffe://example.org/ns/ml/sa/batch`), by exact name, glob or regex: the one
    /// URI among its alternative names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spiffe: Option<String>,
    /// Parts of its subject: `CN`, `O`, `OU`, `C`, `ST`, `L`. Each must be there once, and be this.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub subject: BTreeMap<String, String>,
}
