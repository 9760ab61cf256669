//! Admission: what the request asks for, whether its caller may, what it may cost, and which pool
//! answers it.

use std::sync::Arc;

use bytes::Bytes;

use super::head::Head;
use super::kept::Continued;
use super::settle::Settlement;
use crate::clock::{self, Instant};
use crate::dialect::{self, Endpoint, LossPolicy, Peeked};
use crate::error::{Error, Kind};
use crate::expression::Query;
use crate::limit::{Applicable, Assumptions, Estimate, Limits, Subject};
use crate::meter;
use crate::plan::Plan;
use crate::pool::{HashOn, Pool, Strategy};
use crate::tenant::Caller;

/// The largest body that is read on the worker's own thread. A larger one would hold up the
/// worker's other requests for a millisecond and more.
const PEEK_HERE_BYTES_MAX: usize = 1 << 20;

/// A request that may go on.
pub(super) struct Admitted<'p> {
    pub(super) plan: &'p Arc<Plan>,
    pub(super) caller: Arc<Caller>,
    pub(super) body: Bytes,
    pub(super) peeked: Peeked,
    /// The model that the route put in its place.
    pub(super) alias: Option<Arc<str>>,
    /// What becomes of what an upstream's format cannot express.
    pub(super) loss: LossPolicy,
    /// The pool that answers, and those to go on to.
    pub(super) pools: Vec<Arc<Pool>>,
    /// When the whole exchange must be over.
    pub(super) deadline: Instant,
    /// The kept response that it continues.
    pub(super) continued: Option<Continued>,
    /// A limit may end its stream, or that of a provider has to know how it goes on.
    pub(super) guarded: bool,
}

/// Admits a request, or says why not.
pub(super) async fn admit<'p>(
    plan: &'p Arc<Plan>,
    head: &Head,
    caller: Arc<Caller>,
    body: Bytes,
    limits: &Limits,
    settlement: &mut Settlement<'_>,
) -> Result<Admitted<'p>, Error> {
    settlement.body_in(&body);
    let call = head.call();
    let peeked = peek(plan, head, &caller, &body).await?;
    let model = peeked.model.as_ref();
    settlement.asked(model, peeked.stream, caller.user.as_deref().or(peeked.user.as_deref()));
    if let Some(model) = model
        && !caller.may_use(model)
    {
        return Err(Error::new(
            Kind::Forbidden,
            format!("This key may not use the model `{model}`."),
        )
        .param("model"));
    }
    let query = query(plan, head, &caller, &peeked, &body);
    permit(&caller, &query, settlement)?;
    let chosen = match call.provider {
        Some(provider) => passthrough(plan, provider)?,
        None => choose(plan, &query)?,
    };
    let subject =
        Subject { model: model.map(|model| &**model), user: query.user, request: Some(&query) };
    let mut chosen = diverted(plan, limits, &caller, &subject, chosen, settlement);
    settlement.chosen(chosen.route.take(), &chosen.pools[0].name);
    let guess = Guess::of(plan.admission, head.read_as, &peeked, &body);
    let cost = || guess.dearest(plan, &chosen, subject.model);
    let held = reserve(limits, &caller, &subject, guess, cost, settlement).await?;
    let guarded = peeked.stream && (held || chosen.is_limited(plan));
    let deadline = settlement.started() + chosen.pools[0].timeouts.total.0;
    Ok(Admitted {
        plan,
        caller,
        body,
        peeked,
        alias: chosen.alias,
        loss: chosen.loss,
        pools: chosen.pools,
        deadline,
        continued: None,
        guarded,
    })
}

/// Reads what the request says of itself. What is passed through is not changed, and what is wrong
/// with it is for the provider to say; but a caller who may not use every model is not let past with
/// a body in which weir and the provider could read different ones.
async fn peek(plan: &Plan, head: &Head, caller: &Caller, body: &Bytes) -> Result<Peeked, Error> {
    let depth_max = plan.bounds.json_depth;
    let peeked = if body.len() <= PEEK_HERE_BYTES_MAX {
        dialect::peek(&head.read_call(), body, depth_max)
    } else {
        let (body, kept) = (body.clone(), head.keep_read_call());
        let peeking = tokio::task::spawn_blocking(move || {
            let (call, path, headers) = &kept;
            dialect::peek(&call.call(path, headers), &body, depth_max)
        });
        peeking.await.unwrap_or_else(|error| {
            Err(Error::new(Kind::Internal, "The request could not be read.").cause(error))
        })
    };
    match peeked {
        Ok(peeked) if head.endpoint == Endpoint::Passthrough => Ok(peeked.unchanged()),
        Err(_) if head.endpoint == Endpoint::Passthrough && caller.is_free() => {
            Ok(Peeked::default())
        }
        peeked => peeked,
    }
}

struct Chosen {
    /// Its name, until it is noted.
    route: Option<Arc<str>>,
    pools: Vec<Arc<Pool>>,
    alias: Option<Arc<str>>,
    loss: LossPolicy,
}

impl Chosen {
    /// Whether the account of one of its targets has limits on tokens or money.
    fn is_limited(&self, plan: &Plan) -> bool {
        let limited =
            |name: &Arc<str>| plan.upstream_limits.get(name).is_some_and(Applicable::binds_use);
        let targets = || self.pools.iter().flat_map(|pool| pool.targets.iter());
        !plan.upstream_limits.is_empty() && targets().any(|target| limited(&target.provider.name))
    }
}

/// The request as expressions and routes see it.
pub(super) fn query<'a>(
    plan: &'a Plan,
    head: &'a Head,
    caller: &'a Caller,
    peeked: &'a Peeked,
    body: &'a [u8],
) -> Query<'a> {
    Query {
        model: peeked.model.as_deref(),
        endpoint: head.endpoint,
        dialect: head.dialect,
        headers: &head.headers,
        caller: Some(caller.as_asked_for()),
        // Whom a token was issued to is not for the body to say.
        user: caller.user.as_deref().or(peeked.user.as_deref()),
        metadata: peeked.metadata.clone().map(|span| &body[span]),
        stream: peeked.stream,
        max_tokens: peeked.max_output_tokens,
        body_bytes: body.len() as u64,
        unix_s: clock::unix_s().cast_signed(),
        region: &plan.file.region,
    }
}

/// Whether the policies over the caller let the request through.
fn permit(
    caller: &Caller,
    query: &Query<'_>,
    settlement: &mut Settlement<'_>,
) -> Result<(), Error> {
    caller.permits(query).map_err(|denied| {
        settlement.denied(caller, &denied);
        *denied.error
    })
}

/// The same for a request that weir answers by itself and that has no body.
pub(super) fn permit_bare(
    plan: &Plan,
    head: &Head,
    caller: &Caller,
    settlement: &mut Settlement<'_>,
) -> Result<(), Error> {
    permit(caller, &query(plan, head, caller, &Peeked::default(), &[]), settlement)
}

fn choose(plan: &Plan, query: &Query<'_>) -> Result<Chosen, Error> {
    let Some(selected) = plan.routes.select(query) else {
        return Err(match query.model {
            Some(model) => Error::new(
                Kind::NotFound,
                format!("The model `{model}` does not exist here, or no route leads to it."),
            )
            .param("model"),
            None => Error::new(Kind::NotFound, "No route leads to an upstream for this request."),
        });
    };
    let pools = with_fallback(plan, &plan.pools[selected.pool]);
    Ok(Chosen { route: Some(selected.route), pools, alias: selected.model, loss: selected.loss })
}

/// Where a request goes whose caller has used up a budget that names a pool for then.
fn diverted(
    plan: &Plan,
    limits: &Limits,
    caller: &Caller,
    subject: &Subject<'_>,
    chosen: Chosen,
    settlement: &mut Settlement<'_>,
) -> Chosen {
    let Some(applicable) = caller.limits.as_ref().filter(|limits| limits.diverts()) else {
        return chosen;
    };
    let operation = subject.request.map_or("", |request| request.endpoint.operation());
    if !matches!(operation, "chat" | "text_completion" | "generate_content") {
        return chosen;
    }
    let pool = limits.diverted(applicable, subject).and_then(|name| plan.pool(&name));
    let usable = |pool: &&Arc<Pool>| pool.targets.iter().any(|target| target.weight > 0);
    let Some(pool) = pool.filter(usable) else { return chosen };
    settlement.diverted();
    Chosen { pools: with_fallback(plan, pool), ..chosen }
}

/// A pool, and those to go on to.
fn with_fallback(plan: &Plan, first: &Arc<Pool>) -> Vec<Arc<Pool>> {
    let mut pools = vec![Arc::clone(first)];
    pools.extend(first.fallback.iter().map(|index| Arc::clone(&plan.pools[*index])));
    pools
}

fn passthrough(plan: &Plan, provider: &str) -> Result<Chosen, Error> {
    match plan.passthrough.get(provider) {
        Some(pool) => Ok(Chosen {
            route: Some("passthrough".into()),
            pools: vec![Arc::clone(pool)],
            alias: None,
            loss: LossPolicy::Strict,
        }),
        None => Err(Error::new(
            Kind::NotFound,
            format!("There is no provider `{provider}` here that could be passed through to."),
        )
        .param("provider")),
    }
}

impl Admitted<'_> {
    /// The model that the client named.
    pub(super) fn model(&self) -> Option<&str> {
        self.peeked.model.as_deref()
    }

    /// A guess at the request's cost at one target, for the decision to hedge.
    pub(super) fn estimated_cost_nano_usd(
        &self,
        provider: &str,
        model: Option<&str>,
    ) -> Option<u64> {
        let model = model.or(self.alias.as_deref()).or(self.model())?;
        let price = self.plan.prices.price(provider, model)?;
        let assumed = self.plan.admission.stream;
        let output = self.peeked.max_output_tokens.unwrap_or(assumed);
        Some(price.cost_of(meter::estimate_tokens(&self.body), output).0)
    }
}

/// A request's tokens before it is sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Guess {
    pub(super) prompt: u64,
    pub(super) answer: u64,
}

impl Guess {
    /// The prompt by its bytes and the most that the answer may have. Settling corrects it.
    fn of(assumed: Assumptions, endpoint: Endpoint, peeked: &Peeked, body: &Bytes) -> Self {
        if !endpoint.metered() {
            return Self { prompt: 0, answer: 0 };
        }
        let answer = if matches!(endpoint.operation(), "embeddings" | "rerank" | "moderation") {
            0
        } else {
            let each = if peeked.stream {
                // It holds more as it goes on.
                peeked.max_output_tokens.map_or(assumed.stream, |most| most.min(assumed.stream))
            } else {
                peeked.max_output_tokens.unwrap_or(assumed.whole_answer)
            };
            each.saturating_mul(peeked.choices.max(1).into())
        };
        Self { prompt: meter::estimate_tokens(body), answer }
    }

    /// What it costs at the dearest target that may answer.
    fn dearest(self, plan: &Plan, chosen: &Chosen, model: Option<&str>) -> u64 {
        let targets = chosen.pools.iter().flat_map(|pool| pool.targets.iter());
        let prices = targets.filter_map(|target| {
            let model = target.model.as_deref().or(chosen.alias.as_deref()).or(model)?;
            plan.prices.price(&target.provider.name, model)
        });
        // A prompt that is written to the provider's cache may cost more than one that is not.
        let cost = |price: &meter::Price| price.dearest(self.prompt, self.answer).0;
        prices.map(|price| cost(&price)).max().unwrap_or_default()
    }
}

/// Holds what the request may use, or says why it may not. True where a limit refuses what is not
/// held.
async fn reserve(
    limits: &Limits,
    caller: &Caller,
    subject: &Subject<'_>,
    guess: Guess,
    cost: impl FnOnce() -> u64,
    settlement: &mut Settlement<'_>,
) -> Result<bool, Error> {
    let caller_limits = caller.limits.as_ref();
    let priced = caller_limits.is_some_and(Applicable::counts_cost);
    let estimate = Estimate {
        tokens: guess.prompt.saturating_add(guess.answer),
        cost_nano_usd: if priced { cost() } else { 0 },
    };
    match limits.admit(caller_limits, subject, estimate).await {
        Ok(hold) => {
            let bound = hold.is_bound();
            settlement.hold(hold, guess);
            settlement.named(caller_limits.and_then(|limits| limits.named(subject)));
            Ok(bound)
        }
        Err(refusal) => {
            settlement.stands(refusal.standing);
            Err(refusal.error)
        }
    }
}

/// What consistent hashing keeps the request together by, in a pool that asks for it.
pub(super) fn hash(pool: &Pool, head: &Head, admitted: &Admitted<'_>) -> Option<u64> {
    if pool.strategy != Strategy::Hash {
        return None;
    }
    let caller = admitted.caller.id.as_bytes();
    let kept_by = match &pool.hash_on {
        HashOn::Caller => None,
        HashOn::User => admitted.peeked.user.as_deref().map(str::as_bytes),
        HashOn::Header(name) => head.header(name).map(str::as_bytes),
        HashOn::PromptPrefix(size) => admitted.peeked.prompt_prefix.as_ref().map(|span| {
            let end = span.end.min(span.start.saturating_add(size.as_usize()));
            &admitted.body[span.start..end]
        }),
    };
    Some(crate::hash::stable(&[kept_by.unwrap_or(caller)]))
}
