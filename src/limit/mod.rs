//! Reserve, then settle: what an admitted request holds is given back exactly once, whatever happens.
//!
//! A request that is admitted without a reservation is only found to be over its limit when it is
//! too late: a hundred parallel requests all see the same free budget. So admission takes an
//! estimate out of what is left, as a [`Hold`], and settling replaces the estimate by what was used.
//! A hold that is dropped unsettled (an error, a client that left, a panic, a shutdown) is released.
//!
//! A caller is under the sets of limits of its tenant and its own ([`Applicable`]). Each set counts in
//! one scope, or in one for each user or model that requests name. All scopes that apply are checked
//! and entered together ([`scope`]); rates count in sliding [`window`]s, budgets by the [`calendar`].
//! Counters belong to the scope's name, not to the configuration, so they go on after a reload.
//!
//! A stream that needs more than it holds extends its hold ([`Hold::extend`]) before its client gets
//! more, and ends where there is no more to hold. What a request uses beyond its hold all the same is
//! charged when it is known, and later requests wait for it; an estimate that is a bound (a prompt
//! over-estimated, an answer bounded by the request, by its stream's hold or by
//! [`Assumptions::whole_answer`]) makes a limit exact.
//!
//! # Memory
//!
//! A scope takes about 500 bytes with its name, and 16 bytes for each slot of a window in which
//! something was used, at most 129 a window. Beyond [`SCOPES_MAX`] scopes of users and models that
//! cannot be forgotten yet, new ones of a set share one scope.

mod book;
mod calendar;
mod events;
mod moment;
mod opening;
mod registry;
mod rules;
mod scope;
mod settings;
mod shared;
mod standing;
mod state;
mod window;

#[cfg(test)]
mod dimension_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use book::{Ask, Book};
use moment::Moment;
use registry::{Found, Registry};
use scope::{Claim, Claims, Reservation, Scope};
use shared::Shared;

pub use book::Level;
pub use calendar::Period;
pub use events::{Announcer, EventService, EventSettings};
pub use jiff::tz::TimeZone;
pub use opening::{Missing, Told, Used, missing};
pub use rules::{Applicable, NAMED_BYTES_MAX, Owner, Sets, Subject};
pub use settings::{
    Assumptions, BudgetSettings, Dimension, NamedDimension, Rates, Settings, WhenSpent,
};
pub use shared::{Service as SharedService, SharedMode, SharedSettings, WhenAway};
pub use standing::{Refusal, Standing};
pub use state::{CounterState, ScopeState, States};

use crate::clock::Instant;
use crate::telemetry::{Metrics, Sharded, prefix};

/// Scopes of users and models that are remembered at a time.
pub const SCOPES_MAX: usize = 1 << 20;
/// The part of a user's or model's name that tells it from others.
const NAME_BYTES_MAX: usize = 256;
/// How often a request tries to get what is claimed for it before others do.
const CLAIMS_MAX: u32 = 8;
/// The most that one request can hold. Far above any request, and far below what would overflow a
/// counter.
const ASK_MAX: u64 = 1 << 53;

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
    registry: Registry,
    shared: Option<Arc<Shared>>,
    announcer: Option<Announcer>,
    /// The same for all, but each thread counts references to one of its own: a count that every hold
    /// raises and lowers would move between the cores with each request.
    backs: Sharded<Arc<Back>>,
}

/// What a hold needs to be extended and given back.
struct Back {
    metrics: Arc<Metrics>,
    shared: Option<Arc<Shared>>,
}

impl Limits {
    /// Nothing used yet.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self::with(metrics, None)
    }

    fn with(metrics: Arc<Metrics>, shared: Option<Arc<Shared>>) -> Self {
        let registry = Registry::new(SCOPES_MAX, shared.is_some());
        let back = || Arc::new(Back { metrics: Arc::clone(&metrics), shared: shared.clone() });
        let backs = Sharded::new(back);
        Self { metrics, registry, shared, announcer: None, backs }
    }

    /// Has budgets that are used up announced.
    #[must_use]
    pub fn announcing(self, announcer: Announcer) -> Self {
        Self { announcer: Some(announcer), ..self }
    }

    /// Limits that other processes share. The service is to be run beside them.
    ///
    /// # Errors
    ///
    /// The address of the store cannot be read, or is none.
    pub fn shared(
        metrics: Arc<Metrics>,
        settings: &SharedSettings,
    ) -> Result<(Self, SharedService), String> {
        let (shared, service) = Shared::new(settings, Arc::clone(&metrics))?;
        Ok((Self::with(metrics, Some(Arc::new(shared))), service))
    }

    /// Whether the store of shared limits is away, and whether requests are refused because of it.
    pub fn store_away(&self) -> (bool, bool) {
        self.shared.as_ref().map_or((false, false), |shared| shared.standing())
    }

    /// Admits a request, or says why not. Waits where others share the limits and more has to be
    /// claimed of them.
    pub async fn admit(
        &self,
        limits: Option<&Applicable>,
        subject: &Subject<'_>,
        estimate: Estimate,
    ) -> Result<Hold, Box<Refusal>> {
        match (&self.shared, limits) {
            (Some(shared), Some(limits)) => {
                let entering = Box::pin(self.enter_shared(shared, limits, subject, estimate));
                match entering.await {
                    Ok(limited) => Ok(self.holding(estimate, Some(limited))),
                    Err(refusal) => Err(self.refused(refusal)),
                }
            }
            _ => self.reserve(limits, subject, estimate),
        }
    }

    /// Lets a request go to an upstream with limits of its own, or says why not.
    pub async fn admit_upstream(
        &self,
        limits: &Applicable,
        subject: &Subject<'_>,
        estimate: Estimate,
    ) -> Result<UpstreamHold, Box<Refusal>> {
        let entered = match &self.shared {
            Some(shared) => self.enter_shared(shared, limits, subject, estimate).await,
            None => self.enter(limits, subject, estimate, Moment::now()),
        };
        match entered {
            Ok(limited) => Ok(UpstreamHold { held: bounded(estimate), limited: Some(limited) }),
            Err(refusal) => {
                self.metrics.upstream_full(&refusal.by.0, refusal.by.1);
                Err(refusal)
            }
        }
    }

    async fn enter_shared(
        &self,
        shared: &Shared,
        limits: &Applicable,
        subject: &Subject<'_>,
        estimate: Estimate,
    ) -> Result<Box<Limited>, Box<Refusal>> {
        let ask = ask(estimate);
        let mut attempt = 0;
        loop {
            attempt += 1;
            let claims = self.claims(limits, &short(subject), Moment::now());
            let enough = shared.ensure(&claims, &ask).await.map_err(|error| {
                let by = (Arc::clone(&limits.sets[0].rules.tenant), "store_away");
                let standing = Standing::default();
                Box::new(Refusal { error, standing, by, unclaimed: false })
            })?;
            match self.enter(limits, subject, estimate, Moment::now()) {
                Ok(limited) => return Ok(limited),
                // Another request was faster with what was claimed.
                Err(refusal) if refusal.unclaimed && enough && attempt < CLAIMS_MAX => {}
                Err(mut refusal) => {
                    if let Some(error) = shared.refusal().filter(|_| refusal.unclaimed) {
                        refusal.error = error;
                    }
                    return Err(refusal);
                }
            }
        }
    }

    /// The pool that requests go to because a budget is used up.
    pub fn diverted(&self, limits: &Applicable, subject: &Subject<'_>) -> Option<Box<str>> {
        let now = Moment::now();
        let claims = self.claims(limits, &short(subject), now);
        let pool = |claim: &Claim| {
            let mut book = claim.scope().book.lock();
            book.roll(&claim.set, now);
            book.diverted(&claim.set).map(Into::into)
        };
        claims.iter().filter(|claim| claim.set.divert()).find_map(pool)
    }

    /// Admits a request, or says why not. Without limits it is always admitted.
    pub fn reserve(
        &self,
        limits: Option<&Applicable>,
        subject: &Subject<'_>,
        estimate: Estimate,
    ) -> Result<Hold, Box<Refusal>> {
        let limited = match limits {
            None => None,
            Some(limits) => {
                let entered = self.enter(limits, subject, estimate, Moment::now());
                Some(entered.map_err(|refusal| self.refused(refusal))?)
            }
        };
        Ok(self.holding(estimate, limited))
    }

    fn refused(&self, refusal: Box<Refusal>) -> Box<Refusal> {
        let (tenant, limit) = &refusal.by;
        self.metrics.limit_refusal(tenant, limit);
        refusal
    }

    fn holding(&self, estimate: Estimate, limited: Option<Box<Limited>>) -> Hold {
        let held = bounded(estimate);
        self.metrics.held(1, held.tokens.cast_signed(), held.cost_nano_usd.cast_signed());
        Hold { back: Arc::clone(self.backs.own()), held, limited }
    }

    fn enter(
        &self,
        limits: &Applicable,
        subject: &Subject<'_>,
        estimate: Estimate,
        now: Moment,
    ) -> Result<Box<Limited>, Box<Refusal>> {
        let (ask, subject) = (ask(estimate), short(subject));
        let mut standing = Standing::default();
        let look = |book: &mut Book, rules: &rules::Rules| standing.look(book, rules);
        match Reservation::new(self.claims(limits, &subject, now), ask, now, look) {
            Ok(reservation) => {
                for warning in &standing.warnings {
                    self.metrics.budget_warning(&warning.tenant, warning.limit);
                    if let Some(event) = &warning.event {
                        log::warn!("tenant {}: {}", warning.tenant, warning.text);
                        if let Some(announcer) = &self.announcer {
                            announcer.say(event, &self.metrics);
                        }
                    }
                }
                Ok(Box::new(Limited { reservation, standing }))
            }
            Err(refused) => {
                let limit = refused.full.kind.map_or("concurrent", rules::Kind::label);
                let by = (Arc::clone(&refused.rules.tenant), limit);
                let (error, unclaimed) = (standing::error(&refused), refused.full.unclaimed);
                Err(Box::new(Refusal { error, standing, by, unclaimed }))
            }
        }
    }

    /// How scopes stand whose set's name begins like this, at most `states_max` of them.
    pub fn states(&self, owner: &str, states_max: usize) -> States {
        self.registry.states(owner, states_max, Moment::now())
    }

    /// The scopes that a request belongs to.
    fn claims(&self, limits: &Applicable, subject: &Subject<'_>, now: Moment) -> Claims {
        let applying = limits.sets.iter().filter(|set| set.applies(subject));
        let claim = |set: &Arc<rules::Set>| {
            let own = if set.is_one() { Claim::of_own(set) } else { None };
            own.unwrap_or_else(|| Claim::of(self.scope(set, subject, now), set))
        };
        applying.map(claim).collect()
    }

    /// The scope of users and models for which there is no room.
    fn one_for_all(&self, set: &rules::Set) -> Arc<Scope> {
        Arc::new(match &self.shared {
            Some(_) => Scope::shared(format!("{}\u{1f}*", set.id)),
            None => Scope::default(),
        })
    }

    fn scope(&self, set: &rules::Set, subject: &Subject<'_>, now: Moment) -> Arc<Scope> {
        if set.is_one()
            && let Some(own) = set.own.get()
        {
            return Arc::clone(own);
        }
        self.scope_of(set, subject, &set.named(subject), now)
    }

    /// The scope of what expressions named of the request.
    fn scope_of(
        &self,
        set: &rules::Set,
        subject: &Subject<'_>,
        named: &str,
        now: Moment,
    ) -> Arc<Scope> {
        let found = match self.registry.scope(&set.scope_id(subject, named), now) {
            Found::Known(scope) => scope,
            Found::New { scope, forgotten } => {
                self.metrics.limit_scopes(1 - i64::try_from(forgotten).unwrap_or(i64::MAX));
                scope
            }
            Found::NoRoom => {
                self.metrics.limit_scope_shared();
                return Arc::clone(set.own.get_or_init(|| self.one_for_all(set)));
            }
        };
        if set.is_one() {
            // Found without a look-up from now on, and never forgotten while the plan is in use.
            return Arc::clone(set.own.get_or_init(|| found));
        }
        found
    }
}

fn bounded(estimate: Estimate) -> Estimate {
    Estimate {
        tokens: estimate.tokens.min(ASK_MAX),
        cost_nano_usd: estimate.cost_nano_usd.min(ASK_MAX),
    }
}

/// What a request asks for, bounded.
fn ask(estimate: Estimate) -> Ask {
    let Estimate { tokens, cost_nano_usd } = bounded(estimate);
    Ask { requests: 1, tokens, nano_usd: cost_nano_usd }
}

/// What tells a user or model from others.
fn short<'a>(subject: &Subject<'a>) -> Subject<'a> {
    Subject {
        model: subject.model.map(|name| prefix(name, NAME_BYTES_MAX)),
        user: subject.user.map(|name| prefix(name, NAME_BYTES_MAX)),
        request: subject.request,
    }
}

/// What a request under limits holds.
struct Limited {
    reservation: Reservation,
    standing: Standing,
}

/// A limit that has no room for more.
#[derive(Clone, Debug)]
pub struct Broken {
    /// Whose tenant's it is.
    pub tenant: Arc<str>,
    /// The label in metrics.
    pub limit: &'static str,
    /// There is room, but not in what is claimed of a limit that others share.
    unclaimed: bool,
}

/// Tokens, money and one concurrency slot of an admitted request. Dropping it releases all.
#[must_use = "dropping a hold releases it"]
pub struct Hold {
    back: Arc<Back>,
    held: Estimate,
    limited: Option<Box<Limited>>,
}

impl Hold {
    /// What is held.
    pub fn held(&self) -> Estimate {
        self.held
    }

    /// Whether a limit on tokens or money refuses what is not held.
    pub fn is_bound(&self) -> bool {
        self.limited.as_ref().is_some_and(|limited| limited.reservation.is_bound())
    }

    /// Holds more of both, or says which limit it would break. Waits where others share the limits
    /// and more has to be claimed of them.
    pub async fn extend(&mut self, more: Estimate) -> Result<(), Broken> {
        let broken = match self.try_extend(more) {
            Err(broken) if broken.unclaimed => broken,
            extended => return extended,
        };
        let (Some(shared), Some(limited)) = (&self.back.shared, &self.limited) else {
            return Err(broken);
        };
        let ask = Ask { requests: 0, ..ask(more) };
        match Box::pin(shared.ensure(limited.reservation.claims(), &ask)).await {
            Ok(true) => self.try_extend(more),
            _ => Err(broken),
        }
    }

    fn try_extend(&mut self, more: Estimate) -> Result<(), Broken> {
        let more = Estimate {
            tokens: more.tokens.min(ASK_MAX.saturating_sub(self.held.tokens)),
            cost_nano_usd: more.cost_nano_usd.min(ASK_MAX.saturating_sub(self.held.cost_nano_usd)),
        };
        if let Some(limited) = &mut self.limited {
            let ask = Ask { requests: 0, tokens: more.tokens, nano_usd: more.cost_nano_usd };
            limited.reservation.extend(ask, Moment::now()).map_err(|refused| Broken {
                tenant: Arc::clone(&refused.rules.tenant),
                limit: refused.full.kind.map_or("concurrent", rules::Kind::label),
                unclaimed: refused.full.unclaimed,
            })?;
        }
        self.back.metrics.held(0, more.tokens.cast_signed(), more.cost_nano_usd.cast_signed());
        self.held.tokens += more.tokens;
        self.held.cost_nano_usd += more.cost_nano_usd;
        Ok(())
    }

    /// How much of the limits is left, with this request in it. `None` without limits.
    pub fn standing(&self) -> Option<&Standing> {
        self.limited.as_ref().map(|limited| &limited.standing)
    }

    /// Replaces the estimate by what was used and gives the rest back.
    pub fn settle(self, actual: Actual) {
        self.settle_at(actual, Instant::now());
    }

    /// The same where the clock was read just now.
    pub fn settle_at(mut self, actual: Actual, now: Instant) {
        if let Some(limited) = self.limited.take() {
            let used = Ask {
                requests: 1,
                tokens: actual.tokens.min(ASK_MAX),
                nano_usd: actual.cost_nano_usd.min(ASK_MAX),
            };
            limited.reservation.settle(used, Moment::at(now));
        }
    }
}

/// What a request holds of the limits of one upstream. When it is dropped, what was asked of the
/// upstream stays counted as a request; its tokens and money are given back.
#[must_use = "dropping a hold gives its tokens back"]
pub struct UpstreamHold {
    held: Estimate,
    limited: Option<Box<Limited>>,
}

impl UpstreamHold {
    /// Whether a limit on tokens or money is among those that hold it.
    pub fn is_bound(&self) -> bool {
        self.limited.as_ref().is_some_and(|limited| limited.reservation.is_bound())
    }

    /// Counts what a stream uses as it goes on, so that what is sent there meanwhile knows of it. It
    /// cannot go elsewhere any more, so there is no limit for it.
    pub fn charge(&mut self, tokens: u64, cost_nano_usd: u64) {
        let cost_nano_usd = cost_nano_usd.saturating_sub(self.held.cost_nano_usd);
        let ask = Ask { requests: 0, ..ask(Estimate { tokens, cost_nano_usd }) };
        self.held = bounded(Estimate {
            tokens: self.held.tokens.saturating_add(tokens),
            cost_nano_usd: self.held.cost_nano_usd.saturating_add(cost_nano_usd),
        });
        if let Some(limited) = &mut self.limited {
            limited.reservation.charge(ask, Moment::now());
        }
    }

    /// Replaces the estimate by what was used.
    pub fn settle(mut self, actual: Actual) {
        self.leave(actual);
    }

    /// Nothing was sent.
    pub fn give_back(mut self) {
        drop(self.limited.take());
    }

    fn leave(&mut self, actual: Actual) {
        if let Some(limited) = self.limited.take() {
            let used = ask(Estimate { tokens: actual.tokens, cost_nano_usd: actual.cost_nano_usd });
            limited.reservation.settle(used, Moment::now());
        }
    }
}

impl Drop for UpstreamHold {
    fn drop(&mut self) {
        self.leave(Actual::default());
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let Estimate { tokens, cost_nano_usd } = self.held;
        self.back.metrics.held(-1, -tokens.cast_signed(), -cost_nano_usd.cast_signed());
    }
}
