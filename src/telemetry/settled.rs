//! What a request that is over adds to the metrics.
//!
//! It adds to a dozen series in five families. Requests of the same shape (endpoint, pool, provider,
//! models, status, error, source of usage) add to the same ones, so the shape is looked up once and
//! holds them all. Only shapes whose models are labels in their own right are kept; the others are
//! looked up piece by piece, which costs more and grows nothing.

use std::sync::Arc;

use super::cell::{Counter, Histogram};
use super::index::Index;
use super::metrics::Metrics;
use crate::clock::Duration;
use crate::error::Kind;

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

/// Per operation, provider and model asked.
pub(super) struct Operation {
    pub(super) first_token: Histogram,
    pub(super) per_output_token: Histogram,
    pub(super) input_tokens: Histogram,
    pub(super) output_tokens: Histogram,
}

/// Everything that requests of one shape add to.
pub(super) struct Shape {
    requests: Arc<Counter>,
    /// Where a provider had a hand in it and the endpoint is a model operation.
    operation: Option<(Arc<Histogram>, Arc<Operation>)>,
    /// Where tokens were counted.
    usage: Option<(Arc<[Counter; TOKEN_KINDS.len()]>, Arc<Counter>)>,
}

/// Shapes by endpoint, pool, provider, model asked, model served, status, error, source of usage.
pub(super) type Shapes = Index<Shape, 8>;

impl Metrics {
    /// A request is over. Called once for each, by the ledger.
    pub fn settled(&self, settled: &Settled<'_>) {
        let error = settled.error.map_or("", Kind::as_str);
        let mut digits = itoa::Buffer::new();
        let status = digits.format(settled.status);
        let values = [
            settled.endpoint,
            settled.pool,
            settled.provider,
            settled.model_asked,
            settled.model_served,
            status,
            error,
            settled.usage_source,
        ];
        if self.shapes.find(values, |shape| shape.add(settled)).is_none() {
            self.settled_anew(settled, values);
        }
        self.body_in_bytes.add(settled.body_in_bytes);
        self.body_out_bytes.add(settled.body_out_bytes);
        if settled.retries > 0 {
            self.retries.with([settled.pool], |retries| retries.add(u64::from(settled.retries)));
        }
        if settled.stream_broken {
            self.stream_errors.with([settled.pool, error], Counter::inc);
        }
    }

    /// A shape that is not kept, or not yet.
    #[cold]
    fn settled_anew(&self, settled: &Settled<'_>, values: [&str; 8]) {
        let [endpoint, pool, provider, asked, served, status, error, source] = values;
        let ok = settled.error.is_none() && (200..300).contains(&settled.status);
        // A request that reached no provider has no model in any label.
        let reached = !provider.is_empty();
        let label = |name| if reached { self.models.label(name, ok) } else { "" };
        let (asked_label, served_label) = (label(asked), label(served));
        let operation = settled.operation;
        let shape = Shape {
            requests: self.requests.get([endpoint, pool, status, error]),
            operation: (reached && !operation.is_empty()).then(|| {
                let duration = self.durations.get([operation, provider, asked_label, error]);
                (duration, self.operations.get([operation, provider, asked_label]))
            }),
            usage: (reached && !source.is_empty()).then(|| {
                let tokens = self.tokens.get([provider, served_label, source]);
                (tokens, self.cost.get([provider, served_label]))
            }),
        };
        shape.add(settled);
        if asked == asked_label && served == served_label {
            self.shapes.insert(values, || shape);
        }
    }
}

impl Shape {
    fn add(&self, settled: &Settled<'_>) {
        self.requests.inc();
        if let Some((duration, operation)) = &self.operation {
            duration.observe(nanoseconds(settled.duration));
            operation.observe(settled);
        }
        if let Some((tokens, cost)) = &self.usage {
            for (kind, n) in tokens.iter().zip(settled.tokens) {
                kind.add(n);
            }
            cost.add(settled.cost_nano_usd);
        }
    }
}

impl Operation {
    fn observe(&self, settled: &Settled<'_>) {
        let output = settled.tokens[TokenKind::Output as usize];
        if !settled.usage_source.is_empty() {
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
