//! What is known of a request when it is over.

use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::clock::Duration;
use crate::dialect::{Dialect, Endpoint, Usage};
use crate::error::Kind;
use crate::telemetry::Settled;

/// One request, from its head to its settling. What was never known stays `None`.
///
/// It never holds a credential: the path comes without its query, the caller by name.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each a field of the log line"
)]
pub struct Record {
    /// When its head arrived.
    pub time_unix_ms: u64,
    /// The client's `x-request-id`, or ours.
    pub request_id: String,
    /// Where it came from.
    pub client: Option<IpAddr>,
    /// Name of the caller's key.
    pub caller: Option<Arc<str>>,
    /// The caller's tenant.
    pub tenant: Option<Arc<str>>,
    /// The caller's team.
    pub team: Option<Arc<str>>,
    /// The end user that the request names.
    pub user: Option<String>,
    /// What expressions named of it, where budgets are counted by that.
    pub named: Option<Box<str>>,
    /// The route that matched.
    pub route: Option<Arc<str>>,
    /// The pool that answered, or was to answer.
    pub pool: Option<Arc<str>>,
    /// The endpoint.
    pub endpoint: Option<Endpoint>,
    /// The wire format that the client speaks.
    pub dialect: Option<Dialect>,
    /// The path without its query, where it is no endpoint.
    pub path: Option<String>,
    /// The model that the client named.
    pub model_asked: Option<Arc<str>>,
    /// The model that the upstream was asked for.
    pub model_served: Option<Arc<str>>,
    /// The provider that answered, or was tried last.
    pub provider: Option<Arc<str>>,
    /// The status that the client got (499: it left before one could be sent).
    pub status: u16,
    /// What went wrong.
    pub error: Option<Kind>,
    /// What the log needs to know about the error and the client must not.
    pub cause: Option<String>,
    /// Every attempt, in the order in which they were started.
    pub attempts: SmallVec<[AttemptRecord; 1]>,
    /// The answer was a stream.
    pub stream: bool,
    /// A second attempt was started because the first was slow.
    pub hedged: bool,
    /// The client left before the end.
    pub client_gone: bool,
    /// The answer broke after its first byte had reached the client.
    pub stream_broken: bool,
    /// A budget that is used up led it to another pool than its route.
    pub diverted: bool,
    /// A limit ended its stream before its model did.
    pub cut_off: bool,
    /// Tokens.
    pub usage: Usage,
    /// Who counted them (`provider`, `counted`, `estimated`); empty when nobody did.
    pub usage_source: &'static str,
    /// What they cost, where a price is known.
    pub cost_nano_usd: Option<u64>,
    /// The version of the prices under which that was reckoned.
    pub price_version: Option<Arc<str>>,
    /// Time spent waiting for a concurrency slot.
    pub queue: Option<Duration>,
    /// From the head to the first token.
    pub ttft: Option<Duration>,
    /// Median time between frames with content.
    pub inter_token_p50: Option<Duration>,
    /// 99th percentile of the time between frames with content.
    pub inter_token_p99: Option<Duration>,
    /// From the head to the end.
    pub duration: Duration,
    /// Body bytes read from the client.
    pub body_in_bytes: u64,
    /// Body bytes written to the client.
    pub body_out_bytes: u64,
}

/// One attempt on one target.
#[derive(Clone, Debug)]
pub struct AttemptRecord {
    /// The target (`provider/model`).
    pub target: Arc<str>,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// The upstream's status, where it sent one.
    pub status: Option<u16>,
    /// It was started because another was slow.
    pub hedge: bool,
    /// From its start to its end.
    pub duration: Duration,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// Its answer reached the client.
    Ok,
    /// It failed.
    Failed(Kind),
    /// It was not needed any more: another was faster, or the client left.
    Cancelled,
}

impl AttemptOutcome {
    /// The label in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            AttemptOutcome::Ok => "ok",
            AttemptOutcome::Failed(kind) => kind.as_str(),
            AttemptOutcome::Cancelled => "cancelled",
        }
    }
}

impl Record {
    /// What it adds to the metrics.
    pub(super) fn settled(&self) -> Settled<'_> {
        let tries = self.attempts.iter().filter(|attempt| !attempt.hedge).count() as u32;
        Settled {
            endpoint: self.endpoint.map_or("", Endpoint::as_str),
            operation: self
                .endpoint
                .filter(|endpoint| endpoint.metered())
                .map_or("", Endpoint::operation),
            pool: self.pool.as_deref().unwrap_or_default(),
            provider: self.provider.as_deref().unwrap_or_default(),
            model_asked: self.model_asked.as_deref().unwrap_or_default(),
            model_served: self.model_served.as_deref().unwrap_or_default(),
            status: self.status,
            error: self.error,
            stream_broken: self.stream_broken,
            stream: self.stream,
            duration: self.duration,
            ttft: self.ttft,
            tokens: self.tokens(),
            usage_source: self.usage_source,
            cost_nano_usd: self.cost_nano_usd.unwrap_or_default(),
            retries: tries.saturating_sub(1),
            body_in_bytes: self.body_in_bytes,
            body_out_bytes: self.body_out_bytes,
        }
    }

    /// Its tokens in the order of [`crate::telemetry::TOKEN_KINDS`].
    pub(super) fn tokens(&self) -> [u64; 8] {
        let usage = &self.usage;
        [
            usage.input,
            usage.output,
            usage.cached_input,
            usage.cache_creation_5m,
            usage.cache_creation_1h,
            usage.reasoning,
            usage.audio_input,
            usage.audio_output,
        ]
    }
}
