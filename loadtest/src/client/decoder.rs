//! HTTP/1.1 responses (RFC 9112), decoded from bytes in any chunking.

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};

/// Longest response head that is accepted.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most headers that are accepted.
const HEADERS_MAX: usize = 128;
/// Longest chunk-size or trailer line that is accepted.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// A response head. Headers are looked up in the bytes as they came; most are never looked at.
#[derive(Clone, Debug)]
pub struct Head {
    /// The status code.
    pub status: u16,
    raw: Bytes,
}

impl Head {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        memchr::memchr_iter(b'\n', &self.raw).find_map(|end| {
            let line = &self.raw[end + 1..];
            let value = line.get(name.len()..)?.strip_prefix(b":")?;
            if !line[..name.len()].eq_ignore_ascii_case(name.as_bytes()) {
                return None;
            }
            let end = memchr::memchr(b'\n', value).unwrap_or(value.len());
            std::str::from_utf8(&value[..end]).ok().map(str::trim)
        })
    }
}

/// What one step of decoding found.
#[derive(Debug)]
pub enum Step {
    /// More bytes are needed.
    More,
    /// The final head; interim ones (1xx) are passed over.
    Head(Head),
    /// A part of the body.
    Data(Bytes),
    /// The end of the message.
    End,
}

/// The answer broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Length(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    UntilClose,
    Done,
}

/// Decodes one response after another.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    keep_alive: bool,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { state: State::Head, keep_alive: true }
    }
}

impl Decoder {
    /// Whether the connection may carry another request after this response.
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// Whether the end of the connection is the regular end of the message.
    pub fn ends_with_connection(&self) -> bool {
        matches!(self.state, State::UntilClose | State::Done)
    }

    /// Gets ready for the next response.
    pub fn reset(&mut self) {
        self.state = State::Head;
    }

    /// Takes the next part out of `buffer`.
    pub fn step(&mut self, buffer: &mut BytesMut) -> Result<Step, Malformed> {
        loop {
            match self.state {
                State::Head => match self.head(buffer)? {
                    None => return Ok(Step::More),
                    Some(head) if head.status < 200 && head.status != 101 => {}
                    Some(head) => return Ok(Step::Head(head)),
                },
                State::Length(0) | State::Done => {
                    self.state = State::Done;
                    return Ok(Step::End);
                }
                State::Length(left) => {
                    return Ok(take(buffer, left, |left| self.state = State::Length(left)));
                }
                State::ChunkData(0) => self.state = State::ChunkEnd,
                State::ChunkData(left) => {
                    return Ok(take(buffer, left, |left| self.state = State::ChunkData(left)));
                }
                State::UntilClose => {
                    return Ok(take(buffer, u64::MAX, |_| ()));
                }
                State::ChunkEnd => match buffer.get(..2) {
                    None => return Ok(Step::More),
                    Some(b"\r\n") => {
                        buffer.advance(2);
                        self.state = State::ChunkSize;
                    }
                    Some(_) => return Err(Malformed("no line break after a chunk")),
                },
                State::ChunkSize => match chunk_size(buffer)? {
                    None => return Ok(Step::More),
                    Some(0) => self.state = State::Trailers,
                    Some(size) => self.state = State::ChunkData(size),
                },
                State::Trailers => match line(buffer)? {
                    None => return Ok(Step::More),
                    Some(line) if line.is_empty() => self.state = State::Done,
                    Some(_) => {}
                },
            }
        }
    }

    fn head(&mut self, buffer: &mut BytesMut) -> Result<Option<Head>, Malformed> {
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut []);
        let parser = httparse::ParserConfig::default();
        let parsed = parser.parse_response_with_uninit_headers(&mut response, buffer, &mut headers);
        let length = match parsed {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if buffer.len() > HEAD_BYTES_MAX => {
                return Err(Malformed("the head is too long"));
            }
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(Malformed("not an HTTP/1.1 response head")),
        };
        let status = response.code.ok_or(Malformed("no status"))?;
        self.keep_alive = response.version == Some(1);
        let (mut chunked, mut bytes) = (false, None);
        for header in response.headers.iter() {
            if header.name.eq_ignore_ascii_case("content-length") {
                let value = std::str::from_utf8(header.value).ok().and_then(|v| v.parse().ok());
                bytes = Some(value.ok_or(Malformed("content-length is not a number"))?);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = header.value.to_ascii_lowercase().ends_with(b"chunked");
            } else if header.name.eq_ignore_ascii_case("connection")
                && header.value.eq_ignore_ascii_case(b"close")
            {
                self.keep_alive = false;
            }
        }
        if status == 101 {
            // What follows is another protocol, whatever the head says of a body.
            (chunked, bytes) = (false, None);
        }
        self.state = match (status, chunked, bytes) {
            (100 | 102..200, ..) => State::Head,
            (204 | 304, ..) => State::Done,
            (_, true, Some(_)) => return Err(Malformed("both content-length and chunked")),
            (_, true, None) => State::ChunkSize,
            (_, false, Some(bytes)) => State::Length(bytes),
            (_, false, None) => State::UntilClose,
        };
        if self.state == State::UntilClose {
            self.keep_alive = false;
        }
        Ok(Some(Head { status, raw: buffer.split_to(length).freeze() }))
    }
}

fn take(buffer: &mut BytesMut, left: u64, remain: impl FnOnce(u64)) -> Step {
    if buffer.is_empty() {
        return Step::More;
    }
    let count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
    remain(left - count as u64);
    Step::Data(buffer.split_to(count).freeze())
}

fn line(buffer: &mut BytesMut) -> Result<Option<BytesMut>, Malformed> {
    match memchr::memchr(b'\n', buffer) {
        Some(end) => {
            let mut line = buffer.split_to(end + 1);
            line.truncate(end);
            if line.last() == Some(&b'\r') {
                line.truncate(end - 1);
            }
            Ok(Some(line))
        }
        None if buffer.len() > LINE_BYTES_MAX => Err(Malformed("a line is too long")),
        None => Ok(None),
    }
}

fn chunk_size(buffer: &mut BytesMut) -> Result<Option<u64>, Malformed> {
    match httparse::parse_chunk_size(buffer) {
        Ok(httparse::Status::Complete((length, size))) => {
            buffer.advance(length);
            Ok(Some(size))
        }
        Ok(httparse::Status::Partial) if buffer.len() > LINE_BYTES_MAX => {
            Err(Malformed("a chunk size line is too long"))
        }
        Ok(httparse::Status::Partial) => Ok(None),
        Err(_) => Err(Malformed("a chunk size is not a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(wire: &[u8], cut: usize) -> Result<(u16, Vec<u8>, bool), Malformed> {
        let (mut decoder, mut buffer) = (Decoder::default(), BytesMut::new());
        let (mut status, mut body, mut ended) = (0, Vec::new(), false);
        for piece in wire.chunks(cut) {
            buffer.extend_from_slice(piece);
            loop {
                match decoder.step(&mut buffer)? {
                    Step::More => break,
                    Step::Head(head) => status = head.status,
                    Step::Data(data) => body.extend_from_slice(&data),
                    Step::End => {
                        ended = true;
                        break;
                    }
                }
            }
        }
        Ok((status, body, ended))
    }

    #[test]
    fn any_cutting_gives_the_same_body() {
        let wire =
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
            5\r\nhello\r\n6;x=1\r\n world\r\n0\r\nt: 1\r\n\r\n";
        for cut in 1..wire.len() {
            assert_eq!(decode(wire, cut), Ok((200, b"hello world".to_vec(), true)), "cut {cut}");
        }
    }

    #[test]
    fn a_short_body_does_not_end() {
        let wire = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello";
        assert_eq!(decode(wire, 7), Ok((200, b"hello".to_vec(), false)));
    }

    #[test]
    fn malformed_answers_are_named() {
        for wire in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: ten\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n",
            b"\x16\x03\x01 garbage\r\n\r\n",
        ] {
            assert!(decode(wire, wire.len()).is_err(), "{}", String::from_utf8_lossy(wire));
        }
    }

    #[test]
    fn headers_are_found_whatever_their_case() {
        let mut buffer = BytesMut::from(
            &b"HTTP/1.1 200 OK\r\nX-Weir-Attempts: 2\r\nconnection: close\r\n\r\n"[..],
        );
        let mut decoder = Decoder::default();
        let Ok(Step::Head(head)) = decoder.step(&mut buffer) else { panic!("no head") };
        assert_eq!(head.header("x-weir-attempts"), Some("2"));
        assert_eq!(head.header("x-request-id"), None);
        assert!(!decoder.keep_alive());
    }
}
