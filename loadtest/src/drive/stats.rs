//! Counters and histograms of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::client::Failure;

/// Longest latency that a histogram tells apart, in nanoseconds: ten minutes.
const LATENCY_NS_MAX: u64 = 600_000_000_000;

/// A histogram of durations, from 1 µs to 10 min with three significant digits.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1_000, LATENCY_NS_MAX, 3);
        Self(histogram.expect("the bounds are constants that the histogram accepts"))
    }
}

impl Latencies {
    /// Adds one duration; what is out of bounds counts as the bound.
    pub fn record(&mut self, duration: Duration) {
        self.0.saturating_record(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(1));
    }

    /// Adds another histogram.
    pub fn merge(&mut self, other: &Latencies) {
        // Equal bounds: addition cannot fail.
        let _ = self.0.add(&other.0);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// The duration that this share stays under, in nanoseconds.
    pub fn at(&self, quantile: f64) -> u64 {
        self.0.value_at_quantile(quantile)
    }

    /// The usual quantiles.
    pub fn quantiles(&self) -> Quantiles {
        Quantiles {
            count: self.0.len(),
            mean_ns: if self.0.is_empty() { 0 } else { self.0.mean() as u64 },
            p50_ns: self.at(0.5),
            p90_ns: self.at(0.9),
            p99_ns: self.at(0.99),
            p999_ns: self.at(0.999),
            max_ns: self.0.max(),
        }
    }
}

/// The usual quantiles of a histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// Values recorded.
    pub count: u64,
    /// Mean.
    pub mean_ns: u64,
    /// Median.
    pub p50_ns: u64,
    /// 90 %.
    pub p90_ns: u64,
    /// 99 %.
    pub p99_ns: u64,
    /// 99.9 %.
    pub p999_ns: u64,
    /// The largest.
    pub max_ns: u64,
}

/// What one thread counted.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Requests that were due.
    pub due: u64,
    /// Requests answered in full with 2xx.
    pub ok: u64,
    /// Failures by kind.
    pub errors: BTreeMap<Failure, u64>,
    /// Tokens received.
    pub tokens: u64,
    /// Frames received.
    pub frames: u64,
    /// Streams that ended with their terminal event.
    pub streams_complete: u64,
    /// Bytes of bodies received.
    pub body_bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Connections opened.
    pub connects: u64,
    /// Requests sent again because a reused connection had been closed before any answer.
    pub stale_resent: u64,
    /// Requests being answered now.
    pub in_flight: u64,
    /// Due to first token.
    pub ttft: Latencies,
    /// Between two frames.
    pub frame_gap: Latencies,
    /// Due to end.
    pub total: Latencies,
    /// Sent to end.
    pub service: Latencies,
    /// Due to end since the last progress line.
    pub recent: Latencies,
}

impl Stats {
    /// Requests that failed.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Counts a failure.
    pub fn fail(&mut self, failure: Failure) {
        *self.errors.entry(failure).or_default() += 1;
    }

    /// Adds another thread's.
    pub fn merge(&mut self, other: &Stats) {
        self.due += other.due;
        self.ok += other.ok;
        for (failure, count) in &other.errors {
            *self.errors.entry(*failure).or_default() += count;
        }
        self.tokens += other.tokens;
        self.frames += other.frames;
        self.streams_complete += other.streams_complete;
        self.body_bytes_in += other.body_bytes_in;
        self.bytes_out += other.bytes_out;
        self.connects += other.connects;
        self.stale_resent += other.stale_resent;
        self.in_flight += other.in_flight;
        self.ttft.merge(&other.ttft);
        self.frame_gap.merge(&other.frame_gap);
        self.total.merge(&other.total);
        self.service.merge(&other.service);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_adds_counts_and_histograms() {
        let mut one = Stats { ok: 1, ..Stats::default() };
        one.total.record(Duration::from_millis(1));
        one.fail(Failure::Cut);
        let mut two = Stats { ok: 2, ..Stats::default() };
        two.total.record(Duration::from_secs(10_000));
        two.fail(Failure::Cut);
        two.fail(Failure::Status(503));
        one.merge(&two);
        assert_eq!((one.ok, one.failed(), one.errors[&Failure::Cut]), (3, 3, 2));
        let quantiles = one.total.quantiles();
        assert_eq!(quantiles.count, 2);
        assert!(quantiles.max_ns >= LATENCY_NS_MAX);
    }

    #[test]
    fn an_empty_histogram_has_no_quantiles() {
        assert_eq!(Latencies::default().quantiles(), Quantiles::default());
    }
}
