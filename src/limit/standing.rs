//! What a client is told of its limits.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::book::{Book, Level};
use super::events::Event;
use super::rules::{Rules, Span, Unit};
use super::scope::Refused;
use crate::error::{Error, Kind};

/// How much is left of the limits that a request is under.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Of the limits on requests, the one of which least is left.
    pub requests: Option<Level>,
    /// Of the limits on tokens, the one of which least is left.
    pub tokens: Option<Level>,
    /// Soft budgets that are used up.
    pub warnings: SmallVec<[Warning; 0]>,
}

/// A soft budget that is used up.
#[derive(Clone, Debug)]
pub struct Warning {
    /// What it is, in words.
    pub text: String,
    /// What there is to say, where this is the first request of the period that finds it so.
    pub(super) event: Option<Box<Event>>,
    /// Whose tenant's it is.
    pub(super) tenant: Arc<str>,
    /// The label in metrics.
    pub(super) limit: &'static str,
}

/// A request that is not admitted.
#[derive(Debug)]
pub struct Refusal {
    /// What the client is told.
    pub error: Error,
    /// How much is left.
    pub standing: Standing,
    /// Whose tenant's limit it is, and its label in metrics.
    pub(super) by: (Arc<str>, &'static str),
    /// It would fit, but not into what is claimed of a limit that others share.
    pub(super) unclaimed: bool,
}

impl Standing {
    pub(super) fn look(&mut self, book: &mut Book, rules: &Rules) {
        book.tighten(&mut self.requests, &mut self.tokens);
        for (kind, new) in book.overspent() {
            let event = if new { book.spent(kind) } else { None };
            self.warnings.push(Warning {
                event: event.map(|spent| Box::new(Event::new(rules, kind, spent))),
                text: format!("{}: {} used up", rules.owner, kind.words()),
                tenant: Arc::clone(&rules.tenant),
                limit: kind.label(),
            });
        }
    }
}

/// The error of a request that is not admitted.
pub(super) fn error(refused: &Refused) -> Error {
    let Refused { rules, full } = refused;
    let owner = &rules.owner;
    let Some(kind) = full.kind else {
        return Error::new(
            Kind::RateLimited,
            format!("Rate limit reached for {owner}: {} requests at a time.", full.most),
        );
    };
    let most = match kind.unit {
        Unit::NanoUsd => format!("{} {}", dollars(full.most), kind.words()),
        _ => format!("{} {}", full.most, kind.words()),
    };
    let wait = full.wait_ns.map(Duration::from_nanos);
    if matches!(kind.span, Span::Calendar(_)) {
        return Error::new(Kind::BudgetSpent, format!("The budget of {owner} is used up: {most}."))
            .retry_after(wait);
    }
    let public = if full.too_large {
        format!("The request alone is over the limit of {owner}: {most}.")
    } else {
        format!("Rate limit reached for {owner}: {most}.")
    };
    Error::new(Kind::RateLimited, public).retry_after(wait)
}

fn dollars(nanos: u64) -> String {
    format!("{}.{:02}", nanos / 1_000_000_000, nanos / 10_000_000 % 100)
}
