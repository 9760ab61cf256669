//! The live plan and what belongs to it: reloads, what operators see, draining.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use parking_lot::Mutex;
use pingora_core::apps::ServerApp;
use pingora_core::protocols::l4::stream::Stream;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::credentials::{self, Renewals};
use super::health::{self, Checks, UpstreamProber};
use super::issuers::{self, Readings};
use super::keys::{self, Keys};
use super::simulated::Simulated;
use super::sockets::Acceptors;
use super::{level, reload};
use crate::admin::{Admin, ConfigStatus, Desk, Operators, ReloadFailure, View};
use crate::clock;
use crate::config::Diagnostic;
use crate::database::Database;
use crate::error::Error;
use crate::ledger::Ledger;
use crate::ledger::archive::Archive;
use crate::limit::Limits;
use crate::plan::{Plan, Source};
use crate::pool::BreakerState;
use crate::telemetry::{Breaker, Live as Reading, LivePool, LiveStorage, LiveTarget, Metrics};
use crate::tenant::{Caller, Refused};
use crate::transport::tls;

/// The most scopes of limits that are shown at a time.
const LIMIT_STATES_MAX: usize = 1000;

/// How long somebody with a token waits for its issuer's keys.
const KEYS_WAIT: Duration = Duration::from_secs(2);

/// What runs now, and what a reload changes.
pub(super) struct Live {
    plan: Arc<ArcSwap<Plan>>,
    metrics: Arc<Metrics>,
    ledger: Arc<Ledger>,
    limits: Arc<Limits>,
    database: Option<Database>,
    archive: Option<Archive>,
    draining: AtomicBool,
    config: Option<PathBuf>,
    acceptors: Acceptors,
    simulated: Mutex<Simulated>,
    prober: Arc<UpstreamProber>,
    checks: Mutex<Option<Checks>>,
    renewals: Mutex<Option<Renewals>>,
    readings: Mutex<Option<Readings>>,
    status: Mutex<ConfigStatus>,
    operators: Operators,
    keys: Option<Arc<Keys>>,
}

/// What [`Live`] is made of.
pub(super) struct Parts {
    pub(super) plan: Arc<ArcSwap<Plan>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) limits: Arc<Limits>,
    pub(super) database: Option<Database>,
    pub(super) config: Option<PathBuf>,
    pub(super) acceptors: Acceptors,
    pub(super) simulated: Simulated,
    pub(super) keys: Option<Arc<Keys>>,
}

impl Live {
    /// Fails when the admin token cannot be read: an open admin API is never the answer to that.
    pub(super) fn new(parts: Parts) -> Result<Self, String> {
        let Parts { plan, metrics, ledger, limits, database, config, acceptors, simulated, keys } =
            parts;
        let now = plan.load();
        let operators = Operators::read(&now.file.admin)?;
        let status = ConfigStatus {
            plan_version: now.version,
            loaded_unix_ms: clock::unix_ms(),
            last_failure: None,
        };
        metrics.plan_models(model_labels(&now));
        drop(now);
        let recorded = ledger.books().and(database.as_ref());
        let archive = recorded.map(|database| Archive::new(Arc::clone(database.place())));
        Ok(Self {
            plan,
            metrics,
            ledger,
            limits,
            archive,
            database,
            draining: AtomicBool::new(false),
            config,
            acceptors,
            simulated: Mutex::new(simulated),
            prober: Arc::new(UpstreamProber::new()),
            checks: Mutex::new(None),
            renewals: Mutex::new(None),
            readings: Mutex::new(None),
            status: Mutex::new(status),
            operators,
            keys,
        })
    }

    pub(super) fn plan(&self) -> Arc<Plan> {
        self.plan.load_full()
    }

    pub(super) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// From now on `/readyz` says no, and connections close after their current answer.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Starts the health checks of the live plan, and the renewal of its credentials and of
    /// issuers' keys; those of an earlier one stop.
    pub(super) fn start_checks(&self) {
        let plan = self.plan.load();
        *self.checks.lock() = Some(health::start(&plan, &self.prober));
        *self.renewals.lock() = Some(credentials::start(&plan, &self.metrics));
        *self.readings.lock() = Some(issuers::start(&plan, &self.metrics));
    }

    /// Follows what others change of virtual keys, where there are any.
    pub(super) fn follow_keys(&self) {
        if let Some(known) = &self.keys {
            keys::follow(Arc::clone(known), Arc::clone(&self.plan));
        }
    }

    /// Enters refused requests that wait for it in the audit log, where there is one.
    pub(super) async fn enter_refusals(&self) {
        if let Some(keys) = &self.keys {
            keys.enter_refusals().await;
        }
    }

    /// Reads the configuration again. All or nothing; a failure is logged, counted and kept for the
    /// admin API.
    pub(super) fn reload(&self) -> Result<ConfigStatus, ReloadFailure> {
        let result = self.try_reload();
        self.metrics.reload(result.is_ok());
        let mut status = self.status.lock();
        match result {
            Ok(plan) => {
                *status = ConfigStatus {
                    plan_version: plan.version,
                    loaded_unix_ms: clock::unix_ms(),
                    last_failure: None,
                };
                log::info!("configuration reloaded: plan {}", plan.version);
                Ok(status.clone())
            }
            Err(diagnostics) => {
                let diagnostics: Vec<String> =
                    diagnostics.iter().map(ToString::to_string).collect();
                for diagnostic in &diagnostics {
                    log::error!("reload: {diagnostic}");
                }
                log::error!("reload failed; plan {} stays", status.plan_version);
                let failure = ReloadFailure { time_unix_ms: clock::unix_ms(), diagnostics };
                status.last_failure = Some(failure.clone());
                Err(failure)
            }
        }
    }

    fn try_reload(&self) -> Result<Arc<Plan>, Vec<Diagnostic>> {
        let source = Source::open(self.config())?;
        let failed = |message: String| {
            let mut report = source.report();
            report.add(source.at(""), message);
            report.finish()
        };
        let previous = self.plan.load_full();
        let addresses = self.simulated.lock().start(&source.file).map_err(failed)?;
        let plan = reload::compile(&source, addresses, Some(&previous))?;
        let mut certificates = Vec::new();
        for listener in &plan.file.listeners {
            let slot = self.acceptors.get(&listener.address);
            if let (Some(slot), Some(settings)) = (slot, &listener.tls) {
                let acceptor = tls::acceptor(settings)
                    .map_err(|error| failed(format!("listener {}: {error}", listener.address)))?;
                certificates.push((slot, Arc::new(acceptor)));
            }
        }
        self.ledger.log_to(&plan.file.log.access).map_err(|error| {
            failed(format!("the access log {} cannot be opened: {error}", plan.file.log.access))
        })?;
        // Nothing can fail from here on.
        for (slot, acceptor) in certificates {
            slot.store(acceptor);
        }
        level(&plan.file.log.level).apply();
        self.metrics.plan_models(model_labels(&plan));
        for setting in reload::needs_upgrade(&previous, &plan) {
            log::warn!(
                "reload: a change of `{setting}` takes effect with the next `run --upgrade`"
            );
        }
        let plan = Arc::new(plan);
        self.plan.store(Arc::clone(&plan));
        self.start_checks();
        self.simulated.lock().keep_only(&plan.file);
        Ok(plan)
    }
}

/// The models that may stand in metric labels.
fn model_labels(plan: &Plan) -> Vec<String> {
    let targets = plan.pools.iter().flat_map(|pool| pool.targets.iter());
    let served = targets.filter_map(|target| target.model.as_deref());
    plan.models.iter().map(|model| &**model).chain(served).map(str::to_owned).collect()
}

#[async_trait]
impl View for Live {
    fn operators(&self) -> &Operators {
        &self.operators
    }

    async fn person(&self, token: &[u8]) -> Option<Arc<Caller>> {
        let plan = self.plan.load_full();
        let refused = match plan.callers.identify_token(token) {
            Err(Refused::Unread(source)) => {
                source.read_again(KEYS_WAIT).await;
                plan.callers.identify_token(token).map_err(Refused::into_error)
            }
            other => other.map_err(Refused::into_error),
        };
        let said = |error: &Error| log::info!("admin API: a token is refused: {error}");
        refused.inspect_err(said).ok()
    }

    fn desk(&self) -> Option<Desk> {
        let office = self.keys.as_ref()?.office.clone();
        Some(Desk { office, plan: self.plan.load_full() })
    }

    fn archive(&self) -> Option<Archive> {
        self.archive.clone()
    }

    async fn sync_keys(&self) {
        if let Some(keys) = &self.keys
            && let Err(error) = keys.sync(&self.plan).await
        {
            log::warn!("a change of virtual keys holds a moment later: {error}");
        }
    }

    fn may_enter_refusal(&self) -> bool {
        self.keys.as_ref().is_some_and(|keys| keys.refusals.may_enter())
    }

    fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    fn live(&self) -> Reading {
        let plan = self.plan.load();
        let now = clock::now();
        let draining = self.draining.load(Ordering::Relaxed);
        let pools: Vec<LivePool> = plan
            .pools
            .iter()
            .map(|pool| LivePool {
                name: Arc::clone(&pool.name),
                queued: pool.waiting() as u64,
                usable: pool.usable(now),
                targets: pool
                    .targets
                    .iter()
                    .map(|target| LiveTarget {
                        id: Arc::clone(&target.id),
                        in_flight: target.state.in_flight().into(),
                        breaker: match target.state.breaker(now) {
                            BreakerState::Closed => Breaker::Closed,
                            BreakerState::HalfOpen => Breaker::HalfOpen,
                            BreakerState::Open => Breaker::Open,
                        },
                        healthy: target.state.healthy(),
                        usable: target.usable(now),
                        ttft_ms: target.state.ttft().map(|ttft| ttft.as_secs_f64() * 1000.0),
                    })
                    .collect(),
            })
            .collect();
        let (limit_store_away, limits_refuse) = self.limits.store_away();
        Reading {
            limit_store_away,
            limits_refuse,
            plan_version: plan.version,
            draining,
            route_condition_errors: plan.routes.expression_failures(),
            pools,
            storage: self.database.as_ref().map(|database| {
                let health = database.health();
                LiveStorage {
                    state: health.state.as_str(),
                    reason: health.reason,
                    since_unix_ms: health.since_unix_ms,
                }
            }),
            ledger: self.ledger.books().map(|books| books.standing()),
        }
    }

    fn pools(&self) -> serde_json::Value {
        let now = clock::now();
        let plan = self.plan.load();
        let pools = plan.pools.iter().map(|pool| serde_json::to_value(pool.snapshot(now)));
        serde_json::Value::Array(pools.filter_map(Result::ok).collect())
    }

    fn limits(&self, owner: &str) -> serde_json::Value {
        serde_json::to_value(self.limits.states(owner, LIMIT_STATES_MAX)).unwrap_or_default()
    }

    fn config_status(&self) -> ConfigStatus {
        self.status.lock().clone()
    }

    async fn reload(&self) -> Result<ConfigStatus, ReloadFailure> {
        Live::reload(self)
    }
}

/// Serves the operators' listener on the control thread. The task ends with its handle's abort: after
/// an upgrade the new process answers at this address.
pub(super) fn serve_admin(live: &Arc<Live>, listener: TcpListener) -> Result<AbortHandle, String> {
    let listener = tokio::net::TcpListener::from_std(listener)
        .map_err(|error| format!("the admin listener: {error}"))?;
    let view: Arc<dyn View> = Arc::clone(live) as _;
    Ok(tokio::spawn(accept_admin(listener, Arc::new(Admin::new(view)))).abort_handle())
}

async fn accept_admin(listener: tokio::net::TcpListener, app: Arc<Admin>) {
    let (_serving, shutdown) = watch::channel(false);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (app, shutdown) = (Arc::clone(&app), shutdown.clone());
        tokio::spawn(async move {
            app.process_new(Box::new(Stream::from(stream)), &shutdown).await;
        });
    }
}
