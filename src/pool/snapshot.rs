//! The live state of a pool, as the admin API shows it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Serialize;

use super::breaker::BreakerState;
use super::settings::Strategy;
use super::{Pool, Target};
use crate::clock::Instant;
use crate::provider::KeySnapshot;

/// The live state of a pool.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PoolSnapshot {
    /// Its name.
    pub name: Arc<str>,
    /// How a target is chosen.
    pub strategy: Strategy,
    /// Whether any target may be used.
    pub usable: bool,
    /// Requests that wait for a slot.
    pub waiting: usize,
    /// Time after which a request is hedged, in milliseconds; none while too little is known.
    pub hedge_delay_ms: Option<f64>,
    /// Its targets, in the order of the configuration.
    pub targets: Vec<TargetSnapshot>,
}

/// The live state of a target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TargetSnapshot {
    /// `provider/model`.
    pub id: Arc<str>,
    /// The provider's name.
    pub provider: Arc<str>,
    /// Its share among targets of the same priority.
    pub weight: u32,
    /// Lower is used first.
    pub priority: u32,
    /// Requests under way.
    pub in_flight: u32,
    /// Most requests at a time.
    pub max_concurrent: Option<u32>,
    /// The most that its latency allows at present.
    pub adaptive_concurrent: Option<u32>,
    /// What active checks say.
    pub healthy: bool,
    /// What its breaker lets through.
    pub breaker: BreakerState,
    /// Milliseconds until an open breaker is probed.
    pub breaker_open_ms: u64,
    /// Milliseconds it rests because it answered 429.
    pub resting_ms: u64,
    /// The decayed time to its first token, in milliseconds.
    pub ttft_ms: Option<f64>,
    /// Share of its weight that slow start leaves it, from 0 to 1.
    pub warmth: f64,
    /// Attempts that succeeded.
    pub succeeded: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Attempts that were answered with 429.
    pub limited: u64,
    /// Attempts that were given up.
    pub cancelled: u64,
    /// The provider's keys.
    pub keys: Vec<KeySnapshot>,
}

impl Pool {
    /// The live state.
    pub fn snapshot(&self, now: Instant) -> PoolSnapshot {
        PoolSnapshot {
            name: Arc::clone(&self.name),
            strategy: self.strategy,
            usable: self.usable(now),
            waiting: self.waiting(),
            hedge_delay_ms: self.hedge_delay().map(|delay| delay.as_secs_f64() * 1e3),
            targets: self.targets.iter().map(|target| target.snapshot(now)).collect(),
        }
    }
}

impl Target {
    /// The live state.
    pub fn snapshot(&self, now: Instant) -> TargetSnapshot {
        let state = &*self.state;
        let left_ms =
            |until: Option<Instant>| until.map_or(0, |until| (until - now).as_millis() as u64);
        TargetSnapshot {
            id: Arc::clone(&self.id),
            provider: Arc::clone(&self.provider.name),
            weight: self.weight,
            priority: self.priority,
            in_flight: state.in_flight(),
            max_concurrent: self.max_concurrent,
            adaptive_concurrent: self.adaptive.map(|settings| state.adaptive.whole(&settings)),
            healthy: state.healthy(),
            breaker: state.breaker(now),
            breaker_open_ms: left_ms(state.breaker.open_until(now)),
            resting_ms: left_ms(state.resting_until(now)),
            ttft_ms: state.ttft().map(|ttft| ttft.as_secs_f64() * 1e3),
            warmth: self.warmth(now),
            succeeded: state.counts.succeeded.load(Ordering::Relaxed),
            failed: state.counts.failed.load(Ordering::Relaxed),
            limited: state.counts.limited.load(Ordering::Relaxed),
            cancelled: state.counts.cancelled.load(Ordering::Relaxed),
            keys: self.provider.keys.snapshot(now),
        }
    }
}
