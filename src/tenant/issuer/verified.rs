//! Tokens that were verified, by their hash: bounded, and locked in parts.
//!
//! Each part has two generations of entries. When the younger is full it becomes the older, whose
//! entries are dropped at once; what is asked for is moved to the younger. So the bound costs no
//! search, and what is in use stays.

use std::mem;
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::tenant::Caller;

/// Parts. Two workers rarely want the same one at the same moment.
const PARTS: usize = 64;
/// Entries of one generation of one part: 32,768 tokens in all at most.
const ENTRIES_MAX: usize = 256;

type Entries = HashMap<[u8; 32], Entry, ahash::RandomState>;

/// A verified token.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) caller: Arc<Caller>,
    /// Which issuer made it, and the generation of the keys that it was verified with.
    pub(super) issuer: usize,
    pub(super) generation: u64,
    /// When it expires, in seconds of Unix time.
    pub(super) until_s: u64,
}

#[derive(Debug, Default)]
struct Part {
    young: Entries,
    old: Entries,
}

#[derive(Debug)]
pub(super) struct Verified([Mutex<Part>; PARTS]);

impl Default for Verified {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl Verified {
    /// The caller of a token, while it is valid and was verified with the present keys.
    pub(super) fn get(
        &self,
        hash: &[u8; 32],
        now_s: u64,
        generation: impl Fn(usize) -> u64,
    ) -> Option<Arc<Caller>> {
        let mut part = self.part(hash).lock();
        let valid =
            |entry: &Entry| entry.until_s > now_s && entry.generation == generation(entry.issuer);
        if let Some(entry) = part.young.get(hash) {
            return valid(entry).then(|| Arc::clone(&entry.caller));
        }
        let entry = part.old.remove(hash).filter(valid)?;
        let caller = Arc::clone(&entry.caller);
        part.put(*hash, entry);
        Some(caller)
    }

    pub(super) fn put(&self, hash: [u8; 32], entry: Entry) {
        self.part(&hash).lock().put(hash, entry);
    }

    fn part(&self, hash: &[u8; 32]) -> &Mutex<Part> {
        &self.0[usize::from(hash[0]) % PARTS]
    }
}

impl Part {
    fn put(&mut self, hash: [u8; 32], entry: Entry) {
        if self.young.len() >= ENTRIES_MAX {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(hash, entry);
    }
}
