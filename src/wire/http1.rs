//! Responses of HTTP/1.1 as they arrive (RFC 9112): a head, then a body that is delimited by its
//! length, by chunks or by the end of the connection. Push bytes, get parts; the body's bytes are
//! handed on as slices of what was pushed.

use std::fmt;
use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// Headers of a response.
const HEADERS_MAX: usize = 128;
/// Room in a head's map for what is added on its way to a client, so that it need not grow.
const HEADERS_ADDED: usize = 8;
/// Length of a response's head.
const HEAD_BYTES_MAX: usize = 256 * 1024;
/// Length of a line with a chunk's size and extensions.
const CHUNK_LINE_BYTES_MAX: usize = 4096;
/// Length of all trailers.
const TRAILER_BYTES_MAX: usize = 16 * 1024;
/// Hexadecimal digits of a chunk's size: 2^60 is more than anybody sends.
const CHUNK_DIGITS_MAX: usize = 15;

/// The head of a response.
#[derive(Debug)]
pub struct Head {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
}

/// What a response's body turned out to be next.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// Some of it.
    Data(Bytes),
    /// More has to be read first.
    Incomplete,
    /// It is complete.
    End,
}

/// What is wrong with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The head is not what RFC 9112 says.
    Head,
    /// The head is longer, or has more headers, than is accepted.
    HeadTooLong,
    /// Its length is given twice, differently, or is not a number.
    Length,
    /// It is encoded in a way other than chunked.
    TransferEncoding,
    /// A chunk's size, its end or the trailers are not what RFC 9112 says.
    Chunk,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Malformed::Head => "the response's head is malformed",
            Malformed::HeadTooLong => "the response's head is too long",
            Malformed::Length => "the response's length is ambiguous",
            Malformed::TransferEncoding => "the response's transfer encoding is unknown",
            Malformed::Chunk => "the response's chunked encoding is malformed",
        })
    }
}

impl std::error::Error for Malformed {}

/// Reads one response.
#[derive(Debug, Default)]
pub struct Decoder {
    body: Body,
    keep: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Body {
    /// The head is not read yet.
    #[default]
    Unknown,
    /// So many bytes are left.
    Length(u64),
    /// The size of a chunk comes next.
    ChunkSize,
    /// So many bytes of a chunk are left.
    Chunk(u64),
    /// The line break after a chunk comes next.
    ChunkEnd,
    /// Trailers, of which so many bytes were seen.
    Trailers(usize),
    /// Everything until the connection ends.
    UntilEnd,
    /// There is no more.
    Done,
}

impl Decoder {
    /// Takes the head out of what was read, once it is complete. `for_head` says that the request's
    /// method was `HEAD`, so that no body follows whatever the head says.
    ///
    /// After an informational head (1xx but 101) the next call reads another head.
    ///
    /// # Errors
    ///
    /// [`Malformed`]; nothing after it can be trusted.
    pub fn head(&mut self, read: &mut Bytes, for_head: bool) -> Result<Option<Head>, Malformed> {
        // Left as they are: filling in all of them would take longer than parsing a usual head.
        let mut slots = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut response,
            read,
            &mut slots,
        );
        let (length, version, code) = match parsed {
            Ok(httparse::Status::Complete(length)) => {
                (length, response.version.unwrap_or(0), response.code.unwrap_or(0))
            }
            Ok(httparse::Status::Partial) if read.len() < HEAD_BYTES_MAX => return Ok(None),
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                return Err(Malformed::HeadTooLong);
            }
            Err(_) => return Err(Malformed::Head),
        };
        let status = StatusCode::from_u16(code).map_err(|_| Malformed::Head)?;
        let start = read.as_ptr() as usize;
        // Where each value lies, so that it can be a slice of the head and not a copy.
        let spans: smallvec::SmallVec<[(HeaderName, usize, usize); 32]> = response
            .headers
            .iter()
            .map(|header| {
                let name = HeaderName::from_bytes(header.name.as_bytes());
                let at = header.value.as_ptr() as usize - start;
                name.map(|name| (name, at, at + header.value.len()))
            })
            .collect::<Result<_, _>>()
            .map_err(|_| Malformed::Head)?;
        let raw = read.split_to(length);
        let mut headers = HeaderMap::with_capacity(spans.len() + HEADERS_ADDED);
        for (name, from, to) in spans {
            let value = HeaderValue::from_maybe_shared(raw.slice(from..to));
            headers.append(name, value.map_err(|_| Malformed::Head)?);
        }
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            self.body = body(status, &headers, for_head)?;
            self.keep = keeps(version, &headers) && self.body != Body::UntilEnd;
        }
        Ok(Some(Head { status, headers }))
    }

    /// Takes the next part of the body out of what was read.
    ///
    /// # Errors
    ///
    /// [`Malformed::Chunk`]; nothing after it can be trusted.
    pub fn body(&mut self, read: &mut Bytes) -> Result<Part, Malformed> {
        loop {
            match self.body {
                Body::Done => return Ok(Part::End),
                Body::Unknown => return Ok(Part::Incomplete),
                _ if read.is_empty() => return Ok(Part::Incomplete),
                Body::UntilEnd => return Ok(Part::Data(std::mem::take(read))),
                Body::Length(left) => {
                    let (data, left) = take(read, left);
                    self.body = if left == 0 { Body::Done } else { Body::Length(left) };
                    return Ok(Part::Data(data));
                }
                Body::Chunk(left) => {
                    let (data, left) = take(read, left);
                    self.body = if left == 0 { Body::ChunkEnd } else { Body::Chunk(left) };
                    return Ok(Part::Data(data));
                }
                Body::ChunkSize => {
                    let Some(line) = line(read, CHUNK_LINE_BYTES_MAX)? else {
                        return Ok(Part::Incomplete);
                    };
                    let size = chunk_size(&read[..line])?;
                    read.advance(line + 2);
                    self.body = if size == 0 { Body::Trailers(0) } else { Body::Chunk(size) };
                }
                Body::ChunkEnd => {
                    if read[0] != b'\r' || read.get(1).is_some_and(|byte| *byte != b'\n') {
                        return Err(Malformed::Chunk);
                    }
                    if read.len() < 2 {
                        return Ok(Part::Incomplete);
                    }
                    read.advance(2);
                    self.body = Body::ChunkSize;
                }
                Body::Trailers(seen) => {
                    let Some(line) = line(read, TRAILER_BYTES_MAX - seen)? else {
                        return Ok(Part::Incomplete);
                    };
                    read.advance(line + 2);
                    self.body =
                        if line == 0 { Body::Done } else { Body::Trailers(seen + line + 2) };
                }
            }
        }
    }

    /// The connection has ended. True when that completes the body.
    pub fn end(&mut self) -> bool {
        if self.body == Body::UntilEnd {
            self.body = Body::Done;
        }
        self.body == Body::Done
    }

    /// Whether the response was read to its end.
    pub fn is_done(&self) -> bool {
        self.body == Body::Done
    }

    /// Whether the connection can carry another request after it.
    pub fn keeps(&self) -> bool {
        self.keep && self.is_done()
    }
}

/// Puts more behind what was read: without a copy where nothing was left.
pub fn append(read: &mut Bytes, more: Bytes) {
    if read.is_empty() {
        *read = more;
        return;
    }
    let mut whole = std::mem::take(read).try_into_mut().unwrap_or_else(|shared| {
        let mut own = BytesMut::with_capacity(shared.len() + more.len());
        own.extend_from_slice(&shared);
        own
    });
    whole.extend_from_slice(&more);
    *read = whole.freeze();
}

fn take(read: &mut Bytes, left: u64) -> (Bytes, u64) {
    let count = usize::try_from(left).map_or(read.len(), |left| left.min(read.len()));
    (read.split_to(count), left - count as u64)
}

/// The length of the line that is read first, without its line break.
fn line(read: &[u8], bytes_max: usize) -> Result<Option<usize>, Malformed> {
    match memchr::memchr(b'\n', read) {
        Some(end) if end > bytes_max => Err(Malformed::Chunk),
        Some(end) if end > 0 && read[end - 1] == b'\r' => Ok(Some(end - 1)),
        Some(_) => Err(Malformed::Chunk),
        None if read.len() > bytes_max => Err(Malformed::Chunk),
        None => Ok(None),
    }
}

/// The size at the beginning of a chunk's line; extensions after it are ignored (RFC 9112, section
/// 7.1.1).
fn chunk_size(line: &[u8]) -> Result<u64, Malformed> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let rest = line[digits..].trim_ascii_start();
    if digits == 0 || digits > CHUNK_DIGITS_MAX || !(rest.is_empty() || rest[0] == b';') {
        return Err(Malformed::Chunk);
    }
    let digits = std::str::from_utf8(&line[..digits]).map_err(|_| Malformed::Chunk)?;
    u64::from_str_radix(digits, 16).map_err(|_| Malformed::Chunk)
}

/// How the body is delimited (RFC 9112, section 6.3).
fn body(status: StatusCode, headers: &HeaderMap, for_head: bool) -> Result<Body, Malformed> {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Body::UntilEnd);
    }
    if for_head || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
        return Ok(Body::Done);
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        let chunked = coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
        // With a length as well it could be read in two ways.
        if !chunked || codings.next().is_some() || headers.contains_key(CONTENT_LENGTH) {
            return Err(Malformed::TransferEncoding);
        }
        return Ok(Body::ChunkSize);
    }
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        for text in value.as_bytes().split(|byte| *byte == b',') {
            let text = text.trim_ascii();
            let number = std::str::from_utf8(text).ok().filter(|text| !text.starts_with('+'));
            let number = number.and_then(|text| text.parse::<u64>().ok());
            if number.is_none() || length.is_some_and(|length| Some(length) != number) {
                return Err(Malformed::Length);
            }
            length = number;
        }
    }
    Ok(match length {
        Some(0) => Body::Done,
        Some(length) => Body::Length(length),
        None => Body::UntilEnd,
    })
}

/// Whether the connection outlives the response (RFC 9112, section 9.3).
fn keeps(version: u8, headers: &HeaderMap) -> bool {
    let says = |word: &str| {
        headers.get_all(CONNECTION).iter().any(|value| {
            value
                .as_bytes()
                .split(|byte| *byte == b',')
                .any(|option| option.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
        })
    };
    if version == 1 { !says("close") } else { says("keep-alive") && !says("close") }
}

#[cfg(test)]
mod tests;
