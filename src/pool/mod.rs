//! A pool is a set of targets that can answer the same request, and the policy that chooses among
//! them: balancing, breakers, health, retries, hedging, queueing.

mod settings;

pub use settings::{
    BreakerSettings, HashOn, HealthKind, HealthSettings, HedgeSettings, QueueSettings,
    RetrySettings, Settings, Strategy, TargetSettings, Timeouts,
};
