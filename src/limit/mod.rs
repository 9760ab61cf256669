//! Reserve, then settle: what an admitted request holds is given back exactly once, whatever happens.
//!
//! A request that is admitted without a reservation is only found to be over its limit when it is
//! too late: a hundred parallel requests all see the same free budget. So admission takes an
//! estimate out of what is left, as a [`Hold`], and settling replaces the estimate by what was used.
//! A hold that is dropped unsettled (an error, a client that left, a panic, a shutdown) is released.
//!
//! Limits and budgets per caller will be checked in [`Limits::reserve`]; today it admits everything
//! and keeps account of what is in flight.

use std::sync::Arc;

use crate::error::Error;
use crate::telemetry::Metrics;

/// What a request asks to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Tokens of the prompt and the most that the answer may have, as far as known.
    pub tokens: u64,
    /// What they would cost.
    pub cost_nano_usd: u64,
}

/// What a request used in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Actual {
    /// Tokens of prompt and answer.
    pub tokens: u64,
    /// What they cost.
    pub cost_nano_usd: u64,
}

/// Everything that admission is decided by.
pub struct Limits {
    metrics: Arc<Metrics>,
}

impl Limits {
    /// No limits yet.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics }
    }

    /// Admits a request, or says why not ([`crate::error::Kind::RateLimited`]).
    pub fn reserve(&self, estimate: Estimate) -> Result<Hold, Error> {
        let hold = Hold { metrics: Arc::clone(&self.metrics), held: estimate };
        self.metrics.held(1, signed(estimate.tokens));
        Ok(hold)
    }
}

/// Tokens, money and one concurrency slot of an admitted request. Dropping it releases all.
#[must_use = "dropping a hold releases it"]
pub struct Hold {
    metrics: Arc<Metrics>,
    held: Estimate,
}

impl Hold {
    /// What is held now.
    pub fn held(&self) -> Estimate {
        self.held
    }

    /// Raises the hold to what a running request is known to have used, where the estimate was
    /// lower. It never sinks before it is settled.
    pub fn raise(&mut self, used: Estimate) {
        let tokens = used.tokens.max(self.held.tokens);
        self.metrics.held(0, signed(tokens) - signed(self.held.tokens));
        self.held =
            Estimate { tokens, cost_nano_usd: used.cost_nano_usd.max(self.held.cost_nano_usd) };
    }

    /// Replaces the estimate by what was used and gives the rest back.
    pub fn settle(self, actual: Actual) {
        // Budgets will be charged here; what is in flight is released by the drop.
        let _ = actual;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.metrics.held(-1, -signed(self.held.tokens));
    }
}

/// Token counts as gauges add them; a count beyond 2^63 is a client's nonsense and saturates.
fn signed(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum End {
        Settle(u64),
        Drop,
        Panic,
    }

    fn end() -> impl Strategy<Value = End> {
        prop_oneof![any::<u64>().prop_map(End::Settle), Just(End::Drop), Just(End::Panic)]
    }

    fn run(limits: &Limits, tokens: u64, raises: &[u64], end: &End) {
        let estimate = Estimate { tokens, cost_nano_usd: tokens };
        let mut hold = limits.reserve(estimate).expect("nothing is refused");
        for tokens in raises {
            hold.raise(Estimate { tokens: *tokens, cost_nano_usd: 0 });
            assert!(hold.held().tokens >= *tokens);
        }
        match end {
            End::Settle(tokens) => hold.settle(Actual { tokens: *tokens, cost_nano_usd: 1 }),
            End::Drop => drop(hold),
            // Without the panic hook's message, which would flood the test's output.
            End::Panic => std::panic::resume_unwind(Box::new("a defect")),
        }
    }

    proptest! {
        #[test]
        fn gauges_always_return_to_zero(
            requests in prop::collection::vec(
                (any::<u64>(), prop::collection::vec(any::<u64>(), 0..4), end()),
                0..20,
            ),
        ) {
            let metrics = Metrics::new();
            let limits = Limits::new(Arc::clone(&metrics));
            for (tokens, raises, end) in &requests {
                let _ = catch_unwind(AssertUnwindSafe(|| run(&limits, *tokens, raises, end)));
            }
            prop_assert_eq!(metrics.tokens_in_flight(), 0);
            prop_assert_eq!(metrics.admitted_in_flight(), 0);
        }
    }

    #[test]
    fn a_hold_is_visible_while_it_lasts() {
        let metrics = Metrics::new();
        let limits = Limits::new(Arc::clone(&metrics));
        let mut first =
            limits.reserve(Estimate { tokens: 100, cost_nano_usd: 0 }).expect("admitted");
        let second = limits.reserve(Estimate { tokens: 10, cost_nano_usd: 0 }).expect("admitted");
        assert_eq!((metrics.admitted_in_flight(), metrics.tokens_in_flight()), (2, 110));
        first.raise(Estimate { tokens: 150, cost_nano_usd: 0 });
        assert_eq!(metrics.tokens_in_flight(), 160);
        first.raise(Estimate { tokens: 5, cost_nano_usd: 0 });
        assert_eq!(metrics.tokens_in_flight(), 160);
        first.settle(Actual { tokens: 120, cost_nano_usd: 0 });
        drop(second);
        assert_eq!((metrics.admitted_in_flight(), metrics.tokens_in_flight()), (0, 0));
    }
}
