//! Series of one metric, told apart by their labels.
//!
//! A family holds at most [`SERIES_MAX`] series; what would be beyond goes to one series whose every
//! label is [`OTHER`], so that sums stay right and memory stays bounded.

use std::sync::Arc;

use super::index::{Index, Values};
use super::text::prefix;

/// Most series a family has.
pub const SERIES_MAX: usize = 2000;

/// The label value that stands for every value that is not told apart.
pub const OTHER: &str = "other";

/// Longest label value in bytes; the rest is cut off.
const LABEL_BYTES_MAX: usize = 128;

/// Series of one metric.
pub struct Family<M, const N: usize> {
    names: [&'static str; N],
    series: Index<M, N>,
    other: Index<M, N>,
    make: fn() -> M,
}

/// One series and its labels, by name and value.
pub type Series<M> = (Vec<(&'static str, Box<str>)>, Arc<M>);

impl<M, const N: usize> Family<M, N> {
    /// An empty family whose labels have these names; `make` makes a series.
    pub fn new(names: [&'static str; N], make: fn() -> M) -> Self {
        Self { names, series: Index::new(SERIES_MAX - 1), other: Index::new(1), make }
    }

    /// Gives the series with these label values to `f`, making it when it is new.
    pub fn with<R>(&self, values: [&str; N], f: impl Fn(&M) -> R) -> R {
        let values = bounded(values);
        self.series.find(values, |series| f(series)).unwrap_or_else(|| f(&self.grow(values)))
    }

    /// The series with these label values, made when it is new.
    pub fn get(&self, values: [&str; N]) -> Arc<M> {
        let values = bounded(values);
        self.series.find(values, Arc::clone).unwrap_or_else(|| self.grow(values))
    }

    #[cold]
    fn grow(&self, values: [&str; N]) -> Arc<M> {
        let others = [OTHER; N];
        let new = if values == others { None } else { self.series.insert(values, self.make) };
        // There is always room for the one entry of `other`.
        new.or_else(|| self.other.insert(others, self.make))
            .unwrap_or_else(|| Arc::new((self.make)()))
    }

    /// Every series with its labels (name and value), sorted by label values. Labels without a
    /// value are left out.
    pub fn read(&self) -> Vec<Series<M>> {
        let labelled = |values: Values<N>| {
            let pairs = self.names.iter().copied().zip(values.0);
            pairs.filter(|(_, value)| !value.is_empty()).collect()
        };
        let series = self.series.read().into_iter().chain(self.other.read());
        series.map(|(values, series)| (labelled(values), series)).collect()
    }

    /// Number of series.
    pub fn len(&self) -> usize {
        self.series.len() + self.other.len()
    }

    /// Whether there is no series yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn bounded<const N: usize>(values: [&str; N]) -> [&str; N] {
    values.map(|value| prefix(value, LABEL_BYTES_MAX))
}

#[cfg(test)]
mod tests {
    use super::super::cell::Counter;
    use super::*;

    fn family() -> Family<Counter, 2> {
        Family::new(["pool", "status"], Counter::default)
    }

    #[test]
    fn the_same_labels_are_one_series() {
        let family = family();
        for _ in 0..3 {
            family.with(["chat", "200"], Counter::inc);
        }
        family.with(["chat", ""], Counter::inc);
        let series: Vec<_> =
            family.read().into_iter().map(|(labels, counter)| (labels, counter.get())).collect();
        assert_eq!(
            series,
            [
                (vec![("pool", "chat".into())], 1),
                (vec![("pool", "chat".into()), ("status", "200".into())], 3),
            ]
        );
    }

    #[test]
    fn series_are_bounded_and_none_is_lost() {
        let family = family();
        for n in 0..SERIES_MAX + 500 {
            family.with(["chat", &n.to_string()], Counter::inc);
        }
        assert_eq!(family.len(), SERIES_MAX);
        let total: u64 = family.read().iter().map(|(_, counter)| counter.get()).sum();
        assert_eq!(total, SERIES_MAX as u64 + 500);
        let other = family.with([OTHER, OTHER], Counter::get);
        assert_eq!(other, 501);
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let family = family();
        family.with([&"é".repeat(100), "200"], Counter::inc);
        let labels = &family.read()[0].0;
        assert_eq!(labels[0].1.len(), 128);
    }

    #[test]
    fn threads_that_race_for_a_new_series_count_in_one() {
        let family = family();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..200 {
                        family.with(["chat", &n.to_string()], Counter::inc);
                    }
                });
            }
        });
        assert_eq!(family.len(), 200);
        assert!(family.read().iter().all(|(_, counter)| counter.get() == 4));
    }
}
