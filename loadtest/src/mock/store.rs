//! Files and batches that clients left here. In memory and bounded.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// The most objects of one kind; the oldest goes first.
const OBJECTS_MAX: usize = 256;

/// Everything that was left here.
#[derive(Debug, Default)]
pub(super) struct Store {
    objects: Mutex<BTreeMap<(&'static str, u64), Stored>>,
}

/// One object.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    /// As the API describes it.
    pub(super) description: serde_json::Value,
    pub(super) content: Bytes,
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(&'static str, u64), Stored>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an object of a kind under a number.
    pub(super) fn put(&self, kind: &'static str, number: u64, stored: Stored) {
        let mut objects = self.lock();
        let of_kind = || (kind, 0)..=(kind, u64::MAX);
        if objects.range(of_kind()).count() >= OBJECTS_MAX
            && let Some(key) = objects.range(of_kind()).next().map(|(key, _)| *key)
        {
            objects.remove(&key);
        }
        objects.insert((kind, number), stored);
    }

    pub(super) fn get(&self, kind: &'static str, number: u64) -> Option<Stored> {
        self.lock().get(&(kind, number)).cloned()
    }

    pub(super) fn remove(&self, kind: &'static str, number: u64) -> Option<Stored> {
        self.lock().remove(&(kind, number))
    }

    pub(super) fn list(&self, kind: &'static str) -> Vec<Stored> {
        self.lock().range((kind, 0)..=(kind, u64::MAX)).map(|(_, stored)| stored.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_bounded() {
        let store = Store::default();
        let stored = Stored { description: serde_json::Value::Null, content: Bytes::new() };
        for number in 0..(OBJECTS_MAX as u64 + 5) {
            store.put("file", number, stored.clone());
        }
        assert_eq!(store.list("file").len(), OBJECTS_MAX);
        assert!(store.get("file", 0).is_none() && store.remove("file", 9).is_some());
        assert!(store.list("batch").is_empty());
    }
}
