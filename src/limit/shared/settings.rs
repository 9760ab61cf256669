//! What the operator writes about limits that several processes share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{SecretSource, Time};

/// The store through which processes share their limits: Redis or Valkey.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SharedSettings {
    /// Where its address is: `redis://host:6379/0`, `rediss://` with TLS,
    /// `redis+sentinel://host:26379,host:26379/master-name`, `redis+cluster://host:6379,host:6379`.
    pub url: SecretSource,
    /// How exact limits are. Default `leased`.
    #[serde(default)]
    pub mode: SharedMode,
    /// In mode `leased`: what a process claims beyond what it has used, in percent of the limit.
    /// Default 2.
    #[serde(default = "lease_percent")]
    #[schemars(range(min = 1, max = 50))]
    pub lease_percent: u8,
    /// What happens while the store is away. Default `within_lease`.
    #[serde(default)]
    pub when_away: WhenAway,
    /// How long a request waits for the store. Default 500ms.
    #[serde(default = "timeout")]
    pub timeout: Time,
    /// How keys begin: processes with the same one share their limits. Default `weir`.
    #[serde(default = "prefix")]
    pub prefix: String,
}

fn lease_percent() -> u8 {
    2
}

fn timeout() -> Time {
    Time::ms(500)
}

fn prefix() -> String {
    "weir".into()
}

/// How exact limits are that are shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SharedMode {
    /// A process claims a little ahead, so that most requests wait for nobody. What others have
    /// claimed and not used is not there for it.
    #[default]
    Leased,
    /// A process claims what each request holds, and gives back at once what it did not use. Every
    /// request under a limit waits for the store.
    Strict,
}

/// What happens while the store is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenAway {
    /// Requests go on within what this process has claimed.
    #[default]
    WithinLease,
    /// Requests under a limit are refused.
    Refuse,
}
