//! Time to first token: of one target, to choose by; of a pool, to hedge by.
//!
//! *Of a target*: an average that forgets. Every sample counts at least a tenth, and more the
//! longer ago the last one was, so that the average follows a change within seconds at any rate of
//! traffic. *Cold start*: no value; the strategy then explores. *Recovery*: what is not measured
//! becomes unsure: a value fades while its target is idle, so that a target that was slow once is
//! tried again instead of being left out for ever.
//!
//! *Of a pool*: a histogram with eight steps an octave (values are right within 9 %), halved when
//! it is full, so that it holds the last few thousand requests. *Cold start*: no quantile below
//! [`SAMPLES_MIN`] samples: a hedge on a guess would only add load.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::clock::{AtomicInstant, Duration, Instant};

/// Time in which an old value loses about two thirds of its weight to new ones.
const MEMORY_S: f64 = 10.0;
/// The least that a new sample counts.
const SAMPLE_SHARE_MIN: f64 = 0.1;
/// Time in which an idle target's value halves.
const IDLE_HALF_LIFE_S: f64 = 30.0;

/// A decayed average, in microseconds.
#[derive(Debug)]
pub(super) struct Average {
    /// The value's bits; zero bits stand for none.
    value: AtomicU64,
    at: AtomicInstant,
}

impl Average {
    pub fn new() -> Self {
        Self { value: AtomicU64::new(0), at: AtomicInstant::none() }
    }

    pub fn record(&self, sample: Duration, now: Instant) {
        let sample = (sample.as_secs_f64() * 1e6).max(1.0);
        let age = self
            .at
            .get()
            .map_or(f64::INFINITY, |at| now.saturating_duration_since(at).as_secs_f64());
        let share = (1.0 - (-age / MEMORY_S).exp()).max(SAMPLE_SHARE_MIN);
        // Two threads at once: both samples count, in either order.
        let _ = self.value.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bits| {
            let old = f64::from_bits(bits);
            let new = if bits == 0 { sample } else { old + share * (sample - old) };
            Some(new.to_bits())
        });
        self.at.set(Some(now));
    }

    /// The average in microseconds.
    pub fn us(&self) -> Option<f64> {
        match self.value.load(Ordering::Relaxed) {
            0 => None,
            bits => Some(f64::from_bits(bits)),
        }
    }

    /// The average, faded by the time since the last sample where the target is idle.
    pub fn expected_us(&self, idle: bool, now: Instant) -> Option<f64> {
        let value = self.us()?;
        let age = match self.at.get() {
            Some(at) if idle => now.saturating_duration_since(at).as_secs_f64(),
            _ => 0.0,
        };
        Some(value * (-age / IDLE_HALF_LIFE_S).exp2())
    }
}

/// Steps an octave.
const STEPS: usize = 8;
/// Octaves from 64 µs, to more than an hour.
const OCTAVES: usize = 26;
const BUCKETS: usize = STEPS * OCTAVES;
const SMALLEST_US: u64 = 64;
/// Fewest samples a quantile is taken from.
const SAMPLES_MIN: u32 = 32;
/// Samples at which all counts are halved.
const SAMPLES_MAX: u32 = 4096;
/// The quantile is worked out again after this many samples.
const REFRESH: u32 = 32;

/// A histogram that forgets, and the one quantile that is asked of it.
#[derive(Debug)]
pub(super) struct Quantile {
    counts: Box<[AtomicU32]>,
    samples: AtomicU32,
    since_refresh: AtomicU32,
    /// Of the quantile that was asked for, in microseconds; 0 before there is one.
    cached_us: AtomicU64,
}

impl Quantile {
    pub fn new() -> Self {
        Self {
            counts: (0..BUCKETS).map(|_| AtomicU32::new(0)).collect(),
            samples: AtomicU32::new(0),
            since_refresh: AtomicU32::new(0),
            cached_us: AtomicU64::new(0),
        }
    }

    /// Takes a sample, and brings the `quantile` up to date now and then.
    pub fn record(&self, sample: Duration, quantile: f64) {
        let us = sample.as_micros().min(u128::from(u64::MAX)) as u64;
        self.counts[bucket(us)].fetch_add(1, Ordering::Relaxed);
        // Exactly one thread sees the count pass the bound.
        if self.samples.fetch_add(1, Ordering::Relaxed) + 1 == SAMPLES_MAX {
            self.halve();
        }
        if self.since_refresh.fetch_add(1, Ordering::Relaxed) + 1 >= REFRESH {
            self.since_refresh.store(0, Ordering::Relaxed);
            self.cached_us.store(self.compute(quantile), Ordering::Relaxed);
        }
    }

    /// The quantile as of a few samples ago. None while there are too few.
    pub fn get(&self) -> Option<Duration> {
        match self.cached_us.load(Ordering::Relaxed) {
            0 => None,
            us => Some(Duration::from_micros(us)),
        }
    }

    /// Works the quantile out at once: another one may be asked for than before.
    pub fn refresh(&self, quantile: f64) {
        self.cached_us.store(self.compute(quantile), Ordering::Relaxed);
    }

    fn halve(&self) {
        let mut left = 0;
        for count in &self.counts {
            // What others add meanwhile is kept or halved with the rest; either is as good.
            let half = count.load(Ordering::Relaxed) / 2;
            count.store(half, Ordering::Relaxed);
            left += half;
        }
        self.samples.store(left, Ordering::Relaxed);
    }

    fn compute(&self, quantile: f64) -> u64 {
        let total: u32 = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        if total < SAMPLES_MIN {
            return 0;
        }
        let rank = (f64::from(total) * quantile.clamp(0.0, 1.0)).ceil().max(1.0) as u32;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count.load(Ordering::Relaxed);
            if seen >= rank {
                return upper_us(index);
            }
        }
        upper_us(BUCKETS - 1)
    }
}

fn bucket(us: u64) -> usize {
    if us < SMALLEST_US {
        return 0;
    }
    let octave = (us / SMALLEST_US).ilog2() as usize;
    let base = SMALLEST_US << octave.min(OCTAVES);
    let step = (u128::from(us - base.min(us)) * STEPS as u128 / u128::from(base)) as usize;
    (octave * STEPS + step.min(STEPS - 1)).min(BUCKETS - 1)
}

/// The upper edge of a bucket.
fn upper_us(index: usize) -> u64 {
    let base = SMALLEST_US << (index / STEPS);
    base + base * (index % STEPS + 1) as u64 / STEPS as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn an_average_follows_a_change_within_seconds() {
        let average = Average::new();
        let mut now = Instant::now();
        assert_eq!(average.us(), None);
        average.record(100 * MS, now);
        assert_eq!(average.us(), Some(100_000.0));
        for _ in 0..20 {
            now += Duration::from_secs(1);
            average.record(500 * MS, now);
        }
        assert!(average.us().is_some_and(|us| us > 430_000.0));
    }

    #[test]
    fn what_is_not_measured_fades_only_while_idle() {
        let average = Average::new();
        let now = Instant::now();
        average.record(800 * MS, now);
        let later = now + Duration::from_secs(60);
        assert_eq!(average.expected_us(false, later), Some(800_000.0));
        assert!(average.expected_us(true, later).is_some_and(|us| (us - 200_000.0).abs() < 1.0));
    }

    #[test]
    fn no_quantile_before_there_are_enough_samples() {
        let quantile = Quantile::new();
        for _ in 0..SAMPLES_MIN - 1 {
            quantile.record(10 * MS, 0.95);
        }
        assert_eq!(quantile.get(), None);
        quantile.record(10 * MS, 0.95);
        assert!(quantile.get().is_some());
    }

    #[test]
    fn an_old_regime_is_forgotten() {
        let quantile = Quantile::new();
        for _ in 0..10_000 {
            quantile.record(1000 * MS, 0.5);
        }
        for _ in 0..10_000 {
            quantile.record(10 * MS, 0.5);
        }
        assert!(quantile.get().is_some_and(|value| value < 12 * MS));
        assert!(quantile.samples.load(Ordering::Relaxed) < SAMPLES_MAX);
    }

    #[test]
    fn every_bucket_ends_where_the_next_begins() {
        for index in 0..BUCKETS - 1 {
            let upper = upper_us(index);
            assert_eq!(bucket(upper - 1), index, "{upper}");
            assert_eq!(bucket(upper), index + 1, "{upper}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(bucket(0), 0);
    }

    proptest! {
        #[test]
        fn a_quantile_is_right_within_a_step(
            mut samples in proptest::collection::vec(100u64..10_000_000, 64..512),
            quantile in 0.01f64..1.0,
        ) {
            let estimate = Quantile::new();
            for us in &samples {
                estimate.record(Duration::from_micros(*us), quantile);
            }
            estimate.refresh(quantile);
            samples.sort_unstable();
            let rank = ((samples.len() as f64 * quantile).ceil() as usize).clamp(1, samples.len());
            let exact = samples[rank - 1] as f64;
            let got = estimate.get().expect("enough samples").as_micros() as f64;
            prop_assert!(got >= exact * 0.999 && got <= exact * 1.13, "{got} for {exact}");
        }
    }
}
