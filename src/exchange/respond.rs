//! Writing to the client: answers of weir itself, errors in the client's dialect, and the heads of
//! relayed answers.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use super::End;
use super::attempt::{Stream, UpstreamAnswer};
use super::head::{Head, Refusal};
use super::local::Local;
use super::settle::Settlement;
use crate::clock::Duration;
use crate::dialect;
use crate::error::{Error, Kind};
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
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

/// How long an answered request's unread body is drained, so that the client gets to read the answer.
const DRAIN: Duration = Duration::from_secs(2);

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
        || *name == CONTENT_LENGTH
        || matches!(
            name.as_str(),
            "alt-svc"
                | "set-cookie"
                | "strict-transport-security"
                | "via"
                | "server"
                | "x-request-id"
                | "location"
                | "content-location"
                | "refresh"
                | "nel"
                | "report-to"
        )
        || name.as_str().starts_with("x-weir-")
}

/// The head of a relayed answer.
fn relayed(
    status: u16,
    from: &HeaderMap,
    head: &Head,
    settlement: &Settlement,
) -> pingora_core::Result<ResponseHeader> {
    let mut header = ResponseHeader::build(status, Some(from.len() + 6))?;
    let nominated = connection_options(from);
    for (name, value) in from {
        if !stays_here(name) && !nominated.iter().any(|o| name.as_str().eq_ignore_ascii_case(o)) {
            header.append_header(name.clone(), value.clone())?;
        }
    }
    if let Some(theirs) = from.get(REQUEST_ID) {
        header.insert_header(UPSTREAM_REQUEST_ID, theirs.clone())?;
    }
    ours(&mut header, &head.request_id, Some(settlement))?;
    Ok(header)
}

fn ours(
    header: &mut ResponseHeader,
    request_id: &str,
    settlement: Option<&Settlement>,
) -> pingora_core::Result<()> {
    if let Ok(id) = HeaderValue::from_str(request_id) {
        header.insert_header(REQUEST_ID, id)?;
    }
    let Some(settlement) = settlement else { return Ok(()) };
    if let Some(provider) = settlement.provider().and_then(|name| HeaderValue::from_str(name).ok())
    {
        header.insert_header(PROVIDER, provider)?;
    }
    if let Some(model) = settlement.model().and_then(|name| HeaderValue::from_str(name).ok()) {
        header.insert_header(MODEL, model)?;
    }
    if settlement.attempts() > 0 {
        header.insert_header(ATTEMPTS, HeaderValue::from(settlement.attempts()))?;
        header.insert_header(CACHE, HeaderValue::from_static("bypass"))?;
    }
    if let Some(dropped) = settlement.dropped_names() {
        header.insert_header(DROPPED, dropped)?;
    }
    Ok(())
}

/// Writes the head of a stream. False when the client is gone.
pub(super) async fn stream_head(
    session: &mut Session,
    head: &Head,
    upstream: &upstream::Session,
    stream: &Stream,
    settlement: &mut Settlement,
) -> bool {
    let framing = stream.client_framing();
    let Some(response) = upstream.response() else { return false };
    let status = response.status.as_u16();
    let Ok(mut header) = relayed(status, &response.headers, head, settlement) else { return false };
    if let Some(content_type) = stream.client_type() {
        let _ = header.insert_header(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    // What is forwarded untouched keeps its length, so that the client notices when it is cut.
    let length = response.headers.get(CONTENT_LENGTH).filter(|_| framing == Framing::Opaque);
    if let Some(length) = length {
        let _ = header.insert_header(CONTENT_LENGTH, length.clone());
    }
    if length.is_none() && !header.headers.contains_key(CACHE_CONTROL) {
        // A cache in between must not keep a stream back (WHATWG HTML, server-sent events).
        let _ = header.insert_header(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    if length.is_none()
        && !session.as_downstream().is_http2()
        && session.as_downstream().req_header().version == http::Version::HTTP_11
    {
        let _ = header.insert_header(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    settlement.status(status);
    write_head(session, header, settlement).await
}

/// Writes a whole relayed answer. False when the client is gone.
pub(super) async fn whole(
    session: &mut Session,
    head: &Head,
    upstream: &mut upstream::Session,
    body: Bytes,
    settlement: &mut Settlement,
) -> bool {
    let Some(response) = upstream.response() else { return false };
    let status = response.status.as_u16();
    let Ok(header) = relayed(status, &response.headers, head, settlement) else { return false };
    with_body(session, header, status, body, settlement).await
}

/// Forwards an upstream's own error answer.
pub(super) async fn upstream_error(
    session: &mut Session,
    head: &Head,
    answer: UpstreamAnswer,
    settlement: &mut Settlement,
) -> End {
    let UpstreamAnswer { status, headers, body, error } = answer;
    settlement.error(&error);
    let Ok(mut header) = relayed(status, &headers, head, settlement) else { return End::Aborted };
    let _ = header.insert_header(ERROR, HeaderValue::from_static(error.kind.as_str()));
    if !headers.contains_key(RETRY_AFTER) {
        retry_after(&mut header, error.retry_after);
    }
    answered(with_body(session, header, status, body, settlement).await, settlement)
}

/// Answers with an error in the client's dialect.
pub(super) async fn error(
    session: &mut Session,
    head: &Head,
    error: &Error,
    settlement: &mut Settlement,
) -> End {
    settlement.error(error);
    if error.kind == Kind::ClientGone {
        return settlement.gone();
    }
    let body = dialect::error_body(head.dialect, head.endpoint, error, &head.request_id);
    write_error(session, error, &head.request_id, head.dialect, body, settlement).await
}

/// Answers a request whose endpoint was never understood.
pub(super) async fn refusal(
    session: &mut Session,
    refusal: &Refusal,
    settlement: &mut Settlement,
) -> End {
    settlement.error(&refusal.error);
    let body = dialect::error_body(
        refusal.dialect,
        dialect::Endpoint::Passthrough,
        &refusal.error,
        &refusal.request_id,
    );
    let Refusal { error, request_id, dialect } = refusal;
    write_error(session, error, request_id, *dialect, body, settlement).await
}

async fn write_error(
    session: &mut Session,
    error: &Error,
    request_id: &str,
    dialect: dialect::Dialect,
    body: Bytes,
    settlement: &mut Settlement,
) -> End {
    let status = dialect::error_status(dialect, error);
    let header = (|| {
        let mut header = ResponseHeader::build(status, Some(8))?;
        header.insert_header(CONTENT_TYPE, HeaderValue::from_static("application/json"))?;
        header.insert_header(ERROR, HeaderValue::from_static(error.kind.as_str()))?;
        if let Some((name, value)) = dialect::error_header(dialect, error) {
            header.insert_header(name, value)?;
        }
        retry_after(&mut header, error.retry_after);
        ours(&mut header, request_id, Some(settlement))?;
        Ok::<_, Box<pingora_core::Error>>(header)
    })();
    let Ok(header) = header else { return End::Aborted };
    session.as_downstream_mut().set_total_drain_timeout(Some(DRAIN));
    answered(with_body(session, header, status, body, settlement).await, settlement)
}

/// Writes an answer that weir gives by itself.
pub(super) async fn local(
    session: &mut Session,
    head: &Head,
    answer: Local,
    settlement: &mut Settlement,
) -> End {
    let Ok(mut header) = ResponseHeader::build(200, Some(4)) else { return End::Aborted };
    let _ = header.insert_header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let _ = ours(&mut header, &head.request_id, None);
    answered(with_body(session, header, 200, answer.body, settlement).await, settlement)
}

/// Seconds, rounded up, as RFC 9110 wants them, and milliseconds, as `OpenAI`'s clients prefer.
fn retry_after(header: &mut ResponseHeader, after: Option<Duration>) {
    let Some(after) = after else { return };
    let ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    let _ = header.insert_header(RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000)));
    let _ = header.insert_header(RETRY_AFTER_MS, HeaderValue::from(ms));
}

async fn with_body(
    session: &mut Session,
    mut header: ResponseHeader,
    status: u16,
    body: Bytes,
    settlement: &mut Settlement,
) -> bool {
    let _ = header.insert_header(CONTENT_LENGTH, HeaderValue::from(body.len()));
    settlement.status(status);
    settlement.body_out(body.len());
    write_head(session, header, settlement).await
        && session.as_downstream_mut().write_response_body(body, true).await.is_ok()
}

async fn write_head(
    session: &mut Session,
    header: ResponseHeader,
    settlement: &Settlement,
) -> bool {
    let downstream = session.as_downstream_mut();
    downstream.set_write_timeout(Some(settlement.write_timeout()));
    downstream.write_response_header(Box::new(header)).await.is_ok()
}

/// Ends a streamed answer. False when the client is gone.
pub(super) async fn finish(session: &mut Session) -> bool {
    session.as_downstream_mut().write_response_body(Bytes::new(), true).await.is_ok()
}

fn answered(written: bool, settlement: &mut Settlement) -> End {
    if written { End::Answered } else { settlement.gone() }
}
