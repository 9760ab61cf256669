//! Connections to upstreams: one set of pools per worker, so that no connection crosses cores.
//!
//! They go over the transport that downstream connections use, in cleartext or under TLS ([`io`]), and
//! speak HTTP/1.1 ([`http1`]) or HTTP/2 ([`http2`]).

mod http1;
mod http2;
mod io;
mod question;

use std::collections::HashMap;
use std::future::poll_fn;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use parking_lot::Mutex;

use super::Arrived;
use crate::clock::{Duration, Instant, Patience};
use crate::error::{Error, Kind};
use crate::wire::fields::Fields;
pub use crate::wire::http1::Head;
pub use question::{Question, place};

/// How long a resolved name is used before it is asked for again.
const NAME_TTL: Duration = Duration::from_secs(30);
/// Addresses of one name that one connect tries.
const ADDRESSES_TRIED_MAX: usize = 3;
/// Informational responses (1xx) that are skipped before the final one.
const INFORMATIONAL_MAX: usize = 8;
/// From one look at waiting connections to the next.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// Where an upstream is and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
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

impl Hash for Address {
    /// By host and port, which tell nearly all from each other. It is asked for twice a request.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.host.as_bytes());
        state.write_u16(self.port);
    }
}

/// More of a response's body.
pub(crate) enum Run {
    /// Some of it.
    Data(Bytes),
    /// The chunks that came next, over HTTP/1.1, and what of a chunk came behind them.
    Arrived(Arrived),
    /// It is complete.
    End,
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

impl Address {
    /// Whether requests may share a connection.
    fn may_be_http2(&self) -> bool {
        match self.version {
            Version::Auto => self.tls.is_some(),
            Version::Http1 => false,
            Version::Http2 => true,
        }
    }

    fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

/// A request for an upstream.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// Its headers, in the order in which they go out.
    pub headers: Fields,
}

impl Request {
    /// Sets a header in place of all of its name.
    pub fn set(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.headers.set_field(name, value);
    }
}

/// The upstream connections of one worker.
pub struct Upstreams {
    connector: io::Connector,
    idle: http1::Idle,
    shared: http2::Connections,
    names: Mutex<HashMap<Box<str>, Resolved>>,
}

struct Resolved {
    addresses: Arc<[IpAddr]>,
    at: Instant,
    next: usize,
}

impl Upstreams {
    /// Pools that keep at most this many idle connections to one upstream.
    pub fn new(idle_connections_max: usize) -> Self {
        Self {
            connector: io::Connector::default(),
            idle: http1::Idle::new(idle_connections_max),
            shared: http2::Connections::default(),
            names: Mutex::new(HashMap::new()),
        }
    }

    /// An idle session, or a new one. `now` is the present, which the caller knows.
    ///
    /// # Errors
    ///
    /// [`Kind::UpstreamConnect`], [`Kind::UpstreamConnectTimeout`], [`Kind::UpstreamTls`] and
    /// [`Kind::UpstreamProtocol`] (an upstream without the HTTP/2 that was configured).
    pub async fn connect(
        &self,
        to: &Arc<Address>,
        timeout: Duration,
        now: Instant,
    ) -> Result<Session, Error> {
        if to.may_be_http2()
            && let Some(session) = self.shared.take(to)
        {
            return Ok(Session::new(
                Inner::Http2 { session: Box::new(session), scheme: to.scheme() },
                true,
            ));
        }
        if let Some(connection) = self.idle.take(to, now) {
            return Ok(Session::new(Inner::Http1 { connection }, true));
        }
        // Seldom needed, and large (it holds a TLS handshake): kept out of every request's own state.
        match tokio::time::timeout(timeout, Box::pin(self.connect_any(to))).await {
            Ok(result) => result,
            Err(_) => Err(Error::new(
                Kind::UpstreamConnectTimeout,
                "The upstream did not accept a connection in time.",
            )),
        }
    }

    /// The same over HTTP/1.1 whatever the address says: for requests that upgrade.
    ///
    /// # Errors
    ///
    /// As [`Upstreams::connect`].
    pub async fn connect_http1(
        &self,
        to: &Arc<Address>,
        timeout: Duration,
        now: Instant,
    ) -> Result<Session, Error> {
        let to = Arc::new(Address { version: Version::Http1, ..Address::clone(to) });
        self.connect(&to, timeout, now).await
    }

    /// Takes back the connection of a session with an upstream there for reuse, where the response was
    /// read to its end. `now` is the present.
    pub fn keep(&self, session: Session, to: &Arc<Address>, now: Instant) {
        match session.inner {
            Inner::Http1 { connection } => self.idle.keep(to, connection, now),
            // Its connection is shared already.
            Inner::Http2 { .. } => {}
        }
    }

    /// Closes, now and then, idle connections that waited for too long or that their upstream has
    /// closed. Runs until it is dropped.
    pub async fn sweep(&self) {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            self.idle.sweep();
            self.shared.sweep();
        }
    }

    async fn connect_any(&self, to: &Arc<Address>) -> Result<Session, Error> {
        let (addresses, start) = self.resolve(&to.host, to.port).await?;
        let mut last = None;
        for attempt in 0..addresses.len().min(ADDRESSES_TRIED_MAX) {
            let address = addresses[(start + attempt) % addresses.len()];
            match self.connect_to(to, SocketAddr::new(address, to.port)).await {
                Ok(session) => return Ok(session),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| {
            Error::new(Kind::UpstreamConnect, "The upstream's name has no address.")
        }))
    }

    async fn connect_to(&self, to: &Arc<Address>, at: SocketAddr) -> Result<Session, Error> {
        let io = self.connector.open(to, at).await?;
        if to.version == Version::Http2 && to.tls.is_some() && !io.is_http2() {
            return Err(Error::new(
                Kind::UpstreamProtocol,
                "The upstream does not speak HTTP/2 as configured.",
            ));
        }
        if !io.is_http2() && to.version != Version::Http2 {
            return Ok(Session::new(
                Inner::Http1 { connection: Box::new(http1::Connection::new(io)) },
                false,
            ));
        }
        let shared = http2::Shared::open(io).await?;
        self.shared.keep(to, &shared);
        let session = http2::Session::new(shared);
        Ok(Session::new(Inner::Http2 { session: Box::new(session), scheme: to.scheme() }, false))
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

/// One request and its response on an upstream connection. Dropped before its end, it closes the
/// connection (HTTP/1) or resets the stream (HTTP/2), so that the upstream stops at once.
pub struct Session {
    inner: Inner,
    reused: bool,
    head: Option<Head>,
}

enum Inner {
    /// Boxed, as a session changes hands many times; this one goes on to other requests.
    Http1 {
        connection: Box<http1::Connection>,
    },
    Http2 {
        session: Box<http2::Session>,
        scheme: &'static str,
    },
}

impl Session {
    fn new(inner: Inner, reused: bool) -> Self {
        Self { inner, reused, head: None }
    }

    /// Whether the connection served an earlier request. Such a one may have been closed by the
    /// upstream in the meantime, which says nothing about the upstream.
    pub fn reused(&self) -> bool {
        self.reused
    }

    /// A timer for whoever waits for this session, which its connection keeps from one request to the
    /// next. It is given back with [`Session::keep_patience`].
    pub fn take_patience(&mut self) -> Patience {
        match &mut self.inner {
            Inner::Http1 { connection } => std::mem::take(&mut connection.patience),
            // Its connection is shared.
            Inner::Http2 { .. } => Patience::default(),
        }
    }

    /// Takes back the timer.
    pub fn keep_patience(&mut self, patience: Patience) {
        if let Inner::Http1 { connection } = &mut self.inner {
            connection.patience = patience;
        }
    }

    /// Sends the request: its head, then every part of its body.
    ///
    /// # Errors
    ///
    /// [`Kind::UpstreamCut`], here and in all that follows, when the connection breaks.
    pub async fn send(&mut self, request: &Request, body: &[Bytes]) -> Result<(), Error> {
        match &mut self.inner {
            Inner::Http1 { connection } => connection.send(request, body).await,
            Inner::Http2 { session, scheme } => session.send(request, body, scheme).await,
        }
    }

    /// Sends the head only, for a request that upgrades.
    ///
    /// # Errors
    ///
    /// As [`Session::send`].
    pub async fn send_head(&mut self, request: &Request) -> Result<(), Error> {
        match &mut self.inner {
            Inner::Http1 { connection } => connection.send(request, &[]).await,
            Inner::Http2 { .. } => Err(no_upgrade()),
        }
    }

    /// Sends more of an upgraded connection.
    ///
    /// # Errors
    ///
    /// As [`Session::send`].
    pub async fn send_upgraded(&mut self, data: Bytes) -> Result<(), Error> {
        match &mut self.inner {
            Inner::Http1 { connection } => connection.send_upgraded(&data).await,
            Inner::Http2 { .. } => Err(no_upgrade()),
        }
    }

    /// Waits for the final response head; informational ones (1xx but 101) are skipped.
    ///
    /// # Errors
    ///
    /// [`Kind::UpstreamProtocol`] for a response that is malformed.
    pub async fn head(&mut self) -> Result<&Head, Error> {
        for _ in 0..INFORMATIONAL_MAX {
            let head = match &mut self.inner {
                Inner::Http1 { connection } => connection.head().await?,
                Inner::Http2 { session, .. } => session.head().await?,
            };
            if !head.status.is_informational() || head.status == 101 {
                return Ok(self.head.insert(head));
            }
        }
        Err(Error::new(Kind::UpstreamProtocol, "The upstream sent no final response."))
    }

    /// The response head, once it was read.
    pub fn response(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// The response head, for whoever makes another one out of it.
    pub fn take_response(&mut self) -> Option<Head> {
        self.head.take()
    }

    /// The next piece of the body; `None` at its end. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Kind::UpstreamProtocol`] for a body that is malformed.
    pub async fn body(&mut self) -> Result<Option<Bytes>, Error> {
        match &mut self.inner {
            Inner::Http1 { connection } => connection.body().await,
            Inner::Http2 { session, .. } => poll_fn(|cx| session.poll_body(cx)).await,
        }
    }

    /// The same, but what has come in many small chunks is one piece; or, if that is asked for, chunks as
    /// they came over the wire, of which what is not passed on is taken back.
    ///
    /// # Errors
    ///
    /// As [`Self::body`].
    pub(crate) fn poll_run(
        &mut self,
        cx: &mut Context<'_>,
        as_it_came: bool,
    ) -> Poll<Result<Run, Error>> {
        match &mut self.inner {
            Inner::Http1 { connection } => connection.poll_run(cx, as_it_came),
            Inner::Http2 { session, .. } => {
                session.poll_body(cx).map_ok(|data| data.map_or(Run::End, Run::Data))
            }
        }
    }

    /// Takes back what of [`Run::Arrived`] was not passed on.
    pub(crate) fn take_back(&mut self, rest: Arrived) {
        if let Inner::Http1 { connection } = &mut self.inner {
            connection.take_back(rest);
        }
    }
}

fn no_upgrade() -> Error {
    Error::new(Kind::Internal, "A request that upgrades was to go over HTTP/2.")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_address_is_found_by_all_that_it_is() {
        let address = |host: &str, port| {
            let (tls, version) = (None, Version::Auto);
            Arc::new(Address { host: host.into(), port, tls, version, idle: Duration::ZERO })
        };
        let known = HashSet::from([address("one.example.com", 80), address("a.b", 80)]);
        assert!(
            known.contains(&address("one.example.com", 80)) && known.contains(&address("a.b", 80))
        );
        for (host, port) in [("one.example.com", 81), ("a.c", 80), ("one.example_example.com", 80)]
        {
            assert!(!known.contains(&address(host, port)), "{host}:{port}");
        }
        let other = Address { version: Version::Http1, ..Address::clone(&address("a.b", 80)) };
        assert!(!known.contains(&Arc::new(other)));
    }
}
