//! All scopes by name, bounded.
//!
//! Scopes are spread over shards, and finding one takes its shard's lock for reading. Every new one
//! makes its shard look at a few of the old ones, in turn; those are forgotten that are as if they
//! had never been used: nothing in flight, every window empty, every budget's period over or nothing
//! spent. When a shard is full of scopes that must be remembered, what is new has to share one scope
//! (see [`super::Limits`]): stricter than it has to be, never looser.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::RwLock;

use super::moment::Moment;
use super::rules::SEPARATOR;
use super::scope::{Scope, ScopeId, ScopeKey};
use super::state::{ScopeState, States};

/// Shards. A power of two.
const SHARDS: usize = 64;
/// Scopes that are looked at for each new one.
const LOOKS: usize = 8;

/// All scopes that are not a set's only one.
#[derive(Debug)]
pub(super) struct Registry {
    shards: Box<[RwLock<Shard>]>,
    hasher: ahash::RandomState,
    per_shard_max: usize,
    /// Other processes share the limits.
    shared: bool,
}

#[derive(Debug, Default)]
struct Shard {
    scopes: HashMap<ScopeKey, Arc<Scope>, ahash::RandomState>,
    /// The same, in the order in which they are looked at next.
    turn: VecDeque<(ScopeKey, Arc<Scope>)>,
}

/// A scope of the registry, and what became of others.
pub(super) enum Found {
    Known(Arc<Scope>),
    New {
        scope: Arc<Scope>,
        forgotten: usize,
    },
    /// There is no room; so many were forgotten all the same.
    NoRoom,
}

impl Registry {
    /// Room for so many scopes, rounded up to whole shards.
    pub(super) fn new(scopes_max: usize, shared: bool) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            hasher: ahash::RandomState::new(),
            per_shard_max: scopes_max.div_ceil(SHARDS),
            shared,
        }
    }

    /// The scope of this name, made if it is new and there is room.
    pub(super) fn scope(&self, id: &ScopeId<'_>, now: Moment) -> Found {
        let shard = &self.shards[self.hasher.hash_one(id) as usize % SHARDS];
        if let Some(scope) = shard.read().scopes.get(id) {
            return Found::Known(Arc::clone(scope));
        }
        shard.write().grow(id, (self.per_shard_max, self.shared), now)
    }

    /// How scopes stand whose set's name begins like this.
    pub(super) fn states(&self, owner: &str, states_max: usize, now: Moment) -> States {
        let mut states = States::default();
        for shard in &self.shards {
            let shard = shard.read();
            for (key, scope) in shard.scopes.iter().filter(|(key, _)| key.set.starts_with(owner)) {
                if states.scopes.len() == states_max {
                    states.more = true;
                    return states;
                }
                let (in_flight, counters) = scope.book.lock().state(now);
                states.scopes.push(ScopeState {
                    set: Arc::clone(&key.set),
                    user: key.user.clone(),
                    model: key.model.clone(),
                    named: names(&key.named),
                    in_flight,
                    counters,
                });
            }
        }
        states
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().scopes.len()).sum()
    }
}

/// What expressions named, one by one.
fn names(named: &str) -> Vec<String> {
    if named.is_empty() { Vec::new() } else { named.split(SEPARATOR).map(str::to_owned).collect() }
}

impl Shard {
    #[cold]
    fn grow(
        &mut self,
        id: &ScopeId<'_>,
        (scopes_max, shared): (usize, bool),
        now: Moment,
    ) -> Found {
        // Another thread may have made it in between.
        if let Some(scope) = self.scopes.get(id) {
            return Found::Known(Arc::clone(scope));
        }
        let forgotten = self.forget(now);
        if self.scopes.len() >= scopes_max {
            return Found::NoRoom;
        }
        let scope = if shared {
            let ScopeId { set, user, model, named } = id;
            let by = if named.is_empty() { String::new() } else { format!("\u{1f}{named}") };
            Scope::shared(format!("{set}\u{1f}{user}\u{1f}{model}{by}"))
        } else {
            Scope::default()
        };
        let (key, scope) = (id.keep(), Arc::new(scope));
        self.scopes.insert(key.clone(), Arc::clone(&scope));
        self.turn.push_back((key, Arc::clone(&scope)));
        Found::New { scope, forgotten }
    }

    /// Looks at the next few scopes.
    fn forget(&mut self, now: Moment) -> usize {
        let mut forgotten = 0;
        for _ in 0..LOOKS.min(self.turn.len()) {
            let Some((key, scope)) = self.turn.pop_front() else { break };
            // Held by the map and by this turn only: nobody else can get at it under this lock.
            if Arc::strong_count(&scope) == 2 && scope.book.lock().is_neutral(now) {
                self.scopes.remove(&key);
                forgotten += 1;
            } else {
                self.turn.push_back((key, scope));
            }
        }
        forgotten
    }
}
