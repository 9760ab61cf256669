//! One request of an HTTP/1 connection and its answer.
//!
//! Pingora has a session of its own for HTTP/1. This one reads what the transport hands it without
//! copying, writes a head from where its fields are, answers what cannot be read as an API should,
//! bounds how long a head may take, and keeps two buffers less for each open stream.

mod connection;
mod head;

use std::cell::Cell;
use std::io::IoSlice;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{BufMut, Bytes};
use http::{Method, StatusCode, Uri, Version};
use pingora_core::{Error, ErrorType, OrErr, Result};
use tokio::io::{AsyncReadExt, AsyncWrite};

pub(crate) use connection::{Connection, Io};
pub(crate) use head::write as write_head;

use super::Head;
use crate::clock::{Instant, within};
use crate::transport::{ClientCertificate, large};
use crate::wire::fields::{Fields, Name};
use crate::wire::http1::{Body, Part, Request, append};

/// Frames up to this size are put together with their chunk's size line where they would not leave together
/// otherwise.
const GATHERED_BYTES_MAX: usize = 8 * 1024;
/// Room for a usual answer's head.
const HEAD_BYTES: usize = 1024;
/// The most that may be left of a body that nobody wanted for the connection to be kept. A longer one is
/// thrown away too, but only so that the client, which may still be sending, comes to read its answer.
const DRAINED_BYTES_MAX: u64 = 64 * 1024;
/// Longest wait for the next part of a body that is thrown away.
const DRAIN_IDLE: Duration = Duration::from_secs(2);
/// Bodies of such a length are handed on as one piece, which they are read into without another copy.
const WHOLE_BYTES: RangeInclusive<u64> = 128 * 1024..=1 << 30;
/// Bytes of it that are read before the worker's other requests get a turn.
const TURN_BYTES_MAX: usize = 256 * 1024;
/// Bytes of requests sent ahead that are kept while one is answered.
const AHEAD_BYTES_MAX: usize = 64 * 1024;
/// Longest wait for a client that does not read, unless told otherwise.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
const WRITING: &str = "while writing to the client";

thread_local! {
    /// What is written next is put together here: an open stream needs no buffer of its own between
    /// two frames.
    static GATHERED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A request and its answer.
pub(crate) struct Session {
    io: Io,
    /// Read, and not taken yet.
    read: Bytes,
    client: Option<IpAddr>,
    method: Method,
    target: Uri,
    version: Version,
    headers: Fields,
    body: Body,
    /// What has come of a body that is handed on as one piece.
    whole: Vec<u8>,
    answer: Answer,
    /// What the client has not taken yet, and what is left of the answer behind it.
    rest: Option<Box<(Output, Answer)>>,
    /// The connection can carry another request, as far as is known.
    keep: bool,
    /// Something of the body was asked for.
    begun: bool,
    body_bytes_read: usize,
    read_timeout: Option<Duration>,
    write_timeout: Duration,
    drain_timeout: Option<Duration>,
}

/// How the answer's body is delimited, and what is left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// Its head was not written.
    Unknown,
    /// So many bytes are left.
    Length(u64),
    Chunked,
    /// The connection's end is its end.
    UntilEnd,
    /// It is complete.
    Done,
}

/// Something to be written.
struct Output {
    /// What goes first, in the thread's buffer.
    gathered: Vec<u8>,
    /// What is not put together with it.
    data: Bytes,
    last: &'static [u8],
    /// How much of each has been written.
    written: [usize; 3],
}

impl Output {
    fn new() -> Self {
        Self { gathered: GATHERED.take(), data: Bytes::new(), last: b"", written: [0; 3] }
    }

    /// These bytes, as they are.
    fn of(data: Bytes) -> Self {
        Self { gathered: Vec::new(), data, last: b"", written: [0; 3] }
    }

    /// A chunk, and the last one behind it where it is the end (RFC 9112, section 7.1).
    fn chunk(data: Bytes, end: bool) -> Self {
        let mut output = Self::new();
        output.last = match (data.is_empty(), end) {
            (true, false) => b"",
            (true, true) => b"0\r\n\r\n",
            (false, false) => b"\r\n",
            (false, true) => b"\r\n0\r\n\r\n",
        };
        if !data.is_empty() {
            head::chunk_size(&mut output.gathered, data.len());
            output.data = data;
        }
        output
    }

    /// Puts it all together, where it is not much, for a stream that would not.
    fn together(&mut self) {
        if self.gathered.is_empty() || self.data.len() > GATHERED_BYTES_MAX {
            return;
        }
        self.gathered.extend_from_slice(&self.data);
        self.gathered.extend_from_slice(self.last);
        (self.data, self.last) = (Bytes::new(), b"");
    }

    fn poll_write(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Self { gathered, data, last, written } = self;
        let mut io = Pin::new(io);
        let parts = [&gathered[..], &data[..], last];
        let mut left: usize =
            parts.iter().map(|part| part.len()).sum::<usize>() - written.iter().sum::<usize>();
        while left > 0 {
            let rest: [_; 3] = std::array::from_fn(|at| IoSlice::new(&parts[at][written[at]..]));
            let count = ready!(io.as_mut().poll_write_vectored(cx, &rest));
            let mut count = match count.or_err(ErrorType::WriteError, WRITING)? {
                0 => return Poll::Ready(Error::e_explain(ErrorType::WriteError, WRITING)),
                count => count,
            };
            left -= count;
            for (part, written) in rest.iter().zip(&mut *written) {
                let of_part = count.min(part.len());
                *written += of_part;
                count -= of_part;
            }
        }
        io.poll_flush(cx).map(|flushed| flushed.or_err(ErrorType::WriteError, WRITING))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // The thread's buffer is there for the next.
        if self.gathered.capacity() > 0 {
            self.gathered.clear();
            GATHERED.set(std::mem::take(&mut self.gathered));
        }
    }
}

impl Session {
    /// The session of a request whose head was read from a connection.
    pub(crate) fn new(connection: Connection, request: Request) -> Self {
        let Connection { io, read, client } = connection;
        let Request { method, target, version, headers, body, keeps } = request;
        Self {
            io,
            read,
            client,
            method,
            target,
            version,
            headers,
            body,
            whole: Vec::new(),
            answer: Answer::Unknown,
            rest: None,
            keep: keeps,
            begun: false,
            body_bytes_read: 0,
            read_timeout: None,
            write_timeout: WRITE_TIMEOUT,
            drain_timeout: None,
        }
    }

    pub(super) fn take_head(&mut self) -> Head {
        let upgrade = self.version == Version::HTTP_11 && self.headers.contains(Name::Upgrade);
        let headers = std::mem::take(&mut self.headers);
        let target = std::mem::take(&mut self.target);
        Head { method: self.method.clone(), target, headers, upgrade }
    }

    pub(super) fn client_address(&self) -> Option<IpAddr> {
        self.client
    }

    pub(super) fn certificate(&self) -> Option<ClientCertificate> {
        self.io.certificate()
    }

    pub(super) fn is_body_empty(&self) -> bool {
        self.body.is_done() && self.body_bytes_read == 0
    }

    pub(super) fn is_body_done(&self) -> bool {
        self.body.is_done()
    }

    pub(super) fn set_read_timeout(&mut self, limit: Duration) {
        self.read_timeout = Some(limit);
    }

    pub(super) fn set_write_timeout(&mut self, limit: Duration) {
        self.write_timeout = limit;
    }

    pub(super) fn set_drain_timeout(&mut self, limit: Duration) {
        self.drain_timeout = Some(limit);
    }

    /// Closes the connection after this answer.
    pub(crate) fn close_after(&mut self) {
        self.keep = false;
    }

    /// The next part of the request's body; none at its end. Cancel safe.
    pub(super) async fn read_body(&mut self) -> Result<Option<Bytes>> {
        let large = matches!(self.body, Body::Length(left) if WHOLE_BYTES.contains(&left));
        if large || !self.whole.is_empty() {
            self.whole_body().await
        } else {
            self.next_part().await
        }
    }

    /// Fails when the client leaves. Cancel safe.
    pub(super) async fn gone(&mut self) -> Result<()> {
        // A request sent ahead waits for its turn (RFC 9112, section 9.3.2).
        while self.read.len() < AHEAD_BYTES_MAX {
            if !std::future::poll_fn(|cx| self.poll_fill(cx)).await? {
                return closed();
            }
        }
        std::future::pending().await
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool>> {
        self.io.poll_read_bytes(cx).map(|more| {
            let more = more.or_err(ErrorType::ReadError, "while reading from the client")?;
            let came = !more.is_empty();
            append(&mut self.read, more);
            Ok(came)
        })
    }

    /// Reads more; false at the end.
    async fn fill(&mut self) -> Result<bool> {
        let limit = self.read_timeout;
        let filling = std::future::poll_fn(|cx| self.poll_fill(cx));
        match limit {
            None => filling.await,
            Some(limit) => within(limit, pin!(filling))
                .await
                .unwrap_or_else(|| Error::e_explain(ErrorType::ReadTimedout, "the client")),
        }
    }

    /// The next part of the request's body. Cancel safe.
    async fn next_part(&mut self) -> Result<Option<Bytes>> {
        self.begun = true;
        loop {
            match self.body.next(&mut self.read) {
                Ok(Part::Data(data)) => {
                    self.body_bytes_read += data.len();
                    return Ok(Some(data));
                }
                Ok(Part::End) => return Ok(None),
                Ok(Part::Incomplete) => {}
                Err(malformed) => {
                    self.keep = false;
                    return Error::e_because(
                        ErrorType::Custom("InvalidChunk"),
                        "in the request's body",
                        malformed,
                    );
                }
            }
            if !self.fill().await? {
                if self.body.end() {
                    return Ok(None);
                }
                return closed();
            }
        }
    }

    /// All of a body whose length is known, read straight into memory of its own. Cancel safe.
    async fn whole_body(&mut self) -> Result<Option<Bytes>> {
        self.begun = true;
        let mut turn_bytes = 0;
        while let Body::Length(left) = self.body {
            let left = usize::try_from(left).unwrap_or(usize::MAX);
            if self.whole.len() == self.whole.capacity() {
                if self.whole.is_empty() {
                    self.whole = large::take(left);
                } else {
                    self.whole.reserve_exact(left);
                }
            }
            let count = if self.read.is_empty() {
                self.fill_whole(left.min(TURN_BYTES_MAX)).await?
            } else {
                let count = self.read.len().min(left);
                self.whole.extend_from_slice(&self.read.split_to(count));
                count
            };
            if count == 0 {
                return closed();
            }
            self.body.skip(count);
            turn_bytes += count;
            if turn_bytes >= TURN_BYTES_MAX {
                turn_bytes = 0;
                tokio::task::yield_now().await;
            }
        }
        self.body_bytes_read += self.whole.len();
        Ok(Some(large::share(std::mem::take(&mut self.whole))))
    }

    /// Reads at most so many bytes into what is reserved; none at the end.
    async fn fill_whole(&mut self, bytes_max: usize) -> Result<usize> {
        let room = (self.whole.capacity() - self.whole.len()).min(bytes_max);
        let mut into = (&mut self.whole).limit(room);
        let reading = pin!(self.io.read_buf(&mut into));
        let read = match self.read_timeout {
            None => reading.await,
            Some(limit) => match within(limit, reading).await {
                Some(read) => read,
                None => return Error::e_explain(ErrorType::ReadTimedout, "the client"),
            },
        };
        read.or_err(ErrorType::ReadError, "while reading from the client")
    }

    /// Writes what the connection takes at once, which nearly always is all of it. False where
    /// something is left for [`Self::write_rest`].
    fn write_at_once(&mut self, mut output: Output, answer: Answer) -> Result<bool> {
        if self.rest.is_some() {
            return Error::e_explain(ErrorType::InternalError, "more before the last was written");
        }
        if !self.io.is_write_vectored() {
            output.together();
        }
        match output.poll_write(&mut self.io, &mut Context::from_waker(Waker::noop())) {
            Poll::Ready(written) => {
                written?;
                self.answer = answer;
                Ok(true)
            }
            Poll::Pending => {
                self.rest = Some(Box::new((output, answer)));
                Ok(false)
            }
        }
    }

    /// Waits for a client that does not read. Boxed by those who wait, so that others have no state
    /// for it.
    async fn write_rest(&mut self) -> Result<()> {
        let Some((output, _)) = self.rest.as_deref_mut() else { return Ok(()) };
        let writing = std::future::poll_fn(|cx| output.poll_write(&mut self.io, cx));
        within(self.write_timeout, pin!(writing)).await.unwrap_or_else(|| {
            Error::e_explain(ErrorType::WriteTimedout, "the client does not read")
        })?;
        if let Some(rest) = self.rest.take() {
            self.answer = rest.1;
        }
        Ok(())
    }

    pub(super) async fn write_head(&mut self, status: StatusCode, headers: &Fields) -> Result<()> {
        let informational = status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS;
        let (mut answer, mut connection) = (self.answer, None);
        if !informational {
            answer = self.delimited(status, headers);
            self.keep &= self.can_be_kept(answer);
            connection = self.connection(status);
        }
        let mut output = Output::new();
        output.gathered.reserve(HEAD_BYTES);
        let chunked = answer == Answer::Chunked && !informational;
        head::write(&mut output.gathered, (status, headers), connection, chunked);
        if status == StatusCode::SWITCHING_PROTOCOLS {
            self.body = Body::UntilEnd;
        }
        if self.write_at_once(output, answer)? {
            return Ok(());
        }
        Box::pin(self.write_rest()).await
    }

    /// How an answer with this head is delimited (RFC 9112, section 6.3).
    fn delimited(&self, status: StatusCode, headers: &Fields) -> Answer {
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Answer::UntilEnd;
        }
        let empty = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if empty || self.method == Method::HEAD {
            return Answer::Done;
        }
        match headers.number(Name::ContentLength) {
            Some(0) => Answer::Done,
            Some(length) => Answer::Length(length),
            None if self.version == Version::HTTP_11 => Answer::Chunked,
            None => Answer::UntilEnd,
        }
    }

    /// Whether another request can follow on the connection: if this answer has an end of its own, and
    /// where the request ends is certain.
    fn can_be_kept(&self, answer: Answer) -> bool {
        let left = match self.body {
            Body::Done => 0,
            Body::Length(left) if !self.begun => left,
            _ => u64::MAX,
        };
        answer != Answer::UntilEnd && left <= DRAINED_BYTES_MAX
    }

    /// What the answer says about the connection.
    fn connection(&self, status: StatusCode) -> Option<&'static str> {
        if status == StatusCode::SWITCHING_PROTOCOLS {
            Some("Upgrade")
        } else if !self.keep {
            Some("close")
        } else if self.version == Version::HTTP_10 {
            Some("keep-alive")
        } else {
            None
        }
    }

    /// Writes more of the answer's body, which `end` completes.
    pub(super) async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        if self.write_part(data, end)? {
            return Ok(());
        }
        Box::pin(self.write_rest()).await
    }

    /// Whether more of the answer may be written in chunks of others.
    pub(super) fn takes_chunks(&self) -> bool {
        self.answer == Answer::Chunked && self.rest.is_none()
    }

    /// Writes more of the body in chunks that are whole (RFC 9112, section 7.1). False where something
    /// of them is left for [`Self::written`].
    pub(super) fn write_chunks(&mut self, chunks: &[u8]) -> Result<bool> {
        let io = Pin::new(&mut self.io);
        let taken = match io.poll_write(&mut Context::from_waker(Waker::noop()), chunks) {
            Poll::Ready(count) => count.or_err(ErrorType::WriteError, WRITING)?,
            Poll::Pending => 0,
        };
        if taken == chunks.len() && matches!(self.io, Io::Plain(_)) {
            return Ok(true);
        }
        let left = Bytes::copy_from_slice(&chunks[taken..]);
        self.write_at_once(Output::of(left), Answer::Chunked)
    }

    /// Waits until all is written that was to be.
    pub(super) async fn written(&mut self) -> Result<()> {
        if self.rest.is_some() { Box::pin(self.write_rest()).await } else { Ok(()) }
    }

    /// Whether the client has sent nothing more and is there, as far as can be told without asking.
    pub(super) fn is_silent(&self) -> bool {
        self.io.is_silent()
    }

    fn write_part(&mut self, data: Bytes, end: bool) -> Result<bool> {
        if data.is_empty() && !end {
            return Ok(true);
        }
        match self.framed(data, end)? {
            (Some(output), answer) => self.write_at_once(output, answer),
            (None, answer) => {
                self.answer = answer;
                Ok(true)
            }
        }
    }

    /// More of the body as it goes over the wire, and what is left of the answer behind it.
    fn framed(&mut self, data: Bytes, end: bool) -> Result<(Option<Output>, Answer)> {
        let (output, answer) = match self.answer {
            Answer::Unknown => {
                return Error::e_explain(ErrorType::InternalError, "a body before its head");
            }
            Answer::Done => return Ok((None, Answer::Done)),
            Answer::UntilEnd if end => (Output::of(data), Answer::Done),
            Answer::UntilEnd => (Output::of(data), Answer::UntilEnd),
            Answer::Length(left) => match left.checked_sub(data.len() as u64) {
                Some(0) => (Output::of(data), Answer::Done),
                Some(left) => (Output::of(data), Answer::Length(left)),
                None => {
                    self.keep = false;
                    return Error::e_explain(ErrorType::InternalError, "longer than announced");
                }
            },
            Answer::Chunked if end => (Output::chunk(data, true), Answer::Done),
            Answer::Chunked => (Output::chunk(data, false), Answer::Chunked),
        };
        Ok((Some(output), answer))
    }

    /// Ends the answer. Whether the connection can carry another request; where not, it is closed.
    pub(crate) async fn finish(&mut self) -> bool {
        // What was begun and not written to its end leaves the client in the middle of it.
        if self.rest.is_some() {
            return false;
        }
        if self.answer != Answer::Done && self.write_body(Bytes::new(), true).await.is_err() {
            return false;
        }
        if !self.body.is_done() {
            // What is rarely needed is kept out of the state of every answer.
            if let Some(limit) = self.drain_timeout {
                Box::pin(self.drain(limit)).await;
            }
            self.keep &= self.body.is_done();
        }
        // An answer that is shorter than announced has no end.
        if self.answer != Answer::Done {
            return false;
        }
        if !self.keep {
            self.io.shutdown().await;
        }
        self.keep
    }

    /// The connection, for its next request.
    pub(crate) fn into_connection(self) -> Connection {
        let Self { io, read, client, .. } = self;
        Connection { io, read, client }
    }

    /// Throws away what is left of a body that nobody wanted. Closing instead would make the system
    /// reset the connection, and the client might never read its answer.
    async fn drain(&mut self, limit: Duration) {
        let until = Instant::now() + limit;
        while !self.body.is_done() {
            let left = until.saturating_duration_since(Instant::now()).min(DRAIN_IDLE);
            let part = within(left, pin!(self.next_part())).await;
            if !matches!(part, Some(Ok(Some(_)))) {
                break;
            }
        }
    }
}

fn closed<T>() -> Result<T> {
    Error::e_explain(ErrorType::ConnectionClosed, "the client closed the connection")
}
