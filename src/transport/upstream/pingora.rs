//! Pingora's connector, for HTTP/2 and TLS. One connector stands for one way of verifying TLS, since
//! the roots of trust belong to it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use pingora_core::ErrorType;
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::upstreams::peer::{ALPN, HttpPeer};
use pingora_http::RequestHeader;

use super::{Address, Head, Request, Tls, Version};
use crate::error::{Error, Kind};

/// Concurrent streams on one HTTP/2 connection.
const H2_STREAMS_MAX: usize = 100;

/// Connectors by the authorities that they trust.
pub(super) struct Connectors {
    by_authority: Mutex<HashMap<Option<PathBuf>, Arc<Connector>>>,
    idle_connections_max: usize,
}

impl Connectors {
    pub(super) fn new(idle_connections_max: usize) -> Self {
        Self { by_authority: Mutex::default(), idle_connections_max }
    }

    /// An idle session or a new one, and whether it is one that was used before.
    pub(super) async fn connect(
        &self,
        to: &Address,
        at: SocketAddr,
    ) -> Result<(Session, bool), Error> {
        let connector = self.connector(to.tls.as_ref())?;
        let peer = peer(to, at);
        let (inner, reused) =
            connector.get_http_session(&peer).await.map_err(|error| connect_error(&error))?;
        Ok((Session { inner, peer, connector, idle: to.idle }, reused))
    }

    fn connector(&self, tls: Option<&Tls>) -> Result<Arc<Connector>, Error> {
        let authority = tls.and_then(|tls| tls.ca.clone());
        let mut connectors = self.by_authority.lock();
        if let Some(connector) = connectors.get(&authority) {
            return Ok(Arc::clone(connector));
        }
        let mut options = ConnectorOptions::new(self.idle_connections_max);
        if let Some(path) = &authority {
            // Pingora panics on an authority that it cannot load: look before.
            let mut roots = pingora_core::tls::RootCertStore::empty();
            pingora_core::tls::load_ca_file_into_store(path, &mut roots).map_err(|error| {
                Error::new(Kind::UpstreamTls, "The upstream's TLS authorities cannot be loaded.")
                    .cause(error)
            })?;
            options.ca_file = path.to_str().map(str::to_owned);
        }
        let connector = Arc::new(Connector::new(Some(options)));
        connectors.insert(authority, Arc::clone(&connector));
        Ok(connector)
    }
}

fn peer(to: &Address, address: SocketAddr) -> HttpPeer {
    let sni = to.tls.as_ref().map_or_else(String::new, |tls| tls.sni.to_string());
    let mut peer = HttpPeer::new(address, to.tls.is_some(), sni);
    let verify = to.tls.as_ref().is_none_or(|tls| tls.verify);
    peer.options.verify_cert = verify;
    peer.options.verify_hostname = verify;
    peer.options.idle_timeout = Some(to.idle);
    peer.options.max_h2_streams = H2_STREAMS_MAX;
    peer.options.alpn = match (to.version, &to.tls) {
        (Version::Auto, Some(_)) => ALPN::H2H1,
        (Version::Auto, None) | (Version::Http1, _) => ALPN::H1,
        (Version::Http2, _) => ALPN::H2,
    };
    peer
}

/// One request and its response.
pub(super) struct Session {
    inner: HttpSession<()>,
    peer: HttpPeer,
    connector: Arc<Connector>,
    idle: Duration,
}

impl Session {
    pub(super) async fn send(&mut self, request: &Request, body: &[Bytes]) -> Result<(), Error> {
        self.send_head(request).await?;
        for part in body {
            self.inner
                .write_request_body(part.clone(), false)
                .await
                .map_err(|error| io_error(&error))?;
        }
        self.inner.finish_request_body().await.map_err(|error| io_error(&error))
    }

    pub(super) async fn send_head(&mut self, request: &Request) -> Result<(), Error> {
        let header = header(request).map_err(|error| {
            Error::new(Kind::Internal, "The upstream request is malformed.").cause(error)
        })?;
        self.inner.write_request_header(Box::new(header)).await.map_err(|error| io_error(&error))
    }

    pub(super) async fn send_upgraded(&mut self, data: Bytes) -> Result<(), Error> {
        if let HttpSession::H1(session) = &mut self.inner {
            session.maybe_upgrade_body_writer();
        }
        self.inner.write_request_body(data, false).await.map_err(|error| io_error(&error))
    }

    pub(super) async fn head(&mut self) -> Result<Head, Error> {
        self.inner.read_response_header().await.map_err(|error| io_error(&error))?;
        let header = self
            .inner
            .response_header()
            .ok_or_else(|| Error::new(Kind::UpstreamProtocol, "The upstream sent no response."))?;
        Ok(Head { status: header.status, headers: header.headers.clone() })
    }

    pub(super) async fn body(&mut self) -> Result<Option<Bytes>, Error> {
        self.inner.read_response_body().await.map_err(|error| io_error(&error))
    }

    pub(super) async fn release(mut self) {
        if self.inner.response_done() {
            self.connector.release_http_session(self.inner, &self.peer, Some(self.idle)).await;
        }
    }
}

fn header(request: &Request) -> pingora_core::Result<RequestHeader> {
    let size = Some(request.headers.len());
    let mut header = RequestHeader::build(request.method.clone(), request.target.as_bytes(), size)?;
    for (name, value) in &request.headers {
        header.append_header(name.clone(), value.clone())?;
    }
    Ok(header)
}

fn connect_error(error: &pingora_core::Error) -> Error {
    let kind = match error.etype() {
        ErrorType::ConnectTimedout => Kind::UpstreamConnectTimeout,
        ErrorType::TLSHandshakeFailure
        | ErrorType::TLSHandshakeTimedout
        | ErrorType::TLSWantX509Lookup
        | ErrorType::InvalidCert
        | ErrorType::HandshakeError => Kind::UpstreamTls,
        ErrorType::H2Error | ErrorType::InvalidH2 | ErrorType::H2Downgrade => {
            Kind::UpstreamProtocol
        }
        _ => Kind::UpstreamConnect,
    };
    let public = match kind {
        Kind::UpstreamTls => "The TLS handshake with the upstream failed.",
        Kind::UpstreamProtocol => "The upstream does not speak HTTP/2 as configured.",
        _ => "The upstream could not be reached.",
    };
    Error::new(kind, public).cause(error)
}

fn io_error(error: &pingora_core::Error) -> Error {
    match error.etype() {
        ErrorType::InvalidHTTPHeader | ErrorType::H1Error | ErrorType::InvalidH2 => {
            Error::new(Kind::UpstreamProtocol, "The upstream sent a malformed response.")
                .cause(error)
        }
        ErrorType::Custom("InvalidChunk" | "InvalidTrailerEnd") => {
            Error::new(Kind::UpstreamProtocol, "The upstream sent a malformed response body.")
                .cause(error)
        }
        _ => Error::new(Kind::UpstreamCut, "The connection to the upstream broke.").cause(error),
    }
}
