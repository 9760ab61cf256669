//! Writing answers over HTTP/1.1, and noticing at every wait that the client is gone.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::StatusCode;
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep_until};

use crate::mock::outbound::{Gone, Head};

/// How much of a next request is taken in while an answer is still being sent.
const AHEAD_BYTES_MAX: usize = 256 << 10;

/// The way back over one connection, for one answer.
#[expect(clippy::struct_excessive_bools, reason = "independent facts of one answer")]
pub(in crate::mock) struct Out<'a> {
    io: &'a TcpStream,
    inbox: &'a mut BytesMut,
    /// What goes out with the next write; empty between two answers.
    held: &'a mut Vec<u8>,
    chunked: bool,
    keep_alive: bool,
    /// Whether the head says what `keep_alive` is.
    silent: bool,
    http_10: bool,
    begun: bool,
    finished: bool,
    pub(in crate::mock) drip: Option<Duration>,
    /// The pause after the first few bytes of the head.
    pub(in crate::mock) slow_head: Option<Duration>,
    pub(in crate::mock) last_write: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<'a> Out<'a> {
    pub(super) fn new(
        io: &'a TcpStream,
        inbox: &'a mut BytesMut,
        held: &'a mut Vec<u8>,
        keep_alive: bool,
        http_10: bool,
    ) -> Self {
        held.clear();
        Self {
            io,
            inbox,
            held,
            chunked: false,
            keep_alive,
            silent: false,
            http_10,
            begun: false,
            finished: false,
            drip: None,
            slow_head: None,
            last_write: None,
            sleep: None,
        }
    }

    /// The connection beneath, for a protocol that takes it over.
    pub(in crate::mock) fn take_over(&mut self) -> (&TcpStream, &mut BytesMut) {
        self.keep_alive = false;
        (self.io, self.inbox)
    }

    /// An answer that is complete, head and body, as it goes over the wire.
    pub(in crate::mock) async fn answer(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Gone> {
        self.begun = true;
        write(self.held);
        self.flush().await?;
        self.finished = true;
        Ok(())
    }

    /// Whether another request may follow on this connection.
    pub(in crate::mock) fn may_follow(&self) -> bool {
        self.keep_alive && self.finished
    }

    pub(in crate::mock) fn head(&mut self, head: &Head<'_>) {
        self.begun = true;
        // HTTP/1.0 has no chunks: the end of the connection ends the body.
        self.chunked = head.length.is_none() && !self.http_10;
        if head.length.is_none() && self.http_10 {
            self.keep_alive = false;
        }
        let close = !self.keep_alive && !self.silent;
        write_head(self.held, head, self.chunked, close);
    }

    pub(in crate::mock) async fn flush(&mut self) -> Result<(), Gone> {
        let held = std::mem::take(self.held);
        let sent = self.write(&held).await;
        *self.held = held;
        self.held.clear();
        sent
    }

    pub(in crate::mock) async fn data(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        if bytes.is_empty() {
            return Ok(());
        }
        if !self.chunked && bytes.len() > COPY_BYTES_MAX {
            self.flush().await?;
            return self.write(bytes).await;
        }
        if self.chunked {
            self.held.extend_from_slice(chunk_head(bytes.len(), &mut [0; 18]));
        }
        self.held.extend_from_slice(bytes);
        if self.chunked {
            self.held.extend_from_slice(b"\r\n");
        }
        self.flush().await
    }

    pub(in crate::mock) async fn finish(&mut self) -> Result<(), Gone> {
        if self.chunked {
            self.held.extend_from_slice(b"0\r\n\r\n");
        }
        self.flush().await?;
        self.finished = true;
        Ok(())
    }

    pub(in crate::mock) async fn raw(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        self.held.extend_from_slice(bytes);
        self.flush().await
    }

    pub(in crate::mock) fn close_after(&mut self, say: bool) {
        self.keep_alive = false;
        self.silent = !say;
    }

    pub(in crate::mock) fn cut(&mut self) {
        self.keep_alive = false;
    }

    pub(in crate::mock) fn reset(&mut self) {
        self.keep_alive = false;
        // With this set, closing sends RST instead of FIN.
        let _ = socket2::SockRef::from(self.io).set_linger(Some(Duration::ZERO));
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        if let Some(pause) = self.slow_head.take()
            && bytes.len() > SLOW_HEAD_BYTES
        {
            self.write_all(&bytes[..SLOW_HEAD_BYTES]).await?;
            self.wait(Instant::now() + pause).await?;
            return self.write_all(&bytes[SLOW_HEAD_BYTES..]).await;
        }
        let Some(pause) = self.drip else { return self.write_all(bytes).await };
        for byte in bytes {
            self.write_all(std::slice::from_ref(byte)).await?;
            if pause.is_zero() {
                tokio::task::yield_now().await;
            } else {
                self.wait(Instant::now() + pause).await?;
            }
        }
        Ok(())
    }

    async fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), Gone> {
        while !bytes.is_empty() {
            match self.io.try_write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll_fn(|cx| match self.poll_gone(cx) {
                        Poll::Ready(Gone) => Poll::Ready(Err(Gone)),
                        Poll::Pending => self.io.poll_write_ready(cx).map_err(|_| Gone),
                    })
                    .await?;
                }
                Err(_) => return Err(Gone),
            }
        }
        self.last_write = Some(Instant::now());
        Ok(())
    }

    pub(in crate::mock) async fn wait(&mut self, until: Instant) -> Result<(), Gone> {
        let mut sleep = self.sleep.take().unwrap_or_else(|| Box::pin(sleep_until(until.into())));
        sleep.as_mut().reset(until.into());
        let result = poll_fn(|cx| {
            if sleep.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            self.poll_gone(cx).map(Err)
        })
        .await;
        self.sleep = Some(sleep);
        result
    }

    pub(in crate::mock) async fn gone(&mut self) -> Gone {
        poll_fn(|cx| self.poll_gone(cx)).await
    }

    /// Ready when the client closed or broke the connection. What it sends meanwhile is kept.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        loop {
            if self.inbox.len() >= AHEAD_BYTES_MAX {
                return Poll::Pending;
            }
            match self.io.poll_read_ready(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(Gone),
                Poll::Ready(Ok(())) => {}
            }
            match super::take(self.io, self.inbox) {
                Ok(0) => return Poll::Ready(Gone),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Poll::Ready(Gone);
                }
                _ => {}
            }
        }
    }
}

/// Appends a head as it goes over the wire.
pub(in crate::mock) fn write_head(out: &mut Vec<u8>, head: &Head<'_>, chunked: bool, close: bool) {
    let status = StatusCode::from_u16(head.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut put = |text: &str| out.extend_from_slice(text.as_bytes());
    put("HTTP/1.1 ");
    put(status.as_str());
    put(" ");
    put(status.canonical_reason().unwrap_or("Overloaded"));
    put("\r\ncontent-type: ");
    put(head.content_type);
    put("\r\n");
    for (name, value) in head.headers {
        put(name);
        put(": ");
        put(value);
        put("\r\n");
    }
    match head.length {
        Some(length) => {
            put("content-length: ");
            put(itoa::Buffer::new().format(length));
            put("\r\n");
        }
        None if chunked => put("transfer-encoding: chunked\r\n"),
        None => {}
    }
    if close {
        put("connection: close\r\n");
    }
    put("\r\n");
}

/// How much of a slow head comes before the pause: the status line.
const SLOW_HEAD_BYTES: usize = "HTTP/1.1 200 OK\r\n".len();

/// Bodies up to this size are copied behind their head so that both leave in one write.
const COPY_BYTES_MAX: usize = 64 << 10;

/// The first line of a chunk.
fn chunk_head(length: usize, room: &mut [u8; 18]) -> &[u8] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    room[16..].copy_from_slice(b"\r\n");
    let mut at = 16;
    let mut rest = length;
    loop {
        at -= 1;
        room[at] = DIGITS[rest & 15];
        rest >>= 4;
        if rest == 0 {
            return &room[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_heads() {
        for length in [1, 15, 16, 255, 4096, 123_456_789, usize::MAX] {
            assert_eq!(chunk_head(length, &mut [0; 18]), format!("{length:x}\r\n").as_bytes());
        }
    }
}
