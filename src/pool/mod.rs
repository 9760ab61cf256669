//! A pool is a set of targets that can answer the same request, and the policy that chooses among
//! them: balancing, breakers, health, retries, hedging, queueing.
//!
//! A [`Pool`] is immutable and belongs to one plan. What is learnt while weir runs (requests under
//! way, breakers, latency, the queue) is shared by all threads and outlives a reload.

mod adaptive;
mod breaker;
mod budget;
mod choose;
mod compile;
mod health;
mod latency;
mod lease;
mod queue;
mod ring;
mod settings;
mod snapshot;
mod target;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use breaker::BreakerState;
pub use choose::Pick;
pub use compile::Environment;
pub use health::{Check, Checker, Prober, watch};
pub use lease::{Lease, Outcome};
pub use queue::SelectError;
pub use settings::{
    AdaptiveSettings, BreakerSettings, HashOn, HealthKind, HealthSettings, HedgeSettings,
    QueueSettings, RetrySettings, Settings, Strategy, TargetSettings, Timeouts,
};
pub use snapshot::{PoolSnapshot, TargetSnapshot};
pub use target::{Target, TargetState};

use crate::clock::{self, Duration, Instant};
use crate::config::Class;
use choose::Core;
use target::Standing;

/// A set of interchangeable targets, ready for use.
#[derive(Debug)]
pub struct Pool {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// How a target is chosen.
    pub strategy: Strategy,
    /// What requests are kept together by, with strategy `hash`.
    pub hash_on: HashOn,
    /// The four timeouts.
    pub timeouts: Timeouts,
    /// Retries before the first byte.
    pub retry: RetrySettings,
    /// Active health checks.
    pub health: Option<HealthSettings>,
    /// Hedging.
    pub hedge: Option<HedgeSettings>,
    /// Silence after which a comment line is sent on an SSE stream.
    pub heartbeat: Option<Duration>,
    /// Its targets, in the order of the configuration, without those that have no usable key.
    pub targets: Arc<[Arc<Target>]>,
    /// Indices of the pools to go on to, in this order.
    pub fallback: Vec<usize>,
    core: Arc<Core>,
}

impl Pool {
    /// Chooses the next target and takes a slot of it; where all slots are taken, waits in the
    /// pool's queue until the deadline or the queue's own bound. The target is added to
    /// [`Pick::tried`] and not chosen again.
    pub async fn select(&self, pick: &mut Pick, deadline: Instant) -> Result<Lease, SelectError> {
        self.core.select(pick, deadline).await
    }

    /// The same without waiting: for hedges, which are not worth a place in the queue.
    pub fn try_select(&self, pick: &mut Pick, now: Instant) -> Option<Lease> {
        self.core.try_select(pick, now).ok()
    }

    /// Counts a request, from which the budgets for retries and hedges follow.
    pub fn note_request(&self) {
        self.note_request_at(clock::now());
    }

    fn note_request_at(&self, now: Instant) {
        self.core.shared.retries.note_request(now);
        if self.hedge.is_some() {
            self.core.shared.hedges.note_request(now);
        }
    }

    /// Takes leave for one retry from the budget.
    pub fn retry_allowed(&self) -> bool {
        let RetrySettings { budget_percent, budget_min_per_second, .. } = self.retry;
        self.core.shared.retries.take(budget_percent, budget_min_per_second, clock::now())
    }

    /// How long to wait for a first token before a hedge. None where hedging is off, or too little
    /// is known.
    pub fn hedge_delay(&self) -> Option<Duration> {
        let hedge = self.hedge.as_ref()?;
        Some(self.core.shared.ttft.get()?.max(hedge.min_delay.0))
    }

    /// Takes leave for one hedge from its percentage.
    pub fn hedge_allowed(&self) -> bool {
        self.hedge
            .as_ref()
            .is_some_and(|hedge| self.core.shared.hedges.take(hedge.max_percent, 0, clock::now()))
    }

    /// Whether any target may be used now, a busy one included.
    pub fn usable(&self, now: Instant) -> bool {
        let members = self.core.tiers.iter().flat_map(|tier| &tier.members);
        members
            .map(|index| self.targets[usize::from(*index)].standing(now, Class::High))
            .any(|standing| matches!(standing, Standing::Ready | Standing::Probe | Standing::Full))
    }

    /// Requests that wait for a slot.
    pub fn waiting(&self) -> usize {
        self.core.shared.queue.waiting()
    }

    /// What a health check of this pool does. None where it has none.
    pub fn check(&self) -> Option<Check> {
        let settings = self.health.as_ref()?;
        let by_path = if settings.path.is_some() { HealthKind::Http } else { HealthKind::Tcp };
        Some(Check {
            kind: settings.kind.unwrap_or(by_path),
            path: settings.path.as_deref().map(Into::into),
            timeout: settings.timeout.0,
        })
    }

    /// Takes the result of a health check of one target.
    pub fn record_check(&self, index: usize, result: Result<(), String>, now: Instant) {
        let (Some(settings), Some(target)) = (&self.health, self.targets.get(index)) else {
            return;
        };
        let Some(healthy) = target.state.health.record(settings, result.is_ok()) else { return };
        if healthy {
            target.state.back_since.set(Some(now));
            log::info!("pool {}: target {} is healthy again", self.name, target.id);
        } else {
            let why = result.err().unwrap_or_default();
            log::warn!("pool {}: target {} is unhealthy: {why}", self.name, target.id);
        }
        self.core.slot_freed(true, now);
    }
}
