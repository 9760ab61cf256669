//! A client's connection between two requests.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use pingora_core::protocols::Shutdown;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::transport::{self, ClientCertificate, Stream};

/// Its byte stream, and what was read ahead of it.
pub(crate) struct Connection {
    pub(crate) io: Io,
    /// The beginning of the next request, where it was sent ahead.
    pub(crate) read: Bytes,
    /// Who is at its other end.
    pub(super) client: Option<IpAddr>,
}

impl Connection {
    /// One that has not been read from.
    pub(crate) fn new(io: Io) -> Self {
        let client = io.client_address();
        Self { io, read: Bytes::new(), client }
    }
}

/// A byte stream to a client: in cleartext, or under TLS.
pub(crate) enum Io {
    Plain(Box<Stream>),
    Secured(pingora_core::protocols::Stream),
}

impl Io {
    /// The next bytes; none at the end. Cancel safe.
    pub(crate) fn poll_read_bytes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        match self {
            Io::Plain(stream) => stream.poll_read_bytes(cx),
            Io::Secured(stream) => transport::poll_read_bytes(Pin::new(stream), cx),
        }
    }

    /// Whether nothing has come since the last read: no byte, no end, no error. False where that
    /// cannot be told.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self, Io::Plain(stream) if stream.is_silent())
    }

    /// Who is at its other end.
    fn client_address(&self) -> Option<IpAddr> {
        match self {
            Io::Plain(stream) => stream.peer().map(|address| address.ip()),
            Io::Secured(stream) => {
                stream.get_socket_digest()?.peer_addr()?.as_inet().map(SocketAddr::ip)
            }
        }
    }

    /// What it has shown in the TLS handshake.
    pub(super) fn certificate(&self) -> Option<ClientCertificate> {
        match self {
            Io::Plain(_) => None,
            Io::Secured(stream) => {
                stream.get_ssl_digest()?.extension.get::<ClientCertificate>().cloned()
            }
        }
    }

    /// Says that nothing more will be sent, once everything was.
    pub(crate) async fn shutdown(&mut self) {
        match self {
            Io::Plain(stream) => Shutdown::shutdown(stream.as_mut()).await,
            Io::Secured(stream) => Shutdown::shutdown(stream.as_mut()).await,
        }
    }
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Io::Plain(stream) => stream.fmt(f),
            Io::Secured(stream) => stream.fmt(f),
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Io::Secured(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Io::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Io::Secured(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Io::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Io::Secured(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    /// Whether parts that are written together leave together without being put together first. Under
    /// TLS each part is a record of its own.
    fn is_write_vectored(&self) -> bool {
        matches!(self, Io::Plain(_))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Io::Secured(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Secured(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
