//! What the operator writes about issuers of tokens.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::Time;

/// An `OpenID` Connect provider, or another issuer of signed tokens, whose tokens callers send in
/// place of a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The `iss` of its tokens, exactly. What it publishes is looked up below this URL
    /// (`/.well-known/openid-configuration`), unless `jwks_url` is given.
    pub issuer: String,
    /// Where its keys are, in place of discovery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// A file of authorities for its certificate, in place of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// A token must be for one of these (`aud`).
    #[schemars(length(min = 1))]
    pub audience: Vec<String>,
    /// The signatures that are accepted, whatever a token says of itself. Default `[RS256]`.
    #[serde(default = "rs256")]
    #[schemars(length(min = 1))]
    pub algorithms: Vec<Algorithm>,
    /// How far clocks may be apart. Default 60s, at most 10m.
    #[serde(default = "skew")]
    pub skew: Time,
    /// How often its keys are read again. A token signed with a key that is not known has them read
    /// at once. Default 10m.
    #[serde(default = "refresh")]
    pub refresh: Time,
    /// The tenant of all its callers, where `claims.tenant` does not name one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Which claims say who calls.
    #[serde(default)]
    pub claims: ClaimSettings,
}

/// Which claims say who calls. A claim inside others is written with dots
/// (`resource_access.weir.roles`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClaimSettings {
    /// The tenant, one of `tenants`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The team, one of the tenant's `teams`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The user. Default `sub`.
    pub user: String,
    /// Roles: a list, or words separated by spaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<String>,
    /// Models that the caller may use, as a list of names, globs or regexes. A token without it may
    /// use none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<String>,
    /// Labels that routes can match, by name, and the claims that they come from.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl Default for ClaimSettings {
    fn default() -> Self {
        Self {
            tenant: None,
            team: None,
            user: "sub".into(),
            roles: None,
            models: None,
            labels: BTreeMap::new(),
        }
    }
}

/// Signature algorithms of RFC 7518 and RFC 8037 that need no shared secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are those of the RFCs")]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::RS256 => Self::RS256,
            Algorithm::RS384 => Self::RS384,
            Algorithm::RS512 => Self::RS512,
            Algorithm::PS256 => Self::PS256,
            Algorithm::PS384 => Self::PS384,
            Algorithm::PS512 => Self::PS512,
            Algorithm::ES256 => Self::ES256,
            Algorithm::ES384 => Self::ES384,
            Algorithm::EdDSA => Self::EdDSA,
        }
    }
}

fn rs256() -> Vec<Algorithm> {
    vec![Algorithm::RS256]
}

fn skew() -> Time {
    Time::s(60)
}

fn refresh() -> Time {
    Time::s(600)
}
