//! Active health of one target, and when each is checked next.
//!
//! *Signal*: checks, apart from traffic, so that a target nobody uses is known too. *Trip*: a
//! number of failed checks in a row. *Recovery*: a number of passed ones in a row; slow start then
//! spares it. *Cold start*: healthy, because an instance that has not checked yet must not refuse
//! requests it could serve; the breaker covers the first seconds.
//!
//! No socket here: the schedule says what is due, and whoever runs it brings the [`Prober`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use rand::Rng;

use super::settings::{HealthKind, HealthSettings};
use super::{Pool, Target};
use crate::clock::{self, Duration, Instant};

/// Most checks of one pool that run at a time.
const CHECKS_AT_A_TIME_MAX: usize = 16;

/// Health of one target.
#[derive(Debug)]
pub(super) struct Health {
    healthy: AtomicBool,
    /// Results in a row that contradict `healthy`.
    against: Mutex<u32>,
}

impl Health {
    pub fn new() -> Self {
        Self { healthy: AtomicBool::new(true), against: Mutex::new(0) }
    }

    pub fn healthy(&self) -> bool {
        self.healthy.load(Ordering::SeqCst)
    }

    /// Takes the result of a check. The new health, where it changed.
    pub fn record(&self, settings: &HealthSettings, passed: bool) -> Option<bool> {
        let mut against = self.against.lock();
        if passed == self.healthy() {
            *against = 0;
            return None;
        }
        *against += 1;
        let needed = if passed { settings.healthy_after } else { settings.unhealthy_after };
        if *against < needed {
            return None;
        }
        *against = 0;
        self.healthy.store(passed, Ordering::SeqCst);
        Some(passed)
    }

    /// Forgets what checks said: there are none any more.
    pub fn reset(&self) {
        *self.against.lock() = 0;
        self.healthy.store(true, Ordering::SeqCst);
    }
}

/// What a check does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its kind.
    pub kind: HealthKind,
    /// Path below the provider's base, for kind `http`.
    pub path: Option<Box<str>>,
    /// Longest time it may take.
    pub timeout: Duration,
}

/// Runs one check against one target.
#[async_trait]
pub trait Prober: Send + Sync {
    /// Ok when the target passed; otherwise why not, for the log.
    async fn probe(&self, target: &Target, check: &Check) -> Result<(), String>;
}

/// When each target of a pool is checked next.
#[derive(Debug)]
pub struct Checker {
    interval: Duration,
    next: Vec<Instant>,
}

impl Checker {
    /// A schedule for the pool; none where it has no health checks. The first checks are spread
    /// over one interval, so that replicas and targets are not checked in step.
    pub fn new(pool: &Pool, now: Instant, rng: &mut impl Rng) -> Option<Self> {
        let settings = pool.health.as_ref()?;
        let interval = settings.interval.0.max(Duration::from_millis(10));
        let next =
            pool.targets.iter().map(|_| now + interval.mul_f64(rng.random::<f64>())).collect();
        Some(Self { interval, next })
    }

    /// The targets that are due, each scheduled anew.
    pub fn due(&mut self, now: Instant) -> Vec<usize> {
        let interval = self.interval;
        let due = self.next.iter_mut().enumerate().filter(|(_, at)| **at <= now);
        due.map(|(index, at)| {
            *at = now + interval;
            index
        })
        .collect()
    }

    /// When the next check is due.
    pub fn next(&self) -> Option<Instant> {
        self.next.iter().min().copied()
    }
}

/// Checks a pool's targets for as long as it is polled. Returns at once where the pool has no
/// health checks.
pub async fn watch(pool: Arc<Pool>, prober: Arc<dyn Prober>) {
    let Some(check) = pool.check() else { return };
    let Some(mut checker) = Checker::new(&pool, clock::now(), &mut rand::rng()) else { return };
    while let Some(next) = checker.next() {
        tokio::time::sleep_until(next.into()).await;
        let due = checker.due(clock::now());
        for some in due.chunks(CHECKS_AT_A_TIME_MAX) {
            let checks = some.iter().map(|&index| {
                let (pool, prober, check) = (&pool, &prober, &check);
                async move {
                    let target = &pool.targets[index];
                    let result =
                        tokio::time::timeout(check.timeout, prober.probe(target, check)).await;
                    let result = result.unwrap_or_else(|_| Err("it took too long".into()));
                    pool.record_check(index, result, clock::now());
                }
            });
            futures_util::future::join_all(checks).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> HealthSettings {
        serde_saphyr::from_str("{interval: 5s, unhealthy_after: 3, healthy_after: 2}")
            .expect("settings")
    }

    #[test]
    fn results_in_a_row_turn_it_and_a_different_one_starts_over() {
        let (health, settings) = (Health::new(), settings());
        assert!(health.healthy());
        for (passed, change) in [
            (false, None),
            (false, None),
            (true, None),
            (false, None),
            (false, None),
            (false, Some(false)),
            (false, None),
            (true, None),
            (false, None),
            (true, None),
            (true, Some(true)),
            (true, None),
        ] {
            assert_eq!(health.record(&settings, passed), change);
        }
    }
}
