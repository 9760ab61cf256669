//! Counters, gauges and histograms that threads do not contend for.
//!
//! A cell that every worker adds to would move its cache line between cores once per request.
//! Each cell therefore has one shard per thread (threads beyond [`shards`] share), and a scrape
//! adds them up. A reading is not a snapshot of one instant, which no scraper can tell.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Most shards a cell has. Beyond this many cores threads share shards, which is slower, not wrong.
const SHARDS_MAX: usize = 16;

/// Shards per cell: the machine's cores, rounded up to a power of two, at most [`SHARDS_MAX`].
fn shards() -> usize {
    static SHARDS: OnceLock<usize> = OnceLock::new();
    *SHARDS.get_or_init(|| {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        cores.next_power_of_two().min(SHARDS_MAX)
    })
}

/// This thread's shard. Threads get consecutive numbers in the order in which they first count.
fn own_shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static OWN: usize = NEXT.fetch_add(1, Relaxed));
    OWN.with(|own| *own)
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
        // The number of shards is a power of two.
        &self.0[own_shard() & (self.0.len() - 1)].0
    }

    /// Every shard.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|padded| &padded.0)
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
            self.0.own().fetch_add(n, Relaxed);
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
        self.0.own().fetch_add(n, Relaxed);
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
        shard.counts[bucket].fetch_add(1, Relaxed);
        shard.sum.fetch_add(value, Relaxed);
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
            for _ in 0..8 {
                scope.spawn(|| {
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
