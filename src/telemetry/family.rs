//! Series of one metric, told apart by their labels, found without a lock.
//!
//! Reading goes through an `ArcSwap`: one hash of the labels and one comparison. A new series is
//! rare (its labels were never seen before), so it may copy the index under a lock. A family holds
//! at most [`SERIES_MAX`] series; what would be beyond goes to one series whose every label is
//! [`OTHER`], so that sums stay right and memory stays bounded.

use std::hash::Hash;
use std::sync::Arc;

use arc_swap::ArcSwap;
use hashbrown::{Equivalent, HashMap};
use parking_lot::Mutex;

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
    index: ArcSwap<Index<M, N>>,
    growing: Mutex<()>,
    make: fn() -> M,
}

type Index<M, const N: usize> = HashMap<Labels<N>, Arc<M>, ahash::RandomState>;

/// One series and its labels, by name and value.
pub type Series<M> = (Vec<(&'static str, Box<str>)>, Arc<M>);

/// Owned label values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Labels<const N: usize>([Box<str>; N]);

/// Borrowed label values; hashes as [`Labels`] does.
#[derive(Hash)]
struct Query<'a, const N: usize>([&'a str; N]);

impl<const N: usize> Equivalent<Labels<N>> for Query<'_, N> {
    fn equivalent(&self, labels: &Labels<N>) -> bool {
        self.0.iter().zip(&labels.0).all(|(asked, held)| **asked == **held)
    }
}

impl<M, const N: usize> Family<M, N> {
    /// An empty family whose labels have these names; `make` makes a series.
    pub fn new(names: [&'static str; N], make: fn() -> M) -> Self {
        Self { names, index: ArcSwap::default(), growing: Mutex::new(()), make }
    }

    /// Gives the series with these label values to `f`, making it when it is new.
    pub fn with<R>(&self, values: [&str; N], f: impl FnOnce(&M) -> R) -> R {
        let query = Query(values.map(|value| prefix(value, LABEL_BYTES_MAX)));
        if let Some(series) = self.index.load().get(&query) {
            return f(series);
        }
        f(&self.grow(&query))
    }

    #[cold]
    fn grow(&self, query: &Query<'_, N>) -> Arc<M> {
        let _one_at_a_time = self.growing.lock();
        let index = self.index.load();
        let other = Query([OTHER; N]);
        let query = if index.len() < SERIES_MAX - 1 { query } else { &other };
        if let Some(series) = index.get(query) {
            return Arc::clone(series);
        }
        let series = Arc::new((self.make)());
        let mut grown = Index::clone(&index);
        grown.insert(Labels(query.0.map(Into::into)), Arc::clone(&series));
        self.index.store(Arc::new(grown));
        series
    }

    /// Every series with its labels (name and value), sorted by label values. Labels without a
    /// value are left out.
    pub fn read(&self) -> Vec<Series<M>> {
        let index = self.index.load();
        let mut series: Vec<_> = index.iter().collect();
        series.sort_by(|a, b| a.0.cmp(b.0));
        let labelled = |labels: &Labels<N>| {
            let pairs = self.names.iter().copied().zip(labels.0.iter().cloned());
            pairs.filter(|(_, value)| !value.is_empty()).collect()
        };
        series.into_iter().map(|(labels, series)| (labelled(labels), Arc::clone(series))).collect()
    }

    /// Number of series.
    pub fn len(&self) -> usize {
        self.index.load().len()
    }

    /// Whether there is no series yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
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
