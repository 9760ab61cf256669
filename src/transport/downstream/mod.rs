//! A client's request and its answer: over HTTP/1 on weir's own byte streams ([`http1`]), or as one
//! stream of an HTTP/2 connection, which Pingora serves.

pub(crate) mod http1;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode, Uri};
use pingora_core::protocols::http::ServerSession;
use pingora_core::{Error, ErrorType, Result};

use super::ClientCertificate;
use crate::wire::fields::Fields;

/// What the client's side of an exchange is carried by.
pub(crate) enum Session<'a> {
    /// A request of an HTTP/1 connection.
    Http1(&'a mut http1::Session),
    /// A stream of an HTTP/2 connection.
    Http2(&'a mut ServerSession),
}

/// The head of a request.
pub(crate) struct Head {
    /// Its method.
    pub(crate) method: Method,
    /// What it is for.
    pub(crate) target: Uri,
    /// Its headers.
    pub(crate) headers: Fields,
    /// Whether the connection can be handed over to another protocol.
    pub(crate) upgrade: bool,
}

impl Session<'_> {
    /// The request's head, which nobody asks for twice.
    pub(crate) fn take_head(&mut self) -> Head {
        match self {
            Self::Http1(session) => session.take_head(),
            Self::Http2(session) => {
                // Pingora still looks at the rest of it.
                let header = session.req_header_mut();
                let (mut without, ()) = http::Request::new(()).into_parts();
                without.method = header.method.clone();
                without.uri = header.uri.clone();
                without.version = header.version;
                let whole = std::mem::replace(header, without.into());
                let whole = http::request::Parts::from(whole);
                let http::request::Parts { method, uri: target, headers, .. } = whole;
                Head { method, target, headers: Fields::from(&headers), upgrade: false }
            }
        }
    }

    /// Where the client is.
    pub(crate) fn client_address(&self) -> Option<IpAddr> {
        match self {
            Self::Http1(session) => session.client_address(),
            Self::Http2(session) => session.client_addr()?.as_inet().map(SocketAddr::ip),
        }
    }

    /// The certificate that the client has shown in the TLS handshake.
    pub(crate) fn certificate(&self) -> Option<ClientCertificate> {
        match self {
            Self::Http1(session) => session.certificate(),
            Self::Http2(session) => {
                let tls = session.digest()?.ssl_digest.as_ref()?;
                tls.extension.get::<ClientCertificate>().cloned()
            }
        }
    }

    /// Whether the request was sent without a body.
    pub(crate) fn is_body_empty(&mut self) -> bool {
        match self {
            Self::Http1(session) => session.is_body_empty(),
            Self::Http2(session) => session.is_body_empty(),
        }
    }

    /// Whether the request's body was read to its end.
    pub(crate) fn is_body_done(&mut self) -> bool {
        match self {
            Self::Http1(session) => session.is_body_done(),
            Self::Http2(session) => session.is_body_done(),
        }
    }

    /// Whether it bounds by itself how long a part of the request's body may take.
    pub(crate) fn bounds_reads(&self) -> bool {
        matches!(self, Self::Http1(_))
    }

    /// Bounds each read of the request's body.
    pub(crate) fn set_read_timeout(&mut self, limit: Duration) {
        match self {
            Self::Http1(session) => session.set_read_timeout(limit),
            Self::Http2(session) => session.set_read_timeout(Some(limit)),
        }
    }

    /// Bounds how long the client may leave unread what was written.
    pub(crate) fn set_write_timeout(&mut self, limit: Duration) {
        match self {
            Self::Http1(session) => session.set_write_timeout(limit),
            Self::Http2(session) => session.set_write_timeout(Some(limit)),
        }
    }

    /// How long what is left of the request's body is drained once it is answered.
    pub(crate) fn set_drain_timeout(&mut self, limit: Duration) {
        match self {
            Self::Http1(session) => session.set_drain_timeout(limit),
            Self::Http2(session) => session.set_total_drain_timeout(Some(limit)),
        }
    }

    /// The next part of the request's body, or of what an upgraded connection carries. Cancel safe.
    pub(crate) async fn read_body(&mut self) -> Result<Option<Bytes>> {
        match self {
            Self::Http1(session) => session.read_body().await,
            Self::Http2(session) => session.read_request_body().await,
        }
    }

    /// Fails when the client leaves, and until then waits. Cancel safe.
    pub(crate) async fn gone(&mut self) -> Result<()> {
        match self {
            Self::Http1(session) => session.gone().await,
            Self::Http2(session) => session.read_body_or_idle(true).await.map(drop),
        }
    }

    /// Tells the client that its body is waited for (RFC 9110, section 15.2.1).
    pub(crate) async fn write_continue(&mut self) -> Result<()> {
        match self {
            Self::Http1(session) => {
                session.write_head(StatusCode::CONTINUE, &Fields::default()).await
            }
            Self::Http2(session) => session.write_continue_response().await,
        }
    }

    /// Writes the answer's head.
    pub(crate) async fn write_head(&mut self, status: StatusCode, headers: &Fields) -> Result<()> {
        match self {
            Self::Http1(session) => session.write_head(status, headers).await,
            Self::Http2(session) => {
                let (mut parts, ()) = http::Response::new(()).into_parts();
                (parts.status, parts.headers) = (status, headers.to_map());
                session.write_response_header(Box::new(parts.into())).await
            }
        }
    }

    /// Whether more of the answer may be written in chunks of others ([`Self::write_chunks`]).
    pub(crate) fn takes_chunks(&self) -> bool {
        matches!(self, Self::Http1(session) if session.takes_chunks())
    }

    /// Writes more of the answer's body in chunks of HTTP/1.1 that are whole. False where
    /// [`Self::written`] has to be waited for.
    pub(crate) fn write_chunks(&mut self, chunks: &[u8]) -> Result<bool> {
        match self {
            Self::Http1(session) => session.write_chunks(chunks),
            Self::Http2(_) => {
                Error::e_explain(ErrorType::InternalError, "HTTP/2 has no chunks (RFC 9113, 8.1)")
            }
        }
    }

    /// Waits until all is written that was to be.
    pub(crate) async fn written(&mut self) -> Result<()> {
        match self {
            Self::Http1(session) => session.written().await,
            Self::Http2(_) => Ok(()),
        }
    }

    /// Whether nothing has come from the client since [`Self::gone`] was asked, as far as can be told
    /// without asking again.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self, Self::Http1(session) if session.is_silent())
    }

    /// Writes more of the answer's body, which `end` completes.
    pub(crate) async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        match self {
            Self::Http1(session) => session.write_body(data, end).await,
            // Boxed, so that frames over HTTP/1 have no state for it.
            Self::Http2(session) => Box::pin(session.write_response_body(data, end)).await,
        }
    }
}
