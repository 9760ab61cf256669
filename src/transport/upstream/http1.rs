//! HTTP/1.1 towards an upstream in cleartext: one connection, one request at a time, and the
//! connections that wait for their next one.
//!
//! The response is read into large blocks and handed on as slices of them.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use ahash::AHashMap;
use bytes::{Bytes, BytesMut};
use http::Method;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Address, Request};
use crate::error::{Error, Kind};
use crate::transport::stream::Stream;
use crate::wire::http1::{Decoder, Head, Malformed, Part};

/// Room that a read should have.
const READ_BYTES_MIN: usize = 4 * 1024;
/// Size of the blocks that are read into.
const BLOCK_BYTES: usize = 16 * 1024;

/// One connection with the request that it carries.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    read: BytesMut,
    decoder: Decoder,
    for_head: bool,
    /// The request was written to its end.
    sent: bool,
}

impl Connection {
    pub(super) async fn open(to: SocketAddr) -> io::Result<Self> {
        let tcp = TcpStream::connect(to).await?.into_std()?;
        Ok(Self {
            stream: Stream::new(tcp)?,
            read: BytesMut::new(),
            decoder: Decoder::default(),
            for_head: false,
            sent: false,
        })
    }

    /// Sends a request: its head, then every part of its body. An upstream that answers before it
    /// has everything is not sent the rest.
    pub(super) async fn send(&mut self, request: &Request, body: &[Bytes]) -> Result<(), Error> {
        self.for_head = request.method == Method::HEAD;
        let head = serialised(request);
        self.stream.write_all(&head).await.map_err(|error| cut(&error))?;
        for part in body {
            if !self.write(part).await.map_err(|error| cut(&error))? {
                return Ok(());
            }
        }
        self.sent = true;
        Ok(())
    }

    /// Writes a part of a body. False when the upstream answers instead of taking it.
    async fn write(&mut self, mut part: &[u8]) -> io::Result<bool> {
        while !part.is_empty() {
            let Self { stream, read, .. } = self;
            let written = poll_fn(|cx| {
                if let Poll::Ready(written) = Pin::new(&mut *stream).poll_write(cx, part) {
                    return Poll::Ready(written.map(Some));
                }
                // Nothing was taken yet: whatever comes now is an answer, or the end.
                let reading = std::pin::pin!(stream.read_buf(&mut *read));
                ready!(reading.poll(cx))?;
                Poll::Ready(Ok(None))
            });
            match written.await? {
                Some(count) => part = &part[count..],
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Sends more of a connection that was upgraded.
    pub(super) async fn send_upgraded(&mut self, data: &[u8]) -> Result<(), Error> {
        self.stream.write_all(data).await.map_err(|error| cut(&error))
    }

    /// Waits for the next response head, informational or final.
    pub(super) async fn head(&mut self) -> Result<Head, Error> {
        loop {
            if !self.read.is_empty()
                && let Some(head) =
                    self.decoder.head(&mut self.read, self.for_head).map_err(malformed)?
            {
                return Ok(head);
            }
            if self.fill().await? == 0 {
                return Err(Error::new(
                    Kind::UpstreamCut,
                    "The upstream closed the connection before it answered.",
                ));
            }
        }
    }

    /// The next piece of the body; `None` at its end. Cancel safe.
    pub(super) async fn body(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            match self.decoder.body(&mut self.read).map_err(malformed)? {
                Part::Data(data) => return Ok(Some(data)),
                Part::End => return Ok(None),
                Part::Incomplete => {}
            }
            if self.fill().await? == 0 {
                if self.decoder.end() {
                    return Ok(None);
                }
                return Err(Error::new(
                    Kind::UpstreamCut,
                    "The upstream closed the connection within its answer.",
                ));
            }
        }
    }

    async fn fill(&mut self) -> Result<usize, Error> {
        if self.read.capacity() - self.read.len() < READ_BYTES_MIN {
            self.read.reserve(BLOCK_BYTES);
        }
        self.stream.read_buf(&mut self.read).await.map_err(|error| cut(&error))
    }

    /// Whether the connection can carry another request: this one and its response are complete,
    /// and nothing follows that nobody asked for.
    fn reusable(&self) -> bool {
        self.sent && self.decoder.keeps() && self.read.is_empty()
    }

    fn renewed(self) -> Self {
        Self { read: BytesMut::new(), decoder: Decoder::default(), sent: false, ..self }
    }
}

/// The head of a request as it goes over the wire.
fn serialised(request: &Request) -> Vec<u8> {
    let headers = &request.headers;
    let bytes: usize =
        headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let mut head = Vec::with_capacity(request.target.len() + bytes + 32);
    head.extend_from_slice(request.method.as_str().as_bytes());
    head.push(b' ');
    head.extend_from_slice(request.target.as_bytes());
    head.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

fn cut(error: &io::Error) -> Error {
    Error::new(Kind::UpstreamCut, "The connection to the upstream broke.").cause(error)
}

fn malformed(error: Malformed) -> Error {
    let public = match error {
        Malformed::Chunk => "The upstream sent a malformed response body.",
        _ => "The upstream sent a malformed response.",
    };
    Error::new(Kind::UpstreamProtocol, public).cause(error)
}

/// Connections that wait for their next request.
pub(super) struct Idle {
    connections: Mutex<AHashMap<Address, VecDeque<Waiting>>>,
    /// Most connections that wait for one upstream.
    per_upstream_max: usize,
}

struct Waiting {
    connection: Connection,
    until: Instant,
}

impl Waiting {
    /// Whether a request may be sent on it, as far as can be known.
    fn usable(&self, now: Instant) -> bool {
        now < self.until && self.connection.stream.is_silent()
    }
}

impl Idle {
    pub(super) fn new(per_upstream_max: usize) -> Self {
        Self { connections: Mutex::default(), per_upstream_max }
    }

    /// The connection that was used last, if one is usable.
    pub(super) fn take(&self, to: &Address, now: Instant) -> Option<Connection> {
        let mut connections = self.connections.lock();
        let waiting = connections.get_mut(to)?;
        while let Some(last) = waiting.pop_back() {
            if last.usable(now) {
                return Some(last.connection);
            }
        }
        None
    }

    /// Keeps a connection for its next request, where it can carry one.
    pub(super) fn keep(&self, to: &Address, connection: Connection, idle: Duration) {
        if !connection.reusable() {
            return;
        }
        let kept = Waiting { connection: connection.renewed(), until: Instant::now() + idle };
        let mut connections = self.connections.lock();
        let waiting = match connections.get_mut(to) {
            Some(waiting) => waiting,
            None => connections.entry(to.clone()).or_default(),
        };
        if waiting.len() >= self.per_upstream_max {
            waiting.pop_front();
        }
        waiting.push_back(kept);
    }

    /// Closes what has waited for too long or was closed by the upstream.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        self.connections.lock().retain(|_, waiting| {
            waiting.retain(|waiting| waiting.usable(now));
            !waiting.is_empty()
        });
    }
}
