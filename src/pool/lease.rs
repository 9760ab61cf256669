//! Leave to send one request to one target.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::breaker::{Admission, Change, Verdict};
use super::choose::Core;
use super::target::Target;
use crate::clock::{self, Duration, Instant};
use crate::error::Kind;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered as it should.
    Success,
    /// It failed. Counts against the target where [`Kind::blames_target`] says so.
    Failure(Kind),
    /// It answered 429. The target rests, unless its provider has another key to use: so tell
    /// the provider's key ring first.
    RateLimited {
        /// What the provider said about when to come back.
        retry_after: Option<Duration>,
    },
    /// The attempt was given up (the client left, a hedge won). Counts for and against nobody.
    Cancelled,
}

impl Outcome {
    /// Whether the target had too much to do.
    fn says_overload(self) -> bool {
        matches!(
            self,
            Outcome::RateLimited { .. }
                | Outcome::Failure(Kind::FirstTokenTimeout | Kind::Overloaded)
        )
    }
}

/// Leave to send one request to one target: a concurrency slot and, while the breaker is half
/// open, its probe. Dropping it means [`Outcome::Cancelled`].
#[derive(Debug)]
pub struct Lease {
    core: Arc<Core>,
    index: u16,
    admission: Admission,
    since: Instant,
    /// None once it was given.
    outcome: Option<Outcome>,
}

impl Lease {
    pub(super) fn new(core: Arc<Core>, index: u16, admission: Admission, since: Instant) -> Self {
        Self { core, index, admission, since, outcome: Some(Outcome::Cancelled) }
    }

    /// The target.
    pub fn target(&self) -> &Arc<Target> {
        &self.core.targets[usize::from(self.index)]
    }

    /// Its index in the pool.
    pub fn index(&self) -> usize {
        usize::from(self.index)
    }

    /// Whether this request probes a breaker that is half open.
    pub fn is_probe(&self) -> bool {
        self.admission.probe
    }

    /// When it was taken.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Notes the time to the first token, which came now.
    pub fn first_token(&self, ttft: Duration, now: Instant) {
        let target = self.target();
        target.state.ttft.record(ttft, now);
        if let Some(settings) = &target.adaptive {
            target.state.adaptive.sample(settings, ttft, target.state.in_flight());
        }
        if let Some(hedge) = &self.core.hedge {
            self.core.shared.ttft.record(ttft, hedge.quantile);
        }
    }

    /// Ends the lease with what came of the request.
    pub fn finish(self, outcome: Outcome) {
        self.finish_at(outcome, clock::now());
    }

    /// The same at this moment, which is the present.
    pub fn finish_at(mut self, outcome: Outcome, now: Instant) {
        self.outcome = None;
        self.release(outcome, now);
    }

    fn release(&self, outcome: Outcome, now: Instant) {
        let target = self.target();
        let state = &*target.state;
        let mut thorough = false;
        let (verdict, count) = match outcome {
            Outcome::Success => {
                state.not_limited();
                (Verdict::Success, &state.counts.succeeded)
            }
            Outcome::Failure(kind) => {
                if kind == Kind::FirstTokenTimeout {
                    // A lower bound of what it would have been; nothing at all would look fast.
                    state.ttft.record(now.saturating_duration_since(self.since), now);
                }
                let verdict =
                    if kind.blames_target() { Verdict::Failure } else { Verdict::Neutral };
                (verdict, &state.counts.failed)
            }
            Outcome::RateLimited { retry_after } => {
                let keys = &target.provider.keys;
                if keys.len() <= 1 || keys.resting_until(now).is_some() {
                    state.rest(retry_after, now);
                    thorough = true;
                }
                (Verdict::Neutral, &state.counts.limited)
            }
            Outcome::Cancelled => (Verdict::Neutral, &state.counts.cancelled),
        };
        count.fetch_add(1, Ordering::Relaxed);
        if let Some(settings) = &target.adaptive
            && outcome.says_overload()
        {
            state.adaptive.overloaded(settings, state.in_flight());
        }
        let change = state.breaker.record(&target.breaker, self.admission, verdict, now);
        if let Some(change) = change {
            thorough = true;
            self.note(change, now);
        }
        target.free_slot();
        self.core.slot_freed(thorough || self.admission.probe, now);
    }

    fn note(&self, change: Change, now: Instant) {
        let (pool, target) = (&self.core.pool, &self.target().id);
        match change {
            Change::Opened { cooldown } => log::warn!(
                "pool {pool}: target {target} is taken out for {} ms: it fails",
                cooldown.as_millis()
            ),
            Change::Closed => {
                self.target().state.back_since.set(Some(now));
                log::info!("pool {pool}: target {target} is back");
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(outcome) = self.outcome.take() {
            self.release(outcome, clock::now());
        }
    }
}
