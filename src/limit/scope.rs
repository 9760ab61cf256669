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
use super::rules::{Rules, Set};
use crate::same::same;

/// What keeps a book to one thread at a time. Tests put one in place that explores orders.
pub(super) trait Lock {
    type Guard<'a>: DerefMut<Target = Book>
    where
        Self: 'a;
    fn lock(&self) -> Self::Guard<'_>;

    /// The scope that a set keeps, where it has only one.
    fn own(_set: &Set) -> Option<&Arc<Scope<Self>>>
    where
        Self: Sized,
    {
        None
    }
}

impl Lock for Mutex<Book> {
    type Guard<'a> = MutexGuard<'a, Book>;

    fn lock(&self) -> Self::Guard<'_> {
        Mutex::lock(self)
    }

    fn own(set: &Set) -> Option<&Arc<Scope<Self>>> {
        set.own.get()
    }
}

/// What is counted together.
#[derive(Debug, Default)]
pub(super) struct Scope<L = Mutex<Book>> {
    pub(super) book: L,
    /// Its name where other processes share its limits.
    pub(super) name: Box<str>,
}

impl Scope {
    /// One whose limits other processes share.
    pub(super) fn shared(name: String) -> Self {
        Self { book: Mutex::new(Book::shared()), name: name.into() }
    }
}

/// The name of a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScopeId<'a> {
    pub(super) set: &'a Arc<str>,
    pub(super) user: &'a str,
    pub(super) model: &'a str,
    /// What expressions named.
    pub(super) named: &'a str,
}

/// The same, kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ScopeKey {
    pub(super) set: Arc<str>,
    pub(super) user: Box<str>,
    pub(super) model: Box<str>,
    pub(super) named: Box<str>,
}

impl Hash for ScopeId<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&**self.set, self.user, self.model, self.named).hash(state);
    }
}

impl Equivalent<ScopeKey> for ScopeId<'_> {
    fn equivalent(&self, key: &ScopeKey) -> bool {
        same(self.user, &key.user)
            && same(self.model, &key.model)
            && same(self.named, &key.named)
            && **self.set == *key.set
    }
}

impl ScopeId<'_> {
    pub(super) fn keep(&self) -> ScopeKey {
        ScopeKey {
            set: Arc::clone(self.set),
            user: self.user.into(),
            model: self.model.into(),
            named: self.named.into(),
        }
    }
}

/// A scope that applies to a request, with its rules. The scope of a set that has only one is that
/// set's: one count of references fewer, which every request would raise and lower.
#[derive(Debug)]
pub(super) struct Claim<L = Mutex<Book>> {
    pub(super) set: Arc<Set>,
    other: Option<Arc<Scope<L>>>,
}

impl<L: Lock> Claim<L> {
    /// Of the scope that the set keeps; `None` where it keeps none.
    pub(super) fn of_own(set: &Arc<Set>) -> Option<Self> {
        L::own(set).map(|_| Self { set: Arc::clone(set), other: None })
    }

    pub(super) fn of(scope: Arc<Scope<L>>, set: &Arc<Set>) -> Self {
        Self { set: Arc::clone(set), other: Some(scope) }
    }

    pub(super) fn scope(&self) -> &Arc<Scope<L>> {
        let own = || L::own(&self.set).unwrap_or_else(|| unreachable!("a set keeps what it has"));
        self.other.as_ref().unwrap_or_else(own)
    }
}

/// Those of one request.
pub(super) type Claims<L = Mutex<Book>> = SmallVec<[Claim<L>; 4]>;

/// What a request holds in all scopes that apply to it. Given back when it is dropped.
#[must_use = "dropping a reservation gives it back"]
pub(super) struct Reservation<L: Lock = Mutex<Book>> {
    /// In the order of their addresses.
    claims: Claims<L>,
    /// What was taken at admission, and behind it each extension. Empty once it is settled.
    parts: SmallVec<[Part; 1]>,
}

/// What was taken at one moment, with its entry in each scope.
struct Part {
    held: Ask,
    entries: SmallVec<[Entry; 4]>,
}

/// The scope that did not admit a request.
pub(super) struct Refused {
    pub(super) rules: Arc<Set>,
    pub(super) full: Full,
}

impl<L: Lock> Reservation<L> {
    /// Enters a request into all scopes, or into none. `look` sees every book with its rules as it is
    /// then, entered or not.
    pub(super) fn new(
        mut claims: Claims<L>,
        held: Ask,
        now: Moment,
        look: impl FnMut(&mut Book, &Rules),
    ) -> Result<Self, Refused> {
        claims.sort_unstable_by_key(|claim| Arc::as_ptr(claim.scope()));
        // No two sets share a scope. If they did, the second lock would wait for the first for ever.
        claims.dedup_by(|a, b| Arc::ptr_eq(a.scope(), b.scope()));
        let mut reservation = Self { claims, parts: SmallVec::new() };
        reservation.take(held, now, look)?;
        Ok(reservation)
    }

    /// Holds more for the same request: all of it, or nothing.
    pub(super) fn extend(&mut self, more: Ask, now: Moment) -> Result<(), Refused> {
        self.take(more, now, |_, _| ())
    }

    /// Counts more of the same request, whether there is room for it or not.
    pub(super) fn charge(&mut self, more: Ask, now: Moment) {
        let enter = |claim: &Claim<L>| {
            let mut book = claim.scope().book.lock();
            book.roll(&claim.set, now);
            book.enter(&more)
        };
        let entries = self.claims.iter().map(enter).collect();
        self.parts.push(Part { held: more, entries });
    }

    /// Where it is counted.
    pub(super) fn claims(&self) -> &Claims<L> {
        &self.claims
    }

    /// Whether a rule on tokens or money refuses what does not fit.
    pub(super) fn is_bound(&self) -> bool {
        self.claims.iter().any(|claim| claim.set.binds_use())
    }

    fn take(
        &mut self,
        held: Ask,
        now: Moment,
        mut look: impl FnMut(&mut Book, &Rules),
    ) -> Result<(), Refused> {
        let mut books: SmallVec<[L::Guard<'_>; 4]> = SmallVec::new();
        let mut refused: Option<Refused> = None;
        for claim in &self.claims {
            let mut book = claim.scope().book.lock();
            if let Err(full) = book.check(&claim.set, &held, now)
                && refused.as_ref().is_none_or(|worst| full.later_than(&worst.full))
            {
                refused = Some(Refused { rules: Arc::clone(&claim.set), full });
            }
            books.push(book);
        }
        let mut entries: SmallVec<[Entry; 4]> = SmallVec::new();
        for (book, claim) in books.iter_mut().zip(&self.claims) {
            if refused.is_none() {
                entries.push(book.enter(&held));
            }
            look(book, &claim.set);
        }
        drop(books);
        if let Some(refused) = refused {
            return Err(refused);
        }
        self.parts.push(Part { held, entries });
        Ok(())
    }

    /// Replaces what is held by what was used.
    pub(super) fn settle(mut self, used: Ask, now: Moment) {
        self.leave(&used, now);
    }

    /// What is used beyond all that was held is charged now; what is not used is taken back from the
    /// latest extension first, because what was held first was used first.
    fn leave(&mut self, used: &Ask, now: Moment) {
        let held = self.parts.iter().fold(Ask::default(), |sum, part| sum.plus(&part.held));
        let (more, unused) = (used.less(&held), held.less(used));
        for (at, claim) in self.claims.iter().enumerate() {
            let mut book = claim.scope().book.lock();
            let mut left = unused;
            for part in self.parts.iter().rev() {
                let back = part.held.least(&left);
                book.take_back(part.entries[at], &back, now);
                left = left.less(&back);
            }
            if let Some(first) = self.parts.first() {
                book.leave(first.entries[at], &more);
            }
        }
        self.parts.clear();
    }
}

impl<L: Lock> Drop for Reservation<L> {
    fn drop(&mut self) {
        // A request that was settled has left all scopes, one that was refused has entered none.
        if !self.parts.is_empty() {
            self.leave(&Ask::default(), Moment::default());
        }
    }
}
