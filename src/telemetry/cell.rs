//! Counters, gauges and histograms that threads do not contend for.
//!
//! A cell that every worker adds to would move its cache line between cores once per request.
//! Each cell therefore has one shard for each thread that [asked for it](count_alone), which alone adds to
//! it, without locking the bus, and one that all others share; a scrape adds them up. A reading is not
//! a snapshot of one instant, which no scraper can tell.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

/// Most shards that a cell has beside the shared one. Beyond this many workers threads share a shard, which
/// is slower, not wrong.
const OWN_MAX: usize = 16;
/// The shard of all threads that have none of their own.
const SHARED: usize = 0;

/// Shards per cell: one that is shared, and one for each of the machine's cores.
fn shards() -> usize {
    static SHARDS: OnceLock<usize> = OnceLock::new();
    *SHARDS.get_or_init(|| {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        1 + cores.min(OWN_MAX)
    })
}

thread_local! {
    static OWN: Cell<usize> = const { Cell::new(SHARED) };
}

/// Shards that belong to a thread.
static TAKEN: Mutex<[bool; OWN_MAX]> = Mutex::new([false; OWN_MAX]);

/// A thread's own shard, for as long as this is held. Not to be sent elsewhere.
#[derive(Debug)]
#[must_use = "dropping it gives the shard back"]
pub struct Alone(std::marker::PhantomData<*const ()>);

/// Gives the calling thread a shard of its own in every cell, where one is free.
pub fn count_alone() -> Alone {
    if OWN.get() == SHARED {
        let mut taken = TAKEN.lock();
        if let Some(free) = taken.iter().take(shards() - 1).position(|taken| !taken) {
            taken[free] = true;
            OWN.set(free + 1);
        }
    }
    Alone(std::marker::PhantomData)
}

impl Drop for Alone {
    fn drop(&mut self) {
        if let Some(own) = OWN.replace(SHARED).checked_sub(1) {
            // The lock hands what was counted there to the next owner.
            TAKEN.lock()[own] = false;
        }
    }
}

/// A value on cache lines of its own (two, because the prefetcher fetches pairs).
#[repr(align(128))]
#[derive(Debug)]
struct Padded<T>(T);

/// One `T` per shard.
#[derive(Debug)]
pub struct Sharded<T>(Box<[Padded<T>]>);

impl<T> Sharded<T> {
    /// One for each, as `make` makes it.
    pub fn new(make: impl Fn() -> T) -> Self {
        Self((0..shards()).map(|_| Padded(make())).collect())
    }

    /// The shard of the calling thread.
    pub fn own(&self) -> &T {
        &self.0[OWN.get()].0
    }

    /// Every shard.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|padded| &padded.0)
    }
}

/// Adds to a number of the calling thread's shard.
fn add(own: &AtomicU64, n: u64) {
    if OWN.get() == SHARED {
        own.fetch_add(n, Relaxed);
    } else {
        // Nobody else adds to it.
        own.store(own.load(Relaxed).wrapping_add(n), Relaxed);
    }
}

/// A number that only grows.
#[derive(Debug)]
pub struct Counter(Sharded<AtomicU64>);

impl Default for Counter {
    fn default() -> Self {
        Self(Sharded::new(AtomicU64::default))
    }
}

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        if n > 0 {
            add(self.0.own(), n);
        }
    }

    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// The sum of all shards.
    pub fn get(&self) -> u64 {
        self.0.iter().map(|shard| shard.load(Relaxed)).fold(0, u64::wrapping_add)
    }
}

/// A number that goes up and down. One thread may raise it and another lower it.
#[derive(Debug)]
pub struct Gauge(Sharded<AtomicI64>);

impl Default for Gauge {
    fn default() -> Self {
        Self(Sharded::new(AtomicI64::default))
    }
}

impl Gauge {
    /// Adds `n`, which may be negative.
    pub fn add(&self, n: i64) {
        let own = self.0.own();
        if OWN.get() == SHARED {
            own.fetch_add(n, Relaxed);
        } else {
            own.store(own.load(Relaxed).wrapping_add(n), Relaxed);
        }
    }

    /// The sum of all shards.
    pub fn get(&self) -> i64 {
        self.0.iter().map(|shard| shard.load(Relaxed)).fold(0, i64::wrapping_add)
    }
}

/// The upper bounds of a histogram, in its unit, and how finely a value is added up.
#[derive(Clone, Copy, Debug)]
pub struct Buckets {
    /// Upper bounds, inclusive, ascending, in the unit of the metric.
    pub bounds: &'static [f64],
    /// How many of what is observed make one unit: 1e9 where nanoseconds are observed and the
    /// metric is in seconds, 1 where both are tokens.
    pub per_unit: f64,
}

/// Observations by size.
#[derive(Debug)]
pub struct Histogram {
    buckets: Buckets,
    shards: Sharded<HistogramShard>,
}

#[derive(Debug)]
struct HistogramShard {
    sum: AtomicU64,
    /// One per bound, and the last for what is above all of them.
    counts: Box<[AtomicU64]>,
}

/// A histogram's sum over all shards.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// All observations added up, in the metric's unit.
    pub sum: f64,
    /// Number of observations.
    pub count: u64,
    /// Upper bound and number of observations in this bucket alone; the last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
}

impl Histogram {
    /// An empty histogram.
    pub fn new(buckets: Buckets) -> Self {
        let shard = || HistogramShard {
            sum: AtomicU64::new(0),
            counts: (0..=buckets.bounds.len()).map(|_| AtomicU64::new(0)).collect(),
        };
        Self { buckets, shards: Sharded::new(shard) }
    }

    /// Adds one observation.
    pub fn observe(&self, value: u64) {
        let in_unit = value as f64 / self.buckets.per_unit;
        let bucket = self.buckets.bounds.partition_point(|bound| *bound < in_unit);
        let shard = self.shards.own();
        add(&shard.counts[bucket], 1);
        add(&shard.sum, value);
    }

    /// The sum of all shards.
    pub fn read(&self) -> Reading {
        let bounds = self.buckets.bounds.iter().copied().chain([f64::INFINITY]);
        let mut buckets: Vec<(f64, u64)> = bounds.map(|bound| (bound, 0)).collect();
        let mut sum = 0_u64;
        for shard in self.shards.iter() {
            sum = sum.wrapping_add(shard.sum.load(Relaxed));
            for (bucket, count) in buckets.iter_mut().zip(&shard.counts) {
                bucket.1 += count.load(Relaxed);
            }
        }
        let count = buckets.iter().map(|bucket| bucket.1).sum();
        Reading { sum: sum as f64 / self.buckets.per_unit, count, buckets }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECONDS: Buckets = Buckets { bounds: &[0.01, 0.1, 1.0], per_unit: 1e9 };

    #[test]
    fn threads_add_up() {
        let (counter, gauge) = (Counter::default(), Gauge::default());
        std::thread::scope(|scope| {
            for number in 0..8 {
                let (counter, gauge) = (&counter, &gauge);
                scope.spawn(move || {
                    let _alone = (number % 2 == 0).then(count_alone);
                    for _ in 0..1000 {
                        counter.inc();
                        gauge.add(2);
                    }
                });
            }
        });
        gauge.add(-16_000);
        assert_eq!((counter.get(), gauge.get()), (8000, 0));
    }

    #[test]
    fn a_shard_of_its_own_is_given_back() {
        let shard_of_its_own = || {
            let _alone = count_alone();
            OWN.get()
        };
        // In turn, so that one is always free but for what other tests have.
        for _ in 0..3 * OWN_MAX {
            std::thread::scope(|scope| scope.spawn(shard_of_its_own).join()).expect("no panic");
        }
        assert!(shard_of_its_own() < shards());
        assert_eq!(OWN.get(), SHARED);
    }

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let histogram = Histogram::new(SECONDS);
        for ms in [0, 10, 11, 100, 1000, 1001] {
            histogram.observe(ms * 1_000_000);
        }
        let reading = histogram.read();
        let counts: Vec<u64> = reading.buckets.iter().map(|bucket| bucket.1).collect();
        assert_eq!(counts, [2, 2, 1, 1]);
        assert_eq!(reading.count, 6);
        assert!((reading.sum - 2.122).abs() < 1e-9);
        assert_eq!(reading.buckets.last().map(|bucket| bucket.0), Some(f64::INFINITY));
    }
}
