//! Figures over rounds, and distributions.

use serde::Serialize;

use crate::report::median;

/// Shares at which a distribution is kept: every half percent, and the tail.
const TAIL: [f64; 4] = [0.998, 0.999, 0.9995, 0.9999];

/// The middle of some rounds and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The middle.
    pub median: f64,
    /// The lowest.
    pub low: f64,
    /// The highest.
    pub high: f64,
}

impl Spread {
    /// Of rounds; none of no rounds.
    pub fn of(figures: &[f64]) -> Option<Self> {
        if figures.is_empty() {
            return None;
        }
        let low = figures.iter().copied().fold(f64::INFINITY, f64::min);
        let high = figures.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Some(Self { median: median(figures), low, high })
    }

    /// This median as a multiple of another; none of nothing.
    pub fn ratio(&self, other: Option<Spread>) -> Option<f64> {
        let other = other?.median;
        (other > 0.0).then(|| self.median / other)
    }
}

/// Rounds of one as multiples of another's, each of its own round, so that a machine that is slower for a
/// while hits both alike: the middle of them. Of the medians, where one has more rounds than the other.
/// None of nothing.
pub fn ratio(own: &[f64], other: &[f64]) -> Option<f64> {
    if own.len() != other.len() {
        return Spread::of(own)?.ratio(Spread::of(other));
    }
    let pairs = own.iter().zip(other).filter(|(_, other)| **other > 0.0);
    let ratios: Vec<f64> = pairs.map(|(own, other)| own / other).collect();
    Spread::of(&ratios).map(|ratios| ratios.median)
}

/// A distribution of durations: `[share, microseconds]`, both rising.
pub type Curve = Vec<[f64; 2]>;

/// Keeps a distribution as the durations, in nanoseconds, at fixed shares.
pub fn curve(count: u64, at: impl Fn(f64) -> u64) -> Curve {
    if count == 0 {
        return Vec::new();
    }
    let shares = (0..200).map(|n| f64::from(n) / 200.0).chain(TAIL);
    shares.map(|share| [share, at(share) as f64 / 1e3]).collect()
}

/// The share that lies below a duration, between the shares that were kept.
fn below(curve: &[[f64; 2]], us: f64) -> f64 {
    let next = curve.partition_point(|point| point[1] < us);
    match (next.checked_sub(1).map(|before| curve[before]), curve.get(next)) {
        (None, _) => 0.0,
        (Some(_), None) => 1.0,
        (Some([share, from]), Some([later, to])) => {
            share + (later - share) * (us - from) / (to - from).max(f64::MIN_POSITIVE)
        }
    }
}

/// A distribution as the percentages that fall into bins of equal width on a logarithmic scale, as
/// steps: `(microseconds, percent)`.
pub fn histogram(curve: &[[f64; 2]], low_us: f64, high_us: f64, bins: u32) -> Vec<(f64, f64)> {
    let width = (high_us / low_us).powf(1.0 / f64::from(bins));
    let edge = |n: u32| low_us * width.powf(f64::from(n));
    (0..bins)
        .flat_map(|n| {
            let (from, to) = (edge(n), edge(n + 1));
            let percent = 100.0 * (below(curve, to) - below(curve, from));
            [(from, percent), (to, percent)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_the_middle_and_both_ends() {
        let spread = Spread::of(&[4.0, 1.0, 2.0]).expect("there are figures");
        assert_eq!(spread, Spread { median: 2.0, low: 1.0, high: 4.0 });
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn ratios_are_of_medians_and_not_of_nothing() {
        let two = Spread::of(&[2.0]).expect("there are figures");
        assert_eq!(two.ratio(Spread::of(&[4.0, 5.0, 3.0])), Some(0.5));
        assert_eq!(two.ratio(Spread::of(&[0.0])), None);
        assert_eq!(two.ratio(None), None);
    }

    #[test]
    fn rounds_are_compared_each_with_its_own() {
        // The machine is twice as slow in the second round, and three times in the third.
        assert_eq!(ratio(&[9.0, 18.0, 30.0], &[10.0, 20.0, 30.0]), Some(0.9));
        assert_eq!(ratio(&[9.0, 18.0, 30.0], &[10.0, 20.0]), Some(18.0 / 15.0));
        assert_eq!(ratio(&[], &[]), None);
        assert_eq!(ratio(&[1.0], &[0.0]), None);
    }

    #[test]
    fn a_histogram_of_an_even_distribution_adds_up() {
        // From 1 ms to 2 ms, evenly.
        let curve = curve(1000, |share| 1_000_000 + (share * 1e6) as u64);
        assert!((below(&curve, 1500.0) - 0.5).abs() < 0.01);
        let steps = histogram(&curve, 500.0, 4000.0, 30);
        let sum: f64 = steps.iter().step_by(2).map(|(_, percent)| percent).sum();
        assert!((sum - 100.0).abs() < 0.5, "{sum}");
        assert!(steps[0].1.abs() < 1e-9);
    }

    #[test]
    fn nothing_measured_has_no_curve() {
        assert!(curve(0, |_| 5).is_empty());
        assert!(histogram(&[], 1.0, 10.0, 4).iter().all(|(_, percent)| *percent == 0.0));
    }
}
