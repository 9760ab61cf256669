//! All scopes by name, bounded.
//!
//! Scopes are spread over shards, and finding one takes its shard's lock for reading. Every new one
//! makes its shard look at a few of the old ones, in turn; those are forgotten that are as if they
//! had never been used: nothing in flight, every window empty, every budget's period over or nothing
//! spent. When a shard is full of scopes that must be remembered, what is new has to share one scope
//! (see [`super::Limits`]): stricter than it has to be, never looser.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::{Equivalent, HashTable};
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
    /// By the registry's hash, which also chose the shard: a name is hashed once.
    scopes: HashTable<Named>,
    /// The same, in the order in which they are looked at next.
    turn: VecDeque<Named>,
}

/// A scope and its name.
#[derive(Clone, Debug)]
struct Named {
    hash: u64,
    key: Arc<ScopeKey>,
    scope: Arc<Scope>,
}

impl Named {
    fn is(&self, id: &ScopeId<'_>) -> bool {
        id.equivalent(&*self.key)
    }
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
        let hash = self.hasher.hash_one(id);
        // The table takes its place from the lower bits and a tag from the upper ones.
        let shard = &self.shards[(hash >> 32) as usize % SHARDS];
        if let Some(known) = shard.read().scopes.find(hash, |it| it.is(id)) {
            return Found::Known(Arc::clone(&known.scope));
        }
        shard.write().grow((id, hash), (self.per_shard_max, self.shared), now)
    }

    /// How scopes stand whose set's name begins like this.
    pub(super) fn states(&self, owner: &str, states_max: usize, now: Moment) -> States {
        let mut states = States::default();
        for shard in &self.shards {
            let shard = shard.read();
            let owned = shard.scopes.iter().filter(|it| it.key.set.starts_with(owner));
            for Named { key, scope, .. } in owned {
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
        (id, hash): (&ScopeId<'_>, u64),
        (scopes_max, shared): (usize, bool),
        now: Moment,
    ) -> Found {
        // Another thread may have made it in between.
        if let Some(known) = self.scopes.find(hash, |it| it.is(id)) {
            return Found::Known(Arc::clone(&known.scope));
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
        let named = Named { hash, key: Arc::new(id.keep()), scope: Arc::new(scope) };
        let scope = Arc::clone(&named.scope);
        self.scopes.insert_unique(hash, named.clone(), |it| it.hash);
        self.turn.push_back(named);
        Found::New { scope, forgotten }
    }

    /// Looks at the next few scopes.
    fn forget(&mut self, now: Moment) -> usize {
        let mut forgotten = 0;
        for _ in 0..LOOKS.min(self.turn.len()) {
            let Some(named) = self.turn.pop_front() else { break };
            let scope = &named.scope;
            // Held by the table and by this turn only: nobody else can get at it under this lock.
            if Arc::strong_count(scope) == 2 && scope.book.lock().is_neutral(now) {
                let same = |it: &Named| Arc::ptr_eq(&it.scope, scope);
                if let Ok(entry) = self.scopes.find_entry(named.hash, same) {
                    entry.remove();
                }
                forgotten += 1;
            } else {
                self.turn.push_back(named);
            }
        }
        forgotten
    }
}
