//! What an upstream's answer other than 2xx means, and what of it goes to the client.

use bytes::{Bytes, BytesMut};
use http::StatusCode;

use super::attempt::{Failure, Order};
use super::translate;
use crate::clock::Duration;
use crate::dialect::{self, Endpoint};
use crate::error::{Error, Kind};
use crate::pool::Target;
use crate::transport::upstream::{self, Session};
use crate::wire::fields::Fields;

/// The part of an upstream's error answer that is kept and forwarded.
const ERROR_BODY_BYTES_MAX: usize = 256 * 1024;
/// Longest wait for an error answer's body.
const ERROR_BODY_WAIT: Duration = Duration::from_secs(5);

/// An upstream's own error answer, kept to be forwarded.
pub(super) struct UpstreamAnswer {
    pub(super) status: StatusCode,
    pub(super) headers: Fields,
    pub(super) body: Bytes,
    pub(super) error: Error,
}

/// What an answer other than 2xx means, with its body.
pub(super) async fn refused(order: Order<'_>, target: &Target, session: &mut Session) -> Failure {
    let Some(upstream::Head { status, headers }) = session.take_response() else {
        return Error::new(Kind::Internal, "The upstream's answer is gone.").into();
    };
    let body = tokio::time::timeout(ERROR_BODY_WAIT, error_body(session)).await.unwrap_or_default();
    let retry_after =
        dialect::retry_after(&headers, target.provider.dialect, crate::clock::unix_ms());
    let kind = match status.as_u16() {
        401 | 403 => Kind::UpstreamAuth,
        429 => Kind::UpstreamRateLimited,
        408 | 500.. => Kind::UpstreamStatus,
        300..=399 => Kind::UpstreamProtocol,
        _ => Kind::UpstreamRejected,
    };
    let public = match kind {
        Kind::UpstreamAuth => "The upstream refused the credential that weir holds for it.",
        Kind::UpstreamRateLimited => "The upstream's rate limit is reached.",
        Kind::UpstreamRejected => "The upstream rejected the request.",
        Kind::UpstreamProtocol => "The upstream redirected the request elsewhere.",
        _ => "The upstream failed.",
    };
    let error = || {
        Error::new(kind, public).retry_after(retry_after).cause(format!(
            "upstream {} answered {}",
            order.head.endpoint.as_str(),
            status.as_u16()
        ))
    };
    if let Some(pair) = translate::pair(order.head, &target.provider)
        && !matches!(kind, Kind::UpstreamAuth | Kind::UpstreamProtocol)
    {
        let theirs = (status, &headers, &body[..]);
        let answer = translate::error_answer(pair, order.head, theirs, error());
        let answer = Some(Box::new(answer));
        let status = Some(status.as_u16());
        return Failure { error: error(), status, answer, another_key: false };
    }
    // A refused credential and a redirect are between weir and the upstream.
    let forwardable = !matches!(kind, Kind::UpstreamAuth | Kind::UpstreamProtocol)
        && target.provider.dialect == order.head.dialect
        || order.head.endpoint == Endpoint::Passthrough;
    let answer =
        forwardable.then(|| Box::new(UpstreamAnswer { status, headers, body, error: error() }));
    Failure { error: error(), status: Some(status.as_u16()), answer, another_key: false }
}

async fn error_body(session: &mut Session) -> Bytes {
    let mut body = BytesMut::new();
    while let Ok(Some(chunk)) = session.body().await {
        let room = ERROR_BODY_BYTES_MAX - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if room <= chunk.len() {
            break;
        }
    }
    body.freeze()
}
