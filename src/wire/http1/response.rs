//! Responses.

use std::cell::RefCell;
use std::mem::MaybeUninit;

use bytes::{Buf, Bytes};
use http::StatusCode;

use super::body::content_length;
use super::known::Heads;
use super::{Body, Fields, HEAD_BYTES_MAX, Malformed, Name, Part, keeps};

/// Headers of a response.
pub(super) const HEADERS_MAX: usize = 128;

/// The head of a response.
#[derive(Debug)]
pub struct Head {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: Fields,
}

/// Reads one response.
#[derive(Debug, Default)]
pub struct Decoder {
    body: Body,
    keep: bool,
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
        KNOWN.with_borrow_mut(|known| self.head_knowing(known, read, for_head))
    }

    pub(super) fn head_knowing(
        &mut self,
        known: &mut Heads<StatusLine>,
        read: &mut Bytes,
        for_head: bool,
    ) -> Result<Option<Head>, Malformed> {
        let (StatusLine { status, minor }, headers) = match known.take(read) {
            Some(head) => head,
            None => match parse(read)? {
                Some(head) => {
                    known.add(|| Some(head.0), &head.1);
                    head
                }
                None => return Ok(None),
            },
        };
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            self.body = body(status, &headers, for_head)?;
            self.keep = keeps(minor, &headers) && self.body != Body::UntilEnd;
        }
        Ok(Some(Head { status, headers }))
    }

    /// Takes the next part of the body out of what was read.
    ///
    /// # Errors
    ///
    /// [`Malformed::Chunk`]; nothing after it can be trusted.
    pub fn body(&mut self, read: &mut Bytes) -> Result<Part, Malformed> {
        self.body.next(read)
    }

    /// The same, but of small chunks all that have come, as [`Body::run`].
    ///
    /// # Errors
    ///
    /// [`Malformed::Chunk`], once everything in front of it was taken.
    pub fn body_run(&mut self, read: &mut Bytes) -> Result<Part, Malformed> {
        self.body.run(read)
    }

    /// Whether the size of a chunk comes next.
    pub fn is_between_chunks(&self) -> bool {
        self.body == Body::ChunkSize
    }

    /// The connection has ended. True when that completes the body.
    pub fn end(&mut self) -> bool {
        self.body.end()
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

thread_local! {
    static KNOWN: RefCell<Heads<StatusLine>> = const { RefCell::new(Heads::new()) };
}

/// What the first line of a response says.
#[derive(Clone, Copy, Debug)]
pub(super) struct StatusLine {
    status: StatusCode,
    minor: u8,
}

/// Parses the head that what was read begins with, and takes it out of that.
fn parse(read: &mut Bytes) -> Result<Option<(StatusLine, Fields)>, Malformed> {
    // Left as they are: filling in all of them would take longer than parsing a usual head.
    let mut slots = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let head = read.clone();
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        &head,
        &mut slots,
    );
    let length = match parsed {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if read.len() < HEAD_BYTES_MAX => return Ok(None),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Err(Malformed::HeadTooLong);
        }
        Err(_) => return Err(Malformed::Head),
    };
    let (minor, code) = (response.version.unwrap_or(0), response.code.unwrap_or(0));
    let status = StatusCode::from_u16(code).map_err(|_| Malformed::Head)?;
    let headers = Fields::parsed(head.slice(..length), response.headers);
    let headers = headers.ok_or(Malformed::Head)?;
    read.advance(length);
    Ok(Some((StatusLine { status, minor }, headers)))
}

/// How the body is delimited (RFC 9112, section 6.3).
fn body(status: StatusCode, headers: &Fields, for_head: bool) -> Result<Body, Malformed> {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Body::UntilEnd);
    }
    if for_head || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
        return Ok(Body::Done);
    }
    let mut codings = headers.all(Name::TransferEncoding);
    if let Some(coding) = codings.next() {
        let chunked = coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
        // With a length as well it could be read in two ways.
        if !chunked || codings.next().is_some() || headers.contains(Name::ContentLength) {
            return Err(Malformed::TransferEncoding);
        }
        return Ok(Body::ChunkSize);
    }
    Ok(match content_length(headers)? {
        Some(0) => Body::Done,
        Some(length) => Body::Length(length),
        None => Body::UntilEnd,
    })
}
