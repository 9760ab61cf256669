//! What the operator writes about a provider.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::credential::{AwsSettings, EntraSettings, GoogleSettings};
use crate::config::{SecretSource, Time};
use crate::dialect::{Dialect, Format};
use crate::limit;

/// One upstream account: an address, a dialect and credentials.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What it is: an entry of the catalogue of providers (`conf/providers.yaml`) or of `kinds`,
    /// which then says all that is not said here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Values of the placeholders of its kind: `with: { region: eu-west-1 }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub with: BTreeMap<String, String>,
    /// The wire format it speaks, for a provider that names no `kind`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<Dialect>,
    /// With `dialect: openai`, which of its two chat formats the provider has: `chat_completions`,
    /// `responses` or both (the default). Requests of a format that is not named are translated, to
    /// the one that is named first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub formats: Vec<Format>,
    /// Where it is, with the path prefix that its API has (`https://api.openai.com/v1`).
    /// Left out for a simulated provider, and where its kind says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// Credentials, used in turn: one that is refused (401, 403) or limited (429) rests while
    /// others work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<SecretSource>,
    /// How it is authenticated; by default as its kind says, or as the dialect's own API wants it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthScheme>,
    /// With `auth: aws-sigv4`, where the keys for signatures come from.
    #[serde(default, skip_serializing_if = "is_default")]
    pub aws: AwsSettings,
    /// With `auth: google`, whose tokens are sent.
    #[serde(default, skip_serializing_if = "is_default")]
    pub google: GoogleSettings,
    /// With `auth: entra`, whose tokens are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entra: Option<EntraSettings>,
    /// Headers added to every request (`anthropic-version`, an organisation).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// TLS towards the provider.
    #[serde(default)]
    pub tls: TlsSettings,
    /// HTTP version towards the provider.
    #[serde(default)]
    pub http: HttpVersion,
    /// How long an idle connection is kept for reuse. Default 60s.
    #[serde(default = "idle_default")]
    pub idle: Time,
    /// The model asked for by health checks of kind `completion`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_model: Option<String>,
    /// Prices that override the catalogue, by model glob, in dollars per million tokens.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prices: BTreeMap<String, crate::meter::PriceSettings>,
    /// Limits on what is asked of it in all. A request that one of them has no room for goes to the next
    /// target of its pool. `models` and `per: [model]` are by the model that is asked for there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<limit::Settings>,
    /// The built-in simulated provider: served from this process on a loopback port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub simulated: Option<SimulatedSettings>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn idle_default() -> Time {
    Time::s(60)
}

/// Where a provider's credential goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuthScheme {
    /// `Authorization: Bearer …`
    Bearer,
    /// `x-api-key: …` (Anthropic)
    XApiKey,
    /// `api-key: …` (Azure)
    ApiKey,
    /// `x-goog-api-key: …` (Gemini)
    XGoogApiKey,
    /// A signature (AWS Signature Version 4) with keys of `aws`.
    AwsSigv4,
    /// A bearer token of Google for the account of `google`.
    Google,
    /// A bearer token of Microsoft Entra for the application of `entra`.
    Entra,
    /// None.
    None,
}

impl AuthScheme {
    /// The name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            AuthScheme::Bearer => "bearer",
            AuthScheme::XApiKey => "x-api-key",
            AuthScheme::ApiKey => "api-key",
            AuthScheme::XGoogApiKey => "x-goog-api-key",
            AuthScheme::AwsSigv4 => "aws-sigv4",
            AuthScheme::Google => "google",
            AuthScheme::Entra => "entra",
            AuthScheme::None => "none",
        }
    }

    /// Whether it sends one of a provider's `keys`.
    pub const fn takes_keys(self) -> bool {
        !matches!(
            self,
            AuthScheme::AwsSigv4 | AuthScheme::Google | AuthScheme::Entra | AuthScheme::None
        )
    }
}

/// HTTP version towards a provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HttpVersion {
    /// HTTP/2 where TLS negotiates it, HTTP/1.1 otherwise.
    #[default]
    Auto,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only; without TLS with prior knowledge.
    Http2,
}

/// TLS towards a provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// A PEM file with the authorities to trust, instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The name to ask for and to verify, instead of the host of `base_url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sni: Option<String>,
    /// `false` accepts any certificate. For tests.
    #[serde(default = "yes")]
    pub verify: bool,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self { ca: None, sni: None, verify: true }
    }
}

fn yes() -> bool {
    true
}

/// The built-in simulated provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SimulatedSettings {
    /// Seed of its random choices.
    pub seed: u64,
    /// Time to the first token.
    pub ttft: Time,
    /// Time between tokens.
    pub inter_token: Time,
    /// Tokens per answer.
    pub tokens: u32,
}

impl Default for SimulatedSettings {
    fn default() -> Self {
        Self { seed: 1, ttft: Time::ms(150), inter_token: Time::ms(30), tokens: 48 }
    }
}
