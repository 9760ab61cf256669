//! Writing to the client: answers of weir itself, errors in the client's dialect, and the heads of
//! relayed answers.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use smallvec::SmallVec;

use super::End;
use super::allowance::{self, Levels};
use super::attempt::Stream;
use super::head::{Head, Refusal, RequestId};
use super::local::{Local, TOKEN_COUNT};
use super::refused::UpstreamAnswer;
use super::settle::Settlement;
use crate::clock::Duration;
use crate::dialect::{self, Endpoint};
use crate::error::{Error, Kind};
use crate::meter::UsageSource;
use crate::transport::downstream::Session;
use crate::transport::upstream;
use crate::wire::frame::Framing;

/// The request's id, in both directions.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const UPSTREAM_REQUEST_ID: HeaderName = HeaderName::from_static("x-weir-upstream-request-id");
const PROVIDER: HeaderName = HeaderName::from_static("x-weir-provider");
const MODEL: HeaderName = HeaderName::from_static("x-weir-model");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-weir-attempts");
const CACHE: HeaderName = HeaderName::from_static("x-weir-cache");
const DROPPED: HeaderName = HeaderName::from_static("x-weir-dropped");
const ERROR: HeaderName = HeaderName::from_static("x-weir-error");
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

/// Headers of an answer that weir gives by itself, with those that Pingora adds.
const OWN_HEADERS_MAX: usize = 12;

/// How long the unread body of an answered request is drained, so that a client which is still sending
/// gets to read the answer. As long as nginx lingers.
const DRAIN: Duration = Duration::from_secs(30);

/// Headers between two neighbours only (RFC 9110, section 7.6.1).
pub(super) fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// The headers that `Connection` names as between two neighbours only.
pub(super) fn connection_options(headers: &HeaderMap) -> Vec<&str> {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .map(str::trim)
        .filter(|option| !option.is_empty())
        .collect()
}

/// Headers of an upstream's answer that are not for the client: they describe the connection to the
/// upstream, or would make the client talk to it directly.
fn stays_here(name: &HeaderName) -> bool {
    is_hop_by_hop(name)
        || matches!(
            name.as_str(),
            "alt-svc"
                | "set-cookie"
                | "strict-transport-security"
                | "via"
                | "server"
                | "location"
                | "content-location"
                | "refresh"
                | "nel"
                | "report-to"
        )
        || name.as_str().starts_with("x-weir-")
}

/// The headers of a relayed answer: the upstream's own map, of which nearly all stays, without what
/// is not for the client and with what weir has to say.
fn relayed(mut headers: HeaderMap, head: &Head, settlement: &Settlement) -> HeaderMap {
    // An upstream's limits are not the caller's.
    let limited = settlement.standing().is_some();
    let stay: SmallVec<[HeaderName; 4]> = {
        let nominated = connection_options(&headers);
        let is_nominated = |name: &HeaderName| {
            nominated.iter().any(|option| name.as_str().eq_ignore_ascii_case(option))
        };
        let stays = |name: &HeaderName| {
            stays_here(name) || is_nominated(name) || limited && allowance::is_level(name)
        };
        headers.keys().filter(|name| stays(name)).cloned().collect()
    };
    for name in stay {
        headers.remove(name);
    }
    if let Some(theirs) = headers.insert(REQUEST_ID, head.request_id.header()) {
        headers.insert(UPSTREAM_REQUEST_ID, theirs);
    }
    if matches!(head.endpoint, Endpoint::CountTokens | Endpoint::GeminiCountTokens) {
        headers.insert(TOKEN_COUNT, HeaderValue::from_static(UsageSource::Provider.as_str()));
    }
    ours(&mut headers, settlement);
    headers
}

/// What weir says of how an answer came about.
fn ours(headers: &mut HeaderMap, settlement: &Settlement) {
    if let Some(provider) = settlement.provider().and_then(|name| HeaderValue::from_str(name).ok())
    {
        headers.insert(PROVIDER, provider);
    }
    if let Some(model) = settlement.model().and_then(|name| HeaderValue::from_str(name).ok()) {
        headers.insert(MODEL, model);
    }
    let attempts = settlement.attempts();
    if attempts > 0 {
        headers.insert(ATTEMPTS, number(attempts as u64));
        headers.insert(CACHE, HeaderValue::from_static("bypass"));
    }
    if let Some(dropped) = settlement.dropped_names() {
        headers.insert(DROPPED, dropped);
    }
    if let Some(standing) = settlement.standing() {
        allowance::say(headers, standing, settlement.diverted_to());
    }
}

/// A number as a header's value.
pub(super) fn number(number: u64) -> HeaderValue {
    if number == 1 {
        // Attempts, nearly always.
        return HeaderValue::from_static("1");
    }
    // One allocation fewer than `HeaderValue::from`.
    HeaderValue::from_str(itoa::Buffer::new().format(number))
        .unwrap_or_else(|_| HeaderValue::from(number))
}

/// Writes the head of a stream. False when the client is gone.
pub(super) async fn stream_head(
    session: &mut Session<'_>,
    head: &Head,
    upstream: &mut upstream::Session,
    stream: &Stream,
    settlement: &mut Settlement,
) -> bool {
    let framing = stream.client_framing();
    let Some(response) = upstream.take_response() else { return false };
    let mut headers = relayed(response.headers, head, settlement);
    if let Some(content_type) = stream.client_type() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    // What is forwarded untouched keeps its length, so that the client notices when it is cut.
    let length = headers.remove(CONTENT_LENGTH).filter(|_| framing == Framing::Opaque);
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, length);
    } else if !headers.contains_key(CACHE_CONTROL) {
        // A cache in between must not keep a stream back (WHATWG HTML, server-sent events).
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    write_head(session, response.status, headers, settlement).await
}

/// Writes a whole relayed answer. False when the client is gone.
pub(super) async fn whole(
    session: &mut Session<'_>,
    head: &Head,
    upstream: &mut upstream::Session,
    body: Bytes,
    settlement: &mut Settlement,
) -> bool {
    let Some(response) = upstream.take_response() else { return false };
    let headers = relayed(response.headers, head, settlement);
    with_body(session, response.status, headers, body, settlement).await
}

/// Forwards an upstream's own error answer.
pub(super) async fn upstream_error(
    session: &mut Session<'_>,
    head: &Head,
    answer: UpstreamAnswer,
    settlement: &mut Settlement,
) -> End {
    let UpstreamAnswer { status, headers, body, error } = answer;
    settlement.error(&error);
    let says_when = headers.contains_key(RETRY_AFTER);
    let mut headers = relayed(headers, head, settlement);
    headers.insert(ERROR, HeaderValue::from_static(error.kind.as_str()));
    if !says_when {
        retry_after(&mut headers, error.retry_after);
    }
    answered(with_body(session, status, headers, body, settlement).await, settlement)
}

/// Answers with an error in the client's dialect.
pub(super) async fn error(
    session: &mut Session<'_>,
    head: &Head,
    error: &Error,
    settlement: &mut Settlement,
) -> End {
    settlement.error(error);
    if error.kind == Kind::ClientGone {
        return settlement.gone();
    }
    let body = dialect::error_body(head.dialect, head.endpoint, error, head.request_id.as_str());
    write_error(session, error, &head.request_id, head.dialect, body, settlement).await
}

/// Answers a request whose endpoint was never understood.
pub(super) async fn refusal(
    session: &mut Session<'_>,
    refusal: &Refusal,
    settlement: &mut Settlement,
) -> End {
    settlement.error(&refusal.error);
    let Refusal { error, request_id, dialect, .. } = refusal;
    let endpoint = Endpoint::Passthrough;
    let body = dialect::error_body(*dialect, endpoint, error, request_id.as_str());
    write_error(session, error, request_id, *dialect, body, settlement).await
}

/// What a client is answered whose request could not even be read as HTTP.
pub(crate) fn unread(error: &Error) -> (StatusCode, HeaderMap, Bytes) {
    let id = RequestId::random();
    // Which format it speaks is not known; this is the one that most do.
    let (dialect, endpoint) = (dialect::Dialect::OpenAi, Endpoint::Passthrough);
    let body = dialect::error_body(dialect, endpoint, error, id.as_str());
    let status = StatusCode::from_u16(dialect::error_status(dialect, error))
        .unwrap_or(StatusCode::BAD_REQUEST);
    let mut headers = HeaderMap::with_capacity(OWN_HEADERS_MAX);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ERROR, HeaderValue::from_static(error.kind.as_str()));
    headers.insert(REQUEST_ID, id.header());
    headers.insert(CONTENT_LENGTH, number(body.len() as u64));
    (status, headers, body)
}

async fn write_error(
    session: &mut Session<'_>,
    error: &Error,
    request_id: &RequestId,
    dialect: dialect::Dialect,
    body: Bytes,
    settlement: &mut Settlement,
) -> End {
    let mut headers = HeaderMap::with_capacity(OWN_HEADERS_MAX);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ERROR, HeaderValue::from_static(error.kind.as_str()));
    if let Some((name, value)) = dialect::error_header(dialect, error) {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    retry_after(&mut headers, error.retry_after);
    if error.kind == Kind::BudgetSpent {
        // OpenAI's and Anthropic's libraries would try a 429 again at once.
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    headers.insert(REQUEST_ID, request_id.header());
    ours(&mut headers, settlement);
    session.set_drain_timeout(DRAIN);
    let status = StatusCode::from_u16(dialect::error_status(dialect, error))
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answered(with_body(session, status, headers, body, settlement).await, settlement)
}

/// Writes an answer that weir gives by itself.
pub(super) async fn local(
    session: &mut Session<'_>,
    head: &Head,
    answer: Local,
    settlement: &mut Settlement,
) -> End {
    let mut headers = HeaderMap::with_capacity(OWN_HEADERS_MAX);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(REQUEST_ID, head.request_id.header());
    if let Some((name, value)) = answer.header {
        headers.insert(name, value);
    }
    let written = with_body(session, StatusCode::OK, headers, answer.body, settlement).await;
    answered(written, settlement)
}

/// Seconds, rounded up, as RFC 9110 wants them, and milliseconds, as `OpenAI`'s clients prefer.
fn retry_after(headers: &mut HeaderMap, after: Option<Duration>) {
    let Some(after) = after else { return };
    let ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    headers.insert(RETRY_AFTER, number(ms.div_ceil(1000)));
    headers.insert(RETRY_AFTER_MS, number(ms));
}

async fn with_body(
    session: &mut Session<'_>,
    status: StatusCode,
    mut headers: HeaderMap,
    body: Bytes,
    settlement: &mut Settlement,
) -> bool {
    headers.insert(CONTENT_LENGTH, number(body.len() as u64));
    settlement.body_out(body.len());
    write_head(session, status, headers, settlement).await
        && session.write_body(body, true).await.is_ok()
}

async fn write_head(
    session: &mut Session<'_>,
    status: StatusCode,
    headers: HeaderMap,
    settlement: &mut Settlement,
) -> bool {
    settlement.status(status.as_u16());
    session.set_write_timeout(settlement.write_timeout());
    match settlement.standing().map(Levels::of) {
        Some(levels) => session.write_head(status, headers, &levels).await.is_ok(),
        None => session.write_head(status, headers, &()).await.is_ok(),
    }
}

/// Ends a streamed answer. False when the client is gone.
pub(super) async fn finish(session: &mut Session<'_>) -> bool {
    session.write_body(Bytes::new(), true).await.is_ok()
}

fn answered(written: bool, settlement: &mut Settlement) -> End {
    if written { End::Answered } else { settlement.gone() }
}
