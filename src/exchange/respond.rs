//! Writing to the client: answers of weir itself, errors in the client's dialect, and the heads of
//! relayed answers.

use bytes::Bytes;
use http::StatusCode;

use super::End;
use super::allowance;
use super::attempt::Stream;
use super::head::{Head, Refusal, RequestId};
use super::local::Local;
use super::refused::UpstreamAnswer;
use super::settle::Settlement;
use crate::clock::Duration;
use crate::dialect::{self, Endpoint};
use crate::error::{Error, Kind};
use crate::meter::UsageSource;
use crate::transport::downstream::Session;
use crate::transport::upstream;
use crate::wire::fields::{Fields, Name, Names};
use crate::wire::frame::Framing;

/// Headers of an upstream's answer that are not for the client: they describe the connection to the
/// upstream, or would make the client talk to it directly.
const STAYS_HERE: Names = Names::of(&[
    Name::AltSvc,
    Name::SetCookie,
    Name::StrictTransportSecurity,
    Name::Via,
    Name::Server,
    Name::Location,
    Name::ContentLocation,
    Name::Refresh,
    Name::Nel,
    Name::ReportTo,
])
.and(Names::beginning_with("x-weir-"));

/// How long the unread body of an answered request is drained, so that a client which is still sending
/// gets to read the answer. As long as nginx lingers.
const DRAIN: Duration = Duration::from_secs(30);

/// The headers of a relayed answer: the upstream's own, of which nearly all stay, without what is not
/// for the client and with what weir has to say.
fn relayed(mut headers: Fields, head: &Head, settlement: &Settlement<'_>) -> Fields {
    headers.retain_end_to_end(STAYS_HERE, &[b"x-weir-"]);
    headers.rename(Name::XRequestId, Name::XWeirUpstreamRequestId);
    headers.set(Name::XRequestId, head.request_id.as_str());
    if matches!(head.endpoint, Endpoint::CountTokens | Endpoint::GeminiCountTokens) {
        headers.set(Name::XWeirTokenCount, UsageSource::Provider.as_str());
    }
    ours(&mut headers, settlement);
    headers
}

/// What weir says of how an answer came about.
fn ours(headers: &mut Fields, settlement: &Settlement<'_>) {
    if let Some(provider) = settlement.provider() {
        headers.set(Name::XWeirProvider, provider);
    }
    if let Some(model) = settlement.model() {
        headers.set(Name::XWeirModel, model);
    }
    let attempts = settlement.attempts();
    if attempts > 0 {
        headers.set_number(Name::XWeirAttempts, attempts as u64);
        headers.set(Name::XWeirCache, "bypass");
    }
    if let Some(dropped) = settlement.dropped_names() {
        headers.set(Name::XWeirDropped, &dropped);
    }
    if let Some(standing) = settlement.standing() {
        allowance::say(headers, standing, settlement.diverted_to());
    }
}

/// Writes the head of a stream. False when the client is gone.
pub(super) async fn stream_head(
    session: &mut Session<'_>,
    head: &Head,
    upstream: &mut upstream::Session,
    stream: &Stream,
    settlement: &mut Settlement<'_>,
) -> bool {
    let framing = stream.client_framing();
    let Some(response) = upstream.take_response() else { return false };
    let mut headers = relayed(response.headers, head, settlement);
    if let Some(content_type) = stream.client_type() {
        headers.set(Name::ContentType, content_type);
    }
    // What is forwarded untouched keeps its length, so that the client notices when it is cut.
    let length = headers.text(Name::ContentLength).filter(|_| framing == Framing::Opaque);
    let length = length.map(str::to_owned);
    headers.remove(Name::ContentLength);
    if let Some(length) = length {
        headers.set(Name::ContentLength, &length);
    } else if !headers.contains(Name::CacheControl) {
        // A cache in between must not keep a stream back (WHATWG HTML, server-sent events).
        headers.set(Name::CacheControl, "no-cache");
    }
    write_head(session, response.status, &headers, settlement).await
}

/// Writes a whole relayed answer. False when the client is gone.
pub(super) async fn whole(
    session: &mut Session<'_>,
    head: &Head,
    upstream: &mut upstream::Session,
    body: Bytes,
    settlement: &mut Settlement<'_>,
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
    settlement: &mut Settlement<'_>,
) -> End {
    let UpstreamAnswer { status, headers, body, error } = answer;
    settlement.error(&error);
    let says_when = headers.contains(Name::RetryAfter);
    let mut headers = relayed(headers, head, settlement);
    headers.set(Name::XWeirError, error.kind.as_str());
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
    settlement: &mut Settlement<'_>,
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
    settlement: &mut Settlement<'_>,
) -> End {
    settlement.error(&refusal.error);
    let Refusal { error, request_id, dialect, .. } = refusal;
    let endpoint = Endpoint::Passthrough;
    let body = dialect::error_body(*dialect, endpoint, error, request_id.as_str());
    write_error(session, error, request_id, *dialect, body, settlement).await
}

/// What a client is answered whose request could not even be read as HTTP.
pub(crate) fn unread(error: &Error) -> (StatusCode, Fields, Bytes) {
    let id = RequestId::random();
    // Which format it speaks is not known; this is the one that most do.
    let (dialect, endpoint) = (dialect::Dialect::OpenAi, Endpoint::Passthrough);
    let body = dialect::error_body(dialect, endpoint, error, id.as_str());
    let status = StatusCode::from_u16(dialect::error_status(dialect, error))
        .unwrap_or(StatusCode::BAD_REQUEST);
    let mut headers = Fields::default();
    headers.set(Name::ContentType, "application/json");
    headers.set(Name::XWeirError, error.kind.as_str());
    headers.set(Name::XRequestId, id.as_str());
    headers.set_number(Name::ContentLength, body.len() as u64);
    (status, headers, body)
}

async fn write_error(
    session: &mut Session<'_>,
    error: &Error,
    request_id: &RequestId,
    dialect: dialect::Dialect,
    body: Bytes,
    settlement: &mut Settlement<'_>,
) -> End {
    let mut headers = Fields::default();
    headers.set(Name::ContentType, "application/json");
    headers.set(Name::XWeirError, error.kind.as_str());
    if let Some((name, value)) = dialect::error_header(dialect, error) {
        headers.append(name, value);
    }
    retry_after(&mut headers, error.retry_after);
    if error.kind == Kind::BudgetSpent {
        // OpenAI's and Anthropic's libraries would try a 429 again at once.
        headers.set(Name::XShouldRetry, "false");
    }
    headers.set(Name::XRequestId, request_id.as_str());
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
    settlement: &mut Settlement<'_>,
) -> End {
    let mut headers = Fields::default();
    headers.set(Name::ContentType, "application/json");
    headers.set(Name::XRequestId, head.request_id.as_str());
    if let Some(source) = answer.counted {
        headers.set(Name::XWeirTokenCount, source.as_str());
    }
    let written = with_body(session, StatusCode::OK, headers, answer.body, settlement).await;
    answered(written, settlement)
}

/// Seconds, rounded up, as RFC 9110 wants them, and milliseconds, as `OpenAI`'s clients prefer.
fn retry_after(headers: &mut Fields, after: Option<Duration>) {
    let Some(after) = after else { return };
    let ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    headers.set_number(Name::RetryAfter, ms.div_ceil(1000));
    headers.set_number(Name::RetryAfterMs, ms);
}

async fn with_body(
    session: &mut Session<'_>,
    status: StatusCode,
    mut headers: Fields,
    body: Bytes,
    settlement: &mut Settlement<'_>,
) -> bool {
    let length = body.len() as u64;
    // What came with it is seldom another.
    let told = headers.number(Name::ContentLength) == Some(length);
    if !told || headers.is_repeated(Name::ContentLength) {
        headers.set_number(Name::ContentLength, length);
    }
    settlement.body_out(body.len());
    write_head(session, status, &headers, settlement).await
        && session.write_body(body, true).await.is_ok()
}

async fn write_head(
    session: &mut Session<'_>,
    status: StatusCode,
    headers: &Fields,
    settlement: &mut Settlement<'_>,
) -> bool {
    settlement.status(status.as_u16());
    session.set_write_timeout(settlement.write_timeout());
    session.write_head(status, headers).await.is_ok()
}

/// Ends a streamed answer. False when the client is gone.
pub(super) async fn finish(session: &mut Session<'_>) -> bool {
    session.write_body(Bytes::new(), true).await.is_ok()
}

fn answered(written: bool, settlement: &mut Settlement<'_>) -> End {
    if written { End::Answered } else { settlement.gone() }
}
