//! How many requests a target is given at a time, found from its latency.
//!
//! *Signal*: the time to the first token, of which a provider that is busy needs more: its requests wait
//! in a queue of its own before they are worked on. *Rule*: the gradient of the long-term average over
//! the short-term one, as in Netflix's `concurrency-limits` (Gradient2) and TCP Vegas: while the short
//! one is within `tolerance` of the long one, the bound grows by the square root of itself; beyond, it
//! shrinks by their proportion, at most to a half. Each sample moves it by a part, so that no single one
//! decides. A request that fails because the target has too much to do counts as one that took twice as
//! long as is tolerated. *Growth* needs demand: while less than half of the bound is used, nothing is
//! learnt. *Recovery*: the long-term average follows a target that has become faster at once by a
//! twentieth for each sample, so that a slow hour is not taken for normal afterwards. *Cold start*: the
//! bound begins at `initial`, and nothing is cut before [`SAMPLES_MIN`] samples.
//!
//! Who is served when there is less is decided by the class of the request: each class may use a share
//! of the bound, so that the low one is the first to wait when it falls, and the first to be turned away
//! when the queue is full.

use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

use super::settings::AdaptiveSettings;
use crate::clock::Duration;
use crate::config::Class;

/// Samples before the bound is cut.
const SAMPLES_MIN: u32 = 10;
/// How much of the long-term average a sample is.
const LONG_SHARE: f64 = 1.0 / 200.0;
/// How much of the short-term average a sample is.
const SHORT_SHARE: f64 = 1.0 / 8.0;
/// How far the bound moves with a sample towards what it should be.
const STEP: f64 = 0.2;
/// The most that a bound is cut to at once.
const GRADIENT_MIN: f64 = 0.5;
/// What is left of the long-term average at each sample when the short one is far below it.
const LONG_DECAY: f64 = 0.95;

/// Of a bound, what a class may use.
fn share(class: Class, bound: u32) -> u32 {
    let percent = match class {
        Class::High => 100,
        Class::Normal => 90,
        Class::Low => 60,
    };
    ((u64::from(bound) * percent / 100) as u32).max(1)
}

/// The bound of one target.
#[derive(Debug)]
pub(super) struct Adaptive {
    /// 0 before the first sample.
    bound: AtomicU32,
    learnt: Mutex<Learnt>,
}

#[derive(Debug, Default)]
struct Learnt {
    bound: f64,
    long_us: f64,
    short_us: f64,
    samples: u32,
}

impl Adaptive {
    pub fn new() -> Self {
        Self { bound: AtomicU32::new(0), learnt: Mutex::default() }
    }

    /// The most requests of a class at a time.
    pub fn bound(&self, settings: &AdaptiveSettings, class: Class) -> u32 {
        share(class, self.whole(settings))
    }

    /// The most requests at a time.
    pub fn whole(&self, settings: &AdaptiveSettings) -> u32 {
        let bound = self.bound.load(Ordering::Relaxed);
        let bound = if bound == 0 { settings.initial } else { bound };
        bound.clamp(settings.min, settings.max)
    }

    /// A request had its first token after this time, while so many were under way.
    pub fn sample(&self, settings: &AdaptiveSettings, ttft: Duration, in_flight: u32) {
        self.learn(settings, |_| ttft.as_secs_f64() * 1e6, in_flight);
    }

    /// The target had too much to do for a request.
    pub fn overloaded(&self, settings: &AdaptiveSettings, in_flight: u32) {
        let beyond = 2.0 * settings.tolerance;
        self.learn(settings, |long_us| long_us * beyond, in_flight);
    }

    fn learn(&self, settings: &AdaptiveSettings, us: impl FnOnce(f64) -> f64, in_flight: u32) {
        // Nobody waits for this: a sample that comes at the same time as another is left out.
        let Some(mut learnt) = self.learnt.try_lock() else { return };
        let learnt = &mut *learnt;
        let us = us(learnt.long_us).max(1.0);
        if learnt.samples == 0 {
            (learnt.long_us, learnt.short_us) = (us, us);
            learnt.bound = f64::from(self.whole(settings));
        }
        learnt.samples = learnt.samples.saturating_add(1);
        learnt.short_us += SHORT_SHARE * (us - learnt.short_us);
        learnt.long_us += LONG_SHARE * (us - learnt.long_us);
        if learnt.long_us > 2.0 * learnt.short_us {
            learnt.long_us *= LONG_DECAY;
        }
        let unused = f64::from(in_flight) < learnt.bound / 2.0;
        if learnt.samples < SAMPLES_MIN || unused {
            return;
        }
        let gradient =
            (settings.tolerance * learnt.long_us / learnt.short_us).clamp(GRADIENT_MIN, 1.0);
        let wanted = learnt.bound * gradient + learnt.bound.sqrt();
        let moved = learnt.bound + STEP * (wanted - learnt.bound);
        learnt.bound = moved.clamp(settings.min.into(), settings.max.into());
        self.bound.store(learnt.bound as u32, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn settings() -> AdaptiveSettings {
        AdaptiveSettings { initial: 20, min: 2, max: 200, tolerance: 1.5 }
    }

    /// A provider that works on 40 requests at a time: what is beyond waits its turn.
    fn serve(adaptive: &Adaptive, settings: &AdaptiveSettings, samples: u32, slots: u32) {
        for _ in 0..samples {
            let in_flight = adaptive.whole(settings);
            let turns = in_flight.div_ceil(slots).max(1);
            adaptive.sample(settings, 100 * MS * turns, in_flight);
        }
    }

    #[test]
    fn it_finds_what_a_provider_can_do_and_follows_when_it_slows_down() {
        let (adaptive, settings) = (Adaptive::new(), settings());
        assert_eq!(adaptive.whole(&settings), 20);
        serve(&adaptive, &settings, 100, 40);
        let found = adaptive.whole(&settings);
        assert!((36..=120).contains(&found), "{found}");
        serve(&adaptive, &settings, 60, 8);
        let less = adaptive.whole(&settings);
        assert!(less < found / 2, "{less} of {found}");
        serve(&adaptive, &settings, 400, 40);
        assert!(adaptive.whole(&settings) > less);
    }

    #[test]
    fn what_is_not_used_is_not_learnt_from() {
        let (adaptive, settings) = (Adaptive::new(), settings());
        for _ in 0..1000 {
            adaptive.sample(&settings, 100 * MS, 3);
        }
        assert_eq!(adaptive.whole(&settings), 20);
    }

    #[test]
    fn overload_cuts_to_no_less_than_the_least() {
        let (adaptive, settings) = (Adaptive::new(), settings());
        serve(&adaptive, &settings, 20, 40);
        for _ in 0..300 {
            adaptive.overloaded(&settings, adaptive.whole(&settings));
        }
        assert!((2..=8).contains(&adaptive.whole(&settings)), "{}", adaptive.whole(&settings));
    }

    #[test]
    fn the_low_class_is_the_first_to_wait() {
        let bounds = [Class::High, Class::Normal, Class::Low].map(|class| share(class, 20));
        assert_eq!(bounds, [20, 18, 12]);
        assert_eq!(share(Class::Low, 1), 1);
    }
}
