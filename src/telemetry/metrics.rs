//! The metrics themselves: what is counted, with which labels, and the calls that count it.
//!
//! Where OpenTelemetry's semantic conventions for generative AI name a metric, its name, labels and
//! buckets are theirs, in Prometheus spelling (`gen_ai.client.token.usage` becomes
//! `gen_ai_client_token_usage`); everything else is `weir_*`. Names and help texts stand in
//! `scrape.rs`, the reference in `conf/metrics.md`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::cell::{Buckets, Counter, Gauge, Histogram};
use super::event_loop::Loop;
use super::family::Family;
use super::models::Models;
use crate::clock::{Duration, unix_s};
use crate::error::Kind;

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

/// Kinds of tokens, as indices of [`Settled::tokens`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// The whole prompt.
    Input,
    /// The whole answer.
    Output,
    /// Part of the prompt: read from the provider's cache.
    CachedInput,
    /// Part of the prompt: written to the cache for five minutes.
    CacheCreation5m,
    /// Part of the prompt: written to the cache for one hour.
    CacheCreation1h,
    /// Part of the answer: reasoning.
    Reasoning,
    /// Part of the prompt: audio.
    AudioInput,
    /// Part of the answer: audio.
    AudioOutput,
}

/// Label values of the token kinds, in declaration order. The first two are totals, the others
/// say what a part of them was.
pub const TOKEN_KINDS: [&str; 8] = [
    "input",
    "output",
    "cached_input",
    "cache_creation_5m",
    "cache_creation_1h",
    "reasoning",
    "audio_input",
    "audio_output",
];

/// How many of [`TOKEN_KINDS`] are totals.
pub(super) const TOKEN_TOTALS: usize = 2;

/// What a settled request adds to the metrics. Empty strings stand for what was never known.
#[derive(Clone, Debug, Default)]
pub struct Settled<'a> {
    /// The endpoint's label.
    pub endpoint: &'static str,
    /// `gen_ai.operation.name`; empty for what is no model operation (files, model lists).
    pub operation: &'static str,
    /// The pool's name.
    pub pool: &'a str,
    /// The provider that answered, or was tried last.
    pub provider: &'a str,
    /// The model that the client named.
    pub model_asked: &'a str,
    /// The model that the upstream was asked for.
    pub model_served: &'a str,
    /// The status that the client got.
    pub status: u16,
    /// What went wrong.
    pub error: Option<Kind>,
    /// The error came after the first byte had reached the client.
    pub stream_broken: bool,
    /// The answer was a stream.
    pub stream: bool,
    /// From the request's head to its settling.
    pub duration: Duration,
    /// From the request's head to the first token.
    pub ttft: Option<Duration>,
    /// Tokens by [`TokenKind`].
    pub tokens: [u64; TOKEN_KINDS.len()],
    /// Who counted them; empty when nobody did.
    pub usage_source: &'static str,
    /// What they cost.
    pub cost_nano_usd: u64,
    /// Attempts beyond the first, hedges not counted.
    pub retries: u32,
    /// Body bytes read from the client.
    pub body_in_bytes: u64,
    /// Body bytes written to the client.
    pub body_out_bytes: u64,
}

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

/// Per operation, provider and model asked.
pub(super) struct Operation {
    pub(super) first_token: Histogram,
    pub(super) per_output_token: Histogram,
    pub(super) input_tokens: Histogram,
    pub(super) output_tokens: Histogram,
}

/// Every metric of the process.
pub struct Metrics {
    models: Models,
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
    pub(super) body_in_bytes: Counter,
    pub(super) body_out_bytes: Counter,
    pub(super) admitted_in_flight: Gauge,
    pub(super) tokens_in_flight: Gauge,
    pub(super) connections: Counter,
    pub(super) connections_open: Gauge,
    pub(super) upstream_connections: Family<Counter, 2>,
    pub(super) reloads: Family<Counter, 1>,
    pub(super) reload_success_s: AtomicU64,
    pub(super) reload_ok: AtomicU64,
    pub(super) log_dropped: Family<Counter, 1>,
    pub(super) loop_lag: Family<Arc<Histogram>, 1>,
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            models: Models::default(),
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
            body_in_bytes: Counter::default(),
            body_out_bytes: Counter::default(),
            admitted_in_flight: Gauge::default(),
            tokens_in_flight: Gauge::default(),
            connections: Counter::default(),
            connections_open: Gauge::default(),
            upstream_connections: Family::new(["provider", "reused"], Counter::default),
            reloads: Family::new(["result"], Counter::default),
            reload_success_s: AtomicU64::new(0),
            reload_ok: AtomicU64::new(1),
            log_dropped: Family::new(["log"], Counter::default),
            loop_lag: Family::new(["worker"], || Arc::new(Histogram::new(LAG))),
        })
    }

    /// A request's head has arrived; it is in flight until the guard is dropped.
    pub fn request_started(self: &Arc<Self>) -> InFlight {
        self.requests_in_flight.add(1);
        InFlight(Arc::clone(self))
    }

    /// A request is over. Called once for each, by the ledger.
    pub fn settled(&self, settled: &Settled<'_>) {
        let error = settled.error.map_or("", Kind::as_str);
        let mut digits = itoa::Buffer::new();
        let status = digits.format(settled.status);
        self.requests.with([settled.endpoint, settled.pool, status, error], Counter::inc);
        self.body_in_bytes.add(settled.body_in_bytes);
        self.body_out_bytes.add(settled.body_out_bytes);
        if settled.retries > 0 {
            self.retries.with([settled.pool], |retries| retries.add(u64::from(settled.retries)));
        }
        if settled.stream_broken {
            self.stream_errors.with([settled.pool, error], Counter::inc);
        }
        if !settled.provider.is_empty() {
            self.answered(settled, error);
        }
    }

    /// The part of a settled request that a provider had a hand in.
    fn answered(&self, settled: &Settled<'_>, error: &'static str) {
        let Settled { operation, provider, tokens, .. } = *settled;
        let ok = settled.error.is_none() && (200..300).contains(&settled.status);
        let asked = self.models.label(settled.model_asked, ok);
        let counted = !settled.usage_source.is_empty();
        if !operation.is_empty() {
            self.durations.with([operation, provider, asked, error], |duration| {
                duration.observe(nanoseconds(settled.duration));
            });
            self.operations.with([operation, provider, asked], |series| {
                series.observe(settled, counted);
            });
        }
        if !counted {
            return;
        }
        let served = self.models.label(settled.model_served, ok);
        self.tokens.with([provider, served, settled.usage_source], |kinds| {
            for (kind, n) in kinds.iter().zip(tokens) {
                kind.add(n);
            }
        });
        if settled.cost_nano_usd > 0 {
            self.cost.with([provider, served], |cost| cost.add(settled.cost_nano_usd));
        }
    }

    /// An attempt on a target is over; `outcome` is `ok`, `cancelled` or an error kind's label.
    pub fn attempt(&self, pool: &str, target: &str, outcome: &'static str) {
        self.attempts.with([pool, target, outcome], Counter::inc);
    }

    /// A hedged request has its answer, or none.
    pub fn hedge(&self, pool: &str, result: HedgeResult) {
        self.hedges.with([pool, result.as_str()], Counter::inc);
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
    }

    /// `lines` lines of a log (`access`, `process`) were lost.
    pub fn log_dropped(&self, log: &'static str, lines: u64) {
        self.log_dropped.with([log], |dropped| dropped.add(lines));
    }

    /// A request was admitted, or has gone (`requests` negative), holding `tokens`.
    pub fn held(&self, requests: i64, tokens: i64) {
        self.admitted_in_flight.add(requests);
        self.tokens_in_flight.add(tokens);
    }

    /// A sampler of how late the event loop of worker number `worker` runs.
    pub fn event_loop(&self, worker: usize) -> Loop {
        Loop::new(self.loop_lag.with([itoa::Buffer::new().format(worker)], Arc::clone))
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

    /// Tokens held by admitted requests: with the event loop's lag the signal for an autoscaler.
    pub fn tokens_in_flight(&self) -> i64 {
        self.tokens_in_flight.get()
    }
}

impl Operation {
    fn observe(&self, settled: &Settled<'_>, counted: bool) {
        let output = settled.tokens[TokenKind::Output as usize];
        if counted {
            self.input_tokens.observe(settled.tokens[TokenKind::Input as usize]);
            self.output_tokens.observe(output);
        }
        let Some(ttft) = settled.ttft.filter(|_| settled.stream) else { return };
        self.first_token.observe(nanoseconds(ttft));
        // After the first token there are `output - 1` more.
        if settled.error.is_none() && output > 1 {
            let rest = settled.duration.saturating_sub(ttft);
            self.per_output_token.observe(nanoseconds(rest) / (output - 1));
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A request in flight.
#[must_use]
pub struct InFlight(Arc<Metrics>);

impl Drop for InFlight {
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
