//! The metrics themselves: what is counted, with which labels, and the calls that count it.
//!
//! Where OpenTelemetry's semantic conventions for generative AI name a metric, its name, labels and
//! buckets are theirs, in Prometheus spelling (`gen_ai.client.token.usage` becomes
//! `gen_ai_client_token_usage`); everything else is `weir_*`. Names and help texts stand in
//! `scrape.rs`, the reference in `conf/metrics.md`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use super::cell::{Buckets, Counter, Gauge, Histogram};
use super::event_loop::Loop;
use super::family::{Family, SERIES_MAX};
use super::models::Models;
use super::settled::{Operation, Shapes, TOKEN_KINDS};
use crate::clock::unix_s;

const NS_PER_S: f64 = 1e9;

/// Buckets of `gen_ai.client.operation.duration`.
const DURATION: Buckets = Buckets {
    bounds: &[
        0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
    ],
    per_unit: NS_PER_S,
};

/// Buckets of `gen_ai.server.time_to_first_token`.
const FIRST_TOKEN: Buckets = Buckets {
    bounds: &[
        0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    ],
    per_unit: NS_PER_S,
};

/// Buckets of `gen_ai.server.time_per_output_token`.
const PER_OUTPUT_TOKEN: Buckets = Buckets {
    bounds: &[0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5],
    per_unit: NS_PER_S,
};

/// Buckets of `gen_ai.client.token.usage`.
const TOKENS: Buckets = Buckets {
    bounds: &[
        1.0,
        4.0,
        16.0,
        64.0,
        256.0,
        1024.0,
        4096.0,
        16_384.0,
        65_536.0,
        262_144.0,
        1_048_576.0,
        4_194_304.0,
        16_777_216.0,
        67_108_864.0,
    ],
    per_unit: 1.0,
};

/// Buckets of `weir_event_loop_lag_seconds`: a healthy loop is late by less than a millisecond.
const LAG: Buckets = Buckets {
    bounds: &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0],
    per_unit: NS_PER_S,
};

/// How a hedge ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HedgeResult {
    /// The hedge answered first.
    Won,
    /// The first attempt answered first.
    Lost,
    /// Neither answered.
    Failed,
}

impl HedgeResult {
    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            HedgeResult::Won => "won",
            HedgeResult::Lost => "lost",
            HedgeResult::Failed => "failed",
        }
    }
}

/// Every metric of the process.
pub struct Metrics {
    pub(super) models: Models,
    pub(super) shapes: Shapes,
    pub(super) requests: Family<Counter, 4>,
    pub(super) requests_in_flight: Gauge,
    pub(super) durations: Family<Histogram, 4>,
    pub(super) operations: Family<Operation, 3>,
    pub(super) tokens: Family<[Counter; TOKEN_KINDS.len()], 3>,
    pub(super) cost: Family<Counter, 2>,
    pub(super) retries: Family<Counter, 1>,
    pub(super) attempts: Family<Counter, 3>,
    pub(super) hedges: Family<Counter, 2>,
    pub(super) stream_errors: Family<Counter, 2>,
    pub(super) translations: Family<Counter, 2>,
    pub(super) translation_dropped: Family<Counter, 2>,
    pub(super) body_in_bytes: Counter,
    pub(super) body_out_bytes: Counter,
    pub(super) admitted_in_flight: Gauge,
    pub(super) tokens_in_flight: Gauge,
    pub(super) cost_in_flight: Gauge,
    pub(super) limit_refusals: Family<Counter, 2>,
    pub(super) limit_cut_offs: Family<Counter, 2>,
    pub(super) policy_refusals: Family<Counter, 2>,
    pub(super) budget_events: Family<Counter, 1>,
    pub(super) upstream_full: Family<Counter, 2>,
    pub(super) budget_warnings: Family<Counter, 2>,
    pub(super) limit_store_away: AtomicU64,
    pub(super) limit_scopes: Gauge,
    pub(super) limit_scopes_shared: Counter,
    pub(super) connections: Counter,
    pub(super) connections_open: Gauge,
    pub(super) upstream_connections: Family<Counter, 2>,
    pub(super) credential_renewals: Family<Counter, 2>,
    pub(super) issuer_readings: Family<Counter, 2>,
    pub(super) reloads: Family<Counter, 1>,
    pub(super) reload_success_s: AtomicU64,
    pub(super) reload_ok: AtomicU64,
    pub(super) log_dropped: Family<Counter, 1>,
    pub(super) storage_errors: Family<Counter, 1>,
    pub(super) loop_lag: Family<Arc<Histogram>, 1>,
    pub(super) io: OnceLock<(&'static str, String)>,
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            models: Models::default(),
            shapes: Shapes::new(SERIES_MAX),
            requests: Family::new(["endpoint", "pool", "status", "error"], Counter::default),
            requests_in_flight: Gauge::default(),
            durations: Family::new(
                [
                    "gen_ai_operation_name",
                    "gen_ai_provider_name",
                    "gen_ai_request_model",
                    "error_type",
                ],
                || Histogram::new(DURATION),
            ),
            operations: Family::new(
                ["gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"],
                || Operation {
                    first_token: Histogram::new(FIRST_TOKEN),
                    per_output_token: Histogram::new(PER_OUTPUT_TOKEN),
                    input_tokens: Histogram::new(TOKENS),
                    output_tokens: Histogram::new(TOKENS),
                },
            ),
            tokens: Family::new(["provider", "model", "source"], Default::default),
            cost: Family::new(["provider", "model"], Counter::default),
            retries: Family::new(["pool"], Counter::default),
            attempts: Family::new(["pool", "target", "outcome"], Counter::default),
            hedges: Family::new(["pool", "result"], Counter::default),
            stream_errors: Family::new(["pool", "error"], Counter::default),
            translations: Family::new(["client", "upstream"], Counter::default),
            translation_dropped: Family::new(["client", "upstream"], Counter::default),
            body_in_bytes: Counter::default(),
            body_out_bytes: Counter::default(),
            admitted_in_flight: Gauge::default(),
            tokens_in_flight: Gauge::default(),
            cost_in_flight: Gauge::default(),
            limit_refusals: Family::new(["tenant", "limit"], Counter::default),
            limit_cut_offs: Family::new(["tenant", "limit"], Counter::default),
            budget_events: Family::new(["result"], Counter::default),
            policy_refusals: Family::new(["tenant", "policy"], Counter::default),
            upstream_full: Family::new(["provider", "limit"], Counter::default),
            budget_warnings: Family::new(["tenant", "limit"], Counter::default),
            limit_store_away: AtomicU64::new(0),
            limit_scopes: Gauge::default(),
            limit_scopes_shared: Counter::default(),
            connections: Counter::default(),
            connections_open: Gauge::default(),
            upstream_connections: Family::new(["provider", "reused"], Counter::default),
            credential_renewals: Family::new(["provider", "result"], Counter::default),
            issuer_readings: Family::new(["issuer", "result"], Counter::default),
            reloads: Family::new(["result"], Counter::default),
            reload_success_s: AtomicU64::new(0),
            reload_ok: AtomicU64::new(1),
            log_dropped: Family::new(["log"], Counter::default),
            storage_errors: Family::new(["fault"], Counter::default),
            loop_lag: Family::new(["worker"], || Arc::new(Histogram::new(LAG))),
            io: OnceLock::new(),
        })
    }

    /// A request's head has arrived; it is in flight until the guard is dropped.
    pub fn request_started(&self) -> InFlight<'_> {
        self.requests_in_flight.add(1);
        InFlight(self)
    }

    /// An attempt on a target is over; `outcome` is `ok`, `cancelled` or an error kind's label.
    pub fn attempt(&self, pool: &str, target: &str, outcome: &'static str) {
        self.attempts.with([pool, target, outcome], Counter::inc);
    }

    /// A hedged request has its answer, or none.
    pub fn hedge(&self, pool: &str, result: HedgeResult) {
        self.hedges.with([pool, result.as_str()], Counter::inc);
    }

    /// A request of one format was answered by an upstream of another.
    pub fn translated(&self, client: &'static str, upstream: &'static str) {
        self.translations.with([client, upstream], Counter::inc);
    }

    /// A provider's credential was renewed, or could not be.
    pub fn credential_renewed(&self, provider: &str, ok: bool) {
        let result = if ok { "ok" } else { "error" };
        self.credential_renewals.with([provider, result], Counter::inc);
    }

    /// The keys of an issuer of tokens were read, or could not be.
    pub fn issuer_read(&self, issuer: &str, ok: bool) {
        let result = if ok { "ok" } else { "error" };
        self.issuer_readings.with([issuer, result], Counter::inc);
    }

    /// So many members of a request and its answer were left out, because the upstream or the other
    /// format does not know them.
    pub fn dropped(&self, client: &'static str, upstream: &'static str, dropped: u64) {
        if dropped > 0 {
            self.translation_dropped.with([client, upstream], |counter| counter.add(dropped));
        }
    }

    /// A client has connected; the connection is open until the guard is dropped.
    pub fn connection_opened(self: &Arc<Self>) -> Connection {
        self.connections.inc();
        self.connections_open.add(1);
        Connection(Arc::clone(self))
    }

    /// An attempt got a connection to a provider.
    pub fn upstream_connection(&self, provider: &str, reused: bool) {
        let reused = if reused { "true" } else { "false" };
        self.upstream_connections.with([provider, reused], Counter::inc);
    }

    /// The configuration was read again, with or without success.
    pub fn reload(&self, ok: bool) {
        self.reloads.with([if ok { "ok" } else { "error" }], Counter::inc);
        self.reload_ok.store(u64::from(ok), Relaxed);
        if ok {
            self.reload_success_s.store(unix_s(), Relaxed);
        }
    }

    /// The model names of the plan that serves now; other names are bounded, see [`super`].
    pub fn plan_models<S: Into<Box<str>>>(&self, names: impl IntoIterator<Item = S>) {
        self.models.plan(names);
        // What was `other` may have a name now, and the other way round.
        self.shapes.clear();
    }

    /// `lines` lines of a log (`access`, `process`) were lost, or `responses` that were to be kept.
    pub fn log_dropped(&self, log: &'static str, lines: u64) {
        self.log_dropped.with([log], |dropped| dropped.add(lines));
    }

    /// The database failed.
    pub fn storage_error(&self, fault: &'static str) {
        self.storage_errors.with([fault], Counter::inc);
    }

    /// A request was admitted, or has gone (`requests` negative), holding `tokens` and money.
    pub fn held(&self, requests: i64, tokens: i64, cost_nano_usd: i64) {
        self.admitted_in_flight.add(requests);
        self.tokens_in_flight.add(tokens);
        if cost_nano_usd != 0 {
            self.cost_in_flight.add(cost_nano_usd);
        }
    }

    /// A request was refused by a limit of a tenant or of one of its keys.
    pub fn limit_refusal(&self, tenant: &str, limit: &'static str) {
        self.limit_refusals.with([tenant, limit], Counter::inc);
    }

    /// A target was passed over because a limit of its provider had no room.
    pub fn upstream_full(&self, provider: &str, limit: &'static str) {
        self.upstream_full.with([provider, limit], Counter::inc);
    }

    /// A request was refused by a policy of a tenant, of its teams or of its keys.
    pub fn policy_refusal(&self, tenant: &str, policy: &str) {
        self.policy_refusals.with([tenant, policy], Counter::inc);
    }

    /// A stream was ended because a limit had no room for more of it.
    pub fn limit_cut_off(&self, tenant: &str, limit: &'static str) {
        self.limit_cut_offs.with([tenant, limit], Counter::inc);
    }

    /// A request was admitted although a soft budget is used up.
    pub fn budget_warning(&self, tenant: &str, limit: &'static str) {
        self.budget_warnings.with([tenant, limit], Counter::inc);
    }

    /// A budget that is used up was announced (`sent`), was not taken (`failed`) or found no room in the
    /// queue (`dropped`).
    pub fn budget_event(&self, result: &'static str) {
        self.budget_events.with([result], Counter::inc);
    }

    /// Whether the store of shared limits is there.
    pub fn limit_store(&self, there: bool) {
        self.limit_store_away.store(u64::from(!there), Relaxed);
    }

    /// So many more scopes of limits are remembered, or fewer.
    pub fn limit_scopes(&self, more: i64) {
        self.limit_scopes.add(more);
    }

    /// A request counted in the scope that those share for which there is no room.
    pub fn limit_scope_shared(&self) {
        self.limit_scopes_shared.inc();
    }

    /// A sampler of how late the event loop of worker number `worker` runs.
    pub fn event_loop(&self, worker: usize) -> Loop {
        Loop::new(self.loop_lag.with([itoa::Buffer::new().format(worker)], Arc::clone))
    }

    /// What drives the sockets of this process, and why nothing better does.
    pub fn sockets_driven_by(&self, io: &'static str, refused: Option<String>) {
        // Chosen once, at the start.
        let _ = self.io.set((io, refused.unwrap_or_default()));
    }

    /// Requests in flight.
    pub fn requests_in_flight(&self) -> i64 {
        self.requests_in_flight.get()
    }

    /// Open connections of clients.
    pub fn connections_open(&self) -> i64 {
        self.connections_open.get()
    }

    /// Admitted requests that are not settled.
    pub fn admitted_in_flight(&self) -> i64 {
        self.admitted_in_flight.get()
    }

    /// Money held by admitted requests under a limit on it, in billionths of a dollar.
    pub fn cost_in_flight(&self) -> i64 {
        self.cost_in_flight.get()
    }

    /// Tokens held by admitted requests: with the event loop's lag the signal for an autoscaler.
    pub fn tokens_in_flight(&self) -> i64 {
        self.tokens_in_flight.get()
    }
}

/// A request in flight.
#[must_use]
pub struct InFlight<'m>(&'m Metrics);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.requests_in_flight.add(-1);
    }
}

/// An open connection of a client.
#[must_use]
pub struct Connection(Arc<Metrics>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.connections_open.add(-1);
    }
}
