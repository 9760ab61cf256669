//! What the operator writes about a pool.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{Size, Time};

/// A set of interchangeable targets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How a target is chosen. Default `weighted`.
    #[serde(default)]
    pub strategy: Strategy,
    /// With strategy `hash`: what requests are kept together by. Default `caller`.
    #[serde(default)]
    pub hash_on: HashOn,
    /// The targets.
    #[schemars(length(min = 1))]
    pub targets: Vec<TargetSettings>,
    /// The four timeouts.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Retries before the first byte.
    #[serde(default)]
    pub retry: RetrySettings,
    /// When a target is taken out, and how it comes back.
    #[serde(default)]
    pub breaker: BreakerSettings,
    /// Active health checks. None unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthSettings>,
    /// Waiting for a concurrency slot.
    #[serde(default)]
    pub queue: QueueSettings,
    /// A second request to another target when the first is slow to its first token. None unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge: Option<HedgeSettings>,
    /// How many requests each target is given at a time, found from its latency. Not bounded that way
    /// unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<AdaptiveSettings>,
    /// How long a target that came back takes to reach its full share. Default 0: at once.
    #[serde(default = "zero")]
    pub slow_start: Time,
    /// A comment line is sent on an SSE stream that was silent for this long, to keep hops in
    /// between from closing it. Default 0: never.
    #[serde(default = "zero")]
    pub heartbeat: Time,
    /// Pools to go on to, in this order, when this one has no target left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<String>,
}

impl Settings {
    /// One target at a provider, with the default policies: for requests that name the provider.
    pub fn of_provider(provider: &str) -> Self {
        Self {
            strategy: Strategy::default(),
            hash_on: HashOn::default(),
            targets: vec![TargetSettings {
                provider: provider.to_owned(),
                model: None,
                weight: one(),
                priority: 0,
                max_concurrent: None,
            }],
            timeouts: Timeouts::default(),
            retry: RetrySettings::default(),
            breaker: BreakerSettings::default(),
            health: None,
            queue: QueueSettings::default(),
            hedge: None,
            adaptive: None,
            slow_start: zero(),
            heartbeat: zero(),
            fallback: Vec::new(),
        }
    }
}

/// One target: a provider and a model there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetSettings {
    /// Name of a provider.
    pub provider: String,
    /// The model asked for there. By default what the client asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Share among targets of the same priority. Default 1; 0 takes no traffic.
    #[serde(default = "one")]
    pub weight: u32,
    /// Lower is used first; the next one when no target of this priority is left. Default 0.
    #[serde(default)]
    pub priority: u32,
    /// Most requests at a time. Default: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_concurrent: Option<u32>,
}

/// How a target is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// By weight, at random.
    #[default]
    Weighted,
    /// In turn, by weight.
    RoundRobin,
    /// The less busy of two random ones, by requests in flight over weight.
    LeastBusy,
    /// The one with the lowest decayed time to first token.
    LeastLatency,
    /// The cheapest, by the price of its model.
    LeastCost,
    /// Consistent hashing (ketama) on `hash_on`.
    Hash,
}

/// What requests are kept together by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HashOn {
    /// The caller's key.
    #[default]
    Caller,
    /// The request's `user` (or `metadata.user_id`) field; the caller's key where there is none.
    User,
    /// A request header; the caller's key where there is none.
    Header(String),
    /// The first bytes of the messages, so that a provider's prompt cache is hit.
    PromptPrefix(Size),
}

/// The four timeouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// Connecting, TLS included. Default 5s.
    pub connect: Time,
    /// From the request being sent to the first token (the whole answer where it is not streamed). Default 60s.
    pub first_token: Time,
    /// Between two frames of a stream. Default 30s.
    pub inter_token: Time,
    /// The whole exchange, every attempt included. Default 10m.
    pub total: Time,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Time::s(5),
            first_token: Time::s(60),
            inter_token: Time::s(30),
            total: Time::s(600),
        }
    }
}

/// Retries before the first byte reaches the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetrySettings {
    /// Most attempts a request, the first included. Default 3.
    #[schemars(range(min = 1, max = 16))]
    pub attempts: u32,
    /// Retries may add at most this many percent to the pool's requests. Default 20.
    #[schemars(range(max = 100))]
    pub budget_percent: u32,
    /// Retries a second that are allowed whatever the percentage. Default 10.
    pub budget_min_per_second: u32,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self { attempts: 3, budget_percent: 20, budget_min_per_second: 10 }
    }
}

/// When a target is taken out, and how it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerSettings {
    /// Opens after this many failures in a row. Default 5; 0 turns this signal off.
    pub consecutive_failures: u32,
    /// Opens when this many percent of the window failed. Default 50; 0 turns this signal off.
    #[schemars(range(max = 100))]
    pub error_percent: u32,
    /// Fewest requests in the window for `error_percent` to count. Default 20.
    #[schemars(range(min = 1))]
    pub min_requests: u32,
    /// The window of `error_percent`. Default 10s.
    pub window: Time,
    /// First cooldown; doubles each time the probes fail. Default 5s.
    pub cooldown: Time,
    /// Longest cooldown. Default 60s.
    pub cooldown_max: Time,
    /// Probes at a time while half open. Default 1.
    #[schemars(range(min = 1))]
    pub half_open: u32,
    /// Successes in a row that close it. Default 2.
    #[schemars(range(min = 1))]
    pub close_after: u32,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            error_percent: 50,
            min_requests: 20,
            window: Time::s(10),
            cooldown: Time::s(5),
            cooldown_max: Time::s(60),
            half_open: 1,
            close_after: 2,
        }
    }
}

/// Active health checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthSettings {
    /// What is checked. Default `http` where a path is given, else `tcp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<HealthKind>,
    /// Path below the provider's `base_url` for kind `http` (`/models`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Time between checks. Default 5s.
    #[serde(default = "five_seconds")]
    pub interval: Time,
    /// Longest time a check may take. Default 2s.
    #[serde(default = "two_seconds")]
    pub timeout: Time,
    /// Failures in a row that take a target out. Default 3.
    #[serde(default = "three")]
    #[schemars(range(min = 1))]
    pub unhealthy_after: u32,
    /// Successes in a row that bring it back. Default 2.
    #[serde(default = "two")]
    #[schemars(range(min = 1))]
    pub healthy_after: u32,
}

/// What a health check does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthKind {
    /// Connects.
    Tcp,
    /// Asks for `path` and expects a 2xx.
    Http,
    /// Asks the model for one token.
    Completion,
}

/// Waiting for a concurrency slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QueueSettings {
    /// Most requests waiting. Default 256.
    pub max: u32,
    /// Longest wait. Default 5s.
    pub wait: Time,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self { max: 256, wait: Time::s(5) }
    }
}

/// How many requests a target is given at a time, found from its time to first token.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdaptiveSettings {
    /// Before anything is known. Default 20.
    #[schemars(range(min = 1))]
    pub initial: u32,
    /// Never fewer. Default 2.
    #[schemars(range(min = 1))]
    pub min: u32,
    /// Never more. Default 1000.
    #[schemars(range(min = 1))]
    pub max: u32,
    /// How many times longer than usual the first token may take before fewer are given. Default 1.5.
    #[schemars(range(min = 1.0))]
    pub tolerance: f64,
}

impl Default for AdaptiveSettings {
    fn default() -> Self {
        Self { initial: 20, min: 2, max: 1000, tolerance: 1.5 }
    }
}

/// A second request to another target when the first is slow to its first token.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HedgeSettings {
    /// Hedge after this quantile of the pool's time to first token. Default 0.95.
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    pub quantile: f64,
    /// Never before this. Default 200ms.
    pub min_delay: Time,
    /// At most this many percent of the pool's requests are hedged. Default 5.
    #[schemars(range(max = 100))]
    pub max_percent: u32,
    /// A request estimated to cost more than this is not hedged, in dollars. Default: no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub max_cost_usd: Option<f64>,
}

impl Default for HedgeSettings {
    fn default() -> Self {
        Self { quantile: 0.95, min_delay: Time::ms(200), max_percent: 5, max_cost_usd: None }
    }
}

fn zero() -> Time {
    Time::ms(0)
}
fn one() -> u32 {
    1
}
fn two() -> u32 {
    2
}
fn three() -> u32 {
    3
}
fn two_seconds() -> Time {
    Time::s(2)
}
fn five_seconds() -> Time {
    Time::s(5)
}
