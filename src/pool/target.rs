//! One target: what the operator wrote about it, and what is learnt about it while weir runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::adaptive::Adaptive;
use super::breaker::{Breaker, BreakerState, Gate};
use super::health::Health;
use super::latency::Average;
use super::settings::{AdaptiveSettings, BreakerSettings};
use crate::clock::{AtomicInstant, Duration, Instant};
use crate::config::Class;
use crate::provider::Provider;

/// The smallest share of its weight that a target has when slow start begins.
const SLOW_START_SHARE_MIN: f64 = 0.1;
/// First rest after a 429 that does not say for how long; doubles with each in a row.
const LIMITED_REST: Duration = Duration::from_secs(1);
/// Longest rest after a 429 that does not say for how long.
const LIMITED_REST_MAX: Duration = Duration::from_secs(30);
/// Longest rest after a 429, whatever it says.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// A provider and a model there, as one choice of a pool.
#[derive(Debug)]
pub struct Target {
    /// `provider/model`, or `provider` where the client's own model is passed on.
    pub id: Arc<str>,
    /// Where it is.
    pub provider: Arc<Provider>,
    /// The model asked for there; the client's own where there is none.
    pub model: Option<Arc<str>>,
    /// Its share among targets of the same priority.
    pub weight: u32,
    /// Lower is used first.
    pub priority: u32,
    /// Most requests at a time.
    pub max_concurrent: Option<u32>,
    /// How many of them it is given, found from its latency.
    pub(super) adaptive: Option<AdaptiveSettings>,
    /// What it costs, in any unit that the pool's targets share. Unknown is the dearest.
    pub(super) cost: u64,
    pub(super) breaker: BreakerSettings,
    pub(super) slow_start: Duration,
    /// What is learnt about it. Shared by all threads; survives a reload that keeps the target.
    pub state: Arc<TargetState>,
}

/// What is learnt about a target while weir runs.
#[derive(Debug)]
pub struct TargetState {
    pub(super) in_flight: AtomicU32,
    pub(super) breaker: Breaker,
    pub(super) health: Health,
    pub(super) ttft: Average,
    pub(super) adaptive: Adaptive,
    /// Not used before then: it answered 429.
    pub(super) resting: AtomicInstant,
    limited_in_a_row: AtomicU32,
    /// When it came back; slow start counts from here.
    pub(super) back_since: AtomicInstant,
    /// Its virtual time in round robin, in units of 1/2^20 turns of a target of weight 1.
    pub(super) turn: AtomicU64,
    pub(super) counts: Counts,
}

/// Attempts, by how they ended.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub succeeded: AtomicU64,
    pub failed: AtomicU64,
    pub limited: AtomicU64,
    pub cancelled: AtomicU64,
}

/// Whether a target may be used now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Ready,
    /// As a probe of its breaker.
    Probe,
    /// All its slots are taken.
    Full,
    /// Not before then; none when nobody knows.
    Out(Option<Instant>),
}

impl TargetState {
    pub(super) fn new(back_since: Option<Instant>) -> Self {
        let state = Self {
            in_flight: AtomicU32::new(0),
            breaker: Breaker::new(),
            health: Health::new(),
            ttft: Average::new(),
            adaptive: Adaptive::new(),
            resting: AtomicInstant::none(),
            limited_in_a_row: AtomicU32::new(0),
            back_since: AtomicInstant::none(),
            turn: AtomicU64::new(0),
            counts: Counts::default(),
        };
        state.back_since.set(back_since);
        state
    }

    /// Requests under way.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// Whether active checks say that it works. True where there are none.
    pub fn healthy(&self) -> bool {
        self.health.healthy()
    }

    /// What its breaker lets through.
    pub fn breaker(&self, now: Instant) -> BreakerState {
        self.breaker.state(now)
    }

    /// The decayed time to its first token.
    pub fn ttft(&self) -> Option<Duration> {
        self.ttft.us().map(|us| Duration::from_micros(us as u64))
    }

    /// Until when it rests because it answered 429.
    pub fn resting_until(&self, now: Instant) -> Option<Instant> {
        self.resting.after(now)
    }

    /// Notes a 429 and how long to rest for it.
    pub(super) fn rest(&self, retry_after: Option<Duration>, now: Instant) {
        let before = self.limited_in_a_row.fetch_add(1, Ordering::Relaxed).min(10);
        let rest = match retry_after {
            Some(said) => said.min(RETRY_AFTER_MAX),
            None => (LIMITED_REST * (1 << before)).min(LIMITED_REST_MAX),
        };
        self.resting.extend(now + rest);
    }

    /// Notes that it answered other than by 429.
    pub(super) fn not_limited(&self) {
        if self.limited_in_a_row.load(Ordering::Relaxed) != 0 {
            self.limited_in_a_row.store(0, Ordering::Relaxed);
        }
    }
}

impl Target {
    /// Whether it may be used now, a busy one included.
    pub fn usable(&self, now: Instant) -> bool {
        matches!(
            self.standing(now, Class::High),
            Standing::Ready | Standing::Probe | Standing::Full
        )
    }

    /// The most requests at a time for this class.
    pub(super) fn most(&self, class: Class) -> Option<u32> {
        let adaptive = self.adaptive.as_ref();
        let found = adaptive.map(|settings| self.state.adaptive.bound(settings, class));
        found.into_iter().chain(self.max_concurrent).min()
    }

    /// Whether a request of this class may be sent to it now.
    pub(super) fn standing(&self, now: Instant, class: Class) -> Standing {
        let state = &*self.state;
        if !state.health.healthy() {
            return Standing::Out(None);
        }
        let gate = state.breaker.gate(&self.breaker, now);
        if let Gate::Shut(until) = gate {
            return Standing::Out(until);
        }
        if let Some(until) = state.resting.after(now) {
            return Standing::Out(Some(until));
        }
        if let Some(until) = self.provider.keys.resting_until(now) {
            return Standing::Out(Some(until));
        }
        if self.most(class).is_some_and(|max| state.in_flight() >= max) {
            return Standing::Full;
        }
        if gate == Gate::Probe { Standing::Probe } else { Standing::Ready }
    }

    /// Takes a slot, unless all are taken.
    pub(super) fn take_slot(&self, class: Class) -> bool {
        let Some(max) = self.most(class) else {
            self.state.in_flight.fetch_add(1, Ordering::SeqCst);
            return true;
        };
        self.state
            .in_flight
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |taken| {
                (taken < max).then_some(taken + 1)
            })
            .is_ok()
    }

    pub(super) fn free_slot(&self) {
        self.state.in_flight.fetch_sub(1, Ordering::SeqCst);
    }

    /// The share of its weight that slow start leaves it.
    pub(super) fn warmth(&self, now: Instant) -> f64 {
        if self.slow_start.is_zero() {
            return 1.0;
        }
        let Some(since) = self.state.back_since.get() else { return 1.0 };
        let passed = now.saturating_duration_since(since).as_secs_f64();
        (passed / self.slow_start.as_secs_f64()).clamp(SLOW_START_SHARE_MIN, 1.0)
    }
}
