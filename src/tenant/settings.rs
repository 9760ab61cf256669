//! What the operator writes about callers.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{Class, SecretSource};
use crate::limit;

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
    /// Limits on what all its keys use together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<limit::Settings>,
}

/// One static API key. Exactly one of `secret` and `hash`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeySettings {
    /// Name for logs and metrics; unique within the tenant.
    pub name: String,
    /// Where the key is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretSource>,
    /// `sha256:` and the 64 hex digits of the key's hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Labels that routes can match. `team` also stands in the access log and the ledger.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Models it may use, by exact name, glob or regex. By default all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Which of its requests wait first where a pool is `adaptive` or has a queue. Default `normal`.
    #[serde(default)]
    pub class: Class,
    /// Limits on what is used with this key, beside those of the tenant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<limit::Settings>,
}
