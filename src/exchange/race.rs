//! From candidates to one certain answer: failover, and a hedge where the pool wants one.
//!
//! The client is watched all the while. When it leaves, the future that holds the attempts is
//! dropped, which closes every upstream connection at once.

use std::pin::{Pin, pin};

use super::admit::{self, Admitted};
use super::attempt::{self, Failure, Order, Ready};
use super::head::Head;
use super::refused::UpstreamAnswer;
use super::settle::{AttemptEnd, AttemptId, Settlement};
use super::upstream_limit::{self, Held};
use super::{Gateway, kept, relay, translate};
use crate::clock::{Duration, Instant};
use crate::error::{Error, Kind};
use crate::limit::Limits;
use crate::pool::{Lease, Pick, Pool, SelectError};
use crate::telemetry::HedgeResult;
use crate::transport::downstream::Session;

/// What the race ended with.
pub(super) enum Won<'a> {
    /// An answer that is certain.
    Answer(Box<Ready<'a>>),
    /// No candidate is left; this is the last upstream's own word.
    UpstreamError(Box<UpstreamAnswer>),
}

/// Runs candidates until one has a certain answer.
pub(super) async fn run<'a>(
    gateway: &'a Gateway,
    session: &mut Session<'_>,
    head: &'a Head,
    admitted: &'a Admitted<'a>,
    settlement: &mut Settlement<'_>,
) -> Result<Won<'a>, Error> {
    // Pinned here: a future that is moved is copied whole, and this one holds the attempts.
    let mut candidates = pin!(candidates(gateway, head, admitted, settlement));
    tokio::select! {
        biased;
        won = &mut candidates => won,
        () = relay::client_gone(session) => {
            Err(Error::new(Kind::ClientGone, "The client went away before the answer began."))
        }
    }
}

async fn candidates<'a>(
    gateway: &'a Gateway,
    head: &'a Head,
    admitted: &'a Admitted<'a>,
    settlement: &mut Settlement<'_>,
) -> Result<Won<'a>, Error> {
    let order = Order { upstreams: &gateway.upstreams, store: &gateway.store, head, admitted };
    let mut last: Option<Box<Failure>> = None;
    let mut full: Option<Error> = None;
    let mut refused: Option<Error> = None;
    for pool in &admitted.pools {
        pool.note_request();
        let mut pick = Pick::new(admit::hash(pool, head, admitted)).of_class(admitted.caller.class);
        if !skip_other_dialects(pool, head, &mut pick) {
            refused = refused.or_else(|| Some(other_dialect(pool, head)));
            continue;
        }
        let mut attempts = 0;
        while attempts < pool.retry.attempts.max(1) {
            // The first attempt in a fallback pool is a retry as well.
            if (attempts > 0 || last.is_some()) && !pool.retry_allowed() {
                log::debug!("pool {}: the retry budget is spent", pool.name);
                break;
            }
            let lease = match pool.select(&mut pick, admitted.deadline).await {
                Ok(lease) => lease,
                Err(error) => {
                    refused = Some(not_selected(pool, error));
                    break;
                }
            };
            let target = lease.target();
            let held =
                match upstream_limit::enter(&gateway.limits, head, admitted, target, settlement)
                    .await
                {
                    Ok(held) => held,
                    Err(error) => {
                        full = Some(upstream_limit::sooner(full, error));
                        continue;
                    }
                };
            attempts += 1;
            let limits = &gateway.limits;
            match one((order, limits), pool, (lease, held), &mut pick, settlement).await {
                Ok(ready) => return Ok(Won::Answer(ready)),
                Err(failure) if !failure.error.kind.retryable() => return lost(*failure),
                // Nothing was sent; what an upstream said of this request weighs more.
                Err(failure) if failure.error.kind == Kind::NotExpressible => {
                    attempts -= 1;
                    last = last.or(Some(failure));
                }
                Err(failure) => last = Some(failure),
            }
        }
    }
    match (last, full.or(refused)) {
        (Some(failure), _) => lost(*failure),
        (None, Some(error)) => Err(error),
        (None, None) => Err(Error::new(Kind::NoTarget, "No upstream is available.")),
    }
}

/// One attempt, hedged where the pool wants it.
async fn one<'a>(
    (order, limits): (Order<'a>, &Limits),
    pool: &'a Pool,
    (lease, held): (Lease, Held),
    pick: &mut Pick,
    settlement: &mut Settlement<'_>,
) -> Result<Box<Ready<'a>>, Box<Failure>> {
    let target = lease.index();
    let started = settlement.attempt_started(pool, &lease, false);
    let delay = pool.hedge_delay().filter(|_| order.head.endpoint.replayable());
    let Some(delay) = delay else {
        let result = attempt::run(order, pool, lease).await;
        ended(started, held, &result, settlement);
        return again(result, target, pick);
    };
    let first = Box::pin(attempt::run(order, pool, lease));
    let first = First { attempt: first, started, target, held };
    // Rarely taken, and large: it does not belong into every request's own state.
    Box::pin(hedged((order, limits), pool, first, delay, pick, settlement)).await
}

/// Notes how an attempt ended, and keeps what it holds of its provider's limits if it has won.
fn ended(
    started: AttemptId,
    held: Held,
    result: &Result<Box<Ready<'_>>, Box<Failure>>,
    settlement: &mut Settlement<'_>,
) {
    settlement.attempt_ended(started, AttemptEnd::of(result));
    match result {
        Ok(_) => settlement.hold_upstream(held),
        Err(failure) => upstream_limit::failed(held, failure),
    }
}

/// The attempt that a hedge may join.
struct First<A> {
    attempt: Pin<Box<A>>,
    started: AttemptId,
    target: usize,
    held: Held,
}

/// An attempt that another one joins when its answer takes long.
async fn hedged<'a>(
    (order, limits): (Order<'a>, &Limits),
    pool: &'a Pool,
    first: First<impl Future<Output = Result<Box<Ready<'a>>, Box<Failure>>>>,
    delay: Duration,
    pick: &mut Pick,
    settlement: &mut Settlement<'_>,
) -> Result<Box<Ready<'a>>, Box<Failure>> {
    let First { attempt: mut first, started, target, mut held } = first;
    let deadline = Instant::now() + delay;
    let early = tokio::time::timeout_at(deadline.into(), &mut first).await;
    if let Ok(result) = early {
        ended(started, held, &result, settlement);
        return again(result, target, pick);
    }
    let Some((second_lease, mut second_held)) =
        hedge_lease((order, limits), pool, pick, settlement).await
    else {
        let result = first.await;
        ended(started, held, &result, settlement);
        return again(result, target, pick);
    };
    let second_started = settlement.attempt_started(pool, &second_lease, true);
    let mut second = Box::pin(attempt::run(order, pool, second_lease));
    let (mut first_failed, mut second_failed) = (None, None);
    loop {
        tokio::select! {
            result = &mut first, if first_failed.is_none() => {
                ended(started, held.take(), &result, settlement);
                match result {
                    Ok(ready) => {
                        settlement.attempt_ended(second_started, AttemptEnd::Cancelled);
                        settlement.hedged(pool, HedgeResult::Lost);
                        return Ok(ready);
                    }
                    Err(failure) => first_failed = Some(failure),
                }
            }
            result = &mut second, if second_failed.is_none() => {
                ended(second_started, second_held.take(), &result, settlement);
                match result {
                    Ok(ready) => {
                        settlement.attempt_ended(started, AttemptEnd::Cancelled);
                        settlement.hedged(pool, HedgeResult::Won);
                        return Ok(ready);
                    }
                    Err(failure) => second_failed = Some(failure),
                }
            }
        }
        if first_failed.is_some() && second_failed.is_some() {
            settlement.hedged(pool, HedgeResult::Failed);
            break;
        }
    }
    match first_failed {
        Some(failure) => again(Err(failure), target, pick),
        // Unreachable by the loop above; said as an error rather than a panic.
        None => Err(Box::new(Error::new(Kind::Internal, "A hedge ended without a result.").into())),
    }
}

/// A lease for the hedge: only if it is allowed and another target is free right now.
async fn hedge_lease(
    (order, limits): (Order<'_>, &Limits),
    pool: &Pool,
    pick: &mut Pick,
    settlement: &Settlement<'_>,
) -> Option<(Lease, Held)> {
    let lease = pool.try_select(pick, Instant::now())?;
    let target = lease.target();
    let bound_nano_usd =
        pool.hedge.as_ref().and_then(|hedge| hedge.max_cost_usd).map(|usd| (usd * 1e9) as u64);
    let too_dear = bound_nano_usd.is_some_and(|bound| {
        let model = target.model.as_deref();
        let cost = order.admitted.estimated_cost_nano_usd(&target.provider.name, model);
        cost.is_none_or(|cost| cost > bound)
    });
    if too_dear || !pool.hedge_allowed() {
        // Not tried after all: it is still a candidate, should the first attempt fail.
        again_possible(pick, lease.index());
        return None;
    }
    let Order { head, admitted, .. } = order;
    let held = upstream_limit::enter(limits, head, admitted, lease.target(), settlement).await;
    held.ok().map(|held| (lease, held))
}

/// Lets the same target be tried again where only its key failed.
fn again<'a>(
    result: Result<Box<Ready<'a>>, Box<Failure>>,
    target: usize,
    pick: &mut Pick,
) -> Result<Box<Ready<'a>>, Box<Failure>> {
    if let Err(failure) = &result
        && failure.another_key
    {
        again_possible(pick, target);
    }
    result
}

fn again_possible(pick: &mut Pick, target: usize) {
    pick.tried.retain(|tried| usize::from(*tried) != target);
}

/// Leaves out targets whose wire format this request cannot be translated to. False when none is
/// left.
pub(super) fn skip_other_dialects(pool: &Pool, head: &Head, pick: &mut Pick) -> bool {
    let mut any = false;
    for (index, target) in pool.targets.iter().enumerate() {
        if translate::serves(&target.provider, head) {
            any = true;
        } else {
            pick.tried.push(index as u16);
        }
    }
    any
}

fn other_dialect(pool: &Pool, head: &Head) -> Error {
    if let Some(id) = kept::response_id(head) {
        return Error::new(Kind::NotFound, format!("Response with id '{id}' not found."));
    }
    let speaks = pool.targets.first().map_or("another format", |t| t.provider.dialect.as_str());
    Error::new(
        Kind::BadRequest,
        format!(
            "This model is served in the {speaks} format, and this endpoint is of the {} format. Ask at an endpoint of the {speaks} format.",
            head.dialect
        ),
    )
    .param("model")
}

fn all_limited(pool: &Pool) -> bool {
    let now = Instant::now();
    !pool.targets.is_empty()
        && pool.targets.iter().all(|target| {
            target.state.resting_until(now).is_some()
                || target.provider.keys.resting_until(now).is_some()
        })
}

pub(super) fn not_selected(pool: &Pool, error: SelectError) -> Error {
    match error {
        // The provider's own limit, which the client may know to wait for.
        SelectError::Exhausted { retry_after } if all_limited(pool) => Error::new(
            Kind::UpstreamRateLimited,
            "Every upstream for this model has reached its rate limit.",
        )
        .retry_after(retry_after)
        .cause(format!("every target of pool {} rests after a 429", pool.name)),
        SelectError::Exhausted { retry_after } => {
            Error::new(Kind::NoTarget, "No upstream for this model is available at the moment.")
                .retry_after(retry_after)
                .cause(format!("pool {} has no target left", pool.name))
        }
        SelectError::QueueFull => Error::new(
            Kind::Overloaded,
            "Every upstream for this model is busy and the queue is full.",
        )
        .retry_after(Some(Duration::from_secs(1)))
        .cause(format!("queue of pool {} is full", pool.name)),
        SelectError::QueueTimeout => {
            Error::new(Kind::Overloaded, "Every upstream for this model was busy for too long.")
                .retry_after(Some(Duration::from_secs(1)))
                .cause(format!("waited too long in the queue of pool {}", pool.name))
        }
    }
}

fn lost<'a>(failure: Failure) -> Result<Won<'a>, Error> {
    let Failure { error, answer, .. } = failure;
    match answer {
        Some(answer) => Ok(Won::UpstreamError(answer)),
        None => Err(error),
    }
}
