//! One attempt: send the request to one target and look at its answer until it is certain that there
//! is one. Nothing reaches the client before that, so that any failure up to here can be made good by
//! the next candidate.
//!
//! An answer is certain with the first good event of a stream (text, a tool call, a finish reason:
//! not an envelope, a ping or a comment) or with the whole body of an answer that is not streamed.
//! An error event inside a 200, a stream that ends empty and a body that breaks off are failures of
//! this attempt, like a refused connection or a 500.

use std::pin::pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::adapt;
use super::admit::Admitted;
use super::head::Head;
use super::refused::{UpstreamAnswer, refused};
use super::translate::{self, TranslatedAnswer, Translation};
use crate::clock::{Duration, Instant};
use crate::dialect::{
    self, Dropped, Endpoint, Rewritten, StreamError, StreamObserver, StreamTranslator,
    TranslatedRequest,
};
use crate::error::{Error, Kind};
use crate::meter::{self, Counters};
use crate::pool::{Lease, Outcome, Pool, Target};
use crate::provider::KeyChoice;
use crate::store::Store;
use crate::transport::upstream::{self, Session, Upstreams};
use crate::wire::fields::{Fields, Name, Names};
use crate::wire::frame::{Framer, Framing};
use crate::wire::json::Segments;

/// Events held back while a stream is probed. Beyond it the stream is taken for good.
const PROBE_BYTES_MAX: usize = 1 << 20;
/// An answer that is not streamed is held up to this size before the client gets its first byte.
const HELD_BODY_BYTES_MAX: usize = 4 << 20;

/// Headers that say something to weir or about the network in front of it. Compression would hide from
/// the meter what it is to count.
const NOT_SENT: Names = Names::of(&[
    Name::Host,
    Name::ContentLength,
    Name::Expect,
    Name::AcceptEncoding,
    Name::Forwarded,
    Name::Via,
    Name::XRealIp,
    Name::XRequestId,
    Name::XClientIp,
    Name::TrueClientIp,
    Name::CfConnectingIp,
])
.and(dialect::CLIENT_CREDENTIALS)
.and(Names::beginning_with("x-forwarded-"))
.and(Names::beginning_with("x-weir-"));

/// An answer that is certain.
pub(super) struct Ready<'a> {
    pub(super) pool: &'a Pool,
    pub(super) lease: Lease,
    /// When the first good event arrived.
    pub(super) first_token: Instant,
    /// In a place of its own as soon as it is there: what goes from one future to the next by value is
    /// copied each time.
    pub(super) probed: Box<Probed>,
}

/// What the upstream has answered with, and what is needed to relay it.
pub(super) struct Probed {
    pub(super) session: Session,
    pub(super) answer: Answer,
    /// When the request was sent.
    sent: Instant,
    /// The model that the upstream was asked for.
    pub(super) model: Option<Arc<str>>,
    pub(super) counters: Counters,
    /// The translation of the request, where it took one.
    pub(super) translation: Option<Box<Translation>>,
    /// What of a request that was not translated the upstream did not get.
    pub(super) dropped: Option<Box<Dropped>>,
}

/// What the upstream answers with.
pub(super) enum Answer {
    /// A body that is complete.
    Whole(Bytes),
    /// The same, for a client of another format.
    Translated(Box<TranslatedAnswer>),
    /// A stream of frames, or a body too large to hold.
    Stream(Box<Stream>),
}

/// A stream on its way.
pub(super) struct Stream {
    pub(super) framer: Framer,
    pub(super) observer: StreamObserver,
    /// Writes the stream anew for a client of another format.
    pub(super) translator: Option<Box<StreamTranslator>>,
    /// What arrived while it was probed, as the client gets it.
    pub(super) held: Vec<Bytes>,
    /// The provider's own error among it, in a passthrough.
    pub(super) error: Option<Box<StreamError>>,
    /// The upstream has sent everything.
    pub(super) ended: bool,
    pub(super) last_frame: Instant,
}

/// An attempt that came to nothing.
pub(super) struct Failure {
    pub(super) error: Error,
    /// The upstream's status, where there was one.
    pub(super) status: Option<u16>,
    /// The upstream's own error answer.
    pub(super) answer: Option<Box<UpstreamAnswer>>,
    /// Another key of the same provider is worth a try.
    pub(super) another_key: bool,
}

impl From<Error> for Box<Failure> {
    fn from(error: Error) -> Self {
        Box::new(error.into())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, status: None, answer: None, another_key: false }
    }
}

/// What an attempt is made with.
#[derive(Clone, Copy)]
pub(super) struct Order<'a> {
    pub(super) upstreams: &'a Upstreams,
    pub(super) store: &'a Arc<Store>,
    pub(super) head: &'a Head,
    pub(super) admitted: &'a Admitted<'a>,
}

/// Makes one attempt. Dropped before its end, it closes the upstream connection and gives the lease
/// back without blame.
pub(super) async fn run<'a>(
    order: Order<'a>,
    pool: &'a Pool,
    lease: Lease,
) -> Result<Box<Ready<'a>>, Box<Failure>> {
    let mut key = None;
    match send_and_probe(order, pool, &lease, &mut key).await {
        Ok(probed) => {
            if let Some(index) = key {
                lease.target().provider.keys.accepted(index);
            }
            let first_token = Instant::now();
            lease.first_token(first_token.saturating_duration_since(probed.sent), first_token);
            Ok(Box::new(Ready { pool, lease, first_token, probed }))
        }
        Err(mut failure) => {
            failure.another_key = settle_key(&lease, key, &failure);
            lease.finish(match failure.error.kind {
                Kind::UpstreamRateLimited if failure.another_key => Outcome::Cancelled,
                Kind::UpstreamRateLimited => {
                    Outcome::RateLimited { retry_after: failure.error.retry_after }
                }
                kind => Outcome::Failure(kind),
            });
            Err(failure)
        }
    }
}

/// Tells the key ring what the upstream said of the key. True when another key may do better.
fn settle_key(lease: &Lease, key: Option<usize>, failure: &Failure) -> bool {
    let Some(index) = key else { return false };
    let (keys, now) = (&lease.target().provider.keys, Instant::now());
    match failure.error.kind {
        Kind::UpstreamAuth => keys.refused(index, now),
        Kind::UpstreamRateLimited => {
            let rest = failure.error.retry_after.unwrap_or(Duration::from_secs(1));
            keys.limited(index, now + rest, now);
        }
        _ => return false,
    }
    matches!(keys.pick(now), KeyChoice::Key(other, _) if other != index)
}

async fn send_and_probe(
    order: Order<'_>,
    pool: &Pool,
    lease: &Lease,
    key: &mut Option<usize>,
) -> Result<Box<Probed>, Box<Failure>> {
    let target = lease.target();
    let model = target.model.clone().or_else(|| order.admitted.alias.clone());
    // The moment of the lease is the present until something was waited for.
    let mut now = lease.since();
    if let Some(issuer) = &target.provider.issuer
        && issuer.first(pool.timeouts.connect.0).await
    {
        now = Instant::now();
    }
    let ahead = match translate::heavy(order, target) {
        Some(pair) => {
            let ahead = translate::off_worker(order, pair, target, model.as_deref());
            let translated = Box::pin(ahead).await?;
            now = Instant::now();
            Some(translated)
        }
        None => None,
    };
    let prepared = build(order, target, model.as_deref(), key, now, ahead)?;
    let mut stale = true;
    loop {
        let left = super::left(order.admitted.deadline, now)?;
        let connect = pool.timeouts.connect.0.min(left);
        let mut session = order.upstreams.connect(&target.provider.address, connect, now).await?;
        let started = if session.reused() { now } else { Instant::now() };
        let first_token = started + pool.timeouts.first_token.0;
        let until = first_token.min(order.admitted.deadline);
        let mut counters = counters(order, model.as_deref());
        let mut patience = session.take_patience();
        let probed = {
            let probe = pin!(probe(order, target, &prepared, &mut session, &mut counters));
            patience.until(until, probe).await
        };
        session.keep_patience(patience);
        match probed {
            Some(Ok(answer)) => {
                let model = model.or_else(|| order.admitted.peeked.model.clone());
                let Prepared { translation, dropped, .. } = prepared;
                let sent = started;
                return Ok(Box::new(Probed {
                    session,
                    answer,
                    sent,
                    model,
                    counters,
                    translation,
                    dropped,
                }));
            }
            // A connection that idled may have been closed in the meantime: once more on another.
            Some(Err(failure))
                if stale
                    && session.reused()
                    && failure.error.kind == Kind::UpstreamCut
                    && failure.status.is_none()
                    && order.head.endpoint.replayable() =>
            {
                stale = false;
                now = Instant::now();
            }
            Some(Err(failure)) => return Err(failure),
            None if first_token < order.admitted.deadline => {
                return Err(Box::new(timed_out(pool).into()));
            }
            None => {
                super::left(order.admitted.deadline, Instant::now())?;
                return Err(Box::new(timed_out(pool).into()));
            }
        }
    }
}

/// What counts the answer of a target that is asked for this model.
fn counters(order: Order<'_>, model: Option<&str>) -> Counters {
    let name = model.or(order.admitted.model()).unwrap_or_default();
    Counters::new(meter::tokenizer_for(name).vocabulary)
}

fn timed_out(pool: &Pool) -> Error {
    Error::new(
        Kind::FirstTokenTimeout,
        format!("The upstream sent no token within {}.", pool.timeouts.first_token),
    )
}

/// A request, ready to be sent.
pub(super) struct Prepared {
    pub(super) request: upstream::Request,
    pub(super) body: Segments,
    pub(super) usage_injected: bool,
    pub(super) translation: Option<Box<Translation>>,
    pub(super) dropped: Option<Box<Dropped>>,
}

pub(super) fn build(
    order: Order<'_>,
    target: &Target,
    model: Option<&str>,
    key: &mut Option<usize>,
    now: Instant,
    ahead: Option<TranslatedRequest>,
) -> Result<Prepared, Error> {
    let Order { head, admitted, .. } = order;
    let call = head.call();
    let provider = &target.provider;
    let credential = provider.credential(now, key)?;
    if let Some(pair) = translate::pair(head, provider) {
        return translate::prepare(order, target, (pair, ahead), model, credential);
    }
    let (adapted, dropped) = adapt::to(order, provider, model)?;
    let rewritten = dialect::rewrite(&call, &admitted.peeked, &admitted.body, model, adapted);
    // The client's own stands where it is; a path of the provider's own has to be told.
    let own = admitted.model().filter(|_| !provider.paths.elsewhere.is_empty());
    let (query, stream) = (head.query(), admitted.peeked.stream);
    let path = dialect::upstream_path(&call, &provider.paths, query, model.or(own), stream);
    let mut headers = theirs(head);
    headers.set_first(Name::Host, &provider.authority);
    for (name, value) in &provider.headers {
        headers.set_field(name, value);
    }
    headers.set(Name::XRequestId, head.request_id.as_str());
    let Rewritten { body, usage_injected } = rewritten;
    let body_bytes = body.len_bytes();
    if head.upgrade() {
        headers.set(Name::Connection, "Upgrade");
        headers.set(Name::Upgrade, "websocket");
    } else if body_bytes > 0 || !matches!(head.method.as_str(), "GET" | "HEAD" | "DELETE") {
        headers.set_number(Name::ContentLength, body_bytes as u64);
    }
    let mut request = upstream::Request { method: head.method.clone(), target: path, headers };
    credential.apply(&mut request, body.pieces())?;
    Ok(Prepared { request, body, usage_injected, translation: None, dropped })
}

/// What the client sent, without what is between it and weir alone.
fn theirs(head: &Head) -> Fields {
    let mut headers = head.headers.clone();
    headers.retain_end_to_end(NOT_SENT, &[b"x-forwarded-", b"x-weir-"]);
    headers
}

/// Sends the request and reads until the answer is certain.
async fn probe(
    order: Order<'_>,
    target: &Target,
    prepared: &Prepared,
    session: &mut Session,
    counters: &mut Counters,
) -> Result<Answer, Box<Failure>> {
    let sent = session.send(&prepared.request, prepared.body.pieces()).await;
    let head = match (session.head().await, sent) {
        (Ok(head), _) => head,
        // What broke first says more.
        (Err(_), Err(error)) | (Err(error), Ok(())) => return Err(Box::new(error.into())),
    };
    if !head.status.is_success() {
        return Err(Box::new(refused(order, target, session).await));
    }
    let status = head.status.as_u16();
    check_head(head, order).map_err(|error| Box::new(with_status(error, status)))?;
    let content_type = head.headers.get(Name::ContentType);
    let json =
        content_type.is_some_and(|value| value.trim_ascii_start().starts_with(b"application/json"));
    let read_as = prepared.read_as(order.head);
    let framing = match dialect::framing(read_as, content_type) {
        // Audio, images, files: forwarded as they come.
        None if !json => Some(Framing::Opaque),
        framing => framing,
    };
    let encoded =
        head.headers.get(Name::ContentEncoding).is_some_and(|coding| coding != b"identity");
    let framing = if encoded { Some(Framing::Opaque) } else { framing };
    let translation = prepared.translation.as_deref();
    if let Some(translation) = translation {
        translation
            .check(framing, &head.headers)
            .map_err(|error| Box::new(with_status(error, status)))?;
    }
    let dialect = target.provider.dialect;
    let observer =
        |framing| StreamObserver::new(read_as, dialect, framing, prepared.usage_injected);
    let frame_max = order.admitted.plan.bounds.frame.as_usize();
    let probed = match framing {
        None => {
            let whole = whole(order, session, || observer(Framing::Opaque)).await;
            match (translation, whole) {
                (Some(by), Ok(Answer::Whole(theirs))) if translate::is_heavy(&theirs) => {
                    Box::pin(by.answer_off_worker(order, theirs)).await
                }
                (Some(by), whole) => whole.and_then(|answer| by.answer(order, answer)),
                (None, whole) => whole,
            }
        }
        Some(framing) => {
            let mut stream = Box::new(Stream {
                framer: Framer::new(framing, frame_max),
                observer: match translation {
                    None if order.admitted.guarded => observer(framing).may_be_cut(),
                    _ => observer(framing),
                },
                translator: None,
                held: Vec::new(),
                error: None,
                ended: false,
                last_frame: Instant::now(),
            });
            if let Some(translation) = translation {
                translation.attach(order, &mut stream);
            }
            first_event(session, &mut stream, counters, order.head.endpoint)
                .await
                .map(|()| Answer::Stream(stream))
        }
    };
    probed.map_err(|error| Box::new(with_status(error, status)))
}

fn with_status(error: Error, status: u16) -> Failure {
    Failure { status: Some(status), ..Failure::from(error) }
}

/// A 2xx whose head says that it is no answer: larger than what a client would be allowed to send,
/// or a web page where an API was asked (a captive portal, a load balancer's own words).
fn check_head(head: &upstream::Head, order: Order<'_>) -> Result<(), Error> {
    if !head.headers.fit(order.admitted.plan.bounds.head.as_usize()) {
        return Err(Error::new(
            Kind::UpstreamProtocol,
            "The upstream sent response headers that are too large.",
        ));
    }
    let html =
        head.headers.get(Name::ContentType).is_some_and(|value| value.starts_with(b"text/html"));
    if html && order.head.endpoint.metered() {
        return Err(Error::new(
            Kind::UpstreamProtocol,
            "The upstream answered with a web page instead of an API response.",
        ));
    }
    Ok(())
}

/// Reads a stream up to its first good event. What is passed through is taken as it comes.
async fn first_event(
    session: &mut Session,
    stream: &mut Stream,
    counters: &mut Counters,
    endpoint: Endpoint,
) -> Result<(), Error> {
    let as_it_comes = endpoint == Endpoint::Passthrough;
    let mut held_bytes = 0;
    loop {
        let Some(chunk) = session.body().await? else {
            stream.ended = true;
            let rest = stream.framer.finish();
            let opaque = stream.framer.framing() == Framing::Opaque;
            if opaque || as_it_comes || stream.observer.finished() {
                stream.hold_end(rest);
                return Ok(());
            }
            return Err(Error::new(
                Kind::UpstreamEmpty,
                "The upstream ended its stream without an answer.",
            ));
        };
        let Some(frames) = stream.framer.push(chunk).map_err(|error| frame_error(&error))? else {
            continue;
        };
        let observed = stream.observer.observe(&frames, counters);
        match observed.error {
            Some(error) if !as_it_comes => return Err(Error::new(error.kind, error.message)),
            error => stream.error = error,
        }
        held_bytes += frames.len();
        stream.last_frame = Instant::now();
        stream.hold(&frames, observed.forward);
        if observed.content || as_it_comes || held_bytes > PROBE_BYTES_MAX {
            return Ok(());
        }
        if observed.terminal && !stream.observer.finished() {
            return Err(Error::new(
                Kind::UpstreamEmpty,
                "The upstream ended its stream without an answer.",
            ));
        }
    }
}

/// What an oversized or broken frame means.
pub(super) fn frame_error(error: &impl std::fmt::Display) -> Error {
    Error::new(Kind::UpstreamProtocol, "The upstream sent a frame that is too large or malformed.")
        .cause(error)
}

/// Reads an answer that is one body.
async fn whole(
    order: Order<'_>,
    session: &mut Session,
    observer: impl FnOnce() -> StreamObserver,
) -> Result<Answer, Error> {
    let mut body = BytesMut::new();
    let mut first = Bytes::new();
    while let Some(chunk) = session.body().await? {
        if first.is_empty() && body.is_empty() {
            first = chunk;
            continue;
        }
        if body.is_empty() {
            body.extend_from_slice(&std::mem::take(&mut first));
        }
        body.extend_from_slice(&chunk);
        if body.len() > HELD_BODY_BYTES_MAX {
            // Too large to hold: from here on it is forwarded as it comes.
            let stream = Stream {
                framer: Framer::new(Framing::Opaque, usize::MAX),
                observer: observer(),
                translator: None,
                held: vec![body.freeze()],
                error: None,
                ended: false,
                last_frame: Instant::now(),
            };
            return Ok(Answer::Stream(Box::new(stream)));
        }
    }
    let body = if body.is_empty() { first } else { body.freeze() };
    if body.iter().all(u8::is_ascii_whitespace) && order.head.endpoint.metered() {
        return Err(Error::new(Kind::UpstreamEmpty, "The upstream sent an empty answer."));
    }
    if order.head.endpoint.metered() && !looks_like_json(&body) {
        return Err(Error::new(Kind::UpstreamProtocol, "The upstream sent a malformed answer."));
    }
    Ok(Answer::Whole(body))
}

/// Whether a body begins and ends as a JSON object or array does. An answer that was cut at the
/// upstream's own upstream is found by this; whether it makes sense is for the client to say.
fn looks_like_json(body: &[u8]) -> bool {
    let body = body.trim_ascii();
    matches!((body.first(), body.last()), (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']')))
}
