//! Connections to upstreams: one set of pools per worker, so that no connection crosses cores.
//!
//! Built on Pingora's connector, which pools HTTP/1 connections and HTTP/2 streams. One connector
//! stands for one way of verifying TLS, since the roots of trust belong to it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use pingora_core::ErrorType;
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::upstreams::peer::{ALPN, HttpPeer};
use pingora_http::{RequestHeader, ResponseHeader};

use crate::error::{Error, Kind};

/// How long a resolved name is used before it is asked for again.
const NAME_TTL: Duration = Duration::from_secs(30);
/// Addresses of one name that one connect tries.
const ADDRESSES_TRIED_MAX: usize = 3;
/// Concurrent streams on one HTTP/2 connection.
const H2_STREAMS_MAX: usize = 100;
/// Informational responses (1xx) that are skipped before the final one.
const INFORMATIONAL_MAX: usize = 8;

/// Where an upstream is and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// Name or literal address.
    pub host: Box<str>,
    /// Port.
    pub port: u16,
    /// TLS, unless cleartext.
    pub tls: Option<Tls>,
    /// HTTP version.
    pub version: Version,
    /// How long an idle connection is kept.
    pub idle: Duration,
}

/// TLS towards an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tls {
    /// The name to ask for and to verify.
    pub sni: Box<str>,
    /// Authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// Whether certificates are verified.
    pub verify: bool,
}

/// HTTP version towards an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/2 where TLS negotiates it.
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, with prior knowledge where there is no TLS.
    Http2,
}

/// The upstream connections of one worker.
pub struct Upstreams {
    connectors: Mutex<HashMap<Option<PathBuf>, Arc<Connector>>>,
    names: Mutex<HashMap<Box<str>, Resolved>>,
    idle_connections_max: usize,
}

struct Resolved {
    addresses: Arc<[IpAddr]>,
    at: Instant,
    next: usize,
}

impl Upstreams {
    /// Pools that keep at most this many idle connections.
    pub fn new(idle_connections_max: usize) -> Self {
        Self {
            connectors: Mutex::new(HashMap::new()),
            names: Mutex::new(HashMap::new()),
            idle_connections_max,
        }
    }

    /// An idle session, or a new one.
    pub async fn connect(&self, to: &Address, timeout: Duration) -> Result<Session, Error> {
        match tokio::time::timeout(timeout, self.connect_any(to)).await {
            Ok(result) => result,
            Err(_) => Err(Error::new(
                Kind::UpstreamConnectTimeout,
                "The upstream did not accept a connection in time.",
            )),
        }
    }

    /// The same over HTTP/1.1 whatever the address says: for requests that upgrade.
    pub async fn connect_http1(&self, to: &Address, timeout: Duration) -> Result<Session, Error> {
        let to = Address { version: Version::Http1, ..to.clone() };
        self.connect(&to, timeout).await
    }

    async fn connect_any(&self, to: &Address) -> Result<Session, Error> {
        let connector = self.connector(to.tls.as_ref())?;
        let (addresses, start) = self.resolve(&to.host, to.port).await?;
        let mut last = None;
        for attempt in 0..addresses.len().min(ADDRESSES_TRIED_MAX) {
            let address = addresses[(start + attempt) % addresses.len()];
            let peer = peer(to, SocketAddr::new(address, to.port));
            match connector.get_http_session(&peer).await {
                Ok((inner, reused)) => {
                    return Ok(Session { inner, peer, connector, reused, idle: to.idle });
                }
                Err(error) => last = Some(connect_error(&error)),
            }
        }
        Err(last.unwrap_or_else(|| {
            Error::new(Kind::UpstreamConnect, "The upstream's name has no address.")
        }))
    }

    fn connector(&self, tls: Option<&Tls>) -> Result<Arc<Connector>, Error> {
        let authority = tls.and_then(|tls| tls.ca.clone());
        let mut connectors = self.connectors.lock();
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

    /// The name's addresses, and which of them is next.
    async fn resolve(&self, host: &str, port: u16) -> Result<(Arc<[IpAddr]>, usize), Error> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok((Arc::from([address]), 0));
        }
        let stale = {
            let mut names = self.names.lock();
            match names.get_mut(host) {
                Some(known) if known.at.elapsed() < NAME_TTL => {
                    known.next = known.next.wrapping_add(1);
                    return Ok((Arc::clone(&known.addresses), known.next));
                }
                Some(known) => Some(Arc::clone(&known.addresses)),
                None => None,
            }
        };
        let found = tokio::net::lookup_host((host, port)).await;
        let addresses: Arc<[IpAddr]> = match found {
            Ok(found) => found.map(|address| address.ip()).collect(),
            // A resolver that is away must not take a working upstream with it.
            Err(error) => stale.ok_or_else(|| {
                Error::new(Kind::UpstreamConnect, "The upstream's name could not be resolved.")
                    .cause(error)
            })?,
        };
        let resolved = Resolved { addresses: Arc::clone(&addresses), at: Instant::now(), next: 0 };
        self.names.lock().insert(host.into(), resolved);
        Ok((addresses, 0))
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

/// One request and its response on an upstream connection. Dropped before its end, it closes the
/// connection (HTTP/1) or resets the stream (HTTP/2), so that the upstream stops at once.
pub struct Session {
    inner: HttpSession<()>,
    peer: HttpPeer,
    connector: Arc<Connector>,
    reused: bool,
    idle: Duration,
}

impl Session {
    /// Whether the connection served an earlier request. Such a one may have been closed by the
    /// upstream in the meantime, which says nothing about the upstream.
    pub fn reused(&self) -> bool {
        self.reused
    }

    /// Whether it is an HTTP/2 stream.
    pub fn is_http2(&self) -> bool {
        self.inner.as_http2().is_some()
    }

    /// Sends the request: its header, then every part of its body.
    pub async fn send(&mut self, header: RequestHeader, body: &[Bytes]) -> Result<(), Error> {
        self.inner.write_request_header(Box::new(header)).await.map_err(|e| io_error(&e))?;
        for part in body {
            self.inner
                .write_request_body(part.clone(), false)
                .await
                .map_err(|error| io_error(&error))?;
        }
        self.inner.finish_request_body().await.map_err(|error| io_error(&error))
    }

    /// Sends more of an upgraded connection.
    pub async fn send_upgraded(&mut self, data: Bytes) -> Result<(), Error> {
        if let HttpSession::H1(session) = &mut self.inner {
            session.maybe_upgrade_body_writer();
        }
        self.inner.write_request_body(data, false).await.map_err(|error| io_error(&error))
    }

    /// Sends the header only, for a request that upgrades.
    pub async fn send_header(&mut self, header: RequestHeader) -> Result<(), Error> {
        self.inner.write_request_header(Box::new(header)).await.map_err(|error| io_error(&error))
    }

    /// Waits for the final response header; informational ones (1xx but 101) are skipped.
    pub async fn head(&mut self) -> Result<&ResponseHeader, Error> {
        for _ in 0..INFORMATIONAL_MAX {
            self.inner.read_response_header().await.map_err(|error| io_error(&error))?;
            let status = self.inner.response_header().map_or(0, |header| header.status.as_u16());
            if status == 101 || status >= 200 {
                break;
            }
        }
        self.inner
            .response_header()
            .filter(|header| !header.status.is_informational() || header.status == 101)
            .ok_or_else(|| {
                Error::new(Kind::UpstreamProtocol, "The upstream sent no final response.")
            })
    }

    /// The response header, once it was read.
    pub fn response(&self) -> Option<&ResponseHeader> {
        self.inner.response_header()
    }

    /// The next piece of the body; `None` at its end. Cancel safe.
    pub async fn body(&mut self) -> Result<Option<Bytes>, Error> {
        self.inner.read_response_body().await.map_err(|error| io_error(&error))
    }

    /// Gives the connection back for reuse, where the response was read to its end.
    pub async fn release(mut self) {
        if self.inner.response_done() {
            self.connector.release_http_session(self.inner, &self.peer, Some(self.idle)).await;
        }
    }
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
