//! From a [`Source`] to a [`Plan`].

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use super::{Bounds, File, Source, check};
use sha2::{Digest, Sha256};

use crate::clock;
use crate::config::{Diagnostic, NamePattern, Report};
use crate::dialect::Dialect;
use crate::limit;
use crate::meter::{PriceSettings, Prices};
use crate::pool::{self, Pool};
use crate::provider::{self, Catalogue, Provider, SimulatedSettings};
use crate::route::{self, PoolRef};
use crate::store;
use crate::tenant::{Directory, KeyHasher, Written};
use crate::transport::ListenerSettings;

/// The shortest secret that hashes are keyed with.
const SECRET_BYTES_MIN: usize = 16;

/// Where the process itself serves what the configuration refers to.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// The loopback address of each simulated provider, by name. Empty where a file is only
    /// checked.
    pub simulated: BTreeMap<String, SocketAddr>,
}

/// One consistent configuration, ready to run.
#[derive(Debug)]
pub struct Plan {
    /// Counts from 1, one more with every reload.
    pub version: u64,
    /// The file's name.
    pub name: Arc<str>,
    /// The file it was compiled from.
    pub file: Arc<File>,
    /// Bounds on what a client may send.
    pub bounds: Bounds,
    /// Where clients connect.
    pub listeners: Vec<ListenerSettings>,
    /// Upstream accounts, by name.
    pub providers: BTreeMap<Arc<str>, Arc<Provider>>,
    /// All pools, in the order of their names.
    pub pools: Vec<Arc<Pool>>,
    /// Which pool answers what.
    pub routes: route::Table,
    /// Who calls.
    pub callers: Directory,
    /// What requests are taken to use.
    pub admission: limit::Assumptions,
    /// What models cost.
    pub prices: Prices,
    /// What the prices are recognised by in a record of what they were applied to.
    pub price_version: Arc<str>,
    /// How responses are kept.
    pub responses: store::Settings,
    /// Names of models that a caller can ask for, as far as the configuration spells them out.
    pub models: Vec<Arc<str>>,
    /// The limits of upstream accounts that have any, by name.
    pub upstream_limits: BTreeMap<Arc<str>, limit::Applicable>,
    /// A pool of its own for each usable provider, for requests that name the provider.
    pub passthrough: BTreeMap<Arc<str>, Arc<Pool>>,
    /// Routes that are left out, and why.
    pub skipped: Vec<Skipped>,
}

/// A route that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its name.
    pub route: Arc<str>,
    /// Why.
    pub reason: String,
}

/// Compiles a plan. With `previous`, the live state of what did not change is taken over; until
/// everything was found right, nothing of it is touched.
///
/// # Errors
///
/// Everything that is wrong, in the order of the file.
pub fn compile(
    source: &Source,
    environment: &Environment,
    previous: Option<&Plan>,
) -> Result<Plan, Vec<Diagnostic>> {
    let mut compiler = Compiler { source, environment, report: check::check(source) };
    let callers = compiler.callers(previous);
    let prices = compiler.prices();
    let upstream_limits = compiler.upstream_limits();
    let upstreams = compiler.upstreams(&prices, None);
    let routes = compiler.routes(&upstreams.pools);
    let (Some(callers), Some(table), true) = (callers, routes.table, compiler.report.is_empty())
    else {
        return Err(compiler.report.finish());
    };
    let upstreams = match previous {
        None => upstreams,
        Some(_) => compiler.upstreams(&prices, previous),
    };
    if !compiler.report.is_empty() {
        return Err(compiler.report.finish());
    }
    let file = &source.file;
    Ok(Plan {
        version: previous.map_or(1, |previous| previous.version + 1),
        name: Arc::clone(&source.name),
        file: Arc::clone(file),
        bounds: file.bounds,
        listeners: file.listeners.clone(),
        providers: upstreams.providers,
        models: models(&file.routes, &upstreams.pools),
        routes: table,
        passthrough: upstreams.passthrough,
        upstream_limits,
        pools: upstreams.pools,
        callers,
        admission: file.admission,
        price_version: price_version(file),
        prices,
        responses: file.responses.clone(),
        skipped: routes.skipped,
    })
}

/// Twelve hex digits that change with any price, built in or the file's own.
fn price_version(file: &File) -> Arc<str> {
    let own = file.providers.iter().map(|(name, settings)| (name.as_str(), &settings.prices));
    // Maps of numbers under names always serialise.
    let written = serde_json::to_vec(&(&file.prices, own.collect::<Vec<_>>())).unwrap_or_default();
    let mut digest = Sha256::new();
    digest.update(Prices::BUILTIN);
    digest.update(written);
    let digest = digest.finalize();
    let number = digest.iter().take(6).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    format!("{number:012x}").into()
}

/// Providers and pools.
struct Upstreams {
    providers: BTreeMap<Arc<str>, Arc<Provider>>,
    pools: Vec<Arc<Pool>>,
    passthrough: BTreeMap<Arc<str>, Arc<Pool>>,
}

/// Routes that lead somewhere, and those that do not.
struct Routes {
    table: Option<route::Table>,
    skipped: Vec<Skipped>,
}

struct Compiler<'a> {
    source: &'a Source,
    environment: &'a Environment,
    report: Report,
}

impl Compiler<'_> {
    /// What a room finds wrong with its own settings.
    fn mistakes(&mut self, mistakes: Vec<(String, String)>) {
        for (path, message) in mistakes {
            self.report.add_once(self.source.at(&path), format!("{path}: {message}"));
        }
    }

    fn callers(&mut self, previous: Option<&Plan>) -> Option<Directory> {
        let file = Arc::clone(&self.source.file);
        let hasher = self.hasher();
        let written = Written {
            access: file.access,
            tenants: &file.tenants,
            issuers: &file.issuers,
            hasher: hasher.as_ref(),
        };
        let before = previous.map(|plan| &plan.callers);
        Directory::compile(written, before).map_err(|found| self.mistakes(found)).ok()
    }

    /// How virtual keys are hashed. A secret that cannot be read is reported.
    fn hasher(&mut self) -> Option<KeyHasher> {
        let file = Arc::clone(&self.source.file);
        let mut wrong = |message: String| {
            self.mistakes(vec![("identity.secret".into(), message)]);
            None
        };
        match file.identity.as_ref()?.secret.resolve() {
            Ok(Some(secret)) if secret.expose().len() >= SECRET_BYTES_MIN => {
                Some(KeyHasher::new(secret.expose().as_bytes()))
            }
            Ok(Some(_)) => wrong(format!("it is shorter than {SECRET_BYTES_MIN} characters")),
            Ok(None) => {
                wrong("without it no virtual key could be used: it cannot be optional".into())
            }
            Err(error) => wrong(error.to_string()),
        }
    }

    /// The built-in catalogue under the file's own prices. Those that are none are left out.
    fn prices(&mut self) -> Prices {
        static BUILTIN: LazyLock<Prices> = LazyLock::new(Prices::builtin);
        let file = Arc::clone(&self.source.file);
        let global = self.prices_of("prices", &file.prices);
        let mut prices = BUILTIN.clone();
        prices = prices.clone().with_overrides(&global).unwrap_or(prices);
        for (name, settings) in &file.providers {
            let own = self.prices_of(&format!("providers.{name}.prices"), &settings.prices);
            if !own.is_empty() {
                prices = prices.clone().with_provider(name, &own).unwrap_or(prices);
            }
        }
        prices
    }

    /// Those of the prices that can be used; the others are reported, each by itself.
    fn prices_of(
        &mut self,
        path: &str,
        prices: &BTreeMap<String, PriceSettings>,
    ) -> BTreeMap<String, PriceSettings> {
        let mut usable = BTreeMap::new();
        for (model, price) in prices {
            let one = BTreeMap::from([(model.clone(), *price)]);
            match Prices::default().with_overrides(&one) {
                Ok(_) => usable.extend(one),
                Err(error) => self.report.add_once(
                    self.source.key_at(&format!("{path}.{model}")),
                    format!("{path}: {}", error.problem),
                ),
            }
        }
        usable
    }

    fn upstreams(&mut self, prices: &Prices, previous: Option<&Plan>) -> Upstreams {
        let providers = self.providers(previous);
        let pools = self.pools(&providers, prices, previous);
        let passthrough = self.passthrough(&providers, previous);
        Upstreams { providers, pools, passthrough }
    }

    fn providers(&mut self, previous: Option<&Plan>) -> BTreeMap<Arc<str>, Arc<Provider>> {
        let file = Arc::clone(&self.source.file);
        let catalogue = Catalogue::builtin().with(&file.kinds);
        let mut providers = BTreeMap::new();
        for (name, settings) in &file.providers {
            let address = self.environment.simulated.get(name).copied();
            let before = previous.and_then(|plan| plan.providers.get(name.as_str()));
            let compiled = Provider::compile(name, settings, &catalogue, address, before);
            let compiled = compiled.or_else(|found| {
                self.mistakes(found);
                stand_in(name, settings, &catalogue)
            });
            if let Ok(provider) = compiled {
                providers.insert(name.as_str().into(), provider);
            }
        }
        providers
    }

    fn upstream_limits(&mut self) -> BTreeMap<Arc<str>, limit::Applicable> {
        let file = Arc::clone(&self.source.file);
        let mut limits = BTreeMap::new();
        for (name, settings) in &file.providers {
            let owner = limit::Owner { kind: "provider", id: name, tenant: name };
            match limit::Sets::compile(owner, &limit::TimeZone::UTC, &settings.limits) {
                Ok(sets) => limits.extend(
                    sets.with(&limit::Sets::default()).map(|all| (name.as_str().into(), all)),
                ),
                Err(found) => self.mistakes(
                    found
                        .into_iter()
                        .map(|(at, why)| (format!("providers.{name}{at}"), why))
                        .collect(),
                ),
            }
        }
        limits
    }

    fn pools(
        &mut self,
        providers: &BTreeMap<Arc<str>, Arc<Provider>>,
        prices: &Prices,
        previous: Option<&Plan>,
    ) -> Vec<Arc<Pool>> {
        // Strategy `least_cost` compares by a request of the usual shape: more prompt than answer.
        let price = |provider: &str, model: &str| {
            prices.price(provider, model).map(|price| price.cost_of(3000, 1000).0)
        };
        let now = clock::now();
        let file = Arc::clone(&self.source.file);
        let index = |name: &str| file.pools.keys().position(|pool| pool == name);
        let mut pools = Vec::with_capacity(file.pools.len());
        for (name, settings) in &file.pools {
            let before = previous.and_then(|plan| plan.pool(name));
            let environment = pool::Environment {
                providers,
                pool_index: &index,
                price: &price,
                previous: before.map(AsRef::as_ref),
                now,
            };
            match Pool::compile(name, settings, &environment) {
                Ok(pool) => pools.push(Arc::new(pool)),
                Err(found) => self.mistakes(found),
            }
        }
        pools
    }

    /// A pool with one target for each usable provider, with the default policies.
    fn passthrough(
        &mut self,
        providers: &BTreeMap<Arc<str>, Arc<Provider>>,
        previous: Option<&Plan>,
    ) -> BTreeMap<Arc<str>, Arc<Pool>> {
        let mut pools = BTreeMap::new();
        for (name, _) in providers.iter().filter(|(_, provider)| provider.usable()) {
            let environment = pool::Environment {
                providers,
                pool_index: &|_| None,
                price: &|_, _| None,
                previous: previous.and_then(|plan| plan.passthrough.get(name)).map(AsRef::as_ref),
                now: clock::now(),
            };
            let settings = pool::Settings::of_provider(name);
            match Pool::compile(&format!("passthrough/{name}"), &settings, &environment) {
                Ok(pool) => {
                    pools.insert(Arc::clone(name), Arc::new(pool));
                }
                Err(found) => self.mistakes(found),
            }
        }
        pools
    }

    /// Routes that lead to no usable target are left out, so that a file with credentials for some
    /// providers serves those.
    fn routes(&mut self, pools: &[Arc<Pool>]) -> Routes {
        let file = Arc::clone(&self.source.file);
        let found = |name: &str| match pools.iter().position(|pool| *pool.name == *name) {
            Some(index) if leads_somewhere(name, pools) => PoolRef::Index(index),
            Some(_) => PoolRef::Empty,
            // It is there, and what is wrong with it was reported.
            None if file.pools.contains_key(name) => PoolRef::Empty,
            None => PoolRef::Unknown,
        };
        let table =
            route::Table::compile(&file.routes, &found).map_err(|found| self.mistakes(found)).ok();
        let mut skipped = Vec::new();
        for (at, settings) in file.routes.iter().enumerate() {
            if !usable(settings, pools) {
                let name = settings.name.clone().unwrap_or_else(|| format!("route-{at}"));
                let reason = reason(settings, &file);
                skipped.push(Skipped { route: name.into(), reason });
            }
        }
        Routes { table, skipped }
    }
}

impl Plan {
    /// The pool of this name.
    pub fn pool(&self, name: &str) -> Option<&Arc<Pool>> {
        self.pools.iter().find(|pool| *pool.name == *name)
    }
}

/// Stands in for a provider whose settings are wrong, so that what refers to it is still checked.
fn stand_in(
    name: &str,
    settings: &provider::Settings,
    catalogue: &Catalogue,
) -> Result<Arc<Provider>, Vec<provider::Mistake>> {
    let known = catalogue.iter().find(|(name, _)| Some(*name) == settings.kind.as_deref());
    let settings = provider::Settings {
        kind: None,
        with: BTreeMap::new(),
        dialect: known.map(|(_, kind)| kind.dialect).or(settings.dialect).or(Some(Dialect::OpenAi)),
        base_url: None,
        keys: Vec::new(),
        headers: BTreeMap::new(),
        tls: provider::TlsSettings::default(),
        simulated: Some(SimulatedSettings::default()),
        ..settings.clone()
    };
    Provider::compile(name, &settings, catalogue, None, None)
}

/// Whether any of a route's pools leads somewhere.
fn usable(route: &route::Settings, pools: &[Arc<Pool>]) -> bool {
    let arms = route.split.iter().filter(|arm| arm.weight > 0).map(|arm| &arm.pool);
    route.pool.iter().chain(arms).any(|name| leads_somewhere(name, pools))
}

/// Whether a pool or one of its fallbacks has a usable target.
fn leads_somewhere(name: &str, pools: &[Arc<Pool>]) -> bool {
    let mut seen = HashSet::new();
    let mut next: Vec<usize> =
        pools.iter().position(|pool| *pool.name == *name).into_iter().collect();
    while let Some(index) = next.pop() {
        let Some(pool) = pools.get(index).filter(|_| seen.insert(index)) else { continue };
        if pool.targets.iter().any(|target| target.weight > 0) {
            return true;
        }
        next.extend(&pool.fallback);
    }
    false
}

/// Which credentials are missing for a route to be used.
fn reason(route: &route::Settings, file: &File) -> String {
    let pools = route.pool.iter().chain(route.split.iter().map(|arm| &arm.pool));
    let targets = pools.filter_map(|pool| file.pools.get(pool)).flat_map(|pool| &pool.targets);
    let mut missing = Vec::new();
    for target in targets {
        let keys = file.providers.get(&target.provider).map_or(&[][..], |provider| &provider.keys);
        for key in keys {
            let source = match (&key.env, &key.file) {
                (Some(name), _) => name.clone(),
                (None, Some(path)) => path.display().to_string(),
                (None, None) => continue,
            };
            if !missing.contains(&source) {
                missing.push(source);
            }
        }
    }
    format!("no credential ({})", missing.join(", "))
}

/// The exact names that routes match, and the models of targets that a route passes on to.
fn models(routes: &[route::Settings], pools: &[Arc<Pool>]) -> Vec<Arc<str>> {
    let mut names: Vec<Arc<str>> = Vec::new();
    for route in routes.iter().filter(|route| usable(route, pools)) {
        let patterns = patterns(route);
        names.extend(patterns.iter().filter_map(NamePattern::exact).map(Into::into));
        let named = |pool: &&Arc<Pool>| {
            let arms = route.pool.iter().chain(route.split.iter().map(|arm| &arm.pool));
            arms.into_iter().any(|name| **name == *pool.name)
        };
        let targets = pools.iter().filter(named).flat_map(|pool| pool.targets.iter());
        let matched = |model: &&Arc<str>| {
            patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(model))
        };
        names.extend(targets.filter_map(|target| target.model.as_ref()).filter(matched).cloned());
    }
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(Arc::clone(name)));
    names
}

/// The model patterns of a route. One that does not compile was reported by the route's own room.
fn patterns(route: &route::Settings) -> Vec<NamePattern> {
    let texts = match &route.matches.model {
        None => &[],
        Some(route::Pattern::One(one)) => std::slice::from_ref(one),
        Some(route::Pattern::Any(any)) => any.as_slice(),
    };
    texts.iter().filter_map(|text| NamePattern::compile(text).ok()).collect()
}
