//! Limits of upstream accounts: a target whose provider has no room left is passed over for the next of
//! its pool, like one that is not available, and nothing is sent to it.

use super::admit::{self, Admitted};
use super::attempt::Failure;
use super::head::Head;
use super::settle::Settlement;
use crate::clock::Duration;
use crate::error::{Error, Kind};
use crate::limit::{Limits, Subject, UpstreamHold};
use crate::pool::Target;

/// When to come back where a limit cannot say: one on requests at a time.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What an attempt holds of its provider's limits.
pub(super) type Held = Option<UpstreamHold>;

/// Holds what a request may use at a target, or says when it may.
pub(super) async fn enter(
    limits: &Limits,
    head: &Head,
    admitted: &Admitted<'_>,
    target: &Target,
    settlement: &Settlement<'_>,
) -> Result<Held, Error> {
    let plan = admitted.plan;
    let provider = &target.provider.name;
    let Some(applicable) = plan.upstream_limits.get(provider) else { return Ok(None) };
    let (caller, peeked) = (&admitted.caller, &admitted.peeked);
    let request = admit::query(plan, head, caller, peeked, &admitted.body);
    let model = target.model.as_deref().or(admitted.alias.as_deref()).or(request.model);
    let subject = Subject { model, user: request.user, request: Some(&request) };
    let price = model.filter(|_| applicable.counts_cost());
    let price = price.and_then(|model| plan.prices.price(provider, model));
    let estimate = settlement.estimate(price.as_ref());
    // Of few requests: kept out of every request's own state.
    match Box::pin(limits.admit_upstream(applicable, &subject, estimate)).await {
        Ok(hold) => Ok(Some(hold)),
        Err(refusal) if refusal.error.kind == Kind::Overloaded => Err(refusal.error),
        Err(refusal) => {
            let after = refusal.error.retry_after.unwrap_or(RETRY_AFTER);
            Err(Error::new(
                Kind::RateLimited,
                "Every upstream for this model has reached the limit that is set for it here.",
            )
            .retry_after(Some(after))
            .cause(format!("target {} was passed over: {}", target.id, refusal.error.public)))
        }
    }
}

/// An attempt failed. What was sent counts as a request.
pub(super) fn failed(held: Held, failure: &Failure) {
    let nothing_sent = matches!(
        failure.error.kind,
        Kind::UpstreamConnect
            | Kind::UpstreamConnectTimeout
            | Kind::UpstreamTls
            | Kind::NotExpressible
    );
    if let Some(hold) = held.filter(|_| nothing_sent) {
        hold.give_back();
    }
}

/// Of two targets that were passed over, the one that has room sooner.
pub(super) fn sooner(known: Option<Error>, other: Error) -> Error {
    match known {
        Some(known) if known.retry_after <= other.retry_after => known,
        _ => other,
    }
}
