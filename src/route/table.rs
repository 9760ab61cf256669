//! The routes, ready for use: immutable, read without a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderName;
use rand::Rng;

use super::endpoints::Set;
use super::index::Index;
use crate::config::NamePattern;
use crate::dialect::LossPolicy;
use crate::expression::{Answer, Expression, Query};
use crate::hash;

/// One route.
#[derive(Debug)]
pub(super) struct Rule {
    pub name: Arc<str>,
    /// Any of these. Empty: any model, or none.
    pub models: Box<[NamePattern]>,
    pub endpoints: Set,
    pub headers: Box<[(HeaderName, NamePattern)]>,
    pub labels: Box<[(Box<str>, NamePattern)]>,
    pub when: Option<Expression>,
    pub destination: Destination,
    /// The model the request continues with.
    pub model: Option<Arc<str>>,
    pub loss: LossPolicy,
}

/// Where a route leads.
#[derive(Debug)]
pub(super) enum Destination {
    Pool(usize),
    Split { arms: Box<[Arm]>, sticky: bool },
}

/// One arm of a split: it takes the points from where the one before it ends up to `end`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arm {
    pub pool: usize,
    pub end: u64,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// The route's name.
    pub route: Arc<str>,
    /// Index of the pool.
    pub pool: usize,
    /// The model to continue with, where it is not the client's own.
    pub model: Option<Arc<str>>,
    /// What becomes of what the upstream's format cannot express.
    pub loss: LossPolicy,
}

/// The routes.
#[derive(Debug)]
pub struct Table {
    pub(super) rules: Box<[Rule]>,
    pub(super) index: Index,
    pub(super) models: Vec<Arc<str>>,
    pub(super) expression_failures: AtomicU64,
}

impl Table {
    /// The first route that matches. None when no route does.
    pub fn select(&self, query: &Query<'_>) -> Option<Selected> {
        self.select_with(query, &mut rand::rng())
    }

    /// The same with a given source of chance, for tests and simulations.
    pub fn select_with(&self, query: &Query<'_>, rng: &mut impl Rng) -> Option<Selected> {
        let number = self.index.first(query, |number| self.matches(number, query))?;
        let rule = &self.rules[number as usize];
        Some(Selected {
            route: Arc::clone(&rule.name),
            pool: rule.destination.pool(&rule.name, query, rng)?,
            model: rule.model.clone(),
            loss: rule.loss,
        })
    }

    /// The models that routes name exactly, in the order of the file, each once.
    pub fn models(&self) -> &[Arc<str>] {
        &self.models
    }

    /// Number of routes that lead somewhere.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether no route leads anywhere.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// How often an expression could not be worked out since this table was compiled. Such a
    /// route does not match.
    pub fn expression_failures(&self) -> u64 {
        self.expression_failures.load(Ordering::Relaxed)
    }

    fn matches(&self, number: u32, query: &Query<'_>) -> bool {
        let rule = &self.rules[number as usize];
        if !rule.matches_plainly(query) {
            return false;
        }
        // Last: it costs as much as everything else together, many times over.
        match rule.when.as_ref().map(|when| when.answer(query)) {
            None | Some(Answer::Yes) => true,
            Some(Answer::No | Answer::Absent) => false,
            Some(Answer::Failed) => {
                self.expression_failures.fetch_add(1, Ordering::Relaxed);
                false
            }
        }
    }
}

impl Rule {
    /// Everything but the expression.
    pub(super) fn matches_plainly(&self, query: &Query<'_>) -> bool {
        let model = self.models.is_empty()
            || query
                .model
                .is_some_and(|model| self.models.iter().any(|pattern| pattern.matches(model)));
        model
            && self.endpoints.contains(query.endpoint)
            && self.labels.iter().all(|(name, pattern)| {
                let value = query.caller.and_then(|caller| caller.labels.get(name));
                value.is_some_and(|value| pattern.matches(value))
            })
            && self.headers.iter().all(|(name, pattern)| {
                query.headers.texts(name.as_str()).any(|value| pattern.matches(value))
            })
    }
}

impl Destination {
    fn pool(&self, route: &str, query: &Query<'_>, rng: &mut impl Rng) -> Option<usize> {
        let (arms, sticky) = match self {
            Destination::Pool(pool) => return Some(*pool),
            Destination::Split { arms, sticky } => (arms, *sticky),
        };
        let total = arms.last()?.end;
        let who = query.caller.map(|caller| caller.id).or(query.user).filter(|_| sticky);
        let point = match who {
            // The route is part of it: who is early in one experiment is not early in all. The
            // highest bits decide, so that a shifted border moves only those beside it.
            Some(who) => {
                let place = hash::stable(&[route.as_bytes(), who.as_bytes()]);
                ((u128::from(place) * u128::from(total)) >> 64) as u64
            }
            None => rng.random_range(0..total),
        };
        arms.iter().find(|arm| point < arm.end).map(|arm| arm.pool)
    }
}
