//! A worker: one thread, one current-thread runtime, its own listening sockets, its own upstream
//! connections. No task and no connection moves to another worker.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ServerApp};
use pingora_core::listeners::tls::Acceptor;
use pingora_core::protocols::http::v2::server::H2Options;
use pingora_core::protocols::{ALPN, GetSocketDigest, SocketDigest, Ssl, UniqueID};
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::HttpProxy;
use tokio::sync::watch;

use super::http1::{Http1, IDLE_GRACE, drained};
use crate::clock::Instant;
use crate::exchange::Gateway;
use crate::telemetry::{self, Metrics};
use crate::transport::downstream::http1::Io;
use crate::transport::{self, Drive, Listener, Runtime, RuntimeSettings, Stream, listen};

/// The client preface of HTTP/2 (RFC 9113, section 3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Longest TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Rest after accepting failed for want of descriptors or memory.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// Concurrent streams that a client may open on one HTTP/2 connection.
const H2_STREAMS_MAX: u32 = 256;
/// What the control thread tells the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Accept and serve.
    Serving,
    /// Accept nothing more; end when the last connection has ended, or at the deadline.
    Draining(Instant),
}

/// A listening socket, and how it accepts.
pub(super) struct Socket {
    pub(super) address: SocketAddr,
    pub(super) listener: TcpListener,
    /// Swapped at reload, so that a new certificate serves the next connection.
    pub(super) tls: Option<Arc<ArcSwap<Acceptor>>>,
}

/// What a worker is made of.
pub(super) struct Worker {
    pub(super) index: usize,
    pub(super) sockets: Vec<Socket>,
    pub(super) gateway: Gateway,
    pub(super) metrics: Arc<Metrics>,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) runtime: RuntimeSettings,
    pub(super) drive: Drive,
}

/// The parts that every connection of a worker needs.
struct Serving {
    http1: Http1<Gateway>,
    http2: Arc<HttpProxy<Gateway>>,
    metrics: Arc<Metrics>,
    idle: Duration,
    shutdown: watch::Receiver<bool>,
    open: AtomicUsize,
}

impl Worker {
    /// Starts the thread.
    pub(super) fn spawn(self) -> io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name(format!("weir-{}", self.index)).spawn(move || self.run())
    }

    fn run(self) {
        let _alone = telemetry::count_alone();
        let cpu = if self.runtime.pin { pin(self.index) } else { None };
        let preferred = cpu.filter(|_| self.runtime.incoming_cpu);
        for Socket { address, listener, .. } in &self.sockets {
            // Also where none is preferred: a socket that was handed over may have had one. Where that
            // cannot be said, none has.
            if let Err(error) = listen::prefer_cpu(listener, preferred)
                && preferred.is_some()
            {
                log::warn!("{address}: worker {} accepts from any core: {error}", self.index);
            }
        }
        match self.runtime() {
            Ok(runtime) => runtime.block_on(self.serve()),
            Err(error) => log::error!("worker {} has no runtime: {error}", self.index),
        }
    }

    fn runtime(&self) -> io::Result<Runtime> {
        match Runtime::new(self.drive) {
            Err(error) if self.drive != Drive::Epoll => {
                log::warn!("worker {} uses epoll: {} failed: {error}", self.index, self.drive);
                Runtime::new(Drive::Epoll)
            }
            runtime => runtime,
        }
    }

    async fn serve(self) {
        let Worker { index, sockets, gateway, metrics, mut phase, .. } = self;
        let (stop, shutdown) = watch::channel(false);
        let lag = tokio::spawn(metrics.event_loop(index).run());
        let upstreams = Arc::clone(&gateway.upstreams);
        let sweep = tokio::spawn(async move { upstreams.sweep().await });
        let serving = Arc::new(Serving {
            idle: gateway.plan.load().bounds.idle.0,
            http1: Http1::new(gateway.clone()),
            http2: Arc::new(http2(gateway)),
            metrics,
            shutdown,
            open: AtomicUsize::new(0),
        });
        let accepting: Vec<_> = sockets
            .into_iter()
            .map(|socket| tokio::spawn(accept(socket, Arc::clone(&serving), phase.clone())))
            .collect();
        // The sender lives as long as the process serves; its end is a drain as well.
        let deadline = loop {
            if let Phase::Draining(deadline) = *phase.borrow_and_update() {
                break deadline;
            }
            if phase.changed().await.is_err() {
                break Instant::now();
            }
        };
        for task in accepting {
            // Each ends by itself when the phase changes.
            let _ = task.await;
        }
        // Connections answer what they are at, and one request more, and close.
        let _ = stop.send(true);
        let idle_until = Instant::now() + IDLE_GRACE;
        let mut idle_told = false;
        while serving.open.load(Ordering::Acquire) > 0 && Instant::now() < deadline {
            if !idle_told && Instant::now() >= idle_until {
                serving.http2.http_cleanup().await;
                idle_told = true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let left = serving.open.load(Ordering::Acquire);
        if left > 0 {
            log::warn!("worker {index}: {left} connections were still open when the drain ended");
        }
        // What the last connections wrote since the worker last waited.
        transport::send_gathered();
        lag.abort();
        sweep.abort();
    }
}

fn http2(gateway: Gateway) -> HttpProxy<Gateway> {
    let head_bytes_max = u32::try_from(gateway.plan.load().bounds.head.0).unwrap_or(u32::MAX);
    // It answers and never connects: the system's authorities would be read for nothing.
    let ca_file = Some("/dev/null".into());
    let conf = Arc::new(ServerConf { threads: 1, ca_file, ..ServerConf::default() });
    let mut proxy = HttpProxy::new(gateway, conf);
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    proxy.server_options = Some(options);
    let mut h2 = H2Options::new();
    h2.max_concurrent_streams(H2_STREAMS_MAX);
    h2.max_header_list_size(head_bytes_max);
    proxy.h2_options = Some(h2);
    proxy.handle_init_modules();
    proxy
}

/// Accepts until the phase changes.
async fn accept(socket: Socket, serving: Arc<Serving>, mut phase: watch::Receiver<Phase>) {
    let mut listener = match Listener::new(socket.listener) {
        Ok(listener) => listener,
        Err(error) => {
            log::error!("{} cannot be listened on: {error}", socket.address);
            return;
        }
    };
    let mut stopped = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            changed = phase.changed(), if !stopped => {
                if changed.is_err() || *phase.borrow() != Phase::Serving {
                    stopped = true;
                    listener.stop();
                }
                continue;
            }
        };
        match accepted {
            None => return,
            Some(Ok(stream)) => {
                let tls = socket.tls.as_ref().map(|tls| tls.load_full());
                tokio::spawn(connection(stream, tls, Arc::clone(&serving)));
            }
            Some(Err(error)) if is_of_the_client(&error) => {}
            Some(Err(error)) => {
                log::warn!("{} cannot accept for now: {error}", socket.address);
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

/// A connection that ended before it was accepted.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// Counts an open connection for as long as it lives, also through a panic.
struct Open(Arc<Serving>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn connection(stream: Stream, tls: Option<Arc<Acceptor>>, serving: Arc<Serving>) {
    serving.open.fetch_add(1, Ordering::AcqRel);
    let open = Open(serving);
    let _counted = open.0.metrics.connection_opened();
    // Boxed, so that an idle connection does not pay for what only TLS and HTTP/2 need.
    match tls {
        Some(acceptor) => Box::pin(secured(stream, acceptor, &open.0)).await,
        None => cleartext(Box::new(stream), &open.0).await,
    }
}

/// A connection under TLS, which negotiates the version.
async fn secured(mut stream: Stream, acceptor: Arc<Acceptor>, serving: &Serving) {
    tell_peer(&mut stream);
    match tokio::time::timeout(HANDSHAKE, acceptor.tls_handshake(stream)).await {
        Ok(Ok(stream)) if matches!(stream.selected_alpn_proto(), Some(ALPN::H2)) => {
            serving.http2.process_new(Box::new(stream), &serving.shutdown).await;
        }
        Ok(Ok(stream)) => serving.http1(Io::Secured(Box::new(stream))).await,
        Ok(Err(error)) => log::debug!("TLS handshake with a client failed: {error}"),
        Err(_) => log::debug!("TLS handshake with a client took too long"),
    }
}

impl Serving {
    async fn http1(&self, io: Io) {
        self.http1.serve(io, self.idle, &self.shutdown).await;
    }
}

/// A connection in cleartext.
async fn cleartext(mut stream: Box<Stream>, serving: &Serving) {
    let begun = tokio::select! {
        biased;
        begun = has_h2_preface(&mut stream) => begun,
        () = drained(&serving.shutdown) => None,
        () = tokio::time::sleep(serving.idle) => None,
    };
    match begun {
        Some(true) => {
            tell_peer(&mut stream);
            serving.http2.process_new(stream, &serving.shutdown).await;
        }
        Some(false) => serving.http1(Io::Plain(stream)).await,
        None => {}
    }
}

/// Lets Pingora know who is at a stream's other end.
fn tell_peer(stream: &mut Stream) {
    let digest = SocketDigest::from_raw_fd(stream.id());
    stream.set_socket_digest(digest);
}

/// Whether the client begins with HTTP/2's preface (cleartext with prior knowledge). Looks without
/// taking anything; `None` when the client left without a word.
async fn has_h2_preface(stream: &mut Stream) -> Option<bool> {
    // No method of HTTP/1 begins like this, so three bytes decide.
    const DECIDING: usize = 3;
    for count in 1..=DECIDING {
        let seen = stream.peek(count).await.ok()?;
        if seen.is_empty() {
            return None;
        }
        if !seen.iter().zip(H2_PREFACE).all(|(byte, wanted)| byte == wanted) {
            return Some(false);
        }
        if seen.len() < count {
            return Some(false);
        }
    }
    Some(true)
}

/// Keeps this thread on one of the cores that the process may use. The core, where that worked.
#[cfg(target_os = "linux")]
fn pin(index: usize) -> Option<usize> {
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    let this = nix::unistd::Pid::from_raw(0);
    let pinned = sched_getaffinity(this).and_then(|allowed| {
        let cpus = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false));
        let cpus: Vec<usize> = cpus.collect();
        let cpu = cpus[index % cpus.len().max(1)];
        let mut set = CpuSet::new();
        set.set(cpu)?;
        sched_setaffinity(this, &set)?;
        Ok(cpu)
    });
    pinned.inspect_err(|error| log::warn!("worker {index} is not pinned: {error}")).ok()
}

#[cfg(not(target_os = "linux"))]
fn pin(index: usize) -> Option<usize> {
    log::warn!("worker {index} is not pinned: this system has no way to do it");
    None
}
