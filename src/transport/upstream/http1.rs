//! HTTP/1.1 towards an upstream: one connection, one request at a time, and the
//! connections that wait for their next one.
//!
//! The response is handed on as slices of the memory that it was received into.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ahash::AHashMap;
use bytes::Bytes;
use http::Method;
use parking_lot::Mutex;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::io::Io;
use super::{Address, Request, Run};
use crate::clock::{Instant, Patience};
use crate::error::{Error, Kind};
use crate::transport::{Arrived, send_ahead};
use crate::wire::fields::Names;
use crate::wire::http1::{Decoder, Head, Malformed, Part, append};

/// One connection with the request that it carries.
#[derive(Debug)]
pub(super) struct Connection {
    io: Io,
    read: Bytes,
    decoder: Decoder,
    for_head: bool,
    /// The request was written to its end.
    sent: bool,
    /// For whoever waits for an answer.
    pub(super) patience: Patience,
}

impl Connection {
    pub(super) fn new(io: Io) -> Self {
        Self {
            io,
            read: Bytes::new(),
            decoder: Decoder::default(),
            for_head: false,
            sent: false,
            patience: Patience::default(),
        }
    }

    /// Sends a request: its head, then every part of its body. An upstream that answers before it
    /// has everything is not sent the rest.
    pub(super) async fn send(&mut self, request: &Request, body: &[Bytes]) -> Result<(), Error> {
        self.for_head = request.method == Method::HEAD;
        let mut head = HEAD.take();
        serialise(request, &mut head);
        let written = self.io.write_all(&head).await;
        head.clear();
        HEAD.set(head);
        written.map_err(|error| cut(&error))?;
        for part in body {
            if !self.write(part).await.map_err(|error| cut(&error))? {
                return Ok(());
            }
        }
        self.sent = self
            .unless_answered(AsyncWrite::poll_flush)
            .await
            .map_err(|error| cut(&error))?
            .is_some();
        send_ahead();
        Ok(())
    }

    /// Writes a part of a body. False when the upstream answers instead of taking it.
    async fn write(&mut self, mut part: &[u8]) -> io::Result<bool> {
        while !part.is_empty() {
            match self.unless_answered(|io, cx| io.poll_write(cx, part)).await? {
                Some(count) => part = &part[count..],
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Waits for a step of sending. `None` when the upstream answers, or ends, before it is done.
    async fn unless_answered<T>(
        &mut self,
        mut step: impl FnMut(Pin<&mut Io>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> io::Result<Option<T>> {
        let Self { io, read, .. } = self;
        poll_fn(|cx| {
            if let Poll::Ready(done) = step(Pin::new(&mut *io), cx) {
                return Poll::Ready(done.map(Some));
            }
            io.poll_read_bytes(cx).map_ok(|more| {
                append(read, more);
                None
            })
        })
        .await
    }

    /// Sends more of a connection that was upgraded.
    pub(super) async fn send_upgraded(&mut self, data: &[u8]) -> Result<(), Error> {
        self.io.write_all(data).await.map_err(|error| cut(&error))?;
        self.io.flush().await.map_err(|error| cut(&error))
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
            if !self.fill().await? {
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
            if !self.fill().await? {
                return self.ended().map(|()| None);
            }
        }
    }

    /// All that has come of the body in small chunks; or what has come over the wire, if that is asked
    /// for and begins with a chunk.
    pub(super) fn poll_run(
        &mut self,
        cx: &mut Context<'_>,
        as_it_came: bool,
    ) -> Poll<Result<Run, Error>> {
        loop {
            match self.decoder.body_run(&mut self.read).map_err(malformed)? {
                Part::Data(data) => return Poll::Ready(Ok(Run::Data(data))),
                Part::End => return Poll::Ready(Ok(Run::End)),
                Part::Incomplete => {}
            }
            let arrived = ready!(self.io.poll_receive(cx)).map_err(|error| cut(&error))?;
            if arrived.as_ref().is_empty() {
                return Poll::Ready(self.ended().map(|()| Run::End));
            }
            if as_it_came && self.read.is_empty() && self.decoder.is_between_chunks() {
                return Poll::Ready(Ok(Run::Arrived(arrived)));
            }
            append(&mut self.read, arrived.into_bytes());
        }
    }

    /// Takes back what of [`Run::Arrived`] was not passed on.
    pub(super) fn take_back(&mut self, rest: Arrived) {
        if !rest.as_ref().is_empty() {
            append(&mut self.read, rest.into_bytes());
        }
    }

    /// The upstream has closed the connection: that may be how the body ends.
    fn ended(&mut self) -> Result<(), Error> {
        if self.decoder.end() {
            return Ok(());
        }
        Err(Error::new(Kind::UpstreamCut, "The upstream closed the connection within its answer."))
    }

    /// Reads more; false at the end.
    async fn fill(&mut self) -> Result<bool, Error> {
        let more = poll_fn(|cx| self.io.poll_read_bytes(cx)).await.map_err(|error| cut(&error))?;
        let came = !more.is_empty();
        append(&mut self.read, more);
        Ok(came)
    }

    /// Whether the connection can carry another request: this one and its response are complete,
    /// and nothing follows that nobody asked for.
    fn reusable(&self) -> bool {
        self.sent && self.decoder.keeps() && self.read.is_empty()
    }

    fn renew(&mut self) {
        (self.read, self.decoder, self.sent) = (Bytes::new(), Decoder::default(), false);
    }
}

thread_local! {
    /// The next head is put together here.
    static HEAD: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Writes the head of a request as it goes over the wire.
fn serialise(request: &Request, head: &mut Vec<u8>) {
    let Request { method, target, headers } = request;
    head.reserve(target.len() + headers.wire_bytes_max() + 32);
    head.extend_from_slice(method.as_str().as_bytes());
    head.push(b' ');
    head.extend_from_slice(target.as_bytes());
    head.extend_from_slice(b" HTTP/1.1\r\n");
    headers.write_without(Names::default(), head);
    head.extend_from_slice(b"\r\n");
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
    connections: Mutex<AHashMap<Arc<Address>, VecDeque<Waiting>>>,
    /// Most connections that wait for one upstream.
    per_upstream_max: usize,
}

struct Waiting {
    connection: Box<Connection>,
    until: Instant,
}

impl Waiting {
    /// Whether a request may be sent on it, as far as can be known.
    fn usable(&mut self, now: Instant) -> bool {
        now < self.until && self.connection.io.is_silent()
    }
}

impl Idle {
    pub(super) fn new(per_upstream_max: usize) -> Self {
        Self { connections: Mutex::default(), per_upstream_max }
    }

    /// The connection that was used last, if one is usable.
    pub(super) fn take(&self, to: &Arc<Address>, now: Instant) -> Option<Box<Connection>> {
        let mut connections = self.connections.lock();
        let waiting = connections.get_mut(to)?;
        while let Some(mut last) = waiting.pop_back() {
            if last.usable(now) {
                return Some(last.connection);
            }
        }
        None
    }

    /// Keeps a connection for its next request, where it can carry one. `now` is the present.
    pub(super) fn keep(&self, to: &Arc<Address>, mut connection: Box<Connection>, now: Instant) {
        if !connection.reusable() {
            return;
        }
        connection.renew();
        let kept = Waiting { connection, until: now + to.idle };
        let mut connections = self.connections.lock();
        let waiting = match connections.get_mut(to) {
            Some(waiting) => waiting,
            None => connections.entry(Arc::clone(to)).or_default(),
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
            waiting.retain_mut(|waiting| waiting.usable(now));
            !waiting.is_empty()
        });
    }
}
