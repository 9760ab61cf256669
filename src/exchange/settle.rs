//! What is known of a request while it runs, and its settling: exactly once, whatever happens.
//!
//! [`Settlement`] is opened before anything else and closed after everything else. A future that is
//! dropped on the way (a shutdown, a panic) closes it too, with what was known by then.

use std::sync::Arc;

use smallvec::SmallVec;

use super::admit::Guess;
use super::attempt::{Failure, Ready};
use super::gaps::Gaps;
use super::head::{Head, Refusal};
use super::upstream_limit::Held;
use super::{End, Gateway};
use crate::clock::{self, Duration, Instant};
use crate::dialect::{
    self, Dialect, Dropped, Endpoint, Format, Pair, StreamError, StreamObserver, TextSink, Usage,
};
use crate::error::{Error, Kind};
use crate::ledger::{AttemptOutcome, AttemptRecord, Ledger, Record};
use crate::limit::{Actual, Broken, Estimate, Hold, Standing, UpstreamHold};
use crate::manage::{Audited, Outcome, Refusals};
use crate::meter::{self, Counters, Tally, UsageSource, Vocabulary};
use crate::plan::Plan;
use crate::pool::{Lease, Pool, Target};
use crate::telemetry::{HedgeResult, InFlight, prefix};
use crate::tenant::{Caller, Denied};
use crate::transport::downstream::Session;
use crate::transport::send_ahead;

/// What a client says of itself, as far as it goes into the audit log.
const AUDITED_BYTES_MAX: usize = 200;

/// A request on its way to its record.
pub(super) struct Settlement<'g> {
    ledger: &'g Ledger,
    plan: &'g Plan,
    started: Instant,
    record: Record,
    attempts: SmallVec<[(Arc<str>, Instant); 1]>,
    hold: Option<Hold>,
    /// What is held of the limits of the provider that answers.
    upstream: Held,
    guess: Guess,
    /// How the limits stood that refused the request.
    refused_at: Option<Box<Standing>>,
    gaps: Gaps,
    counters: Option<Counters>,
    usage: Option<Usage>,
    prompt_usage: Option<Usage>,
    stream_error: Option<Box<StreamError>>,
    body: bytes::Bytes,
    translation: Option<(Pair, Dropped)>,
    /// What an upstream of the client's own format did not get.
    left_out: Option<Box<Dropped>>,
    closed: bool,
    /// The limit that had no room for more of the answer.
    broken: Option<Broken>,
    /// Tokens of the answer that the client of a stream has that was cut off.
    given: Option<u64>,
    /// The policy that refused the request.
    denied: Option<Box<str>>,
    _in_flight: InFlight<'g>,
}

/// One attempt among those of a settlement.
#[derive(Clone, Copy)]
pub(super) struct AttemptId(usize);

/// How an attempt ended.
#[derive(Clone, Copy)]
pub(super) enum AttemptEnd {
    /// With an answer, at this moment.
    Ok(Instant),
    Failed(Kind, Option<u16>),
    Cancelled,
}

impl AttemptEnd {
    pub(super) fn of(result: &Result<Box<Ready<'_>>, Box<Failure>>) -> Self {
        match result {
            Ok(ready) => AttemptEnd::Ok(ready.first_token),
            Err(failure) => AttemptEnd::Failed(failure.error.kind, failure.status),
        }
    }
}

impl<'g> Settlement<'g> {
    // What all requests share is lent: its count is one that all workers write to.
    pub(super) fn open(gateway: &'g Gateway, plan: &'g Plan) -> Self {
        Self {
            ledger: &gateway.ledger,
            plan,
            started: Instant::now(),
            record: Record { time_unix_ms: clock::unix_ms(), ..Record::default() },
            attempts: SmallVec::new(),
            hold: None,
            upstream: None,
            guess: Guess::default(),
            refused_at: None,
            gaps: Gaps::default(),
            counters: None,
            usage: None,
            prompt_usage: None,
            stream_error: None,
            body: bytes::Bytes::new(),
            translation: None,
            left_out: None,
            closed: false,
            broken: None,
            given: None,
            denied: None,
            _in_flight: gateway.metrics.request_started(),
        }
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    pub(super) fn write_timeout(&self) -> Duration {
        self.plan.bounds.write.0
    }

    pub(super) fn client(&mut self, session: &Session<'_>) {
        self.record.client = session.client_address();
    }

    pub(super) fn refused(&mut self, refusal: &Refusal) {
        self.record.request_id = refusal.request_id.as_str().into();
        self.record.dialect = Some(refusal.dialect);
        self.record.path = Some(refusal.path.to_string());
    }

    pub(super) fn head(&mut self, head: &Head) {
        self.record.request_id = head.request_id.as_str().into();
        self.record.endpoint = Some(head.endpoint);
        self.record.dialect = Some(head.dialect);
    }

    pub(super) fn caller(&mut self, caller: &Caller) {
        self.record.caller = Some(Arc::clone(&caller.name));
        self.record.tenant = Some(Arc::clone(&caller.tenant));
        self.record.team.clone_from(&caller.team);
    }

    pub(super) fn body_in(&mut self, body: &bytes::Bytes) {
        self.record.body_in_bytes = body.len() as u64;
        self.body = body.clone();
    }

    pub(super) fn asked(&mut self, model: Option<&Arc<str>>, stream: bool, user: Option<&str>) {
        self.record.model_asked = model.cloned();
        self.record.stream = stream;
        self.record.user = user.map(str::to_owned);
    }

    pub(super) fn chosen(&mut self, route: Option<Arc<str>>, pool: &Arc<str>) {
        self.record.route = route;
        self.record.pool = Some(Arc::clone(pool));
    }

    /// A budget that is used up leads it to another pool than its route.
    pub(super) fn diverted(&mut self) {
        self.record.diverted = true;
    }

    /// The pool that it was led to because a budget is used up.
    pub(super) fn diverted_to(&self) -> Option<&str> {
        self.record.pool.as_deref().filter(|_| self.record.diverted)
    }

    pub(super) fn hold(&mut self, hold: Hold, guess: Guess) {
        self.hold = Some(hold);
        self.guess = guess;
    }

    /// What expressions named of it, for budgets that are counted by that.
    pub(super) fn named(&mut self, named: Option<Box<str>>) {
        self.record.named = named;
    }

    /// What the request may use, at this price if it matters.
    pub(super) fn estimate(&self, price: Option<&meter::Price>) -> Estimate {
        let Guess { prompt, answer } = self.guess;
        let cost_nano_usd = price.map_or(0, |price| price.dearest(prompt, answer).0);
        Estimate { tokens: prompt.saturating_add(answer), cost_nano_usd }
    }

    /// The attempt that holds this has won.
    pub(super) fn hold_upstream(&mut self, held: Held) {
        self.upstream = held;
    }

    /// Tokens of the answer that are held, where a limit refuses what is not, or where that of the
    /// provider has to know of it.
    pub(super) fn answer_held(&self) -> Option<u64> {
        let refuses = self.hold.as_ref().is_some_and(Hold::is_bound);
        let known = self.upstream.as_ref().is_some_and(UpstreamHold::is_bound);
        (refuses || known).then_some(self.guess.answer)
    }

    /// Holds so many tokens more of the answer; false if a limit has no room for them.
    pub(super) async fn extend(&mut self, tokens: u64) -> bool {
        let answer = self.guess.answer.saturating_add(tokens);
        let cost = self.price().map_or(0, |price| price.dearest(self.guess.prompt, answer).0);
        let Some(hold) = &mut self.hold else { return true };
        let cost_nano_usd = cost.saturating_sub(hold.held().cost_nano_usd);
        if let Err(broken) = hold.extend(Estimate { tokens, cost_nano_usd }).await {
            self.broken = Some(broken);
            return false;
        }
        self.guess.answer = answer;
        if let Some(upstream) = &mut self.upstream {
            upstream.charge(tokens, cost);
        }
        true
    }

    /// The stream ends here, because a limit has no room for more; its client has so many tokens of
    /// the answer. What was used.
    pub(super) async fn cut_off(&mut self, head: &Head, given: u64, counters: Counters) -> Usage {
        self.record.cut_off = true;
        self.given = Some(given);
        if let Some(Broken { tenant, limit, .. }) = &self.broken {
            self.ledger.metrics().limit_cut_off(tenant, limit);
            log::info!("request {}: cut off by a limit ({limit})", self.record.request_id);
        }
        self.counters = Some(counters);
        self.count(head).await;
        self.record.usage
    }

    /// The request was refused by a policy.
    pub(super) fn denied(&mut self, caller: &Caller, denied: &Denied) {
        self.ledger.metrics().policy_refusal(&caller.tenant, &denied.policy);
        if let Some(cause) = &denied.error.cause {
            log::info!("request {}: refused by {cause}", self.record.request_id);
        }
        self.denied = Some(format!("policy {} of {}", denied.policy, denied.owner).into());
    }

    /// Enters in the audit log that a policy refused the request, if one did.
    pub(super) fn enter_denied(&mut self, refusals: &Refusals) {
        let (Some(policy), record) = (self.denied.take(), &self.record) else { return };
        let name = |of: &Option<Arc<str>>| of.as_deref().unwrap_or_default().to_owned();
        refusals.enter_soon(|| Audited {
            actor: format!("{}/{}", name(&record.tenant), name(&record.caller)),
            role: "caller".into(),
            action: "policy.refuse".into(),
            subject: policy.into(),
            outcome: Outcome::Refused,
            detail: serde_json::json!({
                "request": prefix(&record.request_id, AUDITED_BYTES_MAX),
                "endpoint": record.endpoint.map(Endpoint::as_str),
                "model": prefix(record.model_asked.as_deref().unwrap_or_default(), AUDITED_BYTES_MAX),
            }),
        });
    }

    /// The request was refused by limits that stand like this.
    pub(super) fn stands(&mut self, standing: Standing) {
        self.refused_at = Some(Box::new(standing));
    }

    /// How the caller's limits stand; `None` where it has none.
    pub(super) fn standing(&self) -> Option<&Standing> {
        self.hold.as_ref().and_then(Hold::standing).or(self.refused_at.as_deref())
    }

    pub(super) fn attempt_started(&mut self, pool: &Pool, lease: &Lease, hedge: bool) -> AttemptId {
        let target = lease.target();
        note(&mut self.record.pool, &pool.name);
        self.record.provider = Some(Arc::clone(&target.provider.name));
        self.record.hedged |= hedge;
        self.record.attempts.push(AttemptRecord {
            target: Arc::clone(&target.id),
            outcome: AttemptOutcome::Cancelled,
            status: None,
            hedge,
            duration: Duration::ZERO,
        });
        self.attempts.push((Arc::clone(&pool.name), lease.since()));
        AttemptId(self.attempts.len() - 1)
    }

    pub(super) fn attempt_ended(&mut self, AttemptId(at): AttemptId, end: AttemptEnd) {
        let now = match end {
            AttemptEnd::Ok(now) => now,
            _ => Instant::now(),
        };
        let record = &mut self.record.attempts[at];
        record.duration = now.saturating_duration_since(self.attempts[at].1);
        (record.outcome, record.status) = match end {
            AttemptEnd::Ok(_) => (AttemptOutcome::Ok, Some(200)),
            AttemptEnd::Failed(kind, status) => (AttemptOutcome::Failed(kind), status),
            AttemptEnd::Cancelled => (AttemptOutcome::Cancelled, None),
        };
    }

    pub(super) fn hedged(&mut self, pool: &Pool, result: HedgeResult) {
        self.ledger.metrics().hedge(&pool.name, result);
    }

    /// Which target answers, and since when.
    pub(super) fn answering(
        &mut self,
        pool: &Pool,
        lease: &Lease,
        model: Option<Arc<str>>,
        first_token: Instant,
    ) {
        // Noted already, unless a hedge has overtaken the attempt that was noted last.
        note(&mut self.record.pool, &pool.name);
        note(&mut self.record.provider, &lease.target().provider.name);
        self.record.model_served = model;
        self.record.ttft = Some(first_token.saturating_duration_since(self.started));
    }

    pub(super) fn provider(&self) -> Option<&str> {
        self.record.provider.as_deref()
    }

    pub(super) fn model(&self) -> Option<&str> {
        self.record.model_served.as_deref()
    }

    /// Attempts so far, hedges included.
    pub(super) fn attempts(&self) -> usize {
        self.attempts.len()
    }

    pub(super) fn status(&mut self, status: u16) {
        self.record.status = status;
    }

    pub(super) fn body_out(&mut self, bytes: usize) {
        self.record.body_out_bytes += bytes as u64;
    }

    pub(super) fn gap(&mut self, gap: Duration) {
        self.gaps.observe(gap);
    }

    /// The provider's own error event went to the client.
    pub(super) fn stream_error(&mut self, error: Box<StreamError>) {
        self.record.stream_broken = true;
        self.record.error = Some(error.kind);
        self.answer_failed(error.kind);
        self.stream_error = Some(error);
    }

    pub(super) fn said_stream_error(&self) -> Option<Kind> {
        self.stream_error.as_ref().map(|error| error.kind)
    }

    /// A stream broke after its first byte had reached the client.
    pub(super) fn broken(&mut self, error: &Error) {
        self.record.stream_broken = true;
        self.answer_failed(error.kind);
        self.error(error);
    }

    /// The attempt whose answer the client was getting came to a bad end after all.
    fn answer_failed(&mut self, kind: Kind) {
        let answering = |attempt: &&mut AttemptRecord| attempt.outcome == AttemptOutcome::Ok;
        if let Some(attempt) = self.record.attempts.iter_mut().find(answering) {
            attempt.outcome = AttemptOutcome::Failed(kind);
        }
    }

    pub(super) fn error(&mut self, error: &Error) {
        self.record.error = Some(error.kind);
        self.record.cause.clone_from(&error.cause);
    }

    /// The client is gone; nothing more can be said to it.
    pub(super) fn gone(&mut self) -> End {
        self.record.client_gone = true;
        self.record.error = Some(Kind::ClientGone);
        if self.record.status == 0 {
            self.record.status = Kind::ClientGone.status();
        }
        End::Aborted
    }

    /// The answer comes from an upstream of another format, which did not get all of the request.
    pub(super) fn translated(&mut self, pair: Pair, dropped: Dropped) {
        self.translation = Some((pair, dropped));
    }

    /// The answer comes from an upstream of the client's own format, which did not get all of the
    /// request.
    pub(super) fn left_out(&mut self, dropped: Box<Dropped>) {
        self.left_out = Some(dropped);
    }

    /// Not all of the answer could be said in the client's format.
    pub(super) fn dropped(&mut self, dropped: Dropped) {
        if let Some((_, all)) = &mut self.translation {
            all.extend(dropped);
        }
    }

    /// The names of what was left out, for a header.
    pub(super) fn dropped_names(&self) -> Option<String> {
        let translated = self.translation.as_ref().map(|(_, dropped)| dropped);
        let dropped = translated.or(self.left_out.as_deref()).filter(|all| !all.is_empty())?;
        Some(dropped.header_value())
    }

    /// As what the answer of a target is read.
    pub(super) fn read_as(&self, target: &Target, head: &Head) -> (Dialect, Endpoint) {
        let endpoint = match &self.translation {
            Some((pair, _)) => pair.endpoint(self.record.stream),
            None => head.read_as,
        };
        (target.provider.dialect, endpoint)
    }

    /// What a whole answer used.
    pub(super) fn body_usage(
        &mut self,
        read_as: Endpoint,
        dialect: Dialect,
        body: &[u8],
        mut counters: Counters,
    ) {
        self.usage = dialect::body_usage(read_as, dialect, body, &mut counters);
        self.counters = Some(counters);
    }

    /// What a stream said.
    pub(super) fn observed(&mut self, observer: &StreamObserver) {
        self.usage = observer.usage();
        self.prompt_usage = observer.prompt_usage();
    }

    pub(super) fn counted(&mut self, counters: Counters) {
        self.counters = Some(counters);
    }

    /// Decides what was used: the provider's word where it gave one, our own count where not.
    /// Counting a prompt is only done here, only where nobody else did, and not on this thread.
    pub(super) async fn count(&mut self, head: &Head) {
        if !self.record.usage_source.is_empty() {
            // A stream that was cut off.
            return;
        }
        if let Some(usage) = self.usage {
            self.record.usage = usage;
            self.record.usage_source = UsageSource::Provider.as_str();
            return;
        }
        let Some(counters) = &mut self.counters else { return };
        if !head.read_as.metered() {
            return;
        }
        let counted = counters.finish().await;
        let model = self.record.model_served.as_deref();
        let tokenizer_exact = model.is_some_and(|model| meter::tokenizer_for(model).exact);
        let mut exact = counted.exact && tokenizer_exact;
        let mut usage = self.prompt_usage.unwrap_or_default();
        usage.output = self.given.unwrap_or_else(|| usage.output.max(counted.tokens));
        // Some say with every frame what was used, also with one that the client did not get.
        usage.reasoning = usage.reasoning.min(usage.output);
        usage.audio_output = usage.audio_output.min(usage.output);
        if usage.input == 0 {
            let prompt = prompt(head, std::mem::take(&mut self.body), counters.vocabulary()).await;
            usage.input = prompt.tokens;
            exact &= prompt.exact;
        }
        self.record.usage = usage;
        let source = if exact { UsageSource::Counted } else { UsageSource::Estimated };
        self.record.usage_source = source.as_str();
    }

    /// Settles. Called at the end, or by the drop.
    pub(super) fn close(&mut self) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        if let Some((pair, dropped)) = &self.translation {
            let (client, upstream) = (pair.client(), pair.upstream());
            self.ledger.metrics().translated(client, upstream);
            self.ledger.metrics().dropped(client, upstream, dropped.len());
        }
        let format = self.record.endpoint.and_then(Format::of);
        if let (Some(dropped), Some(format)) = (&self.left_out, format) {
            let format = format.as_str();
            self.ledger.metrics().dropped(format, format, dropped.len());
        }
        let now = Instant::now();
        self.record.duration = now.saturating_duration_since(self.started);
        self.record.inter_token_p50 = self.gaps.quantile(0.5);
        self.record.inter_token_p99 = self.gaps.quantile(0.99);
        self.record.cost_nano_usd = self.cost();
        if self.record.cost_nano_usd.is_some() && self.ledger.books().is_some() {
            self.record.price_version = Some(Arc::clone(&self.plan.price_version));
        }
        let actual = Actual {
            tokens: self.record.usage.input.saturating_add(self.record.usage.output),
            cost_nano_usd: self.record.cost_nano_usd.unwrap_or_default(),
        };
        // What came to nothing gives all of its hold back, the request itself included.
        if let Some(hold) = self.hold.take().filter(|_| !self.came_to_nothing()) {
            hold.settle_at(actual, now);
        }
        if let Some(hold) = self.upstream.take() {
            hold.settle(actual);
        }
        let record = &self.record;
        for (attempt, (pool, _)) in record.attempts.iter().zip(&self.attempts) {
            self.ledger.attempt(pool, attempt);
        }
        self.ledger.count(record);
        // Whoever has an answer finds it counted; that it is written down takes as long as its way.
        send_ahead();
        self.ledger.enter(record);
    }

    /// Whether no answer reached the client and nothing is known to have been used.
    fn came_to_nothing(&self) -> bool {
        let record = &self.record;
        let answered = matches!(record.error, None | Some(Kind::UpstreamRejected));
        !answered && record.usage.input == 0 && record.usage.output == 0
    }

    fn cost(&self) -> Option<u64> {
        let record = &self.record;
        if record.usage_source.is_empty() {
            return None;
        }
        Some(self.price()?.cost(&record.usage).0)
    }

    /// What the target that answers costs.
    fn price(&self) -> Option<meter::Price> {
        let provider = self.record.provider.as_deref()?;
        let model = self.record.model_served.as_deref()?;
        self.plan.prices.price(provider, model)
    }
}

impl Drop for Settlement<'_> {
    fn drop(&mut self) {
        if !self.closed {
            self.record.client_gone |= self.record.status == 0;
            self.close();
        }
    }
}

/// Keeps a name where it is not kept already.
fn note(place: &mut Option<Arc<str>>, name: &Arc<str>) {
    if place.as_ref().is_none_or(|noted| !Arc::ptr_eq(noted, name)) {
        *place = Some(Arc::clone(name));
    }
}

/// Tokens of the prompt, taken from the body and counted on the meter's own thread.
async fn prompt(head: &Head, body: bytes::Bytes, vocabulary: Vocabulary) -> Tally {
    struct Text(String);
    impl TextSink for Text {
        fn text(&mut self, _channel: u32, text: &str) {
            self.0.push_str(text);
            self.0.push('\n');
        }
    }
    let call = head.read_call();
    if !call.is_json() {
        return Tally { tokens: 0, exact: false };
    }
    let dialect = call.dialect;
    meter::count_off_worker(vocabulary, body, move |body| {
        let mut text = Text(String::new());
        dialect::prompt_text(dialect, &body, &mut text);
        text.0.into()
    })
    .await
}
