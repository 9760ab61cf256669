//! The configuration file, composed of the rooms' settings.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{SecretSource, Size, Time};
use crate::transport::{ListenerSettings, RuntimeSettings};
use crate::{database, ledger, limit, meter, pool, provider, route, store, tenant};

/// weir's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Where clients connect.
    #[schemars(length(min = 1))]
    pub listeners: Vec<ListenerSettings>,
    /// Health, metrics, admin API, console.
    #[serde(default)]
    pub admin: AdminSettings,
    /// The runtimes.
    #[serde(default)]
    pub runtime: RuntimeSettings,
    /// Bounds on what a client may send.
    #[serde(default)]
    pub bounds: Bounds,
    /// Logs.
    #[serde(default)]
    pub log: LogSettings,
    /// When the file is read again.
    #[serde(default)]
    pub reload: ReloadSettings,
    /// Kinds of providers beside those of the catalogue, or in place of one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kinds: BTreeMap<String, provider::Kind>,
    /// Upstream accounts, by name.
    pub providers: BTreeMap<String, provider::Settings>,
    /// Sets of interchangeable targets, by name.
    pub pools: BTreeMap<String, pool::Settings>,
    /// First match wins.
    pub routes: Vec<route::Settings>,
    /// Where this weir stands, for expressions (`request.region`): the same file may be used in several
    /// places with another one in each.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// Whether a caller needs a key. Default `keys`.
    #[serde(default)]
    pub access: tenant::Access,
    /// Groups of keys, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tenants: BTreeMap<String, tenant::Settings>,
    /// What requests are taken to use, where limits have to know it before it is known.
    #[serde(default)]
    pub admission: limit::Assumptions,
    /// Where several processes keep limits that they share. By default each process has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_limits: Option<limit::SharedSettings>,
    /// Where budgets that are used up are announced. Nowhere unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_events: Option<limit::EventSettings>,
    /// Issuers of tokens that callers send in place of a key, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub issuers: BTreeMap<String, tenant::IssuerSettings>,
    /// What administrators make and change while weir runs, in `storage`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentitySettings>,
    /// Responses that are kept for clients who go on from them by their id.
    #[serde(default)]
    pub responses: store::Settings,
    /// Where keys, the audit log and the ledger are kept. Left out, nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<database::Settings>,
    /// The ledger: one record per request in the database.
    #[serde(default)]
    pub ledger: ledger::Settings,
    /// Prices that override the built-in catalogue, by model glob, in dollars per million tokens.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prices: BTreeMap<String, meter::PriceSettings>,
}

/// What administrators make and change while weir runs: virtual keys, access requests, the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IdentitySettings {
    /// The secret that hashes of keys and the audit log are keyed with, of 16 characters at least. The
    /// same on all machines that share the database; without it no virtual key can be used.
    pub secret: SecretSource,
}

/// Health, metrics, admin API, console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdminSettings {
    /// Where to listen. Default `127.0.0.1:9090`. Anything beyond loopback needs `token`, `tokens` or
    /// `sso`.
    #[schemars(with = "String", extend("format" = "socket-address", "examples" = ["127.0.0.1:9090"]))]
    pub address: SocketAddr,
    /// Bearer token for `/admin/v1`, of an owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretSource>,
    /// Tokens of persons and programs, each with a role.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<TokenSettings>,
    /// Persons who show a token of one of `issuers` (single sign-on), by the roles that it names. The
    /// first that fits counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sso: Vec<SsoSettings>,
}

/// What a role in tokens of an issuer may do in `/admin/v1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SsoSettings {
    /// One of `issuers`, with `claims.roles`.
    pub issuer: String,
    /// What the token's claim of roles has, exactly.
    pub claim: String,
    /// What that may do here.
    pub role: Role,
    /// Which tenants it may see and change. Default `own`.
    #[serde(default)]
    pub tenants: Reach,
    /// The token must be for this one among the issuer's audiences, so that one that was made to call
    /// models does not administer. By default any of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
}

/// Which tenants somebody may see and change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// The one that the token is of.
    #[default]
    Own,
    /// All of them.
    All,
}

impl Role {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Owner => "owner",
            Role::Operator => "operator",
            Role::Auditor => "auditor",
            Role::Developer => "developer",
        }
    }
}

/// A bearer token for `/admin/v1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenSettings {
    /// Whose it is, for the audit log.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The only tenant that it may see and change. By default all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Where the token is.
    pub secret: SecretSource,
}

/// What a token may do in `/admin/v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything; alone decides on access requests.
    Owner,
    /// Keys and the configuration.
    Operator,
    /// Sees everything and changes nothing.
    Auditor,
    /// Sees keys and asks for more access.
    Developer,
}

impl AdminSettings {
    /// Whether `/admin/v1` asks who somebody is.
    pub fn is_closed(&self) -> bool {
        self.token.is_some() || !self.tokens.is_empty() || !self.sso.is_empty()
    }
}

impl Default for AdminSettings {
    fn default() -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 9090));
        Self { address, token: None, tokens: Vec::new(), sso: Vec::new() }
    }
}

/// Bounds on what a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Bounds {
    /// The request line and all headers. Default 64KiB.
    pub head: Size,
    /// Number of headers. Default 100; HTTP/1 refuses more than 256 whatever stands here.
    #[schemars(range(min = 1, max = 256))]
    pub headers: u32,
    /// The request body. Default 64MiB.
    pub body: Size,
    /// One frame of a stream, in either direction. Default 16MiB.
    pub frame: Size,
    /// Nesting of a JSON body. Default 128.
    #[schemars(range(min = 1, max = 1024))]
    pub json_depth: u32,
    /// Time between two reads while a request arrives. Default 30s.
    pub read: Time,
    /// The whole body, from its first byte to its last. Default 2m.
    pub body_time: Time,
    /// An idle keep-alive connection. Default 75s.
    pub idle: Time,
    /// A client that does not read what is sent to it. Default 60s.
    pub write: Time,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            head: Size::kib(64),
            headers: 100,
            body: Size::mib(64),
            frame: Size::mib(16),
            json_depth: 128,
            read: Time::s(30),
            body_time: Time::s(120),
            idle: Time::s(75),
            write: Time::s(60),
        }
    }
}

/// Logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// The access log, one JSON line a request: `stdout`, `stderr`, `off`, or a path. Default `stdout`.
    pub access: String,
    /// The level of the process log on standard error: `error`, `warn`, `info`, `debug`. Default `info`.
    #[schemars(extend("enum" = ["error", "warn", "info", "debug"]))]
    pub level: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { access: "stdout".into(), level: "info".into() }
    }
}

/// When the file is read again. SIGHUP always does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReloadSettings {
    /// Also when the file changes. Default false.
    pub watch: bool,
    /// More files whose change counts (certificates, secrets).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<PathBuf>,
}
