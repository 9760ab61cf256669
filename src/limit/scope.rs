//! Scopes: what is counted together, each with its own lock, and entering several of them at once.
//!
//! A request that several scopes apply to is entered into all of them or into none. Their locks are
//! taken in the order of their addresses, which is one order for everybody, held while all are
//! checked and entered, and never while anything is waited for: some hundred nanoseconds. Counters
//! without a lock would have to be raised one after the other and lowered again where a later one is
//! full; in between they refuse requests that fit.

use std::hash::{Hash, Hasher};
use std::ops::DerefMut;
use std::sync::Arc;

use hashbrown::Equivalent;
use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use super::book::{Ask, Book, Entry, Full};
use super::moment::Moment;
use super::rules::Rules;

/// What keeps a book to one thread at a time. Tests put one in place that explores orders.
pub(super) trait Lock {
    type Guard<'a>: DerefMut<Target = Book>
    where
        Self: 'a;
    fn lock(&self) -> Self::Guard<'_>;
}

impl Lock for Mutex<Book> {
    type Guard<'a> = MutexGuard<'a, Book>;

    fn lock(&self) -> Self::Guard<'_> {
        Mutex::lock(self)
    }
}

/// What is counted together.
#[derive(Debug, Default)]
pub(super) struct Scope<L = Mutex<Book>> {
    pub(super) book: L,
}

/// The name of a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScopeId<'a> {
    pub(super) set: &'a Arc<str>,
    pub(super) user: &'a str,
    pub(super) model: &'a str,
}

/// The same, kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ScopeKey {
    set: Arc<str>,
    user: Box<str>,
    model: Box<str>,
}

impl Hash for ScopeId<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&**self.set, self.user, self.model).hash(state);
    }
}

impl Hash for ScopeKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&*self.set, &*self.user, &*self.model).hash(state);
    }
}

impl Equivalent<ScopeKey> for ScopeId<'_> {
    fn equivalent(&self, key: &ScopeKey) -> bool {
        self.user == &*key.user && self.model == &*key.model && **self.set == *key.set
    }
}

impl ScopeId<'_> {
    pub(super) fn keep(&self) -> ScopeKey {
        ScopeKey { set: Arc::clone(self.set), user: self.user.into(), model: self.model.into() }
    }
}

/// A scope that applies to a request, with its rules.
pub(super) type Claim<L = Mutex<Book>> = (Arc<Scope<L>>, Arc<Rules>);

/// Those of one request.
pub(super) type Claims<L = Mutex<Book>> = SmallVec<[Claim<L>; 4]>;

/// What a request holds in all scopes that apply to it. Given back when it is dropped.
#[must_use = "dropping a reservation gives it back"]
pub(super) struct Reservation<L: Lock = Mutex<Book>> {
    held: Ask,
    entries: SmallVec<[(Arc<Scope<L>>, Entry); 4]>,
}

/// The scope that did not admit a request.
pub(super) struct Refused {
    pub(super) rules: Arc<Rules>,
    pub(super) full: Full,
}

impl<L: Lock> Reservation<L> {
    /// Enters a request into all scopes, or into none. `look` sees every book with its rules as it is
    /// then, entered or not.
    pub(super) fn new(
        mut claims: Claims<L>,
        held: Ask,
        now: Moment,
        mut look: impl FnMut(&Book, &Rules),
    ) -> Result<Self, Refused> {
        claims.sort_unstable_by_key(|(scope, _)| Arc::as_ptr(scope));
        // No two sets share a scope. If they did, the second lock would wait for the first for ever.
        claims.dedup_by(|a, b| Arc::ptr_eq(&a.0, &b.0));
        let mut books: SmallVec<[_; 4]> =
            claims.iter().map(|(scope, rules)| (scope.book.lock(), rules)).collect();
        let mut refused: Option<Refused> = None;
        for (book, rules) in &mut books {
            book.roll(rules, now);
            if let Err(full) = book.check(rules, &held)
                && refused.as_ref().is_none_or(|worst| full.later_than(&worst.full))
            {
                refused = Some(Refused { rules: Arc::clone(rules), full });
            }
        }
        let mut entered: SmallVec<[Entry; 4]> = SmallVec::new();
        for (book, rules) in &mut books {
            if refused.is_none() {
                entered.push(book.enter(rules, &held));
            }
            look(book, rules);
        }
        drop(books);
        if let Some(refused) = refused {
            return Err(refused);
        }
        let scopes = claims.into_iter().map(|(scope, _)| scope);
        Ok(Self { held, entries: scopes.zip(entered).collect() })
    }

    /// Replaces what is held by what was used.
    pub(super) fn settle(mut self, used: Ask, now: Moment) {
        self.leave(&used, now);
    }

    fn leave(&mut self, used: &Ask, now: Moment) {
        for (scope, entry) in self.entries.drain(..) {
            scope.book.lock().settle(entry, &self.held, used, now);
        }
    }
}

impl<L: Lock> Drop for Reservation<L> {
    fn drop(&mut self) {
        // A request that was settled has left all scopes.
        if !self.entries.is_empty() {
            self.leave(&Ask::default(), Moment::default());
        }
    }
}
