//! One request on a thread of its own, for scenarios that look closely at single answers.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::{Decoder, Endpoint, Failure, Framing, Head, Mark, Scanner, Step};

/// Bytes of a body that are kept to be looked at.
const BODY_BYTES_KEPT: usize = 4 << 20;

/// What came back for one request.
#[derive(Debug, Default)]
pub struct Reply {
    /// The head, if one came.
    pub head: Option<Head>,
    /// The first part of the body.
    pub body: Vec<u8>,
    /// Length of the whole body.
    pub body_bytes: u64,
    /// From sending to the first byte of the body.
    pub first: Option<Duration>,
    /// From connecting to the end.
    pub total: Duration,
    /// Frames with content.
    pub content: u32,
    /// The terminal event was seen.
    pub terminal: bool,
    /// The first error frame of a stream.
    pub error_frame: Option<Vec<u8>>,
    /// The body is a stream that ended inside a frame.
    pub torn: bool,
    /// A frame holds data that is not JSON.
    pub garbled: bool,
    /// Why the answer did not end as HTTP says.
    pub failure: Option<Failure>,
}

impl Reply {
    /// The status; 0 when no head came.
    pub fn status(&self) -> u16 {
        self.head.as_ref().map_or(0, |head| head.status)
    }

    /// A header of the answer.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.as_ref()?.header(name)
    }

    /// Whether the answer is a stream.
    pub fn streams(&self) -> bool {
        self.header("content-type").is_some_and(|kind| Framing::of(kind) != Framing::Whole)
    }

    /// Whether it ended as HTTP and the stream's framing say, with its terminal event or an error.
    pub fn well_formed(&self) -> bool {
        let ended = self.failure.is_none() && self.head.is_some() && !self.torn;
        ended && (!self.streams() || self.terminal || self.error_frame.is_some())
    }

    /// Whether the answer is in the format it should be in.
    pub fn intelligible(&self) -> bool {
        match (self.streams(), self.header("content-type")) {
            (true, _) => !self.garbled,
            (false, Some(kind)) if kind.starts_with("application/json") => {
                self.body_bytes > self.body.len() as u64
                    || serde_json::from_slice::<serde::de::IgnoredAny>(&self.body).is_ok()
            }
            (false, kind) => kind.is_some_and(|kind| !kind.starts_with("text/html")),
        }
    }

    /// Whether the client got what it asked for.
    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.status())
            && self.well_formed()
            && self.intelligible()
            && self.error_frame.is_none()
    }
}

/// A request under way.
#[derive(Debug)]
pub struct Exchange {
    stream: TcpStream,
    endpoint: Endpoint,
    started: Instant,
}

impl Exchange {
    /// Connects and sends.
    pub fn send(
        address: SocketAddr,
        wire: &[u8],
        endpoint: Endpoint,
        limit: Duration,
    ) -> Result<Self, Failure> {
        let started = Instant::now();
        let connecting = |error| Failure::connecting(&error);
        let mut stream = TcpStream::connect_timeout(&address, limit).map_err(connecting)?;
        stream.set_nodelay(true).map_err(connecting)?;
        stream.set_write_timeout(Some(limit)).map_err(connecting)?;
        // A server may answer before it has read everything; what it says decides then.
        let _ = stream.write_all(wire);
        Ok(Self { stream, endpoint, started })
    }

    /// Reads until the answer ends, or until `enough` says so.
    pub fn read(&mut self, limit: Duration, mut enough: impl FnMut(&Reply) -> bool) -> Reply {
        let mut reply = Reply::default();
        let mut decoder = Decoder::default();
        let mut buffer = BytesMut::new();
        let mut scanner = Scanner::new(self.endpoint, Framing::Whole);
        let result = loop {
            match decoder.step(&mut buffer) {
                Err(_) => break Err(Failure::Protocol),
                Ok(Step::End) => break Ok(()),
                Ok(Step::Head(head)) => {
                    let framing = head.header("content-type").map_or(Framing::Whole, Framing::of);
                    scanner = Scanner::new(self.endpoint, framing);
                    reply.head = Some(head);
                }
                Ok(Step::Data(data)) => {
                    reply.first.get_or_insert_with(|| self.started.elapsed());
                    if !reply.take(&mut scanner, &data) {
                        break Err(Failure::Protocol);
                    }
                }
                Ok(Step::More) => match self.fill(&mut buffer, limit) {
                    Ok(0) if decoder.ends_with_connection() => break Ok(()),
                    Ok(0) | Err(Failure::Cut) => break Err(reply.cut()),
                    Ok(_) => {}
                    Err(failure) => break Err(failure),
                },
            }
            if enough(&reply) {
                break Ok(());
            }
        };
        reply.total = self.started.elapsed();
        reply.torn = reply.streams() && !scanner.pending().is_empty();
        reply.failure = result.err();
        reply
    }

    /// Goes away, with a reset when something unread is left.
    pub fn leave(self) {
        // It is gone either way.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn fill(&mut self, buffer: &mut BytesMut, limit: Duration) -> Result<usize, Failure> {
        let left = limit.saturating_sub(self.started.elapsed());
        if left.is_zero() || self.stream.set_read_timeout(Some(left)).is_err() {
            return Err(Failure::Timeout);
        }
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(count) => {
                buffer.extend_from_slice(&chunk[..count]);
                Ok(count)
            }
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) =>
            {
                Err(Failure::Timeout)
            }
            Err(_) => Err(Failure::Cut),
        }
    }
}

impl Reply {
    fn take(&mut self, scanner: &mut Scanner, data: &Bytes) -> bool {
        self.body_bytes += data.len() as u64;
        let room = BODY_BYTES_KEPT.saturating_sub(self.body.len());
        self.body.extend_from_slice(&data[..data.len().min(room)]);
        scanner.push(data, |mark, frame| {
            self.garbled |= !readable(frame);
            match mark {
                Mark::Content => self.content += 1,
                Mark::Terminal => self.terminal = true,
                Mark::Error if self.error_frame.is_none() => {
                    self.error_frame = Some(frame.to_vec());
                }
                _ => {}
            }
        })
    }

    fn cut(&self) -> Failure {
        if self.head.is_some() { Failure::Cut } else { Failure::NoAnswer }
    }
}

/// Whether the data of an SSE frame is JSON, or the end mark.
fn readable(frame: &[u8]) -> bool {
    frame.split(|&byte| byte == b'\n').filter_map(|line| line.strip_prefix(b"data:")).all(|data| {
        let data = data.trim_ascii();
        data == b"[DONE]" || serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok()
    })
}

/// Sends a request and reads the whole answer.
pub fn ask(address: SocketAddr, wire: &[u8], endpoint: Endpoint, limit: Duration) -> Reply {
    match Exchange::send(address, wire, endpoint, limit) {
        Ok(mut exchange) => exchange.read(limit, |_| false),
        Err(failure) => Reply { failure: Some(failure), ..Reply::default() },
    }
}

/// A plain request to a control address; the body of a 2xx.
pub fn call(address: SocketAddr, method: &str, path: &str, body: &str) -> Result<Vec<u8>, String> {
    let wire = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
        content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let reply = ask(address, wire.as_bytes(), Endpoint::Models, Duration::from_secs(10));
    match (reply.status(), reply.failure) {
        (200..300, None) => Ok(reply.body),
        (status, failure) => Err(format!(
            "{method} http://{address}{path}: status {status}{}",
            failure.map_or_else(String::new, |failure| format!(", {failure}"))
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn answer(bytes: &'static [u8]) -> Reply {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("its address");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(bytes);
        });
        let reply =
            ask(address, b"POST / HTTP/1.1\r\n\r\n", Endpoint::Chat, Duration::from_secs(5));
        server.join().expect("the server ends");
        reply
    }

    #[test]
    fn a_complete_stream_succeeds() {
        let reply = answer(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n\
            data: {\"content\":\"a\"}\n\ndata: [DONE]\n\n",
        );
        assert!(reply.succeeded() && reply.content == 1);
        let reply = answer(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n\
            data: {\"content\":\"a}\n\ndata: [DONE]\n\n",
        );
        assert!(reply.well_formed() && !reply.succeeded());
    }

    #[test]
    fn a_stream_without_its_end_does_not() {
        let reply = answer(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n\
            data: {\"content\":\"a\"}\n\ndata: {\"con",
        );
        assert!(reply.torn && !reply.well_formed());
        let reply = answer(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
        assert_eq!(reply.failure, Some(Failure::Cut));
        assert_eq!(answer(b"").failure, Some(Failure::NoAnswer));
    }

    #[test]
    fn an_error_with_a_regular_end_is_well_formed_but_no_success() {
        let reply = answer(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n\
            data: {\"error\":{\"message\":\"m\"}}\n\n",
        );
        assert!(reply.well_formed() && !reply.succeeded());
    }
}
