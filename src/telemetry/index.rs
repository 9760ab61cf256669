//! A bounded map from label values to what they stand for, read without a lock.
//!
//! Reading is one hash of the values and one comparison behind an `ArcSwap`. An entry is only ever
//! added when its values are seen for the first time, which is rare, so adding may copy the map under
//! a lock.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arc_swap::ArcSwap;
use hashbrown::{Equivalent, HashMap};
use parking_lot::Mutex;

use crate::same::same;

/// The map.
pub struct Index<M, const N: usize> {
    map: ArcSwap<Map<M, N>>,
    growing: Mutex<()>,
    entries_max: usize,
}

type Map<M, const N: usize> = HashMap<Values<N>, Arc<M>, ahash::RandomState>;

/// Owned label values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Values<const N: usize>(pub [Box<str>; N]);

/// Borrowed label values; hashes as [`Values`] does.
struct Query<'a, const N: usize>([&'a str; N]);

impl<const N: usize> Hash for Values<N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.iter().for_each(|value| state.write_u64(outline(value)));
    }
}

impl<const N: usize> Hash for Query<'_, N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.iter().for_each(|value| state.write_u64(outline(value)));
    }
}

/// What tells most texts from most others: how long one is, how it begins and how it ends. Whether two
/// are the same is asked when they are found.
fn outline(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let (first, last) = match (bytes.first_chunk(), bytes.last_chunk(), bytes) {
        (Some(first), Some(last), _) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        (_, _, [first, .., last]) => {
            let middle = u64::from(bytes[bytes.len() / 2]) << 8;
            (u64::from(*first) | middle, u64::from(*last))
        }
        (_, _, [only]) => (u64::from(*only), 0),
        (_, _, []) => (0, 0),
    };
    first ^ last.rotate_left(32) ^ (bytes.len() as u64).rotate_right(8)
}

impl<const N: usize> Equivalent<Values<N>> for Query<'_, N> {
    fn equivalent(&self, values: &Values<N>) -> bool {
        self.0.iter().zip(&values.0).all(|(asked, held)| same(asked, held))
    }
}

impl<M, const N: usize> Index<M, N> {
    /// An empty map that takes up to `entries_max` entries.
    pub fn new(entries_max: usize) -> Self {
        Self { map: ArcSwap::default(), growing: Mutex::new(()), entries_max }
    }

    /// Gives the entry to `f`.
    pub fn find<R>(&self, values: [&str; N], f: impl FnOnce(&Arc<M>) -> R) -> Option<R> {
        self.map.load().get(&Query(values)).map(f)
    }

    /// The entry, made now if it is not there; `None` when the map is full.
    #[cold]
    pub fn insert(&self, values: [&str; N], make: impl FnOnce() -> M) -> Option<Arc<M>> {
        let _one_at_a_time = self.growing.lock();
        let map = self.map.load();
        if let Some(entry) = map.get(&Query(values)) {
            return Some(Arc::clone(entry));
        }
        if map.len() >= self.entries_max {
            return None;
        }
        let entry = Arc::new(make());
        let mut grown = Map::clone(&map);
        grown.insert(Values(values.map(Into::into)), Arc::clone(&entry));
        self.map.store(Arc::new(grown));
        Some(entry)
    }

    /// Forgets every entry.
    pub fn clear(&self) {
        let _one_at_a_time = self.growing.lock();
        self.map.store(Arc::default());
    }

    /// Every entry, sorted by its values.
    pub fn read(&self) -> Vec<(Values<N>, Arc<M>)> {
        let map = self.map.load();
        let mut entries: Vec<_> =
            map.iter().map(|(values, entry)| (values.clone(), Arc::clone(entry))).collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        entries
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.map.load().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_one_outline_are_told_apart() {
        let texts = ["", "a", "ab", "abc", "adc", "abcd", "12345678", "12345678x12345678"];
        let alike = ["12345678y12345678", "acbc", "axcd"];
        let index = Index::<&str, 1>::new(20);
        for text in texts.into_iter().chain(alike) {
            assert_eq!(index.find([text], |entry| **entry), None);
            index.insert([text], || text);
            assert_eq!(index.find([text], |entry| **entry), Some(text));
        }
        assert_eq!(outline(texts[7]), outline(alike[0]));
    }

    #[test]
    fn a_full_map_takes_nothing_new_and_keeps_what_it_has() {
        let index = Index::<u32, 2>::new(2);
        assert_eq!(index.insert(["a", "b"], || 1).as_deref(), Some(&1));
        assert_eq!(index.insert(["ab", ""], || 2).as_deref(), Some(&2));
        assert_eq!(index.insert(["", "ab"], || 3), None);
        assert_eq!(index.insert(["a", "b"], || 4).as_deref(), Some(&1));
        assert_eq!(index.find(["ab", ""], |entry| **entry), Some(2));
        assert_eq!(index.find(["", "ab"], |entry| **entry), None);
        index.clear();
        assert_eq!(index.len(), 0);
    }
}
