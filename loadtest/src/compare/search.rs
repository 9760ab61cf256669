//! Looking for the most that can be had: a rate under a bound of latency, a number of streams.
//!
//! Both searches take the measurement as a function, and give up precision rather than time: steps
//! are short, and it ends when the two sides are within a tenth.

use serde::Serialize;

/// Two sides that are this close are one.
const CLOSE: f64 = 1.08;

/// The highest rate that stayed under a bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// The bound of the 99 % quantile, in milliseconds.
    pub bound_ms: f64,
    /// Requests a second; 0 when none was low enough.
    pub per_second: f64,
}

/// For each bound the highest rate whose 99 % quantile stays under it, up to `ceiling`.
///
/// `probe` measures the quantile, in milliseconds, at a rate; infinite when requests failed. Every
/// probe counts for every bound. One that is above is repeated once, and the lower counts: a blip of
/// the machine lasts longer than a short step can outweigh.
pub fn frontier(
    bounds_ms: &[f64],
    ceiling: f64,
    tries: u32,
    mut probe: impl FnMut(f64) -> f64,
) -> Vec<Point> {
    let mut seen: Vec<(f64, f64)> = Vec::new();
    // The loosest first: what it tries are good guesses for the others.
    for &bound_ms in bounds_ms.iter().rev() {
        for _ in 0..tries {
            let (low, high) = sides(&seen, bound_ms, ceiling);
            if low > 0.0 && high / low < CLOSE {
                break;
            }
            let rate = if seen.is_empty() { high * 0.9 } else { f64::midpoint(low, high) };
            let mut p99_ms = probe(rate);
            if p99_ms > bound_ms {
                p99_ms = p99_ms.min(probe(rate));
            }
            seen.push((rate, p99_ms));
        }
    }
    let point = |&bound_ms: &f64| Point { bound_ms, per_second: sides(&seen, bound_ms, ceiling).0 };
    bounds_ms.iter().map(point).collect()
}

/// The highest rate that held below the lowest that did not, and the latter.
fn sides(seen: &[(f64, f64)], bound_ms: f64, ceiling: f64) -> (f64, f64) {
    let failed = seen.iter().filter(|(_, p99_ms)| *p99_ms > bound_ms).map(|(rate, _)| *rate);
    let high = failed.fold(ceiling, f64::min);
    let held = seen.iter().filter(|(rate, p99_ms)| *p99_ms <= bound_ms && *rate < high);
    (held.map(|(rate, _)| *rate).fold(0.0, f64::max), high)
}

/// The most that holds, between 0 and `limit`: doubling from `start`, or halving where that is too
/// much already, then halving the gap. What does not hold is tried once more, for the sake of blips.
pub fn most(start: usize, limit: usize, mut holds: impl FnMut(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, limit + 1);
    let mut next = start.clamp(1, limit.max(1));
    let least = next.div_ceil(16);
    while low < limit && next >= least {
        if holds(next) || holds(next) {
            low = next;
        } else {
            high = next;
        }
        next = match (low, high) {
            (0, high) => high / 2,
            (low, high) if high > limit => (low * 2).min(limit),
            (low, high) if (high as f64) < low as f64 * 1.15 => break,
            (low, high) => low.midpoint(high),
        };
        if next == low {
            break;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server with one queue: latency rises without bound towards its capacity.
    fn queue(capacity: f64) -> impl FnMut(f64) -> f64 {
        move |rate| if rate >= capacity { f64::INFINITY } else { 4.6e3 / (capacity - rate) }
    }

    #[test]
    fn the_frontier_of_a_queue_is_found_and_rises_with_the_bound() {
        let points = frontier(&[1.0, 5.0, 10.0, 50.0, 100.0], 11_000.0, 6, queue(10_000.0));
        for pair in points.windows(2) {
            assert!(
                pair[0].per_second <= pair[1].per_second && pair[0].bound_ms < pair[1].bound_ms
            );
        }
        // 1 ms is at 5,400 a second, 100 ms at 9,954.
        assert!((4_600.0..=5_400.0).contains(&points[0].per_second), "{points:?}");
        assert!((9_000.0..=9_954.0).contains(&points[4].per_second), "{points:?}");
    }

    #[test]
    fn a_wider_bound_never_has_a_lower_rate() {
        for tries in 1..6 {
            let points = frontier(&[1.0, 5.0, 10.0, 50.0, 100.0], 11_000.0, tries, queue(10_000.0));
            assert!(points.windows(2).all(|pair| pair[0].per_second <= pair[1].per_second));
        }
    }

    #[test]
    fn what_never_holds_has_no_rate_and_ends() {
        let mut probes = 0;
        let points = frontier(&[1.0, 5.0], 1000.0, 4, |_| {
            probes += 1;
            f64::INFINITY
        });
        assert!(points.iter().all(|point| point.per_second == 0.0) && probes <= 16);
    }

    #[test]
    fn one_blip_does_not_hide_a_rate() {
        let mut first = true;
        let points =
            frontier(&[10.0], 1000.0, 5, |_| if std::mem::take(&mut first) { 500.0 } else { 1.0 });
        assert!(points[0].per_second > 900.0);
    }

    #[test]
    fn the_most_is_found_within_its_precision_and_limits() {
        for holds in [70_usize, 100, 999, 3000] {
            let found = most(64, 4096, |count| count <= holds);
            assert!(found <= holds && found as f64 * 1.16 >= holds as f64, "{holds}: {found}");
        }
        assert_eq!(most(64, 4096, |_| true), 4096);
        assert_eq!(most(64, 4096, |_| false), 0);
        assert_eq!(most(64, 0, |_| false), 0);
        assert!((26..=30).contains(&most(64, 4096, |count| count <= 30)));
        let mut first = true;
        assert_eq!(most(64, 64, |_| !std::mem::take(&mut first)), 64);
        assert_eq!(most(64, 10, |count| count <= 10), 10);
    }
}
