//! Choosing a target.
//!
//! *Order*: priorities first, the lowest number that has a target ready; within one, the pool's
//! strategy. A target whose slots are all taken is passed over for one of a later priority: a
//! queue is for when nothing at all is free.
//!
//! *Probes*: a target whose breaker is half open is tried by the first attempt that comes, before
//! all others, or a strategy that prefers what is known to be good would never find out. The
//! request is safe: if the probe fails it goes on to another target. A second attempt, which has
//! fewer left, probes only when nothing else is ready.
//!
//! *Cold start*: all targets have their full weight, no latency is known, and the latency strategy
//! tries each unknown target with one request at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use smallvec::SmallVec;

use super::budget::Budget;
use super::latency::Quantile;
use super::lease::Lease;
use super::queue::Queue;
use super::ring::Ring;
use super::settings::{HedgeSettings, QueueSettings, Strategy};
use super::target::{Standing, Target};
use crate::clock::Instant;
use crate::config::Class;

/// Latencies this close to the best are as good as it.
const LATENCY_TIE: f64 = 1.1;
/// One turn of a target of weight 1 in round robin.
const TURN: f64 = (1 << 20) as f64;

/// What one request remembers between its attempts.
#[derive(Clone, Debug)]
pub struct Pick {
    /// What the request is kept together by, for strategy `hash`.
    pub hash: Option<u64>,
    /// Indices of the targets that were tried. [`super::Pool::select`] adds to it.
    pub tried: SmallVec<[u16; 8]>,
    /// Whether a target was chosen before. Not the same as `tried`, in which a caller may put
    /// targets that are out of the question.
    pub(super) again: bool,
    pub(super) chance: Chance,
    pub(super) class: Class,
}

impl Pick {
    /// For a request of this class.
    #[must_use]
    pub fn of_class(self, class: Class) -> Self {
        Self { class, ..self }
    }

    /// For a new request.
    pub fn new(hash: Option<u64>) -> Self {
        Self::with(hash, Chance(None))
    }

    /// With a fixed seed, for tests and simulations.
    pub fn seeded(hash: Option<u64>, seed: u64) -> Self {
        Self::with(hash, Chance(Some(SmallRng::seed_from_u64(seed))))
    }

    fn with(hash: Option<u64>, chance: Chance) -> Self {
        Self { hash, tried: SmallVec::new(), again: false, chance, class: Class::default() }
    }

    /// Notes the choice that was made.
    pub(super) fn chosen(&mut self, index: u16) {
        self.tried.push(index);
        self.again = true;
    }

    /// Forgets what was tried: for another pool, or another round on the same targets.
    pub fn forget_tried(&mut self) {
        self.tried.clear();
        self.again = false;
    }
}

/// What is random in one request's choices. Seeded when it is asked for, as few requests have a choice.
#[derive(Clone, Debug)]
pub(super) struct Chance(Option<SmallRng>);

impl Chance {
    pub(super) fn rng(&mut self) -> &mut SmallRng {
        self.0.get_or_insert_with(|| SmallRng::from_rng(&mut rand::rng()))
    }
}

/// Targets of one priority that take traffic.
#[derive(Debug)]
pub(super) struct Tier {
    pub members: Box<[u16]>,
    pub ring: Option<Ring>,
}

/// Live state of a pool. Survives a reload.
#[derive(Debug)]
pub(super) struct Shared {
    pub queue: Queue,
    pub ttft: Quantile,
    pub retries: Budget,
    pub hedges: Budget,
    /// Virtual time of round robin: the turn that was taken last.
    pub turn: AtomicU64,
}

/// What choosing needs to know of a pool.
#[derive(Debug)]
pub(super) struct Core {
    pub pool: Arc<str>,
    pub targets: Arc<[Arc<Target>]>,
    pub tiers: Box<[Tier]>,
    pub strategy: Strategy,
    pub queue: QueueSettings,
    pub hedge: Option<HedgeSettings>,
    pub shared: Arc<Shared>,
}

/// Why there is no lease now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocked {
    /// A target that may be used has no slot free.
    Full,
    /// No target may be used, the first again then.
    Exhausted(Option<Instant>),
}

/// A target that is ready, with its weight as slow start leaves it.
#[derive(Clone, Copy)]
struct Candidate {
    index: u16,
    weight: f64,
}

type Candidates = SmallVec<[Candidate; 16]>;

impl Core {
    /// A lease on a target that is ready now.
    pub fn acquire(self: &Arc<Self>, pick: &mut Pick, now: Instant) -> Result<Lease, Blocked> {
        let mut full = false;
        let mut earliest: Option<Instant> = None;
        let mut spare: SmallVec<[u16; 4]> = SmallVec::new();
        for tier in &self.tiers {
            let mut ready = Candidates::new();
            let mut probes: SmallVec<[u16; 4]> = SmallVec::new();
            for &index in tier.members.iter().filter(|index| !pick.tried.contains(index)) {
                let target = &self.targets[usize::from(index)];
                match target.standing(now, pick.class) {
                    Standing::Ready => {
                        let weight = f64::from(target.weight) * target.warmth(now);
                        ready.push(Candidate { index, weight });
                    }
                    Standing::Probe => probes.push(index),
                    Standing::Full => full = true,
                    Standing::Out(Some(until)) => {
                        earliest = Some(earliest.map_or(until, |first| first.min(until)));
                    }
                    Standing::Out(None) => {}
                }
            }
            if pick.again {
                spare.extend(probes);
            } else if let Some(lease) = self.first_leased(&probes, pick.class, now) {
                return Ok(lease);
            }
            while let Some(at) = self.choose(tier, &ready, pick, now) {
                let index = ready[at].index;
                if let Some(lease) = self.lease(index, pick.class, now) {
                    self.take_turn(ready[at]);
                    return Ok(lease);
                }
                // Another thread was faster.
                full = true;
                ready.swap_remove(at);
            }
        }
        match self.first_leased(&spare, pick.class, now) {
            Some(lease) => Ok(lease),
            None if full => Err(Blocked::Full),
            None => Err(Blocked::Exhausted(earliest)),
        }
    }

    /// What a request has to wait for that may not choose now.
    pub fn outlook(&self, pick: &Pick, now: Instant) -> Blocked {
        let members = self.tiers.iter().flat_map(|tier| &tier.members);
        let mut earliest: Option<Instant> = None;
        for index in members.filter(|index| !pick.tried.contains(index)) {
            match self.targets[usize::from(*index)].standing(now, pick.class) {
                Standing::Ready | Standing::Probe | Standing::Full => return Blocked::Full,
                Standing::Out(Some(until)) => {
                    earliest = Some(earliest.map_or(until, |first| first.min(until)));
                }
                Standing::Out(None) => {}
            }
        }
        Blocked::Exhausted(earliest)
    }

    fn first_leased(
        self: &Arc<Self>,
        indices: &[u16],
        class: Class,
        now: Instant,
    ) -> Option<Lease> {
        indices.iter().find_map(|index| self.lease(*index, class, now))
    }

    fn lease(self: &Arc<Self>, index: u16, class: Class, now: Instant) -> Option<Lease> {
        let target = &self.targets[usize::from(index)];
        if !target.take_slot(class) {
            return None;
        }
        let Some(admission) = target.state.breaker.admit(&target.breaker, now) else {
            target.free_slot();
            return None;
        };
        Some(Lease::new(Arc::clone(self), index, admission, now))
    }

    /// The strategy's choice, as an index into the candidates.
    fn choose(
        &self,
        tier: &Tier,
        ready: &[Candidate],
        pick: &mut Pick,
        now: Instant,
    ) -> Option<usize> {
        if ready.len() <= 1 {
            return ready.len().checked_sub(1);
        }
        match (self.strategy, pick.hash, &tier.ring) {
            (Strategy::Hash, Some(hash), Some(ring)) => self.by_hash(ring, hash, ready, pick, now),
            (Strategy::Weighted | Strategy::Hash, ..) => by_weight(ready, pick.chance.rng()),
            (Strategy::RoundRobin, ..) => least(ready, |candidate| self.next_turn(candidate)),
            (Strategy::LeastBusy, ..) => Some(self.less_busy_of_two(ready, pick.chance.rng())),
            (Strategy::LeastLatency, ..) => self.by_latency(ready, pick.chance.rng(), now),
            (Strategy::LeastCost, ..) => {
                let cost = |candidate: &Candidate| self.target(*candidate).cost;
                let best = ready.iter().map(cost).min()?;
                among(ready, |candidate| cost(candidate) == best, pick.chance.rng())
            }
        }
    }

    fn target(&self, candidate: Candidate) -> &Target {
        &self.targets[usize::from(candidate.index)]
    }

    /// The first ready target on the circle. One in slow start lets some of its keys go on.
    fn by_hash(
        &self,
        ring: &Ring,
        hash: u64,
        ready: &[Candidate],
        pick: &mut Pick,
        now: Instant,
    ) -> Option<usize> {
        let mut passed: SmallVec<[u16; 4]> = SmallVec::new();
        for index in ring.walk(hash) {
            let Some(at) = ready.iter().position(|candidate| candidate.index == index) else {
                continue;
            };
            if passed.contains(&index) {
                continue;
            }
            let warmth = self.targets[usize::from(index)].warmth(now);
            if warmth >= 1.0 || pick.chance.rng().random::<f64>() < warmth {
                return Some(at);
            }
            passed.push(index);
        }
        by_weight(ready, pick.chance.rng())
    }

    /// Two at random, and of them the one with fewer requests under way for its weight.
    fn less_busy_of_two(&self, ready: &[Candidate], rng: &mut SmallRng) -> usize {
        let first = rng.random_range(0..ready.len());
        let second = (first + rng.random_range(1..ready.len())) % ready.len();
        let load =
            |at: usize| f64::from(self.target(ready[at]).state.in_flight() + 1) / ready[at].weight;
        if load(second) < load(first) { second } else { first }
    }

    fn by_latency(&self, ready: &[Candidate], rng: &mut SmallRng, now: Instant) -> Option<usize> {
        let expected = |candidate: &Candidate| {
            let state = &self.target(*candidate).state;
            let in_flight = state.in_flight();
            match state.ttft.expected_us(in_flight == 0, now) {
                // Unknown: one request at a time finds out.
                None if in_flight == 0 => 0.0,
                None => f64::INFINITY,
                Some(us) => us,
            }
        };
        let expected: SmallVec<[f64; 16]> = ready.iter().map(expected).collect();
        let best = expected.iter().copied().fold(f64::INFINITY, f64::min);
        let as_good: Candidates = ready
            .iter()
            .zip(&expected)
            .filter(|(_, us)| **us <= best * LATENCY_TIE)
            .map(|(candidate, _)| *candidate)
            .collect();
        let chosen = as_good[by_weight(&as_good, rng)?].index;
        ready.iter().position(|candidate| candidate.index == chosen)
    }

    /// The virtual time at which the candidate's next turn begins: where its last one ended. One
    /// that was away does not catch up on what it missed.
    fn next_turn(&self, candidate: &Candidate) -> u64 {
        let own = self.target(*candidate).state.turn.load(Ordering::Relaxed);
        own.max(self.shared.turn.load(Ordering::Relaxed))
    }

    /// A turn is the longer the less a target weighs.
    fn take_turn(&self, candidate: Candidate) {
        if self.strategy != Strategy::RoundRobin {
            return;
        }
        let begins = self.next_turn(&candidate);
        let ends = begins + (TURN / candidate.weight) as u64;
        self.target(candidate).state.turn.fetch_max(ends, Ordering::Relaxed);
        self.shared.turn.fetch_max(begins, Ordering::Relaxed);
    }
}

/// At random, by weight.
fn by_weight(ready: &[Candidate], rng: &mut SmallRng) -> Option<usize> {
    among(ready, |_| true, rng)
}

/// At random, by weight, among those that qualify.
fn among(
    ready: &[Candidate],
    qualifies: impl Fn(&Candidate) -> bool,
    rng: &mut SmallRng,
) -> Option<usize> {
    let some = || ready.iter().enumerate().filter(|(_, candidate)| qualifies(candidate));
    let total: f64 = some().map(|(_, candidate)| candidate.weight).sum();
    let mut point = rng.random::<f64>() * total;
    let mut last = None;
    for (at, candidate) in some() {
        last = Some(at);
        point -= candidate.weight;
        if point < 0.0 {
            break;
        }
    }
    last
}

/// The first candidate with the least value.
fn least(ready: &[Candidate], value: impl Fn(&Candidate) -> u64) -> Option<usize> {
    ready.iter().enumerate().min_by_key(|(_, candidate)| value(candidate)).map(|(at, _)| at)
}
