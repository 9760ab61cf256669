//! A client's HTTP/1 connection: its requests, one after the other, each answered by [`ProxyHttp`].
//!
//! Pingora's `HttpProxy` would do the same, and does it for HTTP/2. But for every request it makes a
//! future that holds its own upstream half, which weir never enters (the exchange answers in
//! `request_filter`): 13 KB that are copied for each request and held by each connection, also one
//! that only waits. Here a request has a small state, and a connection none between two of them.

use std::sync::atomic::{AtomicBool, Ordering};

use http::Method;
use pingora_core::ErrorType;
use pingora_core::apps::{HttpPersistentSettings, ReusedHttpStream};
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::Stream;
use pingora_core::server::ShutdownWatch;
use pingora_proxy::{ProxyHttp, Session};
use tokio::sync::Notify;

/// How long a client may take to send its first head, in seconds.
const FIRST_HEAD_S: u64 = 60;

/// Serves HTTP/1 connections.
pub(super) struct Http1<P> {
    proxy: P,
    modules: HttpModules,
    idle_ends: Notify,
    ended: AtomicBool,
}

impl<P> Http1<P>
where
    P: ProxyHttp + Send + Sync,
    P::CTX: Send + Sync,
{
    pub(super) fn new(proxy: P) -> Self {
        let mut modules = HttpModules::new();
        proxy.init_downstream_modules(&mut modules);
        Self { proxy, modules, idle_ends: Notify::new(), ended: AtomicBool::new(false) }
    }

    /// Ends the connections that wait for a request, and from now on every one that would.
    pub(super) fn end_idle(&self) {
        self.ended.store(true, Ordering::Release);
        self.idle_ends.notify_waiters();
    }

    /// Serves a connection until it ends.
    pub(super) async fn serve(&self, stream: Stream, shutdown: &ShutdownWatch) {
        let mut next = Some((stream, None));
        while let Some((stream, kept)) = next {
            next = self.request(stream, kept, shutdown).await;
        }
    }

    /// Reads and answers one request, with what was kept of the one before it on the connection. The
    /// connection, and what to keep, if it can carry another.
    pub(super) async fn request(
        &self,
        stream: Stream,
        kept: Option<HttpPersistentSettings>,
        shutdown: &ShutdownWatch,
    ) -> Option<(Stream, Option<HttpPersistentSettings>)> {
        let mut session = Session::new_h1_with_modules(stream, &self.modules);
        match kept {
            Some(kept) => kept.apply_to_session(&mut session),
            None => session.set_keepalive(Some(FIRST_HEAD_S)),
        }
        if !self.read_head(&mut session).await {
            return None;
        }
        if *shutdown.borrow() {
            session.set_keepalive(None);
        }
        self.answer(session).await.map(ReusedHttpStream::consume)
    }

    /// Reads a request's head. False when there is none to answer.
    async fn read_head(&self, session: &mut Session) -> bool {
        let idle_ends = self.idle_ends.notified();
        let downstream = session.as_downstream_mut();
        let read = tokio::select! {
            biased;
            read = downstream.read_request() => read,
            () = idle_ends => return false,
            () = std::future::ready(()), if self.ended.load(Ordering::Acquire) => return false,
        };
        let refused = match read {
            // A tunnel is nothing that an API is asked for.
            Ok(true) if downstream.req_header().method == Method::CONNECT => 405,
            Ok(true) => return true,
            Ok(false) => return false,
            Err(error) if *error.etype() == ErrorType::InvalidHTTPHeader => {
                log::debug!("a client's head is malformed: {error}");
                400
            }
            Err(error) => {
                log::debug!("a client's head did not arrive: {error}");
                downstream.shutdown().await;
                return false;
            }
        };
        // A client that is gone does not miss it.
        let _ = downstream.respond_error(refused).await;
        downstream.shutdown().await;
        false
    }

    /// Answers a request. The connection, if it can carry another.
    async fn answer(&self, mut session: Session) -> Option<ReusedHttpStream> {
        let mut ctx = self.proxy.new_ctx();
        // An error means that the connection is of no more use.
        self.proxy.request_filter(&mut session, &mut ctx).await.ok()?;
        let settings = HttpPersistentSettings::for_session(&session);
        let reusable = session.downstream_session.finish().await.ok().flatten()?;
        Some(ReusedHttpStream::from_reusable_stream(reusable, settings))
    }
}
