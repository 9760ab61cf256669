//! Several credentials of one provider, used in turn.
//!
//! *Signal*: a key that the provider limits (429) rests for as long as the provider says; one that
//! it refuses (401, 403) rests for a minute, doubling to an hour. *Recovery*: a rest ends by
//! itself; an accepted request ends the doubling. *Last key*: a refusal may be the client's doing
//! (a model that the account may not use), so when every key that is not limited was refused, the
//! one that was refused longest ago is used all the same: a client must not be able to switch a
//! provider off. *Cold start*: every key is usable.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use http::HeaderValue;

use crate::clock::{AtomicInstant, Duration, Instant};
use crate::config::Secret;

/// First rest of a refused key.
const REFUSED_REST: Duration = Duration::from_secs(60);
/// Longest rest of a refused key.
const REFUSED_REST_MAX: Duration = Duration::from_secs(3600);
/// Longest rest of a limited key, whatever the provider says.
const LIMITED_REST_MAX: Duration = Duration::from_secs(3600);

/// The credentials of a provider.
#[derive(Debug)]
pub struct KeyRing {
    keys: Box<[Key]>,
    next: AtomicUsize,
}

#[derive(Debug)]
struct Key {
    secret: Secret,
    header: HeaderValue,
    state: Arc<KeyState>,
}

/// What is learnt about a key while weir runs. Survives a reload that keeps the secret.
#[derive(Debug)]
struct KeyState {
    limited_until: AtomicInstant,
    refused_until: AtomicInstant,
    refusals: AtomicU32,
}

/// Which credential a request uses.
#[derive(Debug)]
pub enum KeyChoice<'a> {
    /// The provider takes none.
    Anonymous,
    /// This one. The index goes back to [`KeyRing::limited`], [`KeyRing::refused`] or
    /// [`KeyRing::accepted`].
    Key(usize, &'a Secret),
    /// All rest; the first comes back then.
    Resting(Instant),
}

/// A key in the live state. Never holds the key itself.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct KeySnapshot {
    /// Milliseconds until a limited key may be used again.
    pub limited_ms: u64,
    /// Milliseconds until a refused key may be used again.
    pub refused_ms: u64,
}

impl KeyRing {
    /// A ring of these secrets, each with the header value that carries it. State is taken over
    /// from `previous` where the secret is the same.
    pub(super) fn new(keys: Vec<(Secret, HeaderValue)>, previous: Option<&Self>) -> Self {
        let known = previous.map_or(&[][..], |ring| &ring.keys);
        let keys = keys.into_iter().map(|(secret, header)| {
            let state = known.iter().find(|key| key.secret == secret).map_or_else(
                || {
                    Arc::new(KeyState {
                        limited_until: AtomicInstant::none(),
                        refused_until: AtomicInstant::none(),
                        refusals: AtomicU32::new(0),
                    })
                },
                |key| Arc::clone(&key.state),
            );
            Key { secret, header, state }
        });
        Self { keys: keys.collect(), next: AtomicUsize::new(0) }
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The next key in turn that does not rest.
    pub fn pick(&self, now: Instant) -> KeyChoice<'_> {
        if self.keys.is_empty() {
            return KeyChoice::Anonymous;
        }
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let mut refused: Option<(Instant, usize)> = None;
        let mut limited: Option<Instant> = None;
        for step in 0..self.keys.len() {
            let index = start.wrapping_add(step) % self.keys.len();
            let state = &self.keys[index].state;
            if let Some(until) = state.limited_until.after(now) {
                limited = Some(limited.map_or(until, |first| first.min(until)));
            } else if let Some(until) = state.refused_until.after(now) {
                if refused.is_none_or(|(first, _)| until < first) {
                    refused = Some((until, index));
                }
            } else {
                return KeyChoice::Key(index, &self.keys[index].secret);
            }
        }
        match (refused, limited) {
            (Some((_, index)), _) => KeyChoice::Key(index, &self.keys[index].secret),
            (None, Some(until)) => KeyChoice::Resting(until),
            (None, None) => KeyChoice::Anonymous,
        }
    }

    /// When all keys are limited: the time at which the first may be used again.
    pub fn resting_until(&self, now: Instant) -> Option<Instant> {
        let mut first = None;
        for key in &self.keys {
            let until = key.state.limited_until.after(now)?;
            first = Some(first.map_or(until, |first: Instant| first.min(until)));
        }
        first
    }

    /// The provider limited the key (429) until then.
    pub fn limited(&self, index: usize, until: Instant, now: Instant) {
        if let Some(key) = self.keys.get(index) {
            key.state.limited_until.extend(until.min(now + LIMITED_REST_MAX));
        }
    }

    /// The provider refused the key (401, 403).
    pub fn refused(&self, index: usize, now: Instant) {
        if let Some(key) = self.keys.get(index) {
            let before = key.state.refusals.fetch_add(1, Ordering::Relaxed).min(10);
            let rest = (REFUSED_REST * (1 << before)).min(REFUSED_REST_MAX);
            key.state.refused_until.extend(now + rest);
        }
    }

    /// The provider accepted the key.
    pub fn accepted(&self, index: usize) {
        if let Some(key) = self.keys.get(index)
            && key.state.refusals.load(Ordering::Relaxed) != 0
        {
            key.state.refusals.store(0, Ordering::Relaxed);
            key.state.refused_until.set(None);
        }
    }

    /// The header value that carries the key. Marked sensitive.
    pub fn header(&self, index: usize) -> Option<&HeaderValue> {
        self.keys.get(index).map(|key| &key.header)
    }

    /// The live state.
    pub fn snapshot(&self, now: Instant) -> Vec<KeySnapshot> {
        let left_ms = |cell: &AtomicInstant| {
            cell.after(now).map_or(0, |until| (until - now).as_millis() as u64)
        };
        self.keys
            .iter()
            .map(|key| KeySnapshot {
                limited_ms: left_ms(&key.state.limited_until),
                refused_ms: left_ms(&key.state.refused_until),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(names: &[&str], previous: Option<&KeyRing>) -> KeyRing {
        let keys = names
            .iter()
            .map(|name| (Secret::new(*name), HeaderValue::from_str(name).expect("a value")));
        KeyRing::new(keys.collect(), previous)
    }

    fn picked(ring: &KeyRing, now: Instant) -> Option<usize> {
        match ring.pick(now) {
            KeyChoice::Key(index, _) => Some(index),
            KeyChoice::Anonymous | KeyChoice::Resting(_) => None,
        }
    }

    #[test]
    fn keys_take_turns() {
        let now = Instant::now();
        let ring = ring(&["a", "b", "c"], None);
        let order: Vec<_> = (0..6).map(|_| picked(&ring, now)).collect();
        assert_eq!(order, [0, 1, 2, 0, 1, 2].map(Some));
    }

    #[test]
    fn a_limited_key_rests_for_as_long_as_was_said() {
        let now = Instant::now();
        let ring = ring(&["a", "b"], None);
        ring.limited(0, now + Duration::from_secs(5), now);
        assert!((0..4).all(|_| picked(&ring, now) == Some(1)));
        assert_eq!(ring.resting_until(now), None);
        ring.limited(1, now + Duration::from_secs(3), now);
        assert_eq!(ring.resting_until(now), Some(now + Duration::from_secs(3)));
        assert!(
            matches!(ring.pick(now), KeyChoice::Resting(at) if at == now + Duration::from_secs(3))
        );
        let later = now + Duration::from_secs(4);
        assert!((0..4).all(|_| picked(&ring, later) == Some(1)));
    }

    #[test]
    fn an_absurd_retry_after_is_cut() {
        let now = Instant::now();
        let ring = ring(&["a"], None);
        ring.limited(0, now + Duration::from_secs(1_000_000), now);
        assert_eq!(ring.resting_until(now), Some(now + LIMITED_REST_MAX));
    }

    #[test]
    fn a_refused_key_rests_longer_each_time_while_another_works() {
        let mut now = Instant::now();
        let ring = ring(&["bad", "good"], None);
        for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
            ring.refused(0, now);
            assert_eq!(ring.snapshot(now)[0].refused_ms, minutes * 60_000);
            assert!((0..4).all(|_| picked(&ring, now) == Some(1)));
            now += Duration::from_secs(minutes * 60);
        }
        ring.accepted(0);
        ring.refused(0, now);
        assert_eq!(ring.snapshot(now)[0].refused_ms, 60_000);
    }

    #[test]
    fn refusals_never_switch_a_provider_off() {
        let now = Instant::now();
        let ring = ring(&["a", "b"], None);
        ring.refused(0, now);
        ring.refused(1, now + Duration::from_secs(1));
        assert!((0..4).all(|_| picked(&ring, now + Duration::from_secs(2)) == Some(0)));
        assert_eq!(ring.resting_until(now), None);
    }

    #[test]
    fn state_follows_the_secret_through_a_reload() {
        let now = Instant::now();
        let before = ring(&["a", "b"], None);
        before.limited(1, now + Duration::from_secs(9), now);
        let after = ring(&["b", "c"], Some(&before));
        assert!((0..4).all(|_| picked(&after, now) == Some(1)));
    }

    #[test]
    fn no_key_is_anonymous() {
        assert!(matches!(ring(&[], None).pick(Instant::now()), KeyChoice::Anonymous));
    }
}
