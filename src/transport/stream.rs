//! A TCP stream that gathers small writes until its worker has nothing more to do.
//!
//! An answer is written in pieces: its head, its body, the chunk sizes between frames. One system
//! call for each, and often one packet, is most of what a proxy costs. Here a worker's streams keep
//! small pieces, and [`send_gathered`](super::send_gathered), called before the worker's thread waits
//! for events, sends each stream's at once. Nothing waits for a timer: a worker that has nothing else
//! to do sends at once, and one that is never idle sends every few reads.
//!
//! How the bytes get to the kernel and back is the thread's: through its ring, or through epoll.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

#[cfg(target_os = "linux")]
use super::ring;
use super::{Arrived, epoll};
use crate::wire::http1;

/// An accepted or connected TCP stream.
#[derive(Debug)]
pub struct Stream {
    driven: Driven,
    /// Read by [`Stream::peek`], and not by anybody else yet.
    ahead: Bytes,
    digest: Option<Arc<SocketDigest>>,
}

#[derive(Debug)]
enum Driven {
    Epoll(epoll::Stream),
    #[cfg(target_os = "linux")]
    Ring(ring::Stream),
}

/// Does the same with whatever drives the stream.
macro_rules! driven {
    ($stream:expr, $driven:ident => $what:expr) => {
        match &$stream.driven {
            Driven::Epoll($driven) => $what,
            #[cfg(target_os = "linux")]
            Driven::Ring($driven) => $what,
        }
    };
}

impl Stream {
    /// Takes over a connected socket. Called on the thread that will use it, inside its runtime.
    ///
    /// # Errors
    ///
    /// What the system says to its registration.
    pub fn new(tcp: TcpStream) -> io::Result<Self> {
        tcp.set_nonblocking(true)?;
        Self::of_nonblocking(tcp)
    }

    pub(super) fn of_nonblocking(tcp: TcpStream) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        #[cfg(target_os = "linux")]
        if ring::is_running() {
            return ring::Stream::new(tcp).map(Driven::Ring).map(Self::of);
        }
        epoll::Stream::new(tcp).map(Driven::Epoll).map(Self::of)
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// Why there is no connection.
    pub async fn connect(to: SocketAddr) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        if ring::is_running() {
            return ring::Stream::connect(to).await.map(Driven::Ring).map(Self::of);
        }
        epoll::Stream::connect(to).await.map(Driven::Epoll).map(Self::of)
    }

    fn of(driven: Driven) -> Self {
        Self { driven, ahead: Bytes::new(), digest: None }
    }

    /// Who is at its other end. None where the system does not say so any more.
    pub fn peer(&self) -> Option<SocketAddr> {
        driven!(self, stream => stream.peer()).ok()
    }

    /// Whether nothing has come since the last read: no byte, no end, no error. Asks nobody.
    pub fn is_silent(&self) -> bool {
        self.ahead.is_empty() && driven!(self, stream => stream.is_silent())
    }

    /// The next bytes in the memory that they were received into; none at the end. Cancel safe.
    ///
    /// # Errors
    ///
    /// Why nothing more can come.
    pub async fn read_bytes(&mut self) -> io::Result<Bytes> {
        poll_fn(|cx| self.poll_read_bytes(cx)).await
    }

    /// [`Stream::read_bytes`], once.
    pub fn poll_read_bytes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if !self.ahead.is_empty() {
            return Poll::Ready(Ok(std::mem::take(&mut self.ahead)));
        }
        driven!(self, stream => stream.poll_read_bytes(cx))
    }

    /// The same, for whoever may only pass them on.
    pub(crate) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Arrived>> {
        if !self.ahead.is_empty() {
            return Poll::Ready(Ok(Arrived::Bytes(std::mem::take(&mut self.ahead))));
        }
        match &self.driven {
            Driven::Epoll(stream) => stream.poll_read_bytes(cx).map_ok(Arrived::Bytes),
            #[cfg(target_os = "linux")]
            Driven::Ring(stream) => stream.poll_receive(cx).map_ok(Arrived::Block),
        }
    }

    /// At least so many of the bytes that come next, which later reads read again; fewer at the end.
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// Why nothing more can come.
    pub async fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        while self.ahead.len() < count {
            let more = poll_fn(|cx| driven!(self, stream => stream.poll_read_bytes(cx))).await?;
            if more.is_empty() {
                break;
            }
            http1::append(&mut self.ahead, more);
        }
        Ok(&self.ahead)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let count = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead[..count]);
            self.ahead.advance(count);
            return Poll::Ready(Ok(()));
        }
        driven!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        driven!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        driven!(self, stream => stream.poll_write_vectored(cx, parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        driven!(self, stream => stream.poll_flush())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        driven!(self, stream => stream.poll_shutdown(cx))
    }
}

#[async_trait]
impl Shutdown for Stream {
    async fn shutdown(&mut self) {
        // A peer that is gone needs no farewell.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Stream {
    fn id(&self) -> UniqueIDType {
        driven!(self, stream => stream.descriptor())
    }
}

impl Ssl for Stream {}

impl GetTimingDigest for Stream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Stream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Stream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.digest.clone()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.digest = Some(Arc::new(digest));
    }
}

impl Peek for Stream {}

#[cfg(test)]
mod tests;
