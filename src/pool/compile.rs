//! From what the operator wrote to a pool that runs, taking over what was learnt before.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::Pool;
use super::budget::Budget;
use super::choose::{Core, Shared, Tier};
use super::latency::Quantile;
use super::queue::Queue;
use super::ring::Ring;
use super::settings::{
    BreakerSettings, HealthKind, HealthSettings, HedgeSettings, Settings, Strategy, TargetSettings,
};
use super::target::{Target, TargetState};
use crate::clock::{Duration, Instant};
use crate::provider::{Mistake, Provider};

/// Most targets of one pool.
const TARGETS_MAX: usize = 1024;
/// Most attempts a request.
const ATTEMPTS_MAX: u32 = 16;
/// A tenth of the window of the retry budget.
const RETRY_SLICE: Duration = Duration::from_secs(1);
/// A tenth of the window of the hedge budget: longer, because hedges are rare.
const HEDGE_SLICE: Duration = Duration::from_secs(6);

/// What a pool is compiled against.
pub struct Environment<'a> {
    /// Every provider that compiled.
    pub providers: &'a BTreeMap<Arc<str>, Arc<Provider>>,
    /// The index of a pool, by name; none when there is no such pool.
    pub pool_index: &'a dyn Fn(&str) -> Option<usize>,
    /// What a model costs at a provider (both by name), in any one unit. Only compared.
    pub price: &'a dyn Fn(&str, &str) -> Option<u64>,
    /// The pool of this name before the reload.
    pub previous: Option<&'a Pool>,
    /// The present.
    pub now: Instant,
}

/// The mistakes found so far, all below one path.
struct Mistakes<'a> {
    pool: &'a str,
    found: Vec<Mistake>,
}

impl Mistakes<'_> {
    fn add(&mut self, field: &str, message: impl Into<String>) {
        self.found.push((format!("pools.{}.{field}", self.pool), message.into()));
    }

    fn unless(&mut self, right: bool, field: &str, message: &str) {
        if !right {
            self.add(field, message);
        }
    }
}

impl Pool {
    /// Compiles the settings. Live state is taken over from the previous pool, and from those of
    /// its targets whose provider (address, dialect) and model are the same. Targets of a provider
    /// without a usable key are left out.
    ///
    /// # Errors
    /// Every mistake, each with the path of its setting.
    pub fn compile(
        name: &str,
        settings: &Settings,
        environment: &Environment<'_>,
    ) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Mistakes { pool: name, found: Vec::new() };
        check(settings, &mut mistakes);
        let fallback = compile_fallback(name, settings, environment, &mut mistakes);
        let targets = compile_targets(settings, environment, &mut mistakes);
        if !mistakes.found.is_empty() {
            return Err(mistakes.found);
        }
        let targets: Arc<[Arc<Target>]> = targets.into();
        let shared = environment.previous.map_or_else(
            || {
                Arc::new(Shared {
                    queue: Queue::new(),
                    ttft: Quantile::new(),
                    retries: Budget::new(RETRY_SLICE, environment.now),
                    hedges: Budget::new(HEDGE_SLICE, environment.now),
                    turn: AtomicU64::new(0),
                })
            },
            |previous| Arc::clone(&previous.core.shared),
        );
        if let Some(hedge) = &settings.hedge {
            shared.ttft.refresh(hedge.quantile);
        }
        let name: Arc<str> = name.into();
        let core = Core {
            pool: Arc::clone(&name),
            targets: Arc::clone(&targets),
            tiers: tiers(&targets, settings.strategy),
            strategy: settings.strategy,
            queue: settings.queue,
            hedge: settings.hedge,
            shared,
        };
        Ok(Self {
            name,
            strategy: settings.strategy,
            hash_on: settings.hash_on.clone(),
            timeouts: settings.timeouts,
            retry: settings.retry,
            health: settings.health.clone(),
            hedge: settings.hedge,
            heartbeat: Some(settings.heartbeat.0).filter(|time| !time.is_zero()),
            targets,
            fallback,
            core: Arc::new(core),
        })
    }
}

fn check(settings: &Settings, mistakes: &mut Mistakes<'_>) {
    mistakes.unless(
        !settings.targets.is_empty(),
        "targets",
        "a pool needs a target: write at least `- { provider: NAME }`",
    );
    mistakes.unless(
        settings.targets.len() <= TARGETS_MAX,
        "targets",
        &format!("at most {TARGETS_MAX} targets fit in a pool: use several pools"),
    );
    for (field, time) in [
        ("timeouts.connect", settings.timeouts.connect),
        ("timeouts.first_token", settings.timeouts.first_token),
        ("timeouts.inter_token", settings.timeouts.inter_token),
        ("timeouts.total", settings.timeouts.total),
    ] {
        mistakes.unless(!time.0.is_zero(), field, "must be above zero, such as 30s");
    }
    mistakes.unless(
        (1..=ATTEMPTS_MAX).contains(&settings.retry.attempts),
        "retry.attempts",
        &format!("must be from 1 (no retry) to {ATTEMPTS_MAX}"),
    );
    check_breaker(&settings.breaker, mistakes);
    if let Some(health) = &settings.health {
        check_health(health, mistakes);
    }
    if let Some(hedge) = &settings.hedge {
        check_hedge(hedge, mistakes);
    }
}

fn check_breaker(breaker: &BreakerSettings, mistakes: &mut Mistakes<'_>) {
    mistakes.unless(
        breaker.error_percent <= 100,
        "breaker.error_percent",
        "must be from 0 (off) to 100",
    );
    mistakes.unless(breaker.half_open > 0, "breaker.half_open", "must be at least 1");
    mistakes.unless(breaker.close_after > 0, "breaker.close_after", "must be at least 1");
    mistakes.unless(
        breaker.cooldown <= breaker.cooldown_max,
        "breaker.cooldown_max",
        "must not be below `cooldown`",
    );
    mistakes.unless(
        breaker.error_percent == 0 || !breaker.window.0.is_zero(),
        "breaker.window",
        "must be above zero, such as 10s",
    );
}

fn check_health(health: &HealthSettings, mistakes: &mut Mistakes<'_>) {
    mistakes.unless(!health.interval.0.is_zero(), "health.interval", "must be above zero");
    mistakes.unless(!health.timeout.0.is_zero(), "health.timeout", "must be above zero");
    mistakes.unless(health.unhealthy_after > 0, "health.unhealthy_after", "must be at least 1");
    mistakes.unless(health.healthy_after > 0, "health.healthy_after", "must be at least 1");
    let path = health.path.as_deref();
    mistakes.unless(
        path.is_none_or(|path| path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic())),
        "health.path",
        "must begin with `/` and hold no space, such as /models",
    );
    if health.kind == Some(HealthKind::Http) && path.is_none() {
        mistakes.add("health.path", "a check of kind `http` needs a path, such as /models");
    }
    if path.is_some() && matches!(health.kind, Some(HealthKind::Tcp | HealthKind::Completion)) {
        mistakes.add("health.path", "only a check of kind `http` has a path: remove it");
    }
}

fn check_hedge(hedge: &HedgeSettings, mistakes: &mut Mistakes<'_>) {
    mistakes.unless(
        hedge.quantile > 0.0 && hedge.quantile < 1.0,
        "hedge.quantile",
        "must lie between 0 and 1, such as 0.95",
    );
    mistakes.unless(
        hedge.max_cost_usd.is_none_or(|cost| cost.is_finite() && cost >= 0.0),
        "hedge.max_cost_usd",
        "must be an amount in dollars, such as 0.05",
    );
}

fn compile_fallback(
    name: &str,
    settings: &Settings,
    environment: &Environment<'_>,
    mistakes: &mut Mistakes<'_>,
) -> Vec<usize> {
    let mut fallback = Vec::with_capacity(settings.fallback.len());
    for (at, other) in settings.fallback.iter().enumerate() {
        let field = format!("fallback[{at}]");
        match (environment.pool_index)(other) {
            _ if other == name => mistakes.add(&field, "a pool cannot fall back to itself"),
            None => mistakes.add(&field, format!("there is no pool `{other}` under `pools`")),
            Some(index) if fallback.contains(&index) => {
                mistakes.add(&field, format!("`{other}` is named twice"));
            }
            Some(index) => fallback.push(index),
        }
    }
    fallback
}

fn compile_targets(
    settings: &Settings,
    environment: &Environment<'_>,
    mistakes: &mut Mistakes<'_>,
) -> Vec<Arc<Target>> {
    let known: HashMap<Identity<'_>, &Arc<Target>> = environment
        .previous
        .map(|pool| pool.targets.iter().map(|target| (identity(target), target)).collect())
        .unwrap_or_default();
    let mut targets: Vec<Arc<Target>> = Vec::with_capacity(settings.targets.len());
    for (at, written) in settings.targets.iter().enumerate() {
        let same = |other: &TargetSettings| {
            other.provider == written.provider && other.model == written.model
        };
        if settings.targets[..at].iter().any(same) {
            mistakes.add(
                &format!("targets[{at}]"),
                "the same provider and model stand here twice: write one target with both weights",
            );
        }
        let adaptive = settings.adaptive.unwrap_or_default();
        let ordered = (1..=adaptive.max).contains(&adaptive.min);
        // Once, with the first target.
        if at == 0 && !(ordered && adaptive.tolerance >= 1.0) {
            mistakes.add("adaptive", "must have 1 ≤ `min` ≤ `max` and a `tolerance` of at least 1");
        }
        if written.max_concurrent == Some(0) {
            mistakes.add(
                &format!("targets[{at}].max_concurrent"),
                "must be at least 1; `weight: 0` keeps traffic away",
            );
        }
        let Some(provider) = environment.providers.get(written.provider.as_str()) else {
            mistakes.add(
                &format!("targets[{at}].provider"),
                unknown_provider(&written.provider, environment),
            );
            continue;
        };
        if !provider.usable() {
            continue;
        }
        let mut target = compile_target(settings, written, provider, environment);
        target.state = known.get(&identity(&target)).map_or_else(
            // A target that joins a pool at work is warmed up; at the start all are equal.
            || Arc::new(TargetState::new(environment.previous.map(|_| environment.now))),
            |known| Arc::clone(&known.state),
        );
        if settings.health.is_none() {
            target.state.health.reset();
        }
        targets.push(Arc::new(target));
    }
    targets
}

fn unknown_provider(name: &str, environment: &Environment<'_>) -> String {
    let known: Vec<String> =
        environment.providers.keys().take(8).map(|known| format!("`{known}`")).collect();
    match known.as_slice() {
        [] => format!("there is no provider `{name}`: describe it under `providers`"),
        known => format!("there is no provider `{name}`: known are {}", known.join(", ")),
    }
}

fn compile_target(
    settings: &Settings,
    written: &TargetSettings,
    provider: &Arc<Provider>,
    environment: &Environment<'_>,
) -> Target {
    let id = match &written.model {
        Some(model) => format!("{}/{model}", written.provider),
        None => written.provider.clone(),
    };
    let cost = written
        .model
        .as_deref()
        .and_then(|model| (environment.price)(&written.provider, model))
        .unwrap_or(u64::MAX);
    Target {
        id: id.into(),
        provider: Arc::clone(provider),
        model: written.model.as_deref().map(Into::into),
        weight: written.weight,
        priority: written.priority,
        max_concurrent: written.max_concurrent,
        adaptive: settings.adaptive,
        cost,
        breaker: settings.breaker,
        slow_start: settings.slow_start.0,
        state: Arc::new(TargetState::new(None)),
    }
}

/// Two targets with the same identity are the same target before and after a reload.
type Identity<'a> = (&'a str, u8, bool, &'a str, u16, &'a str, Option<&'a str>);

fn identity(target: &Target) -> Identity<'_> {
    let provider = &*target.provider;
    (
        &provider.name,
        provider.dialect as u8,
        provider.tls,
        &provider.host,
        provider.port,
        &provider.paths.base,
        target.model.as_deref(),
    )
}

fn tiers(targets: &[Arc<Target>], strategy: Strategy) -> Box<[Tier]> {
    let mut by_priority: BTreeMap<u32, Vec<u16>> = BTreeMap::new();
    for (index, target) in targets.iter().enumerate().filter(|(_, target)| target.weight > 0) {
        by_priority.entry(target.priority).or_default().push(index as u16);
    }
    by_priority
        .into_values()
        .map(|members| {
            let ring = (strategy == Strategy::Hash).then(|| {
                let named: Vec<(u16, &str, u32)> = members
                    .iter()
                    .map(|index| {
                        let target = &targets[usize::from(*index)];
                        (*index, &*target.id, target.weight)
                    })
                    .collect();
                Ring::new(&named)
            });
            Tier { members: members.into(), ring }
        })
        .collect()
}
